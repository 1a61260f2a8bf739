"""What the page that compares learners counts, on tables and traces worked out by hand."""

import math

import numpy as np
import pandas as pd
import pytest

import hi_lib as hi
from hi_book.figures import which_learner as page

COLUMNS = ["title", "batch_size", "learner", *page.QUANTITIES]
# At β = ½ accepting all costs 1, offloading the less confident one ½.
CLEAN = pd.DataFrame(
    [("a", 0.1, -0.05, 0.03, 134), ("b", 0.1, 0.02, 0.02, 134)],
    columns=["S-ML", "all images", "clean images", "standard error", "clean"],
)
TRACE = hi.Trace([0.25, 0.75], [0, 1], name="a")


def test_rules_that_do_not_learn_by_hand():
    fixed = page.fixed_thresholds({"a": TRACE}, 0.875)
    # θ = 1/8 accepts both; the best θ, above ¼, saves an eighth.
    assert fixed.to_numpy().tolist() == [
        ["a", page.CALIBRATED, 0.5, 0.0, 0.125],
        ["a", page.HINDSIGHT, 0.4375, 0.5, 0.0],
    ]


def test_the_table_has_a_line_a_learner_and_one_for_all_sizes_of_a_rule():
    rows = [("Pets, Net", size, "hil-f", 0.25, 0.5, regret) for size in (1, 2) for regret in (10 * size, 12 * size)]
    rules = [("Pets, Net", size, "always", 0.5, 1.0, 20) for size in (1, 2)]
    fixed = pd.DataFrame(
        [("Pets, Net", page.HINDSIGHT, 0.125, 0.25, 0.0)], columns=["title", "learner", *page.QUANTITIES]
    )
    table = page.shown(pd.DataFrame(rows + rules, columns=COLUMNS), ["hil-f"], fixed)
    assert table.columns.tolist() == ["learner", "M", "Pets<br>Net"]
    assert table.to_numpy().tolist() == [
        ["hil-f", 1, "0.2500<br>0.500<br>11 ± 1"],
        ["hil-f", 2, "0.2500<br>0.500<br>22 ± 3"],
        ["always", "", "0.5000<br>1.000<br>20"],
        [page.HINDSIGHT, "", "0.1250<br>0.250<br>0"],
    ]


def test_one_shuffle_has_no_deviation():
    rows = [("Pets, Net", 1, "hil-f", 0.25, 0.5, 10)]
    fixed = pd.DataFrame([], columns=["title", "learner", *page.QUANTITIES])
    table = page.shown(pd.DataFrame(rows, columns=COLUMNS), ["hil-f"], fixed)
    assert table["Pets<br>Net"].tolist() == ["0.2500<br>0.500<br>10 ± –"]


def test_numbers_by_hand():
    names = {"hil-f": 10, "quantised": 12, "naive": 25, "hi-lcb": 30, "hi-lcb-lite": 40}
    rows = [("a", 1, name, regret / 100, 0.5, regret) for name, regret in names.items()]
    fixed = page.fixed_thresholds({"a": TRACE}, 0.875)
    found = page.numbers(pd.DataFrame(rows, columns=COLUMNS), {"a": 100}, fixed, CLEAN)
    assert (found.pop("sizes"), found.pop("models"), found.pop("rule_first")) == ("1", 1, 1)
    assert found == pytest.approx(
        {"quantised_extra": 0.02, "rule_worst": 0.125, "lcb_worst": 0.4, "naive_least": 2.5, "naive_most": 2.5}
        | {
            "clean_images": 134,
            "clean_least": -0.05,
            "clean_most": 0.02,
            "clean_error_least": 0.02,
            "clean_error_most": 0.03,
        }
    )


def test_a_duel_is_decided_by_the_mean_cost():
    """All right: to accept costs nothing; so does θ = 1 − β, whose cost is the same on every image."""
    sure = hi.Trace(np.full(200, 0.9), np.ones(200))
    rules = page._rules(sure, 0.5)
    assert [cost.mean() for cost in rules.values()] == [0, 0.5, 0]
    table = page.duels(["cifar10-resnet56"], [0.05, 0.9, 0.05], batch_size=500, shuffles=1)
    assert table["beta"].tolist() == [0.05, 0.9]
    for row in table.to_dict("records"):
        costs = {way: row[way] for way in page.COLOURS}
        first, second = sorted(costs, key=costs.get)[:2]
        assert (row["first"], row["second"]) == (first, second)
        assert row["lead"] == pytest.approx(costs[second] - costs[first])
        assert 0 <= row["error"] < 0.01
    assert table["always"].tolist() == pytest.approx([0.05, 0.9])
    assert table["never"][0] == pytest.approx(1 - hi.load_trace("cifar10-resnet56").accuracy)


def test_what_a_map_counts():
    rows = [
        {"beta": 0.5, "first": page.RULE, "lead": 0.1, "error": 0.01},
        {"beta": 0.5, "first": page.RULE, "lead": 0.019, "error": 0.01},
        {"beta": 0.1, "first": "adaptive rate", "lead": 0.1, "error": 0.01},
    ]
    costs = [{page.RULE: 0.2, "one rate": 0.3, "tuned rate": 0.4, "adaptive rate": rate} for rate in (0.3, 0.21, 0.1)]
    found = page.map_numbers(pd.DataFrame([row | cost for row, cost in zip(rows, costs, strict=True)]))
    assert (found["cells"], found["rule_best"], found["rule_clearly"]) == (3, 2, 1)
    assert (found["learner_best"], found["learner_clearly"], found["adaptive_best"]) == (1, 1, 1)
    assert found["rule_worst_loss"] == pytest.approx(0.1)
    assert found["adaptive_worst_loss"] == pytest.approx(0.1)
    assert (found["rule_best_half"], found["tuned_worst_loss"]) == (2, pytest.approx(0.2))


def test_clean_pictures_are_those_of_the_validation_set():
    table = page.clean_images(["imagenette-mobilenet_v1_0.5_160", "cifar10-resnet8"])
    assert (len(table), table["clean"].tolist()) == (1, [134])
    assert table["clean images"].abs().max() < 5 * table["standard error"].max()


def test_rates_are_compared_on_the_first_shuffle():
    name = "imagenette-mobilenet_v1_0.25_128"
    table = page.rates([name], 0.5, [64, 16])
    run = hi.replay(hi.load_trace(name).shuffled(0), 0.5, 64, learning_rate="adaptive")
    (row,) = table[(table["rate"] == "adaptive rate") & (table["batch_size"] == 64)].to_dict("records")
    assert (row["regret"], row["bound"]) == (run.regret, run.regret_bound)
    found = page.rate_numbers(table)
    assert (found["rate_cells"], found["bound_smallest"], found["bound_largest"]) == (2, 16, 64)
    assert 0 < found["adaptive_ratio_most"] <= 1
    restarts = table[table["rate"] == page.RESTARTS].set_index("batch_size")
    tuned = table[table["rate"] == "tuned rate"].set_index("batch_size")
    assert found["restarts_most"] == max(restarts["regret"] / tuned["regret"])
    assert found["restarts_bound"] < 1 / (math.sqrt(2) - 1) + 0.5  # as its docstring says
    shown = page.rates_shown(table)
    assert shown["M"].tolist() == [16, 64]
    assert shown.columns.tolist()[2:] == [*(way for way, _ in page.RATES.values()), page.ANYTIME, page.RESTARTS]
    assert shown.loc[1, "adaptive rate"] == f"{run.regret:.0f} ({run.regret_bound:.0f})"


def test_fewer_bits_are_compared_with_confidences_as_they_are():
    names = ["imagenette-mobilenet_v1_0.25_128", "cifar10-resnet8"]
    table = page.rounded(names, 0.5, [4, 2], 1)
    shown, found = page.rounded_shown(table), page.rounded_numbers(table)
    assert shown["bits"].tolist() == [2, 4, "as it is"]
    costs = [hi.replay(hi.load_trace(name).shuffled(0), 0.5, learning_rate="tuned").average_cost for name in names]
    whole = table[table["bits"] == 0]["average_cost"].tolist()
    assert whole == pytest.approx(costs)
    few = table[table["bits"] == 2]["average_cost"].to_numpy()
    assert found["bits_cost_most"] == (few - whole).max()
    assert found["fewest_bits"] == 2
    # Bounds are √(n L/2): L = 2 ln 2 against the logarithm of the shortest cell.
    ratios = [math.sqrt(2 * math.log(2) / -math.log(hi.lambda_min(hi.load_trace(name)))) for name in names]
    assert [found["bits_bound_least"], found["bits_bound_most"]] == pytest.approx(sorted(ratios))


def test_learners_that_were_not_run_have_no_numbers():
    rows = [("a", size, name, 0.1, 0.5, 0.0625) for size in (8, 1, 2) for name in ("hil-f", "always")]
    found = page.numbers(
        pd.DataFrame(rows, columns=COLUMNS), {"a": 100}, page.fixed_thresholds({"a": TRACE}, 0.875), CLEAN
    )
    assert [key for key, value in found.items() if value != value] == [
        *("quantised_extra", "lcb_worst", "naive_least", "naive_most")
    ]
    assert (found["sizes"], found["rule_first"]) == ("1, 2 and 8", 0)


def test_no_regret_is_no_unit():
    rows = [("a", 1, name, 0.1, 0.5, regret) for name, regret in (("hil-f", 0.0), ("naive", 2.0))]
    found = page.numbers(
        pd.DataFrame(rows, columns=COLUMNS), {"a": 100}, page.fixed_thresholds({"a": TRACE}, 0.875), CLEAN
    )
    assert math.isnan(found["naive_most"])


@pytest.mark.parametrize(
    ("looks", "batches", "found"), [([8, 0, 8, 128], 122, [0, 8, 122]), ([5], 5, [5]), ([5], 0, [0])]
)
def test_the_weights_are_shown_in_the_order_of_time(looks, batches, found):
    """With batches of 32, 122 of them: what is after 128 was called so, and was after 122."""
    assert page.moments(looks, batches) == found
