"""HIL-F in other ways than the paper's: batches whose sizes vary, a past that ends, fewer bits of confidence.

References
----------
* Bounds for batches of any sizes: the book's theorem on varying batches.
* `sliding_window`: the book's page on learners.
* `restarting` and `fewer_bits`: our own reading of Hedge-HI-Restart and Hedge-HI in G. Al-Atat et al., "Regret Bounds
  for Online Learning for Hierarchical Inference", MobiHoc 2024.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hi_lib import checks, regret
from hi_lib.batch_hi import hil_f
from hi_lib.forecaster import Steps
from hi_lib.learners import Run, as_run, replay
from hi_lib.regret import Schedule
from hi_lib.specification import Decided
from hi_lib.traces import Trace, checked
from hi_lib.typing import Floats

if TYPE_CHECKING:
    import pandas as pd

_MOST_BITS = 20  # as many levels as a device may have


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


def restarting(trace: Trace, beta: float, batch_size: int = 1) -> Run:
    """HIL-F that knows no horizon: it begins anew after 1, 2, 4, … batches, each epoch with the rate tuned for it.

    The bound is the sum of those of the epochs, below 1/(√2 − 1) + 1/2 = 2.9 times that of a rate tuned for all n.
    Rates that fall, and keep the past (`learning_rate="anytime"`), are within √2.

    Returns
    -------
    Run
        `learning_rate` is that of the last epoch.

    Raises
    ------
    ValueError
        An argument outside its range.

    Examples
    --------
    >>> from hi_lib import load_trace
    >>> run = restarting(load_trace("cifar10-resnet8").shuffled(0), beta=0.5)
    >>> run.regret < run.regret_bound
    True
    """
    beta, size, eta = _arguments(trace, beta, batch_size, 1.0)
    shortest, start, samples, offload, bound = regret.lambda_min(trace), 0, size, [], 0.0
    while start < len(trace):
        part = Trace(trace.confidence[start : start + samples], trace.correct[start : start + samples])
        eta = regret.tuned_learning_rate(samples, size, shortest) or 1.0
        offload.append(replay(part, beta, size, learning_rate=eta).offload_probability)
        sizes = regret.fixed_sizes(len(part), size)
        bound += regret.anytime_bound(np.full(sizes.size, eta), sizes, shortest)
        start, samples = start + samples, 2 * samples
    return as_run(trace, beta, size, Decided(np.concatenate(offload), eta, bound))


def fewer_bits(
    trace: Trace,
    beta: float,
    bits: Iterable[int] = range(2, 9),
    *,
    batch_size: int = 1,
    seeds: Iterable[int] = range(20),
) -> pd.DataFrame:
    """What it costs, and what it saves in the bound, to round confidences down to so many bits.

    With b bits there are 2^b cells of one length, so that the bound (5) holds against the best threshold on the grid
    with L = b ln 2. What that threshold costs more than the best of all, rounding costs for good.

    Parameters
    ----------
    trace : Trace
    beta : float
        Cost of an offload, in [0, 1].
    bits : iterable of int
        From 1 to 20 each.
    batch_size : int
        M >= 1.
    seeds : iterable of int
        Shuffles to average over.

    Returns
    -------
    DataFrame with a row for each number of bits, and a last one, with bits 0, for confidences as they are: columns
    bits, average_cost (mean over the shuffles), average_cost_error (its standard error, nan for one shuffle), best_cost
    (of the best threshold on the grid), regret_bound (against it, over all samples).

    Raises
    ------
    ValueError
        An argument outside its range, or no seed.

    Examples
    --------
    >>> from hi_lib import load_trace
    >>> table = fewer_bits(load_trace("cifar10-alexnet"), beta=0.5, bits=[4], seeds=[0, 1])
    >>> table[["bits", "average_cost", "best_cost", "regret_bound"]].round(4).values.tolist()
    [[4.0, 0.1967, 0.1926, 117.741], [0.0, 0.195, 0.1924, 365.1324]]
    """
    import pandas as pd

    from hi_lib.rivals import quantised  # brings numba

    beta, size, _ = _arguments(trace, beta, batch_size, 1.0)
    wanted = [checks.whole("bits", each) for each in bits]
    if max(wanted, default=0) > _MOST_BITS:
        raise ValueError(f"bits must be at most {_MOST_BITS}, got {max(wanted)}")
    orders = [trace.shuffled(seed) for seed in seeds]
    if not orders:
        raise ValueError("seeds must hold at least one seed")
    rows = []
    for each in [*wanted, 0]:
        seen = [quantised(order, 2**each) if each else order for order in orders]
        shortest = 2.0**-each if each else regret.lambda_min(trace)
        eta = regret.tuned_learning_rate(len(trace), size, shortest) or 1.0
        costs = np.array([replay(order, beta, size, learning_rate=eta).average_cost for order in seen])
        error = costs.std(ddof=1) / np.sqrt(costs.size) if costs.size > 1 else np.nan
        best = regret.best_threshold(seen[0], beta).average_cost
        rows.append((each, costs.mean(), error, best, regret.regret_bound(len(trace), size, shortest)))
    return pd.DataFrame(rows, columns=["bits", "average_cost", "average_cost_error", "best_cost", "regret_bound"])


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
