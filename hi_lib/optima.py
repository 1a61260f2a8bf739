"""Optima of the timing formulas: what they take and give, and how they are found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from hi_lib import checks
from hi_lib.typing import Floats

_NEGLIGIBLE = 1e-3  # batch sizes below it are not told from zero


class DeadlineError(ValueError):
    """No batch size keeps the deadline; `nearest_deadline` (ms) is the smallest that one could keep: M = 1 keeps it."""

    def __init__(self, message: str, nearest_deadline: float) -> None:
        super().__init__(message)
        self.nearest_deadline = nearest_deadline


class OptimalBatch(NamedTuple):
    """The batch size that minimises f, or t_s under a deadline; arrays where the inputs were arrays."""

    relaxed: Any
    """M†, over real M > 0, not clipped; inf where f falls for ever. At most the largest M that keeps the deadline."""
    integer: Any
    """M*, over M = 1, 2, …; ties go up; inf with M†."""
    objective: Any
    """f(M*), ms; t_s(M*) where no α was given."""


def batch_sizes(values: ArrayLike, model: str) -> Floats:
    """Batch sizes: any real > 0 for the paper's formulas, integers >= 1 for all others."""
    size = checks.reals("batch_size", values, 0, np.inf)
    allowed = size > 0 if model == "paper" else (size >= 1) & (size == np.floor(size))
    if not allowed.all():
        rule = "a real > 0" if model == "paper" else "an integer >= 1"
        raise ValueError(f"batch_size must be {rule} for model {model!r}, got {size[~allowed].flat[0]:g}")
    return size


def alphas(values: ArrayLike) -> Floats:
    """Weights α of the system time, in (0, 1)."""
    alpha = checks.reals("alpha", values, 0, 1)
    if ((alpha == 0) | (alpha == 1)).any():
        raise ValueError("alpha must be in (0, 1): at either end one of the two times does not count at all")
    return alpha


def optimum(relaxed: float, integer: float, objective: float) -> OptimalBatch:
    """An optimum of plain numbers; a batch size is an integer unless it is inf."""
    return OptimalBatch(float(relaxed), int(integer) if np.isfinite(integer) else integer, objective)


def finite_size(size: ArrayLike) -> Floats:
    """The largest double in place of inf: where M* is inf, f has a limit there, since its slope is zero."""
    return np.minimum(size, np.finfo(float).max)


def closest_integer(relaxed: Floats) -> Floats:
    """The paper's M* for its M†: f(M) = f(M + 1) where M†² = M (M + 1), and ties go up."""
    return np.maximum(1, np.floor((1 + np.sqrt(1 + 4 * relaxed**2)) / 2))


def minimiser(varying: Callable[[float], float], upper: float) -> tuple[float, float]:
    """M† and M* of a convex f, of which `varying` gives the part that depends on M; M† is at most `upper`."""
    from scipy.optimize import minimize_scalar

    relaxed = upper
    if _NEGLIGIBLE < upper < np.inf:
        ends = np.log([_NEGLIGIBLE, upper])
        found = minimize_scalar(lambda u: varying(np.exp(u)), bounds=ends, options={"xatol": 1e-9})
        relaxed = float(np.exp(found.x))
    if relaxed < 2 * _NEGLIGIBLE:
        relaxed = 0.0  # f only rises
    low, high = max(1, np.floor(relaxed)), max(1, np.ceil(relaxed))
    return relaxed, float(high if high == low or varying(high) <= varying(low) else low)
