"""Batch HI event by event: a device, a link and a server as SimPy processes that know nothing of the formulas.

The device computes the samples of a batch one after another, hands the offloaded ones to the link and waits; the link
sends them one after another and carries them over; the server works through them; the answers come back together.
Samples may arrive at times of their own, every transmission may meet another network time, the server may need time to
set up a batch, the batch size may change from batch to batch, and a learner may decide what is offloaded.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
import simpy
from numpy.typing import ArrayLike, NDArray

from hi_lib import checks
from hi_lib.timing import TimingModel
from hi_lib.traces import Trace
from hi_lib.typing import Floats

Process = Generator[simpy.Event, Any, None]


class Interval(NamedTuple):
    """One stretch of work; times in ms, `sample` is None for work on a whole batch."""

    lane: str
    start: float
    end: float
    sample: int | None = None


class Policy(Protocol):
    """Who decides what is offloaded, batch by batch."""

    def decide(self, batch: slice) -> NDArray[np.bool_]:
        """Which of these samples to offload; asked once, when the batch begins."""

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
        """The learner's decision with its threshold of the moment."""
        return self.learner.decide(self.trace.confidence[batch])

    def learn(self, batch: slice) -> None:
        """Update the learner with the whole batch."""
        self.learner.update(self.trace.confidence[batch], self.trace.correct[batch])


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
    """What happened, times in ms.

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
        return float(self.ended[-1] / self.arrived.size)


def simulate(
    timing: TimingModel,
    offloaded: ArrayLike | Policy,
    batch_size: int | BatchSizes,
    *,
    samples: int | None = None,
    arrivals: ArrayLike | None = None,
    network_times: ArrayLike | None = None,
    server_setup: float = 0.0,
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
        M >= 1, or who decides, e.g. `hi_lib.adaptive.AdaptiveBatchSize`. The last batch may be shorter.
    samples : int, optional
        n, only and always where a policy decides.
    arrivals : array-like of shape (n,), optional
        When each sample is there, ms, in order. By default the next one is there whenever the device is free.
    network_times : array-like of shape (n,), optional
        Network time of a transmission, ms, if it carries the batch that ends with this sample; by default τ_nw.
    server_setup : float
        Time of the server for a batch, beside τ_es for each sample, ms.
    record : bool
        Whether to keep every interval.

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
    sizes = batch_size if hasattr(batch_size, "next_size") else Fixed(checks.whole("batch_size", batch_size))
    there = None if arrivals is None else _arrivals(arrivals, n)
    network = np.full(n, timing.tau_nw) if network_times is None else _times("network_times", network_times, n)
    cell = _Cell(timing, network, checks.nonnegative("server_setup", server_setup), record)
    return cell.run(policy, sizes, n, None if there is None else there.tolist())  # type: ignore[arg-type]


def poisson_arrivals(n: int, rate: float, seed: int | None = None) -> NDArray[np.float64]:
    """Arrival times of n samples, ms, `rate` of them a millisecond on average: exponential gaps."""
    gaps = np.random.default_rng(checks.seed("seed", seed)).exponential(size=checks.whole("n", n))
    return np.cumsum(gaps / checks.positive("rate", rate))


def lognormal_times(mean: ArrayLike, variation: float, seed: int | None = None) -> NDArray[np.float64]:
    """Random network times, ms: lognormal around `mean`, shape (n,), with this coefficient of variation."""
    middle = checks.reals("mean", mean, 0, np.finfo(float).max)
    spread = np.sqrt(np.log1p(checks.nonnegative("variation", variation) ** 2))
    noise = np.random.default_rng(checks.seed("seed", seed)).standard_normal(middle.shape)
    return middle * np.exp(spread * noise - spread**2 / 2)


def queue_times(timing: TimingModel, offloaded: ArrayLike, batch_size: int, arrivals: ArrayLike) -> NDArray[np.float64]:
    """Response times of samples that arrive at these times, shape (n,), ms: what `simulate` finds, counted directly.

    For long runs: some thousand times faster, with a constant network and server.

    Examples
    --------
    >>> timing = TimingModel(tau_ed=1, tau_es=4, tau_tx=5, tau_nw=20)
    >>> queue_times(timing, [1, 0, 1], 1, arrivals=[10, 12, 100])
    array([30., 29., 30.])
    """
    flags = checks.flags("offloaded", offloaded)
    there = _arrivals(arrivals, flags.size)
    size = checks.whole("batch_size", batch_size)
    from hi_lib.queueing import responses  # brings numba

    return responses(flags, there, size, timing.tau_ed, timing.tau_nw, timing.tau_tx + timing.tau_es)


def mean_error(values: ArrayLike, block: int) -> float:
    """Standard error of the mean of values that hang together within blocks of so many only, e.g. within batches."""
    found, size = np.asarray(values, dtype=float), checks.whole("block", block)
    blocks = found.size // size
    if blocks < 2:
        raise ValueError(f"values must fill at least two blocks of {size}, got {found.size}")
    return float(found[: blocks * size].reshape(blocks, size).mean(axis=1).std(ddof=1) / np.sqrt(blocks))


class _Cell:
    """One device, its link and its server."""

    def __init__(self, timing: TimingModel, network: Floats, server_setup: float, record: bool) -> None:
        self.timing, self.network, self.server_setup = timing, network.tolist(), server_setup
        self.intervals: list[Interval] | None = [] if record else None
        self.env = simpy.Environment()
        self.to_link, self.to_server = self.env.event(), self.env.event()

    def run(self, policy: Policy, sizes: BatchSizes, n: int, arrivals: list[float] | None) -> Log:
        self.env.process(self.link())
        self.env.process(self.server())
        self.started, self.answered = [0.0] * n, [0.0] * n
        self.offloaded = np.zeros(n, dtype=bool)
        self.batches: list[tuple[int, int, float]] = []
        self.env.run(self.env.process(self.device(policy, sizes, n, arrivals)))
        size, offloads, ended = (np.array(column) for column in zip(*self.batches, strict=True))
        started, answered = np.array(self.started), np.array(self.answered)
        arrived = started if arrivals is None else np.array(arrivals)
        return Log(arrived, started, answered, self.offloaded, size, offloads, ended, self.intervals or [])

    def device(self, policy: Policy, sizes: BatchSizes, n: int, arrivals: list[float] | None) -> Process:
        env, tau_ed, first = self.env, self.timing.tau_ed, 0
        while first < n:
            size = sizes.next_size()
            if size < 1:
                raise ValueError(f"next_size must return an integer >= 1, got {checks.shown(size)}")
            last = min(first + size, n) - 1
            batch = slice(first, last + 1)
            self.offloaded[batch] = flags = policy.decide(batch)
            for sample in range(first, last + 1):
                if arrivals is not None and arrivals[sample] > env.now:
                    yield env.timeout(arrivals[sample] - env.now)
                self.started[sample] = env.now
                yield env.timeout(tau_ed)
                self.answered[sample] = env.now
                self.note("device", tau_ed, sample)
            sent = [first + place for place, offload in enumerate(flags.tolist()) if offload]
            if sent:
                yield self.hand(self.to_link, (sent, self.network[last]))
                for sample in sent:
                    self.answered[sample] = env.now
            policy.learn(batch)
            sizes.observe(last + 1 - first, len(sent), self.network[last] if sent else None)
            self.batches.append((last + 1 - first, len(sent), env.now))
            first = last + 1

    def link(self) -> Process:
        env, tau_tx = self.env, self.timing.tau_tx
        while True:
            (sent, network_time), answers = yield self.to_link
            self.to_link = env.event()
            for sample in sent:
                yield env.timeout(tau_tx)
                self.note("uplink", tau_tx, sample)
            yield env.timeout(network_time / 2)
            self.note("network", network_time / 2)
            yield self.hand(self.to_server, sent)
            yield env.timeout(network_time / 2)
            self.note("network", network_time / 2)
            answers.succeed()

    def server(self) -> Process:
        env, tau_es = self.env, self.timing.tau_es
        while True:
            sent, served = yield self.to_server
            self.to_server = env.event()
            if self.server_setup:
                yield env.timeout(self.server_setup)
                self.note("server", self.server_setup)
            for sample in sent:
                yield env.timeout(tau_es)
                self.note("server", tau_es, sample)
            served.succeed()

    def hand(self, to: simpy.Event, load: Any) -> simpy.Event:
        """Wake up who waits for work, and return the event of its being done."""
        done = self.env.event()
        to.succeed((load, done))
        return done

    def note(self, lane: str, duration: float, sample: int | None = None) -> None:
        if self.intervals is not None:
            self.intervals.append(Interval(lane, float(self.env.now - duration), float(self.env.now), sample))


def _arrivals(values: ArrayLike, n: int) -> NDArray[np.float64]:
    times = _times("arrivals", values, n)
    if (np.diff(times) < 0).any():
        raise ValueError("arrivals must be in order")
    return times


def _times(where: str, values: ArrayLike, n: int) -> NDArray[np.float64]:
    times = checks.reals(where, values, 0, np.finfo(float).max)
    if times.shape != (n,):
        raise ValueError(f"{where} must have shape ({n},), got {times.shape}")
    return times
