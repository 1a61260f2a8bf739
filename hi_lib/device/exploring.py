"""Batch HI on a device that hears the truth about offloaded samples only."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hi_lib import checks
from hi_lib.device.streaming import HILF, Decided, Ticket, as_decided
from hi_lib.typing import Floats


class HILN(HILF):
    """Learn from offloaded samples only: some are offloaded to learn, whatever θ says.

    Each sample is explored with probability ε. The others teach nothing here, even where they were offloaded, since
    whether those come back depends on their confidence.

    Parameters
    ----------
    beta, learning_rate, seed, levels, lambda_min
        As for `HILF`; the seed also decides which samples are explored.
    exploration : float
        ε, in (0, 1].
    loss_rate : float
        Share r of the answers that never come, in [0, 1): those that do count 1/(1 − r) times as much. If losses have
        nothing to do with the answers, what is learned is unbiased then; r too small makes the S-ML look better than
        it is, and thresholds come out too low.

    Examples
    --------
    >>> learner = HILN(beta=0.7, learning_rate=0.1, exploration=0.05, seed=2)
    >>> learner.decide([0.2, 0.99])                       # offload where θ > p, or to explore
    array([ True, False])
    >>> learner.update([0.2, 0.99], correct=[0, np.nan])  # nothing is known of what stayed on the device
    """

    feedback = "offloaded"

    def __init__(
        self,
        beta: float,
        learning_rate: float | str,
        exploration: float,
        seed: int | None = None,
        *,
        levels: int | None = None,
        lambda_min: float | None = None,
        loss_rate: float = 0.0,
    ) -> None:
        self._exploration = checks.share("exploration", exploration)
        self._loss_rate = checks.real("loss_rate", loss_rate, 0, 1, open_ends=")")
        self._batch: list[Decided] = []
        super().__init__(beta, learning_rate, seed, levels=levels, lambda_min=lambda_min)

    @property
    def exploration(self) -> float:
        """ε, the share of samples offloaded to learn."""
        return self._exploration

    @property
    def loss_rate(self) -> float:
        """Share of the answers that never come."""
        return self._loss_rate

    def decide(self, confidence: ArrayLike) -> NDArray[np.bool_]:
        """Which samples of the current batch to offload: bool array of shape (m,), θ > p or explored.

        A batch may come in several calls; each call decides further samples.
        """
        decided = self._decided(self._seen(confidence), self._threshold)
        self._batch.append(decided)
        return decided.offload

    def forget(self, ticket: Ticket | int) -> None:
        """Give up a ticket whose answer is lost: the answers that came stand for it, by the `loss_rate`.

        Raises
        ------
        ValueError
            The ticket is not outstanding; nothing has changed then.
        """
        number, decided = self._outstanding_ticket(ticket)
        self._close(number, decided)
        # What an offload costs is known without an answer.
        self._forecaster.update(decided.confidence, np.full(decided.confidence.size, self._beta))

    def _batch_of(self, confidence: Floats) -> Decided:
        decided = _joined(self._batch)
        if not np.array_equal(confidence, decided.confidence):
            count = decided.confidence.size
            raise ValueError(f"confidence must hold the {count} samples decided since the last update, in order")
        return decided

    def _next_batch(self) -> None:
        self._batch.clear()
        super()._next_batch()

    def _decided(self, confidence: Floats, threshold: float) -> Decided:
        explored = self._rng.random(confidence.size) < self._exploration
        weight = explored / (self._exploration * (1 - self._loss_rate))
        return Decided(confidence, (threshold > confidence) | explored, weight)

    def _exposed(self, pattern: int, samples: int) -> float:
        # T4: (η/2) Σ (1/ε + 2 g_t) is η/8 times this.
        return 4 * (samples / (self._exploration * (1 - self._loss_rate)) + pattern - samples)

    def _settings(self) -> dict[str, Any]:
        return super()._settings() | {"exploration": self._exploration, "loss_rate": self._loss_rate}

    def _memory(self) -> dict[str, Any]:
        return super()._memory() | {"batch": [[part.tolist() for part in call] for call in self._batch]}

    def _remember(self, state: dict[str, Any]) -> None:
        super()._remember(state)
        self._batch = [as_decided(parts) for parts in state["batch"]]


class Apple(HILN):
    """Learn from every offload, explored or not, each weighted by how likely it was (theorem T5, apple tasting).

    Parameters
    ----------
    beta, learning_rate, seed, levels, loss_rate
        As for `HILN`; the learning rate is a number.
    exploration : float
        ε, in (0, 1]; the bound takes ε = η M for batches of M, and no less.

    Examples
    --------
    >>> learner = Apple(beta=0.7, learning_rate=0.02, exploration=0.02, seed=2)
    >>> ticket = learner.decide_later([0.2, 0.99])
    >>> ticket.offload
    array([ True, False])
    >>> learner.hear(ticket, correct=[0, None])
    """

    def __init__(
        self,
        beta: float,
        learning_rate: float,
        exploration: float,
        seed: int | None = None,
        *,
        levels: int | None = None,
        loss_rate: float = 0.0,
    ) -> None:
        rate = checks.positive("learning_rate", learning_rate)
        super().__init__(beta, rate, exploration, seed, levels=levels, loss_rate=loss_rate)

    def _decided(self, confidence: Floats, threshold: float) -> Decided:
        explored = self._rng.random(confidence.size) < self._exploration
        offload = (threshold > confidence) | explored
        q = self._forecaster.offload_probability(confidence, self._eta)
        probability = q + (1 - q) * self._exploration
        return Decided(confidence, offload, offload / (probability * (1 - self._loss_rate)))

    def _settings(self) -> dict[str, Any]:
        settings = super()._settings()
        del settings["lambda_min"]
        return settings


def _joined(calls: list[Decided]) -> Decided:
    if len(calls) == 1:
        return calls[0]
    parts = zip(*calls, strict=True) if calls else ([np.empty(0)], [np.empty(0, np.bool_)], [np.empty(0)])
    return Decided(*(np.concatenate(part) for part in parts))
