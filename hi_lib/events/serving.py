"""What several devices share in the simulation: a line at which each waits for its turn, a server that merges requests.

Whoever came first goes first, and at the very same time the device with the smaller number. So that this holds whatever
the order in which SimPy takes events of one time, a line looks at who waits only after all else of that time.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

import simpy
from simpy.events import EventPriority

from hi_lib import checks

TURNS = ("requests", "images")  # what the server may take in turn
UPLINK, SERVER = EventPriority(2), EventPriority(3)  # whose looks come after SimPy's own priorities, in this order

Work = Callable[[list[int], bool], Generator[simpy.Event, Any, None]]
"""What a server does for some samples, which may begin with its setup."""


class _Look(simpy.Event):
    """A look at what waits, after all else that happens at that time."""

    def __init__(
        self, env: simpy.Environment, look: Callable[[], None], priority: EventPriority, delay: float = 0.0
    ) -> None:
        super().__init__(env)
        self._ok, self._value = True, None
        self.callbacks.append(lambda _: look())
        env.schedule(self, priority, delay)


class Line:
    """Turns at something that serves one at a time: first come, first served."""

    def __init__(self, env: simpy.Environment, priority: EventPriority) -> None:
        self.env, self.priority = env, priority
        self._waiting: list[tuple[float, int, int, simpy.Event]] = []
        self._number, self._free = itertools.count(), True

    def request(self, device: int) -> simpy.Event:
        """Stand in line; the event happens when it is this device's turn."""
        turn = self.env.event()
        heapq.heappush(self._waiting, (self.env.now, device, next(self._number), turn))
        _Look(self.env, self._look, self.priority)
        return turn

    def release(self) -> None:
        """Let the next one have its turn."""
        self._free = True
        _Look(self.env, self._look, self.priority)

    def _look(self) -> None:
        if self._free and self._waiting:
            self._free = False
            heapq.heappop(self._waiting)[-1].succeed()


@dataclass(frozen=True)
class Place:
    """What a line is to one device: it asks for turns as of a `simpy.Resource`."""

    line: Line
    device: int

    def request(self) -> simpy.Event:
        """Stand in line."""
        return self.line.request(self.device)

    def release(self, _: simpy.Event) -> None:
        """Let the next one have its turn."""
        self.line.release()


@dataclass(frozen=True, order=True)
class Request:
    """Images of one device that came in one transmission; those that came first are first in order."""

    came: float
    device: int
    number: int
    samples: list[int] = field(compare=False)
    done: simpy.Event = field(compare=False)
    work: Work = field(compare=False)


class Merger:
    """A server that works through several requests as one, after one setup, and answers them together.

    When it is free it takes requests in the order in which they came, as many as have `most` images together, but never
    fewer than one. It does so once `most` images wait, or more, or once the first request has waited for `wait` ms.
    """

    def __init__(self, env: simpy.Environment, most: int, wait: float) -> None:
        self.env, self.most, self.wait = env, most, wait
        self._waiting: list[Request] = []
        self._number, self._free = itertools.count(), True

    def request(self, device: int, samples: list[int], work: Work) -> simpy.Event:
        """Hand images over; the event happens when they are answered."""
        request = Request(self.env.now, device, next(self._number), samples, self.env.event(), work)
        heapq.heappush(self._waiting, request)
        _Look(self.env, self._look, SERVER)
        _Look(self.env, self._look, SERVER, self.wait)
        return request.done

    def _look(self) -> None:
        if self._free and self._waiting and self._due():
            self._free = False
            self.env.process(self._serve(self._taken()))

    def _due(self) -> bool:
        images = sum(len(request.samples) for request in self._waiting)
        return images >= self.most or self.env.now >= self._waiting[0].came + self.wait

    def _taken(self) -> list[Request]:
        taken = [heapq.heappop(self._waiting)]
        images = len(taken[0].samples)
        while self._waiting and images + len(self._waiting[0].samples) <= self.most:
            taken.append(heapq.heappop(self._waiting))
            images += len(taken[-1].samples)
        return taken

    def _serve(self, taken: list[Request]) -> Generator[simpy.Event, Any, None]:
        for request in taken:
            yield from request.work(request.samples, request is taken[0])
        for request in taken:
            request.done.succeed()
        self._free = True
        _Look(self.env, self._look, SERVER)


def checked_server(in_turn: str, merge: int | None, merge_wait: float) -> None:
    """Refuse what no server does."""
    checks.choice("in_turn", in_turn, TURNS)
    wait = checks.nonnegative("merge_wait", merge_wait)
    if merge is None:
        if wait:
            raise ValueError(f"merge_wait must be left out where nothing is merged, got {wait:g}")
        return
    checks.whole("merge", merge)
    if in_turn == "images":
        raise ValueError("merge must be left out where the server takes images in turn: it merges whole requests")
