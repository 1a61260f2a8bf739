"""Make traces: run a small model over real images and record confidence and correctness.

Needs the optional extra `models` (LiteRT, onnxruntime, pillow). Nothing else in `hi_lib` imports this module.
"""

from __future__ import annotations

import functools
import importlib.metadata
import io
import json
import os
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hi_lib import checks, traces

if TYPE_CHECKING:
    import pandas as pd

Classifier = Callable[[list[Any]], NDArray[np.float64]]
"""Takes a list of pictures (NDArray of shape (side, side, 3), uint8), returns probabilities (len, classes)."""

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
CIFAR10_CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
CIFAR10_INDEX = {name: index for index, name in enumerate(CIFAR10_CLASSES)}
CIFAR10_MEAN, CIFAR10_STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
PREPROCESSINGS = ("bilinear", "bicubic", "nearest", "centre crop")


@dataclass(frozen=True)
class Maker:
    """How one shipped trace is made: which images, which model, how the model is run."""

    images: str
    model: str
    label_index: dict[str, int]
    load: Callable[[Path], Classifier]
    side: int


def _mobilenet(file: str, side: int) -> Maker:
    return Maker("imagenette/val.zip", f"models/{file}.tflite", IMAGENETTE_INDEX, _load_tflite, side)


def _load_tflite(path: Path) -> Classifier:
    """Quantised ImageNet classifier; output 0 is background, so the probabilities of class k are output k + 1."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=os.cpu_count())
    interpreter.allocate_tensors()
    source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    scale, zero = target["quantization"]

    def classify(pictures: list[Any]) -> NDArray[np.float64]:
        rows = []
        for picture in pictures:
            interpreter.set_tensor(source["index"], picture[None])
            interpreter.invoke()
            rows.append(interpreter.get_tensor(target["index"])[0].astype(np.float64))
        return (np.array(rows) - zero) * scale

    return classify


def _load_onnx(path: Path, normalised: bool) -> Classifier:
    """CIFAR-10 network in ONNX: either raw pixels in and softmax out, or normalised pixels in and logits out."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def classify(pictures: list[Any]) -> NDArray[np.float64]:
        pixels = np.stack(pictures).astype(np.float32)
        if normalised:
            pixels = ((pixels / 255 - CIFAR10_MEAN) / CIFAR10_STD).astype(np.float32)
        output = session.run(None, {name: pixels})[0].astype(np.float64)
        if not normalised:
            return np.clip(output, 0, 1)
        exponentials = np.exp(output - output.max(axis=1, keepdims=True))
        return exponentials / exponentials.sum(axis=1, keepdims=True)

    return classify


def _resnet(file: str, normalised: bool) -> Maker:
    load = functools.partial(_load_onnx, normalised=normalised)
    return Maker("cifar10/test.zip", f"models/{file}.onnx", CIFAR10_INDEX, load, 32)


MAKERS = {
    "imagenette-mobilenet_v1_0.25_128": _mobilenet("mobilenet_v1_0.25_128_quant", 128),
    "imagenette-mobilenet_v1_0.5_160": _mobilenet("mobilenet_v1_0.5_160_quant", 160),
    "imagenette-mobilenet_v1_0.75_192": _mobilenet("mobilenet_v1_0.75_192_quant", 192),
    "imagenette-mobilenet_v2_1.0_224": _mobilenet("mobilenet_v2_1.0_224_quant", 224),
    "cifar10-resnet8": _resnet("resnet8_cifar", normalised=False),
    "cifar10-resnet56": _resnet("resnet56_cifar", normalised=True),
}


def source_folder() -> Path:
    """Where images and models are looked for: $HI_DATA, else a folder in the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "batch-hi"
    return Path(os.environ.get("HI_DATA") or cache)


def source_file(name: str) -> Path:
    """Path of an image archive or model, checked against its registered hash.

    Raises
    ------
    ValueError
        The file is missing (the message says where it comes from and where to put it) or its hash is wrong.
    """
    entry = traces.registry()[name]
    path = source_folder() / name
    if not path.is_file():
        raise ValueError(
            f"{path} is missing: get it from {entry.origin} and put it there, or set HI_DATA to its folder"
        )
    traces.verify_hash(path, entry.sha256)
    return path


def preprocess(data: bytes, side: int, how: str = "bilinear") -> NDArray[np.uint8]:
    """Decode one picture and bring it to (side, side, 3) uint8; `how` is one of PREPROCESSINGS."""
    from PIL import Image

    picture = Image.open(io.BytesIO(data)).convert("RGB")
    if how == "centre crop":
        # The usual ImageNet evaluation: keep the central 87.5 % of the shorter side.
        edge = round(0.875 * min(picture.size))
        left, top = (picture.width - edge) // 2, (picture.height - edge) // 2
        picture = picture.crop((left, top, left + edge, top + edge))
    name = "bilinear" if how == "centre crop" else checks.choice("preprocessing", how, PREPROCESSINGS)
    return np.asarray(picture.resize((side, side), Image.Resampling[name.upper()]))


def read_images(path: Path) -> Iterator[tuple[str, str, bytes]]:
    """Yield (name, class folder, file content) of every image in a zip, sorted by name."""
    with zipfile.ZipFile(path) as archive:
        for name in sorted(n for n in archive.namelist() if not n.endswith("/")):
            yield name, Path(name).parent.name, archive.read(name)


def classify(maker: Maker, how: str = "bilinear", progress: Callable[[int], None] | None = None) -> pd.DataFrame:
    """Run the maker's model over its images; one row an image, with the columns of a trace."""
    import pandas as pd

    model = maker.load(source_file(maker.model))
    rows: list[tuple[str, int, int, float]] = []
    for batch in _batches(read_images(source_file(maker.images)), 100):
        pictures = []
        for name, folder, data in batch:
            checks.choice(f"class folder of {name}", folder, maker.label_index)
            try:
                pictures.append(preprocess(data, maker.side, how))
            except OSError as error:
                raise ValueError(f"{name} in {maker.images} is not a readable image: {error}") from None
        probabilities = model(pictures)
        predicted = probabilities.argmax(axis=1)
        # The TFLite models put a background class first; ImageNet class k is their output k + 1.
        shift = 1 if probabilities.shape[1] == 1001 else 0
        rows += [
            (name, maker.label_index[folder], int(best) - shift, float(row[best]))
            for (name, folder, _), best, row in zip(batch, predicted, probabilities, strict=True)
        ]
        if progress:
            progress(len(batch))
    frame = pd.DataFrame(rows, columns=["image", "label", "predicted", "confidence"])
    frame["correct"] = (frame["label"] == frame["predicted"]).astype(int)
    return frame


def make(name: str, folder: Path, progress: Callable[[int], None] | None = None) -> Path:
    """Make the shipped trace `name` again; write `name`.csv and its provenance `name`.json into `folder`.

    Raises
    ------
    ValueError
        Unknown name, missing source, or a source whose hash is wrong. Nothing is written then.
    """
    maker = MAKERS[checks.choice("trace", name, MAKERS)]
    start = time.perf_counter()
    frame = classify(maker, progress=progress)
    registry = traces.registry()
    runtime = "ai-edge-litert" if maker.model.endswith(".tflite") else "onnxruntime"
    about = {
        "trace": name,
        "samples": len(frame),
        "accuracy": float(frame["correct"].mean()),
        "model": maker.model,
        "model_sha256": registry[maker.model].sha256,
        "model_origin": registry[maker.model].origin,
        "images": maker.images,
        "images_sha256": registry[maker.images].sha256,
        "images_origin": registry[maker.images].origin,
        "preprocessing": f"RGB, whole image, Pillow bilinear resize to {maker.side}x{maker.side}",
        "versions": {package: importlib.metadata.version(package) for package in ("numpy", "pillow", runtime)},
        "seconds": round(time.perf_counter() - start, 1),
    }
    traces.write_atomically(folder / f"{name}.json", json.dumps(about, indent=2) + "\n")
    return traces.write_atomically(folder / f"{name}.csv", frame.to_csv(index=False))


def compare_preprocessings(name: str, progress: Callable[[int], None] | None = None) -> pd.DataFrame:
    """Accuracy and mean confidence of one model under every preprocessing; one row each."""
    import pandas as pd

    maker = MAKERS[checks.choice("trace", name, MAKERS)]
    rows = []
    for how in PREPROCESSINGS:
        frame = classify(maker, how, progress)
        rows.append((name, how, len(frame), frame["correct"].mean(), frame["confidence"].mean()))
    return pd.DataFrame(rows, columns=["trace", "preprocessing", "samples", "accuracy", "mean_confidence"])


def _batches(items: Iterator[Any], size: int) -> Iterator[list[Any]]:
    batch: list[Any] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
