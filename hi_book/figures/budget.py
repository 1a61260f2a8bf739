"""A budget on offloads: what hindsight and a learner make of it, and the numbers its claim rests on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from hi_book.figures.style import by_data_set, shared_legend, trace_title
from hi_book.figures.values import most, ordered, quotient, standard_error
from hi_lib import checks, regret
from hi_lib.budgets import Frontier, best_mixture, frontier
from hi_lib.learners import Run, replay
from hi_lib.regret import best_threshold
from hi_lib.specification import ADAPTIVE, TUNED
from hi_lib.studies.made_up import two_halves
from hi_lib.studies.shared import ALL, COMMON, EQUAL
from hi_lib.traces import Trace
from hi_lib.typing import Floats

_FIXED = 20_000  # samples of the two sequences that are fixed in advance
_FIXED_BETA, _FIXED_BUDGET = 0.2, 0.25
_RATES = (ADAPTIVE, TUNED)  # the page shows what the first does


class Learned(NamedTuple):
    """What HIL-F makes of each budget on samples drawn from a trace."""

    table: pd.DataFrame
    """A row a budget and rate."""
    paths: dict[float, Floats]
    """Offloads beyond the budget so far, mean over the draws, shape (n,), by budget: with the adaptive rate."""


def draws(trace: Trace, count: int) -> list[Trace]:
    """Samples drawn from a trace with replacement, as many as it has: independent and alike, as T26 wants them."""
    n = len(trace)
    return [trace.chosen(np.random.default_rng(seed).integers(0, n, n)) for seed in range(checks.whole("draws", count))]


def learned(trace: Trace, beta: float, budgets: Sequence[float], count: int) -> Learned:
    """Cost, share and overspending of HIL-F at each budget, against the best mixture of thresholds for the trace.

    The table has columns budget, rate, best_cost and threshold_cost (of the best mixture and the best threshold within
    the budget), cost and cost_error, share and share_error (means over the draws, and standard errors), regret and
    overspent (means over the draws, in wrong answers and offloads), bound and overspending_bound (T26's on them), and
    strict_cost (of a device that stops offloading when its budget is gone).
    """
    samples = draws(trace, count)
    rows, paths = [], {}
    for budget in ordered(budgets):
        best = best_mixture(trace, beta, budget).average_cost
        known = {"budget": budget, "best_cost": best}
        known["threshold_cost"] = best_threshold(trace, beta, budget=budget).average_cost
        for rate in _RATES:
            runs = [replay(drawn, beta, learning_rate=rate, budget=budget) for drawn in samples]
            strict = [
                replay(drawn, beta, learning_rate=rate, budget=budget, strict=True, seed=seed).average_cost
                for seed, drawn in enumerate(samples)
            ]
            rows.append({**known, "rate": rate, **_means(runs, best, budget, beta), "strict_cost": np.mean(strict)})
            if rate == ADAPTIVE:
                paths[budget] = np.mean([np.cumsum(run.offload_probability - budget) for run in runs], axis=0)
    return Learned(pd.DataFrame(rows), paths)


def _means(runs: Sequence[Run], best: float, budget: float, beta: float) -> dict[str, Any]:
    """Means over runs on independent samples, standard errors, and T26's bounds, without its term for random order."""
    n = runs[0].cost.size
    term = regret.random_order_term(n, beta, budget)
    costs, shares = ([getattr(run, each) for run in runs] for each in ("average_cost", "offload_ratio"))
    return {
        "cost": np.mean(costs),
        "cost_error": standard_error(costs),
        "share": np.mean(shares),
        "share_error": standard_error(shares),
        "regret": n * (np.mean(costs) - best),
        "overspent": n * (np.mean(shares) - budget),
        "bound": np.mean([(run.regret_bound or 0.0) - term for run in runs]),
        "overspending_bound": np.mean([run.overspending_bound or 0.0 for run in runs]),
    }


def draw(trace: Trace, beta: float, found: Learned) -> Figure:
    """Left: cost against the share offloaded, of thresholds, mixtures and HIL-F. Right: how much is overspent."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.6, 3.4))
    table = found.table[found.table["rate"] == ADAPTIVE]
    budgets = ordered(table["budget"])
    _draw_curve(left, frontier(trace, beta))
    left.errorbar(
        100 * table["share"],
        table["cost"],
        xerr=200 * table["share_error"],
        yerr=2 * table["cost_error"],
        fmt="o",
        ms=5,
        color="#009E73",
        label="HIL-F with a budget",
        zorder=4,
    )
    low, high = left.get_ylim()
    for budget, colour in zip(budgets, _colours(budgets), strict=True):
        left.axvline(100 * budget, color=colour, lw=0.9, ls=":", zorder=0)
        path = found.paths[budget]
        right.plot(np.arange(1, path.size + 1), path, color=colour, lw=1.3, label=f"budget {100 * budget:.4g} %")
    left.set_ylim(low, high)
    left.set(xlabel="offloaded, % of the samples", ylabel="cost a sample", xlim=(0, 100))
    right.axhline(0, color="#333333", lw=0.8)
    right.set(xlabel="samples so far", ylabel="offloads beyond the budget so far")
    shared_legend(figure, 3)
    return figure


def _draw_curve(axis: Any, curve: Frontier) -> None:
    share, cost, hull = 100 * curve.offload_ratio, curve.average_cost, curve.hull
    axis.plot(share, cost, color="#999999", lw=1, label="one threshold")
    axis.plot(share[hull], cost[hull], color="#333333", lw=1, ls="--", label="best mixture (lower hull)")


def _colours(budgets: Sequence[float]) -> list[Any]:
    return [mpl.colormaps["viridis"](place) for place in np.linspace(0, 0.85, len(budgets))]


def meant(traces: Mapping[str, Trace], thresholds: Sequence[float]) -> pd.DataFrame:
    """What a threshold means, in per cent of the samples that it offloads: a row each, a column a trace's title."""
    wanted = [checks.real("thresholds", each, 0, 1) for each in ordered(thresholds)]
    columns = {
        title: [100 * float((traces[title].confidence < theta).mean()) for theta in wanted]
        for title in by_data_set(traces)
    }
    return pd.DataFrame({"θ": wanted, **columns})


def meant_shown(table: pd.DataFrame) -> pd.DataFrame:
    """The same as the page shows it."""
    cells = {title: [f"{value:.1f}" for value in table[title]] for title in table.columns[1:]}
    shown = pd.DataFrame({"θ": [f"{theta:g}" for theta in table["θ"]], **cells})
    return shown.rename(columns=lambda title: title.replace(", ", "<br>"))


def shared_shown(table: pd.DataFrame) -> pd.DataFrame:
    """Devices with a common multiplier beside ones with equal shares: a row a device, and one for all of them."""
    rows = []
    for device in dict.fromkeys(table["device"]):
        ways = table[table["device"] == device].set_index("sharing")
        row = {"device": "all together" if device == ALL else trace_title(device)}
        for way in (COMMON, EQUAL):
            row |= {
                f"{way}: % offloaded": f"{100 * ways.loc[way, 'offload_ratio']:.1f}",
                f"{way}: cost": f"{ways.loc[way, 'average_cost']:.4f}",
                f"{way}: best cost": f"{ways.loc[way, 'best_cost']:.4f}",
            }
        rows.append(row)
    return pd.DataFrame(rows)


def shared_numbers(table: pd.DataFrame, beta: float, budget: float) -> dict[str, float]:
    """What the text says of devices that share a budget."""
    everyone = table[table["device"] == ALL].set_index("sharing")
    each = table[(table["device"] != ALL) & (table["sharing"] == COMMON)]["offload_ratio"]
    return {
        "shared_beta": beta,
        "shared_budget": 100 * budget,
        "shared_common_cost": everyone.loc[COMMON, "average_cost"],
        "shared_equal_cost": everyone.loc[EQUAL, "average_cost"],
        "shared_common_share": 100 * everyone.loc[COMMON, "offload_ratio"],
        "shared_least": 100 * each.min(),
        "shared_most": 100 * each.max(),
    }


def numbers(found: Learned, trace: Trace, beta: float) -> dict[str, float]:
    """What the text and the claim say of one device's budget."""
    table, n = found.table, len(trace)
    shown = table[table["rate"] == ADAPTIVE]
    over = shown["overspent"] / n
    return {
        "budget_beta": beta,
        "budget_samples": n,
        "budget_free_ratio": 100 * best_threshold(trace, beta).offload_ratio,
        "budget_count": len(shown),
        "budget_cost_gap": most((shown["cost"] - shown["best_cost"]).abs()),
        "budget_overspent": 100 * most(over),
        "budget_strict_cost": most(shown["strict_cost"] - shown["cost"]),
        "budget_mixture_gain": most(shown["threshold_cost"] - shown["best_cost"]),
        "t26_cost_over_bound": most(table["regret"] / table["bound"].where(table["bound"] > 0, np.inf)),
        "t26_overspent_over_bound": most(
            table["overspent"] / table["overspending_bound"].where(table["overspending_bound"] > 0, np.inf)
        ),
        **fixed_sequences(),
    }


def fixed_sequences() -> dict[str, float]:
    """Two sequences fixed in advance, with one first half: what HIL-F pays on each, against what T26 would allow."""
    early, late = (
        replay(two_halves(_FIXED, kind), _FIXED_BETA, learning_rate=ADAPTIVE, budget=_FIXED_BUDGET)
        for kind in (False, True)
    )
    worst = _FIXED_BUDGET * _FIXED * (0.5 - _FIXED_BETA) / (2 * (1 - _FIXED_BETA))
    paid = [run.regret + (1 - _FIXED_BETA) * max(run.overspending or 0.0, 0.0) for run in (early, late)]
    return {
        "fixed_samples": _FIXED,
        "fixed_early": paid[0],
        "fixed_late": paid[1],
        "fixed_worst": worst,
        "fixed_over_worst": quotient(max(paid), worst),
    }
