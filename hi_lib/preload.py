"""Imported once by the process that notebooks' kernels are forked from: what takes them longest to import.

No code of a notebook runs here, so nothing it defines, seeds or styles can pass from one to another.
"""

# ruff: noqa: E402
import os
import signal

# An interruption is for the build to handle; this process ends with it.
signal.signal(signal.SIGINT, signal.SIG_IGN)
# As a kernel would choose; the backend itself must not be imported outside one.
os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"

import pandas.io.formats.style  # noqa: F401

import hi_lib
from hi_lib import claims, cli, results, rivals, sweeps, theory_figures  # noqa: F401

# The compiled parts load when first called.
_trace = hi_lib.synthetic_trace(64, seed=0)
hi_lib.replay(_trace, 0.5, 4)
hi_lib.replay(_trace, 0.5, 4, learner="naive", seed=0)
