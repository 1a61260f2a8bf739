"""Times of a replayed run: against enumeration over θ and flags, the formulas, and the event simulation."""

import itertools

import numpy as np
import pytest
from conftest import costs, traces
from hypothesis import given
from hypothesis import strategies as st

import hi_lib as hi
from hi_lib import regret, run_times
from hi_lib.events import simulation
from hi_lib.studies.variants import replay_batches

TIMING = hi.TimingModel(tau_ed=1.5, tau_es=4.25, tau_tx=5.0, tau_nw=20.0)


def enumerated(timing, probability, sizes, exploration):
    """All that can happen in each batch, one after the other: every segment of θ, every set of explored samples."""
    n, service = probability.size, timing.tau_es + timing.tau_tx
    q = (probability - exploration) / (1 - exploration)
    transmissions = time = 0.0
    law = []  # (response, probability, offloaded)
    start = 0
    for size in sizes:
        batch = q[start : start + size]
        levels = np.unique(np.concatenate(([0.0, 1.0], batch)))
        for low, high in itertools.pairwise(levels):  # u uniform: sample i is below θ where u < q_i
            for flags in itertools.product([False, True], repeat=size if exploration else 0):
                chance = high - low
                sent = batch >= high
                for place, flag in enumerate(flags):
                    chance *= exploration if flag else 1 - exploration
                    sent[place] |= flag
                m = sent.sum()
                transmissions += chance * (m > 0)
                time += chance * (size * timing.tau_ed + (m > 0) * timing.tau_nw + m * service)
                for i in range(size):
                    wait = (size - i) * timing.tau_ed + timing.tau_nw + m * service if sent[i] else timing.tau_ed
                    law.append((wait, chance, sent[i]))
        start += size
    response = sum(wait * chance for wait, chance, _ in law) / n
    return time / n, response, transmissions, law


@given(traces(24), costs, st.integers(1, 8), st.floats(0.01, 5))
def test_of_run_is_the_sum_over_all_thresholds(trace, beta, batch_size, eta):
    run = hi.replay(trace, beta, batch_size, learning_rate=eta)
    times = TIMING.of_run(run)
    sizes = regret.fixed_sizes(len(trace), batch_size)
    system, response, transmissions, law = enumerated(TIMING, run.offload_probability, sizes, 0.0)
    assert times.system_time == pytest.approx(system, rel=1e-9)
    assert times.response_time == pytest.approx(response, rel=1e-9)
    assert times.transmissions == pytest.approx(transmissions, rel=1e-9)
    assert times.transmissions == pytest.approx(run.transmissions, rel=1e-9)
    for time in (0.0, 1.5, 29.0, 31.0, 45.25, 60.0, 1e6):
        below = sum(chance for wait, chance, _ in law if wait <= time * (1 + 1e-12)) / len(trace)
        assert times.cdf(time) == pytest.approx(below, abs=1e-9)


@given(traces(12), costs, st.integers(1, 4), st.sampled_from(["hil-n", "apple"]), st.integers(0, 9))
def test_exploration_counts_as_independent_of_the_threshold(trace, beta, batch_size, learner, seed):
    run = hi.replay(trace, beta, batch_size, learner, learning_rate=0.1, seed=seed)
    if run.exploration == 1:
        return  # everything is offloaded, and q is not known any more
    times = TIMING.of_run(run)
    sizes = regret.fixed_sizes(len(trace), batch_size)
    system, response, transmissions, _ = enumerated(TIMING, run.offload_probability, sizes, run.exploration)
    assert times.system_time == pytest.approx(system, rel=1e-7)
    assert times.response_time == pytest.approx(response, rel=1e-7)
    assert times.transmissions == pytest.approx(transmissions, rel=1e-7)
    with pytest.raises(ValueError, match="does not explore"):
        times.quantile(0.5)


@given(traces(), costs)
def test_single_samples_have_the_independent_times(trace, beta):
    run = hi.replay(trace, beta)
    times = TIMING.of_run(run)
    assert times.system_time == pytest.approx(TIMING.system_time(1, run.offload_ratio, "independent"), rel=1e-9)
    assert times.response_time == pytest.approx(TIMING.response_time(1, run.offload_ratio, "average"), rel=1e-9)


@given(traces(40), costs, st.integers(1, 9), st.floats(0.01, 1))
def test_quantiles_are_the_smallest_times_that_reach_their_level(trace, beta, batch_size, level):
    run = hi.replay(trace, beta, batch_size, learning_rate=0.5)
    times = TIMING.of_run(run, network_times=[10.0, 20.0, 35.0])
    for only in (False, True) if run.offload_ratio > 1e-6 else (False,):
        quantile = times.quantile(level, only)
        assert times.cdf(quantile, only) >= level - 1e-9
        assert times.cdf(quantile * (1 - 1e-9), only) < level + 1e-9


def test_the_mean_is_that_of_the_law():
    run = hi.replay(hi.synthetic_trace(60, seed=1), 0.5, 7)
    times = TIMING.of_run(run)
    grid = np.linspace(0, 200, 400_001)  # E R = ∫ P(R > t) dt; the steps are multiples of 1/4
    assert np.trapezoid(1 - times.cdf(grid[::100]), grid[::100]) == pytest.approx(times.response_time, abs=0.06)


def test_batches_of_varying_size():
    trace, sizes = hi.synthetic_trace(20, seed=3), (1, 6, 2, 8, 3)
    run = replay_batches(trace, 0.5, sizes)
    times = TIMING.of_run(run)
    system, response, transmissions, _ = enumerated(TIMING, run.offload_probability, sizes, 0.0)
    assert (times.system_time, times.response_time) == pytest.approx((system, response), rel=1e-12)
    assert times.transmissions == pytest.approx(transmissions, rel=1e-12)


@pytest.mark.parametrize("batch_size", [4, 25])
def test_the_event_simulation_with_the_learner_at_work_agrees(batch_size):
    trace = hi.load_trace("cifar10-alexnet").shuffled(0) if "cifar10-alexnet" in hi.list_traces() else None
    trace = trace or hi.load_trace("cifar10-resnet8").shuffled(0)
    trace = hi.Trace(trace.confidence[:1000], trace.correct[:1000])
    eta = hi.tuned_learning_rate(len(trace), batch_size, hi.lambda_min(trace))
    times = TIMING.of_run(hi.replay(trace, 0.5, batch_size, learning_rate=eta))
    found = []
    for seed in range(25):
        policy = simulation.Learning(hi.HILF(0.5, eta, seed=seed), trace)
        log = simulation.simulate(TIMING, policy, batch_size, samples=len(trace))
        found.append((log.system_time, log.response_time.mean(), (log.response_time <= 60).mean()))
    mean, error = np.mean(found, axis=0), np.std(found, axis=0, ddof=1) / 5
    expected = times.system_time, times.response_time, float(times.cdf(60))
    assert np.abs(mean - expected) == pytest.approx(0, abs=4.5 * error.max())
    assert (np.abs(mean - expected) <= 4.5 * error).all()


@pytest.mark.parametrize("batch_size", [1, 3, 7])
def test_large_batches_are_counted_without_a_table(batch_size, monkeypatch):
    run = hi.replay(hi.synthetic_trace(40, seed=1), 0.4, batch_size)
    network = [3.0, 20.0, 20.5]
    by_table, times = TIMING.of_run(run, network), np.linspace(0, 120, 25)
    expected = by_table.cdf(times), by_table.quantile(0.9)
    monkeypatch.setattr(run_times, "_LARGE", 0)
    direct = TIMING.of_run(run, network)
    np.testing.assert_allclose(direct.cdf(times), expected[0], atol=1e-12)
    assert direct.quantile(0.9) == expected[1]


def test_rules_need_no_law():
    trace = hi.synthetic_trace(10, seed=0)
    never = TIMING.of_run(hi.replay(trace, 0.5, 4, "never"))
    assert (never.system_time, never.response_time, never.transmissions) == (1.5, 1.5, 0.0)
    assert np.isnan(never.offloaded_response_time)
    with pytest.raises(ValueError, match="offloads none"):
        never.quantile(0.5, offloaded_only=True)
    always = TIMING.of_run(hi.replay(trace, 0.5, 5, "always"))
    assert always.transmissions == 2
    assert always.quantile(1.0) == 5 * 1.5 + 20 + 5 * 9.25


def test_no_service_time_is_no_special_case():
    timing = hi.TimingModel(tau_ed=1.0, tau_es=0.0, tau_tx=0.0, tau_nw=5.0)
    times = timing.of_run(hi.replay(hi.Trace([0.0, 0.0], [0, 0]), 0.5, 2))
    assert [times.quantile(level) for level in (0.5, 1.0)] == [6.0, 7.0]


@given(traces(10), costs, st.floats(0.05, 0.95))
def test_the_best_batch_size_of_a_short_trace(trace, beta, alpha):
    best = hi.best_batch_size(trace, TIMING, beta, alpha)
    runs = [TIMING.of_run(hi.replay(trace, beta, size)) for size in range(1, len(trace) + 1)]
    values = [alpha * times.system_time + (1 - alpha) * times.response_time for times in runs]
    # For so few samples the search looks at all sizes.
    assert best.objective == pytest.approx(min(values), rel=1e-12)
    assert values[best.batch_size - 1] == best.objective


def test_a_search_needs_an_order():
    with pytest.raises(ValueError, match="seeds must hold at least one seed, or be left out"):
        hi.best_batch_size(hi.synthetic_trace(20, seed=0), TIMING, 0.5, 0.5, seeds=[])


@pytest.mark.parametrize("how", [{"max_samples": 3}, {"price": 0.2}, {"max_samples": 5, "price": 0.1}])
def test_the_best_number_of_offloads_is_sought_with_the_cap_and_the_price(how):
    trace = hi.synthetic_trace(60, seed=1)
    best = hi.best_batch_size(trace, TIMING, 0.3, 0.8, unit="offloads", seeds=[0], **how)
    run = hi.replay(trace.shuffled(0), 0.3, best.batch_size, learning_rate="tuned", seed=0, unit="offloads", **how)
    times = TIMING.of_run(run)
    assert (best.system_time, best.response_time) == pytest.approx((times.system_time, times.response_time))
    without = hi.best_batch_size(trace, TIMING, 0.3, 0.8, unit="offloads", seeds=[0])
    assert best != without


def test_what_was_drawn_is_drawn_no_more():
    run = hi.replay(hi.synthetic_trace(50, seed=0), 0.5, 3, unit="offloads", seed=1)
    assert (run_times.drawn(run, np.random.default_rng(2)) == run.offloaded).all()
