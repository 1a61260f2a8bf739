"""The first half of counting the times, by formulas: its figures, and the numbers its claims rest on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from hi_book.figures.style import (
    DASHED,
    DECADES,
    PLAIN,
    SYMBOLS,
    alpha_colours,
    batch_size_axis,
    dataset_colour,
    name_beside,
    plain_ticks,
    shared_legend,
    trace_title,
)
from hi_book.figures.symbols import in_mathtext
from hi_book.figures.values import between, least, least_bend
from hi_lib import checks
from hi_lib.paper import setting_of
from hi_lib.studies import sweeps
from hi_lib.studies.best_batch import BestBatch, best_batch_size
from hi_lib.timing import EXACT_MODELS, MODEL_NAMES, TimingModel
from hi_lib.traces import Trace
from hi_lib.typing import Floats

Map = tuple[Floats, Floats, Floats]  # of `papers_choice`
Axes = tuple[Floats, Floats]  # offload ratios and network times (ms) of a map
LARGEST_EXCESS, LARGEST_EXTRA = 16, 1.4  # where the colours of the maps stop
MODEL_LINES: dict[str, dict[str, Any]] = {
    "paper": {"linestyle": "-"},
    "worst": {"linestyle": DASHED},
    "average": {"linestyle": (0, (1, 1))},
}


class Reading(NamedTuple):
    """What the numbers are taken at.

    The weights α over which the paper's M* is never below the exact one; and an α and a network time (ms) at which the
    exact M*, with offloads anywhere, is above the paper's.
    """

    alphas: Sequence[float]
    above_alpha: float
    above_network: float


def map_axes(least_ratio: float, one_end: float, other_end: float) -> Axes:
    """Offload ratios up to 1 and network times (ms) between these ends, both in rising order."""
    ends = checks.positive("fastest_network", one_end), checks.positive("slowest_network", other_end)
    return between((checks.share("least_ratio", least_ratio), 1), 80), between(ends, 80, np.geomspace)


def exact_against_paper(timing: TimingModel, offload_ratio: float, alphas: Sequence[float], largest: int) -> Figure:
    """System time, response time and objective against M: the paper's formulas and the exact ones."""
    figure, axes = plt.subplots(1, 3, figsize=(7.6, 3.3))
    sizes = np.arange(1, largest + 1)
    for model, line in (("paper", MODEL_LINES["paper"]), ("exact", MODEL_LINES["worst"])):
        axes[0].plot(sizes, timing.system_time(sizes, offload_ratio, model), color="#333333", **line)
    for model, line in MODEL_LINES.items():
        axes[1].plot(sizes, timing.response_time(sizes, offload_ratio, model), color="#333333", **line)
        for alpha, colour in zip(alphas, alpha_colours(alphas), strict=True):
            curve = timing.objective(sizes, offload_ratio, alpha, model)
            best = timing.optimal_batch_size(offload_ratio, alpha, model)
            axes[2].plot(sizes, curve, color=colour, **line)
            axes[2].plot(best.integer, best.objective, "o", ms=4.5, color=colour, zorder=5)
            if model == "paper":
                name_beside(axes[2], f"α = {alpha:g}", (sizes[-1], curve[-1]), colour)
    titles = ("system time t_s", "response time t_r", "objective f, dots: M*")
    for axis, title in zip(axes, titles, strict=True):
        axis.set(title=in_mathtext(title), ylabel="ms", ylim=(0, None))
        batch_size_axis(axis, [2**k for k in range(int(np.log2(largest)) + 1)])
    handles = [Line2D([], [], color="#333333", label=MODEL_NAMES[model], **line) for model, line in MODEL_LINES.items()]
    shared_legend(figure, 3, handles)
    return figure


def wrong_optimum(
    maps: Mapping[str, tuple[Any, Any]], ratios: Any, network_times: Any, here: tuple[float, float]
) -> Figure:
    """Where the paper's M* is too large, and what that costs, over offload ratio and network time.

    `maps` holds for each title (paper's M* over the exact one, extra f in ms), both (network times, ratios); `here` is
    marked.
    """
    figure, axes = plt.subplots(2, len(maps), figsize=(7.6, 5.2), sharex=True, sharey=True, squeeze=False)
    scales: tuple[tuple[str, str, Any, list[float]], ...] = (
        ("paper's M* / exact M*", "viridis", mpl.colors.LogNorm(1, LARGEST_EXCESS), [1, 2, 4, 8, 16]),
        ("extra f (ms)", "magma_r", mpl.colors.PowerNorm(0.5, 0, LARGEST_EXTRA), [0, 0.1, 0.3, 0.6, 1, 1.4]),
    )
    for row, (label, colours, norm, ticks) in enumerate(scales):
        for axis, (title, values) in zip(axes[row], maps.items(), strict=True):
            mesh = axis.pcolormesh(ratios, network_times, values[row], cmap=colours, norm=norm, rasterized=True)
            axis.plot(*here, "x", color="#D55E00", ms=7, mew=2)
            axis.set(yscale="log", title=title if row == 0 else "", xlabel="offload ratio ρ" if row else "")
            plain_ticks(axis.yaxis, DECADES)
            axis.grid(visible=False)
        axes[row, 0].set_ylabel(in_mathtext("network time τ_nw (ms)"))
        above = max(values[row].max() for values in maps.values()) > ticks[-1]
        bar = figure.colorbar(
            mesh, ax=axes[row], label=label, ticks=ticks, format=PLAIN, extend="max" if above else "neither"
        )
        bar.ax.minorticks_off()
    return figure


def papers_choice(
    timing: TimingModel, offload_ratios: ArrayLike, network_times: ArrayLike, alpha: float, model: str = "worst"
) -> tuple[Floats, Floats, Floats]:
    """How the paper's M* does in the exact f, for all pairs of offload ratio (r,) and network time (k,), ms.

    Returns the paper's M* over the exact one, the extra f, and the least f, ms, all of shape (k, r). Offload ratios lie
    in (0, 1].

    Examples
    --------
    >>> timing = TimingModel(tau_ed=1.48, tau_es=4.41, tau_tx=4.93, tau_nw=20.0)
    >>> excess, extra, least = papers_choice(timing, [0.421], [20.0], alpha=0.5)
    >>> float(excess[0, 0]), float(extra[0, 0].round(3)), float(least[0, 0].round(1))
    (3.0, 0.624, 13.8)
    """
    checks.choice("model", model, EXACT_MODELS)
    excess, extra, least = [], [], []
    for network_time in checks.reals("network_times", network_times, 0, np.finfo(float).max):
        at = replace(timing, tau_nw=float(network_time))
        paper = at.optimal_batch_size(offload_ratios, alpha).integer.astype(int)
        # With offloads anywhere t_r rises with at least half the slope, so that the exact M† is at most √2 times ours.
        sizes = np.arange(1, 2 * paper.max() + 2)
        curves = at.objective(sizes[:, None], offload_ratios, alpha, model)
        excess.append(paper / (curves.argmin(axis=0) + 1))
        least.append(curves.min(axis=0))
        extra.append(curves[paper - 1, np.arange(paper.size)] - least[-1])
    return np.array(excess), np.array(extra), np.array(least)


def errors(timing: TimingModel, offload_ratio: float, alphas: Sequence[float], error: float) -> pd.DataFrame:
    """Extra exact f (ms, offloads first) of every mistake, a column an α.

    `error` is a parameter's relative one, in (0, 1). The offload ratio must be above 0: without offloads there is
    nothing to show.
    """
    checks.share("offload_ratio", offload_ratio)
    error = checks.real("parameter_error", error, 0, 1, open_ends="()")
    formula = [_formula_cost(timing, offload_ratio, alpha) for alpha in alphas]
    rows = {("formula", "the paper's, right parameters"): formula}
    for parameter, symbol in SYMBOLS.items():
        for name, factor in {"half": 1 - error, "one and a half": 1 + error}.items():
            cost = [timing.misestimation_cost(parameter, factor, offload_ratio, alpha, "worst") for alpha in alphas]
            rows[symbol, name] = cost
    for name, step in {"one less": -1, "one more": 1}.items():
        rows["M*", name] = [_neighbour_cost(timing, offload_ratio, alpha, step) for alpha in alphas]
    table = pd.DataFrame(rows, index=[f"α = {alpha:g}" for alpha in alphas]).T
    return table.rename_axis(["what is wrong", "how"])


@dataclass(frozen=True)
class AtWork:
    """f (ms) of a learner on a trace at each M, mean over shuffles, and the M that each count of the times advises."""

    title: str
    sizes: Sequence[int]
    objective: Floats
    best: BestBatch
    advised: dict[str, int]

    def price(self, model: str) -> float:
        """What that advice costs, ms."""
        return float(np.interp(self.advised[model], self.sizes, self.objective)) - self.best.objective


def at_work(trace: Trace, beta: float, alpha: float, shuffles: int, timing: TimingModel | None = None) -> AtWork:
    """HIL-F with the rate tuned for M = 1, by the exact times of its runs, beside what its offload ratio advises.

    By default the times are the paper's for the data set of the trace. No advice is larger than the trace.
    """
    timing = timing or setting_of(trace.name).timing
    best = best_batch_size(trace, timing, beta, alpha, learning_rate="vanilla", seeds=range(shuffles))
    alone = sweeps.sweep([trace], [beta], [1], ["vanilla"], range(shuffles))
    ratio = float(alone["offload_ratio"].mean())
    advice = {model: timing.optimal_batch_size(ratio, alpha, model).integer for model in MODEL_NAMES}
    advised = {model: int(min(size, len(trace))) for model, size in advice.items()}
    spaced = np.unique(np.geomspace(1, 2 * max(best.batch_size, *advised.values()), 24).astype(int)).tolist()
    sizes = sorted({*spaced, best.batch_size, *advised.values()})
    runs = sweeps.sweep([trace], [beta], sizes, ["vanilla"], range(shuffles), timing=timing)
    times = runs.groupby("batch_size")[sweeps.TIMES].mean()
    objective = alpha * times["system_time"] + (1 - alpha) * times["response_time"]
    return AtWork(trace_title(str(trace.name)), sizes, objective.to_numpy(), best, advised)


def draw_at_work(found: Sequence[AtWork]) -> Figure:
    """The true f of a learner against M, a panel a trace, with its optimum and those of the three formulas."""
    figure, axes = plt.subplots(1, len(found), figsize=(7.6, 3.3))
    for axis, work in zip(axes, found, strict=True):
        colour = dataset_colour(work.title)
        axis.plot(work.sizes, work.objective, color=colour)
        axis.plot(work.best.batch_size, work.best.objective, "o", color=colour, ms=5)
        best = (work.best.batch_size, work.best.objective)
        white = {"facecolor": "white", "edgecolor": "none", "pad": 1}
        name_beside(axis, f"best: M = {work.best.batch_size}", best, colour, xytext=(0, -11), ha="center", bbox=white)
        low, high = axis.get_ylim()
        axis.set_ylim(low - 0.12 * (high - low), high)
        for model, line in MODEL_LINES.items():
            axis.axvline(work.advised[model], color="#777777", lw=1.1, label=MODEL_NAMES[model], **line)
        axis.set(title=work.title, ylabel="f (ms)")
        batch_size_axis(axis, [2**k for k in range(20)])
    shared_legend(figure, 3)
    return figure


def work_numbers(found: Sequence[AtWork]) -> dict[str, Any]:
    """Best M and f of each trace, and what each formula's advice costs there, as a share of f, per cent."""
    numbers: dict[str, Any] = {}
    for key, work in zip(("first", "second"), found, strict=True):
        numbers |= {f"work_{key}_name": work.title.split(", ")[-1]}
        numbers |= {f"work_{key}_best": work.best.batch_size, f"work_{key}_paper": work.advised["paper"]}
        for model in MODEL_NAMES:
            numbers[f"work_{key}_{model}_price"] = 100 * work.price(model) / work.best.objective
    return numbers


def numbers(here: tuple[TimingModel, float], axes: Axes, maps: Mapping[float, Map], reading: Reading) -> dict[str, Any]:
    """What the claims and the text rest on.

    `here` is the paper's setting, times and ρ; `maps` holds what `papers_choice` finds for each α over the axes.
    """
    (timing, offload_ratio), first = here, next(iter(maps))
    return {
        **_never_smaller(timing, axes, reading.alphas),
        "second_difference_min": _least_bend(timing, reading.alphas),
        **_worst_of_maps(maps),
        **_above_worst(timing, offload_ratio, reading),
        "first_alpha": first,
        **_choice_here(timing, offload_ratio, first),
        "overcharge": (1 - offload_ratio) * timing.tau_nw,
        "paper_vanilla": timing.system_time(1, offload_ratio, "paper"),
    }


def worthwhile(timing: TimingModel, offload_ratio: float, alpha: float) -> dict[str, float]:
    """Network time (ms) from which batches of two beat single samples, by each exact model."""
    slopes = {"worst": (1 / offload_ratio - 1 / 2) * timing.tau_ed, "average": timing.tau_ed / (2 * offload_ratio)}
    service = timing.tau_es + timing.tau_tx
    return {model: 2 * (1 - alpha) / alpha * (slope + service) for model, slope in slopes.items()}


def _formula_cost(timing: TimingModel, offload_ratio: float, alpha: float) -> float:
    """Extra exact f (ms) of the paper's M*."""
    paper, exact = (timing.optimal_batch_size(offload_ratio, alpha, model) for model in ("paper", "worst"))
    return float(timing.objective(paper.integer, offload_ratio, alpha, "worst")) - exact.objective


def _neighbour_cost(timing: TimingModel, offload_ratio: float, alpha: float, step: int) -> float:
    """Extra exact f (ms) of M* + step; nan where that is no batch."""
    best = timing.optimal_batch_size(offload_ratio, alpha, "worst")
    size = best.integer + step
    return float(timing.objective(size, offload_ratio, alpha, "worst")) - best.objective if size else np.nan


def _never_smaller(timing: TimingModel, axes: Axes, alphas: Sequence[float]) -> dict[str, int]:
    """How many points of how many have a paper's M* below the exact one."""
    found = np.array([papers_choice(timing, *axes, alpha)[0] for alpha in alphas])
    return {"smaller_than_exact": int((found < 1).sum()), "points": found.size}


def _least_bend(timing: TimingModel, alphas: Sequence[float]) -> float:
    """Least second difference of the exact f over M (ms): it is convex where that is positive."""
    sizes = np.arange(1, 201)
    cases = [(ratio, alpha, model) for ratio in (0.05, 0.4, 1) for alpha in alphas for model in EXACT_MODELS]
    return least(least_bend(timing.objective(sizes, *case)) for case in cases)


def _worst_of_maps(maps: Mapping[float, Map]) -> dict[str, float]:
    """How far the paper's M* is off, at most: a factor, in ms and in per cent of f; how often for the first α."""
    first = next(iter(maps.values()))
    return {
        "excess_max": float(max(excess.max() for excess, _, _ in maps.values())),
        "excess_share": float(np.mean(first[0] > 1)),
        "extra_max": float(max(extra.max() for _, extra, _ in maps.values())),
        "extra_max_relative": 100 * max(float((extra / least).max()) for _, extra, least in maps.values()),
    }


def _above_worst(timing: TimingModel, offload_ratio: float, reading: Reading) -> dict[str, float]:
    """A slow network (ms), where the exact M* with offloads anywhere is larger than the paper's."""
    slower = replace(timing, tau_nw=checks.nonnegative("above_network", reading.above_network))
    best = {
        model: slower.optimal_batch_size(offload_ratio, reading.above_alpha, model).integer
        for model in ("paper", "average")
    }
    return {
        "above_alpha": reading.above_alpha,
        "above_network": slower.tau_nw,
        **{f"above_{model}": size for model, size in best.items()},
    }


def _choice_here(timing: TimingModel, offload_ratio: float, alpha: float) -> dict[str, Any]:
    """The paper's M*, the exact one and what lies between (ms), and the network time from which batches pay (ms)."""
    paper, exact = (timing.optimal_batch_size(offload_ratio, alpha, model) for model in ("paper", "worst"))
    limits = worthwhile(timing, offload_ratio, alpha)
    return {
        "paper_size": paper.integer,
        "exact_size": exact.integer,
        **{f"worthwhile_{model}": limit for model, limit in limits.items()},
        "worthwhile_holds": all(_turns(timing, offload_ratio, alpha, model) for model in limits),
        "extra_here": _formula_cost(timing, offload_ratio, alpha),
        "best_here": exact.objective,
    }


def _turns(timing: TimingModel, offload_ratio: float, alpha: float, model: str) -> bool:
    """Whether M* goes from one to two at the network time from which batches pay."""
    limit = worthwhile(timing, offload_ratio, alpha)[model]
    around = [replace(timing, tau_nw=factor * limit) for factor in (0.999, 1.001)]
    return [times.optimal_batch_size(offload_ratio, alpha, model).integer for times in around] == [1, 2]
