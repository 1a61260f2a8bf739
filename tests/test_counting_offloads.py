"""Replays that send after m offloads, adaptive rates, prices of a transmission: by definition, below their bounds."""

import itertools
import math
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import costs, traces
from hypothesis import given
from hypothesis import strategies as st

import hi_lib as hi
from hi_lib import batch_hi, cycles
from hi_lib.events.simulation import FreshLearning, LateLearning, simulate
from hi_lib.forecaster import Forecaster

TIMING = hi.IMAGENETTE.timing
numbers, caps, seeds = st.integers(1, 6), st.none() | st.integers(1, 12), st.integers(0, 99)


def by_definition(trace, beta, offloads, most, eta, seed):
    """The plain way: weights of the cycle's beginning, a draw for each sample, all learned at the cycle's end."""
    uniform = np.random.default_rng(seed).random(len(trace))
    forecaster, offload, start = Forecaster(trace.confidence), np.empty(len(trace)), 0
    pending, sizes = 0, []
    for t in range(len(trace)):
        offload[t] = forecaster.offload_probability(trace.confidence[t : t + 1], eta)[0]
        pending += uniform[t] < offload[t]
        if pending == offloads or t + 1 - start == most or t + 1 == len(trace):
            batch = slice(start, t + 1)
            forecaster.update(trace.confidence[batch], beta - ~trace.correct[batch])
            sizes.append(t + 1 - start)
            start, pending = t + 1, 0
    return offload, uniform < offload, tuple(sizes)


@pytest.mark.python_source
@given(traces(), costs, numbers, caps, st.floats(0.01, 3), seeds)
def test_a_replay_that_counts_offloads_by_definition_and_its_bound(trace, beta, offloads, most, eta, seed):
    run = hi.replay(trace, beta, offloads, learning_rate=eta, seed=seed, unit="offloads", max_samples=most)
    offload, offloaded, sizes = by_definition(trace, beta, offloads, most, eta, seed)
    assert run.offload_probability == pytest.approx(offload, abs=1e-11)
    assert (run.offloaded == offloaded).all()
    assert run.batch_size == sizes
    # T21 on every path, written out once more.
    log_cells = -math.log(hi.lambda_min(trace))
    bound = log_cells / eta + eta / 8 * sum(size**2 for size in sizes) if log_cells else 0
    assert run.regret_bound == pytest.approx(bound)
    assert run.regret <= bound + 1e-9
    floor = hi.best_threshold(trace, beta).average_cost * len(trace)
    assert run.regret == pytest.approx((beta * offload + (1 - offload) * ~trace.correct).sum() - floor, abs=1e-9)


@given(traces(), costs, numbers, caps, seeds)
def test_the_times_of_a_draw_are_those_of_the_simulation(trace, beta, offloads, most, seed):
    run = hi.replay(trace, beta, offloads, learning_rate=0.5, seed=seed, unit="offloads", max_samples=most)
    log = simulate(TIMING, run.offloaded, offloads, unit="offloads", max_samples=most)
    found = TIMING.of_run(run)
    assert tuple(log.sizes.tolist()) == run.batch_size
    assert found.system_time == pytest.approx(log.system_time, rel=1e-9)
    assert found.response_time == pytest.approx(log.response_time.mean(), rel=1e-9)
    assert found.transmissions == run.transmissions == (log.offloads > 0).sum()
    times = np.sort(log.response_time)
    for level in (0.2, 0.5, 0.95, 1.0):
        assert found.quantile(level) == pytest.approx(times[math.ceil(level * times.size - 1e-9) - 1], rel=1e-9)
    assert found.cdf(times[-1] * (1 + 1e-9)) == 1
    if log.offloaded.any():
        waited = log.response_time[log.offloaded]
        assert found.offloaded_response_time == pytest.approx(waited.mean(), rel=1e-9)
        assert found.quantile(1, offloaded_only=True) == pytest.approx(waited.max(), rel=1e-9)


@given(traces(), st.sampled_from(["fixed", "always", "never"]), numbers, caps)
def test_rules_count_offloads_too(trace, rule, offloads, most):
    more = {"threshold": 0.5} if rule == "fixed" else {}
    run = hi.replay(trace, 0.4, offloads, rule, unit="offloads", max_samples=most, **more)
    plain = hi.replay(trace, 0.4, 1, rule, **more)
    assert (run.offloaded == (plain.offload_probability > 0)).all()
    assert run.regret == pytest.approx(plain.regret, abs=1e-9)
    assert run.batch_size == tuple(cycles.lengths(run.offloaded, offloads, most).tolist())


def test_other_learners_and_useless_arguments_are_refused():
    trace = hi.synthetic_trace(50, seed=0)
    for learner in ("hil-n", "apple", "naive", "quantised", "hi-lcb"):
        with pytest.raises(ValueError, match=f"unit must be samples for learner '{learner}'"):
            hi.replay(trace, 0.5, 2, learner, unit="offloads")
        with pytest.raises(ValueError, match=f"price must be 0 for learner '{learner}'"):
            hi.replay(trace, 0.5, 2, learner, price=0.5)
    for wrong, says in [
        ({"unit": "offload"}, "did you mean offloads"),
        ({"max_samples": 5}, "max_samples must be left out for the unit samples"),
        ({"unit": "offloads", "max_samples": 0}, "max_samples must be an integer >= 1"),
        ({"unit": "offloads", "delay": 2}, "delay must be 0 for the unit offloads"),
        ({"price": -1}, "price must be in"),
        ({"learning_rate": "adaptive", "delay": 2}, "delay must be 0 with the adaptive rate"),
    ]:
        with pytest.raises(ValueError, match=says):
            hi.replay(trace, 0.5, 2, **wrong)
    with pytest.raises(ValueError, match="max_samples must be left out for the unit samples, got 5"):
        simulate(TIMING, np.ones(50, bool), 2, max_samples=5)
    with pytest.raises(ValueError, match="use FreshLearning"):
        simulate(TIMING, LateLearning(hi.HILF(0.5, 0.1), trace), 2, samples=50, unit="offloads")


def test_the_tuned_rate_is_that_of_batches_as_long_as_cycles_are():
    trace = hi.load_trace("cifar10-resnet8").shuffled(0)
    ratio = hi.best_threshold(trace, 0.5).offload_ratio
    for most, size in ((None, (3 + 1 - ratio) / ratio), (7, 7)):
        run = hi.replay(trace, 0.5, 3, unit="offloads", max_samples=most, seed=0)
        assert run.learning_rate == hi.tuned_learning_rate(len(trace), size, hi.lambda_min(trace))
    vanilla = hi.replay(trace, 0.5, 3, unit="offloads", learning_rate="vanilla", seed=0)
    assert vanilla.learning_rate == hi.tuned_learning_rate(len(trace), 1, hi.lambda_min(trace))


@pytest.mark.parametrize("beta", [0.2, 0.5, 0.8])
def test_coins_in_blocks_stay_below_the_bound_of_their_cycles(beta):
    for seed in range(20):
        trace = hi.halving_coins(4, 30, 5, beta, seed)
        run = hi.replay(trace, beta, 2, unit="offloads", max_samples=10, seed=seed)
        assert run.regret <= run.regret_bound


def test_without_a_cap_an_adversary_keeps_the_learner_from_hearing():
    """A cycle that nothing ends is never heard of: all samples at p = 1 are accepted, and all of them are wrong."""
    trace = hi.Trace([1 - 2**-53] * 2000, [0] * 2000)
    free = hi.replay(trace, 0.5, 1, unit="offloads", learning_rate=1.0, seed=0)
    capped = hi.replay(trace, 0.5, 1, unit="offloads", learning_rate=1.0, seed=0, max_samples=10)
    assert free.regret == pytest.approx(1000, abs=1)  # (1 − β) n: as bad as can be
    assert capped.regret < capped.regret_bound < 450
    assert free.batch_size == (2000,)


def hedge(trace, beta, batch_size):
    """AdaHedge as its authors state it, with exact weights: mean costs, and Δ."""
    cells = Forecaster(trace.confidence)
    log_cells, gap, past = -math.log(hi.lambda_min(trace)), 0.0, np.zeros(cells.edges.size - 1)
    lengths, cost = np.diff(cells.edges), 0.0
    middle = (cells.edges[:-1] + cells.edges[1:]) / 2
    for start in range(0, len(trace), batch_size):
        batch = slice(start, start + batch_size)
        above = middle[:, None] > trace.confidence[batch]
        loss = np.where(above, beta, ~trace.correct[batch]).sum(axis=1)
        if gap == 0:
            best = np.isclose(past, past.min(), atol=1e-9)
            weights = lengths * best
            mixed = loss[best].min()
        else:
            eta = log_cells / gap
            exponent = np.log(lengths) - eta * (past - past.min())
            weights = np.exp(exponent - exponent.max())
            after = exponent - eta * loss
            mixed = -(np.log(np.exp(after - after.max()).sum()) + after.max()) / eta
            mixed += (np.log(weights.sum()) + exponent.max()) / eta
        mean = weights @ loss / weights.sum()
        cost, gap, past = cost + mean, gap + max(mean - mixed, 0.0), past + loss
    return cost, gap


@pytest.mark.python_source
@given(traces(), costs, st.integers(1, 12))
def test_adaptive_rates_stay_below_twice_their_gap(trace, beta, batch_size):
    """T22 on every path, hostile ones among them: equal confidences, 0 and 1, cells of a few ulps."""
    run = hi.replay(trace, beta, batch_size, learning_rate="adaptive")
    assert run.regret <= run.regret_bound + 1e-9
    # And never more than (2√(L V) + S(4L/3 + 2)) allows, with V <= Σ S²/4.
    log_cells, sizes = -math.log(hi.lambda_min(trace)), np.array([min(batch_size, len(trace))])
    most = min(batch_size, len(trace))
    batches = math.ceil(len(trace) / batch_size)
    worst = 2 * math.sqrt(2 * log_cells * batches * sizes.max() ** 2 / 4) + 2 * most * (4 * log_cells / 3 + 2)
    assert run.regret_bound <= worst + 1e-5


@given(traces(), costs, numbers, caps, seeds)
def test_adaptive_rates_in_cycles_stay_below_twice_their_gap(trace, beta, offloads, most, seed):
    run = hi.replay(trace, beta, offloads, learning_rate="adaptive", unit="offloads", max_samples=most, seed=seed)
    assert run.regret <= run.regret_bound + 1e-9


@pytest.mark.parametrize("name", ["imagenette-mobilenet_v1_0.25_128", "cifar10-resnet8"])
@pytest.mark.parametrize("batch_size", [1, 16, 64])
def test_steps_of_two_lose_little_against_adahedge_itself(name, batch_size):
    """η in [L/Δ, 2L/Δ] instead of L/Δ: Δ grows by a factor of about √2 at most; here, on real traces, by less."""
    trace = hi.load_trace(name).shuffled(1)
    trace = hi.Trace(trace.confidence[:1500], trace.correct[:1500])
    run = hi.replay(trace, 0.5, batch_size, learning_rate="adaptive")
    cost, gap = hedge(trace, 0.5, batch_size)
    regret = cost - hi.best_threshold(trace, 0.5).average_cost * len(trace)
    assert regret <= 2 * gap
    assert run.regret_bound <= 2 * math.sqrt(2) * gap * 1.05
    assert run.regret <= math.sqrt(2) * regret * 1.3 + 2


def test_adaptive_bounds_hardly_move_with_the_batch():
    trace = hi.load_trace("cifar10-alexnet").shuffled(0)
    runs = [hi.replay(trace, 0.5, size, learning_rate="adaptive") for size in (1, 64)]
    assert runs[1].regret_bound < 1.3 * runs[0].regret_bound < 0.5 * hi.replay(trace, 0.5, 1).regret_bound


def inside_cells(trace):
    """A threshold in each cell of positive length."""
    edges = Forecaster(trace.confidence).edges
    return [max((a + b) / 2, np.nextafter(a, 1)) for a, b in itertools.pairwise(edges)]


def cost_of(trace, beta, batch_size, price, threshold):
    """What a fixed threshold costs where a transmission has a price, batch by batch."""
    offload = trace.confidence < threshold
    sent = sum(offload[start : start + batch_size].any() for start in range(0, len(trace), batch_size))
    return beta * offload.sum() + (~trace.correct[~offload]).sum() + price * sent


@pytest.mark.uncounted
@given(traces(), costs, st.integers(1, 9), st.sampled_from([0.0, 0.2, 1.0, 30.0]))
def test_a_price_of_a_transmission_is_learned_directly(trace, beta, batch_size, price):
    """T23: costs by their definition, the best threshold by brute force, and the bound, for one rate and adaptive."""
    least = min(cost_of(trace, beta, batch_size, price, threshold) for threshold in inside_cells(trace))
    best = hi.best_threshold(trace, beta, batch_size=batch_size, price=price)
    assert best.average_cost * len(trace) == pytest.approx(least)
    assert cost_of(trace, beta, batch_size, price, best.threshold) == pytest.approx(least)
    for rate in (0.3, "tuned", "adaptive"):
        run = hi.replay(trace, beta, batch_size, learning_rate=rate, price=price)
        assert run.regret <= run.regret_bound + 1e-9
        q = run.offload_probability
        starts = range(0, len(trace), batch_size)
        by_hand = beta * q.sum() + ((1 - q) * ~trace.correct).sum()
        by_hand += price * sum(q[start : start + batch_size].max() for start in starts)
        assert run.cost.sum() == pytest.approx(by_hand)
        assert run.cost.sum() - run.regret == pytest.approx(least)


@pytest.mark.uncounted
@given(traces(), costs, numbers, st.floats(0, 2), seeds)
def test_where_offloads_are_counted_they_share_the_price(trace, beta, offloads, price, seed):
    run = hi.replay(trace, beta, offloads, price=price, unit="offloads", learning_rate=0.4, seed=seed, max_samples=9)
    each = beta + price / offloads
    q = run.offload_probability
    assert run.cost.sum() == pytest.approx(each * q.sum() + ((1 - q) * ~trace.correct).sum())
    assert run.regret <= run.regret_bound + 1e-9
    best = hi.best_threshold(trace, beta, batch_size=offloads, price=price, unit="offloads")
    least = min(cost_of(trace, each, 1, 0, threshold) for threshold in inside_cells(trace))
    assert best.average_cost * len(trace) == pytest.approx(least)


def test_the_best_number_of_offloads_of_a_trace_is_that_of_all_that_are_tried():
    trace = hi.load_trace("cifar10-resnet8").shuffled(2)
    trace = hi.Trace(trace.confidence[:800], trace.correct[:800])
    timing = hi.CIFAR10.timing
    best = hi.best_batch_size(trace, timing, 0.5, 0.7, unit="offloads", seeds=range(3), learning_rate="adaptive")
    for offloads in range(1, 8):
        runs = [
            hi.replay(trace.shuffled(seed), 0.5, offloads, learning_rate="adaptive", seed=seed, unit="offloads")
            for seed in range(3)
        ]
        found = [timing.of_run(run) for run in runs]
        f = np.mean([0.7 * each.system_time + 0.3 * each.response_time for each in found])
        assert best.objective <= f + 1e-12
        if offloads == best.batch_size:
            assert best.objective == pytest.approx(f)


@pytest.mark.parametrize("rate", [0.2, "adaptive"])
def test_a_learner_in_the_simulation_draws_a_threshold_for_each_sample(rate):
    """With the same seed, FreshLearning decides as the device that counts offloads does, and hears of cycles."""
    trace = hi.synthetic_trace(400, seed=2)
    learner = hi.HILF(0.5, rate, seed=5)
    log = simulate(TIMING, FreshLearning(learner, trace), 3, samples=400, unit="offloads", max_samples=50)
    batches = hi.OffloadBatches(hi.HILF(0.5, rate, seed=5), offloads=3, max_samples=50)
    decided, sizes = [], []
    for sample, confidence in enumerate(trace.confidence):
        decision = batches.decide(confidence)
        decided.append(decision.offload)
        cycle = decision.cycle or (batches.flush() if sample == 399 else None)
        if cycle:
            batches.hear(cycle, trace.correct[cycle.first : cycle.first + cycle.offload.size])
            sizes.append(cycle.offload.size)
    assert log.offloaded.tolist() == decided
    assert log.sizes.tolist() == sizes
    # The waiting device knows all but its own cycle: T14's exposure is Σ N_k².
    assert learner._exposure == sum(size**2 for size in sizes)


@pytest.mark.uncounted
def test_many_lives_have_the_probabilities_of_the_replay():
    trace = hi.synthetic_trace(120, seed=1)
    found, expected = [], []
    for seed in range(300):
        learner = hi.HILF(0.5, 0.3, seed=seed, levels=64)
        log = simulate(TIMING, FreshLearning(learner, trace), 2, samples=120, unit="offloads")
        found.append(log.offloaded.mean())
        expected.append(hi.replay(trace, 0.5, 2, learning_rate=0.3, unit="offloads", seed=seed).offload_ratio)
    error = math.hypot(np.std(found, ddof=1), np.std(expected, ddof=1)) / math.sqrt(300)
    # Levels of 1/64 move a probability by 1/64 at most.
    assert np.mean(found) == pytest.approx(np.mean(expected), abs=4.5 * error + 1 / 64)


@given(st.lists(st.booleans(), min_size=1, max_size=40), numbers, st.sampled_from([0.0, 3.0, 30.0]), seeds)
def test_a_longest_wait_counts_from_the_first_pending_offload(flags, offloads, max_wait, seed):
    """By hand, for a device in a wide window, so that nothing but arrivals and its own work delays it."""
    arrivals = np.cumsum(np.random.default_rng(seed).exponential(5, len(flags)))
    log = simulate(TIMING, flags, offloads, unit="offloads", arrivals=arrivals, max_wait=max_wait, window=math.inf)
    now, pending, since, sizes, age = 0.0, 0, math.inf, [], 0
    for sample, offloaded in enumerate(flags):
        there = max(now, arrivals[sample] - arrivals[0])
        if age and there >= since + max_wait:
            sizes.append(age)
            pending, since, age = 0, math.inf, 0
        now = there + TIMING.tau_ed
        pending, age = pending + offloaded, age + 1
        since = now if offloaded and pending == 1 else since
        if pending == offloads:
            sizes.append(age)
            pending, since, age = 0, math.inf, 0
    assert log.sizes.tolist() == [*sizes, *([age] if age else [])]


def test_the_tuned_rate_knows_how_long_a_cycle_of_offloads_is():
    trace = hi.load_trace("cifar10-resnet8").shuffled(0)
    ratio = hi.best_threshold(trace, 0.3).offload_ratio
    for most, expected in ((None, (3 + 1 - ratio) / ratio), (5, 5.0)):
        run = hi.replay(trace, 0.3, 3, unit="offloads", max_samples=most)
        assert run.learning_rate == pytest.approx(
            hi.tuned_learning_rate(len(trace), expected, hi.lambda_min(trace)), rel=1e-9
        )


def test_a_price_widens_the_range_of_a_cycle():
    task = SimpleNamespace(price=2.0, beta=0.5, unit=SimpleNamespace(offloads=4))
    assert batch_hi.ranges_of(task, np.array([3, 5])).tolist() == [3, 5]  # ½ + 2/4 is no more than an error
    task.price = 8.0
    assert batch_hi.ranges_of(task, np.array([3, 5])).tolist() == [7.5, 12.5]
