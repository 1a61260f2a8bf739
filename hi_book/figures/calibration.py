"""What the S-ML does to the result: its figures, and the numbers its claims rest on."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from hi_book.figures.style import (
    BETA_COLOURS,
    by_data_set,
    in_two_lines,
    name_beside,
    outer_labels,
    panels,
    scientific,
    shared_legend,
)
from hi_book.figures.style import table as styled
from hi_book.figures.values import least, ordered, quotient
from hi_lib import checks, traces
from hi_lib.learners import replay
from hi_lib.paper import IMAGENETTE, setting_of
from hi_lib.regret import best_threshold, lambda_min, regret_bound, tuned_learning_rate
from hi_lib.traces import Trace, checked

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

# Where a calibration table keeps each confidence.
WAYS = {"before scaling": "confidence_float", "after scaling": "confidence_scaled"}
IMAGENETTE_SML, CIFAR10_SML = "S-ML (Imagenette)", "S-ML (CIFAR-10)"
_SMLS = {"Imagenette": IMAGENETTE_SML, "CIFAR-10": CIFAR10_SML}
PREPROCESSING, TEMPERATURE = "preprocessing (MobileNet v1 0.25-128)", "temperature (widest S-ML)"
TUNED = "batch size {sizes}, η tuned for each (widest trace)"
ONE_RATE = "batch size {sizes}, one η (widest trace)"
BOUND, OWN, OTHER = "bound at M", "regret at M", "regret, other's rate"


def read(names: Mapping[str, str]) -> tuple[dict[str, pd.DataFrame], dict[str, float]]:
    """Calibration tables and temperatures of shipped traces, by title; `names` maps titles to names."""
    tables = {title: pd.read_csv(traces.data_file(f"calibration/{name}.csv")) for title, name in names.items()}
    records = {title: traces.data_file(f"traces/{name}.json").read_bytes() for title, name in names.items()}
    return tables, {title: json.loads(record)["temperature"] for title, record in records.items()}


def judged(table: pd.DataFrame, column: str) -> Trace:
    """The half of the samples that judges a temperature, with the confidences of a column."""
    rows = table[table["part"] == "report"]
    return Trace(rows[column], rows["correct_float"])


def whole(table: pd.DataFrame) -> Trace:
    """All samples, with the S-ML's own confidences in floating point."""
    return Trace(table["confidence_float"], table["correct_float"])


def reliability(trace: Trace, bins: int) -> pd.DataFrame:
    """Accuracy where the S-ML says p: a row for each of `bins` equal stretches of [0, 1] that holds a sample.

    Returns
    -------
    DataFrame with columns confidence (mean of the bin), accuracy, samples.
    """
    # 1.0 belongs to the last bin.
    place = np.minimum((checked(trace).confidence * checks.whole("bins", bins)).astype(int), bins - 1)
    table = pd.DataFrame({"confidence": trace.confidence, "accuracy": trace.correct}).groupby(place).mean()
    return table.assign(samples=np.bincount(place)[table.index]).reset_index(drop=True)


def expected_calibration_error(trace: Trace, bins: int) -> float:
    """ECE: how far accuracy is from confidence, mean over samples, in `bins` equal bins (Guo et al. 2017).

    Examples
    --------
    >>> expected_calibration_error(Trace([0.75, 0.75, 0.75, 0.75], [1, 1, 1, 0]), bins=15)
    0.0
    """
    table = reliability(trace, bins)
    return float(((table["accuracy"] - table["confidence"]).abs() * table["samples"]).sum() / len(trace))


def diagrams(tables: Mapping[str, pd.DataFrame], bins: int) -> dict[str, dict[str, pd.DataFrame]]:
    """Tables of `reliability` on the half that judges, by title and by way to get the confidence."""
    return {
        title: {way: reliability(judged(table, column), bins) for way, column in WAYS.items()}
        for title, table in tables.items()
    }


def reliability_diagrams(tables: Mapping[str, Mapping[str, pd.DataFrame]], fewest: int) -> Figure:
    """Accuracy against confidence, a panel a trace, a line a way to get the confidence.

    `tables` maps panel titles to tables of `reliability` by name; bins of fewer than `fewest` samples are left out.
    """
    figure, axes = panels(len(tables), height=2.3)
    for axis, title in zip(axes, by_data_set(tables), strict=True):
        axis.plot([0, 1], [0, 1], color="#BBBBBB", lw=1)
        for (way, table), colour in zip(tables[title].items(), ("#D55E00", "#0072B2"), strict=False):
            filled = table[table["samples"] >= fewest]
            axis.plot(filled["confidence"], filled["accuracy"], "o-", ms=2.5, lw=1.2, color=colour, label=way)
        axis.set(title=in_two_lines(title), xlabel="confidence p", xlim=(0, 1), ylim=(0, 1))
    outer_labels(axes, "accuracy")
    shared_legend(figure, 2)
    return figure


def offload_curves(traces: Mapping[str, Trace], paper: Mapping[float, float]) -> Figure:
    """Share of samples less confident than θ, a line a trace, and the paper's offload ratios at θ = 1 − β."""
    figure, axis = plt.subplots(figsize=(5.2, 4.4))
    shades = plt.colormaps["Greys"](np.linspace(0.85, 0.35, len(traces)))
    for (title, trace), colour in zip(traces.items(), shades, strict=True):
        confidence = np.sort(trace.confidence)
        axis.step(confidence, np.arange(1, confidence.size + 1) / confidence.size, color=colour, lw=1.6, label=title)
    for beta, ratio in paper.items():
        colour = BETA_COLOURS[beta]
        axis.plot(1 - beta, ratio, "D", ms=8, color=colour, mec="white", zorder=4, label=f"paper, β = {beta:g}")
    axis.set(xlabel="threshold θ", ylabel="offload ratio ρ(θ)", xlim=(0, 1), ylim=(0, 1))
    shared_legend(figure, 2)
    return figure


def what_moves_cost(groups: Mapping[str, Sequence[float]], batch_sizes: Sequence[int] = (1,)) -> Figure:
    """Ranges of average cost, a row a cause, a dot a choice: how far each choice moves the cost.

    A cause with one choice is left out.
    """
    names = [name for name, costs in groups.items() if len(costs) > 1][::-1]
    figure, axis = plt.subplots(figsize=(6.6, 0.52 * len(names) + 0.9))
    for row, name in enumerate(names):
        costs = groups[name]
        low, high = min(costs), max(costs)
        axis.plot([low, high], [row, row], color="#999999", lw=3, solid_capstyle="round", zorder=1)
        axis.plot(costs, [row] * len(costs), "o", ms=5, color="#0072B2", zorder=2)
        name_beside(axis, f"{high - low:.4f}", (high, row), "#333333", xytext=(8, 0))
    sizes = f"{min(batch_sizes)} … {max(batch_sizes)}"
    axis.set_yticks(range(len(names)), labels=[name.format(sizes=sizes) for name in names])
    axis.set_ylim(-0.6, len(names) - 0.4)
    axis.set_xlabel("average cost")
    return figure


def scaling(
    tables: Mapping[str, pd.DataFrame], temperatures: Mapping[str, float], beta: float, bins: int
) -> pd.DataFrame:
    """What a temperature changes: ECE, best threshold, its offload ratio and cost a sample; a row an S-ML."""
    rows = []
    for title, table in tables.items():
        row = {"S-ML": title, "T": f"{temperatures[title]:.3f}"}
        for suffix, column in zip(("", " scaled"), WAYS.values(), strict=True):
            row |= {f"{name}{suffix}": value for name, value in _judgement(judged(table, column), beta, bins).items()}
        rows.append(row)
    order = ["S-ML", "T", "ECE", "by chance", "ECE scaled", "by chance scaled"]
    order += [f"{name}{suffix}" for name in ("θ*", "ρ", "cost") for suffix in ("", " scaled")]
    return pd.DataFrame(rows)[order]


def _judgement(trace: Trace, beta: float, bins: int) -> dict[str, Any]:
    best, (mean, deviation) = best_threshold(trace, beta), error_by_chance(trace, bins)
    return {
        "ECE": expected_calibration_error(trace, bins),
        "by chance": f"{mean:.3f} ± {deviation:.3f}",
        "θ*": best.threshold,
        "ρ": best.offload_ratio,
        "cost": best.average_cost,
    }


def error_by_chance(trace: Trace, bins: int) -> tuple[float, float]:
    """ECE of a perfectly calibrated model with these confidences, mean and deviation over draws of the answers."""
    p = trace.confidence
    draws = (Trace(p, np.random.default_rng(seed).random(p.size) < p) for seed in range(40))
    found = [expected_calibration_error(draw, bins) for draw in draws]
    return float(np.mean(found)), float(np.std(found, ddof=1))


def rule_costs(tables: Mapping[str, pd.DataFrame], betas: Sequence[float]) -> pd.DataFrame:
    """Cost of a sample under θ = 1 − β, "as it is" and "scaled", and under the best θ once "scaled"; by S-ML and β."""
    rows = {}
    for title, table in tables.items():
        own, mended = (judged(table, column) for column in WAYS.values())
        for beta in ordered(betas):
            rows[title, beta] = {
                "as it is": replay(own, beta, learner="fixed", threshold=1 - beta).average_cost,
                "scaled": replay(mended, beta, learner="fixed", threshold=1 - beta).average_cost,
                "best scaled": best_threshold(mended, beta).average_cost,
            }
    return pd.DataFrame(rows).T.rename_axis(["S-ML", "β"])


def scaling_table(table: pd.DataFrame, beta: float) -> Styler:
    """The table of `scaling`, as the page shows it."""
    caption = f"β = {beta:g}, on the half that judges, confidences in floating point (other pages: all images, 8 bits)"
    numeric = table.select_dtypes("number").columns
    return styled("scaling", table).hide().format("{:.3f}", subset=numeric).set_caption(caption)


def bits(pairs: Mapping[str, Mapping[str, Trace]], beta: float, shuffles: int, batch_size: int) -> pd.DataFrame:
    """What 8-bit confidences do to bound and regret, with the rate tuned for them and for the other kind."""
    rows = []
    for title, kinds in pairs.items():
        shortest = {kind: lambda_min(trace) for kind, trace in kinds.items()}
        rates = {kind: tuned_learning_rate(len(trace), batch_size, shortest[kind]) for kind, trace in kinds.items()}
        for (kind, trace), other in zip(kinds.items(), list(kinds)[::-1], strict=True):
            regrets = (_mean_regret(trace, beta, batch_size, rates[rate], shuffles) for rate in (kind, other))
            bound = regret_bound(len(trace), batch_size, shortest[kind])
            rows.append((title, kind, np.unique(trace.confidence).size, shortest[kind], bound, *regrets))
    return pd.DataFrame(rows, columns=["S-ML", "confidence", "distinct", "λ_min", BOUND, OWN, OTHER])


def with_size(bits: pd.DataFrame, batch_size: int) -> pd.DataFrame:
    """The table of `bits`, its columns named for M."""
    return bits.rename(columns={name: f"{name} = {batch_size}" for name in (BOUND, OWN)})


def bits_table(table: pd.DataFrame) -> Styler:
    """The table of `with_size`, as the page shows it."""
    formats = dict(zip(table.columns[-4:], (scientific, "{:.0f}", "{:.1f}", "{:.1f}"), strict=True))
    return styled("bits", table).hide().format(formats)


def _mean_regret(trace: Trace, beta: float, batch_size: int, rate: float, shuffles: int) -> float:
    runs = (replay(trace.shuffled(seed), beta, batch_size, learning_rate=rate) for seed in range(shuffles))
    return float(np.mean([run.regret for run in runs]))


def preprocessing_costs(beta: float) -> list[float]:
    """Average cost of the best threshold for each way to resize a picture; none where it was not measured at this β."""
    table = pd.read_csv(traces.data_file("preprocessing.csv"))
    return list(table.get(f"cost_{beta:g}", []))


def causes(runs: pd.DataFrame, preprocessing: Sequence[float], scaling: pd.DataFrame) -> dict[str, list[float]]:
    """Average costs that differ by one cause each: S-ML, preprocessing, batch size, temperature.

    `runs` is a sweep over traces, batch sizes, and the rates "vanilla" and "tuned"; S-MLs compare at M = 1.
    """
    costs = runs.groupby(["trace", "learning_rate", "batch_size"])["average_cost"].mean()
    tuned, vanilla = (costs.xs(rate, level="learning_rate").unstack() for rate in ("tuned", "vanilla"))
    one = vanilla.filter([1])
    settings = np.array([setting_of(name).name for name in one.index])
    widest = scaling.loc[(scaling["cost"] - scaling["cost scaled"]).abs().idxmax()]
    return {
        **{label: one[settings == name].to_numpy().ravel().tolist() for name, label in _SMLS.items()},
        PREPROCESSING: list(preprocessing),
        TUNED: _widest(tuned),
        ONE_RATE: _widest(vanilla),
        TEMPERATURE: list(widest[["cost", "cost scaled"]]),
    }


def _widest(costs: pd.DataFrame) -> list[float]:
    """Costs over batch sizes, the columns, of the trace where they range widest."""
    return list(costs.loc[(costs.max(axis=1) - costs.min(axis=1)).idxmax()])


def temperature_numbers(scaling: pd.DataFrame, rule: pd.DataFrame, beta: float) -> dict[str, float | str]:
    """What scaling does to the best thresholds, and to the cost of the rule θ = 1 − β."""
    before, after = scaling["θ*"], scaling["θ* scaled"]
    moved = (after - before).abs()
    mover = moved.idxmax()
    cheap_beta = rule.index.get_level_values("β").min()
    cheap = rule.loc[(scaling.loc[mover, "S-ML"], cheap_beta)]
    return {
        "beta": beta,
        "mover": scaling.loc[mover, "S-ML"].split(", ")[1],
        "mover_before": before[mover],
        "mover_after": after[mover],
        "others_move": moved.drop(mover).max(),
        "away_count": int((((after - 1 + beta).abs() - (before - 1 + beta).abs()) > 0).sum()),
        "cheap_beta": cheap_beta,
        "rule_before": cheap["as it is"],
        "rule_after": cheap["scaled"],
        "rule_best": cheap["best scaled"],
        "rule_change": (rule["scaled"] - rule["as it is"]).xs(beta, level="β").abs().max(),
        "scaling_cost_max": (scaling["cost"] - scaling["cost scaled"]).abs().max(),
    }


def bits_numbers(bits: pd.DataFrame, pairs: Mapping[str, Mapping[str, Trace]], beta: float) -> dict[str, float | str]:
    """Whether the paper's S-ML may lie between ours, and what 8 bits do to bound, regret and best cost."""
    bound, own, other = (bits.pivot(index="S-ML", columns="confidence", values=name) for name in (BOUND, OWN, OTHER))
    factor = bound["float"] / bound["8 bits"]
    kinds = ("8 bits", "float")
    costs = [[best_threshold(pair[kind], beta).average_cost for kind in kinds] for pair in pairs.values()]
    between = paper_between([pair["8 bits"] for pair in pairs.values()])
    return {
        "between_count": ("None", "One", "Two", "All three")[between],
        "bound_factor_least": factor.min(),
        "bound_factor_most": factor.max(),
        "equal_rate_gap": np.abs([own["8 bits"] - other["float"], own["float"] - other["8 bits"]]).max(),
        "bits_cost_max": float(np.abs(np.diff(costs)).max()),
    }


def paper_between(traces: Sequence[Trace]) -> int:
    """How many of the paper's offload ratios lie between those of the two least accurate S-MLs, at θ = 1 − β."""
    weakest = sorted(traces, key=lambda trace: trace.accuracy)[:2]
    count = 0
    for beta, paper in IMAGENETTE.offload_ratios.items():
        ratios = [(trace.confidence < 1 - beta).mean() for trace in weakest]
        count += min(ratios) <= paper <= max(ratios)
    return count


def cause_numbers(causes: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """How far each cause moves the average cost, and the S-ML as a multiple of the batch size."""
    spread = {cause: max(costs) - min(costs) if len(costs) > 1 else math.nan for cause, costs in causes.items()}
    model = least([spread[IMAGENETTE_SML], spread[CIFAR10_SML]])
    return {
        "model_spread_max": spread[IMAGENETTE_SML],
        "model_spread_cifar10": spread[CIFAR10_SML],
        "batch_spread_max": spread[ONE_RATE],
        "tuned_spread_max": spread[TUNED],
        "least_spread_ratio": quotient(model, spread[ONE_RATE]),
        "tuned_spread_ratio": quotient(model, spread[TUNED]),
        "preprocessing_spread": spread[PREPROCESSING],
    }
