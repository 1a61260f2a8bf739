"""The server: takes the offloads of a batch, lets the L-ML work through them, sends one reply."""

from __future__ import annotations

import logging
import operator
import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import zmq
from zmq.auth.thread import ThreadAuthenticator

from hi_lib import checks
from hi_lib.events.serving import checked_server
from hi_lib.typing import Bytes
from hi_live import keys
from hi_live.connections import Connections
from hi_live.turns import SLICE, Sender, Turns, Work
from hi_live.wire import MOST_OF_PART, Reply, WireError, is_answer, pack_reply

LOCAL = ("127.0.0.1", "localhost", "::1")  # names of this machine
_PATIENCE = 50  # ms between two looks at whether to stop
_IN_A_ROW = 64  # messages that are taken before the L-ML goes on
# Whole messages that may wait within libzmq for us, and for a device to take them: it drops answers beyond.
_WAITING_PARTS, _WAITING_REPLIES = 2, 16
# Nothing else is an address: libzmq knows forms with two, of which the second one is where it goes.
_ADDRESS = re.compile(r"([a-z]+)://(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+|\*):([0-9]{1,5})(/[^\s/]+)?")

said = logging.getLogger(__name__)


class Large(Protocol):
    """An L-ML."""

    def answers(self, samples: Sequence[int], images: Sequence[Bytes]) -> Sequence[int | None]:
        """Its answer to each image, None if there is none; `samples` are their numbers in the device's data.

        It may raise anything: then it is asked again for fewer of them, and has no answer to those it cannot do alone.
        """


class Served(NamedTuple):
    """What a server has done: requests answered, messages that were none, and connections that it cut off."""

    requests: int
    refused: int
    cut: int


class Address(NamedTuple):
    """An address taken apart."""

    scheme: str
    host: str
    port: int
    path: str


def parsed_address(address: str) -> Address | None:
    """The parts of SCHEME://HOST:PORT or SCHEME://HOST:PORT/NAME; None if it is neither, or its port is none.

    Examples
    --------
    >>> parsed_address("tcp://127.0.0.1:5555")
    Address(scheme='tcp', host='127.0.0.1', port=5555, path='')
    >>> parsed_address("tcp://127.0.0.1:0;10.1.2.3:5555"), parsed_address("tcp://127.0.0.1:99999")
    (None, None)
    """
    found = _ADDRESS.fullmatch(address)
    if found is None or int(found[3]) > 65535:
        return None
    return Address(found[1], found[2].strip("[]"), int(found[3]), (found[4] or "").lstrip("/"))


def checked_address(address: str, insecure: bool = False, secret: bool = False) -> str:
    """The address, if only this machine can reach it, if what goes there is secret, or if that is expressly not needed.

    Raises
    ------
    ValueError
        Not one TCP address with a port up to 65535, or one that other machines can reach.
    """
    parts = parsed_address(address)
    if parts is None or parts.scheme != "tcp" or parts.path:
        raise ValueError(f"address must be tcp://HOST:PORT with a port up to 65535, got {checks.shown(address)}")
    if parts.host not in LOCAL and not (insecure or secret):
        raise ValueError(
            f"address must be of this machine (127.0.0.1), got {parts.host}: "
            "nothing is encrypted, so other machines need keys=…, or insecure=…"
        )
    return address


class Access(NamedTuple):
    """Who may connect: by default programs of this machine."""

    insecure: bool = False
    """Whether other machines may without keys."""
    keys_folder: Path | None = None
    """Keys of `keys.make`: all is encrypted, and only devices whose public key lies there are answered."""


THIS_MACHINE = Access()


@dataclass(frozen=True)
class Service:
    """What the server takes next, as `hi_lib.events.simulation.simulate` has it.

    Parameters
    ----------
    in_turn : {"requests", "images"}
        "requests": one of each device in turn, of a large one 32 images; of devices that wait for their answers that is
        the order in which they came, but for those that come while the L-ML computes: they are taken from one
        connection after the other. "images": one image of each device that waits, in turn.
    merge : int, optional
        Whole requests that wait are worked on together, in the order in which they came in, up to so many images, but
        one request at least; all are answered when the L-ML is through with them.
    merge_wait : float
        For so many ms at most, since the first of them came, a server that is free waits for so many images.

    Raises
    ------
    ValueError
        An argument outside its range, or what does not go together.
    """

    in_turn: str = "requests"
    merge: int | None = None
    merge_wait: float = 0.0

    def __post_init__(self) -> None:
        checked_server(self.in_turn, self.merge, self.merge_wait)


IN_TURN = Service()


def serve(
    large: Large,
    address: str,
    stop: threading.Event,
    ready: Callable[[str], None] = lambda _: None,
    access: Access = THIS_MACHINE,
    service: Service = IN_TURN,
) -> Served:
    """Answer requests until told to stop; several devices may ask. Messages that are none of ours are dropped.

    What the L-ML cannot answer is answered as unknown, with one line a request in the log of this module. A device's
    requests are worked on in the order in which they came, those of several devices by turns, or together.

    Parameters
    ----------
    large : Large
    address : str
        E.g. "tcp://127.0.0.1:5555"; port 0 stands for any free one.
    stop : threading.Event
    ready : callable
        Told the address in use.
    access : Access
    service : Service

    Raises
    ------
    ValueError
        An address that `checked_address` refuses, or that cannot be used; keys that are none.
    """
    checked_address(address, access.insecure, access.keys_folder is not None)
    context = zmq.Context()
    socket = context.socket(zmq.ROUTER)
    for option, value in (
        (zmq.LINGER, 0),
        (zmq.MAXMSGSIZE, MOST_OF_PART),
        (zmq.RCVHWM, _WAITING_PARTS),
        (zmq.SNDHWM, _WAITING_REPLIES),
        (zmq.IPV6, "[" in address),
    ):
        socket.setsockopt(option, value)
    connections = Connections(socket, encrypted=access.keys_folder is not None)
    guard = None
    connections.start()
    try:
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
        answered, refused = _Desk(socket, connections, large, service).work(stop)
        return Served(answered, refused, connections.cut)
    finally:
        connections.close()
        socket.close()
        if guard:
            guard.stop()
        context.term()


class _Desk:
    """Where requests come in, are worked on by turns or together, and go out."""

    def __init__(self, socket: zmq.Socket[bytes], connections: Connections, large: Large, service: Service) -> None:
        self._socket, self._connections, self._large, self._service = socket, connections, large, service
        by_image = service.in_turn == "images"
        self._turns, self._in_a_row = Turns(behind_all=by_image), 1 if by_image else SLICE
        self._answered = self._refused = 0
        self._free = 0.0  # since when the L-ML has been

    def work(self, stop: threading.Event) -> tuple[int, int]:
        """Answer until told to stop; how many requests, and how many messages were none."""
        self._free = time.perf_counter()
        while not stop.is_set():
            self._take()
            if self._service.merge is not None:
                if self._left() <= 0:
                    self._go_on_together(self._turns.together(self._service.merge), self._service.merge)
            elif work := self._turns.next():
                self._go_on(work)
        return self._answered, self._refused

    def _left(self) -> float:
        """How many ms it may still wait for requests to merge; inf where there are none."""
        merge, wait = self._service.merge or 1, self._service.merge_wait
        return 1000 * (self._turns.since(merge) - time.perf_counter()) + wait

    def _patience(self) -> int:
        """How many ms it may wait for a message."""
        if not self._turns:
            return _PATIENCE
        return 0 if self._service.merge is None else int(min(max(self._left(), 0), _PATIENCE))

    def _take(self) -> None:
        """Take the messages that are there, up to so many; wait for one if there is nothing else to do."""
        patience = self._patience()
        for _ in range(_IN_A_ROW):
            if not self._socket.poll(patience):
                return
            patience, came = 0, time.perf_counter()
            frames, peer = self._connections.receive(2)
            try:
                if frames is None or len(frames) != 2:
                    raise WireError("a message has one frame")
                name, part = bytes(frames[0].buffer), frames[1].buffer
                for work in self._turns.add(Sender(name, peer), part, came):
                    self._refuse(work)
            except WireError:
                self._refused += 1

    def _refuse(self, work: Work) -> None:
        """Answer at once that nothing is known: there is no room for this request."""
        work.answers, work.problem = [None] * len(work.request.samples), "too much waits already"
        self._reply(work)

    def _go_on(self, work: Work) -> None:
        """Let the L-ML work on some pictures of a request; answer it if they are its last."""
        if not work.begun:
            # A request that was here already has waited since the server became free.
            work.begun, work.came = True, max(work.came, self._free)
        samples, images = work.next_pictures(self._in_a_row)
        begun = time.perf_counter()
        answers, problem = answered(self._large, samples, images)
        self._free = time.perf_counter()
        work.answers += answers
        work.computing += self._free - begun
        work.problem = work.problem or problem
        if work.done:
            self._turns.end(work)
            self._reply(work)

    def _go_on_together(self, works: list[Work], most: int) -> None:
        """Let the L-ML work on several requests, so many pictures at once, and answer them all.

        Each has computed for its share of the time.
        """
        for work in works:
            work.came = max(work.came, self._free)
        samples = [sample for work in works for sample in work.request.samples]
        images = [image for work in works for image in work.request.images]
        begun = time.perf_counter()
        answers: list[int | None] = []
        problem = ""
        for first in range(0, len(samples), most):
            part = slice(first, first + most)
            found, failed = answered(self._large, samples[part], images[part])
            answers, problem = answers + found, problem or failed
        self._free = time.perf_counter()
        for work in works:
            own = len(work.request.samples)
            work.answers, answers, work.problem = answers[:own], answers[own:], problem
            work.computing = (self._free - begun) * own / max(len(samples), 1)
            self._turns.end(work)
            self._reply(work)

    def _reply(self, work: Work) -> None:
        request, unknown = work.request, work.answers.count(None)
        if unknown:
            where = f"request {request.number} of run {request.run}: {unknown} of {len(work.answers)} pictures"
            said.warning("%s", checks.one_line(f"{where} have no answer: {work.problem}"))
        times = 1000 * (time.perf_counter() - work.came), 1000 * work.computing
        reply = Reply(request.run, request.number, request.samples, tuple(work.answers), *times)
        self._socket.send_multipart([work.device.name, pack_reply(reply)])
        self._answered += 1


def answered(large: Large, samples: Sequence[int], images: Sequence[Bytes]) -> tuple[list[int | None], str]:
    """An L-ML's answers, and why some are None: what it raises is no answer to the pictures that it cannot do alone.

    It is never shown an empty picture.
    """
    there = [place for place, image in enumerate(images) if len(image)]
    answers: list[int | None] = [None] * len(images)
    found, problem = _asked(large, [samples[place] for place in there], [images[place] for place in there])
    for place, answer in zip(there, found, strict=True):
        answers[place] = answer
    return answers, problem or ("a picture is empty" if len(there) < len(images) else "the L-ML gave none")


def _asked(large: Large, samples: list[int], images: list[Bytes]) -> tuple[list[int | None], str]:
    if not samples:
        return [], ""
    try:
        answers = [_plain(one) for one in large.answers(samples, images)]
        if len(answers) != len(samples):
            raise ValueError(f"the L-ML gave {len(answers)} answers to {len(samples)} pictures")
        return answers, ""
    except Exception as error:  # whatever it is, the next device must not suffer for it
        problem = f"{type(error).__name__}: {error}"
    if len(samples) == 1:
        return [None], problem
    half = len(samples) // 2
    first, second = (_asked(large, samples[part], images[part])[0] for part in (slice(half), slice(half, None)))
    return first + second, problem


def _plain(answer: Any) -> int | None:
    """An answer as it goes over the wire."""
    value = None if answer is None else operator.index(answer)
    if not is_answer(value):
        raise ValueError(f"the L-ML gave {checks.shown(answer)}: no class")
    return value
