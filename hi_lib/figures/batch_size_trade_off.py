"""The trade-off on one page: its figures, and the numbers its claims rest on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from hi_lib.figures.style import (
    PLAIN,
    TIME_COLOURS,
    batch_size_axis,
    dataset_colour,
    draw_quantity,
    mark_optima,
    name_beside,
    plain_ticks,
)

if TYPE_CHECKING:
    import pandas as pd


def trade_off(
    tables: Mapping[str, pd.DataFrame], rows: Mapping[str, str], optima: Mapping[str, Mapping[float, float]]
) -> Figure:
    """Each quantity (a row: column → axis label) against M, a column a data set, M* marked for each α.

    A table has batch_size and, for each quantity, a column `q`, or `q_mean` and `q_std`. Columns `q_exact` (dashed),
    `q_bound` (dotted) and `q_single` (dash-dotted) are drawn beside it; with the first two the axis is logarithmic.
    """
    figure, axes = plt.subplots(len(rows), len(tables), figsize=(7.6, 1.75 * len(rows)), sharex="col")
    for column, (title, table) in enumerate(tables.items()):
        for axis, (quantity, label) in zip(axes[:, column], rows.items(), strict=True):
            draw_quantity(axis, table, quantity, dataset_colour(title))
            if {f"{quantity}_exact", f"{quantity}_bound"} & set(table):
                axis.set_yscale("log")
                plain_ticks(axis.yaxis, [1, 2, 3, 5, 7, 10, 15, 20, 50, 100, 200, 500, 1000, 2000, 5000])
            else:
                axis.set_ylim(0, 1.12 * axis.get_ylim()[1])
            mark_optima(axis, optima[title], "bottom" if axis is axes[0, column] else "")
            if column == 0:
                axis.set_ylabel(label)
            batch_size_axis(axis, sorted(table["batch_size"]), label=axis is axes[-1, column])
        axes[0, column].set_title(title)
    return figure


def answer(
    costs: Mapping[str, pd.DataFrame], floors: Mapping[str, float], times: pd.DataFrame, optima: Mapping[float, float]
) -> Figure:
    """The book's first picture: cost against M for each data set, and the times of one of them with M* marked."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.6, 3.2))
    above = {"xytext": (0, 6), "va": "bottom"}
    for title, table in costs.items():
        colour = dataset_colour(title)
        draw_quantity(left, table, "average_cost", colour)
        left.axhline(floors[title], color=colour, linestyle=(0, (4, 3)), linewidth=0.9)
        name_beside(left, title, (table["batch_size"].iloc[0], table["average_cost_mean"].iloc[0]), colour, **above)
    for column, colour in TIME_COLOURS.items():
        label = column.replace("_", " ")
        draw_quantity(right, times, column, colour)
        right.plot(times["batch_size"], times[f"{column}_exact"], color=colour, linestyle=(0, (4, 2)), linewidth=1.1)
        name_beside(right, label, (times["batch_size"].iloc[-2], times[column].iloc[-2]), colour, ha="right", **above)
    mark_optima(right, optima, "top")
    left.set(ylabel="average cost", ylim=(0, None))
    right.set(ylabel="ms per sample", yscale="log")
    right.yaxis.set_major_formatter(PLAIN)
    for axis in (left, right):
        batch_size_axis(axis, sorted(times["batch_size"]))
    return figure
