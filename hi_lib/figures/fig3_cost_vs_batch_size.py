"""The paper's Fig. 3: does batching raise the cost?: its figures, and the numbers its claims rest on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hi_lib.figures.style import (
    batch_size_axis,
    beta_colour,
    draw_quantity,
    label_ends,
    shared_legend,
    trace_title,
)
from hi_lib.paper import IMAGENETTE

RATES = ("tuned", "vanilla")
# How the claims read "largely unaffected": at this M, by this factor.
LARGE, UNAFFECTED = 16, 1.05


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


def relative_cost(costs: pd.DataFrame, rates: Mapping[str, str]) -> Figure:
    """Cost relative to M = 1, a line for each trace and β, a panel a way to set η; the grey line is 5 % more.

    `costs` as for `cost_vs_batch_size`, with a column learning_rate; `rates` maps its values to panel titles.
    """
    figure, axes = plt.subplots(1, len(rates), figsize=(7.6, 3), sharey=True, squeeze=False)
    for axis, (rate, title) in zip(axes[0], rates.items(), strict=True):
        for (_, beta), line in costs[costs["learning_rate"] == rate].groupby(["trace", "beta"]):
            relative = line["average_cost_mean"] / line["average_cost_mean"].iloc[0]
            axis.plot(line["batch_size"], relative, color=beta_colour(beta), linewidth=1)
        axis.axhline(UNAFFECTED, color="#888888", linewidth=1)
        axis.set_title(title)
        batch_size_axis(axis, sorted(costs["batch_size"].unique()))
    axes[0][0].set_ylabel("average cost, relative to M = 1")
    handles = [Line2D([], [], color=beta_colour(beta), label=f"β = {beta:g}") for beta in costs["beta"].unique()]
    shared_legend(figure, len(handles), handles)
    return figure


def offload_ratios(costs: pd.DataFrame) -> pd.DataFrame:
    """ρ of vanilla HI, a row for each S-ML, by its title, and a column for each β."""
    vanilla = costs[(costs["batch_size"] == costs["batch_size"].min()) & (costs["learning_rate"] == "vanilla")]
    ratios = vanilla.pivot(index="trace", columns="beta", values="offload_ratio_mean").loc[costs["trace"].unique()]
    return ratios.rename(index=trace_title)


def numbers(costs: pd.DataFrame, floors: pd.DataFrame, ratios: pd.DataFrame, shuffles: int) -> dict[str, Any]:
    """What the claims and the text rest on; `ratios` as `offload_ratios` gives them."""
    wide = costs.pivot(index=["trace", "beta"], columns=["learning_rate", "batch_size"])
    tuned = wide["average_cost_mean"]["tuned"]
    return {
        **_growth(wide["average_cost_mean"]),
        **_shift(wide["offload_ratio_mean"]),
        "cost_ratio_tuned_last": (tuned.iloc[:, -1] / tuned[1]).max(),
        "cost_change_max": (tuned.iloc[:, -1] - tuned[1]).max(),
        "combinations": len(wide),
        "shuffles": shuffles,
        "tuned_failing_names": _failing(tuned),
        **_distance(ratios),
        **_floors(floors),
    }


def _growth(cost: pd.DataFrame) -> dict[str, float]:
    """By which factor the cost grows from M = 1 to a large M at most, and how often by too much."""
    growth = {rate: cost[rate][LARGE] / cost[rate][1] for rate in RATES}
    largest = {f"cost_ratio_{rate}_max": factor.max() for rate, factor in growth.items()}
    return largest | {f"cost_ratio_{rate}_failing": int((factor > UNAFFECTED).sum()) for rate, factor in growth.items()}


def _shift(ratio: pd.DataFrame) -> dict[str, float]:
    """By how much ρ moves from M = 1 to a large M at most, in either direction."""
    return {f"ratio_shift_{rate}_max": (ratio[rate][LARGE] - ratio[rate][1]).abs().max() for rate in RATES}


def _failing(cost: pd.DataFrame) -> str:
    """S-ML and β of every line whose cost grows by too much."""
    failing = cost.index[cost[LARGE] / cost[1] > UNAFFECTED]
    return "; ".join(f"{trace_title(name).split(', ')[-1]} at β = {beta:g}" for name, beta in failing)


def _distance(ratios: pd.DataFrame) -> dict[str, Any]:
    """How far ρ of our S-MLs on Imagenette is from the paper's, at the worst β: the closest S-ML and the farthest."""
    imagenette = ratios.filter(like="Imagenette", axis=0)
    imagenette = imagenette if len(imagenette) else ratios  # where only other traces are asked for
    distance = (imagenette - pd.Series(IMAGENETTE.offload_ratios)).abs().max(axis=1)
    return {
        "ratio_distance_least": distance.min(),
        "ratio_distance_most": distance.max(),
        "closest_model": distance.idxmin().split(", ")[-1],
    }


def _floors(floors: pd.DataFrame) -> dict[str, float]:
    """Least and largest cost of the best fixed threshold among the S-MLs of each data set, at β = 0.5."""
    even = floors[floors["beta"] == 0.5]
    return {
        f"{data_set}_floor_{end}": even[even["trace"].str.startswith(data_set)]["average_cost"].agg(end)
        for data_set in ("imagenette", "cifar10")
        for end in ("min", "max")
    }
