"""The `hi` command: all groups of commands in one."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import typer

from hi_book.commands import book, evaluating, live, making, sweeping
from hi_book.commands.line import OneLineErrors
from hi_lib import files

app = typer.Typer(
    cls=OneLineErrors,
    no_args_is_help=True,
    add_completion=False,
    help="Batch HI: build the book, check claims, make traces.",
)
app.add_typer(book.app)
app.add_typer(evaluating.app)
app.add_typer(sweeping.app)
app.add_typer(live.app, name="live")
app.add_typer(making.traces_app, name="traces")
app.add_typer(making.timing_app, name="timing")


def with_a_home() -> None:
    """Give a user without an entry in the system's list a home: many libraries ask for one."""
    try:
        Path.home()
    except RuntimeError:
        os.environ["HOME"] = str(files.ROOT / "_build" / "home")


def main() -> None:
    """Entry point of `hi`."""
    with_a_home()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # θ and ρ must not stop a terminal that lacks them
    app(prog_name="hi")


if __name__ == "__main__":
    main()
