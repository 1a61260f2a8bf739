"""Batch HI between hosts of their own, over the kernel's TCP, against the timing model; run by `make bench-network`.

Nothing of the network is fitted: its times are `hi.tcp`'s, for the link's round trip and rate. The device's and the
server's own times are those of the run. Linux and root only. What was measured is kept in _build until all is.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import hi_lib as hi
from hi_book.makers.registering import Unfinished, write_data
from hi_lib.events.queueing import pipeline
from hi_lib.paper import setting_of
from hi_lib.run_times import drawn

RUNS = "benchmarks/network/runs.csv"  # below data/
TRACE, BETA, RTT, RATE = "imagenette-mobilenet_v1_0.5_160", 0.3, 20.0, 50e6
SAMPLES, SEEDS, DRAWS = 400, range(10), 20
HOWS: tuple[dict[str, Any], ...] = (
    {"batch-size": 1},
    {"batch-size": 4},
    {"batch-size": 16},
    {"offloads": 2},
    {"offloads": 4},
    {"batch-size": 1, "window": "4"},
)
UNFINISHED = Path("_build/bench_hosts.jsonl")


def run(how: dict[str, Any], seed: int) -> dict[str, Any]:
    """One demo between hosts: measured times, those of the model before anything is drawn, and given the offloads."""
    options = {"trace": TRACE, "beta": BETA, "samples": SAMPLES, "seed": seed} | how
    options |= {"rtt": RTT, "rate": RATE, "congestion": "cubic"}
    if "offloads" not in how:
        options["learning-rate"] = "adaptive"
    given = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "hi_book.commands.main", "live", "demo", "--hosts", "--json", "--log", folder]
        done = subprocess.run([*command, *given], check=True, capture_output=True, text=True)
        samples = pd.read_csv(Path(folder, "samples.csv"))
    found = json.loads(done.stdout)
    window = how.get("window")
    timing = _model(found["stages"])
    before = _expected(timing, how, seed, window)
    realised = _counted(timing, samples["offloaded"].to_numpy(bool), how, window, found["stages"]["overhead"])
    measured = {name: found["measured"][name] for name in ("system_time", "response_time", "offload_ratio")}
    row = {"how": _name(how), "seed": seed} | {f"measured_{name}": value for name, value in measured.items()}
    for kind, times in (("expected", before), ("realised", realised)):
        row |= {f"{kind}_{name}": value for name, value in zip(("system_time", "response_time"), times, strict=True)}
    return row | {"lost": found["lost"]} | {f"link_{name}": value for name, value in found["link"].items()}


def _model(stages: dict[str, float]) -> hi.TimingModel:
    """The device's and the server's times as they were; the network by the law alone."""
    bytes_of_one = setting_of(TRACE).image_bytes
    network = hi.tcp(rtt=RTT, rate=RATE, image_bytes=bytes_of_one)
    return hi.TimingModel(stages["tau_ed"], stages["tau_es"], 8000 * bytes_of_one / RATE, RTT, network)


def _expected(timing: hi.TimingModel, how: dict[str, Any], seed: int, window: str | None) -> tuple[float, float]:
    """Mean times of draws of the same learner on the same samples."""
    whole = hi.load_trace(TRACE).shuffled(seed)
    trace = hi.Trace(whole.confidence[:SAMPLES], whole.correct[:SAMPLES])
    each = []
    for draw in range(DRAWS):
        unit = {"unit": "offloads", "max_samples": 200} if "offloads" in how else {}
        size = how.get("offloads") or how["batch-size"]
        one = hi.replay(trace, BETA, size, learning_rate="adaptive", seed=draw, **unit)
        flags = drawn(one, np.random.default_rng(draw))
        each.append(_counted(timing, flags, how, window, 0.0))
    system, response = np.mean(each, axis=0).tolist()
    return system, response


def _counted(
    timing: hi.TimingModel, flags: Any, how: dict[str, Any], window: str | None, overhead: float
) -> tuple[float, float]:
    unit, size = ("offloads", how["offloads"]) if "offloads" in how else ("samples", how["batch-size"])
    found = pipeline(timing, flags, size, unit=unit, window=float(window) if window else None, overhead=overhead)
    return found.system_time, float(found.response_time.mean())


def _name(how: dict[str, Any]) -> str:
    if "window" in how:
        return f"W = {how['window']}"
    return f"m = {how['offloads']}" if "offloads" in how else f"M = {how['batch-size']}"


def main() -> None:
    """Measure everything and write it."""
    journal = Unfinished(UNFINISHED)
    rows = journal.found
    wanted = [(how, seed) for seed in SEEDS for how in HOWS]
    for how, seed in wanted[len(rows) :]:
        journal.add(run(how, seed))
        off = rows[-1]["measured_system_time"] / rows[-1]["expected_system_time"] - 1
        print(f"[{len(rows)}/{len(wanted)}] {rows[-1]['how']}, seed {seed}: off by {off:+.1%}", flush=True)
    write_data(RUNS, pd.DataFrame(rows).to_csv(index=False, float_format="%.6g"), "make bench-network")
    journal.end()


if __name__ == "__main__":
    main()
