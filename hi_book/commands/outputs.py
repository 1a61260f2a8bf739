"""Where a command may write: not over what it reads, and not over what belongs to the project."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

from hi_lib.files import ROOT, resolved

# What the project is made of, by its top names: no command's output may go there, but for those that make data.
SOURCES = (
    *(
        ".ci",
        ".dockerignore",
        ".github",
        ".gitignore",
        ".pre-commit-config.yaml",
        "ARTIFACT-APPENDIX.md",
        "CHANGELOG.md",
    ),
    *("CITATION.cff", "CONTRIBUTING.md", "Dockerfile", "LICENSE", "LICENSES", "Makefile", "README.md", "REUSE.toml"),
    *("SECURITY.md", "setup.py", "_config.yml", "book", "codecheck.yml", "codemeta.json", "croissant.json", "data"),
    *(
        "environment.yml",
        "hi_book",
        "hi_lib",
        "hi_live",
        "notebooks",
        "pyproject.toml",
        "requirements.lock",
        "tests",
        "tools",
    ),
)
# What it keeps beside these, and what an archive of it holds.
KEPT = (".git", ".venv", ".venv.json", ".venv.lock", "MANIFEST.txt", "rendered", "results", "ro-crate-metadata.json")
_OWN = {name.casefold() for name in (*SOURCES, *KEPT)}  # on some file systems, readme.md is README.md


def checked_output(where: str, path: Path, inputs: Iterable[Path] = ()) -> Path:
    """Return a path that a command may write to: not one of its inputs, and nothing that belongs to the project.

    Raises
    ------
    ValueError
        The same file as an input, by whatever name, or a file of the project's own or a place in its folders.
    """
    target = resolved(path)
    for each in inputs:
        with contextlib.suppress(OSError):
            if target == resolved(each) or path.samefile(each):
                raise ValueError(f"{where} {path} would replace {each}, which is read")
    if target.is_relative_to(ROOT):
        top = target.relative_to(ROOT).parts[:1]
        if not top or top[0].casefold() in _OWN:
            raise ValueError(
                f"{where} {path} would change {ROOT.joinpath(*top)}, which belongs to the project: choose another place"
            )
    return path
