"""The weights of a device whose confidences are rounded: constant time and memory, and NumPy is all that is needed."""

from __future__ import annotations

import math

import numpy as np

from hi_lib.forecaster import SPAN, Forecaster
from hi_lib.typing import Floats


class Grid(Forecaster):
    """The plain forecaster for confidences on a grid of `levels` equal steps, which keeps its weights up to date.

    Parameters
    ----------
    levels : int
    learning_rate : float
        η > 0 of the updates to come; asking with another one computes all weights afresh.
    """

    def __init__(self, levels: int, learning_rate: float) -> None:
        super().__init__(np.arange(levels) / levels)
        self._levels, self._eta = levels, learning_rate
        self._step = [0.0] * (levels + 1)  # of all samples at each place of the grid; losses are its running sums
        self._weigh_afresh()

    def update(self, confidence: Floats, step: Floats) -> None:
        """Add a batch to the past, as the plain version."""
        for p, change in zip(confidence.tolist(), step.tolist(), strict=True):
            self.add(p, change)

    def add(self, confidence: float, step: float) -> None:
        """Add one sample to the past: as `update`, without arrays."""
        place = round(confidence * self._levels)
        self._step[place] += step
        self._drift += self._eta * abs(step)
        if self._drift <= SPAN:
            self._weight[place:] *= math.exp(-self._eta * step)
        else:
            self._weigh_afresh()

    def weights(self, learning_rate: float) -> Floats:
        """Weight of each cell, up to a common factor."""
        if learning_rate != self._eta:
            self._eta = learning_rate
            self._weigh_afresh()
        return self._weight

    def state(self) -> dict[str, list[float]]:
        """The steps at each place, and the weight of each cell as it has come to be."""
        return {"step": list(self._step), "weight": self._weight.tolist(), "drift": [self._drift]}

    def restore(self, state: dict[str, list[float]]) -> None:
        """Go on from a state of a grid of as many levels."""
        self._step = list(state["step"])
        self._weight, self._drift = np.array(state["weight"]), state["drift"][0]

    def _weigh_afresh(self) -> None:
        self._loss = np.cumsum(self._step[:-1])
        self._weight, self._drift = super().weights(self._eta), 0.0
