"""Feedback that comes late (T14): the replay against its definition, the bound, and the sequences that reach it."""

import numpy as np
import pytest
import sympy
from conftest import batch_sizes, costs, traces
from hypothesis import given
from hypothesis import strategies as st

import hi_lib as hi
from hi_lib import learners, regret
from hi_lib.forecaster import Forecaster

LATE = ("hil-f", "hil-n", "apple", "naive")
delays = st.integers(0, 20)


def by_definition(trace, beta, batch_size, eta, delay):
    """HIL-F that learns a sample when so many further ones have been decided, the plain way."""
    n = len(trace)
    delay, step = np.broadcast_to(delay, n), beta - ~trace.correct
    offload, waiting, forecaster = np.empty(n), [], Forecaster(trace.confidence)
    outstanding = np.empty(n, int)
    for start in range(0, n, batch_size):
        stop = min(start + batch_size, n)
        for t in [t for t, ready in waiting if ready <= start]:
            forecaster.update(trace.confidence[t : t + 1], step[t : t + 1])
        waiting = [(t, ready) for t, ready in waiting if ready > start]
        for t in range(start, stop):
            offload[t] = forecaster.offload_probability(trace.confidence[t : t + 1], eta)[0]
            outstanding[t] = len(waiting) + t - start
        waiting += [(t, stop + delay[t]) for t in range(start, stop)]
    return offload, outstanding


patterns = st.one_of(delays, st.lists(delays, min_size=60, max_size=60))


@pytest.mark.python_source
@given(traces(), costs, st.integers(1, 9), st.floats(0.01, 3), patterns)
def test_late_feedback_by_definition_and_its_bound(trace, beta, batch_size, eta, delay):
    delay = delay if isinstance(delay, int) else delay[: len(trace)]
    run = hi.replay(trace, beta, batch_size, learning_rate=eta, delay=delay)
    offload, outstanding = by_definition(trace, beta, batch_size, eta, delay)
    assert run.offload_probability == pytest.approx(offload, abs=1e-11)
    assert (regret.outstanding(len(trace), batch_size, delay) == outstanding).all()
    # T14, written out once more; without a delay it is the paper's (4), which takes every batch to be full.
    exposure = len(trace) * batch_size if delay == 0 else (1 + 2 * outstanding).sum()
    assert exposure >= (1 + 2 * outstanding).sum()
    bound = -np.log(hi.lambda_min(trace)) / eta + eta / 8 * exposure
    assert run.regret_bound == pytest.approx(bound)
    assert run.regret <= bound + 1e-9


@given(traces(), costs, batch_sizes)
def test_batches_are_the_special_case(trace, beta, batch_size):
    """A batch of M is feedback that waits 0, …, M − 1 samples: Σ (1 + 2g) = Σ M_k², and the bound is (4)."""
    n, sizes = len(trace), regret.fixed_sizes(len(trace), batch_size)
    assert hi.equivalent_batch_size(n, batch_size) * n == pytest.approx((sizes**2).sum())
    late = hi.replay(trace, beta, batch_size, learning_rate=0.5, delay=np.zeros(n))
    assert late.offload_probability == pytest.approx(
        hi.replay(trace, beta, batch_size, learning_rate=0.5).offload_probability, abs=1e-11
    )
    squares = -np.log(hi.lambda_min(trace)) / 0.5 + 0.5 / 8 * (sizes**2).sum()
    assert late.regret_bound == pytest.approx(squares)
    assert late.regret_bound <= hi.regret_bound(n, batch_size, hi.lambda_min(trace), 0.5) + 1e-9


def test_tuned_rates_minimise_the_bound():
    eta, cells, exposure = sympy.symbols("eta L E", positive=True)
    bound = cells / eta + eta * exposure / 8
    best = sympy.solve(sympy.diff(bound, eta), eta)[0]
    assert sympy.simplify(best - sympy.sqrt(8 * cells / exposure)) == 0
    assert sympy.simplify(bound.subs(eta, best) - sympy.sqrt(cells * exposure / 2)) == 0
    trace = hi.synthetic_trace(500, seed=0)
    run = hi.replay(trace, 0.5, delay=7)
    exposure = (1 + 2 * regret.outstanding(500, 1, 7)).sum()
    assert run.learning_rate == pytest.approx(np.sqrt(8 * -np.log(hi.lambda_min(trace)) / exposure))
    assert run.regret_bound == pytest.approx(np.sqrt(-np.log(hi.lambda_min(trace)) * exposure / 2))


@given(st.floats(0, 5), st.lists(st.floats(0, 1), min_size=2, max_size=8), st.data())
def test_densities_that_lack_some_losses_are_close(eta, mass, data):
    """The step of T14's proof: a factor e^(−ηB) with B in [0, g] moves at most tanh(ηg/4) of the mass."""
    mass = np.array(mass) + 1e-3
    g = data.draw(st.integers(0, 5))
    missing = np.array(data.draw(st.lists(st.floats(0, g), min_size=mass.size, max_size=mass.size)))
    before, after = mass / mass.sum(), mass * np.exp(-eta * missing)
    moved = np.abs(before - after / after.sum()).sum() / 2
    assert moved <= np.tanh(eta * g / 4) + 1e-12


@pytest.mark.parametrize("delay", [0, 3, 19])
def test_coins_in_blocks_show_that_late_feedback_costs_what_a_batch_does(delay):
    """Coins repeated d + 1 times: who hears d samples later knows nothing of the block at hand, whatever he does."""
    blocks, beta, found = 60, 0.5, []
    for seed in range(150):
        trace = hi.halving_coins(1, blocks, delay + 1, beta, seed)
        found.append(hi.replay(trace, beta, delay=delay).regret)
    error = np.std(found, ddof=1) / np.sqrt(len(found))
    assert np.mean(found) == pytest.approx((delay + 1) * hi.coin_regret(blocks, beta), abs=4.5 * error)


@pytest.mark.parametrize("learner", ["hil-n", "apple"])
def test_partial_feedback_late_stays_below_its_bound(learner):
    """T4 with outstanding samples in place of the batch's; for T5, the batch's bound, which is not proved here."""
    trace = hi.halving_coins(1, 100, 11, 0.5, seed=3)
    runs = [hi.replay(trace, 0.5, 1, learner, seed=seed, delay=10) for seed in range(30)]
    found = np.array([run.regret for run in runs])
    bound = runs[0].regret_bound or hi.apple_bound(len(trace), 21, 0.5, 0.5, runs[0].learning_rate)
    assert found.mean() + 4 * found.std(ddof=1) / np.sqrt(30) < bound


def test_who_cannot_learn_late_says_so():
    trace = hi.Trace([0.2, 0.6], [0, 1])
    for learner in set(learners.known()) - set(LATE):
        more = {"threshold": 0.5} if learner == "fixed" else {}
        with pytest.raises(ValueError, match=f"delay must be 0 for learner '{learner}'"):
            hi.replay(trace, 0.5, learner=learner, delay=1, **more)
    for delay in (-1, 0.5, [1], [1, 2, 3], np.nan):
        with pytest.raises(ValueError, match="delay"):
            hi.replay(trace, 0.5, delay=delay)
    with pytest.raises(ValueError, match="anytime"):
        hi.replay(trace, 0.5, learning_rate="anytime", delay=1)
