"""What hindsight would have done, and how far from it the learner can end up.

References
----------
* Bounds (4) and (5), and the learning rate that goes with them: A. Letsiou et al., "Hierarchical Inference at the Edge:
  A Batch Processing Approach", SEC 2024. The proof with all cells, batches of varying size and anytime rates are the
  book's.
* The forecaster and Hoeffding's lemma in its analysis: N. Cesa-Bianchi, G. Lugosi, "Prediction, Learning, and Games",
  Cambridge University Press, 2006.
* HIL-N: V. N. Moothedath, J. P. Champati, J. Gross, arXiv 2304.00891; its batched bound is theorem T4 of the book.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hi_lib import checks
from hi_lib.traces import Trace, checked
from hi_lib.typing import Floats
from hi_lib.units import UNITS


class BestThreshold(NamedTuple):
    """The best fixed threshold in hindsight: any θ in its cell does as well; `threshold` is the cell's middle."""

    threshold: float
    average_cost: float
    offload_ratio: float


def best_threshold(
    trace: Trace,
    beta: float,
    *,
    batch_size: int = 1,
    price: float = 0.0,
    unit: str = "samples",
    budget: float | None = None,
) -> BestThreshold:
    """Best fixed threshold of a trace, over cells of positive length only.

    Parameters
    ----------
    trace : Trace
    beta : float
        Cost of offloading one sample, in [0, 1]; a wrong local answer costs 1.
    batch_size : int
        M, which matters where a transmission has a price; with the unit "offloads", m.
    price : float
        β_0 >= 0 of a transmission. With the unit "offloads", m offloads share it.
    unit : {"samples", "offloads"}
    budget : float, optional
        B in [0, 1]: only thresholds that offload at most this share of the samples count. `best_mixture` may do better.

    Returns
    -------
    BestThreshold

    Raises
    ------
    ValueError
        An argument outside its range, or a budget that no threshold keeps.

    Examples
    --------
    >>> trace = Trace([0.2, 0.6, 0.9], [0, 0, 1])
    >>> best_threshold(trace, beta=0.5)
    BestThreshold(threshold=0.75, average_cost=0.3333333333333333, offload_ratio=0.6666666666666666)
    >>> best_threshold(trace, beta=0.5, budget=0.4)
    BestThreshold(threshold=0.4, average_cost=0.5, offload_ratio=0.3333333333333333)
    """
    beta = checks.real("beta", beta, 0, 1)
    allowed = None if budget is None else checks.real("budget", budget, 0, 1)
    size, price = checks.whole("batch_size", batch_size), checks.nonnegative("price", price)
    if checks.choice("unit", unit, UNITS) == "offloads" or price:
        return best_threshold_of_steps(checked(trace), steps(trace, beta, size, price, unit == "offloads"), allowed)
    order, gaps = checked(trace).order, trace.gaps
    # Whole numbers until the end: equally good cells must tie exactly.
    offloaded = np.flatnonzero(gaps > 0)
    mended = np.zeros(gaps.size, dtype=np.intp)
    np.cumsum(~trace.correct[order], out=mended[1:])
    return _best_cell(trace, offloaded, beta * offloaded + (mended[-1] - mended[offloaded]), allowed)


def steps(trace: Trace, beta: float, batch_size: int, price: float, counts_offloads: bool) -> Floats:
    """What each sample adds to the loss of the thresholds above it, shape (n,): its price, less its error.

    A transmission has its price as soon as the least sure sample of a batch is offloaded; where offloads are counted,
    m of them share it.
    """
    prices = np.full(len(trace), beta)
    if counts_offloads:
        prices += price / batch_size
    elif price:
        starts = np.arange(0, len(trace), batch_size)
        stops = np.append(starts[1:], len(trace))
        least = [a + int(trace.confidence[a:b].argmin()) for a, b in zip(starts, stops, strict=True)]
        prices[least] += price
    return prices - ~trace.correct


def best_threshold_of_steps(trace: Trace, step: Floats, budget: float | None = None) -> BestThreshold:
    """The best fixed threshold where offloading a sample adds `step` (n,) to the cost of keeping it, errors at 1."""
    offloaded, added = np.flatnonzero(trace.gaps > 0), np.zeros(len(trace) + 1)
    np.cumsum(step[trace.order], out=added[1:])
    return _best_cell(trace, offloaded, np.sum(~trace.correct) + added[offloaded], budget)


def affordable(n: int, budget: float) -> int:
    """How many of n samples a budget allows to offload: the largest i for which i/n, as a double, is not above it."""
    most = min(int(budget * n) + 1, n)  # the product may have been rounded in either direction
    while most / n > budget:
        most -= 1
    return most


def keeping(trace: Trace, offloaded: NDArray[np.intp], budget: float) -> int:
    """How many of the cells, each of which offloads so many samples, keep a budget.

    ValueError where none does: every threshold above 0 offloads what has no confidence at all.
    """
    n = len(trace)
    kept = int(offloaded.searchsorted(affordable(n, budget), side="right"))
    if kept == 0:
        raise ValueError(f"budget must be at least {offloaded[0] / n:g}, the share of confidence 0, got {budget:g}")
    return kept


def _best_cell(trace: Trace, offloaded: NDArray[np.intp], cost: Floats, budget: float | None) -> BestThreshold:
    """The cheapest of some cells, each of which offloads so many of the least confident samples, within a budget."""
    if budget is not None:
        cost = cost[: keeping(trace, offloaded, budget)]
    best = int(offloaded[cost.argmin()])
    return BestThreshold(threshold_of(trace, best), float(cost.min() / len(trace)), best / len(trace))


def threshold_of(trace: Trace, offloaded: int) -> float:
    """A θ inside the cell that offloads so many of the least confident samples."""
    order = trace.order
    lower = trace.confidence[order[offloaded - 1]] if offloaded > 0 else 0.0
    upper = trace.confidence[order[offloaded]] if offloaded < len(trace) else 1.0
    return cell_middle(lower, upper)


def cell_middle(lower: float, upper: float) -> float:
    """A θ well inside the cell (lower, upper]: its middle; between neighbouring doubles there is none, but `upper`."""
    middle = (lower + upper) / 2
    return float(middle if middle > lower else upper)


def lambda_min(trace: Trace) -> float:
    """Length of the shortest cell, boundary cells included: the λ_min for which the regret bound (4) holds.

    Returns
    -------
    float
        In (0, 1]; 1 where there is but one cell.

    Raises
    ------
    ValueError
        `trace` is none.

    Examples
    --------
    >>> lambda_min(Trace([0.5, 0.875], [1, 1]))
    0.125
    """
    return float(checked(trace).gaps.min(where=trace.gaps > 0, initial=1.0))


def tuned_learning_rate(n: int, batch_size: float, lambda_min: float) -> float:
    """η* = √(8 L / (n M)) with L = ln(1/λ_min), which minimises the bound (4); 0 if there is only one cell.

    Returns
    -------
    float
        η; 0 where there is but one cell, and nothing to learn.

    Raises
    ------
    ValueError
        An argument outside its range.

    Examples
    --------
    >>> round(tuned_learning_rate(n=10_000, batch_size=4, lambda_min=1e-6), 5)
    0.05257
    """
    log_cells = log_inverse(lambda_min)
    return float(np.sqrt(8 * log_cells / (checks.whole("n", n) * _batch_size(batch_size))))


def vanilla_learning_rate(trace: Trace) -> float:
    """η*(1) of a trace: the one rate that is kept for every batch size; 1, as good as any, where there is one cell."""
    return tuned_learning_rate(len(trace), 1, lambda_min(trace)) or 1.0


def anytime_learning_rates(n: int, batch_size: int, lambda_min: float) -> NDArray[np.float64]:
    """η_k = 2 √(L / k) / M for k = 1 … ⌈n/M⌉: no horizon needed, each applied to the whole past loss.

    Returns
    -------
    NDArray of shape (⌈n/M⌉,)
        η of every batch.

    Raises
    ------
    ValueError
        An argument outside its range.

    Examples
    --------
    >>> anytime_learning_rates(1000, 100, 1e-3).round(3)[[0, 3, 9]]
    array([0.053, 0.026, 0.017])
    """
    size = checks.whole("batch_size", batch_size)
    batches = np.arange(1, -(-checks.whole("n", n) // size) + 1)
    return 2 * np.sqrt(log_inverse(lambda_min) / batches) / size


def regret_bound(n: int, batch_size: float, lambda_min: float, learning_rate: float | None = None) -> float:
    """Bound on the expected regret: (4) for a given η, L/η + n M η/8; without one (5), √(n M L / 2).

    Returns
    -------
    float
        In the unit of a wrong answer, over all n samples.

    Raises
    ------
    ValueError
        An argument outside its range.

    Examples
    --------
    >>> regret_bound(n=10_000, batch_size=1, lambda_min=1e-6).__round__(1)
    262.8
    >>> regret_bound(n=10_000, batch_size=4, lambda_min=1e-6).__round__(1)
    525.7
    """
    log_cells, exposure = log_inverse(lambda_min), checks.whole("n", n) * _batch_size(batch_size)
    if learning_rate is None:
        return float(np.sqrt(exposure * log_cells / 2))
    eta = checks.positive("learning_rate", learning_rate)
    return log_cells / eta + exposure * eta / 8


def anytime_regret_bound(n: int, batch_size: int, lambda_min: float) -> float:
    """L/η_K + Σ_k η_k M_k²/8 for the anytime rates, at most √(n M L) when M divides n.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        An argument outside its range.

    Examples
    --------
    >>> round(anytime_regret_bound(1000, 100, 1e-3), 1)
    745.5
    """
    return anytime_bound(anytime_learning_rates(n, batch_size, lambda_min), fixed_sizes(n, batch_size), lambda_min)


def fixed_sizes(n: int, batch_size: int) -> NDArray[np.int64]:
    """Sizes of the batches of n samples, shape (⌈n/M⌉,): all M but the last, which may be shorter."""
    n = checks.whole("n", n)
    return np.diff(np.append(np.arange(0, n, checks.whole("batch_size", batch_size)), n))


def sizes_of(batch_size: int | tuple[int, ...], n: int) -> NDArray[np.int64]:
    """Sizes of all batches, shape (batches,), from that of each batch, or from M."""
    return np.array(batch_size) if isinstance(batch_size, tuple) else fixed_sizes(n, batch_size)


class Schedule(NamedTuple):
    """When feedback comes: at the end of each batch, or when so many samples are decided as `release` (n,) says."""

    batch_size: int
    equivalent: float
    """What stands for M in the bounds: M itself, or what late feedback is equivalent to."""
    release: NDArray[np.int64] | None = None


def release_times(n: int, batch_size: int, delay: ArrayLike) -> NDArray[np.int64]:
    """How many samples have been decided when the feedback on each is in: `delay` more than up to its batch's end.

    Parameters
    ----------
    n, batch_size : int
    delay : int or array-like of int, shape (n,)
        d >= 0, the same for all samples or one for each.
    """
    sizes = fixed_sizes(n, batch_size)
    late = checks.reals("delay", delay, 0, 2**53)
    if late.shape not in ((), (n,)) or (late != np.floor(late)).any():
        rule = f"an integer >= 0, or one for each of the {n} samples"
        raise ValueError(f"delay must be {rule}, got {checks.shown(delay)}")
    return np.repeat(np.cumsum(sizes), sizes) + late.astype(np.int64)


def outstanding(n: int, batch_size: int, delay: ArrayLike) -> NDArray[np.int64]:
    """g_t, how many earlier samples still lack their feedback when sample t is decided, shape (n,).

    Examples
    --------
    >>> outstanding(n=6, batch_size=1, delay=2)
    array([0, 1, 2, 2, 2, 2])
    >>> outstanding(n=6, batch_size=3, delay=0)
    array([0, 1, 2, 0, 1, 2])
    """
    released = np.sort(release_times(n, batch_size, delay))
    starts = np.arange(n) // batch_size * batch_size  # weights are frozen from there
    return np.arange(n) - released.searchsorted(starts, side="right")


def equivalent_batch_size(n: int, batch_size: int = 1, delay: ArrayLike = 0) -> float:
    """Σ (1 + 2 g_t) / n, the batch size whose bound late feedback has (T14): M for batches, 1 + 2d for a delay of d.

    Parameters as for `release_times`. The value may stand for the batch size in `regret_bound`, `tuned_learning_rate`
    and their like for HIL-N. It is a little smaller than M or 1 + 2d, since the first and the last samples wait less.

    Returns
    -------
    float
        Σ (1 + 2 g_t) / n, which stands for M in all bounds.

    Raises
    ------
    ValueError
        An argument outside its range.

    Examples
    --------
    >>> equivalent_batch_size(n=6, batch_size=3)
    3.0
    >>> round(equivalent_batch_size(n=10_000, delay=10), 2)
    20.99
    """
    return float((1 + 2 * outstanding(n, batch_size, delay)).mean())


def doubling_learning_rate(exposure: float, lambda_min: float) -> float:
    """Rate for a device that knows no horizon: η = √(8 L / ((1 + √2) 2^j)), where 2^j <= exposure < 2^(j + 1).

    Used when the exposure Σ (1 + 2 g_t) up to the end of the batch has reached so much, it is constant between
    doublings. Over a total exposure E the regret stays below √((1 + √2)/2) √(L E) < 1.1 √(L E): 55 % above the bound of
    a rate tuned for E.
    """
    reached = 2.0 ** np.floor(np.log2(checks.real("exposure", exposure, 1, 2**1000)))
    return float(np.sqrt(8 * log_inverse(lambda_min) / ((1 + np.sqrt(2)) * reached)))


class BudgetRates(NamedTuple):
    """How fast a learner moves that keeps a budget on offloads."""

    learning_rate: float
    """η, of the weights."""
    multiplier_rate: float
    """μ, of λ."""


class Spending(NamedTuple):
    """How a budget on offloads is kept: λ, by which each of them costs more, follows what is spent (T26).

    After a cycle of N samples λ becomes λ + μ (Σ q_t − B N), held between 0 and Λ.
    """

    budget: float
    """B; below 0 where there is none."""
    rate: float
    """μ."""
    most: float
    """Λ."""

    def moved(self, multiplier: float, over: float) -> float:
        """λ after `over` = Σ q_t − B N."""
        return min(max(multiplier + self.rate * over, 0.0), self.most)


NO_BUDGET = Spending(-1.0, 0.0, 0.0)


def largest_multiplier(beta: float) -> float:
    """Λ = 2 (1 − β), twice what an offload saves at most: at λ = 1 − β already no offload pays."""
    return 2 * (1 - checks.real("beta", beta, 0, 1))


def budget_rates(n: int, batch_size: float, lambda_min: float, beta: float) -> BudgetRates:
    """η = √(8 L / (n M)) / (2 − β) and μ = Λ/√(n M), Λ = 2 (1 − β), which minimise the bound with a budget (T26).

    Losses lie in [0, 2 − β] there, since an offload costs up to β + Λ.

    Returns
    -------
    BudgetRates
        η and μ.

    Raises
    ------
    ValueError
        An argument outside its range.

    Examples
    --------
    >>> rates = budget_rates(n=10_000, batch_size=4, lambda_min=1e-6, beta=0.5)
    >>> round(rates.learning_rate, 5), rates.multiplier_rate
    (0.03504, 0.005)
    """
    exposure = checks.whole("n", n) * _batch_size(batch_size)
    eta = tuned_learning_rate(n, batch_size, lambda_min) / (2 - checks.real("beta", beta, 0, 1))
    return BudgetRates(eta, float(largest_multiplier(beta) / np.sqrt(exposure)))


def budget_regret_bound(
    n: int,
    batch_size: float,
    lambda_min: float,
    beta: float,
    learning_rate: float | None = None,
    multiplier_rate: float | None = None,
) -> float:
    """R = L/η + η n M (2 − β)²/8 + Λ²/(2 μ) + μ n M/2, what keeping a budget online costs at most (T26).

    If samples are independent and alike, the expected cost lies at most R above n times that of the best mixture of
    thresholds that keeps the budget on average, and at most R/(1 − β) offloads more than B n are expected. A batch has
    one λ, and moves it once, by its sum. In random order, against the best mixture of these very samples, add
    `random_order_term` to the cost; what is overspent grows by O(√n), too, since what is left of the samples may be
    easier than all of them by O(1/√left). For sequences fixed in advance no learner has both (S. Mannor, J. Tsitsiklis,
    J. Yu, "Online Learning with Sample Path Constraints", JMLR 2009). The method: M. Mahdavi, R. Jin, T. Yang, "Trading
    Regret for Efficiency: Online Convex Optimization with Long Term Constraints", JMLR 2012.

    Parameters
    ----------
    n : int
    batch_size : float
    lambda_min : float
        In (0, 1].
    beta : float
        In [0, 1].
    learning_rate, multiplier_rate : float, optional
        η and μ > 0; by default those of `budget_rates`.

    Returns
    -------
    float
        In the unit of a wrong answer, over all n samples.

    Raises
    ------
    ValueError
        An argument outside its range.

    Examples
    --------
    >>> round(budget_regret_bound(3900, 1, 1e-3, beta=0.1))
    333
    """
    exposure, tuned = checks.whole("n", n) * _batch_size(batch_size), budget_rates(n, batch_size, lambda_min, beta)
    eta = tuned.learning_rate if learning_rate is None else checks.positive("learning_rate", learning_rate)
    mu = tuned.multiplier_rate if multiplier_rate is None else checks.positive("multiplier_rate", multiplier_rate)
    learned = anytime_bound(np.array([eta]), np.array([(2 - beta) * np.sqrt(exposure)]), lambda_min)
    return learned + multiplier_bound(exposure, mu, beta)


def multiplier_bound(exposure: float, multiplier_rate: float, beta: float) -> float:
    """Λ²/(2 μ) + (μ/2) Σ M_k²: how far λ, which follows what is spent, may stay behind the best one in [0, Λ]."""
    most = largest_multiplier(beta)
    return most**2 / (2 * multiplier_rate) + multiplier_rate * exposure / 2 if most else 0.0


def random_order_term(n: int, beta: float, budget: float) -> float:
    """(π/4) Λ σ n/√(n − 1): by how much more a budget may cost in random order than R, against these very samples.

    σ² = B (1 − B), or 1/4 where B > 1/2. λ knows which samples are gone, hence a little of those to come: the share
    that a fixed mixture offloads of what is left deviates from that of all by σ √(k/((n − k)(n − 1))) after k samples,
    in the mean square, and λ by Λ/2 from its middle at most. Their product, added up, is this term.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        An argument outside its range.

    Examples
    --------
    >>> round(random_order_term(3900, beta=0.1, budget=0.1), 1)
    26.5
    """
    samples, ratio = checks.whole("n", n), min(checks.real("budget", budget, 0, 1), 0.5)
    deviation = np.sqrt(ratio * (1 - ratio))
    return float(np.pi / 4 * largest_multiplier(beta) * deviation * samples / np.sqrt(max(samples - 1, 1)))


def fixed_share_bound(
    n: int, batch_size: int, lambda_min: float, learning_rate: float, share: float, switches: int = 0
) -> float:
    """Bound on the expected regret of HIL-F with a fixed share against S switches of threshold, at batch ends (T25).

    [(S + 1) L + S ln(1/σ) + (K − 1 − S) ln(1/(1 − σ))]/η + η n M/8, for K = ⌈n/M⌉ batches and S < K: M. Herbster,
    M. Warmuth, Machine Learning 1998, for batches.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        An argument outside its range.

    Examples
    --------
    >>> round(fixed_share_bound(1000, 10, 1e-3, learning_rate=0.05, share=0.01, switches=2), 1)
    680.7
    """
    log_cells, size = log_inverse(lambda_min), checks.whole("batch_size", batch_size)
    eta, spread = checks.positive("learning_rate", learning_rate), checks.real("share", share, 0, 1, open_ends="()")
    n, batches = checks.whole("n", n), -(-checks.whole("n", n) // size)
    moves = checks.whole("switches", switches, low=0)
    if moves >= batches:
        raise ValueError(f"switches must be fewer than the {batches} batches, got {moves}")
    kept = (batches - 1 - moves) * -np.log1p(-spread)
    return float(((moves + 1) * log_cells - moves * np.log(spread) + kept) / eta + eta * n * size / 8)


def partial_feedback_bound(
    n: int, batch_size: float, lambda_min: float, beta: float, learning_rate: float, exploration: float
) -> float:
    """Bound on HIL-N's expected regret: n β ε + L/η + (η/2) (n/ε + n (M − 1)).

    Returns
    -------
    float

    Raises
    ------
    ValueError
        An argument outside its range.

    Examples
    --------
    >>> round(partial_feedback_bound(10_000, 4, 1e-6, beta=0.5, learning_rate=0.02, exploration=0.1), 1)
    2490.8
    """
    log_cells, cost = log_inverse(lambda_min), checks.real("beta", beta, 0, 1)
    n, size = checks.whole("n", n), _batch_size(batch_size)
    eta, share = checks.positive("learning_rate", learning_rate), checks.share("exploration", exploration)
    return n * cost * share + log_cells / eta + eta / 2 * n * (1 / share + size - 1)


def tuned_exploration(
    n: int, batch_size: float, lambda_min: float, beta: float, learning_rate: float | None = None
) -> float:
    """ε in [1/n, 1] that minimises HIL-N's bound, for the given η or, without one, for the best η at each ε.

    Returns
    -------
    float
        ε in (0, 1].

    Raises
    ------
    ValueError
        An argument outside its range.

    Examples
    --------
    >>> round(tuned_exploration(10_000, 4, 1e-6, beta=0.5), 4)
    0.1261
    """
    log_cells, cost = log_inverse(lambda_min), checks.real("beta", beta, 0, 1)
    n, size = checks.whole("n", n), _batch_size(batch_size)
    if cost**2 == 0:  # also where the square of a tiny one vanishes
        return 1.0
    if learning_rate is not None:
        best = np.sqrt(checks.positive("learning_rate", learning_rate) / (2 * cost))
    else:
        # The derivative of n β ε + √(2 L n (1/ε + M − 1)) vanishes where ε³ + (M − 1) ε⁴ = L / (2 n β²).
        target = log_cells / (2 * n * cost**2)
        if target >= size:
            return 1.0
        from scipy import optimize  # half a second to import, and only this needs it

        best = optimize.brentq(lambda share: share**3 + (size - 1) * share**4 - target, 0, 1)
    return float(np.clip(best, 1 / n, 1))


def tuned_partial_feedback_rate(n: int, batch_size: float, lambda_min: float, exploration: float) -> float:
    """η = √(2 L / (n (1/ε + M − 1))), which minimises HIL-N's bound for a given ε.

    Returns
    -------
    float
        η.

    Raises
    ------
    ValueError
        An argument outside its range.

    Examples
    --------
    >>> round(tuned_partial_feedback_rate(10_000, 4, 1e-6, exploration=0.1), 4)
    0.0146
    """
    n, size = checks.whole("n", n), _batch_size(batch_size)
    return float(np.sqrt(2 * log_inverse(lambda_min) / (n * (1 / checks.share("exploration", exploration) + size - 1))))


def apple_bound(n: int, batch_size: float, lambda_min: float, beta: float, learning_rate: float) -> float:
    """Bound on the expected regret with importance weights on every offload, ε = η M <= 1: L/η + (1 + β) η n M.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        An argument outside its range.

    Examples
    --------
    >>> round(apple_bound(10_000, 4, 1e-6, beta=0.5, learning_rate=0.02), 1)
    1890.8
    """
    n, size = checks.whole("n", n), _batch_size(batch_size)
    eta = checks.real("learning_rate", learning_rate, 0, 1 / size, open_ends="(")
    return log_inverse(lambda_min) / eta + (1 + checks.real("beta", beta, 0, 1)) * eta * n * size


def tuned_apple_rate(n: int, batch_size: float, lambda_min: float, beta: float) -> float:
    """η = √(L / ((1 + β) n M)), which minimises `apple_bound` where it is at most 1/M: 2 √((1 + β) n M L).

    Returns
    -------
    float
        η.

    Raises
    ------
    ValueError
        An argument outside its range.

    Examples
    --------
    >>> round(tuned_apple_rate(10_000, 4, 1e-6, beta=0.5), 4)
    0.0152
    """
    exposure = checks.whole("n", n) * _batch_size(batch_size) * (1 + checks.real("beta", beta, 0, 1))
    return float(np.sqrt(log_inverse(lambda_min) / exposure))


def anytime_bound(rates: Floats, sizes: Floats | NDArray[np.int64], lambda_min: float) -> float:
    """L/η_K + Σ η_k M_k²/8, for rates that fall; 0 where there is but one cell, and nothing to learn."""
    if lambda_min == 1:
        return 0.0
    return float(log_inverse(lambda_min) / rates[-1] + (rates * np.square(sizes, dtype=float)).sum() / 8)


def _batch_size(value: float) -> float:
    """M of a bound: a whole number, or the equivalent one of late feedback."""
    return checks.real("batch_size", value, 1, 2**53)


def log_inverse(lambda_min: float) -> float:
    """L = ln(1/λ_min), for λ_min in (0, 1]."""
    return float(-np.log(checks.share("lambda_min", lambda_min))) + 0.0
