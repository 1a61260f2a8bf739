"""Where the book's parts lie, and their hashes."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from pathlib import Path

from hi_lib import files

ROOT = files.ROOT
NOTEBOOKS = ROOT / "notebooks"
PARAMETERS = NOTEBOOKS / "parameters.yml"
PAGES = ROOT / "book"
RESULTS = ROOT / "results"
BUILD = ROOT / "_build"
EXECUTED = BUILD / "executed"
HTML = BUILD / "html"
REPORT = BUILD / "build.json"
LOCK = ROOT / "requirements.lock"


def chromium() -> str | None:
    """Path of an installed Chromium or Chrome."""
    return next((path for name in ("chromium", "google-chrome", "chrome") if (path := shutil.which(name))), None)


def files_below(folder: Path) -> list[Path]:
    """All files below a folder, but for caches and other hidden ones."""
    found = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return sorted(path for path in found if not path.name.startswith("."))


def digest(paths: list[Path], *texts: str) -> str:
    """One hash over names and contents."""
    total = hashlib.sha256()
    for path in paths:
        total.update(f"{path.relative_to(ROOT)}\0".encode())
        total.update(hashlib.sha256(path.read_bytes()).digest())
    for text in texts:
        total.update(hashlib.sha256(text.encode()).digest())
    return total.hexdigest()


def move(source: Path, target: Path) -> None:
    """Put a file or folder in another's place; that may lie on another file system, where a rename cannot go.

    The new one is there whole or not at all; what was there before is gone by then.
    """
    shutil.rmtree(target, ignore_errors=True)
    try:
        source.replace(target)
        return
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        shutil.copytree(source, part) if source.is_dir() else shutil.copy2(source, part)
        part.replace(target)
    finally:
        remove(part)
    remove(source)


def remove(path: Path) -> None:
    """Remove a file or a folder, or neither."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
