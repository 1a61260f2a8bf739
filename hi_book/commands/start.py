"""Where `hi` begins: it says what is missing before anything that may be missing is imported."""

from __future__ import annotations

import sys

_OURS = ("hi_lib", "hi_live", "hi_book")


def main() -> None:
    """Entry point of `hi`."""
    try:
        from hi_book.commands import main as commands
    except ModuleNotFoundError as missing:
        name = (missing.name or "").partition(".")[0]
        if name in _OURS:
            raise
        sys.exit(f"error: the command hi needs {name}: pip install 'hi-lib[book]', or make book in a checkout")
    commands.main()
