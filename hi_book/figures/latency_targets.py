"""Answers in time: its figures, and the numbers its claims rest on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from hi_book.figures.style import logarithmic, name_beside, plain_ticks, shared_legend
from hi_book.figures.symbols import in_mathtext
from hi_lib import checks
from hi_lib.events.simulation import simulate
from hi_lib.optima import DeadlineError, OptimalBatch
from hi_lib.timing import EXACT_MODELS
from hi_lib.typing import Floats

if TYPE_CHECKING:
    from hi_lib.response import ModelLaw
    from hi_lib.timing import TimingModel

Answer = tuple[float, float, "OptimalBatch | DeadlineError"]  # of a miss probability and a deadline (ms)
SIZES = range(1, 41)  # M of the front and of the exhaustive search


def response_laws(laws: Mapping[int, ModelLaw], found: Mapping[int, Any], tails: Sequence[float]) -> Figure:
    """Distribution of the response time of several batch sizes: exact as lines, simulated as marks, levels dotted."""
    figure, axis = plt.subplots(figsize=(6.4, 3.4))
    times = np.geomspace(20, max(law.quantile(0.999) for law in laws.values()), 600)
    colours = mpl.colormaps["viridis"](np.linspace(0, 0.85, len(laws)))
    for (size, law), colour in zip(laws.items(), colours, strict=True):
        axis.plot(times, law.exceedance(times), color=colour, lw=1.3, label=f"M = {size}")
        marks = np.array([law.quantile(level) for level in (0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995)])
        simulated = [(found[size] > mark * (1 + 1e-9)).mean() for mark in marks]
        axis.plot(marks, simulated, "o", ms=4, mfc="white", mec=colour)
    for tail in tails:
        axis.plot(times[[0, -1]], [tail, tail], color="#777777", lw=0.8, ls=":")
        name_beside(axis, f"{tail:.0%} late", (times[-1], tail), "#555555")
    axis.set(yscale="log", xlabel="deadline (ms)", ylabel="P(response > deadline)", ylim=(1e-3, 0.7))
    plain_ticks(axis.yaxis, [0.001, 0.01, 0.1, 0.5])
    logarithmic(axis, [20, 30, 50, 100, 200])
    shared_legend(figure, len(laws))
    return figure


def deadline_optimum(table: pd.DataFrame, limits: Mapping[float, float]) -> Figure:
    """Best M and the system time it needs against the deadline, a line a miss probability.

    `table` has deadline, miss_probability, batch_size, system_time; `limits` maps miss probabilities to the nearest
    feasible deadlines.
    """
    figure, axes = plt.subplots(1, 2, figsize=(7.4, 3.2))
    colours = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
    for (miss, rows), colour in zip(table.groupby("miss_probability"), colours, strict=False):
        for axis, column in zip(axes, ("batch_size", "system_time"), strict=True):
            axis.step(rows["deadline"], rows[column], where="post", color=colour, label=f"at most {miss:.0%} late")
            axis.axvline(limits[miss], color=colour, lw=0.8, ls=":")
    for axis, label in zip(axes, ("largest batch in time", in_mathtext("system time t_s (ms)")), strict=True):
        axis.set(xlabel="deadline (ms)", ylabel=label, ylim=(0, None))
    shared_legend(figure, 3)
    return figure


def pareto(table: pd.DataFrame, columns: Mapping[str, str], labelled: Sequence[int]) -> Figure:
    """System time against statistics of the response time, a line a statistic, a mark a batch size.

    `table` has batch_size, system_time and each of `columns` (mapped to its label), with `column_front` where M is on
    the front.
    """
    figure, axis = plt.subplots(figsize=(6.4, 3.6))
    # A batch size has the same height on all lines; numbers on the one in the middle would hide marks of the last.
    below: dict[str, Any] = {"xytext": (-4, -4), "va": "top", "ha": "right"}
    places = (below, None, {"xytext": (3, 4), "va": "bottom"})
    for (column, label), colour, place in zip(columns.items(), ("#333333", "#D55E00", "#0072B2"), places, strict=True):
        front = table[table[f"{column}_front"]]
        axis.plot(front[column], front["system_time"], "o-", lw=1, ms=3.5, color=colour, label=label)
        for _, row in table[table["batch_size"].isin(labelled if place else [])].iterrows():
            name_beside(axis, f"{row['batch_size']:.0f}", (row[column], row["system_time"]), colour, **(place or {}))
    axis.set(xlabel="response time (ms)", ylabel=in_mathtext("system time t_s (ms)"))
    logarithmic(axis, [15, 20, 30, 50, 100, 200, 300])
    shared_legend(figure, 3)
    return figure


def pareto_front(cost: ArrayLike, other: ArrayLike) -> NDArray[np.bool_]:
    """Which points, both of shape (k,), no other point beats: none is as good in both and better in one."""
    a, b = checks.reals("cost", cost, -np.inf, np.inf), checks.reals("other", other, -np.inf, np.inf)
    if a.ndim != 1 or a.shape != b.shape:
        raise ValueError(f"cost and other must have one and the same shape (k,), got {a.shape} and {b.shape}")
    no_worse = (a[:, None] <= a) & (b[:, None] <= b)
    better = no_worse & ((a[:, None] < a) | (b[:, None] < b))
    return np.logical_not(better.any(axis=0))


@dataclass(frozen=True)
class Case:
    """Whose answers are asked for: times and ρ; and how many samples to simulate, from which seed."""

    timing: TimingModel
    offload_ratio: float
    samples: int
    seed: int

    def law(self, batch_size: int, network_times: Floats | None = None) -> ModelLaw:
        """Exact law of the response time, offloads anywhere."""
        return self.timing.response_law(batch_size, self.offload_ratio, network_times=network_times)

    def best(self, deadline: float, miss: float = 0.05, network_times: Floats | None = None) -> OptimalBatch:
        """The largest batch that keeps a deadline (ms) for all but a share of the answers, and its t_s (ms)."""
        return self.timing.optimal_batch_size(
            self.offload_ratio, deadline=deadline, miss_probability=miss, network_times=network_times
        )

    def one_of_each_batch(self, batch_size: int, network_times: Floats | None = None) -> Floats:
        """Simulated response times (ms) of one sample at random of every batch: independent of each other."""
        rng, n = np.random.default_rng([self.seed, batch_size]), self.samples // batch_size * batch_size
        network = None if network_times is None else rng.choice(network_times, n)
        log = simulate(self.timing, rng.random(n) < self.offload_ratio, batch_size, network_times=network)
        rows = log.response_time.reshape(-1, batch_size)
        # The clock adds up rounding errors.
        return rows[np.arange(len(rows)), rng.integers(batch_size, size=len(rows))].round(6)


def answers(case: Case, misses: Sequence[float], deadlines: ArrayLike) -> list[Answer]:
    """The best batch for each miss probability and deadline (ms), or why there is none."""
    found: list[Answer] = []
    for miss in misses:
        for deadline in np.asarray(deadlines).tolist():
            try:
                found.append((miss, deadline, case.best(deadline, miss)))
            except DeadlineError as error:
                found.append((miss, deadline, error))
    return found


def best_batches(found: Sequence[Answer]) -> pd.DataFrame:
    """Largest M in time and its system time (ms), a row for each deadline (ms) that can be kept."""
    rows = [
        (miss, deadline, answer.integer, answer.objective)
        for miss, deadline, answer in found
        if isinstance(answer, OptimalBatch)
    ]
    return pd.DataFrame(rows, columns=["miss_probability", "deadline", "batch_size", "system_time"])


def some_deadlines(best: pd.DataFrame) -> pd.DataFrame:
    """Largest M and system time (ms) for a few deadlines, at most one answer in twenty late; – where there is none."""
    kept = best[best["miss_probability"] == 0.05].set_index("deadline")
    rows, shown = [], ("batch_size", "system_time")
    for deadline in (40, 60, 80, 120, 200):
        known = deadline in kept.index
        rows.append((f"{deadline} ms", *(kept.at[deadline, name] if known else "–" for name in shown)))
    return pd.DataFrame(rows, columns=["deadline", "largest M", "t_s (ms)"])


def front(case: Case, statistics: Sequence[str]) -> pd.DataFrame:
    """System time against mean and quantiles of the response time (ms), and which M no other one beats."""
    laws = [case.law(size) for size in SIZES]
    table = pd.DataFrame(
        {
            "batch_size": SIZES,
            "system_time": case.timing.system_time(SIZES, case.offload_ratio, "exact"),
            "mean": [law.mean() for law in laws],
            "p95": [law.quantile(0.95) for law in laws],
            "p99": [law.quantile(0.99) for law in laws],
        }
    )
    return table.assign(**{f"{name}_front": pareto_front(table["system_time"], table[name]) for name in statistics})


def varying_network(case: Case, network_times: Floats) -> pd.DataFrame:
    """Late answers (per cent) by the law and simulated, with the network's mean time and with these times (ms)."""
    rows = []
    for deadline in (60, 80, 120):
        for name, network in {"constant": None, "varies": network_times}.items():
            size = int(case.best(deadline, network_times=network).integer)
            promised = float(case.law(size, network).exceedance(deadline))
            late = case.one_of_each_batch(size, network) > deadline + 1e-6
            off = (late.mean() - promised) / np.sqrt(promised * (1 - promised) / late.size)
            rows.append((f"{deadline} ms", name, size, 100 * promised, 100 * late.mean(), off))
    columns = ["deadline", "network", "largest M", "late, computed (%)", "simulated (%)", "off by s.e."]
    return pd.DataFrame(rows, columns=columns)


def numbers(
    case: Case, simulated: Mapping[int, Floats], asked: Sequence[Answer], kept: pd.DataFrame, network_times: Floats
) -> dict[str, Any]:
    """What the claims and the text rest on.

    `simulated` holds `one_of_each_batch` by M, `asked` the `answers`, `kept` the table of `varying_network`.
    """
    nearest = case.law(1).quantile(0.95)
    return {
        "law_distance_max": max(law_distance(sample, case.law(size)) for size, sample in simulated.items()),
        "order_violation": _order_violation(case),
        **_searches(case.timing),
        "refused_rightly": _refused_rightly(case, asked),
        "late_deviation": kept["off by s.e."].abs().max(),
        "vanilla_time": float(case.timing.system_time(1, case.offload_ratio, "exact")),
        "nearest": nearest,
        "nearest_varies": case.law(1, network_times).quantile(0.95),
        **_examples(case, nearest),
    }


def law_distance(times: Floats, law: ModelLaw) -> float:
    """√n times the largest distance between the distribution of n independent response times (ms) and the law."""
    sample = np.sort(times)
    values = np.unique(sample)
    below = np.searchsorted(sample, values, side="right") / sample.size
    just_before = np.concatenate([[0.0], below[:-1]])
    gaps = [below - law.cdf(values + 1e-6), just_before - law.cdf(values - 1e-6)]
    return float(np.sqrt(sample.size) * np.abs(gaps).max())


def _order_violation(case: Case) -> float:
    """By how much the chance to be in time grows with M, at most, where it should not."""
    times = np.linspace(0, 400, 201)
    return float(np.diff([case.law(size).cdf(times) for size in SIZES], axis=0).max())


def _searches(timing: TimingModel) -> dict[str, int]:
    """How often the search and an exhaustive one disagree, of how many searches."""
    cases = [
        (ratio, deadline, miss, only, model)
        for ratio in (0.05, 0.2, 0.421, 0.8, 1)
        for deadline in (25, 60, 150)
        for miss in (0.02, 0.1)
        for only in (False, True)
        for model in EXACT_MODELS
    ]
    return {"search_errors": sum(_misses(timing, case) for case in cases), "searches": len(cases)}


def _misses(timing: TimingModel, case: tuple[float, float, float, bool, str]) -> bool:
    ratio, deadline, miss, only, model = case
    late = [float(timing.response_law(size, ratio, model, only).exceedance(deadline)) for size in SIZES]
    kept = [size for size, share in zip(SIZES, late, strict=True) if share <= miss]
    try:
        best = timing.largest_batch_size(ratio, deadline, miss, model, only)
    except DeadlineError:
        best = 0
    return min(best, SIZES[-1]) != max(kept, default=0)


def _refused_rightly(case: Case, asked: Sequence[Answer]) -> bool:
    """Whether those deadlines are refused that batches of one miss, and the nearest one is named."""
    limits = {miss: case.law(1).quantile(1 - miss) for miss, _, _ in asked}
    return all(
        answer.nearest_deadline == limits[miss] if isinstance(answer, DeadlineError) else deadline >= limits[miss]
        for miss, deadline, answer in asked
    )


def _examples(case: Case, nearest: float) -> dict[str, float]:
    """Batches at twice the nearest deadline (ms), late answers (per cent) of the paper's M*, and the tail at M = 8."""
    twice = case.best(2 * nearest)
    paper = int(case.timing.optimal_batch_size(case.offload_ratio, 0.5).integer)
    return {
        "size_twice": twice.integer,
        "time_twice": twice.objective,
        "paper_size": paper,
        "paper_deadline": 1.5 * nearest,
        "paper_late": 100 * float(case.law(paper).exceedance(1.5 * nearest)),
        "mean_eight": case.law(8).mean(),
        "tail_eight": case.law(8).quantile(0.99),
    }
