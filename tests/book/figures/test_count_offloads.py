"""Count offloads, not samples: what its numbers mean, by hand and by brute force."""

import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import scipy.stats

import hi_lib as hi
from hi_book.figures import count_offloads as page
from hi_lib.paper import CIFAR10, IMAGENETTE
from hi_lib.traces import Trace

SAMPLES, OFFLOADS = page.SAMPLES, page.OFFLOADS
RUN = SimpleNamespace(
    offload_probability=np.array([0, 1, 0.5, 0.25]), correct=np.array([True, False, False, True]), transmissions=2
)


@pytest.fixture
def stream():
    return page.Stream.of("cifar10-resnet8", CIFAR10.timing, 0.3, shuffles=2, samples=300)


def test_what_is_paid_is_offloads_wrong_answers_and_transmissions():
    assert page._wrong(RUN) == 0.5 / 4
    assert page._paid(RUN, 0.4, 0.1) == pytest.approx((0.4 * 1.75 + 0.5 + 0.1 * 2) / 4)


def test_joules_are_those_of_images_and_transmissions(stream):
    joules = page.Joules(image=0.2, transmission=0.1, answer=1.0)
    table = page.energy(stream, joules, {SAMPLES: [1, 8], OFFLOADS: [4]}, 0.1)
    assert table["size"].tolist() == [1, 8, 4]
    assert table["total (J)"].tolist() == pytest.approx((table["radio (J)"] + table["wrong answers"]).tolist())
    runs = [hi.replay(one, 0.2, 1, learning_rate=0.1, seed=seed, price=0.1) for seed, one in enumerate(stream.orders)]
    ratio = np.mean([run.offload_probability.mean() for run in runs])
    assert table["radio (J)"][0] == pytest.approx(0.3 * ratio)  # each picture goes alone
    assert table["radio (J)"][0] > table["radio (J)"][1]


@pytest.mark.parametrize(("joules", "says"), [((0.2, 0.1, 0), "answer_joules"), ((2, 0.1, 1), "image_joules / answer")])
def test_joules_that_are_no_prices_are_refused(stream, joules, says):
    with pytest.raises(ValueError, match=says):
        page.energy(stream, page.Joules(*joules), {SAMPLES: [1]}, 0.1)


def test_joules_are_compared_where_answers_come_after_the_same_time():
    rows = [(SAMPLES, 1, 9, 10), (SAMPLES, 8, 3, 20), (SAMPLES, 16, 2, 41), (OFFLOADS, 1, 9, 10), (OFFLOADS, 4, 1, 40)]
    table = pd.DataFrame(rows, columns=["unit", "size", "total (J)", "t_r (ms)"])
    found = page.energy_numbers(table)
    assert (found["energy_samples_size"], found["energy_offloads_size"]) == (16, 4)
    assert (found["energy_samples_total"], found["energy_offloads_response"]) == (2, 40)
    assert all(map(math.isnan, page.energy_numbers(table[table["unit"] == SAMPLES]).values()))


def test_the_floor_is_the_best_fixed_threshold_by_brute_force():
    drawn = np.random.default_rng(0)
    trace = Trace(drawn.random(40), drawn.random(40) < 0.6)
    stream = page.Stream("", [trace], CIFAR10.timing, 0.3)
    cuts = np.concatenate([[0.0], np.nextafter(trace.confidence, 2)])
    offloads = trace.confidence < cuts[:, None]
    cost = np.where(offloads, 0.3, 1.0 - trace.correct).mean(axis=1)
    for size in (1, 4):
        sends = offloads.reshape(len(cuts), -1, size).any(axis=2).sum(axis=1)
        assert stream.floor(size, SAMPLES, 0.2) == pytest.approx((cost + 0.2 * sends / 40).min())
        assert stream.floor(size, OFFLOADS, 0.2) == pytest.approx((cost + 0.2 / size * offloads.mean(axis=1)).min())


def test_prices_are_a_row_for_each_price_unit_and_size(stream):
    table = page.priced(stream, {SAMPLES: [8, 1], OFFLOADS: [3]}, [0.2, 0.0], 0.1)
    assert table["price"].tolist() == [0, 0, 0, 0.2, 0.2, 0.2]
    assert table["size"].tolist() == [1, 8, 3] * 2
    run = hi.replay(stream.orders[0], 0.3, 1, learning_rate=0.1, seed=0)
    other = hi.replay(stream.orders[1], 0.3, 1, learning_rate=0.1, seed=1)
    assert table["cost"][0] == pytest.approx((run.average_cost + other.average_cost) / 2)
    found = page._price_gain(table)
    assert (found["dearest"], found["cost_samples"]) == (0.2, table["cost"][4])
    assert found["price_regret_most"] == (table["cost"] - table["best fixed"]).max()


def test_one_threshold_a_batch_sends_no_more_than_one_a_sample(stream):
    table = page.afresh(stream, [8, 1], 0.1)
    batch, sample = table["sends, one θ a batch"], table["sends, one θ a sample"]
    assert table["M"].tolist() == [1, 8]
    assert batch[0] == pytest.approx(sample[0])
    assert batch[1] < sample[1]


@pytest.mark.parametrize("ratio", [0.05, 0.5, 1.0])
def test_second_moments_are_those_of_binomials_with_an_offload(ratio):
    excess = []
    for size in (3, 5, 9, 30):
        numbers = np.arange(1, size + 1)
        chance = scipy.stats.binom.pmf(numbers, size, ratio)
        first, second = (chance @ numbers**power / chance.sum() for power in (1, 2))
        share = first - math.floor(first + 1e-12)
        mixed = (1 - share) * math.floor(first + 1e-12) ** 2 + share * (math.floor(first + 1e-12) + 1) ** 2
        excess.append(second / mixed - 1)
    assert page._second_moments(pd.Series([ratio]))["t20_excess_min"] == pytest.approx(min(excess), abs=1e-9)


@pytest.mark.uncounted
def test_both_times_of_rules_follow_from_two_moments():
    table = page.rules_simulated(IMAGENETTE, samples=20_000)
    assert len(table) == 4
    assert table["t_s simulated"].tolist() == pytest.approx(table["t_s by T19"].tolist(), rel=0.01)
    assert ((table["t_r simulated"] - table["t_r by T19"]).abs() < 4 * table["standard error of t_r"]).all()


def test_a_batch_is_beaten_by_what_takes_turns():
    rows = [(OFFLOADS, 1, 1, 10), (OFFLOADS, 2, 2, 4), (SAMPLES, 1, 1, 8), (SAMPLES, 2, 1.5, 7.5), (SAMPLES, 4, 1.5, 6)]
    table = pd.DataFrame(rows, columns=["unit", "size", "t_s (ms)", "t_r (ms)"]).assign(order=0, cost=0.2)
    table.loc[0, "cost"] = 0.25
    lives = [page.Life("a", table)]
    found = page._dominated(lives)
    assert (found["batches_beaten"], found["batches_tried"]) == (1, 2)
    assert found["cost_spread"] == pytest.approx(0.05)
    gains = page._gains(lives, [0.5])
    assert gains["gain_least"] == gains["gain_most"] == pytest.approx(100 * (1 - 3 / 3.75))


def test_regrets_stay_below_their_bounds_and_a_cap_is_needed():
    found = page.bounds(0.3, 2) | page.price_bounds(0.3, [0.0, 0.3], 2)
    assert 0 < found["t21_ratio_max"] <= 1
    assert 0 < found["t23_ratio_max"] <= 1
    assert found["capped_regret"] < found["uncapped_regret"] / 5


def test_answers_come_after_the_longest_wait_at_the_latest():
    table = page.tails(IMAGENETTE, 5, [200, 20], rate=30, samples=3000)
    assert table["longest wait"].tolist() == ["20 ms", "200 ms", "none"]
    assert table["99 %"].is_monotonic_increasing
    assert table["offloads a transmission"].iloc[-1] == pytest.approx(5, rel=0.01)
    quick = page.tails(IMAGENETTE, 5, [], rate=30, samples=1)
    assert quick["longest wait"].tolist() == ["none"]
