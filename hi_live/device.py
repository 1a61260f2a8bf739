"""The device: the S-ML and the learner at work, batch by batch, with answers that come late or never."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from hi_lib import checks
from hi_lib.device.offloads import OffloadBatches
from hi_lib.events.queueing import checked_window
from hi_lib.typing import Bytes, Flags, Floats, Samples
from hi_live.batches import Batches, Held, SampleBatches
from hi_live.link import Link
from hi_live.log import Log, Transmission
from hi_live.wire import Reply, Request, pack_request, read_reply, receive

LONGEST_TIMEOUT = 3.6e6  # ms
_LONGEST_BACKOFF = 16  # timeouts
_WARM_UP = 2**53 - 1  # number of the first request that does not count; the second has the one before
_STEP = 20  # ms between two looks while something else may happen
_AT_ONCE = 64  # answers that are taken in a row
MOST_OUT = 128 * 2**20  # bytes of pictures that may be out


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
        M; the largest one where a controller chooses, and the most samples of a cycle where offloads are counted.
    offloads : int, optional
        m: send once so many offloads are pending, each sample with a θ of its own, as `hi.OffloadBatches`.
    window : float, optional
        Transmissions that may be out, a whole number or inf; None: the device waits for every answer.
    timeout : float
        After how many ms an answer counts as lost, up to an hour. Once two in a row are, the server counts as away:
        nothing is sent for as long again, twice as long if the next one is lost, too, and so on up to 16 times.
    max_wait : float, optional
        A batch ends once its first sample is so many ms old; where offloads are counted, once its first offload has
        waited for so long.
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
    offloads: int | None = None

    def __post_init__(self) -> None:
        checks.whole("batch_size", self.batch_size)
        if self.offloads is not None:
            checks.whole("offloads", self.offloads)
        checked_window(self.window)
        checks.real("timeout", self.timeout, 0, LONGEST_TIMEOUT, open_ends="(")
        if self.max_wait is not None:
            checks.positive("max_wait", self.max_wait)
        checks.choice("feedback", self.feedback, ("labels", "lml"))
        checks.nonnegative("tau_tx", self.tau_tx)

    @property
    def most_pictures(self) -> int:
        """Of a transmission."""
        return self.batch_size if self.offloads is None else min(self.offloads, self.batch_size)


class Controller(Protocol):
    """Chooses batch sizes, as `AdaptiveBatchSize` does."""

    def next_size(self) -> int:
        """M of the next batch."""

    def observe(self, size: int, offloads: int, network_time: float | None) -> None:
        """Hear of a batch that has ended."""


class _Out(NamedTuple):
    """A transmission that is out."""

    held: Held
    samples: Samples  # of its batch, counted in the run
    sent: float
    asked: tuple[int, ...]  # samples that were sent, counted in the data
    size: int  # bytes of their pictures


class Exchange(NamedTuple):
    """What a request of one picture met, ms: its round trip, and how long the L-ML computed."""

    round_trip: float
    computing: float


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
        self._batches: Batches = SampleBatches(learner)
        if plan.offloads is not None:
            self._batches = OffloadBatches(learner, plan.offloads, plan.batch_size, plan.max_wait)
        self.run_name = secrets.token_hex(8)
        self._link, self._socket = link, link.device_socket()
        self._out: dict[int, _Out] = {}
        self._bytes_out = 0
        self._stopped = False
        self._away_until, self._backoff = 0.0, 0

    def warm_up(self) -> Exchange | None:
        """Exchange an image before the run that does not count, and let a copy of the learner learn from it.

        Then connections are there, both ends are awake, and compiled code is loaded. Without it the first transmission
        would take many times as long as all others. A second exchange tells what to expect; None where no answer comes
        in time.

        Raises
        ------
        ValueError
            A server is there, and it and this device do not understand each other: the keys do not fit.
        """
        twin = type(self.learner).restore(self.learner.state())
        twin.hear(twin.decide_later([0.5]), [True])
        return self._exchange(_WARM_UP) and self._exchange(_WARM_UP - 1)

    def _exchange(self, number: int) -> Exchange | None:
        begun = time.perf_counter()
        self._post(self._packed(number, (0,))[0])
        while (left := self.plan.timeout - 1000 * (time.perf_counter() - begun)) > 0:
            if self._socket.poll(min(_STEP, int(left) + 1)):
                reply = read_reply(receive(self._socket)[0])
                if reply.number == number:
                    met = Exchange(1000 * (time.perf_counter() - begun), reply.computing)
                    return met if reply.answers != (None,) else None
            if self._link.refusal:
                raise ValueError(f"the server and this device do not understand each other: {self._link.refusal}")
        return None

    def _packed(self, number: int, asked: tuple[int, ...]) -> tuple[list[Bytes], int]:
        """A request as the link takes it, and the bytes of its pictures."""
        images = [self.small.image(sample) for sample in asked]
        size = sum(map(len, images))
        return [b"%d" % number, b"%d" % size, *pack_request(Request(self.run_name, number, asked, images))], size

    def _post(self, message: list[Bytes]) -> None:
        self._socket.send_multipart(message, copy=False)

    def run(self, samples: int, first: int = 0, after_batch: Callable[[int], None] = lambda _: None) -> Log:
        """Work through so many samples of the data; every one gets exactly one final answer, whatever the server does.

        `after_batch` is told how many samples have been decided. After `stop`, the log holds what was done.
        """
        n = checks.whole("samples", samples)
        self.log = log = Log.empty(checks.whole("first", first, low=0), n)
        self._begin, done = time.perf_counter(), 0
        log.begun = 1000 * self._begin
        while done < n and not self._stopped:
            done += self._batch(done, n)
            after_batch(done)
        self._wait(0)
        if done < n:
            log.interrupted = True
            log.cut(done)
        log.stray += self._link.stray
        log.ended = float(max(log.answered.max(initial=0.0), self._now()))
        self._socket.close()
        return log

    def final(self, done: int) -> int:
        """Of the first so many samples, which are decided, how many come before all whose answer is still out."""
        return int(min((out.samples[0] for out in self._out.values()), default=done))

    def stop(self) -> None:
        """End the run with the batch at hand; a signal's handler may call it."""
        self._stopped = True

    def _now(self) -> float:
        return 1000 * (time.perf_counter() - self._begin)

    def _batch(self, done: int, n: int) -> int:
        """Decide a batch and send what it offloads; its size."""
        wanted = self.controller.next_size() if self.controller else self.plan.batch_size
        held = self._compute(done, min(done + min(wanted, self.plan.batch_size), n))
        size = held.offload.size
        batch = np.arange(done, done + size)
        self.log.sizes.append(size)
        if held.offload.any():
            self._send(len(self.log.sizes) - 1, held, batch)
            self._wait(0 if self.plan.window is None else None)
        else:
            self._learn(held, batch)
            self._observe(size, 0, None)
        return size

    def _compute(self, begin: int, end: int) -> Held:
        """S-ML and learner over a batch, which may be cut short: what is accepted has its answer at once."""
        log = self.log
        for sample in range(begin, end):
            log.started[sample] = begun = self._now()
            log.confidence[sample] = self.small.classify(log.first + sample)
            computed = self._now()
            self._take(0)  # before it is decided: the θ of a batch is drawn from all feedback there is
            taught = self._now()
            decision = self._batches.decide(log.confidence[sample], None if self.plan.max_wait is None else taught)
            log.offloaded[sample] = decision.offload
            log.answered[sample] = decided = self._now()
            log.spent.small += computed - begun
            log.spent.learning += decided - taught
            if decision.cycle is not None:
                return decision.cycle
            if self._too_old(begin, decided):
                break
        return self._flush()

    def _too_old(self, begin: int, now: float) -> bool:
        """Whether a batch of samples that began with this one has to end (one of offloads knows itself)."""
        longest = self.plan.max_wait if self.plan.offloads is None else None
        return longest is not None and now - float(self.log.started[begin]) >= longest

    def _flush(self) -> Held:
        begun = self._now()
        held: Held = self._batches.flush()
        self.log.spent.learning += self._now() - begun
        return held

    def _send(self, number: int, held: Held, batch: Samples) -> None:
        if self.plan.window is not None:
            self._wait(self.plan.window - 1)
        begun = self._now()
        if begun < self._away_until:
            self._keep_local(held, batch)
            return
        asked = tuple((batch[held.offload] + self.log.first).tolist())
        message, size = self._packed(number, asked)
        self.log.spent.sending += self._now() - begun
        while self._out and self._bytes_out + size > MOST_OUT:
            self._wait(len(self._out) - 1)
        # The link is at work as soon as the first byte is there: from then on it is the round trip's time.
        sending = self._now()
        self._out[number] = _Out(held, batch, sending, asked, size)
        self._bytes_out += size
        self._post(message)
        self.log.sent[batch[held.offload]] = True
        if self.plan.window is None:
            self.log.spent.waiting += self._now() - sending

    def _wait(self, most: float | None) -> None:
        """Wait until no more than `most` transmissions are out; answers that are too late are given up.

        None is before the link has looked at the network after its time: what is in by then is not lost.
        """
        while most is not None and len(self._out) > most:
            begun, taught = self._now(), self.log.spent.learning
            left = min(out.sent for out in self._out.values()) + self.plan.timeout - begun
            self._take(left if left > 0 else 0.0 if self._link.looking else _STEP)
            if self._link.looking:
                for number in [n for n, out in self._out.items() if self._now() - out.sent >= self.plan.timeout]:
                    self._give_up(number)
            self.log.spent.waiting += self._now() - begun - (self.log.spent.learning - taught)

    def _take(self, patience: float) -> None:
        """Take the answers that are there, up to so many; wait for the first one up to so many ms."""
        until = self._now() + patience
        for _ in range(_AT_ONCE):
            if not self._socket.poll(max(0, int(until - self._now()))):
                return
            reply = read_reply(receive(self._socket)[0])
            out = self._out.get(reply.number)
            if reply.run != self.run_name or out is None or reply.samples != out.asked:
                self.log.stray += 1
                continue
            self._hear(reply, out)
            until = 0.0

    def _hear(self, reply: Reply, out: _Out) -> None:
        now, sent = self._now(), out.samples[out.held.offload]
        self._away_until, self._backoff = 0.0, 0
        self._bytes_out -= self._out.pop(reply.number).size
        known = np.array([answer is not None for answer in reply.answers])
        numbers = (sent + self.log.first)[known]
        answers = np.array([answer for answer in reply.answers if answer is not None], dtype=np.intp)
        self.log.answered[sent], self.log.lost[sent] = now, ~known
        self.log.lml_right[sent[known]] = self.small.lml_correct(numbers, answers)
        self.log.agrees[sent[known]] = self.small.agrees(numbers, answers)
        times = now - out.sent, reply.resident, reply.computing
        self._note(reply.number, out, times, lost=not known.any())
        if known.all():
            self._learn(out.held, out.samples)
        else:  # a batch is heard of whole or not at all
            self._batches.forget(out.held)
        network = now - out.sent - reply.resident - len(out.asked) * self.plan.tau_tx
        self._observe(out.samples.size, len(out.asked), max(0.0, network) if known.any() else None)

    def _give_up(self, number: int) -> None:
        now, out = self._now(), self._out.pop(number)
        self._bytes_out -= out.size
        self._note(number, out, (now - out.sent, 0.0, 0.0), lost=True)
        self._keep_local(out.held, out.samples)
        if now >= self._away_until:  # others that were out with it say nothing new
            self._away_until = now + self._backoff * self.plan.timeout
            self._backoff = min(max(1, 2 * self._backoff), _LONGEST_BACKOFF)

    def _keep_local(self, held: Held, batch: Samples) -> None:
        """The local answers of what was to be offloaded are final, and the learner hears nothing of them."""
        sent = batch[held.offload]
        self.log.answered[sent], self.log.lost[sent] = self._now(), True
        self._batches.forget(held)
        self._observe(batch.size, sent.size, None)

    def _note(self, number: int, out: _Out, times: tuple[float, float, float], lost: bool) -> None:
        one = Transmission(number, out.samples.size, len(out.asked), out.sent, *times, lost)
        self.log.transmissions.append(one)

    def _observe(self, size: int, offloads: int, network_time: float | None) -> None:
        if self.controller:
            self.controller.observe(size, offloads, network_time)

    def _learn(self, held: Held, batch: Samples) -> None:
        begun = self._now()
        self._batches.hear(held, self._feedback(held, batch))
        self.log.spent.learning += self._now() - begun

    def _feedback(self, held: Held, batch: Samples) -> Floats:
        """Whether the local answers are right, as far as the learner may know of them."""
        heard = self.small.correct(batch + self.log.first).astype(float)
        if self.plan.feedback == "lml":
            heard[held.offload] = self.log.agrees[batch[held.offload]]
        if self.learner.learner.feedback == "offloaded":
            heard[~held.offload] = np.nan
        return heard
