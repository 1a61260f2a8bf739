"""A batch size that is chosen online, as offload ratio and network time change."""

from __future__ import annotations

from collections import deque
from dataclasses import KW_ONLY, dataclass, replace

import numpy as np

from hi_lib import checks
from hi_lib.optima import DeadlineError
from hi_lib.timing import TimingModel
from hi_lib.typing import Floats


@dataclass(eq=False)
class AdaptiveBatchSize:
    """Plan the next batch for the offload ratio and the network times of the recent past.

    The size of a batch is set before it begins, from batches that have ended: what the regret bound for batches of
    varying size asks for. Until the first transmission the timing's own τ_nw stands for the network.

    Parameters
    ----------
    timing : TimingModel
        The device's own times; its tau_nw is only a first guess.
    offload_ratio : float
        A first guess of ρ, in [0, 1]; it counts as much as `memory` samples at the start, and fades.
    alpha : float, optional
        Weight of the system time in f, in (0, 1): plan for the least f, by the exact model.
    deadline, miss_probability : float, optional
        Plan for the largest batch whose answers come later than `deadline` (ms) with at most this probability, by the
        exact distribution with the network times lately met. Where even M = 1 is too late, M = 1. Exactly one of
        `alpha` and `deadline` is given.
    memory : int
        Over how many past samples the offload ratio is averaged, with exponential weights.
    transmissions : int
        How many past network times count: their mean for f, all of them for a deadline.
    replan : int
        Plan anew once so many samples have passed; a plan for a deadline takes longest, some milliseconds.
    largest : int
        No batch is larger.

    Raises
    ------
    ValueError
        An argument outside its range, or both or neither of alpha and deadline.

    Examples
    --------
    >>> timing = TimingModel(tau_ed=1.48, tau_es=4.41, tau_tx=4.93, tau_nw=20.0)
    >>> controller = AdaptiveBatchSize(timing, offload_ratio=0.421, alpha=0.9)
    >>> controller.next_size()
    9
    >>> for _ in range(40):                       # the network has become slow
    ...     controller.observe(size=10, offloads=4, network_time=150.0)
    >>> controller.next_size()
    27
    """

    timing: TimingModel
    offload_ratio: float
    alpha: float | None = None
    _: KW_ONLY
    deadline: float | None = None
    miss_probability: float = 0.05
    memory: int = 1000
    transmissions: int = 20
    replan: int = 50
    largest: int = 256

    def __post_init__(self) -> None:
        if (self.alpha is None) == (self.deadline is None):
            raise ValueError("exactly one of alpha and deadline must be given")
        if self.alpha is not None:
            self.alpha = checks.real("alpha", self.alpha, 0, 1, open_ends="()")
        if self.deadline is not None:
            self.deadline = checks.nonnegative("deadline", self.deadline)
        self.miss_probability = checks.real("miss_probability", self.miss_probability, 0, 1, open_ends=")")
        self.replan, self.largest = checks.whole("replan", self.replan), checks.whole("largest", self.largest)
        self.offload_ratio = checks.real("offload_ratio", self.offload_ratio, 0, 1)
        self._keep = 1 - 1 / checks.whole("memory", self.memory)
        self._met: deque[float] = deque(maxlen=checks.whole("transmissions", self.transmissions))
        self._size, self._since_plan = 1, self.replan

    def next_size(self) -> int:
        """Size of the next batch."""
        if self._since_plan >= self.replan:
            self._size, self._since_plan = self._plan(), 0
        return self._size

    def observe(self, size: int, offloads: int, network_time: float | None) -> None:
        """Learn from a batch that has ended; `network_time` (ms) is None if nothing was sent, or if it is not known.

        Raises
        ------
        ValueError
            A size below 1, more offloads than samples, a network time that is negative or not finite; the controller
            is as it was.
        """
        size, offloads = checks.whole("size", size), checks.whole("offloads", offloads, low=0)
        if offloads > size:
            raise ValueError(f"offloads must be at most the batch's size, {size}, got {offloads}")
        if network_time is not None:
            network_time = checks.nonnegative("network_time", network_time)
        kept = self._keep**size
        self.offload_ratio = kept * self.offload_ratio + (1 - kept) * offloads / size
        self._since_plan += size
        if network_time is not None:
            self._met.append(network_time)

    def _plan(self) -> int:
        times = self._met or [self.timing.tau_nw]
        if self.alpha is None:
            return self._largest_in_time(np.array(times))
        now = replace(self.timing, tau_nw=sum(times) / len(times), network_time=None)
        sizes = np.arange(1.0, self.largest + 1)
        return 1 + int(now.objective(sizes, self.offload_ratio, self.alpha, "average").argmin())

    def _largest_in_time(self, network_times: Floats) -> int:
        try:
            most = self.timing.largest_batch_size(
                self.offload_ratio,
                self.deadline,  # type: ignore[arg-type]
                self.miss_probability,
                network_times=network_times,
                start=self._size,
            )
        except DeadlineError:
            return 1
        return int(min(most, self.largest))


class AdditiveIncrease:
    """Raise the batch size step by step while the deadline is kept, cut it when an answer was late.

    The rule of prediction servers (additive increase, multiplicative decrease): it needs no model of anything, and
    tries every now and then what is too much.

    Parameters
    ----------
    timing : TimingModel
        The device's own times.
    deadline : float
        ms, for the slowest answer of a batch.
    increase : float
        Added to the size after a batch in time, > 0.
    decrease : float
        Share of the size that is kept after a late batch, in (0, 1).
    largest : int
        No batch is larger.

    Raises
    ------
    ValueError
        An argument outside its range.

    Examples
    --------
    >>> controller = AdditiveIncrease(TimingModel(tau_ed=1, tau_es=4, tau_tx=5, tau_nw=20), deadline=60)
    >>> for _ in range(5):
    ...     controller.observe(controller.next_size(), offloads=1, network_time=20.0)
    >>> controller.next_size()
    6
    >>> controller.observe(size=6, offloads=4, network_time=20.0)    # 6 + 20 + 4 · 9 ms
    >>> controller.next_size()
    5
    """

    def __init__(
        self, timing: TimingModel, deadline: float, *, increase: float = 1.0, decrease: float = 0.9, largest: int = 256
    ) -> None:
        self.timing, self.deadline = timing, checks.nonnegative("deadline", deadline)
        self.increase = checks.positive("increase", increase)
        self.decrease = checks.real("decrease", decrease, 0, 1, open_ends="()")
        self.largest = checks.whole("largest", largest)
        self._size = 1.0

    def next_size(self) -> int:
        """Size of the next batch."""
        return int(self._size)

    def observe(self, size: int, offloads: int, network_time: float | None) -> None:
        """Learn from a batch that has ended; arguments as for `AdaptiveBatchSize`."""
        slowest = size * self.timing.tau_ed
        if network_time is not None:
            slowest += network_time + offloads * (self.timing.tau_tx + self.timing.tau_es)
        wanted = self._size * self.decrease if slowest > self.deadline else self._size + self.increase
        self._size = min(max(wanted, 1.0), float(self.largest))
