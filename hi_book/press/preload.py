"""The process that notebooks' kernels are forked from: it imports once what takes each of them longest to import.

No code of a notebook runs here, so nothing it defines, seeds or styles can pass from one to another. Started by
`kernels`, as `python -m hi_book.press.preload DESCRIPTOR`, with a socket to the build.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1  # of prctl(2)
_MODULES = [
    *("ipykernel.kernelapp", "ipykernel.debugger", "psutil", "pandas.io.formats.style"),
    *("matplotlib.pyplot", "matplotlib.backends.backend_agg", "matplotlib.backends.backend_svg"),
    *("scipy.optimize", "scipy.special"),
    *("hi_book.press.claims", "hi_book.press.results", "hi_book.figures.style", "hi_lib.rivals"),
    "hi_lib.studies.sweeps",
]


def main(channel: socket.socket) -> None:
    """Fork a kernel for every request that comes, until the build is gone; then end them all."""
    # A fork that already uses the system's graphics or maths libraries is not safe elsewhere: there, kernels import.
    if sys.platform == "linux":
        _preload()
    us = os.getpid()
    kernels: list[int] = []
    while request := _request(channel):
        message, held = request
        pid = os.fork()
        if not pid:
            channel.close()
            _end_with(us, held)
            _serve(**message)
        os.close(held)
        channel.sendall(f"{pid}".encode())
        # Those that have ended are let go; the numbers of the others cannot be given to strangers.
        kernels = [each for each in [*kernels, pid] if os.waitpid(each, os.WNOHANG) == (0, 0)]
    for pid in kernels:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _preload() -> None:
    # As a kernel would choose; the backend itself must not be imported outside one.
    os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"
    for name in _MODULES:
        importlib.import_module(name)
    import matplotlib as mpl
    from matplotlib.mathtext import MathTextParser

    import hi_lib as hi
    from hi_book.figures import style

    # The compiled parts load when first called.
    trace = hi.synthetic_trace(64, seed=0)
    hi.replay(trace, 0.5, 4)
    hi.replay(trace, 0.5, 4, learner="naive", seed=0)
    # The grammar of formulas is built when the first is drawn.
    mpl.rcParams.update(style.settings())
    MathTextParser("path").parse("$τ_1$")
    # What is there now stays: no kernel need look through it for garbage, which would copy all its pages.
    gc.collect()
    gc.freeze()


def _request(channel: socket.socket) -> tuple[dict[str, Any], int] | None:
    """The next request, and the descriptor that came with it; None when the build is gone."""
    text, descriptors, *_ = socket.recv_fds(channel, 65536, 1)
    while text and not text.endswith(b"\n"):
        more = channel.recv(65536)
        if not more:
            return None
        text += more
    return (json.loads(text), descriptors[0]) if text else None


def _end_with(parent: int, held: int) -> None:
    """Let this kernel end when the build does, which has the other end of `held`, and, on Linux, when its parent does.

    The system itself sees to the latter, also while a kernel computes and no thread of its own can run.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it has ended before it was asked
            os._exit(1)
    alive = socket.socket(fileno=held)

    def watch() -> None:
        alive.recv(1)  # nothing ever comes but the end
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def _serve(connection_file: str, environment: dict[str, str], folder: str) -> None:
    """Become a kernel, in a session of its own."""
    from ipykernel.kernelapp import IPKernelApp

    class Kernel(IPKernelApp):
        """One that is the same for every user: it reads no settings and runs no startup files."""

        def load_config_file(self, *_: Any, **__: Any) -> None:
            pass

        def init_code(self) -> None:
            pass

    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(environment)
    with contextlib.suppress(OSError):  # where its folder cannot be made, IPython takes one among the temporary ones
        Path(os.environ["IPYTHONDIR"]).mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    Kernel.launch_instance(argv=["-f", connection_file, "--HistoryManager.enabled=False"])
    os._exit(0)


if __name__ == "__main__":
    # An interruption is for the build to handle; this process ends with it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    main(socket.socket(fileno=int(sys.argv[1])))
