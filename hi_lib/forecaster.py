"""The exponentially weighted forecaster over all thresholds θ in [0, 1], exact and safe against overflow.

The loss of a sample depends on θ only through whether θ > p_t (offload) or θ <= p_t (accept). After any number of
samples the weight exp(−η · past loss) is therefore constant on the cells between neighbouring confidences, and every
integral over θ is a finite sum. Here each call costs O(cells): `Forecaster` is the plain version, for confidences
known in advance and any learning rate at any time; `StreamingForecaster` serves a device, which knows neither past nor
future confidences, with one learning rate.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from hi_lib.traces import cell_edges
from hi_lib.typing import Floats

# How far two weights may drift apart, in nats, after which weights relative to the largest are taken afresh. A double
# reaches down to e^-708: what was smaller then is still below e^-100 of the largest when it has grown by so much.
SPAN = 600.0
_BLOCK = 64  # cells
_ONES = np.ones(_BLOCK)


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
        position = np.searchsorted(self._edges, confidence)
        added = np.bincount(position, weights=step, minlength=self._edges.size)
        self._loss += np.cumsum(added)[:-1]

    def weights(self, learning_rate: float) -> Floats:
        """Weight of each cell, shape (cells,), scaled so that the largest is 1; no η or past can overflow it."""
        return _weights(self._log_length, learning_rate, self._loss)

    def offload_probability(self, confidence: Floats, learning_rate: float) -> Floats:
        """Probability that θ > p, for each p of shape (m,) among the known confidences; 0 for p = 1."""
        above = np.append(np.cumsum(self.weights(learning_rate)[::-1])[::-1], 0.0)
        return above[np.searchsorted(self._edges, confidence)] / above[0]


class StreamingForecaster:
    """The same weights for one η, without knowing the confidences in advance; one exponential a sample.

    Parameters
    ----------
    learning_rate : float
        η > 0.
    """

    def __init__(self, learning_rate: float) -> None:
        self.learning_rate = learning_rate
        self._cells, self._drift = 1, 0.0
        # Row 0: lower edge of each cell; row 1: its loss; row 2: its weight. With room to grow.
        self._table = np.zeros((3, _BLOCK))
        self._edges, self._loss, self._weight = self._table
        self._edges[1] = self._weight[0] = 1.0

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Let the rows of a copy be those of its own table again."""
        self.__dict__ |= state
        self._edges, self._loss, self._weight = self._table

    def update(self, confidence: Floats, step: Floats) -> None:
        """Add a batch to the past: `step` (m,) is the loss for θ > p minus the loss for θ <= p of each sample."""
        for p, change in zip(confidence.tolist(), step.tolist(), strict=True):
            above = slice(self._cut(p), self._cells)
            self._loss[above] += change
            self._drift += self.learning_rate * abs(change)
            if self._drift > SPAN:
                self._weigh_afresh()
            else:
                self._weight[above] *= math.exp(-self.learning_rate * change)

    def offload_probability(self, confidence: float) -> float:
        """Probability that θ > p."""
        place = self._cut(confidence)
        above, below = self._weight[place : self._cells].sum(), self._weight[:place].sum()
        return float(above / (above + below))

    def draw(self, rng: np.random.Generator) -> float:
        """Draw one threshold from the current density."""
        # In two steps, over blocks of cells and in one block: running sums over all cells would take most of the time.
        blocks = self._weight.reshape(-1, _BLOCK)
        passed = (blocks @ _ONES).cumsum()
        target = rng.random() * passed[-1]
        block = min(int(passed.searchsorted(target, side="right")), passed.size - 1)  # U · total may round up to total
        before = passed[block - 1] if block else 0.0
        inside = (before + blocks[block].cumsum()).searchsorted(target, side="right")
        cell = min(block * _BLOCK + int(inside), self._cells - 1)
        low, high = self._edges[cell : cell + 2].tolist()
        # Cells are open below: 1 − U lies in (0, 1]. Where a cell is a few ulps wide, the sum may round out of it.
        threshold = low + (high - low) * (1.0 - rng.random())
        return min(max(threshold, math.nextafter(low, 1.0)), high)

    def _cut(self, p: float) -> int:
        """Cut the cell that holds p, unless p is an edge; both halves keep its loss. Return the first cell above p."""
        place = int(self._edges[: self._cells + 1].searchsorted(p))
        low, high = self._edges[place - 1], self._edges[place]
        if high == p:
            return place
        if self._cells + 2 > self._table.shape[1]:
            self._table = np.concatenate((self._table, np.zeros_like(self._table)), axis=1)
            self._edges, self._loss, self._weight = self._table
        self._cells += 1
        self._table[:, place + 1 : self._cells + 1] = self._table[:, place : self._cells]
        self._edges[place] = p
        weight = self._weight[place - 1]
        self._loss[place] = self._loss[place - 1]
        self._weight[place - 1], self._weight[place] = (
            weight * ((p - low) / (high - low)),
            weight * ((high - p) / (high - low)),
        )
        return place

    def _weigh_afresh(self) -> None:
        loss, edges = self._loss[: self._cells], self._edges[: self._cells + 1]
        self._weight[: self._cells] = _weights(np.log(np.diff(edges)), self.learning_rate, loss)
        self._drift = 0.0


def _weights(log_length: Floats, learning_rate: float, loss: Floats) -> Floats:
    # Subtracting the least loss first keeps the digits of the lengths when η · loss is huge.
    with np.errstate(over="ignore"):  # a weight that far below the best is zero
        exponent = log_length - learning_rate * (loss - loss.min())
    return np.exp(exponent - exponent.max())
