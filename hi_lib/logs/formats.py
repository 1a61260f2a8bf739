"""Tables that are no CSV: JSON, Parquet and NumPy's own, told by their content; `hi_lib.tables` reads the rest."""

from __future__ import annotations

import io
import json
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd


def frame(content: bytes) -> tuple[pd.DataFrame, str] | None:
    """The table in the content of a file, and what errors call its rows; None where the content is none of these.

    JSON: a list of records, a record a line, or columns. Parquet, where pyarrow is installed. NumPy's .npz and .npy:
    arrays by their names, those with two axes as columns NAME_0, NAME_1, …

    Raises
    ------
    ValueError
        It looks like one of these, and cannot be read.
    """
    if content.startswith(b"PAR1"):
        return _spread(_parquet(content)), "row"
    if content.startswith((b"PK", b"\x93NUMPY")):
        try:
            return _arrays(np.load(io.BytesIO(content), allow_pickle=False)), "row"
        except (zipfile.BadZipFile, RuntimeError) as error:  # damaged, encrypted, or packed in an unknown way
            raise ValueError(str(error)) from None
    if content.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"[", b"{"):
        return _spread(_json(content.decode("utf-8-sig"))), "record"
    return None


def _parquet(content: bytes) -> pd.DataFrame:
    import pandas as pd

    try:
        return pd.read_parquet(io.BytesIO(content))
    except ImportError:  # or it is too old for this pandas
        reason = "Parquet needs pyarrow, which is not installed: pip install pyarrow, or save it as CSV"
        raise ValueError(reason) from None


def _json(text: str) -> pd.DataFrame:
    """Records, a record a line, columns as lists or as pandas writes them, or one of these below a single name."""
    import pandas as pd

    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        if "Extra data" not in error.msg:
            raise ValueError(f"it is no JSON: {error.msg} in line {error.lineno}") from None
        found = [_line_of_json(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if isinstance(found, dict) and {"columns", "data"} <= set(found):
        return pd.DataFrame(found["data"], columns=found["columns"])
    if isinstance(found, dict) and len(found) == 1 and isinstance(next(iter(found.values())), list):
        inner = next(iter(found.values()))
        found = inner if all(isinstance(each, dict) for each in inner) else found
    records = isinstance(found, list) and all(isinstance(each, dict) for each in found)
    columns = isinstance(found, dict) and all(isinstance(each, list | dict) for each in found.values())
    if not records and not columns:
        raise ValueError("its JSON is neither a list of records, nor a record a line, nor columns")
    return pd.DataFrame(found)


def _line_of_json(number: int, line: str) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"line {number} is no JSON record: {error.msg}") from None


def _arrays(found: Any) -> pd.DataFrame:
    """Arrays of one length as columns."""
    import pandas as pd

    if isinstance(found, np.ndarray):
        if found.dtype.names is None:
            raise ValueError(f"it holds one array of shape {found.shape} without names: save a .npz with several")
        found = {name: found[name] for name in found.dtype.names}
    arrays = {name: found[name] for name in found if np.ndim(found[name]) in (1, 2)}
    if not arrays:
        raise ValueError("it holds no array with one or two axes")
    if len({len(array) for array in arrays.values()}) > 1:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise ValueError(f"its arrays have different lengths: {shapes}")
    return pd.concat(
        [
            pd.DataFrame(array, columns=[name] if array.ndim == 1 else [f"{name}_{k}" for k in range(array.shape[1])])
            for name, array in arrays.items()
        ],
        axis=1,
    )


def _spread(frame: pd.DataFrame) -> pd.DataFrame:
    """A frame whose cells are single values: lists of one length become columns NAME_0, NAME_1, …"""
    import pandas as pd

    frame = frame.reset_index(drop=True).set_axis([str(column) for column in frame.columns], axis=1)
    parts = []
    for column in frame:
        lists = frame[column].map(lambda cell: isinstance(cell, list | np.ndarray))
        if not lists.any():
            parts.append(frame[[column]])
            continue
        sizes = frame[column].map(lambda cell: len(cell) if isinstance(cell, list | np.ndarray) else -1)
        if sizes.nunique() > 1:
            row = int((sizes != sizes.iloc[0]).to_numpy().argmax())
            raise ValueError(f"its lists in {column} must have one length, record {row + 1} differs")
        parts.append(pd.DataFrame(frame[column].tolist(), columns=[f"{column}_{k}" for k in range(int(sizes.iloc[0]))]))
    return pd.concat(parts, axis=1) if parts else frame
