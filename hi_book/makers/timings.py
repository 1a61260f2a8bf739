"""How long an S-ML and an L-ML take here, for one picture and for a batch.

The project's own models need the extra `models`, one of the user's own the extra `onnx`; none needs pictures, since
time does not depend on them.
"""

from __future__ import annotations

import importlib.metadata
import itertools
import json
import os
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hi_book.makers import images
from hi_book.makers.images import Pixels
from hi_book.makers.registering import write_data
from hi_lib import checks
from hi_lib.studies.measured import BATCH_SIZES, MACHINE, MEASURED, PAIRS, fit
from hi_live.memory import keep_memory

if TYPE_CHECKING:
    import pandas as pd

    from hi_book.makers.classifiers import Classifier
    from hi_book.makers.networks import Form, ModelOptions


def run(repeats: int = 15, say: Callable[[str], None] = print) -> Path:
    """Time every model of PAIRS at every batch size, and write data/timings."""
    import pandas as pd

    keep_memory()
    from hi_book.makers import models

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
    rng = np.random.default_rng(0)
    pictures = list(rng.integers(0, 256, (max(sizes), side, side, 3), dtype=np.uint8))
    return time_pictures(classifier, pictures, sizes, repeats)


def time_pictures(
    classifier: Callable[[list[Pixels]], Any], pictures: list[Pixels], sizes: Sequence[int], repeats: int
) -> pd.DataFrame:
    """The same with pictures of one's own, at least as many as the largest of the sizes."""
    import pandas as pd

    for size in sizes:
        classifier(pictures[:size])
    rows = []
    for _ in range(repeats):
        for size in sizes:
            start = time.perf_counter()
            classifier(pictures[:size])
            rows.append((size, (time.perf_counter() - start) * 1e3))
    return pd.DataFrame(rows, columns=["batch_size", "milliseconds"])


def run_own(
    onnx: Path, images_path: Path | None, asked: ModelOptions, repeats: int = 15
) -> tuple[pd.DataFrame, list[str]]:
    """Time an ONNX classifier of the user's own; columns batch_size, milliseconds, and notes on what was guessed.

    Pictures are decoded before, since a device has pixels. Without a place of pictures random ones are taken.

    Raises
    ------
    ValueError
        What `networks.read` refuses, or pictures that cannot be read.
    """
    from hi_book.makers import networks, outputs

    outputs.known(asked.outputs)
    keep_memory()
    checks.whole("repeats", repeats, low=3)
    network = networks.read(onnx, asked)
    pictures = own_pictures(images_path, network.form, max(BATCH_SIZES))
    return time_pictures(network.outputs, pictures, BATCH_SIZES, repeats), network.notes


def own_pictures(images_path: Path | None, form: Form, count: int) -> list[Pixels]:
    """So many pictures as the network takes them: the first ones of a place, over and over, or random ones."""
    if images_path is None:
        return list(np.random.default_rng(0).integers(0, 256, (count, *form.shape), dtype=np.uint8))
    first = itertools.islice(images.read_images(images_path), count)
    pictures = [images.resized(name, data, form.shape) for name, _, data in first]
    return list(itertools.islice(itertools.cycle(pictures), count))


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
