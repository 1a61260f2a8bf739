"""Numbers of a page that its parameters may or may not determine: nan, which is published as "not computed"."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd


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


def growth(values: Iterable[float] | pd.Series) -> float:
    """By how much the last exceeds the first; nan where there are fewer than two.

    Examples
    --------
    >>> growth([1, 4, 3]), growth([1])
    (2.0, nan)
    """
    array = np.asarray(list(values), dtype=float)
    return float(array[-1] - array[0]) if array.size > 1 else math.nan


def whole(value: float) -> float:
    """A count as an integer, which JSON and prose show without a decimal point; nan and inf as they are."""
    return int(value) if math.isfinite(value) else value
