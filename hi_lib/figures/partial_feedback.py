"""Learning from offloaded samples only: its figures, and the numbers its claims rest on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from hi_lib.figures.style import LEARNER_COLOURS, batch_size_axis, legend_below, plain_ticks

if TYPE_CHECKING:
    import pandas as pd


def partial_feedback(table: pd.DataFrame) -> Figure:
    """Regret and bound of learners with more and less feedback, against the samples (M = 1) and the batch size."""
    figure, axes = plt.subplots(1, 2, figsize=(7.4, 3.0), sharey=True)
    views = {"samples": table["batch_size"] == 1, "batch_size": table["samples"] == table["samples"].max()}
    for axis, (x, chosen) in zip(axes, views.items(), strict=True):
        for learner, rows in table[chosen].groupby("learner", sort=False):
            rows, colour = rows.sort_values(x), LEARNER_COLOURS[learner]
            axis.errorbar(rows[x], rows["regret"], 2 * rows["error"], fmt="o-", ms=3, color=colour, label=learner)
            axis.plot(rows[x], rows["bound"], ":", color=colour)
        axis.plot(rows[x], rows["most"], color="#999999", lw=0.9)
        axis.set(yscale="log", xscale="log", xlabel="samples n")
    batch_size_axis(axes[1], sorted(table["batch_size"].unique()))
    plain_ticks(axes[0].xaxis, sorted(table["samples"].unique()))
    axes[0].set_ylabel("regret")
    legend_below(figure, 3)
    return figure
