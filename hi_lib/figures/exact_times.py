"""Counting the times exactly: its figures, and the numbers its claims rest on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from hi_lib import checks
from hi_lib.figures.style import PLAIN, batch_size_axis, legend_below, name_beside, plain_ticks
from hi_lib.timing import EXACT_MODELS, MODEL_NAMES, TimingModel
from hi_lib.typing import Floats

if TYPE_CHECKING:
    from hi_lib.timing import TimingModel

if TYPE_CHECKING:
    pass

MODEL_LINES: dict[str, dict[str, Any]] = {
    "paper": {"linestyle": "-"},
    "worst": {"linestyle": (0, (4, 2))},
    "average": {"linestyle": (0, (1, 1))},
}


def exact_against_paper(timing: TimingModel, offload_ratio: float, alphas: Sequence[float], largest: int) -> Figure:
    """System time, response time and objective against M: the paper's formulas and the exact ones."""
    figure, axes = plt.subplots(1, 3, figsize=(7.6, 3.3))
    sizes = np.arange(1, largest + 1)
    colours = ["#0072B2", "#D55E00"]
    for model, line in (("paper", MODEL_LINES["paper"]), ("exact", MODEL_LINES["worst"])):
        axes[0].plot(sizes, timing.system_time(sizes, offload_ratio, model), color="#333333", **line)
    for model, line in MODEL_LINES.items():
        axes[1].plot(sizes, timing.response_time(sizes, offload_ratio, model), color="#333333", **line)
        for alpha, colour in zip(alphas, colours, strict=True):
            curve = timing.objective(sizes, offload_ratio, alpha, model)
            best = timing.optimal_batch_size(offload_ratio, alpha, model)
            axes[2].plot(sizes, curve, color=colour, **line)
            axes[2].plot(best.integer, best.objective, "o", ms=4.5, color=colour, zorder=5)
            if model == "paper":
                name_beside(axes[2], f"α = {alpha:g}", (sizes[-1], curve[-1]), colour)
    titles = ("system time t_s", "response time t_r", "objective f, dots: M*")
    for axis, title in zip(axes, titles, strict=True):
        axis.set(title=title, ylabel="ms", ylim=(0, None))
        batch_size_axis(axis, [2**k for k in range(int(np.log2(largest)) + 1)])
    handles = [Line2D([], [], color="#333333", label=MODEL_NAMES[model], **line) for model, line in MODEL_LINES.items()]
    legend_below(figure, 3, handles)
    return figure


def wrong_optimum(
    maps: Mapping[str, tuple[Any, Any]], ratios: Any, network_times: Any, here: tuple[float, float]
) -> Figure:
    """Where the paper's M* is too large, and what that costs, over offload ratio and network time.

    `maps` holds for each title (paper's M* over the exact one, extra f in ms), both (network times, ratios); `here` is
    marked.
    """
    figure, axes = plt.subplots(2, len(maps), figsize=(7.6, 5.2), sharex=True, sharey=True, squeeze=False)
    scales = (
        ("paper's M* / exact M*", "viridis", mpl.colors.LogNorm(1, 16), [1, 2, 4, 8, 16]),
        ("extra f (ms)", "magma_r", mpl.colors.PowerNorm(0.5, 0, 1.4), [0, 0.1, 0.3, 0.6, 1, 1.4]),
    )
    for row, (label, colours, norm, ticks) in enumerate(scales):
        for axis, (title, values) in zip(axes[row], maps.items(), strict=True):
            mesh = axis.pcolormesh(ratios, network_times, values[row], cmap=colours, norm=norm, rasterized=True)
            axis.plot(*here, "x", color="#D55E00", ms=7, mew=2)
            axis.set(yscale="log", title=title if row == 0 else "", xlabel="offload ratio ρ" if row else "")
            plain_ticks(axis.yaxis, [1, 2, 5, 10, 20, 50, 100, 200])
            axis.grid(visible=False)
        axes[row, 0].set_ylabel("network time τ_nw (ms)")
        bar = figure.colorbar(
            mesh, ax=axes[row], label=label, ticks=ticks, format=PLAIN, extend="neither" if row else "max"
        )
        bar.ax.minorticks_off()
    return figure


def papers_choice(
    timing: TimingModel, offload_ratios: ArrayLike, network_times: ArrayLike, alpha: float, model: str = "worst"
) -> tuple[Floats, Floats, Floats]:
    """How the paper's M* does in the exact f, for all pairs of offload ratio (r,) and network time (k,), ms.

    Returns the paper's M* over the exact one, the extra f, and the least f, ms, all of shape (k, r). Offload ratios lie
    in (0, 1].

    Examples
    --------
    >>> timing = TimingModel(tau_ed=1.48, tau_es=4.41, tau_tx=4.93, tau_nw=20.0)
    >>> excess, extra, least = papers_choice(timing, [0.421], [20.0], alpha=0.5)
    >>> float(excess[0, 0]), float(extra[0, 0].round(3)), float(least[0, 0].round(1))
    (3.0, 0.624, 13.8)
    """
    checks.choice("model", model, EXACT_MODELS)
    excess, extra, least = [], [], []
    for network_time in checks.reals("network_times", network_times, 0, np.finfo(float).max):
        at = replace(timing, tau_nw=float(network_time))
        paper = at.optimal_batch_size(offload_ratios, alpha).integer.astype(int)
        # With offloads anywhere t_r rises with at least half the slope, so that the exact M† is at most √2 times ours.
        sizes = np.arange(1, 2 * paper.max() + 2)
        curves = at.objective(sizes[:, None], offload_ratios, alpha, model)
        excess.append(paper / (curves.argmin(axis=0) + 1))
        least.append(curves.min(axis=0))
        extra.append(curves[paper - 1, np.arange(paper.size)] - least[-1])
    return np.array(excess), np.array(extra), np.array(least)
