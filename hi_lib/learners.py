"""The learners over a trace: Batch HI with full feedback (HIL-F) and without (HIL-N), rivals, and fixed rules."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hi_lib import checks, regret
from hi_lib.forecaster import Forecaster, Steps
from hi_lib.regret import Schedule
from hi_lib.specification import ANYTIME, TUNED, VANILLA, Decided, Horizon, Learner, Rates, Task
from hi_lib.traces import Trace, checked
from hi_lib.typing import Floats


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
    learning_rate : {"tuned", "vanilla", "anytime"} or float > 0
        η: the one that minimises the regret bound, the one that does so at M = 1, rates that need no horizon ("hil-f"
        only), or a value of your own; for "hi-lcb", "hi-lcb-lite" and the rules, which have none, it must be left out.
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
    found = named(learner)
    beta, seed = checks.real("beta", beta, 0, 1), checks.seed("seed", seed)
    size = checks.whole("batch_size", batch_size)
    schedule = _schedule(len(trace), size, delay, found)
    task = Task(trace, beta, schedule, learning_rate, exploration, threshold, seed)
    found.refuse_useless(task)
    return as_run(trace, beta, size, found.replay(task))


@functools.cache
def known() -> dict[str, Learner]:
    """All learners and rules, by name."""
    from hi_lib import rivals  # brings numba, which only replays need

    return {each.name: each for each in (HIL_F, HIL_N, APPLE, *rivals.RIVALS, *_RULES)}


def named(name: str) -> Learner:
    """The learner of this name; ValueError for one that there is not, with the closest ones."""
    return known()[checks.choice("learner", name, known())]


def _schedule(n: int, batch_size: int, delay: ArrayLike, learner: Learner) -> Schedule:
    if np.ndim(delay) == 0 and checks.nonnegative("delay", delay) == 0:
        return Schedule(batch_size, batch_size)
    release = regret.release_times(n, batch_size, delay)
    if not learner.late:
        others = ", ".join(each.name for each in known().values() if each.late)
        raise ValueError(f"delay must be 0 for learner {learner.name!r}: {others} can learn late")
    return Schedule(batch_size, regret.equivalent_batch_size(n, batch_size, delay), release)


def horizon_of(task: Task) -> Horizon:
    """What a tuned rate must know of a task."""
    return Horizon(len(task.trace), task.schedule.equivalent, regret.lambda_min(task.trace), task.beta)


def as_run(trace: Trace, beta: float, batch_size: int | tuple[int, ...], decided: Decided) -> Run:
    """What a learner did on a trace, with its costs and its regret."""
    offload, eta, bound, exploration = decided
    cost = np.where(trace.correct, 0.0, 1 - offload)
    cost += beta * offload
    floor = regret.best_threshold(trace, beta).average_cost * len(trace)
    return Run(cost, offload, trace.correct, batch_size, eta, float(cost.sum() - floor), bound, exploration)


def replay_hil_f(task: Task) -> Decided:
    """HIL-F over a trace: with one rate at O(log n) a sample, with rates that fall at O(n)."""
    trace, beta = task.trace, task.beta
    horizon, rate = horizon_of(task), task.learning_rate
    if rate == ANYTIME:
        if task.schedule.release is not None:
            raise ValueError("delay must be 0 with anytime rates: give one rate, or tuned")
        n, size, shortest = horizon.samples, task.schedule.batch_size, horizon.lambda_min
        rates = regret.anytime_learning_rates(n, size, shortest)
        bound = regret.anytime_regret_bound(n, size, shortest)
        return Decided(hil_f(trace, beta, size, rates), float(rates[-1]), bound)
    eta = HIL_F.rates(horizon, rate).learning_rate
    # (5) is (4) with the tuned rate; where there is but one cell, no rate learns anything, and none is needed.
    given = None if rate == TUNED or eta == 0 else eta
    bound = regret.regret_bound(horizon.samples, horizon.batch_size, horizon.lambda_min, given)
    return Decided(_quickly(trace, ~trace.correct, Steps(beta, beta - 1, eta), task.schedule), eta, bound)


def _tune_hil_f(horizon: Horizon, learning_rate: float | None, _exploration: float | None) -> Rates:
    tuned = regret.tuned_learning_rate(*horizon[:3])
    return Rates(tuned if learning_rate is None else learning_rate)


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


def _replay_hil_n(task: Task) -> Decided:
    """HIL-N over a trace: every sample is flagged with probability ε, and offloaded if flagged or below θ.

    Only flagged samples count as feedback, weighted 1/ε: pseudo-loss β for θ > p, e_t Q_t / ε for θ <= p, unbiased.
    """
    trace, beta, horizon = task.trace, task.beta, horizon_of(task)
    eta, exploration = HIL_N.rates(horizon, task.learning_rate, task.exploration)
    bound = regret.partial_feedback_bound(*horizon, eta, exploration)
    flagged = np.random.default_rng(task.seed).random(len(trace)) < exploration
    steps = Steps(beta, beta - 1 / exploration, eta)
    offload = _quickly(trace, flagged & ~trace.correct, steps, task.schedule)
    return Decided(offload + exploration * (1 - offload), eta, bound, exploration)


def _tune_hil_n(horizon: Horizon, learning_rate: float | None, exploration: float | None) -> Rates:
    if exploration is None:
        exploration = regret.tuned_exploration(*horizon, learning_rate)
    share = checks.share("exploration", exploration)
    # Where there is nothing to learn, any η does.
    tuned = regret.tuned_partial_feedback_rate(*horizon[:3], share) or 1.0
    return Rates(tuned if learning_rate is None else learning_rate, share)


def _replay_apple(task: Task) -> Decided:
    """Importance weights on every offload, explored or not, as in apple tasting (T5): ê_t = e_t 1{offloaded} / P_t.

    A sample is explored with probability ε = η M, which keeps η ê_t below 1/M.
    """
    from hi_lib._tree import WEIGHTED  # brings numba

    horizon = horizon_of(task)
    eta, exploration = APPLE.rates(horizon, task.learning_rate)
    # For late feedback the theorem is not proved.
    bound = None if task.schedule.release is not None else regret.apple_bound(*horizon, eta)
    return Decided(learned_from_offloads(task, eta, WEIGHTED, exploration), eta, bound, exploration)


def _tune_apple(horizon: Horizon, learning_rate: float | None, _exploration: float | None) -> Rates:
    most = 1 / horizon.batch_size
    eta = min(regret.tuned_apple_rate(*horizon) or most, most) if learning_rate is None else learning_rate
    eta = checks.real("learning_rate", eta, 0, most, open_ends="(")
    return Rates(eta, eta * horizon.batch_size)


def learned_from_offloads(task: Task, eta: float, counts: int, exploration: float = 0.0) -> Floats:
    """P(offload) of each sample, shape (n,), where only offloads are heard of; what chance decides follows the seed.

    `counts` is one of `_tree`'s WEIGHTED and NAIVE.
    """
    from hi_lib import _tree  # brings numba

    trace, rng = task.trace, np.random.default_rng(task.seed)
    uniform = rng.random(-(-len(trace) // task.schedule.batch_size))  # θ of each batch, then who is explored
    feedback = _tree.Feedback(counts, uniform, rng.random(len(trace)) < exploration, exploration)
    return _tree.replay(trace, ~trace.correct, Steps(task.beta, task.beta - 1, eta), task.schedule, feedback)


def _quickly(trace: Trace, wrong: NDArray[np.bool_], steps: Steps, schedule: Schedule) -> Floats:
    """Full feedback with one η, by the engine, or by the tree where feedback is late."""
    from hi_lib import _engine, _tree  # bring numba

    if schedule.release is None:
        return _engine.offload_probability(trace, wrong, steps, min(schedule.batch_size, len(trace)))
    return _tree.replay(trace, wrong, steps, schedule)


def _fixed(task: Task) -> Decided:
    return Decided((task.trace.confidence < checks.real("threshold", task.threshold, 0, 1)).astype(float))


def _always(task: Task) -> Decided:
    return Decided(np.ones(len(task.trace)))


def _never(task: Task) -> Decided:
    return Decided(np.zeros(len(task.trace)))


HIL_F = Learner(
    "hil-f",
    replay_hil_f,
    feedback="all",
    rate_names=(TUNED, VANILLA, ANYTIME),
    tune=_tune_hil_f,
    late=True,
    device="HILF",
    device_rate_names=(TUNED, VANILLA, ANYTIME),
)
HIL_N = Learner(
    "hil-n",
    _replay_hil_n,
    feedback="offloaded",
    rate_names=(TUNED, VANILLA),
    tune=_tune_hil_n,
    late=True,
    explores=True,
    device="HILN",
    device_rate_names=(TUNED, VANILLA, ANYTIME),
)
APPLE = Learner(
    "apple",
    _replay_apple,
    feedback="offloaded",
    rate_names=(TUNED, VANILLA),
    tune=_tune_apple,
    late=True,
    device="Apple",
    device_rate_names=(TUNED, VANILLA),
)
_RULES = tuple(
    Learner(name, rule, "none") for name, rule in {"fixed": _fixed, "always": _always, "never": _never}.items()
)
