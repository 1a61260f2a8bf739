"""Which output of a network stands for which folder of pictures."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from hi_lib import checks
from hi_lib.files import small_text

_PAIR = re.compile(r"(.+?)\s*[\s,;:=]\s*(\d+)")


def in_order(names: Iterable[str]) -> list[str]:
    """Names of folders in the order of their classes: as numbers where all are, else alphabetical.

    Examples
    --------
    >>> in_order(["10", "9", "1"]), in_order(["b", "10", "9"])
    (['1', '9', '10'], ['10', '9', 'b'])
    """
    found = sorted(set(names))
    return sorted(found, key=int) if numeric(found) else found


def numeric(names: Iterable[str]) -> bool:
    """Whether all names are whole numbers."""
    return all(name.isdecimal() and name.isascii() for name in names)


def ranked(names: Iterable[str], classes: int, network: Path) -> dict[str, int]:
    """The class of each folder by its place among them.

    Raises
    ------
    ValueError
        Not as many folders as classes: then their places say nothing.
    """
    order = in_order(names)
    if len(order) > classes:
        raise ValueError(f"{network} tells {classes} classes apart, but there are {len(order)} folders of pictures")
    if len(order) < classes:
        raise ValueError(
            f"{network} tells {classes} classes apart, but there {'are' if len(order) > 1 else 'is'} only {len(order)} "
            f"folder{'s' * (len(order) > 1)} of pictures: say with --classes FILE which class each of them is"
        )
    return {name: place for place, name in enumerate(order)}


def mapped(names: Iterable[str], path: Path, classes: int) -> dict[str, int]:
    """The class of each folder as a file says it.

    The file holds the name of every class, one a line, from the first output on (a line may begin with the folder's
    name, as ImageNet's lists do); or a line for each folder, its name and the number of its class from 0 on; or one of
    both as JSON.

    Raises
    ------
    ValueError
        A folder that the file does not name, or names twice, or a class that the network does not have.
    """
    folders, readings = in_order(names), _readings(small_text(path), path)
    for known, all_named in readings:
        if all(folder in known for folder in folders):
            return {folder: _one(path, folder, known[folder], classes, all_named) for folder in folders}
    known = readings[0][0]
    missing = next(folder for folder in folders if folder not in known)
    raise ValueError(f"{path} does not say which class the folder {checks.shown(missing)} is")


def _one(path: Path, folder: str, places: Sequence[int], classes: int, all_named: int | None) -> int:
    """The one class of a folder, checked against the classes of the network."""
    if all_named is not None and all_named != classes:
        raise ValueError(f"{path} names {all_named} classes, but the network tells {classes} apart")
    if len(places) != 1:
        raise ValueError(f"{path} names {checks.shown(folder)} {len(places)} times: map the folder to a number instead")
    if not 0 <= places[0] < classes:
        raise ValueError(f"{path} says {places[0]} for {checks.shown(folder)}; classes go from 0 to {classes - 1}")
    return places[0]


def _readings(text: str, path: Path) -> list[tuple[Mapping[str, list[int]], int | None]]:
    """Every way to read the file: the classes of each name, and how many classes are named, if all are.

    Whole lines as names come first: names may end in numbers. Then names and numbers, then the first words of lines.
    """
    if text.lstrip().startswith(("{", "[")):
        return [_json(text, path)]
    lines = [line.strip() for line in text.removeprefix("\ufeff").splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    if not lines:
        raise ValueError(f"{path} is empty: it must name classes")
    pairs = [(found[1], int(found[2])) for line in lines if (found := _PAIR.fullmatch(line))]
    first_words = [re.split(r"[\s,;:]", line)[0] for line in lines]
    return [
        (_places(zip(lines, range(len(lines)), strict=True)), len(lines)),
        (_places(pairs), None),
        (_places(zip(first_words, range(len(lines)), strict=True)), len(lines)),
    ]


def _json(text: str, path: Path) -> tuple[Mapping[str, list[int]], int | None]:
    """A list of names, a mapping from folder to number, or from number to name or names."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no readable JSON: {error}") from None
    if isinstance(found, list):
        return _places((str(name), place) for place, name in enumerate(found)), len(found)
    if all(type(value) is int for value in found.values()):
        return _places(found.items()), None
    if not numeric(found):
        raise ValueError(f"{path} must map folders to numbers, or numbers to names")
    listed = {int(key): value if isinstance(value, list) else [value] for key, value in found.items()}
    return _places((str(name), place) for place, names in listed.items() for name in names), None


def _places(pairs: Iterable[tuple[str, int]]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for name, place in pairs:
        if place not in found.setdefault(name, []):
            found[name].append(place)
    return found
