"""What the trade-off's page counts, on tables and traces small enough to work out by hand."""

import numpy as np
import pandas as pd
import pytest

import hi_lib as hi
from hi_lib.figures import batch_size_trade_off as page

# Wrong and unsure, or right and sure; the shortest cell between 0, 0.25, 0.75 and 1 has length ¼.
TRACE = hi.Trace([0.25, 0.75] * 8, [0, 1] * 8, name="cifar10-small")
CASE = page.Case(TRACE, beta=0.5, ratio=0.5)


def test_times_are_those_of_the_trace_s_data_set():
    assert CASE.timing == hi.CIFAR10.timing
    assert page.Case(hi.Trace([0.5], [1], name="imagenette-x"), 0.5, 0.5).timing == hi.IMAGENETTE.timing
    # (9) at α = ½: 20 / (0.5 · 0.75 · 0.39 + 0.25 · 4.78) = 14.9 lies between 3 · 4 and 4 · 5.
    assert CASE.optima([0.5]) == {0.5: 4}


def test_quantities_by_hand():
    columns = ["learning_rate", "batch_size", "accuracy", "average_cost", "regret", "regret_bound", "offload_ratio"]
    columns += ["system_time", "response_time"]
    runs = pd.DataFrame(
        [("tuned", 2, 0.9, 0.3, 5.0, 9.0, ratio, 10 * ratio, 8.0) for ratio in (0.4, 0.6)], columns=columns
    )
    row = page.quantities(CASE, runs).iloc[0]
    assert (row["regret_bound"], row["offload_ratio_mean"]) == (9, 0.5)
    assert row["system_time"] == pytest.approx(0.39 + 0.5 * (4.29 + 0.49) + 20 / 2)
    assert (row["system_time_exact"], row["response_time_exact"]) == pytest.approx((5, 8))


def test_cost_ratio_is_that_of_one_batch_size_over_one():
    costs = [hi.replay(TRACE.shuffled(0), 0.5, size).average_cost for size in (1, 4)]
    assert page.cost_ratio([CASE], [0.5], "tuned", shuffles=1) == pytest.approx(max(costs[1] / costs[0], 1))


def test_numbers_by_hand():
    """The regret grows by half."""
    bound = np.sqrt(16 * np.log(4) / 2)
    rows = [
        (rate, size, regret, bound * size**0.5, 0.5, paper, exact)
        for rate in ("tuned", "vanilla")
        for size, regret, paper, exact in ((1, 2.0, 7.0, 9.0), (4, 3.0, 5.0, 8.0))
    ]
    columns = ["learning_rate", "batch_size", "regret_mean", "regret_bound_mean", "offload_ratio_mean"]
    table = pd.DataFrame(rows, columns=[*columns, "response_time", "response_time_exact"])
    found = page.numbers({"x": CASE}, {"x": table}, [CASE], [0.5], shuffles=1)
    # 1.48 + 0.421 (4.41 + 4.93) + 20 ms, which charges 11.58 ms too much.
    assert found["paper_time_over_vanilla"] == pytest.approx(25.41214 / 13.83214, rel=1e-3)
    assert found["vanilla_regret_over_bound"] == found["regret_over_bound_max"] == pytest.approx(2 / bound)
    assert found["regret_growth_single"] == 1.5
    assert found["system_time_step_max"] == pytest.approx(20 / 4 - 20)
    assert found["response_time_step_min"] == pytest.approx(3 * (0.5 * 0.75 * 0.39 + 0.25 * 4.78))
