"""How to send: after how many offloads, or samples, and with how many transmissions out; each way's times by the clock.

A way is tried on the very offloads of a log, in their order. Nothing is drawn but measured network times.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hi_lib import checks
from hi_lib.advise.aligned import four_digits
from hi_lib.slow_start import LEAST_TIMEOUT, TCP, idle_halvings
from hi_lib.timing import TimingModel
from hi_lib.typing import Flags, Floats
from hi_lib.units import UNITS

if TYPE_CHECKING:
    from hi_lib.events.queueing import Pipeline

SIZES = (*range(1, 17), 20, 24, 32, 48, 64, 96, 128, 192, 256)
CONNECTIONS = ("auto", "warm", "cold")
LONGEST_IDLE = 2000.0  # ms: after it a connection's window has shrunk to that of a new one, at any usual round trip
_FEW_SIZES = (1, 2, 3, 4, 6, 8)  # where the slow clock has to count
_SOONER = 0.99  # of all transmissions are full within the longest wait
_MOST_SAMPLES = 40_000  # of all devices together
_ROUNDING = 1e-9  # of a share, and of a time


@dataclass(frozen=True, eq=False)
class Conditions:
    """What surrounds the device, beside its own times; times in ms.

    Attributes
    ----------
    network_times : NDArray of shape (k,) or None
        Measured network times of a transmission, each as likely; by default τ_nw always.
    sending_times : NDArray of shape (n,) or None
        Time to send each sample, where sizes differ.
    arrivals : NDArray of shape (n,) or None
        When each sample is there, from the first one on; by default the next one is there whenever the device is free.
    deadline, miss : float or None, float
        Answers may come later than the deadline with this probability.
    window : float or None
        How many transmissions the link allows to be out; by default the device waits for each.
    max_wait : float
        A transmission is sent once its first offload, or sample, has waited for so long; by default as long as
        ninety-nine in a hundred wait for, or as the deadline leaves.
    price : float
        β_0, of a transmission, in wrong answers.
    unit : {"offloads", "samples"}
        What is counted until a transmission is sent.
    rate : float or None
        Of the uplink, bit/s: with it the time of a connection that has been idle is known (`hi.tcp`).
    connection : {"auto", "warm", "cold"}
        Whether connections keep their window; by default they do unless they are idle for a retransmission time-out.
    devices : int
        How many such devices share the server, each at work all the time, and each with an uplink of its own.
    budget : float or None
        The share of the samples that may be offloaded (T26).
    """

    network_times: Floats | None = None
    sending_times: Floats | None = None
    arrivals: Floats | None = None
    deadline: float | None = None
    miss: float = 0.05
    window: float | None = None
    max_wait: float = math.inf
    price: float = 0.0
    unit: str = "offloads"
    rate: float | None = None
    connection: str = "auto"
    devices: int = 1
    budget: float | None = None

    def __post_init__(self) -> None:
        if self.deadline is not None:
            checks.positive("deadline", self.deadline)
        checks.real("miss", self.miss, 0, 1, open_ends=")")
        if self.max_wait != math.inf:
            checks.nonnegative("max_wait", self.max_wait)
        if self.window is not None and self.window != math.inf:
            checks.whole("window", self.window)
        checks.nonnegative("price", self.price)
        checks.choice("unit", self.unit, UNITS)
        if self.rate is not None:
            checks.positive("rate", self.rate)
        checks.choice("connection", self.connection, CONNECTIONS)
        if self.budget is not None:
            checks.real("budget", self.budget, 0, 1)
        if self.connection == "cold" and self.rate is None:
            raise ValueError("connection must be auto or warm where no rate is given: it decides what a cold one takes")
        measured = (self.network_times, self.sending_times, self.arrivals)
        if checks.whole("devices", self.devices) > 1 and any(part is not None for part in measured):
            raise ValueError("devices must be 1 where arrivals, round trips or sizes of images were measured")

    def chosen(self, samples: NDArray[np.intp]) -> Conditions:
        """What surrounds a device that meets only these samples."""
        arrivals, sending = (None if part is None else part[samples] for part in (self.arrivals, self.sending_times))
        return replace(self, arrivals=None if arrivals is None else arrivals - arrivals[0], sending_times=sending)

    @property
    def spacing(self) -> float | None:
        """ms between arrivals, on average."""
        if self.arrivals is None or self.arrivals.size < 2:
            return None
        return float(self.arrivals[-1] / (self.arrivals.size - 1))


class Way(NamedTuple):
    """A way to send: after `size` offloads, or samples, with so many transmissions out; None: one, waited for."""

    size: int
    unit: str = "offloads"
    window: float | None = None
    longest_wait: float = math.inf
    """ms, after which a transmission is sent, full or not."""

    @property
    def short(self) -> str:
        """In a few words."""
        size = "each at once" if self.size == 1 else f"after {self.size} {self.unit}"
        if self.window is None:
            return size
        return f"{size}, {'any number' if self.window == math.inf else f'{self.window:g}'} out"

    def alike(self, other: Way) -> bool:
        """Whether it is the same but for the longest wait, which follows from the rest."""
        return self[:3] == other[:3]

    def __str__(self) -> str:
        """As one would say it."""
        if self.size == 1:
            says = "send each offload at once"
        else:
            says = f"send after {self.size} {self.unit}"
            if self.longest_wait != math.inf:
                says += f", or {four_digits(self.longest_wait)} ms after the first"
        if self.window is None:
            return f"{says}, and wait for the answer"
        out = "any number" if self.window == math.inf else f"up to {self.window:g}"
        return f"{says}, without waiting: {out} may be out"


class Sent(NamedTuple):
    """What a way to send takes, ms; `late` is the share of answers after the deadline, nan without one."""

    way: Way
    system_time: float
    response_time: float
    objective: float
    """f, or t_s where only a deadline counts."""
    late: float
    p50: float
    p95: float
    p99: float
    transmissions: float
    """A sample."""
    idle: float
    """From an answer to the next transmission, on average."""
    cold: bool
    """Whether the network time is that of a connection that has been idle."""


def ways(offloaded: Flags, timing: TimingModel, conditions: Conditions, alpha: float | None) -> list[Sent]:
    """The times of every way to send that the conditions allow, a row each, the smallest size first.

    Parameters
    ----------
    offloaded : array-like of bool, shape (n,)
        Which samples are offloaded.
    timing : TimingModel
    conditions : Conditions
    alpha : float or None
        Weight of the system time; None where a deadline alone counts.

    Examples
    --------
    >>> import hi_lib as hi
    >>> flags = np.arange(1000) % 3 == 0
    >>> [row.way.size for row in ways(flags, hi.IMAGENETTE.timing, Conditions(window=4), 0.9)[:3]]
    [1, 2, 3]
    """
    windows = [None] if conditions.window is None else [None, conditions.window]
    most = int(offloaded.sum()) if conditions.unit == "offloads" else offloaded.size
    found = []
    for window in windows:
        sizes = _FEW_SIZES if window is not None and conditions.network_times is not None else SIZES
        tried = [size for size in sizes if size <= max(1, most)]
        found += [sent_by(Way(size, conditions.unit, window), offloaded, timing, conditions, alpha) for size in tried]
    return found


def best(rows: list[Sent], conditions: Conditions) -> Sent | None:
    """The way with the least objective of those that keep up with the arrivals and keep the deadline, if any does."""
    kept = [row for row in rows if keeps_up(row, conditions)]
    if conditions.deadline is not None:
        kept = [row for row in kept if row.late <= conditions.miss + _ROUNDING]
    return min(kept, key=lambda row: row.objective, default=None)


def keeps_up(row: Sent, conditions: Conditions) -> bool:
    """Whether the device is through with a sample, on average, before the next one comes."""
    return conditions.spacing is None or row.system_time <= conditions.spacing


def percentile(times: Floats, level: float) -> float:
    """The smallest of the times that so large a share of them does not exceed."""
    place = max(0, math.ceil(level * times.size - _ROUNDING) - 1)
    return float(np.partition(times, place)[place])


def sent_by(way: Way, offloaded: Flags, timing: TimingModel, conditions: Conditions, alpha: float | None) -> Sent:
    """The times of one way to send, whose longest wait is found anew; the other arguments are those of `ways`."""
    way = way._replace(longest_wait=_longest_wait(offloaded, timing, conditions, way))
    found, idle = _counted(offloaded, timing, conditions, way)
    idle = max(idle, LONGEST_IDLE) if conditions.connection == "cold" else idle
    cold = _is_cold(idle, timing, conditions)
    if cold:
        timing = _over_idle(timing, conditions, idle)
        found, _ = _counted(offloaded, timing, replace(conditions, network_times=None), way)
    system = found.system_time
    if conditions.arrivals is not None:  # what the device needs, not how long it had to wait for samples
        busy = replace(conditions, arrivals=None, network_times=None if cold else conditions.network_times)
        system = _counted(offloaded, timing, busy, way)[0].system_time
    times = found.response_time
    response, late = float(times.mean()), math.nan
    if conditions.deadline is not None:
        late = float((times > conditions.deadline * (1 + _ROUNDING)).mean())
    objective = system if alpha is None else alpha * system + (1 - alpha) * response
    p50, p95, p99 = (percentile(times, level) for level in (0.5, 0.95, 0.99))
    sent = found.waited.size / offloaded.size
    return Sent(way, system, response, objective, late, p50, p95, p99, sent, idle, cold)


def _counted(offloaded: Flags, timing: TimingModel, conditions: Conditions, way: Way) -> tuple[Pipeline, float]:
    """The run by the clock, and for how long the connection is idle before a transmission, on average."""
    found = _clock(offloaded, timing, conditions, way)
    transmissions = found.waited.size
    if not transmissions:
        return found, 0.0
    images = float(offloaded.sum()) / transmissions
    taken = timing.tau_nw + images * (timing.tau_tx + timing.tau_es)
    return found, max(0.0, found.system_time * offloaded.size / transmissions - taken)


def _clock(offloaded: Flags, timing: TimingModel, conditions: Conditions, way: Way) -> Pipeline:
    from hi_lib.events import queueing, simulation  # bring numba and simpy

    network = conditions.network_times
    if network is not None:
        network = np.random.default_rng(0).choice(network, offloaded.size)
    if conditions.devices > 1:
        return _crowded(offloaded, timing, conditions, way)
    how = {"unit": way.unit, "window": way.window, "max_wait": way.longest_wait}
    times = {"arrivals": conditions.arrivals, "sending_times": conditions.sending_times, "network_times": network}
    if network is None or way.window is None:
        return queueing.pipeline(timing, offloaded, way.size, **how, **times)  # type: ignore[arg-type]
    log = simulation.simulate(timing, offloaded, way.size, **how, **times)  # type: ignore[arg-type]
    sends = np.zeros(int((log.offloads > 0).sum()))  # how long each waited is not known here, and not asked for
    return queueing.Pipeline(log.response_time, log.system_time, np.zeros(0, np.int64), log.sizes, sends)


def _crowded(offloaded: Flags, timing: TimingModel, conditions: Conditions, way: Way) -> Pipeline:
    """Times of the mean device where several share the server; none of them sends before it has all it waits for."""
    from hi_lib.events import crowd, queueing  # bring numba

    flags = offloaded[: max(1, _MOST_SAMPLES // conditions.devices)]
    found = crowd.crowd(timing, flags, way.size, conditions.devices, unit=way.unit, window=way.window)
    alone = queueing.pipeline(timing, offloaded, way.size, unit=way.unit)
    return alone._replace(response_time=found.response_time, system_time=found.system_time)


def _longest_wait(offloaded: Flags, timing: TimingModel, conditions: Conditions, way: Way) -> float:
    """How long offloads may wait for others: as asked, or so that few are sent sooner, or as a deadline leaves."""
    if conditions.max_wait != math.inf or way.size == 1 or way.unit == "samples":
        return conditions.max_wait
    from hi_lib.events.queueing import pipeline  # brings numba

    waited = pipeline(timing, offloaded, way.size, conditions.arrivals, unit="offloads").waited
    usual = _rounded_up(percentile(waited, _SOONER))
    if conditions.deadline is None:
        return usual
    left = conditions.deadline - timing.tau_ed - timing.tau_nw - way.size * (timing.tau_tx + timing.tau_es)
    return min(usual, left) if left > 0 else usual


def _rounded_up(time: float) -> float:
    """To two digits: nobody sets a wait more closely."""
    if time <= 0:
        return 0.0
    step = 10.0 ** (math.floor(math.log10(time)) - 1)
    return math.ceil(time / step * (1 - _ROUNDING)) * step


def _is_cold(idle: float, timing: TimingModel, conditions: Conditions) -> bool:
    """Whether connections have lost their window before a transmission, and how long that takes is known."""
    known = conditions.rate is not None and timing.tau_tx > 0 and timing.network_time is None
    if conditions.connection == "warm" or conditions.devices > 1 or not known:
        return False
    return idle > LEAST_TIMEOUT and idle_halvings(idle, timing.tau_nw) > 0


def _over_idle(timing: TimingModel, conditions: Conditions, idle: float) -> TimingModel:
    """With what TCP takes after so long a pause; τ_nw is taken for the round trip, and sizes follow from τ_tx."""
    rate = float(conditions.rate or 0.0)
    return replace(timing, network_time=TCP(timing.tau_nw, rate, timing.tau_tx * rate / 8000, idle))


def sending_times(sizes: Floats, rate: float, n: int) -> Floats:
    """ms to send n samples of these sizes (bytes) at a rate (bit/s); in order where there are n, else drawn of them."""
    times = 8000 * sizes / checks.positive("rate", rate)
    return times if times.size == n else np.random.default_rng(0).choice(times, n)


def with_means(timing: TimingModel, conditions: Conditions) -> TimingModel:
    """The timing model with the means of what was measured, for all that counts means."""
    means = {}
    if conditions.network_times is not None:
        means["tau_nw"] = float(conditions.network_times.mean())
    if conditions.sending_times is not None:
        means["tau_tx"] = float(conditions.sending_times.mean())
    return timing.with_taus(means)
