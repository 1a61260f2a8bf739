"""Batch HI over a real wire, measured in many settings; run by `make bench-live`.

Each run is a `hi live demo`: two processes on this machine. The results are committed, with the machine's name.
What was measured is kept in _build until all is, so that a bench that was stopped goes on.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import zmq

from hi_book.makers.registering import Unfinished, write_data
from hi_book.makers.timings import machine
from hi_lib.paper import CIFAR10, setting_of
from hi_lib.typing import Bytes
from hi_live import wire
from hi_live.memory import OF_A_LINK, keep_memory
from hi_live.server import serve

RUNS, FRAMEWORK, MACHINE = (
    "benchmarks/live/runs.csv",
    "benchmarks/live/framework.csv",
    "benchmarks/live/machine.json",
)  # below data/
TRACES = {"cifar10-alexnet": 1000, "imagenette-mobilenet_v1_0.5_160": 400}  # samples a run
NETWORK_TIMES = (0, 5, 20, 50)
# How the device sends.
BATCHES = [{"batch-size": size} for size in (1, 2, 4, 8, 16, 32, 64)]
OFFLOADS = [{"offloads": count} for count in (2, 3, 4, 6)]
WINDOWS = [{"batch-size": 1, "window": wide} for wide in ("1", "2", "4", "inf")]
REAL = [*({"batch-size": size} for size in (1, 4, 16)), {"offloads": 3}, {"batch-size": 1, "window": "4"}]
PAIRS = {  # (without AlexNet's weights at hand, it is trained first)
    "cifar10-alexnet": "cifar10-resnet56",
    "cifar10-resnet8": "cifar10-resnet56",
    "imagenette-mobilenet_v2_1.0_224": "imagenette-efficientnet_lite2",
}
UNFINISHED = Path("_build/bench_live.jsonl")
PICTURE, BATCH, EXCHANGES = 224 * 224 * 3, 16, 1000  # what the framework's own time is measured with


def settings() -> Iterator[dict[str, Any]]:
    """Options of every run: replayed traces over emulated networks, then real models."""
    for trace, samples in TRACES.items():
        for network in NETWORK_TIMES:
            for how in [*BATCHES, *OFFLOADS, *WINDOWS, {"batch-size": "adaptive"}]:
                # Who does not wait is through in a second, of which one stall of the machine would be a tenth.
                many = samples if "window" not in how else 4 * samples
                yield {"trace": trace, "samples": many, "network-time": network, "window": "waits", **how}
    for small, large in PAIRS.items():
        for how in REAL:
            real = {"sml": small, "lml": large, "samples": 500 if setting_of(small) is CIFAR10 else 200}
            yield {"trace": small, **real, "network-time": 20, "window": "waits", **how}


def run(options: dict[str, Any]) -> dict[str, Any]:
    """One demo: its options, and what it reports, as one flat row."""
    given = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    command = [sys.executable, "-m", "hi_book.commands.main", "live", "demo", "--json", *given]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    flat = {name: value for name, value in found.items() if name in ("residual", "lost", "stray")}
    for group in ("measured", "predicted", "expected", "stages"):
        flat |= {f"{group}_{name}": value for name, value in found[group].items()}
    return {name.replace("-", "_"): value for name, value in options.items()} | flat


class Mirror:
    """An L-ML that does nothing."""

    def answers(self, samples: Sequence[int], images: Sequence[Bytes]) -> list[int]:
        """A zero for each picture."""
        del images
        return [0] * len(samples)


def mirror() -> None:
    """Serve it, in a process of its own, until that is killed."""
    keep_memory(OF_A_LINK)
    serve(Mirror(), "tcp://127.0.0.1:0", threading.Event(), lambda address: print(address, flush=True))


def framework() -> pd.DataFrame:
    """Milliseconds to pack, carry over loopback and read a batch of pictures, and its answer: ours alone, no model."""
    keep_memory(OF_A_LINK)  # as the commands do
    process = subprocess.Popen([sys.executable, __file__, "mirror"], stdout=subprocess.PIPE, text=True)
    context = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.connect(process.stdout.readline().strip())
    images, taken = [bytes(PICTURE)] * BATCH, []
    for number in range(EXCHANGES):
        begun = time.perf_counter()
        wire.send(socket, wire.pack_request(wire.Request("bench", number, tuple(range(BATCH)), images)))
        wire.read_reply(socket.recv())
        taken.append(1000 * (time.perf_counter() - begun))
    process.kill()
    socket.close()
    context.term()
    levels = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
    rows = [(name, float(np.quantile(taken, level))) for name, level in levels.items()]
    return pd.DataFrame(rows, columns=["level", "milliseconds"])


def main() -> None:
    """Measure everything and write it."""
    wanted = list(settings())
    journal = Unfinished(UNFINISHED)
    rows = journal.found
    for number, options in enumerate(wanted[len(rows) :], len(rows) + 1):
        journal.add(run(options))
        print(f"[{number}/{len(wanted)}] {options}: off by {rows[-1]['residual']:+.1%}", flush=True)
    write_data(FRAMEWORK, framework().to_csv(index=False, float_format="%.4g"), "make bench-live")
    write_data(MACHINE, json.dumps(machine("numpy", "pyzmq", "msgpack"), indent=2) + "\n", "make bench-live")
    write_data(RUNS, pd.DataFrame(rows).to_csv(index=False, float_format="%.6g"), "make bench-live")
    journal.end()


if __name__ == "__main__":
    mirror() if sys.argv[1:] == ["mirror"] else main()
