"""Measure what each experiment of the appendix takes: busy cores, memory, seconds; run by `make experiments`.

Only those that run notebooks or check claims: the tests, the traces and the benchmarks say it in their own text.
"""

from __future__ import annotations

import contextlib
import csv
import io
import math
import runpy
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from hi_book.makers.registering import write_data

ROOT = Path(__file__).resolve().parent.parent
FACTS = runpy.run_path(str(ROOT / "tools" / "facts.py"))


def main() -> None:
    """Run them one by one, and write a row for each."""
    page = (ROOT / "book" / "appendix.md").read_text(encoding="utf-8")
    notebooks = FACTS["notebooks_of"](page)
    commands = {"E1": ["check"]} | {name: ["run", *found] for name, found in notebooks.items() if found}
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(["experiment", "cores", "megabytes", "seconds"])
    for name, arguments in commands.items():
        cores, megabytes, seconds = measured([str(ROOT / ".venv" / "bin" / "hi"), *arguments])
        rows.writerow([name, cores, round(megabytes), f"{seconds:.1f}"])
        print(f"{name}: {cores} cores, {megabytes:.0f} MB, {seconds:.1f} s", flush=True)
    print(f"written: {write_data('benchmarks/experiments.csv', table.getvalue(), 'make experiments')}; now: make facts")


def measured(command: Sequence[str]) -> tuple[int, float, float]:
    """Cores kept busy, most MB of all its processes together, and seconds; of a command that must succeed."""
    start, most, used = time.perf_counter(), 0, {}
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            memory, cpu = _sample(process.pid)
            most, used = max(most, memory), used | cpu
            time.sleep(0.1)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    seconds = time.perf_counter() - start
    return max(1, math.ceil(sum(used.values()) / seconds)), most / 1e6, seconds


def _sample(pid: int) -> tuple[int, dict[int, float]]:
    """Bytes of a process and its descendants, what they share counted for each; and the CPU seconds of each by now."""
    memory, cpu = 0, {}
    with contextlib.suppress(psutil.Error):  # one of them has just ended
        for process in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True)):
            memory += process.memory_info().rss
            cpu[process.pid] = sum(process.cpu_times()[:2])
    return memory, cpu


if __name__ == "__main__":
    main()
