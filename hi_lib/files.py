"""Files that are written whole or not at all, and never over something that is read."""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# What the project is made of: no command's output may go there, but for those that make data.
OWN_FOLDERS = ("book", "data", "hi_lib", "notebooks", "results", "tests", ".ci", ".git", ".github", ".venv")


def write_atomically(path: Path, text: str) -> Path:
    """Write text so that a reader sees the old file or the whole new one, never a part.

    Raises
    ------
    ValueError
        There is something else than a file, or the folder cannot be written to.
    """
    target = writable(path)
    temporary = target.with_name(f".{target.name[:200]}.{os.getpid()}.part")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(target)
    except OSError as error:
        raise ValueError(f"{path} cannot be written: {error.strerror}") from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    return path


def writable(path: Path) -> Path:
    """The file that `path` means, links followed, its folder made; refused unless a plain file can be there."""
    try:
        target = path.resolve()
        if target.exists() and not target.is_file():
            raise ValueError(f"{path} cannot be written: it is there, and not a file")
        target.parent.mkdir(parents=True, exist_ok=True)
        if not os.access(target.parent, os.W_OK):
            raise PermissionError(errno.EACCES, "its folder is read-only")
    except OSError as error:
        raise ValueError(f"{path} cannot be written: {error.strerror}") from None
    except RuntimeError:  # what Path.resolve makes of it
        raise ValueError(f"{path} cannot be written: its links lead in a circle") from None
    return target


def output(where: str, path: Path, inputs: Iterable[Path] = ()) -> Path:
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


def sha256(path: Path) -> str:
    """Hex digest of a file's content; counted anew when the file has changed."""
    status = path.stat()
    return _hash(path, status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=64)
def _hash(path: Path, _modified: int, _size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
