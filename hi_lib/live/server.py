"""The server: takes the offloads of a batch, lets the L-ML work through them, sends one reply."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit

import zmq
from zmq.auth.thread import ThreadAuthenticator

from hi_lib import checks
from hi_lib.live import keys
from hi_lib.live.wire import MOST_BYTES, Reply, WireError, pack_reply, read_request, receive, send
from hi_lib.typing import Bytes

LOCAL = ("127.0.0.1", "localhost", "::1")  # names of this machine
_PATIENCE = 50  # ms between two looks at whether to stop


class Large(Protocol):
    """An L-ML."""

    def answers(self, samples: Sequence[int], images: Sequence[Bytes]) -> list[int]:
        """Its answer to each image; `samples` are their numbers in the device's data."""


class Served(NamedTuple):
    """What a server has done: requests answered, and messages that were none."""

    requests: int
    refused: int


def checked_address(address: str, insecure: bool = False, secret: bool = False) -> str:
    """The address, if only this machine can reach it, if what goes there is secret, or if that is expressly not needed.

    Raises
    ------
    ValueError
        Not a TCP address, or one that other machines can reach.
    """
    parts = urlsplit(address)
    if parts.scheme != "tcp" or not parts.hostname:
        raise ValueError(f"address must be tcp://HOST:PORT, got {checks.shown(address)}")
    if parts.hostname not in LOCAL and not (insecure or secret):
        raise ValueError(
            f"address must be of this machine (127.0.0.1), got {parts.hostname}: "
            "nothing is encrypted, so other machines need --keys (hi live keys makes some) or --insecure"
        )
    return address


class Access(NamedTuple):
    """Who may connect: by default programs of this machine."""

    insecure: bool = False
    """Whether other machines may without keys."""
    keys_folder: Path | None = None
    """Keys of `keys.make`: all is encrypted, and only devices whose public key lies there are answered."""


THIS_MACHINE = Access()


def serve(
    large: Large,
    address: str,
    stop: threading.Event,
    ready: Callable[[str], None] = lambda _: None,
    access: Access = THIS_MACHINE,
) -> Served:
    """Answer requests until told to stop; several devices may ask. Messages that are none of ours are dropped.

    Parameters
    ----------
    large : Large
    address : str
        E.g. "tcp://127.0.0.1:5555"; port 0 stands for any free one.
    stop : threading.Event
    ready : callable
        Told the address in use.
    access : Access
    """
    context = zmq.Context()
    socket = context.socket(zmq.ROUTER)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.MAXMSGSIZE, MOST_BYTES)
    guard = None
    try:
        checked_address(address, access.insecure, access.keys_folder is not None)
        if access.keys_folder:
            keys.secure_server(socket, access.keys_folder)
            guard = ThreadAuthenticator(context)
            guard.start()
            guard.configure_curve(location=access.keys_folder)
        try:
            socket.bind(address)
        except zmq.ZMQError as error:
            raise ValueError(f"address {address} cannot be used: {error}") from None
        ready(socket.getsockopt_string(zmq.LAST_ENDPOINT))
        return _answer(socket, large, stop)
    finally:
        socket.close()
        if guard:
            guard.stop()
        context.term()


def _answer(socket: zmq.Socket[bytes], large: Large, stop: threading.Event) -> Served:
    answered = refused = 0
    free = time.perf_counter()
    while not stop.is_set():
        waited = socket.poll(0)
        if not waited and not socket.poll(_PATIENCE):
            continue
        # A request that is here already has waited since the server became free.
        came = free if waited else time.perf_counter()
        identity, *frames = receive(socket)
        try:
            request = read_request(frames)
        except WireError:
            refused, free = refused + 1, time.perf_counter()
            continue
        begun = time.perf_counter()
        answers = large.answers(request.samples, request.images)
        free = time.perf_counter()
        times = 1000 * (free - came), 1000 * (free - begun)
        send(socket, [identity, *pack_reply(Reply(request.run, request.number, tuple(answers), *times))])
        answered += 1
    return Served(answered, refused)
