"""What the page on the price of √M counts, on tables and traces worked out by hand."""

import math

import pandas as pd
import pytest

import hi_lib as hi
from hi_book.figures import sqrt_m_loss as page


def test_samples_are_repeated_in_a_row_as_many_as_fit():
    trace = page.repeated(hi.Trace([0.1, 0.2, 0.3, 0.4, 0.5], [1, 0, 1, 1, 1]), 2)
    assert trace.confidence.tolist() == [0.1, 0.1, 0.2, 0.2]
    assert trace.correct.tolist() == [True, True, False, False]


def test_a_trace_shorter_than_a_batch_repeats_its_first_sample():
    assert page.repeated(hi.Trace([0.1, 0.2], [1, 0]), 3).confidence.tolist() == [0.1] * 3


def test_a_trace_of_one_cell_has_nothing_to_regret():
    table = page.order_regrets([hi.Trace([1.0, 1.0], [1, 0])], 0.5, [1, 2], run_length=2)
    assert table["regret"].tolist() == [0.0] * 12


def test_orders_and_their_rates_by_hand():
    """One confidence of ½: L = ln 2, and η = √(8 L / (n M))."""
    table = page.order_regrets([hi.Trace([0.5] * 5, [1] * 5)], 0.5, [1, 4], run_length=2)
    assert table["order"].unique().tolist() == ["shuffled", "runs of 2", "repeated through a batch"]
    assert table["n"].tolist() == [5, 5, 5, 5, 4, 4, 4, 4, 5, 5, 4, 4]
    tuned_for = [1, 1, 4, 1] * 3
    rates = [math.sqrt(8 * math.log(2) / (n * size)) for n, size in zip(table["n"], tuned_for, strict=True)]
    assert table["rate"].tolist() == pytest.approx(rates)
    # In a single batch every threshold above ½ pays β for each sample, half of all thresholds.
    whole = table[(table["order"] == "repeated through a batch") & (table["batch_size"] == 4)]
    assert whole["regret"].tolist() == pytest.approx([4 * 0.5 / 2] * 2)


def test_the_slope_of_a_power():
    table = pd.DataFrame({"batch_size": [1, 4], "mean": [3.0, 3 * 4**0.7], "error": [0.3, 0.3 * 4**0.7]})
    assert page.slope_and_error(table) == pytest.approx((0.7, math.hypot(0.1, 0.1) / math.log(4)))


def coin_table(sizes):
    return pd.DataFrame(
        [
            (case, size, learner, mean * size**0.5, 0.5, 10 * size**0.5, 40 * size**0.5)
            for case, learner, mean in (
                *(("one confidence", "hil-f", 11), ("one confidence", "apple", 12)),
                *(("halving", "hil-f", 10), ("halving", "apple", 10)),
            )
            for size in sizes
        ],
        columns=["case", "batch_size", "learner", "mean", "error", "exact", "bound"],
    )


def order_table(sizes):
    return pd.DataFrame(
        [
            (order, size, rate, seed, 10 + add * (size - 1) + seed, 0.4, 100)
            for order, add in (("shuffled", 1), ("runs of 2", 2), ("repeated through a batch", 3))
            for rate in ("tuned", "fixed")
            for size in sizes
            for seed in (-0.1, 0.1)
        ],
        columns=["order", "batch_size", "learning_rate", "seed", "regret", "rate", "n"],
    )


def test_numbers_by_hand():
    sizes = [1, 2, 4]
    found = page.numbers(coin_table(sizes), order_table(sizes), page.Coins(0.5, sequences=4), run_length=2)
    assert found["coin_deviation_max"] == pytest.approx(2 * 2 / 0.5)  # apple's at M = 4
    assert (found["coin_slope"], found["exact_slope"]) == pytest.approx((0.5, 0.5))
    assert found["coin_scatter_apple"] == pytest.approx(0.5 * 2 / 12)
    assert (found["halving_deviation_max"], found["bound_over_halving_max"]) == pytest.approx((0, 4))
    assert (found["shuffled_growth_fixed"], found["shuffled_added"]) == pytest.approx((1.3, 3))
    price = 1 + 0.4**2 * 100 / 16 + 0.4 / 4 * (1 + math.log(100))
    assert found["theorem_allows"] == pytest.approx(3 * price)
    # Two shuffles 0.2 apart have a standard error of 0.1; the difference of two means, √2 times that.
    assert found["added_over_allowed_max"] == pytest.approx((3 - 4 * 0.1 * 2**0.5) / (3 * price))
    assert (found["runs_before"], found["runs_after"]) == pytest.approx((12 / 10, 16 / 12))


def unknown(found):
    return {name for name, value in found.items() if math.isnan(value)}


def test_a_growth_from_one_needs_single_samples():
    found = page.numbers(coin_table([2, 4]), order_table([2, 4]), page.Coins(0.5, sequences=4), run_length=2)
    growths = {"shuffled_growth_fixed", "shuffled_growth_tuned", "shuffled_added", "added_over_allowed_max"}
    assert unknown(found) == {*growths, "runs_before"}
    assert found["runs_after"] == pytest.approx(16 / 12)


def test_one_batch_size_has_no_slope_and_another_length_of_runs_no_growth():
    orders = order_table([1]).replace({"order": {"runs of 2": "runs of 3"}})
    found = page.numbers(coin_table([1]), orders, page.Coins(0.25, sequences=4), run_length=3)
    slopes = {"coin_slope", "coin_slope_error", "exact_slope", "slope_deviation", "slope_from_half", "repeated_slope"}
    assert unknown(found) == {
        *slopes,
        *("added_over_allowed_max", "runs_before", "runs_after"),  # no batches, none as long as a run
        "bound_over_halving_max",  # which is about even coins
    }
    assert (found["shuffled_growth_fixed"], found["theorem_allows"]) == (1, 0)


def test_one_run_has_no_standard_error():
    """Of one sequence and one shuffle: their means are known, and no verdict that needs an error."""
    orders = order_table([1, 2, 4])
    found = page.numbers(
        coin_table([1, 2, 4]).assign(error=math.nan), orders[orders["seed"] > 0], page.Coins(0.5, sequences=1), 2
    )
    deviations = {"coin_deviation_max", "halving_deviation_max", "slope_deviation", "slope_from_half"}
    scatter = {"coin_slope_error", "coin_scatter", "coin_scatter_apple", "added_over_allowed_max"}
    assert unknown(found) == deviations | scatter
