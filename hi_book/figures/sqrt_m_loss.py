"""Is the price of √M real?: its figures, and the numbers its claims rest on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from hi_book.figures.style import batch_size_axis, rising_scale, shared_legend
from hi_book.figures.values import at, in_errors, log_slope, most
from hi_lib.learners import replay
from hi_lib.regret import lambda_min, tuned_learning_rate
from hi_lib.traces import Trace


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
        axis.set_title(title)
        rising_scale(axis, exact["exact"])
        batch_size_axis(axis, exact["batch_size"])
    axes[0].set_ylabel("regret")
    shared_legend(figure, 4)
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
        axis.set_title(title)
        rising_scale(axis, table["regret"])
        batch_size_axis(axis, sizes)
    axes[0].set_ylabel("regret")
    shared_legend(figure, 4)
    return figure


def repeated(trace: Trace, times: int) -> Trace:
    """The first samples of a trace, each so many times in a row, as many as fit into its length, but at least one."""
    some = np.repeat(np.arange(max(len(trace) // times, 1)), times)
    return Trace(trace.confidence[some], trace.correct[some])


def order_regrets(shuffled: Sequence[Trace], beta: float, batch_sizes: Sequence[int], run_length: int) -> pd.DataFrame:
    """Regret of HIL-F on shuffled traces and on runs of like samples made of them, a row a run.

    The learning rate is "tuned" for each M, or "fixed", tuned for M = 1; `seed` is the place among the shuffled.
    """
    rows = []
    orders = ("shuffled", f"runs of {run_length}", "repeated through a batch")
    for order, size, (seed, whole) in product(orders, batch_sizes, enumerate(shuffled)):
        trace = repeated(whole, dict(zip(orders, (1, run_length, size), strict=True))[order])
        n, shortest = len(trace), lambda_min(trace)
        for label, tuned_for in (("tuned", size), ("fixed", 1)):
            rate = tuned_learning_rate(n, tuned_for, shortest) or 1.0  # with one cell any rate does
            rows.append((order, size, label, seed, replay(trace, beta, size, learning_rate=rate).regret, rate, n))
    return pd.DataFrame(rows, columns=["order", "batch_size", "learning_rate", "seed", "regret", "rate", "n"])


class Coins(NamedTuple):
    """How coins are tossed: their bias β, and how many sequences of them."""

    beta: float
    sequences: int


def numbers(coins: pd.DataFrame, orders: pd.DataFrame, tossed: Coins, run_length: int) -> dict[str, float]:
    """What the claims and the text rest on, from the tables of the two figures."""
    return {
        "minimax_factor": np.sqrt(4 * np.pi * np.log(2)),
        **_coins(coins, tossed),
        **_shuffled(orders),
        "largest_size": int(orders["batch_size"].max()),
        "run_length": run_length,
        **_runs(orders, run_length),
    }


def slope_and_error(table: pd.DataFrame) -> tuple[float, float]:
    """Slope of log mean regret against log M, with its standard error from the errors of the means."""
    slope = log_slope(table["batch_size"], table["mean"])
    if math.isnan(slope):
        return slope, math.nan
    x = np.log(table["batch_size"])
    weight = (x - x.mean()) / ((x - x.mean()) ** 2).sum()
    error = table["error"] / table["mean"]
    return (weight * np.log(table["mean"])).sum(), np.sqrt((weight**2 * error**2).sum(skipna=False))


def _coins(coins: pd.DataFrame, tossed: Coins) -> dict[str, float]:
    """How measured regrets scatter around the exact ones, and how both grow with M.

    What the halving sequences say of the bound counts for even coins, as the theorem does.
    """
    one, halving = (coins[coins["case"] == case] for case in ("one confidence", "halving"))
    single, weighted = (one[one["learner"] == learner] for learner in ("hil-f", "apple"))
    slope, error = slope_and_error(single)
    exact_slope = log_slope(single["batch_size"], single["exact"])
    scatter, scatter_apple = (
        rows["error"] * np.sqrt(tossed.sequences) / rows["mean"].where(rows["mean"] > 0) for rows in (single, weighted)
    )
    return {
        "coin_deviation_max": _deviation(one),
        "coin_slope": slope,
        "coin_slope_error": error,
        "exact_slope": exact_slope,
        "slope_deviation": abs(slope - exact_slope) / error if error else math.nan,
        "slope_from_half": abs(slope - 0.5) / error if error else math.nan,
        "coin_scatter": scatter.median(skipna=False),
        "coin_scatter_apple": most(scatter_apple),
        "halving_deviation_max": _deviation(halving),
        "bound_over_halving_max": most(halving["bound"] / halving["exact"]) if tossed.beta == 0.5 else math.nan,
    }


def _deviation(coins: pd.DataFrame) -> float:
    """The largest distance of a mean from the exact regret, in standard errors."""
    return most(in_errors((coins["mean"] - coins["exact"]).abs(), coins["error"]))


def _shuffled(orders: pd.DataFrame) -> dict[str, float]:
    """What batches add to the regret in random order, and what theorem T3 allows them to add."""
    fixed, tuned = (_mean_regret(orders, "shuffled", label) for label in ("fixed", "tuned"))
    first = orders[(orders["order"] == "shuffled") & (orders["learning_rate"] == "fixed")].iloc[0]
    price = 1 + first["rate"] ** 2 * first["n"] / 16 + first["rate"] / 4 * (1 + np.log(first["n"]))
    added = fixed["mean"] - at(fixed["mean"], 1)
    allowed = pd.Series((fixed.index - 1) * price, fixed.index)
    noise = 4 * np.hypot(fixed["error"], at(fixed["error"], 1))
    batches = fixed.index > 1  # at M = 1 there is nothing to add
    return {
        "shuffled_growth_fixed": most(_over_one(fixed["mean"])),
        "shuffled_growth_tuned": most(_over_one(tuned["mean"])),
        "shuffled_added": added.iloc[-1],
        "theorem_allows": allowed.iloc[-1],
        "added_over_allowed_max": most(((added - noise) / allowed)[batches]),
    }


def _runs(orders: pd.DataFrame, run_length: int) -> dict[str, float]:
    """How regret grows where neighbours are alike: through a batch, and up to and beyond the length of runs."""
    slope, _ = slope_and_error(_mean_regret(orders, "repeated through a batch", "tuned").reset_index())
    runs = _mean_regret(orders, f"runs of {run_length}", "fixed")["mean"]
    whole_run = at(runs, run_length)
    return {
        "repeated_slope": slope,
        "runs_before": at(_over_one(runs), run_length),
        "runs_after": runs.iloc[-1] / whole_run if whole_run > 0 else math.nan,
    }


def _over_one(means: pd.Series) -> pd.Series:
    """Mean regrets, by M, over that at M = 1; nan where that is not known, or nothing to compare with."""
    alone = at(means, 1)
    return means / (alone if alone > 0 else math.nan)


def _mean_regret(orders: pd.DataFrame, order: str, label: str) -> pd.DataFrame:
    """Mean regret over shuffles and its standard error, by batch size."""
    rows = orders[(orders["order"] == order) & (orders["learning_rate"] == label)].groupby("batch_size")["regret"]
    return pd.DataFrame({"mean": rows.mean(), "error": rows.std() / np.sqrt(rows.count())})
