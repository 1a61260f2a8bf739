import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hi_lib as hi
from hi_lib.studies.variants import replay_batches, varying_regret_bound


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
    ],
)
def test_bad_arguments_are_refused(call, says):
    with pytest.raises(ValueError, match=says):
        call()
