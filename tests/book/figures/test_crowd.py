"""What the page on a crowd counts, by hand, by brute force, and with the event-by-event simulation."""

import math

import numpy as np
import pandas as pd
import pytest

import hi_lib as hi
from hi_book.figures import crowd as page
from hi_lib.events.simulation import simulate
from hi_lib.studies.crowd import frontier

TIMING = hi.TimingModel(tau_ed=1, tau_es=4, tau_tx=5, tau_nw=20)
ALL = page.Case(TIMING, 1.0, 2)  # each of two samples is offloaded


def test_two_devices_by_hand():
    (row,) = page.both_times(ALL, [2, 2], [page.Way(page.SINGLE, 1)], 0.9).itertuples(index=False)
    # Answers after 30 and 30 ms, and after 34 and 30, since the second one's first waits for the server.
    assert row[:5] == (page.SINGLE, 2, 1, 31, 31)
    assert row[5] == 1  # the first is as fast as alone
    assert row[6] == 64 / 16  # the second ends at 64, and the server is busy for four images


def test_offloads_are_as_many_as_the_ratio_says():
    case = page.Case(TIMING, 0.421, 1000)
    assert case.offloaded.sum() == 421
    with pytest.raises(ValueError, match="offload_ratio must be in"):
        page.Case(TIMING, 1.1, 5)
    with pytest.raises(ValueError, match="samples must be an integer >= 1"):
        page.Case(TIMING, 0.5, 0)


def test_the_best_batch_of_a_crowd_is_that_of_all():
    case, found = page.Case(hi.IMAGENETTE.timing, 0.4, 300), {}
    for size in range(1, 31):
        log = simulate(case.timing, case.offloaded, size, devices=3)
        found[size] = 0.8 * log.system_time + 0.2 * log.response_time.mean()
    best = page._best(case, 3, 0.8)
    assert best.objective == pytest.approx(min(found.values()), rel=1e-12)


def test_each_way_stands_once():
    assert [way.name for way in page.ways(16, 4)] == ["M = 1", "best M", "M = 16", "M = 1, W = 4"]
    assert [way.name for way in page.ways(1, 1)] == ["M = 1", "best M", "M = 1, W = 1"]
    assert len({way.line for way in page.ways(16, 4)}) == 4


@pytest.mark.parametrize("in_turn", ["requests", "images"])
def test_all_have_work_until_the_end(in_turn):
    case = page.Case(hi.IMAGENETTE.timing, 0.421, 2000)
    found = page.equally_long(case, [16] + [1] * 7, in_turn)
    ends = found.system_times * found.samples
    assert ends.max() / ends.min() - 1 < 0.02
    assert found.samples[0] > 1.3 * found.samples[1:].max()
    work = 0.421 * found.samples.sum() * case.timing.tau_es
    assert 0.9 * ends.max() < work <= ends.max()  # the server is hardly ever idle


def test_who_is_greedy_gains_and_less_where_images_take_turns():
    case = page.Case(hi.IMAGENETTE.timing, 0.421, 2000)
    table = page.fairness(case, 8, 16).set_index("who")
    system, others = table["t_s, first"], table["t_s, others"]
    assert system[page.ONE_REQUEST] < system[page.ONE_IMAGE] < system[page.NOBODY]
    assert others[page.ONE_REQUEST] > others[page.ONE_IMAGE] > others[page.NOBODY]
    assert others[page.ALL] == pytest.approx(others[page.NOBODY], rel=0.05)
    assert table.loc[page.ALL, "t_r, others"] > 5 * table.loc[page.NOBODY, "t_r, others"]
    # The server serves no more than it can: shares of its time add up to at most one (T24).
    shares = 0.421 * case.timing.tau_es * (1 / system + 7 / others)
    assert (shares < 1.02).all()
    assert (shares > 0.9).all()


def test_a_crowd_of_one_has_no_others():
    table = page.fairness(page.Case(TIMING, 0.5, 40), 1, 4)
    assert table["t_s, others"].isna().all()
    assert table["t_s, first"].nunique() == 2


def test_numbers_are_those_of_the_tables():
    case = page.Case(hi.IMAGENETTE.timing, 0.421, 500)
    table = page.both_times(case, [1, 8, 16], page.ways(16, 4), 0.9)
    who = page.points(frontier(case.timing, 0.421, 0.9, [20], [0, 4], [1, 16], samples=1000, seed=0))
    learned = page.learned(hi.synthetic_trace(300, seed=0), case.timing, 0.5, 0.9, [8, 1], 1)
    found = page.numbers(case, table, page.fairness(case, 8, 16), who, learned)
    rows = table.set_index(["way", "devices"])["t_s (ms)"]
    gains = [1 - rows[way, devices] / rows["M = 1", devices] for way, devices in rows.index if devices > 7.45]
    assert found["gain_beyond_percent"] == pytest.approx(100 * max(gains))
    assert found["saturation"] == pytest.approx(7.45, abs=0.005)
    assert found["far_off_percent"] == pytest.approx(
        100 * max(abs(value / (16 * 0.421 * 4.41) - 1) for (_, devices), value in rows.items() if devices == 16)
    )
    assert found["best_alone"] > found["best_beyond"] == 1
    alone = simulate(case.timing, case.offloaded, 1, window=4).system_time
    assert found["saturation_window"] == pytest.approx(alone / (0.422 * 4.41))  # 211 of 500 samples
    assert found["learned_alone"] == learned["best M"][0]
    assert (found["learned_crowd"], found["server_least"]) == (8, 16)
    assert 0 < found["device_gain_there"] < found["merging_gain_most"] < 100


def test_what_the_parameters_do_not_tell_is_not_told():
    case = page.Case(TIMING, 0.5, 60)
    table = page.both_times(case, [2], page.ways(4, 2), 0.5)
    who = page.points(frontier(TIMING, 0.5, 0.5, [20], [0], [1], samples=50, seed=0))
    learned = page.learned(hi.synthetic_trace(60, seed=0), TIMING, 0.5, 0.5, [2], 1)
    found = page.numbers(case, table, page.fairness(case, 1, 4), who, learned)
    for name in (
        "best_alone",
        "best_beyond",
        "gain_beyond_percent",
        "far_off_percent",
        "server_least",
        "learned_alone",
    ):
        assert math.isnan(found[name]), name
    assert math.isnan(found["merging_gain_most"])
    assert math.isnan(found["device_gain_there"])


def test_the_map_says_in_each_cell_who_should_batch():
    rows = [(net, setup, 4, "server", 1, 4.0, 1.0, 2.0, 1.0) for net in (5.0, 20.0) for setup in (0.0, 8.0)]
    rows[0] = (5.0, 0.0, 4, "neither", 1, 1.0, 1.0, 1.0, 1.0)
    names = ["τ_nw", "setup", "D", "who", "M of the devices", "f, neither", "f, server", "f, device", "f, both"]
    figure = page.draw_frontier(pd.DataFrame(rows, columns=names))
    (axis,) = figure.axes
    said = {tuple(np.floor(text.get_position()).astype(int)): text.get_text() for text in axis.texts}
    assert said == {(0, 0): "neither", (0, 1): "server", (1, 0): "server", (1, 1): "server"}
