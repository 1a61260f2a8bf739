"""What Fig. 2's page counts, on batches small enough to work out by hand."""

import math

import pytest

import hi_lib as hi
from hi_book.figures import fig2_timing_diagram as page
from hi_lib.events import simulation

ROUND = hi.TimingModel(tau_ed=1, tau_es=2, tau_tx=3, tau_nw=10)


def test_expected_transmissions_by_hand():
    table = page.expected([1, 2], 0.5)
    paper, independent, testbed = (table[name].tolist() for name in table)
    assert paper == pytest.approx([1, 0.5])
    assert independent == pytest.approx([0.5, 0.75 / 2])  # one of two coins is enough
    assert testbed == pytest.approx([0.39, (1 - 0.61**2) / 2])


def test_numbers_by_hand():
    """Of three samples the first is wrong and unsure; a threshold of ½ sends it alone."""
    trace = hi.Trace([0.2, 0.8, 0.9], [0, 1, 1])
    runs = {size: hi.replay(trace, 0.5, size, "fixed", threshold=0.5) for size in (1, 2)}
    table = page.measured(runs, "x")
    assert list(table["transmissions"]) == pytest.approx([1 / 3, 1 / 3])
    batched, vanilla = (simulation.simulate(ROUND, [1, 0, 0], size) for size in (3, 1))
    found = page.numbers(batched, vanilla, table, samples=3)
    assert found["first_sample"] == found["last_sample"] == 1
    assert found["first_batched"] == found["last_batched_clock"] == 3 * 1 + 3 + 10 + 2
    assert found["first_vanilla"] == found["last_vanilla_clock"] == 1 + 3 + 10 + 2
    assert found["transmissions_per_batch_max"] == pytest.approx(1 / 2)  # one of two batches sends, one of three
    assert found["transmissions_vs_vanilla_max"] == pytest.approx(1)
    assert (found["testbed_size"], found["testbed_count"], found["testbed_batches"]) == (5, 2000, 2000)
    assert found["testbed_expected"] == pytest.approx(10_000 / 5 * (1 - 0.61**5))
    assert found["testbed_off"] == pytest.approx(225 / (10_000 / 45) - 1, rel=1e-3)
    assert found["tau_tx_cifar10"] == pytest.approx(8 * 3 * 1024 / 50_000)


def test_a_batch_without_offloads_has_no_times_of_offloads():
    trace = hi.Trace([0.2, 0.8], [0, 1])
    table = page.measured({1: hi.replay(trace, 0.5, 1)}, "x")
    logs = [simulation.simulate(ROUND, [0, 0], size) for size in (2, 1)]
    found = page.numbers(*logs, table, samples=2)
    assert all(math.isnan(found[f"{which}_{name}"]) for which in ("first", "last") for name in ("sample", "batched"))
    assert math.isnan(found["transmissions_vs_vanilla_max"])  # only M = 1 was replayed
