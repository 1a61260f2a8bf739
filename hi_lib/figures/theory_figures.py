"""Figures of the theory and of the learners; the style is that of `figures`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hi_lib.figures.style import (
    PLAIN,
    band,
    batch_size_axis,
    legend_below,
    name_beside,
    outer_labels,
    panels,
    plain_ticks,
)

if TYPE_CHECKING:
    import pandas as pd

METHOD_COLOURS = {
    "plain": "#D55E00",
    "streaming": "#009E73",
    "replay": "#0072B2",
    "engine": "#56B4E9",
    "sort": "#999999",
}
LEARNER_COLOURS = {
    "hil-f": "#0072B2",
    "hil-n": "#009E73",
    "apple": "#D55E00",
    "naive": "#CC79A7",
    "hi-lcb": "#8C6D00",
    "hi-lcb-lite": "#E69F00",
    "quantised": "#56B4E9",
}
SLACK_COLOURS = {
    "regret": "#D55E00",
    "shortest cell": "#E69F00",
    "other cells": "#F0E442",
    "Hoeffding": "#56B4E9",
    "short batch": "#999999",
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


def bound_slack(table: pd.DataFrame) -> Figure:
    """Shares of the bound: regret and the slack of each step of the proof, against the batch size; above, the bound."""
    figure, axes = plt.subplots(1, 2, figsize=(7.4, 3.0))
    titles = {"tuned": "learning rate tuned for each M", "fixed": "learning rate tuned for M = 1"}
    for axis, (rate, title) in zip(axes, titles.items(), strict=True):
        rows = table[table["learning_rate"] == rate]
        place, base = np.arange(len(rows)), np.zeros(len(rows))
        for part, colour in SLACK_COLOURS.items():
            share = 100 * (rows[part] / rows["bound"]).to_numpy()
            axis.bar(place, share, 0.7, base, color=colour, label=part)
            base += share
        for x, bound in enumerate(rows["bound"]):
            axis.annotate(f"{bound:.0f}", (x, 100), (0, 2), textcoords="offset points", ha="center", fontsize=7.5)
        axis.set(xlabel="batch size M", xticks=place, xticklabels=rows["batch_size"], ylim=(0, 108))
        axis.set_title(title)
        axis.grid(visible=False, axis="x")
    axes[0].set_ylabel("share of the bound (%)")
    legend_below(figure, 5)
    return figure


def realised_regret(table: pd.DataFrame) -> Figure:
    """Mean and range of realised regret, and the limit for it, against the batch size."""
    figure, axis = plt.subplots(figsize=(5.2, 3.0))
    x = table["batch_size"]
    axis.fill_between(x, table["low"], table["high"], color="#0072B2", alpha=0.2, lw=0)
    axis.plot(x, table["expected"], "o-", ms=3, color="#0072B2")
    axis.plot(x, table["limit"], "--", color="#333333", lw=1.1)
    axis.set(ylabel="regret", yscale="log", ylim=(table["low"].min() * 0.7, table["limit"].max() * 1.3))
    plain_ticks(axis.yaxis, [10, 20, 50, 100, 200, 500, 1000, 2000, 5000])
    batch_size_axis(axis, x)
    last = table.iloc[-1]
    name_beside(axis, "mean", (last["batch_size"], last["expected"]), "#0072B2")
    name_beside(axis, "limit", (last["batch_size"], last["limit"]), "#333333")
    return figure


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
