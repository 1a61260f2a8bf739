"""Real models on real images: the S-ML beside the data and its labels, the L-ML behind the wire.

Needs the extra `models` and the images and models that `data/README.md` names. What is sent is a picture's own file.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hi_book.makers import images, models, networks, outputs, own
from hi_book.makers.classifiers import Classifier, Outputs
from hi_book.makers.images import Shape
from hi_book.makers.models import LMLS, MAKERS
from hi_book.makers.networks import ModelOptions, Network
from hi_lib import checks
from hi_lib.typing import Bytes, Flags, Samples

_LOOKED_AT = 100  # pictures that tell whether outputs are probabilities or logits
# A picture over the wire may have no more: one of as many takes a second and half a gigabyte.
MOST_PIXELS = 2**25
_TIMED = 20  # pictures that tell how long the S-ML takes


class Said(NamedTuple):
    """Classes of pictures and how sure a classifier is of them, each of shape (m,)."""

    classes: NDArray[np.int64]
    confidence: NDArray[np.float64]


class Classes:
    """A classifier that says which class a picture's file shows, and how sure it is.

    Parameters
    ----------
    classifier : Classifier
    size : int or Shape
        Of the pictures that it takes: their side, or height, width and channels (3, or 1 without colours).
    first_class : int
        Which class its first output stands for.
    count : int, optional
        How many classes it tells apart; by default it is asked, with an empty picture.
    """

    def __init__(
        self, classifier: Classifier, size: int | Shape, first_class: int = 0, count: int | None = None
    ) -> None:
        self._classifier, self._first = classifier, first_class
        self.shape = (size, size, 3) if isinstance(size, int) else size
        # What a runtime does only once is not a sample's time.
        self.count = count or self._classifier([np.zeros(self.shape, np.uint8)]).probabilities.shape[1]

    def __call__(self, files: Sequence[Bytes], most_pixels: int | None = None) -> Said:
        """What it says of pictures; ValueError where one cannot be read, or has more pixels than allowed."""
        pictures = [images.resized("picture", file, self.shape, most_pixels) for file in files]
        probabilities = np.asarray(self._classifier(pictures).probabilities)
        best = probabilities.argmax(axis=1)
        return Said(best + self._first, probabilities[np.arange(best.size), best])


def model(name: str) -> Classes:
    """One of the models that traces are made of, or that answer beside them."""
    known = MAKERS | LMLS
    maker = known[checks.choice("model", name, known)]
    return Classes(maker.load(models.model_file(maker.model)), maker.side, maker.first_class)


class Own(NamedTuple):
    """A model of one's own, and what was guessed of it."""

    classes: Classes
    notes: list[str]


def own_small(onnx: Path, asked: ModelOptions, pictures: Path) -> tuple[Own, Pictures]:
    """An S-ML of one's own, as `makers.networks` reads it, and its pictures.

    Whether its outputs are probabilities or logits is decided by the first hundred of the pictures in their order
    by name, and for all.

    Raises
    ------
    ValueError
        What `makers.own.make` refuses.
    """
    outputs.known(asked.outputs)
    network = networks.read(onnx, asked)
    index, order = own.classes_of(onnx, pictures, asked.classes, max(network.classes, 2))
    found = list(images.read_images(pictures))
    first = [images.resized(name, file, network.form.shape) for name, _, file in found[:_LOOKED_AT]]
    read = outputs.read(network.outputs(first), asked.outputs)

    def classify(given: list[images.Pixels]) -> Outputs:
        raw = network.outputs(given)
        return Outputs(outputs.read(raw, read.kind).probabilities, raw)

    notes = [*network.notes, order, f"its outputs are taken for {read.kind}: {read.why}"]
    labels = np.array([index[folder] for _, folder, _ in found])
    small = Own(_classes(classify, network), notes)
    return small, Pictures([file for *_, file in found], labels, [name for name, *_ in found])


def own_large(onnx: Path, asked: ModelOptions) -> Own:
    """An L-ML of one's own: its answer is the largest of its outputs, whatever they are.

    One output alone stands for the second of two classes. Then it matters what it is: a logit, as soon as any picture
    so far has led out of [0, 1].
    """
    outputs.known(asked.outputs)
    network = networks.read(onnx, asked)
    seen: list[NDArray[Any]] = []  # the least and the largest output of all pictures so far

    def classify(given: list[images.Pixels]) -> Outputs:
        raw = network.outputs(given)
        if not np.isfinite(raw).all():
            raise ValueError("the network's outputs are not all finite numbers")
        if raw.shape[1] > 1:
            return Outputs(raw, raw)
        all_seen = np.concatenate([raw, *seen])
        probabilities = outputs.read(all_seen, asked.outputs).probabilities[: len(raw)]
        seen[:] = [np.array([[all_seen.min()], [all_seen.max()]])]
        return Outputs(probabilities, raw)

    return Own(_classes(classify, network), network.notes)


def _classes(classify: Classifier, network: Network) -> Classes:
    return Classes(classify, network.form.shape, count=max(network.classes, 2))


class Pictures(NamedTuple):
    """Files of pictures, the class that each shows, an integer, shape (n,), and what they are called."""

    files: list[bytes]
    labels: Samples
    names: list[str]


def data_set(name: str) -> Pictures:
    """The pictures that a trace was made of."""
    maker = MAKERS[checks.choice("model", name, MAKERS)]
    found = list(images.read_images(images.source_file(maker.images)))
    labels = np.array([maker.label_index[folder] for _, folder, _ in found])
    return Pictures([file for *_, file in found], labels, [name for name, *_ in found])


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
        self._names = [pictures.names[place] for place in order.tolist()]
        self._labels = pictures.labels[order]
        if int(pictures.labels.max()) >= classify.count:
            raise ValueError(
                f"the S-ML tells {classify.count} classes apart, but there are pictures of {pictures.labels.max() + 1}"
            )
        self._predicted = np.full(order.size, -1, dtype=np.intp)

    def __len__(self) -> int:
        return len(self._files)

    def classify(self, sample: int) -> float:
        """Decode the picture and compute on it; ValueError if it cannot be read."""
        try:
            predicted, confidence = self._classify(self._files[sample : sample + 1])
        except ValueError as error:
            raise ValueError(f"{self._names[sample]}: {error}") from None
        self._predicted[sample] = predicted[0]
        return min(float(confidence[0]), 1.0)

    @property
    def image_bytes(self) -> float:
        """Mean size of a picture's file."""
        return float(np.mean([len(file) for file in self._files]))

    def time_of_one(self) -> float:
        """ms that it takes for a picture, the median over some."""
        taken = []
        for sample in range(min(_TIMED, len(self._files))):
            begun = time.perf_counter()
            self.classify(sample)
            taken.append(1000 * (time.perf_counter() - begun))
        return float(np.median(taken))

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
    """An L-ML behind the wire."""

    def __init__(self, classify: Classes) -> None:
        self._classify = classify

    def answers(self, samples: Sequence[int], images: Sequence[Bytes]) -> list[int]:
        """Classes of these pictures.

        Raises
        ------
        ValueError
            One of them cannot be read, or has more than MOST_PIXELS pixels.
        """
        del samples
        return self._classify(images, MOST_PIXELS).classes.tolist()
