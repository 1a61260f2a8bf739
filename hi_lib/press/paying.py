"""Does HI pay on a trace? The learner beside what needs none: never offloading, always, a fixed threshold."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hi_lib.learners import Run, replay
from hi_lib.studies import lml
from hi_lib.traces import Trace
from hi_lib.typing import Floats

if TYPE_CHECKING:
    import pandas as pd

SHUFFLES = 20
_LARGE = 100_000  # samples of a trace for which fewer shuffles do
ASSUMED = "always right"  # the L-ML, as the paper counts
NEVER, ALWAYS, BEST = "never offload", "always offload", "best fixed θ in hindsight"


class Cost(NamedTuple):
    """What a way to decide comes to, per sample; the standard errors are over shuffles, and over the trace's samples.

    `error` is that of the average cost, `saving_error` that of what the learner saves against it.
    """

    average_cost: float
    accuracy: float
    error: float = 0.0
    saving_error: float = 0.0


@dataclass(frozen=True, eq=False)
class Comparison:
    """What each way to decide costs, by each way to count the L-ML's answers.

    Attributes
    ----------
    costs : dict of dict of Cost
        By what is said of the L-ML ("always right", and what `lml.answers` knows), then by the way to decide.
    thresholds : dict of float
        The best fixed θ in hindsight, by each way to count.
    shuffles : int
        Over which the learner's costs are averaged.
    learner : str
        The way that the verdict is about: the learner at the recommended batch size.
    """

    costs: dict[str, dict[str, Cost]]
    thresholds: dict[str, float]
    shuffles: int
    learner: str

    def table(self) -> pd.DataFrame:
        """A row for each way to count, and each way to decide."""
        import pandas as pd

        rows = [(lml_is, way, *cost) for lml_is, ways in self.costs.items() for way, cost in ways.items()]
        return pd.DataFrame(rows, columns=["lml_is", "decides", *Cost._fields])

    @property
    def verdict(self) -> str:
        """Whether HI pays, in a line; by what is known of the L-ML, if anything is."""
        return "; ".join(self._verdicts()).replace(":;", ":")

    def _verdicts(self) -> list[str]:
        known = [name for name in self.costs if name != ASSUMED] or [ASSUMED]
        said = {name: self._judged(name) for name in known}
        if len(said) == 1:
            return list(said.values())
        if len({judged.partition(":")[0] for judged in said.values()}) == 1:
            return [f"{said[lml.AT_WORST]} (the L-ML {lml.AT_WORST})"]
        ends = [f"{name}, {judged}" for name, judged in said.items()]
        return ["it depends on answers of the L-ML that the log does not hold:", *ends]

    def _judged(self, lml_is: str) -> str:
        costs = self.costs[lml_is]
        rival = min((NEVER, ALWAYS), key=lambda way: costs[way].average_cost)
        mine, other = costs[self.learner], costs[rival]
        saved, error = other.average_cost - mine.average_cost, float(np.hypot(mine.error, other.saving_error))
        device = f"a device that {'never' if rival == NEVER else 'always'} offloads"
        numbers = (
            f"{mine.average_cost:.4f} a sample against {other.average_cost:.4f}, a difference known to ± {error:.4f}"
        )
        if saved > 2 * error:
            return f"yes: {self.learner} costs less than {device}, {numbers}"
        better = "does as well as" if saved >= -2 * error else "does better than"
        return f"no: {device} {better} {self.learner}, {numbers}"

    def as_lines(self) -> list[str]:
        """The verdict, and the table as text."""
        first, *more = self._verdicts()
        lines = [f"does HI pay? {first}", *(f"  {line}" for line in more)]
        if lml.AT_BEST in self.costs:
            lines.append(
                "  (with the probability of each offload, --offload-probability, both ends become an estimate)"
            )
        lines += ["", f"{'average cost, the L-ML':28s}{_row(self.costs)}"]
        for way in self.costs[ASSUMED]:
            lines.append(f"{way:28s}{_row(_shown(costs[way]) for costs in self.costs.values())}")
            if way == BEST:
                lines.append(f"{'  which is':28s}{_row(f'θ = {theta:.4f}' for theta in self.thresholds.values())}")
        if len(self.costs) > 1:
            accuracy = (f"{costs[self.learner].accuracy:.1%}" for costs in self.costs.values())
            lines.append(f"{'accuracy of its answers':28s}{_row(accuracy)}")
        return [line.rstrip() for line in lines]


def compare(
    trace: Trace, beta: float, batch_size: int, offload_probability: Floats | None = None, shuffles: int | None = None
) -> Comparison:
    """Count each way to decide; the learner's costs are means over shuffles of the trace.

    Parameters
    ----------
    trace : Trace
    beta : float
    batch_size : int
        The recommended M; M = 1 is counted, too.
    offload_probability : NDArray of shape (n,), optional
        As for `lml.answers`.
    shuffles : int, optional
        At least two; by default 20, and 5 for traces above 100 000 samples.

    Examples
    --------
    >>> import hi_lib as hi
    >>> compare(hi.synthetic_trace(2000, seed=0), beta=0.3, batch_size=4).verdict.partition(",")[0]
    'yes: the learner at M = 4 costs less than a device that always offloads'
    >>> compare(hi.load_trace("cifar10-resnet8"), beta=0.5, batch_size=4).verdict.partition(",")[0]
    'no: a device that never offloads does better than the learner at M = 4'
    """
    shuffles = shuffles or (SHUFFLES if len(trace) <= _LARGE else 5)
    right = {ASSUMED: np.ones(len(trace)), **lml.answers(trace, offload_probability)}
    learners = {f"the learner at M = {size}": size for size in dict.fromkeys((1, batch_size))}
    drawn = {way: _drawn(trace, beta, size, right, shuffles) for way, size in learners.items()}
    best = {lml_is: lml.best_threshold(trace, beta, large).threshold for lml_is, large in right.items()}
    costs = {
        lml_is: _rules(trace, beta, large, best[lml_is]) | {way: found[lml_is] for way, found in drawn.items()}
        for lml_is, large in right.items()
    }
    run = replay(trace.shuffled(0), beta, batch_size)
    for lml_is, large in right.items():
        for way, error in _saving_errors(trace, run, beta, large).items():
            costs[lml_is][way] = costs[lml_is][way]._replace(saving_error=error)
    return Comparison(costs, best, shuffles, list(learners)[-1])


def _rules(trace: Trace, beta: float, large: Floats, best: float) -> dict[str, Cost]:
    """Ways to decide that learn nothing, and depend on no shuffle."""
    runs = {
        NEVER: replay(trace, beta, learner="never"),
        ALWAYS: replay(trace, beta, learner="always"),
        f"θ = 1 − β = {1 - beta:.4g}": replay(trace, beta, learner="fixed", threshold=1 - beta),
        BEST: replay(trace, beta, learner="fixed", threshold=best),
    }
    return {way: Cost(*lml.outcome(trace, run, beta, large)) for way, run in runs.items()}


def _drawn(trace: Trace, beta: float, size: int, right: dict[str, Floats], shuffles: int) -> dict[str, Cost]:
    """The learner's mean cost and accuracy over shuffles, by each way to count."""
    found: dict[str, list[lml.Outcome]] = {lml_is: [] for lml_is in right}
    for seed in range(shuffles):
        order, shuffled = trace.shuffle_order(seed), trace.shuffled(seed)
        run = replay(shuffled, beta, size)
        for lml_is, large in right.items():
            found[lml_is].append(lml.outcome(shuffled, run, beta, large[order]))
    costs = {}
    for lml_is, outcomes in found.items():
        cost, accuracy = np.array(outcomes).T
        costs[lml_is] = Cost(float(cost.mean()), float(accuracy.mean()), float(cost.std(ddof=1) / np.sqrt(shuffles)))
    return costs


def _saving_errors(trace: Trace, run: Run, beta: float, large: Floats) -> dict[str, float]:
    """Standard errors of what the learner saves a sample, by the spread of the savings over the samples."""
    order = trace.shuffle_order(0)
    accept, offload = 1.0 - trace.correct[order], beta + 1 - large[order]
    saved = run.offload_probability * (accept - offload)
    saved_by_accepting = (1 - run.offload_probability) * (offload - accept)
    root = np.sqrt(len(trace))
    return {NEVER: float(saved.std() / root), ALWAYS: float(saved_by_accepting.std() / root)}


def _shown(cost: Cost) -> str:
    return f"{cost.average_cost:.4f} ± {cost.error:.4f}" if cost.error else f"{cost.average_cost:.4f}         "


def _row(cells: Iterable[str]) -> str:
    return "".join(f"{cell:>18s}" for cell in cells)
