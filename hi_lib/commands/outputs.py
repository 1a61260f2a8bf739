"""Where a command may write: not over what it reads, and not over what belongs to the project."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

from hi_lib.files import ROOT

# What the project is made of: no command's output may go there, but for those that make data.
OWN_FOLDERS = ("book", "data", "hi_lib", "notebooks", "results", "tests", ".ci", ".git", ".github", ".venv")


def checked_output(where: str, path: Path, inputs: Iterable[Path] = ()) -> Path:
    """Return a path that a command may write to: not one of its inputs, and nothing that belongs to the project.

    Raises
    ------
    ValueError
        The same file as an input, by whatever name, or a place in one of the project's own folders.
    """
    target = _resolved(path)
    for each in inputs:
        with contextlib.suppress(OSError):
            if target == _resolved(each) or path.samefile(each):
                raise ValueError(f"{where} {path} would replace {each}, which is read")
    for folder in OWN_FOLDERS:
        if target.is_relative_to(ROOT / folder):
            raise ValueError(
                f"{where} {path} lies in {ROOT / folder}, which belongs to the project: choose another place"
            )
    return path


def _resolved(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError):  # a circle of links: whoever opens it will say so
        return path.absolute()
