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
from typing import Any, NamedTuple

import zmq

from hi_lib.typing import Bytes
from hi_live import keys
from hi_live.connections import Connections
from hi_live.wire import MOST_OF_REPLY, WireError, read_reply, receive, send

_PATIENCE = 50.0  # ms between two looks at whether to stop
_SHORT = 1.5  # ms: what is due sooner is slept for, since a poll counts whole milliseconds
# A link that has not looked at the network for so long (ms) was stopped, or had no turn: what came is still to be seen.
_STALLED = 100.0
_WAITING_REPLIES = 4  # within libzmq, from the server
_WAITING_PARTS = 2048  # on their way to the server: two of the largest requests
_STRAYS = 32  # messages in a row that answer nothing, after which the next look at the server is in `_PAUSE` ms
_PAUSE = 10
_TRIES = 4  # replies to a transmission that the device may see: it takes the one that is right
MOST_ON_THE_WAY = 256 * 2**20  # bytes that may wait for their time on an emulated link


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

    @property
    def size(self) -> int:
        return sum(map(len, self.frames))


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
    stray : int
        Messages from the server that no device asked for; it does not see them.
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
        self.stray, self._strays = 0, 0  # in all, and in a row
        self._rate, self._network_time = rate, network_time
        self._closing, self._free = threading.Event(), 0.0
        self._front, self._back = context.socket(zmq.PAIR), context.socket(zmq.DEALER)
        options = {zmq.MAXMSGSIZE: MOST_OF_REPLY, zmq.RCVHWM: _WAITING_REPLIES, zmq.SNDHWM: _WAITING_PARTS}
        for option, value in (options | {zmq.IPV6: "[" in server}).items():
            self._back.setsockopt(option, value)
        for socket in (self._front, self._back):
            socket.setsockopt(zmq.LINGER, 0)
        if keys_folder:
            keys.secure_client(self._back, keys_folder)
        self._connections = Connections(self._back, encrypted=keys_folder is not None)
        self._front.bind(self._device_end)
        self._back.connect(server)
        self._both = zmq.Poller()
        for end in (self._front, self._back):
            self._both.register(end, zmq.POLLIN)
        # What is on its way, by when it is due; of each transmission its times on the uplink, on the network and there.
        self._due: list[tuple[float, int, _Parcel]] = []
        self._order, self._on_the_way = itertools.count(), 0
        self._uplink: dict[int, tuple[float, float]] = {}  # waited for it, and on it
        self._network: dict[int, float] = {}
        self._there: dict[int, float] = {}
        self._tries: dict[int, int] = {}  # how many more replies to each may come
        self._looked, self._settled = time.perf_counter(), 0.0

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

    @property
    def looking(self) -> bool:
        """Whether what the network has brought by now is with the device, or due later.

        It is not while this thread has had no turn, as in a process that was stopped, and for a moment after that.
        """
        now = time.perf_counter()
        return not self.is_alive() or (1000 * (now - self._looked) < _STALLED and now >= self._settled)

    @property
    def silence(self) -> str:
        """Why there was no answer at all, where there was none."""
        if self._connections.greeted:
            return "a server is there, and has answered nothing"
        return self.refusal or "no server listens there"

    @property
    def refusal(self) -> str:
        """Why server and device have not understood each other yet; empty where they do, or nobody is there."""
        return "" if self._connections.greeted else self._connections.failure

    def run(self) -> None:
        """Carry messages until closed."""
        self._connections.start()
        while not self._closing.is_set():
            self._look()
            left = 1000 * (self._due[0][0] - time.perf_counter()) if self._due else _PATIENCE
            if 0 < left < _SHORT:
                time.sleep(left / 1000)
            ready = self._ready(max(0, int(min(left, _PATIENCE) - _SHORT)) if self._due else int(_PATIENCE))
            if self._front in ready:
                self._send(receive(self._front))
            if self._back in ready:
                self._bring()
            while self._due and self._due[0][0] <= time.perf_counter():
                self._deliver(heapq.heappop(self._due)[2])
        self._connections.close()
        self._front.close()
        self._back.close()

    def _look(self) -> None:
        """Note that this thread has its turn, and whether it had none for long."""
        now = time.perf_counter()
        if 1000 * (now - self._looked) >= _STALLED:
            self._settled = now + _PATIENCE / 1000
        self._looked = now

    def _ready(self, patience: int) -> list[Any]:
        """Ends at which there is a message; a server that sends what nobody asked for is passed over for a while."""
        if self._strays < _STRAYS:
            return [end for end, _ in self._both.poll(patience)]
        self._strays = 0
        return [self._front] if self._front.poll(min(patience, _PAUSE)) else []

    def _send(self, frames: list[Bytes]) -> None:
        """Put a request on the uplink; its number and the bytes of its pictures come first, and stay here."""
        came, (name, size, *parts) = time.perf_counter(), frames
        number = int(bytes(name))
        self._network[number] = self._network_time() if self._network_time else 0.0
        seconds = 8 * int(bytes(size)) / self._rate if self._rate else 0.0
        begun = max(came, self._free)
        self._uplink[number] = 1000 * (begun - came), 1000 * seconds
        self._free, self._tries[number] = begun + seconds, _TRIES
        self._later(self._free + self._network[number] / 2000, _Parcel(number, came, True, parts))

    def _bring(self) -> None:
        """Take a reply from the server; what is none, or is not asked for, ends here."""
        came, frames = time.perf_counter(), self._connections.receive(1).frames
        try:
            if frames is None:
                raise WireError("a reply has one frame")
            reply = frames[0].buffer.toreadonly()
            number = read_reply(reply).number
            if not self._tries.get(number):
                raise WireError("nobody has asked for it")
        except WireError:
            self.stray, self._strays = self.stray + 1, self._strays + 1
            return
        self._tries[number], self._strays = self._tries[number] - 1, 0
        self._later(came + self._network[number] / 2000, _Parcel(number, came, False, [reply]))

    def _later(self, due: float, parcel: _Parcel) -> None:
        """Keep it until it is due; what finds the way full is lost, as in any queue."""
        if self._on_the_way + parcel.size <= MOST_ON_THE_WAY:
            self._on_the_way += parcel.size
            heapq.heappush(self._due, (due, next(self._order), parcel))

    def _deliver(self, parcel: _Parcel) -> None:
        took, number = 1000 * (time.perf_counter() - parcel.came), parcel.number
        self._on_the_way -= parcel.size
        if parcel.out:
            self._there[number] = took
        else:
            self.delays[number] = Delay(*self._uplink[number], self._there.get(number, 0.0), took)
        # A device that has ended, or a server that is away for long, takes no more: what is sent then is lost.
        with contextlib.suppress(zmq.Again):
            send(self._back if parcel.out else self._front, parcel.frames, zmq.NOBLOCK)
