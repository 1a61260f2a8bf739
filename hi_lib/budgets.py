r"""What a budget on offloads leaves to hindsight: thresholds, and mixtures of two of them; and what joules allow.

Cost and share offloaded are step functions of θ. Whoever draws θ afresh from a fixed law has the law's mean of both, so
that what can be reached is the convex hull of these points, and the least cost at each share its lower edge

.. math:: C(B) = \min_π \{\, \mathrm E_{θ \sim π}\, \text{cost}(θ) : \mathrm E_{θ \sim π}\, \text{share}(θ) \le B \,\},

convex in B, which two neighbouring corners attain. It falls by at most 1 − β for each further sample that may be
offloaded: an offload saves no more.
"""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hi_lib import checks, regret
from hi_lib.traces import Trace, checked
from hi_lib.typing import Floats


class Frontier(NamedTuple):
    """Cost against share offloaded: a point for each cell of θ, from the lowest to the highest."""

    threshold: Floats
    """A θ inside each cell, shape (cells,)."""
    offload_ratio: Floats
    """Which share of the samples it offloads, shape (cells,)."""
    average_cost: Floats
    """What it costs a sample, shape (cells,)."""
    hull: NDArray[np.intp]
    """Which of the points are corners of the lower convex hull, in order, shape (corners,)."""


class Mixture(NamedTuple):
    """The best mixture of thresholds within a budget: two, of which the second is drawn with a probability."""

    thresholds: tuple[float, float]
    """Twice the same where one does."""
    probability: float
    """Of the second, in [0, 1)."""
    average_cost: float
    offload_ratio: float


def frontier(trace: Trace, beta: float) -> Frontier:
    """Cost against share offloaded for all thresholds, and which of them are corners of the lower hull.

    Parameters
    ----------
    trace : Trace
    beta : float
        Cost of offloading one sample, in [0, 1]; a wrong local answer costs 1.

    Returns
    -------
    Frontier
        Arrays of shape (cells,), and the corners among them.

    Raises
    ------
    ValueError
        An argument outside its range.

    Examples
    --------
    >>> found = frontier(Trace([0.2, 0.4, 0.6, 0.9], [1, 0, 0, 1]), beta=0.5)
    >>> found.offload_ratio, found.average_cost, found.hull
    (array([0.  , 0.25, 0.5 , 0.75, 1.  ]), array([0.5  , 0.625, 0.5  , 0.375, 0.5  ]), array([0, 3, 4]))
    """
    beta = checks.real("beta", beta, 0, 1)
    offloaded, wrong = _points(checked(trace))
    edges = np.concatenate(([0.0], trace.confidence[trace.order], [1.0]))
    middle = [regret.cell_middle(edges[i], edges[i + 1]) for i in offloaded.tolist()]
    n = len(trace)
    return Frontier(np.array(middle), offloaded / n, (beta * offloaded + wrong) / n, _lower_hull(offloaded, wrong))


def best_mixture(trace: Trace, beta: float, budget: float) -> Mixture:
    """The best mixture of thresholds that offloads at most a share B of the samples on average.

    Parameters
    ----------
    trace : Trace
    beta : float
        Cost of offloading one sample, in [0, 1].
    budget : float
        B in [0, 1].

    Returns
    -------
    Mixture
        It costs no more than `best_threshold` within this budget.

    Raises
    ------
    ValueError
        An argument outside its range, or a budget that no threshold keeps.

    Examples
    --------
    >>> best_mixture(Trace([0.2, 0.4, 0.6, 0.9], [1, 0, 0, 1]), beta=0.5, budget=0.375)
    Mixture(thresholds=(0.1, 0.75), probability=0.5, average_cost=0.4375, offload_ratio=0.375)
    """
    beta, budget = checks.real("beta", beta, 0, 1), checks.real("budget", budget, 0, 1)
    offloaded, wrong = _points(checked(trace))
    regret.keeping(trace, offloaded, budget)
    corners, n = _lower_hull(offloaded, wrong), len(trace)
    offloaded, cost = offloaded[corners], beta * offloaded[corners] + wrong[corners]
    best, most = int(cost.argmin()), regret.affordable(n, budget)
    if offloaded[best] <= most:
        alone = regret.threshold_of(trace, int(offloaded[best]))
        return Mixture((alone, alone), 0.0, float(cost[best] / n), float(offloaded[best] / n))
    second = int(offloaded.searchsorted(most, side="right"))
    first = second - 1
    apart, dearer = offloaded[second] - offloaded[first], cost[second] - cost[first]
    share = max(float((budget * n - offloaded[first]) / apart), 0.0)  # the product may have been rounded down
    low, high = (regret.threshold_of(trace, int(offloaded[end])) for end in (first, second))
    return Mixture((low, high), share, float((cost[first] + share * dearer) / n), budget)


def budget_of_energy(joules: float, local: float, offload: float) -> float:
    """The share of samples that may be offloaded so that a sample takes so many joules on average: (E − E_l)/E_o.

    Every sample is inferred on the device, and an offload takes its transmission on top of that.

    Parameters
    ----------
    joules : float
        E >= 0, the budget of a sample.
    local : float
        E_l >= 0, J of a local inference.
    offload : float
        E_o > 0, J of an offload.

    Returns
    -------
    float
        B in [0, 1]; 1 where all may be offloaded.

    Raises
    ------
    ValueError
        An argument outside its range, or a budget that local inference alone exceeds.

    Examples
    --------
    >>> budget_of_energy(joules=0.03, local=0.01, offload=0.1)
    0.2
    """
    energy, own = checks.nonnegative("joules", joules), checks.nonnegative("local", local)
    each = checks.positive("offload", offload)
    if energy < own:
        raise ValueError(f"joules must be at least {own:g}, which local inference alone takes, got {energy:g}")
    # In decimals, as they were written: in doubles it is 0.19999999999999996 above, and two of ten samples too many.
    energy_left = Decimal(repr(energy)) - Decimal(repr(own))
    return min(float(energy_left / Decimal(repr(each))), 1.0)


def _points(trace: Trace) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """How many samples each cell of positive length offloads, and how many errors it accepts: whole numbers."""
    offloaded, mended = np.flatnonzero(trace.gaps > 0), np.zeros(len(trace) + 1, dtype=np.intp)
    np.cumsum(~trace.correct[trace.order], out=mended[1:])
    return offloaded, mended[-1] - mended[offloaded]


def _lower_hull(x: NDArray[np.intp], y: NDArray[np.intp]) -> NDArray[np.intp]:
    """Corners of the lower convex hull of points whose x rises, by the point farthest below each chord: exactly.

    A price that is linear in x moves no corner, so that the hull of the errors is the hull of the costs for every β.
    """
    corners, chords = [0], [(0, x.size - 1)]
    while chords:
        left, right = chords.pop()
        inside = slice(left + 1, right)
        below = (x[inside] - x[left]) * (y[right] - y[left]) - (y[inside] - y[left]) * (x[right] - x[left])
        if below.size and below.max() > 0:
            middle = left + 1 + int(below.argmax())
            chords += [(middle, right), (left, middle)]
        elif right > left:
            corners.append(right)
    return np.array(corners)
