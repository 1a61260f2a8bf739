"""Run the notebooks: each when it, or what it uses, has changed, and never half.

    notebooks/ + parameters.yml ──papermill──▶ _build/executed/, results/

A notebook runs again when it, its parameters, the modules it imports, the data it read, its claims or the pins change,
or when somebody changed its results. What counts is content, not time.
"""

from __future__ import annotations

import ast
import functools
import importlib.metadata
import json
import logging
import math
import os
import platform
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hi_book.press import claims, places, plain_yaml, provenance, results, uses
from hi_lib import checks, files
from hi_lib.files import write_atomically
from hi_lib.traces import DATA, shipped

PROFILES = ("quick", "full")
_MOST = 1e300  # no number of a parameter is as large

Progress = Callable[[str], None]


class BuildError(RuntimeError):
    """A notebook failed or the book did not render; the published book is untouched."""


def notebook_names() -> list[str]:
    """Names of all notebooks, without suffix."""
    return sorted(path.stem for path in places.NOTEBOOKS.glob("*.ipynb"))


def load_parameters(profile: str) -> dict[str, dict[str, Any]]:
    """What a profile changes in each notebook's own parameters, every name checked.

    Raises
    ------
    ValueError
        Unknown profile, notebook or parameter; the message names close matches.
    """
    checks.choice("profile", profile, PROFILES)
    profiles = plain_yaml.yaml_file(places.PARAMETERS)
    chosen = profiles.get(profile) if isinstance(profiles, dict) else None
    if not isinstance(chosen, dict):
        raise ValueError(f"{places.PARAMETERS.name} must hold a mapping {profile}: {{notebook: {{parameter: value}}}}")
    for name, parameters in chosen.items():
        where = f"{places.PARAMETERS.name}, {profile}: "
        check_parameters(checks.choice(f"{where}notebook", name, notebook_names()), parameters, where)
    return {name: chosen.get(name, {}) for name in notebook_names()}


def default_parameters(name: str) -> dict[str, Any]:
    """The parameters of a notebook and their values, read from its one cell tagged `parameters`."""
    cells = json.loads((places.NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    tagged = sum("parameters" in cell["metadata"].get("tags", []) for cell in cells)
    if tagged != 1:
        raise ValueError(f"{name}.ipynb must have exactly one cell tagged parameters, found {tagged}")
    found = provenance.parameters(cells)
    source = ["".join(cell["source"]) for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
    if len(found) != len(ast.parse(source[0]).body):
        raise ValueError(f"{name}.ipynb: its cell tagged parameters must give one name a plain value in each line")
    return found


def check_parameters(name: str, parameters: Any, where: str = "") -> None:
    """Raise ValueError for a parameter that the notebook does not have, or for a value of another kind than its own.

    (papermill itself would only warn.) Whether a value of the right kind lies in its range, whoever uses it says.
    """
    if not isinstance(parameters, Mapping):
        raise ValueError(f"{where}parameters of {name} must be a mapping, got {checks.shown(parameters)}")
    known = default_parameters(name)
    for parameter, value in parameters.items():
        checks.choice(f"{where}parameter of {name}", parameter, known)
        kind = parameter_kind(known[parameter])
        if not kind.takes(value):
            got = checks.shown(value)
            raise ValueError(f"{where}parameter {parameter} of {name} must be {kind.says}, got {got}")


@dataclass(frozen=True)
class Kind:
    """What values a parameter may have."""

    says: str
    takes: Callable[[Any], bool]


def parameter_kind(default: Any) -> Kind:
    """The kind of values that a parameter takes whose own value is this one.

    Examples
    --------
    >>> parameter_kind([0.3, 0.5]).says
    'a list of one or more values, each a number'
    """
    if isinstance(default, list):
        inner = parameter_kind(_widest(default))
        return Kind(
            f"a list of one or more values, each {inner.says}",
            lambda value: isinstance(value, list) and bool(value) and all(map(inner.takes, value)),
        )
    if isinstance(default, bool):
        return Kind("true or false", lambda value: isinstance(value, bool))
    if isinstance(default, int):
        least = min(default, 1)
        return Kind(f"an integer >= {least}", lambda value: _is_number(value, int) and value >= least)
    if isinstance(default, float):
        return Kind("a number", lambda value: _is_number(value, int | float))
    return Kind("text", lambda value: isinstance(value, str))


def _widest(values: list[Any]) -> Any:
    """The value of a list that stands for its kind: a real number before whole ones, the least of whole ones."""
    reals = [value for value in values if isinstance(value, float)]
    return reals[0] if reals else min(values) if all(isinstance(value, int) for value in values) else values[0]


def _is_number(value: Any, kind: Any) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool) and abs(value) < _MOST


def run_notebooks(profile: str, progress: Progress = print) -> list[str]:
    """Run every notebook that is not up to date, two or more at a time; return the names of those that ran."""
    parameters, listed = load_parameters(profile), claims.load_claims()
    stamps = {name: _wanted(name, chosen, listed) for name, chosen in parameters.items()}
    _forget_removed(parameters)
    stale = [name for name in parameters if not _executed(name, stamps[name])]
    # The slowest first, so that none is left over at the end; one more than cores, since kernels wait while they start.
    stale.sort(key=_seconds_last_time, reverse=True)
    if stale:
        from hi_book.press import kernels  # brings Jupyter, which only the extra `book` installs

        kernels.warm_up()
    pool = ThreadPoolExecutor((os.cpu_count() or 1) + 1)
    try:
        jobs = {pool.submit(_run_and_keep, name, parameters[name], stamps[name]): name for name in stale}
        for done, job in enumerate(as_completed(jobs), 1):
            progress(f"[{done}/{len(jobs)}] {jobs[job]}: {job.result():.0f} s")
    except KeyboardInterrupt:
        pool.shutdown(wait=False, cancel_futures=True)
        while any(job.running() for job in jobs):  # also those whose kernel is only about to start
            kernels.stop_all()
            time.sleep(0.1)
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        shutil.rmtree(places.BUILD / "running", ignore_errors=True)
    return stale


def run_notebook(
    name: str,
    parameters: Mapping[str, Any],
    output: Path,
    environment: Mapping[str, str] | None = None,
    failed: Path | None = None,
) -> None:
    """Run one notebook with papermill; leave the executed copy and a folder `results` in `output`.

    `environment` holds further variables for its kernel. A notebook that fails is kept as far as it came, as
    NAME.failed.ipynb, beside where it would have been, or in `failed`.

    Raises
    ------
    ValueError
        Unknown notebook or parameter.
    BuildError
        The notebook failed; the message begins with a line that says why, and where what was executed is kept, and
        ends with its traceback.
    """
    check_parameters(checks.choice("notebook", name, notebook_names()), parameters)
    files.writable(output / f"{name}.ipynb")
    part, kept = output / f".{name}.{os.getpid()}.part.ipynb", (failed or output) / f"{name}.failed.ipynb"
    kept.unlink(missing_ok=True)
    try:
        _papermill(name, parameters, part, {"HI_RESULTS": str(output / "results"), **(environment or {})})
        write_atomically(output / f"{name}.ipynb", _without_traces_of_the_run(part.read_text(encoding="utf-8")))
        results.keep_figures(output / f"{name}.ipynb", output / "results" / name)
    except BuildError as error:
        if not part.is_file():
            raise
        kept.parent.mkdir(parents=True, exist_ok=True)
        part.replace(kept)
        why, *trace = str(error).split("\n", 1)
        raise BuildError("\n".join([f"{why} (as far as it ran: {kept})", *trace])) from None
    finally:
        part.unlink(missing_ok=True)


def _papermill(name: str, parameters: Mapping[str, Any], output: Path, environment: Mapping[str, str]) -> None:
    """Let papermill run a notebook in a kernel of this environment, with these variables added."""
    import papermill  # takes half a second
    from jupyter_core.utils import ensure_event_loop

    from hi_book.press import kernels

    logging.getLogger("papermill").setLevel(logging.CRITICAL)  # what goes wrong comes as an exception
    options: dict[str, Any] = {"progress_bar": False, "resources": {"metadata": {"path": str(places.NOTEBOOKS)}}}
    options |= {"kernel_manager_class": kernels.manager(environment, output.parent), "shutdown_kernel": "immediate"}
    execute = functools.partial(
        papermill.execute_notebook, places.NOTEBOOKS / f"{name}.ipynb", output, dict(parameters)
    )
    try:
        try:
            execute(**options)
        except RuntimeError as error:
            if not any(words in str(error) for words in ("before replying", "didn't respond")):
                raise
            execute(**options)  # nothing has run yet: somebody took a port that Jupyter had chosen for the kernel
    except papermill.PapermillExecutionError as error:
        other = provenance.differing(default_parameters(name), parameters)
        said = f"{name} failed{' with ' if other else ''}{other}: {error.ename}: {checks.one_line(error.evalue)}"
        frames = [re.sub(r"\x1b\[[0-9;]*m", "", frame) for frame in error.traceback]
        refused = re.match(r"File .*hi_lib/(?:checks|traces|tables)\.py", frames[-2]) if frames[1:] else None
        if refused:  # bad input, e.g. damaged data: nobody needs to know the way to it
            raise BuildError(said) from None
        trace = "\n".join(frames)
        raise BuildError(f"{said}\n{trace[-3000:]}") from None
    except RuntimeError as error:  # among them nbclient's own for a kernel that is gone
        raise BuildError(f"{name} failed: {error}") from None
    finally:
        ensure_event_loop().close()  # this thread's, which papermill leaves open


def _run_and_keep(name: str, parameters: Mapping[str, Any], stamp: str) -> float:
    """Run in a folder of its own, then put notebook, results and stamp in place; the stamp last, as the seal."""
    start = time.perf_counter()
    # Of its own also among builds: a kernel of one that was killed may still write for a moment.
    (places.BUILD / "running").mkdir(exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=name, dir=places.BUILD / "running"))
    run_notebook(name, parameters, scratch, failed=places.BUILD / "failed")
    found = scratch / "results" / name
    if not (found / "values.json").is_file():
        raise BuildError(f"{name} published no results: it must call results.publish({name!r}, …)")
    _stamp_file(name).unlink(missing_ok=True)
    places.RESULTS.mkdir(exist_ok=True)
    places.move(found, places.RESULTS / name)
    places.EXECUTED.mkdir(exist_ok=True)
    places.move(scratch / f"{name}.ipynb", places.EXECUTED / f"{name}.ipynb")
    shutil.rmtree(scratch)
    seconds = time.perf_counter() - start
    report = {"stamp": stamp, "output": _output_digest(name), "seconds": round(seconds, 1)}
    write_atomically(_stamp_file(name), json.dumps(report))
    return seconds


def _wanted(name: str, parameters: Mapping[str, Any], listed: list[claims.Claim]) -> str:
    """Hash of what decides a notebook's outcome, but for the data that it reads, which only a run can tell."""
    notebook = places.NOTEBOOKS / f"{name}.ipynb"
    code = "\n".join(_code_cells(notebook))
    shown = [claim for claim in listed if claim.notebook == name]
    runner = files.sha256(Path(__file__))  # what is written of a run is decided here
    texts = [json.dumps(parameters, sort_keys=True), installed(), repr(shown), repr(shipped()), runner]
    return places.digest([notebook, *uses.modules(code, places.ROOT)], *texts)


def _code_cells(notebook: Path) -> list[str]:
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def _executed(name: str, stamp: str) -> bool:
    """Whether the executed copy and its results are the ones this stamp led to, untouched, and so is their data."""
    found = _stamp(name)
    try:
        data = json.loads((places.RESULTS / name / "inputs.json").read_text(encoding="utf-8"))
        unchanged = all(files.sha256(DATA / file) == sha256 for file, sha256 in data.items())
        return unchanged and found["stamp"] == stamp and found["output"] == _output_digest(name)
    except (OSError, ValueError, KeyError, AttributeError):
        return False


def _seconds_last_time(name: str) -> float:
    seconds = _stamp(name).get("seconds")
    return seconds if isinstance(seconds, float) else math.inf


def _stamp(name: str) -> dict[str, Any]:
    """What `_run_and_keep` wrote when the notebook last ran; empty if it did not, or left no sense."""
    try:
        found = json.loads(_stamp_file(name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _stamp_file(name: str) -> Path:
    return places.BUILD / "stamps" / f"{name}.json"


def _output_digest(name: str) -> str:
    return places.digest([places.EXECUTED / f"{name}.ipynb", *places.files_below(places.RESULTS / name)])


def _forget_removed(known: Mapping[str, Any]) -> None:
    for path in [
        *places.EXECUTED.glob("*.ipynb"),
        *places.RESULTS.glob("*"),
        *(places.BUILD / "stamps").glob("*.json"),
    ]:
        if path.stem not in known:
            places.remove(path)


def _without_traces_of_the_run(text: str) -> str:
    """Drop times, random ids and memory addresses, so that the same inputs give the same bytes."""
    notebook = json.loads(re.sub(r" at 0x[0-9a-f]+>", ">", text))
    notebook["metadata"].pop("papermill", None)
    for number, cell in enumerate(notebook["cells"]):
        for key in ("papermill", "execution"):
            cell["metadata"].pop(key, None)
        cell["id"] = f"cell-{number}"
        if "outputs" in cell:
            cell["outputs"] = _joined(cell["outputs"])
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def _joined(outputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Outputs in which what was printed in one go is one text, into however many messages the kernel has cut it."""
    found: list[dict[str, Any]] = []
    for output in outputs:
        if found and output["output_type"] == "stream" and found[-1].get("name") == output["name"]:
            text = "".join([*found[-1]["text"], *output["text"]])
            found[-1] = {**output, "text": text.splitlines(keepends=True)}
        else:
            found.append(output)
    return found


def installed() -> str:
    """What the book may depend on beside this repository's own pages and code: Python, pins, packages as installed."""
    return "\n".join([platform.python_version(), *_packages(), places.LOCK.read_text(encoding="utf-8")])


@functools.cache
def _packages() -> list[str]:
    lines = importlib.metadata.requires("hi-lib") or []
    required = [re.split(r"[^\w.-]", line)[0] for line in lines if re.search("extra == .(?!book)", line) is None]
    return [f"{name}=={importlib.metadata.version(name)}" for name in sorted(set(required))]
