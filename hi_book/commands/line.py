"""What every command has in common: how it speaks, how it refuses, how it takes a path."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import inspect
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from typer.core import TyperGroup

from hi_lib import checks
from hi_lib.files import ROOT
from hi_lib.logs.columns import Columns

# What typer raises for any command line that it cannot read.
UsageError: type[Exception] = typer.BadParameter.__base__  # type: ignore[assignment]
_LINE = 300  # characters of an error, more or less
_ARGUMENTS = [*Columns.__dataclass_fields__, "network_times", "image_bytes", "scheduler", "keys", "insecure"]
_ARGUMENT = re.compile(rf"(?<![\w/.-])({'|'.join(_ARGUMENTS)})=(…|(?=['\"]))")

console = Console(soft_wrap=True, highlight=False)
errors = Console(stderr=True, soft_wrap=True, highlight=False)

Command = TypeVar("Command", bound=Callable[..., Any])
Profile = Annotated[str, typer.Option(help="quick: fewer shuffles; full: what the book prints.")]


class OneLineErrors(TyperGroup):
    """Commands whose unknown options, missing arguments and bad values are one line each, as all other errors are."""

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run a command line; end with its exit code."""
        try:
            code = super().main(*args, **extra | {"standalone_mode": False})
            sys.stdout.flush()
            sys.exit(code)
        except UsageError as error:
            message = error.format_message()  # type: ignore[attr-defined]
            if message:  # else there was no command at all, and typer has shown the help
                complain(f"error: {message}")
            sys.exit(2)
        except typer.Abort:
            sys.exit(130)
        except OSError as error:  # nowhere to print to: who read has read enough, or the disk is full
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            if not isinstance(error, BrokenPipeError):
                complain(f"error: the output cannot be written: {error.strerror}")
            sys.exit(2)


def say(text: str) -> None:
    """Text on the terminal, whatever characters a file's name may hold."""
    console.print(checks.printable(text), markup=False)


def complain(text: str) -> None:
    """One line of an error; an argument that the library names, such as `label='x'` or `label=…`, is an option here."""
    said = _ARGUMENT.sub(lambda found: f"--{found[1].replace('_', '-')}{'' if found[2] else ' '}", text)
    errors.print(checks.one_line(said, _LINE), markup=False)


def needs(what: str, extra: str, *modules: str) -> None:
    """Refuse in one line what needs packages that are not installed; this extra has them."""
    missing = [name for name in modules if not importlib.util.find_spec(name)]
    if missing:
        how = f"run make {extra}" if (ROOT / "Makefile").is_file() else f"pip install 'hi-lib[{extra}]'"
        raise ValueError(f"{what} needs {', '.join(missing)}: {how}")


def some_path(text: str) -> Path:
    """A path as the command line gives it."""
    if not text.strip() or "\0" in text:
        raise typer.BadParameter(f"a path must not be empty, nor hold a zero byte, got {checks.shown(text)}")
    return Path(text)


def path_option(says: str, *names: str) -> Any:
    """An option that takes a path."""
    return typer.Option(*names, parser=some_path, metavar="PATH", help=says)


def path_argument(says: str) -> Any:
    """An argument that is a path."""
    return typer.Argument(parser=some_path, metavar="PATH", help=says)


def together(name: str, options: Sequence[inspect.Parameter], make: Callable[..., Any]) -> Callable[[Command], Command]:
    """Give a command further options, which it takes in one: what `make` makes of them, as the argument `name`."""

    def decorated(command: Command) -> Command:
        signature = inspect.signature(command, eval_str=True)
        own = [each for each in signature.parameters.values() if each.name != name]

        @functools.wraps(command)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            given = {each.name: kwargs.pop(each.name) for each in options if each.name in kwargs}
            return command(*args, **kwargs, **{name: make(**given)})

        wrapped.__signature__ = signature.replace(parameters=[*own, *options])  # type: ignore[attr-defined]
        wrapped.__annotations__ = {each.name: each.annotation for each in [*own, *options]}
        return wrapped  # type: ignore[return-value]

    return decorated


def one_line_errors(command: Command) -> Command:
    """Bad input: one line and exit 2. A failed build: its reason and exit 1. Ctrl-C: exit 130. Never a traceback."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        from hi_book.press.notebooks import BuildError

        try:
            return command(*args, **kwargs)
        except BrokenPipeError:
            raise  # for the group's own main
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            complain(f"error: {where}{error.strerror or error}")
        except MemoryError:
            complain("error: this needs more memory than there is")
        except ValueError as error:
            complain(f"error: {error}")
        except BuildError as error:
            said, _, trace = str(error).partition("\n")
            complain(said)
            if trace:
                errors.print(trace, markup=False)
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            errors.print("interrupted; run the same command again to go on")
            raise typer.Exit(130) from None
        raise typer.Exit(2)

    return wrapped  # type: ignore[return-value]


@contextlib.contextmanager
def progress_bar(name: str, total: int | None = None) -> Iterator[Callable[..., None]]:
    """A progress bar; its function takes a count, and a loss to show beside it."""
    from rich import progress as bars

    text, left = bars.TextColumn("{task.description}"), [bars.TimeRemainingColumn()] if total else []
    columns = (text, bars.BarColumn(), bars.MofNCompleteColumn(), bars.TimeElapsedColumn(), *left)
    progress = bars.Progress(*columns, console=errors)
    task, shown = progress.add_task(name, total=total), contextlib.ExitStack()

    def advance(count: int, loss: float | None = None) -> None:
        if not progress.live.is_started:  # not before there is progress: what is refused at once is one line
            shown.enter_context(progress)
        progress.update(task, advance=count, description=name if loss is None else f"{name}, loss {loss:.3f}")

    with shown:
        yield advance
