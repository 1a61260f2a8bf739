"""A batch size that adapts: its figures, and the numbers its claims rest on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from hi_lib import checks
from hi_lib.adaptive import AdaptiveBatchSize
from hi_lib.figures.style import band, legend_below, logarithmic
from hi_lib.regret import fixed_sizes, tuned_learning_rate
from hi_lib.simulation import BatchSizes, lognormal_times
from hi_lib.streaming import HILF
from hi_lib.timing import TimingModel
from hi_lib.typing import Floats

if TYPE_CHECKING:
    import pandas as pd

    from hi_lib.timing import TimingModel

POLICY_COLOURS = {
    "vanilla": "#999999",
    "average network": "#CC79A7",
    "best fixed": "#333333",
    "adaptive": "#0072B2",
    "informed": "#009E73",
}


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


def price_over_time(means: Mapping[str, Any], prices: Mapping[str, Mapping[str, Any]], every: int) -> Figure:
    """Network time above, below the accumulated objective minus that of the best fixed size; a column a network.

    `means` maps titles to network times, shape (n,), of one run; `prices` to {policy: (runs, n)} in ms.
    """
    figure, axes = plt.subplots(2, len(means), figsize=(7.6, 4.4), sharex=True, height_ratios=[1, 2.2])
    for column, (title, mean) in enumerate(means.items()):
        x = np.arange(len(mean))[::every]
        axes[0, column].plot(x, mean[::every], color="#777777", lw=1)
        axes[0, column].set(title=title, ylim=(0, 220))
        for policy, paths in prices[title].items():
            total = np.cumsum(paths, axis=1)[:, ::every] / 1000
            error = total.std(axis=0, ddof=1) / np.sqrt(len(total))
            band(axes[1, column], x, total.mean(axis=0), error, color=POLICY_COLOURS[policy], label=policy)
        axes[1, column].axhline(0, color="#333333", lw=0.9, ls="--")
        axes[1, column].set(xlabel="samples")
    axes[0, 0].set_ylabel("mean τ_nw (ms)")
    axes[1, 0].set_ylabel("f above best fixed M,\nsummed up (s)")
    legend_below(figure, 4)
    return figure


def burst_gain(table: pd.DataFrame) -> Figure:
    """Gain of the adaptive batch size over the best fixed one, in per cent of f, against the length of bursts.

    `table` has policy, length, gain, error.
    """
    figure, axis = plt.subplots(figsize=(6.0, 3.4))
    names = table["policy"].unique()
    colours = dict(zip(names, ("#0072B2", "#56B4E9", "#009E73", "#333333"), strict=False))
    for name, rows in table.groupby("policy", sort=False):
        line = {"ls": "--"} if name.startswith("informed") else {"marker": "o", "ms": 3.5}
        band(axis, rows["length"], rows["gain"], rows["error"], color=colours[name], label=name, **line)
    axis.axhline(0, color="#333333", lw=0.9)
    axis.set(xlabel="mean length of a burst (samples)", ylabel="gain over the best fixed M (% of f)")
    logarithmic(axis, sorted(table["length"].unique()))
    legend_below(figure, 2)
    return figure


def deadline_over_time(means: Any, late: Mapping[str, Any], target: float, window: int) -> Figure:
    """Share of late answers over time, averaged over windows and runs; late maps policies to bool (runs, n)."""
    figure, axes = plt.subplots(2, 1, figsize=(6.6, 4.0), sharex=True, height_ratios=[1, 2])
    axes[0].plot(means, color="#777777", lw=1)
    axes[0].set(ylabel="mean τ_nw (ms)", ylim=(0, None))
    for policy, flags in late.items():
        share = flags[:, : flags.shape[1] // window * window].reshape(len(flags), -1, window).mean(axis=(0, 2))
        axes[1].plot(
            (np.arange(share.size) + 0.5) * window, 100 * share, "o-", ms=3, color=POLICY_COLOURS[policy], label=policy
        )
    axes[1].axhline(100 * target, color="#333333", lw=0.9, ls="--")
    axes[1].set(xlabel="samples", ylabel="late answers (%)", ylim=(0, None))
    legend_below(figure, 3)
    return figure
