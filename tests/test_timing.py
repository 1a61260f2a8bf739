import itertools

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

import hi_lib as hi
from hi_book.figures.exact_times import papers_choice
from hi_lib.events.simulation import simulate

TIMING, RATIO = hi.IMAGENETTE.timing, hi.IMAGENETTE.offload_ratio
times = st.floats(0.01, 100)
timings = st.builds(hi.TimingModel, times, times, times, times)
ratios, weights = st.floats(0.01, 1), st.floats(0.01, 0.99)


def expectation(ratio, size, value):
    """Mean of value(pattern) over all patterns of independent offloads."""
    patterns = itertools.product([False, True], repeat=size)
    return sum(ratio ** sum(p) * (1 - ratio) ** (size - sum(p)) * value(p) for p in patterns)


@pytest.mark.parametrize("size", [1, 2, 3, 8])
@pytest.mark.parametrize("ratio", [0.0, 0.3, 0.75, 1.0])
def test_exact_model_is_the_mean_over_all_time_lines(size, ratio):
    def response(pattern):
        return simulate(TIMING, pattern, size).response_time.mean()

    system = expectation(ratio, size, lambda p: simulate(TIMING, p, size).system_time)
    average = expectation(ratio, size, response)
    worst = expectation(ratio, size, lambda p: response(sorted(p, reverse=True)))
    assert TIMING.system_time(size, ratio, "exact") == pytest.approx(system, rel=1e-12)
    assert TIMING.response_time(size, ratio, "average") == pytest.approx(average, rel=1e-12)
    assert TIMING.response_time(size, ratio, "worst") == pytest.approx(worst, rel=1e-12)


def test_the_papers_formulas_by_hand():
    timing = hi.TimingModel(tau_ed=1, tau_es=4, tau_tx=5, tau_nw=20)
    # M = 4, m = 2: 4 + 2 · 5 + 20 + 2 · 4 = 42 ms for the batch.
    assert timing.system_time(4, 0.5) == 42 / 4
    # Offloads first: they answer at 42, started at 0 and 1; the other two take 1 each.
    assert timing.response_time(4, 0.5) == (42 + 41 + 1 + 1) / 4
    assert timing.objective(4, 0.5, 0.25) == 0.25 * 42 / 4 + 0.75 * 85 / 4


@given(timings, ratios, weights)
def test_the_relaxed_optimum_is_the_minimum(timing, ratio, alpha):
    best = timing.optimal_batch_size(ratio, alpha).relaxed
    found = minimize_scalar(
        lambda log_size: float(timing.objective(np.exp(log_size), ratio, alpha)),
        bracket=(np.log(best) - 1, np.log(best) + 0.7),
    )
    # Near its minimum f is flat: a relative change of ε in f moves M by the root of ε.
    assert np.exp(found.x) == pytest.approx(best, rel=1e-5)
    sizes = best * np.array([0.25, 0.5, 1, 2, 4])
    values = timing.objective(sizes, ratio, alpha)
    assert values.argmin() == 2


@given(timings, ratios, weights, st.floats(0.1, 100), st.floats(0.1, 100))
def test_the_objective_is_convex(timing, ratio, alpha, low, high):
    middle = timing.objective((low + high) / 2, ratio, alpha)
    ends = timing.objective([low, high], ratio, alpha).mean()
    assert middle <= ends * (1 + 1e-12)


@given(timings, ratios, weights)
def test_the_integer_optimum_is_the_best_integer(timing, ratio, alpha):
    best = timing.optimal_batch_size(ratio, alpha)
    assume(best.relaxed < 5000)
    sizes = np.arange(1, int(2 * best.relaxed) + 3)
    values = timing.objective(sizes, ratio, alpha)
    assert best.objective == pytest.approx(values.min(), rel=1e-12)
    assert best.integer in (max(1, np.floor(best.relaxed)), max(1, np.ceil(best.relaxed)))


def test_ties_go_up():
    timing = hi.TimingModel(tau_ed=0, tau_es=1, tau_tx=0, tau_nw=2)
    assert timing.objective(1, 1, 0.5) == timing.objective(2, 1, 0.5)
    assert timing.optimal_batch_size(1, 0.5).integer == 2


@given(timings, ratios, weights, st.sampled_from(["worst", "average"]))
def test_exact_optima_are_the_best_integers(timing, ratio, alpha, model):
    best = timing.optimal_batch_size(ratio, alpha, model)
    upper = timing.optimal_batch_size(ratio, alpha).relaxed
    assume(upper < 5000)
    sizes = np.arange(1, int(2 * upper) + 3)
    assert best.objective == pytest.approx(timing.objective(sizes, ratio, alpha, model).min(), rel=1e-9)
    if model == "worst":
        assert best.relaxed <= upper


def test_paper_and_exact_optima_at_the_papers_setting():
    found = [
        (TIMING.optimal_batch_size(RATIO, alpha).integer, TIMING.optimal_batch_size(RATIO, alpha, "worst").integer)
        for alpha in (0.3, 0.5, 0.7, 0.9)
    ]
    assert found == [(2, 1), (3, 1), (5, 4), (9, 9)]


@pytest.mark.uncounted
@given(timings, st.floats(0, 1), st.sampled_from(["worst", "average"]))
def test_exact_models_are_vanilla_at_one(timing, ratio, model):
    vanilla = timing.tau_ed + ratio * (timing.tau_es + timing.tau_tx + timing.tau_nw)
    assert timing.system_time(1, ratio, "exact") == pytest.approx(vanilla, rel=1e-12)
    assert timing.response_time(1, ratio, model) == pytest.approx(vanilla, rel=1e-12)


@given(timings, st.floats(0, 1), st.integers(1, 200))
def test_the_papers_worst_case_lies_below_the_exact_one(timing, ratio, size):
    gap = timing.response_time(size, ratio, "worst") - timing.response_time(size, ratio)
    stated = ratio * (1 - ratio) * (timing.tau_es + timing.tau_tx - timing.tau_ed / 2)
    assert gap == pytest.approx(stated, abs=1e-11 * float(timing.response_time(size, ratio)))


def test_nothing_to_send():
    paper, exact = (TIMING.optimal_batch_size(0, 0.5, model) for model in ("paper", "worst"))
    assert (paper.relaxed, paper.integer) == (np.inf, np.inf)
    assert exact.integer == 1
    free = hi.TimingModel(1, 1, 1, 0)
    assert free.optimal_batch_size(0.5, 0.5).integer == 1
    assert free.optimal_batch_size(0.5, 0.5, "worst").integer == 1


def test_rare_offloads_keep_their_digits():
    # M* of the exact model must not depend on 1 − (1 − ρ)^M cancelling: for tiny ρ nothing is gained by batching.
    for ratio in (1e-12, 1e-16, 1e-30, 1e-100):
        assert TIMING.optimal_batch_size(ratio, 0.5, "worst").integer == 1
        rest = TIMING.system_time(1, ratio, "exact") - TIMING.tau_ed
        assert rest == pytest.approx(ratio * (4.41 + 4.93 + 20), abs=1e-15)


def test_batching_for_free_never_ends():
    instant = hi.TimingModel(0, 0, 0, 5)
    for model in ("paper", "worst", "average"):
        best = instant.optimal_batch_size(0.5, 0.5, model)
        assert (best.integer, best.objective) == (np.inf, 0.5 * 0.5 * 5)
    nothing = hi.TimingModel(0, 0, 0, 0).optimal_batch_size(0.5, 0.5, "worst")
    assert (nothing.integer, nothing.objective) == (1, 0)


def test_arrays_broadcast():
    sizes, ratio = np.array([1, 2, 4])[:, None], np.array([0.2, 0.8])
    table = TIMING.objective(sizes, ratio, 0.5)
    assert table.shape == (3, 2)
    assert table[2, 1] == TIMING.objective(4, 0.8, 0.5)
    best = TIMING.optimal_batch_size(ratio, np.array([[0.3], [0.9]]))
    assert best.integer.shape == (2, 2)
    assert best.integer[1, 0] == TIMING.optimal_batch_size(0.2, 0.9).integer


def test_misestimation_costs_nothing_without_an_error():
    for parameter in ("offload_ratio", "tau_ed", "tau_es", "tau_tx", "tau_nw"):
        assert TIMING.misestimation_cost(parameter, 1, RATIO, 0.5) == 0
        assert TIMING.misestimation_cost(parameter, 1.3, RATIO, 0.5) > 0


def test_nobody_takes_an_offload_ratio_for_more_than_one():
    half_as_much_again = TIMING.misestimation_cost("offload_ratio", 1.5, 0.8, 0.5)
    assert half_as_much_again == TIMING.misestimation_cost("offload_ratio", 1 / 0.8, 0.8, 0.5) > 0


@pytest.mark.parametrize("model", ["worst", "average"])
def test_the_map_of_the_papers_choice_agrees_with_the_optimum(model):
    ratios, network_times = np.array([0.05, 0.3, 0.421, 1]), np.array([0.0, 5, 20, 90])
    excess, extra, least = papers_choice(TIMING, ratios, network_times, 0.7, model)
    for row, network_time in enumerate(network_times):
        timing = hi.TimingModel(TIMING.tau_ed, TIMING.tau_es, TIMING.tau_tx, network_time)
        for column, ratio in enumerate(ratios):
            paper, exact = timing.optimal_batch_size(ratio, 0.7), timing.optimal_batch_size(ratio, 0.7, model)
            assert excess[row, column] == pytest.approx(paper.integer / exact.integer)
            cost = timing.objective(paper.integer, ratio, 0.7, model) - exact.objective
            assert extra[row, column] == pytest.approx(cost, abs=1e-9)
            assert least[row, column] == pytest.approx(exact.objective)


def test_the_condition_for_batches_to_pay():
    for ratio, alpha in itertools.product((0.05, 0.421, 0.9), (0.2, 0.5, 0.8)):
        limit = 2 * (1 - alpha) / alpha * ((1 / ratio - 0.5) * TIMING.tau_ed + TIMING.tau_es + TIMING.tau_tx)
        for factor, size in ((0.999, 1), (1.001, 2)):
            timing = hi.TimingModel(TIMING.tau_ed, TIMING.tau_es, TIMING.tau_tx, factor * limit)
            assert timing.optimal_batch_size(ratio, alpha, "worst").integer == size


def test_the_papers_constants():
    assert hi.IMAGENETTE.transmission_time() == pytest.approx(hi.IMAGENETTE.timing.tau_tx, abs=0.005)
    assert hi.CIFAR10.transmission_time() == pytest.approx(hi.CIFAR10.timing.tau_tx, abs=0.005)
    assert hi.CIFAR10.offload_ratio is None
    for setting in (hi.IMAGENETTE, hi.CIFAR10):
        sourced = {"tau_ed", "tau_es", "tau_tx", "tau_nw", "beta", "offload_ratio", "samples", "image_bytes", "rate"}
        assert set(setting.sources) == sourced


@pytest.mark.parametrize("value", [-1, np.nan, np.inf, "fast", None])
def test_a_bad_time_is_refused(value):
    with pytest.raises(ValueError, match="tau_nw must be"):
        hi.TimingModel(1, 1, 1, value)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: TIMING.system_time(0, 0.5), "batch_size must be a real > 0"),
        (lambda: TIMING.system_time(np.nan, 0.5), "batch_size must be in"),
        (lambda: TIMING.system_time(1.5, 0.5, "exact"), "batch_size must be an integer >= 1"),
        (lambda: TIMING.system_time(0.5, 0.5, "exact"), "batch_size must be an integer >= 1"),
        (lambda: TIMING.system_time(1, 42.1), "a percentage"),
        (lambda: TIMING.system_time(1, np.nan), "offload_ratio must be in"),
        (lambda: TIMING.system_time(1, 0.5, "worst"), "model must be one of paper, independent, exact"),
        (lambda: TIMING.response_time(1, 0.5, "exact"), "model must be one of paper, worst, average"),
        (lambda: TIMING.response_time(1, [0.5, 1.5]), r"offload_ratio\[1\]"),
        (lambda: TIMING.objective(1, 0.5, 0), r"alpha must be in \(0, 1\)"),
        (lambda: TIMING.objective(1, 0.5, 1), r"alpha must be in \(0, 1\)"),
        (lambda: TIMING.optimal_batch_size(0.5, np.nan), "alpha must be in"),
        (lambda: TIMING.optimal_batch_size(0.5, 2), "alpha must be in"),
        (lambda: TIMING.optimal_batch_size([0.5, 0.6], 0.5, "worst"), "single numbers"),
        (lambda: TIMING.misestimation_cost("tau", 2, 0.5, 0.5), "parameter must be one of"),
        (lambda: TIMING.misestimation_cost("tau_nw", "2", 0.5, 0.5), "factor must be numeric"),
        (lambda: TIMING.misestimation_cost("tau_nw", 2, 0, 0.5), r"offload_ratio must be in \(0, 1\]"),
        (lambda: TIMING.optimal_batch_size(0.5), "alpha must be given"),
        (
            lambda: TIMING.optimal_batch_size(0.5, 0.5, offloaded_only=True),
            "and offloaded_only must be left out",
        ),
        (lambda: TIMING.optimal_batch_size(0.5, model="paper", deadline=90), "model must be one of worst, average"),
        (lambda: TIMING.optimal_batch_size([0.5], deadline=90), "offload_ratio must be a single number"),
        (lambda: TIMING.optimal_batch_size(0.5, deadline=-1), "deadline must be in"),
        (
            lambda: TIMING.optimal_batch_size(0.5, deadline=90, miss_probability=1),
            r"miss_probability must be in \[0, 1\)",
        ),
        (
            lambda: TIMING.optimal_batch_size(0.5, deadline=90, network_times=[]),
            "network_times must be one-dimensional",
        ),
        (lambda: TIMING.response_law(0, 0.5), "batch_size must be an integer >= 1"),
        (lambda: TIMING.response_law(2, 0.5, "paper"), "model must be one of worst, average"),
        (lambda: TIMING.response_law(2, 0, offloaded_only=True), "there are none"),
        (lambda: TIMING.response_law(2, 0.5).quantile(1.5), r"level must be in \(0, 1\]"),
        (lambda: TIMING.response_law(2, 0.5).cdf(np.nan), "time must be in"),
    ],
)
def test_bad_arguments_are_refused(call, says):
    with pytest.raises(ValueError, match=says):
        call()
