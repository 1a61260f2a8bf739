"""How to send: every way's times by the clock, by hand, and with what was measured of the network."""

import math

import numpy as np
import pytest

import hi_lib as hi
from hi_lib.advise import ways as sending
from hi_lib.advise.ways import Conditions, Way
from hi_lib.events import queueing
from hi_lib.events.simulation import simulate

TIMING = hi.IMAGENETTE.timing
SIMPLE = hi.TimingModel(1, 4, 5, 20)
FLAGS = np.random.default_rng(0).random(2000) < 0.4


def row_of(rows, size, window=None):
    (found,) = (row for row in rows if (row.way.size, row.way.window) == (size, window))
    return found


def test_a_way_is_what_the_simulation_says():
    for conditions in (Conditions(window=3), Conditions(unit="samples"), Conditions(arrivals=np.arange(2000) * 9.0)):
        for row in sending.ways(FLAGS, TIMING, conditions, 0.8)[::7]:
            way = row.way
            how = {"unit": way.unit, "window": way.window, "max_wait": way.longest_wait}
            log = simulate(TIMING, FLAGS, way.size, arrivals=conditions.arrivals, **how)
            assert row.response_time == pytest.approx(log.response_time.mean(), rel=1e-9)
            busy = simulate(TIMING, FLAGS, way.size, **how)
            assert row.system_time == pytest.approx(busy.system_time, rel=1e-9)
            assert row.objective == pytest.approx(0.8 * row.system_time + 0.2 * row.response_time)
            assert row.p95 == pytest.approx(np.sort(log.response_time)[math.ceil(0.95 * 2000) - 1])


def test_they_are_those_of_the_formulas_for_independent_offloads():
    flags = np.random.default_rng(1).random(200_000) < 0.4
    for row in sending.ways(flags, TIMING, Conditions(max_wait=1e9), 0.8)[:6]:
        # The offload ratio of a draw is known to a third of a percent, and all terms but τ_ed are proportional to it.
        expected = TIMING.system_time(row.way.size, flags.mean(), unit="offloads")
        assert row.system_time == pytest.approx(expected, rel=1e-4)
        expected = TIMING.response_time(row.way.size, flags.mean(), unit="offloads")
        assert row.response_time == pytest.approx(expected, rel=0.01)


def test_the_longest_wait_is_what_few_exceed():
    for row in sending.ways(FLAGS, TIMING, Conditions(), 0.8)[1:8]:
        free = queueing.pipeline(TIMING, FLAGS, row.way.size, unit="offloads").waited
        most = np.sort(free)[math.ceil(0.99 * free.size) - 1]
        assert most <= row.way.longest_wait <= 1.1 * most
        assert float(f"{row.way.longest_wait:.1e}") == pytest.approx(row.way.longest_wait)  # two digits


def test_a_deadline_shortens_the_wait():
    rows = sending.ways(FLAGS, TIMING, Conditions(deadline=60.0), None)
    two = row_of(rows, 2)
    left = 60 - 1.48 - 20 - 2 * (4.93 + 4.41)
    usual = row_of(sending.ways(FLAGS, TIMING, Conditions(), 0.5), 2).way.longest_wait
    assert two.way.longest_wait == pytest.approx(min(usual, left))
    assert two.objective == two.system_time
    late = simulate(TIMING, FLAGS, 3, unit="offloads", max_wait=row_of(rows, 3).way.longest_wait).response_time > 60
    assert row_of(rows, 3).late == pytest.approx(late.mean())


def test_a_deadline_that_leaves_no_time_to_wait_shortens_nothing():
    whole = hi.TimingModel(1, 2, 3, 10)
    used_up = Conditions(deadline=float(1 + 10 + 2 * (2 + 3)))
    two = row_of(sending.ways(FLAGS, whole, used_up, 0.5), 2)
    assert two.way.longest_wait == row_of(sending.ways(FLAGS, whole, Conditions(), 0.5), 2).way.longest_wait > 0


def test_an_answer_at_the_deadline_is_in_time():
    whole = hi.TimingModel(1, 2, 3, 10)
    for deadline, late in ((16.0, 0.0), (np.nextafter(15.9, 16), FLAGS.mean())):
        assert row_of(sending.ways(FLAGS, whole, Conditions(deadline=deadline), 0.5), 1).late == pytest.approx(late)


def test_a_device_that_is_just_through_keeps_up():
    (row, *_) = sending.ways(FLAGS, TIMING, Conditions(), 0.5)
    for spacing, kept in ((row.system_time, True), (np.nextafter(row.system_time, 0), False)):
        assert sending.keeps_up(row, Conditions(arrivals=np.array([0.0, spacing]))) == kept


def test_the_best_keeps_up_and_is_in_time():
    slow = Conditions(arrivals=np.arange(2000) * 11.0)  # each at once takes 14 ms a sample
    rows = sending.ways(FLAGS, TIMING, slow, 0.01)
    found = sending.best(rows, slow)
    assert not sending.keeps_up(rows[0], slow)
    assert found.system_time <= 11
    assert found.objective == min(row.objective for row in rows if row.system_time <= 11)
    never = Conditions(arrivals=np.arange(2000) * 1.0)
    assert sending.best(sending.ways(FLAGS, TIMING, never, 0.5), never) is None
    strict = Conditions(deadline=10.0, miss=0.01)
    assert sending.best(sending.ways(FLAGS, TIMING, strict, None), strict) is None


def test_measured_round_trips_by_both_clocks():
    trips = np.array([5.0, 20, 65])
    waits = row_of(sending.ways(FLAGS, TIMING, Conditions(trips), 0.5), 1)
    drawn = np.random.default_rng(0).choice(trips, 2000)
    log = simulate(TIMING, FLAGS, 1, unit="offloads", network_times=drawn)
    assert waits.response_time == pytest.approx(log.response_time.mean())
    out = row_of(sending.ways(FLAGS, TIMING, Conditions(trips, window=2), 0.5), 2, 2)
    log = simulate(TIMING, FLAGS, 2, unit="offloads", network_times=drawn, window=2, max_wait=out.way.longest_wait)
    assert out.response_time == pytest.approx(log.response_time.mean())
    assert out.transmissions == pytest.approx((log.offloads > 0).mean() * log.offloads.size / 2000)


def test_a_connection_that_is_idle_takes_longer():
    """A picture a second, all sent: between an answer and the next picture lie 970 ms, of which the clock knows."""
    timing = hi.TimingModel(1.48, 4.41, 30_803 * 8000 / 50e6, 20.0)
    flags, arrivals = np.ones(60, bool), np.arange(60) * 1000.0
    warm, cold, auto, unknown = (
        sending.ways(flags, timing, Conditions(arrivals=arrivals, rate=rate, connection=how), 0.5)[0]
        for rate, how in ((50e6, "warm"), (50e6, "cold"), (50e6, "auto"), (None, "auto"))
    )
    assert auto.idle == pytest.approx(1000 * 60 / 60 - 20 - 4.41 - timing.tau_tx, rel=0.05)
    tcp = hi.tcp(rtt=20, rate=50e6, image_bytes=30_803, idle=auto.idle)
    assert auto.response_time == pytest.approx(1.48 + 4.41 + timing.tau_tx + tcp(1))
    assert (auto.cold, cold.cold, warm.cold, unknown.cold) == (True, True, False, False)
    assert cold.idle == 2000
    assert warm.response_time == unknown.response_time == pytest.approx(1.48 + 4.41 + timing.tau_tx + 20)
    busy = sending.ways(flags, timing, Conditions(rate=50e6), 0.5)[0]
    assert not busy.cold


def test_a_crowd_is_what_the_simulation_of_all_says():
    flags = FLAGS[:400]
    for row in sending.ways(flags, TIMING, Conditions(devices=8, window=2), 0.9)[::9]:
        way = row.way
        log = simulate(TIMING, flags, way.size, unit=way.unit, window=way.window, devices=8)
        assert row.system_time == pytest.approx(log.system_time, rel=1e-9)
        assert row.response_time == pytest.approx(log.response_time.mean(), rel=1e-9)
    # Nine samples of ten wait at the server of eight: T24, and alone one would send after more of them.
    together, alone = (
        sending.best(sending.ways(FLAGS, TIMING, around, 0.9), around)
        for around in (Conditions(devices=8), Conditions())
    )
    assert together.system_time >= 8 * FLAGS.mean() * TIMING.tau_es
    assert together.way.size < alone.way.size


def test_ways_in_words():
    assert str(Way(1)) == "send each offload at once, and wait for the answer"
    assert (
        str(Way(3, longest_wait=12.5)) == "send after 3 offloads, or 12.5 ms after the first, and wait for the answer"
    )
    assert str(Way(8, "samples")) == "send after 8 samples, and wait for the answer"
    assert str(Way(1, window=4)) == "send each offload at once, without waiting: up to 4 may be out"
    assert str(Way(2, window=math.inf)).endswith("without waiting: any number may be out")
    assert [way.short for way in (Way(1), Way(2, window=4), Way(2, "samples", math.inf))] == [
        "each at once",
        "after 2 offloads, 4 out",
        "after 2 samples, any number out",
    ]


def test_sizes_that_vary_take_their_own_times():
    times = sending.sending_times(np.array([1000.0, 3000.0]), 8e6, 2)
    assert times.tolist() == [1, 3]
    assert set(sending.sending_times(np.array([1000.0, 3000.0]), 8e6, 50)) == {1, 3}
    log = simulate(SIMPLE, [1, 1], 2, sending_times=times)
    assert log.answered.tolist() == [2 + 4 + 10 + 8 + 10] * 2
    row = row_of(sending.ways(np.ones(2, bool), SIMPLE, Conditions(sending_times=times), 0.5), 2)
    assert row.response_time == pytest.approx(log.response_time.mean())
    assert sending.with_means(SIMPLE, Conditions(np.array([10.0, 20]), sending_times=times)).taus == {
        "tau_ed": 1,
        "tau_es": 4,
        "tau_tx": 2,
        "tau_nw": 15,
    }


def test_a_transmission_does_not_wait_for_an_hour():
    """Two samples, an hour, and one more: max_wait sends the two, else the first is answered with the third."""
    flags, arrivals = np.ones(3, bool), np.array([0.0, 2.0, 3.6e6])
    late = sending._clock(flags, TIMING, Conditions(arrivals=arrivals), Way(3)).response_time
    soon = row_of(sending.ways(flags, TIMING, Conditions(arrivals=arrivals, max_wait=100), 0.5), 3)
    assert late[0] > 3.6e6
    assert soon.response_time < 200


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"deadline": 0}, r"deadline must be in \(0, inf\)"),
        ({"miss": 1}, r"miss must be in \[0, 1\)"),
        ({"max_wait": -1}, r"max_wait must be in \[0, inf\)"),
        ({"window": 1.5}, "window must be an integer >= 1"),
        ({"price": -1}, r"price must be in \[0, inf\)"),
        ({"unit": "pictures"}, "unit must be one of"),
        ({"rate": 0}, r"rate must be in \(0, inf\)"),
        ({"connection": "hot"}, "connection must be one of"),
        ({"devices": 0}, "devices must be an integer >= 1"),
        ({"devices": 2, "arrivals": np.arange(3.0)}, "devices must be 1 where arrivals"),
        ({"connection": "cold"}, "connection must be auto or warm where no rate is given"),
    ],
)
def test_conditions_that_cannot_be(wrong, says):
    with pytest.raises(ValueError, match=says):
        Conditions(**wrong)
