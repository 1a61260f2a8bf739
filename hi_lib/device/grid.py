"""The weights of a device whose confidences are rounded: constant time and memory, and NumPy is all that is needed."""

from __future__ import annotations

import math

import numpy as np

from hi_lib import checks
from hi_lib.forecaster import SPAN, Forecaster
from hi_lib.typing import Floats

_MOST = 1e300
_MILD = 30.0  # nats by which a sample moves weights: far less than what lies below a double
_ALIKE = 1e-6  # far above what a weight loses until all are computed afresh


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
        self._weight: Floats
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

    def measured(self, confidence: Floats, step: Floats) -> float:
        """Add a batch, as `update`; return its mixability gap under the weights before it (T22), in the log domain."""
        if confidence.size == 1 and self._eta * abs(change := step.item()) < _MILD:
            return self._measured_mildly(confidence.item(), change)
        places = np.round(confidence * self._levels).astype(int)
        loss = np.bincount(places, weights=step, minlength=self._levels)[: self._levels].cumsum()
        self._loss = np.cumsum(self._step[:-1])  # single samples do not keep it
        before = self._log_length - self._eta * (self._loss - self._loss.min())
        after = before - self._eta * loss
        weights, shifted = np.exp(before - before.max()), np.exp(after - after.max())
        grown = np.log(shifted.sum() / weights.sum()) + after.max() - before.max()
        gap = float(weights @ loss / weights.sum() + grown / self._eta)
        for place, change in zip(places.tolist(), step.tolist(), strict=True):
            self._step[place] += change
        self._loss = np.cumsum(self._step[:-1])
        self._weight, self._drift = shifted, 0.0
        return max(gap, 0.0)

    def _measured_mildly(self, confidence: float, step: float) -> float:
        """`measured` for a sample that moves no weight far: what has underflowed stays too small to matter."""
        place = round(confidence * self._levels)
        above = float(self._weight[place:].sum())
        share = above / (above + float(self._weight[:place].sum()))
        self.add(confidence, step)
        return max(step * share + math.log1p(share * math.expm1(-self._eta * step)) / self._eta, 0.0)

    def weigh(self, learning_rate: float) -> None:
        """Weigh all cells afresh with another η."""
        self._eta = learning_rate
        self._weigh_afresh()

    def spread(self, share: float, learning_rate: float) -> None:
        """As the plain version: the past becomes the losses that would have left these weights."""
        self._eta = learning_rate
        self._weigh_afresh()
        weight = self._weight / self._weight.mean()
        loss = -np.log((1 - share) * weight + share) / learning_rate
        self._step[:-1] = np.diff(loss, prepend=0.0).tolist()
        self._weigh_afresh()

    def shortest(self) -> float:
        """Length of the shortest cell."""
        return 1 / self._levels

    def weights(self, learning_rate: float) -> Floats:
        """Weight of each cell, up to a common factor."""
        if learning_rate != self._eta:
            self.weigh(learning_rate)
        return self._weight

    def state(self) -> dict[str, list[float]]:
        """The steps at each place, and the weight of each cell as it has come to be, with which rate."""
        weight = self._weight.tolist()
        return {"step": list(self._step), "weight": weight, "drift": [self._drift], "rate": [self._eta]}

    def restore(self, state: dict[str, list[float]]) -> None:
        """Go on from a state of a grid of as many levels.

        Raises
        ------
        ValueError
            Not as many numbers as levels, or weights that do not follow from the steps.
        """
        sizes = {"step": self._levels + 1, "weight": self._levels, "drift": 1, "rate": 1}
        found = {name: checks.reals(f"state's {name}", state.get(name, 0.0), -_MOST, _MOST) for name in sizes}
        if any(found[name].shape != (size,) for name, size in sizes.items()):
            raise ValueError(f"state's weights must be those of a grid of {self._levels} levels")
        drift = checks.real("state's drift", found["drift"].item(), 0, SPAN)
        self._eta = checks.positive("state's rate", found["rate"].item())
        self._step = found["step"].tolist()
        self._weigh_afresh()
        weight, now = found["weight"], self._weight
        if weight.min() < 0 or not np.allclose(weight * now.max(), now * weight.max(), rtol=_ALIKE, atol=_ALIKE):
            raise ValueError("state's weight must follow from its steps")
        self._weight, self._drift = weight, drift

    def _weigh_afresh(self) -> None:
        self._loss = np.cumsum(self._step[:-1])
        self._weight, self._drift = super().weights(self._eta), 0.0
