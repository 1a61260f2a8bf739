"""Times as programs write them: text, in ISO 8601 or as `strptime` reads it, or numbers in a unit, since 1970 or so."""

from __future__ import annotations

import re
import warnings

import numpy as np

from hi_lib import checks
from hi_lib.logs import columns
from hi_lib.tables import Table
from hi_lib.typing import Floats

UNITS = {"ns": 1e-6, "us": 1e-3, "ms": 1.0, "s": 1e3}  # ms
NAMES = {"ns": "nanoseconds", "us": "microseconds", "ms": "milliseconds", "s": "seconds"}
_ENDINGS = {
    "ns": ("ns", "nanos", "nanosecond", "nanoseconds"),
    "us": ("us", "µs", "μs", "micros", "microsecond", "microseconds"),
    "ms": ("ms", "msec", "msecs", "millis", "millisecond", "milliseconds"),
    "s": ("s", "sec", "secs", "second", "seconds"),
}
# Numbers as large as these are times since 1970, from 1973 on.
_EPOCHS = {1e17: "ns", 1e14: "us", 1e11: "ms", 1e8: "s"}
_ISO = "a date as 2026-01-31T12:00:00.250"
_LONGEST = 10 * 365.25 * 86_400e3  # ms: no log of one device is as long as ten years


def unit_of(column: str) -> str | None:
    """The unit that a column's name ends with.

    Examples
    --------
    >>> [unit_of(name) for name in ("rtt_us", "arrival time (s)", "latencyMs", "ts")]
    ['us', 's', 'ms', None]
    """
    ending = columns.words(re.sub(r"(?<=[a-z])(?=[A-Z])", " ", column)).split()[-1:]
    return next((unit for unit, names in _ENDINGS.items() if ending and ending[0] in names), None)


def milliseconds(table: Table, column: str, unit: str | None = None, written: str | None = None) -> tuple[Floats, str]:
    """A column of times in ms since its first one, shape (n,), and what they were taken for.

    `unit` is that of numbers, one of UNITS: by default as the column's name ends, or by their size. `written` is how
    text is to be read, as `strptime` has it: by default ISO 8601.

    Raises
    ------
    ValueError
        A blank, or what is no time, with its line; times that are all the same, or ten years apart; a unit of dates.
    """
    import pandas as pd

    numeric = pd.api.types.is_numeric_dtype(table.frame[column])
    if written is None and (numeric or not _looks_like_dates(table, column)):
        since, said = _of_numbers(table, column, unit)
    elif unit is not None:
        raise ValueError(f"{table.name}: time_unit must be left out where {column} holds dates")
    else:
        since, said = _of_text(table, column, written), "dates"
    with np.errstate(invalid="ignore"):
        apart = np.abs(since - np.median(since))
    if not (apart <= _LONGEST).all():
        row = int((~(apart <= _LONGEST)).argmax())
        got = checks.shown(getattr(cell := table.frame[column].iloc[row], "item", lambda: cell)())
        raise ValueError(f"{table.where(row)}: {column} is more than ten years from the others, got {got}")
    if since.size > 1 and since.min() == since.max():
        raise ValueError(f"{table.name}: {column} is the same everywhere")
    return since, said


def _of_numbers(table: Table, column: str, unit: str | None) -> tuple[Floats, str]:
    values = table.numbers(column, f"a number, or {_ISO}; time_format says how others are written")
    if not np.isfinite(values).all():
        row = int((~np.isfinite(values)).argmax())
        raise ValueError(f"{table.where(row)}: {column} must be finite, got {values[row]}")
    with np.errstate(over="ignore", invalid="ignore"):
        since = values - values[0]
        if unit is not None:
            return since * UNITS[unit], NAMES[unit]
        if epoch := _epoch(values):
            return since * UNITS[epoch], f"{NAMES[epoch]} since 1970"
        if named := unit_of(column):
            return since * UNITS[named], NAMES[named]
        step = _step(values)
        if 0 < step <= 1:
            said = f"taken for seconds, since in milliseconds a sample would come every {step:.3g}"
            return since * UNITS["s"], f"{said} (time_unit says otherwise)"
        return since, f"taken for milliseconds, a sample every {step:.3g} (time_unit says otherwise)"


def _epoch(values: Floats) -> str | None:
    middle = float(np.median(np.abs(values)))
    return next((unit for least, unit in _EPOCHS.items() if middle >= least), None)


def _step(values: Floats) -> float:
    """What mostly lies between a time and the next one; 0 where all are the same."""
    steps = np.diff(np.sort(values))
    return float(np.median(steps[steps > 0])) if steps.any() else 0.0


def _of_text(table: Table, column: str, written: str | None) -> Floats:
    import pandas as pd

    if written is not None and "%" not in written:
        raise ValueError(f"time_format must be written as %d.%m.%Y %H:%M:%S is, got {checks.shown(written)}")
    text = columns.text(table, column)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            dates = pd.to_datetime(text, utc=True, format=written or "ISO8601", errors="coerce")
        except ValueError as error:  # of the format, not of the text
            raise ValueError(f"time_format {checks.shown(written)} is none: {error}") from None
    if dates.isna().any():
        row = int(dates.isna().to_numpy().argmax())
        wanted = f"a date written as {written}" if written else _ISO
        raise ValueError(f"{table.where(row)}: {column} must be {wanted}, got {checks.shown(text.iloc[row])}")
    since_1970 = dates.dt.tz_convert(None).to_numpy("datetime64[us]").astype(np.int64)  # 300 000 years fit into these
    return (since_1970 - since_1970[0]) / 1e3


def _looks_like_dates(table: Table, column: str) -> bool:
    """Whether the first cell that is not blank begins as a date does."""
    cells = table.frame[column].dropna().astype(str)
    return bool(len(cells) and re.match(r"\s*\d{4}-\d\d", cells.iloc[0]))
