"""A real L-ML: against brute force over thresholds, and against the paper's assumption where it holds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hi_lib as hi
from hi_lib.figures import real_lml as lml

samples = st.lists(st.tuples(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), st.booleans(), st.booleans()), min_size=1)


def trace_of(rows):
    confidence, correct, large = zip(*rows, strict=True)
    return hi.Trace(confidence, correct, large)


def cost_at(trace, threshold, beta):
    offloaded = trace.confidence < threshold
    return np.where(offloaded, beta + ~trace.lml_correct, ~trace.correct).mean()


@settings(max_examples=100, deadline=None)
@given(samples, st.floats(0, 1))
def test_the_best_threshold_is_the_best_of_all(rows, beta):
    trace = trace_of(rows)
    best = lml.best_threshold(trace, beta)
    all_costs = [cost_at(trace, theta, beta) for theta in (0.1, 0.3, 0.6, 0.9)]
    assert best.average_cost == pytest.approx(min(all_costs))
    assert cost_at(trace, best.threshold, beta) == pytest.approx(best.average_cost)
    assert best.offload_ratio == pytest.approx((trace.confidence < best.threshold).mean())


@settings(max_examples=100, deadline=None)
@given(samples, st.floats(0, 1))
def test_an_lml_that_never_errs_is_the_papers(rows, beta):
    trace = trace_of([(p, e, True) for p, e, _ in rows])
    table = lml.curve(trace)
    np.testing.assert_allclose(table["accuracy"], table["assumed_accuracy"])
    assert lml.best_threshold(trace, beta).average_cost == pytest.approx(hi.best_threshold(trace, beta).average_cost)
    run = hi.replay(trace, beta)
    found = lml.outcome(trace, run, beta)
    assert found.average_cost == pytest.approx(run.average_cost)
    assert found.accuracy == pytest.approx(run.accuracy)


def test_a_table_worked_by_hand():
    trace = hi.Trace([0.2, 0.6, 0.9], [0, 1, 1], [1, 0, 1])
    assert lml.curve(trace).to_numpy().tolist() == [
        [0.2, 0.0, 2 / 3, 2 / 3],
        [0.6, 1 / 3, 1.0, 1.0],
        [0.9, 2 / 3, 2 / 3, 1.0],
        [1.0, 1.0, 2 / 3, 1.0],
    ]
    # θ = 0.7 offloads two: one mended, one broken.
    run = hi.replay(trace, 0.5, learner="fixed", threshold=0.7)
    assert lml.outcome(trace, run, 0.5) == pytest.approx((2 / 3, 2 / 3))


def test_a_trace_without_lml_is_refused():
    trace = hi.synthetic_trace(10, 0)
    for ask in (lml.curve, lambda t: lml.best_threshold(t, 0.5), lambda t: lml.outcome(t, hi.replay(t, 0.5), 0.5)):
        with pytest.raises(ValueError, match="synthetic-10 has no L-ML"):
            ask(trace)


def test_a_run_of_another_trace_is_refused():
    trace = hi.Trace([0.5, 0.6], [1, 0], [1, 1])
    with pytest.raises(ValueError, match="one of this trace's 2 samples, got 3"):
        lml.outcome(trace, hi.replay(hi.synthetic_trace(3, 0), 0.5), 0.5)
