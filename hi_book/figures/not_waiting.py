"""What if the device does not wait: its figures, and the numbers its claims rest on."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from hi_book.figures import streams
from hi_book.figures.style import (
    band,
    batch_size_axis,
    name_beside,
    plain_ticks,
    shared_legend,
)
from hi_book.figures.style import table as table_of
from hi_book.figures.values import at, log_slope, most, ordered, standard_error
from hi_lib import checks
from hi_lib.events.queueing import Pipeline, pipeline, poisson_arrivals
from hi_lib.learners import Run, replay
from hi_lib.regret import equivalent_batch_size, lambda_min, regret_bound, vanilla_learning_rate
from hi_lib.run_times import drawn
from hi_lib.studies.made_up import coin_regret
from hi_lib.timing import TimingModel
from hi_lib.traces import Trace
from hi_lib.typing import Flags, Floats

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

KEYS = ("imagenette", "cifar")
WAITS = "waits"
FEW = 4  # transmissions that may be out at once, of the answer
LABELLED = (1, 4, 8, 16, 32, 64)  # batch sizes named in the figure
FRONTIER_SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)  # batch sizes among which the best one is sought
_WINDOWED = "#0072B2"
# Ways to run the device that the figure shows, by their window.
_DRAWN: dict[float | None, tuple[str, str]] = {
    None: ("#777777", "waits"),
    FEW: (_WINDOWED, f"W = {FEW}"),
    math.inf: ("#E69F00", "no limit"),
}
FORMATS = {"t_s (ms)": "{:.2f}", "t_r (ms)": "{:.2f}", "outstanding": "{:.1f}", "regret": "{:.1f}", "bound": "{:.0f}"}


class Stream(streams.Stream):
    """Samples in several random orders, on which HIL-F is run with one rate."""

    @property
    def rate(self) -> float:
        """η tuned for single samples, kept throughout; where there is nothing to learn, any does."""
        return vanilla_learning_rate(self.orders[0])

    def replayed(self, order: Trace, size: int, delay: Any = 0) -> Run:
        """HIL-F on one order, with that rate."""
        return replay(order, self.beta, size, learning_rate=self.rate, delay=delay)


def windowed(case: Stream, number: int, size: int, window: float) -> tuple[Pipeline, Run]:
    """Times of a life in a window, and the expected regret with the delays that came about.

    What is offloaded decides the delays, and they what is learned: the second replay knows the delays of the first's
    life, and the times are those of what it offloads.
    """
    order = case.orders[number]
    first = pipeline(case.timing, drawn(case.replayed(order, size), np.random.default_rng(number)), size, window=window)
    run = case.replayed(order, size, first.delay)
    return pipeline(case.timing, drawn(run, np.random.default_rng(number)), size, window=window), run


TIMES = ["t_s (ms)", "t_r (ms)"]
MEASURED = [*TIMES, "outstanding", "regret", "bound"]


def lives(case: Stream, sizes: Sequence[int], windows: Sequence[Sequence[float]]) -> pd.DataFrame:
    """A row for each way to run the device and each order: times (ms), samples outstanding, regret and its bound.

    Raises
    ------
    ValueError
        A window that is no pair of W and M.
    """
    rows = []
    for number, order in enumerate(case.orders):
        for size in ordered(sizes):
            run = case.replayed(order, size)
            times = case.timing.of_run(run)
            late = equivalent_batch_size(len(order), size)
            rows.append(
                (WAITS, size, number, times.system_time, times.response_time, late, run.regret, run.regret_bound)
            )
        for window, size in _pairs("windows", windows):
            life, run = windowed(case, number, size, window)
            late = equivalent_batch_size(len(order), size, life.delay)
            found = life.system_time, float(life.response_time.mean())
            rows.append((_name(window), size, number, *found, late, run.regret, run.regret_bound))
    table = pd.DataFrame(rows, columns=["device", "M", "order", *MEASURED])
    return table.assign(outstanding=(table["outstanding"] - 1) / 2)


def _pairs(where: str, values: Sequence[Sequence[float]]) -> list[tuple[float, int]]:
    """W and M of each way to run the device, each once."""
    for pair in values:
        if len(pair) != 2:
            raise ValueError(f"{where} must hold pairs of W and M, got {checks.shown(pair)}")
    return list(dict.fromkeys((window, int(size)) for window, size in values))


def means(table: pd.DataFrame) -> pd.DataFrame:
    """Means over the orders, a row for each way to run the device."""
    return table.groupby(["device", "M"], sort=False)[MEASURED].mean().reset_index()


def _name(window: float | None) -> str:
    if window is None:
        return WAITS
    return "no limit" if window == math.inf else f"window {window:g}"


def draw_fronts(found: Sequence[tuple[Stream, pd.DataFrame]]) -> Figure:
    """Response time against system time, a panel a stream: the waiting device over M, and windows beside it."""
    figure, axes = plt.subplots(1, len(found), figsize=(7.6, 3.6))
    for axis, (case, rows) in zip(axes, found, strict=True):
        title, table = case.title, means(rows)
        waiting, others = table[table["device"] == WAITS], table[table["device"] != WAITS]
        axis.plot(waiting["t_s (ms)"], waiting["t_r (ms)"], "o-", ms=3, color="#777777")
        for _, row in waiting[waiting["M"].isin(LABELLED)].iterrows():
            name_beside(axis, f"M = {row['M']}", (row["t_s (ms)"], row["t_r (ms)"]), "#555555", xytext=(4, 5))
        single = others[others["M"] == 1]
        axis.plot(single["t_s (ms)"], single["t_r (ms)"], color=_WINDOWED, lw=0.8)
        for _, row in others.iterrows():
            point = (row["t_s (ms)"], row["t_r (ms)"])
            axis.plot(*point, "s" if row["M"] == 1 else "D", ms=4.5, color=_WINDOWED)
            text = row["device"].replace("window", "W =") + ("" if row["M"] == 1 else f", M = {row['M']}")
            # The four windows lie close together: outwards, each in its own direction.
            right = row["M"] == 1 and row["device"] in ("window 2", "window 3")
            up = row["device"] in ("window 2", "window 8")
            place = {"xytext": (5 if right else -5, 7 if up else -7), "ha": "left" if right else "right"}
            name_beside(axis, text, point, _WINDOWED, **place)
        axis.set(title=title, xlabel="system time $t_s$ (ms a sample)", ylabel="response time $t_r$ (ms)", yscale="log")
        low = others["t_s (ms)"].min()
        axis.set_xlim(low - 0.28 * (table["t_s (ms)"].max() - low), None)
        ticks = [tick for tick in (1, 2, 3, 5, 10, 20, 50, 100, 200) if 0.7 * table["t_r (ms)"].min() < tick]
        plain_ticks(axis.yaxis, ticks)
    return figure


def front_table(case: Stream, found: pd.DataFrame) -> Styler:
    """The means of one stream."""
    shown = table_of("front", means(found)).hide().format(FORMATS)
    return shown.set_caption(f"{case.title}: times, samples without feedback, regret, bound (T14)")


@dataclass(frozen=True)
class Frontier:
    """Where batches pay: the device's times, ρ, α, and what is varied."""

    timing: TimingModel
    offload_ratio: float
    alpha: float
    overheads: Sequence[float]
    windows: Sequence[float | None]
    sizes: Sequence[int] = FRONTIER_SIZES
    samples: int = 20_000

    def __post_init__(self) -> None:
        checks.real("offload_ratio", self.offload_ratio, 0, 1)
        checks.real("alpha", self.alpha, 0, 1)

    def best(self, server_setup: float) -> Floats:
        """The M of least f for each window (rows) and overhead (columns, ms a transmission)."""
        flags = np.random.default_rng(0).random(self.samples) < self.offload_ratio
        return np.array(
            [
                [
                    min(self.sizes, key=lambda size: self._objective(flags, size, window, overhead, server_setup))
                    for overhead in self.overheads
                ]
                for window in self.windows
            ]
        )

    def _objective(self, flags: Flags, size: int, window: float | None, overhead: float, setup: float) -> float:
        found = pipeline(self.timing, flags, size, window=window, overhead=overhead, server_setup=setup)
        return self.alpha * found.system_time + (1 - self.alpha) * float(found.response_time.mean())


@dataclass(frozen=True)
class Frontiers:
    """The best M of a frontier for each window (rows) and overhead (columns), by what a transmission costs a server."""

    case: Frontier
    maps: Mapping[str, Floats]

    @property
    def plain(self) -> Floats:
        """With a server that needs nothing for a transmission."""
        return next(iter(self.maps.values()))

    @property
    def batches_from(self) -> float:
        """The least overhead at which batches pay with W = 4 (ms); nan where single samples are best at none below."""
        if FEW not in self.case.windows:
            return math.nan
        pays = list(self.plain[self.case.windows.index(FEW)] > 1)
        first = pays.index(True) if True in pays else 0
        return float(self.case.overheads[first]) if first else math.nan


def draw_frontier(found: Frontiers) -> Figure:
    """The best batch size against the overhead, a panel a server, a line a way to run the device."""
    case = found.case
    figure, axes = plt.subplots(1, len(found.maps), figsize=(7.6, 3.2), sharey=True)
    chosen = [window for window in _DRAWN if window in case.windows]
    for axis, (title, best) in zip(axes, found.maps.items(), strict=True):
        for beside, window in enumerate(chosen):
            colour, label = _DRAWN[window]
            # Lines lie on one another: a little apart, each can be seen.
            heights = best[case.windows.index(window)] * 1.04 ** (beside - 1)
            line = ":" if window == math.inf else "-"
            axis.plot(case.overheads, heights, "o", ls=line, ms=4, color=colour, label=label)
        axis.set(title=title, xlabel="overhead a transmission (ms)", yscale="log")
        axis.yaxis.set_tick_params(labelleft=True)
        plain_ticks(axis.yaxis, case.sizes)
    axes[0].set_ylabel("best batch size")
    shared_legend(figure, len(chosen))
    return figure


def frontier(case: Frontier, server_setup: float) -> Frontiers:
    """The best M where the device waits, with the windows of `case` and with no limit, on two servers.

    One needs nothing for a transmission, the other `server_setup` (ms).
    """
    windows = [None, *ordered(case.windows), math.inf]
    case = replace(case, overheads=ordered(case.overheads), windows=windows)
    servers = {"a server that needs nothing for": 0.0, f"a server that needs {server_setup:g} ms for": server_setup}
    return Frontiers(case, {f"{title} a transmission": case.best(setup) for title, setup in servers.items()})


def lateness(case: Stream, delays: Sequence[int]) -> pd.DataFrame:
    """Regret with feedback d samples late and with batches of 1 + 2d: on the stream, and on coins in blocks."""
    rows = []
    n = len(case.orders[0])
    for delay in ordered(delays):
        equivalent = 1 + 2 * delay
        for kind, size, late in (("delay", 1, delay), ("batch", equivalent, 0)):
            regrets = np.array([case.replayed(order, size, late).regret for order in case.orders])
            block = late + 1 if kind == "delay" else size
            coins = block * coin_regret(max(n // block, 1), case.beta)
            bound = regret_bound(n, equivalent_batch_size(n, size, late), lambda_min(case.orders[0]), case.rate)
            error, coins_bound = standard_error(regrets), regret_bound(n, equivalent, 0.5)
            rows.append((kind, equivalent, regrets.mean(), error, coins, bound, coins_bound))
    columns = ["feedback", "batch_size", "regret", "error", "coins", "bound", "coins_bound"]
    return pd.DataFrame(rows, columns=columns)


def draw_lateness(table: pd.DataFrame) -> Figure:
    """Regret against M and against 1 + 2d: left on data in random order, right where nothing can be learned in time."""
    figure, axes = plt.subplots(1, 2, figsize=(7.6, 3.2))
    for kind, colour, label in (
        ("batch", "#777777", "batches of M, at M"),
        ("delay", "#0072B2", "feedback d samples late, at 1 + 2d"),
    ):
        rows = table[table["feedback"] == kind]
        band(axes[0], rows["batch_size"], rows["regret"], rows["error"], color=colour, marker="o", ms=3, label=label)
        axes[1].plot(rows["batch_size"], rows["coins"], "o-", ms=3, color=colour)
    bound = table[table["feedback"] == "batch"]
    axes[1].plot(bound["batch_size"], bound["coins_bound"], color="#333333", linestyle=":", label="the bound, tuned")
    for axis, title in zip(axes, ("shuffled trace, one rate", "coins in blocks"), strict=True):
        batch_size_axis(axis, [2**k for k in range(9)])
        axis.set(title=title, xlabel="batch size M, or 1 + 2d", ylim=(0, None))
    axes[0].set_ylabel("regret (wrong answers)")
    shared_legend(figure, 3)
    return figure


def arriving(case: Stream, rates: Sequence[float], samples: int, ways: Sequence[Sequence[int]]) -> pd.DataFrame:
    """Mean and quantiles of the response time (ms) for Poisson arrivals, a row a way and rate (1/s); nan: no way.

    `ways` holds pairs of W, 0 for a device that waits, and M; one without a limit and with single samples comes last.
    """
    devices = [(window or None, size) for window, size in _pairs("arrival_ways", ways)]
    ratio = float(np.mean([case.replayed(order, 1).offload_ratio for order in case.orders]))
    flags = np.random.default_rng(1).random(samples) < ratio
    rows = []
    for rate in rates:
        arrivals = poisson_arrivals(samples, rate / 1000, seed=2)
        for window, size in [*devices, (math.inf, 1)]:
            found = pipeline(case.timing, flags, size, arrivals=arrivals, window=window).response_time
            keeps_up = 1000 / rate > pipeline(case.timing, flags, size, window=window).system_time
            values = [found.mean(), *np.quantile(found, [0.5, 0.95, 0.99])] if keeps_up else [math.nan] * 4
            rows.append((f"{rate:g} a second", f"{_name(window)}, M = {size}", *values))
    return pd.DataFrame(rows, columns=["arrivals", "device", "mean", "p50", "p95", "p99"])


def arriving_table(case: Stream, table: pd.DataFrame) -> Styler:
    """The response times, a dash where the device cannot keep up."""
    shown = table_of("arriving", table).hide()
    shown = shown.format("{:.0f}", subset=["mean", "p50", "p95", "p99"], na_rep="–")
    return shown.set_caption(f"Response times (ms) with the offload ratio of HIL-F: {case.title}")


def beaten_from(table: pd.DataFrame, device: str) -> float:
    """The least M from which on a waiting device is slower in both times than `device` with single samples.

    Slower means by three standard errors of the difference over the same orders. 0 if the largest M is not; nan where
    these sizes do not tell: if still larger ones may be slower, or if the next smaller one is below half of it.
    """
    rows = table.pivot(index="order", columns=["device", "M"], values=TIMES)
    sizes = ordered(table.loc[table["device"] == WAITS, "M"])
    if (TIMES[0], device, 1) not in rows or len(rows) < 2:
        return math.nan
    slower = {size: [_clearly(rows[time, WAITS, size] - rows[time, device, 1]) for time in TIMES] for size in sizes}
    behind = list(itertools.takewhile(lambda size: all(slower[size]), reversed(sizes)))
    if not behind:
        return math.nan if slower[sizes[-1]][0] else 0  # larger batches need less time a sample, and answer later
    below = max((size for size in sizes if size < behind[-1]), default=0.5)
    return int(behind[-1]) if behind[-1] <= 2 * below else math.nan


def _clearly(more: pd.Series) -> bool:
    """Whether a mean is positive by three standard errors."""
    return bool(more.mean() > 3 * more.sem())


def _beaten(least: float) -> str | float:
    """What `beaten_from` says, in words."""
    if math.isnan(least):
        return math.nan
    return f"slower in both with every batch of {least} or more" if least else "not slower in both with large batches"


def numbers(
    found: Sequence[tuple[Stream, pd.DataFrame]], late: pd.DataFrame, best: Frontiers, coins_from: int
) -> dict[str, Any]:
    """What the claims and the text rest on; `found` are the lives of the Imagenette stream and of the CIFAR-10 one.

    The growth of the regret on coins is that from `coins_from` samples, M or 1 + 2d, on.
    """
    fronts = [means(table).set_index(["device", "M"]).sort_index().T for _, table in found]
    four, four_cifar = (at(front, (_name(FEW), 1)) for front in fronts)
    one, three, both = (at(fronts[0], way) for way in ((WAITS, 1), (_name(3), 1), (_name(2), 4)))
    delay = late[late["feedback"] == "delay"].set_index("batch_size")
    windows = pd.concat([front.drop(columns=WAITS, level="device").T for front in fronts])
    system, response = TIMES
    beaten = [beaten_from(table, _name(FEW)) for _, table in found]
    late_coins = delay["coins"][delay.index >= coins_from]
    return {
        "four_system": at(four, system),
        "three_system": at(three, system),
        "both_system": at(both, system),
        "both_later": at(both, response) - at(three, response),
        "four_response": at(four, response),
        "four_cifar_system": at(four_cifar, system),
        "four_cifar_response": at(four_cifar, response),
        "waiting_system": fronts[0][WAITS].loc[system].min(),
        "one_system": at(one, system),
        "beaten_imagenette": beaten[0],
        "beaten_cifar": beaten[1],
        "beaten_imagenette_says": _beaten(beaten[0]),
        "beaten_cifar_says": _beaten(beaten[1]),
        "windows_over_bound": most(windows["regret"] / windows["bound"]),
        "late_over_bound": most(delay["regret"] / delay["bound"]),
        "four_outstanding": at(four, "outstanding"),
        "four_regret_more": at(four, "regret") - at(one, "regret"),
        "largest_delay": int(delay.index.max() - 1) // 2,
        "late_regret_more": delay["regret"].iloc[-1] - at(delay["regret"], 1),
        "coins_exponent": log_slope(late_coins.index, late_coins),
        "waiting_batch": int(best.plain[0].max()),
        "batches_from": best.batches_from,
        "alpha": best.case.alpha,
        **{f"{key}_data": case.title.split(", ")[0] for key, (case, _) in zip(KEYS, found, strict=True)},
    }
