"""What a search for the best batch size finds, and how it finds it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

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


def optimum(relaxed: float, integer: float, objective: float) -> OptimalBatch:
    """An optimum of plain numbers; a batch size is an integer unless it is inf."""
    return OptimalBatch(float(relaxed), int(integer) if np.isfinite(integer) else integer, objective)


def finite(size: ArrayLike) -> Floats:
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
