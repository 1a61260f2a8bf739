"""The paper's Fig. 3: does batching raise the cost?: its figures, and the numbers its claims rest on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hi_lib.figures.style import (
    batch_size_axis,
    beta_colour,
    draw_quantity,
    label_ends,
    legend_below,
    outer_labels,
    panels,
)

if TYPE_CHECKING:
    import pandas as pd


def cost_vs_batch_size(costs: pd.DataFrame, floors: pd.DataFrame, titles: Mapping[str, str]) -> Figure:
    """Fig. 3: average cost against M, a panel a trace, a line a β, dashed the best fixed threshold.

    `costs` has columns trace, beta, batch_size, average_cost_mean, average_cost_std; `floors` has trace, beta,
    average_cost; `titles` maps trace names to panel titles.
    """
    figure, axes = panels(len(titles), height=2.4)
    for axis, (trace, title) in zip(axes, titles.items(), strict=True):
        lines = dict(list(costs[costs["trace"] == trace].groupby("beta")))
        for beta, line in lines.items():
            draw_quantity(axis, line, "average_cost", beta_colour(beta))
        for beta, floor in floors[floors["trace"] == trace][["beta", "average_cost"]].itertuples(index=False):
            axis.axhline(floor, color=beta_colour(beta), linestyle=(0, (4, 3)), linewidth=0.9)
        axis.set(ylim=(0, None), title=title)
        batch_size_axis(axis, sorted(costs["batch_size"].unique())[::2])
        ends = {
            f"β = {beta:g}": (line["average_cost_mean"].iloc[-1], beta_colour(beta)) for beta, line in lines.items()
        }
        label_ends(axis, costs["batch_size"].max(), ends)
    outer_labels(axes, "average cost")
    return figure


def relative_cost(costs: pd.DataFrame, rates: Mapping[str, str]) -> Figure:
    """Cost relative to M = 1, a line for each trace and β, a panel a way to set η; the grey line is 5 % more.

    `costs` as for `cost_vs_batch_size`, with a column learning_rate; `rates` maps its values to panel titles.
    """
    figure, axes = plt.subplots(1, len(rates), figsize=(7.6, 3), sharey=True, squeeze=False)
    for axis, (rate, title) in zip(axes[0], rates.items(), strict=True):
        for (_, beta), line in costs[costs["learning_rate"] == rate].groupby(["trace", "beta"]):
            relative = line["average_cost_mean"] / line["average_cost_mean"].iloc[0]
            axis.plot(line["batch_size"], relative, color=beta_colour(beta), linewidth=1)
        axis.axhline(1.05, color="#888888", linewidth=1)
        axis.set_title(title)
        batch_size_axis(axis, sorted(costs["batch_size"].unique()))
    axes[0][0].set_ylabel("average cost, relative to M = 1")
    handles = [Line2D([], [], color=beta_colour(beta), label=f"β = {beta:g}") for beta in costs["beta"].unique()]
    legend_below(figure, len(handles), handles)
    return figure
