r"""Sending after m offloads instead of M samples: cycles, their times, and the law of the response (T19 of the book).

A cycle ends when m offloads are pending. If offloads are independent, each with probability ρ, a cycle has m/ρ samples
on average, and with s = τ_es + τ_tx

.. math::
    t_s(m) = τ_{ed} + ρ s + ρ τ_{nw}/m, \qquad
    t_r(m) = τ_{ed} + ρ τ_{nw} + ρ s m + τ_{ed}(m - 1)/2, \qquad
    m^† = \sqrt{αρτ_{nw} / ((1-α)(ρ s + τ_{ed}/2))}.

Without offloads (ρ = 0) nothing is ever sent, and both times are τ_ed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hi_lib import optima
from hi_lib.optima import OptimalBatch
from hi_lib.response import ROUNDING, ModelLaw
from hi_lib.typing import Flags, Floats

Times = tuple[float, float, float | Floats]
"""τ_ed, s = τ_es + τ_tx, and τ_nw, ms; that may be another for each number of offloads."""


def system_time(times: Times, offloads: Floats, ratio: Floats) -> Floats:
    """t_s, ms a sample, if m = `offloads` are sent together; arrays broadcast."""
    tau_ed, service, network = times
    return tau_ed + ratio * (service + network / offloads)


def response_time(times: Times, offloads: Floats, ratio: Floats) -> Floats:
    """t_r, ms, mean over all samples."""
    tau_ed, service, network = times
    waited = np.where(ratio > 0, tau_ed * (offloads - 1) / 2, 0.0)
    return tau_ed + ratio * (network + service * offloads) + waited


def objective(times: Times, offloads: Floats, ratio: Floats, alpha: Floats) -> Floats:
    """f = α t_s + (1 − α) t_r, ms."""
    return alpha * system_time(times, offloads, ratio) + (1 - alpha) * response_time(times, offloads, ratio)


def optimal(times: Times, ratio: Floats, alpha: Floats) -> OptimalBatch:
    """m† and the better of its whole neighbours, ties going up; where nothing is offloaded, m = 1."""
    tau_ed, service, network = times
    gain, price = np.broadcast_arrays(alpha * ratio * network, (1 - alpha) * (ratio * service + tau_ed / 2))
    relaxed = np.sqrt(np.divide(gain, price, out=np.where(gain > 0, np.inf, 0.0), where=price > 0))
    low = np.maximum(1.0, np.floor(relaxed))
    high = low + 1
    # f(m) without its constant part, which would swallow digits: gain / m + price m.
    finite = optima.finite_size(low)
    better = gain / (finite + 1) + price * (finite + 1) <= gain / finite + price * finite
    whole = np.where(np.isfinite(relaxed) & better, high, low)
    found = objective(times, optima.finite_size(whole), ratio, alpha)
    if relaxed.ndim:
        return OptimalBatch(relaxed, whole, found)
    return optima.optimum(float(relaxed), float(whole), float(found))


def lengths(offloaded: Flags, offloads: int, max_samples: int | None = None) -> NDArray[np.int64]:
    """Samples of each cycle, shape (cycles,): each ends with its m-th offload or its last sample, the last one anyhow.

    Examples
    --------
    >>> lengths(np.array([1, 0, 1, 0, 0, 0, 1], bool), offloads=2), lengths(np.zeros(5, bool), 1, max_samples=2)
    (array([3, 4]), array([2, 2, 1]))
    """
    n, before = offloaded.size, np.flatnonzero(offloaded)
    found, start, met = [], 0, 0
    while start < n:
        full = int(before[met + offloads - 1]) + 1 if met + offloads <= before.size else n
        stop = min(full, n if max_samples is None else start + max_samples)
        found.append(stop - start)
        start, met = stop, int(before.searchsorted(stop))
    return np.array(found)


@dataclass(frozen=True, eq=False)
class OffloadLaw(ModelLaw):
    r"""Response time of a sample, ms, when m independent offloads are sent together.

    The j-th of them waits for its own computation and for m − j further offloads, each of which takes a geometric
    number of samples to come, then for the network and for all m services:

    .. math:: R = τ_{ed}(1 + G) + τ_{nw} + m s, \qquad P(G \le g) = P(\mathrm{Bin}(g, ρ) \ge m - j),

    j uniform on 1, …, m. Made by `TimingModel.response_law(…, unit="offloads")`.

    Attributes
    ----------
    offloads : int
        m.
    ratio : float
        ρ, in (0, 1].
    service : float
        s, ms.
    network : NDArray of shape (k,)
        Equally likely network times, ms.
    """

    offloads: int
    ratio: float
    service: float
    network: Floats

    def mean(self) -> float:
        """E[R], ms."""
        waited = self.tau_ed * (1 + (self.offloads - 1) / (2 * self.ratio))
        offloaded = waited + float(self.network.mean()) + self.offloads * self.service
        return float(self.accepted * self.tau_ed + (1 - self.accepted) * offloaded)

    def quantile(self, level: float) -> float:
        """Smallest time whose cdf reaches `level`, in (0, 1], ms; inf at 1 where others may keep one waiting."""
        if level == 1 and self.offloads > 1 and self.ratio < 1 and self.accepted < 1 and self.tau_ed > 0:
            return np.inf
        return super().quantile(level)

    @property
    def never_later(self) -> bool:
        """Whether more offloads a transmission would not make any answer later."""
        return self.tau_ed == 0 and self.service == 0

    def _answered(self, time: float) -> float:
        from scipy.special import betainc

        left = time - self.network - self.offloads * self.service - self.tau_ed
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):  # τ_ed = 0: others come at once
            passed = np.floor(left / self.tau_ed * (1 + ROUNDING) + ROUNDING)
        passed = np.where(self.tau_ed == 0, np.where(left >= -ROUNDING * time, np.inf, -1.0), passed)[:, None]
        others = np.arange(1.0, self.offloads)  # m − j of those that wait; the last waits for none
        enough = passed >= others
        safe = np.where(np.isfinite(passed), np.maximum(passed, others), others)
        came = np.where(np.isfinite(passed), betainc(others, safe - others + 1, self.ratio), 1.0)
        answered = (passed[:, 0] >= 0) + np.where(enough, came, 0.0).sum(axis=1)
        return float(answered.mean() / self.offloads)

    def _latest(self) -> float:
        """All but what no double tells from nothing are answered by then."""
        time = self._soonest() + self.tau_ed
        while self._answered(time) < 1 - ROUNDING / 2:
            time *= 2
        return time

    def _soonest(self) -> float:
        return float(self.network.max()) + self.offloads * self.service + self.tau_ed

    def _next(self, time: float) -> float:
        begin = self.network + self.offloads * self.service + self.tau_ed
        if self.tau_ed == 0:
            return float(begin[begin >= time * (1 - ROUNDING)].min())
        passed = np.maximum(np.ceil((time - begin) / self.tau_ed * (1 - ROUNDING) - ROUNDING), 0.0)
        found = begin + passed * self.tau_ed
        return float(found[found >= time * (1 - ROUNDING)].min())
