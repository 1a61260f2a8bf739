"""The link between device and server: plain, or slowed down to a given uplink rate and network time.

The delays are in the path of the bytes, need no rights on the machine, and each is measured as it came about.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import zmq

from hi_lib.live import keys
from hi_lib.live.wire import WireError, read_reply, receive, send
from hi_lib.typing import Bytes

_PATIENCE = 50.0  # ms between two looks at whether to stop
_SHORT = 1.5  # ms: what is due sooner is slept for, since a poll counts whole milliseconds
_UNKNOWN = -1  # number of a message that is no reply


class Delay(NamedTuple):
    """What a transmission met, ms: its wait for the uplink, its own time on it, and all its time there and back."""

    waited: float
    uplink: float
    there: float
    back: float

    @property
    def network(self) -> float:
        """Network time as it came about."""
        return self.there + self.back - self.waited - self.uplink


class _Parcel(NamedTuple):
    number: int
    came: float
    out: bool  # to the server
    frames: list[Bytes]


class Link(threading.Thread):
    """Carries messages between the device's end, an inproc socket, and a server.

    Parameters
    ----------
    context : zmq.Context
        The device's.
    server : str
        Address of the server.
    rate : float, optional
        Uplink, bit/s: transmissions go one after the other.
    network_time : callable, optional
        Gives the network time of the next transmission, ms; half of it on the way there, half on the way back.
    keys_folder : Path, optional
        Keys of `keys.make`: all is encrypted.

    Attributes
    ----------
    delays : dict of int to Delay
        By number of the transmission, once its answer is back.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        server: str,
        rate: float | None = None,
        network_time: Callable[[], float] | None = None,
        keys_folder: Path | None = None,
    ) -> None:
        super().__init__(daemon=True)
        self._context, self._device_end = context, f"inproc://link-{id(self)}"
        self.delays: dict[int, Delay] = {}
        self._rate, self._network_time = rate, network_time
        self._closing, self._free = threading.Event(), 0.0
        self._front, self._back = context.socket(zmq.PAIR), context.socket(zmq.DEALER)
        for socket in (self._front, self._back):
            socket.setsockopt(zmq.LINGER, 0)
        if keys_folder:
            keys.secure_client(self._back, keys_folder)
        self._front.bind(self._device_end)
        self._back.connect(server)
        # What is on its way, by when it is due; of each transmission its times on the uplink, on the network and there.
        self._due: list[tuple[float, int, _Parcel]] = []
        self._order = itertools.count()
        self._uplink: dict[int, tuple[float, float]] = {}  # waited for it, and on it
        self._network: dict[int, float] = {}
        self._there: dict[int, float] = {}

    def close(self) -> None:
        """Stop carrying; what is still on its way is lost."""
        self._closing.set()
        self.join()

    def device_socket(self) -> zmq.Socket[bytes]:
        """The device's end."""
        socket = self._context.socket(zmq.PAIR)
        socket.setsockopt(zmq.LINGER, 0)
        socket.connect(self._device_end)
        return socket

    def run(self) -> None:
        """Carry messages until closed."""
        poller = zmq.Poller()
        poller.register(self._front, zmq.POLLIN)
        poller.register(self._back, zmq.POLLIN)
        while not self._closing.is_set():
            left = 1000 * (self._due[0][0] - time.perf_counter()) if self._due else _PATIENCE
            if 0 < left < _SHORT:
                time.sleep(left / 1000)
            ready = dict(poller.poll(max(0, int(min(left, _PATIENCE) - _SHORT)) if self._due else int(_PATIENCE)))
            if self._front in ready:
                self._send(receive(self._front))
            if self._back in ready:
                self._bring(receive(self._back))
            while self._due and self._due[0][0] <= time.perf_counter():
                self._deliver(heapq.heappop(self._due)[2])
        self._front.close()
        self._back.close()

    def _send(self, frames: list[Bytes]) -> None:
        """Put a request on the uplink; its first frame is its number, which stays here."""
        came, (name, *message) = time.perf_counter(), frames
        number = int(name)
        self._network[number] = self._network_time() if self._network_time else 0.0
        seconds = 8 * sum(map(len, message[1:])) / self._rate if self._rate else 0.0
        begun = max(came, self._free)
        self._uplink[number] = 1000 * (begun - came), 1000 * seconds
        self._free = begun + seconds
        self._later(self._free + self._network[number] / 2000, _Parcel(number, came, True, message))

    def _bring(self, frames: list[Bytes]) -> None:
        came = time.perf_counter()
        try:
            number = read_reply(frames).number
        except WireError:
            number = _UNKNOWN  # the device counts it
        self._later(came + self._network.get(number, 0.0) / 2000, _Parcel(number, came, False, frames))

    def _later(self, due: float, parcel: _Parcel) -> None:
        heapq.heappush(self._due, (due, next(self._order), parcel))

    def _deliver(self, parcel: _Parcel) -> None:
        took, number = 1000 * (time.perf_counter() - parcel.came), parcel.number
        if parcel.out:
            self._there[number] = took
        elif number != _UNKNOWN:
            self.delays[number] = Delay(*self._uplink.get(number, (0.0, 0.0)), self._there.get(number, 0.0), took)
        # A device that has ended, or a server that is away for long, takes no more: what is sent then is lost.
        with contextlib.suppress(zmq.Again):
            send(self._back if parcel.out else self._front, parcel.frames, zmq.NOBLOCK)
