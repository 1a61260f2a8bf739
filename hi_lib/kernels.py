"""Kernels that start at once: forked from one process that has already imported what every notebook needs.

Importing the plotting and compiled parts takes a notebook longer than most of its work. Papermill and Jupyter do not
notice the difference: a kernel is still a process of its own that starts with nothing defined.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning.local_provisioner import LocalProvisioner

_NAME = "hi-forked"  # as registered in pyproject.toml
_context = multiprocessing.get_context("forkserver")
# A fork that already uses the system's graphics or maths libraries is not safe everywhere; there, kernels import.
_context.set_forkserver_preload(["hi_lib.preload"] if sys.platform == "linux" else [])
_running: set[ForkedProcess] = set()


def manager(environment: Mapping[str, str]) -> type[AsyncKernelManager]:
    """What starts such a kernel, with these variables added to its environment."""
    # For the process they are forked from: sets in the same order every time, and no warning about a debugger.
    os.environ |= {"PYTHONHASHSEED": "0", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}

    class Manager(AsyncKernelManager):
        @property
        def kernel_spec(self) -> KernelSpec | None:
            spec = super().kernel_spec
            if spec:
                spec.env = dict(environment)
                spec.metadata = {"kernel_provisioner": {"provisioner_name": _NAME}}
            return spec

    return Manager


def stop_all() -> None:
    """End every kernel that still runs."""
    for process in list(_running):
        process.kill()


class ForkedProcess:
    """As much of `subprocess.Popen` as Jupyter uses."""

    stdin = stdout = stderr = None

    def __init__(self, connection_file: str, environment: Mapping[str, str], folder: str) -> None:
        self._process = _context.Process(target=_serve, args=(connection_file, dict(environment), folder))
        self._process.start()
        self.pid = self._process.pid or 0
        _running.add(self)

    def poll(self) -> int | None:
        """Exit code; None while it runs."""
        return self._process.exitcode

    def wait(self) -> int | None:
        """Wait for the end; return the exit code."""
        self._process.join()
        _running.discard(self)
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """Send a signal to the kernel alone."""
        if self._process.is_alive():
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    def terminate(self) -> None:
        """Ask it to end."""
        self._process.terminate()


class ForkedProvisioner(LocalProvisioner):
    """Launches kernels as forks of the warm process instead of new interpreters."""

    async def launch_kernel(self, cmd: list[str], **options: Any) -> KernelConnectionInfo:  # noqa: ARG002
        """Start a kernel of this environment, whatever `cmd`, registered under that name, would have started."""
        self.cwd = options.get("cwd") or Path.cwd()
        process = ForkedProcess(self.parent.connection_file, options["env"], str(self.cwd))  # type: ignore[union-attr]
        self.process, self.pid = process, process.pid  # type: ignore[assignment]
        return self.connection_info


def _serve(connection_file: str, environment: dict[str, str], folder: str) -> None:
    """Become a kernel: in a session of its own, silent, gone when the build is gone."""
    from ipykernel.kernelapp import IPKernelApp

    os.setsid()
    multiprocessing.set_start_method(None, force=True)  # not this fork server again, but what is usual here
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with Path(os.devnull).open("r+b") as nothing:
        for stream in range(3):
            os.dup2(nothing.fileno(), stream)
    threading.Thread(target=_end_with_the_build, daemon=True).start()
    os.environ.clear()
    os.environ.update(environment, JPY_PARENT_PID=str(os.getppid()))
    os.chdir(folder)
    IPKernelApp.launch_instance(argv=["-f", connection_file])


def _end_with_the_build() -> None:
    """Also when it was killed: the process between the two lives as long as its kernels do."""
    build = multiprocessing.parent_process()
    if build:
        build.join()
    os._exit(1)
