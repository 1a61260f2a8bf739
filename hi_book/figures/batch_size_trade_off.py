"""The trade-off on one page: its figures, and the numbers its claims rest on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hi_book.figures.style import (
    DASHED,
    DECADES,
    batch_size_axis,
    dataset_colour,
    draw_quantity,
    mark_optima,
    plain_ticks,
    trace_title,
)
from hi_book.figures.values import least, most
from hi_lib.paper import IMAGENETTE, setting_of
from hi_lib.regret import lambda_min
from hi_lib.studies import sweeps
from hi_lib.traces import Trace, load_trace
from hi_lib.typing import Floats

if TYPE_CHECKING:
    from hi_lib.timing import TimingModel

# What the rows of the figure show below the first one, and their labels.
QUANTITIES = {
    "regret": "regret",
    "system_time": "system time\n$t_s$ (ms)",
    "response_time": "response time\n$t_r$ (ms)",
}
_CHANGES = {"average_cost": ("average cost", "-", "o"), "accuracy": ("accuracy", DASHED, "s")}


def trade_off(tables: Mapping[str, pd.DataFrame], optima: Mapping[str, Mapping[float, float]]) -> Figure:
    """Changes of cost and accuracy, then each quantity, a row, against M; a column a data set, M* marked for each α.

    A table has batch_size, `average_cost_mean`, `accuracy_mean` and, for each quantity, a column `q`, or `q_mean` and
    `q_std`. Columns `q_exact` (dashed), `q_bound` (dotted) and `q_single` (dash-dotted) are drawn beside it; with the
    first two the axis is logarithmic.
    """
    rows = 1 + len(QUANTITIES)
    figure, axes = plt.subplots(rows, len(tables), figsize=(7.6, 1.75 * rows), sharex="col", squeeze=False)
    for column, (title, table) in enumerate(tables.items()):
        first, *others = axes[:, column]
        _draw_changes(first, table, dataset_colour(title))
        first.set_title(title)
        for axis, quantity in zip(others, QUANTITIES, strict=True):
            draw_quantity(axis, table, quantity, dataset_colour(title))
            beside = [name for name in (f"{quantity}_exact", f"{quantity}_bound") if name in table]
            if beside and (table[beside] > 0).any(axis=None):
                axis.set_yscale("log")
                plain_ticks(axis.yaxis, [3, 7, 15, *DECADES])
            else:
                axis.set_ylim(0, 1.12 * axis.get_ylim()[1])
        for axis in axes[:, column]:
            mark_optima(axis, optima[title], "top" if axis is axes[-1, column] else "")
            batch_size_axis(axis, sorted(table["batch_size"]), label=axis is axes[-1, column])
    for axis, label in zip(axes[:, 0], ("change from\nM = 1 (%)", *QUANTITIES.values()), strict=True):
        axis.set_ylabel(label)
    return figure


def _draw_changes(axis: Axes, table: pd.DataFrame, colour: str) -> None:
    """By how many per cent cost and accuracy differ from those of M = 1; nothing without that size."""
    for quantity, (label, line, mark) in _CHANGES.items():
        change = 100 * (_over_first(table[f"{quantity}_mean"]) - 1)
        axis.plot(table["batch_size"], change, ls=line, marker=mark, ms=3, color=colour, label=label)
    axis.legend(loc="upper left")


@dataclass(frozen=True)
class Case:
    """A trace, the cost β of an offload, and the offload ratio that vanilla HI reaches there."""

    trace: Trace
    beta: float
    ratio: float

    @property
    def timing(self) -> TimingModel:
        """The paper's times for the data set of the trace."""
        return setting_of(self.trace.name).timing

    def optima(self, alphas: Sequence[float]) -> dict[float, int]:
        """M* of each α, by the paper's formula; the whole trace where nothing is offloaded and it knows no best one."""
        best = {alpha: self.timing.optimal_batch_size(self.ratio, alpha).integer for alpha in alphas}
        return {alpha: int(size) if math.isfinite(size) else len(self.trace) for alpha, size in best.items()}


def case(name: str, beta: float, shuffles: int) -> Case:
    """A trace, with the offload ratio that vanilla HI reaches there, mean over shuffles."""
    runs = sweeps.sweep([name], [beta], [1], ["vanilla"], range(shuffles))
    return Case(load_trace(name), beta, runs.groupby("beta")["offload_ratio"].mean().iloc[0])


def by_title(cases: Iterable[Case]) -> dict[str, Case]:
    """Cases by the title of their trace; with their β, too, where one trace comes with two."""
    known = {(trace_title(str(case.trace.name)), case.beta): case for case in cases}
    twice = len({title for title, _ in known}) < len(known)
    return {f"{title}, β = {beta:g}" if twice else title: case for (title, beta), case in known.items()}


def quantities(case: Case, runs: pd.DataFrame) -> pd.DataFrame:
    """All that the figure shows (times in ms), a row for each learning rate and M of these runs.

    `_exact` are the times of the runs themselves, the others the paper's formulas at their offload ratio.
    """
    measured = ["accuracy", "average_cost", "regret", "regret_bound", "offload_ratio", *sweeps.TIMES]
    table = sweeps.summarise(runs, ["learning_rate", "batch_size"], measured)
    size, ratio = table["batch_size"], table["offload_ratio_mean"]
    spread = [f"{name}_{of}" for name in sweeps.TIMES for of in ("mean", "std")]
    return table.drop(columns=spread).assign(
        regret_bound=table["regret_bound_mean"],
        system_time=case.timing.system_time(size, ratio),
        system_time_exact=table["system_time_mean"],
        response_time=case.timing.response_time(size, ratio),
        response_time_exact=table["response_time_mean"],
    )


def at_rate(tables: Mapping[str, pd.DataFrame], rate: str) -> dict[str, pd.DataFrame]:
    """The rows of one way to set the learning rate."""
    return {title: table[table["learning_rate"] == rate].reset_index(drop=True) for title, table in tables.items()}


def numbers(
    drawn: Mapping[str, Case],
    tables: Mapping[str, pd.DataFrame],
    cases: Sequence[Case],
    alphas: Sequence[float],
    shuffles: int,
) -> dict[str, float]:
    """What the claims and the text rest on: the drawn cases by title with their tables, and all cases at their M*."""
    tuned, single = at_rate(tables, "tuned"), at_rate(tables, "vanilla")
    return {
        **_bounds(drawn, tuned),
        "paper_time_over_vanilla": _paper_time_over_vanilla(),
        **_steps_at_fixed_ratio(drawn, tuned),
        **{f"cost_ratio_{rate}_max": cost_ratio(cases, alphas, rate, shuffles) for rate in ("vanilla", "tuned")},
        "regret_growth_single": most(most(_over_first(t["regret_mean"])) for t in single.values()),
    }


def cost_ratio(cases: Sequence[Case], alphas: Sequence[float], rate: str, shuffles: int) -> float:
    """Largest cost(M*) / cost(1) of any case and α, with this learning rate; costs are means over shuffles."""
    largest = []
    for case in cases:
        sizes = sorted({1, *case.optima(alphas).values()})
        runs = sweeps.sweep([case.trace], [case.beta], sizes, [rate], range(shuffles))
        costs = runs.groupby("batch_size")["average_cost"].mean()
        largest.append(most(_over_first(costs)))
    return most(largest)


def _over_first(values: pd.Series) -> pd.Series:
    """Values by rising M over the one at M = 1; nan where that leaves nothing to compare with."""
    return values / (values.iloc[0] if values.iloc[0] > 0 else math.nan)


def _bounds(drawn: Mapping[str, Case], tuned: Mapping[str, pd.DataFrame]) -> dict[str, float]:
    """The regret at M = 1 over vanilla HI's bound, √(n ln(1/λ_min) / 2), and all regrets over their bounds."""
    over_vanilla = []
    for title, case in drawn.items():
        vanilla = np.sqrt(len(case.trace) * np.log(1 / lambda_min(case.trace)) / 2)
        over_vanilla.append(tuned[title]["regret_mean"][0] / vanilla if vanilla else math.nan)
    return {
        "vanilla_regret_over_bound": most(over_vanilla),
        "regret_over_bound_max": most(most(t["regret_mean"] / t["regret_bound_mean"]) for t in tuned.values()),
    }


def _paper_time_over_vanilla() -> float:
    """The paper's (6) at M = 1 over vanilla HI's own system time, which sends offloads only; the paper's Imagenette."""
    timing, ratio = IMAGENETTE.timing, IMAGENETTE.offload_ratios[0.7]
    vanilla = timing.tau_ed + ratio * (timing.tau_es + timing.tau_tx + timing.tau_nw)
    return float(timing.system_time(1, ratio)) / vanilla


def _steps_at_fixed_ratio(drawn: Mapping[str, Case], tuned: Mapping[str, pd.DataFrame]) -> dict[str, float]:
    """Changes of the paper's times (ms) from one M to the next, at the offload ratio of M = 1."""

    def steps(time: Callable[..., Floats], table: pd.DataFrame) -> Floats:
        return np.diff(time(table["batch_size"], table["offload_ratio_mean"][0]))

    pairs = [(case.timing, tuned[title]) for title, case in drawn.items()]
    return {
        "system_time_step_max": most(most(steps(timing.system_time, table)) for timing, table in pairs),
        "response_time_step_min": least(least(steps(timing.response_time, table)) for timing, table in pairs),
    }
