"""What is known of an L-ML: on every sample, by weights, or in bounds; against enumeration."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hi_lib as hi
from hi_lib.studies import lml, sweeps

samples = st.lists(
    st.tuples(st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.booleans(), st.sampled_from([0.0, 1.0, np.nan])),
    min_size=1,
    max_size=12,
)


def trace_of(rows):
    return hi.Trace(*zip(*rows, strict=True), name="mine")


def test_a_trace_keeps_what_is_not_known_as_nan():
    trace = hi.Trace([0.5, 0.6, 0.7], [1, 0, 1], [True, None, 0])
    np.testing.assert_array_equal(trace.lml_correct, [1, np.nan, 0])
    assert trace.lml_correct.dtype == np.float64
    order = trace.shuffle_order(4)
    np.testing.assert_array_equal(trace.shuffled(4).lml_correct, trace.lml_correct[order])
    assert hi.Trace([0.5], [1]).lml_correct is None


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ([1, 2, 0], r"lml_correct\[1\] must be 0, 1 or nan, got 2.0"),
        ([1, 0], r"lml_correct must have shape \(3,\), got \(2,\)"),
        (["yes", 1, 0], "lml_correct must be numeric"),
        ([1, np.inf, 0], r"lml_correct\[1\] must be 0, 1 or nan"),
    ],
)
def test_other_values_of_an_lml_are_refused(values, says):
    with pytest.raises(ValueError, match=says):
        hi.Trace([0.5, 0.6, 0.7], [1, 0, 1], values)


@given(samples, st.floats(0, 1), st.floats(0, 1))
def test_bounds_enclose_every_way_to_fill_the_blanks(rows, beta, theta):
    """Cost and accuracy of a fixed threshold, for all L-MLs that agree with the log."""
    trace = trace_of(rows)
    run = hi.replay(trace, beta, learner="fixed", threshold=theta)
    found = [lml.outcome(trace, run, beta, right) for right in lml.answers(trace).values()]
    blanks = np.flatnonzero(np.isnan(trace.lml_correct))
    if blanks.size == len(trace):
        assert found == []
        return
    offloaded, ways = trace.confidence < theta, []
    for filled in itertools.product([0, 1], repeat=min(blanks.size, 8)):
        large = trace.lml_correct.copy()
        large[blanks] = 1
        large[blanks[: len(filled)]] = filled
        ways.append(np.where(offloaded, beta + 1 - large, ~trace.correct).mean())
    costs = [each.average_cost for each in found]
    assert min(costs) <= min(ways) + 1e-12
    assert max(costs) >= max(ways) - 1e-12
    if blanks.size <= 8:
        assert (min(costs), max(costs)) == pytest.approx((min(ways), max(ways)))


def test_nothing_known_is_nothing_said():
    assert lml.answers(hi.Trace([0.5], [1])) == {}
    assert lml.answers(hi.Trace([0.5], [1], [None])) == {}
    known = lml.answers(hi.Trace([0.5], [1], [0]))
    assert list(known) == [lml.AS_IT_IS]


def test_weights_are_unbiased():
    """The mean estimate over many logs is the cost with the L-ML as it is, within four standard errors."""
    rng = np.random.default_rng(0)
    n = 400
    confidence, share = rng.random(n), np.clip(rng.random(n), 0.1, 1)
    correct, large = rng.random(n) < confidence, (rng.random(n) < 0.4 + 0.5 * confidence).astype(float)
    whole = hi.Trace(confidence, correct, large)
    run = hi.replay(whole, 0.3)
    true = lml.outcome(whole, run, 0.3)
    estimates = []
    for _ in range(400):
        seen = rng.random(n) < share
        logged = hi.Trace(confidence, correct, np.where(seen, large, np.nan))
        (right,) = lml.answers(logged, share).values()
        estimates.append(lml.outcome(logged, run, 0.3, right))
    costs, accuracies = np.array(estimates).T
    error = costs.std() / np.sqrt(len(costs))
    assert abs(costs.mean() - true.average_cost) < 4 * error
    assert abs(accuracies.mean() - true.accuracy) < 4 * error
    assert costs.std() < 0.05  # and not noise


@pytest.mark.parametrize("share", [[0.5, 0.0], [0.5], [0.5, 2]])
def test_weights_that_leave_a_sample_unknown_are_refused(share):
    with pytest.raises(ValueError, match="offload_probability"):
        lml.answers(hi.Trace([0.2, 0.4], [0, 1], [1, None]), share)


def test_a_trace_that_knows_some_answers_only_is_not_taken_for_one_that_knows_all():
    trace = hi.Trace([0.2, 0.4], [0, 1], [1, None], name="mine")
    with pytest.raises(ValueError, match="trace mine knows its L-ML on 1 of 2 samples only"):
        lml.known(trace)


def test_a_sweep_counts_the_lml_as_it_is():
    traces = [
        hi.Trace([0.2, 0.6], [0, 1], [0, 0], name="wrong"),
        hi.Trace([0.2, 0.6], [0, 1], [1, None], name="some"),
        hi.Trace([0.2, 0.6], [0, 1], name="none"),
    ]
    table = sweeps.sweep(traces, [0.25], [1, 2], ["tuned"], [0, 1], learners=["always", "hil-f"], real_lml=True)
    always = table[table["learner"] == "always"].set_index("trace")
    assert (always.loc["wrong", "real_cost_low"] == 1.25).all()
    assert (always.loc["wrong", "real_accuracy_high"] == 0).all()
    assert (always.loc["some", ["real_cost_low", "real_cost_high"]] == [0.25, 0.75]).all(axis=None)
    assert always.loc["none", sweeps.REAL].isna().all(axis=None)
    row = table[(table["trace"] == "wrong") & (table["learner"] == "hil-f") & (table["seed"] == 1)].iloc[0]
    run = hi.replay(traces[0].shuffled(1), 0.25)
    assert row["real_cost_low"] == row["real_cost_high"] == lml.outcome(traces[0].shuffled(1), run, 0.25).average_cost
    assert row["average_cost"] == run.average_cost  # as the paper counts


def test_the_best_threshold_within_a_budget_by_hand():
    trace = hi.Trace([0.2, 0.4, 0.6, 0.9], [0, 0, 0, 1])
    found = [lml.best_threshold(trace, 0.25, [1, 0, 1, 1], budget=budget) for budget in (0.2, 0.5, 1)]
    # Offloading none costs 3; the first one, 2¼; two, 2½, since the L-ML errs on the second; three, 1¾.
    assert [best.average_cost * 4 for best in found] == [3, 2.25, 1.75]
    assert [best.offload_ratio for best in found] == [0, 0.25, 0.75]
    with pytest.raises(ValueError, match=r"budget must be at least 0\.5, the share of confidence 0"):
        lml.best_threshold(hi.Trace([0, 0.5], [1, 0]), 0.25, [1, 1], budget=0.25)
