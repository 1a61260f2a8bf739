"""A figure for a phone: the same panels below each other, each with its own labels."""

import itertools

import matplotlib.pyplot as plt
import numpy as np
import pytest

from hi_book.figures import style


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
        style.shared_legend(figure, 2)
        yield figure
    plt.close(figure)


def test_panels_stand_below_each_other_with_their_labels(figure):
    axes = list(figure.axes)
    assert style.stack(figure)
    figure.draw_without_rendering()
    boxes = [axis.get_position() for axis in axes]
    assert all(above.y0 > below.y1 for above, below in itertools.pairwise(boxes))
    assert len({round(box.x0, 6) for box in boxes}) == 1
    assert [axis.get_ylabel() for axis in axes] == ["cost"] * 3 + ["time"] * 3
    assert {axis.get_xlabel() for axis in axes} == {"size"}
    assert all(label.get_visible() for axis in axes for label in axis.get_xticklabels())
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [f"line {k} of a rather long name" for k in range(2)]
    assert legend._ncols == 1
    assert figure.get_figwidth() < 5


def test_what_is_drawn_stays(figure):
    before = [axis.lines[0].get_ydata().tolist() for axis in figure.axes]
    style.stack(figure)
    assert [axis.lines[0].get_ydata().tolist() for axis in figure.axes] == before


def test_one_column_needs_no_second_drawing():
    figure, axes = plt.subplots(2, 1)
    axes[0].plot(np.arange(3))
    assert style.narrow_svg(figure) is None
    plt.close(figure)


def test_a_panel_left_empty_for_the_legend_keeps_it_and_no_other(figure):
    many, axes = style.panels(5, 2.0)
    for axis in axes:
        axis.plot([0, 1], label="a")
    style.shared_legend(many, 3)
    assert style.stack(many)
    assert len(many.axes) == 6
    assert "</svg>" in style.narrow_svg(figure)
    plt.close(many)
