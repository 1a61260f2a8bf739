"""What the page on adaptive batch sizes counts, on runs worked out by hand; the ways to choose M: test_adaptive.py."""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import hi_lib as hi
from hi_book.figures import adaptive_batch_size as page

TIMING = hi.TimingModel(tau_ed=1, tau_es=2, tau_tx=3, tau_nw=10)
ENVIRONMENT = page.Environment(TIMING, 1.0, 1.0, 0.5, 200, 2, 0.5, calm=10.0, slow=100.0, slow_share=0.25)


def test_a_change_comes_half_way():
    assert page.one_change(5, 1, 9).tolist() == [1, 1, 9, 9, 9]


def test_all_sizes_of_the_bounds_table_add_up():
    """Batches of 2, 4 and 6 of one confidence: L = ln 2, and the bound is √(L Σ M² / 2)."""
    table = page.bounds(hi.Trace([0.5] * 12, [0, 1] * 6), 0.5, np.array([2, 4, 6]))
    assert table["sizes"].unique().tolist() == ["M = 4", "adaptive", "at random, mean 4"]
    assert table["sum of squares"].tolist()[:4] == [48, 48, 56, 56]
    assert table["bound"].tolist()[:3:2] == pytest.approx([np.sqrt(np.log(2) * squares / 2) for squares in (48, 56)])


def test_vanilla_on_known_networks():
    """All offloaded, M = 1: busy time and response are both 1 + 2 + 3 + τ_nw, so that f is, too."""
    paths = page.network_paths(ENVIRONMENT)
    assert paths["steady"].objective["vanilla"] == pytest.approx(np.full((2, 200), 6 + 20))
    assert paths["one change"].objective["vanilla"][:, [99, 100]] == pytest.approx(np.array([[16, 106]] * 2))
    assert set(paths["bursts"].means) <= {10, 100}
    kept = page.deadlines(replace(ENVIRONMENT, variation=0.0), deadline=26, miss_probability=0.05)
    # At 20 ms all are just in time; at 30, in the third quarter, none is.
    assert kept["steady"].late["vanilla"].mean() == 0
    assert kept["one slow quarter"].late["vanilla"].mean(axis=0).tolist() == [0] * 100 + [1] * 50 + [0] * 50
    assert kept["one slow quarter"].system["vanilla"] == pytest.approx(6 + 0.75 * 10 + 0.25 * 30)


def test_a_gain_is_in_per_cent_of_the_best_fixed_size():
    objective = {page.FIXED: np.full((2, 3), 10.0), "adaptive": np.array([[9.0] * 3, [7.0] * 3])}
    assert page.gain(objective, "adaptive") == pytest.approx((20, 10))


def test_numbers_by_hand():
    policies = [page.FIXED, "vanilla", *page.CONTROLLERS, "informed", page.OFFLOADS]
    objective = {name: np.array([[10.0 + place], [10.0 - place]]) for place, name in enumerate(policies)}
    paths = dict.fromkeys(("steady", "one change", "bursts"), page.Paths(np.full(200, 10.0), objective))
    plain, short = page.CONTROLLERS
    rows = [
        (plain, 30, -2, 0.5),
        (plain, 300, 3, 0.5),
        (short, 30, -1, 0.5),
        (short, 100, 0.9, 0.5),
        (short, 300, 4, 1),
    ]
    lengths = pd.DataFrame(rows, columns=["policy", "length", "gain", "error"])
    bounds = pd.DataFrame(
        [("M = 4", "tuned", 2.0, 4.0, 8.0), ("adaptive", "tuned", 2.5, 6.0, 8.0)],
        columns=["sizes", "learning rate", "average cost", "regret", "bound"],
    )
    found = page.numbers(
        replace(ENVIRONMENT, alpha=0.9), bounds, paths, lengths
    )  # batches of some three: a memory of 60
    assert (found["varying_over_bound_max"], found["cost_within"]) == pytest.approx((0.75, 25))
    assert found["change_gain"] == pytest.approx(0)  # one run loses a fifth, the other gains it
    assert (found["short_length"], found["short_short_loss"], found["short_pays_from"]) == (30, 1, 300)
    assert (found["short_loss_in_errors"], found["long_gain_in_errors"]) == (4, 6)


def test_late_answers_by_hand():
    """2400 samples, the third quarter slow: the adaptive policy is late for its first 150, the fixed one for all."""
    place = np.arange(2400)
    slow = (place >= 1200) & (place < 1800)
    policies = {
        page.FIXED: slow,
        "adaptive": slow & (place < 1350),
        "average network": place < 0,
        page.RIVAL: slow & (place >= 1700),
    }
    late = {name: flags[None] for name, flags in policies.items()}  # one run
    found = page.InTime(np.zeros(2400), late, {page.FIXED: 7, "adaptive": 8, page.RIVAL: 9})
    values = page.deadline_numbers(dict.fromkeys(("steady", "one slow quarter", "bursts"), found), 0.05, 500)
    assert (values["target"], values["fixed_late_slow"], values["fixed_late"]) == (5, 100, 25)
    assert (values["adaptive_late_first"], values["adaptive_late_settled"]) == (30, 0)
    assert (values["rival_late_first"], values["rival_late"], values["rival_system"]) == (0, pytest.approx(100 / 24), 9)
    assert (values["adaptive_late"], values["late_most"], values["fixed_system"]) == (6.25, 6.25, 7)


def lengths_of(**gains):
    """A table of gains by the length of bursts, 30 for `at_30`, the same for both controllers; errors of ½."""
    rows = [(policy, int(name[3:]), gain, 0.5) for policy in page.CONTROLLERS for name, gain in gains.items()]
    return pd.DataFrame(rows, columns=["policy", "length", "gain", "error"])


def test_bursts_are_short_or_long_against_the_memory():
    found = page._bursts(lengths_of(at_300=3, at_100=2, at_30=-2), memory=200)
    assert (found["short_length"], found["short_loss_in_errors"], found["long_gain_in_errors"]) == (30, 4, 6)
    assert found["short_pays_from"] == 100
    long = page._bursts(lengths_of(at_1000=3), memory=200)
    assert [key for key, value in long.items() if value == value] == ["long_gain_in_errors"]
    short = page._bursts(lengths_of(at_30=-2), memory=200)
    assert [key for key, value in short.items() if value != value] == ["short_pays_from", "long_gain_in_errors"]


def test_a_gap_leaves_open_from_where_on_it_pays():
    """It pays at 30 by chance, and at 300 it does not: from 1000 on."""
    found = page._bursts(lengths_of(at_30=2, at_300=0, at_1000=4), memory=200)
    assert found["short_pays_from"] == 1000


def test_one_run_shows_no_error(recwarn):
    objective = {page.FIXED: np.full((1, 3), 10.0), "adaptive": np.array([[9.0] * 3])}
    gain, error = page.gain(objective, "adaptive")
    assert gain == pytest.approx(10)
    assert np.isnan(error)
    objective |= {"average network": objective["adaptive"], "informed": objective["adaptive"]}
    objective |= {page.OFFLOADS: objective["adaptive"]}
    plt.close(
        page.price_over_time(
            {"steady": page.Paths(np.zeros(3), objective)} | {"again": page.Paths(np.zeros(3), objective)}, 1
        )
    )
    assert not recwarn.list


def test_a_quarter_shorter_than_settling_has_not_settled():
    late = dict.fromkeys((page.FIXED, "adaptive", page.RIVAL), np.ones((1, 400), dtype=bool))
    found = page.InTime(np.zeros(400), late, dict.fromkeys(late, 7.0))
    networks = dict.fromkeys(("steady", "one slow quarter", "bursts"), found)
    values = page.deadline_numbers(networks, 0.05, 200)
    unknown = [key for key, value in values.items() if value != value]
    assert unknown == ["adaptive_late_first", "adaptive_late_settled", "rival_late_first"]
    assert values["late_most"] == 100
    assert np.isnan(page.deadline_numbers(networks, 0.1, 50)["late_most"])
    late = dict.fromkeys(page.POLICY_COLOURS, np.ones((1, 400), dtype=bool))
    plt.close(page.deadline_over_time(page.InTime(np.zeros(400), late, {}), 0.05, window=500))


def test_a_deadline_that_nothing_keeps_and_one_that_everything_does():
    def sizes(deadline):
        found = page.compare_in_time(replace(ENVIRONMENT, samples=600), np.full(600, 10.0), 0, deadline, 0.05)
        return {name: found[name].sizes[0] for name in ("average network", "best fixed")}

    assert sizes(1.0) == {"average network": 1, "best fixed": 1}
    assert sizes(1e9) == {"average network": page.LARGEST, "best fixed": page.LARGEST}


def test_network_times_are_not_negative():
    with pytest.raises(ValueError, match="calm must be in"):
        replace(ENVIRONMENT, calm=-1.0)
