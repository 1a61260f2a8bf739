"""The regret bound, step by step: its figures, and the numbers its claims rest on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hi_book.figures.style import batch_size_axis, name_beside, rising_scale, shared_legend, trace_title
from hi_book.figures.values import in_errors, least, listed, log_slope, most, ordered
from hi_lib import checks
from hi_lib.forecaster import Forecaster
from hi_lib.learners import replay
from hi_lib.regret import best_threshold, lambda_min, regret_bound, tuned_learning_rate
from hi_lib.traces import Trace, load_trace
from hi_lib.typing import Floats

SLACK_COLOURS = {
    "regret": "#D55E00",
    "shortest cell": "#E69F00",
    "other cells": "#CC79A7",
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


@dataclass(frozen=True)
class Case:
    """What walks through the proof: a trace in one order, the cost β of an offload, and batch sizes."""

    trace: Trace
    beta: float
    batch_sizes: Sequence[int]

    def bound(self, batch_size: int, rate: float | None = None) -> float:
        """Bound on the expected regret, with the tuned rate or another one."""
        return regret_bound(len(self.trace), batch_size, lambda_min(self.trace), rate)

    def tuned(self, batch_size: int) -> float:
        """The rate η* of a batch size; 1, as good as any, where there is one cell."""
        return tuned_learning_rate(len(self.trace), batch_size, lambda_min(self.trace)) or 1.0


def realised_regret(
    case: Case, batch_size: int, learning_rate: float, draws: int, seed: int | None
) -> NDArray[np.float64]:
    """Regret with thresholds drawn for real, shape (draws,): independent batches, the expected regret on average."""
    size, count = checks.whole("batch_size", batch_size), checks.whole("draws", draws)
    trace, beta, eta = case.trace, checks.real("beta", case.beta, 0, 1), checks.positive("learning_rate", learning_rate)
    rng = np.random.default_rng(checks.seed("seed", seed))
    cost = np.zeros(count)
    for chance, loss, _ in _batches(trace, beta, size, eta):
        cost += rng.choice(loss, size=count, p=chance)
    return cost - best_threshold(trace, beta).average_cost * len(trace)


def slack(case: Case) -> pd.DataFrame:
    """What each step of the proof gives away, a row for each M, with its own rate ("tuned") and that of M = 1."""
    rows = []
    for size in case.batch_sizes:
        for label, rate in (("tuned", case.tuned(size)), ("fixed", case.tuned(1))):
            parts = bound_slack(case.trace, case.beta, size, rate)
            bound = case.bound(size, rate)
            rows.append({"learning_rate": label, "batch_size": size, "rate": rate, "bound": bound, **parts})
    return pd.DataFrame(rows)


def realised(case: Case, draws: int, failure: float, seed: int | None = 1) -> pd.DataFrame:
    """Realised regret over so many draws of all thresholds, and its limit, exceeded with a chance of `failure`."""
    rows = []
    for size in case.batch_sizes:
        drawn = realised_regret(case, size, case.tuned(size), draws, seed)
        deviation = drawn.std(ddof=1) if draws > 1 else math.nan
        expected = replay(case.trace, case.beta, size).regret
        low, high = np.quantile(drawn, [0.01, 0.99])
        limit = case.bound(size) + azuma_margin(len(case.trace), size, failure)
        rows.append((size, expected, drawn.mean(), deviation, low, high, limit, (drawn > limit).mean()))
    columns = ["batch_size", "expected", "mean", "deviation", "low", "high", "limit", "share_above"]
    return pd.DataFrame(rows, columns=columns)


def least_bounds() -> dict[str, tuple[Any, Any, Any]]:
    """Of each kind of feedback: the rate at which the bound is least, its least value, and the one we state."""
    import sympy  # type: ignore[import-untyped]

    eta, size, n, cells, beta, share = sympy.symbols("eta M n L beta epsilon", positive=True)
    others = sympy.Symbol("(M-1)", positive=True)
    bounds = {
        "full feedback": (cells / eta + n * size * eta / 8, sympy.sqrt(n * size * cells / 2)),
        "every offload weighted": (
            cells / eta + (1 + beta) * eta * n * size,
            2 * sympy.sqrt((1 + beta) * n * size * cells),
        ),
        "explored samples only": (
            cells / eta + eta / 2 * n * (1 / share + others),
            sympy.sqrt(2 * cells * n * (1 / share + others)),
        ),
    }
    return {name: (*_minimised(bound, eta), stated) for name, (bound, stated) in bounds.items()}


def _minimised(expression: Any, variable: Any) -> tuple[Any, Any]:
    """The minimiser of a convex expression, and the minimum."""
    import sympy

    (best,) = sympy.solve(sympy.diff(expression, variable), variable)
    if not sympy.diff(expression, variable, 2).subs(variable, best).is_positive:
        raise ArithmeticError(f"{expression} has no minimum at {variable} = {best}")
    return best, sympy.simplify(expression.subs(variable, best))


def algebra_holds() -> bool:
    """Whether every bound that we state is what calculus says."""
    import sympy

    n, size, cells = sympy.symbols("n M L", positive=True)
    # Anytime: with K = n/M batches and rates 2 √(L/k)/M, the sum of 1/√k is at most 2 √K.
    batches = n / size
    last_rate, squares = 2 * sympy.sqrt(cells / batches) / size, size**2 * 2 * sympy.sqrt(batches)
    anytime = cells / last_rate + 2 * sympy.sqrt(cells) / size * squares / 8
    pairs = [(least, stated) for _, least, stated in least_bounds().values()]
    pairs.append((anytime, sympy.sqrt(n * size * cells)))
    return all(sympy.simplify(found - stated) == 0 for found, stated in pairs)


def bounds_in_markdown() -> str:
    """The best rates and least values as a table in Markdown."""
    import sympy

    rows = [(name, *map(sympy.latex, (rate, least))) for name, (rate, least, _) in least_bounds().items()]
    lines = [f"| {name} | ${rate}$ | ${least}$ |" for name, rate, least in rows]
    return "\n".join(["| bound | best rate | least value |", "|---|---|---|", *lines])


class Heads(NamedTuple):
    """Where the fall of regret per round is followed: β, batch sizes, and first samples, from so many to so many."""

    beta: float
    batch_sizes: Sequence[int]
    shortest: int
    longest: int

    def counts(self, n: int) -> NDArray[np.int64]:
        """Eight numbers of first samples of a trace of n, or fewer where it does not have as many."""
        ends = sorted((self.shortest, self.longest))
        return np.unique(np.geomspace(ends[0], ends[1], 8).astype(int).clip(max=n))


def numbers(case: Case, steps: pd.DataFrame, drawn: pd.DataFrame, draws: int) -> dict[str, Any]:
    """What the claims and the text say of one run, from `slack` and `realised`; and what holds without any."""
    distance = in_errors((drawn["mean"] - drawn["expected"]).abs(), drawn["deviation"])
    vanilla = case.bound(1)
    return {
        "model": trace_title(str(case.trace.name)),
        "cost": case.beta,
        **_shares(steps),
        "algebra_holds": algebra_holds(),
        "realised_mean_error": most(distance) * draws**0.5,
        "realised_above_limit": most(drawn["share_above"]),
        "bound_growth_16": case.bound(16) / vanilla if vanilla else math.nan,
        "bound_form_differs": _form_differs(len(case.trace), lambda_min(case.trace)),
        **counterexample(),
    }


def _form_differs(n: int, shortest: float) -> float:
    """Largest difference between batches of 16 and single samples in how the paper's bound grows with n and λ_min."""
    grown = [
        [regret_bound(4 * n, size, shortest) / least, regret_bound(n, size, shortest**2) / least]
        for size in (1, 16)
        if (least := regret_bound(n, size, shortest)) > 0
    ]
    return float(np.ptp(grown, axis=0).max()) if grown else math.nan


def shipped_numbers(runs: pd.DataFrame, decays: Sequence[float], heads: Heads) -> dict[str, Any]:
    """What the claims and the text say of all shipped traces, from a sweep over them and from `decays`."""
    traces = [load_trace(name) for name in runs["trace"].unique()]
    cells = [-np.log(lambda_min(trace)) for trace in traces]
    counts = heads.counts(max(map(len, traces)))
    return {
        "shuffles": runs["seed"].nunique(),
        "all_betas": _named(runs["beta"]),
        "all_batch_sizes": _named(runs["batch_size"]),
        "regret_over_bound_max": most(runs["regret"] / runs["regret_bound"]),
        "decay_beta": heads.beta,
        "decay_batch_sizes": _named(heads.batch_sizes),
        "decay_from": counts[0],
        "decay_to": counts[-1],
        "decay_least": least(decays),
        "decay_most": most(decays),
        "log_cells_least": min(cells),
        "log_cells_most": max(cells),
    }


def _named(values: Iterable[float]) -> str:
    return listed(f"{value:g}" for value in ordered(values))


def _shares(steps: pd.DataFrame) -> dict[str, float]:
    """The regret as a share of the bound with the tuned rate; whether all parts add up, and none is negative."""
    tuned = steps[steps["learning_rate"] == "tuned"]
    shares, parts = tuned["regret"] / tuned["bound"], list(SLACK_COLOURS)
    return {
        "regret_share_least": least(shares),
        "regret_share_most": most(shares),
        "decomposition_error": most((steps[parts].sum(axis=1) / steps["bound"] - 1).abs()),
        "slack_min": steps[parts[1:]].min(axis=None),
    }


def decays(names: Iterable[str], heads: Heads, shuffles: int) -> list[float]:
    """The a of n^−a as which regret per round falls on the first n samples of each trace, shuffled, for each M."""
    return [_decay(name, size, heads, shuffles) for name in names for size in heads.batch_sizes]


def _decay(name: str, batch_size: int, heads: Heads, shuffles: int) -> float:
    orders = [load_trace(name).shuffled(seed) for seed in range(shuffles)]
    counts = heads.counts(len(orders[0]))
    mean = []
    for count in counts:
        first = [Trace(order.confidence[:count], order.correct[:count]) for order in orders]
        mean.append(np.mean([replay(head, heads.beta, batch_size).regret / count for head in first]))
    return -log_slope(counts, mean)


def counterexample() -> dict[str, float]:
    """Regret, and the bound with the paper's λ_min, which looks between values only.

    1000 wrong answers, sure but for one, leave a tiny cell above them all. (No largest of ten classes is below 0.1.)
    """
    confidence = np.full(1000, 0.999)
    confidence[0] = 0.1
    between_values = confidence.max() - confidence.min()
    rate = tuned_learning_rate(1000, 1, between_values)
    run = replay(Trace(confidence, np.zeros(1000)), 0.5, learning_rate=rate)
    bound = regret_bound(1000, 1, between_values)
    return {
        "counterexample_regret": run.regret,
        "counterexample_bound": bound,
        "counterexample_over_bound": run.regret / bound,
    }


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
    shared_legend(figure, 5)
    return figure


def draw_realised_regret(table: pd.DataFrame) -> Figure:
    """Mean and range of realised regret, and the limit for it, against the batch size."""
    figure, axis = plt.subplots(figsize=(5.2, 3.0))
    x = table["batch_size"]
    axis.fill_between(x, table["low"], table["high"], color="#0072B2", alpha=0.2, lw=0)
    axis.plot(x, table["expected"], "o-", ms=3, color="#0072B2")
    axis.plot(x, table["limit"], "--", color="#333333", lw=1.1)
    axis.set_ylabel("regret")
    rising_scale(axis, table["limit"])
    positive = [value for value in (*table["low"], *table["expected"], *table["limit"]) if value > 0]
    if positive:
        axis.set_ylim(0.7 * min(positive), 1.3 * max(positive))
    batch_size_axis(axis, x)
    last = table.iloc[-1]
    for column, name, colour in (("expected", "mean", "#0072B2"), ("limit", "limit", "#333333")):
        if last[column] > 0:
            name_beside(axis, name, (last["batch_size"], last[column]), colour)
    return figure
