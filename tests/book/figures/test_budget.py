"""What the section on a budget counts: by hand, and against the theorem."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import hi_lib as hi
from hi_book.figures import budget as page
from hi_lib.studies.shared import ALL, COMMON, EQUAL

TRACE = hi.Trace([0.2, 0.4, 0.6, 0.9] * 50, [1, 0, 0, 1] * 50, name="four")


def test_draws_are_samples_of_the_trace():
    found = page.draws(TRACE, 3)
    pairs = set(zip(TRACE.confidence, TRACE.correct, strict=True))
    assert [len(drawn) for drawn in found] == [200] * 3
    assert all(set(zip(drawn.confidence, drawn.correct, strict=True)) <= pairs for drawn in found)
    assert len({tuple(drawn.confidence) for drawn in found}) == 3


def test_what_was_learned_is_the_mean_of_the_runs():
    table, paths = page.learned(TRACE, 0.5, [0.5, 0.25], 2)
    assert list(paths) == [0.25, 0.5]
    (row,) = table[(table["budget"] == 0.25) & (table["rate"] == "adaptive")].to_dict("records")
    runs = [hi.replay(drawn, 0.5, learning_rate="adaptive", budget=0.25) for drawn in page.draws(TRACE, 2)]
    assert row["cost"] == pytest.approx(np.mean([run.average_cost for run in runs]))
    assert row["cost_error"] == pytest.approx(abs(runs[0].average_cost - runs[1].average_cost) / 2)
    assert row["overspent"] == pytest.approx(np.mean([run.overspending for run in runs]))
    assert paths[0.25][-1] == pytest.approx(row["overspent"])
    assert row["best_cost"] == hi.best_mixture(TRACE, 0.5, 0.25).average_cost
    assert row["regret"] == pytest.approx(200 * (row["cost"] - row["best_cost"]))
    term = hi.random_order_term(200, 0.5, 0.25)
    assert row["bound"] == pytest.approx(np.mean([run.regret_bound for run in runs]) - term)
    strict = [
        hi.replay(drawn, 0.5, learning_rate="adaptive", budget=0.25, strict=True, seed=seed)
        for seed, drawn in enumerate(page.draws(TRACE, 2))
    ]
    assert row["strict_cost"] == pytest.approx(np.mean([run.average_cost for run in strict]))
    assert all(run.offloaded.sum() <= 50 for run in strict)


def test_the_theorem_holds_on_drawn_samples():
    found = page.learned(hi.load_trace("imagenette-mobilenet_v1_0.25_128"), 0.3, [0.1, 0.3], 4)
    numbers = page.numbers(found, hi.load_trace("imagenette-mobilenet_v1_0.25_128"), 0.3)
    assert numbers["t26_cost_over_bound"] < 1
    assert numbers["t26_overspent_over_bound"] < 1
    assert numbers["budget_count"] == 2
    assert 0 <= numbers["budget_mixture_gain"] < 0.01


def test_one_of_two_fixed_sequences_costs_what_no_learner_avoids():
    found = page.fixed_sequences()
    assert found["fixed_worst"] == 0.25 * 20_000 * 0.3 / 1.6
    assert found["fixed_over_worst"] >= 1
    assert found["fixed_over_worst"] == max(found["fixed_early"], found["fixed_late"]) / found["fixed_worst"]


@pytest.mark.parametrize("beta", [0.0, 1.0])
def test_prices_at_the_ends_have_numbers(beta):
    found = page.numbers(page.learned(TRACE, beta, [0.0, 1.0], 2), TRACE, beta)
    assert np.isfinite(list(found.values())).all()


def test_what_a_threshold_means_by_hand():
    table = page.meant({"CIFAR-10, A": TRACE, "Imagenette, B": hi.Trace([0.5, 0.95], [1, 1])}, [0.6, 0.5])
    assert table.to_numpy().tolist() == [[0.5, 0.0, 50.0], [0.6, 50.0, 50.0]]
    shown = page.meant_shown(table)
    assert shown.columns.tolist() == ["θ", "Imagenette<br>B", "CIFAR-10<br>A"]
    assert shown.to_numpy().tolist() == [["0.5", "0.0", "50.0"], ["0.6", "50.0", "50.0"]]


def test_devices_stand_beside_their_total():
    ways = [(COMMON, 0.1, 0.2, 0.05), (EQUAL, 0.15, 0.1, 0.1)]
    rows = [(device, way, *found) for device in ("cifar10-resnet8", "b", ALL) for way, *found in ways]
    table = pd.DataFrame(rows, columns=["device", "sharing", "average_cost", "offload_ratio", "best_cost"])
    shown = page.shared_shown(table)
    assert shown["device"].tolist() == ["CIFAR-10, ResNet-8", "b", "all together"]
    assert shown.iloc[2, 1:].tolist() == ["20.0", "0.1000", "0.0500", "10.0", "0.1500", "0.1000"]
    found = page.shared_numbers(table, 0.5, 0.1)
    assert (found["shared_least"], found["shared_most"], found["shared_common_share"]) == (20, 20, 20)
    assert (found["shared_common_cost"], found["shared_equal_cost"]) == (0.1, 0.15)


def test_the_figure_shows_curve_hull_and_learner():
    found = page.learned(TRACE, 0.5, [0.25, 0.5], 3)
    left, right = page.draw(TRACE, 0.5, found).axes
    curve = hi.frontier(TRACE, 0.5)
    adaptive = found.table[found.table["rate"] == "adaptive"]
    lines = {one.get_label(): one.get_xydata() for axis in (left, right) for one in axis.lines}
    assert (lines["one threshold"] == np.column_stack([100 * curve.offload_ratio, curve.average_cost])).all()
    assert (lines["best mixture (lower hull)"] == lines["one threshold"][curve.hull]).all()
    (dots,) = left.containers
    assert (dots[0].get_xydata() == np.column_stack([100 * adaptive["share"], adaptive["cost"]])).all()
    assert tuple(lines["budget 25 %"][-1]) == (200, found.paths[0.25][-1])
    plt.close("all")
