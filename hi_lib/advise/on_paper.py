"""A log by the paper's own means: HIL-F with the tuned rate in batches of M, its regret, M† and M* by each formula."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hi_lib.advise.aligned import aligned
from hi_lib.learners import Run, replay
from hi_lib.optima import OptimalBatch
from hi_lib.studies.best_batch import BestBatch, best_batch_size
from hi_lib.timing import MODEL_NAMES, TimingModel
from hi_lib.traces import Trace

if TYPE_CHECKING:
    import pandas as pd

BATCH_SIZES = (1, 4, 16, 64)
DRAWS = 5  # of a learner that draws a θ for each sample


class InOffloads(NamedTuple):
    """The same question in offloads: send once m are pending, each sample with a θ of its own."""

    model: OptimalBatch
    """m† and m* for independent offloads, with the offload ratio at M = 1."""
    objective: float
    """f of the learner on this trace at m*, ms, the mean of some draws."""
    average_cost: float
    """Its cost a sample, likewise."""


@dataclass(frozen=True, eq=False)
class OnPaper:
    """What the paper's learner and formulas say.

    Attributes
    ----------
    offload_ratio : float
        ρ at M = 1.
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
    """

    offload_ratio: float
    runs: pd.DataFrame
    optima: dict[str, OptimalBatch]
    learner_best: BestBatch
    offloads: InOffloads
    times: pd.DataFrame

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain values; an infinite batch size is None."""
        return {
            "offload_ratio": self.offload_ratio,
            "runs": self.runs.to_dict("records"),
            "optimal_batch_size": {model: _finite(best) for model, best in self.optima.items()},
            "learner_best": self.learner_best._asdict(),
            "optimal_offloads": {**self.offloads._asdict(), "model": _finite(self.offloads.model)},
            "times": self.times.to_dict("records"),
        }

    def as_lines(self) -> list[str]:
        """The runs, and the best sizes."""
        rows = [["M", "average cost", "offload ratio", "regret", "bound"]]
        for row in self.runs.itertuples():
            costs = f"{row.average_cost:.4f}", f"{row.offload_ratio:.4f}"
            rows.append([f"{row.batch_size}", *costs, f"{row.regret:.1f}", f"{row.regret_bound:.0f}"])
        model, found, best = self.offloads.model, self.offloads, self.learner_best
        return [
            f"the paper's learner, HIL-F with the tuned rate, and its formulas with ρ = {self.offload_ratio:.4f}",
            *aligned(rows, [4, 14, 15, 9, 9]),
            "",
            *(
                f"best batch size, {MODEL_NAMES[name]:30s} M* = {one.integer:g} (M† = {one.relaxed:.2f}), "
                f"f = {one.objective:.2f} ms"
                for name, one in self.optima.items()
            ),
            f"best batch size, {'the learner on this trace':30s} M* = {best.batch_size}, f = {best.objective:.2f} ms",
            f"in offloads,     {'independent':30s} m* = {model.integer:g} (m† = {model.relaxed:.2f}), "
            f"f = {model.objective:.2f} ms",
            f"in offloads,     {'the learner on this trace':30s} m  = {model.integer:g}, f = {found.objective:.2f} ms, "
            f"average cost {found.average_cost:.4f}",
        ]


def on_paper(trace: Trace, beta: float, timing: TimingModel, alpha: float) -> OnPaper:
    """Replay HIL-F in batches, and find the best ones."""
    import pandas as pd

    first = replay(trace, beta)
    rho = first.offload_ratio
    optima = {model: timing.optimal_batch_size(rho, alpha, model) for model in MODEL_NAMES}
    learner_best = best_batch_size(trace, timing, beta, alpha)
    chosen = {int(best.integer) for best in optima.values() if best.integer <= len(trace)} | {learner_best.batch_size}
    sizes = sorted(size for size in {*BATCH_SIZES, *chosen} if size <= len(trace))
    runs = [(size, first if size == 1 else replay(trace, beta, size)) for size in sizes]
    measured = ["average_cost", "offload_ratio", "regret", "regret_bound"]
    table = pd.DataFrame(
        [(size, *(getattr(run, name) for name in measured)) for size, run in runs], columns=["batch_size", *measured]
    )
    in_offloads = _in_offloads(trace, beta, timing, rho, alpha)
    return OnPaper(rho, table, optima, learner_best, in_offloads, _times(timing, first, alpha, runs))


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
