"""Samples that share one θ, decided and heard of as `hi.OffloadBatches` does with those that have one each."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from hi_lib.device.offloads import HOLD, KEEP, Cycle, Decision
from hi_lib.device.streaming import Ticket

Held = Ticket | Cycle
"""Decisions whose feedback is still to come; `offload` says which samples are to be offloaded."""


class Batches(Protocol):
    """What decides samples one by one, and says when those to be offloaded go: `SampleBatches` or `OffloadBatches`."""

    def decide(self, confidence: float, time: float | None = None) -> Decision:
        """What to do with the next sample, decided at a time in ms."""

    def flush(self) -> Any:
        """End the batch at hand, as what is held of it; None where it has no sample."""

    def hear(self, held: Any, correct: ArrayLike) -> None:
        """Let the learner hear of a batch."""

    def forget(self, held: Any) -> None:
        """Give up a batch whose answers are lost."""


class SampleBatches:
    """Batches whose end their user chooses.

    Parameters
    ----------
    learner : HILF, HILN or Apple
    """

    def __init__(self, learner: Any) -> None:
        self.learner = learner
        self._seen: list[float] = []

    def decide(self, confidence: float, time: float | None = None) -> Decision:
        """What to do with the next sample of the batch at hand."""
        del time  # how old a batch is, its user knows
        self._seen.append(confidence)
        offload = bool(self.learner.decide([confidence])[0])
        return Decision(HOLD if offload else KEEP, offload)

    def flush(self) -> Ticket:
        """End the batch at hand."""
        seen, self._seen = np.array(self._seen), []
        ticket: Ticket = self.learner.defer(seen)
        return ticket

    def hear(self, held: Ticket, correct: ArrayLike) -> None:
        """Let the learner hear of a batch."""
        self.learner.hear(held, correct)

    def forget(self, held: Ticket) -> None:
        """Give up a batch whose answers are lost."""
        self.learner.forget(held)
