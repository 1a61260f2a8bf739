"""Learners that Batch HI is compared with, over a trace: what each knows, and the probability that it offloads.

Most of them learn only from what they offloaded, so that what they do next depends on chance, decided by a seed, and
the past must be known before the next round: the engine, which treats all times at once, does not fit. Weights are kept
cell by cell, in blocks with a common factor, so that a round costs the square root of the number of cells.

References
----------
* `naive`: A. Letsiou et al., "Hierarchical Inference at the Edge: A Batch Processing Approach", SEC 2024, Algorithm 1
  as it is listed there.
* `lower_confidence_bound`: S. Chattopadhyay et al., "Low-Regret and Low-Complexity Learning for Hierarchical
  Inference", arXiv 2508.08985 (HI-LCB and HI-LCB-lite; radius and levels here are our own).
* `quantised`: G. Al-Atat et al., "Regret Bounds for Online Learning for Hierarchical Inference",
  MobiHoc 2024 (Hedge-HI).
* `apple`, `sliding_window` and `fixed_share` are the book's: theorem T5, and the page on learners.
"""

from __future__ import annotations

import numba
import numpy as np

from hi_lib.forecaster import SPAN
from hi_lib.traces import Trace
from hi_lib.typing import Floats

LEVELS = 16  # equal steps of confidence for the learners that know no finer ones: 4 bits
_FULL, _WEIGHTED, _NAIVE = range(3)
_BLOCK = 64  # cells whose weights share a factor

_compiled = numba.njit(cache=True, nogil=True, error_model="numpy")


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
    """The trace as a learner sees it that rounds confidences down to a multiple of 1/LEVELS (Hedge over so many)."""
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
    """Sample t is offloaded by the cells from first[t] on."""
    beta, eta, exploration, share = settings
    n, cells = first.size, length.size
    blocks = -(-cells // _BLOCK)
    # The weight of cell j is weight[j] · scale[block of j]; sums holds Σ weight over each block.
    weight, scale, sums = np.zeros(blocks * _BLOCK), np.ones(blocks), np.empty(blocks)
    weight[:cells] = length
    _sum_up(weight, sums)
    # The loss of cell j is loss[j] + added[0] + … + added[j]: it is only needed when weights are taken afresh.
    loss, added, drift = np.zeros(cells), np.zeros(cells + 1), 0.0
    offload, step = np.empty(n), np.empty(n)
    for batch in range(uniform.size):
        start, stop = batch * batch_size, min((batch + 1) * batch_size, n)
        total = _above(weight, scale, sums, 0)
        drawn = _cell(weight, scale, sums, uniform[batch] * total, cells)
        for t in range(start, stop):
            q = min(_above(weight, scale, sums, first[t]) / total, 1.0)
            offload[t] = q + (1 - q) * exploration
            sent = drawn >= first[t] or explored[t]
            step[t] = beta - wrong[t]
            if feedback == _WEIGHTED:
                step[t] = beta - (wrong[t] / offload[t] if sent else 0.0)
            elif feedback == _NAIVE and not sent:
                step[t] = 0.0
        for t in range(start, stop):
            drift = _learn(weight, scale, sums, length, loss, added, first[t], step[t], eta, drift)
        if window:
            for t in range(max(start - window, 0), max(stop - window, 0)):
                drift = _learn(weight, scale, sums, length, loss, added, first[t], -step[t], eta, drift)
        if share > 0.0:
            total_after = _above(weight, scale, sums, 0)
            for j in range(cells):
                weight[j] = (1 - share) * weight[j] * scale[j // _BLOCK] / total_after + share * length[j]
            scale[:] = 1.0
            _sum_up(weight, sums)
            loss[:] = np.log(length / weight[:cells]) / eta  # the losses that would have led here
            added[:] = 0.0
            drift = 0.0
    return offload


@_compiled
def _learn(weight, scale, sums, length, loss, added, first, step, eta, drift):  # type: ignore[no-untyped-def]
    """Add a step to the cells from `first` on; return how far weights may have drifted since they were taken afresh."""
    added[first] += step
    drift += eta * abs(step)
    if drift <= SPAN:
        _multiply(weight, scale, sums, first, np.exp(-eta * step))
        return drift
    loss += np.cumsum(added)[:-1]
    added[:] = 0.0
    exponent = np.log(length) - eta * (loss - loss.min())
    weight[: length.size] = np.exp(exponent - exponent.max())
    scale[:] = 1.0
    _sum_up(weight, sums)
    return 0.0


@_compiled
def _sum_up(weight, sums):  # type: ignore[no-untyped-def]
    for block in range(sums.size):
        sums[block] = weight[block * _BLOCK : (block + 1) * _BLOCK].sum()


@_compiled
def _above(weight, scale, sums, first):  # type: ignore[no-untyped-def]
    """Weight of the cells from `first` on."""
    block = first // _BLOCK
    if block == sums.size:
        return 0.0
    total = weight[first : (block + 1) * _BLOCK].sum() * scale[block]
    for later in range(block + 1, sums.size):
        total += sums[later] * scale[later]
    return total


@_compiled
def _multiply(weight, scale, sums, first, factor):  # type: ignore[no-untyped-def]
    block = first // _BLOCK
    if block < sums.size:
        weight[first : (block + 1) * _BLOCK] *= factor
        sums[block] = weight[block * _BLOCK : (block + 1) * _BLOCK].sum()
        scale[block + 1 :] *= factor


@_compiled
def _cell(weight, scale, sums, target, cells):  # type: ignore[no-untyped-def]
    """The cell in which a running sum of the weights passes `target`: the block first, then the cell in it."""
    below, block = 0.0, 0
    while block + 1 < sums.size and below + sums[block] * scale[block] <= target:
        below += sums[block] * scale[block]
        block += 1
    for j in range(block * _BLOCK, cells):
        below += weight[j] * scale[block]
        if below > target:
            return j
    return cells - 1


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
