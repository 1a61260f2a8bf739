"""The paper's Fig. 4: the best batch size: its figures, and the numbers its claims rest on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from hi_lib.figures.style import alpha_colours, batch_size_axis, legend_below, name_beside, plain_ticks

if TYPE_CHECKING:
    from hi_lib.timing import TimingModel


def objective(panels: Mapping[str, tuple[TimingModel, float]], alphas: Sequence[float], largest: float) -> Figure:
    """Fig. 4: f(M) over real M for each data set (its timing model and ρ); M†, M* and the true vanilla value marked."""
    figure, axes = plt.subplots(1, len(panels), figsize=(7.6, 4.2), squeeze=False)
    sizes = np.geomspace(1, largest, 400)
    for axis, (title, (timing, ratio)) in zip(axes[0], panels.items(), strict=True):
        for alpha, colour in zip(alphas, alpha_colours(alphas), strict=True):
            best = timing.optimal_batch_size(ratio, alpha)
            axis.plot(sizes, timing.objective(sizes, ratio, alpha), color=colour)
            if 1 <= best.relaxed <= largest:
                height = timing.objective(best.relaxed, ratio, alpha)
                axis.plot(best.relaxed, height, "o", ms=8, mfc="none", mec=colour, zorder=4)
            if best.integer <= largest:
                axis.plot(best.integer, best.objective, "o", ms=4, color=colour, zorder=5)
            name_beside(axis, f"α = {alpha:g}", (largest, timing.objective(largest, ratio, alpha)), colour)
        # At M = 1 both exact times are the same, so vanilla's value does not depend on α.
        vanilla = timing.system_time(1, ratio, "exact")
        axis.plot(1, vanilla, "s", ms=9, mfc="none", mec="#333333", clip_on=False)
        axis.set_title(f"{title}, ρ = {ratio:.3f}")
        axis.set(yscale="log", ylabel="f(M) (ms)")
        batch_size_axis(axis, [2**k for k in range(int(np.log2(largest)) + 1)])
        plain_ticks(axis.yaxis, [1, 2, 5, 10, 20, 50, 100, 200, 500])
    marks = {
        "M†, real minimiser": ("o", 8, ""),
        "M*, best integer": ("o", 4, "#333333"),
        "vanilla HI, exact": ("s", 9, ""),
    }
    keys = []
    for label, (mark, size, fill) in marks.items():
        keys += axes[0, 0].plot([], [], mark, ms=size, mfc=fill or "none", color="#333333", label=label)
    legend_below(figure, 3, keys)
    return figure
