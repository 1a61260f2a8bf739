r"""A network time that depends on what is sent: what the timing formulas count with in place of one τ_nw.

Where a transmission of m images has the network time ν(m), beside m τ_tx, the independent formulas become, with
m ~ Bin(M, ρ) and with m counted,

.. math::
    t_s(M) = τ_{ed} + ρ s + \mathrm E[ν(m)\,1\{m > 0\}]/M, \qquad
    t_r(M) = t_r^{(τ_{nw} = 0)}(M) + \mathrm E[m\,ν(m)]/M,                                      \\
    t_s(m) = τ_{ed} + ρ s + ρν(m)/m, \qquad
    t_r(m) = τ_{ed} + ρν(m) + ρ s m + τ_{ed}(m - 1)/2.

They are the formulas of `timing` and `cycles` where ν is constant. Where it is not, neither f need have one valley, and
the best size is searched among all that can be best.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hi_lib import checks, optima
from hi_lib.optima import OptimalBatch
from hi_lib.response import binomial
from hi_lib.typing import Floats

NetworkTime = Callable[[int], float]
"""Network time of a transmission, ms, by its number of images."""

MANY = 2**16  # images: where every size is as good as the next, this one stands for all


def table(network_time: NetworkTime, most: int) -> Floats:
    """ν(0) = 0, since nothing is sent then, ν(1), …, ν(most), ms, shape (most + 1,).

    Raises
    ------
    ValueError
        A time that is negative or not finite.
    """
    found = [network_time(images) for images in range(1, most + 1)]
    return np.append(0.0, checks.reals("what network_time returns", found, 0, np.finfo(float).max))


def expected(network_time: NetworkTime, batch_size: Floats, offload_ratio: Floats) -> tuple[Floats, Floats]:
    """E[ν(m) 1{m > 0}]/M and E[m ν(m)]/M for m ~ Bin(M, ρ), ms; arguments broadcast, and are taken as checked."""
    sizes, ratios = np.broadcast_arrays(batch_size, offload_ratio)
    times = table(network_time, int(sizes.max(initial=0)))
    found = [_expected(times, int(size), float(ratio)) for size, ratio in zip(sizes.flat, ratios.flat, strict=True)]
    sending, waiting = np.array(found).reshape(-1, 2).T
    return sending.reshape(sizes.shape)[()], waiting.reshape(sizes.shape)[()]


def _expected(times: Floats, size: int, ratio: float) -> tuple[float, float]:
    counts = np.arange(size + 1.0)
    weighted = binomial(counts, size, ratio) * times[: size + 1] / size
    return float(weighted.sum()), float(weighted @ counts)


def optimal(objective: Callable[[Floats], Floats], without_network: Callable[[Floats], Floats]) -> OptimalBatch:
    """The whole size with the least f, ties going up; f without any network time, which is linear, bounds it.

    Raises
    ------
    ValueError
        Without a network, larger sizes would cost nothing: then there may be no best one.
    """
    first, second = without_network(np.array([1.0, 2.0]))
    if second <= first:
        raise ValueError("tau_ed, or tau_es + tau_tx, must be > 0 where the network time depends on what is sent")
    least, best, reach = np.inf, 1, 1
    # A larger size than `reach` cannot be best once even without the network it would cost more than the best so far.
    while first + (reach - 1) * (second - first) <= least:
        sizes = np.arange(reach, 2 * reach, dtype=float)
        found = objective(sizes)
        place = found.size - 1 - int(found[::-1].argmin())
        if found[place] <= least:
            least, best = float(found[place]), int(sizes[place])
        reach *= 2
    return optima.optimum(best, best, least)
