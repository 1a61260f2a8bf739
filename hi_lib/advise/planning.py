"""The batch size for a network as it was measured: by its mean, or so that few answers are late."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hi_lib import checks
from hi_lib.advise.aligned import aligned
from hi_lib.events import queueing, simulation
from hi_lib.learners import Run, replay
from hi_lib.run_times import drawn
from hi_lib.timing import TimingModel
from hi_lib.traces import Trace
from hi_lib.typing import Floats

if TYPE_CHECKING:
    import pandas as pd

LEVELS = (0.5, 0.95, 0.99)
_SIZES = (*range(1, 9), 10, 12, 16, 20, 24, 32, 48, 64, 96, 128, 192, 256)
_ROUNDING = 1e-9  # of a share
_ALIKE = 0.005  # what larger batches must gain to be worth it
_SIMULATED = 10_000  # samples: percentiles of more differ little, and take long


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
        How many transmissions may be out; by default the device waits for each.
    max_wait : float
        A batch closes once so much time has passed since its first sample was begun.
    """

    network_times: Floats | None = None
    sending_times: Floats | None = None
    arrivals: Floats | None = None
    deadline: float | None = None
    miss: float = 0.05
    window: float | None = None
    max_wait: float = math.inf

    def __post_init__(self) -> None:
        if self.deadline is not None:
            checks.positive("--deadline", self.deadline)
        checks.real("--miss", self.miss, 0, 1, open_ends=")")
        if self.max_wait != math.inf:
            checks.nonnegative("--max-wait", self.max_wait)

    @property
    def given(self) -> bool:
        """Whether anything is known beside the device's own times."""
        parts = (self.network_times, self.sending_times, self.arrivals, self.deadline, self.window)
        return any(part is not None for part in parts) or self.max_wait != math.inf

    def chosen(self, samples: NDArray[np.intp]) -> Conditions:
        """What surrounds a device that meets only these samples."""
        arrivals, sending = (None if part is None else part[samples] for part in (self.arrivals, self.sending_times))
        return replace(self, arrivals=None if arrivals is None else arrivals - arrivals[0], sending_times=sending)

    @property
    def by_law(self) -> bool:
        """Whether the distribution is known: a device that waits, samples of one size, none of which is waited for."""
        others = (self.window, self.sending_times, self.arrivals)
        return all(part is None for part in others) and self.max_wait == math.inf


class Planned(NamedTuple):
    """Times of a batch size, ms; `late` is the share of answers after the deadline, nan without one."""

    batch_size: int
    system_time: float
    response_time: float
    objective: float
    late: float
    p50: float
    p95: float
    p99: float


@dataclass(frozen=True, eq=False)
class Plan:
    """The recommended batch size, or that there is none.

    Attributes
    ----------
    conditions : Conditions
    alpha : float or None
    best : Planned or None
        None where no batch size keeps up with the arrivals, or none that does keeps the deadline.
    vanilla : Planned
        M = 1.
    fastest : Planned
        The batch size with the least system time.
    spacing : float or None
        ms between arrivals, on average.
    """

    conditions: Conditions
    alpha: float | None
    best: Planned | None
    vanilla: Planned
    fastest: Planned
    spacing: float | None

    @property
    def batch_size(self) -> int | None:
        """The recommended M, if any."""
        return self.best.batch_size if self.best else None

    @property
    def keeps_up(self) -> bool:
        """Whether the device is through with a sample, at some M, before the next one comes."""
        return _keeps_up(self.fastest, self.spacing)

    def table(self) -> pd.DataFrame:
        """A row for M = 1, and one for the recommended M, or for the fastest where M = 1 falls behind."""
        import pandas as pd

        return pd.DataFrame(self._rows(), columns=Planned._fields)

    def _rows(self) -> list[Planned]:
        return list(dict.fromkeys((self.vanilla, self.best or self._nearest())))

    def _nearest(self) -> Planned:
        """M = 1, or the fastest M where that falls behind."""
        return self.vanilla if _keeps_up(self.vanilla, self.spacing) else self.fastest

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain values; what is not known is None."""
        rows = self.table().astype(object).where(self.table().notna(), None).to_dict("records")
        keeps_deadline = None if self.conditions.deadline is None else self.best is not None
        return {
            "batch_size": self.batch_size,
            "keeps_up": self.keeps_up,
            "keeps_deadline": keeps_deadline,
            "spacing": self.spacing,
            "times": rows,
        }

    def as_lines(self) -> list[str]:
        """The recommendation and its percentiles; where the device cannot keep up, that alone."""
        if not self.keeps_up:
            comes, takes = f"a sample comes every {self.spacing:.4g} ms", f"takes {self.fastest.system_time:.4g} ms"
            least = f"at best (M = {self.fastest.batch_size})"
            return [f"the device cannot keep up: {comes}, and {takes} {least}; no batch size is recommended"]
        late = ["late"] if self.conditions.deadline else []
        rows = [["M", "t_s", "t_r", "p50", "p95", "p99 (ms)", *late]]
        for row in self._rows():
            times = (row.system_time, row.response_time, row.p50, row.p95)
            shares = [f"{row.late:.2%}"] if late else []
            # The last column's name is longer than its numbers by the unit.
            rows.append([f"{row.batch_size}", *(f"{each:.4g}" for each in times), f"{row.p99:.4g}     ", *shares])
        return [self._says(), *aligned(rows, [4, 8, 8, 8, 8, 13, 9][: len(rows[0])])]

    def _says(self) -> str:
        asked = self.conditions
        how = "by the exact distribution" if asked.by_law else "simulated"
        most = (
            "any number of transmissions" if asked.window == math.inf else f"up to {asked.window or 0:g} transmissions"
        )
        device = "waits for each answer" if asked.window is None else f"has {most} out"
        if asked.deadline is None:
            aim = f"least f at α = {self.alpha:g}; without a --deadline only means count"
        else:
            aim = f"at most {asked.miss:.3g} of all answers after {asked.deadline:g} ms, and the least "
            aim += "t_s" if self.alpha is None else f"f at α = {self.alpha:g}"
        if self.best is None:
            nearest = self._nearest()
            return (
                f"no batch size keeps {asked.deadline:g} ms for all but {asked.miss:.3g} of all answers: at M = "
                f"{nearest.batch_size} {nearest.late:.2%} are later; the device {device} ({how})"
            )
        return f"recommended batch size M = {self.best.batch_size} where the device {device}: {aim} ({how})"


def _keeps_up(row: Planned, spacing: float | None) -> bool:
    return spacing is None or row.system_time <= spacing


def plan(trace: Trace, beta: float, timing: TimingModel, alpha: float | None, conditions: Conditions) -> Plan:
    """Find the batch size for a trace, a device and its surroundings, among 1, …, 8 and sizes up to 256.

    Where arrivals are known, only sizes that keep up with them count. Without a deadline the one with the least
    f = α t_s + (1 − α) t_r; with one, among those that keep it, the one with the least t_s, or the least f where α is
    given. Of sizes that differ by half a percent the smallest is taken.

    Examples
    --------
    >>> import hi_lib as hi
    >>> trace = hi.load_trace("cifar10-resnet8").shuffled(0)
    >>> found = plan(trace, 0.5, hi.CIFAR10.timing, None, Conditions(deadline=60, miss=0.01))
    >>> found.batch_size, found.best.late <= 0.01
    (24, True)
    """
    if alpha is None and conditions.deadline is None:
        alpha = 0.5
    sizes = [size for size in _SIZES if size <= len(trace)]
    weight = 0.5 if alpha is None else alpha
    rows = [_planned(replay(trace, beta, size), timing, weight, conditions) for size in sizes]
    arrivals = conditions.arrivals
    spacing = None if arrivals is None or arrivals.size < 2 else float(arrivals[-1] / (arrivals.size - 1))
    kept = [row for row in rows if _keeps_up(row, spacing)]
    if conditions.deadline is not None:
        kept = [row for row in kept if row.late <= conditions.miss + _ROUNDING]
    best = _smallest_of_the_best(kept, "system_time" if alpha is None else "objective")
    return Plan(conditions, alpha, best, rows[0], min(rows, key=lambda row: row.system_time), spacing)


def _smallest_of_the_best(rows: list[Planned], score: str) -> Planned | None:
    least = min((getattr(row, score) for row in rows), default=math.nan)
    return next((row for row in rows if getattr(row, score) <= (1 + _ALIKE) * least), None)


def _planned(run: Run, timing: TimingModel, weight: float, conditions: Conditions) -> Planned:
    """Times of a run in batches of M; `weight` is that of the system time."""
    if conditions.by_law:
        times = timing.of_run(run, conditions.network_times)
        system, response = times.system_time, times.response_time
        late = math.nan if conditions.deadline is None else 1 - float(times.cdf(conditions.deadline))
        levels = [times.quantile(level) for level in LEVELS]
    else:
        system, each = simulated(timing, run, conditions)
        if conditions.arrivals is not None:  # what the device needs, not how long it had to wait for samples
            system, _ = simulated(timing, run, replace(conditions, arrivals=None, max_wait=math.inf))
        response, levels = float(each.mean()), np.quantile(each, LEVELS).tolist()
        late = math.nan if conditions.deadline is None else float((each > conditions.deadline).mean())
    size = int(run.batch_size)  # type: ignore[arg-type]
    return Planned(size, system, response, weight * system + (1 - weight) * response, late, *levels)


def simulated(timing: TimingModel, run: Run, conditions: Conditions) -> tuple[float, Floats]:
    """System time and the response time of each sample, where one draw of θ decides each batch."""
    n = min(run.cost.size, _SIMULATED)
    rng = np.random.default_rng(0)
    offloaded = drawn(run, rng)[:n]
    size = int(run.batch_size)  # type: ignore[arg-type]
    arrivals, sending = (None if part is None else part[:n] for part in (conditions.arrivals, conditions.sending_times))
    if conditions.network_times is None and sending is None and conditions.max_wait == math.inf:
        found = queueing.pipeline(timing, offloaded, size, arrivals=arrivals, window=conditions.window)
        return found.system_time, found.response_time
    network = None if conditions.network_times is None else rng.choice(conditions.network_times, n)
    options: dict[str, Any] = {"window": conditions.window, "max_wait": conditions.max_wait}
    log = simulation.simulate(
        timing, offloaded, size, arrivals=arrivals, network_times=network, sending_times=sending, **options
    )
    return log.system_time, log.response_time


def sending_times(sizes: Floats, rate: float, n: int) -> Floats:
    """ms to send n samples of these sizes (bytes) at a rate (bit/s); in order where there are n, else drawn of them."""
    times = 8000 * sizes / checks.positive("--rate", rate)
    return times if times.size == n else np.random.default_rng(0).choice(times, n)


def with_means(timing: TimingModel, conditions: Conditions) -> TimingModel:
    """The timing model with the means of what was measured, for all that counts means."""
    means = {}
    if conditions.network_times is not None:
        means["tau_nw"] = float(conditions.network_times.mean())
    if conditions.sending_times is not None:
        means["tau_tx"] = float(conditions.sending_times.mean())
    return timing.with_taus(means)
