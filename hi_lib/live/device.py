"""The device: the S-ML and the learner at work, batch by batch, with answers that come late or never."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from hi_lib import checks
from hi_lib.device.streaming import HILF, Ticket
from hi_lib.events.queueing import checked_window
from hi_lib.live.link import Link
from hi_lib.live.log import Log, Transmission
from hi_lib.live.wire import Reply, Request, WireError, pack_request, read_reply, receive, send
from hi_lib.typing import Flags, Floats, Samples

LONGEST_TIMEOUT = 3.6e6  # ms
_LONGEST_BACKOFF = 16  # timeouts
_WARM_UP = 2**53 - 1  # number of the request that does not count


class Small(Protocol):
    """An S-ML, the data that it is shown, and an oracle beside the device that knows the labels."""

    def classify(self, sample: int) -> float:
        """Compute on a sample; its confidence."""

    def image(self, sample: int) -> bytes:
        """What is sent if this sample is offloaded."""

    def correct(self, samples: Samples) -> Flags:
        """Whether the local answers are right, by the labels."""

    def lml_correct(self, samples: Samples, answers: Samples) -> Flags:
        """Whether these answers of the L-ML are right, by the labels."""

    def agrees(self, samples: Samples, answers: Samples) -> Flags:
        """Whether these answers of the L-ML are the local ones."""


@dataclass(frozen=True)
class Plan:
    """How the device works.

    Parameters
    ----------
    batch_size : int
        M; the largest one where a controller chooses.
    window : float, optional
        Transmissions that may be out, a whole number or inf; None: the device waits for every answer.
    timeout : float
        After how many ms an answer counts as lost, up to an hour. Once two in a row are, the server counts as away:
        nothing is sent for as long again, twice as long if the next one is lost, too, and so on up to 16 times.
    max_wait : float, optional
        A batch ends once its first sample is so many ms old.
    feedback : str
        "labels": the learner hears whether the local answer is right; "lml": for offloaded samples, whether it is the
        L-ML's.
    tau_tx : float
        ms an image on the uplink, for a controller, which hears of the network alone.
    """

    batch_size: int
    window: float | None = None
    timeout: float = 2000.0
    max_wait: float | None = None
    feedback: str = "labels"
    tau_tx: float = 0.0

    def __post_init__(self) -> None:
        checks.whole("batch_size", self.batch_size)
        checked_window(self.window)
        checks.real("timeout", self.timeout, 0, LONGEST_TIMEOUT, open_ends="(")
        if self.max_wait is not None:
            checks.positive("max_wait", self.max_wait)
        checks.choice("feedback", self.feedback, ("labels", "lml"))
        checks.nonnegative("tau_tx", self.tau_tx)


class Controller(Protocol):
    """Chooses batch sizes, as `AdaptiveBatchSize` does."""

    def next_size(self) -> int:
        """M of the next batch."""

    def observe(self, size: int, offloads: int, network_time: float | None) -> None:
        """Hear of a batch that has ended."""


class _Out(NamedTuple):
    """A transmission that is out."""

    ticket: Ticket
    samples: Samples  # of its batch, counted in the run
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
    plan : Plan
    controller : Controller, optional
        Chooses the batch sizes, up to the plan's.
    """

    def __init__(
        self, small: Small, learner: Any, link: Link, plan: Plan, controller: Controller | None = None
    ) -> None:
        self.small, self.learner, self.plan, self.controller = small, learner, plan, controller
        self.run_name = secrets.token_hex(8)
        self._socket = link.device_socket()
        self._out: dict[int, _Out] = {}
        self._stopped = False
        self._away_until, self._backoff = 0.0, 0

    def warm_up(self) -> None:
        """Exchange an image that does not count, before the run, and let a copy of the learner learn from it.

        Then connections are there, both ends are awake, and compiled code is loaded. Without it the first transmission
        would take many times as long as all others.
        """
        twin = type(self.learner).restore(self.learner.state())
        twin.hear(twin.decide_later([0.5]), [True])
        request = Request(self.run_name, _WARM_UP, (0,), [self.small.image(0)])
        send(self._socket, [str(_WARM_UP).encode(), *pack_request(request)])
        if self._socket.poll(int(self.plan.timeout)):
            receive(self._socket)

    def run(self, samples: int, first: int = 0, after_batch: Callable[[int], None] = lambda _: None) -> Log:
        """Work through so many samples of the data; every one gets exactly one final answer, whatever the server does.

        `after_batch` is told how many samples have been decided. After `stop`, the log holds what was done.
        """
        n = checks.whole("samples", samples)
        self.log = log = Log.empty(checks.whole("first", first, low=0), n)
        self._begin, done = time.perf_counter(), 0
        while done < n and not self._stopped:
            done += self._batch(done, n)
            after_batch(done)
        self._wait(0)
        if done < n:
            log.interrupted = True
            log.cut(done)
        log.ended = float(max(log.answered.max(initial=0.0), self._now()))
        self._socket.close()
        return log

    def stop(self) -> None:
        """End the run with the batch at hand; a signal's handler may call it."""
        self._stopped = True

    def _now(self) -> float:
        return 1000 * (time.perf_counter() - self._begin)

    def _batch(self, done: int, n: int) -> int:
        """Decide a batch and send what it offloads; its size."""
        wanted = self.controller.next_size() if self.controller else self.plan.batch_size
        size = self._compute(done, min(done + min(wanted, self.plan.batch_size), n))
        batch = np.arange(done, done + size)
        ticket = self._defer(batch)
        self.log.sizes.append(size)
        if ticket.offload.any():
            self._send(len(self.log.sizes) - 1, ticket, batch)
            self._wait(0 if self.plan.window is None else None)
        else:
            self._learn(ticket, batch)
            self._observe(size, 0, None)
        return size

    def _compute(self, begin: int, end: int) -> int:
        """S-ML and learner over a batch, which may be cut short: what is accepted has its answer at once."""
        log = self.log
        for sample in range(begin, end):
            log.started[sample] = begun = self._now()
            log.confidence[sample] = self.small.classify(log.first + sample)
            computed = self._now()
            self._take(0)  # before it is decided: the θ of a batch is drawn from all feedback there is
            taught = self._now()
            log.offloaded[sample] = self.learner.decide(log.confidence[sample : sample + 1])[0]
            log.answered[sample] = decided = self._now()
            log.spent.small += computed - begun
            log.spent.learning += decided - taught
            if self.plan.max_wait is not None and decided - log.started[begin] >= self.plan.max_wait:
                return sample + 1 - begin
        return end - begin

    def _defer(self, batch: Samples) -> Ticket:
        begun = self._now()
        ticket: Ticket = self.learner.defer(self.log.confidence[batch])
        self.log.spent.learning += self._now() - begun
        return ticket

    def _send(self, number: int, ticket: Ticket, batch: Samples) -> None:
        if self.plan.window is not None:
            self._wait(self.plan.window - 1)
        begun = self._now()
        if begun < self._away_until:
            self._keep_local(ticket, batch)
            return
        sent = (batch[ticket.offload] + self.log.first).tolist()
        images = [self.small.image(sample) for sample in sent]
        message = pack_request(Request(self.run_name, number, tuple(sent), images))
        self._out[number] = _Out(ticket, batch, sending := self._now(), len(sent))
        send(self._socket, [str(number).encode(), *message])
        # The link is at work as soon as the first byte is there: from then on it is the round trip's time.
        self.log.spent.sending += sending - begun
        if self.plan.window is None:
            self.log.spent.waiting += self._now() - sending

    def _wait(self, most: float | None) -> None:
        """Wait until no more than `most` transmissions are out; answers that are too late are given up."""
        while most is not None and len(self._out) > most:
            begun, taught = self._now(), self.log.spent.learning
            oldest = min(out.sent for out in self._out.values())
            self._take(max(0.0, oldest + self.plan.timeout - begun))
            for number in [n for n, out in self._out.items() if self._now() - out.sent >= self.plan.timeout]:
                self._give_up(number)
            self.log.spent.waiting += self._now() - begun - (self.log.spent.learning - taught)

    def _take(self, patience: float) -> None:
        """Take the answers that are there; wait for the first one up to so many ms."""
        while self._socket.poll(int(patience)):
            patience = 0
            try:
                reply = read_reply(receive(self._socket))
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
        self._away_until, self._backoff = 0.0, 0
        del self._out[reply.number]
        numbers, answers = sent + self.log.first, np.array(reply.answers, dtype=np.intp)
        self.log.answered[sent] = now
        self.log.lml_right[sent] = self.small.lml_correct(numbers, answers)
        self.log.agrees[sent] = self.small.agrees(numbers, answers)
        self._note(reply.number, out, (now - out.sent, reply.resident, reply.computing), lost=False)
        self._learn(out.ticket, out.samples)
        network = now - out.sent - reply.resident - out.offloads * self.plan.tau_tx
        self._observe(out.samples.size, out.offloads, max(0.0, network))

    def _give_up(self, number: int) -> None:
        now, out = self._now(), self._out.pop(number)
        self._note(number, out, (now - out.sent, 0.0, 0.0), lost=True)
        self._keep_local(out.ticket, out.samples)
        if now >= self._away_until:  # others that were out with it say nothing new
            self._away_until = now + self._backoff * self.plan.timeout
            self._backoff = min(max(1, 2 * self._backoff), _LONGEST_BACKOFF)

    def _keep_local(self, ticket: Ticket, batch: Samples) -> None:
        """The local answers of what was to be offloaded are final, and the learner hears nothing of them."""
        sent = batch[ticket.offload]
        self.log.answered[sent], self.log.lost[sent] = self._now(), True
        self.learner.forget(ticket)
        self._observe(batch.size, sent.size, None)

    def _note(self, number: int, out: _Out, times: tuple[float, float, float], lost: bool) -> None:
        one = Transmission(number, out.samples.size, out.offloads, out.sent, *times, lost)
        self.log.transmissions.append(one)

    def _observe(self, size: int, offloads: int, network_time: float | None) -> None:
        if self.controller:
            self.controller.observe(size, offloads, network_time)

    def _learn(self, ticket: Ticket, batch: Samples) -> None:
        begun = self._now()
        self.learner.hear(ticket, self._feedback(ticket, batch))
        self.log.spent.learning += self._now() - begun

    def _feedback(self, ticket: Ticket, batch: Samples) -> Floats:
        """Whether the local answers are right, as far as the learner may know: a learner of full feedback, all."""
        heard = self.small.correct(batch + self.log.first).astype(float)
        if self.plan.feedback == "lml":
            heard[ticket.offload] = self.log.agrees[batch[ticket.offload]]
        if type(self.learner) is not HILF:
            heard[~ticket.offload] = np.nan
        return heard
