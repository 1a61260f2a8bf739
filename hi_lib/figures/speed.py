"""How fast it is: its figures, and the numbers its claims rest on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from hi_lib.figures.style import PLAIN, legend_below

if TYPE_CHECKING:
    import pandas as pd

METHOD_COLOURS = {
    "plain": "#D55E00",
    "streaming": "#009E73",
    "replay": "#0072B2",
    "engine": "#56B4E9",
    "sort": "#999999",
}


def speed(table: pd.DataFrame) -> Figure:
    """Time of a round and peak memory against the number of samples, a line a method."""
    figure, axes = plt.subplots(1, 2, figsize=(7.4, 3.0))
    columns = {"seconds_a_round": (1e6, "time of a round (µs)"), "peak_megabytes": (1, "peak memory (MB)")}
    for axis, (column, (unit, label)) in zip(axes, columns.items(), strict=True):
        axis.set(xscale="log", yscale="log", xlabel="samples n, all distinct", ylabel=label)
        for method, colour in METHOD_COLOURS.items():
            rows = table[table["method"] == method]
            axis.plot(rows["samples"], rows[column] * unit, "o-", ms=3, color=colour, label=method)
        axis.yaxis.set_major_formatter(PLAIN)
    legend_below(figure, 5)
    return figure
