"""A real L-ML: the paper counts every offload as right, but a large model errs, too, and logs may not know where.

Offloading then costs β, and 1 more where the L-ML is wrong. Accepting costs 1 where the S-ML is wrong, as before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from hi_lib import checks
from hi_lib.learners import Run
from hi_lib.regret import BestThreshold, cell_middle, keeping
from hi_lib.traces import Trace, checked
from hi_lib.typing import Floats

if TYPE_CHECKING:
    import pandas as pd

AS_IT_IS, BY_WEIGHTS, AT_BEST, AT_WORST = "as it is", "estimated", "at best", "at worst"


class Outcome(NamedTuple):
    """What a learner's decisions come to: per sample, in expectation over its draws."""

    average_cost: float
    accuracy: float


def answers(trace: Trace, offload_probability: ArrayLike | None = None) -> dict[str, Floats]:
    """How right the L-ML is on each sample, shape (n,), by what is known of it; empty if nothing is.

    Known on every sample: as it is. Known on some only, and logged with which probability each sample was offloaded:
    an estimate, whose sums over any samples are unbiased since each known answer also stands for its like that were not
    sent (single values may lie outside [0, 1]). Else two bounds: every unknown answer right, and every one wrong.

    Parameters
    ----------
    trace : Trace
    offload_probability : array-like of shape (n,), optional
        With which probability the L-ML's answer came to be known, in (0, 1].

    Examples
    --------
    >>> answers(Trace([0.2, 0.4, 0.9], [0, 1, 1], [1, 0, None]))
    {'at best': array([1., 0., 1.]), 'at worst': array([1., 0., 0.])}
    >>> answers(Trace([0.2, 0.4], [0, 1], [1, None]), offload_probability=[0.5, 0.5])
    {'estimated': array([1., 1.])}
    """
    lml = checked(trace).lml_correct
    if lml is None or (unknown := np.isnan(lml)).all():
        return {}
    if not unknown.any():
        return {AS_IT_IS: lml}
    if offload_probability is None:
        return {AT_BEST: np.where(unknown, 1.0, lml), AT_WORST: np.where(unknown, 0.0, lml)}
    share = checks.reals("offload_probability", offload_probability, 0, 1)
    if share.shape != lml.shape or (share == 0).any():
        raise ValueError(f"offload_probability must hold {lml.size} values in (0, 1]: one of 0 leaves a sample unknown")
    weight = ~unknown / share
    mean = np.average(np.where(unknown, 0.0, lml), weights=weight)
    # Around the mean, only what differs from it is weighted: far less noise, and no bias.
    return {BY_WEIGHTS: mean + weight * (np.where(unknown, mean, lml) - mean)}


def outcome(trace: Trace, run: Run, beta: float, right: ArrayLike | None = None) -> Outcome:
    """What a learner's run on this trace really costs, and how often its answers are right.

    `right` is one of `answers`; by default what the trace knows, which must be all.
    """
    large, q = _right(trace, right), run.offload_probability
    if q.size != len(trace):
        raise ValueError(f"run must be one of this trace's {len(trace)} samples, got {q.size}")
    accuracy, beta = trace.correct + q * (large - trace.correct), checks.real("beta", beta, 0, 1)
    return Outcome(float((1 - accuracy + beta * q).mean()), float(accuracy.mean()))


def curve(trace: Trace, right: ArrayLike | None = None) -> pd.DataFrame:
    """Accuracy of the final answers against the offload ratio: a row for each threshold that makes a difference.

    Returns
    -------
    DataFrame with columns threshold (the highest that offloads so many), offload_ratio, accuracy, assumed_accuracy
    (every offload right).

    Raises
    ------
    ValueError
        The trace has no L-ML, or not for every sample.
    """
    import pandas as pd

    small, large = (_sums(part[trace.order]) for part in (trace.correct.astype(float), _right(trace, right)))
    n = len(trace)
    offloaded = np.flatnonzero(trace.gaps > 0)
    accepted_right = small[-1] - small[offloaded]
    upper = np.append(trace.confidence[trace.order], 1.0)[offloaded]
    columns = {
        "threshold": upper,
        "offload_ratio": offloaded / n,
        "accuracy": (large[offloaded] + accepted_right) / n,
        "assumed_accuracy": (offloaded + accepted_right) / n,
    }
    return pd.DataFrame(columns)


def best_threshold(
    trace: Trace, beta: float, right: ArrayLike | None = None, budget: float | None = None
) -> BestThreshold:
    """The best fixed threshold in hindsight when a wrong offload costs 1 + β.

    With a `budget` it is the best that offloads at most this share of the samples; ValueError where none does.
    """
    table = curve(trace, right)
    if budget is not None:
        offloaded = np.flatnonzero(trace.gaps > 0)
        table = table[: keeping(trace, offloaded, checks.real("budget", budget, 0, 1))]
    cost = 1 - table["accuracy"] + checks.real("beta", beta, 0, 1) * table["offload_ratio"]
    best = int(cost.argmin())
    lower = table["threshold"][best - 1] if best else 0.0
    upper = table["threshold"][best]
    return BestThreshold(cell_middle(lower, upper), float(cost[best]), float(table["offload_ratio"][best]))


def known(trace: Trace) -> Floats:
    """Whether the L-ML is right on each sample, 1.0 or 0.0, shape (n,).

    Raises
    ------
    ValueError
        The trace has no L-ML, or not for every sample.
    """
    lml = checked(trace).lml_correct
    if lml is None:
        raise ValueError(f"trace {trace.name} has no L-ML: it needs the column lml_correct")
    if np.isnan(lml).any():
        raise ValueError(f"trace {trace.name} knows its L-ML on {(~np.isnan(lml)).sum()} of {lml.size} samples only")
    return lml


def _right(trace: Trace, right: ArrayLike | None) -> Floats:
    return known(trace) if right is None else np.asarray(right, dtype=float)


def _sums(values: Floats) -> Floats:
    """Sums of the first i, for i from 0 to n."""
    return np.concatenate(([0.0], np.cumsum(values)))
