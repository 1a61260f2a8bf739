"""Figures of the timing model, the simulation and the adaptive batch size; the style is that of `figures`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hi_lib.figures.style import DATASET_COLOURS, PLAIN, band, batch_size_axis, legend_below, name_beside, plain_ticks
from hi_lib.timing import MODEL_NAMES

if TYPE_CHECKING:
    import pandas as pd

    from hi_lib.response import ResponseLaw
    from hi_lib.simulation import Interval
    from hi_lib.timing import TimingModel

LANE_COLOURS = {"device": "#009E73", "uplink": "#E69F00", "network": "#BBBBBB", "server": "#56B4E9"}
MODEL_LINES: dict[str, dict[str, Any]] = {
    "paper": {"linestyle": "-"},
    "worst": {"linestyle": (0, (4, 2))},
    "average": {"linestyle": (0, (1, 1))},
}
POLICY_COLOURS = {
    "vanilla": "#999999",
    "average network": "#CC79A7",
    "best fixed": "#333333",
    "adaptive": "#0072B2",
    "informed": "#009E73",
}
_ALPHA_COLOURS = mpl.colormaps["viridis"]


def timing_diagram(
    batched: list[Interval], vanilla: list[Interval], offloaded: Sequence[bool], batch_size: int
) -> Figure:
    """Fig. 2: the same samples under Batch HI and under vanilla HI, to scale, a lane for each place of work."""
    figure, axes = plt.subplots(2, 1, figsize=(7.4, 4.2), sharex=True)
    titles = (f"Batch HI, M = {batch_size}", "Vanilla HI, M = 1")
    for axis, intervals, title in zip(axes, (batched, vanilla), titles, strict=True):
        _draw_lanes(axis, intervals, offloaded)
        axis.set_title(f"{title}: all {len(offloaded)} samples take {intervals[-1].end:.1f} ms", loc="left")
    axes[1].set_xlabel("time (ms)")
    return figure


def _draw_lanes(axis: Axes, intervals: list[Interval], offloaded: Sequence[bool]) -> None:
    lanes = list(LANE_COLOURS)
    for interval in intervals:
        row, width = lanes.index(interval.lane), interval.end - interval.start
        accepted = interval.lane == "device" and interval.sample is not None and not offloaded[interval.sample]
        look = {"color": LANE_COLOURS[interval.lane], "alpha": 0.45 if accepted else 1, "edgecolor": "white", "lw": 0.8}
        axis.barh(row, width, height=0.78, left=interval.start, **look)  # type: ignore[arg-type]
        if interval.sample is not None:
            axis.text(interval.start + width / 2, row, str(interval.sample + 1), ha="center", va="center", fontsize=6.5)
    axis.set_yticks(range(len(lanes)), lanes)
    axis.invert_yaxis()
    axis.grid(axis="y", visible=False)


def objective(panels: Mapping[str, tuple[TimingModel, float]], alphas: Sequence[float], largest: float) -> Figure:
    """Fig. 4: f(M) over real M for each data set (its timing model and ρ); M†, M* and the true vanilla value marked."""
    figure, axes = plt.subplots(1, len(panels), figsize=(7.6, 4.2), squeeze=False)
    sizes = np.geomspace(1, largest, 400)
    for axis, (title, (timing, ratio)) in zip(axes[0], panels.items(), strict=True):
        for alpha, colour in zip(alphas, _alpha_colours(alphas), strict=True):
            best = timing.optimal_batch_size(ratio, alpha)
            axis.plot(sizes, timing.objective(sizes, ratio, alpha), color=colour)
            if 1 <= best.relaxed <= largest:
                height = timing.objective(best.relaxed, ratio, alpha)
                axis.plot(best.relaxed, height, "o", ms=8, mfc="none", mec=colour, zorder=4)
            if best.integer <= largest:
                axis.plot(best.integer, best.objective, "o", ms=4, color=colour, zorder=5)
            name_beside(axis, f"α = {alpha:g}", (largest, timing.objective(largest, ratio, alpha)), colour)
        # At M = 1 both exact times are the same, so vanilla's value does not depend on α.
        vanilla = timing.system_time(1, ratio, "exact")
        axis.plot(1, vanilla, "s", ms=9, mfc="none", mec="#333333", clip_on=False)
        axis.set_title(f"{title}, ρ = {ratio:.3f}")
        axis.set(yscale="log", ylabel="f(M) (ms)")
        batch_size_axis(axis, [2**k for k in range(int(np.log2(largest)) + 1)])
        plain_ticks(axis.yaxis, [1, 2, 5, 10, 20, 50, 100, 200, 500])
    marks = {
        "M†, real minimiser": ("o", 8, ""),
        "M*, best integer": ("o", 4, "#333333"),
        "vanilla HI, exact": ("s", 9, ""),
    }
    keys = []
    for label, (mark, size, fill) in marks.items():
        keys += axes[0, 0].plot([], [], mark, ms=size, mfc=fill or "none", color="#333333", label=label)
    legend_below(figure, 3, keys)
    return figure


def optimal_batch_size(
    panels: Mapping[str, Callable[[Any, float], tuple[Any, Any]]],
    values: Mapping[str, Any],
    alphas: Sequence[float],
    label: str,
    log: bool = False,
) -> Figure:
    """Figs. 5 and 6: M* (steps) and M† (thin) against a parameter; each panel maps (values, α) to (M†, M*)."""
    figure, axes = plt.subplots(1, len(panels), figsize=(4.6 + 3 * (len(panels) - 1), 3.5), squeeze=False, sharey=True)
    for axis, (title, optimum) in zip(axes[0], panels.items(), strict=True):
        x = values[title]
        for alpha, colour in zip(alphas, _alpha_colours(alphas), strict=True):
            relaxed, integer = optimum(x, alpha)
            axis.plot(x, relaxed, color=colour, linewidth=0.7)
            axis.step(x, integer, where="mid", color=colour)
            name_beside(axis, f"α = {alpha:g}", (x[-1], relaxed[-1]), colour)
        axis.set(title=title, xlabel=label, yscale="log")
        if log:
            axis.set_xscale("log")
            axis.xaxis.set_major_formatter(PLAIN)
        plain_ticks(axis.yaxis, [1, 2, 3, 5, 10, 20, 50])
    axes[0][0].set_ylabel("batch size")
    widths = {"M*, best integer": 1.6, "M†, real minimiser": 0.7}
    legend_below(figure, 2, [Line2D([], [], color="#333333", lw=lw, label=label) for label, lw in widths.items()])
    return figure


def exact_against_paper(timing: TimingModel, offload_ratio: float, alphas: Sequence[float], largest: int) -> Figure:
    """System time, response time and objective against M: the paper's formulas and the exact ones."""
    figure, axes = plt.subplots(1, 3, figsize=(7.6, 3.3))
    sizes = np.arange(1, largest + 1)
    colours = ["#0072B2", "#D55E00"]
    for model, line in (("paper", MODEL_LINES["paper"]), ("exact", MODEL_LINES["worst"])):
        axes[0].plot(sizes, timing.system_time(sizes, offload_ratio, model), color="#333333", **line)
    for model, line in MODEL_LINES.items():
        axes[1].plot(sizes, timing.response_time(sizes, offload_ratio, model), color="#333333", **line)
        for alpha, colour in zip(alphas, colours, strict=True):
            curve = timing.objective(sizes, offload_ratio, alpha, model)
            best = timing.optimal_batch_size(offload_ratio, alpha, model)
            axes[2].plot(sizes, curve, color=colour, **line)
            axes[2].plot(best.integer, best.objective, "o", ms=4.5, color=colour, zorder=5)
            if model == "paper":
                name_beside(axes[2], f"α = {alpha:g}", (sizes[-1], curve[-1]), colour)
    titles = ("system time t_s", "response time t_r", "objective f, dots: M*")
    for axis, title in zip(axes, titles, strict=True):
        axis.set(title=title, ylabel="ms", ylim=(0, None))
        batch_size_axis(axis, [2**k for k in range(int(np.log2(largest)) + 1)])
    handles = [Line2D([], [], color="#333333", label=MODEL_NAMES[model], **line) for model, line in MODEL_LINES.items()]
    legend_below(figure, 3, handles)
    return figure


def wrong_optimum(
    maps: Mapping[str, tuple[Any, Any]], ratios: Any, network_times: Any, here: tuple[float, float]
) -> Figure:
    """Where the paper's M* is too large, and what that costs, over offload ratio and network time.

    `maps` holds for each title (paper's M* over the exact one, extra f in ms), both (network times, ratios); `here` is
    marked.
    """
    figure, axes = plt.subplots(2, len(maps), figsize=(7.6, 5.2), sharex=True, sharey=True, squeeze=False)
    scales = (
        ("paper's M* / exact M*", "viridis", mpl.colors.LogNorm(1, 16), [1, 2, 4, 8, 16]),
        ("extra f (ms)", "magma_r", mpl.colors.PowerNorm(0.5, 0, 1.4), [0, 0.1, 0.3, 0.6, 1, 1.4]),
    )
    for row, (label, colours, norm, ticks) in enumerate(scales):
        for axis, (title, values) in zip(axes[row], maps.items(), strict=True):
            mesh = axis.pcolormesh(ratios, network_times, values[row], cmap=colours, norm=norm, rasterized=True)
            axis.plot(*here, "x", color="#D55E00", ms=7, mew=2)
            axis.set(yscale="log", title=title if row == 0 else "", xlabel="offload ratio ρ" if row else "")
            plain_ticks(axis.yaxis, [1, 2, 5, 10, 20, 50, 100, 200])
            axis.grid(visible=False)
        axes[row, 0].set_ylabel("network time τ_nw (ms)")
        bar = figure.colorbar(
            mesh, ax=axes[row], label=label, ticks=ticks, format=PLAIN, extend="neither" if row else "max"
        )
        bar.ax.minorticks_off()
    return figure


def queue(table: pd.DataFrame, capacity: Mapping[int, float], exact: pd.DataFrame) -> Figure:
    """Mean response against the arrival rate, a line a batch size; dotted verticals where the device cannot keep up.

    `table` has batch_size, rate (samples a second), mean, error (ms); `capacity` maps batch sizes to rates; `exact` has
    rate and mean for M = 1.
    """
    figure, axis = plt.subplots(figsize=(6.4, 3.6))
    colours = mpl.colormaps["viridis"](np.linspace(0, 0.85, len(capacity)))
    for (size, limit), colour in zip(capacity.items(), colours, strict=True):
        rows = table[table["batch_size"] == size]
        band(axis, rows["rate"], rows["mean"], rows["error"], color=colour, lw=1.4, label=f"M = {size}")
        axis.axvline(limit, color=colour, linestyle=":", lw=1)
    axis.plot(exact["rate"], exact["mean"], "o", ms=4, mfc="none", mec="#D55E00", label="Pollaczek–Khinchine, M = 1")
    axis.set(yscale="log", xlabel="arrivals a second", ylabel="mean response (ms)", ylim=(10, 1000))
    plain_ticks(axis.yaxis, [10, 20, 50, 100, 200, 500, 1000])
    legend_below(figure, 4)
    return figure


def overdispersion(table: pd.DataFrame) -> Figure:
    """Variance of m over that of independent offloads, and mean response over the exact model's, against M.

    `table` has columns order, batch_size, dispersion, response_ratio, and the latter two with `_sd`.
    """
    figure, axes = plt.subplots(1, 2, figsize=(7.4, 3.2))
    for order, rows in table.groupby("order", sort=False):
        colour = DATASET_COLOURS.get(order.split(",")[0], "#333333")
        line = "o-" if order.endswith("shuffled") else "s--"
        for axis, column in zip(axes, ("dispersion", "response_ratio"), strict=True):
            bars = rows[f"{column}_sd"]
            axis.errorbar(rows["batch_size"], rows[column], bars, fmt=line, ms=3.5, lw=1.4, color=colour, label=order)
    for axis, label in zip(axes, ("variance of m / Mρ(1 − ρ)", "mean response / exact model"), strict=True):
        axis.axhline(1, color="#333333", lw=0.9, ls=":")
        axis.set_ylabel(label)
        batch_size_axis(axis, table["batch_size"].unique())
    axes[0].set_yscale("log", base=2)
    axes[0].yaxis.set_major_formatter(PLAIN)
    legend_below(figure, 3)
    return figure


def response_laws(laws: Mapping[int, ResponseLaw], found: Mapping[int, Any], tails: Sequence[float]) -> Figure:
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
    _logarithmic(axis, [20, 30, 50, 100, 200])
    legend_below(figure, len(laws))
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
    for axis, label in zip(axes, ("largest batch in time", "system time t_s (ms)"), strict=True):
        axis.set(xlabel="deadline (ms)", ylabel=label, ylim=(0, None))
    legend_below(figure, 3)
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
    for (column, label), colour, place in zip(columns.items(), ("#333333", "#0072B2", "#D55E00"), places, strict=True):
        front = table[table[f"{column}_front"]]
        axis.plot(front[column], front["system_time"], "o-", lw=1, ms=3.5, color=colour, label=label)
        for _, row in table[table["batch_size"].isin(labelled if place else [])].iterrows():
            name_beside(axis, f"{row['batch_size']:.0f}", (row[column], row["system_time"]), colour, **(place or {}))
    axis.set(xlabel="response time (ms)", ylabel="system time t_s (ms)")
    _logarithmic(axis, [15, 20, 30, 50, 100, 200, 300])
    legend_below(figure, 3)
    return figure


def price_over_time(means: Mapping[str, Any], prices: Mapping[str, Mapping[str, Any]], every: int) -> Figure:
    """Network time above, below the accumulated objective minus that of the best fixed size; a column a network.

    `means` maps titles to network times, shape (n,), of one run; `prices` to {policy: (runs, n)} in ms.
    """
    figure, axes = plt.subplots(2, len(means), figsize=(7.6, 4.4), sharex=True, height_ratios=[1, 2.2])
    for column, (title, mean) in enumerate(means.items()):
        x = np.arange(len(mean))[::every]
        axes[0, column].plot(x, mean[::every], color="#777777", lw=1)
        axes[0, column].set(title=title, ylim=(0, 220))
        for policy, paths in prices[title].items():
            total = np.cumsum(paths, axis=1)[:, ::every] / 1000
            error = total.std(axis=0, ddof=1) / np.sqrt(len(total))
            band(axes[1, column], x, total.mean(axis=0), error, color=POLICY_COLOURS[policy], label=policy)
        axes[1, column].axhline(0, color="#333333", lw=0.9, ls="--")
        axes[1, column].set(xlabel="samples")
    axes[0, 0].set_ylabel("mean τ_nw (ms)")
    axes[1, 0].set_ylabel("f above best fixed M,\nsummed up (s)")
    legend_below(figure, 4)
    return figure


def burst_gain(table: pd.DataFrame) -> Figure:
    """Gain of the adaptive batch size over the best fixed one, in per cent of f, against the length of bursts.

    `table` has policy, length, gain, error.
    """
    figure, axis = plt.subplots(figsize=(6.0, 3.4))
    names = table["policy"].unique()
    colours = dict(zip(names, ("#0072B2", "#56B4E9", "#009E73", "#333333"), strict=False))
    for name, rows in table.groupby("policy", sort=False):
        line = {"ls": "--"} if name.startswith("informed") else {"marker": "o", "ms": 3.5}
        band(axis, rows["length"], rows["gain"], rows["error"], color=colours[name], label=name, **line)
    axis.axhline(0, color="#333333", lw=0.9)
    axis.set(xlabel="mean length of a burst (samples)", ylabel="gain over the best fixed M (% of f)")
    _logarithmic(axis, sorted(table["length"].unique()))
    legend_below(figure, 2)
    return figure


def deadline_over_time(means: Any, late: Mapping[str, Any], target: float, window: int) -> Figure:
    """Share of late answers over time, averaged over windows and runs; late maps policies to bool (runs, n)."""
    figure, axes = plt.subplots(2, 1, figsize=(6.6, 4.0), sharex=True, height_ratios=[1, 2])
    axes[0].plot(means, color="#777777", lw=1)
    axes[0].set(ylabel="mean τ_nw (ms)", ylim=(0, None))
    for policy, flags in late.items():
        share = flags[:, : flags.shape[1] // window * window].reshape(len(flags), -1, window).mean(axis=(0, 2))
        axes[1].plot(
            (np.arange(share.size) + 0.5) * window, 100 * share, "o-", ms=3, color=POLICY_COLOURS[policy], label=policy
        )
    axes[1].axhline(100 * target, color="#333333", lw=0.9, ls="--")
    axes[1].set(xlabel="samples", ylabel="late answers (%)", ylim=(0, None))
    legend_below(figure, 3)
    return figure


def _alpha_colours(alphas: Sequence[float]) -> list[Any]:
    return [_ALPHA_COLOURS(0.85 * alpha) for alpha in alphas]


def _logarithmic(axis: Axes, ticks: Sequence[float]) -> None:
    """Make the horizontal axis logarithmic, with these ticks as plain numbers."""
    axis.set_xscale("log")
    plain_ticks(axis.xaxis, ticks)
