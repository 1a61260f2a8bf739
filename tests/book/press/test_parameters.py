"""One change of one parameter of some notebooks, in `make test-slow` of every one; tests/slow makes all changes."""

import json
import zlib

import pytest
from conftest import sample
from parameter_tours import run, tours

from hi_book.press import notebooks


def drawn(name):
    """One of a notebook's changes, the same in every run."""
    found = list(tours(name))
    return found[zlib.crc32(name.encode()) % len(found)]


@pytest.mark.parametrize("name", sample(notebooks.notebook_names(), ("fig4_objective", "real_wire")))
def test_a_changed_parameter_gives_a_page(name, tmp_path):
    parameter, value = drawn(name)
    assert run(name, parameter, value, tmp_path) == []


@pytest.mark.parametrize(
    ("default", "takes", "refuses"),
    [
        (3, [1, 7], [0, 2.0, True, "3", None, [3]]),
        (0, [0, 7], [-1, 0.5]),
        (0.5, [1, 0.25, -2.0], [True, "0.5", None, float("nan"), float("inf"), 10**400]),
        (True, [False], [0, "yes"]),
        ("a", ["b", ""], [1, None, ["a"]]),
        ([0, 2.5], [[1], [0.1, 3]], [[], 1, [None], ["x"], [[1]]]),
        ([4, 0, 2], [[0], [9]], [[-1], [0.5]]),
        ([[2, 1], [4, 1]], [[[1, 1]]], [[], [[]], [2, 1], [[0, 1]]]),
    ],
)
def test_a_parameters_own_value_says_which_values_it_takes(default, takes, refuses):
    kind = notebooks.parameter_kind(default)
    assert kind.takes(default)
    assert [value for value in takes if not kind.takes(value)] == []
    assert [value for value in refuses if kind.takes(value)] == []


def test_a_value_of_another_kind_is_one_line():
    for value in ([], 3, ["x"], [None]):
        with pytest.raises(ValueError, match="betas of fig3_cost_vs_batch_size must be a list of one or more values, "):
            notebooks.check_parameters("fig3_cost_vs_batch_size", {"betas": value})


def test_a_notebook_that_fails_is_kept_as_far_as_it_came(tmp_path):
    with pytest.raises(notebooks.BuildError, match=r"beta must be in \[0, 1\].*as far as it ran: .*failed\.ipynb\)"):
        notebooks.run_notebook("fig3_cost_vs_batch_size", {"betas": [0.5, 7.0], "shuffles": 1}, tmp_path)
    (kept,) = tmp_path.glob("*.ipynb")
    cells = json.loads(kept.read_text())["cells"]
    assert any(output["output_type"] == "error" for cell in cells for output in cell.get("outputs", []))
    notebooks.run_notebook("fig3_cost_vs_batch_size", {"betas": [0.5], "shuffles": 1}, tmp_path)
    assert not kept.exists()
