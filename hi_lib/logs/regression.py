r"""A score from the two largest softmax values: the probability of being right, by logistic regression on both.

.. math:: P(\text{right}) = \frac1{1 + e^{-z}}, \qquad z = a + b \ln \frac{p_1}{1 - p_1} + c \ln p_2 .

It is p_1 itself at (a, b, c) = (0, 1, 0), and the fit is drawn there a little, so that few samples change little.

References
----------
A. P. Behera, R. Morabito, J. Widmer, J. P. Champati, "Improved Decision Module Selection for Hierarchical Inference in
Resource-Constrained Edge Devices", arXiv 2406.09424, decide by logistic regression on the two largest values; features
and fit are our own reading.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hi_lib.logs.reading import Log
from hi_lib.traces import Trace
from hi_lib.typing import Floats

_LEAST = 1 / 512  # half a step of eight bits: smaller values, and what is closer to 1, are not told apart
_PULL = 1.0  # towards p_1 itself: as much as a handful of samples says
_PLAIN = np.array([0.0, 1.0, 0.0])


class Regression(NamedTuple):
    """What was fitted: an intercept, and the weights of p_1's log-odds and of p_2's logarithm."""

    intercept: float
    first: float
    second: float

    def score(self, trace: Trace) -> Floats:
        """The probability that the S-ML is right, shape (n,), in [0, 1), for a trace with both values."""
        from scipy.special import expit

        return np.clip(expit(_features(trace) @ np.array(self)), 0.0, np.nextafter(1.0, 0.0))


def fit(trace: Trace) -> Regression:
    """Fit the score to a trace that knows both values: the likeliest one, drawn a little to p_1 itself.

    Parameters
    ----------
    trace : Trace
        With `second_confidence`.

    Returns
    -------
    Regression

    Raises
    ------
    ValueError
        The trace does not know the second value.

    Examples
    --------
    >>> trace = Trace([0.9, 0.6, 0.5, 0.5], [1, 1, 0, 1], second_confidence=[0.05, 0.1, 0.45, 0.1])
    >>> found = fit(trace)
    >>> found.second < 0    # a large second value speaks against the first
    True
    """
    from scipy.optimize import minimize
    from scipy.special import expit

    x, right = _features(trace), trace.correct

    def loss(weights: Floats) -> tuple[float, Floats]:
        z, away = x @ weights, weights - _PLAIN
        value = np.logaddexp(0.0, np.where(right, -z, z)).sum() + _PULL / 2 * (away @ away)
        return float(value), x.T @ (expit(z) - right) + _PULL * away

    return Regression(*minimize(loss, _PLAIN, jac=True, method="BFGS").x.tolist())


def regressed(trace: Trace, fitted_on: NDArray[np.intp]) -> Trace:
    """The trace with the score as its confidence, fitted on these samples of it; on none it is p_1."""
    found = fit(trace.chosen(fitted_on)) if fitted_on.size else Regression(*_PLAIN.tolist())
    return Trace(found.score(trace), trace.correct, trace.lml_correct, trace.name)


def out_of_sample(log: Log) -> Log:
    """The log with the score that it asks for, fitted on its first half by position; any other log as it is.

    What is judged on the second half, as `advise.policies` does, was not fitted on it. A part of the log has another
    first half: it must be chosen before.
    """
    if not log.regression:
        return log
    first = np.arange(len(log.trace) // 2)
    return replace(log, trace=regressed(log.trace, first), regression=False)


def _features(trace: Trace) -> Floats:
    """1, the log-odds of the largest value and the logarithm of the second one, shape (n, 3)."""
    if trace.second_confidence is None:
        raise ValueError(f"trace {trace.name} must know the second largest softmax value: it has no second_confidence")
    from scipy.special import logit

    first = np.clip(trace.confidence, _LEAST, 1 - _LEAST)
    return np.column_stack([np.ones(first.size), logit(first), np.log(np.maximum(trace.second_confidence, _LEAST))])
