"""Your log on your device: one recommendation, and the tables that it comes from."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hi_lib import checks, regret
from hi_lib.advise.aligned import aligned, four_digits
from hi_lib.logs.reading import Log
from hi_lib.logs.regression import out_of_sample
from hi_lib.logs.scores import Scale
from hi_lib.paper import setting_of
from hi_lib.regret import BestThreshold
from hi_lib.timing import TimingModel
from hi_lib.traces import Trace, checked

if TYPE_CHECKING:
    from hi_lib.advise.groups import Groups
    from hi_lib.advise.on_paper import OnPaper
    from hi_lib.advise.policies import Comparison
    from hi_lib.advise.recommendation import Recommendation
    from hi_lib.advise.ways import Conditions, Sent
    from hi_lib.studies.measured import Line

_SHOWN = (1, 2, 3, 4, 6, 8, 16, 64)  # sizes in the table for reading, beside the recommended one
_LEGEND = "t_s: system time a sample; t_r: response time, p50 to p99: so many of 100 answers by then"
_STAGES = {
    "tau_ed": "device",
    "tau_es": "server",
    "tau_tx": "sending",
    "tau_nw": "network",
    "rate": "rate of the uplink",
}


class PaperTimes(NamedTuple):
    """Which times nobody gave, so that the paper's stand for them: the setting's name, and theirs."""

    setting: str
    names: tuple[str, ...]

    def __str__(self) -> str:
        """Which stages they are."""
        return f"the times of the paper's {self.setting} are yours: {', '.join(_STAGES[name] for name in self.names)}"


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found; `as_dict` is plain JSON, `as_text` is for reading.

    Attributes
    ----------
    trace : str
    samples : int
    accuracy : float
        Of the S-ML alone.
    beta : float
    alpha : float or None
        None where a deadline alone counts.
    timing : TimingModel
    recommendation : Recommendation
    compared : Comparison
        Every policy, by cost.
    best : BestThreshold
        In hindsight, within the budget if there is one.
    paper_times : PaperTimes or None
        The times that are the paper's, where any are.
    scale : Scale or None
        Of confidences that are no probabilities: thresholds are told on it.
    groups : Groups or None
        The same for every part of the log, if it is parted.
    on_paper : OnPaper or None
        What the paper's learner and formulas say, if it was asked for.
    """

    trace: str
    samples: int
    accuracy: float
    beta: float
    alpha: float | None
    timing: TimingModel
    recommendation: Recommendation
    compared: Comparison
    best: BestThreshold
    paper_times: PaperTimes | None = None
    scale: Scale | None = None
    groups: Groups | None = None
    on_paper: OnPaper | None = None

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain values; what is not known, or not finite, is None."""
        from hi_lib.advise.recommendation import ways_table

        policies, ways = self.compared.table(), ways_table(self.recommendation.ways)
        return {
            "recommendation": self.recommendation.as_dict(),
            "trace": self.trace,
            "samples": self.samples,
            "accuracy": self.accuracy,
            "beta": self.beta,
            "alpha": self.alpha,
            "timing": self.timing.taus,
            "policies": _records(policies),
            "ways": _records(ways),
            "best_threshold": self.best._asdict(),
            "paper_times": self.paper_times._asdict() if self.paper_times else None,
            "own_units": self._own_units(),
            "groups": self.groups.as_dict() if self.groups else None,
            "paper": self.on_paper.as_dict() if self.on_paper else None,
        }

    def _own_units(self) -> dict[str, Any] | None:
        """Thresholds as scores of the log."""
        if self.scale is None:
            return None
        return {**asdict(self.scale), "best_threshold": self.scale.own(self.best.threshold)}

    def as_text(self) -> str:
        """The recommendation, then the tables that it comes from."""
        lines = [
            *self.recommendation.as_lines(),
            "",
            f"{self.trace}: {self.samples} samples, the S-ML alone is right on {self.accuracy:.1%}; β = {self.beta:g}",
            *self._policies(),
            "",
            *self._ways(),
            *(["", *self.groups.as_lines()] if self.groups else []),
            *(["", *self.on_paper.as_lines()] if self.on_paper else []),
        ]
        return "\n".join(lines)

    def _threshold(self, threshold: float) -> str:
        if not np.isfinite(threshold):
            return ""
        return self.scale.shown(threshold) if self.scale else f"{threshold:.4f}"

    def _policies(self) -> list[str]:
        """What each policy costs, by each way to count the L-ML's answers, on the second half of the log."""
        from hi_lib.advise.policies import NEVER, difference

        counts = list(self.compared.policies)
        shown = self.compared.policies[self.compared.counted]
        rows = [
            ["policy", "offload below", "offloads", *(f"cost, L-ML {each}" for each in counts), "± of that to never"]
        ]
        for name, policy in shown.items():
            costs = [f"{self.compared.policies[each][name].average_cost:.4f}" for each in counts]
            error = "" if name == NEVER else f"{difference(policy, shown[NEVER]).error:.4f}"
            below = self._threshold(policy.threshold)
            rows.append([name, below, f"{policy.offload_ratio:.1%}", *costs, error])
        label = max(len(row[0]) for row in rows)
        lines = aligned([[row[0].ljust(label), *row[1:]] for row in rows], [0] * len(rows[0]))
        found = self.best
        within = "" if self.compared.budget is None else f" within the budget of {self.compared.budget:.4g}"
        best = (
            f"best fixed threshold{within} in hindsight, all samples, every offload right: "
            f"{self._threshold(found.threshold)}"
        )
        lines.append(f"{best}, cost {found.average_cost:.4f}, offloads {found.offload_ratio:.1%}")
        if self.scale:
            lines.append(f"(θ = 1 − β is left out: {self.scale.name} need be no probability of being right)")
        return lines

    def _ways(self) -> list[str]:
        """The times of the ways to send."""
        found, tau = self.recommendation, self.timing
        aim = "least t_s in time" if self.alpha is None else f"least f at α = {self.alpha:g}"
        lines = [
            f"times (ms): device {tau.tau_ed:g}, server {tau.tau_es:g}, sending {tau.tau_tx:g}, network {tau.tau_nw:g}"
            f"; {found.offload_ratio:.1%} offloaded; * {aim}"
        ]
        if self.paper_times:
            lines.append(f"note: {self.paper_times}")
        objective = "" if self.alpha is None else "; f = α t_s + (1 − α) t_r"
        lines.append(f"{_LEGEND}{objective}")
        late = ["late"] if found.conditions.deadline is not None else []
        rows = [["send", "longest wait", "t_s", "t_r", "p50", "p95", "p99", "f" if self.alpha else "t_s", *late]]
        for row in found.ways:
            if row is found.sent or row.way.size in _SHOWN:
                rows.append(_row(row, row is found.sent, bool(late)))
        label = max(len(row[0]) for row in rows)
        return [*lines, *aligned([[row[0].ljust(label), *row[1:]] for row in rows], [0] * len(rows[0]))]


def _row(row: Sent, chosen: bool, late: bool) -> list[str]:
    waits = "" if row.way.longest_wait == np.inf else four_digits(row.way.longest_wait)
    times = (row.system_time, row.response_time, row.p50, row.p95, row.p99, row.objective)
    cold = " (cold)" if row.cold else ""
    shares = [f"{row.late:.2%}"] if late else []
    return [
        f"{'*' if chosen else ' '} {row.way.short}{cold}",
        waits,
        *map(four_digits, times),
        *shares,
    ]


def _records(table: Any) -> list[dict[str, Any]]:
    """Rows of a table as plain values."""
    known = table.astype(object).where(table.notna() & ~table.isin([np.inf]), None)
    return known.to_dict("records")


def evaluate(
    log: Log | Trace,
    beta: float,
    alpha: float | None = None,
    timing: TimingModel | None = None,
    conditions: Conditions | None = None,
    *,
    borrowed: PaperTimes | None = None,
    paper: bool = False,
) -> Evaluation:
    """Find what to set for a log: whether and what to offload, and how to send it.

    Parameters
    ----------
    log : Log or Trace
        A log's probabilities of an offload are used where the trace knows its L-ML on offloaded samples only; a log
        that is parted into groups is evaluated group by group, too.
    beta : float
        Cost of an offload, in [0, 1].
    alpha : float
        Weight of the system time in f, in (0, 1); ½ where f counts and it is not given.
    timing : TimingModel, optional
        ms; by default the paper's, of the setting that the trace's record names, or for Imagenette.
    conditions : Conditions, optional
        Network, deadline, window, arrivals, price, budget; the means of what was measured replace those of `timing`.
    borrowed : PaperTimes, optional
        Which times of `timing` are the paper's.
    paper : bool
        Whether to find what the paper's learner and formulas say, too.

    Returns
    -------
    Evaluation
        Times in ms, costs in wrong answers a sample.

    Raises
    ------
    ValueError
        An argument outside its range.

    Examples
    --------
    >>> import hi_lib as hi
    >>> trace = hi.load_trace("imagenette-mobilenet_v1_0.5_160").shuffled(0)
    >>> found = evaluate(trace, beta=0.1, alpha=0.9, timing=hi.IMAGENETTE.timing).recommendation
    >>> found.policy, found.sent.way.short
    ('fitted θ', 'after 4 offloads')
    """
    from hi_lib.advise.groups import Groups, by_group  # bring numba
    from hi_lib.advise.on_paper import on_paper
    from hi_lib.advise.recommending import from_log, weight_of
    from hi_lib.advise.ways import Conditions, with_means

    log = log if isinstance(log, Log) else Log(checked(log))
    whole = out_of_sample(log)
    trace, conditions = whole.trace, conditions or Conditions()
    weight = weight_of(alpha, conditions)
    if timing is None:
        setting = setting_of(trace.name)
        timing, borrowed = setting.timing, PaperTimes(setting.name, tuple(setting.timing.taus))
    timing = with_means(timing, conditions)
    for tau, value in timing.taus.items():
        checks.real(tau, value, 0, 1e9)  # milliseconds; beyond it the products overflow
    found, compared = from_log(whole, beta, timing, conditions, weight, str(borrowed) if borrowed else "")
    groups = by_group(log, beta, timing, weight, conditions)  # each fits a score of its own, on its own first half
    return Evaluation(
        trace=trace.name or "trace",
        samples=len(trace),
        accuracy=trace.accuracy,
        beta=float(beta),
        alpha=weight,
        timing=timing,
        recommendation=found,
        compared=compared,
        best=regret.best_threshold(trace, beta, budget=conditions.budget),
        paper_times=borrowed,
        scale=log.scale,
        groups=Groups(log.groups.column, groups, compared.answer) if log.groups else None,
        on_paper=on_paper(trace, beta, timing, weight or 0.5) if paper else None,
    )


def device_timing(
    timing: TimingModel, device: str | Path | None = None, server: str | Path | None = None
) -> TimingModel:
    """A timing model with τ's fitted to measured (batch_size, milliseconds) pairs, as CSV.

    The device computes one picture after the other: its τ_ed is the fitted time of one. The server computes batches:
    its fixed time is paid once a transmission, as the network is, and what a further picture takes is τ_es.
    """
    times = timing.taus
    if device is not None:
        line = _fitted(device)
        times["tau_ed"] = _positive(device, line.fixed + line.per_sample)
    if server is not None:
        line = _fitted(server)
        times["tau_es"] = _positive(server, line.per_sample)
        times["tau_nw"] += max(line.fixed, 0.0)
    return timing.with_taus(times)


def _fitted(path: str | Path) -> Line:
    from hi_lib.studies.measured import fit, read_times

    table = read_times(path)
    try:
        return fit(table)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _positive(where: str | Path, value: float) -> float:
    if value < 1e-9:  # a flat fit leaves rounding errors
        raise ValueError(
            f"{where}: the fitted time of a picture must be positive, got {four_digits(value)} ms: time larger batches"
        )
    return value
