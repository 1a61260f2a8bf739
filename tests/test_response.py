import itertools

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import hi_lib as hi
from hi_book.figures.latency_targets import pareto_front
from hi_lib.optima import DeadlineError

TIMING = hi.IMAGENETTE.timing
# Whole milliseconds: sums of them are exact, and different times are really different.
timings = st.builds(hi.TimingModel, *[st.integers(0, 12)] * 4)
ratios, models, populations = (
    st.floats(0.01, 1),
    st.sampled_from(["worst", "average"]),
    st.booleans(),
)


def by_enumeration(timing, size, ratio, model, only):
    """All response times and their probabilities, from all patterns of independent offloads."""
    found = {}
    for pattern in itertools.product([0, 1], repeat=size):
        weight = ratio ** sum(pattern) * (1 - ratio) ** (size - sum(pattern)) / size
        sent = sum(pattern)
        for place, offload in enumerate(sorted(pattern, reverse=True) if model == "worst" else pattern):
            if offload:
                wait = (size - place) * timing.tau_ed + timing.tau_nw + sent * (timing.tau_tx + timing.tau_es)
            elif only:
                continue
            else:
                wait = timing.tau_ed
            found[wait] = found.get(wait, 0) + weight / (ratio if only else 1)
    return np.array(sorted(found.items())).T


@given(timings, st.integers(1, 6), ratios, models, populations)
def test_the_law_is_that_of_all_patterns(timing, size, ratio, model, only):
    times, chance = by_enumeration(timing, size, ratio, model, only)
    law = timing.response_law(size, ratio, model, only)
    below = np.cumsum(chance)
    np.testing.assert_allclose(law.cdf(times), below, atol=1e-12)
    np.testing.assert_allclose(law.exceedance(times - 0.5 * (times > 0)), 1 - below + chance * (times > 0), atol=1e-12)
    assert law.mean() == pytest.approx(chance @ times, rel=1e-12)
    for level, time in zip(below, times, strict=True):
        if level - 1e-9 > 0:
            assert law.quantile(min(level - 1e-9, 1)) <= time * (1 + 1e-12)
        if level + 1e-9 < 1:
            assert law.quantile(level + 1e-9) > time


@given(timings, st.integers(1, 200), ratios, models, populations, st.floats(0.001, 1))
def test_a_quantile_is_the_first_time_that_reaches_its_level(timing, size, ratio, model, only, level):
    law = timing.response_law(size, ratio, model, only)
    time = law.quantile(level)
    assert law.cdf(time) >= level - 1e-11
    if time > 0.5:
        assert law.cdf(time - 0.5) < level


@given(st.integers(1, 300), st.floats(0, 1), models)
def test_the_mean_is_the_closed_form(size, ratio, model):
    assert TIMING.response_law(size, ratio, model).mean() == pytest.approx(
        float(TIMING.response_time(size, ratio, model)), rel=1e-10
    )


def test_huge_batches_keep_their_law():
    law = TIMING.response_law(10**7, 0.421)
    assert law.mean() == pytest.approx(float(TIMING.response_time(10**7, 0.421, "average")), rel=1e-9)
    assert law.cdf(law.quantile(0.95)) == pytest.approx(0.95, abs=1e-6)


def test_varying_network_times_mix_the_laws():
    network = [5.0, 20.0, 90.0]
    mixed = TIMING.response_law(7, 0.4, network_times=network)
    parts = [hi.TimingModel(1.48, 4.41, 4.93, time).response_law(7, 0.4) for time in network]
    times = np.linspace(0, 200, 57)
    np.testing.assert_allclose(mixed.cdf(times), np.mean([part.cdf(times) for part in parts], axis=0), atol=1e-13)


@given(timings, st.integers(1, 60), ratios, models, populations, st.integers(0, 400))
def test_responses_grow_in_law_with_the_batch(timing, size, ratio, model, only, time):
    smaller, larger = (timing.response_law(m, ratio, model, only) for m in (size, size + 1))
    assert larger.cdf(time) <= smaller.cdf(time) + 1e-11


@given(timings, ratios, models, populations, st.integers(0, 300), st.floats(0, 0.5), st.integers(1, 90))
def test_the_largest_batch_in_time_is_that_of_an_exhaustive_search(timing, ratio, model, only, deadline, miss, start):
    late = [timing.response_law(m, ratio, model, only).exceedance(deadline) for m in range(1, 61)]
    assume(min(abs(probability - miss) for probability in late) > 1e-9)
    kept = [m for m, probability in enumerate(late, 1) if probability <= miss]
    if not kept:
        with pytest.raises(DeadlineError) as refused:
            timing.largest_batch_size(ratio, deadline, miss, model, only)
        nearest = refused.value.nearest_deadline
        assert nearest > deadline
        assert timing.largest_batch_size(ratio, nearest, miss, model, only) >= 1
        with pytest.raises(DeadlineError):
            timing.largest_batch_size(ratio, nearest - 0.5, miss, model, only)
    else:
        found = timing.largest_batch_size(ratio, deadline, miss, model, only, start=start)
        assert min(found, 60) == max(kept)


@given(timings, ratios, st.integers(40, 300), st.floats(0.001, 0.3), st.floats(0.05, 0.95))
def test_the_deadline_optimum_is_the_best_of_all_that_keep_it(timing, ratio, deadline, miss, alpha):
    sizes = np.arange(1, 61)
    kept = np.array([timing.response_law(m, ratio).exceedance(deadline) <= miss for m in sizes.tolist()])
    assume(kept.any() and not kept.all())
    best = timing.optimal_batch_size(ratio, deadline=deadline, miss_probability=miss)
    assert best.objective == pytest.approx(timing.system_time(sizes, ratio, "exact")[kept].min(), rel=1e-12)
    weighed = timing.optimal_batch_size(ratio, alpha, deadline=deadline, miss_probability=miss)
    assert weighed.objective == pytest.approx(timing.objective(sizes, ratio, alpha, "average")[kept].min(), rel=1e-9)


def test_an_infeasible_deadline_says_what_would_do():
    with pytest.raises(
        DeadlineError, match=r"deadline must be at least 30.82 ms for a miss_probability of 0.05, got 25"
    ):
        TIMING.optimal_batch_size(0.421, deadline=25)


def test_without_a_limit_the_batch_is_infinite():
    # Fewer offloads than may be late: whatever happens to them, the target is met.
    assert TIMING.optimal_batch_size(0.03, deadline=30).integer == np.inf
    # Nothing to gain: one sample at a time.
    assert TIMING.optimal_batch_size(0, deadline=30).integer == 1
    assert hi.TimingModel(1, 2, 3, 0).optimal_batch_size(0.4, deadline=300).integer == 1
    # Computing and serving take no time: no batch is late.
    assert hi.TimingModel(0, 0, 0, 20).optimal_batch_size(0.4, deadline=30).integer == np.inf


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12))
def test_the_front_holds_what_nothing_beats(points):
    cost, other = np.array(points, dtype=float).T
    beaten = [any(a <= c and b <= d and (a, b) != (c, d) for a, b in points) for c, d in points]
    assert pareto_front(cost, other).tolist() == [not flag for flag in beaten]


def test_the_front_needs_two_lists_of_one_length():
    with pytest.raises(ValueError, match="one and the same shape"):
        pareto_front([1, 2], [1])
