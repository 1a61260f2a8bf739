"""Is the price of √M real?: its figures, and the numbers its claims rest on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from hi_lib.figures.style import batch_size_axis, legend_below, plain_ticks

if TYPE_CHECKING:
    import pandas as pd


def coins(table: pd.DataFrame) -> Figure:
    """Regret on worst-case sequences: exact, measured, and the bound, against the batch size, a panel a case."""
    figure, axes = plt.subplots(1, 2, figsize=(7.4, 3.0))
    markers = {"hil-f": ("o", "#0072B2", "HIL-F"), "apple": ("s", "#D55E00", "feedback on offloads only")}
    titles = {"one confidence": "one confidence, n fixed", "halving": "halving intervals, n in proportion to M"}
    for axis, (case, title) in zip(axes, titles.items(), strict=True):
        rows = table[table["case"] == case]
        exact = rows.drop_duplicates("batch_size")
        axis.plot(exact["batch_size"], exact["exact"], color="#333333", label="every learner, exactly")
        axis.plot(exact["batch_size"], exact["bound"], ":", color="#333333", label="bound (HIL-F)")
        for shift, (learner, (marker, colour, name)) in zip((0.96, 1.04), markers.items(), strict=True):
            found = rows[rows["learner"] == learner]
            look: dict[str, Any] = {"fmt": marker, "ms": 3.5, "color": colour, "label": name}
            axis.errorbar(found["batch_size"] * shift, found["mean"], 2 * found["error"], **look)
        axis.set(title=title, yscale="log")
        batch_size_axis(axis, exact["batch_size"])
    axes[0].set_ylabel("regret")
    legend_below(figure, 4)
    return figure


def sample_orders(table: pd.DataFrame) -> Figure:
    """Regret against the batch size for several orders of the samples; tuned rate left, one rate right."""
    figure, axes = plt.subplots(1, 2, figsize=(7.4, 3.0), sharey=True)
    titles = {"tuned": "learning rate tuned for each M", "fixed": "one learning rate"}
    colours = dict(zip(table["order"].unique(), ("#0072B2", "#009E73", "#D55E00"), strict=True))
    for axis, (rate, title) in zip(axes, titles.items(), strict=True):
        for order, colour in colours.items():
            rows = table[(table["learning_rate"] == rate) & (table["order"] == order)].groupby("batch_size")["regret"]
            mean, error = rows.mean(), rows.std() / np.sqrt(rows.count())
            axis.errorbar(mean.index, mean, 2 * error, fmt="o-", ms=3, color=colour, label=order)
        sizes = np.array(sorted(table["batch_size"].unique()))
        axis.plot(sizes, 0.7 * table["regret"].min() * np.sqrt(sizes), color="#999999", lw=0.9, label="slope ½")
        axis.set(title=title, yscale="log")
        plain_ticks(axis.yaxis, [20, 50, 100, 200])
        batch_size_axis(axis, sizes)
    axes[0].set_ylabel("regret")
    legend_below(figure, 4)
    return figure
