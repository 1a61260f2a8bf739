"""Settings that a user may have made for other work: all that the book's programs would find, if they looked."""

import os
from pathlib import Path

LOUD = "figure.facecolor: red\nfont.size: 20\nlines.linewidth: 9\nfigure.max_open_warning: 1\nsavefig.pad_inches: 1\n"
STARTUP = "import builtins, numpy\nbuiltins.range = None\nnumpy.left = 'behind'\n"


def hostile(folder):
    """An environment in which every program that is asked for its settings finds some; its matplotlibrc is loud."""
    (folder / "matplotlibrc").write_text(LOUD)
    (folder / ".config" / "matplotlib").mkdir(parents=True)
    (folder / ".config" / "matplotlib" / "matplotlibrc").write_text(LOUD)
    (folder / "startup.py").write_text(STARTUP)
    profile = folder / ".ipython" / "profile_default"
    (profile / "startup").mkdir(parents=True)
    (profile / "startup" / "first.py").write_text(STARTUP)
    (profile / "ipython_kernel_config.py").write_text("get_config().InlineBackend.figure_formats = {'png'}\n")
    return os.environ | {
        "HOME": str(folder),
        "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME")
        or str(Path.home() / ".cache"),  # no settings, and slow to make
        "XDG_CONFIG_HOME": str(folder / ".config"),
        "MATPLOTLIBRC": str(folder),
        "MPLBACKEND": "agg",
        "PYTHONSTARTUP": str(folder / "startup.py"),
        "PYTHONOPTIMIZE": "2",
        "PYTHONHASHSEED": "7",
        "PYTHONPATH": str(folder),
        "IPYTHONDIR": str(folder / ".ipython"),
        "JPY_PARENT_PID": "1000000",
        "LC_ALL": "C",
        "PLOTLY_RENDERER": "browser",
        "NUMBA_DISABLE_JIT": "1",
        "SOURCE_DATE_EPOCH": "1",
    }
