"""Tables that other programs wrote: CSV here, what else a room adds; and one clear error for what cannot be meant."""

from __future__ import annotations

import codecs
import contextlib
import csv
import gzip
import io
import os
import re
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hi_lib import checks, formats
from hi_lib.formats import MOST
from hi_lib.typing import Floats

_LONGEST = 1_000_000  # characters of a header
_PIECE = 2**20  # bytes
# The longer marks first: that of UTF-32 begins as that of UTF-16 does.
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
    codecs.BOM_UTF8: "utf-8",
}

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Table:
    """A table as its file has it, and where each row stands in the file.

    Attributes
    ----------
    name : str
        The file, as errors call it.
    frame : DataFrame
        Its columns, by the names in the file.
    row_name : str
        What errors call a row: a line of text, a record of JSON, a row of an array.
    decimal_comma : bool
        Whether a comma may stand in a number.
    first_line : int
        What the first line, or row, of the file counts as.
    """

    name: str
    frame: pd.DataFrame
    row_name: str = "row"
    decimal_comma: bool = False
    first_line: int = 1
    _line_of: Callable[[int], int] = lambda row: row + 1

    def where(self, row: int) -> str:
        """The place of a row, counted as a reader of the file does, e.g. "log.csv, line 7"."""
        return f"{self.name}, {self.row_name} {self._line_of(row) + self.first_line - 1}"

    def find(self, name: str) -> str | None:
        """The column that is meant: case, and spaces around a name, do not matter unless two names differ so only."""
        same = [column for column in self.frame.columns if column == name]
        alike = same or [column for column in self.frame.columns if plain(column) == plain(name)]
        if len(alike) > 1:
            raise ValueError(f"{self.name} has the column {name} more than once")
        return alike[0] if alike else None

    def needed(self, names: Sequence[str]) -> dict[str, str]:
        """What the file calls these columns; none may be missing."""
        columns = {name: self.find(name) for name in names}
        if missing := [name for name in names if columns[name] is None]:
            wanted = f"{' or '.join(missing)}; it needs {' and '.join(names)}"
            raise ValueError(f"{self.name} has no column {wanted}, found {self.found}")
        return columns  # type: ignore[return-value]

    @property
    def found(self) -> str:
        """The names of its columns, for a message."""
        return checks.one_line(", ".join(map(str, self.frame.columns)), 160)

    def numbers(self, column: str, allowed: str = "numeric") -> Floats:
        """The column as numbers, shape (n,); the first cell that is none is named, and what it must be."""
        values, text = self._read(column, {})
        self.refuse(column, np.isnan(values), text, allowed)
        return values

    def flags(self, column: str, blanks: bool = False) -> Floats:
        """The column as 1.0 and 0.0, shape (n,), from 1/0 or true/false; a blank is nan where `blanks` may stand."""
        values, text = self._read(column, {"true": "1", "false": "0"})
        wrong = ~np.isin(values, (0, 1))
        self.refuse(column, wrong & ~text.isna().to_numpy() if blanks else wrong, text, "0 or 1")
        return values

    def _read(self, column: str, words: dict[str, str]) -> tuple[Floats, pd.Series]:
        """Numbers, nan where there are none, and the cells as they are, nan where they are blank."""
        import pandas as pd

        cells = self.frame[column]
        if pd.api.types.is_numeric_dtype(cells):
            return cells.to_numpy(float, na_value=np.nan), cells
        text = cells.astype("str").str.strip()
        if words:
            text = text.where(cells.isna(), text.str.lower().replace(words))
        text = text.str.replace(",", ".") if self.decimal_comma else text
        return pd.to_numeric(text, errors="coerce").to_numpy(float), cells.mask(text == "")

    def refuse(self, column: str, wrong: Any, cells: pd.Series, allowed: str) -> None:
        """Name the first cell of a column that is wrong, if any is, by its line."""
        if not wrong.any():
            return
        first, value = int(wrong.argmax()), cells.iloc[int(wrong.argmax())]
        got = "empty" if _blank(value) else checks.shown(getattr(value, "item", lambda: value)())
        hint = ", a percentage? divide by 100" if "%" in got else ""
        hint = ", decimal commas need another separator between columns" if "," in got else hint
        many = f" ({int(wrong.sum())} such values): mend these rows, or drop them"
        raise ValueError(f"{self.where(first)}: {column} must be {allowed}, got {got}{hint}{many}")


def load(path: str | os.PathLike[str]) -> Table:
    """Read a table, whatever its format: that is told by its content, not by its name.

    CSV with commas, semicolons or tabs, with decimal commas beside the latter two, or with what a first line `sep=`
    names; in UTF-8, or in the encoding that a byte order mark says; blank lines, and line ends of any system do not
    matter. JSON, Parquet, NumPy's and Excel's files as `formats` has them. All of them gzipped, too; from files,
    from pipes, and from standard input, whose name is "-". Raises ValueError, which names the file and says why, where
    it cannot be read.
    """
    return understood(name_of(path), content(path))


def name_of(path: str | os.PathLike[str]) -> str:
    """What messages call a file."""
    return "standard input" if str(path) == "-" else str(path)


@contextlib.contextmanager
def _refusing(name: str) -> Iterator[None]:
    """Whatever goes wrong with a file becomes one line that names it."""
    try:
        yield
        return
    except UnicodeDecodeError:
        reason = "it is not text in UTF-8, nor in what a byte order mark says; unpack it, or save it as CSV UTF-8"
    except RecursionError:
        reason = "its JSON is nested too deeply"
    except MemoryError:
        reason = "it needs more memory than there is"
    except OSError as error:
        reason = error.strerror or str(error)
    except (EOFError, TypeError, ValueError, KeyError, csv.Error, zlib.error) as error:
        reason = checks.one_line(str(error)).removeprefix("Error tokenizing data. C error: ")
    raise ValueError(f"{name} cannot be read: {reason}")


def plain(name: Any) -> str:
    """A column's name without what does not matter."""
    return str(name).strip().lower()


def content(path: str | os.PathLike[str]) -> bytes:
    """All bytes of a file, unpacked; text that has a byte order mark in UTF-8, without it.

    A device such as /dev/zero, which has no end and no lines, is refused early.
    """
    with _refusing(name_of(path)):
        if str(path) == "-":
            return _in_utf8(_unpacked(sys.stdin.buffer))
        with Path(path).open("rb") as file:
            return _in_utf8(_unpacked(file))


def _in_utf8(content: bytes) -> bytes:
    for mark, encoding in _MARKS.items():
        if content.startswith(mark):
            return content[len(mark) :].decode(encoding).encode()
    return content


def _unpacked(file: Any) -> bytes:
    start = file.read(_LONGEST)
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n")
    binary = text.startswith((b"[", b"{", b"PK", b"PAR1", b"\x93NUMPY", b"\x1f\x8b"))
    if len(start) == _LONGEST and not binary and b"\n" not in text and b"\r" not in text:
        raise ValueError(f"its first line has more than {_LONGEST:,} characters")
    found = _to_its_end(file, start)
    if found.startswith(b"\x1f\x8b"):
        with gzip.open(io.BytesIO(found)) as packed:
            found = _to_its_end(packed)
    return found


def _to_its_end(file: Any, start: bytes = b"") -> bytes:
    """What a file still holds, in pieces: asked for all at once, a small file would take room for the largest."""
    parts, left = [start], MOST - len(start)
    while left >= 0 and (part := file.read(_PIECE)):
        parts.append(part)
        left -= len(part)
    if left < 0:
        raise ValueError(f"it is larger than {MOST:,} bytes")
    return b"".join(parts)


def understood(name: str, content: bytes) -> Table:
    """The table in the content of a file."""
    with _refusing(name):
        if found := formats.frame(content):
            frame, row_name, first = found
            return Table(name, frame, row_name, first_line=first)
        return _csv(name, content.decode())


def _csv(name: str, text: str) -> Table:
    """A CSV: the separator is the one that a first line `sep=` names, or the likeliest one of the header."""
    import pandas as pd

    text = text.lstrip() if not text.strip() else text
    lines = io.StringIO(text, newline="")
    start, line = _not_blank(lines)
    said = re.fullmatch(r'"?sep=([^\w"\r\n])"?\s*', line, flags=re.IGNORECASE)  # as Excel writes it for itself
    if said:
        start, line = _not_blank(lines)
    if len(line) > _LONGEST:
        raise ValueError(f"its first line has more than {_LONGEST:,} characters")
    separator = said[1] if said else max(",;\t", key=line.count)
    lines.seek(start)
    header = [plain(column) for column in next(csv.reader(lines, delimiter=separator), [])]
    lines.seek(start)
    frame = pd.read_csv(lines, sep=separator, low_memory=False, skipinitialspace=True)
    if not isinstance(frame.index, pd.RangeIndex):
        raise ValueError("it has rows with more values than its header has columns")
    # pandas would give the second of two names a number of its own.
    frame.columns = pd.Index([column.strip() for column in map(str, frame.columns)])
    if len(header) == len(frame.columns):
        frame = frame.set_axis(
            [str(now) if header.count(was) == 1 else was for was, now in zip(header, frame.columns, strict=True)],
            axis=1,
        )

    def line_of(row: int) -> int:
        skipped = sum(1 for _ in io.StringIO(text[:start], newline=""))
        longest, before, left = csv.field_size_limit(len(text) + 1), 0, row + 1  # and the header
        try:
            rows = csv.reader(io.StringIO(text[start:], newline=""), delimiter=separator)
            for cells in rows:
                if len(cells) > 1 or "".join(cells).strip():
                    if left == 0:
                        break
                    left -= 1
                before = rows.line_num
        finally:
            csv.field_size_limit(longest)
        return skipped + before + 1

    return Table(name, frame, "line", separator != ",", _line_of=line_of)


def _not_blank(lines: io.StringIO) -> tuple[int, str]:
    """The next line that is not blank, and where it begins: pandas passes over blank lines, too."""
    start, line = lines.tell(), lines.readline()
    while line.isspace():
        start, line = lines.tell(), lines.readline()
    return start, line


def _blank(value: Any) -> bool:
    return value is None or value != value or str(value).strip() == ""
