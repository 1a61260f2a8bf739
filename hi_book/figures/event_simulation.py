"""The second half of counting the times, by a clock: its figures, and the numbers its claims rest on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from hi_book.figures import style
from hi_book.figures.style import (
    DATASET_COLOURS,
    DECADES,
    PLAIN,
    band,
    batch_size_axis,
    plain_ticks,
    shared_legend,
    trace_title,
)
from hi_book.figures.values import most
from hi_lib.device.streaming import HILF
from hi_lib.events.queueing import lognormal_times, mean_error, pipeline, poisson_arrivals
from hi_lib.events.simulation import Learning, simulate
from hi_lib.paper import setting_of
from hi_lib.regret import vanilla_learning_rate
from hi_lib.timing import TimingModel
from hi_lib.traces import Trace, load_trace
from hi_lib.typing import Flags, Floats

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

FIRST_RATE, RATE_STEP = 10, 5  # arrivals a second at which a queue is asked for its mean response
OVERLOAD = 1.25  # times the largest rate that a device stands, where its backlog grows
PLAIN_FORMATS = dict.fromkeys(("simulated", "exact", "paper"), "{:.2f}") | {"s.e.": "{:.3f}", "off by s.e.": "{:+.1f}"}
BACKLOG_FORMATS = (
    dict.fromkeys(("limit (1/s)", "rate (1/s)"), "{:.1f}")
    | dict.fromkeys(("growth by theory", "found", "s.e."), "{:.3f}")
    | {"off by s.e.": "{:+.1f}"}
)
FEWEST_BATCHES = 100  # in which a backlog shows how it grows
ROUNDING = 1e-9  # of a time: the clock adds up rounding errors
MEASURED = ["rho", "dispersion", "response_ratio", "system_ratio", "system_paper"]


def queue(table: pd.DataFrame, capacity: Mapping[int, float], exact: pd.DataFrame) -> Figure:
    """Mean response against the arrival rate, a line a batch size; dotted verticals where the device cannot keep up.

    `table` has batch_size, rate (samples a second), mean, error (ms); `capacity` maps batch sizes to rates; `exact` has
    rate and mean for M = 1.
    """
    figure, axis = plt.subplots(figsize=(6.4, 3.6))
    colours = mpl.colormaps["viridis"](np.linspace(0, 0.85, len(capacity)))
    for (size, limit), colour in zip(capacity.items(), colours, strict=True):
        rows = table[table["batch_size"] == size]
        band(axis, rows["rate"], rows["mean"], rows["error"], color=colour, lw=1.4, label=f"M = {size}")
        axis.axvline(limit, color=colour, linestyle=":", lw=1)
    if len(exact):
        name = "Pollaczek–Khinchine, M = 1"
        axis.plot(exact["rate"], exact["mean"], "o", ms=4, mfc="none", mec="#D55E00", label=name)
    lowest, highest = np.log10([table["mean"].min(), table["mean"].max()])
    axis.set(xlabel="arrivals a second", ylabel="mean response (ms)", yscale="log")
    axis.set_ylim(10 ** np.floor(lowest), 10 ** np.ceil(highest))
    plain_ticks(axis.yaxis, DECADES)
    shared_legend(figure, 4)
    return figure


def overdispersion(table: pd.DataFrame) -> Figure:
    """Variance of m over that of independent offloads, and mean response over the exact model's, against M.

    `table` has columns order, batch_size, dispersion, response_ratio, and the latter two with `_sd`; its index tells
    the streams apart.
    """
    figure, axes = plt.subplots(1, 2, figsize=(7.4, 3.2))
    for _, rows in table.groupby(level=0, sort=False):
        order = rows["order"].iloc[0]
        colour = DATASET_COLOURS.get(order.split(",")[0], "#333333")
        line = "o-" if order.endswith("shuffled") else "s--"
        for axis, column in zip(axes, ("dispersion", "response_ratio"), strict=True):
            bars = rows[f"{column}_sd"]
            axis.errorbar(rows["batch_size"], rows[column], bars, fmt=line, ms=3.5, lw=1.4, color=colour, label=order)
    for axis, label in zip(axes, ("variance of m / Mρ(1 − ρ)", "mean response / exact model"), strict=True):
        axis.axhline(1, color="#333333", lw=0.9, ls=":")
        axis.set_ylabel(label)
        batch_size_axis(axis, table["batch_size"].unique())
    if (table["dispersion"] > 0).any():
        axes[0].set_yscale("log", base=2)
    axes[0].yaxis.set_major_formatter(PLAIN)
    shared_legend(figure, 3)
    return figure


@dataclass(frozen=True)
class Case:
    """Times, ρ of independent offloads, how many samples to simulate at M = 1, and the seed."""

    timing: TimingModel
    offload_ratio: float
    samples: int
    seed: int

    def offloads(self, key: int, n: int) -> Flags:
        """Which of n samples are offloaded, independently; another key gives other draws."""
        return np.random.default_rng([self.seed, key]).random(n) < self.offload_ratio

    def capacity(self, batch_size: int) -> float:
        """The largest rate of arrivals (1/s) that the device can stand."""
        return 1000 / float(self.timing.system_time(batch_size, self.offload_ratio, "independent"))

    def single_mean(self, rate: Any) -> Any:
        """Pollaczek and Khinchine's mean response (ms) of single samples, at `rate` arrivals a second."""
        timing, per_ms = self.timing, rate / 1000
        service = np.array([timing.tau_ed, timing.tau_ed + timing.tau_nw + timing.tau_tx + timing.tau_es])
        chance = np.array([1 - self.offload_ratio, self.offload_ratio])
        first_moment, second_moment = chance @ service, chance @ service**2
        return first_moment + per_ms * second_moment / (2 * (1 - per_ms * first_moment))

    def responses(self, batch_size: int, rate: float, number: int, n: int) -> Floats:
        """Response times (ms) of a run of n samples, at `rate` arrivals a second."""
        rng = np.random.default_rng([self.seed, batch_size, number])
        flags, there = rng.random(n) < self.offload_ratio, np.cumsum(rng.exponential(1000 / rate, n))
        return pipeline(self.timing, flags, batch_size, arrivals=there).response_time


def plain(case: Case, batch_sizes: Sequence[int]) -> pd.DataFrame:
    """Times a sample (ms), simulated, exact and by the paper, where a sample is always waiting."""
    rows = [row for number, size in enumerate(batch_sizes) for row in _plain_rows(case, size, number)]
    return pd.DataFrame(
        rows, columns=["quantity", "offloads", "M", "simulated", "s.e.", "exact", "off by s.e.", "paper"]
    )


def _plain_rows(case: Case, size: int, number: int) -> list[tuple[Any, ...]]:
    flags = case.offloads(number, max(case.samples * min(size, 8) // size, 1) * size)
    first = np.sort(flags.reshape(-1, size), axis=1)[:, ::-1].ravel()
    anywhere, worst = (simulate(case.timing, pattern, size) for pattern in (flags, first))
    # The order within a batch does not change the time that it takes.
    busy = np.repeat(np.diff(anywhere.ended, prepend=0) / size, size)
    return [
        ("system time", "–", *_compared(case, size, "exact", busy)),
        ("response time", "anywhere", *_compared(case, size, "average", anywhere.response_time)),
        ("response time", "first", *_compared(case, size, "worst", worst.response_time)),
    ]


def _compared(case: Case, size: int, model: str, found: Floats) -> tuple[float, ...]:
    """M, simulated mean and its standard error, exact mean, their distance, and the paper's mean, of t_s or t_r."""
    time = case.timing.system_time if model == "exact" else case.timing.response_time
    exact, paper = (float(time(size, case.offload_ratio, name)) for name in (model, "paper"))
    mean, error = found.mean(), _error(found, size)
    return size, mean, error, exact, off(mean, exact, error), paper


def off(mean: float, exact: float, error: float) -> float:
    """How many standard errors a mean is off; 0 where it is right to rounding, nan where no error is known."""
    if abs(mean - exact) <= ROUNDING * abs(exact):
        return 0.0
    return (mean - exact) / error if error > ROUNDING * abs(exact) else math.nan


def _error(found: Floats, size: int) -> float:
    """Standard error of the mean of samples in batches; nan of a single batch."""
    return mean_error(found, size) if found.size >= 2 * size else math.nan


def _spread(runs: Any) -> Any:
    """Standard deviation of runs, over the first axis; nan of a single one."""
    return np.std(runs, axis=0, ddof=1) if len(runs) > 1 else np.full(np.shape(runs)[1:], math.nan)


def varied(case: Case, size: int, variation: float, server_setup: float) -> pd.DataFrame:
    """Response times (ms), simulated and exact, with a network that varies and with a server's set-up (ms a batch)."""
    timing, n = case.timing, size * case.samples
    flags = case.offloads(99, n)
    network = lognormal_times(np.full(n, timing.tau_nw), variation, case.seed)
    many = lognormal_times(np.full(500, timing.tau_nw), variation, case.seed + 1)  # the same law, other draws
    slower = replace(timing, tau_nw=timing.tau_nw + server_setup)
    cases = {
        "constant": (simulate(timing, flags, size), timing, None),
        "random network": (simulate(timing, flags, size, network_times=network), timing, many),
        "server with set-up": (simulate(timing, flags, size, server_setup=server_setup), slower, None),
    }
    rows = []
    for name, (log, model, times) in cases.items():
        law, found = model.response_law(size, case.offload_ratio, network_times=times), log.response_time
        quantiles = [value for q in (0.95, 0.99) for value in (np.quantile(found, q), law.quantile(q))]
        exact = float(model.response_time(size, case.offload_ratio, "average"))
        rows.append((name, found.mean(), _error(found, size), exact, *quantiles))
    columns = ["case", "mean", "s.e.", "exact mean", "95 %", "95 %, computed", "99 %", "99 %, computed"]
    return pd.DataFrame(rows, columns=columns)


class Queues(NamedTuple):
    """What waits in a queue: batch sizes, arrivals a run, and runs.

    A backlog is watched over a quarter of these arrivals, in four times as many runs.
    """

    sizes: Sequence[int]
    arrivals: int
    runs: int

    @property
    def backlog_runs(self) -> int:
        """How many runs show how the backlog grows."""
        return 4 * self.runs


def queued(case: Case, asked: Queues) -> pd.DataFrame:
    """Mean response (ms) and its standard error over long runs, without their first fifth, up to near the capacity."""
    rows, n = [], asked.arrivals
    for size in asked.sizes:
        limit = case.capacity(size)
        for rate in [*np.arange(FIRST_RATE, 0.9 * limit, RATE_STEP), 0.92 * limit]:
            runs = [case.responses(size, rate, number, n)[n // 5 :].mean() for number in range(asked.runs)]
            rows.append((size, rate, np.mean(runs), float(_spread(runs)) / np.sqrt(asked.runs)))
    return pd.DataFrame(rows, columns=["batch_size", "rate", "mean", "error"])


def single_samples(case: Case, table: pd.DataFrame) -> pd.DataFrame:
    """The formula's mean response (ms) at the rates of `queued` for M = 1."""
    rates = table[table["batch_size"] == 1]["rate"]
    return pd.DataFrame({"rate": rates, "mean": case.single_mean(rates)})


def backlog(case: Case, asked: Queues) -> pd.DataFrame:
    """Growth of the backlog (ms a sample), at a rate above the capacity."""
    rows, count = [], asked.backlog_runs
    for size in asked.sizes:
        batches, limit, rate = max(asked.arrivals // 4 // size, 1), case.capacity(size), OVERLOAD * case.capacity(size)
        runs = [case.responses(size, rate, 100 + run, batches * size) for run in range(count)]
        growth = [response[-size] / response.size for response in runs]
        error, theory = float(_spread(growth)) / np.sqrt(count), 1000 / limit - 1000 / rate
        distance = off(float(np.mean(growth)), theory, error if batches >= FEWEST_BATCHES else math.nan)
        rows.append((size, limit, rate, theory, np.mean(growth), error, distance))
    columns = ["M", "limit (1/s)", "rate (1/s)", "growth by theory", "found", "s.e.", "off by s.e."]
    return pd.DataFrame(rows, columns=columns)


def plain_table(table: pd.DataFrame) -> Styler:
    """`plain` to show."""
    shown = style.table("plain", table).hide().format(PLAIN_FORMATS, na_rep="–")
    return shown.set_caption("Times a sample (ms), Imagenette, no S-ML is run")


def varied_table(table: pd.DataFrame, size: int) -> Styler:
    """`varied` at this M to show."""
    shown = style.table("varied", table).hide().format(precision=1).format("{:.2f}", subset=["s.e."], na_rep="–")
    return shown.set_caption(f"Response time over all samples (ms), M = {size}: simulated, and by the exact model")


def backlog_table(table: pd.DataFrame, asked: Queues) -> Styler:
    """`backlog` to show."""
    shown = style.table("backlog", table).hide().format(BACKLOG_FORMATS, na_rep="–")
    rate = "Growth of the backlog (ms a sample) at a rate a quarter above the limit"
    return shown.set_caption(f"{rate}; standard errors over {asked.backlog_runs} runs")


@dataclass(frozen=True)
class Stream:
    """A trace, shuffled or as the archive has it, the cost β of an offload, and how many samples of it at most."""

    trace: Trace
    beta: float
    longest: int
    shuffled: bool = True

    @property
    def title(self) -> str:
        """What is decided, for a figure."""
        title = trace_title(str(self.trace.name))
        return f"{title}, shuffled" if self.shuffled else f"{title.split(',')[0]}, archive order"

    @property
    def timing(self) -> TimingModel:
        """The paper's times for the data set of the trace."""
        return setting_of(self.trace.name).timing

    def samples(self, seed: int) -> Trace:
        """The samples in their order."""
        trace = self.trace.shuffled(seed) if self.shuffled else self.trace
        return Trace(trace.confidence[: self.longest], trace.correct[: self.longest])


def streams(
    imagenette: str, imagenette_beta: float, cifar10: str, cifar10_beta: float, longest: int
) -> dict[str, Stream]:
    """The streams of the figure, by the names of their numbers: of two traces with their β."""
    first, second = load_trace(imagenette), load_trace(cifar10)
    return {
        "imagenette": Stream(first, imagenette_beta, longest),
        "cifar": Stream(second, cifar10_beta, longest),
        "archive": Stream(first, imagenette_beta, longest, shuffled=False),
    }


def real(found: Mapping[str, Stream], sizes: Sequence[int], shuffles: int) -> pd.DataFrame:
    """Mean and standard deviation of `learning` over so many runs, a row for each stream, whose name is its index."""
    rows = {}
    for name, stream in found.items():
        for size in sizes:
            runs = np.array([learning(stream, size, number) for number in range(shuffles)])
            rows[name, size] = (stream.title, size, *runs.mean(axis=0), *_spread(runs))
    columns = ["order", "batch_size", *MEASURED, *(f"{name}_sd" for name in MEASURED)]
    return pd.DataFrame(list(rows.values()), columns=columns, index=[name for name, _ in rows])


def learning(stream: Stream, size: int, number: int) -> tuple[float, ...]:
    """HIL-F inside the simulation: ρ; variance of m and both times over the exact model's, t_s over the paper's.

    The variance is nan where fewer than two batches are full, or nothing is left to chance.
    """
    trace, timing = stream.samples(number), stream.timing
    policy = Learning(HILF(stream.beta, vanilla_learning_rate(trace), seed=number), trace)
    log = simulate(timing, policy, size, samples=len(trace))
    rho, m = log.offloaded.mean(), log.offloads[log.sizes == size]
    dispersion = m.var() / (size * rho * (1 - rho)) if m.size > 1 and 0 < rho < 1 else math.nan
    response = log.response_time.mean() / float(timing.response_time(size, rho, "average"))
    systems = [log.system_time / timing.system_time(size, rho, model) for model in ("independent", "paper")]
    return rho, dispersion, response, *systems


def numbers(
    case: Case, asked: Queues, tables: Mapping[str, pd.DataFrame], found: Mapping[str, Stream]
) -> dict[str, Any]:
    """What the claims and the text rest on; `tables` holds those of this page: plain, varied, queue, backlog, real."""
    single, largest = tables["queue"][tables["queue"]["batch_size"] == 1], max(asked.sizes)
    means = zip(single["mean"], case.single_mean(single["rate"]), single["error"], strict=True)
    agreement = {
        **_plain_numbers(tables["plain"]),
        **_varied_numbers(tables["varied"]),
        "queue_deviation": most(abs(off(*row)) for row in means),
        "backlog_deviation": most(tables["backlog"]["off by s.e."].abs()),
    }
    return {
        **agreement,
        "deviation_most": most(value for name, value in agreement.items() if name.endswith("_deviation")),
        "capacity_one": case.capacity(1),
        "largest_queue": largest,
        "capacity_largest": case.capacity(largest),
        "recursion_error": recursion_error(case),
        "imagenette_name": found["imagenette"].title.removesuffix(", shuffled"),
        "cifar_name": found["cifar"].title.split(",")[0],
        **_real_numbers(tables["real"]),
    }


def _plain_numbers(table: pd.DataFrame) -> dict[str, float]:
    """Largest distance from the exact means (s.e.), of how many, and of the paper's system time (ms)."""
    systems = table[table["quantity"] == "system time"]
    return {
        "plain_deviation": most(table["off by s.e."].abs()),
        "plain_means": len(table),
        "paper_off_system": most(systems["paper"] - systems["simulated"]),
    }


def _varied_numbers(table: pd.DataFrame) -> dict[str, float]:
    """Largest distance of the means from the exact ones (s.e.), and of the quantiles (relative)."""
    means = zip(table["mean"], table["exact mean"], table["s.e."], strict=True)
    return {
        "varied_deviation": most(abs(off(*row)) for row in means),
        "quantile_error": max((table[q] / table[f"{q}, computed"] - 1).abs().max() for q in ("95 %", "99 %")),
    }


def recursion_error(case: Case) -> float:
    """Largest difference of a response time (ms) by the recursion from that of the simulation."""
    flags, there = case.offloads(7, 3000), poisson_arrivals(3000, 0.05, case.seed)
    simulated = simulate(case.timing, flags, 4, arrivals=there).response_time
    return float(np.abs(simulated - pipeline(case.timing, flags, 4, arrivals=there).response_time).max())


def _real_numbers(table: pd.DataFrame) -> dict[str, float]:
    """How far a real learner is from the exact model and from the paper, per cent, at most."""
    above = table["response_ratio"] - 1
    return {
        "dispersion_max": most(table["dispersion"]),
        **{f"{name}_off": 100 * most(above[table.index == name]) for name in ("imagenette", "cifar", "archive")},
        "off_most": 100 * most(above),
        "cifar_ratio": 100 * table["rho"][table.index == "cifar"].mean(),
        "paper_system_off": 100 * most(1 - table["system_paper"]),
        "system_off": 100 * most(1 - table["system_ratio"]),
        "system_ratio_max": most(table["system_ratio"]),
    }
