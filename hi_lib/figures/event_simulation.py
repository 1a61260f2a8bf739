"""Event by event: its figures, and the numbers its claims rest on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from hi_lib.device.streaming import HILF
from hi_lib.events.queueing import lognormal_times, mean_error, pipeline, poisson_arrivals
from hi_lib.events.simulation import Learning, simulate
from hi_lib.figures.style import DATASET_COLOURS, PLAIN, band, batch_size_axis, plain_ticks, shared_legend, trace_title
from hi_lib.paper import CIFAR10, IMAGENETTE, Setting
from hi_lib.regret import vanilla_learning_rate
from hi_lib.timing import TimingModel
from hi_lib.traces import Trace
from hi_lib.typing import Flags, Floats

PLAIN_FORMATS = dict.fromkeys(("simulated", "exact", "paper"), "{:.2f}") | {"s.e.": "{:.3f}", "off by s.e.": "{:+.1f}"}
BACKLOG_FORMATS = (
    dict.fromkeys(("limit (1/s)", "rate (1/s)"), "{:.1f}")
    | dict.fromkeys(("growth by theory", "found", "s.e."), "{:.3f}")
    | {"off by s.e.": "{:+.1f}"}
)
CAPACITY_SIZES = (1, 2, 4, 8, 16)
RUNS, BACKLOG_RUNS = 8, 32
SHORTEST = 3925  # samples of Imagenette: all traces are cut to them
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
    axis.plot(exact["rate"], exact["mean"], "o", ms=4, mfc="none", mec="#D55E00", label="Pollaczek–Khinchine, M = 1")
    axis.set(yscale="log", xlabel="arrivals a second", ylabel="mean response (ms)", ylim=(10, 1000))
    plain_ticks(axis.yaxis, [10, 20, 50, 100, 200, 500, 1000])
    shared_legend(figure, 4)
    return figure


def overdispersion(table: pd.DataFrame) -> Figure:
    """Variance of m over that of independent offloads, and mean response over the exact model's, against M.

    `table` has columns order, batch_size, dispersion, response_ratio, and the latter two with `_sd`.
    """
    figure, axes = plt.subplots(1, 2, figsize=(7.4, 3.2))
    for order, rows in table.groupby("order", sort=False):
        colour = DATASET_COLOURS.get(order.split(",")[0], "#333333")
        line = "o-" if order.endswith("shuffled") else "s--"
        for axis, column in zip(axes, ("dispersion", "response_ratio"), strict=True):
            bars = rows[f"{column}_sd"]
            axis.errorbar(rows["batch_size"], rows[column], bars, fmt=line, ms=3.5, lw=1.4, color=colour, label=order)
    for axis, label in zip(axes, ("variance of m / Mρ(1 − ρ)", "mean response / exact model"), strict=True):
        axis.axhline(1, color="#333333", lw=0.9, ls=":")
        axis.set_ylabel(label)
        batch_size_axis(axis, table["batch_size"].unique())
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
    flags = case.offloads(number, case.samples * min(size, 8) // size * size)
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
    mean, error = found.mean(), mean_error(found, size)
    return size, mean, error, exact, (mean - exact) / error, paper


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
        rows.append((name, found.mean(), mean_error(found, size), exact, *quantiles))
    columns = ["case", "mean", "s.e.", "exact mean", "95 %", "95 %, computed", "99 %", "99 %, computed"]
    return pd.DataFrame(rows, columns=columns)


def queued(case: Case, arrivals: int) -> pd.DataFrame:
    """Mean response (ms) and its standard error over long runs, without their first fifth, up to near the capacity."""
    rows = []
    for size in CAPACITY_SIZES:
        limit = case.capacity(size)
        for rate in [*np.arange(10, 0.9 * limit, 5), 0.92 * limit]:
            runs = [case.responses(size, rate, number, arrivals)[arrivals // 5 :].mean() for number in range(RUNS)]
            rows.append((size, rate, np.mean(runs), np.std(runs, ddof=1) / np.sqrt(RUNS)))
    return pd.DataFrame(rows, columns=["batch_size", "rate", "mean", "error"])


def single_samples(case: Case, table: pd.DataFrame) -> pd.DataFrame:
    """The formula's mean response (ms) at the rates of `queued` for M = 1."""
    rates = table[table["batch_size"] == 1]["rate"]
    return pd.DataFrame({"rate": rates, "mean": case.single_mean(rates)})


def backlog(case: Case, samples: int) -> pd.DataFrame:
    """Growth of the backlog (ms a sample) over so many samples, at a rate a quarter above the capacity."""
    rows = []
    for size in CAPACITY_SIZES:
        limit, rate = case.capacity(size), 1.25 * case.capacity(size)
        growth = [case.responses(size, rate, 100 + run, samples)[-size] / samples for run in range(BACKLOG_RUNS)]
        error, theory = np.std(growth, ddof=1) / np.sqrt(BACKLOG_RUNS), 1000 / limit - 1000 / rate
        rows.append((size, limit, rate, theory, np.mean(growth), error, (np.mean(growth) - theory) / error))
    columns = ["M", "limit (1/s)", "rate (1/s)", "growth by theory", "found", "s.e.", "off by s.e."]
    return pd.DataFrame(rows, columns=columns)


@dataclass(frozen=True)
class Stream:
    """A trace, shuffled or as the archive has it, the cost β of an offload, and the setting whose times count."""

    trace: Trace
    beta: float
    setting: Setting
    shuffled: bool = True

    def samples(self, seed: int) -> Trace:
        """The samples in their order, no more than the smallest data set has."""
        trace = self.trace.shuffled(seed) if self.shuffled else self.trace
        return Trace(trace.confidence[:SHORTEST], trace.correct[:SHORTEST])


def streams(imagenette: tuple[Trace, float], cifar10: tuple[Trace, float]) -> dict[str, Stream]:
    """The streams of the figure by title; each trace comes with its β."""
    titles = [trace_title(str(trace.name)) for trace, _ in (imagenette, cifar10)]
    return {
        f"{titles[0]}, shuffled": Stream(*imagenette, IMAGENETTE),
        f"{titles[1]}, shuffled": Stream(*cifar10, CIFAR10),
        f"{titles[0].split(',')[0]}, archive order": Stream(*imagenette, IMAGENETTE, shuffled=False),
    }


def real(found: Mapping[str, Stream], shuffles: int) -> pd.DataFrame:
    """Mean and standard deviation of `learning` over so many runs, a row for each stream and M."""
    rows = []
    for name, stream in found.items():
        for size in (4, 16, 64):
            runs = np.array([learning(stream, size, number) for number in range(shuffles)])
            rows.append((name, size, *runs.mean(axis=0), *runs.std(axis=0, ddof=1)))
    return pd.DataFrame(rows, columns=["order", "batch_size", *MEASURED, *(f"{name}_sd" for name in MEASURED)])


def learning(stream: Stream, size: int, number: int) -> tuple[float, ...]:
    """HIL-F inside the simulation: ρ; variance of m and both times over the exact model's, t_s over the paper's."""
    trace, timing = stream.samples(number), stream.setting.timing
    policy = Learning(HILF(stream.beta, vanilla_learning_rate(trace), seed=number), trace)
    log = simulate(timing, policy, size, samples=len(trace))
    rho, m = log.offloaded.mean(), log.offloads[log.sizes == size]
    dispersion = m.var() / (size * rho * (1 - rho))
    response = log.response_time.mean() / float(timing.response_time(size, rho, "average"))
    systems = [log.system_time / timing.system_time(size, rho, model) for model in ("independent", "paper")]
    return rho, dispersion, response, *systems


def numbers(case: Case, tables: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    """What the claims and the text rest on; `tables` holds those of this page: plain, varied, queue, backlog, real."""
    single = tables["queue"][tables["queue"]["batch_size"] == 1]
    distance = (single["mean"] - case.single_mean(single["rate"])) / single["error"]
    found = {
        **_plain_numbers(tables["plain"]),
        **_varied_numbers(tables["varied"]),
        "queue_deviation": float(distance.abs().max()),
        "backlog_deviation": tables["backlog"]["off by s.e."].abs().max(),
    }
    return {
        **found,
        "deviation_most": max(value for name, value in found.items() if name.endswith("_deviation")),
        "capacity_one": case.capacity(1),
        "capacity_sixteen": case.capacity(16),
        "recursion_error": recursion_error(case),
        **_real_numbers(tables["real"]),
    }


def _plain_numbers(table: pd.DataFrame) -> dict[str, float]:
    """Largest distance from the exact means (s.e.), of how many, and of the paper's system time (ms)."""
    systems = table[table["quantity"] == "system time"]
    return {
        "plain_deviation": table["off by s.e."].abs().max(),
        "plain_means": len(table),
        "paper_off_system": (systems["paper"] - systems["simulated"]).max(),
    }


def _varied_numbers(table: pd.DataFrame) -> dict[str, float]:
    """Largest distance of the means from the exact ones (s.e.), and of the quantiles (relative)."""
    return {
        "varied_deviation": ((table["mean"] - table["exact mean"]) / table["s.e."]).abs().max(),
        "quantile_error": max((table[q] / table[f"{q}, computed"] - 1).abs().max() for q in ("95 %", "99 %")),
    }


def recursion_error(case: Case) -> float:
    """Largest difference of a response time (ms) by the recursion from that of the simulation."""
    flags, there = case.offloads(7, 3000), poisson_arrivals(3000, 0.05, case.seed)
    simulated = simulate(case.timing, flags, 4, arrivals=there).response_time
    return float(np.abs(simulated - pipeline(case.timing, flags, 4, arrivals=there).response_time).max())


def _real_numbers(table: pd.DataFrame) -> dict[str, float]:
    """How far a real learner is from the exact model and from the paper, per cent, at most."""
    shuffled, cifar = table["order"].str.endswith("shuffled"), table["order"].str.startswith("CIFAR")
    off = table["response_ratio"] - 1
    return {
        "dispersion_max": table["dispersion"].max(),
        "imagenette_off": 100 * off[shuffled & ~cifar].max(),
        "cifar_off": 100 * off[shuffled & cifar].max(),
        "archive_off": 100 * off[~shuffled].max(),
        "cifar_ratio": 100 * table["rho"][cifar].mean(),
        "paper_system_off": 100 * (1 - table["system_paper"]).max(),
        "system_off": 100 * (1 - table["system_ratio"]).max(),
        "system_ratio_max": table["system_ratio"].max(),
    }
