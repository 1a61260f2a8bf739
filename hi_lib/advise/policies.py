"""Whether HI pays on a log: every policy, what it costs, and how sure one can be of the difference.

The log is cut in two by position. Where a policy must be fitted, the first half does that, and all are judged on the
second, in which the learner goes on learning. So nothing is drawn, and drift shows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hi_lib import checks
from hi_lib.learners import replay
from hi_lib.logs.reading import Log
from hi_lib.logs.regression import out_of_sample
from hi_lib.logs.scores import Scale
from hi_lib.specification import ADAPTIVE
from hi_lib.studies import lml
from hi_lib.traces import Trace, checked
from hi_lib.typing import Flags, Floats

if TYPE_CHECKING:
    import pandas as pd

SURE = 1.645  # standard errors that a difference must exceed: by chance it does so in one of twenty logs
ASSUMED = "always right"  # the L-ML, as the paper counts
# From the simplest to the one that asks for most: the first that is not clearly dearer than the cheapest is taken.
NEVER, ALWAYS, RULE, FITTED, LEARNER = "never", "always", "θ = 1 − β", "fitted θ", "learner"
POLICIES = (NEVER, ALWAYS, RULE, FITTED, LEARNER)
_LATEST = 20  # so large a part of the log says where the learner has come to
_ROUNDING = 1e-12  # costs that differ by less are the same


@dataclass(frozen=True, eq=False)
class Policy:
    """A way to decide which samples are offloaded.

    Attributes
    ----------
    name : str
        One of `POLICIES`.
    threshold : float
        θ; the learner's is the one at which it would offload half the time after the last sample.
    offload_probability : NDArray of shape (n,)
        Of every sample of the log.
    cost : NDArray of shape (n - n // 2,)
        Of every sample of the second half, in expectation.
    accuracy : float
        Of the final answers there.
    """

    name: str
    threshold: float
    offload_probability: Floats
    cost: Floats
    accuracy: float

    @property
    def offloaded(self) -> Flags:
        """Which samples are more likely offloaded than not, shape (n,)."""
        return self.offload_probability > 0.5

    @property
    def average_cost(self) -> float:
        """A sample, on the second half."""
        return float(self.cost.mean())

    @property
    def offload_ratio(self) -> float:
        """Share of the second half that is offloaded."""
        return float(self.offload_probability[-self.cost.size :].mean())


class Difference(NamedTuple):
    """How much more one policy costs than another, a sample, and its standard error over the samples."""

    mean: float
    error: float

    @property
    def clear(self) -> bool:
        """Whether it costs more, and chance would hardly have made it do so."""
        return self.mean > SURE * self.error + _ROUNDING

    def in_words(self) -> str:
        """For reading: the amount, the direction, and how sure that is.

        >>> Difference(0.0312, 0.0041).in_words(), Difference(0.0, 0.0).in_words()
        ('0.0312 more (one standard error: 0.0041)', 'the same')
        """
        if abs(self.mean) < _ROUNDING and self.error < _ROUNDING:
            return "the same"
        more = "more" if self.mean > 0 else "less"
        return f"{abs(self.mean):.4f} {more} (one standard error: {self.error:.4f})"


@dataclass(frozen=True, eq=False)
class Comparison:
    """Every policy on one log.

    Attributes
    ----------
    policies : dict of dict of Policy
        By what is said of the L-ML ("always right", and what `lml.answers` knows), then by name.
    scale : Scale or None
        Of confidences that are no probabilities.
    budget : float or None
        The share of the samples that may be offloaded.
    """

    policies: dict[str, dict[str, Policy]]
    scale: Scale | None = None
    budget: float | None = None

    @property
    def overspent(self) -> float | None:
        """By which share of the second half the chosen policy exceeds the budget; below zero where some is left."""
        return None if self.budget is None else self.chosen().offload_ratio - self.budget

    @property
    def known(self) -> list[str]:
        """The ways to count that are about the L-ML as it is, if anything is known of it."""
        return [name for name in self.policies if name != ASSUMED] or [ASSUMED]

    @property
    def counted(self) -> str:
        """The way to count that decides: where answers are not known, they are taken for wrong."""
        return self.known[-1]

    @property
    def answer(self) -> str:
        """Whether HI pays: "yes", "no", or "it depends" on answers of the L-ML that the log does not hold."""
        answers = {"no" if self.chosen(lml_is).name in (NEVER, ALWAYS) else "yes" for lml_is in self.known}
        return "it depends" if len(answers) > 1 else answers.pop()

    def chosen(self, lml_is: str | None = None) -> Policy:
        """The simplest policy that is not clearly dearer than the cheapest."""
        policies = self.policies[lml_is or self.counted]
        cheapest = min(policies.values(), key=lambda policy: policy.average_cost)
        return next(policy for policy in policies.values() if not difference(policy, cheapest).clear)

    def next_best(self) -> Policy:
        """The cheapest of all others."""
        others = [policy for name, policy in self.policies[self.counted].items() if name != self.chosen().name]
        return min(others, key=lambda policy: policy.average_cost)

    def table(self) -> pd.DataFrame:
        """A row for each way to count, and each policy."""
        import pandas as pd

        measured = ["threshold", "offload_ratio", "average_cost", "accuracy"]
        columns = ["lml_is", "policy", *measured, "over_never", "error"]
        rows = [
            (lml_is, name, *(getattr(one, each) for each in measured), *difference(one, policies[NEVER]))
            for lml_is, policies in self.policies.items()
            for name, one in policies.items()
        ]
        return pd.DataFrame(rows, columns=columns)


def difference(one: Policy, other: Policy) -> Difference:
    """How much more the one costs than the other, on the same samples."""
    more = one.cost - other.cost
    return Difference(float(more.mean()), float(more.std() / np.sqrt(more.size)))


def compare(log: Log | Trace, beta: float, budget: float | None = None) -> Comparison:
    """Judge every policy on the second half of a log; what must be fitted is fitted on the first.

    Parameters
    ----------
    log : Log or Trace
        A log's probabilities of an offload are used where the trace knows its L-ML on offloaded samples only; where its
        confidences are no probabilities, the rule θ = 1 − β is left out.
    beta : float
        Cost of an offload, in [0, 1].
    budget : float, optional
        The share of the samples that may be offloaded, in [0, 1]: what offloads more on the first half is left out, the
        fitted threshold is the best one that does not, and the learner follows what is spent.

    Returns
    -------
    Comparison

    Raises
    ------
    ValueError
        An argument outside its range.

    Examples
    --------
    >>> import hi_lib as hi
    >>> [compare(hi.load_trace("cifar10-alexnet").shuffled(0), beta).chosen().name for beta in (0.05, 0.5, 1)]
    ['θ = 1 − β', 'fitted θ', 'never']
    """
    log = out_of_sample(log if isinstance(log, Log) else Log(checked(log)))
    trace, beta = log.trace, checks.real("beta", beta, 0, 1)
    most = None if budget is None else checks.real("budget", budget, 0, 1)
    right = {ASSUMED: np.ones(len(trace)), **lml.answers(trace, log.offload_probability)}
    thresholds = {NEVER: 0.0, ALWAYS: np.inf} | ({} if log.scale else {RULE: 1 - beta})
    thresholds = {name: theta for name, theta in thresholds.items() if _kept(trace, theta, most)}
    learned = replay(trace, beta, learning_rate=ADAPTIVE, budget=most).offload_probability
    found = {}
    for lml_is, large in right.items():
        fixed = thresholds | _fitted(trace, beta, large, most)
        shares = {name: (theta, (trace.confidence < theta).astype(float)) for name, theta in fixed.items()}
        shares[LEARNER] = (_indifferent(trace.confidence, learned), learned)
        found[lml_is] = {name: _judged(trace, name, *shares[name], beta, large) for name in POLICIES if name in shares}
    return Comparison(found, log.scale, most)


def _kept(trace: Trace, threshold: float, budget: float | None) -> bool:
    """Whether a threshold keeps a budget on the first half; of an empty one, where it offloads nothing at all."""
    if budget is None or threshold == 0:
        return True
    half = len(trace) // 2
    return half > 0 and bool((trace.confidence[:half] < threshold).mean() <= budget)


def _fitted(trace: Trace, beta: float, large: Floats, budget: float | None) -> dict[str, float]:
    """The best threshold of the first half, within the budget; nothing where there is none."""
    half = len(trace) // 2
    if not half or not _kept(trace, np.nextafter(0.0, 1.0), budget):
        return {}
    first = Trace(trace.confidence[:half], trace.correct[:half])
    return {FITTED: lml.best_threshold(first, beta, large[:half], budget).threshold}


def _indifferent(confidence: Floats, offload_probability: Floats) -> float:
    """Where the learner offloads half the time by now: between the latest samples on either side of ½."""
    last = slice(confidence.size - 1 - confidence.size // _LATEST, None)
    sent = offload_probability[last] > 0.5
    below, above = confidence[last][sent], confidence[last][~sent]
    return float((below.max(initial=0.0) + above.min(initial=1.0)) / 2)


def _judged(trace: Trace, name: str, threshold: float, share: Floats, beta: float, large: Floats) -> Policy:
    half = len(trace) // 2
    q, correct, answers = share[half:], trace.correct[half:], large[half:]
    right = correct + q * (answers - correct)
    return Policy(name, threshold, share, 1 - right + beta * q, float(right.mean()))
