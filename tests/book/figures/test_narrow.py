"""A figure for a phone: as wide as that, the same panels below each other, each with its own labels."""

import itertools

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.collections import LineCollection

from hi_book.figures import style

TITLES = ["one", "two", "three"]


@pytest.fixture
def figure():
    with style.house_style():
        figure, axes = plt.subplots(2, 3, figsize=(7.6, 5), sharex=True, sharey="row")
        for number, axis in enumerate(axes.flat):
            axis.plot([1, 2], [number, number + 1], label=f"line {number % 2} of a rather long name")
        axes[0, 0].set_ylabel("cost")
        axes[1, 0].set_ylabel("time")
        for axis in axes[1]:
            axis.set_xlabel("size")
        for axis, title in zip(axes[0], TITLES, strict=True):
            axis.set_title(title)
        style.shared_legend(figure, 2)
        yield figure
    plt.close(figure)


def test_panels_stand_below_each_other_with_their_labels(figure):
    axes = list(figure.axes)
    assert style.narrow(figure)
    figure.draw_without_rendering()
    boxes = [axis.get_position() for axis in axes]
    assert all(above.y0 > below.y1 for above, below in itertools.pairwise(boxes))
    assert len({round(box.x0, 6) for box in boxes}) == 1
    assert [axis.get_ylabel() for axis in axes] == ["cost"] * 3 + ["time"] * 3
    assert {axis.get_xlabel() for axis in axes} == {"size"}
    assert [axis.get_title() for axis in axes] == TITLES * 2
    assert all(label.get_visible() for axis in axes for label in axis.get_xticklabels())
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [f"line {k} of a rather long name" for k in range(2)]
    assert legend._ncols == 1
    assert figure.get_figwidth() < 5


def test_what_is_drawn_stays(figure):
    before = [axis.lines[0].get_ydata().tolist() for axis in figure.axes]
    style.narrow(figure)
    assert [axis.lines[0].get_ydata().tolist() for axis in figure.axes] == before


def test_one_column_is_drawn_as_wide_as_a_phone():
    figure, axes = plt.subplots(2, 1, figsize=(7, 4))
    for number, axis in enumerate(axes):
        axis.plot(np.arange(3), label=f"line {number}")
    style.shared_legend(figure, 5)
    assert style.narrow(figure)
    assert figure.get_size_inches().tolist() == [4.4, 4.0]
    assert figure.legends[0]._ncols == 2
    assert style.narrow_svg(figure) is None  # narrow enough
    plt.close(figure)


def test_long_names_are_broken_and_error_bars_stay_in_the_legend():
    names = ["short", "a name that would take more than half of the width"]
    figure, axis = plt.subplots(figsize=(7, 3))
    axis.errorbar([1, 2], [0, 1], [0.1, 0.1], fmt="o", label="measured")
    axis.set_yticks([0, 1], names)
    style.shared_legend(figure, 1)
    style.narrow(figure)
    shown = [label.get_text() for label in axis.get_yticklabels()]
    assert [text.replace("\n", " ") for text in shown] == names
    assert shown[1].count("\n") == 2
    (bars,) = figure.legends[0].findobj(LineCollection)
    assert bars.get_visible()
    plt.close(figure)


def test_a_panel_left_empty_for_the_legend_keeps_it_and_no_other(figure):
    many, axes = style.panels(5, 2.0)
    for axis in axes:
        axis.plot([0, 1], label="a")
    style.shared_legend(many, 3)
    assert style.narrow(many)
    assert len(many.axes) == 6
    assert "</svg>" in style.narrow_svg(figure)
    plt.close(many)
