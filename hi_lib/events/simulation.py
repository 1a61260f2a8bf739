"""Batch HI event by event: a device, a link and a server as SimPy processes that know nothing of the formulas.

The device computes the samples of a batch one after another, hands the offloaded ones to the link and waits; the link
sends them one after another and carries them over; the server works through them; the answers come back together.
Samples may arrive at times of their own, every transmission may meet another network time, the server may need time to
set up a batch, the batch size may change from batch to batch, and a learner may decide what is offloaded. With a
window, the device goes on computing while transmissions are out. Several devices may share the server, and the uplink,
too.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
import simpy
from numpy.typing import ArrayLike, NDArray

from hi_lib import checks
from hi_lib.events.crowd import begins, checked_cap, dealt, of_each, one_or_each
from hi_lib.events.queueing import checked_window, in_order, n_times
from hi_lib.events.serving import SERVER, UPLINK, Line, Merger, Place, checked_server
from hi_lib.payload import NetworkTime
from hi_lib.timing import TimingModel
from hi_lib.traces import Trace
from hi_lib.typing import Floats
from hi_lib.units import UNITS

Process = Generator[simpy.Event, Any, None]
Resource = simpy.Resource | Place


class Interval(NamedTuple):
    """One stretch of work; times in ms, `sample`, counted within its device, is None for work on a whole batch."""

    lane: str
    start: float
    end: float
    sample: int | None = None
    device: int = 0


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
        tickets = [self._tickets.pop(one) for one in range(batch.start, batch.stop)]
        self.learner.hear_together(tickets, self.trace.correct[batch])


@dataclass(frozen=True)
class Fixed:
    """Always the same batch size."""

    size: int

    def next_size(self) -> int:
        """The size."""
        return self.size

    def observe(self, size: int, offloads: int, network_time: float | None) -> None:
        """Nothing is learned."""


class Listed:
    """Batches of given sizes, one after the other."""

    def __init__(self, sizes: Iterable[int]) -> None:
        self._sizes = iter(sizes)

    def next_size(self) -> int:
        """The next size."""
        return int(next(self._sizes))

    def observe(self, size: int, offloads: int, network_time: float | None) -> None:
        """Nothing is learned."""


@dataclass(frozen=True, eq=False)
class Log:
    """What happened, times in ms from the first arrival; of several devices one after the other.

    Attributes
    ----------
    arrived, started, answered : NDArray of shape (n,)
        When a sample was there, when the device began with it, when its answer was known.
    offloaded : NDArray of shape (n,), bool
    sizes, offloads, ended : NDArray of shape (batches,)
        Samples and offloads of each batch, and when its answers were there; with nothing sent, when it was computed.
    intervals : list of Interval
        Every stretch of work in lanes "device", "uplink", "network" (half of a network time on the way there, half on
        the way back) and "server", in the order in which they ended; empty unless recorded.
    samples : NDArray of shape (devices,)
        How many of the n samples each device has.
    """

    arrived: Floats
    started: Floats
    answered: Floats
    offloaded: NDArray[np.bool_]
    sizes: NDArray[np.int64]
    offloads: NDArray[np.int64]
    ended: Floats
    intervals: list[Interval] = field(repr=False)
    samples: NDArray[np.int64]

    @property
    def response_time(self) -> Floats:
        """From a sample's arrival to its answer, ms, shape (n,); without arrival times, from the start of its S-ML."""
        return self.answered - self.arrived

    @property
    def response_times(self) -> list[Floats]:
        """The response times of each device, ms."""
        return np.split(self.response_time, np.cumsum(self.samples)[:-1])

    @property
    def system_times(self) -> Floats:
        """Time of each device's whole run a sample, ms, shape (devices,)."""
        ends = np.cumsum(self.sizes).searchsorted(np.cumsum(self.samples)) + 1
        return np.maximum.reduceat(self.ended, np.append(0, ends[:-1])) / self.samples

    @property
    def system_time(self) -> float:
        """Time of the whole run a sample, ms; of several devices the mean."""
        return float(self.system_times.mean())


def simulate(
    timing: TimingModel,
    offloaded: ArrayLike | Policy,
    batch_size: int | BatchSizes | Sequence[int | BatchSizes],
    *,
    unit: str = "samples",
    max_samples: int | None = None,
    samples: int | None = None,
    arrivals: ArrayLike | None = None,
    network_times: ArrayLike | None = None,
    sending_times: ArrayLike | None = None,
    serving_times: ArrayLike | None = None,
    window: float | None = None,
    max_wait: float = math.inf,
    overhead: float = 0.0,
    server_setup: float = 0.0,
    half_duplex: bool = False,
    devices: int = 1,
    shared_uplink: bool = False,
    in_turn: str = "requests",
    merge: int | None = None,
    merge_wait: float = 0.0,
    record: bool = False,
) -> Log:
    """Let a device, a link and a server work through n samples, or let several devices share one server.

    Devices work on their own, each as it would alone, and only meet at the server, and at the uplink if they share it.
    There whoever came first goes first, and at the very same time the device with the smaller number.

    Parameters
    ----------
    timing : TimingModel
        What each step takes, ms.
    offloaded : array-like of bool, shape (n,), or Policy
        Which samples are offloaded, or who decides, e.g. `Learning(hi.HILF(...), trace)`.
        Several devices have it in common, and then device d of D begins with sample ⌊d n / D⌋ and goes round, so that
        they do not run in step; or it holds an array for each device, of any lengths.
    batch_size : int or BatchSizes
        M >= 1, or who decides, e.g. `hi_lib.device.adaptive.AdaptiveBatchSize`. The last batch may be shorter. Several
        devices may have one of their own each: a list of them.
    unit : {"samples", "offloads"}
        What `batch_size` counts: with "offloads" a transmission is sent when m are pending, or all samples are through.
    max_samples : int, optional
        With the unit "offloads", a cycle ends after so many samples at the latest.
    samples : int, optional
        n, only and always where a policy decides.
    arrivals : array-like of shape (n,), optional
        When each sample is there, ms, in order; all times count from the first. By default the next one is there
        whenever the device is free. Several devices may have arrivals in common, or an array each.
    network_times : array-like of shape (n,), optional
        Network time of a transmission, ms, if it carries the batch that ends with this sample; by default the timing
        model's. These and the next two are for several devices what `offloaded` is: one array that goes round, or one
        for each.
    sending_times : array-like of shape (n,), optional
        Time to send each sample, ms, where their sizes differ; by default τ_tx.
    serving_times : array-like of shape (n,), optional
        Time of the server for each sample, ms, where they differ; by default τ_es.
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
        Time of the server for a batch, beside τ_es for each sample, ms: once a transmission, or once for those merged.
    half_duplex : bool
        Whether the link carries one thing at a time: a transmission until it has arrived, or an answer on its way.
    devices : int
        D, how many share the server; a policy decides for one only.
    shared_uplink : bool
        Whether they share the link, too, on which one transmission is sent after the other; by default each has its
        own. Latency is no part of it: half of the network time passes for any number of transmissions at once.
    in_turn : {"requests", "images"}
        What the server takes in turn. "requests": a whole transmission after the other, first come, first served.
        "images", to be fair: it serves one image of the device that is first in line, which then goes to the end of
        the line if it has more, behind those that have come by then. A device stands in line once, its transmissions
        one after the other; each has its setup before its first image, and is answered after its last.
    merge : int, optional
        The server merges transmissions that wait, whole ones in the order in which they came, up to so many images
        together, and never fewer than one transmission. It has one setup for them, and answers all when it is done.
    merge_wait : float
        For so many ms at most, since the first of them came, it waits for others to merge, while it has fewer images
        than `merge`. With 0 it takes what there is when it is free.
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
    >>> crowd = simulate(timing, [1, 0], batch_size=1, devices=2)  # the second begins with the other sample
    >>> [times.tolist() for times in crowd.response_times], crowd.system_times.tolist()
    ([[30.0, 1.0], [1.0, 33.0]], [15.5, 17.0])
    """
    policies, counts = _decided(offloaded, checks.whole("devices", devices), samples)
    policy = policies[0]
    if window is not None and isinstance(policy, Learning):
        raise ValueError("a learner must be able to hear late where there is a window: use LateLearning")
    checked_window(window)
    counts_offloads = checks.choice("unit", unit, UNITS) == "offloads"
    if counts_offloads and isinstance(policy, Learning | LateLearning):
        raise ValueError("a learner must draw a θ for each sample where offloads are counted: use FreshLearning")
    cap = checked_cap(max_samples, counts_offloads)
    sizes = _sizes_of_each(batch_size, devices)
    there = _arrivals_of_each(arrivals, counts)
    network = _times_of_each("network_times", network_times, timing.tau_nw, counts)
    sending = _times_of_each("sending_times", sending_times, timing.tau_tx, counts)
    serving = _times_of_each("serving_times", serving_times, timing.tau_es, counts)
    longest = math.inf if max_wait == math.inf else checks.nonnegative("max_wait", max_wait)
    extra, setup = checks.nonnegative("overhead", overhead), checks.nonnegative("server_setup", server_setup)
    checked_server(in_turn, merge, merge_wait)
    intervals: list[Interval] | None = [] if record else None
    env = simpy.Environment()
    uplink, line = Line(env, UPLINK), Line(env, SERVER)
    merger = None if merge is None else Merger(env, merge, merge_wait)
    cells = []
    for number, n in enumerate(counts):
        # A device that waits for every answer meets nobody at what is its own.
        own_link, own_server = (None if window is None else simpy.Resource(env) for _ in range(2))
        cell = _Cell(
            env=env,
            number=number,
            link=Place(uplink, number) if shared_uplink and devices > 1 else own_link,
            server=None if merger else Place(line, number) if devices > 1 else own_server,
            place_in_line=simpy.Resource(env) if in_turn == "images" else None,
            merger=merger,
            intervals=intervals,
            policy=policies[number],
            sizes=sizes[number],
            counts_offloads=counts_offloads,
            max_samples=max(counts) if cap is None else cap,
            tau_ed=timing.tau_ed,
            network=network[number],
            by_images=timing.network_time if network_times is None else None,
            sending=sending[number],
            serving=serving[number],
            window=window,
            max_wait=longest,
            overhead=extra,
            server_setup=setup,
            half_duplex=half_duplex,
        )
        cell.begin(n, None if there is None else there[number])
        cells.append(cell)
    env.run()
    return _log(cells, there, intervals or [])


@dataclass(eq=False)
class _Cell:
    """One device, and its way to the server and through it."""

    env: simpy.Environment
    number: int
    link: Resource | None
    server: Resource | None
    place_in_line: Resource | None
    """Where one transmission of the device waits for the other, if the server takes images in turn."""
    merger: Merger | None
    intervals: list[Interval] | None
    policy: Any
    sizes: BatchSizes
    counts_offloads: bool
    max_samples: int
    tau_ed: float
    network: list[float]
    by_images: NetworkTime | None
    """In place of these, the network time by the number of images."""
    sending: list[float]
    serving: list[float]
    window: float | None
    max_wait: float
    overhead: float
    server_setup: float
    half_duplex: bool

    def begin(self, n: int, arrivals: list[float] | None) -> None:
        self.out, self.back = 0, self.env.event()
        self.latest = {"there": 0.0, "back": 0.0}  # when the last transmission has come through
        self.started, self.answered = [0.0] * n, [0.0] * n
        self.offloaded = np.zeros(n, dtype=bool)
        self.batches: list[list[float]] = []
        self.env.process(self.device(n, arrivals))

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
        env, tau_ed, closes, pending = self.env, self.tau_ed, math.inf, 0
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
        env, sending, both_ways = self.env, self.sending, self.half_duplex
        half = (self.by_images(len(sent)) if self.by_images else self.network[batch.stop - 1]) / 2
        turn = (yield from _turn(self.link)) if self.link else None
        for sample in sent:
            yield env.timeout(sending[sample])
            self.note("uplink", sending[sample], sample)
        if not both_ways:
            _leave(self.link, turn)
        there = self.in_order("there", half)
        yield env.timeout(there)
        self.note("network", there)
        if both_ways:
            _leave(self.link, turn)
        if self.merger is not None:
            yield self.merger.request(self.number, sent, self.serve)
        elif self.place_in_line is not None:
            place = yield from _turn(self.place_in_line)
            for sample in sent:
                yield from self.serve([sample], sample == sent[0])
            _leave(self.place_in_line, place)
        else:
            yield from self.serve(sent, True)
        turn = (yield from _turn(self.link)) if self.link and both_ways else None
        back = self.in_order("back", half)
        yield env.timeout(back)
        self.note("network", back)
        _leave(self.link, turn)
        for sample in sent:
            self.answered[sample] = env.now
        self.learn(number, batch, 2 * half)
        if self.window is not None:
            self.out -= 1
            self.back.succeed()
            self.back = env.event()

    def in_order(self, way: str, time: float) -> float:
        """How long half a network time takes; where it depends on what is sent, nothing overtakes what went before."""
        if self.by_images is None:
            return time
        self.latest[way] = max(self.env.now + time, self.latest[way])
        return self.latest[way] - self.env.now

    def serve(self, samples: list[int], first: bool) -> Process:
        """Have these samples served in one turn, the first one of a transmission after the server's setup."""
        env, setup, serving = self.env, self.server_setup, self.serving
        turn = (yield from _turn(self.server)) if self.server else None
        if first and setup:
            yield env.timeout(setup)
            self.note("server", setup)
        for sample in samples:
            yield env.timeout(serving[sample])
            self.note("server", serving[sample], sample)
        _leave(self.server, turn)

    def learn(self, number: int, batch: slice, network_time: float | None) -> None:
        size, offloads, _ = self.batches[number]
        self.batches[number][2] = self.env.now
        self.policy.learn(batch)
        self.sizes.observe(int(size), int(offloads), network_time)

    def note(self, lane: str, duration: float, sample: int | None = None) -> None:
        if self.intervals is not None:
            now = self.env.now
            self.intervals.append(Interval(lane, float(now - duration), float(now), sample, self.number))


def _turn(resource: Resource) -> Generator[simpy.Event, Any, Any]:
    """Wait for one's turn, where others may be on the way."""
    request = resource.request()
    yield request
    return request


def _leave(resource: Resource | None, turn: Any) -> None:
    if resource and turn:
        resource.release(turn)


def _log(cells: list[_Cell], arrivals: list[list[float]] | None, intervals: list[Interval]) -> Log:
    """What happened, device by device."""
    batches = [batch for cell in cells for batch in cell.batches]
    size, offloads, ended = (np.array(column) for column in zip(*batches, strict=True))
    started, answered = (np.concatenate([getattr(cell, name) for cell in cells]) for name in ("started", "answered"))
    return Log(
        arrived=started if arrivals is None else np.concatenate(arrivals),
        started=started,
        answered=answered,
        offloaded=np.concatenate([cell.offloaded for cell in cells]),
        sizes=size.astype(np.int64),
        offloads=offloads.astype(np.int64),
        ended=ended,
        intervals=intervals,
        samples=np.array([len(cell.started) for cell in cells]),
    )


def _decided(offloaded: Any, devices: int, samples: int | None) -> tuple[list[Policy], list[int]]:
    """A policy for each device, and how many samples it has."""
    if hasattr(offloaded, "decide"):
        if devices > 1:
            raise ValueError("offloaded must be given where there are several devices: a policy decides for one")
        return [offloaded], [checks.whole("samples", samples)]
    flags = dealt(offloaded, devices)
    if samples is not None and any(samples != each.size for each in flags):
        raise ValueError(f"samples must be left out where offloaded is given, got {checks.shown(samples)}")
    return [Given(each) for each in flags], [checks.whole("samples", each.size) for each in flags]


def _sizes_of_each(batch_size: Any, devices: int) -> list[BatchSizes]:
    """Who decides how large the next batch of each device is."""
    if hasattr(batch_size, "next_size"):
        if devices > 1:
            raise ValueError(f"batch_size must hold one for each of the {devices} devices where it is not an integer")
        return [batch_size]
    return [
        size if hasattr(size, "next_size") else Fixed(checks.whole(where, size))
        for where, size in of_each("batch_size", batch_size, devices)
    ]


def _arrivals_of_each(arrivals: ArrayLike | None, counts: list[int]) -> list[list[float]] | None:
    """Arrivals of the samples of each device, from the first of all."""
    if arrivals is None:
        return None
    given = [one for _, one in one_or_each("arrivals", arrivals, len(counts))]
    each = given if len(given) == len(counts) else given * len(counts)
    times = [in_order(one, n) for one, n in zip(each, counts, strict=True)]
    first = min(one[0] for one in times)
    return [(one - first).tolist() for one in times]


def _times_of_each(where: str, times: ArrayLike | None, usual: float, counts: list[int]) -> list[list[float]]:
    """A time for each sample of each device; what is given in common goes round as the offloads do."""
    if times is None:
        return [[usual] * n for n in counts]
    given = one_or_each(where, times, len(counts))
    if len(given) == len(counts):
        return [n_times(name, one, n).tolist() for (name, one), n in zip(given, counts, strict=True)]
    turned = zip(counts, begins(counts[0], len(counts)), strict=True)
    return [np.roll(n_times(where, times, n), -begin).tolist() for n, begin in turned]
