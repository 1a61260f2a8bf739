"""Answers in time: its figures, and the numbers its claims rest on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from hi_book.figures import style
from hi_book.figures.style import DECADES, logarithmic, name_beside, plain_ticks, shared_legend
from hi_book.figures.symbols import in_mathtext
from hi_book.figures.values import most
from hi_lib import checks
from hi_lib.events.simulation import simulate
from hi_lib.optima import DeadlineError, OptimalBatch
from hi_lib.timing import EXACT_MODELS
from hi_lib.typing import Floats

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

    from hi_lib.response import ModelLaw
    from hi_lib.timing import TimingModel

Best = OptimalBatch | DeadlineError
Answer = tuple[float, float, Best]  # of a miss probability and a deadline (ms)
STATISTICS = {"mean": "mean", "p95": "95 % are faster", "p99": "99 % are faster"}


def response_laws(laws: Mapping[int, ModelLaw], found: Mapping[int, Any], tails: Sequence[float]) -> Figure:
    """Distribution of the response time of several batch sizes: exact as lines, simulated as marks, levels dotted."""
    figure, axis = plt.subplots(figsize=(6.4, 3.4))
    times = np.geomspace(20, max(40, *(law.quantile(0.999) for law in laws.values())), 600)
    top = max(0.7, 1.2 * max(float(law.exceedance(times[0])) for law in laws.values()))
    colours = mpl.colormaps["viridis"](np.linspace(0, 0.85, len(laws)))
    for (size, law), colour in zip(laws.items(), colours, strict=True):
        axis.plot(times, law.exceedance(times), color=colour, lw=1.3, label=f"M = {size}")
        marks = np.array([law.quantile(level) for level in (0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995)])
        simulated = [(found[size] > mark * (1 + 1e-9)).mean() for mark in marks]
        axis.plot(marks, simulated, "o", ms=4, mfc="white", mec=colour)
    shown = [tail for tail in tails if tail > 0]
    for tail in shown:
        axis.plot(times[[0, -1]], [tail, tail], color="#777777", lw=0.8, ls=":")
        name_beside(axis, f"{100 * tail:g}% late", (times[-1], tail), "#555555")
    axis.set(yscale="log", xlabel="deadline (ms)", ylabel="P(response > deadline)")
    axis.set_ylim(min(1e-3, *(tail / 2 for tail in shown)) if shown else 1e-3, top)
    plain_ticks(axis.yaxis, [1e-6, 1e-5, 1e-4, 0.001, 0.01, 0.1, 0.5])
    logarithmic(axis, [30, *DECADES])
    shared_legend(figure, len(laws))
    return figure


def deadline_optimum(table: pd.DataFrame, limits: Mapping[float, float]) -> Figure:
    """Best M and the system time it needs against the deadline, a line a miss probability.

    `table` has deadline, miss_probability, batch_size, system_time; `limits` maps miss probabilities to the nearest
    feasible deadlines.
    """
    figure, axes = plt.subplots(1, 2, figsize=(7.4, 3.2))
    colours = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
    if len(limits) > len(colours):
        colours = tuple(mpl.colormaps["viridis"](np.linspace(0, 0.85, len(limits))))
    for (miss, limit), colour in zip(limits.items(), colours, strict=False):
        rows = table[table["miss_probability"] == miss]
        for axis, column in zip(axes, ("batch_size", "system_time"), strict=True):
            label = f"at most {100 * miss:g}% late"
            axis.step(rows["deadline"], rows[column], where="post", color=colour, label=label)
            axis.axvline(limit, color=colour, lw=0.8, ls=":")
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
    logarithmic(axis, [15, 30, *DECADES])
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
    """Whose answers are asked for: times and ρ; how many samples to simulate, from which seed; what share may be late.

    The offload ratio must be above 0: without offloads there is nothing to show.
    """

    timing: TimingModel
    offload_ratio: float
    samples: int
    seed: int
    miss: float = 0.05

    def __post_init__(self) -> None:
        checks.share("offload_ratio", self.offload_ratio)
        checks.real("text_miss", self.miss, 0, 1, open_ends=")")

    def law(self, batch_size: int, network_times: Floats | None = None) -> ModelLaw:
        """Exact law of the response time, offloads anywhere."""
        return self.timing.response_law(batch_size, self.offload_ratio, network_times=network_times)

    def best(self, deadline: float, miss: float | None = None, network_times: Floats | None = None) -> Best:
        """The largest batch that keeps a deadline (ms) for all but a share of the answers, and its t_s (ms).

        Or the reason why there is none; `miss` is the case's own share, unless given.
        """
        share = self.miss if miss is None else miss
        try:
            return self.timing.optimal_batch_size(
                self.offload_ratio, deadline=deadline, miss_probability=share, network_times=network_times
            )
        except DeadlineError as error:
            return error

    def nearest(self, network_times: Floats | None = None) -> float:
        """The nearest deadline (ms) that can be kept for all but the case's share of the answers."""
        return self.law(1, network_times).quantile(1 - self.miss)

    def one_of_each_batch(self, batch_size: int, network_times: Floats | None = None) -> Floats:
        """Simulated response times (ms) of one sample at random of every batch: independent of each other."""
        rng = np.random.default_rng([self.seed, batch_size])
        n = max(self.samples // batch_size, 1) * batch_size
        network = None if network_times is None else rng.choice(network_times, n)
        log = simulate(self.timing, rng.random(n) < self.offload_ratio, batch_size, network_times=network)
        rows = log.response_time.reshape(-1, batch_size)
        # The clock adds up rounding errors.
        return rows[np.arange(len(rows)), rng.integers(batch_size, size=len(rows))].round(6)


def deadlines(one_end: int, other_end: int, step: int) -> list[int]:
    """Deadlines (ms) from one end up to the other, in rising order."""
    first, last = sorted((one_end, other_end))
    return list(range(first, last, step)) or [first]


def answers(case: Case, misses: Sequence[float], deadlines: Sequence[float]) -> list[Answer]:
    """The best batch for each miss probability and deadline (ms), or why there is none."""
    return [(miss, deadline, case.best(deadline, miss)) for miss in misses for deadline in deadlines]


def nearest_deadlines(case: Case, asked: Sequence[Answer]) -> dict[float, float]:
    """The nearest deadline (ms) that can be kept, by the miss probability."""
    return {miss: case.law(1).quantile(1 - miss) for miss in dict.fromkeys(miss for miss, _, _ in asked)}


def best_batches(found: Sequence[Answer]) -> pd.DataFrame:
    """Largest M in time and its system time (ms), a row for each deadline (ms) that can be kept."""
    rows = [
        (miss, deadline, answer.integer, answer.objective)
        for miss, deadline, answer in found
        if isinstance(answer, OptimalBatch)
    ]
    return pd.DataFrame(rows, columns=["miss_probability", "deadline", "batch_size", "system_time"])


def chosen(case: Case, deadlines: Sequence[float]) -> pd.DataFrame:
    """Largest M and system time (ms) for a few deadlines; – where there is none."""
    rows = [(f"{deadline:g} ms", *_shown(case.best(deadline))) for deadline in deadlines]
    return pd.DataFrame(rows, columns=["deadline", "largest M", "t_s (ms)"])


def chosen_table(case: Case, deadlines: Sequence[float]) -> Styler:
    """`chosen` to show."""
    return (
        style.table("chosen", chosen(case, deadlines))
        .hide()
        .format(precision=1, na_rep="–")
        .set_caption(_allowed(case))
    )


def kept_table(case: Case, table: pd.DataFrame) -> Styler:
    """`varying_network` to show."""
    return style.table("kept", table).hide().format(precision=1, na_rep="–").set_caption(_allowed(case))


def _allowed(case: Case) -> str:
    return f"At most {100 * case.miss:g} % of the answers late"


def _shown(best: Best) -> tuple[float | str, float]:
    """A largest batch, – where there is none, "any" where each keeps the deadline; and its system time (ms)."""
    if isinstance(best, DeadlineError):
        return "–", math.nan
    return best.integer if math.isfinite(best.integer) else "any", best.objective


def front(case: Case, largest: int) -> pd.DataFrame:
    """System time against mean and quantiles of the response time (ms), and which M no other one beats."""
    sizes = range(1, largest + 1)
    laws = [case.law(size) for size in sizes]
    table = pd.DataFrame(
        {
            "batch_size": sizes,
            "system_time": case.timing.system_time(sizes, case.offload_ratio, "exact"),
            "mean": [law.mean() for law in laws],
            "p95": [law.quantile(0.95) for law in laws],
            "p99": [law.quantile(0.99) for law in laws],
        }
    )
    return table.assign(**{f"{name}_front": pareto_front(table["system_time"], table[name]) for name in STATISTICS})


def varying_network(case: Case, deadlines: Sequence[float], network_times: Floats) -> pd.DataFrame:
    """Late answers (per cent) by the law and simulated, with the network's mean time and with these times (ms).

    nan where no batch keeps the deadline, or every one does.
    """
    rows = [
        (f"{deadline:g} ms", name, *_kept(case, deadline, network))
        for deadline in deadlines
        for name, network in {"constant": None, "varies": network_times}.items()
    ]
    columns = ["deadline", "network", "largest M", "late, computed (%)", "simulated (%)", "off by s.e."]
    return pd.DataFrame(rows, columns=columns)


def _kept(case: Case, deadline: float, network: Floats | None) -> tuple[Any, ...]:
    """Largest M, the share of late answers (per cent) by the law and simulated, and how many standard errors apart."""
    size, _ = _shown(case.best(deadline, network_times=network))
    if not isinstance(size, int):
        return size, math.nan, math.nan, math.nan
    promised = float(case.law(size, network).exceedance(deadline))
    late = case.one_of_each_batch(size, network) > deadline + 1e-6
    scatter = np.sqrt(promised * (1 - promised) / late.size)
    off = (late.mean() - promised) / scatter if scatter > 0 else 0.0 if late.mean() == promised else math.nan
    return size, 100 * promised, 100 * late.mean(), off


def numbers(
    case: Case,
    simulated: Mapping[int, Floats],
    asked: Sequence[Answer],
    tables: Mapping[str, pd.DataFrame],
    network_times: Floats,
) -> dict[str, Any]:
    """What the claims and the text rest on.

    `simulated` holds `one_of_each_batch` by M, `asked` the `answers`, `tables` those of `front` and `varying_network`.
    """
    sizes = tables["front"]["batch_size"].tolist()
    return {
        "law_distance_max": most(law_distance(sample, case.law(size)) for size, sample in simulated.items()),
        "order_violation": _order_violation(case, sizes),
        **_searches(case.timing, sizes),
        "refused_rightly": _refused_rightly(case, asked),
        "late_deviation": most(tables["kept"]["off by s.e."].dropna().abs()),
        "vanilla_time": float(case.timing.system_time(1, case.offload_ratio, "exact")),
        "nearest": case.nearest(),
        "nearest_varies": case.nearest(network_times),
    }


def law_distance(times: Floats, law: ModelLaw) -> float:
    """√n times the largest distance between the distribution of n independent response times (ms) and the law."""
    sample = np.sort(times)
    values = np.unique(sample)
    below = np.searchsorted(sample, values, side="right") / sample.size
    just_before = np.concatenate([[0.0], below[:-1]])
    gaps = [below - law.cdf(values + 1e-6), just_before - law.cdf(values - 1e-6)]
    return float(np.sqrt(sample.size) * np.abs(gaps).max())


def _order_violation(case: Case, sizes: Sequence[int]) -> float:
    """By how much the chance to be in time grows with M, at most, where it should not; nan of one M."""
    times = np.linspace(0, 400, 201)
    return most(np.diff([case.law(size).cdf(times) for size in sizes], axis=0).ravel())


def _searches(timing: TimingModel, sizes: Sequence[int]) -> dict[str, int]:
    """How often the search and an exhaustive one over these M disagree, of how many searches."""
    cases = [
        (ratio, deadline, miss, only, model)
        for ratio in (0.05, 0.2, 0.421, 0.8, 1)
        for deadline in (25, 60, 150)
        for miss in (0.02, 0.1)
        for only in (False, True)
        for model in EXACT_MODELS
    ]
    return {"search_errors": sum(_misses(timing, case, sizes) for case in cases), "searches": len(cases)}


def _misses(timing: TimingModel, case: tuple[float, float, float, bool, str], sizes: Sequence[int]) -> bool:
    ratio, deadline, miss, only, model = case
    late = [float(timing.response_law(size, ratio, model, only).exceedance(deadline)) for size in sizes]
    kept = [size for size, share in zip(sizes, late, strict=True) if share <= miss]
    try:
        best = timing.largest_batch_size(ratio, deadline, miss, model, only)
    except DeadlineError:
        best = 0
    return min(best, sizes[-1]) != max(kept, default=0)


def _refused_rightly(case: Case, asked: Sequence[Answer]) -> bool:
    """Whether those deadlines are refused that batches of one miss, and the nearest one is named."""
    limits = nearest_deadlines(case, asked)
    return all(
        answer.nearest_deadline == limits[miss] if isinstance(answer, DeadlineError) else deadline >= limits[miss]
        for miss, deadline, answer in asked
    )


def examples(case: Case, tail_batch: int, variation: float) -> dict[str, Any]:
    """What the text names: the batch at twice the nearest deadline, the paper's M*, a batch's mean and tail (ms)."""
    nearest = case.nearest()
    size, time = _shown(case.best(2 * nearest))
    paper = int(case.timing.optimal_batch_size(case.offload_ratio, 0.5).integer)
    return {
        "size_twice": size,
        "time_twice": time,
        "paper_size": paper,
        "paper_deadline": 1.5 * nearest,
        "paper_late": 100 * float(case.law(paper).exceedance(1.5 * nearest)),
        "tail_batch": tail_batch,
        "tail_batch_mean": case.law(tail_batch).mean(),
        "tail_batch_late": case.law(tail_batch).quantile(0.99),
        "variation": variation,
    }
