"""Your trace on your device: what the learner reaches on it, and which batch size suits your times."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hi_lib import checks, regret
from hi_lib.advise.aligned import aligned
from hi_lib.learners import Run, replay
from hi_lib.logs.reading import Log
from hi_lib.logs.scores import Scale
from hi_lib.optima import OptimalBatch
from hi_lib.paper import setting_of
from hi_lib.regret import BestThreshold
from hi_lib.studies.best_batch import BestBatch, best_batch_size
from hi_lib.studies.density import weight_density
from hi_lib.timing import MODEL_NAMES, TimingModel
from hi_lib.traces import Trace, checked

if TYPE_CHECKING:
    import pandas as pd

    from hi_lib.advise.groups import Groups
    from hi_lib.advise.paying import Comparison
    from hi_lib.advise.planning import Conditions, Plan
    from hi_lib.studies.measured import Line

BATCH_SIZES = (1, 4, 16, 64)
DRAWS = 5  # of a learner that draws a θ for each sample
_STAGES = {
    "tau_ed": "device",
    "tau_es": "server",
    "tau_tx": "sending",
    "tau_nw": "network",
    "rate": "rate of the uplink",
}


class InOffloads(NamedTuple):
    """The same question in offloads: send once m are pending, each sample with a θ of its own."""

    model: OptimalBatch
    """m† and m* for independent offloads, with the offload ratio at M = 1."""
    objective: float
    """f of the learner on this trace at m*, ms, the mean of some draws."""
    average_cost: float
    """Its cost a sample, likewise."""


class PaperTimes(NamedTuple):
    """Which times nobody gave, so that the paper's stand for them: the setting's name, and theirs."""

    setting: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found; `as_dict` is plain JSON, `as_text` is for reading.

    Attributes
    ----------
    trace : str
    samples : int
    accuracy : float
        Of the S-ML alone.
    beta, alpha : float
    timing : TimingModel
    best : BestThreshold
        In hindsight.
    learned_threshold : tuple of three floats
        Median of θ after the last sample at M = 1, and the middle 90 % of its weight.
    runs : DataFrame
        HIL-F with the tuned rate: batch_size, average_cost, offload_ratio, regret, regret_bound.
    optima : dict of str to OptimalBatch
        M† and M* for the offload ratio at M = 1, by "paper", "worst" and "average".
    learner_best : BestBatch
        The best M of the learner on this very trace, by the exact times of its runs.
    offloads : InOffloads
        The best m, beside the best M.
    times : DataFrame
        batch_size, system_time, response_time and objective: by the paper, for independent offloads (`_exact`,
        `_average`), and of the runs (`_run`), ms.
    paying : Comparison
        Whether HI pays: the learner at M = 1 and at the recommended M beside rules that learn nothing.
    plan : Plan or None
        The batch size for the network, deadline, window or arrivals that were given.
    paper_times : PaperTimes or None
        The times that are the paper's, where any are.
    scale : Scale or None
        Of confidences that are no probabilities: thresholds are told on it.
    groups : Groups or None
        The same for every part of the log, if it is parted.
    """

    trace: str
    samples: int
    accuracy: float
    beta: float
    alpha: float
    timing: TimingModel
    best: BestThreshold
    learned_threshold: tuple[float, float, float]
    runs: pd.DataFrame
    optima: dict[str, OptimalBatch]
    learner_best: BestBatch
    offloads: InOffloads
    times: pd.DataFrame
    paying: Comparison
    plan: Plan | None = None
    paper_times: PaperTimes | None = None
    scale: Scale | None = None
    groups: Groups | None = None

    @property
    def offload_ratio(self) -> float:
        """ρ at M = 1."""
        return float(self.runs["offload_ratio"].iloc[0])

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain values; an infinite batch size is None."""
        return {
            "trace": self.trace,
            "samples": self.samples,
            "accuracy": self.accuracy,
            "beta": self.beta,
            "alpha": self.alpha,
            "timing": self.timing.taus,
            "best_threshold": self.best._asdict(),
            "learned_threshold": dict(zip(("median", "low", "high"), self.learned_threshold, strict=True)),
            "runs": self.runs.to_dict("records"),
            "optimal_batch_size": {model: _finite(best) for model, best in self.optima.items()},
            "learner_best": self.learner_best._asdict(),
            "optimal_offloads": {**self.offloads._asdict(), "model": _finite(self.offloads.model)},
            "times": self.times.to_dict("records"),
            "verdict": self.paying.verdict,
            "costs": self.paying.table().to_dict("records"),
            "best_thresholds": self.paying.thresholds,
            "plan": self.plan.as_dict() if self.plan else None,
            "paper_times": self.paper_times._asdict() if self.paper_times else None,
            "own_units": self._own_units(),
            "groups": self.groups.as_dict() if self.groups else None,
        }

    def _own_units(self) -> dict[str, Any] | None:
        """Thresholds as scores of the log."""
        if self.scale is None:
            return None
        return {
            **asdict(self.scale),
            "best_threshold": self.scale.own(self.best.threshold),
            "learned_threshold": self.scale.own(self.learned_threshold[0]),
            "best_thresholds": {name: self.scale.own(theta) for name, theta in self.paying.thresholds.items()},
        }

    def as_text(self) -> str:
        """A page of text."""
        middle = map(self._threshold, sorted(self.learned_threshold[1:], reverse=self._falls))
        runs = [["M", "average cost", "offload ratio", "regret", "bound"]]
        for row in self.runs.itertuples():
            costs = (
                f"{row.average_cost:.4f}",
                f"{row.offload_ratio:.4f}",
                f"{row.regret:.1f}",
                f"{row.regret_bound:.0f}",
            )
            runs.append([f"{row.batch_size}", *costs])
        lines = [
            f"{self.trace}: {self.samples} samples, the S-ML alone is right on {self.accuracy:.1%}; β = {self.beta:g}",
            f"best threshold in hindsight   {self._rule(self.best.threshold)}: average cost "
            f"{self.best.average_cost:.4f}, offloads {self.best.offload_ratio:.1%}",
            f"learned threshold             {self._rule(self.learned_threshold[0])} (90 % of its weight in "
            f"{' … '.join(middle)})",
            "",
            *self.paying.as_lines(),
            *(["", *self.groups.as_lines()] if self.groups else []),
            "",
            *aligned(runs, [4, 14, 15, 9, 9]),
            "",
            *self._times(),
            *(["", *self.plan.as_lines()] if self.plan else []),
        ]
        return "\n".join(lines)

    def _rule(self, threshold: float) -> str:
        """What a threshold offloads: on the scale of the log, if it has one of its own."""
        return self.scale.shown(threshold) if self.scale else f"{threshold:.4f}"

    @property
    def _falls(self) -> bool:
        """Whether scores of the log are the lower the higher the confidence."""
        return self.scale is not None and self.scale.at_one < self.scale.at_zero

    def _threshold(self, threshold: float) -> str:
        return f"{self.scale.own(threshold):.5g}" if self.scale else f"{threshold:.4f}"

    def _times(self) -> list[str]:
        """The times, whose they are, and the best batch sizes unless the device cannot keep up with any."""
        tau, best = self.timing, self.learner_best
        lines = [
            f"times (ms): device {tau.tau_ed:g}, server {tau.tau_es:g}, sending {tau.tau_tx:g}, network {tau.tau_nw:g}"
            f"; α = {self.alpha:g}, ρ = {self.offload_ratio:.4f}"
        ]
        if self.paper_times:
            stages = ", ".join(_STAGES[name] for name in self.paper_times.names)
            lines.append(f"note: of these, the paper's for {self.paper_times.setting}: {stages}")
        if self.plan and not self.plan.keeps_up:
            return lines
        lines += [
            f"best batch size, {MODEL_NAMES[model]:30s} M* = {best.integer:g} (M† = {best.relaxed:.2f}), "
            f"f = {best.objective:.2f} ms"
            for model, best in self.optima.items()
        ]
        lines.append(
            f"best batch size, {'the learner on this trace':30s} M* = {best.batch_size}, f = {best.objective:.2f} ms"
        )
        model, found = self.offloads.model, self.offloads
        return [
            *lines,
            f"in offloads,     {'independent':30s} m* = {model.integer:g} (m† = {model.relaxed:.2f}), "
            f"f = {model.objective:.2f} ms",
            f"in offloads,     {'the learner on this trace':30s} m  = {model.integer:g}, f = {found.objective:.2f} ms, "
            f"average cost {found.average_cost:.4f}",
        ]


def evaluate(
    log: Log | Trace,
    beta: float,
    alpha: float | None = None,
    timing: TimingModel | None = None,
    conditions: Conditions | None = None,
) -> Evaluation:
    """Learn on a trace, in the order in which it comes, and find the batch size for these times.

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
        Network, deadline, window, arrivals as they were measured; its means replace those of `timing`.

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
    >>> from hi_lib import load_trace
    >>> found = evaluate(load_trace("cifar10-resnet8").shuffled(0), beta=0.5)
    >>> found.optima["paper"].integer, found.optima["average"].integer, found.paper_times.setting
    (23, 7, 'CIFAR-10')
    """
    import pandas as pd

    from hi_lib.advise.groups import Groups, by_group  # bring numba
    from hi_lib.advise.paying import compare
    from hi_lib.advise.planning import Conditions, plan, with_means

    planned_alpha, alpha = alpha, checks.real("alpha", 0.5 if alpha is None else alpha, 0, 1, open_ends="()")
    log = log if isinstance(log, Log) else Log(checked(log))
    trace, conditions, paper_times = log.trace, conditions or Conditions(), None
    if timing is None:
        setting = setting_of(trace.name)
        timing, paper_times = setting.timing, PaperTimes(setting.name, tuple(setting.timing.taus))
    timing = with_means(timing, conditions)
    for tau, value in timing.taus.items():
        checks.real(tau, value, 0, 1e9)  # milliseconds; beyond it the products overflow
    first = replay(trace, beta)
    rho = first.offload_ratio
    optima = {model: timing.optimal_batch_size(rho, alpha, model) for model in MODEL_NAMES}
    learner_best = best_batch_size(trace, timing, beta, alpha)
    offloads = _in_offloads(trace, beta, timing, rho, alpha)
    planned = plan(trace, beta, timing, planned_alpha, conditions) if conditions.given else None
    recommended = (planned.batch_size or 1) if planned else learner_best.batch_size
    paying = compare(log, beta, recommended)
    groups = by_group(log, beta, timing, planned_alpha, conditions)
    chosen = {int(best.integer) for best in optima.values() if best.integer <= len(trace)} | {
        learner_best.batch_size,
        recommended,
    }
    sizes = sorted(size for size in {*BATCH_SIZES, *chosen} if size <= len(trace))
    runs = [(size, first if size == 1 else replay(trace, beta, size)) for size in sizes]
    measured = ["average_cost", "offload_ratio", "regret", "regret_bound"]
    table = pd.DataFrame(
        [(size, *(getattr(run, name) for name in measured)) for size, run in runs], columns=["batch_size", *measured]
    )
    return Evaluation(
        trace=trace.name or "trace",
        samples=len(trace),
        accuracy=trace.accuracy,
        beta=float(beta),
        alpha=alpha,
        timing=timing,
        best=regret.best_threshold(trace, beta),
        learned_threshold=_learned(trace, beta, first.learning_rate or 1.0),
        runs=table,
        optima=optima,
        learner_best=learner_best,
        offloads=offloads,
        times=_times(timing, first, alpha, runs),
        paying=paying,
        plan=planned,
        paper_times=paper_times,
        scale=log.scale,
        groups=Groups(log.groups.column, groups, paying.answer) if log.groups else None,
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
            f"{where}: the fitted time of a picture must be positive, got {value:.4g} ms: time larger batches"
        )
    return value


def _finite(best: OptimalBatch) -> dict[str, float | None]:
    return {key: value if np.isfinite(value) else None for key, value in best._asdict().items()}


def _in_offloads(trace: Trace, beta: float, timing: TimingModel, offload_ratio: float, alpha: float) -> InOffloads:
    """The best m for independent offloads, and what the learner makes of it on this trace, in its order."""
    best = timing.optimal_batch_size(offload_ratio, alpha, unit="offloads")
    pending = int(min(best.integer, len(trace)))
    found = []
    for seed in range(DRAWS):
        run = replay(trace, beta, pending, unit="offloads", seed=seed)
        times = timing.of_run(run)
        found.append((alpha * times.system_time + (1 - alpha) * times.response_time, run.average_cost))
    return InOffloads(best, *np.mean(found, axis=0).tolist())


def _learned(trace: Trace, beta: float, learning_rate: float) -> tuple[float, float, float]:
    """Median and middle 90 % of θ's weight after the last sample."""
    edges, density = weight_density(trace, beta, len(trace), learning_rate, after=[1])
    below = np.concatenate([[0.0], np.cumsum(density[0] * np.diff(edges))])
    median, low, high = np.interp([0.5, 0.05, 0.95], below / below[-1], edges)
    return float(median), float(low), float(high)


def _times(timing: TimingModel, first: Run, alpha: float, runs: list[tuple[int, Run]]) -> pd.DataFrame:
    import pandas as pd

    rho, sizes, taken = first.offload_ratio, [size for size, _ in runs], [timing.of_run(run) for _, run in runs]
    table = pd.DataFrame(
        {
            "batch_size": sizes,
            "system_time": timing.system_time(sizes, rho),
            "system_time_exact": timing.system_time(sizes, rho, "independent"),
            "system_time_run": [times.system_time for times in taken],
            "response_time": timing.response_time(sizes, rho),
            "response_time_average": timing.response_time(sizes, rho, "average"),
            "response_time_run": [times.response_time for times in taken],
            "objective": timing.objective(sizes, rho, alpha),
            "objective_average": timing.objective(sizes, rho, alpha, "average"),
        }
    )
    return table.assign(objective_run=alpha * table["system_time_run"] + (1 - alpha) * table["response_time_run"])
