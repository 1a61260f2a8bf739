"""What Fig. 6's page counts, against the closed form (9) written out."""

import math

import numpy as np
import pytest

import hi_lib as hi
from hi_book.figures import fig6_processing_ratio as page

# At ρ = 1 and α = ½, (9) is M† = √(τ_nw / (τ_ed / 2 + τ_es + τ_tx)).
HELD = page.Held(offload_ratio=1.0, tau_es=2.0, tau_ed=4.0)
RATIOS = np.array([0.5, 2.0])
TX, NW = hi.IMAGENETTE.timing.tau_tx, hi.IMAGENETTE.timing.tau_nw


def test_the_held_time_stays_and_the_other_follows_the_ratio():
    device, _ = HELD.device_varies(RATIOS, 0.5)
    assert device == pytest.approx([(NW / (0.5 + 2 + TX)) ** 0.5, (NW / (2 + 2 + TX)) ** 0.5])  # τ_ed = 1 and 4
    server, _ = HELD.server_varies(RATIOS, 0.5)
    assert server == pytest.approx([(NW / (2 + 8 + TX)) ** 0.5, (NW / (2 + 2 + TX)) ** 0.5])  # τ_es = 8 and 2


def test_optima_hold_both_panels():
    table = page.optima(HELD, RATIOS, [0.5, 0.9])
    assert list(table["panel"]) == [page.DEVICE_VARIES] * 4 + [page.SERVER_VARIES] * 4
    assert list(table["ratio"]) == [0.5, 2.0] * 4
    even, large = (table[table["alpha"] == alpha]["relaxed"].to_numpy() for alpha in (0.5, 0.9))
    assert large == pytest.approx(3 * even)  # √(α / (1 − α)) is 3


def test_numbers_by_hand():
    found = page.numbers(HELD, RATIOS, [0.5], 0.5)
    slow, fast, same = ((NW / (load + TX)) ** 0.5 for load in (10, 2.5, 4))
    assert found["server_held_step_max"] == pytest.approx(same - fast)  # falls
    assert found["device_held_step_max"] == pytest.approx(same - slow)  # rises
    # With τ_es = 4.41 M† is √(20 / 10.4) = 1.38 and √(20 / 13.8) = 1.21 instead of 1.64 and 1.50; (9)'s integer is
    # the smallest M with M (M + 1) ≥ M†²: 2 for 2.69 and 2.24, 1 for 1.91 and 1.45.
    assert (found["changed_by_constant"], found["moved_by_constant"]) == (2, 1)
    assert (found["device_held_first"], found["device_held_last"], found["points"]) == (1, 2, 2)


def test_one_ratio_leaves_open_which_way_the_batch_goes():
    found = page.numbers(HELD, page.processing_ratios(2, 2.0), [0.5, 0.9], 0.5)
    assert math.isnan(found["server_held_step_max"])
    assert math.isnan(found["device_held_step_max"])
    assert found["device_held_first"] == found["device_held_last"] == 2


def test_ratios_rise_whichever_end_comes_first_and_are_checked():
    assert page.processing_ratios(5, 0.1).tolist() == page.processing_ratios(0.1, 5.0).tolist()
    with pytest.raises(ValueError, match=r"smallest_ratio must be in \(0, inf\), got 0"):
        page.processing_ratios(0, 5.0)
    with pytest.raises(ValueError, match=r"held_tau_es must be in \(0, inf\), got 0"):
        page.Held(0.5, 0, 1.48)
