"""One visual style; each function takes data and returns a Figure."""

from __future__ import annotations

import io
import itertools
import os
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from traitlets import ObjectName, Unicode

from hi_book.figures import NARROW
from hi_book.figures.symbols import in_html, in_mathtext
from hi_lib import checks

if TYPE_CHECKING:
    import pandas as pd
    from pandas.io.formats.style import Styler

# Safe for the colour-blind (Okabe and Ito's, and two beside them); a β and a data set keep theirs in every figure.
BETA_COLOURS = {0.3: "#0072B2", 0.5: "#D55E00", 0.7: "#009E73"}
DATASET_COLOURS = {"Imagenette": "#7B3294", "CIFAR-10": "#8C6D00"}
STAGE_COLOURS = {"device": "#009E73", "uplink": "#E69F00", "network": "#BBBBBB", "server": "#56B4E9"}
# What one may get wrong about the times, and its symbol.
SYMBOLS = {"tau_nw": "τ_nw", "offload_ratio": "ρ", "tau_ed": "τ_ed", "tau_es": "τ_es", "tau_tx": "τ_tx"}
DASHED = (0, (4, 2))
FONT = "DejaVu Sans"
_NARROW_WIDTH = 4.4  # inches
_SHORT_LABEL, _LONG_NAME = 22, 34  # letters: two such labels fit beside each other, such names leave room for a panel
_EMPTY = "no panel"  # by this label the place for a legend is found again
PLAIN = FuncFormatter(lambda value, _: f"{value:g}")
DECADES = [step * 10.0**power for power in range(-4, 9) for step in (1, 2, 5)]  # ticks of a logarithmic axis

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
    """Set the house style, and nothing of the user's own; every notebook calls this once."""
    from matplotlib_inline.backend_inline import set_matplotlib_formats

    # Fixed salt and no date: the same data gives the same bytes.
    set_matplotlib_formats("svg", metadata={"Date": None}, bbox_inches="tight")
    plt.uninstall_repl_displayhook()  # it would draw every figure once more than the SVG needs
    mpl.rcParams.update(settings())
    _show_narrow_figures_too()


def _show_narrow_figures_too() -> None:
    """Let notebooks keep every figure of several columns a second time, drawn for a phone."""
    from IPython.core.formatters import BaseFormatter
    from IPython.core.getipython import get_ipython

    class Narrow(BaseFormatter):
        format_type = Unicode(NARROW)
        print_method = ObjectName("_repr_narrow_")

    shell = get_ipython()
    if shell is not None and (shown := shell.display_formatter) is not None:
        formatter = Narrow(parent=shown)
        formatter.for_type(Figure, narrow_svg)
        shown.formatters[NARROW] = formatter  # the last one: it rearranges the figure


def narrow_svg(figure: Figure) -> str | None:
    """The same figure for a phone, its panels below each other, as an SVG; None where it is narrow enough.

    The figure is rearranged for that: this is the last thing to do with it.
    """
    if not narrow(figure):
        return None
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None}, bbox_inches="tight")
    return buffer.getvalue()


def narrow(figure: Figure) -> bool:
    """Bring a figure to a phone's width, with all panels below each other; whether there was anything to do."""
    if figure.get_figwidth() <= _NARROW_WIDTH:
        return False
    placed = [(axis, place) for axis in figure.axes if (place := axis.get_subplotspec()) is not None]
    if len({place.colspan.start for _, place in placed}) > 1:
        _stack(figure, placed)
    else:
        figure.set_figwidth(_NARROW_WIDTH)
    for axis in figure.axes:
        _break_labels(axis)
    drawn = _labelled(figure)
    for legend in list(figure.legends):  # whose columns are fixed once it is there
        labels = [text.get_text() for text in legend.get_texts()]
        columns = 2 if max(map(len, labels)) <= _SHORT_LABEL else 1
        # A legend keeps of what has error bars the line alone.
        handles: list[Any] = [drawn.get(label, kept) for label, kept in zip(labels, legend.legend_handles, strict=True)]
        figure.legend(handles, labels, loc="outside lower center", ncols=columns)
        legend.remove()
    return True


def _break_labels(axis: Axes) -> None:
    """Set names along the vertical axis that are long in several lines, or they would leave no room for the panel."""
    names = [label.get_text() for label in axis.get_yticklabels()]
    if max(map(len, names), default=0) > _LONG_NAME:
        axis.set_yticks(axis.get_yticks(), [textwrap.fill(name, _SHORT_LABEL) for name in names])


def _stack(figure: Figure, placed: Sequence[tuple[Axes, Any]]) -> None:
    """Put panels that stand beside each other below each other, each with its own labels."""
    _label_each(placed)
    shown = [axis for axis, _ in placed]
    empty = [axis for axis in shown if axis.get_label() == _EMPTY and axis.get_legend() is None]
    for axis in empty:
        axis.remove()
    shown = [axis for axis in shown if axis not in empty]
    rows = figure.get_figheight() / len({place.rowspan.start for _, place in placed})
    heights = [1.0 if axis.get_label() == _EMPTY else max(rows, 2.4) for axis in shown]
    grid = figure.add_gridspec(len(shown), 1, height_ratios=heights)
    for number, axis in enumerate(shown):
        axis.set_subplotspec(grid[number])
    figure.set_size_inches(_NARROW_WIDTH, sum(heights) + 0.8 * len(figure.legends))


def _label_each(placed: Sequence[tuple[Axes, Any]]) -> None:
    """Give every panel the title and labels that stand once a row, or a column, while panels are beside each other."""
    rows: dict[int, list[Axes]] = {}
    columns: dict[int, list[Axes]] = {}
    for axis, place in placed:
        rows.setdefault(place.rowspan.start, []).append(axis)
        columns.setdefault(place.colspan.start, []).append(axis)
    for axis, place in placed:
        axis.tick_params(labelleft=True, labelbottom=True)
        beside = [other.get_ylabel() for other in rows[place.rowspan.start]]
        column = columns[place.colspan.start]
        axis.set_ylabel(axis.get_ylabel() or next(filter(None, beside), ""))
        axis.set_xlabel(axis.get_xlabel() or next(filter(None, (other.get_xlabel() for other in column[::-1])), ""))
        if axis.get_label() != _EMPTY:
            axis.set_title(axis.get_title() or next(filter(None, (other.get_title() for other in column)), ""))


def house_style() -> AbstractContextManager[None]:
    """The same for what is drawn and saved outside a notebook, and only there."""
    return mpl.rc_context(settings())


def settings() -> dict[Any, Any]:
    """All that decides how a figure looks: ours, else what matplotlib comes with, not a user's matplotlibrc.

    Where figures are shown is not among it: a notebook's backend has decided that.
    """
    shown = ("backend", "backend_fallback", "interactive")
    return {name: value for name, value in mpl.rcParamsDefault.items() if name not in shown} | {
        "svg.hashsalt": "batch-hi",
        "svg.fonttype": "path" if all(map(in_our_font, _own_names())) else "none",
        "figure.constrained_layout.use": True,
        "font.family": FONT,
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


def in_our_font(text: str) -> bool:
    """Whether every sign of a text can be drawn; where not, text stays text, for a reader's own fonts to draw."""
    known = get_font(findfont(FONT)).get_charmap()
    return all(ord(sign) in known for sign in text)


def _own_names() -> list[str]:
    """Traces that this one run was given; those in data/own leave the book's figures as they are."""
    folder = os.environ.get("HI_TRACES")
    return [path.stem for path in Path(folder).glob("*.csv")] if folder else []


def table(name: str, frame: pd.DataFrame) -> Styler:
    """A table to show; its HTML ids come from `name` instead of chance, so that the page's bytes do not change."""
    shown = frame.style.set_uuid(name)
    return shown.format_index(_below, axis="index").format_index(_below, axis="columns")


def _below(label: Any) -> Any:
    return in_html(label) if isinstance(label, str) else label


def scientific(value: float) -> str:
    """2.6e−12, with a sign at which no line breaks."""
    return f"{value:.1e}".replace("-", "−")


def trace_title(name: str) -> str:
    """Data set and S-ML of a shipped trace as they stand in figures; any other name stays as it is."""
    return TRACE_TITLES.get(name) or checks.printable(" ".join(name.split())).replace("$", r"\$")


def mark_optima(axis: Axes, optima: Mapping[float, float], label: str = "") -> None:
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


def draw_quantity(axis: Axes, table: pd.DataFrame, quantity: str, colour: str) -> None:
    """A column against the batch size, or the columns of its mean with a band of its standard deviation."""
    x = table["batch_size"]
    if quantity in table:
        axis.plot(x, table[quantity], "o-", ms=3, color=colour)
    else:
        band(axis, x, table[f"{quantity}_mean"], table[f"{quantity}_std"], marker="o", ms=3, color=colour)
    for suffix, line in (("exact", DASHED), ("bound", (0, (1, 1))), ("single", (0, (6, 2, 1, 2)))):
        if f"{quantity}_{suffix}" in table:
            axis.plot(x, table[f"{quantity}_{suffix}"], color="#333333", linestyle=line, linewidth=1.1)


def panels(count: int, height: float) -> tuple[Figure, list[Axes]]:
    """`count` panels, three a row, or as many more as it takes for none to stand alone in the last one.

    What is left empty is for the legend.
    """
    columns = next(some for some in itertools.count(min(count, 3)) if count <= some or count % some != 1)
    rows = -(-count // columns)
    size = (max(7.6, 2.35 * columns) if columns > 1 else 4, height * rows)
    figure, grid = plt.subplots(rows, columns, figsize=size, squeeze=False)
    for axis in grid.flat[count:]:
        axis.set_axis_off()
        axis.set_label(_EMPTY)
    return figure, list(grid.flat[:count])


def outer_labels(axes: Sequence[Axes], label: str) -> None:
    """Label the vertical axis of the first panel of each row."""
    for axis in axes:
        place = axis.get_subplotspec()
        if place is not None and place.is_first_col():
            axis.set_ylabel(label)


def in_two_lines(title: str) -> str:
    """A trace's title, data set above S-ML, for a narrow panel."""
    return title.replace(", ", "\n", 1)


def by_data_set(titles: Iterable[str]) -> list[str]:
    """Titles of traces, those of Imagenette first: four of the shipped traces, and then three."""
    return sorted(titles, key=lambda title: not title.startswith("Imagenette"))


def label_ends(axis: Axes, x: float, ends: Mapping[str, tuple[float, Any]]) -> None:
    """Label lines at their right ends, pushed apart where they would overlap, with room above for the uppermost."""
    low, high = axis.get_ylim()
    axis.set_ylim(low, high := 1.15 * high)
    height = -np.inf
    for text, (value, colour) in sorted(ends.items(), key=lambda item: item[1][0]):
        height = max(value, height + 0.09 * (high - low))
        name_beside(axis, text, (x, height), colour)


def shared_legend(figure: Figure, columns: int, handles: Sequence[Any] | None = None) -> None:
    """One legend for the whole figure: of these handles, or of all that is labelled, each label once.

    It stands in the panel that `panels` left empty, or else below the figure, in so many columns.
    """
    shown = _labelled(figure)
    empty = [axis for axis in figure.axes if axis.get_label() == _EMPTY]
    if empty:
        empty[0].legend(handles=handles or list(shown.values()), loc="center")
    else:
        figure.legend(handles=handles or list(shown.values()), loc="outside lower center", ncols=columns)


def _labelled(figure: Figure) -> dict[str, Any]:
    """What is drawn, by its label."""
    pairs = (pair for axis in figure.axes for pair in zip(*axis.get_legend_handles_labels(), strict=True))
    return {label: handle for handle, label in pairs}


def plain_ticks(axis: Axis, ticks: Sequence[float]) -> None:
    """Show these ticks on an axis, e.g. `axes.yaxis`, and no others, as plain numbers."""
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(PLAIN)


def batch_size_axis(axis: Axes, sizes: Iterable[float], label: bool = True) -> None:
    """Make the horizontal axis one of batch sizes: with ticks at powers of two, or at all of them if none is one."""
    axis.set_xscale("log", base=2)
    known = list(sizes)
    plain_ticks(axis.xaxis, [size for size in known if float(np.log2(size)).is_integer()] or known)
    if label:
        axis.set_xlabel("batch size M")


def dataset_colour(title: str) -> str:
    """Colour of the data set that a trace's title begins with."""
    return DATASET_COLOURS.get(title.split(",")[0], "#333333")


def beta_colour(beta: float) -> Any:
    """The colour of this β in every figure."""
    return BETA_COLOURS.get(beta, mpl.colormaps["viridis"](beta))


def optimal_batch_size(
    panels: Mapping[str, Callable[[Any, float], tuple[Any, Any]]],
    values: Mapping[str, Any],
    alphas: Sequence[float],
    label: str,
    log: bool = False,
) -> Figure:
    """Figs. 5 and 6: M* (steps) and M† (thin) against a parameter; each panel maps (values, α) to (M†, M*)."""
    figure, axes = plt.subplots(1, len(panels), figsize=(4.6 + 3 * (len(panels) - 1), 3.5), squeeze=False, sharey=True)
    for axis, (title, optimum) in zip(axes[0], panels.items(), strict=True):
        x = values[title]
        for alpha, colour in zip(alphas, alpha_colours(alphas), strict=True):
            relaxed, integer = optimum(x, alpha)
            axis.plot(x, relaxed, color=colour, linewidth=0.7)
            axis.step(x, integer, where="mid", color=colour)
            name_beside(axis, f"α = {alpha:g}", (x[-1], relaxed[-1]), colour)
        axis.set(title=in_mathtext(title), xlabel=in_mathtext(label), yscale="log")
        if log:
            axis.set_xscale("log")
            axis.xaxis.set_major_formatter(PLAIN)
        plain_ticks(axis.yaxis, [3, *DECADES])
    axes[0][0].set_ylabel("batch size")
    widths = {"M*, best integer": 1.6, "M†, real minimiser": 0.7}
    shared_legend(figure, 2, [Line2D([], [], color="#333333", lw=lw, label=label) for label, lw in widths.items()])
    return figure


def alpha_colours(alphas: Sequence[float]) -> list[Any]:
    """The colour of each α in every figure."""
    return [mpl.colormaps["viridis"](0.7 * alpha) for alpha in alphas]


def rising_scale(axis: Axes, values: Iterable[float]) -> None:
    """Make the vertical axis logarithmic, with plain numbers at 1, 2 and 5, if any of what is drawn there can be."""
    if any(value > 0 for value in values):
        axis.set_yscale("log")
        plain_ticks(axis.yaxis, DECADES)


def logarithmic(axis: Axes, ticks: Sequence[float]) -> None:
    """Make the horizontal axis logarithmic, with these ticks as plain numbers."""
    axis.set_xscale("log")
    plain_ticks(axis.xaxis, ticks)
