"""Budgets on offloads, in hindsight and learned online: by brute force, by definition, and below their bounds."""

import itertools
import math

import numpy as np
import pytest
from conftest import costs, traces
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.optimize import linprog

import hi_lib as hi
from hi_lib import batch_hi, regret
from hi_lib.forecaster import Forecaster
from hi_lib.studies.made_up import two_halves

budgets = st.floats(0, 1) | st.sampled_from([0.0, 0.1, 0.2, 0.25, 0.5, 1.0])


def cells_of(trace, beta):
    """Share offloaded and cost of a threshold in each cell, one after the other."""
    edges = np.unique(np.concatenate(([0.0, 1.0], trace.confidence)))
    inside = [max((a + b) / 2, np.nextafter(a, 1)) for a, b in itertools.pairwise(edges)]
    offload = [trace.confidence < threshold for threshold in inside]
    share = np.array([each.mean() for each in offload])
    return share, np.array([np.where(each, beta, ~trace.correct).mean() for each in offload])


@given(traces(), costs, budgets)
def test_no_threshold_within_the_budget_beats_the_best_one(trace, beta, budget):
    share, cost = cells_of(trace, beta)
    if share.min() > budget:
        for call in (hi.best_threshold, hi.best_mixture):
            with pytest.raises(ValueError, match="budget must be at least"):
                call(trace, beta, budget=budget)
        return
    best = hi.best_threshold(trace, beta, budget=budget)
    assert best.average_cost == pytest.approx(cost[share <= budget].min(), abs=1e-12)
    assert best.offload_ratio <= budget
    again = hi.replay(trace, beta, learner="fixed", threshold=best.threshold)
    assert again.average_cost == pytest.approx(best.average_cost, abs=1e-12)
    assert again.offload_ratio == pytest.approx(best.offload_ratio, abs=1e-12)


@given(traces(30), costs, budgets, st.integers(1, 5), st.sampled_from([0.3, 2.0]))
def test_a_budget_counts_beside_a_price(trace, beta, budget, batch_size, price):
    edges = np.unique(np.concatenate(([0.0, 1.0], trace.confidence)))
    found = []
    for a, b in itertools.pairwise(edges):
        offload = trace.confidence < max((a + b) / 2, np.nextafter(a, 1))
        sent = sum(offload[start : start + batch_size].any() for start in range(0, len(trace), batch_size))
        if offload.mean() <= budget:
            found.append((np.where(offload, beta, ~trace.correct).sum() + price * sent) / len(trace))
    assume(found)
    best = hi.best_threshold(trace, beta, batch_size=batch_size, price=price, budget=budget)
    assert best.average_cost == pytest.approx(min(found))


@given(traces(), costs, budgets)
def test_the_best_mixture_is_that_of_a_linear_programme(trace, beta, budget):
    share, cost = cells_of(trace, beta)
    assume(share.min() <= budget)
    best = hi.best_mixture(trace, beta, budget)
    programme = linprog(cost, A_ub=share[None], b_ub=[budget], A_eq=np.ones((1, share.size)), b_eq=[1.0])
    assert best.average_cost == pytest.approx(programme.fun, abs=1e-7)  # to the solver's tolerance
    assert best.average_cost <= hi.best_threshold(trace, beta, budget=budget).average_cost + 1e-12
    # And it is what its two thresholds make of it.
    runs = [hi.replay(trace, beta, learner="fixed", threshold=threshold) for threshold in best.thresholds]
    weights = (1 - best.probability, best.probability)
    for name in ("average_cost", "offload_ratio"):
        mixed = sum(weight * getattr(run, name) for weight, run in zip(weights, runs, strict=True))
        assert mixed == pytest.approx(getattr(best, name), abs=1e-12)
    assert best.offload_ratio <= budget


@given(traces(), costs)
def test_the_frontier_is_the_curve_and_its_lower_hull(trace, beta):
    share, cost = cells_of(trace, beta)
    found = hi.frontier(trace, beta)
    assert found.offload_ratio == pytest.approx(share, abs=1e-15)
    assert found.average_cost == pytest.approx(cost, abs=1e-12)
    for threshold, ratio in zip(found.threshold, share, strict=True):
        assert (trace.confidence < threshold).mean() == ratio
    x, y = found.offload_ratio[found.hull], found.average_cost[found.hull]
    assert (found.hull[0], found.hull[-1]) == (0, share.size - 1)
    assert (np.interp(share, x, y) <= cost + 1e-12).all()
    assert (np.diff(np.diff(y) / np.diff(x)) > 0).all()  # each corner is one


def test_a_corner_where_the_product_is_rounded_down():
    """7 % of 100 samples are seven, though 0.07 · 100 is not 7.0; nor is 0.29 · 100 = 29."""
    confidence = np.concatenate((np.zeros(29), np.linspace(0.1, 0.9, 71)))
    trace = hi.Trace(confidence, np.arange(100) % 2)
    assert [regret.affordable(100, share / 100) for share in range(101)] == list(range(101))
    mixed = hi.best_mixture(trace, 0.2, 0.29)
    assert (mixed.probability, mixed.offload_ratio) == (0.0, 0.29)
    with pytest.raises(ValueError, match=r"budget must be at least 0\.29, the share of confidence 0, got 0\.28"):
        hi.best_mixture(trace, 0.2, 0.28)


@given(traces(), costs)
def test_one_more_offload_saves_at_most_an_error_less_its_cost(trace, beta):
    """What T26 rests on: the hull is convex, and falls by 1 − β at most."""
    found = hi.frontier(trace, beta)
    assume(found.hull.size > 1)
    slopes = np.diff(found.average_cost[found.hull]) / np.diff(found.offload_ratio[found.hull])
    assert slopes.min() >= -(1 - beta) - 1e-9


def test_joules_become_a_share():
    assert hi.budget_of_energy(0.03, 0.01, 0.1) == 0.2
    assert regret.affordable(10, hi.budget_of_energy(0.03, 0.01, 0.1)) == 2
    assert hi.budget_of_energy(0.01, 0.01, 0.1) == 0
    assert hi.budget_of_energy(5, 0.01, 0.1) == 1
    # A share of 0.2 takes that much: each sample 10 mJ, every fifth 100 mJ more.
    assert np.mean([0.01, 0.01, 0.01, 0.01, 0.11]) == pytest.approx(0.03)
    for wrong, says in [
        ((0.005, 0.01, 0.1), "joules must be at least 0.01, which local inference alone takes, got 0.005"),
        ((-1, 0, 1), "joules must be in"),
        ((1, -1, 1), "local must be in"),
        ((1, 0, 0), r"offload must be in \(0"),
    ]:
        with pytest.raises(ValueError, match=says):
            hi.budget_of_energy(*wrong)


open_budgets, below_one = st.floats(0.01, 1), st.floats(0, 0.99)
rates = st.floats(0.01, 3)


def by_definition(trace, beta, size, eta, mu, budget, offloads=None, uniform=None):
    """The learner over all cells: q and λ of each sample, and where batches or cycles end."""
    edges = np.unique(np.concatenate(([0.0, 1.0], trace.confidence)))
    length, upper, loss = np.diff(edges), edges[1:], np.zeros(edges.size - 1)
    n, multiplier, start, pending = len(trace), 0.0, 0, 0
    q, charged, ends = np.empty(n), np.empty(n), []
    for t in range(n):
        weight = length * np.exp(-eta * (loss - loss.min()))
        q[t], charged[t] = weight[upper > trace.confidence[t]].sum() / weight.sum(), multiplier
        pending += uniform is not None and uniform[t] < q[t]
        if t + 1 - start == size or pending == offloads or t + 1 == n:
            for s in range(start, t + 1):
                loss += (beta + multiplier - (not trace.correct[s])) * (upper > trace.confidence[s])
            multiplier = min(max(multiplier + mu * (q[start : t + 1] - budget).sum(), 0.0), 2 * (1 - beta))
            ends.append(t + 1)
            start, pending = t + 1, 0
    return q, charged, np.diff(ends, prepend=0)


def feasible(trace, budget):
    assume((trace.confidence == 0).mean() <= budget)


@pytest.mark.python_source
@given(traces(), costs, st.integers(1, 12), rates, rates, open_budgets)
def test_a_budget_in_batches_by_definition(trace, beta, size, eta, mu, budget):
    feasible(trace, budget)
    run = hi.replay(trace, beta, size, learning_rate=eta, budget=budget, multiplier_rate=mu)
    q, multiplier, _ = by_definition(trace, beta, size, eta, mu, budget)
    assert run.offload_probability == pytest.approx(q, abs=1e-10)
    assert run.multiplier == pytest.approx(multiplier, abs=1e-10)
    assert run.cost == pytest.approx(beta * q + (1 - q) * ~trace.correct, abs=1e-10)
    assert run.budget == budget
    assert run.overspending == pytest.approx(q.sum() - budget * len(trace), abs=1e-9)
    best = hi.best_mixture(trace, beta, budget).average_cost
    assert run.regret == pytest.approx(run.cost.sum() - best * len(trace), abs=1e-9)


@pytest.mark.python_source
@given(
    traces(), costs, st.integers(1, 5), st.none() | st.integers(1, 12), rates, rates, open_budgets, st.integers(0, 9)
)
def test_a_budget_in_cycles_by_definition(trace, beta, offloads, most, eta, mu, budget, seed):
    feasible(trace, budget)
    more = {"unit": "offloads", "max_samples": most, "seed": seed}
    run = hi.replay(trace, beta, offloads, learning_rate=eta, budget=budget, multiplier_rate=mu, **more)
    uniform = np.random.default_rng(seed).random(len(trace))
    q, multiplier, sizes = by_definition(trace, beta, most, eta, mu, budget, offloads, uniform)
    assert run.offload_probability == pytest.approx(q, abs=1e-10)
    assert run.multiplier == pytest.approx(multiplier, abs=1e-10)
    assert (run.offloaded == (uniform < q)).all()
    assert run.batch_size == tuple(sizes.tolist())


def written_out(trace, beta, sizes, eta, mu):
    """R, once more."""
    log_cells, squares, most = -math.log(hi.lambda_min(trace)), sum(size**2 for size in sizes), 2 * (1 - beta)
    learned = log_cells / eta + eta * (2 - beta) ** 2 / 8 * squares if log_cells else 0.0
    return learned + most**2 / (2 * mu) + mu / 2 * squares


@given(traces(), below_one, st.integers(1, 12), rates, rates, open_budgets, st.booleans())
def test_what_t26_adds_up_holds_on_every_path(trace, beta, size, eta, mu, budget, adapts):
    """Whatever the order: cost + λ (spent − B n) <= cost of a mixture + Σ λ_t (its share − B) + R, for λ = 0 and Λ."""
    feasible(trace, budget)
    rate = "adaptive" if adapts else eta
    run = hi.replay(trace, beta, size, learning_rate=rate, budget=budget, multiplier_rate=mu)
    bound = run.regret_bound - regret.random_order_term(len(trace), beta, budget)
    if not adapts:
        sizes = regret.fixed_sizes(len(trace), size).tolist()
        assert bound == pytest.approx(written_out(trace, beta, sizes, eta, mu))
    assert run.overspending_bound == pytest.approx(bound / (1 - beta))
    best = hi.best_mixture(trace, beta, budget)
    weights = (1 - best.probability, best.probability)
    offload = sum(w * (trace.confidence < theta) for w, theta in zip(weights, best.thresholds, strict=True))
    loss = np.where(trace.correct, 0.0, 1.0) + offload * (beta - ~trace.correct)
    later = loss.sum() + (run.multiplier * (offload - budget)).sum()
    for multiplier in (0.0, 2 * (1 - beta)):
        assert run.cost.sum() + multiplier * run.overspending <= later + bound + 1e-8


@pytest.mark.uncounted
@given(traces(), below_one, st.integers(1, 9), rates, st.floats(0.001, 0.5), open_budgets)
def test_while_the_multiplier_is_not_cut_off_it_counts_what_is_overspent(trace, beta, size, eta, mu, budget):
    """On every path, in any order: λ only ever falls behind Σ (q_t − B) μ where it would leave [0, Λ] at the top."""
    feasible(trace, budget)
    run = hi.replay(trace, beta, size, learning_rate=eta, budget=budget, multiplier_rate=mu)
    for start in range(0, len(trace), size):
        if run.multiplier[: start + 1].max() >= 2 * (1 - beta):
            break
        assert (run.offload_probability[:start] - budget).sum() <= run.multiplier[start] / mu + 1e-9


@pytest.mark.parametrize("unit", ["samples", "offloads"])
@pytest.mark.parametrize(("beta", "budget"), [(0.1, 0.05), (0.3, 0.3), (0.7, 0.1)])
def test_independent_samples_cost_and_overspend_as_t26_says(unit, beta, budget):
    """Against the best mixture of the distribution, on 40 sequences: means within four standard errors."""
    places, right = np.arange(1, 17) / 17, np.linspace(0.1, 0.95, 16)
    n, cost, over, bound = 3000, [], [], []
    # The distribution itself, as a trace that holds each kind as often as it comes.
    whole = hi.Trace(np.repeat(places, 1000), np.concatenate([np.arange(1000) < 1000 * each for each in right]))
    optimum = hi.best_mixture(whole, beta, budget).average_cost * n
    for seed in range(40):
        rng = np.random.default_rng(seed)
        drawn = rng.integers(0, 16, n)
        trace = hi.Trace(places[drawn], rng.random(n) < right[drawn])
        run = hi.replay(
            trace, beta, 4, budget=budget, unit=unit, seed=seed, max_samples=30 if unit != "samples" else None
        )
        cost.append(run.cost.sum() - optimum)
        over.append(run.overspending)
        bound.append(run.overspending_bound * (1 - beta))
    error = [np.std(each, ddof=1) / math.sqrt(40) for each in (cost, over)]
    assert np.mean(cost) <= np.mean(bound) + 4 * error[0]
    assert np.mean(over) <= np.mean(bound) / (1 - beta) + 4 * error[1]
    if unit == "samples":
        assert bound[0] == pytest.approx(hi.budget_regret_bound(n, 4, hi.lambda_min(trace), beta))


@pytest.mark.uncounted
@given(
    st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=4, max_size=5),
    below_one,
    open_budgets,
    rates,
    st.integers(1, 2),
)
def test_random_order_costs_at_most_its_term_more(samples, beta, budget, mu, size):
    """Exactly, over all orders of a few samples: what λ knows of those to come, and T26 with it."""
    confidence, correct = np.array([(place + 1) / 6 for place, _ in samples]), np.array([right for _, right in samples])
    mixed = hi.best_mixture(hi.Trace(confidence, correct), beta, budget)
    weights = (1 - mixed.probability, mixed.probability)
    offload = sum(w * (confidence < theta) for w, theta in zip(weights, mixed.thresholds, strict=True))
    found, bounds, known = [], [], []
    for order in map(list, itertools.permutations(range(len(samples)))):
        trace = hi.Trace(confidence[order], correct[order])
        run = hi.replay(trace, beta, size, learning_rate=1.5, budget=budget, multiplier_rate=mu)
        found.append(run.regret)
        bounds.append(run.regret_bound)
        known.append(run.multiplier @ (offload[order] - budget))
    assert np.mean(known) <= regret.random_order_term(len(samples), beta, budget) + 1e-9
    assert np.mean(found) <= np.mean(bounds) + 1e-9


@pytest.mark.parametrize("rate", ["tuned", "adaptive"])
def test_on_sequences_fixed_in_advance_no_learner_has_both(rate):
    """Linear loss on one of two sequences with the same beginning, as the law says; in random order, none."""
    beta, budget, n = 0.2, 0.25, 20_000
    worst = budget * n * (0.5 - beta) / (2 * (1 - beta))
    early, late = (two_halves(n, late) for late in (False, True))
    first, second = (hi.replay(trace, beta, budget=budget, learning_rate=rate) for trace in (early, late))
    spent = first.offload_probability[: n // 2].sum()
    assert second.offload_probability[: n // 2].sum() == pytest.approx(spent)
    assert first.regret >= (0.5 - beta) * (budget * n - spent) - 1  # the first sample of the two kinds differs
    assert second.regret + (1 - beta) * second.overspending == pytest.approx(spent / 2, abs=0.02 * spent)
    assert max(first.regret, second.regret + (1 - beta) * second.overspending) >= worst - 1
    assert max(first.regret, second.regret) > first.regret_bound  # T26 does not hold there
    for trace in (early, late):
        run = hi.replay(trace.shuffled(0), beta, budget=budget, learning_rate=rate)
        assert run.regret + (1 - beta) * max(run.overspending, 0) < worst / 4


def test_what_is_left_of_a_random_order_deviates_as_its_term_says():
    """Σ_k σ √(k/((n − k)(n − 1))), σ = √(B (1 − B)), times Λ/2, stays below the term, which is its integral."""
    for n, beta, budget in ((50, 0.2, 0.3), (3900, 0.1, 0.1), (400, 0.5, 0.9)):
        variance = budget * (1 - budget) if budget < 0.5 else 0.25
        k = np.arange(n)
        total = (1 - beta) * math.sqrt(variance) * np.sqrt(k / ((n - k) * (n - 1))).sum()
        assert 0.85 * regret.random_order_term(n, beta, budget) < total <= regret.random_order_term(n, beta, budget)
    # The deviation itself: means of what is left of 40 samples, four of them ones, after 30.
    left = [np.random.default_rng(seed).permutation(np.arange(40) < 4)[30:].mean() for seed in range(4000)]
    assert np.std(left) == pytest.approx(math.sqrt(0.09 * 30 / (10 * 39)), rel=0.05)


@pytest.mark.parametrize(
    ("name", "beta", "budget", "levels", "stated"),
    [
        ("cifar10-resnet8", 0.1, 0.1, 1000, (18, 18, 333)),
        ("imagenette-mobilenet_v1_0.25_128", 0.3, 0.05, 256, (-7, 41, 264)),
    ],
)
def test_what_single_orders_gave_lies_among_those_of_others(name, beta, budget, levels, stated):
    """The numbers of the notes, each of one order of 3900 samples on a grid: within three deviations of the mean."""
    whole, found = hi.load_trace(name), []
    rounded = hi.Trace(np.floor(whole.confidence * levels) / levels, whole.correct)
    for seed in range(20):
        trace = rounded.shuffled(seed)
        run = hi.replay(hi.Trace(trace.confidence[:3900], trace.correct[:3900]), beta, budget=budget)
        found.append((run.regret, run.overspending))
        assert run.regret <= run.regret_bound
        assert run.overspending <= run.overspending_bound
    assert run.overspending_bound * (1 - beta) == pytest.approx(stated[2], abs=0.5)
    for mean, deviation, one in zip(np.mean(found, axis=0), np.std(found, axis=0, ddof=1), stated, strict=False):
        assert abs(one - mean) < 3 * deviation


@given(traces(), costs, st.integers(1, 9), rates)
def test_a_budget_for_all_is_none(trace, beta, size, eta):
    run = hi.replay(trace, beta, size, learning_rate=eta, budget=1.0)
    plain = hi.replay(trace, beta, size, learning_rate=eta)
    assert run.offload_probability == pytest.approx(plain.offload_probability, abs=1e-9)
    assert (run.multiplier == 0).all()
    assert run.regret == pytest.approx(plain.regret, abs=1e-9)


def test_where_an_offload_saves_nothing_no_multiplier_can_hold_it():
    trace = hi.synthetic_trace(200, seed=0)
    run = hi.replay(trace, 1.0, budget=0.1)
    assert (run.multiplier == 0).all()
    assert run.overspending_bound == math.inf
    assert run.regret_bound == pytest.approx(hi.budget_regret_bound(200, 1, hi.lambda_min(trace), 1.0))


@given(
    st.integers(1, 10**6), st.integers(1, 99), st.floats(1e-12, 0.99), below_one, st.floats(0.2, 5), st.floats(0.2, 5)
)
def test_the_rates_with_a_budget_minimise_its_bound(n, size, shortest, beta, eta, mu):
    least, tuned = hi.budget_regret_bound(n, size, shortest, beta), hi.budget_rates(n, size, shortest, beta)
    other = hi.budget_regret_bound(n, size, shortest, beta, eta * tuned.learning_rate, mu * tuned.multiplier_rate)
    assert least <= other * (1 + 1e-12)
    by_hand = (2 - beta) * math.sqrt(n * size * -math.log(shortest) / 2) + 2 * (1 - beta) * math.sqrt(n * size)
    assert least == pytest.approx(by_hand)


def test_names_of_rates_are_those_of_the_budget():
    trace = hi.synthetic_trace(500, seed=1)
    shortest = hi.lambda_min(trace)
    for rate, size in (("tuned", 8), ("vanilla", 1)):
        run = hi.replay(trace, 0.4, 8, learning_rate=rate, budget=0.2)
        tuned = hi.budget_rates(500, size, shortest, 0.4)
        same = hi.replay(trace, 0.4, 8, learning_rate=tuned.learning_rate, budget=0.2, multiplier_rate=tuned[1])
        assert run.learning_rate == tuned.learning_rate
        assert (run.offload_probability == same.offload_probability).all()
    ratio = hi.best_threshold(trace, 0.4, budget=0.2).offload_ratio
    counted = hi.replay(trace, 0.4, 3, unit="offloads", budget=0.2, seed=0)
    assert counted.learning_rate == hi.budget_rates(500, (3 + 1 - ratio) / ratio, shortest, 0.4).learning_rate
    assert "budget=0.2, overspending=" in repr(counted)
    assert hi.replay(trace, 0.4).overspending is None


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.integers(0, 9))
def test_the_first_of_a_batch_by_going_through_all_thresholds(q, left):
    ends = np.unique(np.concatenate(([0.0, 1.0], q)))
    expected = np.zeros(len(q))
    for a, b in itertools.pairwise(ends):
        offload = np.array(q) > (a + b) / 2
        expected += (b - a) * (offload & (np.cumsum(offload) <= left))
    assert batch_hi._first_of_batch(q, left) == pytest.approx(expected, abs=1e-12)


@given(
    traces(), below_one, st.integers(1, 9), st.floats(0, 1), st.sampled_from(["samples", "offloads"]), st.integers(0, 9)
)
def test_a_strict_budget_is_never_exceeded(trace, beta, size, budget, unit, seed):
    feasible(trace, budget)
    run = hi.replay(trace, beta, size, learning_rate=0.3, budget=budget, unit=unit, seed=seed, strict=True)
    soft = hi.replay(trace, beta, size, learning_rate=0.3, budget=budget, unit=unit, seed=seed)
    assert run.offloaded.sum() <= regret.affordable(len(trace), budget) <= budget * len(trace) * (1 + 1e-12)
    assert (run.offload_probability <= soft.offload_probability).all()
    assert (run.offload_probability[run.offloaded] > 0).all()
    assert run.regret_bound is None
    assert run.overspending_bound is None
    spent = np.cumsum(run.offloaded)
    if spent[-1] < regret.affordable(len(trace), budget):  # where nothing had to be stopped
        assert unit == "samples" or (run.offload_probability == soft.offload_probability).all()
    assert run.transmissions <= max(spent[-1], 0)


@pytest.mark.parametrize("unit", ["samples", "offloads"])
def test_many_strict_runs_offload_as_often_as_they_say(unit):
    """What is drawn less its probability given the past is a martingale: its mean is zero."""
    trace = hi.load_trace("cifar10-resnet8").shuffled(3)
    trace = hi.Trace(trace.confidence[:600], trace.correct[:600])
    left, sent = [], []
    for seed in range(200):
        run = hi.replay(trace, 0.1, 7, learning_rate=0.5, budget=0.1, unit=unit, seed=seed, strict=True)
        left.append(run.offloaded.sum() - run.offload_probability.sum())
        sent.append(run.offloaded.sum())
    assert abs(np.mean(left)) <= 4 * np.std(left, ddof=1) / math.sqrt(200)
    assert max(sent) == 60  # in some of them the budget was gone
    times = hi.CIFAR10.timing.of_run(run)
    assert times.offloads == run.offloaded.sum()


def test_who_has_no_use_for_a_budget_says_so():
    trace = hi.synthetic_trace(50, seed=0)
    for learner in ("hil-n", "apple", "naive", "quantised", "hi-lcb", "always", "never"):
        with pytest.raises(ValueError, match=f"budget must be left out for learner '{learner}': only hil-f keeps one"):
            hi.replay(trace, 0.5, 2, learner, budget=0.2)
    for wrong, says in [
        ({"budget": 1.5}, r"budget must be in \[0, 1\]"),
        ({"budget": 20}, "a percentage"),
        ({"budget": 0.2, "price": 1}, "budget must be left out where transmissions cost"),
        ({"budget": 0.2, "share": 0.1}, "budget must be left out where transmissions cost, a share is spread"),
        ({"budget": 0.2, "delay": 3}, "or feedback is late"),
        ({"budget": 0.2, "learning_rate": "anytime"}, "learning_rate must be one of tuned, vanilla, adaptive"),
        ({"budget": 0.2, "learning_rate": -1}, "learning_rate must be in"),
        ({"budget": 0.2, "multiplier_rate": 0}, "multiplier_rate must be in"),
        ({"multiplier_rate": 0.1}, "multiplier_rate and strict must be left out where there is no budget"),
        ({"strict": True}, "multiplier_rate and strict must be left out where there is no budget"),
    ]:
        with pytest.raises(ValueError, match=says):
            hi.replay(trace, 0.5, 2, **wrong)
    with pytest.raises(ValueError, match="budget must be at least"):
        hi.replay(hi.Trace([0.0, 0.0, 0.5], [1, 0, 1]), 0.5, budget=0.5)


@given(traces(), below_one, st.integers(1, 9), open_budgets)
def test_the_plain_forecaster_with_a_fixed_multiplier_is_a_dearer_offload(trace, beta, size, budget):
    """With μ so small that λ never leaves 0, the budget is not there."""
    feasible(trace, budget)
    run = hi.replay(trace, beta, size, learning_rate=0.7, budget=budget, multiplier_rate=1e-300)
    cells, offload = Forecaster(trace.confidence), np.empty(len(trace))
    for start in range(0, len(trace), size):
        batch = slice(start, start + size)
        offload[batch] = cells.offload_probability(trace.confidence[batch], 0.7)
        cells.update(trace.confidence[batch], beta - ~trace.correct[batch])
    assert run.offload_probability == pytest.approx(offload, abs=1e-9)


def test_halves_are_whole():
    with pytest.raises(ValueError, match="n must be a multiple of 4, got 6"):
        two_halves(6, late=False)
