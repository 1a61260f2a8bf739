"""The paper's Fig. 6: batch size and the ratio of processing times: the numbers its figure and its claims rest on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from hi_book.figures.values import between, most
from hi_lib import checks
from hi_lib.paper import IMAGENETTE
from hi_lib.typing import Floats

if TYPE_CHECKING:
    from hi_lib.timing import TimingModel

POINTS = 400  # of the axis
DEVICE_VARIES, SERVER_VARIES = "τ_es held, the device varies (paper)", "τ_ed held, the server varies"


@dataclass(frozen=True)
class Held:
    """What does not change: ρ, and the time (ms) of the server or the device while the other one varies.

    All are above 0: without offloads there is nothing to show, and a ratio of processing times needs both.
    """

    offload_ratio: float
    tau_es: float
    tau_ed: float

    def __post_init__(self) -> None:
        checks.share("offload_ratio", self.offload_ratio)
        checks.positive("held_tau_es", self.tau_es)
        checks.positive("held_tau_ed", self.tau_ed)

    def device_varies(self, ratios: Floats, alpha: float) -> tuple[Floats, Floats]:
        """M† and M* for each τ_ed / τ_es, by a device that gets slower."""
        held = replace(IMAGENETTE.timing, tau_es=self.tau_es)
        return self._optima([replace(held, tau_ed=ratio * self.tau_es) for ratio in ratios], alpha)

    def server_varies(self, ratios: Floats, alpha: float) -> tuple[Floats, Floats]:
        """M† and M* for each τ_ed / τ_es, by a server that gets faster."""
        held = replace(IMAGENETTE.timing, tau_ed=self.tau_ed)
        return self._optima([replace(held, tau_es=self.tau_ed / ratio) for ratio in ratios], alpha)

    def _optima(self, timings: Sequence[TimingModel], alpha: float) -> tuple[Floats, Floats]:
        best = [timing.optimal_batch_size(self.offload_ratio, alpha) for timing in timings]
        return np.array([b.relaxed for b in best]), np.array([b.integer for b in best])


def processing_ratios(one_end: float, other_end: float) -> Floats:
    """The points of the axis τ_ed / τ_es, in rising order."""
    ends = checks.positive("smallest_ratio", one_end), checks.positive("largest_ratio", other_end)
    return between(ends, POINTS, np.geomspace)


def optima(held: Held, ratios: Floats, alphas: Sequence[float]) -> pd.DataFrame:
    """M† and M* in both panels, a row for each α and τ_ed / τ_es."""
    rows = [
        (title, alpha, *row)
        for title, curve in ((DEVICE_VARIES, held.device_varies), (SERVER_VARIES, held.server_varies))
        for alpha in alphas
        for row in zip(ratios, *curve(ratios, alpha), strict=True)
    ]
    return pd.DataFrame(rows, columns=["panel", "alpha", "ratio", "relaxed", "integer"])


def numbers(held: Held, ratios: Floats, alphas: Sequence[float], alpha: float) -> dict[str, float]:
    """What the claims and the text rest on: which way M† goes, and what the paper's choice of τ_es changes.

    The text names M* at `alpha`.
    """
    table = optima(held, ratios, alphas)
    own = optima(replace(held, tau_es=IMAGENETTE.timing.tau_es), ratios, alphas)
    moved = (own["integer"] - table["integer"]).abs()[table["panel"] == DEVICE_VARIES]
    best = held.server_varies(ratios, alpha)[1]
    return {
        "server_held_step_max": _largest_step(table, DEVICE_VARIES),
        "device_held_step_max": _largest_step(table, SERVER_VARIES),
        "changed_by_constant": int((moved > 0).groupby(table["alpha"]).sum().max()),
        "moved_by_constant": int(moved.max()),
        "points": ratios.size,
        "held_tau_ed": held.tau_ed,
        "held_tau_es": held.tau_es,
        "text_alpha": alpha,
        "device_held_first": int(best[0]),
        "device_held_last": int(best[-1]),
    }


def _largest_step(table: pd.DataFrame, panel: str) -> float:
    """Largest change of M† from one ratio to the next, for any α; nan where there is one ratio only."""
    groups = [group["relaxed"] for _, group in table[table["panel"] == panel].groupby("alpha")]
    return most(step for group in groups for step in np.diff(group))
