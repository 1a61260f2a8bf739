"""The paper's Fig. 2: one batch on the clock: its figures, and the numbers its claims rest on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hi_lib.figures.style import PLAIN, batch_size_axis, dataset_colour

if TYPE_CHECKING:
    import pandas as pd

    from hi_lib.simulation import Interval

if TYPE_CHECKING:
    import pandas as pd

LANE_COLOURS = {"device": "#009E73", "uplink": "#E69F00", "network": "#BBBBBB", "server": "#56B4E9"}


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
    lanes = list(LANE_COLOURS)
    for interval in intervals:
        row, width = lanes.index(interval.lane), interval.end - interval.start
        accepted = interval.lane == "device" and interval.sample is not None and not offloaded[interval.sample]
        look = {"color": LANE_COLOURS[interval.lane], "alpha": 0.45 if accepted else 1, "edgecolor": "white", "lw": 0.8}
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
