"""HIL-F in other ways than the paper's: with batches whose sizes vary, and with a past that ends.

References
----------
* Bounds for batches of any sizes: the book's theorem on varying batches.
* `sliding_window`: the book's page on learners.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hi_lib import checks, regret
from hi_lib.batch_hi import hil_f
from hi_lib.forecaster import Steps
from hi_lib.learners import Run, as_run
from hi_lib.regret import Schedule
from hi_lib.specification import Decided
from hi_lib.traces import Trace, checked
from hi_lib.typing import Floats


def replay_batches(
    trace: Trace, beta: float, batch_sizes: Sequence[int], learning_rate: str | float = "anytime"
) -> Run:
    """HIL-F with batches of these sizes, which add up to the trace; the bound holds if none depends on its own batch.

    `learning_rate` is that of `varying_regret_bound`: "anytime" needs no size in advance, "tuned" all of them.
    """
    checked(trace)
    beta, shortest = checks.real("beta", beta, 0, 1), regret.lambda_min(trace)
    bound = varying_regret_bound(batch_sizes, shortest, learning_rate)
    sizes = tuple(int(size) for size in batch_sizes)
    if sum(sizes) != len(trace):
        raise ValueError(f"batch_sizes must add up to the trace's {len(trace)} samples, got {sum(sizes)}")
    if learning_rate == "anytime":
        rates = varying_learning_rates(sizes, shortest)
    elif learning_rate == "tuned":
        rates = np.full(len(sizes), np.sqrt(2) * varying_learning_rates(sizes, shortest)[-1])
    else:
        rates = np.full(len(sizes), learning_rate)
    return as_run(trace, beta, sizes, Decided(hil_f(trace, beta, sizes, rates), float(rates[-1]), bound))


def varying_learning_rates(batch_sizes: ArrayLike, lambda_min: float) -> NDArray[np.float64]:
    """η_k = 2 √(L / (M_1² + … + M_k²)): rates for batches of any sizes, each known when its batch begins."""
    return 2 * np.sqrt(regret.log_inverse(lambda_min) / np.cumsum(_sizes(batch_sizes) ** 2))


def varying_regret_bound(batch_sizes: ArrayLike, lambda_min: float, learning_rate: str | float = "tuned") -> float:
    """Bound on the expected regret for batches of these sizes, each fixed before its batch begins.

    Parameters
    ----------
    batch_sizes : array-like of shape (batches,)
        M_k >= 1.
    lambda_min : float
        In (0, 1].
    learning_rate : {"tuned", "anytime"} or float > 0
        A fixed η: L/η + (η/8) Σ M_k²; "tuned": the least of these, √(L Σ M_k² / 2); "anytime": that of
        `varying_learning_rates`, at most √(L Σ M_k²).

    Examples
    --------
    >>> round(varying_regret_bound([1, 8, 2, 8], lambda_min=0.01), 3) == round(regret.regret_bound(133, 1, 0.01), 3)
    True
    """
    log_cells, squares = regret.log_inverse(lambda_min), _sizes(batch_sizes) ** 2
    if isinstance(learning_rate, str):
        checks.choice("learning_rate", learning_rate, ("tuned", "anytime"))
        if learning_rate == "tuned":
            return float(np.sqrt(log_cells * squares.sum() / 2))
        return regret.anytime_bound(varying_learning_rates(batch_sizes, lambda_min), _sizes(batch_sizes), lambda_min)
    eta = checks.positive("learning_rate", learning_rate)
    return float(log_cells / eta + eta * squares.sum() / 8)


def sliding_window(trace: Trace, beta: float, batch_size: int, learning_rate: float, window: int) -> Run:
    """HIL-F that forgets: only the last `window` >= 1 samples count."""
    beta, size, eta = _arguments(trace, beta, batch_size, learning_rate)
    window = checks.whole("window", window)
    from hi_lib import _tree  # brings numba

    offload = _tree.replay(
        trace, ~trace.correct, Steps(beta, beta - 1, eta), Schedule(size, size), _tree.Feedback(window=window)
    )
    return as_run(trace, beta, size, Decided(offload, eta))


def _sizes(batch_sizes: ArrayLike) -> Floats:
    sizes = checks.reals("batch_sizes", batch_sizes, 1, 2**53)
    if sizes.ndim != 1 or sizes.size == 0 or (sizes != np.floor(sizes)).any():
        raise ValueError("batch_sizes must be a list of integers >= 1, with at least one")
    return sizes


def _arguments(trace: Trace, beta: float, batch_size: int, learning_rate: float) -> tuple[float, int, float]:
    """β, M and one fixed η, each within its range."""
    checked(trace)
    beta, size = checks.real("beta", beta, 0, 1), checks.whole("batch_size", batch_size)
    return beta, size, checks.positive("learning_rate", learning_rate)
