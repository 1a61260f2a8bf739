"""Files that are written whole or not at all, and never over something that is read."""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import os
from pathlib import Path

_MOST_OF_TEXT = 16 * 2**20  # bytes
ROOT = Path(__file__).resolve().parent.parent


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


def resolved(path: str | os.PathLike[str]) -> Path:
    """Where a path leads, links followed; itself, absolute, where it leads nowhere: whoever opens it will say why."""
    try:
        return Path(path).resolve()
    except (OSError, RuntimeError):  # a circle of links
        return Path(path).absolute()


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


def sha256(path: Path) -> str:
    """Hex digest of a file's content; counted anew when the file has changed."""
    status = path.stat()
    return _hash(path, status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=64)
def _hash(path: Path, _modified: int, _size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def small_text(path: Path) -> str:
    """The text of a file of the user's, which nobody writes by the megabyte.

    Raises
    ------
    ValueError
        It is no file (a device or a pipe may have no end), has more than 16 MiB, or cannot be read.
    """
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} cannot be read: it is no file")
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_OF_TEXT + 1)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    if len(content) > _MOST_OF_TEXT:
        raise ValueError(f"{path} cannot be read: it has more than {_MOST_OF_TEXT:,} bytes")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} cannot be read: {error}") from None
