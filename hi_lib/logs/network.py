"""Times and sizes that were measured elsewhere: round trips of a network, as lists, tables or ping's own text."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hi_lib import checks, tables
from hi_lib.logs import clocks
from hi_lib.logs.columns import known_as
from hi_lib.tables import Table
from hi_lib.typing import Floats

_ROUND_TRIPS = "rtt, latency, network time, round trip, ping"
_NAMES = {
    "rtt": ", ".join(
        f"{name} {unit}".strip() for unit in ("", "ms", "s", "us", "ns") for name in _ROUND_TRIPS.split(", ")
    )
    + ", network ms, milliseconds, ms",
    "bytes": "bytes, image bytes, size, size bytes, file size, length",
}
_FORMS = {
    "rtt": "round trips are wanted as a number a line, as a column of a table, or as ping prints them",
    "bytes": "sizes are wanted as a number a line, or as a column of a table",
}
# As ping says it, in any of its languages; its summary has no such line.
_PING = re.compile(r"(?:time|zeit|temps|tiempo|tempo|время|时间)\s*[=<]\s*(\d+(?:[.,]\d+)?)\s*ms", re.IGNORECASE)
_LOSS = re.compile(r"(\d+(?:[.,]\d+)?)\s*% (?:packet )?loss")
# What stands in the place of a round trip that never ended: a line of ping, a mark in a table.
_LOST_LINE = re.compile(r".*(?:timed? ?out|no answer|no reply|unreachable).*", re.IGNORECASE)
_LOST_MARK = re.compile(rf"-|\*+|-1(?:\.0*)?|lost|{_LOST_LINE.pattern}", re.IGNORECASE)
_MOST = 1e9


class Measured(NamedTuple):
    """Values of a file, and what was guessed about it."""

    values: Floats
    notes: list[str]


def network_times(place: str, unit: str | None = None) -> Measured:
    """Round-trip times, ms, from FILE or FILE:COLUMN: a number a line, a column of a table, or ping's text.

    `unit` is that of numbers, "ns", "us", "ms" or "s": by default as the column's name ends, or else milliseconds. Lost
    round trips, a blank, "-", "*", -1, or what ping says of them, are counted and left out.

    Raises
    ------
    ValueError
        No such file or column, or a value that is no time, with its line; every round trip was lost; a unit of ping's.
    """
    if unit is not None:
        checks.choice("unit of network times", unit, clocks.UNITS)
    path, column = file_and_column("network_times", place)
    content = tables.content(path)
    text = content.decode("utf-8", errors="replace")
    if column is None and (_PING.search(text) or _LOSS.search(text)):
        if unit is not None:
            raise ValueError(f"{path}: the unit must be left out where ping says it")
        return _of_ping(path, text)
    table, chosen, notes = _column_of(path, column, content, "rtt")
    cells = table.frame[chosen]
    lost = (cells.isna() | cells.astype(str).str.strip().str.fullmatch(_LOST_MARK)).to_numpy(bool)
    if lost.all() and lost.size:
        raise ValueError(f"{table.name}: every round trip was lost")
    known = replace(
        table, frame=table.frame.assign(**{chosen: cells.astype(object).mask(lost, 0)})
    )  # rows keep their lines
    values = _checked(known, chosen)[~lost]
    if lost.any():
        notes.append(f"{path}: {int(lost.sum())} of {lost.size} round trips were lost, which no time counts")
    named = clocks.unit_of(chosen)
    if unit is None and named not in (None, "ms"):
        notes.append(f"{path}: {chosen} is taken for {clocks.NAMES[named]}, as its name says")
    elif unit is named is None and (values < 1).all():
        notes.append(f"{path}: all round trips are below 1, taken for milliseconds: seconds? Then give their unit, s")
    return Measured(values * clocks.UNITS[unit or named or "ms"], notes)


def _of_ping(path: str, text: str) -> Measured:
    values = np.array([float(value.replace(",", ".")) for value in _PING.findall(text)])
    if not values.size:
        raise ValueError(f"{path}: every round trip was lost")
    summary, lines = _LOSS.search(text), len(_LOST_LINE.findall(text))
    if summary and float(summary[1].replace(",", ".")):
        loss = f"; {summary[1]} % were lost, which no time counts"
    else:
        loss = f"; {lines} more were lost, which no time counts" if lines and not summary else ""
    return Measured(values, [f"{path}: {values.size} round trips of ping{loss}"])


def image_bytes(place: str) -> Measured:
    """Sizes of what is sent, bytes, from FILE or FILE:COLUMN; arguments and errors as for `network_times`."""
    path, column = file_and_column("image_bytes", place)
    table, chosen, notes = _column_of(path, column, tables.content(path), "bytes")
    return Measured(_checked(table, chosen), notes)


def file_of(place: str) -> str:
    """The file of FILE or FILE:COLUMN, be it there or not."""
    return place if _there(place) else place.rpartition(":")[0] or place


def _there(path: str) -> bool:
    try:
        return Path(path).exists()
    except OSError:  # a name too long for any file
        return False


def file_and_column(argument: str, place: str) -> tuple[str, str | None]:
    """FILE or FILE:COLUMN, whatever colons the file's name may hold."""
    if place == "-" or (place.strip() and _there(place)):
        return place, None
    file, colon, column = place.rpartition(":")
    if colon and column.strip() and (file == "-" or _there(file)):
        return file, column
    if not place.strip():
        raise ValueError(f"{argument}=… must be FILE or FILE:COLUMN, got {checks.shown(place)}")
    raise ValueError(f"{argument}={checks.shown(file if colon and file else place)} cannot be read: no such file")


def _column_of(path: str, column: str | None, content: bytes, kind: str) -> tuple[Table, str, list[str]]:
    """A table, the column that is meant, and what was guessed; a list without a header has one column."""
    listed = column is None and _is_list(content)
    try:
        table = tables.understood(path, kind.encode() + b"\n" + content if listed else content)
    except ValueError as error:
        raise ValueError(f"{error}; {_FORMS[kind]}") from None
    if listed:
        return replace(table, first_line=0), kind, []
    return table, *_column(table, column, kind)


def _is_list(content: bytes) -> bool:
    """Whether the first line that is not empty is a number, or a lost one."""
    lines = content[:1000].decode("utf-8", errors="replace").split("\n")
    first = next((line.strip(" \t\r,;") for line in lines if line.strip()), "")
    try:
        float(first)
    except ValueError:
        return _LOST_MARK.fullmatch(first) is not None
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
