"""The exponentially weighted forecaster over all thresholds θ in [0, 1], exact and safe against overflow.

The loss of a sample depends on θ only through whether θ > p_t (offload) or θ <= p_t (accept). After any number of
samples the weight exp(−η · past loss) is therefore constant on the cells between neighbouring confidences, and every
integral over θ is a finite sum.

There are other versions of it, which tests hold to this one: `Forecaster` says what they compute, at O(cells) a call.
`_engine` treats a whole trace at once, because thousands of replays are the book's evidence; `_tree` takes one sample
after the other, and knows no confidence in advance. A device has `device.tree`, or `device.grid` where it rounds.
"""

from __future__ import annotations

import bisect
import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from hi_lib import checks
from hi_lib.typing import Floats

# Nats that two weights may drift apart before all are computed afresh. A double reaches down to e^-708: what was
# smaller then is still below e^-100 of the largest when it has grown by so much.
SPAN = 600.0


class Steps(NamedTuple):
    """What a sample adds to the loss of the thresholds above it, less what it adds to the others; and the rate η."""

    right: float
    """Where the local answer was right: β for full feedback."""
    wrong: float
    """Where it was wrong: β − 1."""
    learning_rate: float


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
        # 0 = c_0 < c_1 < … < 1, shape (cells + 1,), between which every loss is constant; 0 and 1 add none.
        self.edges = np.unique(np.concatenate(([0.0, 1.0], checks.vector("confidence", confidence))))
        self._loss = np.zeros(self.edges.size - 1)
        self._log_length = np.log(np.diff(self.edges))

    def update(self, confidence: Floats, step: Floats) -> None:
        """Add a batch to the past: `step` (m,) is the loss for θ > p minus the loss for θ <= p of each sample."""
        position = self.edges.searchsorted(confidence)
        added = np.bincount(position, weights=step, minlength=self.edges.size)
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
        return above[np.searchsorted(self.edges, confidence)] / above[0]

    def spread(self, share: float, learning_rate: float) -> None:
        """Spread a share of the weight, in (0, 1), evenly over all thresholds: losses become those that led there."""
        weight, length = self.weights(learning_rate), np.exp(self._log_length)
        self._loss = -np.log((1 - share) * weight / weight.sum() / length + share) / learning_rate

    def draw(self, rng: np.random.Generator, learning_rate: float) -> float:
        """Draw one threshold from the current density."""
        passed = np.add.accumulate(self.weights(learning_rate))  # a third faster than cumsum
        # The product may round up to the total.
        cell = min(bisect.bisect_right(passed, rng.random() * passed.item(-1)), passed.size - 1)
        low, high = self.edges.item(cell), self.edges.item(cell + 1)
        return inside_cell(low, high, 1.0 - rng.random())


def inside_cell(low: float, high: float, share: float) -> float:
    """The place at a share in (0, 1] of a cell that is open below; a cell a few ulps wide is not left by rounding."""
    return min(max(low + (high - low) * share, math.nextafter(low, 1.0)), high)
