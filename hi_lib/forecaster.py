"""The exponentially weighted forecaster over all thresholds θ in [0, 1], exact and safe against overflow.

The loss of a sample depends on θ only through whether θ > p_t (offload) or θ <= p_t (accept). After any number of
samples the weight exp(−η · past loss) is therefore constant on the cells between neighbouring confidences, and every
integral over θ is a finite sum. This module is the plain version: each call costs O(cells).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hi_lib.traces import cell_edges

Floats = NDArray[np.floating[Any]]


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
    confidence : array-like of shape (n,), optional
        Confidences that will be met, where known. Others are added by `refine`.
    """

    def __init__(self, confidence: ArrayLike | None = None) -> None:
        self._edges = np.array([0.0, 1.0]) if confidence is None else cell_edges(confidence)
        self._loss = np.zeros(self._edges.size - 1)
        self._log_length = np.log(np.diff(self._edges))

    def refine(self, confidence: Floats) -> None:
        """Cut cells at new confidences, shape (m,); both halves of a cut cell inherit its loss."""
        values = np.unique(confidence)
        place = np.searchsorted(self._edges, values)
        unknown = self._edges[place] != values
        values, place = values[unknown], place[unknown]
        self._edges = np.insert(self._edges, place, values)
        self._loss = np.insert(self._loss, place - 1, self._loss[place - 1])
        self._log_length = np.insert(self._log_length, place - 1, 0.0)
        # Only the cells on both sides of a new edge have a new length; logarithms are dear.
        cut = place + np.arange(place.size)
        cut = np.concatenate((cut - 1, cut))
        self._log_length[cut] = np.log(self._edges[cut + 1] - self._edges[cut])

    def update(self, confidence: Floats, step: Floats) -> None:
        """Add a batch to the past: `step` (m,) is the loss for θ > p minus the loss for θ <= p of each sample."""
        position = np.searchsorted(self._edges, confidence)
        added = np.bincount(position, weights=step, minlength=self._edges.size)
        self._loss += np.cumsum(added)[:-1]

    def weights(self, learning_rate: float) -> Floats:
        """Weight of each cell, shape (cells,), scaled so that the largest is 1; no η or past can overflow it."""
        # Subtracting the least loss first keeps the digits of the lengths when η · loss is huge.
        with np.errstate(over="ignore"):  # a weight that far below the best is zero
            exponent = self._log_length - learning_rate * (self._loss - self._loss.min())
        return np.exp(exponent - exponent.max())

    def offload_probability(self, confidence: Floats, learning_rate: float) -> Floats:
        """Probability that θ > p, for each p of shape (m,) among the known confidences; 0 for p = 1."""
        above = np.append(np.cumsum(self.weights(learning_rate)[::-1])[::-1], 0.0)
        return above[np.searchsorted(self._edges, confidence)] / above[0]

    def draw(self, learning_rate: float, rng: np.random.Generator) -> float:
        """Draw one threshold from the current density."""
        below = np.cumsum(self.weights(learning_rate))
        cell = min(int(np.searchsorted(below, rng.random() * below[-1], side="right")), below.size - 1)
        low, high = self._edges[cell : cell + 2]
        # Cells are open below: 1 − U lies in (0, 1].
        return float(low + (high - low) * (1.0 - rng.random()))
