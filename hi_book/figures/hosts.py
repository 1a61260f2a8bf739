"""A network that is not ours: times of transmissions through the kernel's TCP, beside what its rounds explain."""

from __future__ import annotations

import itertools

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from hi_book.figures.style import logarithmic, plain_ticks, shared_legend
from hi_book.figures.values import least, most
from hi_lib.slow_start import transmission_time
from hi_lib.typing import Floats

WARM, COLD, KEPT = "5 ms idle before", "500 ms idle before", "500 ms idle, window kept"
LONGEST = "2 s idle before"
_IN_USE = 100  # ms: a connection that was idle for no longer
# Of which the text speaks: pictures, share of packets lost, round trip in ms.
_MANY, _LOSS, _TRIP = 16, 0.01, 20.0
COLOURS = {WARM: "#0072B2", COLD: "#D55E00", KEPT: "#009E73"}
_ASSUMED = "#777777"
_CASES = {WARM: (5, False), COLD: (500, False), KEPT: (500, True), LONGEST: (2000, False)}
DATA = "Imagenette"
KINDS = {"expected": "before anything is drawn", "realised": "given the offloads that came about"}
_KIND_COLOURS = {"expected": "#777777", "realised": "#0072B2"}
_TIMES = {"system_time": "system time $t_s$", "response_time": "response time $t_r$"}


def law(table: pd.DataFrame) -> Floats:
    """What `hi_lib.slow_start` says of each row, ms; a window that is kept is one that was never idle."""
    return np.array(
        [
            float(transmission_time(row.bytes, row.rtt, row.rate, 0 if row.keep_window else row.idle, row.congestion))
            for row in table.itertuples()
        ]
    )


def chosen(table: pd.DataFrame, case: str) -> pd.DataFrame:
    """Rows of Imagenette's pictures through cubic without loss, in one of these cases."""
    idle, kept = _CASES[case]
    rows = table[(table["data"] == DATA) & (table["congestion"] == "cubic") & (table["loss"] == 0)]
    return rows[(rows["idle"] == idle) & (rows["keep_window"] == kept)]


def draw(table: pd.DataFrame) -> Figure:
    """Time of a transmission against the pictures in it, a panel a round trip; lines: the law; grey: the assumption."""
    trips = sorted(table["rtt"].unique())
    figure, axes = plt.subplots(1, len(trips), figsize=(7.6, 3.4), squeeze=False)
    for axis, trip in zip(axes[0], trips, strict=True):
        for case, colour in COLOURS.items():
            rows = chosen(table, case)
            rows = rows[rows["rtt"] == trip].sort_values("pictures")
            axis.plot(rows["pictures"], law(rows), color=colour, lw=1.2)
            # Around the others' dots, where they lie on one another.
            ring = {"ms": 7, "mfc": "none"} if case == WARM else {"ms": 4}
            axis.plot(rows["pictures"], rows["p50"], "o", color=colour, label=case, **ring)
        assumed = rows["rtt"] + 8000 * rows["bytes"] / rows["rate"]
        axis.plot(rows["pictures"], assumed, "--", lw=1, color=_ASSUMED, label="network time constant, as assumed")
        logarithmic(axis, [1, 2, 4, 8, 16, 32, 64])
        axis.set(title=f"round trip {trip:g} ms", xlabel="pictures in a transmission", yscale="log")
        plain_ticks(axis.yaxis, [10, 20, 50, 100, 200, 500])
    axes[0, 0].set_ylabel("time until the answer (ms)")
    shared_legend(figure, 2)
    return figure


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """The page's table: medians by round trip and idle time, cubic, a column a number of pictures."""
    rows = table[(table["data"] == DATA) & (table["loss"] == 0)]
    ways = [row.congestion + (", window kept" if row.keep_window else "") for row in rows.itertuples()]
    wide = rows.assign(way=ways).pivot(index=["rtt", "way", "idle"], columns="pictures", values="p50")
    wide.columns = pd.Index([f"{count:g}" for count in wide.columns])
    names = {"rtt": "round trip (ms)", "way": "congestion control", "idle": "idle before (ms)"}
    return wide.reset_index().rename(columns=names)


def errors(runs: pd.DataFrame, kind: str, time: str) -> pd.Series:
    """By how much the measured time exceeds the model's, relatively; a run a row."""
    return runs[f"measured_{time}"] / runs[f"{kind}_{time}"] - 1


def draw_runs(runs: pd.DataFrame) -> Figure:
    """Measured over the model's times, less one, of every way to send: a dot a run, a bar its mean; a panel a time."""
    ways = list(dict.fromkeys(runs["how"]))
    figure, axes = plt.subplots(1, 2, figsize=(7.6, 3.2), sharey=True)
    for axis, (time, title) in zip(axes, _TIMES.items(), strict=True):
        for (kind, label), beside in zip(KINDS.items(), (-0.15, 0.15), strict=True):
            for place, way in enumerate(ways):
                found = 100 * errors(runs[runs["how"] == way], kind, time)
                x, colour = np.full(found.size, place + beside), _KIND_COLOURS[kind]
                axis.plot(x, found, "o", ms=3, alpha=0.5, mew=0, color=colour)
                axis.plot(place + beside, found.mean(), "_", ms=13, mew=2.5, color=colour, label=label)
        axis.axhline(0, color="#333333", lw=0.8)
        axis.set_xticks(range(len(ways)), ways)
        axis.set(title=title)
        axis.grid(visible=False, axis="x")
    axes[0].set_ylabel("measured above the model (%)")
    shared_legend(figure, 2)
    return figure


def run_numbers(runs: pd.DataFrame) -> dict[str, float]:
    """What the text says of runs between hosts: errors of single runs, and of means over the seeds."""
    found: dict[str, float] = {
        "host_runs": len(runs),
        "host_seeds": runs["seed"].nunique(),
        "host_lost": runs["lost"].sum(),
        "host_late_p95": most(runs["link_p95"]),
        "host_core": most(runs["link_core"]),
    }
    for kind, time in itertools.product(KINDS, _TIMES):
        each = errors(runs, kind, time)
        means = each.groupby(runs["how"]).mean()
        short = f"host_{kind}_{time.partition('_')[0]}"
        found |= {f"{short}_median": float(each.abs().median()), f"{short}_worst": float(each.abs().max())}
        found |= {f"{short}_mean_worst": most(means.abs())}
    return found


def numbers(table: pd.DataFrame) -> dict[str, float]:
    """What the text and the claims say of the payload."""
    whole = table[table["loss"] == 0]
    cubic = whole[whole["congestion"] == "cubic"]
    warm = cubic[cubic["idle"] <= _IN_USE]
    assumed = warm["rtt"] + 8000 * warm["bytes"] / warm["rate"]
    cold = chosen(table, COLD)
    warmed = chosen(table, WARM).set_index(["rtt", "pictures"])["p50"]
    growth = (cold.set_index(["rtt", "pictures"])["p50"] / warmed).dropna()
    residual = np.abs(law(whole) / whole["p50"] - 1)
    single = whole[(whole["data"] == DATA) & (whole["pictures"] == 1) & (whole["idle"] <= _IN_USE)]
    paced, kept = (single[single["congestion"] == name].groupby("rtt")["p50"].median() for name in ("bbr", "cubic"))
    return {
        "warm_off_most": most((warm["p50"] / assumed - 1).abs()),
        "cold_most": most(growth),
        "cold_least": least(growth),
        "cold_longest": most((chosen(table, LONGEST).set_index(["rtt", "pictures"])["p50"] / warmed).dropna()),
        "cold_single": most(growth[growth.index.get_level_values("pictures") == 1]),
        "law_half": float(np.median(residual)),
        "law_most": float(np.quantile(residual, 0.9)),
        "law_worst": float(residual.max()),
        "cells": len(whole),
        "late_p95": float(table["late_p95"].median()),
        "core": most(table["core"]),
        "bbr_most": most((paced / kept).dropna()),
        **_lossy(table),
    }


def _lossy(table: pd.DataFrame) -> dict[str, float]:
    """Medians of many pictures in a transmission through a connection in use, without loss and with it, ms."""
    rows = table[(table["data"] == DATA) & (table["pictures"] == _MANY) & (table["rtt"] == _TRIP)]
    rows = rows[(rows["idle"] == _CASES[WARM][0]) & ~rows["keep_window"]]

    def median(congestion: str, loss: float) -> float:
        return most(rows["p50"][(rows["congestion"] == congestion) & (rows["loss"] == loss)])

    return {
        "many": _MANY,
        "many_trip": _TRIP,
        "many_whole": median("cubic", 0.0),
        "many_lost": median("cubic", _LOSS),
        "many_lost_bbr": median("bbr", _LOSS),
        "mean_error": most(table["error"] / table["mean"]),
    }
