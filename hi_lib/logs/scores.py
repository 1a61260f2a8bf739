"""Scores of certainty: of the probabilities of all classes, and whether a score means certainty at all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hi_lib.typing import Flags, Floats


def largest(values: Floats) -> Floats:
    """The probability of the likeliest class, shape (n,), from probabilities of shape (n, classes)."""
    return values.max(axis=1)


def second_largest(values: Floats) -> Floats:
    """The probability of the second likeliest class."""
    return np.partition(values, -2, axis=1)[:, -2]


def margin(values: Floats) -> Floats:
    """By how much the likeliest class is likelier than the second."""
    return largest(values) - second_largest(values)


def entropy(values: Floats) -> Floats:
    """1 − H/ln k: 1 where one class is certain, 0 where all are equally likely."""
    logs = np.log(values, out=np.zeros_like(values), where=values > 0)
    return np.clip(1 + (values * logs).sum(axis=1) / np.log(values.shape[1]), 0, 1)


SCORES: dict[str, Callable[[Floats], Floats]] = {"max": largest, "margin": margin, "entropy": entropy}
REGRESSION = "regression"  # on the two largest: `logs.regression` fits it, on samples that it does not judge
SUREST = 0.999  # what the surest score is mapped to: a threshold above it offloads all


@dataclass(frozen=True)
class Scale:
    """How a confidence that is no probability lies on a scale of its own.

    Attributes
    ----------
    name : str
        Of the score, as the log has it.
    at_zero, at_one : float
        The scores that confidences of 0 and 1 stand for; the first is the larger one where a score falls as certainty
        rises.
    surest : float
        The confidence that no score goes beyond.
    """

    name: str
    at_zero: float
    at_one: float
    surest: float = 1.0

    def own(self, confidence: float) -> float:
        """The score that a confidence, or a threshold, stands for."""
        return self.at_zero + confidence * (self.at_one - self.at_zero)

    def shown(self, threshold: float) -> str:
        """Which scores a threshold offloads, in words."""
        if threshold > self.surest:
            return f"any {self.name}"
        return f"{self.name} {'below' if self.at_one > self.at_zero else 'above'} {self.own(threshold) + 0:.5g}"


def scale_of(score: str, classes: int) -> Scale | None:
    """The scale of what is taken of the probabilities of all classes; the largest one is a confidence itself."""
    scales = {"margin": Scale("margin", 0.0, 1.0), "entropy": Scale("entropy", float(np.log(classes)), 0.0)}
    return scales.get(score)


def rescaled(values: Floats, correct: Flags, name: str) -> tuple[Floats, Scale]:
    """Any score in a straight line from 0 to SUREST, turned round if it falls as accuracy rises, and its scale.

    Raises
    ------
    ValueError
        There is one score only, or they are too far apart for a float.
    """
    low, high = float(values.min()), float(values.max())
    if low == high:
        raise ValueError(f"{name} is {low:g} everywhere: there is nothing to rescale")
    if not np.isfinite(high - low):
        raise ValueError(f"{name} goes from {low:g} to {high:g}: too far to rescale")
    zero, surest = (high, low) if falls(values, correct) else (low, high)
    mapped = np.clip((values - zero) / (surest - zero), 0, 1) * SUREST
    return mapped, Scale(name, zero, zero + (surest - zero) / SUREST, SUREST)


def falls(values: Floats, correct: Flags) -> bool:
    """Whether wrong answers have clearly higher scores than right ones: by two standard errors of the rank sum."""
    right, wrong = int(correct.sum()), int((~correct).sum())
    if not right or not wrong:
        return False
    from scipy.stats import rankdata

    above = (rankdata(values)[correct].mean() - (right + 1) / 2) / wrong
    return bool(above < 0.5 - 2 * np.sqrt((right + wrong + 1) / (12 * right * wrong)))


def halves(values: Floats, correct: Flags) -> str:
    """How often the answers are right below the median score and above it, in words."""
    order = np.argsort(values, kind="stable")
    half = max(1, values.size // 2)
    low, high = correct[order[:half]].mean(), correct[order[-half:]].mean()
    return f"{low:.0%} right in its lower half, {high:.0%} in its upper"
