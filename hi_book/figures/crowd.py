"""A crowd on one server: its figures, and the numbers its claims rest on."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from hi_book.figures.style import DASHED, name_beside, plain_ticks, shared_legend
from hi_book.figures.style import table as table_of
from hi_book.figures.values import at, least, most, ordered
from hi_lib import checks
from hi_lib.events.crowd import Crowd, crowd, dealt
from hi_lib.studies.best_batch import BestBatch, best_batch_size, weighed
from hi_lib.studies.best_batch import least as least_of
from hi_lib.studies.crowd import Batchers, Point
from hi_lib.timing import TimingModel
from hi_lib.traces import Trace
from hi_lib.typing import Flags, Floats

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

SINGLE, BEST = "M = 1", "best M"
_ROUNDS = 4  # of giving each device as much work as lasts equally long
_TICKS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]
_LINES = {
    "single": ("#D55E00", "o-"),
    "best": ("#009E73", "D-"),
    "large": ("#777777", "s-"),
    "window": ("#0072B2", "^-"),
}
_SHADES = {"neither": "#F2F2F2", "server": "#56B4E9", "device": "#E69F00", "both": "#CC79A7"}


@dataclass(frozen=True)
class Case:
    """Equal devices: what each step takes, which share of the samples they offload, and how many each has."""

    timing: TimingModel
    offload_ratio: float
    samples: int

    def __post_init__(self) -> None:
        checks.share("offload_ratio", self.offload_ratio)
        checks.whole("samples", self.samples)

    @functools.cached_property
    def offloaded(self) -> Flags:
        """Offloads at random places, as near to the share as whole numbers are; each device begins elsewhere."""
        order = np.random.default_rng(0).permutation(self.samples)
        return order < self.offload_ratio * self.samples

    def alone(self, devices: int, batch_size: int, window: float | None) -> Floats:
        """System time of each of these devices with the same offloads where it has a server to itself (ms)."""
        each = dealt(self.offloaded, devices)
        return np.array([crowd(self.timing, flags, batch_size, 1, window=window).system_time for flags in each])


class Way(NamedTuple):
    """How all devices send: M, the best one if that is None, and W, if they do not wait."""

    name: str
    batch_size: int | None
    window: float | None = None

    @property
    def line(self) -> tuple[str, str]:
        """Its colour and marker."""
        kind = "window" if self.window else "best" if self.batch_size is None else "large"
        return _LINES["single" if self.name == SINGLE else kind]


def ways(batch_size: int, window: int) -> list[Way]:
    """The ways of the first figure, each once."""
    large = Way(f"M = {checks.whole('batch_size', batch_size)}", batch_size)
    windowed = Way(f"M = 1, W = {checks.whole('window', window)}", 1, window)
    return list(dict.fromkeys([Way(SINGLE, 1), Way(BEST, None), large, windowed]))


def both_times(case: Case, crowds: Iterable[int], sent: Sequence[Way], alpha: float) -> pd.DataFrame:
    """Times (ms) of a crowd, a row for each way to send and number of devices.

    Beside them stand what T24 speaks of: the least factor by which a device is slower than alone with the same
    offloads, and the time of the last one to end over that for which the server is busy.
    """
    rows = []
    for way in sent:
        for devices in ordered(crowds):
            size = _best(case, devices, alpha).batch_size if way.batch_size is None else way.batch_size
            found = crowd(case.timing, case.offloaded, size, devices, window=way.window)
            busy = devices * case.offloaded.mean() * case.timing.tau_es
            slower = (found.system_times / case.alone(devices, size, way.window)).min()
            last = found.system_times.max() / busy if busy else math.nan
            times = found.system_time, float(found.response_time.mean())
            rows.append((way.name, devices, size, *times, slower, last))
    return pd.DataFrame(rows, columns=["way", "devices", "M", "t_s (ms)", "t_r (ms)", "over alone", "over server"])


def _best(case: Case, devices: int, alpha: float) -> BestBatch:
    """The M of least f in a crowd."""

    def tried(size: int) -> BestBatch:
        found = crowd(case.timing, case.offloaded, size, devices)
        return weighed(size, alpha, found.system_time, float(found.response_time.mean()))

    return least_of(tried, case.samples)


def draw_times(case: Case, table: pd.DataFrame, sent: Sequence[Way]) -> Figure:
    """Both times against D; on the left T24's bound for each way of a device that waits, and D*."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.6, 3.7))
    crowds = ordered(table["devices"])
    along = np.linspace(crowds[0], crowds[-1], 200)
    for way in sent:
        rows, (colour, line) = table[table["way"] == way.name], way.line
        for axis, column in ((left, "t_s (ms)"), (right, "t_r (ms)")):
            axis.plot(rows["devices"], rows[column], line, ms=3.5, lw=1.2, color=colour, label=way.name)
        if way.batch_size and way.window is None:
            bound = case.timing.crowd_bound(way.batch_size, case.offload_ratio, along)
            left.plot(along, bound, color="#333333", lw=1, ls=DASHED, label="the bound (T24)")
    for _, row in table[(table["way"] == BEST) & (table["M"] > 1)].iterrows():
        point = row["devices"], row["t_r (ms)"]
        name_beside(right, f"{row['M']}", point, _LINES["best"][0], xytext=(4, 7))
    _mark_saturation(left, float(case.timing.saturation(1, case.offload_ratio)), crowds[-1])
    left.set(ylabel="system time $t_s$ (ms a sample)", ylim=(0, None))
    right.set(ylabel="response time $t_r$ (ms)", yscale="log")
    plain_ticks(right.yaxis, [tick for tick in _TICKS if tick < 1.5 * table["t_r (ms)"].max()])
    for axis in (left, right):
        axis.set_xlabel("devices D")
        plain_ticks(axis.xaxis, crowds)
    shared_legend(figure, 5)
    return figure


def _mark_saturation(axis: Axes, devices: float, largest: float) -> None:
    """A dotted vertical at D*, if it lies within the figure."""
    if devices <= largest:
        axis.axvline(devices, color="#777777", lw=0.8, ls=":")
        axis.annotate(
            f"D* = {devices:.1f}",
            (devices, 1),
            xycoords=("data", "axes fraction"),
            xytext=(-3, -3),
            textcoords="offset points",
            ha="right",
            va="top",
            fontsize=7.5,
            color="#555555",
        )


def points(found: Sequence[Point]) -> pd.DataFrame:
    """Who should batch, and f of all four ways (ms), a row for each network time, setup and number of devices."""
    fields = Batchers._fields
    rows = [
        (*point[:4], point.batchers.device.batch_size, *(each.objective for each in point.batchers)) for point in found
    ]
    return pd.DataFrame(
        rows, columns=["τ_nw", "setup", "D", "who", "M of the devices", *(f"f, {one}" for one in fields)]
    )


def draw_frontier(table: pd.DataFrame) -> Figure:
    """Who should batch, by network time and setup, a panel for each number of devices."""
    crowds, networks, setups = (ordered(table[column]) for column in ("D", "τ_nw", "setup"))
    columns = min(2, len(crowds))
    count = -(-len(crowds) // columns)
    size = (3.8 * columns, count * (0.9 + 0.3 * len(setups)))
    figure, axes = plt.subplots(count, columns, figsize=size, squeeze=False, sharex=True, sharey=True)
    for axis in axes.flat[len(crowds) :]:
        axis.set_axis_off()
    for axis, devices in zip(axes.flat, crowds, strict=False):
        for _, row in table[table["D"] == devices].iterrows():
            x, y = networks.index(row["τ_nw"]), setups.index(row["setup"])
            axis.add_patch(Rectangle((x, y), 1, 1, facecolor=_SHADES[row["who"]], edgecolor="white"))
            axis.text(x + 0.5, y + 0.5, row["who"], ha="center", va="center", fontsize=8, color="#222222")
        axis.set(xlim=(0, len(networks)), ylim=(0, len(setups)))
        axis.set_title("one device" if devices == 1 else f"{devices} devices")
        axis.set_xticks(np.arange(len(networks)) + 0.5, [f"{value:g}" for value in networks])
        axis.set_yticks(np.arange(len(setups)) + 0.5, [f"{value:g}" for value in setups])
        axis.grid(visible=False)
        axis.tick_params(length=0)
    for axis in axes[-1]:
        axis.set_xlabel("network time (ms)")
    for axis in axes[:, 0]:
        axis.set_ylabel("setup (ms)")
    return figure


def points_table(table: pd.DataFrame) -> Styler:
    """What the map is drawn from."""
    return table_of("points", table).hide().format("{:.1f}", subset=[name for name in table if name.startswith("f, ")])


ONE_REQUEST, ONE_IMAGE = "one is greedy", "one is greedy, images in turn"
NOBODY, ALL = "nobody is greedy", "all are"
_LIVES = {NOBODY: (0, "requests"), ONE_REQUEST: (1, "requests"), ONE_IMAGE: (1, "images"), ALL: (None, "requests")}


def fairness(case: Case, devices: int, batch_size: int) -> pd.DataFrame:
    """Times (ms) of the first device of a crowd, and means of the others; the greedy send batches, the others images.

    All are at work equally long.
    """
    number, size = checks.whole("devices", devices), checks.whole("batch_size", batch_size)
    rows = []
    for name, (greedy, in_turn) in _LIVES.items():
        many = number if greedy is None else min(greedy, number)
        found = equally_long(case, [size] * many + [1] * (number - many), in_turn)
        responses = np.array([times.mean() for times in found.response_times])
        times = (found.system_times, responses)
        rows.append((name, *(one[0] for one in times), *(one[1:].mean() if number > 1 else math.nan for one in times)))
    return pd.DataFrame(rows, columns=["who", "t_s, first", "t_r, first", "t_s, others", "t_r, others"])


def equally_long(case: Case, sizes: Sequence[int], in_turn: str) -> Crowd:
    """A crowd whose devices all have work until the end: who is faster has more samples, offloads that go round."""
    counts, each = np.full(len(sizes), case.samples), dealt(case.offloaded, len(sizes))
    for _ in range(_ROUNDS):
        given = [np.resize(flags, count) for flags, count in zip(each, counts.tolist(), strict=True)]
        several = len(sizes) > 1
        found = crowd(
            case.timing,
            given if several else given[0],
            list(sizes) if several else sizes[0],
            len(sizes),
            in_turn=in_turn,
        )
        counts = np.rint(case.samples * found.system_times.max() / found.system_times).astype(int)
    return found


def fairness_table(table: pd.DataFrame) -> Styler:
    """The times, by who is greedy."""
    return table_of("fairness", table).hide().format("{:.1f}", subset=list(table.columns[1:]), na_rep="–")


def learned(trace: Trace, timing: TimingModel, beta: float, alpha: float, crowds: Iterable[int], seeds: int) -> Any:
    """The best batch size of each crowd with HIL-F at work, and both times (ms); means over shuffles."""
    rows = [
        (devices, *best_batch_size(trace, timing, beta, alpha, devices=devices, seeds=range(seeds)))
        for devices in ordered(crowds)
    ]
    return pd.DataFrame(rows, columns=["D", "best M", "f (ms)", "t_s (ms)", "t_r (ms)"])


def learned_table(table: pd.DataFrame) -> Styler:
    """Best batch sizes with the learner at work."""
    return table_of("learned", table).hide().format("{:.1f}", subset=list(table.columns[2:]))


def numbers(case: Case, table: pd.DataFrame, fair: pd.DataFrame, who: pd.DataFrame, at_work: Any) -> dict[str, Any]:
    """What the claims and the text rest on."""
    saturation = float(case.timing.saturation(1, case.offload_ratio))
    rows = table.set_index(["way", "devices"])
    single, best = (rows.loc[name] for name in (SINGLE, BEST))
    windowed = table[table["way"].str.contains("W = ")].set_index("devices")
    beyond = table[table["devices"] >= saturation]
    gains = 1 - beyond["t_s (ms)"] / beyond["devices"].map(single["t_s (ms)"])
    far = table[table["devices"] >= 2 * saturation]
    bound = np.array([float(case.timing.crowd_bound(1, case.offload_ratio, one)) for one in far["devices"]])
    times = fair.set_index("who").T
    sizes = best["M"]
    return {
        "saturation": saturation,
        "offload_ratio": case.offload_ratio,
        "over_alone_least": least(table["over alone"]),
        "over_server_least": least(table["over server"].dropna()),
        "far_off_percent": 100 * most((far["t_s (ms)"] / bound - 1).abs()),
        "gain_beyond_percent": 100 * most(gains),
        "best_beyond": most(sizes[sizes.index >= saturation]),
        "best_alone": at(sizes, 1),
        "saturation_window": at(windowed["over server"], 1),  # its time alone, over that for which it needs the server
        **_greed(times),
        **_merged(who),
        "learned_alone": at(at_work.set_index("D")["best M"], 1),
        "learned_crowd": int(at_work["D"].iloc[-1]),
        "learned_best": int(at_work["best M"].iloc[-1]),
    }


def _greed(times: pd.DataFrame) -> dict[str, float]:
    """What greed brings to the one, and costs the others."""
    return {
        f"{key}_{whose}_{name}": float(times.loc[f"{column}, {whose}", who])
        for key, who in (("nobody", NOBODY), ("greedy", ONE_REQUEST), ("fair", ONE_IMAGE), ("all", ALL))
        for whose in ("first", "others")
        for name, column in (("system", "t_s"), ("response", "t_r"))
    }


def _merged(who: pd.DataFrame) -> dict[str, float]:
    """From how many devices on the server alone should batch, and what that brings where it brings most."""
    rows = who[who["who"] == "server"]
    gains = 1 - rows["f, server"] / rows["f, neither"]
    found = {"server_least": least(rows["D"]), "merging_gain_most": 100 * most(gains)}
    device = 1 - rows["f, device"] / rows["f, neither"]
    found["device_gain_there"] = 100 * float(device[gains.idxmax()]) if len(gains) else math.nan
    return found
