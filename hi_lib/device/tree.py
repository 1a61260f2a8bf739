"""The weights of a device that knows no confidence in advance, at O(log cells) a sample."""

from __future__ import annotations

import numpy as np

from hi_lib import _tree
from hi_lib.forecaster import inside_cell
from hi_lib.typing import Floats


class Tree:
    """The weights of `Forecaster`, without knowing the confidences in advance; arguments and results as there.

    Parameters
    ----------
    learning_rate : float
        η > 0 of the updates to come; asking with another one weighs all cells afresh.
    """

    def __init__(self, learning_rate: float) -> None:
        self._eta = learning_rate
        self._count = 1
        self._cells = _tree.empty(64)

    def update(self, confidence: Floats, step: Floats) -> None:
        """Add a batch to the past: `step` (m,) is the loss for θ > p minus the loss for θ <= p of each sample."""
        while self._count + confidence.size > len(self._cells):
            self._grow()
        self._count = _tree.learn_all(self._cells, self._count, confidence, step, self._eta)

    def add(self, confidence: float, step: float) -> None:
        """Add one sample to the past: as `update`, without arrays."""
        if step != 0.0 and 0.0 < confidence < 1.0:
            if self._count == len(self._cells):
                self._grow()
            self._count = _tree.learn(self._cells, self._count, confidence, step, self._eta)

    def offload_probability(self, confidence: Floats, learning_rate: float) -> Floats:
        """Probability that θ > p, for each p of shape (m,)."""
        if learning_rate != self._eta:
            self._weigh(learning_rate)
        return _tree.shares_above(self._cells, confidence, self._eta)

    def draw(self, rng: np.random.Generator, learning_rate: float) -> float:
        """Draw one threshold from the current density."""
        if learning_rate != self._eta:
            self._weigh(learning_rate)
        low, high = _tree.cell(self._cells, rng.random(), self._eta)
        return inside_cell(low, high, 1.0 - rng.random())

    def state(self) -> dict[str, list[float]]:
        """The confidences met, in order, and the sum of the steps of each."""
        met = self._cells[1 : self._count]
        met = met[met[:, _tree.KEY].argsort()]
        return {"confidence": met[:, _tree.KEY].tolist(), "step": met[:, _tree.STEP].tolist()}

    def restore(self, state: dict[str, list[float]]) -> None:
        """Go on from a state; this tree must be new."""
        self.update(np.array(state["confidence"]), np.array(state["step"]))

    def _grow(self) -> None:
        self._cells = np.concatenate((self._cells, _tree.empty(len(self._cells))))

    def _weigh(self, learning_rate: float) -> None:
        self._eta = learning_rate
        _tree.weigh_afresh(self._cells, self._count, learning_rate)
