"""Data and models: its figures, and the numbers its claims rest on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from hi_book.figures.style import in_two_lines, outer_labels, panels, plain_ticks, scientific, shared_legend
from hi_book.figures.style import table as styled
from hi_book.figures.values import least, most, unseen
from hi_lib.regret import best_threshold, lambda_min
from hi_lib.traces import Trace

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler


def confidence_histograms(traces: Mapping[str, Trace]) -> Figure:
    """Confidence of right and wrong answers, a panel a trace."""
    figure, axes = panels(len(traces), height=2.1)
    bins = np.linspace(0, 1, 26)
    for axis, (title, trace) in zip(axes, traces.items(), strict=True):
        parts = [trace.confidence[trace.correct], trace.confidence[~trace.correct]]
        weights = [np.full(part.size, 100 / len(trace)) for part in parts]
        axis.hist(parts, bins=bins.tolist(), weights=weights, stacked=True, color=["#56B4E9", "#D55E00"])
        axis.set(title=in_two_lines(title), xlabel="confidence p", ylim=(0, 95))
        # Most of a ResNet's answers share the last bin; linear to 5 %, logarithmic above, shows the rest as well.
        axis.set_yscale("symlog", linthresh=5)
        plain_ticks(axis.yaxis, [0, 1, 2, 5, 10, 20, 50, 90])
    outer_labels(axes, "samples (%)")
    handles = [Patch(color="#56B4E9", label="S-ML right"), Patch(color="#D55E00", label="S-ML wrong")]
    shared_legend(figure, 2, handles)
    return figure


def seen(traces: Mapping[str, Trace], betas: Sequence[float]) -> pd.DataFrame:
    """What a learner sees of each trace, given by its title "data set, S-ML", and its best threshold for each β."""

    def row(title: str, trace: Trace) -> dict[str, Any]:
        return {
            "data set": title.split(", ")[0],
            "samples": len(trace),
            "accuracy": trace.accuracy,
            "distinct p": np.unique(trace.confidence).size,
            "λ_min": lambda_min(trace),
        } | {f"θ* at β = {beta:g}": best_threshold(trace, beta).threshold for beta in betas}

    return pd.DataFrame({title.split(", ")[-1]: row(title, trace) for title, trace in traces.items()}).T


def seen_table(table: pd.DataFrame) -> Styler:
    """The table of `seen`, as the page shows it."""
    formats: dict[str, Any] = {"samples": "{:.0f}", "accuracy": "{:.3f}", "distinct p": "{:.0f}", "λ_min": scientific}
    formats |= {column: "{:.3f}" for column in table if column.startswith("θ*")}
    return styled("traces", table).format(formats)


def leakage(files: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Accuracy on all images and on the clean ones, which no ImageNet model was trained on, and how many there are.

    `files` maps titles to tables with columns image and correct; the interval is Wilson's, for the clean images.
    """
    from scipy.stats import binomtest

    rows = {}
    for title, table in files.items():
        clean = table["correct"][unseen(table["image"])]
        low, high = binomtest(int(clean.sum()), clean.size).proportion_ci(method="wilson")
        shares = {"all images": table["correct"].mean(), "clean images": clean.mean()}
        counts = {"clean": clean.size, "training": len(table) - clean.size}
        rows[title] = shares | {"95 % from": low, "to": high} | counts
    return pd.DataFrame(rows).T


def provenance(about: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """How each trace was made, in short, from the record beside it."""
    rows = {
        title: {
            "model sha256": entry["model_sha256"][:8],
            "from": entry["model_origin"].split(",")[0].removeprefix("GitHub "),
            "input": entry["preprocessing"].split()[-1],
            "runtime": " ".join(list(entry["versions"].items())[-1]),
        }
        for title, entry in about.items()
    }
    return pd.DataFrame(rows).T


def numbers(leakage: pd.DataFrame, preprocessing: pd.DataFrame, betas: Sequence[float]) -> dict[str, float | str]:
    """What leakage and preprocessing do to accuracy and to the best threshold's average cost.

    nan for a cost if none of these β is one at which it was measured.
    """
    loss = leakage["all images"] - leakage["clean images"]
    costs = preprocessing.filter([f"cost_{beta:g}" for beta in betas])
    spreads = costs.max() - costs.min()
    return {
        "clean_loss_max": loss.max(),
        "clean_loss_who": loss.idxmax().split(", ")[1],
        "clean_outside": int((leakage["all images"] > leakage["to"]).sum()),
        "clean_images": int(leakage["clean"].iloc[0]),
        "training_images": int(leakage["training"].iloc[0]),
        "preprocessing_spread": preprocessing["accuracy"].max() - preprocessing["accuracy"].min(),
        "preprocessing_cost_least": least(spreads),
        "preprocessing_cost_most": most(spreads),
    }
