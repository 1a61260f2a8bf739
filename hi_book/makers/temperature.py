"""Temperature scaling: the one number that mends how sure a model says it is (Guo et al. 2017)."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from hi_lib import checks
from hi_lib.typing import Floats


def softmax(logits: Floats, temperature: float = 1.0) -> NDArray[np.float64]:
    """Probabilities (n, classes) of logits (n, classes) divided by a temperature > 0."""
    return special.softmax(np.asarray(logits, np.float64) / checks.positive("temperature", temperature), axis=1)


class Temperature(NamedTuple):
    """A fitted temperature, and the mean negative log-likelihood (nats) of the labels without and with it."""

    value: float
    loss_before: float
    loss_after: float


def fit_temperature(logits: Floats, labels: NDArray[np.integer[Any]]) -> Temperature:
    """The one number that the logits (n, classes) are divided by so that the labels (n,) become likeliest.

    Raises
    ------
    ValueError
        Shapes that do not fit, or labels without a logit.
    """
    from scipy.optimize import minimize_scalar

    logits = np.asarray(logits, np.float64)
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or not len(labels):
        raise ValueError(f"logits must be (n, classes) and labels (n,), got {logits.shape} and {labels.shape}")
    if labels.min() < 0 or labels.max() >= logits.shape[1]:
        raise ValueError(f"labels must lie from 0 to {logits.shape[1] - 1}, got {labels.min()} to {labels.max()}")

    def loss(log_temperature: float) -> float:
        chosen = softmax(logits, math.exp(log_temperature))[np.arange(len(labels)), labels]
        return float(-np.log(np.maximum(chosen, 1e-300)).mean())

    best = minimize_scalar(loss, bounds=(-4, 4), method="bounded", options={"xatol": 1e-6})
    return Temperature(math.exp(best.x), loss(0.0), float(best.fun))


def halves(n: int, seed: int) -> NDArray[np.bool_]:
    """Which of n samples are for fitting; the others, one more if n is odd, are for reporting. Shape (n,)."""
    chosen = np.random.default_rng(checks.seed("seed", seed)).permutation(checks.whole("n", n))[: n // 2]
    return np.isin(np.arange(n), chosen)
