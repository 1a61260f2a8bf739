"""What the page on deadlines counts, on a case whose law is known: an offload takes 30 ms, an accepted sample 1 ms."""

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
    chosen = page.some_deadlines(table).set_index("deadline")["largest M"]
    assert chosen["40 ms"] == table["batch_size"][0]
    assert chosen["60 ms"] == "–"


def test_distance_from_the_law_by_hand():
    """Half of these samples are offloaded, where the law has a quarter: the distributions are ¼ apart."""
    assert page.law_distance(np.array([1.0, 1.0, 30.0, 30.0]), CASE.law(1)) == pytest.approx(2 * 0.25)


def test_front_and_varying_network():
    table = page.front(CASE, ["mean"])
    assert table["mean_front"].all()
    assert table["mean"][0] == pytest.approx(0.75 * 1 + 0.25 * 30)
    assert table["p95"][0] == 30
    same = page.varying_network(CASE, np.array([20.0]))  # a network that does not vary
    assert same["largest M"][::2].tolist() == same["largest M"][1::2].tolist()


def test_numbers_by_hand():
    case = replace(CASE, samples=40)
    asked = page.answers(case, [0.05], [29, 30])
    kept = page.varying_network(case, np.array([20.0]))
    found = page.numbers(case, {1: np.array([1.0, 1.0, 30.0, 30.0])}, asked, kept, np.array([40.0]))
    assert found["law_distance_max"] == pytest.approx(0.5)
    assert (found["nearest"], found["nearest_varies"], found["paper_deadline"]) == (30, 50, 45)
    assert found["refused_rightly"]
    assert found["vanilla_time"] == pytest.approx(1 + 0.25 * (4 + 5 + 20))
    assert (found["search_errors"], found["searches"]) == (0, 120)
    assert found["order_violation"] < 1e-12
