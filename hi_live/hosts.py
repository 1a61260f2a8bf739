"""Hosts of their own on this machine: network namespaces, each with the kernel's own TCP, and a link between them.

Every host has a TUN device. One process carries the packets from one to the other: it serialises them at a rate, delays
them, and may lose some, and knows nothing of what they hold. So what TCP does with a transmission is the kernel's word,
not ours. Linux and root only; whatever happens to any of the processes, the namespaces go when the last one is gone.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import fcntl
import gc
import heapq
import json
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from hi_lib import checks

SERVER = "server"
CONGESTION = ("cubic", "bbr", "reno")
_NETWORK, _PREFIX = "10.77.0", 24
_NEW_NETWORK = 0x40000000  # CLONE_NEWNET
_DIES_WITH_PARENT = 1  # PR_SET_PDEATHSIG
_TUNSETIFF, _TUN_WITHOUT_HEAD = 0x400454CA, 0x1001
_LARGEST_PACKET, _IN_A_ROW = 2000, 64
_PATIENCE = 20  # seconds for the namespaces to come up
_KEPT_LATENESS = 100_000  # packets


@dataclass(frozen=True)
class Network:
    """What lies between a server and its devices.

    Parameters
    ----------
    rtt : float
        Round trip of an empty packet, ms.
    rate : float
        bit/s in each direction, of each device; of all together on a shared uplink.
    jitter : float
        Up to so many ms more each way, uniformly, without changing the order.
    loss : float
        Share of packets that are lost, in [0, 1).
    queue : int
        Bytes that may wait for the link in a direction; what comes beyond is lost.
    half_duplex : bool
        Whether both directions share the rate.
    shared : bool
        Whether all devices share it.
    congestion : str, optional
        The kernel's congestion control, one of `CONGESTION`; by default the machine's.
    keep_window : bool
        Whether a connection keeps its window when it has been idle: `tcp_slow_start_after_idle` is 0 then.

    Raises
    ------
    ValueError
        An argument outside its range.
    """

    rtt: float = 20.0
    rate: float = 50e6
    jitter: float = 0.0
    loss: float = 0.0
    queue: int = 2**22
    half_duplex: bool = False
    shared: bool = False
    congestion: str | None = None
    keep_window: bool = False

    def __post_init__(self) -> None:
        checks.real("rtt", self.rtt, 0, 60_000)
        checks.real("rate", self.rate, 1e3, 1e10)
        checks.real("jitter", self.jitter, 0, 60_000)
        checks.real("loss", self.loss, 0, 1, open_ends=")")
        checks.whole("queue", self.queue, low=2**12)
        if self.congestion is not None:
            checks.choice("congestion", self.congestion, CONGESTION)


class Punctuality(NamedTuple):
    """How late the link was with its packets, ms, and how much of a core it took."""

    packets: int
    p50: float
    p95: float
    p99: float
    core: float


class Hosts:
    """A server and devices, each on a host of its own; use it in a `with`.

    Parameters
    ----------
    network : Network
    devices : int

    Raises
    ------
    ValueError
        What is missing on this machine, in one line.
    """

    def __init__(self, network: Network, devices: int = 1) -> None:
        self.network, self.devices = network, checks.whole("devices", devices)
        if devices > 200:
            raise ValueError(f"devices must be at most 200, got {devices}")
        if missing := why_not():
            raise ValueError(f"hosts of their own {missing}")

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "hi_live.hosts", json.dumps(asdict(self.network)), str(self.devices)]
        self._link = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            self._holders: dict[str, int] = json.loads(self._answer())
        except ValueError:
            self._end()
            raise ValueError("hosts of their own could not be made: the namespaces did not come up") from None
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def address(self, port: int) -> str:
        """Where the server is, for devices."""
        return f"tcp://{_NETWORK}.1:{port}"

    @contextlib.contextmanager
    def inside(self, name: str) -> Iterator[None]:
        """Let this thread, and what it starts, be on a host: `SERVER`, or "device0" and so on."""
        with (
            open("/proc/self/ns/net", "rb") as home,  # noqa: PTH123 (no file, but a handle of the kernel's)
            open(f"/proc/{self._holders[name]}/ns/net", "rb") as host,  # noqa: PTH123
        ):
            _set_network(host.fileno())
            try:
                yield
            finally:
                _set_network(home.fileno())

    def punctuality(self) -> Punctuality:
        """How late the link has been with its packets so far.

        Raises
        ------
        ValueError
            The link has ended.
        """
        with contextlib.suppress(BrokenPipeError):  # no answer comes, which is told below
            if self._link.stdin:
                self._link.stdin.write("how late?\n")
                self._link.stdin.flush()
        if not (answer := self._answer()):
            raise ValueError("the link between the hosts has ended: nothing more goes from one to another")
        return Punctuality(**json.loads(answer))

    def _answer(self) -> str:
        if self._link.stdout and select.select([self._link.stdout], [], [], _PATIENCE)[0]:
            return self._link.stdout.readline()
        return ""

    def _end(self) -> None:
        for pipe in (self._link.stdin, self._link.stdout):
            if pipe:
                with contextlib.suppress(BrokenPipeError):  # a question that nobody is there to hear
                    pipe.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._link.wait(_PATIENCE)
        self._link.kill()
        self._link.wait()


def why_not() -> str:
    """What keeps hosts of their own from being made here; nothing if nothing does."""
    if sys.platform != "linux":
        return "need Linux"
    if os.geteuid():
        return "need root"
    if not Path("/dev/net/tun").exists():
        return "need the device /dev/net/tun, which is not there"
    if not shutil.which("ip"):
        return "need the program ip, of the package iproute2"
    done = subprocess.run([sys.executable, "-c", _TRY], capture_output=True)
    return "need network namespaces, which this machine does not allow" if done.returncode else ""


_TRY = f"import ctypes, sys; sys.exit(ctypes.CDLL(None).unshare({_NEW_NETWORK}) != 0)"


def _libc(name: str, *arguments: Any) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments):
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")


def _set_network(handle: int) -> None:
    _libc("setns", handle, _NEW_NETWORK)


# ---- The process between the hosts. ----


def _host(number: int, network: Network, to_link: socket.socket) -> None:
    """Be a host: a namespace with a TUN device, whose other end goes to the link. Hold it until the link is gone."""
    _libc("prctl", _DIES_WITH_PARENT, signal.SIGKILL, 0, 0, 0)
    _libc("unshare", _NEW_NETWORK)
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tun, _TUNSETIFF, struct.pack("16sH", b"t0", _TUN_WITHOUT_HEAD))
    control = ["congctl", network.congestion] if network.congestion else []
    for command in (
        ["addr", "add", f"{_NETWORK}.{number}/{_PREFIX}", "dev", "t0"],
        ["link", "set", "t0", "mtu", "1500", "up", "txqueuelen", "10000"],
        ["link", "set", "lo", "up"],
        *([["route", "change", f"{_NETWORK}.0/{_PREFIX}", "dev", "t0", *control]] if control else []),
    ):
        subprocess.run(["ip", *command], check=True)
    if network.keep_window:
        Path("/proc/sys/net/ipv4/tcp_slow_start_after_idle").write_text("0")
    socket.send_fds(to_link, [b"up"], [tun])
    os.close(tun)
    while True:
        signal.pause()


def _hold(number: int, network: Network) -> tuple[int, int]:
    """Start a host; its process, and the link's end of its TUN device."""
    ours, theirs = socket.socketpair()
    process = os.fork()
    if not process:
        try:
            ours.close()
            _host(number, network, theirs)
        finally:
            os._exit(1)
    theirs.close()
    _, handles, _, _ = socket.recv_fds(ours, 16, 1)
    ours.close()
    if not handles:
        sys.exit(1)
    return process, handles[0]


class _Between:
    """Carries packets from host to host, each due at its time."""

    def __init__(self, network: Network, ends: dict[int, int]) -> None:
        self._network, self._ends = network, ends  # the end of each host's TUN device, by the last part of its address
        self._free: dict[Any, float] = {}  # until when each direction of the link is taken
        self._last: dict[Any, float] = {}  # when the last packet of each comes
        self._due: list[tuple[float, int, int, bytes]] = []
        self._count, self._random = 0, np.random.default_rng(0)
        self._late: deque[float] = deque(maxlen=_KEPT_LATENESS)

    def run(self) -> None:
        """Go on until whoever asked for the hosts is gone."""
        ends = [*self._ends.values(), sys.stdin.fileno()]
        while True:
            self._deliver()
            wait = max(0.0, self._due[0][0] - time.monotonic()) if self._due else None
            for end in select.select(ends, [], [], wait)[0]:
                if end == ends[-1]:
                    if not os.read(end, 64):
                        return
                    print(json.dumps(self._punctuality()._asdict()), flush=True)
                else:
                    self._take(end)

    def _take(self, end: int) -> None:
        for _ in range(_IN_A_ROW):
            try:
                packet = os.read(end, _LARGEST_PACKET)
            except BlockingIOError:
                return
            if packet[0] >> 4 == 4:  # whatever else a host says, on its own, is nobody's
                self._send(packet)

    def _send(self, packet: bytes) -> None:
        network, now = self._network, time.monotonic()
        source, target = packet[15], packet[19]
        device = max(source, target)
        lane = (0 if network.shared else device, None if network.half_duplex else target == 1)
        begins = max(now, self._free.get(lane, 0.0))
        if (begins - now) * network.rate > 8 * network.queue:
            return
        self._free[lane] = begins + 8 * len(packet) / network.rate
        if network.loss and self._random.random() < network.loss:
            return
        there = self._free[lane] + (network.rtt / 2 + network.jitter * self._random.random()) / 1000
        self._last[lane] = there = max(there, self._last.get(lane, 0.0))
        self._count += 1
        if target in self._ends:
            heapq.heappush(self._due, (there, self._count, self._ends[target], packet))

    def _deliver(self) -> None:
        while self._due and self._due[0][0] <= (now := time.monotonic()):
            due, _, end, packet = heapq.heappop(self._due)
            self._late.append(now - due)
            with contextlib.suppress(OSError):
                os.write(end, packet)

    def _punctuality(self) -> Punctuality:
        late = sorted(self._late) or [0.0]
        p50, p95, p99 = (1000 * late[int(level * (len(late) - 1))] for level in (0.5, 0.95, 0.99))
        used = os.times()
        core = (used.user + used.system) / max(used.elapsed - _BEGAN, 1e-9)
        return Punctuality(self._count, p50, p95, p99, core)


_BEGAN = os.times().elapsed


def main(network: str, devices: int) -> None:
    """Make the hosts, say which processes hold them, and carry their packets until standard input ends."""
    chosen = Network(**json.loads(network))
    _libc("prctl", _DIES_WITH_PARENT, signal.SIGKILL, 0, 0, 0)
    hosts = {
        name: _hold(number, chosen) for number, name in enumerate([SERVER, *map("device{}".format, range(devices))], 1)
    }
    print(json.dumps({name: process for name, (process, _) in hosts.items()}), flush=True)
    gc.disable()  # nothing here is ever part of a circle, and a collection is late packets
    _Between(chosen, dict(enumerate((end for _, end in hosts.values()), 1))).run()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("network")
    parser.add_argument("devices", type=int)
    main(**vars(parser.parse_args()))
