"""Batch size chosen online: a controller that estimates the offload ratio and the network time as it goes.

What a run of batches costs when every transmission meets its own network time is counted here directly, since many
thousand runs are compared; the simulation agrees with the count to the last digits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hi_lib import checks
from hi_lib.regret import fixed_sizes, tuned_learning_rate
from hi_lib.simulation import BatchSizes, lognormal_times
from hi_lib.streaming import HILF
from hi_lib.timing import DeadlineError, TimingModel

Floats = NDArray[np.floating[Any]]


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
        exact law with the network times lately met. Where even M = 1 is too late, M = 1. Exactly one of `alpha` and
        `deadline` is given.
    memory : int
        Over how many past samples the offload ratio is averaged, with exponential weights.
    transmissions : int
        How many past network times count: their mean for f, all of them for a deadline.
    replan : int
        Plan anew once so many samples have passed; a plan takes about half a millisecond on a desktop computer.
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

    def __init__(
        self,
        timing: TimingModel,
        offload_ratio: float,
        alpha: float | None = None,
        *,
        deadline: float | None = None,
        miss_probability: float = 0.05,
        memory: int = 1000,
        transmissions: int = 20,
        replan: int = 50,
        largest: int = 256,
    ) -> None:
        if (alpha is None) == (deadline is None):
            raise ValueError("exactly one of alpha and deadline must be given")
        self.timing = timing
        self.alpha = None if alpha is None else checks.real("alpha", alpha, 0, 1, open_ends="()")
        self.deadline = None if deadline is None else checks.nonnegative("deadline", deadline)
        self.miss_probability = checks.real("miss_probability", miss_probability, 0, 1, open_ends=")")
        self.replan, self.largest = checks.whole("replan", replan), checks.whole("largest", largest)
        self.offload_ratio = checks.real("offload_ratio", offload_ratio, 0, 1)
        self._keep = 1 - 1 / checks.whole("memory", memory)
        self._met: deque[float] = deque(maxlen=checks.whole("transmissions", transmissions))
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
        times = np.array(self._met or [self.timing.tau_nw])
        if self.deadline is not None:
            return self._largest_in_time(times)
        now, sizes = replace(self.timing, tau_nw=float(times.mean())), np.arange(1, self.largest + 1)
        return int(sizes[now.objective(sizes, self.offload_ratio, self.alpha, "average").argmin()])  # type: ignore[arg-type]

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


@dataclass(frozen=True, eq=False)
class Account:
    """What a run of batches took: sizes, shape (batches,); of each sample its share of its batch's time, `busy`, and
    its `response` time, both ms, shape (n,).
    """

    sizes: NDArray[np.int64]
    busy: Floats
    response: Floats

    @property
    def system_time(self) -> float:
        """Time of the whole run a sample, ms."""
        return float(self.busy.mean())

    def objective(self, alpha: float) -> Floats:
        """α busy + (1 − α) response of each sample, ms, shape (n,): its mean is what f stands for."""
        return alpha * self.busy + (1 - alpha) * self.response

    def late(self, deadline: float) -> NDArray[np.bool_]:
        """Which samples were answered after the deadline, shape (n,)."""
        return self.response > deadline


def follow(controller: BatchSizes, offloaded: ArrayLike, network_times: ArrayLike) -> NDArray[np.int64]:
    """Sizes of all batches, when a controller meets these offloads and network times, both shape (n,)."""
    passed = np.concatenate([[0], np.cumsum(offloaded)]).tolist()
    network, first, found = np.asarray(network_times).tolist(), 0, []
    while first < len(network):
        stop = min(first + controller.next_size(), len(network))
        offloads = passed[stop] - passed[first]
        controller.observe(stop - first, offloads, network[stop - 1] if offloads else None)
        found.append(stop - first)
        first = stop
    return np.array(found)


def account(timing: TimingModel, sizes: ArrayLike, offloaded: ArrayLike, network_times: ArrayLike) -> Account:
    """Count the times of batches of these sizes, shape (batches,), that meet offloads and network times, shape (n,).

    A transmission meets the network time of its batch's last sample.

    Raises
    ------
    ValueError
        Sizes below 1, or that do not add up to n; shapes that differ.
    """
    flags, network = checks.flags("offloaded", offloaded), np.asarray(network_times, dtype=float)
    size = np.asarray(sizes)
    if network.shape != flags.shape:
        raise ValueError(f"network_times must have shape {flags.shape}, got {network.shape}")
    if (size < 1).any() or size.sum() != flags.size:
        raise ValueError(f"sizes must be >= 1 and add up to {flags.size}, got a sum of {size.sum()}")
    stop = np.cumsum(size)
    sent = np.add.reduceat(flags, stop - size, dtype=np.int64)
    away = np.where(sent > 0, network[stop - 1], 0.0) + sent * (timing.tau_tx + timing.tau_es)
    to_go = np.repeat(stop, size) - np.arange(flags.size)  # computations until the batch is sent, its own included
    response = np.where(flags, to_go * timing.tau_ed + np.repeat(away, size), timing.tau_ed)
    return Account(size, np.repeat(timing.tau_ed + away / size, size), response)


def best_fixed(
    timing: TimingModel, candidates: Iterable[int], offloaded: ArrayLike, network_times: ArrayLike, alpha: float
) -> Account:
    """Account of the one batch size, of all candidates, with the least mean objective in hindsight."""
    n = np.size(offloaded)
    accounts = [account(timing, fixed_sizes(n, size), offloaded, network_times) for size in candidates]
    return min(accounts, key=lambda found: float(found.objective(alpha).mean()))


def best_fixed_in_time(
    timing: TimingModel, offloaded: ArrayLike, network_times: ArrayLike, deadline: float, miss_probability: float
) -> Account:
    """Account of the largest batch size that, in hindsight, answered late no more often than allowed; M = 1 if none."""
    n = np.size(offloaded)
    best = account(timing, fixed_sizes(n, 1), offloaded, network_times)
    for size in range(2, n + 1):
        found = account(timing, fixed_sizes(n, size), offloaded, network_times)
        if found.late(deadline).mean() > miss_probability:
            return best
        best = found
    return best


def bursts(n: int, calm: float, slow: float, length: float, share: float, seed: int | None = None) -> Floats:
    """Mean network times, shape (n,), ms, that jump between calm and slow: a Markov chain over samples.

    Bursts of slow network last `length` >= 1 samples on average and take a `share` in (0, 1) of the time.
    """
    length = checks.real("length", length, 1, np.finfo(float).max)
    share = checks.real("share", share, 0, 1, open_ends="()")
    rng, n = np.random.default_rng(checks.seed("seed", seed)), checks.whole("n", n)
    calm_length = length * (1 - share) / share
    state, times, passed = bool(rng.random() < share), np.empty(n), 0
    while passed < n:
        stay = int(rng.geometric(min(1.0, 1 / (length if state else calm_length))))
        times[passed : passed + stay] = slow if state else calm
        passed, state = passed + stay, not state
    return times


def informed_sizes(timing: TimingModel, offload_ratio: float, alpha: float, means: Floats) -> NDArray[np.int64]:
    """Sizes of batches, each best for the mean network time, shape (n,), of its first sample: who knows the network."""
    best = {
        mean: replace(timing, tau_nw=mean).optimal_batch_size(offload_ratio, alpha, "average").integer
        for mean in np.unique(means).tolist()
    }
    first, sizes = 0, []
    while first < len(means):
        sizes.append(min(best[float(means[first])], len(means) - first))
        first += sizes[-1]
    return np.array(sizes)


def compare(
    timing: TimingModel,
    offload_ratio: float,
    alpha: float,
    means: Floats,
    variation: float,
    seed: int,
    controllers: Mapping[str, Mapping[str, Any]],
    first_guess: float = 0.5,
) -> dict[str, Account]:
    """Ways to choose M on one and the same random run, each with its account.

    `means` holds the mean network time of every sample, shape (n,), ms, around which transmissions scatter with the
    coefficient of variation `variation`; samples are offloaded independently with probability `offload_ratio`. Keys:
    "vanilla" (M = 1), "average network" (M* for the mean over the whole run), "best fixed" (in hindsight), "informed"
    (`informed_sizes`), and those of `controllers`, with options for `AdaptiveBatchSize`. A controller starts from
    `first_guess` for ρ and sees the scatter; the accounts take the means, which is the same on average, since no size
    depends on its own transmission.
    """
    n, (offloaded, network) = len(means), _drawn(offload_ratio, means, variation, [seed, 1])
    average = replace(timing, tau_nw=float(means.mean())).optimal_batch_size(offload_ratio, alpha, "average").integer
    chosen = {
        "vanilla": fixed_sizes(n, 1),
        "average network": fixed_sizes(n, average),
        "informed": informed_sizes(timing, offload_ratio, alpha, means),
    }
    for name, options in controllers.items():
        chosen[name] = follow(AdaptiveBatchSize(timing, first_guess, alpha, **options), offloaded, network)
    accounts = {name: account(timing, sizes, offloaded, means) for name, sizes in chosen.items()}
    # f is flat and convex: the best size in hindsight lies near that of the average network.
    candidates = range(max(1, average // 2), 2 * average + 1)
    accounts["best fixed"] = best_fixed(timing, candidates, offloaded, means, alpha)
    return accounts


def compare_in_time(
    timing: TimingModel,
    offload_ratio: float,
    means: Floats,
    variation: float,
    seed: int,
    deadline: float,
    miss_probability: float,
    **options: Any,
) -> dict[str, Account]:
    """The same for a deadline: ways to choose M on one random run, each charged the network times that it met.

    Keys: "vanilla", "average network" (the largest batch in time if the network always took its mean), "best fixed" (in
    hindsight) and "adaptive" (with the options `options`, and the network's first state as first guess).
    """
    n, (offloaded, network) = len(means), _drawn(offload_ratio, means, variation, [seed, 2])
    mean = replace(timing, tau_nw=float(means.mean()))
    constant = mean.largest_batch_size(offload_ratio, deadline, miss_probability)
    first = replace(timing, tau_nw=float(means[0]))
    controller = AdaptiveBatchSize(
        first, offload_ratio, deadline=deadline, miss_probability=miss_probability, **options
    )
    chosen = {
        "vanilla": fixed_sizes(n, 1),
        "average network": fixed_sizes(n, int(min(constant, n))),
        "adaptive": follow(controller, offloaded, network),
    }
    accounts = {name: account(timing, sizes, offloaded, network) for name, sizes in chosen.items()}
    accounts["best fixed"] = best_fixed_in_time(timing, offloaded, network, deadline, miss_probability)
    return accounts


def _drawn(offload_ratio: float, means: Floats, variation: float, seed: list[int]) -> tuple[NDArray[np.bool_], Floats]:
    """Which samples are offloaded, and the network times that they would meet, both of shape (n,)."""
    draws = np.random.default_rng(seed)
    return draws.random(len(means)) < offload_ratio, lognormal_times(means, variation, int(draws.integers(2**31)))


def peeking_regret(samples: int, seed: int, peek: bool) -> float:
    """Regret, drawn for real, of batches of at most two samples that end early for what happens in them, or do not.

    All confidences are ½, every second answer is wrong, β = ½: every threshold costs the same in the long run. A batch
    that peeks ends with its first offload or its first error. An error is then more often the first of a batch than the
    second, and the weights, which see every sample, never learn of it. Without peeking, all batches hold two.
    """
    n, beta = checks.whole("samples", samples), 0.5
    learner = HILF(beta, tuned_learning_rate(n, 2, 0.5), seed)
    cost, first = 0.0, 0
    while first < n:
        offload = learner.threshold() > 0.5
        wrong = [bool(sample % 2) for sample in range(first, min(first + 2, n))]
        if peek and (offload or wrong[0]):
            wrong = wrong[:1]
        cost += beta * len(wrong) if offload else sum(wrong)
        learner.update(np.full(len(wrong), 0.5), [not error for error in wrong])
        first += len(wrong)
    return cost - min(beta * n, n // 2)
