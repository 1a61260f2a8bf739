import itertools

import numpy as np
import pytest
from conftest import batch_sizes, costs, traces
from hypothesis import given
from hypothesis import strategies as st

import hi_lib as hi
from hi_book.figures import regret_bound as page
from hi_lib.regret import log_inverse, vanilla_learning_rate

lengths, sizes, shortest = st.integers(1, 10**6), st.integers(1, 1000), st.floats(1e-300, 1)


@given(traces(), costs)
def test_no_threshold_beats_the_best_one(trace, beta):
    best = hi.best_threshold(trace, beta)
    edges = np.unique(np.concatenate(([0, 1], trace.confidence)))
    middles = [low + (high - low) / 2 for low, high in itertools.pairwise(edges)]
    found = [hi.replay(trace, beta, learner="fixed", threshold=theta).average_cost for theta in middles]
    assert best.average_cost == pytest.approx(min(found), abs=1e-12)
    at_best = hi.replay(trace, beta, learner="fixed", threshold=best.threshold)
    # The middle of a cell between two neighbouring doubles is its upper end: still inside (low, high].
    assert at_best.average_cost == pytest.approx(best.average_cost, abs=1e-12)
    assert at_best.offload_ratio == pytest.approx(best.offload_ratio, abs=1e-12)


def test_boundary_cells_count():
    assert hi.lambda_min(hi.Trace([0.5, 0.96875], [1, 1])) == 1 - 0.96875
    assert hi.lambda_min(hi.Trace([0.0625, 0.5], [1, 1])) == 0.0625
    assert hi.lambda_min(hi.Trace([0.0, 1.0, 1.0], [1, 0, 1])) == 1
    assert hi.lambda_min(hi.Trace([0.25], [1])) == 0.25


@given(lengths, sizes, shortest)
def test_the_tuned_rate_minimises_the_bound(n, batch_size, lam):
    eta = hi.tuned_learning_rate(n, batch_size, lam)
    least = hi.regret_bound(n, batch_size, lam)
    if eta == 0:
        assert least == 0
        return
    assert hi.regret_bound(n, batch_size, lam, eta) == pytest.approx(least, rel=1e-12)
    for factor in (0.5, 0.9, 1.1, 2):
        assert hi.regret_bound(n, batch_size, lam, eta * factor) > least


@given(lengths, sizes, shortest)
def test_the_bound_grows_as_the_root_of_the_batch_size(n, batch_size, lam):
    vanilla = hi.regret_bound(n, 1, lam)
    assert hi.regret_bound(n, batch_size, lam) == pytest.approx(np.sqrt(batch_size) * vanilla, rel=1e-12)
    assert vanilla == pytest.approx(np.sqrt(n * np.log(1 / lam) / 2), rel=1e-9, abs=1e-9)


@given(st.integers(1, 200), st.integers(1, 50), shortest)
def test_the_anytime_bound_for_whole_batches(batches, batch_size, lam):
    n = batches * batch_size
    bound = hi.anytime_regret_bound(n, batch_size, lam)
    assert bound <= np.sqrt(n * batch_size * np.log(1 / lam)) * (1 + 1e-12)
    assert bound >= hi.regret_bound(n, batch_size, lam)


def test_one_cell_needs_no_learning():
    trace = hi.Trace([0.0, 1.0], [1, 0])
    run = hi.replay(trace, beta=0.5)
    assert (run.regret, run.regret_bound, run.learning_rate) == (0, 0, 0)
    assert hi.replay(trace, beta=0.5, learning_rate="anytime").regret_bound == 0
    assert hi.replay(trace, beta=0.5, learning_rate=vanilla_learning_rate(trace)).regret == 0


def test_small_integer_types_do_not_wrap():
    assert hi.anytime_regret_bound(np.int8(100), np.uint8(16), 0.1) == hi.anytime_regret_bound(100, 16, 0.1)


@pytest.mark.parametrize("lam", [0, -1, 1.5, np.nan])
def test_a_cell_length_outside_its_range_is_refused(lam):
    with pytest.raises(ValueError, match=r"lambda_min must be in \(0, 1\]"):
        hi.regret_bound(10, 1, lam)


@pytest.mark.parametrize("arguments", [(0, 1), (10, 0), (np.nan, 1), ("ten", 1)])
def test_counts_must_be_whole(arguments):
    with pytest.raises(ValueError, match="must be"):
        hi.tuned_learning_rate(*arguments, 0.5)


@given(st.integers(1, 10**6), batch_sizes, st.floats(1e-12, 0.99), st.floats(0.01, 1.0))
def test_tuned_exploration_minimises_the_bound(n, batch_size, lambda_min, beta):
    def bound(share):
        eta = hi.tuned_partial_feedback_rate(n, batch_size, lambda_min, share)
        return hi.partial_feedback_bound(n, batch_size, lambda_min, beta, eta, share)

    tuned = hi.tuned_exploration(n, batch_size, lambda_min, beta)
    nearby = (bound(np.clip(tuned * factor, 1 / n, 1)) for factor in (0.5, 0.9, 1.1, 2.0))
    assert bound(tuned) <= min(nearby) * (1 + 1e-12)


@given(st.integers(1, 10**6), batch_sizes, st.floats(1e-3, 10), st.floats(0.01, 1.0))
def test_tuned_exploration_for_a_given_rate(n, batch_size, eta, beta):
    tuned = hi.tuned_exploration(n, batch_size, 0.1, beta, eta)
    found = [
        hi.partial_feedback_bound(n, batch_size, 0.1, beta, eta, np.clip(tuned * f, 1 / n, 1)) for f in (1, 0.9, 1.1)
    ]
    assert found[0] <= min(found) * (1 + 1e-12)


@given(traces(), costs, st.integers(1, 70), st.floats(0.01, 20))
def test_the_slack_of_every_step_is_positive_and_adds_up(trace, beta, batch_size, eta):
    slack = page.bound_slack(trace, beta, batch_size, eta)
    tolerance = 1e-9 * len(trace) + 1e-9 / eta
    assert min(value for step, value in slack.items() if step != "regret") >= -tolerance
    bound = hi.regret_bound(len(trace), batch_size, hi.lambda_min(trace), eta)
    assert sum(slack.values()) == pytest.approx(bound, abs=tolerance)
    assert slack["regret"] == pytest.approx(hi.replay(trace, beta, batch_size, learning_rate=eta).regret, abs=tolerance)


@pytest.mark.parametrize("batch_size", [1, 16])
def test_realised_regret_scatters_around_the_expected_one(batch_size):
    trace = hi.load_trace("imagenette-mobilenet_v1_0.25_128").shuffled(0)
    run = hi.replay(trace, 0.5, batch_size)
    drawn = page.realised_regret(page.Case(trace, 0.5, [batch_size]), batch_size, run.learning_rate, draws=500, seed=1)
    assert drawn.mean() == pytest.approx(run.regret, abs=4 * drawn.std(ddof=1) / np.sqrt(500))
    # Azuma: more than one in 100 above, 500 times over, would be a wonder; a binomial beyond 17 of 500 has p < 1e-5.
    limit = run.regret_bound + page.azuma_margin(len(trace), batch_size, failure=0.01)
    assert (drawn > limit).sum() <= 17


def test_a_cost_whose_square_vanishes_is_as_none():
    assert hi.replay(hi.synthetic_trace(50, seed=0), 1e-200, learner="hil-n").exploration == 1


def test_nothing_to_learn_is_zero_and_not_below():
    assert str(log_inverse(1.0)) == "0.0"
