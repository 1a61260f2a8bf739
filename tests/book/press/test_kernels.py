"""No kernel outlives its build, however that ends."""

import os
import signal
import subprocess
import sys
import time

import nbformat
import psutil
import pytest
from conftest import sample

BUILD = """
import sys
from pathlib import Path
from hi_book.press import notebooks, places
places.NOTEBOOKS = Path(sys.argv[1])
notebooks.run_notebook("busy", {}, places.NOTEBOOKS / "out")
"""
TELL = (
    "import os, pathlib\npathlib.Path('part').write_text(f'{os.getpid()} {os.getppid()}')\nos.rename('part', 'pids')\n"
)
# The first lets other threads run, the second does not: what looks for a match holds on to the interpreter.
WAITING = "import time\ntime.sleep(300)"
COMPUTING = "import re\nre.match('(a+)+$', 'a' * 60 + 'b')"


# Who is killed, and what the kernel does meanwhile.
KILLED = {
    "the build, while the process between hangs": WAITING,
    "the group": COMPUTING,
    "the process between": COMPUTING,
}


def ended(pid):
    try:
        return psutil.Process(pid).status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.NoSuchProcess:
        return True


def kill(what, build, between):
    if what == "the group":
        os.killpg(build, signal.SIGKILL)
    elif what == "the process between":
        os.kill(between, signal.SIGKILL)
    else:
        os.kill(between, signal.SIGSTOP)
        os.kill(build, signal.SIGKILL)


@pytest.mark.parametrize("what", sample(KILLED, ["the group"]))
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere, a kernel that computes ends when it has computed")
def test_a_kernel_ends_with_its_build(what, tmp_path):
    cells = [
        nbformat.v4.new_code_cell("a = 1", metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell(TELL + KILLED[what]),
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), tmp_path / "busy.ipynb")
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([sys.executable, "-c", BUILD, tmp_path], start_new_session=True, **silent) as build:
        while not (tmp_path / "pids").is_file():
            assert build.poll() is None
            time.sleep(0.02)
        kernel, between = map(int, (tmp_path / "pids").read_text().split())
        try:
            kill(what, build.pid, between)
            begin = time.monotonic()
            while not ended(kernel) and time.monotonic() < begin + 20:
                time.sleep(0.02)
            assert ended(kernel)
        finally:
            for pid in (build.pid, between, kernel):
                if not ended(pid):
                    os.kill(pid, signal.SIGKILL)
