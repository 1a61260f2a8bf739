"""Numbers of a page that its parameters may or may not determine: nan, which is published as "not computed"."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from hi_lib.typing import Floats


def unseen(images: pd.Series) -> pd.Series:
    """Which images, by their names, no S-ML can have been trained on: those of ImageNet's validation set."""
    return images.str.contains("ILSVRC2012_val_", regex=False)


def at(found: Any, *keys: Any) -> Any:
    """What a table holds at these keys, one after the other; nan where one of them is not there.

    Examples
    --------
    >>> at({"tuned": {1: 0.25}}, "tuned", 1), at({"tuned": {1: 0.25}}, "tuned", 16)
    (0.25, nan)
    """
    for key in keys:
        if isinstance(found, float) or key not in found:
            return math.nan
        found = found[key]
    return found


def least(values: Iterable[float] | pd.Series) -> float:
    """The least of some numbers; nan where there are none, or one of them is nan."""
    array = np.asarray(list(values), dtype=float)
    return float(array.min()) if array.size else math.nan


def most(values: Iterable[float] | pd.Series) -> float:
    """The largest of some numbers; nan as for `least`."""
    return -least(-value for value in values)


def count(flags: Iterable[bool]) -> float:
    """How many are true; nan where there are none to count."""
    array = list(flags)
    return sum(array) if array else math.nan


def rise(values: Iterable[float] | pd.Series) -> float:
    """By how much the last exceeds the first; nan where there are fewer than two.

    Examples
    --------
    >>> rise([1, 4, 3]), rise([1])
    (2.0, nan)
    """
    array = np.asarray(list(values), dtype=float)
    return float(array[-1] - array[0]) if array.size > 1 else math.nan


def whole(value: float) -> float:
    """A count as an integer, which JSON and prose show without a decimal point; nan and inf as they are."""
    return int(value) if math.isfinite(value) else value


def between(ends: tuple[float, float], count: int, spaced: Callable[..., Floats] = np.linspace) -> Floats:
    """The points of an axis in rising order, whichever end comes first; one point where both ends are the same.

    Examples
    --------
    >>> between((4.0, 1.0), 3, np.geomspace), between((5, 5), 3)
    (array([1., 2., 4.]), array([5.]))
    """
    low, high = sorted(map(float, ends))
    return spaced(low, high, count) if low < high else np.array([low])


def ordered(values: Iterable[Any]) -> list[Any]:
    """Each of some values once, the least first: a list that a reader gives may be in any order."""
    return sorted(set(values))


def listed(words: Iterable[str]) -> str:
    """Words as a sentence lists them, e.g. "1, 2 and 8"."""
    *most_of_them, last = words
    return f"{', '.join(most_of_them)} and {last}" if most_of_them else last


def in_errors(distance: pd.Series, error: pd.Series) -> pd.Series:
    """Distances in standard errors; nan where there is no error to measure by: of one run, or of runs that agree.

    Examples
    --------
    >>> in_errors(pd.Series([2.0, 2.0, 2.0]), pd.Series([0.5, 0.0, math.nan])).tolist()
    [4.0, nan, nan]
    """
    return distance / error.where(error > 0)


def log_slope(x: Iterable[float], y: Iterable[float]) -> float:
    """The a of y ≈ c x^a, by least squares of the logarithms; nan unless there are two points, all above zero."""
    across, up = (np.asarray(list(values), dtype=float) for values in (x, y))
    if np.unique(across).size < 2 or not (across > 0).all() or not (up > 0).all():
        return math.nan
    return float(np.polyfit(np.log(across), np.log(up), 1)[0])


def least_bend(values: Floats) -> float:
    """Least second difference; nan where rounding of the values may be all there is to it.

    Examples
    --------
    >>> least_bend(np.array([4.0, 1.0, 0.0, 1.0])), least_bend(np.array([0.1, 0.2, 0.3]))
    (2.0, nan)
    """
    bend = float(np.diff(values, 2).min())
    return bend if abs(bend) > 4 * np.spacing(np.abs(values).max()) else math.nan


def standard_error(values: ArrayLike) -> Any:
    """Standard error of the mean over the first axis; nan where there is one value only."""
    array = np.asarray(values, dtype=float)
    if len(array) < 2:
        return np.full(array.shape[1:], math.nan)[()]
    return array.std(axis=0, ddof=1) / math.sqrt(len(array))


def quotient(part: float, whole: float) -> float:
    """One number over another; nan where that is 0."""
    return part / whole if whole else math.nan


def plus_minus(error: float, form: str) -> str:
    """An error as it stands behind a number, e.g. " ± 0.3"; one that is not known is a dash."""
    return " ± –" if math.isnan(error) else f" ± {error:{form}}"
