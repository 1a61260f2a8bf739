"""Exact times of a replayed run, whose offloads are nested since a batch has one θ: independent formulas miss that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from hi_lib import checks
from hi_lib.regret import sizes_of
from hi_lib.typing import Floats

_ROUNDING = 1e-12  # times that differ by less, relatively, are one


class Replayed(Protocol):
    """What a `Run` says of its offloads."""

    @property
    def offload_probability(self) -> Floats:
        """Shape (n,)."""

    @property
    def batch_size(self) -> int | tuple[int, ...]:
        """M, or the size of every batch."""

    @property
    def exploration(self) -> float | None:
        """Share of samples offloaded whatever θ says."""


@dataclass(frozen=True, eq=False)
class RunTimes:
    r"""Times of a run in which the device waits for every batch, exact over the draws of θ and of exploration.

    In a batch of M samples whose thresholds offload sample i with probability q_i, given the past,

    .. math::
        P(\text{send}) = \max_i q_i, \qquad
        \mathrm E\,m = \sum_i q_i, \qquad
        P(i \text{ and } j \text{ offloaded}) = \min(q_i, q_j),

    since one θ decides all: the least confident samples go first. Exploration offloads further samples, independently.
    An offloaded sample i = 1, …, M waits (M − i + 1) τ_ed + τ_nw + m (τ_tx + τ_es). Made by `TimingModel.of_run`.

    Attributes
    ----------
    system_time : float
        t_s, ms a sample.
    response_time : float
        t_r, ms, mean over all samples.
    offloaded_response_time : float
        The same over the offloaded ones, ms; nan if there are none.
    transmissions : float
        Expected number of transmissions.
    """

    system_time: float
    response_time: float
    offloaded_response_time: float
    transmissions: float
    _law: _Law

    def cdf(self, time: ArrayLike, offloaded_only: bool = False) -> Floats:
        """P(response <= time) of a sample taken at random, or of an offloaded one; times in ms of any shape.

        Raises
        ------
        ValueError
            A run that explores: what it sends is not nested. Or no sample is offloaded, where only those count.
        """
        times = checks.reals("time", time, 0, np.finfo(float).max)
        law = self._checked_law(offloaded_only)
        return np.array([law.below(value, offloaded_only) for value in times.ravel().tolist()]).reshape(times.shape)

    def quantile(self, level: float, offloaded_only: bool = False) -> float:
        """Smallest response time, ms, whose cdf reaches `level`, in (0, 1]; errors as for `cdf`."""
        level = checks.share("level", level) - _ROUNDING
        law = self._checked_law(offloaded_only)
        if not offloaded_only and law.below(law.tau_ed, False) >= level:
            return law.tau_ed
        low, high = 0.0, law.latest()
        while (middle := (low + high) / 2) not in (low, high) and high - low > _ROUNDING * high:
            low, high = (low, middle) if law.below(middle, offloaded_only) >= level else (middle, high)
        return law.next_time(low)

    def _checked_law(self, offloaded_only: bool) -> _Law:
        if self._law.exploration:
            raise ValueError("quantiles need a learner that does not explore: only then one θ decides a whole batch")
        if offloaded_only and not self._law.q.any():
            raise ValueError("quantiles of offloaded samples need some, and this run offloads none")
        return self._law


@dataclass(frozen=True, eq=False)
class _Law:
    """The response times of a run, a row a batch; rows of shorter batches are filled up with q = 0."""

    q: Floats
    """P(θ > p), shape (batches, M)."""
    waited: Floats
    """(M − i + 1) τ_ed, shape (batches, M)."""
    tau_ed: float
    service: float
    network: Floats
    exploration: float
    samples: int

    def latest(self) -> float:
        return float(self.waited.max() + self.network.max() + self.q.shape[1] * self.service)

    def below(self, time: float, offloaded_only: bool) -> float:
        """P(response <= time): i is offloaded with at most k others if θ is below the (k + 1)th largest q."""
        time *= 1 + _ROUNDING
        largest = np.append(np.sort(self.q, axis=1)[:, ::-1], np.zeros((len(self.q), 1)), axis=1)
        total = 0.0
        for network in self.network:
            left = time - network - self.waited
            with np.errstate(divide="ignore", invalid="ignore"):  # no service: all at once
                served = np.where(left >= 0, np.floor(left / self.service * (1 + _ROUNDING)), 0.0)
            served = np.where((left >= 0) & (self.service == 0), np.inf, served)
            count = np.minimum(served, self.q.shape[1]).astype(int)
            total += np.maximum(self.q - np.take_along_axis(largest, count, axis=1), 0).sum()
        offloaded, offloads = total / self.network.size, self.q.sum()
        if offloaded_only:
            return float(offloaded / offloads)
        return float(((self.samples - offloads) * (time >= self.tau_ed) + offloaded) / self.samples)

    def next_time(self, time: float) -> float:
        """Smallest time, from `time` on, at which some sample can be answered."""
        times = []
        for network in self.network:
            waited = self.waited[self.q > 0] + network
            m = (
                np.maximum(np.ceil((time - waited) / self.service * (1 - _ROUNDING) - _ROUNDING), 1)
                if self.service
                else 1
            )
            found = waited + m * self.service
            times.append(found[found >= time * (1 - _ROUNDING)].min(initial=np.inf))
        return float(min(times))


def run_times(tau_ed: float, service: float, network: Floats, run: Replayed) -> RunTimes:
    """Times of a run, ms: `service` is τ_tx + τ_es, and `network` holds equally likely network times, shape (k,)."""
    exploration, probability, n = run.exploration or 0.0, run.offload_probability, run.offload_probability.size
    sizes = sizes_of(run.batch_size, n)
    largest = int(sizes.max())
    inside = np.arange(largest) < sizes[:, None]
    p = np.zeros(inside.shape)
    p[inside] = probability
    q = np.clip((p - exploration) / (1 - exploration), 0, 1) if exploration < 1 else np.where(inside, 1.0, 0.0)
    left_alone = 1 - exploration
    sent = (1 - (1 - q.max(axis=1)) * left_alone**sizes).sum()
    # E[m | i offloaded] P(i offloaded), by P(i and j) = P_i + P_j − 1 + P(neither), for all j but i.
    others, sum_p, sum_q = sizes[:, None] - 1, p.sum(axis=1, keepdims=True), q.sum(axis=1, keepdims=True)
    neither = others * (1 - q) - (sum_q - q) + (_sums_of_minima(q) - q)
    served = p + others * (p - 1) + (sum_p - p) + left_alone**2 * neither
    waited = np.where(inside, sizes[:, None] - np.arange(largest), 0) * tau_ed
    offloads, mean_network = float(p.sum()), float(network.mean())
    answered = float((p * waited)[inside].sum() + offloads * mean_network + service * served[inside].sum())
    law = _Law(q, waited, tau_ed, service, network, exploration, n)
    return RunTimes(
        system_time=tau_ed + (offloads * service + float(sent) * mean_network) / n,
        response_time=((n - offloads) * tau_ed + answered) / n,
        offloaded_response_time=answered / offloads if offloads else np.nan,
        transmissions=float(sent),
        _law=law,
    )


def _sums_of_minima(q: Floats) -> Floats:
    """Σ_j min(q_i, q_j) within each row: the smaller ones add up, of the others each counts q_i."""
    order = np.argsort(q, axis=1)
    ascending = np.take_along_axis(q, order, axis=1)
    larger = np.arange(q.shape[1] - 1, -1, -1)
    sums = np.empty_like(q)
    np.put_along_axis(sums, order, np.cumsum(ascending, axis=1) + larger * ascending, axis=1)
    return sums
