"""Learners that Batch HI is compared with, over a trace: what each knows, and the probability that it offloads.

All but the quantised one keep a weight for every cell and touch each of them in every round. Most of them learn only
from what they offloaded, so that what they do next depends on chance, decided by a seed.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from hi_lib.forecaster import SPAN
from hi_lib.traces import Trace

Floats = NDArray[np.floating[Any]]

LEVELS = 16  # equal steps of confidence for the learners that know no finer ones: 4 bits
_FULL, _WEIGHTED, _NAIVE = range(3)

_compiled = numba.njit(cache=True, nogil=True, error_model="numpy")
_reassociated = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc"})


def apple(trace: Trace, beta: float, batch_size: int, learning_rate: float, seed: int | None) -> Floats:
    """Importance weights on every offload, explored or not, as in apple tasting: ê_t = e_t 1{offloaded} / P_t.

    A sample is explored with probability ε = η M, which keeps η ê_t below 1/M. Returns P_t, shape (n,).
    """
    return _dense(trace, beta, batch_size, learning_rate, seed, _WEIGHTED, exploration=learning_rate * batch_size)


def naive(trace: Trace, beta: float, batch_size: int, learning_rate: float, seed: int | None) -> Floats:
    """Algorithm 1 as the paper lists it: losses of offloaded samples count as they are, the others not at all."""
    return _dense(trace, beta, batch_size, learning_rate, seed, _NAIVE)


def sliding_window(trace: Trace, beta: float, batch_size: int, learning_rate: float, window: int) -> Floats:
    """Full feedback, of which only the last `window` samples count."""
    return _dense(trace, beta, batch_size, learning_rate, None, _FULL, window=window)


def fixed_share(trace: Trace, beta: float, batch_size: int, learning_rate: float, share: float) -> Floats:
    """Full feedback; after each batch, this share of the weight is spread evenly over all thresholds again."""
    return _dense(trace, beta, batch_size, learning_rate, None, _FULL, share=share)


def lower_confidence_bound(trace: Trace, beta: float, batch_size: int, monotone: bool) -> Floats:
    """Offload while a lower confidence bound on the S-ML's accuracy at this level of confidence is below 1 − β.

    The bound is the mean over the offloaded samples of a level minus √(ln t / count). With `monotone` (HI-LCB) the
    best bound of all lower levels counts, since accuracy should rise with confidence; without it (HI-LCB-lite) each
    level stands alone. No randomness: 0 or 1 for each sample, shape (n,).
    """
    level = np.minimum((trace.confidence * LEVELS).astype(np.intp), LEVELS - 1)
    return _lcb(level, trace.correct, beta, batch_size, monotone)


def quantised(trace: Trace) -> Trace:
    """The trace as a learner sees it that rounds confidences down to one of LEVELS values (Hedge over so many)."""
    return Trace(np.floor(trace.confidence * LEVELS) / LEVELS, trace.correct)


def _dense(
    trace: Trace,
    beta: float,
    batch_size: int,
    learning_rate: float,
    seed: int | None,
    feedback: int,
    exploration: float = 0.0,
    window: int = 0,
    share: float = 0.0,
) -> Floats:
    n = len(trace)
    rng = np.random.default_rng(seed)
    draws = rng.random(-(-n // batch_size)), rng.random(n) < exploration
    cells = np.flatnonzero(trace.gaps > 0)
    # Cell j offloads the cells[j] least confident samples.
    rank = np.empty(n, np.intp)
    rank[trace.order] = np.arange(n)
    first = np.searchsorted(cells, rank, side="right")
    settings = beta, learning_rate, exploration, share
    return _rounds(trace.gaps[cells], first, ~trace.correct, *draws, settings, batch_size, feedback, window)


@_compiled
def _rounds(length, first, wrong, uniform, explored, settings, batch_size, feedback, window):  # type: ignore[no-untyped-def]
    """Sample t is offloaded by the cells from first[t] on. Weights relative to the largest, as in `forecaster`."""
    beta, eta, exploration, share = settings
    n = first.size
    weight, drift = length / length.sum(), 0.0
    loss, added = np.zeros(length.size), np.zeros(length.size + 1)
    offload, step = np.empty(n), np.empty(n)
    for batch in range(uniform.size):
        start, stop = batch * batch_size, min((batch + 1) * batch_size, n)
        total = _sum(weight)
        drawn = _cell(weight, uniform[batch] * total)
        for t in range(start, stop):
            q = min(_sum(weight[first[t] :]) / total, 1.0)
            offload[t] = q + (1 - q) * exploration
            sent = drawn >= first[t] or explored[t]
            step[t] = beta - wrong[t]
            if feedback == _WEIGHTED:
                step[t] = beta - (wrong[t] / offload[t] if sent else 0.0)
            elif feedback == _NAIVE and not sent:
                step[t] = 0.0
        for t in range(start, stop):
            drift = _learn(weight, loss, added, length, first[t], step[t], eta, drift)
            if window and t >= window:
                drift = _learn(weight, loss, added, length, first[t - window], -step[t - window], eta, drift)
        if share > 0.0:
            weight[:] = (1 - share) * weight / _sum(weight) + share * length
            loss[:] = np.log(length / weight) / eta  # the losses that would have led here
            added[:] = 0.0
            drift = 0.0
    return offload


@_compiled
def _learn(weight, loss, added, length, first, step, eta, drift):  # type: ignore[no-untyped-def]
    """Add a step to the cells from `first` on; return how far weights may have drifted since they were taken afresh.

    The loss of cell j is loss[j] + added[0] + … + added[j]: it is only needed when weights are taken afresh.
    """
    if step == 0.0:
        return drift
    added[first] += step
    drift += eta * abs(step)
    if drift <= SPAN:
        weight[first:] *= np.exp(-eta * step)
        return drift
    loss += np.cumsum(added)[:-1]
    added[:] = 0.0
    exponent = np.log(length) - eta * (loss - loss.min())
    weight[:] = np.exp(exponent - exponent.max())
    return 0.0


@_reassociated
def _sum(values):  # type: ignore[no-untyped-def]
    total = 0.0
    for value in values:
        total += value
    return total


@_compiled
def _cell(weight, target):  # type: ignore[no-untyped-def]
    """The cell in which a running sum of the weights passes `target`: the block first, then the cell in it."""
    below, start = 0.0, 0
    while start + 64 < weight.size:
        with_block = below + _sum(weight[start : start + 64])
        if with_block > target:
            break
        below, start = with_block, start + 64
    for j in range(start, weight.size):
        below += weight[j]
        if below > target:
            return j
    return weight.size - 1


@_compiled
def _lcb(level, correct, beta, batch_size, monotone):  # type: ignore[no-untyped-def]
    n = level.size
    count, right = np.zeros(LEVELS), np.zeros(LEVELS)
    offload = np.empty(n)
    for start in range(0, n, batch_size):
        stop = min(start + batch_size, n)
        bound = np.full(LEVELS, -np.inf)
        best = -np.inf
        for k in range(LEVELS):
            if count[k] > 0:
                bound[k] = right[k] / count[k] - np.sqrt(np.log(start + 1) / count[k])
            best = max(best, bound[k])
            if monotone:
                bound[k] = best
        for t in range(start, stop):
            offload[t] = 1.0 if bound[level[t]] < 1 - beta else 0.0
        for t in range(start, stop):
            if offload[t] > 0:
                count[level[t]] += 1
                right[level[t]] += correct[t]
    return offload
