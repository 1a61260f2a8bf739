"""What the programs that make the book see of the world around them: nothing that would change a page.

A user's settings of Python, Jupyter, matplotlib, … are for that user's own work: kernels and the renderer get ours.
What describes the machine, such as where programs lie or how many threads a library may start, they get as it is.
"""

from __future__ import annotations

import os
import re

from hi_book.press import places
from hi_lib.files import ROOT

# By how their names begin, all that the book's packages would take from a user, but for what is about the machine.
_SETTING = re.compile(
    r"""PYTHON(?!PYCACHEPREFIX) | IPYTHON | JUPYTER | JPY_ | PAPERMILL | NBFORMAT_ | TRAITLETS_ | PYDEV | DEBUGPY
    | MPL(?!CONFIGDIR) | MATPLOTLIB | QT_API | PLOTLY_ | PANDAS_ | SCIPY_ | SYMPY_ | NUMBA_(?!CACHE|CPU|NUM|THREADING)
    | SPHINX | DOCUTILS | SOURCE_DATE_EPOCH | READTHEDOCS | LANG | LC_ | COLUMNS | LINES | FORCE_COLO | HI_""",
    flags=re.VERBOSE,
)


def variables(**own: str) -> dict[str, str]:
    """The environment of such a program, `own` added: sets in the same order every time, one language, this library."""
    kept = {name: value for name, value in os.environ.items() if not _SETTING.match(name)}
    settings = {"PYTHONHASHSEED": "0", "PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8"}
    # Where IPython keeps its profile, else among the user's own.
    return kept | settings | {"IPYTHONDIR": str(places.BUILD / "ipython")} | own
