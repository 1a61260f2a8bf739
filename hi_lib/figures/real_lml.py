"""What a real L-ML makes of it: the paper counts every offload as right, but a large model errs, too.

Offloading then costs β, and 1 more where the L-ML is wrong. Accepting costs 1 where the S-ML is wrong, as before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hi_lib import checks
from hi_lib.learners import Run
from hi_lib.regret import BestThreshold, cell_middle
from hi_lib.traces import Trace, checked

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.floating[Any]]


class Outcome(NamedTuple):
    """What a learner's decisions come to: per sample, in expectation over its draws."""

    average_cost: float
    accuracy: float


def curve(trace: Trace) -> pd.DataFrame:
    """Accuracy of the final answers against the offload ratio: a row for each threshold that makes a difference.

    Returns
    -------
    DataFrame with columns threshold (the highest that offloads so many), offload_ratio, accuracy, assumed_accuracy
    (every offload right).

    Raises
    ------
    ValueError
        The trace has no L-ML.
    """
    import pandas as pd

    small, large = (_sums(correct[trace.order]) for correct in (trace.correct, _lml(trace)))
    n = len(trace)
    offloaded = np.flatnonzero(trace.gaps > 0)
    accepted_right = small[-1] - small[offloaded]
    right, assumed = large[offloaded] + accepted_right, offloaded + accepted_right
    upper = np.append(trace.confidence[trace.order], 1.0)[offloaded]
    columns = {
        "threshold": upper,
        "offload_ratio": offloaded / n,
        "accuracy": right / n,
        "assumed_accuracy": assumed / n,
    }
    return pd.DataFrame(columns)


def best_threshold(trace: Trace, beta: float) -> BestThreshold:
    """The best fixed threshold in hindsight when a wrong offload costs 1 + β."""
    table = curve(trace)
    cost = 1 - table["accuracy"] + checks.real("beta", beta, 0, 1) * table["offload_ratio"]
    best = int(cost.argmin())
    lower = table["threshold"][best - 1] if best else 0.0
    upper = table["threshold"][best]
    return BestThreshold(cell_middle(lower, upper), float(cost[best]), table["offload_ratio"][best])


def outcome(trace: Trace, run: Run, beta: float) -> Outcome:
    """What a learner's run on this trace really costs, and how often its answers are right."""
    small, large = (part.astype(float) for part in (trace.correct, _lml(trace)))
    if run.cost.size != len(trace):
        raise ValueError(f"run must be one of this trace's {len(trace)} samples, got {run.cost.size}")
    right = small + run.offload_probability * (large - small)
    beta = checks.real("beta", beta, 0, 1)
    return Outcome(float((1 - right + beta * run.offload_probability).mean()), float(right.mean()))


def _lml(trace: Trace) -> NDArray[np.bool_]:
    if checked(trace).lml_correct is None:
        raise ValueError(f"trace {trace.name} has no L-ML: it needs the column lml_correct")
    return trace.lml_correct  # type: ignore[return-value]


def _sums(flags: NDArray[np.bool_]) -> NDArray[np.intp]:
    """How many of the first i are set, for i from 0 to n."""
    return np.concatenate(([0], np.cumsum(flags)))
