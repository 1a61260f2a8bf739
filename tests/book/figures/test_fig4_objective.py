"""What Fig. 4's page counts, on settings small enough to work out by hand."""

import math

import numpy as np
import pandas as pd
import pytest

import hi_lib as hi
from hi_book.figures import fig4_objective as page

# At ρ = 1 (9) has B = τ_ed / 2 + τ_es + τ_tx = 2.5.
EVEN = hi.TimingModel(tau_ed=1, tau_es=1, tau_tx=1, tau_nw=12)


def test_optima_by_hand():
    row = page.optima({"x": (EVEN, 1.0)}, [0.5]).iloc[0]
    assert row["M†"] == pytest.approx((12 / 2.5) ** 0.5)  # 2.19: 12/M + 2.5 M is 11 at M = 2, 11.5 at 3
    assert (row["M*"], row["data set"]) == (2, "x")
    assert row["f of vanilla (ms)"] == pytest.approx(1 + 1 + 1 + 12)  # at M = 1 every sample waits for all of it
    alone, two = (EVEN.objective(size, 1.0, 0.5, "worst") for size in (1, 2))
    assert row["true gain of M* (ms)"] == pytest.approx(alone - two)


def test_sensitivity_by_hand():
    """f(M) − f(M†) = A (M†/M + M/M† − 2) with A = √(α τ_nw (1 − α) B): the same for equal factors."""
    table = page.sensitivity(EVEN, 1.0, [0.5], error=0.5)
    scale = (0.5 * 12 * 0.5 * 2.5) ** 0.5
    assert table.loc[page.FACTOR].item() == pytest.approx(0, abs=1e-12)
    assert table.loc[page.ADDITIVE].item() == pytest.approx(scale * ((2 + 0.5) - (2 / 3 + 1.5)))
    # A network time taken for half, or for half as much again: M† is off by √½ and √1.5.
    low, high = (scale * (ratio**-0.5 + ratio**0.5 - 2) for ratio in (0.5, 1.5))
    assert table.loc["τ_nw wrong by ± 50%"].item() == pytest.approx(low - high)


def test_numbers_hold_what_the_claims_ask_for():
    panels = {"Imagenette": (EVEN, 0.5), "CIFAR-10": (EVEN, 0.25)}
    found = page.numbers(panels, pd.Series([0.1, 0.3]), page.Reading([0.3, 0.9], 16, 0.5, gain_batch=2))
    assert found["minimiser_error_max"] < 1e-6
    assert found["second_difference_min"] > 0
    assert found["overcharge"] == 6.0
    assert (found["cifar10_ratio"], found["cifar_ratio_max"]) == (0.25, 0.3)
    assert found["integer_growth_min"] == found["integer_step_min"] > 0  # of two weights
    assert found["paper_gain"] == pytest.approx(12 - 12 / 2)
    assert found["exact_gain"] == pytest.approx(0.5 * 12 - 0.75 * 12 / 2)


def test_the_question_is_answered_by_hand():
    """M† is 2.2 where all is offloaded and 4 where half is; there the exact f is 8, 7.69, 7.63, 7.72 at M = 1 to 4."""
    found = page.asked(EVEN, 1.0, 0.5, 0.5)
    assert (found["asked_before"], found["asked_after"], found["asked_exact"]) == (2, 4, 3)


def test_one_weight_and_no_batches_leave_open_what_they_do_not_decide():
    """At α = 0.1 and ρ = 1 no batch pays: there is no M* above 1 to be one sample off from, and nothing grows."""
    panels = {"Imagenette": (EVEN, 1.0), "CIFAR-10": (EVEN, 1.0)}
    found = page.numbers(panels, pd.Series([0.1]), page.Reading([0.1], 16, 0.5, gain_batch=1))
    unknown = {name for name, value in found.items() if isinstance(value, float) and math.isnan(value)}
    assert unknown == {"integer_gap_min", "integer_step_min", "integer_growth_min"}
    assert found["worse_than_vanilla"] == "nowhere"
    assert found["paper_gain"] == 0


def test_a_bend_that_rounding_hides_is_not_known():
    panels = {"Imagenette": (EVEN, 1.0), "CIFAR-10": (EVEN, 1.0)}
    found = page.numbers(panels, pd.Series([0.1]), page.Reading([0.1], 2**40, 0.5, gain_batch=1))
    assert math.isnan(found["second_difference_min"])


def test_offload_ratios_and_errors_are_checked():
    with pytest.raises(ValueError, match=r"imagenette_offload_ratio must be in \(0, 1\], got 0"):
        page.panels(0, 0.5)
    with pytest.raises(ValueError, match=r"parameter_error must be in \(0, 1\), got 1"):
        page.sensitivity(EVEN, 1.0, [0.5], error=1)


def test_remarks_are_answered_by_hand():
    panels = page.panels(0.421, 0.138)
    found = page.numbers(panels, pd.Series([0.1]), page.Reading([0.3, 0.9], 16, 0.5, gain_batch=5))
    timing = hi.IMAGENETTE.timing
    best = timing.optimal_batch_size(0.421, 0.9).integer
    alone, batched = (float(timing.objective(size, 0.421, 0.9, "worst")) for size in (1, best))
    assert found["imagenette_steep_vanilla"] == pytest.approx(alone)
    assert found["imagenette_steep_gain"] == pytest.approx(alone - batched)
    assert found["cifar_even_loss"] == -found["cifar_even_gain"]
    # α n t_s + (1 − α) t_r with n = 3925, scaled so that both weights add up to one.
    assert found["total_alpha"] == pytest.approx(3925 / 3926)
    sizes = np.arange(1, 2000)
    total = 3925 * timing.system_time(sizes, 0.421) + timing.response_time(sizes, 0.421)
    assert found["total_size"] == sizes[total.argmin()]
