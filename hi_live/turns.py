"""Whose pictures are worked on next: a few of each device in turn, one of each, or what waits together."""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import NamedTuple

from hi_lib.typing import Bytes
from hi_live.connections import Peer
from hi_live.wire import Assembly, Request

SLICE = 32  # pictures of a device in a row, where they do not go one by one
MOST_WAITING = 256 * 2**20  # bytes of all devices' requests
_MOST_DEVICES = 1024
# What Python needs for a request and for each of its pictures beside their own bytes.
_REQUEST, _PICTURE = 2000, 300


class Sender(NamedTuple):
    """Who sends a message: its name on the socket, and its connection, where that is known."""

    name: bytes
    peer: Peer | None = None

    @property
    def gone(self) -> bool:
        """Whether it takes no answer any more."""
        return self.peer is not None and self.peer.gone


@dataclass(eq=False)
class Work:
    """A request, when it came by the clock, and what has come of it."""

    device: Sender
    request: Request
    came: float
    answers: list[int | None] = field(default_factory=list)
    computing: float = 0.0  # seconds
    begun: bool = False
    problem: str = ""  # why some answers are None

    @property
    def size(self) -> int:
        """Bytes of memory."""
        return _REQUEST + sum(_PICTURE + len(image) for image in self.request.images)

    @property
    def done(self) -> bool:
        """Whether each picture has its answer."""
        return len(self.answers) == len(self.request.samples)

    def next_pictures(self, most: int) -> tuple[tuple[int, ...], list[Bytes]]:
        """Samples and pictures of the next slice, so many at most."""
        begin = len(self.answers)
        return self.request.samples[begin : begin + most], list(self.request.images[begin : begin + most])


class _Device:
    """What a device waits for, and what has come of its next request."""

    def __init__(self) -> None:
        self.assembly, self.waiting, self.size = Assembly(), deque[Work](), 0

    @property
    def held(self) -> int:
        return self.size + self.assembly.held


class Turns:
    """Requests of all devices that wait.

    Parameters
    ----------
    most : int
        Bytes that all of them may hold. What comes beyond goes to the cost of the device that holds most.
    behind_all : bool
        Whether a device that has had its turn stands behind those, too, that come while it has it.
    """

    def __init__(self, most: int = MOST_WAITING, behind_all: bool = False) -> None:
        self._most, self._held = most, 0
        self._devices: OrderedDict[Sender, _Device] = OrderedDict()  # whose turn it is comes first
        self._behind_all = behind_all
        self._had_its_turn: Sender | None = None  # and waits for more

    def add(self, device: Sender, part: Bytes, came: float) -> list[Work]:
        """Take a part of a device's request; requests that there is no room for are given back, to be refused.

        Raises
        ------
        WireError
            It is none.
        """
        own = self._devices.get(device) or self._new(device, came)
        before = own.held
        try:
            request = own.assembly.add(part)
            if request is not None:
                own.waiting.append(work := Work(device, request, came))
                own.size += work.size
        finally:
            self._held += own.held - before
            self._let_go(device)
        return self._crowded_out(came)

    def __bool__(self) -> bool:
        return any(device.waiting for device in self._devices.values())

    def next(self) -> Work | None:
        """The oldest request of the device whose turn it is; all others have theirs before it has its next one.

        Who has gone waits for nothing.
        """
        if self._had_its_turn is not None and self._had_its_turn in self._devices:
            self._devices.move_to_end(self._had_its_turn)
        self._had_its_turn = None
        self._forget_the_gone()
        for name, device in self._devices.items():
            if device.waiting:
                if self._behind_all:
                    self._had_its_turn = name
                else:
                    self._devices.move_to_end(name)
                return device.waiting[0]
        return None

    def together(self, images: int) -> list[Work]:
        """Whole requests in the order in which they came, so many as have that many images, but one at least."""
        taken: list[Work] = []
        for work in self._by_age():
            images -= len(work.request.samples)
            if taken and images < 0:
                break
            taken.append(work)
        return taken

    def since(self, images: int) -> float:
        """When the oldest request came by the clock; long ago where so many images wait, or more, inf where none do."""
        waiting = self._by_age()
        if sum(len(work.request.samples) for work in waiting) >= images:
            return -math.inf
        return waiting[0].came if waiting else math.inf

    def _by_age(self) -> list[Work]:
        self._forget_the_gone()
        return sorted((work for own in self._devices.values() for work in own.waiting), key=lambda work: work.came)

    def _forget_the_gone(self) -> None:
        for name in [name for name in self._devices if name.gone]:
            self._held -= self._devices.pop(name).held

    def end(self, work: Work) -> None:
        """Forget a request that is answered."""
        own = self._devices[work.device]
        own.waiting.remove(work)
        own.size -= work.size
        self._held -= work.size
        self._let_go(work.device)

    def _new(self, name: Sender, now: float) -> _Device:
        if len(self._devices) >= _MOST_DEVICES:  # who has gone away in the middle of a request never completes it
            for gone in [each for each, own in self._devices.items() if not own.waiting][:1]:
                self._drop_part(gone, now)
        device = self._devices[name] = _Device()
        return device

    def _let_go(self, name: Sender) -> None:
        """Forget a device that waits for nothing."""
        if not self._devices[name].held:
            del self._devices[name]
            if name == self._had_its_turn:
                self._had_its_turn = None

    def _crowded_out(self, now: float) -> list[Work]:
        refused = []
        while self._held > self._most:
            name, largest = max(self._devices.items(), key=lambda item: item[1].held)
            if largest.assembly.held:
                refused += self._drop_part(name, now)
            else:
                refused.append(largest.waiting[-1])
                self.end(refused[-1])
        return refused

    def _drop_part(self, name: Sender, now: float) -> list[Work]:
        """Forget what has come of a device's next request; the request, if it is known which one it was."""
        own = self._devices[name]
        self._held -= own.assembly.held
        request = own.assembly.drop()
        self._let_go(name)
        return [Work(name, request, now)] if request else []
