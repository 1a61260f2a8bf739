"""Traces that are made up: one whose optimum is known, and the worst, on which every learner pays what bounds allow."""

from __future__ import annotations

import math

import numpy as np

from hi_lib import checks
from hi_lib.traces import Trace


def synthetic_trace(n: int, seed: int, beta: float = 0.5) -> Trace:
    """Calibrated synthetic trace: p ~ U(0, 1), right with probability p, so that θ* tends to 1 − β.

    Offloading costs β, accepting costs 1 − p on average: the best threshold accepts where p > 1 − β. The expected
    cost there is β(1 − β) + β²/2, for any β. Made for tests and for trying things out; the book checks T21 and T23 on
    it.

    Returns
    -------
    Trace
        Of n samples.

    Raises
    ------
    ValueError
        An argument outside its range.

    Examples
    --------
    >>> synthetic_trace(3, seed=0).confidence.round(2)
    array([0.64, 0.27, 0.04])
    """
    checks.real("beta", beta, 0, 1)
    rng = np.random.default_rng(checks.seed("seed", seed))
    confidence = rng.random(checks.whole("n", n))
    return Trace(confidence, rng.random(confidence.size) < confidence, name=f"synthetic-{n}")


def coin_regret(batches: int, beta: float) -> float:
    """E max(0, K β − S) with S ~ Bin(K, β): what K coins of bias β leave to hindsight, per sample of a batch.

    Returns
    -------
    float
        In the unit of a wrong answer.

    Raises
    ------
    ValueError
        An argument outside its range.

    Examples
    --------
    >>> round(coin_regret(100, 0.5), 3)
    1.99
    """
    count, beta = checks.whole("batches", batches), checks.real("beta", beta, 0, 1)
    if beta in (0, 1):
        return 0.0
    # De Moivre's formula for the mean deviation of a binomial variable: half of it lies below the mean.
    k = math.floor(count * beta) + 1
    choose = math.lgamma(count + 1) - math.lgamma(k + 1) - math.lgamma(count - k + 1) if k <= count else 0.0
    return k * math.exp(choose + k * math.log(beta) + (count - k + 1) * math.log(1 - beta))


def halving_coins(depth: int, batches: int, batch_size: int, beta: float, seed: int | None) -> Trace:
    """Trace on which every learner pays √(n M ln(1/λ)): coins at the middle of ever smaller intervals of θ.

    Each of `depth` stages holds `batches` batches at one confidence, the middle of the interval so far, wrong with
    probability β batch by batch; the half in which thresholds were cheaper is kept. λ_min = 2^−depth. With a depth of 1
    every learner pays √M (T1): one confidence, and a coin that is repeated through each batch.

    Returns
    -------
    Trace

    Raises
    ------
    ValueError
        An argument outside its range.

    Examples
    --------
    >>> len(halving_coins(2, 3, 4, 0.5, seed=0))
    24
    """
    depth, batches = checks.whole("depth", depth), checks.whole("batches", batches)
    size, beta = checks.whole("batch_size", batch_size), checks.real("beta", beta, 0, 1)
    if depth > 50:
        raise ValueError(f"depth must be at most 50, where a double still halves exactly, got {depth}")
    wrong = np.random.default_rng(checks.seed("seed", seed)).random((depth, batches)) < beta
    low, high = 0.0, 1.0
    confidence = np.empty(depth)
    for stage in range(depth):
        confidence[stage] = middle = (low + high) / 2
        # Thresholds above the middle offload this stage.
        low, high = (middle, high) if wrong[stage].sum() > batches * beta else (low, middle)
    return Trace(np.repeat(confidence, batches * size), ~np.repeat(wrong.ravel(), size), name="coins")


def two_halves(n: int, late: bool) -> Trace:
    """Two traces with one first half, of which every learner with a budget loses on one: fixed sequences have no T26.

    In the first half, at confidence 0.5, every second answer is wrong: with β < 1/2 an offload saves 1/2 − β on
    average. In the second half either all answers are right, at 0.75, and the budget should have been spent before; or,
    where it is `late`, all are wrong, at 0.25, and it should have been kept, since there an offload saves 1 − β. A
    learner that makes s offloads in the first half pays (1/2 − β)(B n − s) more than the best mixture in the one case;
    in the other its excess cost and 1 − β times what it overspends add up to s/2. One of the two is at least
    B n (1/2 − β)/(2 (1 − β)), for B <= 1/2: linear in n (after S. Mannor, J. Tsitsiklis, J. Yu, JMLR 2009).

    Returns
    -------
    Trace
        Of n samples.

    Raises
    ------
    ValueError
        n is no multiple of 4.

    Examples
    --------
    >>> two_halves(8, late=True).confidence, two_halves(8, late=True).correct.astype(int)
    (array([0.5 , 0.5 , 0.5 , 0.5 , 0.25, 0.25, 0.25, 0.25]), array([0, 1, 0, 1, 0, 0, 0, 0]))
    """
    if (samples := checks.whole("n", n)) % 4:
        raise ValueError(f"n must be a multiple of 4, got {samples}")
    half = samples // 2
    confidence = np.repeat([0.5, 0.25 if late else 0.75], half)
    return Trace(confidence, np.append(np.arange(half) % 2, np.full(half, not late)), name="two halves")
