"""Scores of certainty: of the probabilities of all classes, and whether a score means certainty at all."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hi_lib.typing import Flags, Floats


def largest(values: Floats) -> Floats:
    """The probability of the likeliest class, shape (n,), from probabilities of shape (n, classes)."""
    return values.max(axis=1)


def margin(values: Floats) -> Floats:
    """By how much the likeliest class is likelier than the second."""
    two = np.partition(values, -2, axis=1)[:, -2:]
    return two[:, 1] - two[:, 0]


def entropy(values: Floats) -> Floats:
    """1 − H/ln k: 1 where one class is certain, 0 where all are equally likely."""
    logs = np.log(values, out=np.zeros_like(values), where=values > 0)
    return np.clip(1 + (values * logs).sum(axis=1) / np.log(values.shape[1]), 0, 1)


SCORES: dict[str, Callable[[Floats], Floats]] = {"max": largest, "margin": margin, "entropy": entropy}


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
