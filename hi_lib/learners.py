"""The learners: Batch HI with full feedback (HIL-F) and without (HIL-N), their streaming forms, and fixed rules."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hi_lib import checks, regret
from hi_lib.forecaster import Forecaster, StreamingForecaster
from hi_lib.traces import Trace, checked

Floats = NDArray[np.floating[Any]]
# Above it the compiled engine would lose digits; nobody learns that fast, but the answer must be right.
ENGINE_LIMIT = 1e9
LEARNERS = ("hil-f", "hil-n", "fixed", "always", "never")


@dataclass(frozen=True, eq=False)
class Run:
    """What a learner does on a trace, in expectation over its own draws of θ.

    For HIL-N everything is conditional on the rounds it explored before, which its seed decides; whether it explores
    in the round at hand is averaged over.

    Attributes
    ----------
    cost : NDArray of shape (n,)
        Expected cost of each round, β q_t + e_t (1 − q_t).
    offload_probability : NDArray of shape (n,)
        q_t, the probability that round t is offloaded, be it to explore.
    correct : NDArray of shape (n,)
        Whether the S-ML was right.
    batch_size : int
        M; the last batch may be shorter.
    learning_rate : float or None
        η of the last batch; None for rules that do not learn.
    regret : float
        Expected total cost minus that of the best fixed threshold in hindsight.
    regret_bound : float or None
        The theorem's bound on `regret`, for HIL-N on its mean over seeds; None where no theorem applies.
    exploration : float or None
        ε, the share of rounds offloaded to learn; None for learners that do not explore.
    """

    cost: Floats
    offload_probability: Floats
    correct: NDArray[np.bool_]
    batch_size: int
    learning_rate: float | None
    regret: float
    regret_bound: float | None
    exploration: float | None = None

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
        """Expected number of batches that send anything.

        One θ a batch: without exploration P(any) is the batch's largest q_t. With it, the other samples of the batch
        must not be explored either for nothing to be sent.
        """
        n = self.offload_probability.size
        starts = np.arange(0, n, self.batch_size)
        likeliest = np.maximum.reduceat(self.offload_probability, starts)
        others = np.minimum(self.batch_size, n - starts) - 1
        return float((1 - (1 - likeliest) * (1 - (self.exploration or 0.0)) ** others).sum())


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
    """Run a learner over a trace and return exact expectations over its draws of θ.

    Parameters
    ----------
    trace : Trace
    beta : float
        Cost of an offload, in [0, 1].
    batch_size : int
        M >= 1 samples are decided with one θ; feedback and update come at the end of the batch.
    learner : {"hil-f", "hil-n", "fixed", "always", "never"}
        "hil-f" is Algorithm 1 with full feedback, "hil-n" learns from offloaded samples only; M = 1 is vanilla HI.
    learning_rate : {"tuned", "anytime"} or float > 0
        η: the one that minimises the regret bound, rates that need no horizon ("hil-f" only), or a value of your own.
    exploration : float in (0, 1], optional
        ε for "hil-n", and only for it; by default the one that minimises its regret bound.
    threshold : float in [0, 1], optional
        θ for "fixed", and only for it.
    seed : int, optional
        Decides which rounds "hil-n" explores; the others draw nothing, and give the same Run for every seed.

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
    if exploration is not None and learner != "hil-n":
        raise ValueError(f"exploration must be None for learner {learner!r}, got {exploration!r}: only hil-n explores")
    if (threshold is None) == (learner == "fixed"):
        raise ValueError(f"threshold must be {'given' if learner == 'fixed' else 'None'} for learner {learner!r}")
    eta, bound = None, None
    if learner == "hil-f":
        offload, eta, bound = _replay_hil_f(trace, beta, size, learning_rate)
    elif learner == "hil-n":
        offload, eta, exploration, bound = _replay_hil_n(trace, beta, size, learning_rate, exploration, seed)
    else:
        offload = _fixed_rule(trace, learner, threshold)
    cost = np.where(trace.correct, 0.0, 1 - offload)
    cost += beta * offload
    floor = regret.best_threshold(trace, beta).average_cost * len(trace)
    return Run(cost, offload, trace.correct, size, eta, float(cost.sum() - floor), bound, exploration)


def _replay_hil_f(
    trace: Trace, beta: float, batch_size: int, learning_rate: str | float
) -> tuple[Floats, float, float]:
    rates, bound = _learning_rates(trace, batch_size, learning_rate)
    eta = float(rates[-1])
    if rates[0] == eta <= ENGINE_LIMIT:
        return _hil_f_compiled(trace, beta, batch_size, eta), eta, bound
    return _hil_f(trace, beta, batch_size, rates), eta, bound


def _hil_f(trace: Trace, beta: float, batch_size: int, rates: Floats) -> Floats:
    """Algorithm 1 over a trace: q_t of every sample, shape (n,)."""
    forecaster = Forecaster(trace.confidence)
    step = beta - ~trace.correct
    offload = np.empty(len(trace))
    for batch, rate in zip(_batches(len(trace), batch_size), rates, strict=True):
        offload[batch] = forecaster.offload_probability(trace.confidence[batch], rate)
        forecaster.update(trace.confidence[batch], step[batch])
    return offload


def _hil_f_compiled(trace: Trace, beta: float, batch_size: int, learning_rate: float) -> Floats:
    """The same for a constant η, at O(log n) a sample."""
    return _engine(trace, ~trace.correct, (beta, beta - 1), learning_rate, batch_size)


def _replay_hil_n(
    trace: Trace, beta: float, batch_size: int, learning_rate: str | float, exploration: float | None, seed: int | None
) -> tuple[Floats, float, float, float]:
    """HIL-N over a trace: every sample is flagged with probability ε, and offloaded if flagged or below θ.

    Only flagged samples count as feedback, weighted 1/ε: pseudo-loss β for θ > p, e_t Q_t / ε for θ <= p, unbiased.
    """
    n, shortest = len(trace), regret.lambda_min(trace)
    if isinstance(learning_rate, str):
        checks.choice("learning_rate", learning_rate, ("tuned",))
        if exploration is None:
            exploration = regret.tuned_exploration(n, batch_size, shortest, beta)
        # One cell of length 1 leaves nothing to learn: any η does.
        eta = regret.tuned_partial_feedback_rate(n, batch_size, shortest, exploration) or 1.0
    else:
        eta = checks.real("learning_rate", learning_rate, 0, ENGINE_LIMIT, open_ends="(")
        if exploration is None:
            exploration = regret.tuned_exploration(n, batch_size, shortest, beta, eta)
    exploration = checks.share("exploration", exploration)
    bound = regret.partial_feedback_bound(n, batch_size, shortest, beta, eta, exploration)
    flagged = np.random.default_rng(seed).random(n) < exploration
    offload = _engine(trace, flagged & ~trace.correct, (beta, beta - 1 / exploration), eta, batch_size)
    return offload + exploration * (1 - offload), eta, exploration, bound


def _engine(
    trace: Trace, wrong: NDArray[np.bool_], steps: tuple[float, float], learning_rate: float, batch_size: int
) -> Floats:
    from hi_lib import engine  # brings numba, which only replays need

    return engine.offload_probability(trace.gaps, trace.order, wrong, steps, learning_rate, min(batch_size, len(trace)))


def _batches(n: int, batch_size: int) -> Iterator[slice]:
    return (slice(start, min(start + batch_size, n)) for start in range(0, n, batch_size))


def _learning_rates(trace: Trace, batch_size: int, learning_rate: str | float) -> tuple[Floats, float]:
    """HIL-F's η of every batch, shape (⌈n/M⌉,), and the bound that goes with it."""
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
        self._forecaster = StreamingForecaster(self.learning_rate)
        self._threshold = self._forecaster.draw(self._rng)

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
        self._learn(values, self.beta - ~right)

    def _learn(self, confidence: Floats, step: Floats) -> None:
        self._forecaster.update(confidence, step)
        self._threshold = self._forecaster.draw(self._rng)


class HILN(HILF):
    """Batch HI on a device that learns from offloaded samples only: some are offloaded to learn, whatever θ says.

    Each sample is explored with probability ε. The others teach nothing here, even where they were offloaded, since
    whether those come back depends on their confidence.

    Parameters
    ----------
    beta, learning_rate, seed
        As for `HILF`; the seed also decides which samples are explored.
    exploration : float
        ε, in (0, 1].

    Examples
    --------
    >>> learner = HILN(beta=0.7, learning_rate=0.1, exploration=0.05, seed=2)
    >>> learner.decide([0.2, 0.99])                       # offload where θ > p, or to explore
    array([ True, False])
    >>> learner.update([0.2, 0.99], correct=[0, np.nan])  # nothing is known of what stayed on the device
    """

    def __init__(self, beta: float, learning_rate: float, exploration: float, seed: int | None = None) -> None:
        super().__init__(beta, learning_rate, seed)
        self.exploration = checks.share("exploration", exploration)
        self._decided: list[tuple[Floats, NDArray[np.bool_]]] = []

    def decide(self, confidence: ArrayLike) -> NDArray[np.bool_]:
        """Which samples of the current batch to offload: bool array of shape (m,), θ > p or explored.

        A batch may come in several calls; each call decides further samples.
        """
        values = checks.vector("confidence", confidence)
        explored = self._rng.random(values.size) < self.exploration
        self._decided.append((values, explored))
        return (self._threshold > values) | explored

    def update(self, confidence: ArrayLike, correct: ArrayLike) -> None:
        """End the batch: learn from its m samples as they were decided, then draw the next θ.

        Raises
        ------
        ValueError
            `confidence` is not what was decided since the last update, or `correct`, nan or None where a sample
            stayed local, lacks the answer to one that was offloaded.
        """
        values = checks.vector("confidence", confidence)
        decided, explored = (
            (np.concatenate(parts) for parts in zip(*self._decided, strict=True)) if self._decided else ((), ())
        )
        if not np.array_equal(values, decided):
            raise ValueError(f"confidence must hold the {len(decided)} samples decided since the last update, in order")
        right = checks.partial_flags("correct", correct, known=(self._threshold > values) | explored)
        self._decided.clear()
        self._learn(values, self.beta - (explored & ~right) / self.exploration)
