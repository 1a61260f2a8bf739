import copy
import pickle

import numpy as np
import pytest
from conftest import batch_sizes, costs, traces
from hypothesis import given
from hypothesis import strategies as st

import hi_lib as hi
from hi_lib import _engine, learners
from hi_lib.forecaster import Forecaster, StreamingForecaster

EPSILON = np.finfo(float).eps


def plain(trace, beta, batch_size, eta):
    """Algorithm 1 in its plain form."""
    return learners._hil_f(trace, beta, batch_size, np.full(-(-len(trace) // batch_size), eta))


def fast(trace, beta, batch_size, eta):
    """The same on the engine."""
    wrong = ~trace.correct
    return _engine.offload_probability(trace.gaps, trace.order, wrong, (beta, beta - 1), eta, batch_size)


def brute_force(trace, beta, batch_size, eta, grid):
    """Algorithm 1 over a grid of thresholds, each with its own loss; exact if cells are unions of grid intervals."""
    theta = (np.arange(grid) + 0.5) / grid
    loss, offload = np.zeros(grid), np.empty(len(trace))
    for start in range(0, len(trace), batch_size):
        batch = range(start, min(start + batch_size, len(trace)))
        weight = np.exp(-eta * (loss - loss.min()))
        for t in batch:
            offload[t] = weight[theta > trace.confidence[t]].sum() / weight.sum()
        for t in batch:
            loss += np.where(theta > trace.confidence[t], beta, float(not trace.correct[t]))
    return offload


on_a_grid = st.lists(st.tuples(st.integers(0, 64), st.booleans()), min_size=1, max_size=40)


@given(on_a_grid, costs, batch_sizes, st.floats(0.01, 5))
def test_plain_version_agrees_with_brute_force(samples, beta, batch_size, eta):
    trace = hi.Trace([p / 64 for p, _ in samples], [right for _, right in samples])
    expected = brute_force(trace, beta, batch_size, eta, grid=64)
    # Sums of at most 64 weights, whose exponents carry rounding errors of η · loss.
    assert plain(trace, beta, batch_size, eta) == pytest.approx(expected, abs=1e-12)


@given(traces(), st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), batch_sizes, st.floats(1e-3, 1e6))
def test_engine_agrees_with_the_plain_version(trace, beta, batch_size, eta):
    # Losses that are multiples of 1/4 are exact in both; only the exponentials round.
    assert fast(trace, beta, batch_size, eta) == pytest.approx(plain(trace, beta, batch_size, eta), abs=1e-12)


@given(traces(), costs, batch_sizes, st.floats(1e-3, 1e4))
def test_engine_agrees_for_any_cost(trace, beta, batch_size, eta):
    # β itself is rounded: over n rounds the exponents may differ by n η ε, however they are added up.
    tolerance = 1e-12 + 4 * len(trace) * eta * EPSILON
    assert fast(trace, beta, batch_size, eta) == pytest.approx(plain(trace, beta, batch_size, eta), abs=tolerance)


@pytest.mark.parametrize("eta", [0.5, 8.0, 1000.0])
def test_weights_recover_after_underflow(eta):
    # 400 rounds push the upper cells down to e^(−200 η), then 800 push them up again.
    confidence = np.tile([0.25, 0.5], 600)
    correct = np.arange(1200) < 400
    trace = hi.Trace(confidence, correct)
    offload = fast(trace, 0.5, 1, eta)
    assert offload == pytest.approx(plain(trace, 0.5, 1, eta), abs=1e-12)
    assert offload[399] < 1e-20
    assert offload[-1] > 1 - 1e-15


def exact_share(trace, beta, eta, t):
    """q_t from the definition, for M = 1: one sum over the cells of the past, in extended precision."""
    past, p = np.argsort(trace.confidence[:t], kind="stable"), trace.confidence[t]
    edges = np.concatenate(([0.0], trace.confidence[past], [1.0]))
    wrong = np.append(0, np.cumsum(~trace.correct[past]))
    exponent = -np.longdouble(eta) * (np.longdouble(beta) * np.arange(t + 1) - wrong)
    weight = np.exp(exponent - exponent.max())
    above = (weight * (edges[1:] - np.clip(p, edges[:-1], edges[1:]))).sum()
    return float(above / (weight * np.diff(edges)).sum())


@pytest.mark.parametrize(("beta", "eta"), [(0.5, 0.0148), (0.7, 0.0148), (0.3, 1.0)])
def test_engine_is_exact_over_a_million_rounds(beta, eta):
    trace = hi.synthetic_trace(1_000_000, seed=1)
    offload = fast(trace, beta, 1, eta)
    for t in (1, 1000, 54_321, 400_000, 999_999):
        assert offload[t] == pytest.approx(exact_share(trace, beta, eta, t), abs=1e-12)
    assert offload.min() >= 0
    assert offload.max() <= 1


@given(traces(), costs, st.floats(0.01, 1e6))
def test_streaming_forecaster_agrees_with_the_plain_one(trace, beta, eta):
    known, growing = Forecaster(trace.confidence), StreamingForecaster(eta)
    # A weight is a product where it was a sum in the exponent: n roundings, and those of the exponents themselves.
    tolerance = 1e-12 + 4 * len(trace) * min(eta, 600) * EPSILON
    for p, right in zip(trace.confidence, trace.correct, strict=True):
        sample, step = np.array([p]), np.array([round(4 * beta) / 4 - (not right)])
        assert growing.offload_probability(p) == pytest.approx(known.offload_probability(sample, eta)[0], abs=tolerance)
        known.update(sample, step)
        growing.update(sample, step)


def test_streaming_weights_recover_after_underflow():
    growing = StreamingForecaster(8.0)
    for right in np.arange(1200) < 400:
        growing.update(np.array([0.25, 0.5]), np.full(2, 0.5 - (not right)))
    trace = hi.Trace(np.tile([0.25, 0.5], 1200), np.repeat(np.arange(1200) < 400, 2))
    assert growing.offload_probability(0.5) == pytest.approx(exact_share(trace, 0.5, 8.0, 2399), abs=1e-12)


def test_confidence_one_is_never_offloaded_and_zero_always():
    forecaster = Forecaster([0.0, 1.0, 0.5])
    assert forecaster.offload_probability(np.array([0.0, 0.5, 1.0]), 0.1).tolist() == [1.0, 0.5, 0.0]


def test_draws_follow_the_density():
    forecaster = StreamingForecaster(2.0)
    forecaster.update(np.array([0.25, 0.75]), np.array([-0.6, 0.3]))
    rng = np.random.default_rng(5)
    draws = np.array([forecaster.draw(rng) for _ in range(20_000)])
    for p in (0.25, 0.75):
        q = forecaster.offload_probability(p)
        assert (draws > p).mean() == pytest.approx(q, abs=4 * np.sqrt(q * (1 - q) / draws.size))
    inside = draws[(draws > 0.25) & (draws <= 0.75)]
    # Uniform within a cell: mean 1/2, standard deviation of a draw 1/(2 √12).
    assert inside.mean() == pytest.approx(0.5, abs=4 / (2 * np.sqrt(12 * inside.size)))


def test_a_copied_learner_goes_on_as_the_original():
    rng = np.random.default_rng(0)
    learner = hi.HILF(0.5, 0.3, seed=0)
    learner.update(rng.random(50), rng.random(50) < 0.5)
    copies = copy.deepcopy(learner), pickle.loads(pickle.dumps(learner))
    more, right = rng.random(100), rng.random(100) < 0.5
    for each in (learner, *copies):
        each.update(more, right)
    assert len({each.threshold() for each in (learner, *copies)}) == 1
