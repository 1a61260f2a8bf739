"""Learners that Batch HI is compared with, over a trace: what each knows, and the probability that it offloads.

Most of them learn only from what they offloaded, so that what they do next depends on chance, decided by a seed, and
the past must be known before the next round: the engine, which treats all times at once, does not fit, and the tree
takes its place.

References
----------
* `naive`: A. Letsiou et al., "Hierarchical Inference at the Edge: A Batch Processing Approach", SEC 2024, Algorithm 1
  as it is listed there.
* `lower_confidence_bound`: S. Chattopadhyay et al., "Low-Regret and Low-Complexity Learning for Hierarchical
  Inference", arXiv 2508.08985 (HI-LCB and HI-LCB-lite; radius and levels here are our own).
* `quantised`: G. Al-Atat et al., "Regret Bounds for Online Learning for Hierarchical Inference",
  MobiHoc 2024 (Hedge-HI).
* `apple` is the book's: theorem T5.
"""

from __future__ import annotations

import numpy as np

from hi_lib import _tree
from hi_lib._tree import compiled
from hi_lib.forecaster import Steps
from hi_lib.regret import Schedule
from hi_lib.traces import Trace
from hi_lib.typing import Floats

LEVELS = 16  # equal steps of confidence for the learners that know no finer ones: 4 bits


def apple(trace: Trace, beta: float, schedule: Schedule, learning_rate: float, seed: int | None) -> Floats:
    """Importance weights on every offload, explored or not, as in apple tasting: ê_t = e_t 1{offloaded} / P_t.

    A sample is explored with probability ε = η M, which keeps η ê_t below 1/M. Returns P_t, shape (n,).
    """
    feedback = _drawn(trace, schedule, seed, _tree.WEIGHTED, learning_rate * schedule.equivalent)
    return _tree.replay(trace, ~trace.correct, Steps(beta, beta - 1, learning_rate), schedule, feedback)


def naive(trace: Trace, beta: float, schedule: Schedule, learning_rate: float, seed: int | None) -> Floats:
    """Algorithm 1 as the paper lists it: losses of offloaded samples count as they are, the others not at all."""
    feedback = _drawn(trace, schedule, seed, _tree.NAIVE)
    return _tree.replay(trace, ~trace.correct, Steps(beta, beta - 1, learning_rate), schedule, feedback)


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


def _drawn(trace: Trace, schedule: Schedule, seed: int | None, counts: int, exploration: float = 0.0) -> _tree.Feedback:
    """What chance decides: θ of each batch, then who is explored."""
    rng = np.random.default_rng(seed)
    uniform = rng.random(-(-len(trace) // schedule.batch_size))
    return _tree.Feedback(counts, uniform, rng.random(len(trace)) < exploration, exploration)


@compiled
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
