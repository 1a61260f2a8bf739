import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hi_lib as hi
from hi_lib.events import simulation
from hi_lib.events.queueing import lognormal_times, mean_error, pipeline, poisson_arrivals
from hi_lib.events.simulation import Interval, Learning, simulate

TIMING = hi.TimingModel(tau_ed=1, tau_es=4, tau_tx=5, tau_nw=20)


def offloads(n, ratio, seed):
    return np.random.default_rng(seed).random(n) < ratio


def test_a_run_worked_by_hand():
    # Two batches of two: one offload, two offloads. The second batch starts when the first one's answer is there.
    log = simulate(TIMING, [0, 1, 1, 1], batch_size=2, record=True)
    first = [Interval("device", 0, 1, 0), Interval("device", 1, 2, 1), Interval("uplink", 2, 7, 1)]
    away = [Interval("network", 7, 17), Interval("server", 17, 21, 1), Interval("network", 21, 31)]
    then = [Interval("device", 31, 32, 2), Interval("device", 32, 33, 3), Interval("uplink", 33, 38, 2)]
    then += [Interval("uplink", 38, 43, 3), Interval("network", 43, 53)]
    back = [Interval("server", 53, 57, 2), Interval("server", 57, 61, 3), Interval("network", 61, 71)]
    assert log.intervals == first + away + then + back
    assert log.started.tolist() == [0, 1, 31, 32]
    assert log.answered.tolist() == [1, 31, 71, 71]
    assert log.response_time.tolist() == [1, 30, 40, 39]
    assert (log.sizes.tolist(), log.offloads.tolist(), log.ended.tolist()) == ([2, 2], [1, 2], [31, 71])
    assert (log.system_time, (log.offloads > 0).sum()) == (71 / 4, 2)


def test_a_queue_worked_by_hand():
    # The second sample waits for the first one's answer; the third finds the device idle; 3 ms to set up the server.
    log = simulate(TIMING, [1, 0, 1], 1, arrivals=[10, 12, 100], network_times=[20, 1, 40], server_setup=3)
    assert log.started.tolist() == [0, 33, 90]  # from the first arrival
    assert log.answered.tolist() == [33, 34, 143]
    assert log.response_time.tolist() == [33, 32, 53]


@given(st.lists(st.booleans(), min_size=1, max_size=50), st.integers(1, 9), st.integers(0, 99), st.floats(1, 60))
def test_the_direct_count_of_a_queue_is_what_the_simulation_finds(flags, batch_size, seed, gap):
    arrivals = poisson_arrivals(len(flags), 1 / gap, seed)
    log = simulate(TIMING, flags, batch_size, arrivals=arrivals)
    counted = pipeline(TIMING, flags, batch_size, arrivals=arrivals).response_time
    np.testing.assert_allclose(counted, log.response_time, rtol=1e-9)


def test_a_transmission_meets_the_network_of_its_batchs_last_sample():
    log = simulate(TIMING, [1, 0, 0, 0, 1], 2, network_times=[1, 100, 2, 3, 7])
    assert log.response_time.tolist() == [2 + 5 + 100 + 4, 1, 1, 1, 1 + 5 + 7 + 4]


@given(st.lists(st.booleans(), min_size=1, max_size=40), st.integers(1, 12))
def test_nothing_overlaps_and_nothing_is_lost(flags, batch_size):
    log = simulate(TIMING, flags, batch_size, record=True)
    ends = np.array([interval.end for interval in log.intervals])
    starts = np.array([interval.start for interval in log.intervals])
    np.testing.assert_allclose(starts[1:], ends[:-1])  # stop and wait: one thing at a time, no gaps
    for lane, expected in (("device", range(len(flags))), ("server", np.flatnonzero(flags))):
        assert [interval.sample for interval in log.intervals if interval.lane == lane] == list(expected)
    assert log.sizes.sum() == len(flags)
    assert log.offloads.sum() == sum(flags)
    np.testing.assert_array_equal(log.offloaded, flags)


@pytest.mark.uncounted
@pytest.mark.parametrize("batch_size", [1, 2, 5, 16])
@pytest.mark.parametrize("model", ["average", "worst"])
def test_closed_forms_within_the_mean_error(batch_size, model):
    timing, ratio, n = hi.IMAGENETTE.timing, 0.421, 16_000
    flags = offloads(n, ratio, [batch_size, len(model)])
    if model == "worst":
        flags = np.sort(flags.reshape(-1, batch_size), axis=1)[:, ::-1].ravel()
    log = simulate(timing, flags, batch_size)
    error = mean_error(log.response_time, batch_size)
    assert abs(log.response_time.mean() - timing.response_time(batch_size, ratio, model)) < 4 * error
    busy = np.diff(log.ended, prepend=0) / batch_size
    error = busy.std(ddof=1) / np.sqrt(busy.size)
    assert abs(log.system_time - timing.system_time(batch_size, ratio, "exact")) < 4 * error


def test_the_law_of_the_response_time():
    timing, ratio, size, batches = hi.IMAGENETTE.timing, 0.421, 8, 4000
    rng = np.random.default_rng(3)
    network = rng.choice([5.0, 20.0, 90.0], batches * size)
    log = simulate(timing, rng.random(batches * size) < ratio, size, network_times=network)
    # One sample of each batch: independent. Then P(√n sup |F_n - F| > 2) <= 2 exp(-8), whatever F is.
    one = log.response_time.reshape(batches, size)[np.arange(batches), rng.integers(size, size=batches)]
    one = one.round(6)  # the clock adds up: equal times differ in their last digits
    times = np.unique(one)
    law = timing.response_law(size, ratio, network_times=[5.0, 20.0, 90.0])
    empirical = np.searchsorted(np.sort(one), times, side="right") / batches
    assert np.sqrt(batches) * np.abs(empirical - law.cdf(times + 1e-6)).max() < 2


def test_the_server_setup_counts_as_network_time():
    timing, flags = hi.IMAGENETTE.timing, offloads(4000, 0.421, 5)
    log = simulate(timing, flags, 8, server_setup=7.5)
    slower = simulate(hi.TimingModel(timing.tau_ed, timing.tau_es, timing.tau_tx, timing.tau_nw + 7.5), flags, 8)
    np.testing.assert_allclose(log.response_time, slower.response_time)


@pytest.mark.uncounted
def test_the_waiting_time_of_a_queue_of_single_samples():
    # M = 1 is a queue with Poisson arrivals and one server: Pollaczek and Khinchine's mean.
    timing, ratio, n = hi.IMAGENETTE.timing, 0.421, 30_000
    service = np.array([timing.tau_ed, timing.tau_ed + timing.tau_nw + timing.tau_tx + timing.tau_es])
    first, second = np.array([1 - ratio, ratio]) @ np.array([service, service**2]).T
    rate = 0.5 / first
    expected = first + rate * second / (2 * (1 - rate * first))
    log = simulate(timing, offloads(n, ratio, 8), 1, arrivals=poisson_arrivals(n, rate, seed=9))
    # Waiting times hang together over busy periods: blocks of 500 samples are as good as independent.
    assert abs(log.response_time.mean() - expected) < 4 * mean_error(log.response_time, 500)


def test_random_network_times_have_the_mean_and_the_variation_asked_for():
    times = lognormal_times(np.full(200_000, 20.0), 0.5, seed=1)
    assert times.mean() == pytest.approx(20, abs=4 * 10 / np.sqrt(200_000))
    assert times.std() / times.mean() == pytest.approx(0.5, rel=0.02)
    assert (lognormal_times([20.0, 40.0], 0, seed=1) == [20, 40]).all()


def test_a_learner_at_work_decides_as_it_would_alone():
    trace = hi.load_trace("cifar10-resnet8").shuffled(0)
    trace = hi.Trace(trace.confidence[:600], trace.correct[:600])
    log = simulate(TIMING, Learning(hi.HILF(0.5, 0.1, seed=4), trace), 7, samples=600)
    alone, decided = hi.HILF(0.5, 0.1, seed=4), []
    for start in range(0, 600, 7):
        batch = slice(start, start + 7)
        decided += alone.decide(trace.confidence[batch]).tolist()
        alone.update(trace.confidence[batch], trace.correct[batch])
    assert log.offloaded.tolist() == decided
    assert 0 < sum(decided) < 600


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"batch_size": 0}, "batch_size must be an integer >= 1"),
        ({"offloaded": [1, 3]}, r"offloaded\[1\] must be 0 or 1"),
        ({"offloaded": []}, "samples must be an integer >= 1"),
        ({"offloaded": 1}, "offloaded must have shape"),
        ({"samples": 3}, "samples must be left out"),
        ({"offloaded": Learning(None, None)}, "samples must be numeric"),
        ({"arrivals": [3, 1]}, "arrivals must be in order"),
        ({"arrivals": [1]}, r"arrivals must have shape \(2,\)"),
        ({"network_times": [1, -1]}, r"network_times\[1\] must be in"),
        ({"server_setup": np.nan}, "server_setup must be in"),
    ],
)
def test_bad_arguments_are_refused(options, says):
    with pytest.raises(ValueError, match=says):
        simulate(TIMING, **{"offloaded": [1, 0], "batch_size": 1} | options)


def test_a_queue_needs_arrivals_in_order():
    with pytest.raises(ValueError, match="arrivals must be in order"):
        pipeline(TIMING, [1, 0], 1, arrivals=[3, 1])


def test_a_controller_that_returns_no_size_is_refused():
    class Broken(simulation.Fixed):
        def next_size(self):
            return 0

    with pytest.raises(ValueError, match="next_size must return an integer >= 1, got 0"):
        simulate(TIMING, [1, 0], Broken(1))


def test_the_standard_error_counts_blocks():
    values = np.repeat([1.0, 2.0, 4.0, 5.0], 3)
    assert mean_error([*values, 9.0], 3) == pytest.approx(np.std([1, 2, 4, 5], ddof=1) / 2)
    with pytest.raises(ValueError, match="at least two blocks of 10"):
        mean_error(values, 10)
