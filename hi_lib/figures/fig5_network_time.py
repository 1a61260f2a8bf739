"""The paper's Fig. 5: batch size and network time: the numbers its figure and its claims rest on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from hi_lib.paper import IMAGENETTE
from hi_lib.typing import Floats


def optimum(offload_ratio: float) -> Callable[[Floats, float], tuple[Floats, Floats]]:
    """What gives M† and M* for network times (ms) and an α, with Imagenette's other times."""

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


def numbers(offload_ratio: float, network_times: Floats, alphas: Sequence[float]) -> dict[str, float]:
    """What claim C13 and the text rest on: how M† and M* grow with the network time."""
    groups = [group for _, group in optima(offload_ratio, network_times, alphas).groupby("alpha")]
    return {
        "integer_step_min": int(min(group["integer"].diff().min() for group in groups)),
        "integer_growth_min": int(min(group["integer"].iloc[-1] - group["integer"].iloc[0] for group in groups)),
        "integer_at_default": IMAGENETTE.timing.optimal_batch_size(offload_ratio, 0.5).integer,
        "integer_at_slowest": int(optimum(offload_ratio)(network_times[-1:], 0.5)[1][0]),
    }
