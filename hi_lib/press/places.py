"""Where the book's parts lie, and their hashes."""

from __future__ import annotations

import hashlib
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
