"""One visual style; each function takes data and returns a Figure."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from hi_lib import checks
from hi_lib.traces import Trace

if TYPE_CHECKING:
    import pandas as pd
    from pandas.io.formats.style import Styler

# Safe for the colour-blind (Okabe and Ito's, and two beside them); a β and a data set keep theirs in every figure.
BETA_COLOURS = {0.3: "#0072B2", 0.5: "#D55E00", 0.7: "#009E73"}
DATASET_COLOURS = {"Imagenette": "#7B3294", "CIFAR-10": "#8C6D00"}
TIME_COLOURS = {"system_time": "#444444", "response_time": "#CC79A7"}
PLAIN = FuncFormatter(lambda value, _: f"{value:g}")

TRACE_TITLES = {
    "imagenette-mobilenet_v1_0.25_128": "Imagenette, MobileNet v1 0.25-128",
    "imagenette-mobilenet_v1_0.5_160": "Imagenette, MobileNet v1 0.5-160",
    "imagenette-mobilenet_v1_0.75_192": "Imagenette, MobileNet v1 0.75-192",
    "imagenette-mobilenet_v2_1.0_224": "Imagenette, MobileNet v2 1.0-224",
    "cifar10-alexnet": "CIFAR-10, AlexNet",
    "cifar10-resnet8": "CIFAR-10, ResNet-8",
    "cifar10-resnet56": "CIFAR-10, ResNet-56",
}


def use_style() -> None:
    """Set the house style; every notebook calls this once."""
    from matplotlib_inline.backend_inline import set_matplotlib_formats

    # Fixed salt and no date: the same data gives the same bytes.
    set_matplotlib_formats("svg", metadata={"Date": None}, bbox_inches="tight")
    plt.uninstall_repl_displayhook()  # it would draw every figure once more than the SVG needs
    plt.rcParams.update(
        {
            "svg.hashsalt": "batch-hi",
            "svg.fonttype": "path",
            "figure.constrained_layout.use": True,
            "font.family": "DejaVu Sans",
            "font.size": 9,
            "axes.titlesize": 9,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.axisbelow": True,
            "grid.color": "#E4E4E4",
            "grid.linewidth": 0.6,
            "lines.linewidth": 1.6,
            "legend.frameon": False,
        }
    )


def table(name: str, frame: pd.DataFrame) -> Styler:
    """A table to show; its HTML ids come from `name` instead of chance, so that the page's bytes do not change."""
    return frame.style.set_uuid(name)


def scientific(value: float) -> str:
    """2.6e−12, with a sign at which no line breaks."""
    return f"{value:.1e}".replace("-", "−")


def trace_title(name: str) -> str:
    """Data set and S-ML of a shipped trace as they stand in figures; any other name stays as it is."""
    return TRACE_TITLES.get(name) or checks.printable(" ".join(name.split())).replace("$", r"\$")


def transmissions_per_sample(batch_sizes: Sequence[int], curves: Mapping[str, Any], runs: pd.DataFrame) -> Figure:
    """Transmissions a sample against M: curves as lines, runs (batch_size, transmissions, label) as marks."""
    figure, axis = plt.subplots(figsize=(5.6, 3.4))
    styles = (("#333333", "--"), ("#333333", "-"), ("#999999", ":"))
    for (label, values), (colour, line) in zip(curves.items(), styles, strict=True):
        axis.plot(batch_sizes, values, line, color=colour, label=label)
    label = runs["label"].iloc[0]
    axis.plot(
        runs["batch_size"], runs["transmissions"], "o", ms=5, color=_dataset_colour(label), label=f"HIL-F on {label}"
    )
    batch_size_axis(axis, batch_sizes)
    axis.set(yscale="log", ylabel="transmissions per sample")
    axis.yaxis.set_major_formatter(PLAIN)
    axis.legend()
    return figure


def cost_vs_batch_size(costs: pd.DataFrame, floors: pd.DataFrame, titles: Mapping[str, str]) -> Figure:
    """Fig. 3: average cost against M, a panel a trace, a line a β, dashed the best fixed threshold.

    `costs` has columns trace, beta, batch_size, average_cost_mean, average_cost_std; `floors` has trace, beta,
    average_cost; `titles` maps trace names to panel titles.
    """
    figure, axes = panels(len(titles), height=2.4)
    for axis, (trace, title) in zip(axes, titles.items(), strict=True):
        lines = dict(list(costs[costs["trace"] == trace].groupby("beta")))
        for beta, line in lines.items():
            _quantity(axis, line, "average_cost", _beta_colour(beta))
        for beta, floor in floors[floors["trace"] == trace][["beta", "average_cost"]].itertuples(index=False):
            axis.axhline(floor, color=_beta_colour(beta), linestyle=(0, (4, 3)), linewidth=0.9)
        axis.set(ylim=(0, None), title=title)
        batch_size_axis(axis, sorted(costs["batch_size"].unique())[::2])
        ends = {
            f"β = {beta:g}": (line["average_cost_mean"].iloc[-1], _beta_colour(beta)) for beta, line in lines.items()
        }
        _label_ends(axis, costs["batch_size"].max(), ends)
    outer_labels(axes, "average cost")
    return figure


def relative_cost(costs: pd.DataFrame, rates: Mapping[str, str]) -> Figure:
    """Cost relative to M = 1, a line for each trace and β, a panel a way to set η; the grey line is 5 % more.

    `costs` as for `cost_vs_batch_size`, with a column learning_rate; `rates` maps its values to panel titles.
    """
    figure, axes = plt.subplots(1, len(rates), figsize=(7.6, 3), sharey=True, squeeze=False)
    for axis, (rate, title) in zip(axes[0], rates.items(), strict=True):
        for (_, beta), line in costs[costs["learning_rate"] == rate].groupby(["trace", "beta"]):
            relative = line["average_cost_mean"] / line["average_cost_mean"].iloc[0]
            axis.plot(line["batch_size"], relative, color=_beta_colour(beta), linewidth=1)
        axis.axhline(1.05, color="#888888", linewidth=1)
        axis.set_title(title)
        batch_size_axis(axis, sorted(costs["batch_size"].unique()))
    axes[0][0].set_ylabel("average cost, relative to M = 1")
    handles = [Line2D([], [], color=_beta_colour(beta), label=f"β = {beta:g}") for beta in costs["beta"].unique()]
    legend_below(figure, len(handles), handles)
    return figure


def trade_off(
    tables: Mapping[str, pd.DataFrame], rows: Mapping[str, str], optima: Mapping[str, Mapping[float, float]]
) -> Figure:
    """Each quantity (a row: column → axis label) against M, a column a data set, M* marked for each α.

    A table has batch_size and, for each quantity, a column `q`, or `q_mean` and `q_std`. Columns `q_exact` (dashed),
    `q_bound` (dotted) and `q_single` (dash-dotted) are drawn beside it; with the first two the axis is logarithmic.
    """
    figure, axes = plt.subplots(len(rows), len(tables), figsize=(7.6, 1.75 * len(rows)), sharex="col")
    for column, (title, table) in enumerate(tables.items()):
        for axis, (quantity, label) in zip(axes[:, column], rows.items(), strict=True):
            _quantity(axis, table, quantity, _dataset_colour(title))
            if {f"{quantity}_exact", f"{quantity}_bound"} & set(table):
                axis.set_yscale("log")
                plain_ticks(axis.yaxis, [1, 2, 3, 5, 7, 10, 15, 20, 50, 100, 200, 500, 1000, 2000, 5000])
            else:
                axis.set_ylim(0, 1.12 * axis.get_ylim()[1])
            _mark_optima(axis, optima[title], "bottom" if axis is axes[0, column] else "")
            if column == 0:
                axis.set_ylabel(label)
            batch_size_axis(axis, sorted(table["batch_size"]), label=axis is axes[-1, column])
        axes[0, column].set_title(title)
    return figure


def answer(
    costs: Mapping[str, pd.DataFrame], floors: Mapping[str, float], times: pd.DataFrame, optima: Mapping[float, float]
) -> Figure:
    """The book's first picture: cost against M for each data set, and the times of one of them with M* marked."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.6, 3.2))
    above = {"xytext": (0, 6), "va": "bottom"}
    for title, table in costs.items():
        colour = _dataset_colour(title)
        _quantity(left, table, "average_cost", colour)
        left.axhline(floors[title], color=colour, linestyle=(0, (4, 3)), linewidth=0.9)
        name_beside(left, title, (table["batch_size"].iloc[0], table["average_cost_mean"].iloc[0]), colour, **above)
    for column, colour in TIME_COLOURS.items():
        label = column.replace("_", " ")
        _quantity(right, times, column, colour)
        right.plot(times["batch_size"], times[f"{column}_exact"], color=colour, linestyle=(0, (4, 2)), linewidth=1.1)
        name_beside(right, label, (times["batch_size"].iloc[-2], times[column].iloc[-2]), colour, ha="right", **above)
    _mark_optima(right, optima, "top")
    left.set(ylabel="average cost", ylim=(0, None))
    right.set(ylabel="ms per sample", yscale="log")
    right.yaxis.set_major_formatter(PLAIN)
    for axis in (left, right):
        batch_size_axis(axis, sorted(times["batch_size"]))
    return figure


def _mark_optima(axis: Axes, optima: Mapping[float, float], label: str = "") -> None:
    """Dotted verticals; `label` says where their labels stand, "top" or "bottom" of the panel, or not at all."""
    for alpha, size in optima.items():
        axis.axvline(size, color="#777777", linewidth=0.8, linestyle=":")
        axis.annotate(
            f"M* at α = {alpha:g}" if label else "",
            (size, float(label == "top")),
            xycoords=("data", "axes fraction"),
            xytext=(2, -3 if label == "top" else 3),
            textcoords="offset points",
            fontsize=6.5,
            color="#555555",
            rotation=90,
            va=label or "bottom",
        )


def name_beside(axis: Axes, text: str, point: tuple[float, Any], colour: Any, **place: Any) -> None:
    """Write a line's name beside a point of it: by default to the right, also outside the axes."""
    place = {"xytext": (4, 0), "va": "center"} | place
    axis.annotate(text, point, textcoords="offset points", color=colour, fontsize=7.5, annotation_clip=False, **place)


def band(axis: Axes, x: Any, middle: Any, spread: Any, **line: Any) -> None:
    """A line, and a pale band of its colour, two `spread` up and down; `line` is for the line."""
    axis.plot(x, middle, **line)
    axis.fill_between(x, middle - 2 * spread, middle + 2 * spread, color=line["color"], alpha=0.2, lw=0)


def as_svg(figure: Figure) -> str:
    """A figure as an SVG element, the same bytes every time; the figure is closed."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None}, bbox_inches="tight")
    plt.close(figure)
    return svg_element(buffer.getvalue())


def svg_element(text: str) -> str:
    """An SVG file without its prologue, as a page of HTML may hold it."""
    return text[text.index("<svg") :]


def _quantity(axis: Axes, table: pd.DataFrame, quantity: str, colour: str) -> None:
    x = table["batch_size"]
    if quantity in table:
        axis.plot(x, table[quantity], "o-", ms=3, color=colour)
    else:
        band(axis, x, table[f"{quantity}_mean"], table[f"{quantity}_std"], marker="o", ms=3, color=colour)
    for suffix, line in (("exact", (0, (4, 2))), ("bound", (0, (1, 1))), ("single", (0, (6, 2, 1, 2)))):
        if f"{quantity}_{suffix}" in table:
            axis.plot(x, table[f"{quantity}_{suffix}"], color="#333333", linestyle=line, linewidth=1.1)


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


def panels(count: int, height: float) -> tuple[Figure, list[Axes]]:
    """`count` panels, three a row, and no empty ones."""
    columns = min(count, 3)
    rows = -(-count // 3)
    figure, grid = plt.subplots(rows, columns, figsize=(7.6 if columns > 1 else 4, height * rows), squeeze=False)
    for axis in grid.flat[count:]:
        axis.remove()
    return figure, list(grid.flat[:count])


def outer_labels(axes: Sequence[Axes], label: str) -> None:
    """Label the vertical axis of the first panel of each row."""
    for axis in axes[::3]:
        axis.set_ylabel(label)


def _label_ends(axis: Axes, x: float, ends: Mapping[str, tuple[float, Any]]) -> None:
    """Label lines at their right ends, pushed apart where they would overlap, with room above for the uppermost."""
    low, high = axis.get_ylim()
    axis.set_ylim(low, high := 1.15 * high)
    height = -np.inf
    for text, (value, colour) in sorted(ends.items(), key=lambda item: item[1][0]):
        height = max(value, height + 0.09 * (high - low))
        name_beside(axis, text, (x, height), colour)


def legend_below(figure: Figure, columns: int, handles: Sequence[Any] | None = None) -> None:
    """One legend for the whole figure, below it: of these handles, or of all that is labelled, each label once."""
    labelled = (pair for axis in figure.axes for pair in zip(*axis.get_legend_handles_labels(), strict=True))
    shown = {label: handle for handle, label in labelled}
    figure.legend(handles=handles or list(shown.values()), loc="outside lower center", ncols=columns)


def plain_ticks(axis: Axis, ticks: Sequence[float]) -> None:
    """Show these ticks on an axis, e.g. `axes.yaxis`, and no others, as plain numbers."""
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(PLAIN)


def batch_size_axis(axis: Axes, sizes: Iterable[float], label: bool = True) -> None:
    """Make the horizontal axis one of batch sizes: by powers of two."""
    axis.set_xscale("log", base=2)
    plain_ticks(axis.xaxis, [size for size in sizes if float(np.log2(size)).is_integer()])
    if label:
        axis.set_xlabel("batch size M")


def _dataset_colour(title: str) -> str:
    """Colour of the data set that a trace's title begins with."""
    return DATASET_COLOURS.get(title.split(",")[0], "#333333")


def _beta_colour(beta: float) -> Any:
    return BETA_COLOURS.get(beta, mpl.colormaps["viridis"](beta))
