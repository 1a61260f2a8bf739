"""The weights of a device that knows no confidence in advance, at O(log cells) a sample."""

from __future__ import annotations

import numpy as np

from hi_lib import checks
from hi_lib._tree import (
    HEAD,
    KEY,
    LEAST,
    LEFT,
    LENGTH,
    MASS,
    NONE,
    RIGHT,
    STEP,
    SUM,
    compiled,
    empty,
    learn,
    learn_all,
    learn_measured,
    share_above,
    weigh_all,
)
from hi_lib.forecaster import inside_cell
from hi_lib.typing import Floats

_STATE = ("confidence", "step")
_MOST = 1e300


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
        self._cells = empty(64)

    def update(self, confidence: Floats, step: Floats) -> None:
        """Add a batch to the past: `step` (m,) is the loss for θ > p minus the loss for θ <= p of each sample."""
        while self._count + confidence.size > len(self._cells):
            self._grow()
        self._count = learn_all(self._cells, self._count, confidence, step, self._eta)

    def add(self, confidence: float, step: float) -> None:
        """Add one sample to the past: as `update`, without arrays."""
        if step != 0.0 and 0.0 < confidence < 1.0:
            self._learn(confidence, step)

    def measured(self, confidence: Floats, step: Floats) -> float:
        """Add a batch, as `update`; return its mixability gap under the weights before it (T22)."""
        while self._count + confidence.size > len(self._cells):
            self._grow()
        self._count, gap = learn_measured(self._cells, self._count, confidence, step, self._eta)
        return float(gap)

    def weigh(self, learning_rate: float) -> None:
        """Weigh all cells afresh with another η."""
        self._eta = learning_rate
        weigh_all(self._cells, learning_rate)

    def shortest(self) -> float:
        """Length of the shortest cell."""
        edges = np.sort(self._cells[: self._count, KEY])
        return float(np.diff(edges, append=1.0).min())

    def offload_probability(self, confidence: Floats, learning_rate: float) -> Floats:
        """Probability that θ > p, for each p of shape (m,)."""
        if learning_rate != self._eta:
            self.weigh(learning_rate)
        return np.array([share_above(self._cells, p, self._eta) for p in confidence.tolist()])

    def draw(self, rng: np.random.Generator, learning_rate: float) -> float:
        """Draw one threshold from the current density."""
        if learning_rate != self._eta:
            self.weigh(learning_rate)
        low, high = _cell(self._cells, rng.random(), self._eta)
        return inside_cell(low, high, 1.0 - rng.random())

    def state(self) -> dict[str, list[float]]:
        """The confidences met, in order, and the sum of the steps of each."""
        met = self._cells[1 : self._count]
        met = met[met[:, KEY].argsort()]
        return {"confidence": met[:, KEY].tolist(), "step": met[:, STEP].tolist()}

    def restore(self, state: dict[str, list[float]]) -> None:
        """Go on from a state; this tree must be new.

        Raises
        ------
        ValueError
            Confidences that do not rise from above 0 to below 1, a step that is not finite, or not one for each.
        """
        confidence, step = (checks.reals(f"state's {name}", state.get(name, 0.0), -_MOST, _MOST) for name in _STATE)
        if confidence.ndim != 1 or step.shape != confidence.shape:
            raise ValueError("state's weights must hold confidences, and a step for each")
        if (np.diff(confidence, prepend=0.0, append=1.0) <= 0).any():
            raise ValueError("state's confidence must rise, from above 0 to below 1")
        for p, change in zip(confidence.tolist(), step.tolist(), strict=True):
            self._learn(p, change)  # also where steps have cancelled: that confidence still cuts a cell in two

    def _learn(self, confidence: float, step: float) -> None:
        if self._count == len(self._cells):
            self._grow()
        self._count = learn(self._cells, self._count, confidence, step, self._eta)

    def _grow(self) -> None:
        self._cells = np.concatenate((self._cells, empty(len(self._cells))))


# It holds the layout of `_tree`'s columns: where that changes, change this file, too, or old code comes from a cache.
@compiled
def _cell(cells, uniform, eta):  # type: ignore[no-untyped-def]
    """Both ends of the cell below which a share `uniform` of the mass ends."""
    links = cells.view(np.int64)
    node, high, target = HEAD, 1.0, uniform * cells[HEAD, MASS]
    while True:
        left, right, least, own = links[node, LEFT], links[node, RIGHT], cells[node, LEAST], cells[node, STEP]
        if left != NONE:
            own += cells[left, SUM]
            factor = np.exp(-eta * (cells[left, LEAST] - least))
            if target < cells[left, MASS] * factor:
                high = cells[node, KEY]
                node, target = left, target / factor
                continue
            target -= cells[left, MASS] * factor
        mass = cells[node, LENGTH] * np.exp(-eta * (own - least))
        factor = 0.0 if right == NONE else np.exp(-eta * (own + cells[right, LEAST] - least))
        # Rounding may leave a little more than all there is: never go where there is nothing.
        if target < mass or right == NONE or cells[right, MASS] * factor == 0.0:
            low = cells[node, KEY]
            while right != NONE:
                high = cells[right, KEY]
                right = links[right, LEFT]
            return low, high
        node, target = right, (target - mass) / factor
