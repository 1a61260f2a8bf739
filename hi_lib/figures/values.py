"""Numbers of a page that its parameters may or may not determine: nan, which is published as "not computed"."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike


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


def ordered(values: Iterable[Any]) -> list[Any]:
    """Each of some values once, the least first: a list that a reader gives may be in any order."""
    return sorted(set(values))


def standard_error(values: ArrayLike) -> Any:
    """Standard error of the mean over the first axis; nan where there is one value only."""
    array = np.asarray(values, dtype=float)
    if len(array) < 2:
        return np.full(array.shape[1:], math.nan)[()]
    return array.std(axis=0, ddof=1) / math.sqrt(len(array))


def growth(values: pd.Series) -> float:
    """With which power of its index a series grows, by least squares on logarithms; nan for fewer than two points.

    What is 0 has no logarithm, and leaves all of it undetermined.
    """
    if len(values) < 2 or not (values > 0).all():
        return math.nan
    return float(np.polyfit(np.log(values.index), np.log(values), 1)[0])


def quotient(part: float, whole: float) -> float:
    """One number over another; nan where that is 0."""
    return part / whole if whole else math.nan


def plus_minus(error: float, form: str) -> str:
    """An error as it stands behind a number, e.g. " ± 0.3"; one that is not known is a dash."""
    return " ± –" if math.isnan(error) else f" ± {error:{form}}"


def listed(words: Iterable[str]) -> str:
    """Words as a sentence lists them, e.g. "1, 2 and 8"."""
    *most_of_them, last = words
    return f"{', '.join(most_of_them)} and {last}" if most_of_them else last
