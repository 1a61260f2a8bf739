"""The exact law of the response time in Batch HI, and the largest batch that keeps a deadline."""

from __future__ import annotations

import abc
import functools
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from hi_lib import checks
from hi_lib.typing import Floats

# Times that differ by rounding only are one and the same; so are probabilities.
ROUNDING = 1e-12


@dataclass(frozen=True, eq=False)
class Law(abc.ABC):
    """How a sample's response time is distributed: τ_ed where it is accepted, later where it is offloaded.

    `tau_ed` is in ms, `accepted` the probability that the sample was accepted; subclasses say of an offloaded one with
    which probability it is answered by some time, when at the latest, and when next.
    """

    tau_ed: float
    accepted: float

    @functools.cached_property
    def of_offloaded(self) -> Self:
        """The same over the offloaded samples only."""
        return replace(self, accepted=0.0)

    def cdf(self, time: ArrayLike) -> Floats:
        """P(R <= time), for times in ms of any shape."""
        times = checks.reals("time", time, 0, np.finfo(float).max)
        found = [self._below(value) for value in times.ravel().tolist()]
        return np.minimum(found, 1.0).reshape(times.shape)  # rounding may leave a sum a little above

    def exceedance(self, deadline: ArrayLike) -> Floats:
        """P(R > deadline)."""
        return 1 - self.cdf(deadline)

    def quantile(self, level: float) -> float:
        """Smallest time whose cdf reaches `level`, in (0, 1], ms."""
        level = checks.share("level", level) - ROUNDING
        if self.accepted >= level:
            return self.tau_ed
        low, high = 0.0, self._latest()
        while (middle := (low + high) / 2) not in (low, high) and high - low > ROUNDING * high:
            low, high = (low, middle) if self._below(middle) >= level else (middle, high)
        return self._next(low)

    def _below(self, time: float) -> float:
        time *= 1 + ROUNDING
        return self.accepted * (time >= self.tau_ed) + (1 - self.accepted) * min(self._answered(time), 1.0)

    @abc.abstractmethod
    def _answered(self, time: float) -> float:
        """P(R <= time) of an offloaded sample."""

    @abc.abstractmethod
    def _latest(self) -> float:
        """No response is later."""

    @abc.abstractmethod
    def _next(self, time: float) -> float:
        """Smallest possible time of an offloaded sample from `time` on, where rounding may stand in between."""


class ModelLaw(Law):
    """What is expected before anything runs: of a timing model, a batch size, and ρ."""

    @abc.abstractmethod
    def mean(self) -> float:
        """E[R], ms."""

    @property
    @abc.abstractmethod
    def never_later(self) -> bool:
        """Whether larger batches would not make any answer later."""


@dataclass(frozen=True, eq=False)
class ResponseLaw(ModelLaw):
    r"""Response time of a sample, ms, when positions are independent and m ~ Bin(M, ρ).

    An accepted sample has its answer after τ_ed. An offloaded one waits for j computations on the device, itself
    included, then for the network, and for all m offloads of its batch to be sent and served:

    .. math:: R = j\,τ_{ed} + τ_{nw} + m\,(τ_{tx} + τ_{es}), \qquad m - 1 \sim \mathrm{Bin}(M - 1, ρ),

    since a batch with m offloads is met m times as often from inside. Given m, j is uniform on 1, …, M where the
    offloads stand anywhere, and on M − m + 1, …, M where they come first. Made by `TimingModel.response_law`.

    Attributes
    ----------
    after : NDArray of shape (k,)
        τ_nw + m (τ_tx + τ_es) for each m, ms; where the network time varies, for each pair of one and m.
    chance : NDArray of shape (k,)
        Probability of each, given that the sample was offloaded.
    least : NDArray of shape (k,), int
    most : int
        Given it, j is uniform on least + 1, …, most.
    """

    after: Floats
    chance: Floats
    least: Floats
    most: int
    service: float
    """τ_tx + τ_es, ms."""

    @property
    def never_later(self) -> bool:
        """Whether larger batches would not make any answer later."""
        return self.tau_ed == 0 and self.service == 0

    def mean(self) -> float:
        """E[R], ms."""
        waited = (self.least + 1 + self.most) / 2 * self.tau_ed
        return float(self.accepted * self.tau_ed + (1 - self.accepted) * (self.chance @ (waited + self.after)))

    def _answered(self, time: float) -> float:
        left = time - self.after
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):  # τ_ed = 0: all positions at once, or none
            done = np.where(left >= 0, np.floor(left / self.tau_ed * (1 + ROUNDING)), -1.0)
        done = np.where((left >= 0) & (self.tau_ed == 0), self.most, done)
        return float(self.chance @ np.clip((done - self.least) / (self.most - self.least), 0, 1))

    def _latest(self) -> float:
        return float(self.after.max() + self.most * self.tau_ed)

    def _next(self, time: float) -> float:
        if self.tau_ed == 0:
            return float(self.after[self.after >= time * (1 - ROUNDING)].min())
        passed = np.ceil((time - self.after) / self.tau_ed * (1 - ROUNDING) - ROUNDING)
        times = np.clip(passed, self.least + 1, self.most) * self.tau_ed + self.after
        return float(times[times >= time * (1 - ROUNDING)].min())


def response_law(
    times: tuple[float, float],
    batch_size: int,
    offload_ratio: float,
    network: Floats,
    first: bool,
) -> ResponseLaw:
    """Law of a sample's response time; arguments are taken as checked.

    `times` are τ_ed and τ_tx + τ_es; `network` holds equally likely network times, shape (k, 1), or, by the number of
    images sent, shape (k, M + 1); `first` puts the offloads first in their batch.
    """
    tau_ed, service = times
    others, mean = batch_size - 1, (batch_size - 1) * offload_ratio
    # Nine standard deviations, and some room where the law is nearly Poisson: what is beyond has no weight in a double.
    reach = 9 * np.sqrt(mean * (1 - offload_ratio)) + 30
    count = 1 + np.arange(max(0, math.floor(mean - reach)), min(others, math.ceil(mean + reach)) + 1)
    chance = binomial(count - 1, others, offload_ratio)
    least = batch_size - count if first else np.zeros_like(count)
    after = (network if network.shape[1] == 1 else network[:, count]) + count * service
    return ResponseLaw(
        tau_ed=tau_ed,
        accepted=1 - offload_ratio,
        after=after.ravel(),
        chance=np.tile(chance / len(after), len(after)),
        least=np.tile(least, len(after)),
        most=batch_size,
        service=service,
    )


def largest_batch(
    law: Callable[[int], ModelLaw], deadline: float, miss_probability: float, start: int = 1, *, growing: bool = True
) -> float:
    """Largest M so that it and all smaller ones exceed the deadline with at most that probability; 0, or inf for all.

    With every sample that is added to a batch the response time grows in law (T9 of the book), so that the batch sizes
    which keep the deadline are 1, …, M: the search doubles, then halves. `start` says where it looks first. Where that
    need not be so, `growing` is false, and all are tried.
    """

    def kept(size: int) -> bool:
        return bool(law(size).exceedance(deadline) <= miss_probability + ROUNDING)

    one = law(1)
    if one.exceedance(deadline) > miss_probability + ROUNDING:
        return 0
    never_late = 1 - one.accepted <= miss_probability + ROUNDING
    if never_late or one.never_later:
        return np.inf
    if not growing:
        return next(size for size in itertools.count(1) if not kept(size + 1))
    low, step = start if start > 1 and kept(start) else 1, 1
    if low < start:  # too large a start: it bounds from above
        high = start
    else:
        while kept(low + step):
            low, step = low + step, 2 * step
        high = low + step
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if kept(middle) else (low, middle)
    return low


def binomial(k: Floats, n: int, p: float) -> Floats:
    """P(Bin(n, p) = k), for all k that matter; scipy.stats has it, five times slower and not for the smallest p."""
    from scipy import special  # which only this needs

    ways = special.gammaln(n + 1) - special.gammaln(k + 1) - special.gammaln(n - k + 1)
    chance = np.exp(ways + special.xlogy(k, p) + special.xlog1py(n - k, -p))
    return chance / chance.sum()
