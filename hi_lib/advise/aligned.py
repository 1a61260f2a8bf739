"""Tables of plain text whose columns never run together, however long a number gets, and numbers for reading."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def aligned(rows: Sequence[Sequence[str]], least: Sequence[int]) -> list[str]:
    """Lines with every cell at the right end of its column; two blanks at least part it from the one before.

    Parameters
    ----------
    rows : sequence of sequences of str
        The header first, all of one length; blanks at the end of a cell count.
    least : sequence of int
        What a column takes at least, with these blanks.

    Examples
    --------
    >>> aligned([["M", "t_s"], ["1", "5.7"], ["16", "123456789"]], [4, 6])
    ['   M        t_s', '   1        5.7', '  16  123456789']
    >>> aligned([["M", "t_s"], ["123456", "1"]], [4, 6])
    ['     M   t_s', '123456     1']
    """
    longest = [max(len(row[place]) for row in rows) + 2 * (place > 0) for place in range(len(least))]
    widths = list(map(max, least, longest))
    return ["".join(map(str.rjust, row, widths)).rstrip() for row in rows]


def four_digits(value: float) -> str:
    """A number to four digits, never with an exponent.

    Examples
    --------
    >>> four_digits(12345.6), four_digits(0.39), four_digits(20)
    ('12350', '0.39', '20')
    """
    return np.format_float_positional(value, precision=4, unique=False, fractional=False, trim="-")
