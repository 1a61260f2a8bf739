"""Tables that other programs wrote: whatever separates their columns, one clear error for what cannot be meant."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hi_lib import checks

_LONGEST = 1_000_000  # characters of a header

if TYPE_CHECKING:
    import pandas as pd


def read(path: str | os.PathLike[str], needed: Sequence[str], optional: Sequence[str] = ()) -> pd.DataFrame:
    """Read the columns `needed`, and `optional` ones if there, as numbers; further columns do not matter.

    Commas, semicolons or tabs separate columns, with decimal commas beside the latter two. A byte order mark, line ends
    of any system, and the case of a column's name and spaces around it do not matter.

    Raises
    ------
    ValueError
        The file cannot be read, a column is missing or there twice, or a value is empty or no number.
    """
    import pandas as pd

    try:
        path = Path(path)
        with path.open(encoding="utf-8-sig", newline="") as file:
            start, line = 0, file.readline(_LONGEST)
            while line.isspace():  # as pandas passes over blank lines
                start, line = file.tell(), file.readline(_LONGEST)
            if len(line) == _LONGEST:  # a device such as /dev/zero would never end
                raise ValueError(f"its first line has more than {_LONGEST:,} characters")
            separator = max(",;\t", key=line.count)
            file.seek(start)
            header = [_plain(name) for name in next(csv.reader(file, delimiter=separator), [])]
            file.seek(start)
            frame = pd.read_csv(file, sep=separator, low_memory=False, skipinitialspace=True)
    except UnicodeDecodeError:
        raise ValueError(
            f"{path} cannot be read: it is not text in UTF-8; unpack it, or save it as CSV UTF-8"
        ) from None
    except (OSError, TypeError, ValueError, csv.Error) as error:
        reason = checks.one_line(str(error)).removeprefix("Error tokenizing data. C error: ")
        raise ValueError(f"{path} cannot be read: {reason}") from None
    if not isinstance(frame.index, pd.RangeIndex):
        raise ValueError(f"{path} has rows with more values than its header has columns")
    twice = [name for name in (*needed, *optional) if header.count(name) > 1]
    if twice:
        raise ValueError(f"{path} has the column {twice[0]} more than once")
    frame.columns = pd.Index([_plain(name) for name in frame.columns])
    missing = [name for name in needed if name not in frame]
    if missing:
        found = checks.one_line(", ".join(map(str, frame.columns)), 160)
        raise ValueError(f"{path} has no column {' or '.join(missing)}; it needs {' and '.join(needed)}, found {found}")
    wanted = [name for name in (*needed, *optional) if name in frame]
    return pd.DataFrame({name: _numbers(path, name, frame[name], separator) for name in wanted})


def _plain(name: Any) -> str:
    return str(name).strip().lower()


def _numbers(path: Path, column: str, values: pd.Series, separator: str) -> pd.Series:
    """The column as numbers; the first value that is none is named."""
    import pandas as pd

    if pd.api.types.is_numeric_dtype(values):
        found = values
    else:
        text = values.astype(str).str.strip()
        found = pd.to_numeric(text.str.replace(",", ".") if separator != "," else text, errors="coerce")
    wrong = found.isna()
    if wrong.any():
        first = int(wrong.to_numpy().argmax())
        value = "empty" if pd.isna(values.iloc[first]) else checks.shown(str(values.iloc[first]))
        hint = ", a percentage? divide by 100" if "%" in value else ""
        hint = ", decimal commas need another separator between columns" if "," in value else hint
        raise ValueError(
            f"{path}: {column}[{first}] must be numeric, got {value}{hint} ({int(wrong.sum())} such values): "
            "mend these rows, or drop them"
        )
    return found
