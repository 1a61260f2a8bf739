"""The paper's symbols as text, in figures and on pages."""

from __future__ import annotations

import re

_INDEXED = re.compile(r"\b([RtTτλgM])_(n|s|r|ed|es|tx|nw|min|t|k)(?=²|\b)")  # its symbols as plain text writes them


def in_html(text: str) -> str:
    """The paper's symbols with their index below the line, in HTML.

    Examples
    --------
    >>> in_html("τ_nw against M, t_step")
    'τ<sub>nw</sub> against M, t_step'
    """
    return _INDEXED.sub(r"\1<sub>\2</sub>", text)


def in_mathtext(text: str) -> str:
    """The same in Matplotlib's notation.

    Examples
    --------
    >>> in_mathtext("system time t_s (ms)")
    'system time $t_{s}$ (ms)'
    """
    return _INDEXED.sub(r"$\1_{\2}$", text)
