"""What the page on the S-ML counts, on tables and traces worked out by hand."""

import math

import numpy as np
import pandas as pd
import pytest

import hi_lib as hi
from hi_book.figures import calibration as page

# The half that judges: scaling lifts one right answer over its wrong neighbour.
TABLE = pd.DataFrame(
    {
        "part": ["report", "fit", "report", "report"],
        "confidence_float": [0.25, 0.9, 0.5, 0.75],
        "confidence_scaled": [0.75, 0.9, 0.25, 0.875],
        "correct_float": [1, 0, 0, 1],
    }
)


def test_the_calibration_error_of_a_calibrated_trace_is_noise():
    trace = hi.synthetic_trace(100_000, seed=3)
    # Each of 15 bins is off by at most its standard error, 0.5 / sqrt(n/15), on average less.
    assert page.expected_calibration_error(trace, 15) < 2 * 0.5 / np.sqrt(len(trace) / 15)


def test_the_calibration_error_of_a_boaster_is_its_boast():
    trace = hi.Trace(np.ones(1000), np.arange(1000) % 4 > 0)
    assert page.expected_calibration_error(trace, 15) == pytest.approx(0.25)
    table = page.reliability(trace, 15)
    assert table.to_dict("records") == [{"confidence": 1.0, "accuracy": 0.75, "samples": 1000}]


def test_scaling_by_hand():
    row = page.scaling({"Pets, Net": TABLE}, {"Pets, Net": 1.5}, beta=0.5, bins=15).iloc[0]
    # As it is, accepting all costs 1 of 3, offloading two costs 1 as well; scaled, offloading one costs ½.
    assert row[["T", "θ*", "ρ", "cost"]].tolist() == ["1.500", 0.125, 0, 1 / 3]
    assert row[["θ* scaled", "ρ scaled", "cost scaled"]].tolist() == [0.5, 1 / 3, 0.5 / 3]
    # Three bins of one sample each.
    assert row["ECE"] == pytest.approx((0.75 + 0.5 + 0.25) / 3)
    assert row["ECE scaled"] == pytest.approx((0.25 + 0.25 + 0.125) / 3)


def test_the_error_by_chance_is_that_of_a_mean_of_coins():
    """1000 confidences of ½ are one bin: the mean distance of their share of heads from ½ is √(2/π) ½ / √1000."""
    mean, deviation = page.error_by_chance(hi.Trace(np.full(1000, 0.5), np.zeros(1000)), 15)
    expected = math.sqrt(2 / math.pi) * 0.5 / math.sqrt(1000)
    assert mean == pytest.approx(expected, abs=4 * deviation / math.sqrt(40))
    assert deviation == pytest.approx(0.5 / math.sqrt(1000) * math.sqrt(1 - 2 / math.pi), rel=0.5)


def test_the_rule_and_what_scaling_does_to_it_by_hand():
    rule = page.rule_costs({"Pets, Net": TABLE}, [0.25, 0.5])
    # β = ½: as it is, θ = ½ offloads the one at ¼ and errs at ½; scaled, it offloads the one wrong answer.
    assert rule.loc[("Pets, Net", 0.5)].tolist() == [(0.5 + 1) / 3, 0.5 / 3, 0.5 / 3]
    # β = ¼: θ = ¾ offloads ¼ and ½; scaled, ¼ only, as the best does.
    assert rule.loc[("Pets, Net", 0.25)].tolist() == [0.5 / 3, 0.25 / 3, 0.25 / 3]
    other = TABLE.assign(confidence_scaled=TABLE["confidence_float"])
    tables = {"Pets, Net": TABLE, "Pets, Web": other}
    scaling = page.scaling(tables, dict.fromkeys(tables, 1.0), 0.5, 15)
    found = page.temperature_numbers(scaling, page.rule_costs(tables, [0.25, 0.5]), 0.5)
    assert (found["mover"], found["mover_before"], found["mover_after"]) == ("Net", 0.125, 0.5)
    assert (found["others_move"], found["away_count"], found["cheap_beta"]) == (0, 0, 0.25)
    assert (found["rule_before"], found["rule_after"]) == (0.5 / 3, 0.25 / 3)
    assert found["rule_change"] == pytest.approx(1 / 3)


def test_bits_by_hand():
    """Confidences of ½, and a hair below: λ_min is ½ and 2⁻⁸, so L is 8 times as large, and the bound √8 times."""
    coarse, fine = hi.Trace([0.5] * 32, [0, 1] * 16), hi.Trace([0.5, 0.5 - 2**-8] * 16, [0, 1] * 16)
    pairs = {"Pets, Net": {"8 bits": coarse, "float": fine}}
    table = page.bits(pairs, 0.5, shuffles=2, batch_size=8)
    assert table["distinct"].tolist() == [1, 2]
    assert table[page.BOUND].tolist() == pytest.approx([math.sqrt(32 * 8 * k * math.log(2) / 2) for k in (1, 8)])
    found = page.bits_numbers(table, pairs, 0.5)
    assert found["bound_factor_least"] == found["bound_factor_most"] == pytest.approx(math.sqrt(8))
    # Coarse, all thresholds cost ½; fine, one between the two would pay for each right answer and miss each wrong one.
    assert found["bits_cost_max"] == 0
    gaps = np.abs(table[page.OWN].to_numpy() - table[page.OTHER].to_numpy()[::-1])
    assert found["equal_rate_gap"] == pytest.approx(gaps.max())


def test_causes_by_hand():
    costs = {
        "imagenette-mobilenet_v1_0.25_128": 0.25,
        "imagenette-mobilenet_v1_0.5_160": 0.375,
        "cifar10-alexnet": 0.125,
        "cifar10-resnet8": 0.1875,
    }
    wide = {
        "imagenette-mobilenet_v1_0.5_160": 1,
        "cifar10-alexnet": 2,
    }  # by so many 64ths the cost of one rate rises at M = 2; tuned, by half
    runs = pd.DataFrame(
        [
            (name, rate, size, cost + (size - 1) * wide.get(name, 0) / share)
            for name, cost in costs.items()
            for rate, share in (("vanilla", 64), ("tuned", 128))
            for size in (1, 2)
        ],
        columns=["trace", "learning_rate", "batch_size", "average_cost"],
    )
    scaling = pd.DataFrame({"cost": [0.5, 0.25], "cost scaled": [0.5, 0.125]})
    causes = page.causes(runs, [0.5, 0.75], scaling)
    assert causes[page.ONE_RATE] == [0.125, 0.125 + 2 / 64]
    assert causes[page.TEMPERATURE] == [0.25, 0.125]
    found = page.cause_numbers(causes)
    assert (found["model_spread_max"], found["model_spread_cifar10"]) == (0.125, 0.0625)
    assert (found["batch_spread_max"], found["tuned_spread_max"]) == (2 / 64, 1 / 64)
    assert (found["least_spread_ratio"], found["tuned_spread_ratio"]) == (2, 4)
    assert found["preprocessing_spread"] == 0.25


def test_what_was_not_run_or_measured_moves_no_cost():
    rows = [
        (name, rate, 4, 0.25)
        for name in ("imagenette-mobilenet_v1_0.25_128", "cifar10-alexnet")
        for rate in ("vanilla", "tuned")
    ]
    runs = pd.DataFrame(rows, columns=["trace", "learning_rate", "batch_size", "average_cost"])
    scaling = pd.DataFrame({"cost": [0.5, 0.25], "cost scaled": [0.5, 0.125]})
    found = page.cause_numbers(page.causes(runs, page.preprocessing_costs(0.123), scaling))
    assert all(math.isnan(value) for value in found.values())
    assert len(page.preprocessing_costs(0.5)) == 4


def test_a_cost_that_no_batch_size_moves_gives_no_ratio():
    flat = {page.ONE_RATE: [0.25, 0.25], page.TUNED: [0.25, 0.375], page.PREPROCESSING: []}
    found = page.cause_numbers(flat | {page.IMAGENETTE_SML: [0.25, 0.5], page.CIFAR10_SML: [0.125, 0.5]})
    assert math.isnan(found["least_spread_ratio"])
    assert found["tuned_spread_ratio"] == 2


def test_tables_are_named_for_the_batch_size():
    pairs = {"Pets, Net": dict.fromkeys(("8 bits", "float"), hi.Trace([0.5, 0.25], [1, 0]))}
    table = page.with_size(page.bits(pairs, 0.5, shuffles=1, batch_size=2), 2)
    assert list(table)[-3:] == ["bound at M = 2", "regret at M = 2", page.OTHER]
    assert "bound at M = 2" in page.bits_table(table).to_html()
