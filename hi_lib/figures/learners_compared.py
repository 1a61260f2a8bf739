"""Which learner to use: its figures, and the numbers its claims rest on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hi_lib.figures.style import LEARNER_COLOURS, band, legend_below, outer_labels, panels, plain_ticks

if TYPE_CHECKING:
    import pandas as pd


def learners(table: pd.DataFrame) -> Figure:
    """Regret of each learner on each trace, mean and two deviations; filled and open markers for the batch sizes."""
    titles, names = table["title"].unique(), list(table["learner"].unique())
    figure, axes = panels(len(titles), height=2.3)
    sizes = sorted(table["batch_size"].unique())
    limits = table["regret"].agg(["min", "max"]).to_numpy()
    for axis, title in zip(axes, titles, strict=True):
        for shift, size in zip((-0.15, 0.15), sizes, strict=True):
            rows = table[(table["title"] == title) & (table["batch_size"] == size)].groupby("learner")["regret"]
            mean, deviation = rows.mean(), rows.std()
            for place, name in enumerate(names):
                colour, spread = LEARNER_COLOURS[name], 2 * deviation[name]
                face = colour if size == sizes[0] else "white"
                axis.errorbar(place + shift, mean[name], spread, fmt="o", ms=4, color=colour, mfc=face)
        axis.set(title=title, xticks=range(len(names)), yscale="log", ylim=(limits[0] / 1.4, limits[1] * 1.4))
        plain_ticks(axis.yaxis, [10, 20, 50, 100, 200, 500, 1000])
        axis.set_xticklabels(names, rotation=60, ha="right", rotation_mode="anchor", fontsize=7.5)
    outer_labels(axes, "regret")
    fills = dict(zip(sizes, ("#333333", "white"), strict=True))
    keys: dict[str, Any] = {"marker": "o", "ls": "", "color": "#333333"}
    legend_below(figure, 2, [Line2D([], [], mfc=fill, label=f"M = {size}", **keys) for size, fill in fills.items()])
    return figure


def weight_density(edges: Any, density: Any, batches: Sequence[int], best: float) -> Figure:
    """Density of the threshold after some numbers of batches, a panel each."""
    figure, axes = panels(len(batches), height=1.5)
    for axis, row, count in zip(axes, density, batches, strict=True):
        axis.stairs(row, edges, fill=True, color="#0072B2", alpha=0.75)
        axis.axvline(best, color="#333333", ls="--", lw=0.9)
        axis.set(title=f"after {count} batches", xlim=(0, 1))
        axis.set_ylim(0, 1.05 * density.max())
    for axis in axes[-3:]:
        axis.set_xlabel("threshold θ")
    outer_labels(axes, "density")
    return figure


def drift(cases: Mapping[str, Mapping[str, Any]], change: int) -> Figure:
    """Accumulated regret over time of several learners, (shuffles, samples) each, around a change; a panel a case."""
    figure, axes = plt.subplots(1, len(cases), figsize=(7.4, 3.0), sharey=True)
    colours = ("#0072B2", "#56B4E9", "#009E73", "#E69F00", "#CC79A7")
    for axis, (title, paths) in zip(axes, cases.items(), strict=True):
        for (name, path), colour in zip(paths.items(), colours, strict=True):
            some = path[:, 7::8]
            error = some.std(axis=0, ddof=1) / np.sqrt(len(path))
            band(axis, np.arange(8, path.shape[1] + 1, 8), some.mean(axis=0), error, color=colour, label=name)
        axis.axvline(change, color="#555555", lw=0.8, ls="--")
        axis.set(title=title, xlabel="samples")
    axes[0].set_ylabel("regret so far")
    legend_below(figure, 4)
    return figure
