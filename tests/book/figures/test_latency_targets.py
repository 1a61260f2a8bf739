"""What the page on deadlines counts, on a case whose law is known: an offload takes 30 ms, an accepted sample 1 ms."""

import math
from dataclasses import replace

import numpy as np
import pytest

import hi_lib as hi
from hi_book.figures import latency_targets as page
from hi_lib.optima import DeadlineError

CASE = page.Case(hi.TimingModel(tau_ed=1, tau_es=4, tau_tx=5, tau_nw=20), offload_ratio=0.25, samples=400, seed=0)


def test_one_of_each_batch_is_one_of_each_batch():
    alone = CASE.one_of_each_batch(1)
    assert set(alone) == {1.0, 30.0}
    assert (alone == 30).mean() == pytest.approx(0.25, abs=5 * (0.25 * 0.75 / 400) ** 0.5)
    assert CASE.one_of_each_batch(8).size == 50
    assert set(CASE.one_of_each_batch(1, np.array([10.0]))) == {1.0, 20.0}


def test_answers_by_hand():
    """In a batch of two an offload takes 30 or 31 ms alone, 39 or 40 ms with another one."""
    found = page.answers(CASE, [0.05], [29, 40])
    assert isinstance(found[0][2], DeadlineError)
    assert found[0][2].nearest_deadline == 30
    table = page.best_batches(found)
    assert len(table) == 1
    assert table["batch_size"][0] >= 2
    chosen = page.chosen(CASE, [29, 40]).set_index("deadline")["largest M"]
    assert chosen["40 ms"] == table["batch_size"][0]
    assert chosen["29 ms"] == "–"
    assert page.nearest_deadlines(CASE, found) == {0.05: 30}


def test_distance_from_the_law_by_hand():
    """Half of these samples are offloaded, where the law has a quarter: the distributions are ¼ apart."""
    assert page.law_distance(np.array([1.0, 1.0, 30.0, 30.0]), CASE.law(1)) == pytest.approx(2 * 0.25)


def test_front_and_varying_network():
    table = page.front(CASE, 40)
    assert table["mean_front"].all()
    assert table["mean"][0] == pytest.approx(0.75 * 1 + 0.25 * 30)
    assert table["p95"][0] == 30
    same = page.varying_network(CASE, [60, 80], np.array([20.0]))  # a network that does not vary
    assert same["largest M"][::2].tolist() == same["largest M"][1::2].tolist()


def test_numbers_by_hand():
    case = replace(CASE, samples=40)
    asked = page.answers(case, [0.05], [29, 30])
    tables = {"front": page.front(case, 40), "kept": page.varying_network(case, [60, 80, 120], np.array([20.0]))}
    found = page.numbers(case, {1: np.array([1.0, 1.0, 30.0, 30.0])}, asked, tables, np.array([40.0]))
    found |= page.examples(case, tail_batch=1, variation=0.5)
    assert found["law_distance_max"] == pytest.approx(0.5)
    assert (found["nearest"], found["nearest_varies"], found["paper_deadline"]) == (30, 50, 45)
    assert found["refused_rightly"]
    assert found["vanilla_time"] == pytest.approx(1 + 0.25 * (4 + 5 + 20))
    assert (found["search_errors"], found["searches"]) == (0, 120)
    assert found["order_violation"] < 1e-12
    assert (found["tail_batch_mean"], found["tail_batch_late"]) == (pytest.approx(0.75 + 0.25 * 30), 30)


def test_where_few_are_offloaded_any_batch_keeps_a_deadline():
    case = replace(CASE, offload_ratio=0.04)
    assert page.examples(case, tail_batch=1, variation=0.5)["size_twice"] == "any"
    assert page.chosen(case, [10])["largest M"].tolist() == ["any"]
    assert page.varying_network(case, [10], np.array([20.0]))["largest M"].tolist() == ["any", "any"]


def test_what_cannot_be_kept_is_not_promised():
    """A transmission may take 200 ms: no batch answers 19 of 20 within 60 ms."""
    table = page.varying_network(CASE, [60], np.array([200.0]))
    assert table["largest M"].tolist() == [table["largest M"][0], "–"]
    assert table["off by s.e."].isna().tolist() == [False, True]
    tables = {"front": page.front(CASE, 1), "kept": table[1:]}
    found = page.numbers(CASE, {1: np.array([1.0])}, page.answers(CASE, [0.05], [10]), tables, np.array([200.0]))
    assert math.isnan(found["late_deviation"])
    assert math.isnan(found["order_violation"])
    assert (found["search_errors"], found["refused_rightly"]) == (0, True)


def test_deadlines_rise_whichever_end_comes_first():
    assert page.deadlines(40, 28, 4) == page.deadlines(28, 40, 4) == [28, 32, 36]
    assert page.deadlines(28, 28, 4) == [28]


def test_offload_ratios_and_shares_of_late_answers_are_checked():
    with pytest.raises(ValueError, match=r"offload_ratio must be in \(0, 1\], got 0"):
        replace(CASE, offload_ratio=0)
    with pytest.raises(ValueError, match=r"text_miss must be in \[0, 1\), got 1"):
        replace(CASE, miss=1)


@pytest.mark.parametrize("misses", [[0], [0.1], [0.01, 0.02, 0.03, 0.04, 0.05, 0.1]])
def test_every_share_of_late_answers_has_a_line(misses):
    asked = page.answers(CASE, misses, [29, 40, 60])
    left, _ = page.deadline_optimum(page.best_batches(asked), page.nearest_deadlines(CASE, asked)).axes
    assert len({line.get_label() for line in left.lines if line.get_linestyle() != ":"}) == len(misses)
    laws = {1: CASE.law(1)}
    (axis,) = page.response_laws(laws, {1: CASE.one_of_each_batch(1)}, misses).axes
    assert len(axis.texts) == sum(miss > 0 for miss in misses)
