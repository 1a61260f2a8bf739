"""Does HI pay on a trace? Every way to decide sample by sample, beside what needs no confidence: never, and always."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hi_lib.advise.aligned import aligned, error_digits
from hi_lib.learners import replay
from hi_lib.logs.reading import Log
from hi_lib.logs.scores import Scale
from hi_lib.studies import lml
from hi_lib.traces import Trace, checked
from hi_lib.typing import Floats

if TYPE_CHECKING:
    import pandas as pd

SHUFFLES = 20
_LARGE = 100_000  # samples of a trace for which fewer shuffles do
_SURE = 1.645  # standard errors that a saving must exceed: by chance, a way does so in one of twenty logs
_PARTS = 5  # of a trace, for the threshold that is fitted on all but one of them
ASSUMED = "always right"  # the L-ML, as the paper counts
NEVER, ALWAYS, BEST, FITTED = (
    "never offload",
    "always offload",
    "best fixed θ in hindsight",
    "θ fitted on other samples",
)
_RIVALS = {NEVER: "a device that never offloads", ALWAYS: "a device that always offloads"}


class Cost(NamedTuple):
    """What a way to decide comes to, per sample; standard errors, over shuffles and over the trace's samples.

    `error` is that of the average cost over shuffles, `saving_error` that of what is saved against the better of never
    and always offloading.
    """

    average_cost: float
    accuracy: float
    error: float = 0.0
    saving_error: float = 0.0


class _Decided(NamedTuple):
    """A way to decide: its cost and accuracy, and P(offload) of each sample, for each way to count the L-ML."""

    outcomes: dict[str, Cost]
    offload_probability: dict[str, Floats]


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
        The learner at the recommended batch size.
    judged : tuple of str
        The ways that may pay: all that a device could have done without hindsight.
    scale : Scale or None
        Of confidences that are no probabilities.
    """

    costs: dict[str, dict[str, Cost]]
    thresholds: dict[str, float]
    shuffles: int
    learner: str
    judged: tuple[str, ...]
    scale: Scale | None = None

    def table(self) -> pd.DataFrame:
        """A row for each way to count, and each way to decide."""
        import pandas as pd

        rows = [(lml_is, way, *cost) for lml_is, ways in self.costs.items() for way, cost in ways.items()]
        return pd.DataFrame(rows, columns=["lml_is", "decides", *Cost._fields])

    @property
    def known(self) -> list[str]:
        """The ways to count that are about the L-ML as it is, if anything is known of it."""
        return [name for name in self.costs if name != ASSUMED] or [ASSUMED]

    @property
    def verdict(self) -> str:
        """Whether HI pays, and which way to decide does; by what is known of the L-ML, if anything is."""
        return "; ".join(self._verdicts()).replace(":;", ":")

    @property
    def answer(self) -> str:
        """The verdict's first words: "yes", "no" or "it depends"."""
        answers = {"yes" if self.paying(lml_is) else "no" for lml_is in self.known}
        return "it depends" if len(answers) > 1 else answers.pop()

    def paying(self, lml_is: str) -> list[str]:
        """The ways that clearly cost less than never and always offloading, the cheapest first."""
        costs, rival = self.costs[lml_is], self._rival(lml_is)
        ways = [way for way in self.judged if rival.average_cost - costs[way].average_cost > _SURE * _error(costs[way])]
        return sorted(ways, key=lambda way: costs[way].average_cost)

    def _rival(self, lml_is: str) -> Cost:
        return min((self.costs[lml_is][way] for way in _RIVALS), key=lambda cost: cost.average_cost)

    def _verdicts(self) -> list[str]:
        said = {name: self._judged(name) for name in self.known}
        if len(said) == 1:
            return list(said.values())
        if len({judged.partition(":")[0] for judged in said.values()}) == 1:
            return [f"{said[lml.AT_WORST]} (the L-ML {lml.AT_WORST})"]
        ends = [f"{name}, {judged}" for name, judged in said.items()]
        return ["it depends on answers of the L-ML that the log does not hold:", *ends]

    def _judged(self, lml_is: str) -> str:
        costs, paying, other = self.costs[lml_is], self.paying(lml_is), self._rival(lml_is)
        device = next(says for way, says in _RIVALS.items() if costs[way] is other)
        best = paying[0] if paying else min(self.judged, key=lambda way: costs[way].average_cost)
        mine, error = costs[best], _error(costs[best])
        numbers = f"{mine.average_cost:.4f} a sample against {other.average_cost:.4f}"
        same = error < 1e-12 and abs(mine.average_cost - other.average_cost) < 1e-12
        numbers += ", the same on every sample" if same else f", a difference known to ± {error_digits(error)}"
        if not paying:
            clearly = "clearly " if mine.average_cost - other.average_cost <= _SURE * error else ""
            return f"no: nothing does {clearly}better than {device}: {best} costs {numbers}"
        failing = [way for way in self.judged if way not in paying]
        more = f"; so {_do(paying[1:])} {' and '.join(paying[1:])}" if paying[1:] else ""
        less = f"; {' and '.join(failing)} {_do(failing)} not" if failing else ""
        return f"yes: {best} costs less than {device}, {numbers}{more}{less}"

    def as_lines(self) -> list[str]:
        """The verdict, and the table as text."""
        first, *more = self._verdicts()
        lines = [f"does HI pay? {first}", *(f"  {line}" for line in more)]
        if lml.AT_BEST in self.costs:
            lines.append(
                "  (with the probability of each offload, --offload-probability, both ends become an estimate)"
            )
        rows = [["average cost, the L-ML", *self.costs]]
        for way in self.costs[ASSUMED]:
            rows.append([way, *(_shown(costs[way]) for costs in self.costs.values())])
            if way == BEST:
                rows.append(["  which is", *map(self._threshold, self.thresholds.values())])
        if len(self.costs) > 1:
            accuracy = (f"{costs[self.learner].accuracy:.1%}" for costs in self.costs.values())
            rows.append(["accuracy of its answers", *accuracy])
        label = max(28, *(len(row[0]) for row in rows))
        rows = [[row[0].ljust(label), *row[1:]] for row in rows]
        lines += ["", *aligned(rows, [label, *[19] * len(self.costs)])]
        if self.scale:
            lines.append(f"(θ = 1 − β is left out: {self.scale.name} need be no probability of being right)")
        return lines

    def _threshold(self, threshold: float) -> str:
        return self.scale.shown(threshold) if self.scale else f"θ = {threshold:.4f}"


def compare(log: Log | Trace, beta: float, batch_size: int, shuffles: int | None = None) -> Comparison:
    """Count each way to decide; the learner's costs are means over shuffles of the trace.

    Parameters
    ----------
    log : Log or Trace
        A log's probabilities of an offload are used where the trace knows its L-ML on offloaded samples only; where its
        confidences are no probabilities, the rule θ = 1 − β is left out.
    beta : float
    batch_size : int
        The recommended M; M = 1 is counted, too.
    shuffles : int, optional
        At least two; by default 20, and 5 for traces above 100 000 samples.

    Examples
    --------
    >>> import hi_lib as hi
    >>> compare(hi.synthetic_trace(2000, seed=0), beta=0.3, batch_size=4).verdict.partition(",")[0]
    'yes: θ fitted on other samples costs less than a device that always offloads'
    >>> compare(hi.load_trace("cifar10-resnet8"), beta=0.5, batch_size=4).verdict.partition(" costs")[0]
    'no: nothing does clearly better than a device that never offloads: θ fitted on other samples'
    """
    log = log if isinstance(log, Log) else Log(checked(log))
    trace = log.trace
    shuffles = shuffles or (SHUFFLES if len(trace) <= _LARGE else 5)
    right = {ASSUMED: np.ones(len(trace)), **lml.answers(trace, log.offload_probability)}
    best = {lml_is: lml.best_threshold(trace, beta, large).threshold for lml_is, large in right.items()}
    rules = {NEVER: 0.0, ALWAYS: np.inf} | ({} if log.scale else {f"θ = 1 − β = {1 - beta:.4g}": 1 - beta})
    fixed = {way: dict.fromkeys(right, _offloaded(trace, theta)) for way, theta in rules.items()}
    fixed[BEST] = {lml_is: _offloaded(trace, theta) for lml_is, theta in best.items()}
    if len(trace) > 1:
        fixed[FITTED] = {lml_is: _fitted_elsewhere(trace, beta, large) for lml_is, large in right.items()}
    ways = {way: _decided(trace, shares, beta, right) for way, shares in fixed.items()}
    learners = {f"the learner at M = {size}": size for size in dict.fromkeys((1, batch_size))}
    ways |= {way: _learned(trace, beta, size, right, shuffles) for way, size in learners.items()}
    costs = {lml_is: _with_errors(trace, ways, lml_is, beta, large) for lml_is, large in right.items()}
    learner = list(learners)[-1]
    judged = [way for way in ways if way not in (*_RIVALS, BEST, *learners)]
    return Comparison(costs, best, shuffles, learner, (*judged, learner), log.scale)


def _offloaded(trace: Trace, threshold: float) -> Floats:
    """What a fixed threshold offloads, 1.0 or 0.0, shape (n,)."""
    return (trace.confidence < threshold).astype(float)


def _fitted_elsewhere(trace: Trace, beta: float, large: Floats) -> Floats:
    """What the best thresholds of the other samples offload of each fifth of them: no sample decides on itself."""
    part = np.random.default_rng(0).permutation(len(trace)) % _PARTS
    share = np.zeros(len(trace))
    for each in np.unique(part):
        here, there = part == each, part != each
        others = Trace(trace.confidence[there], trace.correct[there])
        share[here] = trace.confidence[here] < lml.best_threshold(others, beta, large[there]).threshold
    return share


def _cost(trace: Trace, share: Floats, beta: float, large: Floats) -> Floats:
    """What each sample costs in expectation, shape (n,)."""
    return (1 - share) * (1 - trace.correct) + share * (beta + 1 - large)


def _decided(trace: Trace, shares: dict[str, Floats], beta: float, right: dict[str, Floats]) -> _Decided:
    """A way that learns nothing, and depends on no shuffle."""
    outcomes = {}
    for lml_is, large in right.items():
        accuracy = trace.correct + shares[lml_is] * (large - trace.correct)
        outcomes[lml_is] = Cost(float(_cost(trace, shares[lml_is], beta, large).mean()), float(accuracy.mean()))
    return _Decided(outcomes, shares)


def _learned(trace: Trace, beta: float, size: int, right: dict[str, Floats], shuffles: int) -> _Decided:
    """The learner's mean cost and accuracy over shuffles, and what it did in the first of them."""
    found: dict[str, list[lml.Outcome]] = {lml_is: [] for lml_is in right}
    first = np.empty(len(trace))
    for seed in range(shuffles):
        order, shuffled = trace.shuffle_order(seed), trace.shuffled(seed)
        run = replay(shuffled, beta, size)
        for lml_is, large in right.items():
            found[lml_is].append(lml.outcome(shuffled, run, beta, large[order]))
        if seed == 0:
            first[order] = run.offload_probability
    outcomes = {}
    for lml_is, each in found.items():
        cost, accuracy = np.array(each).T
        error = float(cost.std(ddof=1) / np.sqrt(shuffles))
        outcomes[lml_is] = Cost(float(cost.mean()), float(accuracy.mean()), error)
    return _Decided(outcomes, dict.fromkeys(right, first))


def _with_errors(trace: Trace, ways: dict[str, _Decided], lml_is: str, beta: float, large: Floats) -> dict[str, Cost]:
    """Costs with the standard errors of what is saved, by the spread of the savings over the samples."""
    rival = min((ways[way] for way in _RIVALS), key=lambda way: way.outcomes[lml_is].average_cost)
    against = _cost(trace, rival.offload_probability[lml_is], beta, large)
    found = {}
    for way, decided in ways.items():
        saved = against - _cost(trace, decided.offload_probability[lml_is], beta, large)
        found[way] = decided.outcomes[lml_is]._replace(saving_error=float(saved.std() / np.sqrt(len(trace))))
    return found


def _do(ways: list[str]) -> str:
    return "do" if len(ways) > 1 else "does"


def _error(cost: Cost) -> float:
    """Of what is saved: by the shuffles, and by the samples."""
    return float(np.hypot(cost.error, cost.saving_error))


def _shown(cost: Cost) -> str:
    error = f"± {error_digits(cost.error)}" if cost.error > 1e-12 else ""  # else only rounding differs
    return f"{cost.average_cost:.4f} {error:<10s}"
