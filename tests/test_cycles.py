"""Times of a device that sends after m offloads: closed forms against a Markov chain, brute force and simulation."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog

import hi_lib as hi
from hi_lib import cycles

TIMING = hi.IMAGENETTE.timing
SERVICE = TIMING.tau_es + TIMING.tau_tx
times = st.floats(0, 50)
models = st.builds(hi.TimingModel, times, times, times, times)
ratios = st.floats(0.01, 1)


def chain(rule, ratio):
    """E[X], E[X²], E[N] and E[Σ pending before each sample] of a cycle, exactly, for a rule that ends every cycle.

    `rule[pending][age]` is the probability to send after a sample that leaves so many pending in a cycle so old; it is
    1 in the last row and in the last column.
    """
    state, sums = {(0, 0): 1.0}, np.zeros(4)
    while state:
        after = {}
        for (pending, age), mass in state.items():
            sums[2:] += mass * np.array([1, pending])
            for offloaded, chance in ((1, ratio), (0, 1 - ratio)):
                now = pending + offloaded, age + 1
                sends = rule[now[0]][now[1]]
                sums[:2] += mass * chance * sends * np.array([now[0], now[0] ** 2])
                if sends < 1:
                    after[now] = after.get(now, 0.0) + mass * chance * (1 - sends)
        state = after
    return sums


def by_moments(timing, ratio, first, second):
    """T19: both times from E[X] and E[X²]."""
    service, kappa = timing.tau_es + timing.tau_tx, second / first
    system = timing.tau_ed + ratio * service + ratio * timing.tau_nw / first
    waited = timing.tau_ed * (kappa - 1) / 2
    return system, timing.tau_ed + ratio * timing.tau_nw + ratio * service * kappa + waited


def by_chain(timing, ratio, rule):
    """Both times as the cycle's work divided by its samples; an offload waits for each further sample of its cycle."""
    service = timing.tau_es + timing.tau_tx
    first, second, samples, waited = chain(rule, ratio)
    sends = 1 - nothing_sent(rule, ratio)
    system = timing.tau_ed + (first * service + sends * timing.tau_nw) / samples
    response = timing.tau_ed + (waited * timing.tau_ed + first * timing.tau_nw + second * service) / samples
    return system, response


def nothing_sent(rule, ratio):
    """Probability that a cycle ends without offloads."""
    total, alive = 0.0, 1.0
    for age in range(1, len(rule[0])):
        alive *= 1 - ratio
        total, alive = total + alive * rule[0][age], alive * (1 - rule[0][age])
    return total


MOST, OLDEST = 4, 7


@st.composite
def rules(draw):
    """Any table of probabilities to send at (pending, age); with nothing pending a cycle may end, too."""
    table = [[draw(st.sampled_from([0.0, 0.0, 0.3, 1.0])) for _ in range(OLDEST)] + [1.0] for _ in range(MOST)]
    return [*table, [1.0] * (OLDEST + 1)]


@given(rules(), ratios, models)
def test_only_two_moments_matter(rule, ratio, timing):
    """T19, for rules drawn at random: cycles that send nothing are joined to the next, which divides both moments."""
    first, second, samples, _ = chain(rule, ratio)
    assert first == pytest.approx(ratio * samples)  # Wald
    sends = 1 - nothing_sent(rule, ratio)
    moments = first / sends, second / sends
    assert by_chain(timing, ratio, rule) == pytest.approx(by_moments(timing, ratio, *moments), rel=1e-9)


@given(st.integers(1, 9), ratios, models)
def test_batches_of_samples_are_one_such_rule(size, ratio, timing):
    """E[X] = ρM/(1 − (1 − ρ)^M), κ = 1 + (M − 1)ρ give the independent formulas back."""
    sends = -math.expm1(size * math.log1p(-ratio)) if ratio < 1 else 1.0
    first = ratio * size / sends
    system, response = by_moments(timing, ratio, first, first * (1 + (size - 1) * ratio))
    assert timing.system_time(size, ratio, "independent") == pytest.approx(system)
    assert timing.response_time(size, ratio, "average") == pytest.approx(response)


@given(st.integers(1, 12), ratios, models)
def test_the_closed_forms_are_those_of_a_constant_number(offloads, ratio, timing):
    system, response = by_moments(timing, ratio, offloads, offloads**2)
    assert timing.system_time(offloads, ratio, unit="offloads") == pytest.approx(system)
    assert timing.response_time(offloads, ratio, unit="offloads") == pytest.approx(response)
    law = timing.response_law(offloads, ratio, unit="offloads")
    assert law.mean() == pytest.approx(response, rel=1e-9, abs=1e-9)
    for alpha in (0.1, 0.9):
        f = timing.objective(offloads, ratio, alpha, unit="offloads")
        assert f == pytest.approx(alpha * system + (1 - alpha) * response)


def test_without_offloads_nothing_waits():
    assert TIMING.system_time(5, 0, unit="offloads") == TIMING.response_time(5, 0, unit="offloads") == TIMING.tau_ed
    best = TIMING.optimal_batch_size(0, alpha=0.5, unit="offloads")
    assert (best.integer, best.objective) == (1, TIMING.tau_ed)
    assert TIMING.response_law(3, 0, unit="offloads").quantile(1) == TIMING.tau_ed
    assert TIMING.response_law(3, 0.5, unit="offloads").quantile(1) == np.inf, "others may keep one waiting for ever"
    whole = 3 * TIMING.tau_ed + TIMING.tau_nw + 3 * SERVICE
    assert TIMING.response_law(3, 1, unit="offloads").quantile(1) == pytest.approx(whole), "the first of three"
    with pytest.raises(ValueError, match="there are none"):
        TIMING.response_law(3, 0, unit="offloads", offloaded_only=True)


@given(models, st.floats(0, 1), st.floats(0.01, 0.99))
def test_the_best_number_is_that_of_all_numbers(timing, ratio, alpha):
    best = timing.optimal_batch_size(ratio, alpha=alpha, unit="offloads")
    most = 200
    every = timing.objective(np.arange(1, most + 1), ratio, alpha, unit="offloads")
    if best.integer < most:
        assert best.objective <= every.min() * (1 + 1e-12)
        assert best.objective == pytest.approx(every[best.integer - 1])
    array = timing.optimal_batch_size([ratio, ratio], alpha=[alpha, alpha], unit="offloads")
    assert array.integer.tolist() == [best.integer] * 2


def test_the_best_number_hardly_depends_on_the_offload_ratio():
    """From ρ = .014 to .794 at α = .9, where M* goes from 4 to 45 on Imagenette, from 8 to 192 on CIFAR-10."""
    found = {}
    for name, setting in (("Imagenette", hi.IMAGENETTE), ("CIFAR-10", hi.CIFAR10)):
        ratio = np.array([0.014, 0.794])
        for unit in ("samples", "offloads"):
            found[name, unit] = setting.timing.optimal_batch_size(ratio, alpha=0.9, unit=unit).integer.tolist()
    assert found["Imagenette", "offloads"] == [2, 4]
    assert found["CIFAR-10", "offloads"] == [3, 6]
    assert min(found["CIFAR-10", "samples"]) < 10 < 100 < max(found["CIFAR-10", "samples"])
    bound = np.sqrt(9 * TIMING.tau_nw / SERVICE)
    assert (TIMING.optimal_batch_size(np.linspace(0.01, 1, 50), alpha=0.9, unit="offloads").relaxed <= bound).all()


def brute_force(timing, offloads, ratio, network, n, seed):
    """Response times of offloaded samples, counted one by one."""
    rng = np.random.default_rng(seed)
    pending, found = [], []
    for sample in range(n):
        if rng.random() < ratio:
            pending.append(sample)
        if len(pending) == offloads:
            late = rng.choice(network) + offloads * (timing.tau_es + timing.tau_tx)
            found += [(sample - first + 1) * timing.tau_ed + late for first in pending]
            pending = []
    return np.array(found)


@pytest.mark.parametrize(("offloads", "ratio"), [(1, 0.4), (3, 0.421), (5, 0.9)])
def test_the_law_of_the_response_time(offloads, ratio):
    network = [5.0, 20.0, 90.0]
    cycles_drawn = 4000
    found = brute_force(TIMING, offloads, ratio, network, int(cycles_drawn * offloads / ratio), seed=3)
    # One offload of each cycle: independent. Then P(√n sup |F_n − F| > 2) <= 2 exp(−8).
    rng = np.random.default_rng(0)
    whole = found[: found.size // offloads * offloads].reshape(-1, offloads)
    one = np.sort(whole[np.arange(len(whole)), rng.integers(offloads, size=len(whole))].round(6))
    law = TIMING.response_law(offloads, ratio, unit="offloads", offloaded_only=True, network_times=network)
    at = np.unique(one)
    empirical = np.searchsorted(one, at, side="right") / one.size
    assert np.sqrt(one.size) * np.abs(empirical - law.cdf(at + 1e-6)).max() < 2
    for level in (0.1, 0.5, 0.95):
        time = law.quantile(level)
        assert law.cdf(time + 1e-9) >= level - 1e-9
        assert law.cdf(time - 1e-6) < level


@given(st.integers(1, 6), st.floats(0.05, 1), st.floats(0, 5), st.floats(0.01, 0.99))
def test_quantiles_are_the_smallest_times_that_reach_their_level(offloads, ratio, tau_ed, level):
    law = hi.TimingModel(tau_ed, 4, 5, 20).response_law(offloads, ratio, unit="offloads")
    time = law.quantile(level)
    assert law.cdf(time * (1 + 1e-9)) >= level - 1e-9
    assert time == tau_ed or law.cdf(time * (1 - 1e-6)) <= level + 1e-9


@pytest.mark.parametrize(("deadline", "miss"), [(60, 0.05), (100, 0.01), (45, 0.1)])
def test_the_largest_number_that_keeps_a_deadline(deadline, miss):
    best = TIMING.optimal_batch_size(0.421, deadline=deadline, miss_probability=miss, unit="offloads")
    kept = [
        offloads
        for offloads in range(1, 60)
        if TIMING.response_law(offloads, 0.421, unit="offloads").exceedance(deadline) <= miss
    ]
    assert best.integer == max(kept)
    assert kept == list(range(1, len(kept) + 1))
    assert best.objective == pytest.approx(TIMING.system_time(best.integer, 0.421, unit="offloads"))
    with_alpha = TIMING.optimal_batch_size(0.421, alpha=0.5, deadline=deadline, miss_probability=miss, unit="offloads")
    assert with_alpha.integer == min(best.integer, TIMING.optimal_batch_size(0.421, 0.5, unit="offloads").integer)


def test_no_deadline_that_single_offloads_miss():
    with pytest.raises(ValueError, match="even batches of one are later") as refused:
        TIMING.optimal_batch_size(0.421, deadline=20, miss_probability=0.05, unit="offloads")
    assert refused.value.nearest_deadline == pytest.approx(TIMING.tau_ed + TIMING.tau_nw + SERVICE)


def frontier(ratio, target):
    """Least E[X²] of all rules with E[X] = target, by a linear program over where the mass of a cycle's states goes.

    Rules may look at (pending, age) and toss coins; a cycle has at most MOST pending and OLDEST samples, and only those
    that send something count. Variables: mass that sends, and that goes on, at each (pending, age).
    """
    states = [(pending, age) for age in range(1, OLDEST + 1) for pending in range(1, min(MOST, age) + 1)]
    index = {state: number for number, state in enumerate(states)}
    count = len(states)
    # The cycle begins with its first offload: ages count from there.
    equal, right = np.zeros((count + 1, 2 * count)), np.zeros(count + 1)
    for (pending, age), row in index.items():
        equal[row, row] = equal[row, count + row] = 1
        right[row] = float((pending, age) == (1, 1))
        for before, chance in (((pending - 1, age - 1), ratio), ((pending, age - 1), 1 - ratio)):
            if before in index:
                equal[row, count + index[before]] -= chance
    sent = np.array([state[0] for state in states], float)
    equal[count, :count], right[count] = sent, target
    bounds = [(0, None)] * count + [
        (0, 0) if pending == MOST or age == OLDEST else (0, None) for pending, age in states
    ]
    cost = np.append(sent**2, np.zeros(count))
    found = linprog(cost, A_eq=equal, b_eq=right, bounds=bounds)
    return found.fun if found.success else math.inf


@pytest.mark.parametrize("ratio", [0.2, 0.421, 0.8])
def test_no_rule_has_a_smaller_second_moment(ratio):
    """T20: the least E[X²] for a given E[X] is that of the two neighbouring whole numbers, and no less."""
    for target in (1.0, 1.3, 1.9):
        low = math.floor(target)
        mixed = low**2 + (target - low) * (2 * low + 1)
        assert frontier(ratio, target) >= mixed - 1e-7


@pytest.mark.parametrize("ratio", [0.05, 0.421, 0.95])
def test_some_number_of_offloads_is_below_and_left_of_every_batch(ratio):
    """T20: for each M there is a mixture of m and m + 1 with the same t_s and no later answers; strictly for M >= 3."""
    for size in (1, 2, 3, 8, 40):
        sends = 1 - (1 - ratio) ** size
        first = ratio * size / sends
        second = first * (1 + (size - 1) * ratio)
        low = math.floor(first + 1e-12)
        mixed = low**2 + (first - low) * (2 * low + 1)
        assert mixed <= second + 1e-9
        assert (mixed < second - 1e-9) == (size >= 3)


@given(st.lists(st.booleans(), min_size=1, max_size=60), st.integers(1, 5), st.none() | st.integers(1, 9))
def test_cycles_end_with_their_last_offload_or_their_last_sample(flags, offloads, most):
    found = cycles.lengths(np.array(flags), offloads, most).tolist()
    by_hand, pending, age = [], 0, 0
    for offloaded in flags:
        pending, age = pending + offloaded, age + 1
        if pending == offloads or age == most:
            by_hand.append(age)
            pending = age = 0
    assert found == [*by_hand, *([age] if age else [])]


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: TIMING.system_time(0.5, 0.4, unit="offloads"), "batch_size must be >= 1 for the unit offloads"),
        (lambda: TIMING.system_time(2, 0.4, unit="offload"), "did you mean offloads"),
        (lambda: TIMING.response_time(2, 0.4, "worst", unit="offloads"), "model must be left out"),
        (lambda: TIMING.response_law(2, 0.4, "worst", unit="offloads"), "model must be left out"),
        (lambda: TIMING.objective(2, 1.4, 0.5, unit="offloads"), r"offload_ratio must be in \[0, 1\]"),
        (lambda: TIMING.optimal_batch_size(0.4, 1.0, unit="offloads"), r"alpha must be in \(0, 1\)"),
    ],
)
def test_bad_arguments_are_refused(call, says):
    with pytest.raises(ValueError, match=says):
        call()


def test_pairs_of_neighbours_are_the_frontier():
    """Between whole m, one coin a cycle: system and response times lie on a line from m to m + 1 in (1/E X, κ)."""
    for low, share in itertools.product((1, 2, 5), (0.25, 0.5)):
        first, second = low + share, low**2 + share * (2 * low + 1)
        assert second / first >= first - 1e-12
