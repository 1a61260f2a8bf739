"""Batch HI on a device: one batch after the other, confidences not known in advance, thresholds drawn for real."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hi_lib import checks
from hi_lib.forecaster import StreamingForecaster
from hi_lib.typing import Floats


class HILF:
    """Algorithm 1 with full feedback, one batch at a time.

    Parameters
    ----------
    beta : float
        Cost of an offload, in [0, 1].
    learning_rate : float
        η > 0.
    seed : int, optional
        Seeds the draws of θ.

    Examples
    --------
    >>> learner = HILF(beta=0.7, learning_rate=0.1, seed=0)
    >>> theta = learner.threshold()                  # the same for the whole batch
    >>> learner.decide([0.2, 0.99]) == (theta > np.array([0.2, 0.99]))
    array([ True,  True])
    >>> learner.update([0.2, 0.99], correct=[0, 1])  # feedback at the batch's end; a new θ is drawn
    """

    def __init__(self, beta: float, learning_rate: float, seed: int | None = None) -> None:
        self.beta = checks.real("beta", beta, 0, 1)
        self.learning_rate = checks.positive("learning_rate", learning_rate)
        self._rng = np.random.default_rng(checks.seed("seed", seed))
        self._forecaster = StreamingForecaster(self.learning_rate)
        self._threshold = self._forecaster.draw(self._rng)

    def threshold(self) -> float:
        """θ of the current batch."""
        return self._threshold

    def decide(self, confidence: ArrayLike) -> NDArray[np.bool_]:
        """Which samples of the current batch to offload: bool array of shape (m,), θ > p."""
        return self._threshold > checks.vector("confidence", confidence)

    def update(self, confidence: ArrayLike, correct: ArrayLike) -> None:
        """End the batch: learn from the confidence and correctness of all its m samples, then draw the next θ."""
        values = checks.vector("confidence", confidence)
        right = checks.flags("correct", correct, values.size)
        self._learn(values, self.beta - ~right)

    def _learn(self, confidence: Floats, step: Floats) -> None:
        self._forecaster.update(confidence, step)
        self._threshold = self._forecaster.draw(self._rng)


class HILN(HILF):
    """Learn from offloaded samples only: some are offloaded to learn, whatever θ says.

    Each sample is explored with probability ε. The others teach nothing here, even where they were offloaded, since
    whether those come back depends on their confidence.

    Parameters
    ----------
    beta, learning_rate, seed
        As for `HILF`; the seed also decides which samples are explored.
    exploration : float
        ε, in (0, 1].

    Examples
    --------
    >>> learner = HILN(beta=0.7, learning_rate=0.1, exploration=0.05, seed=2)
    >>> learner.decide([0.2, 0.99])                       # offload where θ > p, or to explore
    array([ True, False])
    >>> learner.update([0.2, 0.99], correct=[0, np.nan])  # nothing is known of what stayed on the device
    """

    def __init__(self, beta: float, learning_rate: float, exploration: float, seed: int | None = None) -> None:
        super().__init__(beta, learning_rate, seed)
        self.exploration = checks.share("exploration", exploration)
        self._decided: list[tuple[Floats, NDArray[np.bool_]]] = []

    def decide(self, confidence: ArrayLike) -> NDArray[np.bool_]:
        """Which samples of the current batch to offload: bool array of shape (m,), θ > p or explored.

        A batch may come in several calls; each call decides further samples.
        """
        values = checks.vector("confidence", confidence)
        explored = self._rng.random(values.size) < self.exploration
        self._decided.append((values, explored))
        return (self._threshold > values) | explored

    def update(self, confidence: ArrayLike, correct: ArrayLike) -> None:
        """End the batch: learn from its m samples as they were decided, then draw the next θ.

        Raises
        ------
        ValueError
            `confidence` is not what was decided since the last update, or `correct`, nan or None where a sample
            stayed local, lacks the answer to one that was offloaded.
        """
        values = checks.vector("confidence", confidence)
        decided, explored = (
            (np.concatenate(parts) for parts in zip(*self._decided, strict=True)) if self._decided else ((), ())
        )
        if not np.array_equal(values, decided):
            raise ValueError(f"confidence must hold the {len(decided)} samples decided since the last update, in order")
        right = checks.partial_flags("correct", correct, known=(self._threshold > values) | explored)
        self._decided.clear()
        self._learn(values, self.beta - (explored & ~right) / self.exploration)
