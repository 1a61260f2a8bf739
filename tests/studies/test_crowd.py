"""Who should batch where many share a server, and with which size: against all sizes, and at the extremes."""

import numpy as np
import pytest

import hi_lib as hi
from hi_lib.events.simulation import simulate
from hi_lib.run_times import drawn
from hi_lib.studies.best_batch import BestBatch
from hi_lib.studies.crowd import Batchers, frontier, who_batches

TIMING, RATIO = hi.IMAGENETTE.timing, 0.421


def short(n):
    trace = hi.load_trace("imagenette-mobilenet_v1_0.25_128").shuffled(1)
    return hi.Trace(trace.confidence[:n], trace.correct[:n])


@pytest.mark.parametrize(("unit", "learner"), [("samples", "hil-f"), ("samples", "hil-n"), ("offloads", "hil-f")])
def test_the_best_batch_in_a_crowd_is_that_of_all_that_are_simulated(unit, learner):
    trace, found = short(300), {}
    best = hi.best_batch_size(
        trace, TIMING, 0.5, 0.8, devices=3, unit=unit, learner=learner, learning_rate=0.1, seeds=[4, 5]
    )
    for size in range(1, 7):
        times = []
        for seed in (4, 5):
            run = hi.replay(trace.shuffled(seed), 0.5, size, learner, learning_rate=0.1, seed=seed, unit=unit)
            offloaded = drawn(run, np.random.default_rng([seed, 1]))
            log = simulate(TIMING, offloaded, size, devices=3, unit=unit)
            times.append((log.system_time, log.response_time.mean()))
        found[size] = np.array([0.8, 0.2]) @ np.mean(times, axis=0)
    # The first pass tries all of these sizes.
    assert best.objective <= min(found.values()) + 1e-9
    if best.batch_size in found:
        assert best.objective == pytest.approx(found[best.batch_size], rel=1e-12)


def test_beyond_saturation_a_device_had_better_not_batch():
    trace = short(1500)
    sizes = {
        devices: hi.best_batch_size(trace, TIMING, 0.5, 0.9, devices=devices, learner="always").batch_size
        for devices in (1, 2, 8)
    }
    # All offloaded: t_s / τ_es = 7.0 devices keep the server busy at M = 1.
    assert TIMING.saturation(1, 1.0) == pytest.approx(30.82 / 4.41)
    assert sizes[1] >= sizes[2] > sizes[8] == 1


def test_several_devices_have_one_network_time():
    with pytest.raises(ValueError, match="network_times must be left out where there are several devices"):
        hi.best_batch_size(short(20), TIMING, 0.5, 0.5, devices=2, network_times=[1, 2])
    with pytest.raises(ValueError, match="devices must be an integer >= 1"):
        hi.best_batch_size(short(20), TIMING, 0.5, 0.5, devices=0)


@pytest.mark.parametrize("exploration", [0.3, 1.0])
def test_what_a_learner_draws_that_explores(exploration):
    """As many offloads and transmissions as its run expects, within four standard errors of many draws."""
    run = hi.replay(short(400), 0.5, 8, "hil-n", exploration=exploration, seed=2)
    flags = np.array([drawn(run, np.random.default_rng(seed)) for seed in range(400)])
    sent = flags.reshape(400, -1, 8).any(axis=2).sum(axis=1)
    for counts, expected in ((flags.sum(axis=1), 400 * run.offload_ratio), (sent, run.transmissions)):
        assert abs(counts.mean() - expected) <= 4 * counts.std(ddof=1) / 20 + 1e-9


def test_what_asks_for_less_is_best_of_equals():
    def batch(f):
        return BestBatch(1, f, f, f)

    assert Batchers(batch(2.01), batch(2.0), batch(2.0), batch(2.0)).best == "neither"
    assert Batchers(batch(2.1), batch(2.01), batch(2.01), batch(2.0)).best == "server"
    assert Batchers(batch(2.1), batch(2.1), batch(2.01), batch(2.0)).best == "device"
    assert Batchers(batch(2.1), batch(2.1), batch(2.1), batch(2.0)).best == "both"


def test_one_device_gains_nothing_from_a_server_that_merges():
    found = who_batches(TIMING, RATIO, 0.9, 1, 4.0, samples=2000, seed=1)
    assert found.server == found.neither
    assert found.both == found.device
    assert found.best == "device"
    # Setup and network time are all one to it: the exact optimum for 24 ms, or a neighbour as good.
    slower = hi.TimingModel(TIMING.tau_ed, TIMING.tau_es, TIMING.tau_tx, TIMING.tau_nw + 4)
    exact = slower.optimal_batch_size(RATIO, 0.9, model="average")
    assert found.device.objective == pytest.approx(exact.objective, rel=0.03)
    assert found.device.batch_size == pytest.approx(exact.integer, abs=3)


def test_a_large_crowd_leaves_batches_to_the_server():
    found = who_batches(TIMING, RATIO, 0.5, 32, 4.0, samples=500, seed=1)
    assert found.best == "server"
    # Its setup is spread over up to 32 images, where otherwise each pays 4 ms.
    busy = 32 * RATIO * TIMING.tau_es
    assert busy * 0.95 < found.server.system_time < 32 * RATIO * (TIMING.tau_es + 4 / 8)
    assert found.neither.system_time == pytest.approx(32 * RATIO * (TIMING.tau_es + 4), rel=0.03)
    assert found.server.objective <= found.device.objective


def test_the_frontier_goes_through_all_points():
    points = frontier(TIMING, RATIO, 0.9, [5, 50], [0.0, 16.0], [1, 4], samples=300, unit="offloads", seed=3)
    assert [point[:3] for point in points] == [(nw, a, d) for nw in (5, 50) for a in (0.0, 16.0) for d in (1, 4)]
    last = hi.TimingModel(TIMING.tau_ed, TIMING.tau_es, TIMING.tau_tx, 50)
    assert points[-1].batchers == who_batches(last, RATIO, 0.9, 4, 16.0, samples=300, unit="offloads", seed=3)
    assert points[-1].best == points[-1].batchers.best


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"alpha": 1}, "alpha must be in"),
        ({"offload_ratio": 42}, "a percentage"),
        ({"devices": 0}, "devices must be an integer >= 1"),
        ({"samples": 0}, "samples must be an integer >= 1"),
        ({"server_setup": -1}, "server_setup must be in"),
        ({"merge": 0}, "merge must be an integer >= 1"),
        ({"seed": -1}, "seed must be an integer >= 0"),
    ],
)
def test_bad_arguments_are_refused(how, says):
    arguments = {"offload_ratio": 0.4, "alpha": 0.5, "devices": 2, "server_setup": 1.0, "samples": 20} | how
    with pytest.raises(ValueError, match=says):
        who_batches(TIMING, **arguments)
