import json
import runpy
from types import SimpleNamespace

import pandas as pd
import pytest

from hi_book.makers import timings
from hi_book.press import places
from hi_lib import traces

PATH = places.ROOT / "tools" / "bench.py"
bench = SimpleNamespace(**runpy.run_path(str(PATH)))


@pytest.mark.slow
def test_benchmarks_write_a_row_for_every_method_and_size(tmp_path, monkeypatch):
    for name, place in {"DATA": tmp_path, "REGISTRY": tmp_path / "registry.txt"}.items():
        monkeypatch.setattr(traces, name, place)
    traces.REGISTRY.write_text("")
    said = []
    bench.run(said.append, sizes=(100, 200))
    table = pd.read_csv(traces.data_file(bench.SPEED))
    assert len(said) == len(table) == 2 * len(bench.METHODS)
    assert (table[["seconds_a_round", "least_seconds_a_round", "sorts", "peak_megabytes"]] > 0).all(axis=None)
    assert (table["seconds_a_round"] >= table["least_seconds_a_round"]).all()
    assert set(json.loads(traces.data_file(bench.MACHINE).read_text())) == set(timings.machine("numpy", "numba"))


def test_the_committed_benchmarks_are_complete():
    table = pd.read_csv(traces.data_file(bench.SPEED))
    largest = table.groupby("method")["samples"].max().to_dict()
    assert largest == bench.LARGEST
    assert json.loads(traces.data_file(bench.MACHINE).read_text())["processor"]
