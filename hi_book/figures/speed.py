"""How fast it is: its figures, and the numbers its claims rest on."""

from __future__ import annotations

from collections.abc import Iterable

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from hi_book.figures.style import PLAIN, shared_legend
from hi_book.figures.values import at
from hi_lib.regret import best_threshold
from hi_lib.rivals import quantised
from hi_lib.traces import Trace

METHOD_COLOURS = {
    "plain": "#D55E00",
    "device": "#009E73",
    "256 levels": "#CC79A7",
    "replay": "#0072B2",
    "engine": "#56B4E9",
    "sort": "#999999",
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
    shared_legend(figure, 6)
    return figure


def numbers(table: pd.DataFrame) -> dict[str, float]:
    """What the text says of each method: times of a round (µs, ns) or of a run (s), memory (GB), and ratios.

    nan for the plain learner where `table` leaves it out.
    """
    measured = table.set_index(["method", "samples"])
    seconds = measured["seconds_a_round"]
    # n log n in all is log n a round: what is left over shows the caches.
    scaled = [seconds["engine", n] / np.log2(n) for n in (10**4, 10**5, 10**6, 10**7)]
    plain = at(seconds, ("plain", 10**4))
    return {
        "plain_us": plain * 1e6,
        "plain_ratio": plain / seconds["engine", 10**4],
        "engine_ns": seconds["engine", 10**6] * 1e9,
        "replay_ns": seconds["replay", 10**6] * 1e9,
        "engine_sorts": measured["sorts"]["engine", 10**6],
        "log_growth": max(scaled) / min(scaled),
        "replay_s": seconds["replay", 10**7] * 10**7,
        "replay_gb": measured["peak_megabytes"]["replay", 10**7] / 1e3,
        "device_us": seconds["device", 10**4] * 1e6,
        "device_growth": seconds["device", 10**5] / seconds["device", 10**4],
        "device_million_us": seconds["device", 10**6] * 1e6,
        "levels_us": seconds["256 levels", 10**4] * 1e6,
        "adaptive_us": seconds["device, adaptive", 10**4] * 1e6,
        "adaptive_levels_us": seconds["256 levels, adaptive", 10**4] * 1e6,
        "offloads_us": seconds["device, m offloads", 10**4] * 1e6,
        "crowd_s": seconds["crowd of 100", 10**4] * 100 * 10**4,
        "crowd_mb": measured["peak_megabytes"]["crowd of 100", 10**4],
        "adaptive_replay_s": seconds["replay, adaptive", 10**4] * 10**4,
    }


def drawn(table: pd.DataFrame, largest_plain: int) -> pd.DataFrame:
    """What was measured, the plain learner with so many confidences at most."""
    return table[(table["method"] != "plain") | (table["samples"] <= largest_plain)]


def grid_price(known: Iterable[Trace], beta: float, levels: int) -> float:
    """How much more the best threshold costs a sample, at most, if confidences are rounded down to a grid."""
    prices = []
    for trace in known:
        rounded = quantised(trace, levels)
        prices.append(best_threshold(rounded, beta).average_cost - best_threshold(trace, beta).average_cost)
    return max(prices)


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """The table as the page shows it, a method after the other: times in µs, memory in MB, all as text."""
    columns = {
        "method": table["method"],
        "samples": table["samples"].map("{:,}".format),
        "µs a round": (table["seconds_a_round"] * 1e6).map(_digits),
        "rounds a second": (1 / table["seconds_a_round"]).map("{:,.0f}".format),
        "times np.sort": table["sorts"].map(_digits),
        "peak MB": table["peak_megabytes"].map("{:,.0f}".format),
    }
    return pd.DataFrame(columns).sort_values("method", kind="stable")


def _digits(value: float) -> str:
    """Three digits, without exponents."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
