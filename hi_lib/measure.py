"""Your own timings: how long an S-ML and an L-ML take here, for one picture and for a batch.

The paper takes τ a sample from one picture and counts m·τ for m of them. A processor has a fixed cost a call and reuses
its caches within a batch: a + b·m fits better. Timing the models here needs the extra `models`, but no pictures: time
does not depend on them. Times measured elsewhere are read and fitted without it.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.metadata
import json
import os
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hi_lib import checks, spreadsheets
from hi_lib.settings import CIFAR10, IMAGENETTE
from hi_lib.timing import TimingModel
from hi_lib.traces import write_data

if TYPE_CHECKING:
    import pandas as pd

    from hi_lib.classifiers import Classifier

MEASURED, MACHINE = "timings/measured.csv", "timings/machine.json"  # below data/
BATCH_SIZES = (1, 2, 4, 8, 16, 32)
# S-ML and L-ML of each data set, as named by their makers.
PAIRS = {
    "imagenette": ("imagenette-mobilenet_v1_0.25_128", "imagenette-efficientnet_lite2"),
    "cifar10": ("cifar10-resnet8", "cifar10-resnet56"),
}
SETTINGS = {"imagenette": IMAGENETTE, "cifar10": CIFAR10}
_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1


class Line(NamedTuple):
    """Time of a batch, fixed + per_sample · m, ms, with standard errors."""

    fixed: float
    per_sample: float
    fixed_error: float
    per_sample_error: float


def run(repeats: int = 15, say: Callable[[str], None] = print) -> Path:
    """Time every model of PAIRS at every batch size, and write data/timings."""
    import pandas as pd

    keep_memory()
    from hi_lib import models

    checks.whole("repeats", repeats, low=3)
    known = models.MAKERS | models.LMLS
    tables = []
    for name in dict.fromkeys(model for pair in PAIRS.values() for model in pair):
        maker = known[name]
        options = {"at_once": max(BATCH_SIZES)} if name in models.LMLS else {}
        classifier = maker.load(models.model_file(maker.model), **options)
        table = time_batches(classifier, maker.side, BATCH_SIZES, repeats)
        tables.append(table.assign(model=name))
        line = fit(tables[-1])
        say(f"{name}: {line.fixed:.2f} ± {line.fixed_error:.2f} ms + {line.per_sample:.3f} ms a picture")
    measured = pd.concat(tables)[["model", "batch_size", "milliseconds"]]
    origin, about = "hi timing measure", machine("ai-edge-litert", "onnxruntime", "torch")
    write_data(MACHINE, json.dumps(about, indent=2) + "\n", origin)
    return write_data(MEASURED, measured.to_csv(index=False, float_format="%.5g"), origin)


def time_batches(classifier: Classifier, side: int, sizes: Sequence[int], repeats: int) -> pd.DataFrame:
    """Time a classifier on random pictures, the sizes in turn so that a busy machine slows all of them.

    Returns
    -------
    DataFrame with columns batch_size, milliseconds; `repeats` rows for each size.
    """
    import pandas as pd

    rng = np.random.default_rng(0)
    pictures = list(rng.integers(0, 256, (max(sizes), side, side, 3), dtype=np.uint8))
    for size in sizes:
        classifier(pictures[:size])
    rows = []
    for _ in range(repeats):
        for size in sizes:
            start = time.perf_counter()
            classifier(pictures[:size])
            rows.append((size, (time.perf_counter() - start) * 1e3))
    return pd.DataFrame(rows, columns=["batch_size", "milliseconds"])


def read_times(path: str | Path) -> pd.DataFrame:
    """Read measured times of your own: a CSV with columns batch_size and milliseconds, a row a measurement.

    Raises
    ------
    ValueError
        No such file, no such columns, or values that are no batch sizes or times.
    """
    table = spreadsheets.read(path, ["batch_size", "milliseconds"])
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
    size, weight = medians.index.to_numpy(float), 1 / medians.to_numpy()
    design = np.column_stack([np.ones_like(size), size]) * weight[:, None]
    (fixed, slope), residual, _, _ = np.linalg.lstsq(design, np.ones_like(size), rcond=None)
    variance = residual.sum() / (len(size) - 2) * np.linalg.inv(design.T @ design)
    return Line(float(fixed), float(slope), float(np.sqrt(variance[0, 0])), float(np.sqrt(variance[1, 1])))


def timing_model(table: pd.DataFrame, data_set: str) -> TimingModel:
    """The paper's timing model with our times for one picture; image size, rate and network time stay the paper's.

    `table` has columns model, batch_size, milliseconds; `data_set` is a key of PAIRS.
    """
    small, large = PAIRS[checks.choice("data set", data_set, PAIRS)]
    medians = table.groupby(["model", "batch_size"])["milliseconds"].median()
    paper = SETTINGS[data_set].timing
    return TimingModel(float(medians[small, 1]), float(medians[large, 1]), paper.tau_tx, paper.tau_nw)


def keep_memory() -> None:
    """Let glibc keep freed memory: fetching it anew makes large batches up to 2.5 times slower. Else do nothing."""
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(_MMAP_THRESHOLD, 2**31 - 1)
        libc.mallopt(_TRIM_THRESHOLD, 2**31 - 1)


def machine(*packages: str) -> dict[str, str | int]:
    """Name of this machine, and versions of Python and some packages."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    found: dict[str, str | int] = {
        "processor": models[0] if models else platform.processor() or platform.machine(),
        "cores": os.cpu_count() or 1,
        "system": platform.system(),
        "python": platform.python_version(),
    }
    return found | {package: importlib.metadata.version(package) for package in packages}
