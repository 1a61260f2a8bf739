"""What the page that compares learners counts, on tables and traces worked out by hand."""

import math

import numpy as np
import pandas as pd
import pytest

import hi_lib as hi
from hi_book.figures import learners_compared as page

COLUMNS = ["title", "batch_size", "learner", *page.QUANTITIES]
# At β = ½ accepting all costs 1, offloading the less confident one ½.
TRACE = hi.Trace([0.25, 0.75], [0, 1], name="a")


def test_rules_that_do_not_learn_by_hand():
    fixed = page.fixed_thresholds({"a": TRACE}, 0.875)
    # θ = 1/8 accepts both; the best θ, above ¼, saves an eighth.
    assert fixed.to_numpy().tolist() == [["a", page.CALIBRATED, 0.5, 0.0, 0.125], ["a", "oracle", 0.4375, 0.5, 0.0]]


def test_the_table_has_a_line_a_learner_and_one_for_all_sizes_of_a_rule():
    rows = [("Pets, Net", size, "hil-f", 0.25, 0.5, regret) for size in (1, 2) for regret in (10 * size, 12 * size)]
    rules = [("Pets, Net", size, "always", 0.5, 1.0, 20) for size in (1, 2)]
    fixed = pd.DataFrame([("Pets, Net", "oracle", 0.125, 0.25, 0.0)], columns=["title", "learner", *page.QUANTITIES])
    table = page.shown(pd.DataFrame(rows + rules, columns=COLUMNS), ["hil-f"], fixed)
    assert table.columns.tolist() == ["learner", "M", "Pets<br>Net"]
    assert table.to_numpy().tolist() == [
        ["hil-f", 1, "0.2500<br>0.500<br>11 ± 1"],
        ["hil-f", 2, "0.2500<br>0.500<br>22 ± 3"],
        ["always", "", "0.5000<br>1.000<br>20"],
        ["oracle", "", "0.1250<br>0.250<br>0"],
    ]


def test_one_shuffle_has_no_deviation():
    rows = [("Pets, Net", 1, "hil-f", 0.25, 0.5, 10)]
    fixed = pd.DataFrame([], columns=["title", "learner", *page.QUANTITIES])
    table = page.shown(pd.DataFrame(rows, columns=COLUMNS), ["hil-f"], fixed)
    assert table["Pets<br>Net"].tolist() == ["0.2500<br>0.500<br>10 ± –"]


def test_regret_is_counted_against_the_best_threshold_of_each_half():
    """All right, then all wrong at β = ½: the best thresholds pay nothing, then ½ a sample."""
    halves = hi.Trace([0.5] * 4, [1] * 4), hi.Trace([0.5] * 4, [0] * 4)
    paths = page.regret_paths(halves, page.Setting(0.5, 4, window=4, share=0.1), shuffles=2)
    # The rule offloads nothing: in the second half each sample costs it 1, and the best threshold ½.
    assert paths.pop(page.CALIBRATED).tolist() == [[0, 0, 0, 0, 0.5, 1, 1.5, 2]] * 2
    for path in paths.values():
        assert path.shape == (2, 8)
        # In the first batch half of all thresholds lie above ½ and pay β.
        assert path[:, 3] == pytest.approx([4 * 0.5 / 2] * 2)
    # HIL-F has learned to accept: odds of e^(η · 4 · ½), and pays 1 − β more where it does.
    rate = (8 * np.log(2) / (4 * 4)) ** 0.5
    accept = 1 / (1 + np.exp(-rate * 4 * 0.5))
    assert paths["HIL-F"][0, 7] - paths["HIL-F"][0, 3] == pytest.approx(4 * 0.5 * accept)


def test_numbers_by_hand():
    names = {"hil-f": 10, "quantised": 12, "naive": 25, "hi-lcb": 30, "hi-lcb-lite": 40}
    rows = [("a", 1, name, regret / 100, 0.5, regret) for name, regret in names.items()]
    fixed = page.fixed_thresholds({"a": TRACE}, 0.875)
    found = page.numbers(pd.DataFrame(rows, columns=COLUMNS), {"a": 100}, fixed)
    assert (found.pop("sizes"), found.pop("models"), found.pop("rule_first")) == ("1", 1, 1)
    assert found == pytest.approx(
        {"quantised_extra": 0.02, "rule_worst": 0.125, "lcb_worst": 0.4, "naive_least": 2.5, "naive_most": 2.5}
    )


def test_learners_that_were_not_run_have_no_numbers():
    rows = [("a", size, name, 0.1, 0.5, 0.0625) for size in (8, 1, 2) for name in ("hil-f", "always")]
    found = page.numbers(pd.DataFrame(rows, columns=COLUMNS), {"a": 100}, page.fixed_thresholds({"a": TRACE}, 0.875))
    assert [key for key, value in found.items() if value != value] == [
        *("quantised_extra", "lcb_worst", "naive_least", "naive_most")
    ]
    assert (found["sizes"], found["rule_first"]) == ("1, 2 and 8", 0)


def test_no_regret_is_no_unit():
    rows = [("a", 1, name, 0.1, 0.5, regret) for name, regret in (("hil-f", 0.0), ("naive", 2.0))]
    found = page.numbers(pd.DataFrame(rows, columns=COLUMNS), {"a": 100}, page.fixed_thresholds({"a": TRACE}, 0.875))
    assert math.isnan(found["naive_most"])


@pytest.mark.parametrize(
    ("looks", "batches", "found"), [([8, 0, 8, 128], 122, [0, 8, 122]), ([5], 5, [5]), ([5], 0, [0])]
)
def test_the_weights_are_shown_in_the_order_of_time(looks, batches, found):
    """With batches of 32, 122 of them: what is after 128 was called so, and was after 122."""
    assert page.moments(looks, batches) == found


def test_a_change_is_named_for_what_it_is():
    worse, same = hi.Trace([0.25, 0.75], [0, 0]), hi.Trace([0.5, 0.75], [0, 1])
    assert list(page.changes(TRACE, worse, 0.5)) == [
        "the S-ML is replaced by a worse one",
        "the S-ML grows overconfident",
    ]
    assert next(iter(page.changes(TRACE, same, 0.5))) == "the S-ML is replaced by one as good"
    (_, (first, surer)) = page.changes(worse, TRACE, 2).items()
    assert first == "the S-ML grows underconfident"
    assert surer[1].confidence.tolist() == [0.0625, 0.5625]
    with pytest.raises(ValueError, match="overconfidence must be in"):
        page.changes(TRACE, TRACE, -1)


def test_drift_numbers_by_hand():
    """Two samples, then two: every learner has a regret of 1 by the change; of 3 and 5 at the end."""
    names = ["HIL-F", "HIL-F, quick", "sliding window", "fixed share", "naive", page.CALIBRATED]
    drift = {case: dict.fromkeys(names, np.array([[0, 1, 2, last]] * 2)) for case, last in (("new", 3), ("surer", 5))}
    surer = hi.Trace([0.5, 0.875], [0, 1])
    cases = {"new": (TRACE, TRACE), "surer": (TRACE, surer)}
    found = page.drift_numbers(cases, drift, page.Setting(0.5, 1, 500, 0.1), 0.25)
    assert (found["drift_first"], found["drift_window"]) == ("a", 500)
    assert (found["threshold_before"], found["threshold_overconfident"]) == (0.5, (0.5 + 0.875) / 2)
    assert (found["replaced_share"], found["over_naive"], found["calm_quick"]) == (2, 4, 1)
    assert (found["calm_rule"], found["over_rule"]) == (1, 4)
