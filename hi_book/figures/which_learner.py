"""Which learner to use: its figures, and the numbers its claims rest on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import joblib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from hi_book.figures.drift import CALIBRATED
from hi_book.figures.style import (
    by_data_set,
    dataset_colour,
    in_two_lines,
    logarithmic,
    outer_labels,
    panels,
    shared_legend,
    trace_title,
)
from hi_book.figures.values import count, least, listed, most, ordered, plus_minus, standard_error, unseen
from hi_lib import checks
from hi_lib.learners import replay
from hi_lib.regret import best_threshold
from hi_lib.studies.sweeps import sweep
from hi_lib.studies.variants import fewer_bits, restarting
from hi_lib.traces import Trace, load_trace, trace_files
from hi_lib.typing import Floats

RULES = ("always", "never")  # beside those that learn
RULE, ADAPTIVE, HINDSIGHT = "θ = 1 − β", "hil-f, adaptive", "best fixed θ in hindsight"
# Who may be the best on the map: rules, and HIL-F with each of its rates.
WAYS = {"never": "#BBBBBB", "always": "#555555", RULE: "#E69F00"}
RATES = {
    "vanilla": ("one rate", "#0072B2"),
    "tuned": ("tuned rate", "#56B4E9"),
    "adaptive": ("adaptive rate", "#009E73"),
}
COLOURS = WAYS | dict(RATES.values())
# Beside them in the comparison of rates: those that know no horizon, and keep the past or begin anew.
ANYTIME, RESTARTS = "anytime rate", "restarts"
_COMPARED = [*(way for way, _ in RATES.values()), ANYTIME, RESTARTS]
_CLEAR = 2  # standard errors from which on chance does not explain a lead
_NAMED = ["hil-f", "quantised", "naive"]  # learners of which the text gives numbers
QUANTITIES = ["average_cost", "offload_ratio", "regret"]


def duels(traces: Sequence[str], betas: Sequence[float], batch_size: int, shuffles: int) -> pd.DataFrame:
    """Who is the best on each trace at each β: a row each, with the mean cost a sample of every way in `COLOURS`.

    `first` is the best, `second` the next one, `lead` the difference of their costs, and `error` its standard error:
    over the images, since others of their kind would have come out otherwise, and over the shuffles.
    """
    jobs = [(name, beta) for name in dict.fromkeys(traces) for beta in ordered(betas)]
    seeds = range(checks.whole("map_shuffles", shuffles))
    rows = joblib.Parallel(n_jobs=-1, prefer="threads")(
        joblib.delayed(_duel)(name, beta, batch_size, seeds) for name, beta in jobs
    )
    return pd.DataFrame(rows)


def _duel(name: str, beta: float, batch_size: int, seeds: Sequence[int]) -> dict[str, Any]:
    trace = load_trace(name)
    costs = {way: cost[None] for way, cost in _rules(trace, beta).items()}  # (shuffles, images), in the trace's order
    for rate, (way, _) in RATES.items():
        costs[way] = np.empty((len(seeds), len(trace)))
        for seed in seeds:
            run = replay(trace.shuffled(seed), beta, batch_size, learning_rate=rate)
            costs[way][seed, trace.shuffle_order(seed)] = run.cost
    means = {way: float(cost.mean()) for way, cost in costs.items()}
    first, second = sorted(means, key=lambda way: means[way])[:2]
    behind = costs[second].mean(axis=0) - costs[first].mean(axis=0)
    drawn = sum(standard_error(costs[way].mean(axis=1)) ** 2 for way in (first, second) if len(costs[way]) > 1)
    error = np.sqrt(behind.var() / behind.size + drawn)
    lead = {"first": first, "second": second, "lead": float(behind.mean()), "error": float(error)}
    return {"trace": name, "beta": beta, **means, **lead}


def _rules(trace: Trace, beta: float) -> dict[str, Floats]:
    """Cost of every sample under each rule that learns nothing."""
    run = replay(trace, beta, learner="fixed", threshold=1 - beta)
    return {"never": 1.0 - trace.correct, "always": np.full(len(trace), beta), RULE: run.cost}


def draw_map(table: pd.DataFrame) -> Figure:
    """A cell for each trace and β in the colour of the best way, with its lead over the next one in thousandths.

    A lead that chance explains stands in brackets, on a paler ground.
    """
    names, betas = list(dict.fromkeys(table["trace"])), ordered(table["beta"])
    figure, axis = plt.subplots(figsize=(7.6, 0.5 * len(names) + 1.1))
    for row in table.itertuples():
        x, y, clear = betas.index(row.beta), names.index(row.trace), _clear(row.lead, row.error)
        paper = np.array(to_rgb(COLOURS[row.first]))
        ground = paper if clear else 1 - 0.45 * (1 - paper)
        axis.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=ground, edgecolor="white", lw=1.5))
        text = f"{1000 * row.lead:.1f}" if clear else f"({1000 * row.lead:.1f})"
        dark = ground @ (0.299, 0.587, 0.114) < 0.5
        axis.text(x, y, text, ha="center", va="center", fontsize=8, color="white" if dark else "#111111")
    axis.set(xlim=(-0.5, len(betas) - 0.5), ylim=(len(names) - 0.5, -0.5), xlabel="cost of an offload β")
    axis.set_xticks(range(len(betas)), [f"{beta:g}" for beta in betas])
    axis.set_yticks(range(len(names)), [in_two_lines(trace_title(name)) for name in names])
    axis.grid(visible=False)
    found = set(table["first"])
    shared_legend(figure, 3, [Patch(color=colour, label=way) for way, colour in COLOURS.items() if way in found])
    return figure


def _clear(lead: Any, error: Any) -> Any:
    """Whether chance does not explain a lead, or each of them."""
    return lead > _CLEAR * error


def map_numbers(table: pd.DataFrame) -> dict[str, Any]:
    """How often the rule, or a learner, is the best, and how often that is more than chance."""
    rule, learner = table["first"] == RULE, table["first"].isin([way for way, _ in RATES.values()])
    clear = _clear(table["lead"], table["error"])
    learned = table[[way for way, _ in RATES.values()]].min(axis=1)
    half = table[table["beta"] == 0.5]
    return {
        "cells": len(table),
        "rule_best": int(rule.sum()),
        "rule_clearly": int((rule & clear).sum()),
        "learner_best": int(learner.sum()),
        "learner_clearly": int((learner & clear).sum()),
        "never_best": int((table["first"] == "never").sum()),
        "adaptive_best": int((table["first"] == RATES["adaptive"][0]).sum()),
        "rule_worst_loss": most(table[RULE] - learned),
        "adaptive_worst_loss": most(table[RATES["adaptive"][0]] - table[RULE]),
        "tuned_worst_loss": most(table[RATES["tuned"][0]] - table[RULE]),
        "rule_best_half": int((half["first"] == RULE).sum()) if len(half) else np.nan,
    }


def clean_images(names: Sequence[str]) -> pd.DataFrame:
    """How far confidence lies from accuracy on all images, and on those on which the S-ML cannot have been trained.

    A row for each trace whose images tell: those of ImageNet's validation set.
    """
    rows = []
    for name in names:
        table = pd.read_csv(trace_files()[name])
        clean = unseen(table["image"]) if "image" in table else pd.Series(dtype=bool)
        if clean.any():
            gap = table["confidence"] - table["correct"]
            there = gap[clean]
            rows.append((trace_title(name), gap.mean(), there.mean(), there.sem(), len(there)))
    return pd.DataFrame(rows, columns=["S-ML", "all images", "clean images", "standard error", "clean"])


def draw_regrets(runs: pd.DataFrame) -> Figure:
    """Mean regret over the traces as bars in the order of size, a dot a trace; a panel a batch size.

    `runs` has title, batch_size, learner, regret.
    """
    sizes = ordered(runs["batch_size"])
    found = runs.groupby(["learner", "batch_size", "title"], sort=False)["regret"].mean()
    order = found.xs(sizes[0], level="batch_size").groupby("learner").mean().sort_values().index
    figure, axes = plt.subplots(
        1, len(sizes), figsize=(7.6, 0.3 * len(order) + 1), sharex=True, sharey=True, squeeze=False
    )
    for axis, size in zip(axes[0], sizes, strict=True):
        here = found.xs(size, level="batch_size")
        for place, learner in enumerate(order):
            still = learner in (*RULES, RULE)
            axis.barh(place, here[learner].mean(), 0.7, color="#CCCCCC" if still else "#9BC4E2", zorder=1)
            for title in by_data_set(here[learner].index):
                axis.plot(here[learner][title], place, "o", ms=3.5, color=dataset_colour(title), zorder=2)
        axis.set(title=f"M = {size}", xlabel="regret", yticks=range(len(order)), ylim=(len(order) - 0.4, -0.6))
        axis.set_yticklabels(order)
        axis.grid(visible=False, axis="y")
        logarithmic(axis, [10, 30, 100, 300, 1000, 3000])
    names = {title.split(",")[0]: dataset_colour(title) for title in by_data_set(runs["title"].unique())}
    dots = [Line2D([], [], marker="o", ls="", ms=4, color=colour, label=name) for name, colour in names.items()]
    shared_legend(figure, 2, dots)
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


def means(runs: pd.DataFrame) -> pd.DataFrame:
    """Mean cost of a sample, offload ratio and regret over shuffles, a row a trace's title, batch size and learner."""
    return runs.groupby(["title", "batch_size", "learner"], sort=False)[QUANTITIES].mean().reset_index()


def fixed_thresholds(traces: Mapping[str, Trace], beta: float) -> pd.DataFrame:
    """The same of two rules that do not learn, for each trace by its title: θ = 1 − β, and the best θ in hindsight."""
    rows = []
    for title, trace in traces.items():
        for label, threshold in ((CALIBRATED, 1 - beta), (HINDSIGHT, best_threshold(trace, beta).threshold)):
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


def numbers(
    table: pd.DataFrame, samples: Mapping[str, int], fixed: pd.DataFrame, clean: pd.DataFrame
) -> dict[str, Any]:
    """What the text says of the learners: `means`, the length of each trace, `fixed_thresholds`, `clean_images`."""
    guarded = table[~table["learner"].isin([*RULES, RULE, ADAPTIVE])]
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
        "rule_first": count(rule < guarded.groupby("title")["regret"].min()),
        "lcb_worst": most(worst.reindex(["hi-lcb", "hi-lcb-lite"])),
        "naive_least": least(price),
        "naive_most": most(price),
        "models": len(samples),
        "sizes": listed(map(str, ordered(table["batch_size"]))),
        "clean_images": most(clean["clean"]),
        "clean_least": least(clean["clean images"]),
        "clean_most": most(clean["clean images"]),
        "clean_error_least": least(clean["standard error"]),
        "clean_error_most": most(clean["standard error"]),
    }


def everyone(
    traces: Sequence[str], beta: float, batch_sizes: Sequence[int], adaptive: Sequence[str], shuffles: int
) -> pd.DataFrame:
    """Every learner with its own rate, HIL-F with the adaptive one, and the rules, on every trace: a row a run."""
    learners, seeds = [*adaptive, *RULES], range(shuffles)
    tuned = sweep(traces, [beta], batch_sizes, ["tuned"], seeds, learners=learners)
    falling = sweep(traces, [beta], batch_sizes, ["adaptive"], seeds).assign(learner=ADAPTIVE)
    rule = fixed_thresholds({name: load_trace(name) for name in traces}, beta)
    rule = rule[rule["learner"] == CALIBRATED].rename(columns={"title": "trace"}).assign(learner=RULE, beta=beta)
    rules = [rule.assign(batch_size=size) for size in ordered(batch_sizes)]
    found = pd.concat([tuned, falling, *rules], ignore_index=True)
    return found.assign(title=found["trace"].map(trace_title))


def rates(traces: Sequence[str], beta: float, batch_sizes: Sequence[int]) -> pd.DataFrame:
    """Regret and its bound with each rate, on the first shuffle of each trace: a row a trace, batch size and rate."""
    rows = []
    for name in dict.fromkeys(traces):
        trace = load_trace(name).shuffled(0)
        for size in ordered(batch_sizes):
            runs = {way: replay(trace, beta, size, learning_rate=rate) for rate, (way, _) in RATES.items()}
            runs[ANYTIME] = replay(trace, beta, size, learning_rate="anytime")
            runs[RESTARTS] = restarting(trace, beta, size)
            rows += [(trace_title(name), size, way, run.regret, run.regret_bound) for way, run in runs.items()]
    return pd.DataFrame(rows, columns=["title", "batch_size", "rate", "regret", "bound"])


def rates_shown(table: pd.DataFrame) -> pd.DataFrame:
    """The page's table: a row a trace and batch size, a column a rate, with regret and bound in each cell."""
    cells = [f"{regret:.0f} ({bound:.0f})" for regret, bound in zip(table["regret"], table["bound"], strict=True)]
    wide = table.assign(cell=cells).pivot(index=["title", "batch_size"], columns="rate", values="cell")[_COMPARED]
    wide = wide.loc[by_data_set(table["title"].unique())].reset_index()
    return wide.rename_axis(columns=None).rename(columns={"title": "regret (bound)", "batch_size": "M"})


def rate_numbers(table: pd.DataFrame) -> dict[str, Any]:
    """What the text and the claims say of the three rates."""
    wide = table.pivot(index=["title", "batch_size"], columns="rate", values=["regret", "bound"])
    tuned, adaptive = (RATES[rate][0] for rate in ("tuned", "adaptive"))
    sizes = ordered(table["batch_size"])
    restarts = wide["regret", RESTARTS] / wide["regret", tuned].where(wide["regret", tuned] > 0)
    smallest, largest = (wide.xs(size, level="batch_size") for size in (sizes[0], sizes[-1]))
    growth = largest["regret"] - smallest["regret"]
    smallest = smallest["bound"]
    return {
        "adaptive_ratio_most": most(wide["regret", adaptive] / wide["bound", adaptive]),
        "restarts_least": least(restarts),
        "restarts_most": most(restarts),
        "restarts_bound": most(wide["bound", RESTARTS] / wide["bound", tuned]),
        "anytime_most": most(wide["regret", ANYTIME] / wide["regret", tuned].where(wide["regret", tuned] > 0)),
        "adaptive_bound_least": least(smallest[adaptive]),
        "adaptive_bound_most": most(smallest[adaptive]),
        "tuned_bound_least": least(smallest[tuned]),
        "tuned_bound_most": most(smallest[tuned]),
        "adaptive_growth": most(growth[adaptive]),
        "tuned_growth": most(growth[tuned]),
        "adaptive_lower": count(wide["regret", adaptive] < wide["regret", tuned]),
        "rate_cells": len(wide),
        "bound_sizes": listed(map(str, sizes)),
        "bound_smallest": sizes[0],
        "bound_largest": sizes[-1],
    }


def rounded(traces: Sequence[str], beta: float, bits: Sequence[int], shuffles: int) -> pd.DataFrame:
    """HIL-F on confidences of fewer bits: what `fewer_bits` says of each trace, by its title."""
    tables = {
        trace_title(name): fewer_bits(load_trace(name), beta, ordered(bits), seeds=range(shuffles))
        for name in dict.fromkeys(traces)
    }
    return pd.concat(tables, names=["title"]).reset_index("title").reset_index(drop=True)


def rounded_shown(table: pd.DataFrame) -> pd.DataFrame:
    """The page's table: a row a number of bits, a column a trace, with mean cost and bound in each cell."""
    cells = [
        f"{cost:.4f} ({bound:.0f})" for cost, bound in zip(table["average_cost"], table["regret_bound"], strict=True)
    ]
    wide = table.assign(cell=cells).pivot(index="bits", columns="title", values="cell")
    wide = wide[by_data_set(table["title"].unique())].rename(columns=lambda title: title.replace(", ", "<br>"))
    order = [*(bits for bits in wide.index if bits), 0]
    wide = wide.loc[order].rename(index={0: "as it is"})
    return wide.rename_axis("bits", axis="index").rename_axis(None, axis="columns").reset_index()


def rounded_numbers(table: pd.DataFrame) -> dict[str, Any]:
    """By how much the fewest bits raise the mean cost, and what they do to the bound: the most of all traces."""
    fewest = min(bits for bits in table["bits"] if bits)
    by_bits = table.set_index(["bits", "title"])
    few, whole = (by_bits.xs(bits, level="bits") for bits in (fewest, 0))
    return {
        "fewest_bits": fewest,
        "bits_cost_most": most(few["average_cost"] - whole["average_cost"]),
        "bits_bound_least": least(few["regret_bound"] / whole["regret_bound"]),
        "bits_bound_most": most(few["regret_bound"] / whole["regret_bound"]),
    }
