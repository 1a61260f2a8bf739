import math

import numpy as np
import pytest
from conftest import costs, traces
from hypothesis import given
from hypothesis import strategies as st

import hi_lib as hi
from hi_lib.studies.variants import fewer_bits, replay_batches, restarting, varying_regret_bound


def sizes_of(n, draw):
    sizes = []
    while sum(sizes) < n:
        sizes.append(min(draw(), n - sum(sizes)))
    return sizes


@given(st.integers(0, 99), st.sampled_from(["tuned", "anytime", 0.01, 0.3]), st.floats(0, 1))
def test_the_bound_for_varying_batches(seed, learning_rate, beta):
    rng = np.random.default_rng(seed)
    trace = hi.Trace(rng.choice([0.1, 0.4, 0.5, 0.8], 200), rng.random(200) < 0.5)
    run = replay_batches(trace, beta, sizes_of(200, lambda: int(rng.integers(1, 30))), learning_rate)
    assert run.regret <= run.regret_bound


def test_varying_batches_of_one_size_are_batch_hi():
    trace = hi.load_trace("cifar10-resnet8").shuffled(1)
    trace = hi.Trace(trace.confidence[:1000], trace.correct[:1000])
    for rate in ("tuned", "anytime", 0.07):
        one, listed = hi.replay(trace, 0.5, 8, learning_rate=rate), replay_batches(trace, 0.5, [8] * 125, rate)
        np.testing.assert_allclose(one.offload_probability, listed.offload_probability, atol=1e-11)
        assert (one.regret_bound, one.transmissions) == pytest.approx((listed.regret_bound, listed.transmissions))


@pytest.mark.uncounted
@given(st.lists(st.integers(1, 50), min_size=1, max_size=30), st.floats(1e-9, 0.9))
def test_what_the_rates_without_a_horizon_cost(sizes, shortest):
    squares = np.square(sizes).sum()
    anytime = varying_regret_bound(sizes, shortest, "anytime")
    tuned = varying_regret_bound(sizes, shortest)
    assert tuned <= anytime <= np.sqrt(-np.log(shortest) * squares) * (1 + 1e-12)
    best = min(varying_regret_bound(sizes, shortest, rate) for rate in np.geomspace(1e-4, 1e3, 200))
    assert tuned == pytest.approx(best, rel=1e-2)
    assert tuned <= best * (1 + 1e-12)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: varying_regret_bound([], 0.5), "batch_sizes must be a list of integers"),
        (lambda: varying_regret_bound([1.5], 0.5), "batch_sizes must be a list of integers"),
        (lambda: varying_regret_bound([1, 0], 0.5), r"batch_sizes\[1\] must be in"),
        (lambda: varying_regret_bound([1], 0.5, "best"), "learning_rate must be one of tuned, anytime"),
        (lambda: replay_batches(hi.Trace([0.5, 0.6], [0, 1]), 0.5, [1]), "must add up to the trace's 2 samples"),
        (lambda: replay_batches(hi.Trace([0.5, 0.6], [0, 1]), 0.5, [2], -1), "learning_rate must be"),
        (lambda: restarting("trace", 0.5), "trace must be a hi_lib.Trace"),
        (lambda: restarting(hi.Trace([0.5], [0]), 2), "beta must be in"),
        (lambda: fewer_bits(hi.Trace([0.5], [0]), 0.5, [0]), "bits must be an integer >= 1"),
        (lambda: fewer_bits(hi.Trace([0.5], [0]), 0.5, [4, 21]), "bits must be at most 20, got 21"),
        (lambda: fewer_bits(hi.Trace([0.5], [0]), 0.5, seeds=[]), "seeds must hold at least one seed"),
    ],
)
def test_bad_arguments_are_refused(call, says):
    with pytest.raises(ValueError, match=says):
        call()


@given(traces(), costs, st.integers(1, 9))
def test_restarts_by_definition_and_below_their_bound(trace, beta, batch_size):
    run, start, length, bound = restarting(trace, beta, batch_size), 0, batch_size, 0.0
    log_cells = -math.log(hi.lambda_min(trace))
    while start < len(trace):
        part = hi.Trace(trace.confidence[start : start + length], trace.correct[start : start + length])
        eta = math.sqrt(8 * log_cells / (length * batch_size)) or 1.0
        alone = hi.replay(part, beta, batch_size, learning_rate=eta)
        assert run.offload_probability[start : start + length] == pytest.approx(alone.offload_probability, abs=1e-12)
        sizes = [min(batch_size, len(part) - begun) for begun in range(0, len(part), batch_size)]
        bound += log_cells / eta + eta / 8 * sum(size**2 for size in sizes) if log_cells else 0.0
        start, length = start + length, 2 * length
    assert run.regret_bound == pytest.approx(bound)
    assert run.regret <= run.regret_bound + 1e-9
    assert run.learning_rate == pytest.approx(eta)


@given(st.integers(1, 3000), st.integers(1, 7))
def test_restarts_cost_at_most_this_factor_in_the_bound(batches, batch_size):
    trace = hi.Trace(np.full(batches * batch_size, 0.25), np.ones(batches * batch_size, bool))
    tuned = hi.regret_bound(len(trace), batch_size, 0.25)
    assert (
        tuned * (1 - 1e-12) <= restarting(trace, 0.5, batch_size).regret_bound <= (1 / (math.sqrt(2) - 1) + 0.5) * tuned
    )


def test_fewer_bits_cost_little_and_save_in_the_bound():
    trace = hi.load_trace("cifar10-alexnet")
    trace = hi.Trace(trace.confidence[:2000], trace.correct[:2000])
    table = fewer_bits(trace, 0.4, [1, 2, 4, 8, 20], batch_size=3, seeds=range(3))
    assert table["bits"].tolist() == [1, 2, 4, 8, 20, 0]
    for row in table.itertuples():
        shortest = 2.0**-row.bits if row.bits else hi.lambda_min(trace)
        assert row.regret_bound == pytest.approx(math.sqrt(2000 * 3 * -math.log(shortest) / 2))
        assert row.average_cost - row.best_cost <= row.regret_bound / 2000
        levels = 2**row.bits
        seen = hi.Trace(np.floor(trace.confidence * levels) / levels, trace.correct) if row.bits else trace
        assert row.best_cost == hi.best_threshold(seen, 0.4).average_cost
    # Each grid holds the thresholds of the one before, and all of them are thresholds.
    assert (np.diff(table["best_cost"]) <= 0).all()
    exact = [hi.replay(trace.shuffled(seed), 0.4, 3).average_cost for seed in range(3)]
    assert table["average_cost"].iloc[-1] == pytest.approx(np.mean(exact))
    assert table["average_cost_error"].iloc[-1] == pytest.approx(np.std(exact, ddof=1) / math.sqrt(3))
    assert fewer_bits(trace, 0.4, [2], seeds=[1])["average_cost_error"].isna().all()
