"""Compute the book again with other versions of Python, NumPy, numba and pandas; run by `make versions`.

Each set of versions gets a copy of this checkout and an environment of its own. What must come out are the reviewed
verdicts, and the numbers that this environment finds; the appendix shows the table.
"""

from __future__ import annotations

import csv
import io
import json
import re
import runpy
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from hi_book.makers.registering import write_data

ROOT = Path(__file__).resolve().parent.parent
BIN = ROOT / ".venv" / "bin"
ARCHIVE = runpy.run_path(str(ROOT / "tools" / "archive.py"))
TABLE = "benchmarks/versions.csv"
COMPUTE = ("numpy", "numba", "pandas")  # what does the arithmetic
SHOWN = "import json, sys, numpy, numba, pandas; print(json.dumps([sys.version.split()[0], numpy.__version__, "
SHOWN += "numba.__version__, pandas.__version__]))"


class Case(NamedTuple):
    """A Python, and which versions of the packages that compute: pinned, oldest or newest."""

    python: str
    packages: str


CASES = [
    *(Case(python, "pinned") for python in ("/usr/bin/python3", "python3.12", "python3.13")),
    *(Case("python3.11", packages) for packages in ("oldest", "newest")),
]


def main() -> None:
    """Go through the cases whose Python is here, and write a row for each."""
    wanted = numbers(ROOT / "results")
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(["python", *COMPUTE, "packages", "verdicts_that_differ", "largest_difference", "numbers"])
    for case in CASES:
        interpreter = found_here(case.python)
        if interpreter is None:
            print(f"{case.python} is not here: left out", flush=True)
            continue
        with tempfile.TemporaryDirectory() as folder:
            versions, differ, found = computed(interpreter, case.packages, Path(folder))
        difference = max(relative(found[name], wanted[name]) for name in wanted)
        rows.writerow([*versions, case.packages, differ, f"{difference:.1e}", len(wanted)])
        print(f"{' '.join(versions)} ({case.packages}): {differ} verdicts, {difference:.1e}", flush=True)
    print(f"written: {write_data(TABLE, table.getvalue(), 'make versions')}; now: make facts")


def found_here(python: str) -> str | None:
    """The interpreter's own path, if it runs; a name on the path may only stand for one that is not chosen."""
    try:
        done = subprocess.run([python, "-c", "import sys; print(sys.executable)"], capture_output=True, text=True)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def computed(interpreter: str, packages: str, folder: Path) -> tuple[list[str], int, dict[str, float]]:
    """Versions, how many verdicts are not as reviewed, and all numbers, computed in a folder of its own."""
    checkout = folder / "checkout"
    for name in ARCHIVE["source_files"]():
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, checkout / name)
    python = environment(interpreter, "".join(constrained(packages)), checkout, folder)
    versions = json.loads(subprocess.run([python, "-c", SHOWN], check=True, capture_output=True, text=True).stdout)
    done = subprocess.run([python.with_name("hi"), "check"], cwd=checkout, capture_output=True, text=True)
    differ = len(re.findall(r"but claims\.yml says", done.stderr + done.stdout))
    if done.returncode and not differ:
        sys.exit(f"{interpreter} ({packages}): {done.stderr[-2000:]}")
    return versions, differ, numbers(checkout / "results")


def environment(interpreter: str, constraints: str, checkout: Path, folder: Path) -> Path:
    """The Python of a new environment in `folder`: the checkout, and what its book needs within these constraints."""
    python, pins = folder / "env" / "bin" / "python", folder / "pins.txt"
    pins.write_text(constraints)
    subprocess.run([BIN / "uv", "venv", "-q", "--python", interpreter, folder / "env"], check=True)
    # Seen from the checkout, whose own path may hold what a requirement may not.
    install = [BIN / "uv", "pip", "install", "-q", "--python", python, "-c", pins, "-e", ".[book]"]
    subprocess.run(install, check=True, cwd=checkout)
    return python


def constrained(packages: str) -> Iterator[str]:
    """The lock's pins without hashes, but for the packages that compute: their oldest versions, or any."""
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    needed = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    free = () if packages == "pinned" else (*COMPUTE, "llvmlite")  # the last is numba's compiler
    for name, version in re.findall(r"^([\w.-]+)(?:\[[\w,]+\])?==([^\s\\]+)", lock, flags=re.MULTILINE):
        if name not in free:
            yield f"{name}=={version}\n"
        elif packages == "oldest" and (least := re.search(rf'"{name}>=([\d.]+)"', needed)):
            yield f"{name}=={least[1]}\n"


def numbers(results: Path) -> dict[str, float]:
    """Every number that a notebook publishes, by notebook and name; yes and no are numbers, too."""
    found: dict[str, Any] = {}
    for path in sorted(results.glob("*/values.json")):
        values = json.loads(path.read_text(encoding="utf-8"))
        # What is no number is text, or was not computed.
        found |= {
            f"{path.parent.name}.{name}": value for name, value in values.items() if isinstance(value, int | float)
        }
    return found


def relative(value: float, wanted: float) -> float:
    """How far a number is off, relatively; or absolutely where it is below one, since some are rounding errors."""
    return abs(value - wanted) / max(abs(wanted), 1.0)


if __name__ == "__main__":
    main()
