"""What the page on the real wire counts, by hand."""

import pandas as pd
import pytest

from hi_book.figures import real_wire as page


def runs(*rows):
    """Rows of (trace, sml, samples, network time, M, window, t_s, predicted, t_r, cost)."""
    columns = ["trace", "sml", "samples", "network_time", "batch_size", "window"]
    measured = ["measured_system_time", "predicted_system_time", "measured_response_time", "measured_cost"]
    table = pd.DataFrame(rows, columns=[*columns, *measured])
    stages = {"tau_ed": 2.0, "tau_es": 4.0, "tau_tx": 1.0, "tau_nw": 20.0}
    stages |= {"overhead": 0.5, "framework": 1.0, "small": 1.5, "learner": 0.1}
    for name, value in stages.items():
        table[f"stages_{name}"] = value
    table["offloads"] = pd.array([pd.NA] * len(table), dtype="Int64")
    ways = zip(table["batch_size"], table["offloads"], table["window"], strict=True)
    how = [page._how(*way) for way in ways]
    return table.assign(measured_transmissions=10.0, measured_offload_ratio=0.4, how=how)


TABLE = runs(
    ("imagenette-a", None, 100, 20.0, "1", "waits", 14.0, 14.0, 9.0, 0.2),
    ("imagenette-a", None, 100, 20.0, "4", "waits", 9.0, 9.0, 20.0, 0.2),
    ("imagenette-a", None, 100, 20.0, "16", "waits", 6.0, 6.0, 60.0, 0.2),
    ("imagenette-a", None, 100, 20.0, "1", "4", 5.0, 5.0, 15.0, 0.2),
    ("imagenette-a", None, 100, 20.0, "adaptive", "waits", 7.0, 7.0, 15.0, 0.2),
    ("cifar10-b", "cifar10-b", 400, 20.0, "1", "waits", 9.0, 9.0, 20.0, 0.20),
    ("cifar10-b", "cifar10-b", 400, 20.0, "4", "waits", 9.0, 9.0, 20.0, 0.15),
)


def test_ways_to_run_have_names():
    assert list(TABLE["how"][:5]) == ["M = 1", "M = 4", "M = 16", "W = 4", "adaptive"]
    assert page._how("1", pd.NA, "inf") == "W = ∞"
    assert page._how(None, 3, "waits") == "m = 3"
    assert page.waiting(page.emulated(TABLE))["M"].tolist() == [1, 4, 16]


def test_the_parts_are_those_of_a_sample():
    row = page.parts(TABLE).iloc[0]
    assert row.to_dict() == pytest.approx(
        {
            "S-ML": 1.5,
            "learner": 0.1,
            "device, other": 0.4 + 0.5 * 0.1,
            "uplink": 0.4,
            "network": 19 * 0.1,
            "L-ML": 1.6,
            "framework": 0.1,
        }
    )


def test_a_window_beats_what_is_slower_in_both_times():
    assert page.beaten_from(TABLE, "imagenette-a", 20.0, 0.05) == 4  # M = 1 answers sooner
    assert page.beaten_from(TABLE.assign(measured_response_time=1.0), "imagenette-a", 20.0, 0.05) == 0
    with pytest.raises(ValueError, match="clearly must be in"):
        page.beaten_from(TABLE, "imagenette-a", 20.0, 5)


def test_formulas_take_the_measured_stages():
    paper = page.formula_errors(page.emulated(TABLE), "paper")
    assert paper == pytest.approx([(2 + 0.4 * 5 + 20 / M) / t_s - 1 for M, t_s in ((1, 14), (4, 9), (16, 6))])
    independent = page.formula_errors(page.emulated(TABLE), "independent")
    assert independent[0] == pytest.approx((2 + 2 + 0.4 * 20) / 14 - 1)


def test_costs_are_told_apart_by_standard_errors():
    assert page.cost_shift(TABLE) == pytest.approx(0.05 * 2 * 20)


def test_quantiles_are_judged_at_all_levels():
    table = pd.DataFrame({f"predicted_{level}_offloaded": [10.0, 20.0] for level in page.LEVELS})
    off = zip(page.LEVELS, (0.9, 1.0, 1.1, 1.5), strict=True)
    table = table.assign(**{f"measured_{level}_offloaded": [10 * ratio, 20.0] for level, ratio in off})
    # Of eight errors five are nothing; the others are a tenth, twice, and a half.
    found = page.quantile_errors(table)
    assert found == pytest.approx({"quantiles_half": 0, "quantiles_most": 0.1 + 0.3 * 0.4, "quantiles_worst": 0.5})


def test_offload_ratios_are_those_of_the_smallest_and_the_largest_batch():
    table = TABLE.assign(measured_offload_ratio=[0.1, 0.2, 0.3, 0.9, 0.9, 0.9, 0.9]).iloc[[2, 0, 1, 3, 4, 5, 6]]
    assert page.offload_ratios(table, "imagenette-a", 20.0) == {
        **{"ratio_one": 0.1, "ratio_most": 0.3},
        "largest_size": 16,
    }


def test_any_network_time_means_the_nearest_that_was_emulated():
    table = pd.concat([TABLE, TABLE.assign(network_time=5.0), TABLE.assign(sml="a", network_time=40.0)])
    assert [page.nearest_network(table, wanted) for wanted in (0, 18, 1e9)] == [5, 20, 20]
    with pytest.raises(ValueError, match="network_time must be in"):
        page.nearest_network(table, -1)


def test_the_claim_about_windows_is_about_its_network_only():
    table = pd.concat([TABLE, TABLE.assign(trace="cifar10-c", sml=None)]).assign(residual=0.01, lost=0)
    table["sml"] = table["sml"].astype(object)
    both = pd.concat([table, table.assign(network_time=5.0)]).assign(expected_system_time=9.0)
    both = both.assign(predicted_response_time=10.0)
    levels = {f"{word}_{level}_offloaded": 30.0 for word in ("measured", "predicted") for level in page.LEVELS}
    framework = pd.DataFrame({"level": ["p50"], "milliseconds": [0.5]})
    there, other = (page.numbers(both.assign(**levels), framework, network, 0.05) for network in (20.0, 5.0))
    assert (there["beaten_imagenette"], there["networks"]) == (4, "5 and 20")
    assert there["beaten_imagenette_says"] == other["beaten_imagenette_says"] == "with every batch of 4 or more"
    assert other["beaten_imagenette"] != other["beaten_imagenette"]
