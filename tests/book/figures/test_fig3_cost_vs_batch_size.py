"""What Fig. 3's page counts, on costs written down by hand."""

import numpy as np
import pandas as pd
import pytest

import hi_lib as hi
from hi_book.figures import fig3_cost_vs_batch_size as page

READING = page.Reading(large_batch=16, unaffected=1.05, floor_beta=0.5)
COLUMNS = ["trace", "beta", "learning_rate", "batch_size", "average_cost_mean", "offload_ratio_mean"]


def costs():
    """One trace is flat; the other one pays a tenth more at M = 16 and double at 32, with the tuned rate."""
    rows = []
    for size, factor, moved in ((1, 1.0, 0.0), (16, 1.1, 0.02), (32, 2.0, 0.0)):
        rows += [("imagenette-x", 0.5, rate, size, 0.4, 0.6) for rate in page.RATES]
        rows.append(("cifar10-resnet8", 0.5, "tuned", size, 0.2 * factor, 0.3 - moved))
        rows.append(("cifar10-resnet8", 0.5, "vanilla", size, 0.2, 0.3))
    return pd.DataFrame(rows, columns=COLUMNS)


FLOORS = pd.DataFrame(
    [("imagenette-x", 0.5, 0.3), ("imagenette-x", 0.7, 0.1), ("cifar10-resnet8", 0.5, 0.15), ("cifar10-y", 0.5, 0.1)],
    columns=["trace", "beta", "average_cost"],
)


def test_offload_ratios_are_those_of_vanilla_by_title():
    ratios = page.offload_ratios(costs())
    assert ratios[0.5].to_dict() == {"imagenette-x": 0.6, "CIFAR-10, ResNet-8": 0.3}


def test_growth_and_shift_by_hand():
    found = page.numbers(costs(), FLOORS, page.offload_ratios(costs()), READING)
    assert found["cost_ratio_tuned_max"] == pytest.approx(1.1)
    assert (found["cost_ratio_vanilla_max"], found["cost_ratio_vanilla_failing"]) == (1, 0)
    assert (found["cost_ratio_tuned_failing"], found["tuned_failing_names"]) == (1, "ResNet-8 at β = 0.5")
    assert found["cost_ratio_tuned_last"] == pytest.approx(2)
    assert found["cost_change_max"] == pytest.approx(0.2)
    assert found["ratio_shift_tuned_max"] == pytest.approx(0.02)
    assert (found["combinations"], found["models"]) == (2, 2)


def test_floors_are_those_of_an_even_beta():
    found = page.numbers(costs(), FLOORS, page.offload_ratios(costs()), READING)
    assert (found["imagenette_floor_min"], found["imagenette_floor_max"]) == (0.3, 0.3)
    assert (found["cifar10_floor_min"], found["cifar10_floor_max"]) == (0.1, 0.15)


def test_distance_from_the_papers_offload_ratios():
    """The paper has 0.794, 0.671 and 0.421; where a β was not run, nothing is said of all three."""
    ratios = pd.DataFrame(
        {0.3: [0.794, 0.794], 0.5: [0.771, 0.6], 0.7: [0.421, 0.421]}, index=["Imagenette, A", "Imagenette, B"]
    )
    found = page.numbers(costs(), FLOORS, ratios, READING)
    assert found["ratio_distance_least"] == pytest.approx(0.071)
    assert found["ratio_distance_most"] == pytest.approx(0.1)
    assert found["closest_model"] == "B"
    fewer = page.numbers(costs(), FLOORS, ratios[[0.5]], READING)
    assert np.isnan([fewer["ratio_distance_least"], fewer["ratio_distance_most"], fewer["closest_model"]]).all()


def test_what_was_not_run_is_not_computed():
    few = costs()[costs()["batch_size"] == 32]
    found = page.numbers(few, FLOORS, page.offload_ratios(few), READING)
    for name in ("cost_ratio_tuned_max", "cost_ratio_vanilla_max", "ratio_shift_tuned_max", "cost_change_max"):
        assert np.isnan(found[name]), name
    assert found["tuned_failing_names"] == "none"
    assert np.isnan(page.numbers(costs(), FLOORS[:0], page.offload_ratios(costs()), READING)["cifar10_floor_min"])


def test_a_batch_changes_decisions_by_what_its_probabilities_differ():
    trace = hi.Trace([0.2, 0.4, 0.6, 0.8], [0, 0, 1, 1])
    assert page.changed(trace, [0.3, 0.5], 1) == {"changed_most": 0}
    # Decided with every thousandth of [0, 1) in place of chance.
    rate, draws = hi.tuned_learning_rate(4, 1, 0.2), (np.arange(1000) + 0.5)[:, np.newaxis] / 1000
    alone, batched = (
        draws < hi.replay(trace.shuffled(0), 0.3, size, learning_rate=rate).offload_probability for size in (1, 2)
    )
    assert page.changed(trace, [0.3], 2)["changed_most"] == pytest.approx((alone != batched).mean(), abs=1e-3)
