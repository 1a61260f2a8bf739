"""Tables of plain text whose columns never run together, however long a number gets, and errors with enough digits."""

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


def error_digits(error: float) -> str:
    """A standard error in four decimals, or as many as it takes to show one that is not zero.

    Examples
    --------
    >>> error_digits(0.0123), error_digits(0.000042), error_digits(1e-9)
    ('0.0123', '0.00004', 'below 0.000001')
    """
    if error >= 0.00095:
        return f"{error:.4f}"
    return np.format_float_positional(error, precision=1, fractional=False) if error >= 1e-6 else "below 0.000001"
