"""A run over the wire from its first exchange to its report: what starts it, watches it, and keeps what it did.

All its parts are handed to it: the S-ML, the learner, the plan, and what stands at the far end of the link.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import zmq

from hi_lib.learners import Run
from hi_lib.traces import Trace
from hi_live.device import Controller, Device, Exchange, Plan, Small
from hi_live.keeping import Every, Growing, Kept
from hi_live.link import Delay, Link
from hi_live.log import Log
from hi_live.report import Report, report

_SAID_EVERY = 2.0  # seconds


class FarEnd(Protocol):
    """What stands at the far end of the link in place of a server of ours, in the device's own process."""

    address: str
    failed: int
    last_failure: str

    def close(self) -> None:
        """End it."""


@dataclass(frozen=True)
class Parts:
    """What a run is made of.

    Parameters
    ----------
    small : Small
    learner : HILF, HILN or Apple
    plan : Plan
    beta : float
        Cost of an offload.
    samples, first : int
        How many samples of the data, and from which on.
    name : str
        Of the S-ML, or of the trace that stands for it.
    rate : float, optional
        Of the emulated uplink, bit/s; None: as fast as it is.
    network_time : callable, optional
        Draws the network time of a transmission, ms.
    keys : Path, optional
        Folder of keys, where all is encrypted.
    controller : callable
        Who chooses batch sizes, from the first exchange, if it had an answer; or None.
    far_end : callable, optional
        Makes what stands at the far end, from the run's context.
    kept : Kept, optional
        The learner on disk.
    log : Path, optional
        Where to write what was done, as it goes.
    replays : callable, optional
        Runs the device's learner over a trace of what it saw, as often as its draws ask for: whose exact times are
        those that the device should have.
    others : callable
        Waits, once all is there for the first batch, for others that shall begin at the same time.
    """

    small: Small
    learner: Any
    plan: Plan
    beta: float
    samples: int
    first: int = 0
    name: str = "samples"
    rate: float | None = None
    network_time: Callable[[], float] | None = None
    keys: Path | None = None
    controller: Callable[[Exchange | None], Controller | None] = lambda _: None
    far_end: Callable[[Any], FarEnd] | None = None
    kept: Kept | None = None
    log: Path | None = None
    replays: Callable[[Trace], list[Run]] | None = None
    others: Callable[[], object] = lambda: None


class Ran(NamedTuple):
    """What came of a run: its report, why no answer came at all, if there was none, and what both were made from."""

    report: Report
    silence: str
    log: Log
    delays: dict[int, Delay]


def run(address: str, parts: Parts, say: Callable[[str], None]) -> Ran:
    """Run a device against the server there; `say` is told how far it is.

    Raises
    ------
    ValueError
        The run was stopped before its first batch.
    """
    before = signal.getsignal(signal.SIGINT)
    with _far_end(parts, say) as (context, far):
        link = Link(context, far.address if far else address, parts.rate, parts.network_time, parts.keys)
        link.start()
        try:
            unit = Device(parts.small, parts.learner, link, parts.plan)
            signal.signal(signal.SIGINT, lambda *_: unit.stop())
            unit.controller = parts.controller(unit.warm_up())
            parts.others()
            growing = Growing(parts.log, parts.small.correct, link.delays) if parts.log else None
            log = unit.run(parts.samples, parts.first, _after_batch(unit, parts, growing, say))
            silence = far.last_failure if far else link.silence
        finally:
            signal.signal(signal.SIGINT, before)
            link.close()
    done = log.started.size
    if not done:
        raise ValueError("the run was stopped before its first batch: nothing was measured")
    if parts.kept:
        parts.kept.write(done)
    if parts.log:
        log.write(parts.log, parts.small.correct, link.delays)
    correct = parts.small.correct(np.arange(parts.first, parts.first + done))
    found = Trace(log.confidence, correct, name=parts.name)
    measured = report(log, link.delays, found, parts.beta, parts.plan)
    if parts.replays:
        measured = measured.beside(parts.replays(found))
    return Ran(measured, silence if log.unanswered else "", log, link.delays)


@contextlib.contextmanager
def _far_end(parts: Parts, say: Callable[[str], None]) -> Iterator[tuple[Any, FarEnd | None]]:
    """A context for the run, and what stands at the far end of the link, if that is not a server of ours."""
    context, far = zmq.Context(), None
    try:
        far = parts.far_end(context) if parts.far_end else None
        yield context, far
    finally:
        if far:
            far.close()
            if far.failed:
                say(f"{far.failed} requests failed; the last one: {far.last_failure}")
        context.destroy(linger=0)


def _after_batch(
    unit: Device, parts: Parts, growing: Growing | None, say: Callable[[str], None]
) -> Callable[[int], None]:
    """What is done once a batch is decided: keep the learner, write the log, say how far it is; each now and then."""
    actions: list[Callable[[int], None]] = [parts.kept.write] if parts.kept else []
    if growing:
        actions.append(lambda done: growing.write(unit.log, unit.final(done)))
    write, tell = Every(*actions), _Progress(parts.samples, say)

    def after_batch(done: int) -> None:
        write(done)
        tell(done)

    return after_batch


class _Progress:
    """A line every two seconds: a bar that is drawn beside the device would take its time from it."""

    def __init__(self, total: int, say: Callable[[str], None]) -> None:
        self.total, self.say, self.next = total, say, time.perf_counter() + _SAID_EVERY

    def __call__(self, done: int) -> None:
        if time.perf_counter() > self.next:
            self.say(f"{done} of {self.total} samples")
            self.next += _SAID_EVERY
