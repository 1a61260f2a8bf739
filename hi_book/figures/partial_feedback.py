"""Learning from offloaded samples only: its figures, and the numbers its claims rest on."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from hi_book.figures.style import batch_size_axis, plain_ticks, shared_legend
from hi_book.figures.values import ordered
from hi_lib import regret
from hi_lib.learners import replay
from hi_lib.traces import Trace

_COLOURS = {"hil-f": "#0072B2", "hil-n": "#009E73", "apple": "#D55E00"}


def lengths(wanted: Sequence[int], samples: int) -> list[int]:
    """Numbers of samples to look at, in order: those wanted, but none beyond those that there are."""
    return ordered(min(length, samples) for length in wanted)


def regrets(orders: Sequence[Trace], beta: float, wanted: Sequence[int], batch_sizes: Sequence[int]) -> pd.DataFrame:
    """Regret and bound of three learners on shuffled traces: one by one for some lengths, and in batches for the last.

    `error` is the standard error over the shuffles, and `most` what no learner can exceed.
    """
    counts = lengths(wanted, len(orders[0]))
    points = [(n, 1) for n in counts] + [(counts[-1], size) for size in ordered({*batch_sizes} - {1})]
    rows = []
    for learner in _COLOURS:
        for n, size in points:
            heads = [Trace(whole.confidence[:n], whole.correct[:n]) for whole in orders]
            runs = [replay(trace, beta, size, learner, seed=seed) for seed, trace in enumerate(heads)]
            found, bound = (pd.Series([getattr(run, name) for run in runs]) for name in ("regret", "regret_bound"))
            rows.append((learner, n, size, found.mean(), found.sem(), bound.mean()))
    table = pd.DataFrame(rows, columns=["learner", "samples", "batch_size", "regret", "error", "bound"])
    return table.assign(most=table["samples"] * max(beta, 1 - beta))


def draw(table: pd.DataFrame) -> Figure:
    """Regret and bound of learners with more and less feedback, against the samples (M = 1) and the batch size."""
    figure, axes = plt.subplots(1, 2, figsize=(7.4, 3.0), sharey=True)
    views = {"samples": table["batch_size"] == 1, "batch_size": table["samples"] == table["samples"].max()}
    for axis, (x, chosen) in zip(axes, views.items(), strict=True):
        for learner, rows in table[chosen].groupby("learner", sort=False):
            rows, colour = rows.sort_values(x), _COLOURS[learner]
            axis.errorbar(rows[x], rows["regret"], 2 * rows["error"], fmt="o-", ms=3, color=colour, label=learner)
            axis.plot(rows[x], rows["bound"], ":", color=colour)
        axis.plot(rows[x], rows["most"], color="#999999", lw=0.9)
        axis.set(yscale="log", xscale="log", xlabel="samples n")
    batch_size_axis(axes[1], sorted(table["batch_size"].unique()))
    plain_ticks(axes[0].xaxis, sorted(table["samples"].unique()))
    axes[0].set_ylabel("regret")
    shared_legend(figure, 3)
    return figure


def hil_n_bound(n: int, batch_size: int, shortest: float, beta: float) -> float:
    """Bound on HIL-N's regret with its best exploration and rate, for n samples and a shortest cell."""
    share = regret.tuned_exploration(n, batch_size, shortest, beta)
    rate = regret.tuned_partial_feedback_rate(n, batch_size, shortest, share)
    return regret.partial_feedback_bound(n, batch_size, shortest, beta, rate, share)


def apple_bound(n: int, batch_size: int, shortest: float, beta: float) -> float:
    """Bound on the regret of weighing every offload, with its best rate, for n samples and a shortest cell."""
    return regret.apple_bound(n, batch_size, shortest, beta, regret.tuned_apple_rate(n, batch_size, shortest, beta))


def crossing(batch_size: int, shortest: float, beta: float) -> float:
    """The number of samples from which on, to within 2 %, the bound of weighing every offload is the lower one.

    nan if that is not so by 10⁹ samples.
    """
    counts = np.unique(np.geomspace(10, 1e9, 1600).astype(int)).tolist()
    # Below, the best rate would explore more than every sample.
    counts = [n for n in counts if regret.tuned_apple_rate(n, batch_size, shortest, beta) * batch_size <= 1]
    higher = [
        place
        for place, n in enumerate(counts)
        if apple_bound(n, batch_size, shortest, beta) >= hil_n_bound(n, batch_size, shortest, beta)
    ]
    first = higher[-1] + 1 if higher else 0
    return counts[first] if first < len(counts) else math.nan


def pseudo_loss_bias(trace: Trace, beta: float) -> float:
    """How far the mean pseudo-loss of a threshold lies from its loss, in standard errors: the most of 21 thresholds."""
    share, thresholds = 0.1, np.linspace(0, 1, 21)
    flags = np.random.default_rng(7).random((400, len(trace))) < share
    above = thresholds[:, None] > trace.confidence
    estimates = np.where(above, beta, 0).sum(axis=1) + (flags * ~trace.correct / share) @ ~above.T
    truth = np.where(above, beta, ~trace.correct).sum(axis=1)
    error = np.maximum(estimates.std(axis=0, ddof=1), 1e-9) / np.sqrt(len(flags))
    return float((np.abs(estimates.mean(axis=0) - truth) / error).max())


def numbers(regrets: pd.DataFrame, whole: Sequence[Trace], beta: float) -> dict[str, Any]:
    """What the claims and the text rest on, from the table of the figure and its shuffled traces."""
    longest = int(regrets["samples"].max())
    orders = [Trace(order.confidence[:longest], order.correct[:longest]) for order in whole]
    n, most = len(orders[0]), int(regrets["batch_size"].max())
    shortest = regret.lambda_min(orders[0])
    at = regrets.set_index(["learner", "samples", "batch_size"])
    over_bound = ((regrets["regret"] + 4 * regrets["error"]) / regrets["bound"]).groupby(regrets["learner"]).max()
    return {
        "unbiased_deviation_max": pseudo_loss_bias(orders[0], beta),
        "full_feedback": at["regret"]["hil-f", n, 1],
        "hil_n": at["regret"]["hil-n", n, 1],
        "apple": at["regret"]["apple", n, 1],
        "hil_n_over_bound_max": over_bound["hil-n"],
        "apple_over_bound_max": over_bound["apple"],
        "largest_size": most,
        "hil_n_bound_growth": at["bound"]["hil-n", n, most] / at["bound"]["hil-n", n, 1],
        "hil_f_bound_growth": at["bound"]["hil-f", n, most] / at["bound"]["hil-f", n, 1],
        **_vanilla_tuning(orders, beta, most),
        "crossing_one": crossing(1, shortest, beta),
        "crossing_most_millions": crossing(most, shortest, beta) / 1e6,
        "price_error": _price_error(n, shortest, beta),
        "hil_n_bound_slope": _slope(hil_n_bound, shortest, beta),
        "apple_bound_slope": _slope(apple_bound, shortest, beta),
    }


def _vanilla_tuning(orders: Sequence[Trace], beta: float, most: int) -> dict[str, float]:
    """Regret of HIL-N tuned for M = 1, at M = 1 and at the largest M, each with its standard error."""
    n, shortest = len(orders[0]), regret.lambda_min(orders[0])
    share = regret.tuned_exploration(n, 1, shortest, beta)
    rate = regret.tuned_partial_feedback_rate(n, 1, shortest, share)
    found: dict[str, float] = {}
    for name, size in (("one", 1), ("most", most)):
        runs = (replay(trace, beta, size, "hil-n", rate, share, seed=seed) for seed, trace in enumerate(orders))
        regrets = pd.Series([run.regret for run in runs])
        found |= {f"hil_n_fixed_{name}": regrets.mean(), f"hil_n_fixed_{name}_error": regrets.sem()}
    return found


def _price_error(n: int, shortest: float, beta: float) -> float:
    """How far the bound's growth from M = 1 to 11, with vanilla's tuning, is from (M − 1) ε / 3, relatively.

    nan where ε is not free: at least one sample must be explored, and at most all.
    """
    share = regret.tuned_exploration(n, 1, shortest, beta)
    if not 1 / n < share < 1:
        return math.nan
    rate = regret.tuned_partial_feedback_rate(n, 1, shortest, share)
    bound = regret.partial_feedback_bound(n, 11, shortest, beta, rate, share)
    return abs((bound / hil_n_bound(n, 1, shortest, beta) - 1) / (10 * share / 3) - 1)


def _slope(bound: Callable[[int, int, float, float], float], shortest: float, beta: float) -> float:
    """By which power of n a bound grows, at M = 1 between 10⁵ and 10⁷ samples."""
    few, many = 10**5, 10**7
    grown = np.diff(np.log([bound(n, 1, shortest, beta) for n in (few, many)]))[0]
    return float(grown / np.diff(np.log([few, many]))[0])
