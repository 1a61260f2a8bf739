"""Batch HI on a device that hears the truth about offloaded samples only."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hi_lib import batch_hi, checks
from hi_lib.device import states, tuning
from hi_lib.device.grid import Grid
from hi_lib.device.states import Begun, Decided
from hi_lib.device.streaming import HILF, Ticket
from hi_lib.typing import Flags, Floats

if TYPE_CHECKING:
    from hi_lib.device.tree import Tree

LEAST_EXPLORATION = 1e-12  # rarer exploration would not teach in a lifetime, and its weights would leave no digits


class HILN(HILF):
    """Learn from offloaded samples only: some are offloaded to learn, whatever θ says.

    Each sample is explored with probability ε. The others teach nothing here, even where they were offloaded, since
    whether those come back depends on their confidence.

    Parameters
    ----------
    beta, learning_rate, seed, levels, lambda_min, samples, batch_size
        As for `HILF`; the seed also decides which samples are explored.
    exploration : float, optional
        ε, in [1e-12, 1]; by default the one that minimises the bound, as "tuned" does with the rate.
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

    learner = batch_hi.HIL_N

    def __init__(
        self,
        beta: float,
        learning_rate: float | str,
        exploration: float | None = None,
        seed: int | None = None,
        *,
        levels: int | None = None,
        lambda_min: float | None = None,
        loss_rate: float = 0.0,
        samples: int | None = None,
        batch_size: int = 1,
    ) -> None:
        self._prepare(beta, levels)
        share = self._set_rates(learning_rate, exploration, tuning.Given(lambda_min, samples, batch_size))
        if exploration is None and share == 0:
            raise ValueError("exploration must be given with a number for the learning rate")
        self._exploration = checks.real("exploration", share, LEAST_EXPLORATION, 1)
        self._loss_rate = checks.real("loss_rate", loss_rate, 0, 1, open_ends=")")
        self._batch: list[Decided] = []
        self._begin_life(seed)

    @property
    def exploration(self) -> float:
        """ε, with which probability a sample is offloaded to learn, whatever θ says."""
        return self._exploration

    @property
    def loss_rate(self) -> float:
        """Share of the answers that never come."""
        return self._loss_rate

    def decide(self, confidence: ArrayLike) -> NDArray[np.bool_]:
        """Which samples of the current batch to offload: bool array of shape (m,), θ > p or explored.

        A batch may come in several calls; each call decides further samples.

        Raises
        ------
        ValueError
            A confidence outside [0, 1].
        """
        values = self._seen(confidence)
        decided = self._decided(values, self._begin())
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
        # What an offload costs is known without an answer: as if the local one had been right.
        self._learn(decided, np.ones(decided.confidence.size, np.bool_))

    def _batch_of(self, confidence: Floats) -> Decided:
        decided = states.joined(self._batch)
        if not np.array_equal(confidence, decided.confidence):
            count = decided.confidence.size
            raise ValueError(f"confidence must hold the {count} samples decided since the last update, in order")
        return decided

    def _end_batch(self) -> None:
        self._batch.clear()
        super()._end_batch()

    def _decided(self, confidence: Floats, begun: Begun) -> Decided:
        explored = self._rng.random(confidence.size) < self._exploration
        weight = explored / (self._exploration * (1 - self._loss_rate))
        return Decided(confidence, (begun.threshold > confidence) | explored, weight)

    def _exposed(self, pattern: int, samples: int) -> float:
        # T4: (η/2) Σ (1/ε + 2 g_t) is η/8 times this.
        return 4 * (samples / (self._exploration * (1 - self._loss_rate)) + pattern - samples)

    def _settings(self) -> dict[str, Any]:
        return super()._settings() | {"exploration": self._exploration, "loss_rate": self._loss_rate}

    def _memory(self) -> dict[str, Any]:
        return super()._memory() | {"calls": [[part.tolist() for part in call] for call in self._batch]}

    def _remember(self, state: dict[str, Any]) -> None:
        super()._remember(state)
        calls = states.part(state, "calls", list)
        self._batch = [states.decided("calls", parts, self._levels) for parts in calls]
        if self._batch and self._begun is None:
            raise ValueError("state's calls must be empty where no batch has begun")


class Apple(HILN):
    """Learn from every offload, explored or not, each weighted by how likely it was (theorem T5, apple tasting).

    Parameters
    ----------
    beta, learning_rate, seed, levels, lambda_min, loss_rate, samples, batch_size
        As for `HILN`; there are no "anytime" rates.
    exploration : float, optional
        ε, in [1e-12, 1]. With a named rate by default η M for batches of M, as the bound takes it; with a number for
        the rate it must be given.

    Examples
    --------
    >>> learner = Apple(beta=0.7, learning_rate=0.02, exploration=0.02, seed=2)
    >>> ticket = learner.decide_later([0.2, 0.99])
    >>> ticket.offload
    array([ True, False])
    >>> learner.hear(ticket, correct=[0, None])
    """

    learner = batch_hi.APPLE
    _drawn_from: Grid | Tree | None = None

    def _decided(self, confidence: Floats, begun: Begun) -> Decided:
        explored = self._rng.random(confidence.size) < self._exploration
        offload = (begun.threshold > confidence) | explored
        # θ was drawn from the weights of then, whatever has been heard since.
        weights = self._drawn_from if self._drawn_from and begun is self._begun else self._forecaster
        q = weights.offload_probability(confidence, self._eta)
        probability = q + (1 - q) * self._exploration
        return Decided(confidence, offload, offload / (probability * (1 - self._loss_rate)))

    def _learn(self, decided: Decided, right: Flags) -> None:
        if self._begun and self._drawn_from is None:
            self._drawn_from = copy.deepcopy(self._forecaster)
        super()._learn(decided, right)

    def _end_batch(self) -> None:
        self._drawn_from = None
        super()._end_batch()

    def _memory(self) -> dict[str, Any]:
        return super()._memory() | {"drawn_from": self._drawn_from.state() if self._drawn_from else None}

    def _remember(self, state: dict[str, Any]) -> None:
        super()._remember(state)
        if state.get("drawn_from") is not None:
            self._drawn_from = self._restored(states.part(state, "drawn_from", dict))
