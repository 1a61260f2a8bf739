"""What the page on learners says of changes of the S-ML, on traces worked out by hand."""

import numpy as np
import pytest

import hi_lib as hi
from hi_book.figures import drift as page

# At β = ½ accepting all costs 1, offloading the less confident one ½.
TRACE = hi.Trace([0.25, 0.75], [0, 1], name="a")


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
    found = page.numbers(cases, drift, page.Setting(0.5, 1, 500, 0.1), 0.25)
    assert (found["drift_first"], found["drift_window"]) == ("a", 500)
    assert (found["threshold_before"], found["threshold_overconfident"]) == (0.5, (0.5 + 0.875) / 2)
    assert (found["replaced_share"], found["over_naive"], found["calm_quick"]) == (2, 4, 1)
    assert (found["calm_rule"], found["over_rule"]) == (1, 4)
