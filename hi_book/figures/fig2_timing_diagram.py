"""The paper's Fig. 2: one batch on the clock: its figures, and the numbers its claims rest on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from hi_book.figures.style import PLAIN, STAGE_COLOURS, batch_size_axis, dataset_colour, shared_legend
from hi_book.figures.values import most
from hi_lib.paper import CIFAR10, IMAGENETTE

# A testbed's transmissions of ten thousand samples by batch size, at its offload ratio (Luukkanen).
TESTBED = {1: 3900, 5: 2000, 15: 667, 45: 225}
TESTBED_SAMPLES, TESTBED_RATIO = 10_000, 0.39
_LINES = (("#333333", "--"), ("#333333", "-"), ("#D55E00", ":"))

if TYPE_CHECKING:
    from hi_lib.events.simulation import Interval, Log
    from hi_lib.learners import Run


def timing_diagram(
    batched: list[Interval], vanilla: list[Interval], offloaded: Sequence[bool], batch_size: int
) -> Figure:
    """Fig. 2: the same samples under Batch HI and under vanilla HI, to scale, a lane for each place of work."""
    figure, axes = plt.subplots(2, 1, figsize=(7.4, 4.2), sharex=True)
    titles = (f"Batch HI, M = {batch_size}", "Vanilla HI, M = 1")
    for axis, intervals, title in zip(axes, (batched, vanilla), titles, strict=True):
        _draw_lanes(axis, intervals, offloaded)
        axis.set_title(f"{title}: all {len(offloaded)} samples take {intervals[-1].end:.1f} ms", loc="left")
    axes[1].set_xlabel("time (ms)")
    return figure


def _draw_lanes(axis: Axes, intervals: list[Interval], offloaded: Sequence[bool]) -> None:
    lanes = list(STAGE_COLOURS)
    for interval in intervals:
        row, width = lanes.index(interval.lane), interval.end - interval.start
        accepted = interval.lane == "device" and interval.sample is not None and not offloaded[interval.sample]
        look = {
            "color": STAGE_COLOURS[interval.lane],
            "alpha": 0.45 if accepted else 1,
            "edgecolor": "white",
            "lw": 0.8,
        }
        axis.barh(row, width, height=0.78, left=interval.start, **look)  # type: ignore[arg-type]
        if interval.sample is not None:
            axis.text(interval.start + width / 2, row, str(interval.sample + 1), ha="center", va="center", fontsize=6.5)
    axis.set_yticks(range(len(lanes)), lanes)
    axis.invert_yaxis()
    axis.grid(axis="y", visible=False)


def transmissions(expected: pd.DataFrame, runs: pd.DataFrame) -> Figure:
    """Transmissions against M, a sample (left) and a batch (right): `expected` as lines, runs and the testbed as marks.

    A row of `runs` has batch_size, transmissions a sample and label; a column of `expected` is named by its line.
    """
    figure, axes = plt.subplots(1, 2, figsize=(7.6, 3.2))
    title, sizes = runs["label"].iloc[0], np.array(list(TESTBED))
    counted = np.array(list(TESTBED.values())) / TESTBED_SAMPLES
    marks = (
        (
            f"HIL-F on {title}",
            runs["batch_size"],
            runs["transmissions"],
            {"marker": "o", "color": dataset_colour(title)},
        ),
        ("a testbed's count", sizes, counted, {"marker": "D", "color": "#D55E00", "mfc": "none"}),
    )
    for axis, a_batch in zip(axes, (False, True), strict=True):
        for (label, values), (colour, line) in zip(expected.items(), _LINES, strict=True):
            shown = values * (values.index if a_batch else 1)
            axis.plot(shown.index, shown, line, color=colour, label=label)
        for label, batch_sizes, a_sample, look in marks:
            shown = a_sample * (batch_sizes if a_batch else 1)
            axis.plot(batch_sizes, shown, ls="", ms=5, zorder=4, label=label, **look)
        batch_size_axis(axis, runs["batch_size"])
    axes[0].set(yscale="log", ylabel="transmissions a sample")
    axes[0].yaxis.set_major_formatter(PLAIN)
    axes[1].set(ylabel="transmissions a batch", ylim=(0, 1.1))
    shared_legend(figure, 3)
    return figure


def measured(runs: Mapping[int, Run], label: str) -> pd.DataFrame:
    """Transmissions a sample and offload ratio of these runs, a row for each batch size."""
    return pd.DataFrame(
        {
            "batch_size": list(runs),
            "transmissions": [run.transmissions / run.cost.size for run in runs.values()],
            "offload_ratio": [run.offload_ratio for run in runs.values()],
            "label": label,
        }
    )


def expected(batch_sizes: ArrayLike, ratio: float) -> pd.DataFrame:
    """Transmissions a sample at an offload ratio, a row a batch size: three ways to count them."""
    sizes = np.array(batch_sizes)
    counts = {
        "the paper's count, 1/M": 1 / sizes,
        "independent offloads": _sending(sizes, ratio) / sizes,
        f"the same, ρ = {TESTBED_RATIO:g}": _sending(sizes, TESTBED_RATIO) / sizes,
    }
    return pd.DataFrame(counts, index=sizes)


def numbers(batched: Log, vanilla: Log, table: pd.DataFrame, samples: int) -> dict[str, float]:
    """What the claims and the text rest on; `table` is `measured` over so many `samples`."""
    a_sample, size = table["transmissions"], table["batch_size"]
    return {
        **_transmission_times(),
        "transmissions_per_batch_max": most(a_sample * (samples / np.ceil(samples / size))),
        "transmissions_vs_vanilla_max": most((a_sample / table["offload_ratio"])[np.minimum(size, samples) > 1]),
        **_offloads(batched, vanilla),
        **_testbed(),
    }


def _testbed() -> dict[str, float]:
    """What independent offloads expect where the testbed's count is farthest from them, and by what it is off else."""
    expected = {size: TESTBED_SAMPLES * _sending(size, TESTBED_RATIO) / size for size in TESTBED}
    off = {size: abs(count / expected[size] - 1) for size, count in TESTBED.items()}
    farthest = max(off, key=lambda size: off[size])
    return {
        "testbed_size": farthest,
        "testbed_count": TESTBED[farthest],
        "testbed_expected": expected[farthest],
        "testbed_batches": TESTBED_SAMPLES / farthest,
        "testbed_off": most(value for size, value in off.items() if size != farthest),
    }


def _offloads(batched: Log, vanilla: Log) -> dict[str, float]:
    """Response times of the first and the last offloaded sample, and when the last answer is there (ms)."""
    there = np.flatnonzero(batched.offloaded)
    found: dict[str, float] = {}
    for which, place in (("first", 0), ("last", -1)):
        sample = there[place] if there.size else None
        found[f"{which}_sample"] = math.nan if sample is None else int(sample) + 1
        for name, log in (("batched", batched), ("vanilla", vanilla)):
            found[f"{which}_{name}"] = math.nan if sample is None else log.response_time[sample]
            found[f"{which}_{name}_clock"] = math.nan if sample is None else log.answered[sample]
    return found


def _transmission_times() -> dict[str, float]:
    """Time to send one image (ms), and how far the paper's rounded one is from it."""
    values = {}
    for name, setting in (("imagenette", IMAGENETTE), ("cifar10", CIFAR10)):
        values[f"tau_tx_{name}"] = setting.transmission_time()
        values[f"tau_tx_{name}_error"] = abs(setting.transmission_time() - setting.timing.tau_tx)
    return values


def _sending(size: Any, ratio: float) -> Any:
    """Chance that a batch of independent offloads sends anything."""
    return 1 - (1 - ratio) ** size
