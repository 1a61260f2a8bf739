"""The learners: Batch HI with full feedback (HIL-F), its streaming form, and the fixed rules it is compared with."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hi_lib import checks, regret
from hi_lib.forecaster import Forecaster
from hi_lib.traces import Trace, checked

Floats = NDArray[np.floating[Any]]
# Above it the compiled engine would lose digits; nobody learns that fast, but the answer must be right.
ENGINE_LIMIT = 1e9
LEARNERS = ("hil-f", "fixed", "always", "never")


@dataclass(frozen=True, eq=False)
class Run:
    """What a learner does on a trace, in expectation over its own draws of θ.

    Attributes
    ----------
    cost : NDArray of shape (n,)
        Expected cost of each round, β q_t + e_t (1 − q_t).
    offload_probability : NDArray of shape (n,)
        q_t, the probability that round t is offloaded.
    correct : NDArray of shape (n,)
        Whether the S-ML was right.
    batch_size : int
        M; the last batch may be shorter.
    learning_rate : float or None
        η of the last batch; None for rules that do not learn.
    regret : float
        Expected total cost minus that of the best fixed threshold in hindsight.
    regret_bound : float or None
        The theorem's bound on `regret`; None where no theorem applies.
    """

    cost: Floats
    offload_probability: Floats
    correct: NDArray[np.bool_]
    batch_size: int
    learning_rate: float | None
    regret: float
    regret_bound: float | None

    @property
    def average_cost(self) -> float:
        """Expected cost per sample."""
        return float(self.cost.mean())

    @property
    def offload_ratio(self) -> float:
        """Expected share of samples offloaded, ρ."""
        return float(self.offload_probability.mean())

    @property
    def accuracy(self) -> float:
        """Expected share of right answers, every offload counting as right (as the paper does)."""
        return float(np.where(self.correct, 1.0, self.offload_probability).mean())

    @property
    def transmissions(self) -> float:
        """Expected number of batches that send anything: one θ a batch, so P(any) is the batch's largest q_t."""
        starts = range(0, self.offload_probability.size, self.batch_size)
        return float(np.maximum.reduceat(self.offload_probability, starts).sum())


def replay(
    trace: Trace,
    beta: float,
    batch_size: int = 1,
    learner: str = "hil-f",
    learning_rate: str | float = "tuned",
    exploration: float | None = None,
    threshold: float | None = None,
    seed: int | None = None,
) -> Run:
    """Run a learner over a trace and return exact expectations: the same call always gives the same Run.

    Parameters
    ----------
    trace : Trace
    beta : float
        Cost of an offload, in [0, 1].
    batch_size : int
        M >= 1 samples are decided with one θ; feedback and update come at the end of the batch.
    learner : {"hil-f", "fixed", "always", "never"}
        "hil-f" is Algorithm 1 with full feedback; M = 1 is vanilla HI.
    learning_rate : {"tuned", "anytime"} or float > 0
        η for "hil-f": η*(n, M, λ_min), rates that need no horizon, or a value of your own.
    exploration : None
        Reserved for learners with partial feedback; these learners refuse it.
    threshold : float in [0, 1], optional
        θ for "fixed", and only for it.
    seed : int, optional
        Accepted for every learner; these ones draw nothing.

    Raises
    ------
    ValueError
        An argument outside its range, an unknown name, or an argument the learner has no use for.

    Examples
    --------
    >>> trace = Trace([0.25, 0.75, 0.25, 0.75], [0, 1, 0, 1])
    >>> run = replay(trace, beta=0.5, batch_size=2, learning_rate=1.0)
    >>> run.offload_probability.round(3)        # nothing learned in the first batch: P(θ > p) = 1 − p
    array([0.75 , 0.25 , 0.811, 0.189])
    """
    checked(trace)
    checks.choice("learner", learner, LEARNERS)
    checks.seed("seed", seed)
    beta = checks.real("beta", beta, 0, 1)
    size = checks.whole("batch_size", batch_size)
    if exploration is not None:
        raise ValueError(
            f"exploration must be None for learner {learner!r}, which sees every label; got {exploration!r}"
        )
    if (threshold is None) == (learner == "fixed"):
        raise ValueError(f"threshold must be {'given' if learner == 'fixed' else 'None'} for learner {learner!r}")
    if learner == "hil-f":
        rates, bound = _learning_rates(trace, size, learning_rate)
        compiled = rates[0] == rates[-1] <= ENGINE_LIMIT
        offload = (_hil_f_compiled if compiled else _hil_f)(trace, beta, size, rates)
        eta = float(rates[-1])
    else:
        offload, eta, bound = _fixed_rule(trace, learner, threshold), None, None
    cost = beta * offload + ~trace.correct * (1 - offload)
    floor = regret.best_threshold(trace, beta).average_cost * len(trace)
    return Run(cost, offload, trace.correct, size, eta, float(cost.sum() - floor), bound)


def _hil_f(trace: Trace, beta: float, batch_size: int, rates: Floats) -> Floats:
    """Algorithm 1 over a trace: q_t of every sample, shape (n,)."""
    forecaster = Forecaster(trace.confidence)
    step = beta - ~trace.correct
    offload = np.empty(len(trace))
    for batch, rate in zip(_batches(len(trace), batch_size), rates, strict=True):
        offload[batch] = forecaster.offload_probability(trace.confidence[batch], rate)
        forecaster.update(trace.confidence[batch], step[batch])
    return offload


def _hil_f_compiled(trace: Trace, beta: float, batch_size: int, rates: Floats) -> Floats:
    """The same for a constant η, at O(log n) a sample."""
    from hi_lib import engine  # brings numba, which only replays need

    step, size = beta - ~trace.correct, min(batch_size, len(trace))
    return engine.offload_probability(trace.edges, trace.position, step, float(rates[0]), size)


def _batches(n: int, batch_size: int) -> Iterator[slice]:
    return (slice(start, min(start + batch_size, n)) for start in range(0, n, batch_size))


def _learning_rates(trace: Trace, batch_size: int, learning_rate: str | float) -> tuple[Floats, float]:
    """η of every batch, shape (⌈n/M⌉,), and the bound that goes with it."""
    n, shortest = len(trace), regret.lambda_min(trace)
    batches = math.ceil(n / batch_size)
    if isinstance(learning_rate, str):
        checks.choice("learning_rate", learning_rate, ("tuned", "anytime"))
        if learning_rate == "anytime":
            rates = regret.anytime_learning_rates(n, batch_size, shortest)
            return rates, regret.anytime_regret_bound(n, batch_size, shortest)
        eta = regret.tuned_learning_rate(n, batch_size, shortest)
        return np.full(batches, eta), regret.regret_bound(n, batch_size, shortest)
    eta = checks.positive("learning_rate", learning_rate)
    return np.full(batches, eta), regret.regret_bound(n, batch_size, shortest, eta)


def _fixed_rule(trace: Trace, rule: str, threshold: float | None) -> Floats:
    if rule == "fixed":
        return (trace.confidence < checks.real("threshold", threshold, 0, 1)).astype(float)
    return np.full(len(trace), float(rule == "always"))


class HILF:
    """Batch HI on a device: Algorithm 1 with full feedback, one batch at a time, confidences not known in advance.

    Parameters
    ----------
    beta : float
        Cost of an offload, in [0, 1].
    learning_rate : float
        η > 0.
    seed : int, optional
        Seeds the draws of θ.

    Examples
    --------
    >>> learner = HILF(beta=0.7, learning_rate=0.1, seed=0)
    >>> theta = learner.threshold()                  # the same for the whole batch
    >>> learner.decide([0.2, 0.99]) == (theta > np.array([0.2, 0.99]))
    array([ True,  True])
    >>> learner.update([0.2, 0.99], correct=[0, 1])  # feedback at the batch's end; a new θ is drawn
    """

    def __init__(self, beta: float, learning_rate: float, seed: int | None = None) -> None:
        self.beta = checks.real("beta", beta, 0, 1)
        self.learning_rate = checks.positive("learning_rate", learning_rate)
        self._rng = np.random.default_rng(checks.seed("seed", seed))
        self._forecaster = Forecaster()
        self._threshold = self._forecaster.draw(self.learning_rate, self._rng)

    def threshold(self) -> float:
        """θ of the current batch."""
        return self._threshold

    def decide(self, confidence: ArrayLike) -> NDArray[np.bool_]:
        """Which samples of the current batch to offload: bool array of shape (m,), θ > p."""
        return self._threshold > checks.vector("confidence", confidence)

    def update(self, confidence: ArrayLike, correct: ArrayLike) -> None:
        """End the batch: learn from the confidence and correctness of all its m samples, then draw the next θ."""
        values = checks.vector("confidence", confidence)
        right = checks.flags("correct", correct, values.size)
        self._forecaster.refine(values)
        self._forecaster.update(values, self.beta - ~right)
        self._threshold = self._forecaster.draw(self.learning_rate, self._rng)
