"""Bad input gets one clear error: what was wrong, where, and what is allowed."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def real(where: str, value: Any, low: float, high: float, *, open_ends: str = "") -> float:
    """Return `value` as a float in [low, high]; `open_ends` may hold "(" and ")" to exclude an end."""
    number = _float(where, value)
    inside = (number > low if "(" in open_ends else number >= low) and (
        number < high if ")" in open_ends else number <= high
    )
    if not inside or not np.isfinite(number):
        left, right = "(" if "(" in open_ends else "[", ")" if ")" in open_ends else "]"
        hint = _percent_hint(number) if high == 1 else ""
        raise ValueError(f"{where} must be in {left}{low:g}, {high:g}{right}, got {value!r}{hint}")
    return number


def positive(where: str, value: Any) -> float:
    """Return `value` as a finite float above zero."""
    return real(where, value, 0, np.inf, open_ends="(")


def nonnegative(where: str, value: Any) -> float:
    """Return `value` as a finite float of at least zero."""
    return real(where, value, 0, np.inf)


def whole(where: str, value: Any, low: int = 1) -> int:
    """Return `value` as an int of at least `low`; 8.0 is fine, 8.5 and True are not."""
    number = np.nan if isinstance(value, bool) else _float(where, value)
    if not np.isfinite(number) or number != int(number) or number < low:
        raise ValueError(f"{where} must be an integer >= {low}, got {value!r}")
    return int(number)


def reals(where: str, values: ArrayLike, low: float, high: float) -> NDArray[np.float64]:
    """Return a float array of any shape whose entries all lie in [low, high]."""
    array = _array(where, values)
    bad = ~((array >= low) & (array <= high) & np.isfinite(array))
    if bad.any():
        first = np.argwhere(bad)[0]
        place = f"{where}[{', '.join(map(str, first))}]" if array.ndim else where
        value = float(array[tuple(first)])
        hint = _percent_hint(value) if high == 1 else ""
        raise ValueError(f"{place} must be in [{low:g}, {high:g}], got {value!r}{hint}")
    return array


def vector(where: str, values: ArrayLike) -> NDArray[np.float64]:
    """Return a one-dimensional, non-empty float array with entries in [0, 1]."""
    array = _array(where, values)
    if array.ndim != 1:
        raise ValueError(f"{where} must be one-dimensional, got shape {array.shape}")
    if array.size == 0:
        raise ValueError(f"{where} must hold at least one value, got none")
    return reals(where, array, 0, 1)


def flags(where: str, values: ArrayLike, length: int) -> NDArray[np.bool_]:
    """Return a bool array of the given length from values that are all 0/1 or True/False."""
    array = _array(where, values)
    if array.shape != (length,):
        raise ValueError(f"{where} must have shape ({length},) like confidence, got {array.shape}")
    bad = ~np.isin(array, (0.0, 1.0))
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        raise ValueError(f"{where}[{first}] must be 0 or 1, got {float(array[first])!r}")
    return array.astype(bool)


def choice(where: str, value: Any, options: Iterable[str]) -> str:
    """Return `value` if it is one of `options`; otherwise name the closest ones."""
    known = list(options)
    if isinstance(value, str) and value in known:
        return value
    close = difflib.get_close_matches(str(value), known, n=3)
    hint = f"; did you mean {' or '.join(close)}?" if close else ""
    raise ValueError(f"{where} must be one of {', '.join(known)}; got {value!r}{hint}")


def _float(where: str, value: Any) -> float:
    array = _array(where, value)
    if array.ndim:
        raise ValueError(f"{where} must be a single number, got {value!r}")
    return float(array)


def _array(where: str, values: Any) -> NDArray[np.float64]:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{where} must be numeric, got {values!r:.80}") from None


def _percent_hint(value: float) -> str:
    return " (a percentage? divide by 100)" if 1 < value <= 100 else ""
