"""The device: the S-ML and the learner at work, batch by batch, with answers that come late or never."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
import zmq
from numpy.typing import NDArray

from hi_lib import checks
from hi_lib.live.link import Link
from hi_lib.live.wire import Reply, Request, WireError, pack_request, read_reply
from hi_lib.queueing import open_window
from hi_lib.streaming import Ticket
from hi_lib.traces import Trace
from hi_lib.typing import Flags, Floats


class Small(Protocol):
    """An S-ML and the data that it is shown."""

    def classify(self, sample: int) -> float:
        """Compute on a sample; its confidence."""

    def image(self, _sample: int) -> bytes:
        """What is sent if this sample is offloaded."""


class ReplayedSmall:
    """The S-ML of a trace: it sleeps for as long as a real one would compute.

    Parameters
    ----------
    trace : Trace
    tau_ed : float
        ms an image.
    image_bytes : int
        Size of an image that is sent.
    """

    def __init__(self, trace: Trace, tau_ed: float, image_bytes: int) -> None:
        self._trace, self._seconds = trace, checks.nonnegative("tau_ed", tau_ed) / 1000
        self._image = bytes(checks.whole("image_bytes", image_bytes, low=0))

    def classify(self, sample: int) -> float:
        """The trace's confidence."""
        time.sleep(self._seconds)
        return float(self._trace.confidence[sample])

    def image(self, _sample: int) -> bytes:
        """As many bytes as an image has: all are alike."""
        return self._image


@dataclass(frozen=True)
class Plan:
    """How the device works: M; W, or None to wait for every answer; after how many ms an answer counts as lost."""

    batch_size: int
    window: float | None = None
    timeout: float = 2000.0

    def __post_init__(self) -> None:
        checks.whole("batch_size", self.batch_size)
        open_window(self.window)
        checks.positive("timeout", self.timeout)


class Transmission(NamedTuple):
    """One that is over, ms: the round trip as the device saw it, and what the server said of itself."""

    number: int
    offloads: int
    round_trip: float
    resident: float
    computing: float
    lost: bool


@dataclass(eq=False)
class Log:
    """What happened on the device's own clock, ms from the start of the run.

    Attributes
    ----------
    started, answered : NDArray of shape (n,)
        When the S-ML began with a sample, and when its final answer was known.
    offloaded, lost : NDArray of shape (n,), bool
        What was sent, and what of it kept the local answer since none came back.
    lml_right : NDArray of shape (n,)
        Whether the L-ML's answer was right; nan where there is none.
    computing, learning : float
        Time of the S-ML and of the learner, all samples.
    transmissions : list of Transmission
    stray : int
        Messages that answered nothing: late, twice, of another run, or no reply at all.
    """

    started: Floats
    answered: Floats
    offloaded: Flags
    lost: Flags
    lml_right: Floats
    computing: float = 0.0
    learning: float = 0.0
    ended: float = 0.0
    stray: int = 0
    transmissions: list[Transmission] = field(default_factory=list)

    @property
    def response_time(self) -> Floats:
        """From the start of a sample's S-ML to its final answer, ms, shape (n,)."""
        return self.answered - self.started

    @property
    def system_time(self) -> float:
        """Time of the run a sample, ms."""
        return self.ended / self.started.size


class _Out(NamedTuple):
    """A transmission that is out."""

    ticket: Ticket
    samples: NDArray[np.intp]  # of its batch
    sent: float
    offloads: int


class Device:
    """One device on a link.

    Parameters
    ----------
    small : Small
    learner : HILF, HILN or Apple
    link : Link
        Started.
    context : zmq.Context
        The link's.
    plan : Plan
    feedback : callable
        (samples, offloaded, right answers of the L-ML, nan where lost) → what the learner hears of the local answers,
        shape (m,); nan where nothing is known, None if the whole batch teaches nothing.
    """

    def __init__(
        self,
        small: Small,
        learner: Any,
        link: Link,
        context: zmq.Context[zmq.Socket[bytes]],
        plan: Plan,
        feedback: Callable[[NDArray[np.intp], Flags], Any],
    ) -> None:
        self.small, self.learner, self.plan, self.feedback = small, learner, plan, feedback
        self.run_name = secrets.token_hex(8)
        self._socket = context.socket(zmq.PAIR)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.connect(link.device_end)
        self._out: dict[int, _Out] = {}

    def run(self, samples: int, advance: Callable[[int], None] = lambda _: None) -> Log:
        """Work through so many samples; every one gets exactly one final answer, whatever the server does."""
        n = checks.whole("samples", samples)
        times, flags = np.zeros((2, n)), np.zeros((2, n), np.bool_)
        self.log = log = Log(times[0], times[1], flags[0], flags[1], np.full(n, np.nan))
        self._begin = time.perf_counter()
        for number, first in enumerate(range(0, n, self.plan.batch_size)):
            batch = np.arange(first, min(first + self.plan.batch_size, n))
            ticket = self._compute(batch)
            if ticket.offload.any():
                self._send(number, ticket, batch)
                self._wait(0 if self.plan.window is None else None)
            else:
                self._learn(ticket, batch)
            advance(batch.size)
        self._wait(0)
        log.ended = float(max(log.answered.max(), self._now()))
        self._socket.close()
        return log

    def _now(self) -> float:
        return 1000 * (time.perf_counter() - self._begin)

    def _compute(self, batch: NDArray[np.intp]) -> Ticket:
        """S-ML and learner over a batch: what is accepted has its answer at once."""
        log, confidence = self.log, np.empty(batch.size)
        for place, sample in enumerate(batch.tolist()):
            log.started[sample] = begun = self._now()
            confidence[place] = self.small.classify(sample)
            computed = self._now()
            log.offloaded[sample] = self.learner.decide(confidence[place : place + 1])[0]
            log.answered[sample] = decided = self._now()
            log.computing += computed - begun
            log.learning += decided - computed
            self._take(0)
        begun = self._now()
        ticket = self.learner.defer(confidence)
        log.learning += self._now() - begun
        return ticket

    def _send(self, number: int, ticket: Ticket, batch: NDArray[np.intp]) -> None:
        if self.plan.window is not None:
            self._wait(self.plan.window - 1)
        sent = batch[ticket.offload].tolist()
        images = [self.small.image(sample) for sample in sent]
        self._out[number] = _Out(ticket, batch, self._now(), len(sent))
        message = pack_request(Request(self.run_name, number, tuple(sent), images))
        self._socket.send_multipart([str(number).encode(), *message])

    def _wait(self, most: float | None) -> None:
        """Wait until no more than `most` transmissions are out; answers that are too late are given up."""
        while most is not None and len(self._out) > most:
            oldest = min(out.sent for out in self._out.values())
            left = oldest + self.plan.timeout - self._now()
            self._take(max(0.0, left))
            for number in [n for n, out in self._out.items() if self._now() - out.sent >= self.plan.timeout]:
                self._give_up(number)

    def _take(self, patience: float) -> None:
        """Take the answers that are there; wait for the first one up to so many ms."""
        while self._socket.poll(int(patience)):
            patience = 0
            try:
                reply = read_reply(self._socket.recv_multipart())
            except WireError:
                self.log.stray += 1
                continue
            out = self._out.get(reply.number)
            if reply.run != self.run_name or out is None or len(reply.answers) != out.offloads:
                self.log.stray += 1
                continue
            self._hear(reply, out)

    def _hear(self, reply: Reply, out: _Out) -> None:
        now, sent = self._now(), out.samples[out.ticket.offload]
        del self._out[reply.number]
        self.log.answered[sent] = now
        self.log.lml_right[sent] = reply.answers
        times = now - out.sent, reply.resident, reply.computing
        self.log.transmissions.append(Transmission(reply.number, out.offloads, *times, False))
        self._learn(out.ticket, out.samples)

    def _give_up(self, number: int) -> None:
        now, out = self._now(), self._out.pop(number)
        sent = out.samples[out.ticket.offload]
        self.log.answered[sent], self.log.lost[sent] = now, True
        self.log.transmissions.append(Transmission(number, out.offloads, now - out.sent, 0.0, 0.0, True))
        self.learner.forget(out.ticket)

    def _learn(self, ticket: Ticket, batch: NDArray[np.intp]) -> None:
        begun = self._now()
        self.learner.hear(ticket, self.feedback(batch, ticket.offload))
        self.log.learning += self._now() - begun
