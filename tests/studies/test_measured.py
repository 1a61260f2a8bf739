"""Timings: the fit against lines that are known; what was measured here is checked for sense, not for speed."""

import json

import numpy as np
import pandas as pd
import pytest

from hi_book.makers import timings
from hi_lib import traces
from hi_lib.studies import measured


def table(times):
    return pd.DataFrame([(size, ms) for size, ms in times.items()], columns=["batch_size", "milliseconds"])


def test_a_line_is_found_exactly():
    line = measured.fit(table({size: 3 + 0.5 * size for size in measured.BATCH_SIZES}))
    assert line == pytest.approx((3, 0.5, 0, 0), abs=1e-6)


def test_the_errors_are_those_of_many_measurements():
    rng = np.random.default_rng(0)
    size = np.array(measured.BATCH_SIZES)
    lines = []
    for _ in range(400):
        times = (3 + 0.5 * size) * (1 + 0.02 * rng.normal(size=size.size))
        lines.append(measured.fit(table(dict(zip(size, times, strict=True)))))
    fixed, slope, fixed_error, slope_error = np.array(lines).T
    # A deviation estimated from 400 draws is off by 1/sqrt(800); the mean error, with 4 degrees of freedom, by 6 %.
    assert fixed_error.mean() / fixed.std() == pytest.approx(0.94, abs=0.15)
    assert slope_error.mean() / slope.std() == pytest.approx(0.94, abs=0.15)
    assert fixed.mean() == pytest.approx(3, abs=4 * fixed.std() / 20)
    assert slope.mean() == pytest.approx(0.5, abs=4 * slope.std() / 20)


def test_two_batch_sizes_are_too_few():
    with pytest.raises(ValueError, match="three batch sizes at least"):
        measured.fit(table({1: 2.0, 2: 3.0}))


def test_every_size_is_measured_as_often():
    seen = []
    found = timings.time_batches(lambda pictures: seen.append(len(pictures)), 4, (1, 3), repeats=2)
    assert found["batch_size"].tolist() == [1, 3, 1, 3]
    assert seen == [1, 3, 1, 3, 1, 3]
    assert (found["milliseconds"] >= 0).all()


def test_the_committed_timings_name_their_machine_and_make_a_model():
    table = pd.read_csv(traces.data_file(measured.MEASURED))
    assert {"processor", "cores", "torch"} <= set(json.loads(traces.data_file(measured.MACHINE).read_text()))
    for data_set, pair in measured.PAIRS.items():
        model = measured.timing_model(table, data_set)
        assert model.tau_nw == measured.SETTINGS[data_set].timing.tau_nw
        for name in pair:
            sizes = table[table["model"] == name].groupby("batch_size").size()
            assert tuple(sizes.index) == measured.BATCH_SIZES
            assert sizes.nunique() == 1
        medians = table.groupby(["model", "batch_size"])["milliseconds"].median()
        assert model.tau_ed == medians[pair[0], 1]
        assert model.tau_es == medians[pair[1], 1]
    with pytest.raises(ValueError, match="data set must be one of imagenette, cifar10"):
        measured.timing_model(table, "mnist")
