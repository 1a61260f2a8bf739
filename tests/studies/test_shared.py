"""Devices that share a budget: the slow way, a linear programme, and who gets more."""

import math

import numpy as np
import pytest
from conftest import traces
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.optimize import linprog

import hi_lib as hi
from hi_lib import regret
from hi_lib.studies import shared

below_one, open_budgets = st.floats(0, 0.99), st.floats(0.01, 1)


def easy_and_hard(n, seed):
    """A device that is nearly always right, and one that often errs, both calibrated."""
    rng = np.random.default_rng(seed)
    confidence = np.stack([rng.uniform(0.8, 1, n), rng.uniform(0.1, 0.9, n)])
    return [
        hi.Trace(each, rng.random(n) < each, name=name) for name, each in zip(("easy", "hard"), confidence, strict=True)
    ]


def the_slow_way(devices, beta, size, eta, budget, mu):
    """Every device over all of its cells, and one λ."""
    n, multiplier = len(devices[0]), 0.0
    edges = [np.unique(np.concatenate(([0.0, 1.0], each.confidence))) for each in devices]
    loss, q, charged = [np.zeros(each.size - 1) for each in edges], np.empty((len(devices), n)), np.empty(n)
    for start in range(0, n, size):
        batch = range(start, min(start + size, n))
        for device, trace in enumerate(devices):
            weight = np.diff(edges[device]) * np.exp(-eta[device] * (loss[device] - loss[device].min()))
            for t in batch:
                above = edges[device][1:] > trace.confidence[t]
                q[device, t] = weight[above].sum() / weight.sum()
                loss[device] = loss[device] + (beta + multiplier - (not trace.correct[t])) * above
        charged[start : start + size] = multiplier
        spent = (q[:, start : start + size] - budget).sum()
        multiplier = min(max(multiplier + mu * spent / len(devices), 0.0), 2 * (1 - beta))
    return q, charged


@pytest.mark.python_source
@given(st.data(), st.integers(1, 3), st.integers(1, 9), below_one, open_budgets, st.floats(0.01, 2))
def test_one_multiplier_for_all_by_definition(data, count, size, beta, budget, mu):
    whole = [data.draw(traces(25)) for _ in range(count)]
    n = min(map(len, whole))
    devices = [hi.Trace(each.confidence[:n], each.correct[:n]) for each in whole]
    eta = [0.3 * (1 + device) for device in range(count)]
    spending = regret.Spending(budget, mu, 2 * (1 - beta))
    q, multiplier = shared.common_multiplier(devices, beta, size, eta, spending)
    expected, charged = the_slow_way(devices, beta, size, eta, budget, mu)
    assert q == pytest.approx(expected, abs=1e-10)
    assert multiplier == pytest.approx(charged, abs=1e-10)


@given(traces(), below_one, st.integers(1, 9), open_budgets)
def test_one_device_alone_is_the_replay(trace, beta, size, budget):
    assume((trace.confidence == 0).mean() <= budget)
    run = hi.replay(trace, beta, size, learning_rate=0.4, budget=budget, multiplier_rate=0.3)
    q, multiplier = shared.common_multiplier([trace], beta, size, [0.4], regret.Spending(budget, 0.3, 2 * (1 - beta)))
    assert (q[0] == run.offload_probability).all()
    assert (multiplier == run.multiplier).all()


@given(st.lists(traces(20), min_size=1, max_size=3), below_one, st.floats(0, 1))
def test_the_best_allotment_is_that_of_a_linear_programme(devices, beta, budget):
    sizes = np.array([len(each) for each in devices])
    curves = [hi.frontier(each, beta) for each in devices]
    least = sum(size * curve.offload_ratio[0] for size, curve in zip(sizes, curves, strict=True)) / sizes.sum()
    if least > budget + 1e-9:
        with pytest.raises(ValueError, match="budget must be at least"):
            shared.best_allotment(devices, beta, budget)
        return
    assume(abs(least - budget) > 1e-6 or least <= budget)
    best = shared.best_allotment(devices, beta, budget)
    cost = np.concatenate([size * curve.average_cost for size, curve in zip(sizes, curves, strict=True)])
    spent = np.concatenate([size * curve.offload_ratio for size, curve in zip(sizes, curves, strict=True)])
    one_each = np.repeat(np.eye(len(devices)), [curve.threshold.size for curve in curves], axis=1)
    found = linprog(cost, A_ub=spent[None], b_ub=[budget * sizes.sum()], A_eq=one_each, b_eq=np.ones(len(devices)))
    assert best.average_cost @ sizes == pytest.approx(found.fun, abs=1e-6 * sizes.sum())
    assert best.offload_ratio @ sizes <= budget * sizes.sum() + 1e-9


@given(traces(), below_one, st.floats(0, 1))
def test_a_device_alone_has_the_best_mixture(trace, beta, budget):
    assume((trace.confidence == 0).mean() <= budget)
    best, alone = shared.best_allotment([trace], beta, budget), hi.best_mixture(trace, beta, budget)
    assert best.average_cost[0] == pytest.approx(alone.average_cost, abs=1e-9)


def test_the_hard_device_gets_more_and_both_together_pay_less():
    """Beyond four standard errors of the differences between the two ways, seed by seed in the table's means."""
    table = shared.shared_budget(easy_and_hard(3000, seed=5), beta=0.2, budget=0.2, seeds=range(10))
    assert table["sharing"].tolist() == [shared.COMMON, shared.EQUAL] * 3
    assert table["device"].tolist() == ["easy", "easy", "hard", "hard", shared.ALL, shared.ALL]
    rows = table.set_index(["device", "sharing"])
    for column in ("average_cost", "offload_ratio", "best_cost", "best_ratio"):
        for sharing in (shared.COMMON, shared.EQUAL):
            each = rows[column][:, sharing]
            assert each[shared.ALL] == pytest.approx((each["easy"] + each["hard"]) / 2)
    ratio, ratio_error = rows["offload_ratio"], rows["offload_ratio_error"]
    gained = ratio["hard", shared.COMMON] - ratio["easy", shared.COMMON]
    assert gained > 4 * math.hypot(ratio_error["hard", shared.COMMON], ratio_error["easy", shared.COMMON])
    more = ratio["hard", shared.COMMON] - ratio["hard", shared.EQUAL]
    assert more > 4 * math.hypot(ratio_error["hard", shared.COMMON], ratio_error["hard", shared.EQUAL])
    total = rows.loc[shared.ALL]
    saved = total["average_cost"][shared.EQUAL] - total["average_cost"][shared.COMMON]
    assert saved > 4 * math.hypot(*total["average_cost_error"])
    # The budget is kept as the bound says, and so are the costs.
    devices = easy_and_hard(3000, seed=5)
    bound = sum(hi.budget_regret_bound(3000, 1, hi.lambda_min(each), 0.2) for each in devices) / 6000
    common, equal = total.loc[shared.COMMON], total.loc[shared.EQUAL]
    assert common["offload_ratio"] - 0.2 <= bound / 0.8
    assert common["average_cost"] - common["best_cost"] <= bound
    assert common["best_cost"] < equal["best_cost"]
    assert total["best_ratio"].max() <= 0.2 + 1e-9


def test_equal_shares_are_replays_and_one_seed_has_no_error():
    devices = easy_and_hard(400, seed=1)
    table = shared.shared_budget(devices, 0.3, 0.1, batch_size=4, seeds=[2], samples=300, learning_rate=0.2)
    order = devices[1].shuffled(2 * 2 + 1)
    run = hi.replay(hi.Trace(order.confidence[:300], order.correct[:300]), 0.3, 4, learning_rate=0.2, budget=0.1)
    row = table[(table["device"] == "hard") & (table["sharing"] == shared.EQUAL)].iloc[0]
    assert (row["average_cost"], row["offload_ratio"]) == (run.average_cost, run.offload_ratio)
    assert table[["average_cost_error", "offload_ratio_error"]].isna().all(axis=None)
    nameless = shared.shared_budget([hi.Trace([0.5, 0.6], [0, 1])], 0.3, 0.5, seeds=[0], multiplier_rate=0.1)
    assert set(nameless["device"]) == {"device 0", shared.ALL}


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"traces": []}, "traces and seeds must hold at least one"),
        ({"seeds": []}, "traces and seeds must hold at least one"),
        ({"samples": 51}, "samples must be at most 50"),
        ({"beta": 2}, "beta must be in"),
        ({"budget": -1}, "budget must be in"),
        ({"learning_rate": "adaptive"}, "learning_rate must be one of tuned"),
        ({"learning_rate": 0}, "learning_rate must be in"),
        ({"multiplier_rate": 0}, "multiplier_rate must be in"),
        ({"batch_size": 0}, "batch_size must be an integer >= 1"),
        ({"traces": [3]}, "trace must be a hi_lib.Trace"),
    ],
)
def test_bad_arguments_are_refused(more, says):
    arguments = {"traces": easy_and_hard(50, 0), "beta": 0.5, "budget": 0.2, "seeds": [0]} | more
    with pytest.raises(ValueError, match=says):
        shared.shared_budget(**arguments)
