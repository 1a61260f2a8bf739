"""Answers in time: its figures, and the numbers its claims rest on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from hi_lib import checks
from hi_lib.figures.style import legend_below, logarithmic, name_beside, plain_ticks
from hi_lib.response import ResponseLaw

if TYPE_CHECKING:
    import pandas as pd

    from hi_lib.response import ResponseLaw


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
    logarithmic(axis, [20, 30, 50, 100, 200])
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
    logarithmic(axis, [15, 20, 30, 50, 100, 200, 300])
    legend_below(figure, 3)
    return figure


def pareto_front(cost: ArrayLike, other: ArrayLike) -> NDArray[np.bool_]:
    """Which points, both of shape (k,), no other point beats: none is as good in both and better in one."""
    a, b = checks.reals("cost", cost, -np.inf, np.inf), checks.reals("other", other, -np.inf, np.inf)
    if a.ndim != 1 or a.shape != b.shape:
        raise ValueError(f"cost and other must have one and the same shape (k,), got {a.shape} and {b.shape}")
    no_worse = (a[:, None] <= a) & (b[:, None] <= b)
    better = no_worse & ((a[:, None] < a) | (b[:, None] < b))
    return np.logical_not(better.any(axis=0))
