"""Several devices at one server: by hand, by exact mean values, by another library's queues, and by its bounds."""

import itertools
import math

import ciw
import numpy as np
import pytest
from conftest import sample
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import hi_lib as hi
from hi_lib.events.crowd import crowd
from hi_lib.events.queueing import pipeline
from hi_lib.events.simulation import Fixed, Learning, simulate

TIMING = hi.IMAGENETTE.timing
SIMPLE = hi.TimingModel(tau_ed=1, tau_es=4, tau_tx=1, tau_nw=4)
RATIO = 0.421

# Whole numbers of ms, so that devices often come at the very same time; the server takes some time for each image.
times = st.tuples(st.integers(0, 4), st.integers(1, 5), st.integers(0, 4), st.integers(0, 16))
flags = st.lists(st.booleans(), min_size=1, max_size=30)
windows = st.sampled_from([None, 1, 2, 5, math.inf])
servers = st.one_of(
    st.just({}),
    st.just({"in_turn": "images"}),
    st.fixed_dictionaries({"merge": st.integers(1, 12), "merge_wait": st.sampled_from([0.0, 3.0, 11.0])}),
)


@st.composite
def crowds(draw):
    """What there is to do, for how many, and how."""
    devices = draw(st.integers(1, 5))
    offloaded = draw(flags)
    if devices > 1 and draw(st.booleans()):
        offloaded = [draw(flags) for _ in range(devices)]
    sizes = st.integers(1, 8)
    batch_size = draw(sizes) if devices == 1 or draw(st.booleans()) else [draw(sizes) for _ in range(devices)]
    how = {"window": draw(windows), "overhead": draw(st.sampled_from([0.0, 1.5]))}
    how |= {"server_setup": draw(st.sampled_from([0.0, 3.0])), "shared_uplink": draw(st.booleans())}
    if draw(st.booleans()):
        how |= {"unit": "offloads", "max_samples": draw(st.none() | st.integers(1, 12))}
    return offloaded, batch_size, devices, how | draw(servers)


def independent(devices, n, seed):
    return list(np.random.default_rng(seed).random((devices, n)) < RATIO)


@pytest.mark.python_source
@settings(max_examples=150)
@given(times, crowds())
def test_the_compiled_crowd_is_the_simulated_one_to_the_last_digit(durations, case):
    timing = hi.TimingModel(*map(float, durations))
    offloaded, batch_size, devices, how = case
    log, counted = simulate(timing, offloaded, batch_size, devices=devices, **how), crowd(timing, *case[:3], **how)
    assert counted.response_time.tolist() == log.response_time.tolist()
    assert counted.system_times.tolist() == log.system_times.tolist()
    assert counted.samples.tolist() == log.samples.tolist()
    assert counted.system_time == log.system_time
    assert [each.size for each in counted.response_times] == [each.size for each in log.response_times]
    assert log.sizes.sum() == log.samples.sum() == log.arrived.size


@pytest.mark.parametrize(
    ("how", "system_time", "response_time"),
    [
        ({"batch_size": 1}, 13.509400000000003, 2701.8800000000006),
        ({"batch_size": 8}, 7.709400000000025, 5349.560000000017),
        ({"batch_size": 3, "unit": "offloads", "max_samples": 9}, 8.409400000000028, 4357.440000000012),
        ({"batch_size": 2, "window": 3}, 3.637699999999997, 3735.7799999999966),
        ({"batch_size": 1, "window": math.inf, "server_setup": 3.0}, 3.192350000000001, 15786.050000000036),
        (
            {"batch_size": 4, "window": 2, "half_duplex": True, "overhead": 1.5},
            6.429599999999999,
            7397.0499999999965,
        ),
        ({"batch_size": 6, "max_wait": 4.0}, 10.409400000000037, 3510.520000000013),
        (
            {"batch_size": 3, "unit": "offloads", "max_wait": 4.0, "window": 2, "server_setup": 0.7},
            4.196149999999997,
            5436.549999999995,
        ),
    ],
)
def test_one_device_has_the_times_that_it_had_before_there_were_crowds(how, system_time, response_time):
    """Found by the simulation of one device, before it knew of others."""
    log = simulate(TIMING, np.random.default_rng(7).random(200) < RATIO, **how)
    assert (log.system_time, math.fsum(log.response_time)) == (system_time, response_time)


@given(flags, st.integers(1, 6), windows, st.sampled_from([None, 2.0]), st.integers(1, 9))
def test_one_device_meets_nobody(offloaded, batch_size, window, gap, most):
    """However a server deals with several devices, one does not notice, if it waits or there is nothing to merge."""
    arrivals = None if gap is None else np.arange(len(offloaded)) * gap
    how = {"window": window, "server_setup": 3.0, "arrivals": arrivals}
    plain = simulate(TIMING, offloaded, batch_size, **how)
    servers = [{"in_turn": "images"}, {"merge": 1}, {"shared_uplink": True}]
    servers += [{"merge": most}] if window is None else []
    for server in servers:
        log = simulate(TIMING, offloaded, batch_size, **how, **server)
        assert log.answered.tolist() == plain.answered.tolist()
        assert log.system_time == plain.system_time
    if gap is None:
        queue = pipeline(TIMING, offloaded, batch_size, window=window, server_setup=3.0)
        counted = crowd(TIMING, offloaded, batch_size, 1, window=window, server_setup=3.0)
        assert counted.response_time == pytest.approx(queue.response_time, rel=1e-12, abs=1e-9)
        assert counted.system_time == pytest.approx(queue.system_time, rel=1e-12)


@pytest.mark.python_source
@pytest.mark.parametrize(
    ("server", "answers", "tau_tx"),
    [
        # Device 0 is at the server from 8 on with three images, 1 and 2 from 4 on: 4–8, 8–12, 12–24, 24–28, 28–32.
        ({}, [[26, 25, 24], [10, 20], [14, 20]], 1),
        # Devices 1: 4–8, 2: 8–12, 0: 12–16, 1 (there since 14): 16–20, 0: 20–24, 2 (since 18): 24–28, 0: 28–32.
        ({"in_turn": "images"}, [[34, 33, 32], [10, 12], [14, 16]], 1),
        # Devices 1 and 2, 7–17 with setup; 0, 17–31; 1 and 2, both there since 23, 31–41.
        ({"merge": 4, "merge_wait": 3, "server_setup": 2}, [[33, 32, 31], [19, 24], [19, 24]], 1),
        # More than four wait from 8 on, but 0 does not fit: 8–18, then 0, 18–32, then 1 and 2, 32–42.
        ({"merge": 4, "merge_wait": 5, "server_setup": 2}, [[34, 33, 32], [20, 24], [20, 24]], 1),
        # The uplink: 1: 1–4, 2: 4–7, 0: 7–16, 1: 16–19, 2: 19–22. The server: 6–10, 10–14, 18–30, 30–34, 34–38.
        ({"shared_uplink": True}, [[32, 31, 30], [12, 24], [16, 24]], 3),
    ],
)
def test_three_devices_by_hand(server, answers, tau_tx):
    """Device 0 sends three together, the others two one by one; half of the network time is 2 ms."""
    timing = hi.TimingModel(tau_ed=1, tau_es=4, tau_tx=tau_tx, tau_nw=4)
    work = [[1, 1, 1], [1, 1], [1, 1]]
    log = simulate(timing, work, [3, 1, 1], devices=3, **server)
    found = crowd(timing, work, [3, 1, 1], 3, **server)
    for times in (log, found):
        assert [each.tolist() for each in times.response_times] == answers
        assert times.system_times.tolist() == [answers[0][0] / 3, sum(answers[1]) / 2, sum(answers[2]) / 2]
    assert log.offloads.tolist() == [3, 1, 1, 1, 1]


def test_what_the_lanes_of_a_crowd_do():
    log = simulate(SIMPLE, [1, 1], 1, devices=2, record=True)
    served = [(each.start, each.end, each.device, each.sample) for each in log.intervals if each.lane == "server"]
    # Both are there at 4; at the same time the device with the smaller number goes first.
    assert served == [(4, 8, 0, 0), (8, 12, 1, 0), (14, 18, 0, 1), (18, 22, 1, 1)]


def test_a_shared_half_duplex_link_carries_one_thing_at_a_time():
    log = simulate(
        SIMPLE, [[1, 1, 0, 1]] * 3, 1, devices=3, shared_uplink=True, half_duplex=True, window=2, record=True
    )
    link = sorted((each.start, each.end) for each in log.intervals if each.lane in ("uplink", "network"))
    assert len(link) == 3 * 9
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(link))


def test_batches_of_each_device_close_by_time():
    log = simulate(SIMPLE, [[1] * 4, [0] * 6], 4, devices=2, arrivals=[[0, 2, 50, 51], [0, 1, 2, 3, 4, 5]], max_wait=10)
    # The first device's third sample comes late: two are sent at 10, two at 60.
    assert log.sizes.tolist() == [2, 2, 4, 2]
    assert log.answered[:2].tolist() == [10 + 2 + 4 + 8] * 2


def test_devices_begin_at_places_of_their_own_and_go_round():
    offloaded = np.random.default_rng(0).random(31) < RATIO
    network, sending, serving = np.random.default_rng(1).uniform(1, 9, (3, 31))
    arrivals = np.arange(31) * 7.0
    extra = {"network_times": network, "sending_times": sending, "serving_times": serving}
    common = simulate(TIMING, offloaded, 3, devices=3, arrivals=arrivals, **extra)
    begins = [0, 10, 20]
    turned = {name: [np.roll(values, -begin) for begin in begins] for name, values in extra.items()}
    each = [np.roll(offloaded, -begin) for begin in begins]
    apart = simulate(TIMING, each, 3, devices=3, arrivals=[arrivals] * 3, **turned)
    assert common.answered.tolist() == apart.answered.tolist()
    assert common.offloaded.tolist() == np.concatenate(each).tolist()
    assert (common.samples == 31).all()
    # All times count from the very first arrival.
    late = simulate(TIMING, [[1], [1]], 1, devices=2, arrivals=[[100], [90]])
    assert late.arrived.tolist() == [10, 0]


def test_devices_may_have_controllers_of_their_own():
    mixed = simulate(TIMING, [[1, 0, 1, 1]] * 2, [Fixed(2), 3], devices=2)
    assert mixed.sizes.tolist() == [2, 2, 3, 1]


def mean_value_analysis(think, stations, customers):
    """Response time at each station with exponential times, first come, first served, and the throughput: exact."""
    queue = np.zeros(len(stations))
    for number in range(1, customers + 1):
        response = np.array(stations) * (1 + queue)
        throughput = number / (think + response.sum())
        queue = throughput * response
    return response, throughput


@pytest.mark.uncounted
@pytest.mark.parametrize(("devices", "shared"), sample([(4, False), (8, False), (6, True)], [(4, False)]))
def test_exponential_services_are_those_of_mean_value_analysis(devices, shared):
    """A closed network: what a device does alone is a delay, of which only the mean matters there."""
    n, runs = 1500, 10
    sending = TIMING.tau_tx if shared else 0.0
    think = TIMING.tau_ed / RATIO + TIMING.tau_nw + (0 if shared else TIMING.tau_tx)
    stations = [TIMING.tau_es] + [sending] * shared
    response, throughput = mean_value_analysis(think, stations, devices)
    system, waited = np.empty((2, runs))
    for run in range(runs):
        rng = np.random.default_rng([run, devices, shared])
        offloaded = list(rng.random((devices, n)) < RATIO)
        how = {"serving_times": list(rng.exponential(TIMING.tau_es, (devices, n)))}
        if shared:
            how["sending_times"] = list(rng.exponential(sending, (devices, n)))
        log = simulate(TIMING, offloaded, 1, devices=devices, shared_uplink=shared, **how)
        system[run], waited[run] = log.system_time, log.response_time[log.offloaded].mean()
    # At either end fewer than all are at work, for two in a hundred of the time, and meet a tenth less, at most.
    for found, expected in (
        (system, RATIO * devices / throughput),
        (waited, TIMING.tau_ed + think - TIMING.tau_ed / RATIO + response.sum()),
    ):
        error = found.std(ddof=1) / math.sqrt(runs)
        assert abs(found.mean() - expected) < 4 * error + 0.002 * expected
        assert error < 0.02 * expected


def system_time_by_ciw(devices, serving):
    """t_s at M = 1 and its standard error, by nodes of Ciw, in which a kept sample comes back to the device at once."""

    class Offload(ciw.routing.NodeRouting):
        def next_node(self, ind):  # noqa: ARG002
            return self.simulation.nodes[2 if ciw.random.random() < RATIO else 1]

    away, back = TIMING.tau_tx + TIMING.tau_nw / 2, TIMING.tau_nw / 2
    network = ciw.create_network(
        arrival_distributions=[ciw.dists.Sequential([*[0.0] * devices, math.inf]), None, None, None],
        service_distributions=[
            ciw.dists.Deterministic(TIMING.tau_ed),
            ciw.dists.Deterministic(away),
            serving,
            ciw.dists.Deterministic(back),
        ],
        number_of_servers=[math.inf, math.inf, 1, math.inf],
        routing=ciw.routing.NetworkRouting(
            routers=[Offload(), ciw.routing.Direct(to=3), ciw.routing.Direct(to=4), ciw.routing.Direct(to=1)]
        ),
    )
    ciw.seed(3)
    simulation, end = ciw.Simulation(network), 12_000.0
    simulation.simulate_until_max_time(end)
    done = np.array([record.exit_date for record in simulation.get_all_records() if record.node == 1])
    counts = np.histogram(done, bins=np.linspace(0, end, 21))[0]
    found = devices * end / done.size
    return found, found * counts.std(ddof=1) / counts.mean() / math.sqrt(counts.size)


@pytest.mark.uncounted
@pytest.mark.parametrize("devices", [4, 8])
def test_ciw_finds_the_same_crowd(devices):
    theirs, error = system_time_by_ciw(devices, ciw.dists.Deterministic(TIMING.tau_es))
    runs = np.array([crowd(TIMING, independent(devices, 3000, [4, run]), 1, devices).system_time for run in range(10)])
    ours = runs.std(ddof=1) / math.sqrt(10)
    assert abs(theirs - runs.mean()) < 4.5 * math.hypot(error, ours) + 0.002 * theirs
    assert error < 0.02 * theirs


@pytest.mark.parametrize("devices", [4, 8])
def test_ciw_finds_what_mean_value_analysis_does(devices):
    theirs, error = system_time_by_ciw(devices, ciw.dists.Exponential(1 / TIMING.tau_es))
    think = TIMING.tau_ed / RATIO + TIMING.tau_tx + TIMING.tau_nw
    _, throughput = mean_value_analysis(think, [TIMING.tau_es], devices)
    assert abs(theirs - RATIO * devices / throughput) < 4.5 * error + 0.002 * theirs


@given(times, crowds())
def test_no_crowd_beats_its_bounds(durations, case):
    """T24 for each run as it is: nobody is faster than alone, and what is shared does one thing at a time."""
    timing = hi.TimingModel(*map(float, durations))
    offloaded, batch_size, devices, how = case
    assume(devices > 1)
    log = simulate(timing, offloaded, batch_size, devices=devices, **how)
    found = crowd(timing, offloaded, batch_size, devices, **how)
    ends, sent = (
        found.system_times * found.samples,
        np.add.reduceat(log.offloaded, np.cumsum(log.samples) - log.samples, dtype=int),
    )
    assert ends.max() >= sent.sum() * timing.tau_es * (1 - 1e-12)
    if how["shared_uplink"]:
        assert ends.max() >= sent.sum() * timing.tau_tx * (1 - 1e-12)
    if "merge" in how and how["window"] is not None:
        return  # alone, a device would have its own transmissions merged
    parts = np.split(log.offloaded, np.cumsum(log.samples)[:-1])
    sizes = batch_size if isinstance(batch_size, list) else [batch_size] * devices
    plain = {name: value for name, value in how.items() if name not in ("merge", "merge_wait")}
    for part, size, end in zip(parts, sizes, ends, strict=True):
        alone = crowd(timing, part, size, 1, **plain)
        assert end >= alone.system_time * part.size * (1 - 1e-12)


@pytest.mark.parametrize("unit", ["samples", "offloads"])
@pytest.mark.parametrize("shared", [False, True])
def test_the_bound_of_a_crowd_and_where_it_is_reached(unit, shared):
    n = 8000
    for size in (1, 4):
        for devices in (1, 3, 6, 12):
            flags = independent(devices, n, [size, devices]) if devices > 1 else independent(1, n, size)[0]
            found = crowd(TIMING, flags, size, devices, unit=unit, shared_uplink=shared)
            ratio = np.mean(flags)
            bound = TIMING.crowd_bound(size, ratio, devices, unit=unit, shared_uplink=shared)
            saturation = TIMING.saturation(size, ratio, unit=unit, shared_uplink=shared)
            # Whether a batch sends anything is chance, 4/√batches of τ_nw/M at most; so is who is last at the end.
            room = 4 * TIMING.tau_nw / size / math.sqrt(2 * n / size * devices) + 0.02 * bound
            assert found.system_time >= bound - room
            if devices == 1:
                assert found.system_time <= bound + room
            if devices > 1.5 * saturation:
                assert found.system_time <= bound + room
            assert (devices >= saturation) == (bound > TIMING.crowd_bound(size, ratio, 1, unit=unit))


def test_saturation_where_nothing_is_shared():
    assert TIMING.saturation(4, [0, 0.5]).tolist() == [math.inf, TIMING.system_time(4, 0.5, "independent") / 2.205]
    assert hi.TimingModel(1, 0, 3, 9).saturation(1, 0.5) == math.inf
    assert hi.TimingModel(1, 0, 3, 9).saturation(1, 0.5, shared_uplink=True) == 7 / 1.5
    with pytest.raises(ValueError, match="devices must be in"):
        TIMING.crowd_bound(1, 0.5, 0)
    with pytest.raises(ValueError, match="offload_ratio must be in"):
        TIMING.saturation(1, 42)


# What two simulations of others found with Imagenette's times at ρ = 0.421: D, t_s at M = 1, t_s and (for some) t_r at
# M = 16, best M at α = 0.9.
FOUND = [
    (1, 13.83, 6.66, 43, 9),
    (4, 14.07, 7.8, None, 7),
    (6, 14.39, 11.1, None, 4),
    (8, 15.23, 14.84, 98, 1),
    (16, 29.69, 29.68, 197, 1),
]


@pytest.mark.parametrize(("devices", "single", "sixteen", "later", "best"), FOUND)
def test_the_numbers_of_other_simulations(devices, single, sixteen, later, best):
    n, runs = 6000, 6
    sizes = sorted({1, 2, 16, *range(max(1, best - 2), best + 3)})
    system, response = np.empty((2, len(sizes), runs))
    for run in range(runs):
        flags = independent(devices, n, [run, devices])
        for place, size in enumerate(sizes):
            found = crowd(TIMING, flags if devices > 1 else flags[0], size, devices)
            system[place, run], response[place, run] = found.system_time, found.response_time.mean()
    for size, expected in ((1, single), (16, sixteen)):
        values = system[sizes.index(size)]
        # Their error is taken to be no larger than ours; they gave two or three digits.
        error = values.std(ddof=1) / math.sqrt(runs)
        assert abs(values.mean() - expected) < 4 * math.sqrt(2) * error + 0.05
    values = response[sizes.index(16)]
    if later is not None:  # given to a whole ms
        assert abs(values.mean() - later) < 4 * math.sqrt(2) * values.std(ddof=1) / math.sqrt(runs) + 0.5
    # f is so flat near its least value that chance decides among neighbours: theirs is as good as any, within chance.
    f = 0.9 * system + 0.1 * response
    gain = f[sizes.index(best)] - f[f.mean(axis=1).argmin()]
    assert gain.mean() <= 3 * gain.std(ddof=1) / math.sqrt(runs) + 1e-12
    if best == 1:
        assert f[0].mean() < f[1].mean()


def test_one_greedy_device_among_eight():
    """It sends 16 samples' offloads together, and has enough samples to be at work as long as the others."""
    rng, n = np.random.default_rng(5), 8000
    flags = [rng.random(int(2.8 * n)) < RATIO, *(rng.random((7, n)) < RATIO)]
    sizes = [16, *[1] * 7]
    requests, images = (crowd(TIMING, flags, sizes, 8, in_turn=turn) for turn in ("requests", "images"))
    # What other simulations found, in digits enough for one in a hundred; a run's own error is about as large.
    assert requests.system_times[0] == pytest.approx(6.9, rel=0.03)
    assert requests.system_times[1:].mean() == pytest.approx(19.4, rel=0.03)
    # T24 for devices that differ: none of them is at work for longer than the last.
    ratios, ends = np.array([np.mean(each) for each in flags]), requests.system_times * requests.samples
    assert ends.max() < 1.05 * ends.min()
    assert (ratios / requests.system_times).sum() <= ends.max() / ends.min() / TIMING.tau_es
    # Image by image, nobody waits for more than one of each other device, however many these send together.
    longest = TIMING.tau_ed + TIMING.tau_tx + TIMING.tau_nw + 8 * TIMING.tau_es
    assert max(times.max() for times in images.response_times[1:]) <= longest * (1 + 1e-9)
    assert max(times.max() for times in requests.response_times[1:]) > longest
    assert images.system_times[1:].mean() < 0.9 * requests.system_times[1:].mean()


def test_a_server_that_merges_has_one_setup_for_many():
    flags = independent(16, 3000, 6)
    plain, merged = (crowd(TIMING, flags, 1, 16, server_setup=8.0, **more) for more in ({}, {"merge": 16}))
    ratio = np.mean(flags)
    # 16 devices wait for a server that takes 8 + 4.41 ms an image, or at most 8/16 + 4.41.
    assert plain.system_time == pytest.approx(16 * ratio * (8 + TIMING.tau_es), rel=0.01)
    assert 16 * ratio * TIMING.tau_es < merged.system_time < 16 * ratio * (8 / 4 + TIMING.tau_es)
    # Whoever waits for others to merge answers later where nobody comes.
    alone = np.ones(50, bool)
    waits = crowd(TIMING, alone, 1, 1, merge=4, merge_wait=6.0)
    assert waits.response_time == pytest.approx(crowd(TIMING, alone, 1, 1).response_time + 6)


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"devices": 0}, "devices must be an integer >= 1"),
        ({"offloaded": [[1, 0]] * 3}, "offloaded must hold one for each of the 2 devices, got 3"),
        ({"offloaded": [[1, 0], [2]]}, r"offloaded\[1\]\[0\] must be 0 or 1"),
        ({"offloaded": [[1, 0], []]}, "samples must be an integer >= 1"),
        ({"offloaded": []}, "samples must be an integer >= 1"),
        ({"offloaded": 1}, "offloaded must have shape"),
        ({"batch_size": [1, 2, 3]}, "batch_size must hold one for each of the 2 devices, got 3"),
        ({"batch_size": [1, 0]}, r"batch_size\[1\] must be an integer >= 1"),
        ({"batch_size": 0}, "batch_size must be an integer >= 1"),
        ({"in_turn": "image"}, "in_turn must be one of requests, images; got 'image'; did you mean images"),
        ({"merge": 0}, "merge must be an integer >= 1"),
        ({"merge": 4, "in_turn": "images"}, "merge must be left out where the server takes images in turn"),
        ({"merge_wait": 3}, "merge_wait must be left out where nothing is merged, got 3"),
        ({"merge": 4, "merge_wait": math.inf}, "merge_wait must be in"),
        ({"max_samples": 4}, "max_samples must be left out for the unit samples"),
        ({"unit": "offload"}, "did you mean offloads"),
        ({"window": 0}, "window must be an integer >= 1"),
        ({"server_setup": -1}, "server_setup must be in"),
    ],
)
def test_bad_arguments_are_refused_by_both(how, says):
    arguments = {"offloaded": [1, 0], "batch_size": 1, "devices": 2} | how
    for function in (simulate, crowd):
        with pytest.raises(ValueError, match=says):
            function(TIMING, **arguments)


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"offloaded": Learning(None, None), "samples": 4}, "a policy decides for one"),
        ({"batch_size": Fixed(2)}, "batch_size must hold one for each of the 2 devices where it is not an integer"),
        ({"samples": 3}, "samples must be left out"),
        ({"arrivals": [[0, 1]]}, "arrivals must hold one for each of the 2 devices, got 1"),
        ({"network_times": [[0, 1], [1]]}, r"network_times\[1\] must have shape \(2,\)"),
        ({"serving_times": [1, -1]}, r"serving_times\[1\] must be in"),
    ],
)
def test_bad_arguments_are_refused_by_the_simulation(how, says):
    with pytest.raises(ValueError, match=says):
        simulate(TIMING, **({"offloaded": [1, 0], "batch_size": 1, "devices": 2} | how))
