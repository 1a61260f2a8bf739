"""Sending after so many offloads, on a device: what to do with each sample, and what to send when."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike

from hi_lib import checks
from hi_lib.device import states
from hi_lib.device.streaming import HILF
from hi_lib.typing import Flags

KEEP, HOLD, SEND = "keep", "hold", "send these now"


class Cycle(NamedTuple):
    """Samples that were decided from the same weights, and are heard of together."""

    first: int
    """Number of its first sample, counted from 0 over the learner's life."""
    tickets: tuple[int, ...]
    """One a sample, of the learner's."""
    offload: Flags
    """Which of them to offload, shape (N,)."""

    @property
    def sent(self) -> list[int]:
        """Numbers of the samples to offload, in order."""
        return (self.first + np.flatnonzero(self.offload)).tolist()


class Decision(NamedTuple):
    """What to do with a sample."""

    says: str
    """KEEP: its local answer stands; HOLD: it is to be offloaded, later; SEND: a cycle ends, send `cycle.sent` now."""
    offload: bool
    """Whether this sample is to be offloaded."""
    cycle: Cycle | None = None
    """The cycle that ends with it."""


class OffloadBatches:
    """Send when m offloads are pending (T19, T21), with a θ afresh for each sample.

    A cycle ends with its m-th offload, with its `max_samples`-th sample, or once its first offload has waited for
    `max_wait`. All samples of a cycle are decided from the weights of its beginning, so hand it what was heard
    (`hear`) before the next cycle begins, if the device waits; it may also come later, in any order.

    Parameters
    ----------
    learner : HILF, HILN or Apple
    offloads : int
        m >= 1.
    max_samples : int, optional
        A cycle ends after so many samples at the latest; without it an adversary could keep the learner from ever
        hearing anything.
    max_wait : float, optional
        ms > 0 from the decision on the first pending offload: give `decide` the time, and ask `due` between samples.

    Raises
    ------
    ValueError
        An argument outside its range.

    Examples
    --------
    >>> batches = OffloadBatches(HILF(beta=0.5, learning_rate=0.1, seed=3), offloads=2, max_samples=200)
    >>> for confidence in (0.2, 0.97, 0.3):
    ...     decision = batches.decide(confidence)
    ...     print(decision.says)
    hold
    keep
    send these now
    >>> decision.cycle.sent
    [0, 2]
    >>> batches.hear(decision.cycle, correct=[0, 1, 1])
    """

    def __init__(
        self, learner: HILF, offloads: int, max_samples: int | None = None, max_wait: float | None = None
    ) -> None:
        if not isinstance(learner, HILF):
            raise ValueError(f"learner must be a HILF, HILN or Apple, got {checks.shown(learner)}")
        self.learner = learner
        self.offloads = checks.whole("offloads", offloads)
        self.max_samples = None if max_samples is None else checks.whole("max_samples", max_samples)
        self.max_wait = None if max_wait is None else checks.positive("max_wait", max_wait)
        self._decided, self._tickets, self._flags = 0, list[int](), list[bool]()
        self._since = math.inf

    def __repr__(self) -> str:
        """One line: how it sends."""
        limits = "".join(
            f", {name}={value:g}"
            for name, value in (("max_samples", self.max_samples), ("max_wait", self.max_wait))
            if value is not None
        )
        return f"OffloadBatches({self.learner!r}, offloads={self.offloads}{limits})"

    @property
    def pending(self) -> int:
        """How many offloads wait for others."""
        return sum(self._flags)

    def decide(self, confidence: float, time: float | None = None) -> Decision:
        """Decide on the next sample, whose confidence lies in [0, 1], at a `time` in ms where a `max_wait` counts.

        Returns
        -------
        Decision

        Raises
        ------
        ValueError
            A confidence outside [0, 1], or a time that is missing or useless.
        """
        if (time is None) != (self.max_wait is None):
            raise ValueError(f"time must be {'left out' if self.max_wait is None else 'given, for max_wait'}")
        now = math.inf if time is None else checks.real("time", time, -1e300, 1e300)
        ticket = self.learner.decide_later([confidence])
        self._tickets.append(ticket.number)
        self._flags.append(offload := bool(ticket.offload[0]))
        if offload and self.pending == 1:
            self._since = now
        late = self.max_wait is not None and self.pending > 0 and now - self._since >= self.max_wait
        if self.pending == self.offloads or len(self._flags) == self.max_samples or late:
            return Decision(SEND, offload, self._end())
        return Decision(HOLD if offload else KEEP, offload)

    def due(self, time: float) -> Cycle | None:
        """The cycle that has to end at this time (ms) since its first offload has waited for `max_wait`, if it has.

        Returns
        -------
        Cycle or None
        """
        waited = checks.real("time", time, -1e300, 1e300) - self._since
        return self._end() if self.max_wait is not None and self.pending and waited >= self.max_wait else None

    def flush(self) -> Cycle | None:
        """End the cycle at hand, whatever it holds; None where it has no sample.

        Returns
        -------
        Cycle or None
        """
        return self._end() if self._flags else None

    def hear(self, cycle: Cycle, correct: ArrayLike) -> None:
        """Let the learner hear whether the S-ML was right on each sample of a cycle, shape (N,).

        For learners that hear of offloads only, nan or None where a sample stayed local.

        Raises
        ------
        ValueError
            Not an answer for each sample, or a cycle that was heard or forgotten before; nothing has changed then.
        """
        self._outstanding(cycle)
        self.learner.hear_together(cycle.tickets, correct)

    def forget(self, cycle: Cycle) -> None:
        """Give up a cycle whose answers are lost; errors as for `hear`.

        Raises
        ------
        ValueError
            As for `hear`.
        """
        self._outstanding(cycle)
        for ticket in cycle.tickets:
            self.learner.forget(ticket)

    def state(self) -> dict[str, Any]:
        """All there is to it, the learner and the cycle at hand included, as plain values for `json.dump`."""
        return {
            "learner": self.learner.state(),
            "offloads": self.offloads,
            "max_samples": self.max_samples,
            "max_wait": self.max_wait,
            "decided": self._decided,
            "tickets": list(self._tickets),
            "flags": list(self._flags),
            "waiting": None if self._since == math.inf else self._since,
        }

    @classmethod
    def restore(cls, state: dict[str, Any], learner: type[HILF] = HILF) -> Self:
        """What gave this state, going on as it would have, with the class of its learner.

        Raises
        ------
        ValueError
            The state is damaged, or the learner is of another class.
        """
        if not isinstance(state, dict):
            raise ValueError(f"state must be what state() gave, got {checks.shown(state)}")
        made = cls(
            learner.restore(states.part(state, "learner", dict)),
            state.get("offloads"),  # type: ignore[arg-type]
            state.get("max_samples"),
            state.get("max_wait"),
        )
        tickets = [checks.whole("state's tickets", each, low=0) for each in states.part(state, "tickets", list)]
        flags = states.part(state, "flags", list)
        known = set(made.learner.outstanding)
        if len(flags) != len(tickets) or not all(type(flag) is bool for flag in flags) or not set(tickets) <= known:
            raise ValueError("state's flags must say true or false of each ticket, and all of them must be outstanding")
        if sum(flags) >= made.offloads or len(flags) >= (made.max_samples or math.inf):
            raise ValueError(f"state's flags must leave the cycle open, got {len(flags)} samples, {sum(flags)} pending")
        made._decided, made._tickets, made._flags = states.count(state, "decided"), tickets, flags
        if state.get("waiting") is not None:
            made._since = states.number(state, "waiting", low=-1e300)
        return made

    def _end(self) -> Cycle:
        cycle = Cycle(self._decided, tuple(self._tickets), np.array(self._flags, np.bool_))
        self._decided += len(self._flags)
        self._tickets, self._flags, self._since = [], [], math.inf
        return cycle

    def _outstanding(self, cycle: Cycle) -> None:
        known = set(self.learner.outstanding)
        if not set(cycle.tickets) <= known:
            raise ValueError(f"the cycle that began with sample {cycle.first} was heard or forgotten before")
