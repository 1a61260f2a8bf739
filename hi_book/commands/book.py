"""The book: build it, run one notebook, serve it, check its claims, test the environment."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Column, Table

from hi_book.commands.line import Profile, complain, console, needs, one_line_errors, path_option, say
from hi_book.commands.outputs import checked_output
from hi_book.commands.reading import log_options, tell
from hi_book.press import plain_yaml
from hi_lib import checks, traces
from hi_lib.logs.columns import Columns

app = typer.Typer()


@app.command("book")
@one_line_errors
@log_options
def build_book(
    profile: Profile = "full",
    trace: Annotated[Path | None, path_option("A log: its figures go to _build/mine, the book stays.")] = None,
    *,
    columns: Columns,
) -> None:
    """Run the notebooks that changed, render the book, publish it to _build/html; or the figures of your own trace."""
    from hi_book.press import book

    if trace:
        from hi_book.press import mine
        from hi_lib.logs import reading

        log = reading.read(trace, columns)
        tell(log.notes)
        say(f"open {mine.build(log, progress=say)}")
        return
    page = book.build(profile, say)
    say(f"open {page}  (or: make serve)")


@app.command()
@one_line_errors
@log_options
def run(
    notebooks: list[str],
    parameter: Annotated[list[str] | None, typer.Option("--parameter", "-p", help="NAME=VALUE, YAML values.")] = None,
    output: Annotated[Path | None, path_option("Default: _build/runs/NOTEBOOK.", "--output", "-o")] = None,
    *,
    columns: Columns,
) -> None:
    """Run notebooks, with your own values if any, and show their claims; the book and its results stay as they are."""
    from hi_book.press.notebooks import check_parameters, notebook_names

    folder = checked_output("--output", output) if output else None
    values = [_assignment(text) for text in parameter or []]
    names = [name for name, _ in values]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"--parameter {twice[0]} is given more than once")
    for notebook in notebooks:  # all of them before the first one takes its time
        check_parameters(checks.choice("notebook", notebook, notebook_names()), dict(values))
    for notebook in notebooks:
        _run_one(notebook, dict(values), folder, columns)


def _run_one(notebook: str, values: dict[str, Any], output: Path | None, columns: Columns) -> None:
    from hi_book.press import claims, mine, notebooks, places

    folder = output or places.BUILD / "runs" / notebook
    parameters, environment, notes = mine.with_own_traces(notebook, values, folder, columns)
    try:
        notebooks.run_notebook(notebook, parameters, folder.resolve(), environment)
    except notebooks.BuildError as error:
        with contextlib.suppress(OSError):
            folder.rmdir()  # unless it holds something
        raise ValueError(str(error).splitlines()[0]) from None
    tell(notes)
    found = claims.evaluate([claim for claim in claims.load_claims() if claim.notebook == notebook], folder / "results")
    if found:
        console.print(_claim_table(found))
    say(f"{folder / notebook}.ipynb, data in {folder / 'results' / notebook}")


@app.command()
@one_line_errors
def lab() -> None:
    """Open copies of the notebooks in JupyterLab, in _build/lab: change and run them, the book stays as it is."""
    from hi_book.press import lab

    needs("JupyterLab", "lab", "jupyterlab", "jupyterlab_myst")
    folder = lab.prepare(progress=say)
    command = lab.command(folder)
    os.execve(command[0], command, lab.environment(folder))  # noqa: S606 (in this process' place, for its signals)


@app.command()
@one_line_errors
def serve(port: Annotated[int, typer.Option(min=0, max=65535)] = 8000) -> None:
    """Serve the built book on this machine only."""
    from hi_book.press import places, serving

    if not places.HTML.is_dir():
        raise ValueError("there is no book yet: run make book")
    try:
        server = serving.Server(places.HTML, port)
    except OSError as error:
        raise ValueError(f"port {port} cannot be used: {error.strerror}; try --port 0") from None
    with server, contextlib.suppress(KeyboardInterrupt):
        say(f"the book is at http://127.0.0.1:{server.server_address[1]}/ (Ctrl-C ends)")
        server.serve_forever()


@app.command()
@one_line_errors
def check(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    profile: Profile = "full",
) -> None:
    """Compare every claim with our results; exit 1 when a verdict differs from the reviewed one."""
    from hi_book.press import book

    found = book.outcomes(profile, complain)
    if as_json:
        print(json.dumps([outcome.as_dict() for outcome in found], indent=2, ensure_ascii=False))
    else:
        console.print(_claim_table(found))
    changed = [outcome for outcome in found if not outcome.as_reviewed]
    for outcome in changed:
        complain(f"{outcome.claim.id}: {outcome.verdict}, but claims.yml says {outcome.claim.verdict}")
    raise typer.Exit(1 if changed else 0)


@app.command()
@one_line_errors
def doctor() -> None:
    """Test the environment in under a minute; missing optional parts are named, not counted as errors."""
    import hi_lib as hi

    failed = False
    console.print(f"Python {platform.python_version()} on {platform.system()} {platform.machine()}")
    for name in sorted({*traces.shipped(), *hi.list_traces()}):
        try:
            run = hi.replay(hi.load_trace(name), beta=0.5, batch_size=8)
            say(f"ok       trace {name}: average cost {run.average_cost:.3f} at β = 0.5, M = 8")
        except ValueError as error:
            failed = True
            say(f"BROKEN   {error}")
    for present, name, adds in _optional_parts():
        say(f"{'ok      ' if present else 'missing '} {name}: {adds}")
    raise typer.Exit(1 if failed else 0)


def _assignment(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise ValueError(f"--parameter must look like name=value, got {checks.shown(text)}")
    return name, plain_yaml.yaml_value(f"--parameter {name}", value)


def _claim_table(found: list[Any]) -> Table:
    table = Table(*(Column(title, overflow="fold") for title in ("", "claim", "we find", "tolerance", "verdict")))
    for outcome in found:
        row = outcome.as_dict()
        table.add_row(row["id"], row["statement"], row["ours"], row["tolerance"], row["verdict"])
    return table


def _optional_parts() -> Iterator[tuple[bool, str, str]]:
    from hi_book.makers import images
    from hi_book.press import places

    modules = {
        "jupyter_book": "renders the book (make book installs it)",
        "jupyterlab": "edit notebooks in the browser (make lab installs it)",
        "pytest": "the tests (make test installs it)",
        "ai_edge_litert": "makes Imagenette traces again (extra `models`)",
        "onnxruntime": "makes traces of your own models, and CIFAR-10's again (make onnx installs it)",
        "torch": "trains the AlexNet, runs the L-ML of Imagenette (extra `models`)",
    }
    for name, adds in modules.items():
        yield importlib.util.find_spec(name) is not None, name, adds
    for name in ("imagenette/val.zip", "cifar10/test.zip"):
        path = images.source_folder() / name
        yield path.is_file(), str(path), "images, to make traces again (set HI_DATA to their folder)"
    yield places.chromium() is not None, "Chromium", "the browser tests, and the book as a PDF"
