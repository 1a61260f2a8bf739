"""Traces and times: list, make again, verify, measure."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Annotated

import typer

from hi_book.commands.line import complain, needs, one_line_errors, path_argument, path_option, progress_bar, say
from hi_book.commands.outputs import checked_output
from hi_book.commands.own_models import network_options, refuse_without_onnx
from hi_book.commands.reading import log_options, tell
from hi_book.makers import registering
from hi_book.makers.networks import ModelOptions
from hi_lib import checks, files, traces
from hi_lib.logs import keeping
from hi_lib.logs.columns import Columns

traces_app = typer.Typer(no_args_is_help=True, help="The traces: list, make again, verify; import your own.")
timing_app = typer.Typer(no_args_is_help=True, help="How long models take on this machine.")


@traces_app.command("list")
@one_line_errors
def list_all() -> None:
    """Names of the traces, one a line."""
    for name in traces.list_traces():
        print(name)


@traces_app.command()
@one_line_errors
@network_options()
def make(
    name: Annotated[list[str], typer.Argument(help="Trace names, `all` shipped ones, or `preprocessing`.")],
    onnx: Annotated[Path | None, path_option("A classifier of your own, for a trace of your own.")] = None,
    images: Annotated[Path | None, path_option("Folder or zip of pictures, a folder for each class.")] = None,
    download: Annotated[bool, typer.Option("--download", help="Fetch what is missing, as torchvision does.")] = False,
    epochs: Annotated[int, typer.Option(help="For cifar10-alexnet: passes over the training images.")] = 10,
    threads: Annotated[int, typer.Option(help="For cifar10-alexnet: another number gives other weights.")] = 2,
    bfloat16: Annotated[
        bool, typer.Option("--bfloat16", help="For cifar10-alexnet: other weights; faster if the processor has it.")
    ] = False,
    *,
    asked: ModelOptions,
) -> None:
    """Run models over images in $HI_DATA, write what they said to data/, and register it; or a model of your own."""
    if onnx:
        return _make_own(name, onnx, images, asked)
    refuse_without_onnx(asked)
    _needs_models()
    from hi_book.makers import models

    shipped = [each for each in models.MAKERS if each in traces.shipped()]
    for each in name:
        checks.choice("trace", each, [*models.MAKERS, *models.LMLS, "preprocessing", "all"])
        if images and (each in ("all", "preprocessing") or each in traces.shipped()):
            raise ValueError(f"{each} comes with the project, made from registered images: --images would replace it")
    for each in dict.fromkeys(itertools.chain.from_iterable(shipped if each == "all" else [each] for each in name)):
        for path in _make_one(each, images, download, epochs, threads, bfloat16):
            for file in filter(Path.is_file, (path.with_suffix(".json"), path)):
                same = registering.register_file(file, f"hi traces make {each}")
            say(f"{path}: {'as registered' if same else 'new content, registered'}")
    return None


def _make_own(names: list[str], onnx: Path, images: Path | None, asked: ModelOptions) -> None:
    """A trace of the user's own: what was guessed goes to standard error, so does a warning."""
    _needs_onnx()
    from hi_book.makers import own

    if len(names) != 1 or not images:
        raise ValueError("a trace from --onnx needs one name, and --images with the folder of its pictures")
    with progress_bar(names[0]) as advance:
        made = own.make(names[0], onnx, images, asked, advance)
    tell(made.notes)
    if made.warning:
        complain(f"warning: {made.warning}")
    say(f"{made.path}: {made.samples} samples, accuracy {made.accuracy:.1%}")


@traces_app.command("import")
@one_line_errors
@log_options
def import_log(
    log: Annotated[Path, path_argument("Your log: CSV, JSON, Parquet, .npz; - is standard input.")],
    name: Annotated[str, typer.Argument(help="What the trace shall be called.")],
    *,
    columns: Columns,
) -> None:
    """Keep a log as a trace of your own, in $HI_TRACES if that is set, else in data/own."""
    kept = keeping.keep(log, name, columns)
    tell(kept.notes)
    say(f"{kept.path}: {kept.samples} samples, the S-ML is right on {kept.accuracy:.1%}")


def _make_one(name: str, images: Path | None, download: bool, epochs: int, threads: int, bfloat16: bool) -> list[Path]:
    from hi_book.makers import models

    with progress_bar(name) as advance:
        if name == "preprocessing":
            table = models.compare_preprocessings("imagenette-mobilenet_v1_0.25_128", advance)
            return [files.write_atomically(traces.DATA / "preprocessing.csv", table.to_csv(index=False))]
        if name != "cifar10-alexnet":
            return models.make(name, advance, images, download)
    from hi_book.makers.training import Recipe

    recipe = Recipe(epochs=epochs, threads=threads, bfloat16=bfloat16)
    with progress_bar(name, recipe.epochs * -(-50_000 // recipe.batch)) as advance:
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
@network_options(without=("classes",))
def measure(
    repeats: Annotated[int, typer.Option(min=3, help="Times each batch size is measured.")] = 15,
    onnx: Annotated[Path | None, path_option("Time a model of your own instead; data/timings stays as it is.")] = None,
    images: Annotated[
        Path | None, path_option("With --onnx: folder or zip of pictures, by default random ones.")
    ] = None,
    out: Annotated[Path | None, path_option("With --onnx: a CSV for all times, as hi evaluate reads them.")] = None,
    *,
    asked: ModelOptions,
) -> None:
    """Time S-MLs and L-MLs here at batch 1 to 32, and write data/timings, which the book shows; or your own model."""
    if onnx:
        return _measure_own(onnx, images, out, asked, repeats)
    refuse_without_onnx(asked, images=images, out=out)
    _needs_models()
    from hi_book.makers import timings

    say(f"written: {timings.run(repeats, say)}")
    return None


def _measure_own(onnx: Path, images: Path | None, out: Path | None, asked: ModelOptions, repeats: int) -> None:
    """Times of the user's own model: medians, the line through them, and all of them where the user wants them."""
    if out:
        checked_output("--out", out, inputs=filter(None, (onnx, images)))
    _needs_onnx()
    from hi_book.makers import timings
    from hi_lib.studies.measured import fit

    table, notes = timings.run_own(onnx, images, asked, repeats)
    tell(notes)
    for size, median in table.groupby("batch_size")["milliseconds"].median().items():
        say(f"batch of {size}: {median:.4g} ms")
    line = fit(table)
    say(f"{onnx.name}: {line.fixed:.2f} ± {line.fixed_error:.2f} ms + {line.per_sample:.3f} ms a picture")
    if out:
        files.write_atomically(out, table.to_csv(index=False, float_format="%.5g"))
        say(f"written: {out} (hi evaluate … --device-times {out})")


def _needs_models() -> None:
    needs("making traces", "models", "ai_edge_litert", "onnxruntime", "PIL", "torch")


def _needs_onnx() -> None:
    needs("a model of your own", "onnx", "onnxruntime", "PIL")
