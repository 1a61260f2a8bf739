"""The property of tests/book/commands, that a command line is understood or refused, 10 000 times (HI_TRIES)."""

import os

import pytest
from command_lines import command_lines, understood_or_refused_in_one_line
from hypothesis import given, seed, settings

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
