"""What the trade-off's page counts, on tables and traces small enough to work out by hand."""

import math

import numpy as np
import pandas as pd
import pytest

import hi_lib as hi
from hi_book.figures import batch_size_trade_off as page
from hi_lib.studies import sweeps

# Wrong and unsure, or right and sure; the shortest cell between 0, 0.25, 0.75 and 1 has length ¼.
TRACE = hi.Trace([0.25, 0.75] * 8, [0, 1] * 8, name="cifar10-resnet8")
CASE = page.Case(TRACE, beta=0.5, ratio=0.5)


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A trace of one's own."""
    (tmp_path / "mine.csv").write_text("confidence,correct\n0.25,0\n0.75,1\n0.5,1\n")
    monkeypatch.setenv("HI_TRACES", str(tmp_path))


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


def test_where_nothing_is_offloaded_the_best_batch_is_the_whole_trace():
    assert page.Case(TRACE, beta=0.5, ratio=0.0).optima([0.5, 0.9]) == {0.5: 16, 0.9: 16}


@pytest.mark.usefixtures("own")
def test_a_case_has_the_ratio_of_vanilla_hi():
    found = page.case("mine", 0.5, shuffles=2)
    ratios = [hi.replay(found.trace.shuffled(seed), 0.5).offload_ratio for seed in (0, 1)]
    assert found.ratio == pytest.approx(sum(ratios) / 2)
    assert found.timing == hi.IMAGENETTE.timing


@pytest.mark.usefixtures("own")
def test_one_trace_twice_is_told_apart_by_its_beta():
    one, other = (page.Case(hi.load_trace("mine"), beta, 0.5) for beta in (0.3, 0.7))
    assert page.by_title([one, CASE]) == {"mine": one, "CIFAR-10, ResNet-8": CASE}
    assert page.by_title([one, other]) == {"mine, β = 0.3": one, "mine, β = 0.7": other}
    assert page.by_title([one, one]) == {"mine": one}


def test_one_trace_and_one_batch_size_make_a_figure_and_leave_steps_open():
    runs = sweeps.sweep([TRACE], [0.5], [1], ["tuned", "vanilla"], [0], timing=CASE.timing)
    tables, optima = {"x": page.quantities(CASE, runs)}, {"x": {0.5: 4}}
    single = page.at_rate(tables, "vanilla")
    assert len(page.trade_off(single, optima).axes) == 1 + len(page.QUANTITIES)
    found = page.numbers({"x": CASE}, tables, [CASE], [0.5], shuffles=1)
    assert math.isnan(found["system_time_step_max"])
    assert math.isnan(found["response_time_step_min"])
    assert found["regret_growth_single"] == 1


def test_a_trace_of_one_cell_has_no_bound_to_stay_below():
    case = page.Case(hi.Trace([1.0, 1.0], [1, 1], name="sure"), 0.5, 0.0)
    runs = sweeps.sweep([case.trace], [0.5], [1, 2], ["tuned", "vanilla"], [0], timing=case.timing)
    found = page.numbers({"sure": case}, {"sure": page.quantities(case, runs)}, [case], [0.5], shuffles=1)
    unknown = {name for name, value in found.items() if math.isnan(value)}
    ratios = {"cost_ratio_vanilla_max", "cost_ratio_tuned_max", "regret_growth_single"}
    assert unknown == {"vanilla_regret_over_bound", "regret_over_bound_max", *ratios}
