"""A network time that depends on what is sent: held to the clock, event by event, over every pattern of offloads."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hi_lib as hi
from hi_lib import payload
from hi_lib.events.crowd import crowd
from hi_lib.events.queueing import pipeline
from hi_lib.events.simulation import simulate

PLAIN = hi.TimingModel(tau_ed=1.3, tau_es=4.0, tau_tx=5.0, tau_nw=20.0)
CONSTANT = replace(PLAIN, tau_nw=7.0, network_time=lambda _: 20.0)
# Neither rising nor falling throughout: more images may even be sooner there.
UNEVEN = replace(PLAIN, network_time=lambda images: (20.0, 62.0, 35.0, 31.0, 90.0, 12.0)[(images - 1) % 6])
COLD = replace(PLAIN, network_time=hi.tcp(rtt=20, rate=50e6, image_bytes=30_803, idle=2000))


def patterns(size, ratio):
    """Every way to offload a batch, and its probability if offloads are independent."""
    for flags in itertools.product([False, True], repeat=size):
        sent = sum(flags)
        yield np.array(flags), ratio**sent * (1 - ratio) ** (size - sent)


@pytest.mark.parametrize("size", [1, 2, 5])
@pytest.mark.parametrize("timing", [UNEVEN, COLD])
def test_batches_are_those_of_the_clock(size, timing):
    ratio, system, response, met = 0.3, 0.0, 0.0, []
    for flags, chance in patterns(size, ratio):
        log = simulate(timing, flags, size)
        system += chance * log.system_time
        response += chance * log.response_time.mean()
        met += [(float(time), chance / size) for time in log.response_time]
    assert timing.system_time(size, ratio, "independent") == pytest.approx(system, rel=1e-12)
    assert timing.response_time(size, ratio, "average") == pytest.approx(response, rel=1e-12)
    law = timing.response_law(size, ratio)
    assert law.mean() == pytest.approx(response, rel=1e-12)
    for until in {time for time, _ in met}:
        expected = sum(chance for time, chance in met if time <= until + 1e-9)
        assert law.cdf(until) == pytest.approx(expected, abs=1e-12)
    assert law.quantile(1) == pytest.approx(max(time for time, _ in met))


def test_offloads_that_come_first_wait_longest():
    expected = 0.0
    for flags, chance in patterns(4, 0.3):
        expected += chance * simulate(UNEVEN, np.sort(flags)[::-1], 4).response_time.mean()
    assert UNEVEN.response_time(4, 0.3, "worst") == pytest.approx(expected, rel=1e-12)


@pytest.mark.uncounted
@pytest.mark.parametrize("offloads", [1, 2, 4, 5])
def test_counted_offloads_are_those_of_the_clock(offloads):
    flags = np.random.default_rng(0).random(60_000) < 0.4
    flags = flags[: np.flatnonzero(flags)[flags.sum() // offloads * offloads - 1] + 1]  # whole cycles
    log = simulate(UNEVEN, flags, offloads, unit="offloads")
    ratio, cycles = float(flags.mean()), flags.sum() // offloads
    assert UNEVEN.system_time(offloads, ratio, unit="offloads") == pytest.approx(log.system_time, rel=1e-9)  # sums
    # Of the waits in a cycle of N samples, (N − i + 1) τ_ed, the mean is a draw.
    error = log.response_time[: flags.size // 60 * 60].reshape(60, -1).mean(axis=1).std() / math.sqrt(59)
    found = UNEVEN.response_time(offloads, ratio, unit="offloads")
    assert found == pytest.approx(log.response_time.mean(), abs=4 * error)
    law = UNEVEN.response_law(offloads, ratio, unit="offloads")
    assert law.mean() == pytest.approx(found)
    assert law.cdf(80.0) == pytest.approx((log.response_time <= 80).mean(), abs=4 * 0.5 / math.sqrt(cycles))


@pytest.mark.parametrize("unit", ["samples", "offloads"])
def test_times_of_a_run_are_those_of_the_clock(unit):
    whole = hi.load_trace("cifar10-resnet8").shuffled(3)
    trace = hi.Trace(whole.confidence[:24], whole.correct[:24])
    run = hi.replay(trace, beta=0.4, batch_size=4, unit=unit, seed=1)
    times = UNEVEN.of_run(run)
    if unit == "offloads":
        log = simulate(UNEVEN, run.offloaded, 4, unit="offloads")
        assert times.system_time == pytest.approx(log.system_time, rel=1e-12)
        assert times.response_time == pytest.approx(log.response_time.mean(), rel=1e-12)
        assert times.cdf(60.0) == pytest.approx((log.response_time <= 60).mean(), abs=1e-12)
        return
    # A batch is decided by one uniform number alone, and nothing changes between two probabilities of its samples.
    edges = np.unique(np.append(run.offload_probability, [0.0, 1.0]))
    system, response, within, above = 0.0, 0.0, 0.0, []
    for low, high in itertools.pairwise(edges):
        flags = run.offload_probability > (low + high) / 2
        log = simulate(UNEVEN, flags, 4)
        system += (high - low) * log.system_time
        response += (high - low) * log.response_time.mean()
        within += (high - low) * float((log.response_time <= 60).mean())
        above.append(log.response_time.max())
    assert times.system_time == pytest.approx(system, rel=1e-12)
    assert times.response_time == pytest.approx(response, rel=1e-12)
    assert times.cdf(60.0) == pytest.approx(within, abs=1e-12)
    assert times.quantile(1) == pytest.approx(max(above))


@given(
    flags=st.lists(st.booleans(), min_size=1, max_size=30),
    size=st.integers(1, 7),
    window=st.sampled_from([None, 1, 3, math.inf]),
)
def test_the_compiled_clock_is_the_other_one(flags, size, window):
    log, found = simulate(UNEVEN, flags, size, window=window), pipeline(UNEVEN, flags, size, window=window)
    np.testing.assert_allclose(found.response_time, log.response_time, rtol=1e-12)
    assert found.system_time == pytest.approx(log.system_time, rel=1e-12)


def test_a_constant_one_changes_nothing():
    run = hi.replay(hi.load_trace("cifar10-resnet8").shuffled(0), beta=0.3, batch_size=7)
    whole = CONSTANT.of_run(run), PLAIN.of_run(run)
    for name in ("system_time", "response_time", "offloaded_response_time", "offloads", "transmissions", "served"):
        assert getattr(whole[0], name) == pytest.approx(getattr(whole[1], name), rel=1e-12)
    for level in (0.3, 0.9, 0.99, 1):
        assert whole[0].quantile(level) == pytest.approx(whole[1].quantile(level))
    sizes = np.arange(1, 40)
    for unit, models in (("samples", ("worst", "average")), ("offloads", ("paper",))):
        for model in models:
            found, expected = (one.objective(sizes, 0.3, 0.8, model, unit) for one in (CONSTANT, PLAIN))
            np.testing.assert_allclose(found, expected, rtol=1e-12)
            for alpha in (0.3, 0.9, 0.999):
                best = [one.optimal_batch_size(0.3, alpha, model, unit=unit) for one in (CONSTANT, PLAIN)]
                assert best[0].integer == best[1].integer
                assert best[0].objective == pytest.approx(best[1].objective, rel=1e-12)
        for alpha in (None, 0.9):
            late = [one.optimal_batch_size(0.3, alpha, deadline=120, unit=unit) for one in (CONSTANT, PLAIN)]
            assert late[0].integer == late[1].integer
            assert late[0].objective == pytest.approx(late[1].objective, rel=1e-12)


@pytest.mark.parametrize("timing", [UNEVEN, COLD])
@pytest.mark.parametrize("unit", ["samples", "offloads"])
@pytest.mark.parametrize("alpha", [0.2, 0.7, 0.9, 0.99])
def test_the_best_size_is_the_best_of_all(timing, unit, alpha):
    best = timing.optimal_batch_size(0.4, alpha, unit=unit)
    model = "average" if unit == "samples" else "paper"
    every = timing.objective(np.arange(1, 400), 0.4, alpha, model, unit)
    assert (best.integer, best.objective) == (every.argmin() + 1, pytest.approx(every.min(), rel=1e-12))
    assert best.relaxed == best.integer


@pytest.mark.parametrize("unit", ["samples", "offloads"])
def test_a_deadline_is_kept_by_every_size_up_to_the_largest(unit):
    kept = [UNEVEN.response_law(size, 0.4, unit=unit).exceedance(110) <= 0.1 for size in range(1, 30)]
    largest = kept.index(False)
    assert any(kept[largest:]) == (unit == "offloads")  # where a search by halving would miss that
    assert UNEVEN.largest_batch_size(0.4, 110, 0.1, unit=unit) == largest
    fastest = UNEVEN.optimal_batch_size(0.4, deadline=110, miss_probability=0.1, unit=unit)
    sizes = np.arange(1, largest + 1)
    model = "independent" if unit == "samples" else "paper"
    assert fastest.integer == 1 + UNEVEN.system_time(sizes, 0.4, model, unit).argmin()
    weighed = UNEVEN.optimal_batch_size(0.4, 0.6, deadline=110, miss_probability=0.1, unit=unit)
    model = "average" if unit == "samples" else "paper"
    assert weighed.integer == 1 + UNEVEN.objective(sizes, 0.4, 0.6, model, unit).argmin()


def test_where_nothing_is_sent():
    assert COLD.optimal_batch_size(0.0, 0.5, unit="offloads") == (1, 1, COLD.tau_ed)
    assert COLD.optimal_batch_size(0.0, 0.5).integer == 1


@pytest.mark.uncounted
def test_where_little_is_sent():
    assert COLD.largest_batch_size(0.01, 100, 0.05) == math.inf
    rare = COLD.optimal_batch_size(0.01, deadline=100, unit="offloads")
    assert rare.integer == math.inf
    assert rare.objective == pytest.approx(COLD.system_time(payload.MANY, 0.01, unit="offloads"))
    assert COLD.optimal_batch_size(0.01, 0.9, deadline=100, unit="offloads").integer > 1
    assert COLD.misestimation_cost("tau_ed", 3.0, 0.4, 0.9, "average") >= 0


def test_of_large_batches_only_likely_counts_are_kept():
    law = replace(PLAIN, network_time=lambda images: 10.0 + images).response_law(500, 0.1)
    assert law.chance.sum() == pytest.approx(1)
    images = 1 + 499 * 0.1  # with one that is offloaded, in the mean
    assert law.chance @ law.after == pytest.approx(10 + images * (1 + PLAIN.tau_tx + PLAIN.tau_es))


def test_tcp_counts_what_the_images_themselves_do_not():
    warm, cold = (hi.tcp(rtt=20, rate=50e6, image_bytes=30_803, idle=idle) for idle in (0, 2000))
    packets = math.ceil(30_803 / 1448)
    assert warm(1) == pytest.approx(20 + 52 * packets * 8000 / 50e6)
    # Ten segments; a round trip after the second of them has left its acknowledgement is back, and the rest follows.
    assert cold(1) - warm(1) == pytest.approx(20 - 8 * 1500 * 8000 / 50e6)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: COLD.system_time(2, 0.4), "model must be one of independent with a network_time"),
        (lambda: COLD.response_time(2, 0.4), "model must be one of worst, average with a network_time"),
        (lambda: COLD.objective(2, 0.4, 0.5, "paper"), "the paper's formulas know one τ_nw"),
        (lambda: COLD.optimal_batch_size(0.4, 0.5, "paper"), "the paper's formulas know one τ_nw"),
        (lambda: COLD.system_time(2.5, 0.4, unit="offloads"), "batch_size must be whole"),
        (lambda: COLD.optimal_batch_size([0.4, 0.5], 0.5, unit="offloads"), "must be single numbers"),
        (lambda: COLD.response_law(2, 0.4, network_times=[20.0]), "network_times must be left out"),
        (lambda: replace(PLAIN, network_time=3.0), "network_time must be a function of a number of images, got 3.0"),
        (lambda: replace(PLAIN, network_time=lambda _: -1).system_time(1, 0.4, "independent"), "network_time returns"),
        (lambda: hi.TimingModel(0, 0, 0, 1, lambda _: 2).optimal_batch_size(0.4, 0.5), "must be > 0"),
        (lambda: COLD.of_run(hi.replay(hi.load_trace("cifar10-resnet8"), 0.4, 2, "hil-n")), "learner that explores"),
        (lambda: crowd(COLD, [1, 0], 1, devices=2), "network_time must be left out for a crowd"),
        (lambda: hi.tcp(rtt=20, rate=0, image_bytes=1), "rate must be in"),
    ],
)
def test_what_is_refused(call, says):
    with pytest.raises(ValueError, match=says):
        call()
