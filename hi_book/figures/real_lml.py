"""What a real L-ML makes of it: the paper counts every offload as right, but a large model errs, too.

Offloading then costs β, and 1 more where the L-ML is wrong. Accepting costs 1 where the S-ML is wrong, as before.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hi_book.figures.style import (
    DASHED,
    PLAIN,
    batch_size_axis,
    beta_colour,
    dataset_colour,
    in_two_lines,
    outer_labels,
    panels,
    shared_legend,
    trace_title,
)
from hi_book.figures.style import table as styled
from hi_book.figures.values import at, most, ordered, unseen
from hi_lib import checks, regret
from hi_lib.learners import replay
from hi_lib.paper import SETTINGS
from hi_lib.studies.lml import Outcome, best_threshold, known, outcome
from hi_lib.studies.measured import BATCH_SIZES, MACHINE, MEASURED, PAIRS, Line, timing_model
from hi_lib.traces import Trace, data_file, load_trace, trace_files

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

# Ways to learn, and to count.
LABELS = {
    "truth": "learning from the truth",
    "answer": "from the L-ML's answers",
    "truth, error added": "truth, β plus the L-ML's error",
    "answer, error added": "answers, β plus the L-ML's error",
    "paper": "every offload right (paper)",
    "never": "never offloading",
    "best": "best fixed θ",
}
EXACT = "M* (exact, worst)"
MODELS = {
    "imagenette-mobilenet_v1_0.25_128": "MobileNet v1 0.25-128\n(LiteRT)",
    "imagenette-efficientnet_lite2": "EfficientNet-Lite2\n(torch)",
    "cifar10-resnet8": "ResNet-8\n(ONNX)",
    "cifar10-resnet56": "ResNet-56\n(ONNX)",
}

_COLOURS = {
    **{"truth": "#0072B2", "answer": "#0072B2", "truth, error added": "#56B4E9", "answer, error added": "#56B4E9"},
    **{"paper": "#999999", "never": "#333333", "best": "#333333"},
}
_QUANTITIES = {"average_cost": "average cost", "accuracy": "accuracy of the answers"}
# What the text says of each of its two examples.
_SAID = ["assumed", "real", "even", "error", "hard", "never", "best", "truth", "truth_accuracy", "added_gain"]
_SAID += ["answer", "answer_error", "alike", "only"]
_DOTTED = (0, (1, 1.5))


def answers(name: str) -> pd.DataFrame:
    """The file of a trace that holds the classes which both models answered.

    Raises
    ------
    ValueError
        No such trace; one that has no L-ML, or not for every sample, or no columns predicted and lml_predicted.
    """
    known(load_trace(name))
    table = pd.read_csv(trace_files()[name])
    if not {"predicted", "lml_predicted"} <= set(table):
        raise ValueError(f"trace {name} must say what both models answer, in columns predicted and lml_predicted")
    return table


def measured_times() -> tuple[pd.DataFrame, dict[str, Any]]:
    """Times of the models in data/timings, and the machine on which they were measured."""
    machine = data_file(MACHINE).read_text(encoding="utf-8")
    return pd.read_csv(data_file(MEASURED)), json.loads(machine)


def accuracy_offload(curves: Mapping[str, pd.DataFrame], best: pd.DataFrame) -> Figure:
    """Accuracy of the final answers against the share offloaded, a panel a trace.

    `curves` maps panel titles to tables of `curve`; `best` has columns title, beta, offload_ratio, accuracy.
    """
    figure, axes = panels(len(curves), height=2.3)
    for axis, (title, table) in zip(axes, curves.items(), strict=True):
        share = 100 * table["offload_ratio"]
        axis.plot(share, 100 * table["assumed_accuracy"], color="#999999", linestyle=DASHED, lw=1.1)
        axis.plot(share, 100 * table["accuracy"], color=dataset_colour(title))
        ends = 100 * table["accuracy"].iloc[[0, -1]]
        axis.plot([0, 100], ends, color="#333333", linestyle=_DOTTED, lw=1)
        for size, row in enumerate(best[best["title"] == title].itertuples()):
            point = (100 * row.offload_ratio, 100 * row.accuracy)
            ring = {"ms": max(9 - 2.5 * size, 2), "mfc": "none", "mew": 1.5, "color": beta_colour(row.beta)}
            axis.plot(*point, "o", zorder=4, **ring)
        axis.set(title=in_two_lines(title), xlabel="offloaded (%)")
    outer_labels(axes, "accuracy (%)")
    data_sets = sorted({title.split(",")[0] for title in curves})
    lines = [
        *(Line2D([], [], color=dataset_colour(name), label=f"the L-ML's answers, {name}") for name in data_sets),
        Line2D([], [], color="#999999", linestyle=DASHED, label="every offload right (paper)"),
        Line2D([], [], color="#333333", linestyle=_DOTTED, label="offloading at random"),
    ]
    rings = [
        Line2D([], [], marker="o", ls="", mfc="none", mew=1.5, color=beta_colour(beta), label=f"best θ, β = {beta:g}")
        for beta in best["beta"].unique()
    ]
    shared_legend(figure, 3, [*lines, *rings])
    return figure


def real_cost(table: pd.DataFrame) -> Figure:
    """Cost and accuracy of each way, as `mean_costs` gives them: means over M as dots, their range over M as bars."""
    titles = list(dict.fromkeys(table["title"]))
    figure, axes = plt.subplots(2, len(titles), figsize=(max(3.8 * len(titles), 7.6), 4.6), squeeze=False, sharey=True)
    places = range(len(LABELS))
    for column, title in enumerate(titles):
        ways = table[table["title"] == title].groupby("way")
        for axis, (quantity, label) in zip(axes[:, column], _QUANTITIES.items(), strict=True):
            found = ways[quantity].agg(["min", "mean", "max"]).loc[list(LABELS)]
            colours = [_COLOURS[way] for way in LABELS]
            axis.hlines(places, found["min"], found["max"], colors=colours, lw=4, alpha=0.4)
            axis.scatter(found["mean"], places, c=colours, s=28, zorder=4)
            axis.set_yticks(places, list(LABELS.values()))
            axis.set_xlabel(label)
        axes[0, column].set(title=title)
    axes[0, 0].invert_yaxis()
    return figure


def batch_times(measured: pd.DataFrame, lines: Mapping[str, Line]) -> Figure:
    """Time of a batch against its size, a panel a model: medians, the line a + b·m, and m times the time of one."""
    figure, axes = plt.subplots(1, len(lines), figsize=(7.6, 2.7), squeeze=False)
    for axis, (model, line) in zip(axes[0], lines.items(), strict=True):
        times = measured[measured["model"] == model].groupby("batch_size")["milliseconds"]
        median = times.median()
        sizes = np.geomspace(median.index[0], median.index[-1], 100)
        axis.plot(sizes, median.iloc[0] * sizes, color="#999999", linestyle=DASHED, lw=1.2)
        axis.plot(sizes, line.fixed + line.per_sample * sizes, color="#0072B2", lw=1.3)
        spread = np.abs(np.array([times.quantile(0.25), times.quantile(0.75)]) - median.to_numpy())
        axis.errorbar(median.index, median, spread, fmt="o", ms=3.5, color="#D55E00", elinewidth=1, zorder=4)
        batch_size_axis(axis, median.index, label=False)
        axis.set(title=MODELS[model], yscale="log", xlabel="pictures m")
        axis.yaxis.set_major_formatter(PLAIN)
    axes[0, 0].set_ylabel("time of a batch (ms)")
    handles = [
        Line2D([], [], marker="o", ls="", ms=4, color="#D55E00", label="measured: median, quartiles"),
        Line2D([], [], color="#0072B2", label="a + b·m"),
        Line2D([], [], color="#999999", linestyle=DASHED, label="m·τ, τ the time of one"),
    ]
    shared_legend(figure, 3, handles)
    return figure


def best_thresholds(traces: Mapping[str, Trace], betas: Sequence[float]) -> pd.DataFrame:
    """The best threshold, its offload ratio and cost a sample, the L-ML "assumed" always right and as it is.

    A row a trace, by its title, and β; the accuracy is that of the answers as they are.
    """
    rows = []
    for title, trace in traces.items():
        for beta in ordered(betas):
            assumed, real = regret.best_threshold(trace, beta), best_threshold(trace, beta)
            accuracy = np.where(trace.confidence < real.threshold, known(trace), trace.correct).mean()
            point = (real.threshold, real.offload_ratio, accuracy, real.average_cost)
            rows.append((title, beta, assumed.threshold, assumed.offload_ratio, assumed.average_cost, *point))
    columns = ["title", "beta", "assumed_threshold", "assumed_ratio", "assumed_cost"]
    return pd.DataFrame(rows, columns=[*columns, "threshold", "offload_ratio", "accuracy", "average_cost"])


def best_table(best: pd.DataFrame) -> Styler:
    """The table of `best_thresholds`, as the page shows it."""
    names = {
        **{"title": "S-ML", "beta": "β"},
        **{"assumed_threshold": "θ* (always right)", "threshold": "θ* (as it is)"},
        **{"assumed_ratio": "ρ (always right)", "offload_ratio": "ρ (as it is)"},
        **{"assumed_cost": "cost (always right)", "average_cost": "cost (as it is)", "accuracy": "accuracy (as it is)"},
    }
    shown = best[list(names)].rename(columns=names)
    formats = {"β": "{:g}"} | dict.fromkeys(shown.columns[2:], "{:.3f}")
    caption = "Best threshold, its offload ratio and cost: the L-ML taken as always right (paper), and as it is"
    return styled("lml", shown).hide().format(formats).set_caption(caption)


def shuffled_costs(
    traces: Mapping[str, Trace],
    files: Mapping[str, pd.DataFrame],
    beta: float,
    batch_sizes: Sequence[int],
    shuffles: int,
) -> pd.DataFrame:
    """Cost of a sample and accuracy of each shuffle, for every way to learn and to count: LABELS.

    `files` maps the titles of some traces to their tables, with the classes that both models answered.
    """
    rows = []
    for title, file in files.items():
        trace, agreement = traces[title], Trace(file["confidence"], file["predicted"] == file["lml_predicted"])
        for size in ordered(batch_sizes):
            for seed in range(shuffles):
                found = outcomes(trace.shuffled(seed), agreement.shuffled(seed), beta, size)
                rows += [(title, size, seed, way, *point) for way, point in found.items()]
    return pd.DataFrame(rows, columns=["title", "batch_size", "seed", "way", "average_cost", "accuracy"])


def outcomes(trace: Trace, agreement: Trace, beta: float, batch_size: int) -> dict[str, Outcome]:
    """What each way of LABELS comes to; `agreement` holds whether the S-ML answers what the L-ML does."""
    rate = regret.vanilla_learning_rate(trace)
    higher = min(1, beta + 1 - known(trace).mean())
    truth = replay(trace, beta, batch_size, learning_rate=rate)
    runs = {
        "truth": truth,
        "answer": replay(agreement, beta, batch_size, learning_rate=rate),
        "truth, error added": replay(trace, higher, batch_size, learning_rate=rate),
        "answer, error added": replay(agreement, higher, batch_size, learning_rate=rate),
        "never": replay(trace, beta, batch_size, "never"),
        "best": replay(trace, beta, 1, "fixed", threshold=best_threshold(trace, beta).threshold),
    }
    found = {way: outcome(trace, run, beta) for way, run in runs.items()}
    return found | {"paper": Outcome(truth.average_cost, truth.accuracy)}


def mean_costs(drawn: pd.DataFrame) -> pd.DataFrame:
    """Means of `shuffled_costs` over shuffles."""
    point = ["title", "batch_size", "way"]
    return drawn.groupby(point, sort=False)[["average_cost", "accuracy"]].mean().reset_index()


def times(measured: pd.DataFrame, lines: Mapping[str, Line]) -> pd.DataFrame:
    """Times of one picture, of the largest batch, and of the fitted line a + b·m, ms, as text; a row a model."""
    medians, largest = _medians(measured), max(BATCH_SIZES)
    rows = {
        MODELS[model].replace("\n", " "): {
            "one picture (ms)": f"{medians[model, 1]:.2f}",
            "a (ms)": f"{line.fixed:.2f} ± {line.fixed_error:.2f}",
            "b (ms a picture)": f"{line.per_sample:.3f} ± {line.per_sample_error:.3f}",
            f"{largest} pictures (ms)": f"{medians[model, largest]:.1f}",
            f"{largest}·τ (ms)": f"{largest * medians[model, 1]:.1f}",
        }
        for model, line in lines.items()
    }
    return pd.DataFrame(rows).T


def _medians(measured: pd.DataFrame) -> pd.Series:
    return measured.groupby(["model", "batch_size"])["milliseconds"].median()


def devices(traces: Mapping[str, Trace], measured: pd.DataFrame, alpha: float) -> pd.DataFrame:
    """M* at this α with the paper's times and with ours (ms), with ρ counted the paper's way and as it really is."""
    rows = []
    for data_set, (small, large) in PAIRS.items():
        setting, trace = SETTINGS[data_set], traces[trace_title(small)]
        pair = f"{MODELS[small]} / {MODELS[large]}".replace("\n", " ")
        counts = {"paper": regret.best_threshold(trace, setting.beta), "real": best_threshold(trace, setting.beta)}
        for where, model in (("Jetson / A100", setting.timing), (pair, timing_model(measured, data_set))):
            for count, found in counts.items():
                ratio = found.offload_ratio
                sizes = (model.optimal_batch_size(ratio, alpha, kind).integer for kind in ("paper", "worst"))
                rows.append((setting.name, where, model.tau_ed, model.tau_es, count, ratio, *sizes))
    columns = ["data set", "device / server", "τ_ed (ms)", "τ_es (ms)", "counted", "ρ"]
    return pd.DataFrame(rows, columns=[*columns, "M* (paper)", EXACT])


def device_numbers(devices: pd.DataFrame, alpha: float) -> dict[str, float]:
    """At which α and β devices were compared, and the largest of the best batches, counted exactly."""
    betas = {f"{data_set}_beta": setting.beta for data_set, setting in SETTINGS.items()}
    return {"alpha": alpha, **betas, "exact_most": int(devices[EXACT].max())}


def both_wrong(trace: Trace, file: pd.DataFrame, beta: float) -> tuple[float, float]:
    """Shares of the images below the paper's best threshold: both models wrong alike, and only the L-ML wrong.

    nan where there are no such images.
    """
    hard = file[file["confidence"] < regret.best_threshold(trace, beta).threshold]
    alike = (hard["correct"] == 0) & (hard["predicted"] == hard["lml_predicted"])
    return alike.mean(), ((hard["correct"] == 1) & (hard["lml_correct"] == 0)).mean()


def example_numbers(
    traces: Mapping[str, Trace], files: Mapping[str, pd.DataFrame], drawn: pd.DataFrame, beta: float
) -> dict[str, Any]:
    """What the text says of the first two traces in `files`, the "first" and the "second", vanilla HI at this β."""
    values: dict[str, Any] = {"cost_beta": beta}
    for key, title in zip(("first", "second"), [*files, None, None], strict=False):
        values[f"{key}_title"] = title or math.nan
        found = _example(traces[title], files[title], drawn[drawn["title"] == title], beta) if title else {}
        values |= {f"{key}_{what}": at(found, what) for what in _SAID}
    return values


def _example(trace: Trace, file: pd.DataFrame, drawn: pd.DataFrame, beta: float) -> dict[str, float]:
    alike, only = both_wrong(trace, file, beta)
    vanilla = drawn[drawn["batch_size"] == 1]
    return _thresholds(trace, beta) | (_costs(vanilla) if len(vanilla) else {}) | {"alike": alike, "only": only}


def _thresholds(trace: Trace, beta: float) -> dict[str, float]:
    """Offload ratios of the best thresholds, and the L-ML's error, on all images and on those the paper offloads."""
    large, assumed = known(trace), regret.best_threshold(trace, beta)
    error = 1 - large.mean()
    return {
        "assumed": assumed.offload_ratio,
        "real": best_threshold(trace, beta).offload_ratio,
        "even": regret.best_threshold(trace, min(1, beta + error)).offload_ratio,
        "error": error,
        "hard": 1 - large[trace.confidence < assumed.threshold].mean() if assumed.offload_ratio else math.nan,
    }


def _costs(drawn: pd.DataFrame) -> dict[str, float]:
    """Mean costs of a sample over shuffles, and what learning from answers instead of the truth adds."""
    mean, accuracy = (mean_costs(drawn).set_index("way")[quantity] for quantity in ("average_cost", "accuracy"))
    cost = drawn.pivot(index="seed", columns="way", values="average_cost")
    change = cost["answer"] - cost["truth"]
    return {
        "never": mean["never"],
        "best": mean["best"],
        "truth": mean["truth"],
        "truth_accuracy": accuracy["truth"],
        "added_gain": mean["truth"] - mean["truth, error added"],
        "answer": change.mean(),
        "answer_error": change.sem(),
    }


def accuracy_numbers(traces: Mapping[str, Trace]) -> dict[str, float]:
    """Accuracy of the L-MLs, and of Imagenette's on the images it was not trained on."""
    large = pd.read_csv(data_file("lml/imagenette-efficientnet_lite2.csv"))
    clean = large["correct"][unseen(large["image"])]
    lmls = {
        f"{data_set}_lml": float(known(traces[trace_title(small)]).mean()) for data_set, (small, _) in PAIRS.items()
    }
    return lmls | {"clean_images": clean.size, "clean_lml": clean.mean()}


def peak_numbers(curves: Mapping[str, pd.DataFrame], best: pd.DataFrame, few: float) -> dict[str, float | str]:
    """By how much both models together are more often right than the L-ML alone, and where almost nothing is sent.

    Almost nothing is less than a share `few`.
    """
    checks.real("few", few, 0, 1)
    peaks = {title: table["accuracy"].max() - table["accuracy"].iloc[-1] for title, table in curves.items()}
    peak = max(peaks, key=lambda title: peaks[title])
    return {
        "peak_gain": peaks[peak],
        "peak_title": peak,
        "few_count": int((best["offload_ratio"] < few).sum()),
        "row_count": len(best),
        "few": few,
    }


def growth_numbers(drawn: pd.DataFrame) -> dict[str, float]:
    """How many times as much a sample costs at the largest M as at M = 1, at most; nan without either."""
    cost = drawn.pivot(index=["title", "batch_size", "seed"], columns="way", values="average_cost")
    mean, largest = cost.groupby(["title", "batch_size"]).mean().unstack("title"), int(drawn["batch_size"].max())
    growth = mean.loc[largest] / mean.loc[1] if 1 in mean.index and largest > 1 else mean.loc[largest] * math.nan
    answered = ["answer", "answer, error added"]
    return {
        "largest_size": largest,
        "real_growth_max": most(growth[["truth", "truth, error added", *answered]]),
        "answer_growth_max": most(growth[answered]),
    }


def resnet8_numbers(traces: Mapping[str, Trace], beta: float) -> dict[str, float]:
    """The same errors as in the examples, for ResNet-8."""
    alike, only = both_wrong(traces[trace_title("cifar10-resnet8")], answers("cifar10-resnet8"), beta)
    return {"resnet8_alike": alike, "resnet8_only": only}


def time_numbers(measured: pd.DataFrame, machine: Mapping[str, Any]) -> dict[str, float | str]:
    """What was measured where, and by what factor m·τ overstates the time of the largest batch."""
    medians, largest = _medians(measured), max(BATCH_SIZES)
    over = {large: largest * medians[large, 1] / medians[large, largest] for _, large in PAIRS.values()}
    return {
        "machine": f"{machine['cores']} cores of type {machine['processor']}",
        "efficientnet_over": over["imagenette-efficientnet_lite2"],
        "resnet56_over": over["cifar10-resnet56"],
        "largest_batch": largest,
    }
