"""Which confidence: what scores of certainty cost against the largest softmax value alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hi_book.figures.style import shared_legend
from hi_book.figures.values import count, ordered
from hi_lib import checks
from hi_lib.learners import replay
from hi_lib.logs.regression import regressed
from hi_lib.regret import best_threshold
from hi_lib.specification import ADAPTIVE
from hi_lib.traces import Trace
from hi_lib.typing import Floats

MARGIN, REGRESSION, TEMPERATURE = "margin of the two", "regression on the two", "temperature"
PLAIN = "plain"
SCORES = {MARGIN: "#D55E00", REGRESSION: "#0072B2", TEMPERATURE: "#999999"}
FITTED, RULE, LEARNER = "fitted θ", "θ = 1 − β", "HIL-F, adaptive rate"
WAYS = (FITTED, RULE, LEARNER)
_CLEAR = 2  # standard errors from which on chance does not explain a difference


def compared(
    traces: Mapping[str, Trace], tables: Mapping[str, pd.DataFrame], betas: Sequence[float], shuffles: int
) -> pd.DataFrame:
    """Cost of each score less that of the plain confidence, on the half of the images on which nothing was fitted.

    Parameters
    ----------
    traces : dict of Trace
        By title; those that do not know the second softmax value are left out.
    tables : dict of DataFrame
        Calibration tables by title: part and confidence_scaled of each sample. The half "fit" fits regression,
        temperature and thresholds, the half "report" judges.
    betas : sequence of float
    shuffles : int
        Orders in which HIL-F meets the half that judges.

    Returns
    -------
    DataFrame with columns title, beta, way (one of WAYS), score (one of SCORES), plain (cost of the plain confidence),
    more (by how much the score costs more), error (standard error of the paired difference over images), and each
    (that difference of every image, shape (n,)).
    """
    seeds, rows = range(checks.whole("shuffles", shuffles)), []
    for title, trace in traces.items():
        if trace.second_confidence is None:
            continue
        fitted, judging = (np.flatnonzero(tables[title]["part"] == part) for part in ("fit", "report"))
        scored = {
            PLAIN: trace,
            MARGIN: Trace(trace.confidence - trace.second_confidence, trace.correct),
            REGRESSION: regressed(trace, fitted),
            TEMPERATURE: Trace(tables[title]["confidence_scaled"], trace.correct),
        }
        for beta in ordered(betas):
            costs = {
                name: _costs(score.chosen(fitted), score.chosen(judging), beta, seeds) for name, score in scored.items()
            }
            rows += [(title, beta, *found) for found in _against_plain(costs)]
    return pd.DataFrame(rows, columns=["title", "beta", "way", "score", "plain", "more", "error", "each"])


def _costs(fitted: Trace, judging: Trace, beta: float, seeds: Sequence[int]) -> dict[str, Floats]:
    """Cost of each sample of the half that judges, by the way to decide; the learner's is a mean over its orders."""
    theta = best_threshold(fitted, beta).threshold
    wrong = ~judging.correct
    rules = {way: np.where(judging.confidence < at, beta, wrong) for way, at in ((FITTED, theta), (RULE, 1 - beta))}
    learned = np.zeros(len(judging))
    for seed in seeds:
        order = judging.shuffle_order(seed)
        learned[order] += replay(judging.chosen(order), beta, learning_rate=ADAPTIVE).cost / len(seeds)
    return rules | {LEARNER: learned}


def _against_plain(costs: Mapping[str, Mapping[str, Floats]]) -> Iterator[tuple[Any, ...]]:
    """For each way and score: the plain cost, what the score costs more, its standard error, and that of every image.

    The margin is no probability, and the rule needs one.
    """
    for way in WAYS:
        plain = costs[PLAIN][way]
        for name in SCORES:
            if (way, name) != (RULE, MARGIN):
                more = costs[name][way] - plain
                yield way, name, plain.mean(), more.mean(), more.std(ddof=1) / np.sqrt(more.size), more


def draw(table: pd.DataFrame) -> Figure:
    """What each score costs more than the plain confidence, a panel a way to decide, a row an S-ML and β."""
    cells = list(dict.fromkeys(zip(table["title"], table["beta"], strict=True)))
    place = {cell: row + 0.6 * list(dict.fromkeys(table["title"])).index(cell[0]) for row, cell in enumerate(cells)}
    figure, axes = plt.subplots(
        1, len(WAYS), figsize=(7.6, 0.27 * len(cells) + 1.4), sharex=True, sharey=True, squeeze=False
    )
    for axis, way in zip(axes[0], WAYS, strict=True):
        axis.axvline(0, color="#333333", lw=0.8)
        for shift, (name, colour) in zip((-0.25, 0, 0.25), SCORES.items(), strict=True):
            some = table[(table["way"] == way) & (table["score"] == name)]
            y = [place[cell] + shift for cell in zip(some["title"], some["beta"], strict=True)]
            axis.errorbar(
                1000 * some["more"],
                y,
                xerr=1000 * _CLEAR * some["error"],
                fmt="o",
                ms=3,
                lw=1,
                color=colour,
                label=name,
            )
        axis.set(title=way)
        axis.grid(visible=False, axis="y")
    axes[0][0].invert_yaxis()
    axes[0][0].set_yticks(list(place.values()), [f"{_short(title)}, β = {beta:g}" for title, beta in cells])
    axes[0][1].set_xlabel("cost minus that of the plain confidence, thousandths of a wrong answer")
    handles = [Line2D([], [], marker="o", ms=4, color=colour, label=name) for name, colour in SCORES.items()]
    shared_legend(figure, 3, handles)
    return figure


def _short(title: str) -> str:
    return title.rpartition(", ")[2].removeprefix("MobileNet ")


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """The page's table, in thousandths of a wrong answer: a row an S-ML, β and way, a column a score."""
    cells = [
        f"{1000 * more:+.1f} ± {1000 * error:.1f}" for more, error in zip(table["more"], table["error"], strict=True)
    ]
    keys = ["title", "beta", "way"]
    wide = table.assign(cell=cells).pivot(index=keys, columns="score", values="cell")[list(SCORES)].fillna("")
    plain = table.groupby(keys, sort=False)["plain"].first()
    wide.insert(0, "plain", [f"{cost:.4f}" for cost in plain[wide.index]])
    wide = wide.loc[plain.index].reset_index().rename_axis(columns=None).rename(columns={"title": "S-ML", "beta": "β"})
    return wide.assign(**{"S-ML": wide["S-ML"].map(_short), "β": wide["β"].map("{:g}".format)})


def numbers(table: pd.DataFrame) -> dict[str, Any]:
    """How often the regression is clearly cheaper or dearer, and what each score changes on average."""
    some = table[table["score"] == REGRESSION]
    found: dict[str, Any] = {
        "score_cells": len(some),
        "score_cheaper": count(some["more"] < -_CLEAR * some["error"]),
        "score_dearer": count(some["more"] > _CLEAR * some["error"]),
        "score_images": len(some["each"].iloc[0]),
        "score_most": 1000 * some["more"].abs().max(),
    }
    names = {MARGIN: "margin", REGRESSION: "regression", TEMPERATURE: "temperature"}
    ways = {FITTED: "fitted", RULE: "rule", LEARNER: "learner"}
    for (way, name), cells in table.groupby(["way", "score"]):
        # The same images in every cell: their means over the cells are independent, the cells are not.
        each = np.mean(list(cells["each"]), axis=0)
        found[f"{names[name]}_{ways[way]}"] = 1000 * each.mean()
        found[f"{names[name]}_{ways[way]}_error"] = 1000 * each.std(ddof=1) / np.sqrt(each.size)
    return found
