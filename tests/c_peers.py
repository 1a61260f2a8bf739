"""What the C header is held to: HILF, sample by sample, on drawn samples and with uniforms that are given to both."""

import functools
import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

import hi_lib as hi


class Drawn(NamedTuple):
    confidence: NDArray[np.float32]
    uniform: NDArray[np.float32]
    correct: NDArray[np.bool_]


def drawn(n, seed):
    """Samples as an S-ML has them, many of them sure, and some at the very ends; accuracy rises with confidence."""
    rng = np.random.default_rng(seed)
    confidence = rng.beta(4, 1, n).astype(np.float32)
    confidence[rng.random(n) < 0.01] = 1
    confidence[rng.random(n) < 0.01] = 0
    return Drawn(confidence, rng.random(n, dtype=np.float32), rng.random(n) < 0.3 + 0.6 * confidence**2)


class Played(NamedTuple):
    offload: NDArray[np.bool_]
    q: NDArray[np.float64]
    rate: NDArray[np.float64]


class Uniforms:
    """In the place of NumPy's generator: for each θ a given number, which picks its cell, and another one."""

    def __init__(self, values):
        self._values = iter([number for value in values.tolist() for number in (value, 0.5)])

    def random(self):
        return next(self._values)


@functools.cache
def expected_of(n, seed, beta, rate, levels):
    """What Python does with `drawn` samples, once for all compilers."""
    return by_python(drawn(n, seed), beta, rate, levels)


def by_python(samples, beta, rate, levels=256):
    learner = hi.HILF(beta, rate, levels=levels)
    learner._rng = Uniforms(samples.uniform)
    n = samples.confidence.size
    offload, q, rates = np.zeros(n, np.bool_), np.ones(n), np.zeros(n)
    for t, (p, correct) in enumerate(zip(samples.confidence.tolist(), samples.correct.tolist(), strict=True)):
        weight, place = learner._forecaster.weights(learner.learning_rate), math.floor(p * levels)
        q[t], rates[t] = weight[place:].sum() / weight.sum(), learner.learning_rate
        offload[t] = learner.decide([p]).item()
        learner.update([p], [correct])
    return Played(offload, q, rates)
