"""A device that does not wait: by hand, by closed forms, by direct counting, and by another library's queues."""

import itertools
import math

import ciw
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hi_lib as hi
from hi_lib.events.queueing import mean_error, pipeline, poisson_arrivals
from hi_lib.events.simulation import LateLearning, Learning, simulate

TIMING = hi.IMAGENETTE.timing
SIMPLE = hi.TimingModel(tau_ed=1, tau_es=4, tau_tx=5, tau_nw=20)
RATIO = 0.421

cases = st.fixed_dictionaries(
    {
        "unit": st.sampled_from(["samples", "offloads"]),
        "max_wait": st.sampled_from([0.0, 2.0, 7.3, 40.1, math.inf]),
        "window": st.sampled_from([None, 1, 2, 3, 7, math.inf]),
        "overhead": st.sampled_from([0.0, 1.5]),
        "server_setup": st.sampled_from([0.0, 3.0]),
    }
)


@pytest.mark.python_source
@settings(max_examples=60)
@given(
    st.lists(st.booleans(), min_size=1, max_size=60),
    st.integers(1, 9),
    cases,
    st.sampled_from([None, 0.5, 4.0, 40.0]),
    st.integers(0, 9),
)
def test_the_simulation_agrees_with_direct_counting(flags, batch_size, how, gap, seed):
    n, rng = len(flags), np.random.default_rng(seed)
    arrivals = None if gap is None else poisson_arrivals(n, 1 / gap, seed)
    measured = {"sending_times": rng.uniform(1, 9, n)} if seed % 2 else {}
    if how["window"] is None and seed % 3:
        measured["network_times"] = rng.uniform(1, 60, n)
    counted = pipeline(TIMING, flags, batch_size, arrivals=arrivals, **how, **measured)
    log = simulate(TIMING, flags, batch_size, arrivals=arrivals, **how, **measured)
    assert counted.response_time == pytest.approx(log.response_time, rel=1e-12, abs=1e-9)
    assert counted.system_time == pytest.approx(log.system_time, rel=1e-12)
    assert counted.sizes.tolist() == log.sizes.tolist()


def lanes(log):
    return [(interval.lane, interval.start, interval.end) for interval in log.intervals]


def test_two_transmissions_out_by_hand():
    log = simulate(SIMPLE, [1, 1, 1], 1, window=2, record=True)
    # The third sample is ready at 3, and waits until the first answer is back at 30.
    assert log.answered.tolist() == [30, 35, 59]
    assert log.started.tolist() == [0, 1, 2]
    uplink = [(start, end) for lane, start, end in lanes(log) if lane == "uplink"]
    assert uplink == [(1, 6), (6, 11), (30, 35)]


def test_one_window_goes_on_computing_and_a_waiting_device_does_not():
    waits, goes_on = (simulate(SIMPLE, [1, 0, 0], 1, window=window) for window in (None, 1))
    assert waits.started.tolist() == [0, 30, 31]
    assert goes_on.started.tolist() == [0, 1, 2]


def test_a_half_duplex_link_carries_one_thing_at_a_time():
    free, taken = (simulate(SIMPLE, [1, 1], 1, window=2, half_duplex=on, record=True) for on in (False, True))
    assert free.answered.tolist() == [30, 35]
    # The first arrives at 16. The second is sent until 31; the first's answer, ready at 20, waits for that and is back
    # at 41, when the second's answer, ready at 35, may go.
    assert taken.answered.tolist() == [41, 51]
    link = [(start, end) for lane, start, end in lanes(taken) if lane in ("uplink", "network")]
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(link))


def test_a_batch_closes_by_size_or_by_time():
    arrivals = [0, 2, 3, 50, 51, 52, 53]
    log = simulate(SIMPLE, [0] * 7, 3, arrivals=arrivals, max_wait=10)
    assert log.sizes.tolist() == [3, 3, 1]
    log = simulate(SIMPLE, [1, 0, 1, 0, 0, 0, 0], 4, arrivals=arrivals, max_wait=10)
    # Three samples until 10; they are sent then, and their answers are there at 10 + 20 + 2 · 9.
    assert log.sizes.tolist() == [3, 4]
    assert log.answered[[0, 1, 2]].tolist() == [48, 3, 48]
    assert simulate(SIMPLE, [1, 1], 2, arrivals=[0, 100], max_wait=math.inf).sizes.tolist() == [2]
    assert simulate(SIMPLE, [0, 0, 0], 9, max_wait=0).sizes.tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("window", "batch_size"), [(1, 1), (2, 1), (3, 1), (4, 1), (8, 1), (math.inf, 1), (2, 4), (1, 16)]
)
def test_the_least_system_time_is_reached_by_no_one(window, batch_size):
    """No lane can be busier than always, and each window slot holds one transmission at a time."""
    flags = np.random.default_rng(2).random(40_000) < RATIO
    found = pipeline(TIMING, flags, float(batch_size), window=window)
    sizes = np.add.reduceat(flags, np.arange(0, flags.size, batch_size))
    ratio, sent = flags.mean(), (sizes > 0).sum()
    busiest = max(TIMING.tau_ed, ratio * TIMING.tau_tx, ratio * TIMING.tau_es)
    alone = TIMING.tau_nw + sizes[sizes > 0].mean() * (TIMING.tau_tx + TIMING.tau_es)  # out at least so long
    least = max(busiest, sent / flags.size * alone / window)
    end = 100 / flags.size * alone  # filling and emptying the pipeline, in time a sample
    assert found.system_time >= least - end
    if window == math.inf:
        assert found.system_time <= least + end
    if window == 1:  # the slot is free only while the device computes a batch, at most
        assert found.system_time <= least + TIMING.tau_ed + end


def test_fixed_gaps_and_a_wide_window_are_a_d_g_1_queue():
    """Every sample offloaded, a slow link: Lindley's recursion for the link, the server never waits."""
    timing = hi.TimingModel(tau_ed=1, tau_es=2, tau_tx=5, tau_nw=10)
    arrivals = np.arange(500) * 4.0
    found = pipeline(timing, np.ones(500, bool), 1, arrivals=arrivals, window=math.inf)
    wait = np.maximum.accumulate(np.arange(500) * (5.0 - 4.0))
    assert found.response_time == pytest.approx(1 + wait + 5 + 10 + 2)


@pytest.mark.uncounted
def test_ciw_finds_the_same_mean_response():
    """The same queues as nodes of Ciw: device, link and server with one worker each, the network with any number."""
    rate, probability = 1 / 4.0, RATIO
    half = TIMING.tau_nw / 2

    class Offload(ciw.routing.NodeRouting):
        def next_node(self, ind):  # noqa: ARG002
            return self.simulation.nodes[2 if ciw.random.random() < probability else -1]

    network = ciw.create_network(
        arrival_distributions=[ciw.dists.Exponential(rate), None, None, None, None],
        service_distributions=[
            ciw.dists.Deterministic(value) for value in (TIMING.tau_ed, TIMING.tau_tx, half, TIMING.tau_es, half)
        ],
        number_of_servers=[1, 1, math.inf, 1, math.inf],
        routing=ciw.routing.NetworkRouting(
            routers=[
                Offload(),
                ciw.routing.Direct(to=3),
                ciw.routing.Direct(to=4),
                ciw.routing.Direct(to=5),
                ciw.routing.Leave(),
            ]
        ),
    )
    ciw.seed(1)
    simulation = ciw.Simulation(network)
    simulation.simulate_until_max_customers(8000)
    records = simulation.get_all_records()
    first, last = {}, {}
    for record in records:
        first[record.id_number] = min(first.get(record.id_number, math.inf), record.arrival_date)
        last[record.id_number] = max(last.get(record.id_number, 0.0), record.exit_date)
    theirs = np.array([last[number] - first[number] for number in sorted(first)])
    n = 200_000
    flags = np.random.default_rng(5).random(n) < probability
    ours = pipeline(TIMING, flags, 1, arrivals=poisson_arrivals(n, rate, 6), window=math.inf).response_time
    error = math.hypot(mean_error(theirs, 400), mean_error(ours, 400))
    assert abs(theirs.mean() - ours.mean()) < 4.5 * error
    for level in (0.5, 0.9):
        assert np.quantile(theirs, level) == pytest.approx(np.quantile(ours, level), rel=0.05)


def test_a_learner_hears_late_what_a_batch_hears_at_its_end():
    """With room for one transmission and a device that waits, tickets come back in order: the weights are HILF's."""
    trace = hi.synthetic_trace(300, seed=1)
    late, plain = hi.HILF(0.5, 0.3, seed=0), hi.HILF(0.5, 0.3, seed=0)
    simulate(TIMING, LateLearning(late, trace), 5, samples=300)
    plain.update(trace.confidence, trace.correct)
    asked = np.linspace(0, 1, 50)
    first, second = (each._forecaster.offload_probability(asked, 0.3) for each in (late, plain))
    assert first == pytest.approx(second, abs=1e-10)
    assert late.outstanding == []


@pytest.mark.uncounted
def test_a_learner_in_a_window_decides_with_what_it_has_heard():
    """The offloads of many lives have the ratio that the replay gives for the delays that came about."""
    trace = hi.synthetic_trace(400, seed=2)
    found, delays = [], []
    for seed in range(60):
        learner = hi.HILF(0.5, 0.2, seed=seed)
        log = simulate(TIMING, LateLearning(learner, trace), 4, samples=400, window=2)
        found.append(log.offloaded.mean())
        delays.append(np.mean(log.offloads > 0))
        assert learner.outstanding == []
    low, high = (hi.replay(trace, 0.5, 4, learning_rate=0.2, delay=delay).offload_ratio for delay in (0, 12))
    error = np.std(found, ddof=1) / np.sqrt(60)
    assert min(low, high) - 4.5 * error <= np.mean(found) <= max(low, high) + 4.5 * error


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"window": 0}, "window must be an integer >= 1"),
        ({"window": 1.5}, "window must be an integer"),
        ({"max_wait": -1}, "max_wait must be in"),
        ({"overhead": math.inf}, "overhead must be in"),
    ],
)
def test_what_no_device_does_is_refused(how, says):
    with pytest.raises(ValueError, match=says):
        simulate(TIMING, [1, 0], 1, **how)


def test_policies_that_do_not_fit_are_refused():
    trace = hi.synthetic_trace(10, seed=0)
    with pytest.raises(ValueError, match="LateLearning"):
        simulate(TIMING, Learning(hi.HILF(0.5, 0.1), trace), 2, samples=10, window=2)


def test_late_learners_close_batches_by_time_too():
    trace = hi.synthetic_trace(200, seed=0)
    for learner in (hi.HILF(0.5, 0.1, seed=0), hi.HILN(0.5, 0.1, 0.1, seed=0), hi.Apple(0.5, 0.1, 0.1, seed=0)):
        arrivals = poisson_arrivals(200, 0.2, seed=1)
        log = simulate(TIMING, LateLearning(learner, trace), 6, samples=200, arrivals=arrivals, max_wait=9.0, window=2)
        assert log.sizes.sum() == 200
        assert 1 < log.sizes.max() <= 6
        assert len(set(log.sizes.tolist())) > 2
        assert learner.outstanding == []


def test_batches_of_varying_size_are_counted_by_hand():
    timing = hi.TimingModel(tau_ed=1, tau_es=4, tau_tx=5, tau_nw=20)
    found = pipeline(timing, [0, 1, 1, 0, 0, 1], (2, 3, 1))
    # 2 + 29 | 3 + 29 | 1 + 29: each batch waits for the answer to its only offload.
    assert found.response_time == pytest.approx([1, 30, 32, 1, 1, 30])
    assert found.system_time == pytest.approx((31 + 32 + 30) / 6)
    assert found.delay.tolist() == [0] * 6


@pytest.mark.python_source
@pytest.mark.parametrize("window", [None, 2, np.inf])
def test_batches_of_one_size_may_be_listed(window):
    timing, flags = hi.TimingModel(1.5, 4, 2, 15), np.random.default_rng(3).random(103) < 0.4
    one, listed = (pipeline(timing, flags, size, window=window) for size in (4, (*[4] * 25, 3)))
    assert (one.response_time == listed.response_time).all()
    assert (one.delay == listed.delay).all()
    with pytest.raises(ValueError, match="add up to 103"):
        pipeline(timing, flags, (4, 4))


@pytest.mark.python_source
def test_how_long_the_first_offload_of_a_transmission_waits_by_hand():
    found = pipeline(SIMPLE, [0, 1, 0, 1, 1], 2, unit="offloads")
    assert found.waited.tolist() == [2, 0]  # from its own end to that of the second offload, and the last one alone
    assert found.sizes.tolist() == [4, 1]
    assert pipeline(SIMPLE, [0, 1, 0, 1, 1], 2, unit="offloads", max_wait=1.5).sizes.tolist() == [4, 1]
    assert pipeline(SIMPLE, [0, 1, 0, 0, 1], 2, unit="offloads", max_wait=1.5).sizes.tolist() == [4, 1]
    assert pipeline(SIMPLE, [0, 1, 0, 0, 1], 2, unit="offloads", max_wait=1).sizes.tolist() == [3, 2]


def test_random_network_times_are_not_for_a_window():
    with pytest.raises(ValueError, match="network_times must be left out where there is a window"):
        pipeline(SIMPLE, [0, 1], 1, window=2, network_times=[1, 2])
