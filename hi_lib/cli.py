"""The `hi` command."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import io
import itertools
import json
import math
import os
import platform
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.table import Column, Table
from typer.core import TyperGroup

from hi_lib import checks, files, traces
from hi_lib.settings import IMAGENETTE

# What typer raises for any command line that it cannot read.
UsageError: type[Exception] = typer.BadParameter.__base__  # type: ignore[assignment]


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


app = typer.Typer(
    cls=OneLineErrors,
    no_args_is_help=True,
    add_completion=False,
    help="Batch HI: build the book, check claims, make traces.",
)
traces_app = typer.Typer(no_args_is_help=True, help="The traces: list, make again, verify.")
app.add_typer(traces_app, name="traces")
timing_app = typer.Typer(no_args_is_help=True, help="How long models take on this machine.")
app.add_typer(timing_app, name="timing")
console = Console(soft_wrap=True, highlight=False)
errors = Console(stderr=True, soft_wrap=True, highlight=False)

_LINE = 300  # characters of an error, more or less
Command = TypeVar("Command", bound=Callable[..., Any])
Profile = Annotated[str, typer.Option(help="quick: fewer shuffles; full: what the book prints.")]


def say(text: str) -> None:
    """Text on the terminal, whatever characters a file's name may hold."""
    console.print(checks.printable(text), markup=False)


def complain(text: str) -> None:
    """One line of an error."""
    errors.print(checks.one_line(text, _LINE), markup=False)


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


def one_line_errors(command: Command) -> Command:
    """Bad input: one line and exit 2. A failed build: its reason and exit 1. Ctrl-C: exit 130. Never a traceback."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        from hi_lib.book import BuildError

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


@app.command("book")
@one_line_errors
def build_book(
    profile: Profile = "full",
    trace: Annotated[Path | None, path_option("A CSV: its figures go to _build/mine, the book stays.")] = None,
) -> None:
    """Run the notebooks that changed, render the book, publish it to _build/html; or the figures of your own trace."""
    from hi_lib import book

    if trace:
        from hi_lib import mine

        say(f"open {mine.build(trace, progress=say)}")
        return
    page = book.build(profile, say)
    say(f"open {page}  (or: make serve)")


@app.command()
@one_line_errors
def run(
    notebook: str,
    parameter: Annotated[list[str] | None, typer.Option("--parameter", "-p", help="NAME=VALUE, YAML values.")] = None,
    output: Annotated[Path | None, path_option("Default: _build/runs/NOTEBOOK.", "--output", "-o")] = None,
) -> None:
    """Run one notebook, with your own values if any, and show its claims; the book and its results stay as they are."""
    from hi_lib import book, claims

    folder = files.output("--output", output) if output else book.BUILD / "runs" / notebook
    values = [_assignment(text) for text in parameter or []]
    names = [name for name, _ in values]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"--parameter {twice[0]} is given more than once")
    try:
        book.run_notebook(notebook, dict(values), folder.resolve())
    except book.BuildError as error:
        with contextlib.suppress(OSError):
            folder.rmdir()  # unless it holds an earlier run
        raise ValueError(str(error).splitlines()[0]) from None
    found = claims.evaluate([claim for claim in claims.load_claims() if claim.notebook == notebook], folder / "results")
    if found:
        console.print(_claim_table(found))
    say(f"{folder / notebook}.ipynb, data in {folder / 'results' / notebook}")


@app.command()
@one_line_errors
def serve(port: Annotated[int, typer.Option(min=0, max=65535)] = 8000) -> None:
    """Serve the built book on this machine only."""
    from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

    from hi_lib import book

    if not book.HTML.is_dir():
        raise ValueError("there is no book yet: run make book")

    class Handler(SimpleHTTPRequestHandler):
        def send_head(self) -> Any:
            try:
                return super().send_head()
            except ValueError:  # a path with a zero byte
                self.send_error(404)

    handler = functools.partial(Handler, directory=str(book.HTML))
    try:
        server = ThreadingHTTPServer(("127.0.0.1", port), handler)
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
    from hi_lib import book

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
def evaluate(
    csv: Annotated[Path, path_argument("Your trace: a CSV with the columns confidence and correct.")],
    beta: Annotated[float, typer.Option(help="Cost of an offload; a wrong answer costs 1.")] = 0.5,
    alpha: Annotated[float, typer.Option(help="Weight of the system time.")] = 0.5,
    tau_ed: Annotated[float | None, typer.Option(help="S-ML time a sample, ms; by default the paper's.")] = None,
    tau_es: Annotated[float | None, typer.Option(help="L-ML time a sample, ms; by default the paper's.")] = None,
    tau_tx: Annotated[float, typer.Option(help="Sending time a sample, ms.")] = IMAGENETTE.timing.tau_tx,
    tau_nw: Annotated[float, typer.Option(help="Network time a transmission, ms.")] = IMAGENETTE.timing.tau_nw,
    device_times: Annotated[Path | None, path_option("CSV of batch_size, milliseconds: replaces tau_ed.")] = None,
    server_times: Annotated[
        Path | None, typer.Option(help="CSV of batch_size, milliseconds: replaces tau_es, adds to tau_nw.")
    ] = None,
    shuffle: Annotated[int | None, typer.Option(help="Shuffle the trace with this seed first.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
    as_html: Annotated[Path | None, path_option("Write a page with figures to this file, too.", "--html")] = None,
) -> None:
    """Your trace on your device: learned threshold, cost, regret, and the best batch size."""
    from hi_lib import evaluate as evaluating
    from hi_lib.timing import TimingModel

    for flag, value, measured in (("tau-ed", tau_ed, device_times), ("tau-es", tau_es, server_times)):
        if value is not None and measured:
            raise ValueError(f"--{flag} must be left out where {measured} gives the measured times")
    if as_html:
        files.output("--html", as_html, inputs=filter(None, (csv, device_times, server_times)))
    paper = IMAGENETTE.timing
    given = TimingModel(
        paper.tau_ed if tau_ed is None else tau_ed, paper.tau_es if tau_es is None else tau_es, tau_tx, tau_nw
    )
    timing = evaluating.device_timing(given, device_times, server_times)
    trace = traces.Trace.from_csv(csv)
    if shuffle is not None:
        trace = trace.shuffled(checks.whole("--shuffle", shuffle, low=0))
    found = evaluating.evaluate(trace, beta, alpha, timing)
    if as_html:
        files.write_atomically(as_html, found.as_html())
        complain(f"written: {as_html}")
    print(json.dumps(found.as_dict(), indent=2) if as_json else checks.printable(found.as_text()))


@app.command()
@one_line_errors
def sweep(
    out: Annotated[Path, path_option("The CSV to write; finished runs survive an interruption beside it.")],
    trace: Annotated[list[str], typer.Option(help="Name of a trace, or a CSV of your own; may be repeated.")],
    beta: Annotated[str, typer.Option(help="Costs of an offload: 0.3,0.5,0.7")] = "0.5",
    batch_size: Annotated[str, typer.Option(help="Batch sizes: 1,2,4 or 1:9")] = "1",
    learning_rate: Annotated[str, typer.Option(help="tuned, vanilla (tuned for M = 1), anytime, numbers")] = "tuned",
    learner: Annotated[str, typer.Option(help="Learners: hil-f,hil-n,apple,…")] = "hil-f",
    seeds: Annotated[str, typer.Option(help="Shuffles: 0:100 or 3,5")] = "0:20",
    jobs: Annotated[int, typer.Option(help="Threads on this machine; -1: all cores.")] = -1,
    scheduler: Annotated[str | None, typer.Option(help="tcp://host:port of a Dask scheduler to use instead.")] = None,
) -> None:
    """A grid of runs, on all cores or on a cluster, into one table: a row for each combination."""
    from hi_lib import sweeps

    files.output(
        "--out", out, inputs=[place for name in trace for place in (Path(name), traces.file_of(name)) if place]
    )
    own = [traces.Trace.from_csv(name) if name.lower().endswith(".csv") else traces.load_trace(name) for name in trace]
    rates = [_number_or_name(part) for part in learning_rate.split(",")]
    grid = (
        own,
        sweeps.numbers(beta, "--beta"),
        sweeps.numbers(batch_size, "--batch-size", int),
        rates,
        sweeps.numbers(seeds, "--seeds", int),
        learner.split(","),
    )
    with _bar("runs", math.prod(map(len, grid))) as advance:
        table = sweeps.sweep_to(out, *grid, scheduler=scheduler, jobs=jobs, advance=advance)
    refused = int((table["error"] != "").sum())
    say(f"{out}: {len(table)} runs" + (f", {refused} refused, see column error" if refused else ""))


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


@traces_app.command("list")
@one_line_errors
def list_all() -> None:
    """Names of the traces, one a line."""
    for name in traces.list_traces():
        print(name)


@traces_app.command()
@one_line_errors
def make(
    name: Annotated[list[str], typer.Argument(help="Trace names, `all` shipped ones, or `preprocessing`.")],
    onnx: Annotated[Path | None, path_option("A classifier of your own, for a trace of your own.")] = None,
    images: Annotated[Path | None, path_option("Folder or zip of pictures, a folder for each class.")] = None,
    side: Annotated[int | None, typer.Option(help="Side of the pictures, if the ONNX model leaves it open.")] = None,
    download: Annotated[bool, typer.Option("--download", help="Fetch what is missing, as torchvision does.")] = False,
    epochs: Annotated[int, typer.Option(help="For cifar10-alexnet: passes over the training images.")] = 10,
    threads: Annotated[int, typer.Option(help="For cifar10-alexnet: another number gives other weights.")] = 2,
    bfloat16: Annotated[
        bool, typer.Option("--bfloat16", help="For cifar10-alexnet: other weights; faster if the processor has it.")
    ] = False,
) -> None:
    """Run models over images in $HI_DATA, write what they said to data/, and register it."""
    _needs_models()
    from hi_lib import models

    if onnx:
        if len(name) != 1 or not images:
            raise ValueError("a trace from --onnx needs one name, and --images with the folder of its pictures")
        with _bar(name[0]) as advance:
            (path,) = models.make_own(name[0], onnx, images, side, advance)
        say(f"{path}: {len(traces.load_trace(name[0]))} samples")
        return
    shipped = [each for each in models.MAKERS if each in traces.shipped()]
    for each in name:
        checks.choice("trace", each, [*models.MAKERS, *models.LMLS, "preprocessing", "all"])
        if images and (each in ("all", "preprocessing") or each in traces.shipped()):
            raise ValueError(f"{each} comes with the project, made from registered images: --images would replace it")
    for each in dict.fromkeys(itertools.chain.from_iterable(shipped if each == "all" else [each] for each in name)):
        for path in _make_one(each, images, download, epochs, threads, bfloat16):
            for file in filter(Path.is_file, (path.with_suffix(".json"), path)):
                same = traces.register_file(file, f"hi traces make {each}")
            say(f"{path}: {'as registered' if same else 'new content, registered'}")


def _make_one(name: str, images: Path | None, download: bool, epochs: int, threads: int, bfloat16: bool) -> list[Path]:
    from hi_lib import models

    with _bar(name) as advance:
        if name == "preprocessing":
            table = models.compare_preprocessings("imagenette-mobilenet_v1_0.25_128", advance)
            return [files.write_atomically(traces.DATA / "preprocessing.csv", table.to_csv(index=False))]
        if name != "cifar10-alexnet":
            return models.make(name, advance, images, download)
    from hi_lib.training import Recipe

    recipe = Recipe(epochs=epochs, threads=threads, bfloat16=bfloat16)
    with _bar(name, recipe.epochs * -(-50_000 // recipe.batch)) as advance:
        options = {"recipe": recipe, "progress": advance}
        return models.make(name, None, images, download, options)


@traces_app.command()
@one_line_errors
def verify() -> None:
    """Check every file of data/ against its registered hash; exit 2 if any differs or is missing."""
    failed = []
    for name, entry in traces.registry().items():
        if entry.origin.startswith(("hi ", "make ")):  # the others are sources, in $HI_DATA
            try:
                traces.data_file(name)
                say(f"ok       {name}")
            except ValueError as error:
                failed.append(name)
                say(f"BROKEN   {error}")
    if failed:
        more = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
        raise ValueError(f"{failed[0]}{more} damaged or missing in {traces.DATA}: restore them (git checkout)")


@timing_app.command()
@one_line_errors
def measure(repeats: Annotated[int, typer.Option(min=3, help="Times each batch size is measured.")] = 15) -> None:
    """Time S-MLs and L-MLs here at batch 1 to 32, and write data/timings, which the book shows."""
    _needs_models()
    from hi_lib import measure as measuring

    say(f"written: {measuring.run(repeats, say)}")


def _assignment(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise ValueError(f"--parameter must look like name=value, got {checks.shown(text)}")
    return name, checks.yaml_value(f"--parameter {name}", value)


def _number_or_name(text: str) -> str | float:
    try:
        return float(text)
    except ValueError:
        return text


def _claim_table(found: list[Any]) -> Table:
    table = Table(*(Column(title, overflow="fold") for title in ("", "claim", "we find", "tolerance", "verdict")))
    for outcome in found:
        row = outcome.as_dict()
        table.add_row(row["id"], row["statement"], row["ours"], row["tolerance"], row["verdict"])
    return table


def _needs_models() -> None:
    missing = [name for name in ("ai_edge_litert", "onnxruntime", "PIL", "torch") if not importlib.util.find_spec(name)]
    if missing:
        raise ValueError(f"making traces needs {', '.join(missing)}: run make models")


@contextlib.contextmanager
def _bar(name: str, total: int | None = None) -> Iterator[Callable[..., None]]:
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


def _optional_parts() -> Iterator[tuple[bool, str, str]]:
    from hi_lib import book, images

    modules = {
        "jupyter_book": "renders the book (make book installs it)",
        "jupyterlab": "edit notebooks in the browser (make lab installs it)",
        "pytest": "the tests (make test installs it)",
        "ai_edge_litert": "makes Imagenette traces again (extra `models`)",
        "onnxruntime": "makes CIFAR-10 traces again, and yours (extra `models`)",
        "torch": "trains the AlexNet, runs the L-ML of Imagenette (extra `models`)",
    }
    for name, adds in modules.items():
        yield importlib.util.find_spec(name) is not None, name, adds
    for name in ("imagenette/val.zip", "cifar10/test.zip"):
        path = images.source_folder() / name
        yield path.is_file(), str(path), "images, to make traces again (set HI_DATA to their folder)"
    yield book.chromium() is not None, "Chromium", "the browser tests, and the book as a PDF"


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
