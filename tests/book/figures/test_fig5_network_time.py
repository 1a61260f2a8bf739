"""What Fig. 5's page counts, against the closed form (9) written out."""

import math

import numpy as np
import pytest

import hi_lib as hi
from hi_book.figures import fig5_network_time as page

# At ρ = 1 and α = ½, (9) is M† = √(τ_nw / B) with B = τ_ed / 2 + τ_es + τ_tx; M* is the least M with M (M + 1) > M†².
TIMING = hi.IMAGENETTE.timing
SLOWNESS = TIMING.tau_ed / 2 + TIMING.tau_es + TIMING.tau_tx
TIMES = np.array([1.0, 4.0, 9.0]) * SLOWNESS


def test_optima_by_hand():
    table = page.optima(1.0, TIMES, [0.5, 0.9])
    even, large = (table[table["alpha"] == alpha] for alpha in (0.5, 0.9))
    assert even["relaxed"].to_numpy() == pytest.approx([1, 2, 3])
    assert even["integer"].tolist() == [1, 2, 3]
    assert large["relaxed"].to_numpy() == pytest.approx([3, 6, 9])  # √(α / (1 − α)) is 3


def test_numbers_by_hand():
    found = page.numbers(1.0, page.optima(1.0, TIMES, [0.5]), 0.5)
    assert (found["integer_step_min"], found["integer_growth_min"], found["integer_at_slowest"]) == (1, 2, 3)
    assert found["integer_at_default"] == 1  # M†² is 20 / 10.08, just below 1 · 2


def test_one_network_time_grows_nowhere():
    times = page.network_times(9 * SLOWNESS, 9 * SLOWNESS)
    found = page.numbers(1.0, page.optima(1.0, times, [0.5]), 0.5)
    assert math.isnan(found["integer_step_min"])
    assert math.isnan(found["integer_growth_min"])
    assert found["integer_at_slowest"] == 3


def test_the_axis_rises_whichever_end_comes_first():
    assert page.network_times(50, 2).tolist() == page.network_times(2.0, 50.0).tolist()
    assert (page.network_times(2, 50)[0], page.network_times(2, 50)[-1]) == (2, 50)
    with pytest.raises(ValueError, match=r"slowest_network must be in \[0, inf\), got -1"):
        page.network_times(2.0, -1.0)
    with pytest.raises(ValueError, match=r"offload_ratio must be in \(0, 1\], got 0"):
        page.optimum(0)
