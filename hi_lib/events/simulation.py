"""Batch HI event by event: a device, a link and a server as SimPy processes that know nothing of the formulas.

The device computes the samples of a batch one after another, hands the offloaded ones to the link and waits; the link
sends them one after another and carries them over; the server works through them; the answers come back together.
Samples may arrive at times of their own, every transmission may meet another network time, the server may need time to
set up a batch, the batch size may change from batch to batch, and a learner may decide what is offloaded. With a
window, the device goes on computing while transmissions are out.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
import simpy
from numpy.typing import ArrayLike, NDArray

from hi_lib import checks
from hi_lib.events.queueing import checked_window, in_order, n_times
from hi_lib.timing import TimingModel
from hi_lib.traces import Trace
from hi_lib.typing import Floats
from hi_lib.units import UNITS

Process = Generator[simpy.Event, Any, None]


class Interval(NamedTuple):
    """One stretch of work; times in ms, `sample` is None for work on a whole batch."""

    lane: str
    start: float
    end: float
    sample: int | None = None


class Policy(Protocol):
    """Who decides what is offloaded."""

    def decide(self, batch: slice) -> NDArray[np.bool_]:
        """Which of these samples, further ones of a batch, to offload; asked when the S-ML is through with them."""

    def learn(self, batch: slice) -> None:
        """Take note that the batch has ended."""


class BatchSizes(Protocol):
    """Who decides how large the next batch is."""

    def next_size(self) -> int:
        """Size of the batch that begins now."""

    def observe(self, size: int, offloads: int, network_time: float | None) -> None:
        """Take note of a batch that has ended; `network_time` is None if it sent nothing."""


@dataclass(frozen=True)
class Given:
    """A policy decided beforehand: `offloaded` is a bool array of shape (n,)."""

    offloaded: NDArray[np.bool_]

    def decide(self, batch: slice) -> NDArray[np.bool_]:
        """What was decided."""
        return self.offloaded[batch]

    def learn(self, batch: slice) -> None:
        """Nothing is learned."""


@dataclass(frozen=True)
class Learning:
    """A streaming learner (`HILF`, `HILN`) at work on a trace."""

    learner: Any
    trace: Trace

    def decide(self, batch: slice) -> NDArray[np.bool_]:
        """The learner's decision with the threshold of the batch at hand."""
        return self.learner.decide(self.trace.confidence[batch])

    def learn(self, batch: slice) -> None:
        """Update the learner with the whole batch."""
        self.learner.update(self.trace.confidence[batch], self.trace.correct[batch])


class LateLearning:
    """A streaming learner at work on a trace while its feedback is out: a ticket a batch."""

    def __init__(self, learner: Any, trace: Trace) -> None:
        self.learner, self.trace = learner, trace
        self._tickets: dict[int, Any] = {}

    def decide(self, batch: slice) -> NDArray[np.bool_]:
        """The learner's decision with the threshold of the batch at hand."""
        return self.learner.decide(self.trace.confidence[batch])

    def sent(self, batch: slice) -> None:
        """Let the learner end the batch, whose feedback is out."""
        self._tickets[batch.start] = self.learner.defer(self.trace.confidence[batch])

    def learn(self, batch: slice) -> None:
        """Let the learner hear of the whole batch."""
        self.learner.hear(self._tickets.pop(batch.start), self.trace.correct[batch])


class FreshLearning:
    """A streaming learner with a θ of its own for each sample, as counting offloads asks for (T21)."""

    def __init__(self, learner: Any, trace: Trace) -> None:
        self.learner, self.trace = learner, trace
        self._tickets: dict[int, Any] = {}

    def decide(self, batch: slice) -> NDArray[np.bool_]:
        """The learner's decision on each sample, from what it has heard so far."""
        numbers = range(batch.start, batch.stop)
        self._tickets |= {one: self.learner.decide_later(self.trace.confidence[one : one + 1]) for one in numbers}
        return np.array([self._tickets[one].offload[0] for one in numbers])

    def learn(self, batch: slice) -> None:
        """Let the learner hear of the whole cycle."""
        for one in range(batch.start, batch.stop):
            self.learner.hear(self._tickets.pop(one), self.trace.correct[one : one + 1])


@dataclass(frozen=True)
class Fixed:
    """Always the same batch size."""

    size: int

    def next_size(self) -> int:
        """The size."""
        return self.size

    def observe(self, size: int, offloads: int, network_time: float | None) -> None:
        """Nothing is learned."""


@dataclass(frozen=True, eq=False)
class Log:
    """What happened, times in ms from the first arrival.

    Attributes
    ----------
    arrived, started, answered : NDArray of shape (n,)
        When a sample was there, when the device began with it, when its answer was known.
    offloaded : NDArray of shape (n,), bool
    sizes, offloads, ended : NDArray of shape (batches,)
        Samples and offloads of each batch, and when the device was free again.
    intervals : list of Interval
        Every stretch of work in lanes "device", "uplink", "network" (half of a network time on the way there, half on
        the way back) and "server", in the order in which they ended; empty unless recorded.
    """

    arrived: Floats
    started: Floats
    answered: Floats
    offloaded: NDArray[np.bool_]
    sizes: NDArray[np.int64]
    offloads: NDArray[np.int64]
    ended: Floats
    intervals: list[Interval] = field(repr=False)

    @property
    def response_time(self) -> Floats:
        """From a sample's arrival to its answer, ms, shape (n,); without arrival times, from the start of its S-ML."""
        return self.answered - self.arrived

    @property
    def system_time(self) -> float:
        """Time of the whole run a sample, ms."""
        return float(self.ended.max() / self.arrived.size)


def simulate(
    timing: TimingModel,
    offloaded: ArrayLike | Policy,
    batch_size: int | BatchSizes,
    *,
    unit: str = "samples",
    max_samples: int | None = None,
    samples: int | None = None,
    arrivals: ArrayLike | None = None,
    network_times: ArrayLike | None = None,
    sending_times: ArrayLike | None = None,
    window: float | None = None,
    max_wait: float = math.inf,
    overhead: float = 0.0,
    server_setup: float = 0.0,
    half_duplex: bool = False,
    record: bool = False,
) -> Log:
    """Let a device, a link and a server work through n samples.

    Parameters
    ----------
    timing : TimingModel
        What each step takes, ms.
    offloaded : array-like of bool, shape (n,), or Policy
        Which samples are offloaded, or who decides, e.g. `Learning(hi.HILF(...), trace)`.
    batch_size : int or BatchSizes
        M >= 1, or who decides, e.g. `hi_lib.device.adaptive.AdaptiveBatchSize`. The last batch may be shorter.
    unit : {"samples", "offloads"}
        What `batch_size` counts: with "offloads" a transmission is sent when m are pending, or all samples are through.
    max_samples : int, optional
        With the unit "offloads", a cycle ends after so many samples at the latest.
    samples : int, optional
        n, only and always where a policy decides.
    arrivals : array-like of shape (n,), optional
        When each sample is there, ms, in order; all times count from the first. By default the next one is there
        whenever the device is free.
    network_times : array-like of shape (n,), optional
        Network time of a transmission, ms, if it carries the batch that ends with this sample; by default the timing
        model's.
    sending_times : array-like of shape (n,), optional
        Time to send each sample, ms, where their sizes differ; by default τ_tx.
    window : int or inf, optional
        W: the device goes on while up to so many transmissions are out; one more waits, and the device with it, until
        an answer is back. By default it waits idle for every answer, as the paper's. A learner must then be able to
        hear late: `LateLearning`.
    max_wait : float
        A batch closes, full or not, once so many ms have passed since its first sample was begun; with the unit
        "offloads", since its first offload was decided.
    overhead : float
        Time of the device for each transmission that overlaps with nothing, e.g. to wake up the radio, ms.
    server_setup : float
        Time of the server for a batch, beside τ_es for each sample, ms.
    half_duplex : bool
        Whether the link carries one thing at a time: a transmission until it has arrived, or an answer on its way.
    record : bool
        Whether to keep every interval.

    Returns
    -------
    Log
        Of n samples, in order.

    Raises
    ------
    ValueError
        An argument outside its range, or of the wrong length.

    Examples
    --------
    >>> timing = TimingModel(tau_ed=1, tau_es=4, tau_tx=5, tau_nw=20)
    >>> log = simulate(timing, [1, 0], batch_size=2, record=True)
    >>> for interval in log.intervals:
    ...     print(interval.lane, interval.start, interval.end)
    device 0.0 1.0
    device 1.0 2.0
    uplink 2.0 7.0
    network 7.0 17.0
    server 17.0 21.0
    network 21.0 31.0
    >>> log.response_time
    array([31.,  1.])
    """
    if hasattr(offloaded, "decide"):
        policy, n = offloaded, checks.whole("samples", samples)
    else:
        flags = checks.flags("offloaded", offloaded)
        if samples not in (None, flags.size):
            raise ValueError(f"samples must be left out where offloaded is given, got {checks.shown(samples)}")
        policy, n = Given(flags), checks.whole("samples", flags.size)
    if window is not None and isinstance(policy, Learning):
        raise ValueError("a learner must be able to hear late where there is a window: use LateLearning")
    checked_window(window)
    counts_offloads = checks.choice("unit", unit, UNITS) == "offloads"
    if counts_offloads and isinstance(policy, Learning | LateLearning):
        raise ValueError("a learner must draw a θ for each sample where offloads are counted: use FreshLearning")
    if max_samples is not None and not counts_offloads:
        raise ValueError(f"max_samples must be left out for the unit samples, got {checks.shown(max_samples)}")
    sizes = batch_size if hasattr(batch_size, "next_size") else Fixed(checks.whole("batch_size", batch_size))
    there = None if arrivals is None else in_order(arrivals, n)
    cell = _Cell(
        timing,
        counts_offloads=counts_offloads,
        max_samples=n if max_samples is None else checks.whole("max_samples", max_samples),
        network=None if network_times is None else n_times("network_times", network_times, n).tolist(),
        sending=[timing.tau_tx] * n if sending_times is None else n_times("sending_times", sending_times, n).tolist(),
        window=window,
        max_wait=math.inf if max_wait == math.inf else checks.nonnegative("max_wait", max_wait),
        overhead=checks.nonnegative("overhead", overhead),
        server_setup=checks.nonnegative("server_setup", server_setup),
        half_duplex=half_duplex,
        record=record,
    )
    return cell.run(policy, sizes, n, None if there is None else (there - there[0]).tolist())  # type: ignore[arg-type]


@dataclass(eq=False)
class _Cell:
    """One device, its link and its server."""

    timing: TimingModel
    counts_offloads: bool
    max_samples: int
    network: list[float] | None
    sending: list[float]
    window: float | None
    max_wait: float
    overhead: float
    server_setup: float
    half_duplex: bool
    record: bool

    def __post_init__(self) -> None:
        self.intervals: list[Interval] | None = [] if self.record else None
        self.env = simpy.Environment()
        self.link, self.server = simpy.Resource(self.env), simpy.Resource(self.env)
        self.out, self.back = 0, self.env.event()
        self.latest = {"there": 0.0, "back": 0.0}  # when the last transmission has come through

    def run(self, policy: Policy, sizes: BatchSizes, n: int, arrivals: list[float] | None) -> Log:
        self.policy, self.sizes = policy, sizes
        self.started, self.answered = [0.0] * n, [0.0] * n
        self.offloaded = np.zeros(n, dtype=bool)
        self.batches: list[list[float]] = []
        self.env.process(self.device(n, arrivals))
        self.env.run()
        size, offloads, ended = (np.array(column) for column in zip(*self.batches, strict=True))
        started, answered = np.array(self.started), np.array(self.answered)
        arrived = started if arrivals is None else np.array(arrivals)
        counts = size.astype(np.int64), offloads.astype(np.int64)
        return Log(arrived, started, answered, self.offloaded, *counts, ended, self.intervals or [])

    def device(self, n: int, arrivals: list[float] | None) -> Process:
        env, first = self.env, 0
        while first < n:
            size = self.sizes.next_size()
            if size < 1:
                raise ValueError(f"next_size must return an integer >= 1, got {checks.shown(size)}")
            last = min(first + (self.max_samples if self.counts_offloads else size), n)
            most = size if self.counts_offloads else n
            batch = yield from self.compute(first, last, most, arrivals)
            sent = [first + place for place, offload in enumerate(self.offloaded[batch].tolist()) if offload]
            number, first = len(self.batches), batch.stop
            self.batches.append([first - batch.start, len(sent), env.now])
            if hasattr(self.policy, "sent"):
                self.policy.sent(batch)
            if not sent:
                self.learn(number, batch, None)
                continue
            if self.overhead:
                yield env.timeout(self.overhead)
                self.note("device", self.overhead)
            if self.window is None:
                yield from self.carry(number, batch, sent)
                continue
            while self.out >= self.window:
                yield self.back
            self.out += 1
            env.process(self.carry(number, batch, sent))

    def compute(
        self, first: int, last: int, most: int, arrivals: list[float] | None
    ) -> Generator[simpy.Event, Any, slice]:
        """Work through a batch, which closes with its last sample, with so many offloads, or with `max_wait`."""
        env, tau_ed, closes, pending = self.env, self.timing.tau_ed, math.inf, 0
        for sample in range(first, last):
            if arrivals is not None and arrivals[sample] > env.now:
                yield env.timeout(min(arrivals[sample], max(closes, env.now)) - env.now)
            if env.now >= closes:
                return slice(first, sample)
            self.started[sample] = env.now
            if sample == first and not self.counts_offloads:
                closes = env.now + self.max_wait
            yield env.timeout(tau_ed)
            self.offloaded[sample : sample + 1] = self.policy.decide(slice(sample, sample + 1))
            self.answered[sample] = env.now
            self.note("device", tau_ed, sample)
            pending += self.offloaded[sample]
            if pending == 1 and self.offloaded[sample] and self.counts_offloads:
                closes = env.now + self.max_wait
            if pending == most:
                return slice(first, sample + 1)
        return slice(first, last)

    def carry(self, number: int, batch: slice, sent: list[int]) -> Process:
        """Take a batch's offloads to the server and their answers back."""
        env, tau_es = self.env, self.timing.tau_es
        half, both_ways, setup = self.network_time(batch, len(sent)) / 2, self.half_duplex, self.server_setup
        turn = yield from self.turn(self.link)
        for sample in sent:
            yield env.timeout(self.sending[sample])
            self.note("uplink", self.sending[sample], sample)
        if not both_ways:
            self.leave(self.link, turn)
        there = self.in_order("there", half)
        yield env.timeout(there)
        self.note("network", there)
        if both_ways:
            self.leave(self.link, turn)
        turn = yield from self.turn(self.server)
        if setup:
            yield env.timeout(setup)
            self.note("server", setup)
        for sample in sent:
            yield env.timeout(tau_es)
            self.note("server", tau_es, sample)
        self.leave(self.server, turn)
        turn = (yield from self.turn(self.link)) if both_ways else None
        back = self.in_order("back", half)
        yield env.timeout(back)
        self.note("network", back)
        self.leave(self.link, turn)
        for sample in sent:
            self.answered[sample] = env.now
        self.learn(number, batch, 2 * half)
        if self.window is not None:
            self.out -= 1
            self.back.succeed()
            self.back = env.event()

    def network_time(self, batch: slice, images: int) -> float:
        """Of the transmission of a batch, ms."""
        if self.network is not None:
            return self.network[batch.stop - 1]
        return self.timing.network_time(images) if self.timing.network_time else self.timing.tau_nw

    def in_order(self, way: str, time: float) -> float:
        """How long half a network time takes; where it depends on what is sent, nothing overtakes what went before."""
        if self.timing.network_time is None:
            return time
        self.latest[way] = max(self.env.now + time, self.latest[way])
        return self.latest[way] - self.env.now

    def turn(self, resource: simpy.Resource) -> Generator[simpy.Event, Any, simpy.resources.resource.Request | None]:
        """Wait for one's turn, where others may be on the way."""
        if self.window is None:
            return None
        request = resource.request()
        yield request
        return request

    def leave(self, resource: simpy.Resource, turn: simpy.resources.resource.Request | None) -> None:
        if turn is not None:
            resource.release(turn)

    def learn(self, number: int, batch: slice, network_time: float | None) -> None:
        size, offloads, _ = self.batches[number]
        self.batches[number][2] = self.env.now
        self.policy.learn(batch)
        self.sizes.observe(int(size), int(offloads), network_time)

    def note(self, lane: str, duration: float, sample: int | None = None) -> None:
        if self.intervals is not None:
            self.intervals.append(Interval(lane, float(self.env.now - duration), float(self.env.now), sample))
