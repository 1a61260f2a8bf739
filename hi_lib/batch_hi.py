"""Batch HI over a trace: HIL-F and HIL-N, the paper's learners, and one that hears of every offload (theorem T5).

Each is said once, as a `Learner`: how it is replayed, what it hears, its rates, and its class on a device.
"""

from __future__ import annotations

import bisect
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hi_lib import checks, regret
from hi_lib.forecaster import Forecaster, Steps
from hi_lib.regret import Schedule
from hi_lib.specification import (
    ADAPTIVE,
    ANYTIME,
    FALLING,
    FIRST_GAP,
    TUNED,
    VANILLA,
    Budget,
    Decided,
    Horizon,
    Learner,
    Rates,
    Task,
)
from hi_lib.traces import Trace
from hi_lib.typing import Floats

if TYPE_CHECKING:
    from hi_lib._tree import Played


def horizon_of(task: Task) -> Horizon:
    """What a tuned rate must know of a task."""
    n, equivalent = len(task.trace), task.schedule.equivalent
    if task.unit:
        ratio = best_threshold_of(task).offload_ratio
        equivalent = min((task.unit.offloads + 1 - ratio) / ratio if ratio else n, task.unit.max_samples or n)
    return Horizon(n, max(equivalent, 1.0), regret.lambda_min(task.trace), task.beta)


def steps_of(task: Task) -> Floats:
    """What each sample adds to the loss of the thresholds above it, shape (n,)."""
    size = task.unit.offloads if task.unit else task.schedule.batch_size
    return regret.steps(task.trace, task.beta, size, task.price, task.unit is not None)


def best_threshold_of(task: Task) -> regret.BestThreshold:
    """The best fixed threshold for the costs of a task, within its budget."""
    return regret.best_threshold_of_steps(task.trace, steps_of(task), task.budget.ratio if task.budget else None)


def replay_hil_f(task: Task) -> Decided:
    """HIL-F over a trace: with one rate at O(log n) a sample, with rates that fall at O(n)."""
    trace, beta = task.trace, task.beta
    horizon, rate = horizon_of(task), task.learning_rate
    if isinstance(rate, str) and rate == ADAPTIVE and task.schedule.release is not None:
        raise ValueError("delay must be 0 with the adaptive rate: give one rate, or tuned")
    if task.share:
        return _share(task, horizon)
    if task.budget:
        return _spend(task, horizon, task.budget)
    if task.unit or task.price or (isinstance(rate, str) and rate == ADAPTIVE):
        return _play(task, horizon)
    if isinstance(rate, str) and rate == ANYTIME:
        if task.schedule.release is not None:
            raise ValueError("delay must be 0 with anytime rates: give one rate, or tuned")
        n, size, shortest = horizon.samples, task.schedule.batch_size, horizon.lambda_min
        rates = regret.anytime_learning_rates(n, size, shortest)
        bound = regret.anytime_regret_bound(n, size, shortest)
        return Decided(hil_f(trace, beta, size, rates), float(rates[-1]), bound)
    eta = HIL_F.rates(horizon, rate).learning_rate
    # (5) is (4) with the tuned rate.
    bound = regret.regret_bound(*horizon[:3]) if rate == TUNED else _bound_hil_f(horizon, Rates(eta))
    return Decided(_quickly(trace, ~trace.correct, Steps(beta, beta - 1, eta), task.schedule), eta, bound)


def _bound_hil_f(horizon: Horizon, rates: Rates) -> float:
    """(4); where there is but one cell, no rate learns anything, and none is needed."""
    return regret.regret_bound(*horizon[:3], rates.learning_rate or None)


def _share(task: Task, horizon: Horizon) -> Decided:
    """HIL-F that stays ready to move: after each batch a share of the weight is spread evenly again (T25)."""
    if isinstance(task.learning_rate, str) and task.learning_rate in FALLING:
        raise ValueError(f"learning_rate must be one rate where a share is spread, got {task.learning_rate}")
    eta, size = HIL_F.rates(horizon, task.learning_rate).learning_rate, task.schedule.batch_size
    offload = _shared(task, eta) if eta else 1 - task.trace.confidence
    bound = regret.fixed_share_bound(horizon.samples, size, horizon.lambda_min, eta, task.share) if eta else 0.0
    return Decided(offload, eta, bound)


def _shared(task: Task, eta: float) -> Floats:
    trace, step = task.trace, steps_of(task)
    forecaster, offload = Forecaster(trace.confidence), np.empty(len(trace))
    for start in range(0, len(trace), task.schedule.batch_size):
        batch = slice(start, start + task.schedule.batch_size)
        offload[batch] = forecaster.offload_probability(trace.confidence[batch], eta)
        forecaster.update(trace.confidence[batch], step[batch])
        forecaster.spread(task.share, eta)
    return offload


def _play(task: Task, horizon: Horizon) -> Decided:
    """HIL-F in cycles, with a price, or with AdaHedge's rate: sample after sample, by the tree."""
    played = _in_cycles(
        task, horizon, None if _adapts(task) else HIL_F.rates(horizon, task.learning_rate).learning_rate
    )
    sizes = np.diff(played.ends, prepend=0)
    bound = _learned(task, horizon, played, ranges_of(task, sizes))
    return Decided(played.offload, played.learning_rate, bound, None, played.offloaded if task.unit else None)


def _adapts(task: Task) -> bool:
    return isinstance(task.learning_rate, str) and task.learning_rate == ADAPTIVE


def _in_cycles(task: Task, horizon: Horizon, eta: float | None, spending: regret.Spending | None = None) -> Played:
    """The tree's run with one η, or AdaHedge's where it is None."""
    from hi_lib import _tree  # brings numba

    trace, n, unit = task.trace, len(task.trace), task.unit
    log_cells = regret.log_inverse(horizon.lambda_min)
    closing = ((unit.max_samples or n), unit.offloads) if unit else (task.schedule.batch_size, n + 1)
    uniform = np.random.default_rng(task.seed).random(n) if unit else None
    first = log_cells / FIRST_GAP if eta is None else eta
    rate = _tree.Rate(first, log_cells, FIRST_GAP if eta is None and log_cells else 0.0)
    return _tree.play(trace.confidence, steps_of(task), closing, rate, uniform, spending)


def _learned(task: Task, horizon: Horizon, played: Played, ranges: Floats) -> float:
    """Bound on what learning costs, given the range of each cycle's loss: 2Δ, or L/η + (η/8) Σ G_k²."""
    if _adapts(task):
        return 2 * played.gap
    return regret.anytime_bound(np.full(ranges.size, played.learning_rate), ranges, horizon.lambda_min)


def _spend(task: Task, horizon: Horizon, budget: Budget) -> Decided:
    """HIL-F that keeps a budget: an offload costs λ more, which follows what is spent (T26)."""
    n, beta, rate = len(task.trace), task.beta, task.learning_rate
    if isinstance(rate, str):
        checks.choice("learning_rate", rate, (TUNED, VANILLA, ADAPTIVE))
    size = 1.0 if isinstance(rate, str) and rate == VANILLA else horizon.batch_size
    tuned = regret.budget_rates(n, size, horizon.lambda_min, beta)
    eta = tuned.learning_rate if isinstance(rate, str) else checks.positive("learning_rate", rate)
    mu = tuned.multiplier_rate if budget.multiplier_rate is None else budget.multiplier_rate
    spending = regret.Spending(budget.ratio, mu, regret.largest_multiplier(beta))
    played = _in_cycles(task, horizon, None if _adapts(task) else eta, spending)
    offload, offloaded = played.offload, played.offloaded if task.unit else None
    if budget.strict:
        return _stopped(task, played, regret.affordable(n, budget.ratio))
    sizes = np.diff(played.ends, prepend=0).astype(float)
    bound = _learned(task, horizon, played, (2 - beta) * sizes)
    bound += regret.multiplier_bound(float(np.square(sizes).sum()), mu, beta)
    over = bound / (1 - beta) if beta < 1 else np.inf
    bound += regret.random_order_term(n, beta, budget.ratio)
    return Decided(offload, played.learning_rate, bound, None, offloaded, played.multiplier, over)


def _stopped(task: Task, played: Played, most: int) -> Decided:
    """One draw of a run that offloads nothing more once so many offloads are spent: no theorem bounds what it costs."""
    q, ends = played.offload, played.ends
    if task.unit:
        wanted = played.offloaded
        spent = np.cumsum(wanted)
        offload = np.where(spent - wanted < most, q, 0.0)
    else:
        sizes = np.diff(ends, prepend=0)
        wanted = q > np.repeat(np.random.default_rng(task.seed).random(sizes.size), sizes)
        spent, offload = np.cumsum(wanted), q.copy()
        for start, stop in zip((ends - sizes).tolist(), ends.tolist(), strict=True):
            left = most - (int(spent[start - 1]) if start else 0)
            if left < stop - start:
                offload[start:stop] = _first_of_batch(q[start:stop].tolist(), max(left, 0))
    return Decided(offload, played.learning_rate, None, None, wanted & (spent <= most), played.multiplier)


def _first_of_batch(q: list[float], left: int) -> list[float]:
    """P(offload) of each sample of a batch with one θ, of which only the first so many that it offloads are.

    Sample i is offloaded if θ lies above it, and above fewer than `left` of those before it.
    """
    if left == 0:
        return [0.0] * len(q)
    found, before = [], list[float]()  # the largest of those before, at most `left`, rising
    for each in q:
        found.append(each if len(before) < left else max(each - before[0], 0.0))
        bisect.insort(before, each)
        if len(before) > left:
            del before[0]
    return found


def ranges_of(task: Task, sizes: NDArray[np.int64]) -> Floats:
    """Between which bounds the loss of each cycle lies, shape (cycles,): G_k of T23, N_k where only errors count."""
    if not task.price:
        return sizes.astype(float)
    if task.unit:  # an offload may cost more than an error
        return sizes * max(1.0, task.beta + task.price / task.unit.offloads)
    return np.maximum(sizes, sizes * task.beta + task.price)


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
    rates = eta, exploration = HIL_N.rates(horizon, task.learning_rate, task.exploration)
    bound = HIL_N.bound(horizon, rates)
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
    rates = eta, exploration = APPLE.rates(horizon, task.learning_rate)
    # For late feedback the theorem is not proved.
    bound = None if task.schedule.release is not None else APPLE.bound(horizon, rates)
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


HIL_F = Learner(
    "hil-f",
    replay_hil_f,
    feedback="all",
    rate_names=(TUNED, VANILLA, ANYTIME, ADAPTIVE),
    tune=_tune_hil_f,
    bound=_bound_hil_f,
    late=True,
    counts_offloads=True,
    device="HILF",
    device_rate_names=(TUNED, VANILLA, ANYTIME, ADAPTIVE),
)
HIL_N = Learner(
    "hil-n",
    _replay_hil_n,
    feedback="offloaded",
    rate_names=(TUNED, VANILLA),
    tune=_tune_hil_n,
    bound=lambda horizon, rates: regret.partial_feedback_bound(*horizon, *rates),
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
    bound=lambda horizon, rates: regret.apple_bound(*horizon, rates.learning_rate),
    late=True,
    device="Apple",
    device_rate_names=(TUNED, VANILLA),
)
