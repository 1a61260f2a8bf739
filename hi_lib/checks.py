"""Bad input gets one clear error: what was wrong, where, and what is allowed."""

from __future__ import annotations

import difflib
import numbers
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import ArrayLike, NDArray

_VALUE, _LIST = 80, 160  # characters of a message that a bad value, or the list of what is allowed, may take


def real(where: str, value: Any, low: float, high: float, *, open_ends: str = "") -> float:
    """Return `value` as a float in [low, high]; `open_ends` may hold "(" and ")" to exclude an end."""
    if type(value) is float and low < value < high:
        return value  # the usual case, ten times faster
    number = _float(where, value)
    inside = (number > low if "(" in open_ends else number >= low) and (
        number < high if ")" in open_ends else number <= high
    )
    if not inside or not np.isfinite(number):
        left, right = "(" if "(" in open_ends else "[", ")" if ")" in open_ends or high == np.inf else "]"
        hint = _percent_hint(number) if high == 1 else ""
        raise ValueError(f"{where} must be in {left}{low:g}, {high:g}{right}, got {shown(value)}{hint}")
    return number


def positive(where: str, value: Any) -> float:
    """Return `value` as a finite float above zero."""
    return real(where, value, 0, np.inf, open_ends="(")


def nonnegative(where: str, value: Any) -> float:
    """Return `value` as a finite float of at least zero."""
    return real(where, value, 0, np.inf)


def share(where: str, value: Any) -> float:
    """Return `value` as a float in (0, 1]."""
    return real(where, value, 0, 1, open_ends="(")


def whole(where: str, value: Any, low: int = 1) -> int:
    """Return `value` as an int from `low` to 2^53; 8.0 is fine, 8.5 and True are not."""
    if type(value) is int and low <= value <= 2**53:
        return value
    number = np.nan if isinstance(value, bool | np.bool_) else _float(where, value)
    if not np.isfinite(number) or number != int(number) or not low <= number <= 2**53:
        raise ValueError(f"{where} must be an integer >= {low} (at most 2^53), got {shown(value)}")
    return int(number)


def seed(where: str, value: Any) -> int | None:
    """Return `value` as a seed: None or an integer of at least zero."""
    return None if value is None else whole(where, value, low=0)


def reals(where: str, values: ArrayLike, low: float, high: float) -> NDArray[np.float64]:
    """Return a float array of any shape whose entries all lie in [low, high]."""
    if type(values) is float and low < values < high:
        return np.array(values)
    array = _array(where, values)
    bad = ~((array >= low) & (array <= high) & np.isfinite(array))
    if bad.any():
        first = np.argwhere(bad)[0]
        place = f"{where}[{', '.join(map(str, first))}]" if array.ndim else where
        value = float(array[tuple(first)])
        hint = _percent_hint(value) if high == 1 else ""
        raise ValueError(f"{place} must be in [{low:g}, {high:g}], got {shown(value)}{hint}")
    return array


def vector(where: str, values: ArrayLike) -> NDArray[np.float64]:
    """Return a one-dimensional, non-empty float array with entries in [0, 1]."""
    array = _array(where, values)
    if array.ndim != 1:
        raise ValueError(f"{where} must be one-dimensional, got shape {array.shape}")
    if array.size == 0:
        raise ValueError(f"{where} must hold at least one value, got none")
    if array.size == 1 and 0 <= array.item() <= 1:
        return array  # a device decides one sample at a time: this is several times faster
    return reals(where, array, 0, 1)


def flags(where: str, values: ArrayLike, length: int | None = None) -> NDArray[np.bool_]:
    """Return a one-dimensional bool array, of the given length if any, from values that are all 0/1 or True/False."""
    array: NDArray[Any] = values if _are_flags(values) else _array(where, values)
    if array.ndim != 1 or length not in (None, array.size):
        raise ValueError(f"{where} must have shape ({'n' if length is None else length},), got {array.shape}")
    if array.dtype == np.bool_:
        return array.copy()
    _refuse(where, array, (array != 0) & (array != 1), "0 or 1")
    return array.astype(bool)


def known_flags(where: str, values: ArrayLike, length: int) -> NDArray[np.float64]:
    """Return a float array of the given length that holds 0, 1, and nan where values are nan or None."""
    if not _are_flags(values):
        items = np.asarray(values)
        values = [np.nan if item is None else item for item in items] if items.dtype == object else items
    array = _array(where, values)
    if array.shape != (length,):
        raise ValueError(f"{where} must have shape ({length},), got {array.shape}")
    _refuse(where, array, (array != 0) & (array != 1) & ~np.isnan(array), "0, 1 or nan")
    return array


def choice(where: str, value: Any, options: Iterable[str]) -> str:
    """Return `value` if it is one of `options`; otherwise name the closest ones."""
    known = list(options)
    if isinstance(value, str) and value in known:
        return value
    close = difflib.get_close_matches(str(value), known, n=3)
    hint = f"; did you mean {' or '.join(close)}?" if close else ""
    raise ValueError(f"{where} must be one of {one_line(', '.join(known), _LIST)}; got {shown(value)}{hint}")


def text_file(path: Path) -> str:
    """Read a text file."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from None


def shown(value: Any) -> str:
    """A value as a message shows it: one line, not longer than a message may be."""
    return one_line(repr(value), _VALUE)


def printable(text: str) -> str:
    """Text whose control characters are escaped: a file's name must not steer the terminal."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def one_line(text: str, most: int = 240) -> str:
    """Text in one line of printable characters, others escaped; what is too long loses its middle."""
    if len(text) > 2 * most:  # before any work on megabytes
        text = f"{text[:most]}{text[-most:]}"
    line = printable(" ".join(text.split()))
    tail = most // 3
    return line if len(line) <= most else f"{line[: most - tail - 3]} … {line[-tail:]}"


def _float(where: str, value: Any) -> float:
    array = _array(where, value)
    if array.ndim:
        raise ValueError(f"{where} must be a single number, got {shown(value)}")
    return float(array)


def _refuse(where: str, array: NDArray[Any], bad: NDArray[np.bool_], allowed: str) -> None:
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        raise ValueError(f"{where}[{first}] must be {allowed}, got {float(array[first])!r}")


def _are_flags(values: Any) -> TypeGuard[NDArray[np.bool_]]:
    return type(values) is np.ndarray and values.dtype == np.bool_


def _array(where: str, values: Any) -> NDArray[np.float64]:
    """Real numbers as float64; text, dates, complex and masked values are not taken for numbers."""
    if type(values) is np.ndarray and values.dtype == np.float64:
        return values.copy()
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        raise ValueError(f"{where} must not be masked: drop or fill the masked values first")
    try:
        array = np.asarray(values)
        if array.dtype.kind == "O" and all(isinstance(item, numbers.Real | np.bool_) for item in array.flat):
            array = array.astype(np.float64)
        if array.size and array.dtype.kind not in "biuf":
            raise TypeError
        return array.astype(np.float64)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{where} must be numeric, got {shown(values)}") from None


def _percent_hint(value: float) -> str:
    return " (a percentage? divide by 100)" if 1 < value <= 100 else ""
