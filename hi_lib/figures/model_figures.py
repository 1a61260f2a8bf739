"""Figures of what S-MLs and L-MLs are worth: calibration, end-to-end accuracy, times; in the style of `figures`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hi_lib.figures.style import BETA_COLOURS, PLAIN, batch_size_axis, legend_below, name_beside, outer_labels, panels
from hi_lib.measured import Line
from hi_lib.traces import Trace

if TYPE_CHECKING:
    import pandas as pd

_FEWEST = 10  # samples a bin must hold to be drawn
_WAYS: dict[str, dict[str, Any]] = {
    "truth": {"color": "#D55E00", "marker": "o", "ms": 3},
    "answer": {"color": "#0072B2", "marker": "o", "ms": 3},
    "dear truth": {"color": "#E69F00", "marker": "s", "ms": 3},
    "dear answer": {"color": "#56B4E9", "marker": "s", "ms": 3},
    "paper": {"color": "#999999", "ls": (0, (4, 2)), "lw": 1.2},
    "never": {"color": "#333333", "ls": (0, (6, 2, 1, 2)), "lw": 1.2},
    "best": {"color": "#333333", "ls": (0, (1, 1.5)), "lw": 1.2},
}
_DASHED, _DOTTED = (0, (4, 2)), (0, (1, 1.5))


def accuracy_offload(curves: Mapping[str, pd.DataFrame], best: pd.DataFrame) -> Figure:
    """Accuracy of the final answers against the share offloaded, a panel a trace.

    `curves` maps panel titles to tables of `lml.curve`; `best` has columns title, beta, offload_ratio, accuracy.
    """
    figure, axes = panels(len(curves), height=2.3)
    for axis, (title, table) in zip(axes, curves.items(), strict=True):
        share = 100 * table["offload_ratio"]
        axis.plot(share, 100 * table["assumed_accuracy"], color="#999999", linestyle=_DASHED, lw=1.1)
        axis.plot(share, 100 * table["accuracy"], color="#7B3294")
        ends = 100 * table["accuracy"].iloc[[0, -1]]
        axis.plot([0, 100], ends, color="#333333", linestyle=_DOTTED, lw=1)
        for size, row in enumerate(best[best["title"] == title].itertuples()):
            point = (100 * row.offload_ratio, 100 * row.accuracy)
            axis.plot(*point, "o", ms=9 - 2.5 * size, mfc="none", mew=1.5, color=BETA_COLOURS[row.beta], zorder=4)
        axis.set(title=title, xlabel="offloaded (%)")
    outer_labels(axes, "accuracy (%)")
    lines = [
        Line2D([], [], color="#7B3294", label="the L-ML's own answers"),
        Line2D([], [], color="#999999", linestyle=_DASHED, label="every offload right (paper)"),
        Line2D([], [], color="#333333", linestyle=_DOTTED, label="offloading at random"),
    ]
    rings = [
        Line2D([], [], marker="o", ls="", mfc="none", mew=1.5, color=colour, label=f"best θ, β = {beta:g}")
        for beta, colour in BETA_COLOURS.items()
    ]
    legend_below(figure, 3, [*lines, *rings])
    return figure


def real_cost(table: pd.DataFrame, labels: Mapping[str, str]) -> Figure:
    """Cost and accuracy against the batch size under several ways to count, a column a trace.

    `table` has columns title, batch_size, way, average_cost, accuracy; `labels` maps ways (of _WAYS) to their names.
    """
    titles = list(dict.fromkeys(table["title"]))
    figure, axes = plt.subplots(2, len(titles), figsize=(3.8 * len(titles), 4.6), squeeze=False, sharex=True)
    for column, title in enumerate(titles):
        for way, label in labels.items():
            rows = table[(table["title"] == title) & (table["way"] == way)]
            for axis, quantity in zip(axes[:, column], ("average_cost", "accuracy"), strict=True):
                axis.plot(rows["batch_size"], rows[quantity], **_WAYS[way], label=label)
        for axis in axes[:, column]:
            batch_size_axis(axis, sorted(table["batch_size"].unique()), label=axis is axes[-1, column])
        axes[0, column].set(title=title)
    axes[0, 0].set_ylabel("average cost")
    axes[1, 0].set_ylabel("accuracy of the answers")
    legend_below(figure, 3)
    return figure


def batch_times(measured: pd.DataFrame, lines: Mapping[str, Line], titles: Mapping[str, str]) -> Figure:
    """Time of a batch against its size, a panel a model: medians, the line a + b·m, and m times the time of one."""
    figure, axes = plt.subplots(1, len(lines), figsize=(7.6, 2.7), squeeze=False)
    for axis, (model, line) in zip(axes[0], lines.items(), strict=True):
        times = measured[measured["model"] == model].groupby("batch_size")["milliseconds"]
        median = times.median()
        sizes = np.geomspace(median.index[0], median.index[-1], 100)
        axis.plot(sizes, median.iloc[0] * sizes, color="#999999", linestyle=_DASHED, lw=1.2)
        axis.plot(sizes, line.fixed + line.per_sample * sizes, color="#0072B2", lw=1.3)
        spread = np.abs(np.array([times.quantile(0.25), times.quantile(0.75)]) - median.to_numpy())
        axis.errorbar(median.index, median, spread, fmt="o", ms=3.5, color="#D55E00", elinewidth=1, zorder=4)
        batch_size_axis(axis, median.index, label=False)
        axis.set(title=titles[model], yscale="log", xlabel="pictures m")
        axis.yaxis.set_major_formatter(PLAIN)
    axes[0, 0].set_ylabel("time of a batch (ms)")
    handles = [
        Line2D([], [], marker="o", ls="", ms=4, color="#D55E00", label="measured: median, quartiles"),
        Line2D([], [], color="#0072B2", label="a + b·m"),
        Line2D([], [], color="#999999", linestyle=_DASHED, label="m·τ, τ the time of one"),
    ]
    legend_below(figure, 3, handles)
    return figure


def reliability(tables: Mapping[str, Mapping[str, pd.DataFrame]]) -> Figure:
    """Accuracy against confidence, a panel a trace, a line a way to get the confidence; bins of few samples left out.

    `tables` maps panel titles to tables of `calibration.reliability` by name.
    """
    figure, axes = panels(len(tables), height=2.3)
    for axis, (title, ways) in zip(axes, tables.items(), strict=True):
        axis.plot([0, 1], [0, 1], color="#BBBBBB", lw=1)
        for (way, table), colour in zip(ways.items(), ("#D55E00", "#0072B2"), strict=False):
            filled = table[table["samples"] >= _FEWEST]
            axis.plot(filled["confidence"], filled["accuracy"], "o-", ms=2.5, lw=1.2, color=colour, label=way)
        axis.set(title=title, xlabel="confidence p", xlim=(0, 1), ylim=(0, 1))
    outer_labels(axes, "accuracy")
    legend_below(figure, 2)
    return figure


def offload_curves(traces: Mapping[str, Trace], paper: Mapping[float, float]) -> Figure:
    """Share of samples less confident than θ, a line a trace, and the paper's offload ratios at θ = 1 − β."""
    figure, axis = plt.subplots(figsize=(5.2, 4.4))
    shades = plt.colormaps["Greys"](np.linspace(0.85, 0.35, len(traces)))
    for (title, trace), colour in zip(traces.items(), shades, strict=True):
        confidence = np.sort(trace.confidence)
        axis.step(confidence, np.arange(1, confidence.size + 1) / confidence.size, color=colour, lw=1.6, label=title)
    for beta, ratio in paper.items():
        colour = BETA_COLOURS[beta]
        axis.plot(1 - beta, ratio, "D", ms=8, color=colour, mec="white", zorder=4, label=f"paper, β = {beta:g}")
    axis.set(xlabel="threshold θ", ylabel="offload ratio ρ(θ)", xlim=(0, 1), ylim=(0, 1))
    legend_below(figure, 2)
    return figure


def what_moves_cost(groups: Mapping[str, Sequence[float]]) -> Figure:
    """Ranges of average cost, a row a cause, a dot a choice: how far each choice moves the cost."""
    figure, axis = plt.subplots(figsize=(6.6, 0.52 * len(groups) + 0.9))
    names = list(groups)[::-1]
    for row, name in enumerate(names):
        costs = groups[name]
        low, high = min(costs), max(costs)
        axis.plot([low, high], [row, row], color="#999999", lw=3, solid_capstyle="round", zorder=1)
        axis.plot(costs, [row] * len(costs), "o", ms=5, color="#0072B2", zorder=2)
        name_beside(axis, f"{high - low:.4f}", (high, row), "#333333", xytext=(8, 0))
    axis.set_yticks(range(len(names)), labels=names)
    axis.set_ylim(-0.6, len(names) - 0.4)
    axis.set_xlabel("average cost")
    return figure
