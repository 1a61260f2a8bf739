"""The paper's Fig. 5: batch size and network time: the numbers its figure and its claims rest on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from hi_book.figures.values import between, least, rise, whole
from hi_lib import checks
from hi_lib.paper import IMAGENETTE
from hi_lib.typing import Floats

POINTS = 481  # of the axis


def network_times(one_end: float, other_end: float) -> Floats:
    """The points of the axis, in rising order, ms."""
    ends = checks.nonnegative("fastest_network", one_end), checks.nonnegative("slowest_network", other_end)
    return between(ends, POINTS)


def optimum(offload_ratio: float) -> Callable[[Floats, float], tuple[Floats, Floats]]:
    """What gives M† and M* for network times (ms) and an α, with Imagenette's other times.

    The offload ratio must be above 0: without offloads there is nothing to show.
    """
    checks.share("offload_ratio", offload_ratio)

    def best(network_times: Floats, alpha: float) -> tuple[Floats, Floats]:
        timings = [replace(IMAGENETTE.timing, tau_nw=float(time)) for time in network_times]
        found = [timing.optimal_batch_size(offload_ratio, alpha) for timing in timings]
        return np.array([each.relaxed for each in found]), np.array([each.integer for each in found])

    return best


def optima(offload_ratio: float, network_times: Floats, alphas: Sequence[float]) -> pd.DataFrame:
    """M† and M*, a row for each α and network time (ms)."""
    best = optimum(offload_ratio)
    rows = [(alpha, *row) for alpha in alphas for row in zip(network_times, *best(network_times, alpha), strict=True)]
    return pd.DataFrame(rows, columns=["alpha", "tau_nw", "relaxed", "integer"])


def numbers(offload_ratio: float, table: pd.DataFrame, alpha: float) -> dict[str, float]:
    """What claim C13 and the text rest on: how M† and M* grow with the network time.

    `table` is `optima`; the text names M* at this α.
    """
    groups = [group["integer"] for _, group in table.groupby("alpha")]
    slowest, default = table["tau_nw"].max(), IMAGENETTE.timing
    return {
        "integer_step_min": whole(least(step for group in groups for step in np.diff(group))),
        "integer_growth_min": whole(least(map(rise, groups))),
        "text_alpha": alpha,
        "default_network": default.tau_nw,
        "integer_at_default": default.optimal_batch_size(offload_ratio, alpha).integer,
        "slowest_network": slowest,
        "integer_at_slowest": whole(replace(default, tau_nw=slowest).optimal_batch_size(offload_ratio, alpha).integer),
    }
