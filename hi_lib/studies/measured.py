"""Measured times of models: read, fitted, and put in the place of the paper's.

The paper takes τ a sample from one picture and counts m·τ for m of them. A processor has a fixed cost a call and reuses
its caches within a batch: a + b·m fits better. `makers.timings` measures; what is measured elsewhere is read here, too.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hi_lib import checks, tables
from hi_lib.paper import SETTINGS
from hi_lib.timing import TimingModel

if TYPE_CHECKING:
    import pandas as pd

MEASURED, MACHINE = "timings/measured.csv", "timings/machine.json"  # below data/
BATCH_SIZES = (1, 2, 4, 8, 16, 32)
# S-ML and L-ML of each data set, as named by their makers.
PAIRS = {
    "imagenette": ("imagenette-mobilenet_v1_0.25_128", "imagenette-efficientnet_lite2"),
    "cifar10": ("cifar10-resnet8", "cifar10-resnet56"),
}


class Line(NamedTuple):
    """Time of a batch, fixed + per_sample · m, ms, with standard errors."""

    fixed: float
    per_sample: float
    fixed_error: float
    per_sample_error: float


def read_times(path: str | Path) -> pd.DataFrame:
    """Read measured times of your own: a CSV with columns batch_size and milliseconds, a row a measurement.

    Raises
    ------
    ValueError
        No such file, no such columns, or values that are no batch sizes or times.
    """
    import pandas as pd

    found = tables.load(path)
    columns = found.needed(["batch_size", "milliseconds"])
    table = pd.DataFrame({name: found.numbers(column) for name, column in columns.items()})
    try:
        for size, time_of_it in zip(table["batch_size"].tolist(), table["milliseconds"].tolist(), strict=True):
            checks.whole("batch_size", size)
            checks.real("milliseconds", time_of_it, 0, 1e9, open_ends="(")
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return table


def fit(table: pd.DataFrame) -> Line:
    """Least squares of time against batch size, over the medians of the repeats, relative errors weighing the same.

    Raises
    ------
    ValueError
        Fewer than three batch sizes: two points leave no error to estimate.
    """
    medians = table.groupby("batch_size")["milliseconds"].median()
    if len(medians) < 3:
        raise ValueError(f"a line needs times at three batch sizes at least, got {list(medians.index)}")
    size, times = medians.index.to_numpy(float), medians.to_numpy()
    (slope, fixed), covariance = np.polyfit(size, times, 1, w=1 / times, cov=True)
    slope_error, fixed_error = np.sqrt(np.diag(covariance))
    return Line(float(fixed), float(slope), float(fixed_error), float(slope_error))


def timing_model(table: pd.DataFrame, data_set: str) -> TimingModel:
    """The paper's timing model with our times for one picture; image size, rate and network time stay the paper's.

    `table` has columns model, batch_size, milliseconds; `data_set` is a key of PAIRS.
    """
    small, large = PAIRS[checks.choice("data set", data_set, PAIRS)]
    medians = table.groupby(["model", "batch_size"])["milliseconds"].median()
    paper = SETTINGS[data_set].timing
    return TimingModel(float(medians[small, 1]), float(medians[large, 1]), paper.tau_tx, paper.tau_nw)
