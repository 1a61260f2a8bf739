"""What the S-ML does to the result: its figures, and the numbers its claims rest on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from hi_lib.figures.style import BETA_COLOURS, legend_below, name_beside, outer_labels, panels
from hi_lib.traces import Trace

if TYPE_CHECKING:
    import pandas as pd

_FEWEST = 10  # samples a bin must hold to be drawn


def reliability(tables: Mapping[str, Mapping[str, pd.DataFrame]]) -> Figure:
    """Accuracy against confidence, a panel a trace, a line a way to get the confidence; bins of few samples left out.

    `tables` maps panel titles to tables of `calibration.reliability` by name.
    """
    figure, axes = panels(len(tables), height=2.3)
    for axis, (title, ways) in zip(axes, tables.items(), strict=True):
        axis.plot([0, 1], [0, 1], color="#BBBBBB", lw=1)
        for (way, table), colour in zip(ways.items(), ("#D55E00", "#0072B2"), strict=False):
            filled = table[table["samples"] >= _FEWEST]
            axis.plot(filled["confidence"], filled["accuracy"], "o-", ms=2.5, lw=1.2, color=colour, label=way)
        axis.set(title=title, xlabel="confidence p", xlim=(0, 1), ylim=(0, 1))
    outer_labels(axes, "accuracy")
    legend_below(figure, 2)
    return figure


def offload_curves(traces: Mapping[str, Trace], paper: Mapping[float, float]) -> Figure:
    """Share of samples less confident than θ, a line a trace, and the paper's offload ratios at θ = 1 − β."""
    figure, axis = plt.subplots(figsize=(5.2, 4.4))
    shades = plt.colormaps["Greys"](np.linspace(0.85, 0.35, len(traces)))
    for (title, trace), colour in zip(traces.items(), shades, strict=True):
        confidence = np.sort(trace.confidence)
        axis.step(confidence, np.arange(1, confidence.size + 1) / confidence.size, color=colour, lw=1.6, label=title)
    for beta, ratio in paper.items():
        colour = BETA_COLOURS[beta]
        axis.plot(1 - beta, ratio, "D", ms=8, color=colour, mec="white", zorder=4, label=f"paper, β = {beta:g}")
    axis.set(xlabel="threshold θ", ylabel="offload ratio ρ(θ)", xlim=(0, 1), ylim=(0, 1))
    legend_below(figure, 2)
    return figure


def what_moves_cost(groups: Mapping[str, Sequence[float]]) -> Figure:
    """Ranges of average cost, a row a cause, a dot a choice: how far each choice moves the cost."""
    figure, axis = plt.subplots(figsize=(6.6, 0.52 * len(groups) + 0.9))
    names = list(groups)[::-1]
    for row, name in enumerate(names):
        costs = groups[name]
        low, high = min(costs), max(costs)
        axis.plot([low, high], [row, row], color="#999999", lw=3, solid_capstyle="round", zorder=1)
        axis.plot(costs, [row] * len(costs), "o", ms=5, color="#0072B2", zorder=2)
        name_beside(axis, f"{high - low:.4f}", (high, row), "#333333", xytext=(8, 0))
    axis.set_yticks(range(len(names)), labels=names)
    axis.set_ylim(-0.6, len(names) - 0.4)
    axis.set_xlabel("average cost")
    return figure
