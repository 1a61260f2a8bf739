"""Exact times of a replayed run, whose offloads are nested since a batch has one θ: independent formulas miss that."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hi_lib import payload
from hi_lib.payload import NetworkTime
from hi_lib.regret import sizes_of
from hi_lib.response import ROUNDING, Law
from hi_lib.typing import Flags, Floats

_LARGE = 500  # batches from which a table of M by M entries costs more than it saves


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

    @property
    def offloaded(self) -> Flags | None:
        """What was drawn, shape (n,), where each sample has a θ of its own."""


def drawn(run: Replayed, rng: np.random.Generator) -> Flags:
    """Which samples are offloaded, shape (n,), for one draw of θ a batch: the less sure of a batch go first.

    Where the run is a draw already, it is that; where the learner explores, each sample has a coin of its own, too.
    """
    if run.offloaded is not None:
        return run.offloaded
    n, exploration = run.offload_probability.size, run.exploration or 0.0
    sizes = sizes_of(run.batch_size, n)
    below = _below_threshold(run.offload_probability, exploration) > np.repeat(rng.random(sizes.size), sizes)
    return below | (rng.random(n) < exploration) if exploration else below


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

    Where transmissions count offloads, the run is a draw, cycle k has N_k samples and sends X_k of them, and these are
    the times of that draw: the i-th sample of a cycle waits (N_k − i + 1) τ_ed + τ_nw + X_k (τ_tx + τ_es).

    Attributes
    ----------
    system_time : float
        t_s, ms a sample.
    response_time : float
        t_r, ms, mean over all samples.
    offloaded_response_time : float
        The same over the offloaded ones, ms; nan if there are none.
    offloads, transmissions : float
        Expected numbers.
    served : float
        Σ E[m 1{offloaded}] over the samples: how many services they wait for.
    """

    system_time: float
    response_time: float
    offloaded_response_time: float
    offloads: float
    transmissions: float
    served: float
    _law: _RunLaw | _DrawnLaw | None

    def cdf(self, time: ArrayLike, offloaded_only: bool = False) -> Floats:
        """P(response <= time) of a sample taken at random, or of an offloaded one; times in ms of any shape.

        Raises
        ------
        ValueError
            A run that explores: what it sends is not nested. Or no sample is offloaded, where only those count.
        """
        return self._law_of(offloaded_only).cdf(time)

    def quantile(self, level: float, offloaded_only: bool = False) -> float:
        """Smallest response time, ms, whose cdf reaches `level`, in (0, 1]; errors as for `cdf`."""
        return self._law_of(offloaded_only).quantile(level)

    def _law_of(self, offloaded_only: bool) -> Law:
        if self._law is None:
            raise ValueError("quantiles need a learner that does not explore: only then one θ decides a whole batch")
        if offloaded_only and self._law.accepted == 1:
            raise ValueError("quantiles of offloaded samples need some, and this run offloads none")
        return self._law.of_offloaded if offloaded_only else self._law


@dataclass(frozen=True, eq=False)
class _RunLaw(Law):
    """The response times of a run, a row a batch; rows of shorter batches are filled up with q = 0."""

    q: Floats
    """P(θ > p), shape (batches, M)."""
    waited: Floats
    """(M − i + 1) τ_ed, shape (batches, M)."""
    service: float
    network: Floats

    def _latest(self) -> float:
        return float(self.waited.max() + self.network.max() + self.q.shape[1] * self.service)

    @functools.cached_property
    def waits(self) -> Floats:
        """The times that samples wait for the end of their batch, each once, in order."""
        return np.unique(self.waited)

    @functools.cached_property
    def largest(self) -> Floats:
        """The q of each batch from the largest down, and zero, shape (batches, M + 1)."""
        return np.append(np.sort(self.q, axis=1)[:, ::-1], np.zeros((len(self.q), 1)), axis=1)

    @functools.cached_property
    def few_enough(self) -> Floats:
        """How many samples, in expectation, wait so long and are offloaded with at most c − 1 others.

        Shape (waits, M + 1), c from 0: sample i is offloaded with fewer than c others if θ lies between its own q_i
        and the (c + 1)th largest of its batch.
        """
        group = np.searchsorted(self.waits, self.waited).ravel()
        found = np.empty((self.waits.size, self.largest.shape[1]))
        for count in range(self.largest.shape[1]):
            mass = np.maximum(self.q - self.largest[:, [count]], 0)
            found[:, count] = np.bincount(group, weights=mass.ravel(), minlength=self.waits.size)
        return found

    def _answered(self, time: float) -> float:
        if self.q.shape[1] <= _LARGE:
            count = self.served(time - self.network[:, None] - self.waits)
            mass = self.few_enough[np.arange(self.waits.size), count].sum()
        else:
            counts = (self.served(time - network - self.waited) for network in self.network)
            mass = sum(
                np.maximum(self.q - np.take_along_axis(self.largest, count, axis=1), 0).sum() for count in counts
            )
        return float(mass / self.network.size / (self.q.sum() or 1))

    def served(self, left: Floats) -> NDArray[np.int64]:
        """How many samples the server can answer in the time that is left, at most M."""
        with np.errstate(divide="ignore", invalid="ignore"):  # no service: all at once
            count = np.where(left >= 0, np.floor(left / self.service * (1 + ROUNDING)), 0.0)
        count = np.where((left >= 0) & (self.service == 0), np.inf, count)
        return np.minimum(count, self.q.shape[1]).astype(np.int64)

    def _next(self, time: float) -> float:
        waited = np.unique(self.waited[self.q > 0]) + self.network[:, None]
        m: Any = 1
        if self.service:
            m = np.maximum(np.ceil((time - waited) / self.service * (1 - ROUNDING) - ROUNDING), 1)
        found = waited + m * self.service
        return float(found[found >= time * (1 - ROUNDING)].min(initial=np.inf))


@dataclass(frozen=True, eq=False)
class _PayloadLaw(_RunLaw):
    """The same where `network` holds the network time by the number of images, from 0 on, shape (M + 1,)."""

    @property
    def taken(self) -> Floats:
        """From the end of a batch to the answers to its offloads, by their number, shape (M + 1,)."""
        return self.network + np.arange(self.network.size) * self.service

    def _latest(self) -> float:
        return float(self.waited.max() + self.taken.max())

    def _answered(self, time: float) -> float:
        exactly = np.diff(self.few_enough, axis=1)  # offloaded with c − 1 others, by the time waited and c from 1 on
        there = np.add.outer(self.waits, self.taken[1:]) <= time
        return float(exactly[there].sum() / (self.q.sum() or 1))

    def _next(self, time: float) -> float:
        found = np.add.outer(np.unique(self.waited[self.q > 0]), self.taken[1:])
        return float(found[found >= time * (1 - ROUNDING)].min(initial=np.inf))


@dataclass(frozen=True, eq=False)
class _DrawnLaw(Law):
    """The response times of a draw."""

    waited: Floats
    """Of each offloaded sample, all but the network, in order, shape (offloads,)."""
    network: Floats

    def _latest(self) -> float:
        return float(self.waited[-1] + self.network.max())

    def _answered(self, time: float) -> float:
        return float(np.searchsorted(self.waited, time - self.network, side="right").mean() / max(self.waited.size, 1))

    def _next(self, time: float) -> float:
        place = np.searchsorted(self.waited, time * (1 - ROUNDING) - self.network)
        there = place < self.waited.size
        return float((self.waited[place[there]] + self.network[there]).min(initial=np.inf))


def drawn_times(
    tau_ed: float, service: float, network: Floats, run: Replayed, offloaded: Flags, network_time: NetworkTime | None
) -> RunTimes:
    """Times of a draw; arguments as for `run_times`."""
    n, sizes = offloaded.size, sizes_of(run.batch_size, offloaded.size)
    ends = np.cumsum(sizes)
    sent = np.add.reduceat(offloaded, ends - sizes, dtype=np.int64)
    until = np.repeat(ends, sizes) - np.arange(n)
    taken = sent * service
    if network_time is not None:
        taken, network = taken + payload.table(network_time, int(sent.max()))[sent], np.zeros(1)
    waited = (until * tau_ed + np.repeat(taken, sizes))[offloaded]
    offloads, mean_network, transmissions = int(sent.sum()), float(network.mean()), int((sent > 0).sum())
    answered = float(waited.sum() + offloads * mean_network)
    busy = offloads * service if network_time is None else float(taken.sum())
    return RunTimes(
        system_time=tau_ed + (busy + transmissions * mean_network) / n,
        response_time=((n - offloads) * tau_ed + answered) / n,
        offloaded_response_time=answered / offloads if offloads else np.nan,
        offloads=float(offloads),
        transmissions=float(transmissions),
        served=float((sent**2).sum()),
        _law=_DrawnLaw(tau_ed, 1 - offloads / n, np.sort(waited), network),
    )


def run_times(
    tau_ed: float, service: float, network: Floats, run: Replayed, network_time: NetworkTime | None = None
) -> RunTimes:
    """Times of a run, ms: `service` is τ_tx + τ_es, and `network` holds equally likely network times, shape (k,).

    Where there is a `network_time` of a transmission by its images, it counts in place of `network`.

    Raises
    ------
    ValueError
        A run that explores, and a network time that depends on what is sent: the law of that is not known here.
    """
    if run.offloaded is not None:
        return drawn_times(tau_ed, service, network, run, run.offloaded, network_time)
    if run.exploration and network_time is not None:
        raise ValueError("network_time must be left out for a learner that explores: what it sends is not nested")
    exploration, probability, n = run.exploration or 0.0, run.offload_probability, run.offload_probability.size
    sizes = sizes_of(run.batch_size, n)
    largest = int(sizes.max())
    inside = np.arange(largest) < sizes[:, None]
    p = np.zeros(inside.shape)
    p[inside] = probability
    q = _below_threshold(p, exploration)
    left_alone = 1 - exploration
    sent = (1 - (1 - q.max(axis=1)) * left_alone**sizes).sum()
    # E[m | i offloaded] P(i offloaded), by P(i and j) = P_i + P_j − 1 + P(neither), for all j but i.
    others, sum_p, sum_q = sizes[:, None] - 1, p.sum(axis=1, keepdims=True), q.sum(axis=1, keepdims=True)
    neither = others * (1 - q) - (sum_q - q) + (_sums_of_minima(q) - q)
    served = p + others * (p - 1) + (sum_p - p) + left_alone**2 * neither
    waited = np.where(inside, sizes[:, None] - np.arange(largest), 0) * tau_ed
    offloads, services = float(p.sum()), float(served[inside].sum())
    on_network, awaited = float(sent) * float(network.mean()), offloads * float(network.mean())
    law = None if exploration else _RunLaw(tau_ed, 1 - offloads / n, q, waited, service, network)
    if network_time is not None:
        by_images = payload.table(network_time, largest)
        law = _PayloadLaw(tau_ed, 1 - offloads / n, q, waited, service, by_images)
        chance = -np.diff(law.largest, axis=1).sum(axis=0)  # of so many offloads in a batch, summed over the batches
        on_network = float(chance @ by_images[1:])
        awaited = float(chance @ (np.arange(1, largest + 1) * by_images[1:]))
    answered = float((p * waited)[inside].sum() + awaited + service * services)
    return RunTimes(
        system_time=tau_ed + (offloads * service + on_network) / n,
        response_time=((n - offloads) * tau_ed + answered) / n,
        offloaded_response_time=answered / offloads if offloads else np.nan,
        offloads=offloads,
        transmissions=float(sent),
        served=services,
        _law=law,
    )


def _below_threshold(probability: Floats, exploration: float) -> Floats:
    """P(θ > p), from the probability that a sample is offloaded, be it to explore; 0 where there is no sample."""
    if exploration == 1:  # then it does not matter
        return np.ceil(probability)
    return np.clip((probability - exploration) / (1 - exploration), 0, 1)


def _sums_of_minima(q: Floats) -> Floats:
    """Σ_j min(q_i, q_j) within each row: the smaller ones add up, of the others each counts q_i."""
    order = np.argsort(q, axis=1)
    ascending = np.take_along_axis(q, order, axis=1)
    larger = np.arange(q.shape[1] - 1, -1, -1)
    sums = np.empty_like(q)
    np.put_along_axis(sums, order, np.cumsum(ascending, axis=1) + larger * ascending, axis=1)
    return sums
