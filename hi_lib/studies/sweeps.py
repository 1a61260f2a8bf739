"""Grids of runs: learners over many traces, costs, batch sizes, learning rates and shuffles, on cores or a cluster."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import itertools
import math
import platform
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from hi_lib import checks
from hi_lib.files import sha256
from hi_lib.learners import Run, named, replay
from hi_lib.specification import TUNED
from hi_lib.studies import lml
from hi_lib.timing import TimingModel
from hi_lib.traces import Trace, load_trace
from hi_lib.units import UNITS

if TYPE_CHECKING:
    import pandas as pd

MEASURED = ["average_cost", "offload_ratio", "accuracy", "transmissions", "regret", "regret_bound"]
TIMES = ["system_time", "response_time"]
# With the L-ML as it is; low and high are one where it is known on every sample.
REAL = ["real_cost_low", "real_cost_high", "real_accuracy_low", "real_accuracy_high"]
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


class Task(NamedTuple):
    """Runs that are made together, on one shuffle of a trace."""

    trace: Trace
    seed: int
    points: tuple[Point, ...]


class Wanted(NamedTuple):
    """What all runs share: what is measured of them beside MEASURED, and when they send."""

    timing: TimingModel | None
    real_lml: bool
    unit: str
    max_samples: int | None
    price: float

    @property
    def columns(self) -> list[str]:
        """The columns that it brings."""
        return [*(TIMES if self.timing else ()), *(REAL if self.real_lml else ())]


class Notes(Protocol):
    """Where a sweep writes down what it has finished: keys, each with the rows of one task."""

    def read(self) -> dict[str, list[Any]]:
        """All rows noted so far."""

    def note(self, key: str, rows: list[Any]) -> None:
        """Keep these."""


def sweep(
    traces: Sequence[str | Trace],
    betas: Iterable[float],
    batch_sizes: Iterable[int],
    learning_rates: Iterable[str | float],
    seeds: Iterable[int],
    *,
    learners: Iterable[str] = ("hil-f",),
    timing: TimingModel | None = None,
    real_lml: bool = False,
    keep_errors: bool = False,
    jobs: int = -1,
    scheduler: str | None = None,
    journal: Notes | None = None,
    unit: str = "samples",
    max_samples: int | None = None,
    price: float = 0.0,
    advance: Callable[[int], None] = lambda _: None,
) -> pd.DataFrame:
    """Replay learners over shuffled traces: one row for each combination, in the order of the arguments.

    The table does not depend on where and in which order the runs were made.

    Parameters
    ----------
    traces : sequence of str or Trace
        Names for `load_trace`, or traces.
    betas, batch_sizes, learning_rates, seeds : iterables
        Arguments of `replay` and `Trace.shuffled`; a seed decides both. Rules, which have no rate, take any.
    learners : iterable of str
    timing : TimingModel, optional
        A device whose exact times are measured, too, in columns system_time and response_time (`TimingModel.of_run`).
    real_lml : bool
        Whether cost and accuracy are counted with the L-ML as it is, too, in columns real_cost_low, real_cost_high,
        real_accuracy_low, real_accuracy_high; low and high differ where a trace knows its L-ML on some samples only.
    keep_errors : bool
        Whether a combination that `replay` refuses becomes a row with the reason in a further column `error`, and no
        numbers, instead of an exception.
    jobs : int
        How many threads of this machine to use; -1 for all cores.
    scheduler : str, optional
        Address of a Dask scheduler, e.g. "tcp://host:8786": its workers do the runs (needs the extra `cluster`).
    journal : Notes, optional
        Told of finished tasks as they come; a sweep that finds its own notes there goes on from them.
    unit, max_samples, price
        As for `replay`, for all runs; the seed decides their draws.
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
        Task(trace, checks.whole("seed", seed, low=0), chunk)
        for trace, seed in itertools.product(known, seeds)
        for chunk in (tuple(points[start : start + _AT_ONCE]) for start in range(0, len(points), _AT_ONCE))
    ]
    if not tasks:
        raise ValueError("a sweep needs at least one trace, beta, batch size, learning rate, learner and seed")
    digests = {trace.name: _digest(trace) for trace in known}
    wanted = Wanted(timing, real_lml, checks.choice("unit", unit, UNITS), max_samples, price)
    keys = [_key(digests[trace.name], seed, chunk, wanted) for trace, seed, chunk in tasks]
    noted = journal.read() if journal else {}
    done = {
        key: noted[key] for key, (_, _, chunk) in zip(keys, tasks, strict=True) if len(noted.get(key, ())) == len(chunk)
    }
    missing = {key: task for key, task in zip(keys, tasks, strict=True) if key not in done}
    advance(sum(len(task[2]) for key, task in zip(keys, tasks, strict=True) if key in done))
    with _finished(missing, wanted, jobs, scheduler) as coming:
        for key, found in coming:
            done[key] = found
            if journal:
                journal.note(key, found)
            advance(len(found))
    rows = [
        (trace.name, seed, *point, *measured)
        for key, (trace, seed, chunk) in zip(keys, tasks, strict=True)
        for point, measured in zip(chunk, done[key], strict=True)
    ]
    table = pd.DataFrame(rows, columns=[*COLUMNS, *wanted.columns, "error"])
    refused = table[table["error"] != ""]
    if keep_errors:
        return table
    if len(refused):
        raise ValueError(refused["error"].iloc[0])
    return table.drop(columns="error")


def summarise(runs: pd.DataFrame, by: list[str], columns: list[str]) -> pd.DataFrame:
    """Mean and standard deviation over seeds of some columns: `cost` becomes `cost_mean` and `cost_std`."""
    table = runs.groupby(by, sort=False)[columns].agg(["mean", "std"])
    table.columns = ["_".join(pair) for pair in table.columns]
    return table.reset_index()


def _listed(values: Iterable[Any]) -> Sequence[Any]:
    """The values as a sequence; no more than a sweep can use are ever held."""
    return values if isinstance(values, Sequence) else list(itertools.islice(values, MOST_RUNS + 1))


@contextlib.contextmanager
def _finished(
    tasks: dict[str, Task], wanted: Wanted, jobs: int, scheduler: str | None
) -> Iterator[Iterator[tuple[str, list[Any]]]]:
    """Keys of tasks and what came out, as they come in."""
    import joblib

    calls = (joblib.delayed(_replay_all)(_code(), wanted, key, task) for key, task in tasks.items())
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
        raise ValueError("a scheduler needs the extra `cluster`") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"scheduler {scheduler} does not answer: {' '.join(str(error).split())}") from None
    try:
        client.wait_for_workers(1, timeout=_PATIENCE)
    except TimeoutError:
        client.close()
        raise ValueError(f"scheduler {scheduler} has no workers: start some, or leave scheduler=… out") from None
    with client, joblib.parallel_config(backend="dask"):
        yield joblib.Parallel(return_as="generator_unordered")(calls)


def _replay_all(code: str, wanted: Wanted, key: str, task: Task) -> tuple[str, list[list[Any]]]:
    if _code() != code:
        raise ValueError(f"the worker on {platform.node()} has other code, or other versions of numpy, numba or Python")
    trace, seed, points = task
    shuffled = trace.shuffled(seed)
    return key, [_measure(shuffled, seed, point, wanted) for point in points]


def _measure(trace: Trace, seed: int, point: Point, wanted: Wanted) -> list[Any]:
    """The columns MEASURED, those that are wanted beside them, and the reason why there are none."""
    beta, batch_size, learning_rate, learner = point
    try:
        learning_rate = learning_rate if named(learner).rate_names else TUNED
        sending: dict[str, Any] = {"unit": wanted.unit, "max_samples": wanted.max_samples, "price": wanted.price}
        run = replay(trace, beta, batch_size, learner, learning_rate, seed=seed, **sending)
    except ValueError as error:
        return [math.nan] * len([*MEASURED, *wanted.columns]) + [" ".join(str(error).split())]
    sent, bound = run.transmissions / run.cost.size, math.nan if run.regret_bound is None else run.regret_bound
    times = wanted.timing.of_run(run) if wanted.timing else None
    taken = [times.system_time, times.response_time] if times else []
    taken += _real(trace, run, beta) if wanted.real_lml else []
    return [run.average_cost, run.offload_ratio, run.accuracy, sent, run.regret, bound, *taken, ""]


def _real(trace: Trace, run: Run, beta: float) -> list[float]:
    """The columns REAL, nan where nothing is known of an L-ML."""
    found = [lml.outcome(trace, run, beta, right) for right in lml.answers(trace).values()]
    if not found:
        return [math.nan] * len(REAL)
    return [end(values) for values in zip(*found, strict=True) for end in (min, max)]


def _digest(trace: Trace) -> str:
    large = b"" if trace.lml_correct is None else trace.lml_correct.tobytes()
    return hashlib.sha256(trace.confidence.tobytes() + trace.correct.tobytes() + large).hexdigest()


def _key(trace: str, seed: int, points: tuple[Point, ...], wanted: Wanted) -> str:
    """What decides the outcome of a task, hashed; the trace is given by its own hash."""
    return hashlib.sha256(repr((_code(), trace, seed, points, wanted)).encode()).hexdigest()


@functools.lru_cache(maxsize=1)
def _code() -> str:
    """What computes the rows: this library as it is, Python, and the packages that do the arithmetic."""
    library = Path(__file__).resolve().parent.parent
    sources = {path.relative_to(library.parent).as_posix(): sha256(path) for path in sorted(library.rglob("*.py"))}
    versions = [importlib.metadata.version(package) for package in ("numpy", "numba")]
    return repr((sources, versions, platform.python_version()))
