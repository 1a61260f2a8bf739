import copy
import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hi_lib as hi
from hi_book.figures import adaptive_batch_size as page
from hi_book.figures.adaptive_batch_size import account, follow
from hi_lib.device.adaptive import AdaptiveBatchSize, AdditiveIncrease
from hi_lib.events.queueing import lognormal_times
from hi_lib.events.simulation import Learning, simulate
from hi_lib.regret import fixed_sizes
from hi_lib.studies.variants import varying_regret_bound

TIMING, RATIO = hi.IMAGENETTE.timing, 0.421


WORLD = page.Environment(TIMING, RATIO, 0.5, 0.9, 10_000, 1, 0.5, calm=20, slow=200, slow_share=0.3)


def random_run(n, seed, mean=20.0):
    rng = np.random.default_rng(seed)
    return rng.random(n) < RATIO, lognormal_times(np.full(n, mean), 0.5, seed)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), st.integers(0, 99))
def test_the_account_is_what_the_simulation_finds(sizes, seed):
    class Listed:
        def __init__(self):
            self.left = list(sizes)

        def next_size(self):
            return self.left.pop(0)

        def observe(self, size, offloads, network_time):
            pass

    offloaded, network = random_run(sum(sizes), seed)
    log, counted = (
        simulate(TIMING, offloaded, Listed(), network_times=network),
        account(TIMING, sizes, offloaded, network),
    )
    np.testing.assert_allclose(counted.response, log.response_time, rtol=1e-11)
    assert counted.system_time == pytest.approx(log.system_time, rel=1e-12)
    assert counted.sizes.tolist() == log.sizes.tolist() == sizes


@pytest.mark.parametrize("goal", [{"alpha": 0.9}, {"deadline": 150}])
def test_the_controller_does_the_same_in_the_simulation(goal):
    offloaded, network = random_run(3000, 1)
    sizes = follow(AdaptiveBatchSize(TIMING, RATIO, **goal), offloaded, network)
    log = simulate(TIMING, offloaded, AdaptiveBatchSize(TIMING, RATIO, **goal), network_times=network)
    assert sizes.tolist() == log.sizes.tolist()


@pytest.mark.parametrize(("mean", "alpha"), [(20.0, 0.9), (150.0, 0.9), (60.0, 0.5)])
def test_on_a_steady_network_the_controller_finds_the_best_size(mean, alpha):
    n = 6000
    offloaded = np.random.default_rng(1).random(n) < RATIO
    wrong_guess = hi.TimingModel(TIMING.tau_ed, TIMING.tau_es, TIMING.tau_tx, 1.0)
    sizes = follow(AdaptiveBatchSize(wrong_guess, 0.9, alpha, memory=500), offloaded, np.full(n, mean))
    known = hi.TimingModel(TIMING.tau_ed, TIMING.tau_es, TIMING.tau_tx, mean)
    best = known.optimal_batch_size(RATIO, alpha, "average").objective
    # Memory of 500 samples: the estimate of ρ has a standard error of 0.016. Half the run is past the first guesses.
    late = sizes[np.cumsum(sizes) > n / 2]
    worst = max(float(known.objective(int(size), RATIO, alpha, "average")) for size in late[:-1])
    low, high = (known.optimal_batch_size(RATIO + d, alpha, "average").integer for d in (-0.064, 0.064))
    assert worst <= max(float(known.objective(size, RATIO, alpha, "average")) for size in (low, high)) + 1e-9
    assert worst >= best - 1e-9


def test_the_controller_follows_a_change():
    n = 8000
    offloaded = np.random.default_rng(2).random(n) < RATIO
    network = np.where(np.arange(n) < n // 2, 20.0, 150.0)
    sizes = follow(AdaptiveBatchSize(TIMING, RATIO, 0.9), offloaded, network)
    when = np.cumsum(sizes)
    before, after = sizes[when < n // 2], sizes[when > 3 * n // 4][:-1]
    assert before.mean() == pytest.approx(9, abs=1)
    slow = hi.TimingModel(TIMING.tau_ed, TIMING.tau_es, TIMING.tau_tx, 150.0)
    assert after.mean() == pytest.approx(slow.optimal_batch_size(RATIO, 0.9, "average").integer, rel=0.1)


def test_late_answers_stay_near_the_target():
    n, target = 30_000, 0.05
    offloaded, network = random_run(n, 5)
    controller = AdaptiveBatchSize(TIMING, RATIO, deadline=110, miss_probability=target, transmissions=100)
    counted = account(TIMING, follow(controller, offloaded, network), offloaded, network)
    largest = TIMING.largest_batch_size(RATIO, 110, target, network_times=network[:2000])
    assert counted.late(110).mean() == pytest.approx(target, rel=0.25)
    assert counted.sizes.mean() > 0.5 * largest > 1


def test_where_no_batch_is_in_time_the_controller_sends_at_once():
    sizes = follow(AdaptiveBatchSize(TIMING, RATIO, deadline=5), *random_run(200, 0))
    assert (sizes == 1).all()


@given(st.integers(0, 999), st.integers(10, 400))
def test_a_size_does_not_depend_on_its_own_batch(seed, change):
    """Two runs that agree until a batch begins choose the same size for it."""
    offloaded, network = random_run(500, seed)
    other, slower = offloaded.copy(), network.copy()
    other[change:], slower[change:] = ~other[change:], 10 * slower[change:]
    sizes, again = (
        follow(AdaptiveBatchSize(TIMING, RATIO, 0.9, replan=1), *run) for run in ((offloaded, network), (other, slower))
    )
    begun = int((np.cumsum(sizes) - sizes <= change).sum())
    assert sizes[:begun].tolist() == again[:begun].tolist()


def test_the_best_fixed_size_in_hindsight():
    offloaded, network = random_run(2000, 3)
    costs = [account(TIMING, fixed_sizes(2000, m), offloaded, network).objective(0.9).mean() for m in range(1, 30)]
    assert page.best_fixed(TIMING, range(1, 30), offloaded, network, 0.9).objective(0.9).mean() == min(costs)


def test_who_knows_the_network_beats_who_has_to_learn_it():
    costs = {name: [] for name in ("informed", "adaptive", "best fixed", "vanilla", "average network")}
    for seed in range(10):
        found = page.compare(WORLD, page.bursts(10_000, page.Bursts(20, 200, 2000, 0.3), seed), seed)
        for name in costs:
            costs[name].append(found[name].objective(0.9).mean())
    assert np.greater_equal(costs.pop("average network"), costs["best fixed"]).all()
    for better, worse in itertools.pairwise(costs):
        gain = np.subtract(costs[worse], costs[better])
        assert gain.mean() > 2 * gain.std(ddof=1) / np.sqrt(gain.size), (better, worse)


def test_ways_to_keep_a_deadline():
    found = page.compare_in_time(WORLD, np.full(6000, 30.0), 1, 150, 0.05)
    late = {name: account.late(150).mean() for name, account in found.items()}
    assert late["vanilla"] < late["best fixed"] <= 0.05 < late["average network"]
    # 6000 samples, and answers of one batch are late together: about 600 batches, a standard error of 0.009.
    assert late["adaptive"] == pytest.approx(0.05, abs=0.027)
    assert found["adaptive"].system_time < 0.5 * found["vanilla"].system_time
    larger = account(TIMING, fixed_sizes(6000, int(found["best fixed"].sizes[0]) + 1), *in_time_run(6000, 1))
    assert larger.late(150).mean() > 0.05


def in_time_run(n, seed):
    """The samples and network times that `compare_in_time` draws for a mean of 30 ms."""
    draws = np.random.default_rng([seed, 2])
    return draws.random(n) < RATIO, lognormal_times(np.full(n, 30.0), 0.5, int(draws.integers(2**31)))


def test_bursts_have_the_share_and_length_asked_for():
    times = page.bursts(400_000, page.Bursts(20, 200, 500, 0.25), seed=1)
    slow = times == 200
    assert slow.mean() == pytest.approx(0.25, abs=0.03)  # about 200 bursts: standard error below 0.02
    runs = int((np.diff(slow.astype(int)) == 1).sum()) + int(slow[0])
    assert slow.sum() / runs == pytest.approx(500, rel=0.3)


def test_sizes_chosen_from_inside_the_batch_break_the_bound():
    bound = varying_regret_bound([2] * 500, 0.5)
    peeking = [page.peeking_regret(1000, seed, peek=True) for seed in range(3)]
    assert np.mean(peeking) > 2 * bound
    assert np.mean(peeking) == pytest.approx(1000 / 16, rel=0.15)  # the stationary rate, for weights that stay even
    assert page.peeking_regret(1000, 0, peek=False) <= bound


def test_an_adaptive_device_learns_within_the_bound():
    trace = hi.load_trace("imagenette-mobilenet_v1_0.25_128").shuffled(0)
    trace = hi.Trace(trace.confidence[:1500], trace.correct[:1500])
    controller = AdaptiveBatchSize(TIMING, 0.5, 0.9)
    log = simulate(TIMING, Learning(hi.HILF(0.7, 0.05, seed=1), trace), controller, samples=1500)
    cost = np.where(log.offloaded, 0.7, ~trace.correct).sum()
    bound = varying_regret_bound(log.sizes, hi.lambda_min(trace), 0.05)
    floor = hi.best_threshold(trace, 0.7).average_cost * 1500
    # Realised regret exceeds its mean by more than this with probability e^-8 (Azuma over batches).
    assert cost - floor <= bound + np.sqrt(np.square(log.sizes).sum() * 8 / 2)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: AdaptiveBatchSize(TIMING, 0.5), "exactly one of alpha and deadline"),
        (lambda: AdaptiveBatchSize(TIMING, 0.5, 0.5, deadline=9), "exactly one of alpha and deadline"),
        (lambda: AdaptiveBatchSize(TIMING, 42.1, 0.5), "a percentage"),
        (lambda: AdaptiveBatchSize(TIMING, 0.5, 1), r"alpha must be in \(0, 1\)"),
        (lambda: AdaptiveBatchSize(TIMING, 0.5, 0.5, memory=0), "memory must be an integer >= 1"),
        (lambda: AdaptiveBatchSize(TIMING, 0.5, 0.5, largest=2.5), "largest must be an integer >= 1"),
        (lambda: account(TIMING, [2], [1, 0, 1], [1, 1, 1]), "sizes must be >= 1 and add up to 3"),
        (lambda: account(TIMING, [2, 0, 1], [1, 0, 1], [1, 1, 1]), "sizes must be >= 1 and add up to 3"),
        (lambda: account(TIMING, [3], [1, 0, 1], [1, 1]), r"network_times must have shape \(3,\)"),
        (lambda: page.bursts(9, page.Bursts(1, 2, 0.5, 0.5)), "length must be in"),
        (lambda: page.bursts(9, page.Bursts(1, 2, 5, 1)), r"share must be in \(0, 1\)"),
    ],
)
def test_bad_arguments_are_refused(call, says):
    with pytest.raises(ValueError, match=says):
        call()


@pytest.mark.parametrize(
    ("size", "offloads", "network_time"),
    [
        (10, 4, math.nan),
        (10, 4, math.inf),
        (10, 4, -5),
        (10, 11, 5),
        (0, 0, None),
        (-1, 0, None),
        (10, -1, None),
        (2.5, 1, 5),
    ],
)
def test_what_cannot_have_happened_changes_nothing(size, offloads, network_time):
    controller = AdaptiveBatchSize(TIMING, offload_ratio=0.4, alpha=0.9)
    controller.observe(10, 4, 30.0)
    before = copy.deepcopy(vars(controller))
    with pytest.raises(ValueError, match=r"size|offloads|network_time"):
        controller.observe(size, offloads, network_time)
    assert vars(controller) == before


def test_additive_increase_by_hand():
    controller = AdditiveIncrease(TIMING, deadline=100.0, increase=2.0, decrease=0.5, largest=6)
    sizes = []
    for network_time in (10.0, None, 10.0, 500.0, 10.0, 500.0):
        sizes.append(controller.next_size())
        controller.observe(sizes[-1], 1, network_time)
    # 1, 3, 5, then 7 cut to 6; half of it after a late answer, two more, and half again.
    assert sizes == [1, 3, 5, 6, 3, 5]
    assert controller.next_size() == 2


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"deadline": -1}, "deadline must be in"),
        ({"deadline": 1, "increase": 0}, "increase must be in"),
        ({"deadline": 1, "decrease": 1}, r"decrease must be in \(0, 1\)"),
        ({"deadline": 1, "largest": 0}, "largest must be an integer"),
    ],
)
def test_a_rule_that_cannot_be_is_refused(options, says):
    with pytest.raises(ValueError, match=says):
        AdditiveIncrease(TIMING, **options)
