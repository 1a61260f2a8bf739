"""Data and models: its figures, and the numbers its claims rest on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from hi_lib.figures.style import legend_below, outer_labels, panels, plain_ticks
from hi_lib.traces import Trace

if TYPE_CHECKING:
    pass


def confidence_histograms(traces: Mapping[str, Trace]) -> Figure:
    """Confidence of right and wrong answers, a panel a trace."""
    figure, axes = panels(len(traces), height=2.1)
    bins = np.linspace(0, 1, 26)
    for axis, (title, trace) in zip(axes, traces.items(), strict=True):
        parts = [trace.confidence[trace.correct], trace.confidence[~trace.correct]]
        weights = [np.full(part.size, 100 / len(trace)) for part in parts]
        axis.hist(parts, bins=bins.tolist(), weights=weights, stacked=True, color=["#56B4E9", "#D55E00"])
        axis.set(title=title, xlabel="confidence p", ylim=(0, 95))
        # Most of a ResNet's answers share the last bin; linear to 5 %, logarithmic above, shows the rest as well.
        axis.set_yscale("symlog", linthresh=5)
        plain_ticks(axis.yaxis, [0, 1, 2, 5, 10, 20, 50, 90])
    outer_labels(axes, "samples (%)")
    handles = [Patch(color="#56B4E9", label="S-ML right"), Patch(color="#D55E00", label="S-ML wrong")]
    legend_below(figure, 2, handles)
    return figure
