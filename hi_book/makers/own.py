"""A trace of the user's own: any ONNX classifier, and pictures in a folder for each class.

Needs the extra `onnx`, and nothing of `models`.
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hi_book.makers import folders, images, models, networks, outputs
from hi_book.makers.networks import ModelOptions, Network
from hi_lib import files, traces

if TYPE_CHECKING:
    import pandas as pd

NEAR = 3  # standard errors


class Made(NamedTuple):
    """Where the trace is, what it says, what was guessed on the way, and what looks wrong."""

    path: Path
    samples: int
    accuracy: float
    notes: list[str]
    warning: str | None


def make(name: str, onnx: Path, place: Path, asked: ModelOptions, progress: models.Progress | None = None) -> Made:
    """Make a trace of the user's own from a classifier and the pictures in a folder or zip; with it, its record.

    Raises
    ------
    ValueError
        A name that is taken or no file name; a model that cannot be read or takes no pictures; folders whose classes
        are not known; a picture that cannot be read; outputs that are not what the user says. Nothing is written then.
    """
    if name in models.MAKERS or name in models.LMLS:
        raise ValueError(f"{name} is a trace that comes with the project; choose another name for yours")
    target, start = traces.own_file(name), time.perf_counter()
    outputs.known(asked.outputs)
    network = networks.read(onnx, asked)
    classes = max(network.classes, 2)  # one output tells two
    index, order = classes_of(onnx, place, asked.classes, classes)
    frame, read = _answers(network, place, index, asked.outputs, progress)
    accuracy = float(frame["correct"].mean())
    notes = [*network.notes, order, f"its outputs are taken for {read.kind}: {read.why}"]
    about: dict[str, Any] = {"trace": name, "samples": len(frame), "accuracy": accuracy, "classes": index}
    about |= {"model": onnx.name, "model_sha256": files.sha256(onnx), "images": place.name}
    about |= {"preprocessing": str(network.form), "outputs": read.kind, "versions": models.versions("onnxruntime")}
    path = models.write(target.parent, name, frame, about, start)
    return Made(path, len(frame), accuracy, notes, near_chance(accuracy, len(frame), classes))


def near_chance(accuracy: float, samples: int, classes: int) -> str | None:
    """A warning where a model is hardly better than a guess, as it is when it does not get what it was trained on.

    Examples
    --------
    >>> near_chance(0.86, 50, 10)
    >>> near_chance(0.12, 50, 10).partition(":")[0]
    'an accuracy of 12.0% is near chance, 10.0% ± 4.2%'
    """
    chance = 1 / classes
    error = math.sqrt(chance * (1 - chance) / samples)
    if accuracy > chance + NEAR * error:
        return None
    return (
        f"an accuracy of {accuracy:.1%} is near chance, {chance:.1%} ± {error:.1%}: are --scale, --mean, --std and "
        "--layout what the model was trained with (--scale 1 gives it pixels from 0 to 255), and is each folder's "
        "class the right one (--classes)?"
    )


def classes_of(onnx: Path, place: Path, file: Path | None, classes: int) -> tuple[dict[str, int], str]:
    """The class of each folder of pictures, and a note that says how it was found.

    Raises
    ------
    ValueError
        A picture in no folder; not as many folders as classes, without a file; or what `folders.mapped` refuses.
    """
    names = set()
    for picture, folder, _ in images.read_images(place):
        if "/" not in picture:
            raise ValueError(f"{picture} lies in no folder of {place}: there must be one for each class")
        names.add(folder)
    if file is not None:
        return folders.mapped(names, file, classes), f"the classes of {len(names)} folders are those of {file}"
    index = folders.ranked(names, classes, onnx)
    order = list(index)
    how = "numeric" if folders.numeric(names) else "alphabetical"
    return index, f"classes are the folders in {how} order: {order[0]} is 0, …, {order[-1]} is {len(order) - 1}"


def _answers(
    network: Network, place: Path, index: dict[str, int], kind: str | None, progress: models.Progress | None
) -> tuple[pd.DataFrame, outputs.Read]:
    """A row for each picture with the columns of a trace, and how the outputs were read: of all pictures at once."""
    import pandas as pd

    form, rows, raw = network.form, [], []
    for part in models.parts(images.read_images(place), models.PART):
        pixels = [images.resized(name, data, form.shape) for name, _, data in part]
        raw.append(network.outputs(pixels))
        rows += [(name, index[folder]) for name, folder, _ in part]
        if progress:
            progress(len(part))
    read = outputs.read(np.concatenate(raw), kind)
    frame = pd.DataFrame(rows, columns=["image", "label"])
    frame["predicted"] = read.probabilities.argmax(axis=1)
    second, first = np.partition(read.probabilities, -2)[:, -2:].T
    frame["confidence"], frame["second_confidence"] = first, second
    frame["correct"] = (frame["label"] == frame["predicted"]).astype(int)
    return frame, read
