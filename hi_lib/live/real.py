"""Real models on real images: the S-ML beside the data and its labels, the L-ML behind the wire.

Needs the extra `models` and the images and models that `data/README.md` names. What is sent is a picture's own file.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hi_lib import checks
from hi_lib.makers import folders, images, models, networks, outputs
from hi_lib.makers.classifiers import Classifier, Outputs
from hi_lib.makers.models import LMLS, MAKERS
from hi_lib.makers.networks import Asked
from hi_lib.typing import Bytes, Flags, Samples


class Classes:
    """A classifier that says which class a picture's file shows, and how sure it is.

    Parameters
    ----------
    classifier : Classifier
    side : int
        Of the pictures that it takes.
    first_class : int
        Which class its first output stands for.
    """

    def __init__(self, classifier: Classifier, side: int, first_class: int = 0) -> None:
        self._classifier, self._side, self._first = classifier, side, first_class
        # What a runtime does only once is not a sample's time.
        self.count = self._classifier([np.zeros((side, side, 3), np.uint8)]).probabilities.shape[1]

    def __call__(self, files: Sequence[Bytes]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Classes and confidences, each of shape (m,)."""
        pictures = [images.preprocess("picture", file, self._side) for file in files]
        probabilities = np.asarray(self._classifier(pictures).probabilities)
        best = probabilities.argmax(axis=1)
        return best + self._first, probabilities[np.arange(best.size), best]


def model(name: str) -> Classes:
    """One of the models that traces are made of, or that answer beside them."""
    known = MAKERS | LMLS
    maker = known[checks.choice("model", name, known)]
    return Classes(maker.load(models.model_file(maker.model)), maker.side, maker.first_class)


def own_model(onnx: Path, size: int | None = None) -> Classes:
    """A model of one's own, as `makers.networks` reads it, of square pictures in colour.

    Whether its outputs are probabilities or logits is decided by the first picture, and for all.
    """
    network, kind = networks.read(onnx, Asked(size=size)), None
    if network.form.height != network.form.width or network.form.grey:
        raise ValueError(f"{onnx} must take square RGB pictures here, but it takes {network.form}")

    def classify(pictures: list[images.Pixels]) -> Outputs:
        nonlocal kind
        raw = network.outputs(pictures)
        read = outputs.read(raw, kind)
        kind = read.kind
        return Outputs(read.probabilities, raw)

    return Classes(classify, network.form.height)


class Pictures(NamedTuple):
    """Files of pictures, and the class that each shows, an integer, shape (n,)."""

    files: list[bytes]
    labels: Samples


def data_set(name: str) -> Pictures:
    """The pictures that a trace was made of."""
    maker = MAKERS[checks.choice("model", name, MAKERS)]
    found = list(images.read_images(images.source_file(maker.images)))
    return Pictures([file for *_, file in found], np.array([maker.label_index[folder] for _, folder, _ in found]))


def own_pictures(folder: Path) -> Pictures:
    """Pictures in a folder for each class, or a zip of such; classes count as `makers.folders.in_order` has them."""
    found = list(images.read_images(folder))
    place = {name: number for number, name in enumerate(folders.in_order(name for _, name, _ in found))}
    return Pictures([file for *_, file in found], np.array([place[name] for _, name, _ in found]))


class RealSmall:
    """An S-ML that computes on pictures.

    Parameters
    ----------
    classify : Classes
    pictures : Pictures
    samples : int
        How many of them, the first ones of a shuffled order.
    seed : int
        Decides that order.

    Raises
    ------
    ValueError
        A class among the pictures that the model does not know.
    """

    def __init__(self, classify: Classes, pictures: Pictures, samples: int, seed: int) -> None:
        self._classify = classify
        order = np.random.default_rng(seed).permutation(len(pictures.files))[: checks.whole("samples", samples)]
        self._files = [pictures.files[place] for place in order.tolist()]
        self._labels = pictures.labels[order]
        if int(pictures.labels.max()) >= classify.count:
            raise ValueError(
                f"the S-ML tells {classify.count} classes apart, but there are pictures of {pictures.labels.max() + 1}"
            )
        self._predicted = np.full(order.size, -1, dtype=np.intp)

    def __len__(self) -> int:
        return len(self._files)

    def classify(self, sample: int) -> float:
        """Decode the picture and compute on it."""
        predicted, confidence = self._classify(self._files[sample : sample + 1])
        self._predicted[sample] = predicted[0]
        return min(float(confidence[0]), 1.0)

    def image(self, sample: int) -> bytes:
        """The picture's file."""
        return self._files[sample]

    def correct(self, samples: Samples) -> Flags:
        """By the data set's labels."""
        return self._predicted[samples] == self._labels[samples]

    def lml_correct(self, samples: Samples, answers: Samples) -> Flags:
        """By the data set's labels."""
        return answers == self._labels[samples]

    def agrees(self, samples: Samples, answers: Samples) -> Flags:
        """The same class."""
        return answers == self._predicted[samples]


class RealLarge:
    """An L-ML behind the wire; a file that is no picture is answered −1."""

    def __init__(self, classify: Classes) -> None:
        self._classify = classify

    def answers(self, samples: Sequence[int], images: Sequence[Bytes]) -> list[int]:
        """Classes of these pictures."""
        del samples
        try:
            return [int(one) for one in self._classify(images)[0]]
        except ValueError:
            return [self._answer(image) for image in images]

    def _answer(self, image: Bytes) -> int:
        try:
            return int(self._classify([image])[0][0])
        except ValueError:
            return -1
