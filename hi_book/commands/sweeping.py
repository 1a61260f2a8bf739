"""Grids of runs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from hi_book.commands.line import needs, one_line_errors, path_option, progress_bar, say
from hi_book.commands.outputs import checked_output
from hi_book.commands.reading import log_options, tell, trace_or_log
from hi_lib import checks, traces
from hi_lib.logs.columns import Columns

app = typer.Typer()


@app.command()
@one_line_errors
@log_options
def sweep(
    out: Annotated[Path, path_option("The CSV to write; finished runs survive an interruption beside it.")],
    trace: Annotated[list[str], typer.Option(help="Name of a trace, or a log of your own; may be repeated.")],
    beta: Annotated[str, typer.Option(help="Costs of an offload: 0.3,0.5,0.7")] = "0.5",
    batch_size: Annotated[str, typer.Option(help="Batch sizes: 1,2,4 or 1:9")] = "1",
    learning_rate: Annotated[str, typer.Option(help="tuned, vanilla (tuned for M = 1), anytime, numbers")] = "tuned",
    learner: Annotated[str, typer.Option(help="Learners: hil-f,hil-n,apple,…")] = "hil-f",
    seeds: Annotated[str, typer.Option(help="Shuffles: 0:100 or 3,5")] = "0:20",
    jobs: Annotated[int, typer.Option(help="Threads on this machine; -1: all cores.")] = -1,
    scheduler: Annotated[str | None, typer.Option(help="tcp://host:port of a Dask scheduler to use instead.")] = None,
    *,
    columns: Columns,
) -> None:
    """A grid of runs, on all cores or on a cluster, into one table: a row for each combination."""
    from hi_book.commands.journal import sweep_to

    read = [place for name in trace for place in (Path(name), traces.trace_files().get(name)) if place]
    checked_output("--out", out, inputs=read)
    own = [trace_or_log(name, columns) for name in trace]
    rates = [_number_or_name(part) for part in learning_rate.split(",")]
    grid = (
        [each.trace for each in own],
        _numbers(beta, "--beta"),
        _numbers(batch_size, "--batch-size", int),
        rates,
        _numbers(seeds, "--seeds", int),
    )
    learners = learner.split(",")
    if scheduler is not None:
        needs("--scheduler", "cluster", "distributed")
    with progress_bar("runs", math.prod(map(len, grid)) * len(learners)) as advance:
        table = sweep_to(
            out,
            *grid,
            learners=learners,
            real_lml=any(each.trace.lml_correct is not None for each in own),
            jobs=jobs,
            scheduler=scheduler,
            advance=advance,
        )
    tell(note for each in own for note in each.notes)
    refused = int((table["error"] != "").sum())
    say(f"{out}: {len(table)} runs" + (f", {refused} refused, see column error" if refused else ""))


def _number_or_name(text: str) -> str | float:
    try:
        return float(text)
    except ValueError:
        return text


def _numbers(text: str, where: str, kind: type = float) -> list[Any]:
    """Read `1,2,8` or `0:100` (a range without its end) or both, as the command line gives them."""
    parts: list[Sequence[Any]] = []
    for part in text.split(","):
        try:
            start, colon, stop = part.partition(":")
            parts.append(range(int(start), max(int(start), int(stop))) if colon else [kind(part)])
        except ValueError:
            example = "0.3,0.5" if kind is float else "1,2,8 or 0:100"
            got = f"{checks.shown(part)} in {checks.shown(text)}"
            raise ValueError(f"{where} must be a list such as {example}, got {got}") from None
    from hi_lib.studies.sweeps import MOST_RUNS

    if any(part and not 0 <= part[-1] - part[0] < MOST_RUNS for part in parts) or len(parts) > MOST_RUNS:
        raise ValueError(f"{where} must name {MOST_RUNS:,} values at most, got {checks.shown(text)}")
    found = list(itertools.islice(itertools.chain.from_iterable(parts), MOST_RUNS + 1))
    if not found or len(set(found)) < len(found):
        raise ValueError(f"{where} must name at least one value, and none twice, got {checks.shown(text)}")
    return found
