"""What the page on partial feedback counts, against formulas solved by hand."""

import math

import numpy as np
import pandas as pd
import pytest

import hi_lib as hi
from hi_book.figures import partial_feedback as page

SHORTEST, BETA = 1e-6, 0.5
LOG = math.log(1e6)


def test_bounds_are_the_least_over_exploration_and_rate():
    n, size = 5000, 4
    share, rate = np.meshgrid(np.geomspace(1e-3, 1, 400), np.geomspace(1e-4, 1, 400))
    every = n * BETA * share + LOG / rate + rate / 2 * n * (1 / share + size - 1)
    assert page.hil_n_bound(n, size, SHORTEST, BETA) == pytest.approx(every.min(), rel=1e-3)
    assert page.apple_bound(n, size, SHORTEST, BETA) == pytest.approx(2 * math.sqrt((1 + BETA) * n * size * LOG))


def test_the_crossing_solved_by_hand():
    """At M = 1, ε³ = L / (2 n β²), and 3 n β ε meets 2 √((1 + β) n L) at 256 (1 + β)³ L / (729 β²)."""
    assert page.crossing(1, SHORTEST, BETA) == pytest.approx(256 * (1 + BETA) ** 3 * LOG / (729 * BETA**2), rel=0.03)


def test_pseudo_losses_have_no_bias():
    assert page.pseudo_loss_bias(hi.Trace([0.2, 0.6], [1, 1]), BETA) == 0  # nothing wrong, nothing to estimate
    assert 0 < page.pseudo_loss_bias(hi.synthetic_trace(200, 0), BETA) < 5


def test_numbers_by_hand():
    orders = [hi.synthetic_trace(100, 0).shuffled(seed) for seed in range(2)]
    rows = [
        (learner, 100, size, regret, 0.5, bound)
        for learner, size, regret, bound in (
            *(("hil-f", 1, 5, 10), ("hil-f", 4, 6, 20)),
            *(("hil-n", 1, 8, 20), ("hil-n", 4, 9, 25)),
            *(("apple", 1, 7, 16), ("apple", 4, 8, 32)),
        )
    ]
    columns = ["learner", "samples", "batch_size", "regret", "error", "bound"]
    found = page.numbers(pd.DataFrame(rows, columns=columns), orders, BETA)
    assert [found[name] for name in ("full_feedback", "hil_n", "apple", "largest_size")] == [5, 8, 7, 4]
    assert found["hil_n_over_bound_max"] == (8 + 4 * 0.5) / 20
    assert found["apple_over_bound_max"] == (7 + 4 * 0.5) / 16
    assert (found["hil_n_bound_growth"], found["hil_f_bound_growth"]) == (1.25, 2)
    assert found["price_error"] < 1e-9  # (M − 1) ε / 3 is exact while ε < 1
    # 3 (n² β L / 2)^⅓ grows as n^⅔, 2 √((1 + β) n L) as √n.
    assert (found["hil_n_bound_slope"], found["apple_bound_slope"]) == pytest.approx((2 / 3, 1 / 2))


def test_a_crossing_beyond_all_counts_is_none():
    """It lies where the bounds of large batches meet, at M = 256 and a small β far beyond 10⁹ samples."""
    assert math.isnan(page.crossing(256, SHORTEST, 0.01))
    assert math.isnan(page.crossing(1, SHORTEST, 0.0))


def test_lengths_are_in_order_and_not_beyond_the_trace():
    assert page.lengths([3925, 250, 5000, 250], 3925) == [250, 3925]
    assert page.lengths([500], 300) == [300]


def test_one_seed_decides_nothing():
    rows = [(learner, 100, 1, 5.0, math.nan, 10.0) for learner in ("hil-f", "hil-n", "apple")]
    columns = ["learner", "samples", "batch_size", "regret", "error", "bound"]
    found = page.numbers(pd.DataFrame(rows, columns=columns), [hi.synthetic_trace(100, 0)], BETA)
    assert math.isnan(found["hil_n_over_bound_max"])
    assert math.isnan(found["hil_n_fixed_one_error"])
    assert found["hil_n_bound_growth"] == 1


def test_the_price_of_a_batch_is_that_of_a_free_exploration():
    assert math.isnan(page._price_error(1, SHORTEST, BETA))
    assert page._price_error(10_000, SHORTEST, BETA) < 1e-9
