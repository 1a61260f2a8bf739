"""A batch size that adapts: its figures, and the numbers its claims rest on."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from hi_book.figures.style import band, logarithmic, shared_legend, table, trace_title
from hi_book.figures.symbols import in_mathtext
from hi_book.figures.values import at, ordered, quotient, standard_error
from hi_lib import checks, cycles
from hi_lib.device.adaptive import AdaptiveBatchSize, AdditiveIncrease
from hi_lib.device.streaming import HILF
from hi_lib.events.queueing import lognormal_times
from hi_lib.events.simulation import BatchSizes
from hi_lib.optima import DeadlineError
from hi_lib.regret import fixed_sizes, tuned_learning_rate
from hi_lib.studies.variants import replay_batches, varying_regret_bound
from hi_lib.timing import TimingModel
from hi_lib.traces import Trace
from hi_lib.typing import Floats

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

CONTROLLERS: dict[str, dict[str, Any]] = {"adaptive": {}, "adaptive, short memory": {"transmissions": 5}}
FIXED, OFFLOADS = "best fixed", "fixed m"
RIVAL = "additive increase"
FIXED_COST = "f of the best fixed M (ms)"
LARGEST = 256  # batch size, of the controllers and of those that compete with them
TRANSMISSIONS = 20  # that the adaptive controller remembers
_PEEKING_SAMPLES = 1000
POLICY_COLOURS = {
    "vanilla": "#999999",
    "average network": "#CC79A7",
    "best fixed": "#333333",
    "additive increase": "#D55E00",
    "adaptive": "#0072B2",
    "informed": "#009E73",
    "fixed m": "#D55E00",
}


@dataclass(frozen=True)
class Environment:
    """What the device meets: network times (ms) with these means, which vary by `variation` of their mean."""

    timing: TimingModel
    offload_ratio: float
    first_guess: float  # of the offload ratio
    alpha: float
    samples: int
    runs: int
    variation: float
    calm: float
    slow: float
    slow_share: float
    burst: float = 1000
    """How many samples a burst of slow network lasts, on average."""

    def __post_init__(self) -> None:
        checks.share("offload_ratio", self.offload_ratio)  # without offloads there is nothing to show
        for name in ("calm", "slow"):
            checks.nonnegative(name, getattr(self, name))

    @property
    def middling(self) -> float:
        """The mean network time where it is steady, ms: twice the calm one."""
        return 2 * self.calm

    def steady(self) -> list[Floats]:
        """Mean network times of every run, shape (samples,), ms, throughout the same."""
        return [np.full(self.samples, self.middling)] * self.runs

    def one_change(self, samples: int) -> Floats:
        """Mean network times (ms) of so many samples, calm and in the second half slow."""
        return one_change(samples, self.calm, self.slow)

    def bursts(self, slow: float, length: float) -> list[Floats]:
        """Mean network times of every run, shape (samples,), ms, with bursts of slow network of this mean length."""
        how = Bursts(self.calm, slow, length, self.slow_share)
        return [bursts(self.samples, how, seed) for seed in range(self.runs)]


class Paths(NamedTuple):
    """Mean network times of one run, shape (samples,), and f of every sample by policy, (runs, samples), all ms."""

    means: Floats
    objective: dict[str, Floats]


class InTime(NamedTuple):
    """Mean network times of one run, (samples,), ms; by policy late answers, (runs, samples), and system time, ms."""

    means: Floats
    late: dict[str, NDArray[np.bool_]]
    system: dict[str, float]


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
    """Account of the largest batch size that, in hindsight, answered late no more often than allowed; M = 1 if none.

    None is larger than LARGEST.
    """
    n = np.size(offloaded)
    best = account(timing, fixed_sizes(n, 1), offloaded, network_times)
    for size in range(2, min(n, LARGEST) + 1):
        found = account(timing, fixed_sizes(n, size), offloaded, network_times)
        if found.late(deadline).mean() > miss_probability:
            return best
        best = found
    return best


class Bursts(NamedTuple):
    """Network times (ms) when it is calm and when it is slow; how long it is slow, and for which share of the time."""

    calm: float
    slow: float
    length: float
    """Samples, on average, at least 1."""
    share: float
    """In (0, 1)."""


def bursts(n: int, how: Bursts, seed: int | None = None) -> Floats:
    """Mean network times, shape (n,), ms, that jump between calm and slow: a Markov chain over samples."""
    length = checks.real("length", how.length, 1, np.finfo(float).max)
    share = checks.real("share", how.share, 0, 1, open_ends="()")
    rng, n = np.random.default_rng(checks.seed("seed", seed)), checks.whole("n", n)
    calm_length = length * (1 - share) / share
    state, times, passed = bool(rng.random() < share), np.empty(n), 0
    while passed < n:
        stay = int(rng.geometric(min(1.0, 1 / (length if state else calm_length))))
        times[passed : passed + stay] = how.slow if state else how.calm
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


def compare(environment: Environment, means: Floats, seed: int) -> dict[str, Account]:
    """Ways to choose M, and one to count offloads instead, on one and the same random run, each with its account.

    `means` holds the mean network time of every sample, shape (n,), ms, around which transmissions scatter; samples are
    offloaded independently. Keys: "vanilla" (M = 1), "average network" (M* for the mean over the whole run), "best
    fixed" (in hindsight), "informed" (`informed_sizes`), those of CONTROLLERS, with options for `AdaptiveBatchSize`,
    and OFFLOADS (m* for the mean over the whole run and the first guess for ρ). A controller starts from that guess,
    too, and sees the scatter; the accounts take the means, which is the same on average, since no size depends on its
    own transmission.
    """
    timing, offload_ratio, alpha = environment.timing, environment.offload_ratio, environment.alpha
    n, (offloaded, network) = len(means), _drawn(offload_ratio, means, environment.variation, [seed, 1])
    average_network = replace(timing, tau_nw=float(means.mean()))
    average = average_network.optimal_batch_size(offload_ratio, alpha, "average").integer
    chosen = {
        "vanilla": fixed_sizes(n, 1),
        "average network": fixed_sizes(n, average),
        "informed": informed_sizes(timing, offload_ratio, alpha, means),
    }
    pending = average_network.optimal_batch_size(environment.first_guess, alpha, unit="offloads").integer
    chosen[OFFLOADS] = cycles.lengths(offloaded, pending)
    for name, options in CONTROLLERS.items():
        chosen[name] = follow(AdaptiveBatchSize(timing, environment.first_guess, alpha, **options), offloaded, network)
    accounts = {name: account(timing, sizes, offloaded, means) for name, sizes in chosen.items()}
    # f is flat and convex: the best size in hindsight lies near that of the average network.
    candidates = range(max(1, average // 2), 2 * average + 1)
    accounts["best fixed"] = best_fixed(timing, candidates, offloaded, means, alpha)
    return accounts


def compare_in_time(
    environment: Environment, means: Floats, seed: int, deadline: float, miss_probability: float
) -> dict[str, Account]:
    """The same for a deadline: ways to choose M on one random run, each charged the network times that it met.

    Keys: "vanilla", "average network" (the largest batch in time if the network always took its mean), "best fixed" (in
    hindsight), "adaptive" (with the network's first state as first guess) and RIVAL.
    """
    timing, offload_ratio = environment.timing, environment.offload_ratio
    n, (offloaded, network) = len(means), _drawn(offload_ratio, means, environment.variation, [seed, 2])
    constant = _largest_in_time(replace(timing, tau_nw=float(means.mean())), offload_ratio, deadline, miss_probability)
    first = replace(timing, tau_nw=float(means[0]))
    goal: dict[str, Any] = {"deadline": deadline, "miss_probability": miss_probability}
    controller = AdaptiveBatchSize(first, offload_ratio, **goal, transmissions=60, replan=100)
    chosen = {
        "vanilla": fixed_sizes(n, 1),
        "average network": fixed_sizes(n, min(constant, n)),
        "adaptive": follow(controller, offloaded, network),
        RIVAL: follow(AdditiveIncrease(timing, deadline), offloaded, network),
    }
    accounts = {name: account(timing, sizes, offloaded, network) for name, sizes in chosen.items()}
    accounts["best fixed"] = best_fixed_in_time(timing, offloaded, network, deadline, miss_probability)
    return accounts


def _largest_in_time(timing: TimingModel, offload_ratio: float, deadline: float, miss_probability: float) -> int:
    """The largest batch whose answers are late no more often than allowed, at most LARGEST; 1 if none is."""
    try:
        return int(min(timing.largest_batch_size(offload_ratio, deadline, miss_probability), LARGEST))
    except DeadlineError:
        return 1


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


def price_over_time(paths: Mapping[str, Paths], every: int) -> Figure:
    """Network time above, below the accumulated objective minus that of the best fixed size; a column a network."""
    figure, axes = plt.subplots(2, len(paths), figsize=(7.6, 4.4), sharex=True, height_ratios=[1, 2.2])
    highest = 1.1 * max(path.means.max() for path in paths.values()) or None
    for column, (title, (means, objective)) in enumerate(paths.items()):
        x = np.arange(len(means))[::every]
        axes[0, column].plot(x, means[::every], color="#777777", lw=1)
        axes[0, column].set(title=title, ylim=(0, highest))
        for policy in ("average network", "adaptive", "informed", OFFLOADS):
            total = np.cumsum(objective[policy] - objective[FIXED], axis=1)[:, ::every] / 1000
            line = {"color": POLICY_COLOURS[policy], "label": policy}
            band(axes[1, column], x, total.mean(axis=0), standard_error(total), **line)
        axes[1, column].axhline(0, color="#333333", lw=0.9, ls="--")
        axes[1, column].set(xlabel="samples")
    axes[0, 0].set_ylabel(in_mathtext("mean τ_nw (ms)"))
    axes[1, 0].set_ylabel("f above best fixed M,\nsummed up (s)")
    shared_legend(figure, 4)
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
    shared_legend(figure, 2)
    return figure


def deadline_over_time(found: InTime, target: float, window: int) -> Figure:
    """Share of late answers over time, averaged over windows of samples, or all if they are fewer, and over runs."""
    window = min(window, len(found.means))
    figure, axes = plt.subplots(2, 1, figsize=(6.6, 4.0), sharex=True, height_ratios=[1, 2])
    axes[0].plot(found.means, color="#777777", lw=1)
    axes[0].set(ylabel=in_mathtext("mean τ_nw (ms)"), ylim=(0, None))
    for policy in (FIXED, "average network", "adaptive", RIVAL):
        flags = found.late[policy]
        shares = 100 * flags[:, : flags.shape[1] // window * window].reshape(len(flags), -1, window).mean(axis=2)
        error = standard_error(shares)
        line = {"color": POLICY_COLOURS[policy], "label": policy, "marker": "o", "ms": 3}
        band(axes[1], (np.arange(error.size) + 0.5) * window, shares.mean(axis=0), error, **line)
    axes[1].axhline(100 * target, color="#333333", lw=0.9, ls="--")
    axes[1].set(xlabel="samples", ylabel="late answers (%)", ylim=(0, None))
    shared_legend(figure, 4)
    return figure


def one_change(n: int, before: float, after: float) -> Floats:
    """Mean network times (ms) of n samples, of which the second half meets another network."""
    return np.where(np.arange(n) < n // 2, before, after)


def scattered(means: Floats, variation: float) -> Floats:
    """Network times (ms) that a device meets where these are the means, lognormal, one draw."""
    return lognormal_times(means, variation, seed=0)


def bounds(trace: Trace, beta: float, sizes: NDArray[np.int64]) -> pd.DataFrame:
    """Regret of HIL-F and its bound for a controller's batch sizes, for one size like them, and for random sizes."""
    typical = round(sizes.mean())
    cases = {
        f"M = {typical}": fixed_sizes(len(trace), typical),
        "adaptive": sizes,
        f"at random, mean {typical}": _random_sizes(len(trace), float(sizes.mean())),
    }
    rows = []
    for name, chosen in cases.items():
        for rate in ("tuned", "anytime"):
            run = replay_batches(trace, beta, chosen.tolist(), rate)
            found = (run.average_cost, run.regret, run.regret_bound)
            rows.append((name, rate, len(chosen), np.square(chosen).sum(), *found))
    columns = ["sizes", "learning rate", "batches", "sum of squares", "average cost", "regret", "bound"]
    return pd.DataFrame(rows, columns=columns)


def _random_sizes(n: int, mean: float) -> NDArray[np.int64]:
    """Geometric batch sizes, 64 at most, that add up to n."""
    drawn = np.minimum(np.random.default_rng(0).geometric(1 / mean, n), 64)
    full = drawn[: int(np.searchsorted(np.cumsum(drawn), n))]
    return np.append(full, n - full.sum())


def bounds_table(bounds: pd.DataFrame, trace: Trace) -> Styler:
    """The table of `bounds`, as the page shows it."""
    formats = {"average cost": "{:.4f}", "regret": "{:.1f}", "bound": "{:.0f}"}
    named = trace_title(str(trace.name))
    caption = f"HIL-F with batches of varying size: {named}, one shuffle, exact expectations"
    return table("bounds", bounds).hide().format(formats).set_caption(caption)


def objectives(environment: Environment, means: Sequence[Floats]) -> dict[str, Floats]:
    """f of every sample (ms), shape (runs, samples), for each way to choose M, on runs with these network times."""
    found = [compare(environment, mean, seed) for seed, mean in enumerate(means)]
    return {name: np.array([run[name].objective(environment.alpha) for run in found]) for name in found[0]}


def network_paths(environment: Environment) -> dict[str, Paths]:
    """Ways to choose M on three networks: steady, slow from half-way on, and with bursts."""
    networks = {
        "steady": environment.steady(),
        "one change": [environment.one_change(environment.samples)] * environment.runs,
        "bursts": environment.bursts(environment.slow, environment.burst),
    }
    return {title: Paths(means[0], objectives(environment, means)) for title, means in networks.items()}


def gain(objective: Mapping[str, Floats], policy: str) -> tuple[float, float]:
    """Mean gain of a policy over the best fixed size, in per cent of that one's f, and its standard error over runs."""
    gains = 100 * (1 - objective[policy].mean(axis=1) / objective[FIXED].mean(axis=1))
    return gains.mean(), standard_error(gains)


def gains(paths: Mapping[str, Paths]) -> pd.DataFrame:
    """Gain of each policy over the best fixed size, in per cent of f, a row a network."""
    policies = ["vanilla", "average network", *CONTROLLERS, "informed", OFFLOADS]
    rows = [
        (title, objective[FIXED].mean(), *(gain(objective, policy)[0] for policy in policies))
        for title, (_, objective) in paths.items()
    ]
    return pd.DataFrame(rows, columns=["network", FIXED_COST, *policies])


def gains_table(gains: pd.DataFrame) -> Styler:
    """The table of `gains`, as the page shows it."""
    shown = table("gains", gains).hide().format("{:+.1f}", subset=list(gains.columns[2:]))
    return shown.format("{:.2f}", subset=[FIXED_COST]).set_caption("Gain over the best fixed M in hindsight (% of f)")


def burst_gains(environment: Environment, lengths: Sequence[float]) -> pd.DataFrame:
    """Gain over the best fixed size (% of f) and its standard error, a row a mean length of bursts and a policy."""
    rows = []
    for length in ordered(lengths):
        found = objectives(environment, environment.bursts(environment.slow, length))
        rows += [(name, length, *gain(found, name)) for name in (*CONTROLLERS, "informed")]
    return pd.DataFrame(rows, columns=["policy", "length", "gain", "error"])


def deadlines(environment: Environment, deadline: float, miss_probability: float) -> dict[str, InTime]:
    """Ways to keep a deadline (ms) on three networks: steady, three times as slow for a quarter, and with bursts."""
    place, quarter = np.arange(environment.samples), environment.samples // 4
    troubled = np.where((place >= 2 * quarter) & (place < 3 * quarter), 3 * environment.calm, environment.calm)
    networks = {
        "steady": environment.steady(),
        "one slow quarter": [troubled] * environment.runs,
        "bursts": environment.bursts(3 * environment.calm, environment.burst),
    }
    return {title: _in_time(environment, means, deadline, miss_probability) for title, means in networks.items()}


def _in_time(environment: Environment, means: Sequence[Floats], deadline: float, miss_probability: float) -> InTime:
    found = [compare_in_time(environment, mean, seed, deadline, miss_probability) for seed, mean in enumerate(means)]
    late = {name: np.array([run[name].late(deadline) for run in found]) for name in found[0]}
    return InTime(means[0], late, {name: float(np.mean([run[name].system_time for run in found])) for name in late})


def deadlines_table(found: Mapping[str, InTime], deadline: float, miss_probability: float) -> Styler:
    """Late answers (%) and system time (ms) on each network, a row a policy."""
    policies = ["vanilla", "average network", FIXED, "adaptive", RIVAL]
    rows = [
        (name, *(100 * one.late[name].mean() for one in found.values()), *(one.system[name] for one in found.values()))
        for name in policies
    ]
    heads = [(quantity, title) for quantity in ("late (%)", "system time (ms)") for title in found]
    kept = pd.DataFrame(rows, columns=pd.MultiIndex.from_tuples([("", "M"), *heads]))
    runs = len(next(iter(found.values())).late[FIXED])
    caption = f"A deadline of {deadline:g} ms, at most {100 * miss_probability:g}% late; means of {runs} runs"
    return table("kept", kept).hide().format(precision=1).set_caption(caption)


def numbers(
    environment: Environment, bounds: pd.DataFrame, paths: Mapping[str, Paths], lengths: pd.DataFrame
) -> dict[str, Any]:
    """What the claims and the text rest on, but for the deadlines."""
    batches = _batches(environment, paths["bursts"].means)
    met = {
        "steady": environment.middling,
        "calm": environment.calm,
        "slow": environment.slow,
        "variation": environment.variation,
    }
    met |= {"burst": environment.burst, "alpha": environment.alpha}
    return {**_learning(bounds), **_networks(paths), **_bursts(lengths, batches["memory_samples"]), **batches, **met}


def _learning(bounds: pd.DataFrame) -> dict[str, float]:
    """How varying sizes keep the bound (cost within so many per cent), and how peeking breaks it."""
    costs = bounds.pivot_table(index="learning rate", columns="sizes", values="average cost")
    peeking = float(np.mean([peeking_regret(_PEEKING_SAMPLES, seed, peek=True) for seed in range(3)]))
    bound = varying_regret_bound(np.full(_PEEKING_SAMPLES // 2, 2), 0.5)
    return {
        "varying_over_bound_max": float((bounds["regret"] / bounds["bound"]).max()),
        "cost_within": 100 * float((costs["adaptive"] / costs[bounds["sizes"][0]] - 1).abs().max()),
        "peeking": peeking,
        "peeking_samples": _PEEKING_SAMPLES,
        "peeking_over_bound": peeking / bound,
        "not_peeking": peeking_regret(_PEEKING_SAMPLES, 0, peek=False),
    }


def _networks(paths: Mapping[str, Paths]) -> dict[str, float]:
    """Gains over the best fixed size on each network, in per cent of f."""
    steady, change, bursty = (paths[title].objective for title in ("steady", "one change", "bursts"))
    adaptive, error = gain(change, "adaptive")
    return {
        "steady_price": -gain(steady, "adaptive")[0],
        "steady_price_short": -gain(steady, "adaptive, short memory")[0],
        "change_gain": adaptive,
        "change_gain_in_errors": quotient(adaptive, error),
        "change_informed": gain(change, "informed")[0],
        "burst_gain": gain(bursty, "adaptive")[0],
        "steady_offloads": gain(steady, OFFLOADS)[0],
        "change_offloads": gain(change, OFFLOADS)[0],
        "burst_offloads": gain(bursty, OFFLOADS)[0],
        "vanilla_loss": -gain(change, "vanilla")[0],
    }


def _bursts(lengths: pd.DataFrame, memory: float) -> dict[str, float]:
    """From which length of bursts (samples) on it pays to adapt, and what it costs below (% of f).

    Bursts are short or long against the controller's memory (samples); nan where no such length is in `lengths`.
    """
    plain, short = (lengths[lengths["policy"] == policy].set_index("length") for policy in CONTROLLERS)
    first, last = plain.index.min(), plain.index.max()
    below, above = (first if first < memory else math.nan), (last if last > memory else math.nan)
    pays = short["gain"] > 2 * short["error"]
    from_there = list(itertools.takewhile(lambda length: pays[length], reversed(ordered(pays.index))))
    loss, error = -at(plain["gain"], below), at(plain["error"], below)
    return {
        "short_length": below,
        "short_short_loss": -at(short["gain"], below),
        "short_pays_from": from_there[-1] if 0 < len(from_there) < len(pays) else math.nan,
        "short_loss": loss,
        "short_loss_in_errors": quotient(loss, error),
        "long_gain_in_errors": quotient(at(plain["gain"], above), at(plain["error"], above)),
    }


def _batches(environment: Environment, means: Floats) -> dict[str, float]:
    """Mean size of the controller's batches on a network, and how many samples its 20 transmissions reach back."""
    flags = np.random.default_rng(0).random(environment.samples) < environment.offload_ratio
    sizes = follow(AdaptiveBatchSize(environment.timing, environment.offload_ratio, environment.alpha), flags, means)
    return {"batch_typical": sizes.mean(), "memory_samples": TRANSMISSIONS * sizes.mean()}


def deadline_numbers(deadlines: Mapping[str, InTime], miss_probability: float, settling: int) -> dict[str, float]:
    """Late answers, in per cent, on each network and around the change to a slow one; system times in ms.

    For `settling` samples after the change a controller is still finding its size.
    """
    means, late, system = deadlines["one slow quarter"]
    slow, end = 2 * (len(means) // 4), 3 * (len(means) // 4)
    settled = slow + settling
    worst = {policy: max(_late(found.late[policy]) for found in deadlines.values()) for policy in ("adaptive", RIVAL)}
    fixed, adaptive, rival = late[FIXED], late["adaptive"], late[RIVAL]
    return {
        "target": 100 * miss_probability,
        "settling": settling,
        "fixed_late_slow": _late(fixed[:, slow:end]),
        "fixed_late": _late(fixed),
        "adaptive_late_first": _late(adaptive[:, slow:settled]) if settled <= end else math.nan,
        "adaptive_late_settled": _late(adaptive[:, settled:end]),
        "adaptive_late": _late(adaptive),
        "steady_late": _late(deadlines["steady"].late["adaptive"]),
        "bursts_late": _late(deadlines["bursts"].late["adaptive"]),
        # The claim is about a target of five per cent.
        "late_most": worst["adaptive"] if miss_probability == 0.05 else math.nan,
        "adaptive_system": system["adaptive"],
        "fixed_system": system[FIXED],
        "rival_late": _late(rival),
        "rival_system": system[RIVAL],
        "rival_late_most": worst[RIVAL],
        "rival_late_first": _late(rival[:, slow:settled]) if settled <= end else math.nan,
    }


def _late(flags: NDArray[np.bool_]) -> float:
    """Share of late answers, in per cent; nan for none."""
    return 100 * float(flags.mean()) if flags.size else math.nan
