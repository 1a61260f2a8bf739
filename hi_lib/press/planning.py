"""The batch size for a network as it was measured: by its mean, or so that few answers are late."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hi_lib import checks
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
    """The recommended batch size; `best` is None where none keeps the deadline. `vanilla` is M = 1."""

    conditions: Conditions
    alpha: float | None
    best: Planned | None
    vanilla: Planned
    spacing: float | None
    """ms between arrivals, on average."""

    @property
    def batch_size(self) -> int:
        """The recommended M, 1 where no M keeps the deadline."""
        return (self.best or self.vanilla).batch_size

    def table(self) -> pd.DataFrame:
        """A row for M = 1, and one for the recommended M."""
        import pandas as pd

        rows = {row.batch_size: row for row in (self.vanilla, self.best) if row is not None}
        return pd.DataFrame(list(rows.values()), columns=Planned._fields)

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain values; what is not known is None."""
        rows = self.table().astype(object).where(self.table().notna(), None).to_dict("records")
        return {"batch_size": self.batch_size, "keeps_deadline": self.best is not None, "times": rows}

    def as_lines(self) -> list[str]:
        """The recommendation, and its percentiles."""
        asked, found = self.conditions, self.best or self.vanilla
        lines = [self._says()]
        lines.append("   M     t_s     t_r     p50     p95     p99 (ms)" + ("    late" if asked.deadline else ""))
        for row in dict.fromkeys((self.vanilla, found)):
            late = f"  {row.late:12.2%}" if asked.deadline else ""
            times = (row.system_time, row.response_time, row.p50, row.p95, row.p99)
            lines.append(f"{row.batch_size:4d}" + "".join(f"{each:8.4g}" for each in times) + late)
        if self.spacing is not None and found.system_time > self.spacing:
            taken = f"a sample takes {found.system_time:.4g} ms, one comes every {self.spacing:.4g} ms"
            lines.append(f"the device falls behind: {taken}")
        return lines

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
            return (
                f"no batch size keeps {asked.deadline:g} ms for all but {asked.miss:.3g} of all answers: at M = 1 "
                f"{self.vanilla.late:.2%} are later; the device {device} ({how})"
            )
        return f"recommended batch size M = {self.best.batch_size} where the device {device}: {aim} ({how})"


def plan(trace: Trace, beta: float, timing: TimingModel, alpha: float | None, conditions: Conditions) -> Plan:
    """Find the batch size for a trace, a device and its surroundings, among 1, …, 8 and sizes up to 256.

    Without a deadline the one with the least f = α t_s + (1 − α) t_r; with one, among those that keep it, the one with
    the least t_s, or the least f where α is given. Of sizes that differ by half a percent the smallest is taken.

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
    kept = [row for row in rows if conditions.deadline is None or row.late <= conditions.miss + _ROUNDING]
    best = _smallest_of_the_best(kept, "system_time" if alpha is None else "objective")
    arrivals = conditions.arrivals
    spacing = None if arrivals is None or arrivals.size < 2 else float(arrivals[-1] / (arrivals.size - 1))
    return Plan(conditions, alpha, best, rows[0], spacing)


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
    return replace(timing, **means)
