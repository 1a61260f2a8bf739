"""Budgets on offloads, in hindsight and learned online: by brute force, by definition, and below their bounds."""

import itertools

import numpy as np
import pytest
from conftest import costs, traces
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.optimize import linprog

import hi_lib as hi
from hi_lib import regret

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
    assert hi.budget_of_energy(0.03, 0.01, 0.1) == pytest.approx(0.2)
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
