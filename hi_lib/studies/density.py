"""How the weight over all thresholds concentrates while HIL-F learns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hi_lib import checks
from hi_lib.forecaster import Forecaster
from hi_lib.traces import Trace, checked
from hi_lib.typing import Floats


def weight_density(
    trace: Trace, beta: float, batch_size: int, learning_rate: float, after: Sequence[int]
) -> tuple[Floats, Floats]:
    """Edges of the cells of θ, and the density of HIL-F's threshold after so many batches, shape (times, cells)."""
    beta, size = checks.real("beta", beta, 0, 1), checks.whole("batch_size", batch_size)
    eta = checks.positive("learning_rate", learning_rate)
    forecaster, step = Forecaster(checked(trace).confidence), beta - ~trace.correct
    density, learned = [], 0
    for batches in sorted(checks.whole("after", batches, low=0) for batches in after):
        new = slice(learned * size, batches * size)
        forecaster.update(trace.confidence[new], step[new])
        weight = forecaster.weights(eta)
        density.append(weight / weight.sum() / np.diff(forecaster.edges))
        learned = batches
    return forecaster.edges, np.array(density)
