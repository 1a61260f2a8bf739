"""What the page on speed counts, on times simple enough to work out by hand."""

import pandas as pd
import pytest

from hi_book.figures import speed as page
from hi_lib.traces import Trace

COLUMNS = ["method", "samples", "seconds_a_round", "sorts", "peak_megabytes"]


def test_numbers_by_hand():
    # An engine of 4, 5, 6 and 14 ns: by log n as 1, 1, 1 and 2.
    engine = [("engine", 10**k, ns * 1e-9, 3.0 * k, 10) for k, ns in ((4, 4), (5, 5), (6, 6), (7, 14))]
    others = [
        ("plain", 10**4, 8e-5, 9, 1),
        *(("device", 10**k, us * 1e-6, 9, 1) for k, us in ((4, 20), (5, 30), (6, 50))),
        ("256 levels", 10**4, 1e-5, 9, 1),
        *(
            (f"{how}, adaptive", 10**4, us * 1e-6, 9, 1)
            for how, us in (("device", 7), ("256 levels", 8), ("replay", 2))
        ),
        ("device, m offloads", 10**4, 9e-6, 9, 1),
        ("crowd of 100", 10**4, 5e-7, 9, 200),
        ("replay", 10**6, 9e-9, 9, 150),
        ("replay", 10**7, 2e-7, 9, 1500),
    ]
    found = page.numbers(pd.DataFrame([*engine, *others], columns=COLUMNS))
    assert found == pytest.approx(
        {
            "plain_us": 80,
            "plain_ratio": 20_000,
            "engine_ns": 6,
            "replay_ns": 9,
            "engine_sorts": 18,
            "log_growth": 2,
            "replay_s": 2,
            "replay_gb": 1.5,
            "device_us": 20,
            "device_growth": 1.5,
            "device_million_us": 50,
            "levels_us": 10,
            "adaptive_us": 7,
            "adaptive_levels_us": 8,
            "offloads_us": 9,
            "adaptive_replay_s": 0.02,
            "crowd_s": 0.5,
            "crowd_mb": 200,
        }
    )


def test_the_table_puts_methods_together_and_writes_three_digits():
    rows = [("sort", 1000, 5e-9, 1, 41.4), ("engine", 1000, 1.2345e-4, 1478.7, 40), ("sort", 10**6, 2e-8, 1, 1200)]
    table = page.shown(pd.DataFrame(rows, columns=COLUMNS))
    assert table.to_numpy().tolist() == [
        ["engine", "1,000", "123", "8,100", "1,479", "40"],
        ["sort", "1,000", "0.005", "200,000,000", "1", "41"],
        ["sort", "1,000,000", "0.02", "50,000,000", "1", "1,200"],
    ]


def test_the_price_of_a_grid_by_hand():
    """Wrong at 0.3, right at 0.4: a threshold between costs β, on halves both are offloaded or none."""
    traces = [Trace([0.3, 0.4], [0, 1]), Trace([0.3, 0.6], [0, 1])]
    assert page.grid_price(traces, beta=0.5, levels=2) == pytest.approx((1 - 0.5) / 2)


def test_a_plain_learner_that_is_left_out_has_no_times():
    methods = {"engine": range(4, 8), "device": range(4, 7), "256 levels": [4], "replay": [6, 7], "plain": [4, 5]}
    methods |= {f"{how}, adaptive": [4] for how in ("device", "256 levels", "replay")} | {"device, m offloads": [4]}
    methods["crowd of 100"] = [4]
    rows = [(method, 10**k, 1e-6, 2.0, 10) for method, powers in methods.items() for k in powers]
    table = pd.DataFrame(rows, columns=COLUMNS)
    some = page.drawn(table, 10**4)
    assert len(some) == len(table) - 1
    assert page.numbers(some)["plain_ratio"] == pytest.approx(1)
    found = page.numbers(page.drawn(table, 1000))
    assert [key for key, value in found.items() if value != value] == ["plain_us", "plain_ratio"]
