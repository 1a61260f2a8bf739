"""The paper's Fig. 3: does batching raise the cost?: its figures, and the numbers its claims rest on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hi_book.figures.style import (
    batch_size_axis,
    beta_colour,
    draw_quantity,
    label_ends,
    shared_legend,
    trace_title,
)
from hi_book.figures.values import count, least, most
from hi_lib.learners import replay
from hi_lib.paper import IMAGENETTE
from hi_lib.traces import Trace

_ORDER = 0  # the seed of the order in which decisions are compared
RATES = ("tuned", "vanilla", "adaptive")


class Reading(NamedTuple):
    """How the claims read "largely unaffected": up to this M, by no larger a factor; and at which β S-MLs compare."""

    large_batch: int
    unaffected: float
    floor_beta: float


def changed(trace: Trace, betas: Sequence[float], large_batch: int) -> dict[str, float]:
    """The largest share of decisions, of any β, that a batch changes: one rate, and the same draws of θ.

    With one number u in [0, 1) for a sample it is offloaded where u is below its probability: those differ, on average.
    """
    order = trace.shuffled(_ORDER)
    shares = []
    for beta in betas:
        alone, batched = (
            replay(order, beta, size, learning_rate="vanilla").offload_probability for size in (1, large_batch)
        )
        shares.append(float(np.abs(alone - batched).mean()))
    return {"changed_most": most(shares)}


def shown(costs: pd.DataFrame, wanted: str) -> str:
    """The trace of the paper's figure; another one where it was not asked for."""
    found = costs["trace"].unique()
    return wanted if wanted in found else found[0]


def cost_vs_batch_size(costs: pd.DataFrame, floors: pd.DataFrame, trace: str, rates: Mapping[str, str]) -> Figure:
    """The paper's figure: average cost of one trace against M, a line a β, dashed the best fixed threshold.

    `costs` has columns trace, beta, batch_size, learning_rate, average_cost_mean, average_cost_std; `floors` has trace,
    beta, average_cost; `rates` maps ways to set η, a panel each, to titles.
    """
    figure, axes = plt.subplots(1, len(rates), figsize=(7.6, 3.2), sharey=True, squeeze=False)
    costs = costs[costs["trace"] == trace]
    best = floors[floors["trace"] == trace].set_index("beta")["average_cost"]
    for axis, (rate, title) in zip(axes[0], rates.items(), strict=True):
        ends = {}
        for beta, line in costs[costs["learning_rate"] == rate].groupby("beta"):
            draw_quantity(axis, line, "average_cost", beta_colour(beta))
            axis.axhline(best[beta], color=beta_colour(beta), linestyle=(0, (4, 3)), linewidth=0.9)
            ends[f"β = {beta:g}"] = line["average_cost_mean"].iloc[-1], beta_colour(beta)
        axis.set(ylim=(0, None), title=title)
        batch_size_axis(axis, sorted(costs["batch_size"].unique()))
        label_ends(axis, costs["batch_size"].max(), ends)
    axes[0][0].set_ylabel("average cost")
    return figure


def relative_cost(costs: pd.DataFrame, rates: Mapping[str, str], unaffected: float) -> Figure:
    """Cost relative to its value at the least M, a line for each trace and β, a panel a way to set η.

    The grey line is what counts as unaffected.

    `costs` as for `cost_vs_batch_size`, with a column learning_rate; `rates` maps its values to panel titles.
    """
    figure, axes = plt.subplots(1, len(rates), figsize=(7.6, 3), sharey=True, squeeze=False)
    for axis, (rate, title) in zip(axes[0], rates.items(), strict=True):
        for (_, beta), line in costs[costs["learning_rate"] == rate].groupby(["trace", "beta"]):
            relative = line["average_cost_mean"] / line["average_cost_mean"].iloc[0]
            axis.plot(line["batch_size"], relative, color=beta_colour(beta), linewidth=1)
        axis.axhline(unaffected, color="#888888", linewidth=1)
        axis.set_title(title)
        batch_size_axis(axis, sorted(costs["batch_size"].unique()))
    axes[0][0].set_ylabel(f"average cost, relative to M = {costs['batch_size'].min()}")
    handles = [Line2D([], [], color=beta_colour(beta), label=f"β = {beta:g}") for beta in costs["beta"].unique()]
    shared_legend(figure, len(handles), handles)
    return figure


def offload_ratios(costs: pd.DataFrame) -> pd.DataFrame:
    """ρ of vanilla HI, a row for each S-ML, by its title, and a column for each β."""
    vanilla = costs[(costs["batch_size"] == costs["batch_size"].min()) & (costs["learning_rate"] == "vanilla")]
    ratios = vanilla.pivot(index="trace", columns="beta", values="offload_ratio_mean").loc[costs["trace"].unique()]
    return ratios.rename(index=trace_title)


def numbers(costs: pd.DataFrame, floors: pd.DataFrame, ratios: pd.DataFrame, reading: Reading) -> dict[str, Any]:
    """What the claims and the text rest on; `ratios` as `offload_ratios` gives them."""
    wide = costs.pivot(index=["trace", "beta"], columns=["learning_rate", "batch_size"])
    cost, ratio = wide["average_cost_mean"], wide["offload_ratio_mean"]
    tuned, last = cost["tuned"], costs["batch_size"].max()
    growth = {rate: _at(cost[rate], reading.large_batch) / _at(cost[rate], 1) for rate in RATES}
    shift = {rate: _at(ratio[rate], reading.large_batch) - _at(ratio[rate], 1) for rate in RATES}
    return {
        **{f"cost_ratio_{rate}_max": most(factor) for rate, factor in growth.items()},
        **{
            f"cost_ratio_{rate}_failing": count(factor.dropna() > reading.unaffected) for rate, factor in growth.items()
        },
        **{f"ratio_shift_{rate}_max": most(moved.abs()) for rate, moved in shift.items()},
        **{f"cost_ratio_{rate}_last": most(cost[rate][last] / _at(cost[rate], 1)) for rate in ("tuned", "adaptive")},
        "cost_change_max": most(tuned[last] - _at(tuned, 1)),
        "combinations": len(wide),
        "models": costs["trace"].nunique(),
        "large_batch": reading.large_batch,
        "largest_batch": int(last),
        "floor_beta": reading.floor_beta,
        "tuned_failing_names": _names(growth["tuned"][growth["tuned"] > reading.unaffected]),
        **_distance(ratios),
        **_floors(floors, reading.floor_beta),
    }


def _at(table: pd.DataFrame, size: int) -> pd.Series:
    """The column of a batch size; nan where it was not asked for."""
    return table[size] if size in table else pd.Series(math.nan, table.index)


def _names(failing: pd.Series) -> str:
    """S-ML and β of every line whose cost grows by too much."""
    named = [f"{trace_title(name).split(', ')[-1]} at β = {beta:g}" for name, beta in failing.index]
    return "; ".join(named) or "none"


def _distance(ratios: pd.DataFrame) -> dict[str, Any]:
    """How far ρ of our S-MLs on Imagenette is from the paper's, at the worst β: the closest S-ML and the farthest."""
    imagenette = ratios.filter(like="Imagenette", axis=0)
    paper = pd.Series(IMAGENETTE.offload_ratios)
    distance = (imagenette - paper).abs().max(axis=1, skipna=False) if set(paper.index) <= set(ratios) else pd.Series()
    return {
        "ratio_distance_least": least(distance),
        "ratio_distance_most": most(distance),
        "closest_model": distance.idxmin().split(", ")[-1] if len(distance) else math.nan,
    }


def _floors(floors: pd.DataFrame, beta: float) -> dict[str, float]:
    """Least and largest cost of the best fixed threshold among the S-MLs of each data set, at this β."""
    costs = floors[floors["beta"] == beta].set_index("trace")["average_cost"]
    ends = {"min": least, "max": most}
    return {
        f"{data_set}_floor_{name}": end(costs[costs.index.str.startswith(data_set)])
        for data_set in ("imagenette", "cifar10")
        for name, end in ends.items()
    }
