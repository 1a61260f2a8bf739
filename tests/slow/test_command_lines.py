"""The property of tests/test_outside_input.py once more, many thousand times: HI_TRIES says how often (10 000)."""

import os

import pytest
from hypothesis import given, seed, settings
from test_outside_input import command_lines, understood_or_refused_in_one_line

TRIES, PARTS = int(os.environ.get("HI_TRIES", "10000")), 8


@pytest.mark.parametrize("part", range(PARTS))
def test_any_command_line_is_understood_or_refused(part, tmp_path_factory):
    tried = []

    @seed(part)
    @settings(max_examples=TRIES // PARTS, derandomize=False, database=None)
    @given(command_lines())
    def tries(line):
        tried.append(line)
        understood_or_refused_in_one_line(line, tmp_path_factory.mktemp("empty"))

    tries()
    assert len(tried) >= TRIES // PARTS
