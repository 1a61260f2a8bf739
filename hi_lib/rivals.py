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
"""

from __future__ import annotations

import functools

import numpy as np

from hi_lib import _tree, regret
from hi_lib._tree import compiled
from hi_lib.batch_hi import horizon_of, learned_from_offloads, replay_hil_f
from hi_lib.specification import ANYTIME, TUNED, VANILLA, Decided, Horizon, Learner, Rates, Task
from hi_lib.traces import Trace
from hi_lib.typing import Floats

LEVELS = 16  # equal steps of confidence for the learners that know no finer ones: 4 bits


def naive(task: Task) -> Decided:
    """Algorithm 1 as the paper lists it: losses of offloaded samples count as they are, the others not at all."""
    eta = NAIVE.rates(horizon_of(task), task.learning_rate).learning_rate
    return Decided(learned_from_offloads(task, eta, _tree.NAIVE), eta)


def _tune_naive(horizon: Horizon, learning_rate: float | None, _exploration: float | None) -> Rates:
    return Rates((regret.tuned_learning_rate(*horizon[:3]) or 1.0) if learning_rate is None else learning_rate)


def _hi_lcb(monotone: bool, task: Task) -> Decided:
    return Decided(lower_confidence_bound(task.trace, task.beta, task.schedule.batch_size, monotone))


def lower_confidence_bound(trace: Trace, beta: float, batch_size: int, monotone: bool) -> Floats:
    """Offload while a lower confidence bound on the S-ML's accuracy at this level of confidence is below 1 − β.

    The bound is the mean over the offloaded samples of a level minus √(ln t / count). With `monotone` (HI-LCB) the
    best bound of all lower levels counts, since accuracy should rise with confidence; without it (HI-LCB-lite) each
    level stands alone. No randomness: 0 or 1 for each sample, shape (n,).
    """
    level = np.minimum((trace.confidence * LEVELS).astype(np.intp), LEVELS - 1)
    return _lcb(level, trace.correct, beta, batch_size, monotone)


def quantised(trace: Trace, levels: int = LEVELS) -> Trace:
    """The trace as a learner sees it that rounds confidences down to a multiple of 1/levels (Hedge over so many)."""
    return Trace(np.floor(trace.confidence * levels) / levels, trace.correct)


def _quantised(task: Task) -> Decided:
    return replay_hil_f(task._replace(trace=quantised(task.trace)))._replace(regret_bound=None)


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


_NAMES = (TUNED, VANILLA)
NAIVE = Learner("naive", naive, "offloaded", _NAMES, _tune_naive, late=True)
RIVALS = (
    NAIVE,
    Learner("quantised", _quantised, "all", (TUNED, VANILLA, ANYTIME)),
    Learner("hi-lcb", functools.partial(_hi_lcb, True), "offloaded"),
    Learner("hi-lcb-lite", functools.partial(_hi_lcb, False), "offloaded"),
)
