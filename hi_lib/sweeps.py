"""Grids of runs: the same learner over many traces, costs, batch sizes, learning rates and shuffles."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from hi_lib import regret
from hi_lib.learners import Run, replay
from hi_lib.traces import Trace, load_trace

if TYPE_CHECKING:
    import pandas as pd


def sweep(
    traces: Sequence[str],
    betas: Iterable[float],
    batch_sizes: Iterable[int],
    learning_rates: Iterable[str | float],
    seeds: Iterable[int],
    learners: Iterable[str] = ("hil-f",),
) -> pd.DataFrame:
    """Replay learners over shuffled traces: one row for each combination.

    Parameters
    ----------
    traces : sequence of str
        Names for `load_trace`.
    betas, batch_sizes, learning_rates, seeds : iterables
        Arguments of `replay` and `Trace.shuffled`; a seed decides both. The learning rate "vanilla" is HIL-F's, tuned
        for M = 1.
    learners : iterable of str

    Returns
    -------
    DataFrame with columns trace, seed, beta, batch_size, learning_rate, learner, average_cost, offload_ratio, accuracy,
    transmissions (a sample), regret, regret_bound. Rows come in the order of the arguments.
    """
    import joblib
    import pandas as pd

    grid = list(itertools.product(traces, seeds, betas, batch_sizes, learning_rates, learners))
    groups = [list(rows) for _, rows in itertools.groupby(grid, key=lambda row: row[:2])]
    tasks = (joblib.delayed(_replay_all)(*rows[0][:2], [row[2:] for row in rows]) for rows in groups)
    # Threads do: the engine releases the GIL, and no worker process can outlive an interrupted build.
    found = joblib.Parallel(n_jobs=-1, prefer="threads")(tasks)
    columns = ["trace", "seed", "beta", "batch_size", "learning_rate", "learner"]
    measured = ["average_cost", "offload_ratio", "accuracy", "transmissions", "regret", "regret_bound"]
    rows = [(*point, *row) for point, row in zip(grid, itertools.chain.from_iterable(found), strict=True)]
    return pd.DataFrame(rows, columns=columns + measured)


def summarise(runs: pd.DataFrame, by: list[str], columns: list[str]) -> pd.DataFrame:
    """Mean and standard deviation over seeds of some columns: `cost` becomes `cost_mean` and `cost_std`."""
    table = runs.groupby(by, sort=False)[columns].agg(["mean", "std"])
    table.columns = ["_".join(pair) for pair in table.columns]
    return table.reset_index()


def _replay_all(
    name: str, seed: int, points: list[tuple[float, int, str | float, str]]
) -> list[tuple[float | None, ...]]:
    trace = load_trace(name).shuffled(seed)
    return [_measure(_replay(trace, seed, *point)) for point in points]


def _replay(trace: Trace, seed: int, beta: float, batch_size: int, learning_rate: str | float, learner: str) -> Run:
    if learning_rate == "vanilla":
        learning_rate = regret.tuned_learning_rate(len(trace), 1, regret.lambda_min(trace))
    return replay(trace, beta, batch_size, learner, learning_rate, seed=seed)


def _measure(run: Run) -> tuple[float | None, ...]:
    sent = run.transmissions / run.cost.size
    return run.average_cost, run.offload_ratio, run.accuracy, sent, run.regret, run.regret_bound
