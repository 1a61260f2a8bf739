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

from hi_book.figures.style import PLAIN, STAGE_COLOURS, batch_size_axis, dataset_colour
from hi_book.figures.values import most
from hi_lib.paper import CIFAR10, IMAGENETTE

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


def transmissions_per_sample(curves: Mapping[str, Any], runs: pd.DataFrame) -> Figure:
    """Transmissions a sample against M: runs (batch_size, transmissions, label) as marks, curves there as lines."""
    figure, axis = plt.subplots(figsize=(5.6, 3.4))
    styles = (("#333333", "--"), ("#333333", "-"), ("#999999", ":"))
    for (label, values), (colour, line) in zip(curves.items(), styles, strict=True):
        axis.plot(runs["batch_size"], values, line, color=colour, label=label)
    label = runs["label"].iloc[0]
    axis.plot(
        runs["batch_size"], runs["transmissions"], "o", ms=5, color=dataset_colour(label), label=f"HIL-F on {label}"
    )
    batch_size_axis(axis, runs["batch_size"])
    axis.set(yscale="log", ylabel="transmissions per sample")
    axis.yaxis.set_major_formatter(PLAIN)
    axis.legend()
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


def expected(batch_sizes: ArrayLike, ratio: float) -> dict[str, Any]:
    """Transmissions a sample at an offload ratio, for each batch size: three ways to count them."""
    sizes = np.array(batch_sizes)
    return {
        "the paper's count, 1/M": 1 / sizes,
        "independent offloads": _sending(sizes, ratio) / sizes,
        "vanilla HI, ρ": np.full(sizes.size, ratio),
    }


def numbers(batched: Log, vanilla: Log, table: pd.DataFrame, samples: int) -> dict[str, float]:
    """What the claims and the text rest on; `table` is `measured` over so many `samples`."""
    a_sample, size = table["transmissions"], table["batch_size"]
    return {
        **_transmission_times(),
        "transmissions_per_batch_max": most(a_sample * (samples / np.ceil(samples / size))),
        "transmissions_vs_vanilla_max": most((a_sample / table["offload_ratio"])[np.minimum(size, samples) > 1]),
        **_offloads(batched, vanilla),
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
