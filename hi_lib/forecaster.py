"""The exponentially weighted forecaster over all thresholds θ in [0, 1], exact and safe against overflow.

The loss of a sample depends on θ only through whether θ > p_t (offload) or θ <= p_t (accept). After any number of
samples the weight exp(−η · past loss) is therefore constant on the cells between neighbouring confidences, and every
integral over θ is a finite sum.

There are three versions of it, which tests hold together. `Forecaster` is the plain one, at O(cells) a call: it says
what the others compute, and allows any learning rate at any time; `Grid` is the same with weights kept from sample to
sample, for a device whose confidences are rounded. `_tree.Tree` serves a device that knows no confidence in advance, at
O(log cells) a sample. `_engine` treats a whole trace at once, because thousands of replays are the book's evidence.
"""

from __future__ import annotations

import bisect
import math

import numpy as np
from numpy.typing import ArrayLike

from hi_lib.traces import cell_edges
from hi_lib.typing import Floats

# Nats that two weights may drift apart before all are computed afresh. A double reaches down to e^-708: what was
# smaller then is still below e^-100 of the largest when it has grown by so much.
SPAN = 600.0


class Forecaster:
    r"""Weights over thresholds, learned from the past.

    With the loss of sample s at threshold θ,

    .. math:: l_s(θ) = β \text{ if } θ > p_s \text{ else } e_s, \qquad
              w(θ) = \exp\Bigl(-η \sum_{s \text{ in the past}} l_s(θ)\Bigr),

    θ is drawn with density w(θ) / ∫ w, and a sample of confidence p is offloaded with probability
    q = ∫_{θ > p} w / ∫ w. Subtracting l_s(0) = e_s from all thresholds changes no such ratio, so each cell keeps only
    Σ (β − e_s) over the samples that it would have offloaded.

    Parameters
    ----------
    confidence : array-like of shape (n,)
        All confidences that will be met.
    """

    def __init__(self, confidence: ArrayLike) -> None:
        self._edges = cell_edges(confidence)
        self._loss = np.zeros(self._edges.size - 1)
        self._log_length = np.log(np.diff(self._edges))

    def update(self, confidence: Floats, step: Floats) -> None:
        """Add a batch to the past: `step` (m,) is the loss for θ > p minus the loss for θ <= p of each sample."""
        position = self._edges.searchsorted(confidence)
        added = np.bincount(position, weights=step, minlength=self._edges.size)
        self._loss += np.cumsum(added)[:-1]

    def weights(self, learning_rate: float) -> Floats:
        """Weight of each cell, shape (cells,), scaled so that the largest is 1; no η or past can overflow it."""
        # Subtracting the least loss first keeps the digits of the lengths when η · loss is huge.
        exponent = self._loss.min() - self._loss
        with np.errstate(over="ignore"):  # a weight that far below the best is zero
            exponent *= learning_rate
        exponent += self._log_length
        exponent -= exponent.max()
        return np.exp(exponent, out=exponent)

    def offload_probability(self, confidence: Floats, learning_rate: float) -> Floats:
        """Probability that θ > p, for each p of shape (m,) among the known confidences; 0 for p = 1."""
        above = np.append(np.cumsum(self.weights(learning_rate)[::-1])[::-1], 0.0)
        return above[np.searchsorted(self._edges, confidence)] / above[0]

    def share(self, share: float, learning_rate: float) -> None:
        """Spread a share of the weight evenly over all thresholds: losses become those that would have led there."""
        weight, length = self.weights(learning_rate), np.exp(self._log_length)
        self._loss = -np.log((1 - share) * weight / weight.sum() / length + share) / learning_rate

    def draw(self, rng: np.random.Generator, learning_rate: float) -> float:
        """Draw one threshold from the current density."""
        passed = np.add.accumulate(self.weights(learning_rate))  # a third faster than cumsum
        # The product may round up to the total.
        cell = min(bisect.bisect_right(passed, rng.random() * passed.item(-1)), passed.size - 1)
        low, high = self._edges.item(cell), self._edges.item(cell + 1)
        return inside_cell(low, high, 1.0 - rng.random())


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


def inside_cell(low: float, high: float, share: float) -> float:
    """The place at a share in (0, 1] of a cell that is open below; a cell a few ulps wide is not left by rounding."""
    return min(max(low + (high - low) * share, math.nextafter(low, 1.0)), high)
