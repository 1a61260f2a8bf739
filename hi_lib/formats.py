"""Tables that are no CSV: JSON, Parquet, NumPy's and Excel's, told by their content; `hi_lib.tables` reads the rest."""

from __future__ import annotations

import io
import json
import math
import tokenize
import warnings
import zipfile
from collections import Counter
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

MOST = 2**30  # bytes of a table, unpacked: what never ends is refused before the memory does

if TYPE_CHECKING:
    import pandas as pd

_OLD_EXCEL = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_WORKBOOK = "xl/workbook.xml"
_OBJECT = 64  # bytes of a text in a frame, however short it is
_MOST_COLUMNS = 100_000  # several times the classes of any classifier


def frame(content: bytes) -> tuple[pd.DataFrame, str, int] | None:
    """The table in the content of a file, what errors call its rows, and the number of the first; None if it is CSV.

    JSON: a list of records, a record a line, or columns; what lies deeper is named with dots. Parquet, where pyarrow is
    installed, and the first sheet of an Excel workbook, where openpyxl is. NumPy's .npz and .npy: arrays by their
    names, those with two axes as columns NAME_0, NAME_1, …

    Raises
    ------
    ValueError
        It looks like one of these, and cannot be read, or is larger than `MOST` bytes once it is unpacked.
    """
    if content.startswith(b"PAR1"):
        return _spread(_parquet(content)), "row", 1
    if content.startswith(_OLD_EXCEL):
        raise ValueError("it is a workbook of an old Excel: save it as CSV")
    if content.startswith(b"PK"):
        return _of_zip(content)
    if content.startswith(b"\x93NUMPY"):
        return _arrays(_structured(_array(io.BytesIO(content), MOST))), "row", 1
    if content.lstrip()[:1] in (b"[", b"{"):
        return _spread(_json(content.decode())), "record", 1
    return None


def _of_zip(content: bytes) -> tuple[pd.DataFrame, str, int]:
    """A workbook, or NumPy's arrays: a zip says how large its parts are, and gives no more than that."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            parts = archive.infolist()
            if sum(part.file_size for part in parts) > MOST:
                raise ValueError(f"it is larger than {MOST:,} bytes once it is unpacked")
            if _WORKBOOK in archive.namelist():
                return _spread(_workbook(content)), "row", 2  # below the names of the columns
            if any(part.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for part in parts):
                raise ValueError("it is packed in a way that NumPy does not know")
            return _arrays(_members(archive)), "row", 1
    except (zipfile.BadZipFile, RuntimeError) as error:  # damaged or encrypted
        raise ValueError(str(error)) from None


def _members(archive: zipfile.ZipFile) -> dict[str, NDArray[Any]]:
    """The arrays of an .npz, by their names."""
    found, left = {}, MOST
    for name in archive.namelist():
        if name.endswith(".npy"):
            with archive.open(name) as file:
                array = found[name.removesuffix(".npy")] = _array(file, left)
            left -= array.nbytes
    return found


def _array(file: IO[bytes], most: int) -> NDArray[Any]:
    """An array in NumPy's format, unless its header declares more than `most` bytes."""
    version = np.lib.format.read_magic(file)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    try:
        shape, _, dtype = read_header(file)
    except (SyntaxError, tokenize.TokenError):  # what NumPy makes of a damaged one
        raise ValueError("the header of its array is damaged") from None
    bytes_each = dtype.itemsize if dtype.kind in "biufcmM" else max(dtype.itemsize, _OBJECT)
    if math.prod(max(1, length) for length in (*shape, bytes_each)) > most:  # one without columns has rows, too
        raise ValueError(f"it declares an array of shape {shape}, larger than {MOST:,} bytes")
    file.seek(0)
    return np.lib.format.read_array(file, allow_pickle=False)


def _structured(array: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """The fields of one array, by their names."""
    if array.dtype.names is None:
        raise ValueError(f"it holds one array of shape {array.shape} without names: save a .npz with several")
    return {name: array[name] for name in array.dtype.names}


def _workbook(content: bytes) -> pd.DataFrame:
    import pandas as pd

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of styles that are missing
            return pd.read_excel(io.BytesIO(content), engine="openpyxl")
    except ImportError:
        raise ValueError("an Excel workbook needs openpyxl, which is not installed: save it as CSV") from None
    except Exception as error:  # whatever a damaged one makes of the parsers below
        raise ValueError(f"its first sheet is no table: {error}") from None


def _parquet(content: bytes) -> pd.DataFrame:
    import pandas as pd

    try:
        return pd.read_parquet(io.BytesIO(content))
    except ImportError:  # or it is too old for this pandas
        reason = "Parquet needs pyarrow, which is not installed: pip install pyarrow, or save it as CSV"
        raise ValueError(reason) from None


def _json(text: str) -> pd.DataFrame:
    """Records, a record a line, columns as lists or as pandas writes them, or one of these below a single name."""
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        if "Extra data" not in error.msg:
            raise ValueError(f"it is no JSON: {error.msg} in line {error.lineno}") from None
        found = [_line_of_json(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    return _of_json(found)


def _of_json(found: Any) -> pd.DataFrame:
    import pandas as pd

    if isinstance(found, dict) and {"columns", "data"} <= set(found):
        twice = [name for name, count in Counter(map(str, found["columns"])).items() if count > 1]
        if twice:
            raise ValueError(f"it has the column {twice[0]} more than once")
        return pd.DataFrame(found["data"], columns=found["columns"])
    if isinstance(found, dict) and len(found) == 1 and isinstance(next(iter(found.values())), list):
        inner = next(iter(found.values()))
        found = inner if all(isinstance(each, dict) for each in inner) else found
    if isinstance(found, list) and all(isinstance(each, dict) for each in found):
        nested = any(isinstance(cell, dict) for each in found for cell in each.values())
        return pd.json_normalize(found) if nested else pd.DataFrame(found)
    if isinstance(found, dict) and {type(each) for each in found.values()} in ({list}, {dict}):
        return pd.DataFrame(found)
    holds = f": it has {', '.join(found)}" if isinstance(found, dict) and found else ""
    raise ValueError(f"its JSON is neither a list of records, nor a record a line, nor columns{holds}")


def _line_of_json(number: int, line: str) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"line {number} is no JSON record: {error.msg}") from None


def _arrays(found: dict[str, NDArray[Any]]) -> pd.DataFrame:
    """Arrays of one length as columns."""
    import pandas as pd

    arrays = {name: array for name, array in found.items() if array.ndim in (1, 2)}
    if not arrays:
        raise ValueError("it holds no array with one or two axes")
    if unreal := [name for name, array in arrays.items() if array.dtype.kind == "c"]:
        raise ValueError(f"its array {unreal[0]} holds complex numbers")
    if len({len(array) for array in arrays.values()}) > 1:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise ValueError(f"its arrays have different lengths: {shapes}")
    return pd.concat(
        [
            pd.DataFrame(array, columns=[name] if array.ndim == 1 else _numbered(name, array.shape[1]))
            for name, array in arrays.items()
        ],
        axis=1,
    )


def _numbered(name: str, count: int) -> list[str]:
    """Names of the columns that an array, or lists, become."""
    if count > _MOST_COLUMNS:
        raise ValueError(f"{name} has {count:,} columns, more than {_MOST_COLUMNS:,}")
    return [f"{name}_{k}" for k in range(count)]


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
        parts.append(pd.DataFrame(frame[column].tolist(), columns=_numbered(column, int(sizes.iloc[0]))))
    return pd.concat(parts, axis=1) if parts else frame
