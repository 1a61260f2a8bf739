"""Event by event: its figures, and the numbers its claims rest on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from hi_lib.figures.style import DATASET_COLOURS, PLAIN, band, batch_size_axis, legend_below, plain_ticks

if TYPE_CHECKING:
    import pandas as pd


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
