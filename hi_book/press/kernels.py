"""Kernels that start at once: forked from one process that has already imported what every notebook needs.

Importing the plotting and compiled parts takes a notebook longer than most of its work. Papermill and Jupyter do not
notice the difference: a kernel is still a process of its own that starts with nothing defined. The process in between
is `preload`. It ends when this one does, and every kernel when either of them does, however that happens.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning.local_provisioner import LocalProvisioner

from hi_book.press import surroundings

_NAME = "hi-forked"  # as registered in pyproject.toml
_asking = threading.RLock()
_channel: socket.socket | None = None  # to the process that forks; it ends when this closes
_running: set[ForkedProcess] = set()


def manager(environment: Mapping[str, str], folder: Path) -> type[AsyncKernelManager]:
    """What starts such a kernel, with these variables added to its environment; its connection file is in `folder`."""

    class Manager(AsyncKernelManager):
        def __init__(self, **options: Any) -> None:
            super().__init__(connection_file=str(folder / f".{uuid.uuid4()}.json"), **options)

        @property
        def kernel_spec(self) -> KernelSpec:
            """The one that there is: none of a user's own is looked for."""
            metadata = {"kernel_provisioner": {"provisioner_name": _NAME}}
            return KernelSpec(language="python", env=dict(environment), metadata=metadata)

    return Manager


def warm_up() -> socket.socket:
    """The channel to the warm process, which begins to import when this is first asked for."""
    global _channel
    with _asking:
        _channel = _channel or _start()
        return _channel


def stop_all() -> None:
    """End every kernel that still runs."""
    for process in list(_running):
        process.kill()


class ForkedProcess:
    """As much of `subprocess.Popen` as Jupyter uses, for a process that another one has forked.

    Each holds one end of a pair of sockets as long as it lives; how it ended cannot be told from here.
    """

    stdin = stdout = stderr = None

    def __init__(self, connection_file: str, environment: Mapping[str, str], folder: str) -> None:
        self._alive, held = socket.socketpair()
        request = {"connection_file": connection_file, "environment": dict(environment), "folder": folder}
        try:
            with held:
                self.pid = _fork(request, held.fileno())
        except RuntimeError:
            self._alive.close()
            raise
        _running.add(self)

    def poll(self) -> int | None:
        """Return 0 once it has ended, None while it runs."""
        return self.wait(0.0)

    def wait(self, seconds: float | None = None) -> int | None:
        """Wait for the end, for so long at most."""
        if self in _running:
            if not select.select([self._alive], [], [], seconds)[0]:
                return None
            _running.discard(self)
            self._alive.close()
        return 0

    def send_signal(self, number: int) -> None:
        """Send a signal to the kernel alone."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)


class ForkedProvisioner(LocalProvisioner):
    """Launches kernels as forks of the warm process instead of new interpreters."""

    async def launch_kernel(self, cmd: list[str], **options: Any) -> KernelConnectionInfo:  # noqa: ARG002
        """Start a kernel of this environment; `cmd`, which would start another, is empty."""
        self.cwd = options.get("cwd") or Path.cwd()
        environment = surroundings.variables(**self.kernel_spec.env)
        process = ForkedProcess(self.parent.connection_file, environment, str(self.cwd))  # type: ignore[union-attr]
        self.process, self.pid = process, process.pid  # type: ignore[assignment]
        return self.connection_info


def _fork(request: dict[str, Any], held: int) -> int:
    """Let the warm process fork a kernel that keeps the descriptor `held`; return its process id."""
    global _channel
    with _asking:
        channel = warm_up()
        try:
            text = json.dumps(request).encode() + b"\n"
            sent = socket.send_fds(channel, [text], [held])
            channel.sendall(text[sent:])
            return int(channel.recv(32))
        except (OSError, ValueError):
            _channel = None
            raise RuntimeError("Kernel died before replying: the process that forks kernels has ended") from None


def _start() -> socket.socket:
    ours, its = socket.socketpair()
    environment = surroundings.variables(PYDEVD_DISABLE_FILE_VALIDATION="1")  # no warning about a debugger
    quiet: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    command = [sys.executable, "-P", "-m", "hi_book.press.preload", str(its.fileno())]
    warm = subprocess.Popen(command, env=environment, pass_fds=[its.fileno()], **quiet)
    its.close()

    def end() -> None:
        ours.close()
        warm.wait()

    atexit.register(end)
    return ours
