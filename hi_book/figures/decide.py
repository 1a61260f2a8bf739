"""What to set: both times of every way to send with the recommended one marked, and what each policy costs."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hi_book.figures.style import DECADES, plain_ticks
from hi_lib.advise.evaluation import Evaluation
from hi_lib.advise.policies import NEVER, difference
from hi_lib.advise.ways import Sent

CHOSEN, OTHERS = "#D55E00", "#0072B2"
_NAMED = (1, 2, 4, 8, 16, 64)  # sizes that are written beside their points


def draw(found: Evaluation) -> Figure:
    """Response time against system time, a point a way to send; beside it the cost of each policy."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.6, 3.4), width_ratios=[3, 2])
    _draw_ways(left, found.recommendation.ways, found.recommendation.sent)
    _draw_costs(right, found)
    return figure


def _draw_ways(axis: Axes, rows: list[Sent], chosen: Sent | None) -> None:
    for window in dict.fromkeys(row.way.window for row in rows):
        shown = [row for row in rows if row.way.window == window]
        label = "waits for each answer" if window is None else f"{window:g} transmissions out"
        x, y = [row.system_time for row in shown], [row.response_time for row in shown]
        axis.plot(x, y, "o-" if window is None else "s--", ms=3.5, lw=1, color=OTHERS, label=label)
        for row in shown:
            if row.way.size in _NAMED:
                where = (row.system_time, row.response_time)
                axis.annotate(f"{row.way.size}", where, (4, 3), textcoords="offset points", fontsize=7)
    if chosen is not None:
        axis.plot(chosen.system_time, chosen.response_time, "o", ms=9, mfc="none", mew=2, color=CHOSEN)
        where = (chosen.system_time, chosen.response_time)
        axis.annotate(
            f"recommended: {chosen.way.short}", where, (8, -11), textcoords="offset points", color=CHOSEN, fontsize=8
        )
    scale = "log" if all(row.system_time > 0 for row in rows) else "linear"
    axis.set(xscale=scale, yscale=scale, xlabel="system time $t_s$ (ms a sample)", ylabel="response time $t_r$ (ms)")
    for line, (low, high) in ((axis.xaxis, axis.get_xlim()), (axis.yaxis, axis.get_ylim())):
        if scale == "log":
            plain_ticks(line, [tick for tick in DECADES if low <= tick <= high])
    axis.legend(loc="upper right", fontsize=7)


def _draw_costs(axis: Axes, found: Evaluation) -> None:
    policies = found.compared.policies[found.compared.counted]
    places = np.arange(len(policies))
    costs = [policy.average_cost for policy in policies.values()]
    chosen = found.recommendation.policy
    colours = [CHOSEN if name == chosen else OTHERS for name in policies]
    errors = [0.0 if name == NEVER else difference(one, policies[NEVER]).error for name, one in policies.items()]
    axis.barh(places, costs, xerr=errors, color=colours, error_kw={"lw": 1})
    axis.set_yticks(places, list(policies))
    axis.invert_yaxis()
    axis.set(xlabel="cost a sample", xlim=(0, None))
    axis.grid(visible=False, axis="y")
