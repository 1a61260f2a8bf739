"""What the scores cost against the plain confidence: by hand, and by what the library decides."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import hi_lib as hi
from hi_book.figures import calibration
from hi_book.figures import scores as page
from hi_lib.logs.regression import fit

NAME = "imagenette-mobilenet_v1_0.25_128"


@pytest.fixture(scope="module")
def tables():
    return {"Imagenette, Net": pd.read_csv(hi.traces.data_file(f"calibration/{NAME}.csv"))}


@pytest.fixture(scope="module")
def compared(tables):
    traces = {"Imagenette, Net": hi.load_trace(NAME), "CIFAR-10, Net": hi.load_trace("cifar10-resnet8")}
    return page.compared(traces, tables, [0.5, 0.3], 2)


def cell(table, beta, way, score):
    (row,) = table[(table["beta"] == beta) & (table["way"] == way) & (table["score"] == score)].to_dict("records")
    return row


def test_a_trace_without_the_second_value_is_left_out(compared):
    assert set(compared["title"]) == {"Imagenette, Net"}
    assert len(compared) == 2 * (3 + 2 + 3)  # the rule has no margin
    assert compared["beta"].tolist()[0] == 0.3


def test_nothing_is_judged_that_was_fitted_on(tables, compared):
    """The regression's cost under the rule, by hand from the two halves."""
    trace, table = hi.load_trace(NAME), tables["Imagenette, Net"]
    halves = [trace.chosen(np.flatnonzero(table["part"] == part)) for part in ("fit", "report")]
    assert len(halves[0]) + len(halves[1]) == len(trace)
    score, right = fit(halves[0]).score(halves[1]), halves[1].correct
    cost = np.where(score < 0.7, 0.3, ~right)
    plain = np.where(halves[1].confidence < 0.7, 0.3, ~right)
    row = cell(compared, 0.3, page.RULE, page.REGRESSION)
    assert row["plain"] == pytest.approx(plain.mean())
    assert row["more"] == pytest.approx(cost.mean() - plain.mean())
    assert row["error"] == pytest.approx((cost - plain).std(ddof=1) / np.sqrt(right.size))
    assert len(row["each"]) == right.size


def test_the_learner_is_a_mean_over_orders(tables, compared):
    trace, table = hi.load_trace(NAME), tables["Imagenette, Net"]
    judging = trace.chosen(np.flatnonzero(table["part"] == "report"))
    runs = [hi.replay(judging.shuffled(seed), 0.5, learning_rate="adaptive") for seed in range(2)]
    row = cell(compared, 0.5, page.LEARNER, page.MARGIN)
    assert row["plain"] == pytest.approx(np.mean([run.average_cost for run in runs]))


def test_the_temperature_is_that_of_the_table(tables, compared):
    table = tables["Imagenette, Net"]
    judging = np.flatnonzero(table["part"] == "report")
    right = hi.load_trace(NAME).correct[judging]
    scaled = calibration.judged(table, "confidence_scaled").confidence
    row = cell(compared, 0.5, page.RULE, page.TEMPERATURE)
    assert row["plain"] + row["more"] == pytest.approx(np.where(scaled < 0.5, 0.5, ~right).mean())


def test_numbers_by_hand():
    rows = [
        ("a", 0.5, page.RULE, page.REGRESSION, 0.5, -0.25, 0.1, np.array([-0.5, 0.0])),
        ("b", 0.5, page.RULE, page.REGRESSION, 0.5, 0.25, 0.2, np.array([0.5, 0.0])),
        ("b", 0.7, page.RULE, page.REGRESSION, 0.5, 0.75, 0.2, np.array([1.5, 0.0])),
        ("a", 0.5, page.FITTED, page.MARGIN, 0.5, 0.1, 0.1, np.array([0.2, 0.0])),
    ]
    table = pd.DataFrame(rows, columns=["title", "beta", "way", "score", "plain", "more", "error", "each"])
    found = page.numbers(table)
    assert (found["score_cells"], found["score_cheaper"], found["score_dearer"]) == (3, 1, 1)
    assert found["score_most"] == 750
    assert found["regression_rule"] == pytest.approx(250)  # images ½ and 0
    assert found["regression_rule_error"] == pytest.approx(250)
    assert found["margin_fitted"] == pytest.approx(100)


def test_the_table_and_the_figure_show_every_cell(compared):
    shown = page.shown(compared)
    assert shown["β"].tolist() == ["0.3"] * 3 + ["0.5"] * 3
    assert set(shown["S-ML"]) == {"Net"}
    assert shown["way"].tolist() == list(page.WAYS) * 2
    row = cell(compared, 0.3, page.FITTED, page.MARGIN)
    assert shown.loc[0, page.MARGIN] == f"{1000 * row['more']:+.1f} ± {1000 * row['error']:.1f}"
    assert shown.loc[1, page.MARGIN] == ""
    axes = page.draw(compared).axes
    drawn = {one.get_label(): one[0].get_xdata() for one in axes[0].containers}
    assert drawn[page.MARGIN].tolist() == [
        1000 * cell(compared, beta, page.FITTED, page.MARGIN)["more"] for beta in (0.3, 0.5)
    ]
    assert [text.get_text() for text in axes[0].get_yticklabels()] == ["Net, β = 0.3", "Net, β = 0.5"]
    plt.close("all")
