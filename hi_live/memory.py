"""Memory that a process keeps for itself once it is free, instead of asking for it anew."""

from __future__ import annotations

import contextlib
import ctypes

_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1
OF_A_LINK = 16 * 2**20
"""Bytes: what a server or a device has in its hands at a time, several times over."""


def keep_memory(most: int = 2**31 - 1) -> None:
    """Let glibc keep so many freed bytes; where there is another library, do nothing.

    Fetched anew, memory makes large batches of a model up to 2.5 times slower, and a large request twenty times.
    """
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(_MMAP_THRESHOLD, most)
        libc.mallopt(_TRIM_THRESHOLD, most)
