"""The learners over a trace: Batch HI with full feedback (HIL-F) and without (HIL-N), rivals, and fixed rules."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hi_lib import checks, regret
from hi_lib.forecaster import Forecaster, Steps
from hi_lib.regret import Schedule
from hi_lib.traces import Trace, checked
from hi_lib.typing import Floats

LEARNERS = ("hil-f", "hil-n", "apple", "naive", "quantised", "hi-lcb", "hi-lcb-lite", "fixed", "always", "never")
WITHOUT_RATE = ("hi-lcb", "hi-lcb-lite", "fixed", "always", "never")
LATE_LEARNERS = ("hil-f", "hil-n", "apple", "naive")


@dataclass(frozen=True, eq=False)
class Run:
    """What a learner does on a trace, in expectation over its own draws of θ.

    For learners that see offloaded samples only, everything is conditional on what they saw before, which their seed
    decides; the round at hand is averaged over.

    Attributes
    ----------
    cost : NDArray of shape (n,)
        Expected cost of each round, β q_t + e_t (1 − q_t).
    offload_probability : NDArray of shape (n,)
        q_t, the probability that round t is offloaded, be it to explore.
    correct : NDArray of shape (n,)
        Whether the S-ML was right.
    batch_size : int or tuple of int
        M, where the last batch may be shorter; or the size of every batch.
    learning_rate : float or None
        η of the last batch; None for rules that do not learn.
    regret : float
        Expected total cost minus that of the best fixed threshold in hindsight.
    regret_bound : float or None
        The theorem's bound on `regret` (on its mean over seeds, where a seed matters); None where no theorem applies.
    exploration : float or None
        ε, the share of rounds offloaded to learn; None for learners that do not explore.
    """

    cost: Floats
    offload_probability: Floats
    correct: NDArray[np.bool_]
    batch_size: int | tuple[int, ...]
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
        sizes = regret.sizes_of(self.batch_size, self.offload_probability.size)
        likeliest = np.maximum.reduceat(self.offload_probability, np.cumsum(sizes) - sizes)
        others = sizes - 1
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
    *,
    delay: ArrayLike = 0,
) -> Run:
    """Run a learner over a trace and return exact expectations over its draws of θ.

    Parameters
    ----------
    trace : Trace
    beta : float
        Cost of an offload, in [0, 1].
    batch_size : int
        M >= 1 samples are decided with one θ; feedback and update come at the end of the batch.
    learner : str
        Full feedback: "hil-f" (Algorithm 1; M = 1 is vanilla HI), "quantised" (the same on confidences of 4 bits).
        Feedback on offloaded samples only: "hil-n", "apple", "naive", "hi-lcb", "hi-lcb-lite"; see `rivals`.
        Rules: "fixed", "always", "never".
    learning_rate : {"tuned", "anytime"} or float > 0
        η: the one that minimises the regret bound, rates that need no horizon ("hil-f" only), or a value of your own;
        for "hi-lcb", "hi-lcb-lite" and the rules, which have none, it must be left out.
    exploration : float in (0, 1], optional
        ε for "hil-n", and only for it; by default the one that minimises its regret bound.
    threshold : float in [0, 1], optional
        θ for "fixed", and only for it.
    seed : int, optional
        Decides what "hil-n", "apple" and "naive" see; the others give the same Run for every seed.
    delay : int or array-like of int, shape (n,)
        How many further samples are decided, after the end of a sample's batch, before its feedback is in. For "hil-f",
        "hil-n", "apple" and "naive"; T14 gives the bounds of the first two, tuned rates are for them.

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
    seed = checks.seed("seed", seed)
    beta = checks.real("beta", beta, 0, 1)
    size = checks.whole("batch_size", batch_size)
    if exploration is not None and learner != "hil-n":
        got = checks.shown(exploration)
        raise ValueError(f"exploration must be None for learner {learner!r}, got {got}: only hil-n explores")
    if learner in WITHOUT_RATE and not (isinstance(learning_rate, str) and learning_rate == "tuned"):
        got = checks.shown(learning_rate)
        raise ValueError(f"learning_rate must be left out for learner {learner!r}, which has none, got {got}")
    if (threshold is None) == (learner == "fixed"):
        raise ValueError(f"threshold must be {'given' if learner == 'fixed' else 'None'} for learner {learner!r}")
    schedule = _schedule(len(trace), size, delay, learner)
    asked = Asked(trace, beta, schedule, learning_rate, exploration, threshold, seed)
    return as_run(trace, beta, size, _decide(asked, learner))


class Decided(NamedTuple):
    """What a learner did: P(offload) of each sample, shape (n,), with which η and ε, and what a theorem says of it."""

    offload: Floats
    learning_rate: float | None = None
    regret_bound: float | None = None
    exploration: float | None = None


class Asked(NamedTuple):
    """What `replay` was asked for, but for the learner; what each of them takes is checked by itself."""

    trace: Trace
    beta: float
    schedule: Schedule
    learning_rate: str | float
    exploration: float | None
    threshold: float | None
    seed: int | None


def _schedule(n: int, batch_size: int, delay: ArrayLike, learner: str) -> Schedule:
    if np.ndim(delay) == 0 and checks.nonnegative("delay", delay) == 0:
        return Schedule(batch_size, batch_size)
    release = regret.release_times(n, batch_size, delay)
    if learner not in LATE_LEARNERS:
        raise ValueError(f"delay must be 0 for learner {learner!r}: {', '.join(LATE_LEARNERS)} can learn late")
    return Schedule(batch_size, regret.equivalent_batch_size(n, batch_size, delay), release)


def _decide(asked: Asked, learner: str) -> Decided:
    trace, beta, schedule, seed = asked.trace, asked.beta, asked.schedule, asked.seed
    if learner == "fixed":
        return Decided((trace.confidence < checks.real("threshold", asked.threshold, 0, 1)).astype(float))
    if learner in ("always", "never"):
        return Decided(np.full(len(trace), float(learner == "always")))
    if learner == "hil-f":
        return _replay_hil_f(asked)
    if learner == "hil-n":
        return _replay_hil_n(asked)
    from hi_lib import rivals  # brings numba

    if learner == "quantised":
        return _replay_hil_f(asked._replace(trace=rivals.quantised(trace)))._replace(regret_bound=None)
    size, n, shortest = schedule.equivalent, len(trace), regret.lambda_min(trace)
    if learner == "apple":
        most = 1 / size
        eta = _one_rate(asked, min(regret.tuned_apple_rate(n, size, shortest, beta) or most, most), most)
        bound = None if schedule.release is not None else regret.apple_bound(n, size, shortest, beta, eta)
        return Decided(rivals.apple(trace, beta, schedule, eta, seed), eta, bound, eta * size)
    if learner == "naive":
        eta = _one_rate(asked, regret.tuned_learning_rate(n, size, shortest) or 1.0)
        return Decided(rivals.naive(trace, beta, schedule, eta, seed), eta)
    return Decided(rivals.lower_confidence_bound(trace, beta, schedule.batch_size, monotone=learner == "hi-lcb"))


def as_run(trace: Trace, beta: float, batch_size: int | tuple[int, ...], decided: Decided) -> Run:
    """What a learner did on a trace, with its costs and its regret."""
    offload, eta, bound, exploration = decided
    cost = np.where(trace.correct, 0.0, 1 - offload)
    cost += beta * offload
    floor = regret.best_threshold(trace, beta).average_cost * len(trace)
    return Run(cost, offload, trace.correct, batch_size, eta, float(cost.sum() - floor), bound, exploration)


def _one_rate(asked: Asked, tuned: float, most: float = np.inf) -> float:
    """Return `tuned` where that is asked for, else the learner's own rate, in (0, most]."""
    if isinstance(asked.learning_rate, str):
        checks.choice("learning_rate", asked.learning_rate, ("tuned",))
        return tuned
    return checks.real("learning_rate", asked.learning_rate, 0, most, open_ends="(")


def _replay_hil_f(asked: Asked) -> Decided:
    rates, bound = _learning_rates(asked)
    trace, beta, eta = asked.trace, asked.beta, float(rates[-1])
    if rates[0] == eta:  # a constant η: the same at O(log n) a sample
        return Decided(_quickly(trace, ~trace.correct, Steps(beta, beta - 1, eta), asked.schedule), eta, bound)
    return Decided(hil_f(trace, beta, asked.schedule.batch_size, rates), eta, bound)


def hil_f(trace: Trace, beta: float, batch_size: int | tuple[int, ...], rates: Floats) -> Floats:
    """Algorithm 1 over a trace: q_t of every sample, shape (n,)."""
    forecaster = Forecaster(trace.confidence)
    step = beta - ~trace.correct
    offload = np.empty(len(trace))
    sizes = regret.sizes_of(batch_size, len(trace))
    for stop, size, rate in zip(np.cumsum(sizes).tolist(), sizes.tolist(), rates, strict=True):
        batch = slice(stop - size, stop)
        offload[batch] = forecaster.offload_probability(trace.confidence[batch], rate)
        forecaster.update(trace.confidence[batch], step[batch])
    return offload


def _replay_hil_n(asked: Asked) -> Decided:
    """HIL-N over a trace: every sample is flagged with probability ε, and offloaded if flagged or below θ.

    Only flagged samples count as feedback, weighted 1/ε: pseudo-loss β for θ > p, e_t Q_t / ε for θ <= p, unbiased.
    """
    trace, beta, size = asked.trace, asked.beta, asked.schedule.equivalent
    n, shortest, rate = len(trace), regret.lambda_min(trace), asked.learning_rate
    own_rate = None if isinstance(rate, str) else checks.positive("learning_rate", rate)
    exploration = asked.exploration
    if exploration is None:
        exploration = regret.tuned_exploration(n, size, shortest, beta, own_rate)
    exploration = checks.share("exploration", exploration)
    # Where there is nothing to learn, any η does.
    eta = _one_rate(asked, regret.tuned_partial_feedback_rate(n, size, shortest, exploration) or 1.0)
    bound = regret.partial_feedback_bound(n, size, shortest, beta, eta, exploration)
    flagged = np.random.default_rng(asked.seed).random(n) < exploration
    steps = Steps(beta, beta - 1 / exploration, eta)
    offload = _quickly(trace, flagged & ~trace.correct, steps, asked.schedule)
    return Decided(offload + exploration * (1 - offload), eta, bound, exploration)


def _quickly(trace: Trace, wrong: NDArray[np.bool_], steps: Steps, schedule: Schedule) -> Floats:
    """Full feedback with one η, by the engine, or by the tree where feedback is late."""
    from hi_lib import _engine, _tree  # bring numba, which only replays need

    if schedule.release is None:
        return _engine.offload_probability(trace, wrong, steps, min(schedule.batch_size, len(trace)))
    return _tree.replay(trace, wrong, steps, schedule)


def _learning_rates(asked: Asked) -> tuple[Floats, float]:
    """HIL-F's η of every batch, shape (⌈n/M⌉,), and the bound that goes with it."""
    n, shortest, schedule, rate = len(asked.trace), regret.lambda_min(asked.trace), asked.schedule, asked.learning_rate
    batches = math.ceil(n / schedule.batch_size)
    if not isinstance(rate, str):
        eta = checks.positive("learning_rate", rate)
        return np.full(batches, eta), regret.regret_bound(n, schedule.equivalent, shortest, eta)
    if checks.choice("learning_rate", rate, ("tuned", "anytime")) == "tuned":
        eta = regret.tuned_learning_rate(n, schedule.equivalent, shortest)
        return np.full(batches, eta), regret.regret_bound(n, schedule.equivalent, shortest)
    if schedule.release is not None:
        raise ValueError("delay must be 0 with anytime rates: give one rate, or tuned")
    rates = regret.anytime_learning_rates(n, schedule.batch_size, shortest)
    return rates, regret.anytime_regret_bound(n, schedule.batch_size, shortest)
