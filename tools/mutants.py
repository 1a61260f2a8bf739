"""Change one operator at a time, and see whether the tests notice it; run by `make mutants`.

A mutant is the project with one arithmetic operator or comparison exchanged: in the library's core, its rooms device,
events and advise, in the scripts of the page "Decide", or in the C header. They are drawn by a seed. Each is put into a
copy of the project, where the fast tests that should notice it run. Exit 1 if a mutant survives that EQUAL does not
explain.
"""

from __future__ import annotations

import argparse
import ast
import itertools
import os
import random
import re
import runpy
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SWAPS = {
    **{"+": ("-",), "-": ("+",), "*": ("/",), "/": ("*",)},
    **{"<": ("<=", ">="), "<=": ("<", ">"), ">": (">=", "<="), ">=": (">", "<")},
    **{"==": ("!=",), "!=": ("==",), "===": ("!==",), "!==": ("===",)},
}
OPERATORS = {
    **{ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"},
    **{ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!="},
}
PAGE, HEADER = "book/decide", "hi_lib/device/c/hil.h"
ROOMS = ("device", "events", "advise")
# The tests of the core's modules, by their names in tests/; of a module that is not here, those of its own name.
CORE = {
    **dict.fromkeys(
        ("_engine", "_tree", "batch_hi", "learners", "specification"),
        ("forecaster", "learners", "counting_offloads", "rivals", "cycles", "theory", "budgets"),
    ),
    **dict.fromkeys(("tables", "formats", "traces"), ("traces", "files", "logs/reading", "logs/formats")),
    **{"checks": ("traces", "timing", "budgets"), "regret": ("regret", "theory"), "rivals": ("rivals", "learners")},
    **{"timing": ("timing", "response", "counting_offloads", "payload"), "response": ("response", "timing", "payload")},
    **{"cycles": ("cycles", "counting_offloads"), "run_times": ("run_times", "counting_offloads", "payload")},
    **{"optima": ("timing", "counting_offloads"), "paper": ("timing",), "slow_start": ("slow_start", "payload")},
}
COMPILED = re.compile(r"^(import numba|from hi_lib\._tree import .*compiled|compiled = )", flags=re.MULTILINE)
# What JavaScript and C have beside code; and an operator, which both write with a space on either side.
NO_CODE = re.compile(
    r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`", flags=re.DOTALL
)
OPERATOR = re.compile(r"(?<=\s)(===|!==|==|!=|<=|>=|[-+*/<>])(?=\s)")
OF_PICTURES = "// ---- The page. ----"  # what follows in a script is tried in a browser
PATIENCE = 3  # times as long as without a change, and these seconds
SLACK, COMPILING = 30, 300

# Mutants that no test can notice, by file and changed line: why.
EQUAL = {
    (
        "hi_lib/response.py",
        "done = np.where(left >= 0, np.floor(left / self.tau_ed / (1 + ROUNDING)), -1.0)",
    ): "the time that is asked for has a margin of its own",
    (
        "hi_lib/forecaster.py",
        "cell = min(bisect.bisect_right(passed, rng.random() * passed.item(-1)), passed.size + 1)",
    ): "a share of the whole mass meets all of it by rounding alone",
    (
        "hi_lib/cycles.py",
        "while self._answered(time) <= 1 - ROUNDING / 2:",
    ): "a sum of probabilities meets the end of a margin for rounding by rounding alone",
    (
        "book/decide/advice.js",
        "for (let k = 0; k < one.length; k += 1) if (one[k] !== other[k]) return one[k] <= other[k];",
    ): "the two are known to differ there",
    (
        "book/decide/advice.js",
        "while (node >= 1) weigh((node >>= 1));",
    ): "what stands above the root is never read",
    (
        "hi_lib/advise/policies.py",
        "return self.offload_probability >= 0.5",
    ): "what is as likely offloaded as not may count as either",
    (
        "hi_lib/_tree.py",
        "x = cells[node, KEY : KEY - 1].view(np.uint64)[0]",
    ): "the key comes first: a longer slice begins with it, too",
    (
        "hi_lib/device/c/hil.h",
        "if (eta >= 2.0 * target && target >= (double)HIL_LEAST_RATE)",
    ): "a logarithm meets half of a rate by rounding alone",
    (
        "hi_lib/response.py",
        "others, mean = batch_size - 1, (batch_size + 1) * offload_ratio",
    ): "the mean is the middle of a reach with room to spare on either side",
    (
        "hi_lib/optima.py",
        "if relaxed <= 2 * _NEGLIGIBLE:",
    ): "a numeric minimiser meets the end of the margin for zero by rounding alone",
    (
        "hi_lib/response.py",
        "return bool(law(size).exceedance(deadline) < miss_probability + ROUNDING)",
    ): "a probability meets the end of a margin for rounding by rounding alone",
    (
        "book/decide/advice.js",
        "const sorted = (confidence) => Array.from(confidence, (_, k) => k)"
        ".sort((a, b) => confidence[a] - confidence[b] || a + b);",
    ): "equal confidences are summed before anything is asked of them, in whatever order",
}


@dataclass(frozen=True)
class Mutant:
    """A file, where in its text an operator is, and what stands there instead."""

    file: str
    start: int
    old: str
    new: str

    def of(self, text: str) -> str:
        """The file's text with the change."""
        return text[: self.start] + self.new + text[self.start + len(self.old) :]

    def line(self, text: str) -> str:
        """The line with the operator, of the text with or without the change."""
        return text.splitlines()[text.count("\n", 0, self.start)].strip()

    def equal(self, text: str) -> bool:
        """Whether EQUAL explains why nobody can notice it."""
        return (self.file, self.line(self.of(text))) in EQUAL

    def says(self, text: str) -> str:
        """Where it is and what it changes, for a reader."""
        number = text.count("\n", 0, self.start) + 1
        column = self.start - text.rfind("\n", 0, self.start)
        return f"{self.file}:{number}:{column}: {self.old} → {self.new}: {self.line(text)}"


def main() -> None:
    """Draw mutants, try each, and say which survive."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--number", type=int, default=20, help="of mutants")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--skip", type=int, default=0, help="so many of them, tried before")
    parser.add_argument("--files", default="", help="only those whose path has this regular expression")
    chosen = parser.parse_args()
    mutants = drawn(chosen.number, chosen.seed, chosen.files)[chosen.skip :]
    with tempfile.TemporaryDirectory() as folder:
        survivors = tried(mutants, Trials(Path(folder)))
    print(f"{len(mutants)} mutants, {len(survivors)} of them alive")
    print("\n".join(survivors))
    sys.exit(bool(survivors))


def drawn(number: int, seed: int, pattern: str = "") -> list[Mutant]:
    """So many mutants, each place as likely as any other; the same for the same seed and sources."""
    generator = random.Random(seed)  # noqa: S311
    chosen = [file for file in files() if re.search(pattern, file)]
    places = [(file, *place) for file in chosen for place in operators(file, (ROOT / file).read_text("utf-8"))]
    found = [
        Mutant(*place, generator.choice(SWAPS[place[2]]))
        for place in generator.sample(places, min(number, len(places)))
    ]
    return [each for each in found if not each.equal((ROOT / each.file).read_text("utf-8"))]


def files() -> list[str]:
    """What is changed, from the project's root."""
    modules = [
        *(ROOT / "hi_lib").glob("*.py"),
        *(path for room in ROOMS for path in (ROOT / "hi_lib" / room).glob("*.py")),
    ]
    python = [str(path.relative_to(ROOT)) for path in sorted(modules)]
    return [*python, f"{PAGE}/advice.js", f"{PAGE}/learner.js", HEADER]


def operators(file: str, text: str) -> list[tuple[int, str]]:
    """Where in a text operators are, and which."""
    return sorted(_in_python(text)) if file.endswith(".py") else list(_in_tokens(text))


def _in_python(text: str) -> Iterator[tuple[int, str]]:
    lines = text.splitlines(keepends=True)
    begins = [0, *itertools.accumulate(map(len, lines))]

    def offset(line: int, column: int) -> int:
        """From bytes within a line to characters within the text."""
        return begins[line - 1] + len(lines[line - 1].encode()[:column].decode())

    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.BinOp):
            terms, kinds = [node.left, node.right], [node.op]
        elif isinstance(node, ast.Compare):
            terms, kinds = [node.left, *node.comparators], list(node.ops)  # type: ignore[arg-type]
        else:
            continue
        for left, kind, right in zip(terms, kinds, terms[1:], strict=False):
            if (sign := OPERATORS.get(type(kind))) is None:
                continue
            start = offset(left.end_lineno, left.end_col_offset)  # type: ignore[arg-type]
            between = text[start : offset(right.lineno, right.col_offset)]
            if "#" not in between:  # a comment may hold anything
                yield start + between.index(sign), sign


def _in_tokens(text: str) -> Iterator[tuple[int, str]]:
    code = NO_CODE.sub(lambda found: " " * len(found[0]), text.split(OF_PICTURES)[0])
    return ((found.start(), found[0]) for found in OPERATOR.finditer(code))


def tests_of(module: str) -> list[str]:
    """Of one of the core's modules, from the project's root."""
    tests = (Path("tests", name) for name in CORE.get(module, (module,)))
    return [str(test.with_name(f"test_{test.name}.py")) for test in tests]


class Trials:
    """A copy of the project, in which one file at a time is another."""

    def __init__(self, folder: Path) -> None:
        self.project, self.cases = folder / "project", folder / "cases.json"
        for name in runpy.run_path(str(ROOT / "tools" / "archive.py"))["source_files"]():
            (self.project / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, self.project / name)
        # A test asks git what the project is made of: of this copy, not of what a variable may name.
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        for command in (["init", "-q"], ["add", "-A"]):
            subprocess.run(["git", *command], cwd=self.project, env=self._environment, check=True)
        for path in (ROOT / "hi_lib").rglob("*.nb?"):  # what numba has compiled of the same files
            (self.project / path.relative_to(ROOT)).parent.mkdir(exist_ok=True)
            shutil.copy2(path, self.project / path.relative_to(ROOT))
        for built in ("results", "_build/executed"):  # some tests ask whether a page shows what a function says
            shutil.copytree(ROOT / built, self.project / built)
        self._seconds: dict[tuple[str, ...], float] = {}

    def notices(self, mutant: Mutant) -> bool:
        """Whether a test fails, or nothing ends, with the change; and puts back what was there."""
        text = (ROOT / mutant.file).read_text(encoding="utf-8")
        command, fresh = self._command(mutant.file), self.project.parent / "compiled"
        tests = command[7:] if mutant.file.endswith(".py") else command
        if tests not in self._seconds:
            self._unchanged(command, tests)
        target = self.project / mutant.file
        status = target.stat()
        target.write_text(mutant.of(text), encoding="utf-8")
        try:
            # What was compiled into other modules is not made anew by itself.
            cache = {"NUMBA_CACHE_DIR": str(fresh)} if COMPILED.search(text) else {}
            done = self._run(command, cache, PATIENCE * self._seconds[tests] + (COMPILING if cache else SLACK))
        except subprocess.TimeoutExpired:
            return True
        finally:
            target.write_text(text, encoding="utf-8")
            os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))  # by which numba knows what it has compiled
            shutil.rmtree(fresh, ignore_errors=True)
        return done.returncode != 0

    def _unchanged(self, command: tuple[str, ...], tests: tuple[str, ...]) -> None:
        """Without a change all tests must pass."""
        if not self.cases.exists():
            runpy.run_path(str(ROOT / "tools" / "in_page.py"))["write"](self.cases)
        start = time.perf_counter()
        done = self._run(command, {}, None)
        self._seconds[tests] = time.perf_counter() - start
        if done.returncode:
            sys.exit(
                f"error: without any change this fails: {' '.join(command)}\n{(done.stdout + done.stderr)[-3000:]}"
            )

    def _command(self, file: str) -> tuple[str, ...]:
        """The tests that should notice a change in a file."""
        if file.endswith(".js"):
            return "node", "tools/in_page.js", PAGE, str(self.cases)
        path = Path(file)
        pytest = (sys.executable, "-m", "pytest", "-xq", "-p", "no:cacheprovider")
        if file == HEADER:
            return *pytest, "tests/device/test_c.py"
        if path.parent.name in ROOMS:
            return *pytest, file, f"tests/{path.parent.name}"
        return *pytest, file, *tests_of(path.stem)

    def _run(
        self, command: tuple[str, ...], cache: dict[str, str], seconds: float | None
    ) -> subprocess.CompletedProcess[str]:
        # Bytecode would be taken for that of another mutant.
        environment = self._environment | {"PYTHONPATH": str(self.project), "PYTHONDONTWRITEBYTECODE": "1", **cache}
        return subprocess.run(
            command, cwd=self.project, env=environment, capture_output=True, text=True, timeout=seconds
        )


def tried(mutants: list[Mutant], trials: Trials) -> list[str]:
    """Say of each whether it was noticed; return those that were not."""
    alive = []
    for number, mutant in enumerate(mutants, 1):
        start = time.perf_counter()
        says = mutant.says((ROOT / mutant.file).read_text(encoding="utf-8"))
        noticed = trials.notices(mutant)
        took = time.perf_counter() - start
        print(f"[{number}/{len(mutants)}] {'noticed' if noticed else 'ALIVE'} ({took:.0f} s) {says}", flush=True)
        if not noticed:
            alive.append(says)
    return alive


if __name__ == "__main__":
    main()
