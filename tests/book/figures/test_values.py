"""Numbers that a page's parameters may or may not determine."""

import math

import numpy as np
import pytest

from hi_book.figures import values


def test_a_standard_error_needs_two_values():
    assert values.standard_error([1.0, 3.0]) == pytest.approx(1)
    assert values.standard_error([[1.0, 5.0], [3.0, 5.0]]).tolist() == pytest.approx([1, 0])
    assert math.isnan(values.standard_error([1.0]))
    assert np.isnan(values.standard_error([[1.0, 5.0]])).tolist() == [True, True]


def test_growth_needs_two_positive_points():
    assert values.log_slope([1, 2, 8], [2.0, 4, 16]) == pytest.approx(1)
    assert math.isnan(values.log_slope([1], [2.0]))
    assert math.isnan(values.log_slope([1, 2], [0.0, 2.0]))


def test_lists_in_order_and_quotients():
    assert values.ordered([4, 1, 4, 2]) == [1, 2, 4]
    assert values.quotient(1, 4) == 0.25
    assert math.isnan(values.quotient(1, 0))


def test_words_and_errors_in_print():
    assert [values.listed(words) for words in (["1"], ["1", "2"], ["1", "2", "8"])] == ["1", "1 and 2", "1, 2 and 8"]
    assert (values.plus_minus(0.26, ".1f"), values.plus_minus(math.nan, ".1f")) == (" ± 0.3", " ± –")
