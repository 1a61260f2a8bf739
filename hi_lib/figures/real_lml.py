"""What a real L-ML makes of it: the paper counts every offload as right, but a large model errs, too.

Offloading then costs β, and 1 more where the L-ML is wrong. Accepting costs 1 where the S-ML is wrong, as before.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from hi_lib import checks
from hi_lib.figures.style import (
    BETA_COLOURS,
    PLAIN,
    batch_size_axis,
    legend_below,
    outer_labels,
    panels,
)
from hi_lib.learners import Run
from hi_lib.measured import Line
from hi_lib.regret import BestThreshold, cell_middle
from hi_lib.traces import Trace, checked

if TYPE_CHECKING:
    import pandas as pd


_WAYS: dict[str, dict[str, Any]] = {
    "truth": {"color": "#D55E00", "marker": "o", "ms": 3},
    "answer": {"color": "#0072B2", "marker": "o", "ms": 3},
    "dear truth": {"color": "#E69F00", "marker": "s", "ms": 3},
    "dear answer": {"color": "#56B4E9", "marker": "s", "ms": 3},
    "paper": {"color": "#999999", "ls": (0, (4, 2)), "lw": 1.2},
    "never": {"color": "#333333", "ls": (0, (6, 2, 1, 2)), "lw": 1.2},
    "best": {"color": "#333333", "ls": (0, (1, 1.5)), "lw": 1.2},
}
_DASHED, _DOTTED = (0, (4, 2)), (0, (1, 1.5))


class Outcome(NamedTuple):
    """What a learner's decisions come to: per sample, in expectation over its draws."""

    average_cost: float
    accuracy: float


def curve(trace: Trace) -> pd.DataFrame:
    """Accuracy of the final answers against the offload ratio: a row for each threshold that makes a difference.

    Returns
    -------
    DataFrame with columns threshold (the highest that offloads so many), offload_ratio, accuracy, assumed_accuracy
    (every offload right).

    Raises
    ------
    ValueError
        The trace has no L-ML.
    """
    import pandas as pd

    small, large = (_sums(correct[trace.order]) for correct in (trace.correct, _lml(trace)))
    n = len(trace)
    offloaded = np.flatnonzero(trace.gaps > 0)
    accepted_right = small[-1] - small[offloaded]
    right, assumed = large[offloaded] + accepted_right, offloaded + accepted_right
    upper = np.append(trace.confidence[trace.order], 1.0)[offloaded]
    columns = {
        "threshold": upper,
        "offload_ratio": offloaded / n,
        "accuracy": right / n,
        "assumed_accuracy": assumed / n,
    }
    return pd.DataFrame(columns)


def best_threshold(trace: Trace, beta: float) -> BestThreshold:
    """The best fixed threshold in hindsight when a wrong offload costs 1 + β."""
    table = curve(trace)
    cost = 1 - table["accuracy"] + checks.real("beta", beta, 0, 1) * table["offload_ratio"]
    best = int(cost.argmin())
    lower = table["threshold"][best - 1] if best else 0.0
    upper = table["threshold"][best]
    return BestThreshold(cell_middle(lower, upper), float(cost[best]), table["offload_ratio"][best])


def outcome(trace: Trace, run: Run, beta: float) -> Outcome:
    """What a learner's run on this trace really costs, and how often its answers are right."""
    small, large = (part.astype(float) for part in (trace.correct, _lml(trace)))
    if run.cost.size != len(trace):
        raise ValueError(f"run must be one of this trace's {len(trace)} samples, got {run.cost.size}")
    right = small + run.offload_probability * (large - small)
    beta = checks.real("beta", beta, 0, 1)
    return Outcome(float((1 - right + beta * run.offload_probability).mean()), float(right.mean()))


def _lml(trace: Trace) -> NDArray[np.bool_]:
    if checked(trace).lml_correct is None:
        raise ValueError(f"trace {trace.name} has no L-ML: it needs the column lml_correct")
    return trace.lml_correct  # type: ignore[return-value]


def _sums(flags: NDArray[np.bool_]) -> NDArray[np.intp]:
    """How many of the first i are set, for i from 0 to n."""
    return np.concatenate(([0], np.cumsum(flags)))


def accuracy_offload(curves: Mapping[str, pd.DataFrame], best: pd.DataFrame) -> Figure:
    """Accuracy of the final answers against the share offloaded, a panel a trace.

    `curves` maps panel titles to tables of `lml.curve`; `best` has columns title, beta, offload_ratio, accuracy.
    """
    figure, axes = panels(len(curves), height=2.3)
    for axis, (title, table) in zip(axes, curves.items(), strict=True):
        share = 100 * table["offload_ratio"]
        axis.plot(share, 100 * table["assumed_accuracy"], color="#999999", linestyle=_DASHED, lw=1.1)
        axis.plot(share, 100 * table["accuracy"], color="#7B3294")
        ends = 100 * table["accuracy"].iloc[[0, -1]]
        axis.plot([0, 100], ends, color="#333333", linestyle=_DOTTED, lw=1)
        for size, row in enumerate(best[best["title"] == title].itertuples()):
            point = (100 * row.offload_ratio, 100 * row.accuracy)
            axis.plot(*point, "o", ms=9 - 2.5 * size, mfc="none", mew=1.5, color=BETA_COLOURS[row.beta], zorder=4)
        axis.set(title=title, xlabel="offloaded (%)")
    outer_labels(axes, "accuracy (%)")
    lines = [
        Line2D([], [], color="#7B3294", label="the L-ML's own answers"),
        Line2D([], [], color="#999999", linestyle=_DASHED, label="every offload right (paper)"),
        Line2D([], [], color="#333333", linestyle=_DOTTED, label="offloading at random"),
    ]
    rings = [
        Line2D([], [], marker="o", ls="", mfc="none", mew=1.5, color=colour, label=f"best θ, β = {beta:g}")
        for beta, colour in BETA_COLOURS.items()
    ]
    legend_below(figure, 3, [*lines, *rings])
    return figure


def real_cost(table: pd.DataFrame, labels: Mapping[str, str]) -> Figure:
    """Cost and accuracy against the batch size under several ways to count, a column a trace.

    `table` has columns title, batch_size, way, average_cost, accuracy; `labels` maps ways (of _WAYS) to their names.
    """
    titles = list(dict.fromkeys(table["title"]))
    figure, axes = plt.subplots(2, len(titles), figsize=(3.8 * len(titles), 4.6), squeeze=False, sharex=True)
    for column, title in enumerate(titles):
        for way, label in labels.items():
            rows = table[(table["title"] == title) & (table["way"] == way)]
            for axis, quantity in zip(axes[:, column], ("average_cost", "accuracy"), strict=True):
                axis.plot(rows["batch_size"], rows[quantity], **_WAYS[way], label=label)
        for axis in axes[:, column]:
            batch_size_axis(axis, sorted(table["batch_size"].unique()), label=axis is axes[-1, column])
        axes[0, column].set(title=title)
    axes[0, 0].set_ylabel("average cost")
    axes[1, 0].set_ylabel("accuracy of the answers")
    legend_below(figure, 3)
    return figure


def batch_times(measured: pd.DataFrame, lines: Mapping[str, Line], titles: Mapping[str, str]) -> Figure:
    """Time of a batch against its size, a panel a model: medians, the line a + b·m, and m times the time of one."""
    figure, axes = plt.subplots(1, len(lines), figsize=(7.6, 2.7), squeeze=False)
    for axis, (model, line) in zip(axes[0], lines.items(), strict=True):
        times = measured[measured["model"] == model].groupby("batch_size")["milliseconds"]
        median = times.median()
        sizes = np.geomspace(median.index[0], median.index[-1], 100)
        axis.plot(sizes, median.iloc[0] * sizes, color="#999999", linestyle=_DASHED, lw=1.2)
        axis.plot(sizes, line.fixed + line.per_sample * sizes, color="#0072B2", lw=1.3)
        spread = np.abs(np.array([times.quantile(0.25), times.quantile(0.75)]) - median.to_numpy())
        axis.errorbar(median.index, median, spread, fmt="o", ms=3.5, color="#D55E00", elinewidth=1, zorder=4)
        batch_size_axis(axis, median.index, label=False)
        axis.set(title=titles[model], yscale="log", xlabel="pictures m")
        axis.yaxis.set_major_formatter(PLAIN)
    axes[0, 0].set_ylabel("time of a batch (ms)")
    handles = [
        Line2D([], [], marker="o", ls="", ms=4, color="#D55E00", label="measured: median, quartiles"),
        Line2D([], [], color="#0072B2", label="a + b·m"),
        Line2D([], [], color="#999999", linestyle=_DASHED, label="m·τ, τ the time of one"),
    ]
    legend_below(figure, 3, handles)
    return figure
