"""Times of the clock as programs write them: seconds or milliseconds since 1970, text in ISO 8601, or a count of ms."""

from __future__ import annotations

import re
import warnings

import numpy as np

from hi_lib import checks
from hi_lib.logs import columns
from hi_lib.tables import Table
from hi_lib.typing import Floats

# Numbers as large as these are times since 1970, from 1973 on: ns, µs, ms, s.
_EPOCHS = {
    1e17: (1e-6, "nanoseconds"),
    1e14: (1e-3, "microseconds"),
    1e11: (1.0, "milliseconds"),
    1e8: (1e3, "seconds"),
}


def milliseconds(table: Table, column: str) -> tuple[Floats, str]:
    """A column of times in ms since some moment, shape (n,), and what they were taken for.

    Raises
    ------
    ValueError
        A blank, or what is neither a number nor a date, with its line.
    """
    import pandas as pd

    cells = table.frame[column]
    if pd.api.types.is_numeric_dtype(cells) or not _dates(table, column):
        values = table.numbers(column)
        if not np.isfinite(values).all():
            row = int((~np.isfinite(values)).argmax())
            raise ValueError(f"{table.where(row)}: {column} must be finite, got {values[row]}")
        return _of_numbers(values, column)
    text = columns.text(table, column)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dates = pd.to_datetime(text, utc=True, format="ISO8601", errors="coerce")
    if dates.isna().any():
        row = int(dates.isna().to_numpy().argmax())
        got = checks.shown(text.iloc[row])
        raise ValueError(f"{table.where(row)}: {column} must be a date as 2026-01-31T12:00:00.250, got {got}")
    since = dates - dates.iloc[0]
    return since.to_numpy("timedelta64[ns]").astype(np.int64) / 1e6, "dates"


def _of_numbers(values: Floats, column: str) -> tuple[Floats, str]:
    middle = float(np.median(np.abs(values)))
    for least, (factor, unit) in _EPOCHS.items():
        if middle >= least:
            return (values - values[0]) * factor, f"{unit} since 1970"
    if re.search(r"(_s|\bs|sec|secs|seconds|\(s\))$", column.strip().lower()):
        return (values - values[0]) * 1e3, "seconds"
    return values - values[0], "taken for milliseconds"


def _dates(table: Table, column: str) -> bool:
    """Whether the first cell that is not blank looks like a date."""
    cells = table.frame[column].dropna().astype(str)
    return bool(len(cells) and re.match(r"\s*\d{4}-\d\d", cells.iloc[0]))
