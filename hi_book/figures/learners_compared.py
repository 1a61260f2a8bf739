"""Which learner to use: its figures, and the numbers its claims rest on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from hi_book.figures.style import (
    band,
    by_data_set,
    dataset_colour,
    logarithmic,
    outer_labels,
    panels,
    shared_legend,
    trace_title,
)
from hi_book.figures.values import count, least, listed, most, ordered, plus_minus, standard_error
from hi_lib import checks
from hi_lib.learners import Run, replay
from hi_lib.regret import best_threshold, lambda_min, tuned_learning_rate
from hi_lib.studies.variants import sliding_window
from hi_lib.traces import Trace
from hi_lib.typing import Floats

RULES = ("always", "never")  # beside those that learn
CALIBRATED = "fixed θ = 1 − β"
_NAMED = ["hil-f", "quantised", "naive"]  # learners of which the text gives numbers
QUANTITIES = ["average_cost", "offload_ratio", "regret"]
Paths = Mapping[str, Floats]  # learner: regret so far, (shuffles, samples)


@dataclass(frozen=True)
class Setting:
    """β, M, and how to forget: over how many samples, or which share of the weight after each batch."""

    beta: float
    batch_size: int
    window: int
    share: float


def learners(table: pd.DataFrame) -> Figure:
    """Regret of each learner, mean and two deviations; a panel for each batch size, a row for each learner.

    In each row the traces stand from top to bottom as `by_data_set` has them, in the colour of their data set.
    """
    titles, names = by_data_set(table["title"].unique()), list(table["learner"].unique())
    sizes, shifts = sorted(table["batch_size"].unique()), 0.7 * ((np.arange(len(titles)) + 0.5) / len(titles) - 0.5)
    figure, axes = plt.subplots(1, len(sizes), figsize=(7.6, 0.5 * len(names) + 1), sharex=True, sharey=True)
    for axis, size in zip(np.atleast_1d(axes), sizes, strict=True):
        found = table[table["batch_size"] == size].groupby(["title", "learner"])["regret"].agg(["mean", "std"])
        for shift, title in zip(shifts, titles, strict=True):
            rows = found.loc[title].reindex(names)
            line = {"color": dataset_colour(title), "label": title.split(",")[0]}
            axis.errorbar(
                rows["mean"], np.arange(len(names)) + shift, xerr=2 * rows["std"], fmt="o", ms=4, lw=1, **line
            )
        axis.set(title=f"M = {size}", xlabel="regret", yticks=range(len(names)), ylim=(len(names) - 0.5, -0.5))
        axis.set_yticklabels(names)
        logarithmic(axis, [10, 20, 50, 100, 200, 500, 1000])
    shared_legend(figure, 2)
    return figure


def moments(wanted: Sequence[int], batches: int) -> list[int]:
    """Numbers of batches after which to look, in order: those wanted that come before the last one, and that one."""
    return [*(moment for moment in ordered(wanted) if moment < batches), batches]


def weight_density(edges: Any, density: Any, batches: Sequence[int], best: float) -> Figure:
    """Density of the threshold after some numbers of batches, a panel each."""
    figure, axes = panels(len(batches), height=1.5)
    for axis, row, after in zip(axes, density, batches, strict=True):
        axis.stairs(row, edges, fill=True, color="#0072B2", alpha=0.75)
        axis.axvline(best, color="#333333", ls="--", lw=0.9)
        axis.set(title=f"after {after} batches", xlim=(0, 1))
        axis.set_ylim(0, 1.05 * density.max())
    for axis in axes[-3:]:
        axis.set_xlabel("threshold θ")
    outer_labels(axes, "density")
    return figure


def drift(cases: Mapping[str, Mapping[str, Any]], change: int) -> Figure:
    """Accumulated regret over time of several learners, (shuffles, samples) each, around a change; a panel a case."""
    figure, axes = plt.subplots(1, len(cases), figsize=(7.4, 3.0), sharey=True)
    colours = ("#0072B2", "#56B4E9", "#009E73", "#E69F00", "#CC79A7", "#333333")
    for axis, (title, paths) in zip(axes, cases.items(), strict=True):
        for (name, path), colour in zip(paths.items(), colours, strict=True):
            some = path[:, 7::8]
            line = {"color": colour, "label": name, "ls": "--" if name == CALIBRATED else "-"}
            band(axis, np.arange(8, path.shape[1] + 1, 8), some.mean(axis=0), standard_error(some), **line)
        axis.axvline(change, color="#555555", lw=0.8, ls="--")
        axis.set(title=title, xlabel="samples")
    # The rule may lose many times as much as any learner: its line leaves the panel.
    learned = (
        path.mean(axis=0).max() for paths in cases.values() for name, path in paths.items() if name != CALIBRATED
    )
    axes[0].set(ylabel="regret so far", ylim=(0, 1.15 * max(learned) or None))
    shared_legend(figure, 4)
    return figure


def means(runs: pd.DataFrame) -> pd.DataFrame:
    """Mean cost of a sample, offload ratio and regret over shuffles, a row a trace's title, batch size and learner."""
    return runs.groupby(["title", "batch_size", "learner"], sort=False)[QUANTITIES].mean().reset_index()


def fixed_thresholds(traces: Mapping[str, Trace], beta: float) -> pd.DataFrame:
    """The same of two rules that do not learn, for each trace by its title: θ = 1 − β, and the best θ in hindsight."""
    rows = []
    for title, trace in traces.items():
        for label, threshold in ((CALIBRATED, 1 - beta), ("oracle", best_threshold(trace, beta).threshold)):
            run = replay(trace, beta, learner="fixed", threshold=threshold)
            rows.append((title, label, run.average_cost, run.offload_ratio, run.regret))
    return pd.DataFrame(rows, columns=["title", "learner", *QUANTITIES])


def shown(runs: pd.DataFrame, adaptive: Sequence[str], fixed: pd.DataFrame) -> pd.DataFrame:
    """The page's table: a row a learner and M, a column a trace; what does not learn is the same for every M."""
    deviation = runs.groupby(["title", "batch_size", "learner"])["regret"].std()
    lines: dict[tuple[str, Any], dict[str, str]] = {}
    for title, size, name, *found in means(runs).itertuples(index=False):
        if name in adaptive:
            lines.setdefault((name, size), {})[title] = _cell(*found) + plus_minus(deviation[title, size, name], ".0f")
        elif size == runs["batch_size"].iloc[0]:
            lines.setdefault((name, ""), {})[title] = _cell(*found)
    for title, name, *found in fixed.itertuples(index=False):
        lines.setdefault((name, ""), {})[title] = _cell(*found)
    table = pd.DataFrame([{"learner": name, "M": size, **row} for (name, size), row in lines.items()])
    return table.rename(columns=lambda title: title.replace(", ", "<br>"))


def _cell(cost: float, ratio: float, regret: float) -> str:
    return f"{cost:.4f}<br>{ratio:.3f}<br>{regret:.0f}"


def changes(first: Trace, second: Trace, power: float) -> dict[str, tuple[Trace, Trace]]:
    """Two changes of the S-ML, by title: to another one, and to itself with every confidence p as p to this power."""
    better = np.sign(second.accuracy - first.accuracy)
    surer = Trace(first.confidence ** checks.nonnegative("overconfidence", power), first.correct)
    return {
        f"the S-ML is replaced by {('one as good', 'a better one', 'a worse one')[int(better)]}": (first, second),
        f"the S-ML grows {'over' if power < 1 else 'under'}confident": (first, surer),
    }


def regret_paths(halves: Sequence[Trace], setting: Setting, shuffles: int) -> dict[str, Floats]:
    """Regret so far against the best threshold of each half, (shuffles, samples), for five learners and the rule.

    They meet the halves, each shuffled, one after the other.
    """
    shortest = min(map(lambda_min, halves))
    # η for all the samples of a half, and for those of a window.
    rates = [tuned_learning_rate(n, setting.batch_size, shortest) for n in (len(halves[0]), setting.window)]
    found = []
    for seed in range(shuffles):
        parts = [half.shuffled(seed) for half in halves]
        runs, best = _runs(_joined(parts), setting, rates, seed), _least_costs(parts, setting.beta)
        found.append({name: np.cumsum(run.cost - best) for name, run in runs.items()})
    return {name: np.array([paths[name] for paths in found]) for name in found[0]}


def _runs(moving: Trace, setting: Setting, rates: Sequence[float], seed: int) -> dict[str, Run]:
    """Five learners on one trace; those that forget, and one that does not, have the quicker rate."""
    (steady, quick), beta, size = rates, setting.beta, setting.batch_size
    return {
        "HIL-F": replay(moving, beta, size, learning_rate=steady),
        "HIL-F, quick": replay(moving, beta, size, learning_rate=quick),
        "sliding window": sliding_window(moving, beta, size, quick, setting.window),
        "fixed share": replay(moving, beta, size, learning_rate=quick, share=setting.share),
        "naive": replay(moving, beta, size, "naive", steady, seed=seed),
        CALIBRATED: replay(moving, beta, size, learner="fixed", threshold=1 - beta),
    }


def _joined(parts: Sequence[Trace]) -> Trace:
    confidence, correct = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("confidence", "correct")
    )
    return Trace(confidence, correct)


def _least_costs(parts: Sequence[Trace], beta: float) -> Floats:
    """Cost of every sample under the best threshold of its part."""
    runs = (replay(part, beta, learner="fixed", threshold=best_threshold(part, beta).threshold) for part in parts)
    return np.concatenate([run.cost for run in runs])


def drift_table(drift: Mapping[str, Paths]) -> pd.DataFrame:
    """Mean regret so far after every 16th sample, a column a learner, the cases one below the other."""
    tables = [
        pd.DataFrame({name: path.mean(axis=0)[15::16] for name, path in paths.items()}).assign(case=title)
        for title, paths in drift.items()
    ]
    return pd.concat(tables)


def numbers(table: pd.DataFrame, samples: Mapping[str, int], fixed: pd.DataFrame) -> dict[str, Any]:
    """What the text says of the learners, from `means`, the length of each trace, and `fixed_thresholds`."""
    learned = table[~table["learner"].isin(RULES)]
    worst = (table["regret"] / table["title"].map(samples)).groupby(table["learner"]).max()
    costs, regrets = (
        table.pivot_table(index=["title", "batch_size"], columns="learner", values=quantity).reindex(columns=_NAMED)
        for quantity in ("average_cost", "regret")
    )
    price = regrets["naive"] / regrets["hil-f"].where(regrets["hil-f"] > 0)
    rule = fixed[fixed["learner"] == CALIBRATED].set_index("title")["regret"]
    return {
        "quantised_extra": most(costs["quantised"] - costs["hil-f"]),
        "rule_worst": rule.max(),
        "rule_first": count(rule < learned.groupby("title")["regret"].min()),
        "lcb_worst": most(worst.reindex(["hi-lcb", "hi-lcb-lite"])),
        "naive_least": least(price),
        "naive_most": most(price),
        "models": len(samples),
        "sizes": listed(map(str, ordered(table["batch_size"]))),
    }


def drift_numbers(
    cases: Mapping[str, tuple[Trace, Trace]], drift: Mapping[str, Paths], setting: Setting, power: float
) -> dict[str, float | str]:
    """What the text says of two changes, the first from one S-ML to another, the second of the first S-ML itself."""
    (first, second), (_, surer) = cases.values()
    replaced, over = (_mean_growth(paths, len(first)) for paths in drift.values())
    calm = {name: path[:, len(first) - 1].mean() for name, path in list(drift.values())[1].items()}
    before, now, later = (best_threshold(trace, setting.beta).threshold for trace in (first, second, surer))
    return {
        "drift_first": trace_title(str(first.name)),
        "drift_second": trace_title(str(second.name)),
        "drift_window": setting.window,
        "drift_power": power,
        "beta": setting.beta,
        "threshold_before": before,
        "threshold_replaced": now,
        "threshold_overconfident": later,
        "replaced_hil_f": replaced["HIL-F"],
        "replaced_share": replaced["fixed share"],
        "replaced_window": replaced["sliding window"],
        "calm_quick": calm["HIL-F, quick"],
        "over_quick": over["HIL-F, quick"],
        "over_hil_f": over["HIL-F"],
        "over_naive": over["naive"],
        "over_window": over["sliding window"],
        "over_share": over["fixed share"],
        "calm_hil_f": calm["HIL-F"],
        "calm_naive": calm["naive"],
        "calm_window": calm["sliding window"],
        "calm_share": calm["fixed share"],
        "calm_rule": calm[CALIBRATED],
        "over_rule": over[CALIBRATED],
    }


def _mean_growth(paths: Paths, change: int) -> dict[str, float]:
    """Regret after so many samples, mean over shuffles."""
    mean = {name: path.mean(axis=0) for name, path in paths.items()}
    return {name: path[-1] - path[change - 1] for name, path in mean.items()}
