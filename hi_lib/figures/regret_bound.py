"""The regret bound, step by step: its figures, and the numbers its claims rest on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hi_lib import checks
from hi_lib.figures.style import batch_size_axis, legend_below, name_beside, plain_ticks
from hi_lib.forecaster import Forecaster
from hi_lib.regret import best_threshold
from hi_lib.traces import Trace
from hi_lib.typing import Floats

if TYPE_CHECKING:
    import pandas as pd

SLACK_COLOURS = {
    "regret": "#D55E00",
    "shortest cell": "#E69F00",
    "other cells": "#F0E442",
    "Hoeffding": "#56B4E9",
    "short batch": "#999999",
}


def bound_slack(trace: Trace, beta: float, batch_size: int, learning_rate: float) -> dict[str, float]:
    """Follow the proof of the bound along a trace: what each step gives away. Adds up exactly to (4) minus the regret.

    Returns
    -------
    dict of
        regret : what is left in the end
        shortest cell : λ_min where the best cell is longer
        other cells : the weight outside the best cell, which the proof drops
        Hoeffding : η M_k²/8 for each batch, where the spread of its loss over thresholds is less
        short batch : n M where the squares of the batch sizes add up to less
    """
    n, size = len(trace), checks.whole("batch_size", batch_size)
    beta, eta = checks.real("beta", beta, 0, 1), checks.positive("learning_rate", learning_rate)
    length, total = trace.gaps[trace.gaps > 0], 0.0
    paid, hoeffding, squares = np.zeros(length.size), 0.0, 0
    expected = 0.0
    for chance, loss, count in _batches(trace, beta, size, eta):
        mean = float(chance @ loss)
        fall = float(np.log(chance @ np.exp(-eta * (loss - mean)))) - eta * mean  # ln W_{k+1}/W_k
        hoeffding += eta * count**2 / 8 - mean - fall / eta
        squares += count**2
        expected += mean
        total += fall
        paid += loss
    best = int(paid.argmin())
    return {
        "regret": expected - float(paid[best]),
        "shortest cell": float(np.log(length[best] / length.min())) / eta,
        "other cells": (total + eta * float(paid[best]) - float(np.log(length[best]))) / eta,
        "Hoeffding": hoeffding,
        "short batch": eta / 8 * (n * size - squares),
    }


def realised_regret(
    trace: Trace, beta: float, batch_size: int, learning_rate: float, draws: int, seed: int | None
) -> NDArray[np.float64]:
    """Regret with thresholds drawn for real, shape (draws,): independent batches, the expected regret on average."""
    size, count = checks.whole("batch_size", batch_size), checks.whole("draws", draws)
    beta, eta = checks.real("beta", beta, 0, 1), checks.positive("learning_rate", learning_rate)
    rng = np.random.default_rng(checks.seed("seed", seed))
    cost = np.zeros(count)
    for chance, loss, _ in _batches(trace, beta, size, eta):
        cost += rng.choice(loss, size=count, p=chance)
    return cost - best_threshold(trace, beta).average_cost * len(trace)


def azuma_margin(n: int, batch_size: int, failure: float) -> float:
    """√(n M ln(1/δ) / 2): by how much realised regret can exceed its mean, but for a chance of δ in (0, 1]."""
    exposure = checks.whole("n", n) * checks.whole("batch_size", batch_size)
    return float(np.sqrt(exposure * -np.log(checks.share("failure", failure)) / 2))


def _batches(trace: Trace, beta: float, batch_size: int, learning_rate: float) -> Iterator[tuple[Floats, Floats, int]]:
    """Of each batch: the chance of each cell, the batch's loss there, and its size."""
    forecaster = Forecaster(trace.confidence)
    upper = np.append(trace.confidence[trace.order], 1.0)[trace.gaps > 0]  # the largest θ of each cell
    for start in range(0, len(trace), batch_size):
        p, wrong = trace.confidence[start : start + batch_size], ~trace.correct[start : start + batch_size]
        weight = forecaster.weights(learning_rate)
        place = np.searchsorted(upper, p, side="right")
        change = np.bincount(place, weights=beta - wrong, minlength=upper.size + 1)[:-1]
        yield weight / weight.sum(), wrong.sum() + np.cumsum(change), p.size
        forecaster.update(p, beta - wrong)


def draw_bound_slack(table: pd.DataFrame) -> Figure:
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


def draw_realised_regret(table: pd.DataFrame) -> Figure:
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
