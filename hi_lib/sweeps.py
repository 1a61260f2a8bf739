"""Grids of runs: learners over many traces, costs, batch sizes, learning rates and shuffles, on cores or a cluster."""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import importlib.metadata
import itertools
import json
import math
import os
import platform
from collections.abc import Callable, Iterable, Iterator, Sequence
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from hi_lib import checks, regret
from hi_lib.files import sha256, writable, write_atomically
from hi_lib.learners import replay
from hi_lib.traces import Trace, load_trace

if TYPE_CHECKING:
    import pandas as pd

MEASURED = ["average_cost", "offload_ratio", "accuracy", "transmissions", "regret", "regret_bound"]
COLUMNS = ["trace", "seed", "beta", "batch_size", "learning_rate", "learner", *MEASURED]
MOST_RUNS = 10**7  # a sweep holds its table in memory
_PATIENCE = 10  # seconds, for a scheduler and its workers
_AT_ONCE = 16  # runs a task: they share a shuffled trace, and a journal entry


class Point(NamedTuple):
    """One run: arguments of `replay`."""

    beta: float
    batch_size: int
    learning_rate: str | float
    learner: str


def sweep(
    traces: Sequence[str | Trace],
    betas: Iterable[float],
    batch_sizes: Iterable[int],
    learning_rates: Iterable[str | float],
    seeds: Iterable[int],
    learners: Iterable[str] = ("hil-f",),
    *,
    keep_errors: bool = False,
    jobs: int = -1,
    scheduler: str | None = None,
    journal: Path | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> pd.DataFrame:
    """Replay learners over shuffled traces: one row for each combination, in the order of the arguments.

    The table does not depend on where and in which order the runs were made.

    Parameters
    ----------
    traces : sequence of str or Trace
        Names for `load_trace`, or traces.
    betas, batch_sizes, learning_rates, seeds : iterables
        Arguments of `replay` and `Trace.shuffled`; a seed decides both. The learning rate "vanilla" is HIL-F's, tuned
        for M = 1.
    learners : iterable of str
    keep_errors : bool
        Whether a combination that `replay` refuses becomes a row with the reason in a further column `error`, and no
        numbers, instead of an exception.
    jobs : int
        How many threads of this machine to use; -1 for all cores.
    scheduler : str, optional
        Address of a Dask scheduler, e.g. "tcp://host:8786": its workers do the runs (needs the extra `cluster`).
    journal : Path, optional
        Where finished runs are noted as they come; a sweep that finds its own notes there goes on from them.
    advance : callable
        Told how many runs have been finished.

    Returns
    -------
    DataFrame with columns trace, seed, beta, batch_size, learning_rate, learner, average_cost, offload_ratio, accuracy,
    transmissions (a sample), regret, regret_bound.

    Raises
    ------
    ValueError
        What `replay` refuses, unless errors are kept; a scheduler that does not answer; an empty grid.

    Examples
    --------
    >>> table = sweep([Trace([0.2, 0.9], [0, 1], name="two")], [0.5], [1, 2], ["tuned"], seeds=[0])
    >>> table[["trace", "batch_size", "average_cost"]].round(3).values.tolist()
    [['two', 1, 0.33], ['two', 2, 0.325]]
    """
    import pandas as pd

    if jobs != -1:
        checks.whole("jobs", jobs)
    known = [trace if isinstance(trace, Trace) else load_trace(trace) for trace in traces]
    axes = [_listed(axis) for axis in (betas, batch_sizes, learning_rates, learners, seeds)]
    if (runs := len(known) * math.prod(map(len, axes))) > MOST_RUNS:
        raise ValueError(f"a sweep may have {MOST_RUNS:,} runs at most, got {runs:,}: split it")
    *kinds, seeds = axes
    names = [trace.name for trace in known]
    if len(set(names)) < len(names):
        raise ValueError(f"traces must have different names, got {', '.join(map(str, names))}: rename one")
    points = [Point(*point) for point in itertools.product(*kinds)]
    tasks = [
        (trace, checks.whole("seed", seed, low=0), chunk)
        for trace, seed in itertools.product(known, seeds)
        for chunk in (tuple(points[start : start + _AT_ONCE]) for start in range(0, len(points), _AT_ONCE))
    ]
    if not tasks:
        raise ValueError("a sweep needs at least one trace, beta, batch size, learning rate, learner and seed")
    digests = {trace.name: _digest(trace) for trace in known}
    keys = [_key(digests[trace.name], seed, chunk) for trace, seed, chunk in tasks]
    noted = _read_journal(journal) if journal else {}
    done = {
        key: noted[key] for key, (_, _, chunk) in zip(keys, tasks, strict=True) if len(noted.get(key, ())) == len(chunk)
    }
    missing = {key: task for key, task in zip(keys, tasks, strict=True) if key not in done}
    advance(sum(len(task[2]) for key, task in zip(keys, tasks, strict=True) if key in done))
    with contextlib.ExitStack() as stack:
        coming = stack.enter_context(_finished(missing, jobs, scheduler))
        note = stack.enter_context(_notes(journal)) if journal else None
        for key, found in coming:
            done[key] = found
            if note:
                note(key, found)
            advance(len(found))
    rows = [
        (trace.name, seed, *point, *measured)
        for key, (trace, seed, chunk) in zip(keys, tasks, strict=True)
        for point, measured in zip(chunk, done[key], strict=True)
    ]
    table = pd.DataFrame(rows, columns=[*COLUMNS, "error"])
    refused = table[table["error"] != ""]
    if keep_errors:
        return table
    if len(refused):
        raise ValueError(refused["error"].iloc[0])
    return table.drop(columns="error")


def sweep_to(
    path: Path, *arguments: Any, scheduler: str | None = None, jobs: int = -1, advance: Callable[[int], None]
) -> pd.DataFrame:
    """Run a sweep (its positional arguments) into a CSV, through a journal beside it; errors become rows."""
    target = writable(path)
    journal = target.with_name(f".{target.name[:200]}.journal")
    table = sweep(*arguments, keep_errors=True, jobs=jobs, scheduler=scheduler, journal=journal, advance=advance)
    if (table["error"] != "").all():
        journal.unlink(missing_ok=True)
        raise ValueError(f"every run was refused, the first since {table['error'].iloc[0]}")
    write_atomically(path, table.to_csv(index=False))
    journal.unlink(missing_ok=True)
    return table


def summarise(runs: pd.DataFrame, by: list[str], columns: list[str]) -> pd.DataFrame:
    """Mean and standard deviation over seeds of some columns: `cost` becomes `cost_mean` and `cost_std`."""
    table = runs.groupby(by, sort=False)[columns].agg(["mean", "std"])
    table.columns = ["_".join(pair) for pair in table.columns]
    return table.reset_index()


def _listed(values: Iterable[Any]) -> Sequence[Any]:
    """The values as a sequence; no more than a sweep can use are ever held."""
    return values if isinstance(values, Sequence) else list(itertools.islice(values, MOST_RUNS + 1))


def numbers(text: str, where: str, kind: type = float) -> list[Any]:
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
    if any(part and not 0 <= part[-1] - part[0] < MOST_RUNS for part in parts) or len(parts) > MOST_RUNS:
        raise ValueError(f"{where} must name {MOST_RUNS:,} values at most, got {checks.shown(text)}")
    found = list(itertools.islice(itertools.chain.from_iterable(parts), MOST_RUNS + 1))
    if not found or len(set(found)) < len(found):
        raise ValueError(f"{where} must name at least one value, and none twice, got {checks.shown(text)}")
    return found


@contextlib.contextmanager
def _finished(
    tasks: dict[str, tuple[Trace, int, tuple[Point, ...]]], jobs: int, scheduler: str | None
) -> Iterator[Iterator[tuple[str, list[Any]]]]:
    """Keys of tasks and what came out, as they come in."""
    import joblib

    calls = (joblib.delayed(_replay_all)(_code(), key, *task) for key, task in tasks.items())
    if scheduler is None:
        # Threads do: the engine releases the GIL, and no worker process can outlive an interrupted build.
        run = joblib.Parallel(n_jobs=jobs, prefer="threads", return_as="generator_unordered")
        with contextlib.closing(run(calls)) as found:
            yield found
        return
    try:
        from distributed import Client

        client = Client(scheduler, timeout=_PATIENCE)
    except ImportError:
        raise ValueError("a scheduler needs the extra `cluster`: run make cluster") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"scheduler {scheduler} does not answer: {' '.join(str(error).split())}") from None
    try:
        client.wait_for_workers(1, timeout=_PATIENCE)
    except TimeoutError:
        client.close()
        raise ValueError(f"scheduler {scheduler} has no workers: start some, or leave --scheduler out") from None
    with client, joblib.parallel_config(backend="dask"):
        yield joblib.Parallel(return_as="generator_unordered")(calls)


def _replay_all(code: str, key: str, trace: Trace, seed: int, points: tuple[Point, ...]) -> tuple[str, list[list[Any]]]:
    if _code() != code:
        raise ValueError(f"the worker on {platform.node()} has other code, or other versions of numpy, numba or Python")
    shuffled = trace.shuffled(seed)
    return key, [_measure(shuffled, seed, point) for point in points]


def _measure(trace: Trace, seed: int, point: Point) -> list[Any]:
    """The columns MEASURED and the reason why there are none."""
    beta, batch_size, learning_rate, learner = point
    if learning_rate == "vanilla":
        learning_rate = regret.tuned_learning_rate(len(trace), 1, regret.lambda_min(trace))
    try:
        run = replay(trace, beta, batch_size, learner, learning_rate, seed=seed)
    except ValueError as error:
        return [math.nan] * len(MEASURED) + [" ".join(str(error).split())]
    sent, bound = run.transmissions / run.cost.size, math.nan if run.regret_bound is None else run.regret_bound
    return [run.average_cost, run.offload_ratio, run.accuracy, sent, run.regret, bound, ""]


def _digest(trace: Trace) -> str:
    return hashlib.sha256(trace.confidence.tobytes() + trace.correct.tobytes()).hexdigest()


def _key(trace: str, seed: int, points: tuple[Point, ...]) -> str:
    """What decides the outcome of a task, hashed; the trace is given by its own hash."""
    return hashlib.sha256(repr((_code(), trace, seed, points)).encode()).hexdigest()


@functools.lru_cache(maxsize=1)
def _code() -> str:
    """What computes the rows: this library as it is, Python, and the packages that do the arithmetic."""
    sources = {path.name: sha256(path) for path in sorted(Path(__file__).parent.glob("*.py"))}
    versions = [importlib.metadata.version(package) for package in ("numpy", "numba")]
    return repr((sources, versions, platform.python_version()))


def _read_journal(journal: Path) -> dict[str, list[Any]]:
    """What earlier runs noted; a line that was cut short or damaged does not count."""
    found: dict[str, list[Any]] = {}
    if not os.path.lexists(journal):
        return found
    with _opened(journal, "rb") as file:
        lines = file.read().decode(errors="replace").splitlines()
    for line in lines:
        with contextlib.suppress(ValueError, TypeError, RecursionError):
            key, rows = json.loads(line)
            if isinstance(key, str) and all(_is_row(row) for row in rows):
                found[key] = rows
    return found


def _is_row(row: Any) -> bool:
    if not isinstance(row, list) or len(row) != len(MEASURED) + 1:
        return False
    return all(type(value) in (int, float) for value in row[:-1]) and isinstance(row[-1], str)


@contextlib.contextmanager
def _notes(journal: Path) -> Iterator[Callable[[str, list[Any]], None]]:
    """Append to the journal, each task by one write: what is in it already is never touched."""
    with _opened(journal, "ab") as file:
        file.write(b"\n")  # a line that was cut short ends here

        def note(key: str, rows: list[Any]) -> None:
            try:
                file.write(json.dumps([key, rows]).encode() + b"\n")
            except OSError as error:
                raise ValueError(f"{journal} cannot be written: {error.strerror}") from None

        yield note


def _opened(journal: Path, mode: str) -> FileIO:
    """A journal without a buffer; a link in its place, which somebody else may have put there, is refused."""
    try:
        return FileIO(journal, mode, opener=lambda path, flags: os.open(path, flags | os.O_NOFOLLOW, 0o644))
    except OSError as error:
        hint = ": it is a link; remove it" if error.errno == errno.ELOOP else f": {error.strerror}"
        raise ValueError(f"the sweep's journal {journal} cannot be used{hint}") from None
