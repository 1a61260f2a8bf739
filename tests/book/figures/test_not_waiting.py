"""What the page on not waiting counts, on small inputs worked by hand."""

import math

import pandas as pd
import pytest

import hi_lib as hi
from hi_book.figures import not_waiting as page

TIMING = hi.TimingModel(tau_ed=1, tau_es=4, tau_tx=5, tau_nw=20)
CERTAIN = hi.Trace([0.0] * 6, [0] * 6)  # confidence 0: always offloaded


def test_a_certain_life_by_hand():
    case = page.Stream("certain", [CERTAIN, CERTAIN], TIMING, 0.5)
    table = page.lives(case, [1, 3], [(2, 1), (math.inf, 1)])
    found = page.means(table).set_index(["device", "M"])
    assert found.loc[("waits", 1), "t_s (ms)"] == pytest.approx(30)
    assert found.loc[("waits", 3), "t_s (ms)"] == pytest.approx((3 + 20 + 3 * 9) / 3)
    assert found.loc[("waits", 3), "outstanding"] == pytest.approx(1)
    # Answers at 30, 35, 59, 64, 88, 93: with two slots, a new one goes out when one is back.
    assert found.loc[("window 2", 1), "t_s (ms)"] == pytest.approx(93 / 6)
    # The link takes 5 ms each, the server 4: the last answer is back at 1 + 6 · 5 + 20 + 4.
    assert found.loc[("no limit", 1), "t_s (ms)"] == pytest.approx(55 / 6)


def test_a_window_beats_the_batches_that_are_slower_in_both():
    rows = [
        (device, size, order, system + order / 100, response)
        for device, size, system, response in [
            ("waits", 1, 9, 5),
            ("waits", 2, 8, 7),
            ("waits", 4, 7, 9),
            ("window 4", 1, 4, 6),
        ]
        for order in range(4)
    ]
    table = pd.DataFrame(rows, columns=["device", "M", "order", "t_s (ms)", "t_r (ms)"])
    assert page.beaten_from(table, "window 4") == 2
    table.loc[table["M"] == 4, "t_s (ms)"] = 3
    assert page.beaten_from(table, "window 4") == 0


def test_the_frontier_by_hand():
    """Everything is offloaded: with a dear transmission a device that waits should not send one image at a time."""
    case = page.Frontier(TIMING, 1.0, 0.9, [0.0, 1000.0], [None, math.inf], (1, 2, 4), samples=400)
    best = case.best(0.0)
    assert best[1, 0] == 1
    assert best[0, 1] == best[1, 1] == 4


def test_late_feedback_and_batches_on_one_axis():
    order = hi.synthetic_trace(300, seed=0)
    case = page.Stream("synthetic", [order, order.shuffled(1)], TIMING, 0.5)
    table = page.lateness(case, [0, 4])
    assert table["batch_size"].tolist() == [1, 1, 9, 9]
    assert table["regret"][0] == pytest.approx(table["regret"][1])
    blocks = [hi.coin_regret(300 // block, 0.5) * block for block in (1, 1, 5, 9)]
    assert table["coins"].tolist() == pytest.approx(blocks)
    assert (table["regret"] <= table["bound"]).all()


def test_arrivals_that_are_too_fast_have_no_times():
    case = page.Stream("certain", [CERTAIN], TIMING, 0.5)
    table = page.arriving(case, [50], 2000, [(0, 1), (4, 1)])  # one in 20 ms; alone a sample takes 30
    assert math.isnan(table["mean"][0])
    assert table["p50"].iloc[-1] == pytest.approx(30, abs=3)
    assert (table.loc[2, ["p50", "p95", "p99"]].diff().dropna() >= 0).all()


def beaten_by(*devices):
    """Of rows (device, M, system time, response time), each over four orders: from which M on a window of 4 wins."""
    rows = [(device, size, order, system, response) for device, size, system, response in devices for order in range(4)]
    table = pd.DataFrame(rows, columns=["device", "M", "order", "t_s (ms)", "t_r (ms)"])
    return page.beaten_from(table, "window 4")


def test_what_the_batch_sizes_do_not_tell_is_not_told():
    four = ("window 4", 1, 4, 6)
    assert math.isnan(beaten_by(("waits", 1, 9, 5), four))  # larger ones may be slower
    assert math.isnan(beaten_by(("waits", 64, 9, 9), four))  # smaller ones may be slower as well
    assert math.isnan(beaten_by(("waits", 1, 9, 5), ("waits", 64, 9, 9), four))
    assert math.isnan(beaten_by(("waits", 1, 9, 5), ("waits", 2, 9, 9)))
    assert beaten_by(("waits", 2, 9, 9), ("waits", 1, 9, 5), four) == 2
    assert beaten_by(("waits", 1, 9, 9), four) == 1


def test_one_order_shows_no_error():
    case = page.Stream("certain", [CERTAIN], TIMING, 0.5)
    assert math.isnan(page.beaten_from(page.lives(case, [1, 2], [(4, 1)]), "window 4"))
    assert page.lateness(case, [1, 0, 1])["error"].isna().tolist() == [True] * 4


def test_ways_to_run_a_device_are_pairs():
    case = page.Stream("certain", [CERTAIN], TIMING, 0.5)
    with pytest.raises(ValueError, match=r"windows must hold pairs of W and M, got \[4\]"):
        page.lives(case, [1], [[4]])


@pytest.mark.parametrize(("overheads", "windows", "found"), [([1000.0, 0.0], [4], 1000), ([1000.0], [4], None)])
def test_batches_pay_from_an_overhead_on_that_was_seen_to_matter(overheads, windows, found):
    best = page.frontier(page.Frontier(TIMING, 0.9, 0.5, overheads, windows), 0.0)
    assert best.batches_from == pytest.approx(found or math.nan, nan_ok=True)
    assert math.isnan(page.frontier(page.Frontier(TIMING, 0.9, 0.5, overheads, [2]), 0.0).batches_from)
