"""What a round costs, in time and memory; run by `make bench`. The results are committed, with the machine's name."""

from __future__ import annotations

import copy
import functools
import json
import re
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from hi_book.makers.registering import write_data
from hi_book.makers.timings import machine
from hi_lib import regret
from hi_lib.device.offloads import OffloadBatches
from hi_lib.device.streaming import HILF
from hi_lib.events.crowd import crowd
from hi_lib.forecaster import Forecaster, Steps
from hi_lib.learners import replay
from hi_lib.paper import IMAGENETTE
from hi_lib.studies.made_up import synthetic_trace
from hi_lib.traces import Trace

SPEED, MACHINE = "benchmarks/speed.csv", "benchmarks/machine.json"  # below data/
BETA, DEVICES = 0.5, 100
REPEATS = 7
# Rounds beyond these numbers of known confidences would take hours, or days.
LARGEST = {
    "plain": 1_000_000,
    "device": 1_000_000,
    "256 levels": 1_000_000,
    "engine": 10_000_000,
    "replay": 10_000_000,
    "sort": 10_000_000,
    "device, adaptive": 100_000,
    "256 levels, adaptive": 100_000,
    "device, m offloads": 100_000,
    "replay, adaptive": 100_000,
    "crowd of 100": 10_000,
}

Task = Callable[[], float]  # runs once and returns seconds a round


def run(say: Callable[[str], None] = print, sizes: tuple[int, ...] = (10**3, 10**4, 10**5, 10**6, 10**7)) -> Path:
    """Measure all methods at all sizes, in turn so that a busy machine slows all of them, and write the results."""
    import pandas as pd

    rows = []
    for n in sizes:
        trace = synthetic_trace(n, seed=0)
        tasks = {name: make(trace) for name, make in METHODS.items() if n <= LARGEST[name]}
        for task in tasks.values():
            task()  # compiles, fills caches
        repeats = REPEATS if n < 10**7 else 3
        seconds: dict[str, list[float]] = {name: [] for name in tasks}
        for _ in range(repeats):
            for name, task in tasks.items():
                seconds[name].append(task())
        for name, found in seconds.items():
            to_sort = statistics.median(a / b for a, b in zip(found, seconds["sort"], strict=True))
            rows.append((name, n, statistics.median(found), min(found), to_sort, _peak_memory(name, n)))
            say(f"{name:>10} {n:>10,} samples: {rows[-1][2] * 1e6:10.3f} µs a round, {rows[-1][5]:6.0f} MB")
    columns = ["method", "samples", "seconds_a_round", "least_seconds_a_round", "sorts", "peak_megabytes"]
    write_data(MACHINE, json.dumps(machine("numpy", "numba"), indent=2) + "\n", "make bench")
    return write_data(SPEED, pd.DataFrame(rows, columns=columns).to_csv(index=False, float_format="%.5g"), "make bench")


def _sort(trace: Trace) -> Task:
    return lambda: _timed(lambda: np.sort(trace.confidence)) / len(trace)


def _plain(trace: Trace) -> Task:
    """A round among n known confidences: decide, learn. Enough of them to be measured."""
    forecaster, rounds = Forecaster(trace.confidence), max(3, 10**7 // len(trace))
    rounds = min(rounds, len(trace))
    eta, step = _learning_rate(trace), BETA - ~trace.correct

    def work() -> None:
        for t in range(rounds):
            forecaster.offload_probability(trace.confidence[t : t + 1], eta)
            forecaster.update(trace.confidence[t : t + 1], step[t : t + 1])

    return lambda: _timed(work) / rounds


def _device(trace: Trace, levels: int | None = None, rate: str | None = None) -> Task:
    """A sample on a device, by the public calls, that has met the others' confidences before, and meets a new one."""
    rounds = min(1000, len(trace) // 8)
    met = HILF(BETA, rate or _learning_rate(trace), seed=0, levels=levels)
    met.update(trace.confidence[rounds:], trace.correct[rounds:])
    samples = [(trace.confidence[t : t + 1], trace.correct[t : t + 1]) for t in range(rounds)]

    def once() -> float:
        learner = copy.deepcopy(met)

        def work() -> None:
            for p, right in samples:
                learner.decide(p)
                learner.update(p, right)

        return _timed(work) / rounds

    return once


def _offloads(trace: Trace) -> Task:
    """The same where the device sends after three offloads, and hears of a cycle when it ends."""
    rounds = min(1000, len(trace) // 8)
    met = HILF(BETA, "adaptive", seed=0)
    met.update(trace.confidence[rounds:], trace.correct[rounds:])
    samples = trace.confidence[:rounds].tolist()

    def once() -> float:
        batches = OffloadBatches(copy.deepcopy(met), offloads=3, max_samples=200)

        def work() -> None:
            for p in samples:
                if (cycle := batches.decide(p).cycle) is not None:
                    batches.hear(cycle, trace.correct[cycle.first : cycle.first + cycle.offload.size])

        return _timed(work) / rounds

    return once


def _engine_only(trace: Trace) -> Task:
    """All rounds of vanilla HI, the confidences sorted before."""
    from hi_lib import _engine  # brings numba, whose memory the other methods do without

    wrong, steps = ~trace.correct, Steps(BETA, BETA - 1, _learning_rate(trace))
    return lambda: _timed(lambda: _engine.offload_probability(trace, wrong, steps, 1)) / len(trace)


def _replay(trace: Trace, rate: str = "tuned") -> Task:
    """All rounds by `replay` on a new trace: sorting, the learner, the best threshold in hindsight."""

    def once() -> float:
        new = Trace(trace.confidence, trace.correct)
        return _timed(lambda: replay(new, BETA, learning_rate=rate)) / len(trace)

    return once


def _crowd(trace: Trace) -> Task:
    """A hundred devices at one server, n samples each, that send after four offloads; seconds a sample of all."""
    flags = np.tile(trace.confidence < 1 - BETA, DEVICES)

    def work() -> None:
        crowd(IMAGENETTE.timing, flags.reshape(DEVICES, -1), 4, DEVICES, unit="offloads", max_samples=200)

    return lambda: _timed(work) / flags.size


METHODS = {
    "sort": _sort,
    "plain": _plain,
    "device": _device,
    "256 levels": functools.partial(_device, levels=256),
    "engine": _engine_only,
    "replay": _replay,
    "device, adaptive": functools.partial(_device, rate="adaptive"),
    "256 levels, adaptive": functools.partial(_device, levels=256, rate="adaptive"),
    "device, m offloads": _offloads,
    "replay, adaptive": functools.partial(_replay, rate="adaptive"),
    "crowd of 100": _crowd,
}


def _learning_rate(trace: Trace) -> float:
    return regret.vanilla_learning_rate(trace)


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _peak_memory(name: str, n: int) -> float:
    """Peak resident memory in MB of a process that makes a trace and does this once."""
    done = subprocess.run([sys.executable, __file__, name, str(n)], capture_output=True, text=True, check=True)
    return float(done.stdout)


def peak_of_this_process(name: str, n: int) -> float:
    """Do one measurement, and return the peak resident memory of this process in MB."""
    METHODS[name](synthetic_trace(n, seed=0))()
    status = Path("/proc/self/status")
    if status.is_file():  # Linux; what getrusage says there includes the parent
        return int(re.search(r"VmHWM:\s*(\d+) kB", status.read_text(encoding="utf-8"))[1]) / 1e3  # type: ignore[index]
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(peak_of_this_process(sys.argv[1], int(sys.argv[2])))
    else:
        print(f"written: {run()}")
