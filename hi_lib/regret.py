"""What hindsight would have done, and how far from it the learner can end up."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hi_lib import checks
from hi_lib.traces import Trace, checked


class BestThreshold(NamedTuple):
    """The best fixed threshold in hindsight: any θ in its cell does as well; `threshold` is the cell's middle."""

    threshold: float
    average_cost: float
    offload_ratio: float


def best_threshold(trace: Trace, beta: float) -> BestThreshold:
    """Best fixed threshold of a trace, over cells of positive length only.

    Parameters
    ----------
    trace : Trace
    beta : float
        Cost of offloading one sample, in [0, 1]; a wrong local answer costs 1.

    Examples
    --------
    >>> best_threshold(Trace([0.2, 0.6, 0.9], [0, 0, 1]), beta=0.5)
    BestThreshold(threshold=0.75, average_cost=0.3333333333333333, offload_ratio=0.6666666666666666)
    """
    beta = checks.real("beta", beta, 0, 1)
    edges, position = checked(trace).edges, trace.position
    # Whole numbers until the end: equally good cells must tie exactly.
    offloaded = np.bincount(position, minlength=edges.size).cumsum()[:-1]
    mended = np.bincount(position[~trace.correct], minlength=edges.size).cumsum()[:-1]
    cost = beta * offloaded + ((~trace.correct).sum() - mended)
    best = int(cost.argmin())
    n = len(trace)
    return BestThreshold(float(edges[best : best + 2].mean()), float(cost[best] / n), float(offloaded[best] / n))


def lambda_min(trace: Trace) -> float:
    """Length of the shortest cell, boundary cells included: the λ_min for which the regret bound (4) holds.

    Examples
    --------
    >>> lambda_min(Trace([0.5, 0.875], [1, 1]))
    0.125
    """
    return float(np.diff(checked(trace).edges).min())


def tuned_learning_rate(n: int, batch_size: int, lambda_min: float) -> float:
    """η* = √(8 L / (n M)) with L = ln(1/λ_min), which minimises the bound (4); 0 if there is only one cell.

    Examples
    --------
    >>> round(tuned_learning_rate(n=10_000, batch_size=4, lambda_min=1e-6), 5)
    0.05257
    """
    log_cells = _log_inverse(lambda_min)
    return float(np.sqrt(8 * log_cells / (checks.whole("n", n) * checks.whole("batch_size", batch_size))))


def anytime_learning_rates(n: int, batch_size: int, lambda_min: float) -> NDArray[np.float64]:
    """η_k = 2 √(L / k) / M for k = 1 … ⌈n/M⌉: no horizon needed, each applied to the whole past loss."""
    size = checks.whole("batch_size", batch_size)
    batches = np.arange(1, -(-checks.whole("n", n) // size) + 1)
    return 2 * np.sqrt(_log_inverse(lambda_min) / batches) / size


def regret_bound(n: int, batch_size: int, lambda_min: float, learning_rate: float | None = None) -> float:
    """Bound on the expected regret: (4) for a given η, L/η + n M η/8; without one (5), √(n M L / 2).

    Examples
    --------
    >>> regret_bound(n=10_000, batch_size=1, lambda_min=1e-6).__round__(1)
    262.8
    >>> regret_bound(n=10_000, batch_size=4, lambda_min=1e-6).__round__(1)
    525.7
    """
    log_cells, exposure = _log_inverse(lambda_min), checks.whole("n", n) * checks.whole("batch_size", batch_size)
    if learning_rate is None:
        return float(np.sqrt(exposure * log_cells / 2))
    eta = checks.positive("learning_rate", learning_rate)
    return log_cells / eta + exposure * eta / 8


def anytime_regret_bound(n: int, batch_size: int, lambda_min: float) -> float:
    """L/η_K + Σ_k η_k M_k²/8 for the anytime rates, at most √(n M L) when M divides n."""
    rates = anytime_learning_rates(n, batch_size, lambda_min)
    if rates[-1] == 0:
        return 0.0
    sizes = np.full(rates.size, checks.whole("batch_size", batch_size), dtype=float)
    sizes[-1] = checks.whole("n", n) - sizes[0] * (rates.size - 1)
    return float(_log_inverse(lambda_min) / rates[-1] + (rates * sizes**2).sum() / 8)


def _log_inverse(lambda_min: float) -> float:
    return float(-np.log(checks.real("lambda_min", lambda_min, 0, 1, open_ends="("))) + 0.0
