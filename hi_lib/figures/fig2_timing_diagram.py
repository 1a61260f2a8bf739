"""The paper's Fig. 2: one batch on the clock: its figures, and the numbers its claims rest on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hi_lib.figures.style import PLAIN, STAGE_COLOURS, batch_size_axis, dataset_colour
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


def transmissions_per_sample(batch_sizes: Sequence[int], curves: Mapping[str, Any], runs: pd.DataFrame) -> Figure:
    """Transmissions a sample against M: curves as lines, runs (batch_size, transmissions, label) as marks."""
    figure, axis = plt.subplots(figsize=(5.6, 3.4))
    styles = (("#333333", "--"), ("#333333", "-"), ("#999999", ":"))
    for (label, values), (colour, line) in zip(curves.items(), styles, strict=True):
        axis.plot(batch_sizes, values, line, color=colour, label=label)
    label = runs["label"].iloc[0]
    axis.plot(
        runs["batch_size"], runs["transmissions"], "o", ms=5, color=dataset_colour(label), label=f"HIL-F on {label}"
    )
    batch_size_axis(axis, batch_sizes)
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


def expected(batch_sizes: Sequence[int], ratio: float) -> dict[str, Any]:
    """Transmissions a sample at an offload ratio, for each batch size: three ways to count them."""
    sizes = np.array(batch_sizes)
    return {
        "the paper's count, 1/M": 1 / sizes,
        "independent offloads": _sending(sizes, ratio) / sizes,
        "vanilla HI, ρ": np.full(sizes.size, ratio),
    }


def numbers(
    batched: Log, vanilla: Log, offloaded: Sequence[int], table: pd.DataFrame, samples: int
) -> dict[str, float]:
    """What the claims and the text rest on.

    `offloaded` numbers the samples of the diagram from one; `table` is `measured` over so many `samples`.
    """
    first, last = offloaded[0] - 1, offloaded[-1] - 1
    a_sample, size = table["transmissions"], table["batch_size"]
    return {
        **_transmission_times(),
        "transmissions_per_batch_max": (a_sample * (samples / np.ceil(samples / size))).max(),
        "transmissions_vs_vanilla_max": (a_sample / table["offload_ratio"])[size > 1].max(),
        "second_batched": batched.response_time[first],
        "second_vanilla": vanilla.response_time[first],
        "fifth_batched": batched.response_time[last],
        "fifth_vanilla": vanilla.response_time[last],
    }


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
