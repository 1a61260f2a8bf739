"""Times and sizes that were measured elsewhere: round trips of a network, as lists, tables or ping's own text."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hi_lib import checks, tables
from hi_lib.logs.columns import known_as
from hi_lib.tables import Table
from hi_lib.typing import Floats

_NAMES = {
    "rtt": "rtt, rtt ms, network time, network ms, latency, latency ms, round trip, round trip ms, ping, ping ms, "
    "milliseconds, ms",
    "bytes": "bytes, image bytes, size, size bytes, file size, length",
}
# As ping says it, in any of its languages; its summary has no such line.
_PING = re.compile(r"(?:time|zeit|temps|tiempo|tempo|время|时间)\s*[=<]\s*(\d+(?:[.,]\d+)?)\s*ms", re.IGNORECASE)
_LOSS = re.compile(r"(\d+(?:[.,]\d+)?)\s*% (?:packet )?loss")
_MOST = 1e9


class Measured(NamedTuple):
    """Values of a file, and what was guessed about it."""

    values: Floats
    notes: list[str]


def network_times(place: str) -> Measured:
    """Round-trip times, ms, from FILE or FILE:COLUMN: a number a line, a column of a table, or ping's text.

    Raises
    ------
    ValueError
        No such file or column, or a value that is no time, with its line.
    """
    path, column = file_and_column("--network-times", place)
    content = tables.content(path)
    text = content.decode("utf-8", errors="replace")
    if column is None and (found := _PING.findall(text)):
        values = np.array([float(value.replace(",", ".")) for value in found])
        lost = _LOSS.search(text)
        loss = f"; {lost[1]} % were lost, which no time counts" if lost and float(lost[1].replace(",", ".")) else ""
        return Measured(values, [f"{path}: {values.size} round trips of ping{loss}"])
    return _of_table(path, column, content, "rtt")


def image_bytes(place: str) -> Measured:
    """Sizes of what is sent, bytes, from FILE or FILE:COLUMN; arguments and errors as for `network_times`."""
    path, column = file_and_column("--image-bytes", place)
    return _of_table(path, column, tables.content(path), "bytes")


def file_of(place: str) -> str:
    """The file of FILE or FILE:COLUMN, be it there or not."""
    return place if Path(place).exists() else place.rpartition(":")[0] or place


def file_and_column(option: str, place: str) -> tuple[str, str | None]:
    """FILE or FILE:COLUMN, whatever colons the file's name may hold."""
    if place == "-" or (place.strip() and Path(place).exists()):
        return place, None
    file, colon, column = place.rpartition(":")
    if colon and column.strip() and (file == "-" or Path(file).exists()):
        return file, column
    if not place.strip():
        raise ValueError(f"{option} must be FILE or FILE:COLUMN, got {checks.shown(place)}")
    raise ValueError(f"{option} {checks.shown(file if colon and file else place)} cannot be read: no such file")


def _of_table(path: str, column: str | None, content: bytes, kind: str) -> Measured:
    """One column of a table; a list without a header has one."""
    if column is None and _is_list(content):
        content = kind.encode() + b"\n" + content
        return Measured(_checked(replace(tables.understood(path, content), first_line=0), kind), [])
    table = tables.understood(path, content)
    chosen, notes = _column(table, column, kind)
    return Measured(_checked(table, chosen), notes)


def _is_list(content: bytes) -> bool:
    """Whether the first line that is not empty is a number."""
    first = next(iter(content[:1000].split()), b"").rstrip(b",;")
    try:
        float(first)
    except ValueError:
        return False
    return True


def _column(table: Table, column: str | None, kind: str) -> tuple[str, list[str]]:
    if column is not None:
        found = table.find(column)
        if found is None:
            raise ValueError(f"{table.name} has no column {checks.shown(column)}; found {table.found}")
        return found, []
    if known := known_as(_NAMES[kind], table.frame.columns):
        return known, [f"{table.name}: taken from the column {known}"]
    raise ValueError(f"{table.name}: which column holds the {kind}? Say FILE:COLUMN; found {table.found}")


def _checked(table: Table, column: str) -> Floats:
    values = table.numbers(column)
    wrong = ~((values >= 0) & (values <= _MOST))
    if wrong.any():
        row = int(wrong.argmax())
        raise ValueError(f"{table.where(row)}: {column} must be in [0, {_MOST:g}], got {values[row]:g}")
    if values.size == 0:
        raise ValueError(f"{table.name} must hold at least one value, got none")
    return values
