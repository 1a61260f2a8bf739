"""Real models on real images: the S-ML beside the data and its labels, the L-ML behind the wire.

Needs the extra `models` and the images and models that `data/README.md` names. What is sent is a picture's own file.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hi_lib import checks
from hi_lib.makers import images, models
from hi_lib.makers.models import LMLS, MAKERS, Maker
from hi_lib.typing import Flags

Samples = NDArray[np.intp]


class Classes:
    """A model that says which class a picture's file shows, and how sure it is."""

    def __init__(self, name: str) -> None:
        known = MAKERS | LMLS
        self.maker: Maker = known[checks.choice("model", name, known)]
        self._model: Any = self.maker.load(models.model_file(self.maker.model))
        # What a runtime does only once is not a sample's time.
        self._model([np.zeros((self.maker.side, self.maker.side, 3), np.uint8)])

    def __call__(self, files: Sequence[bytes]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Classes and confidences, each of shape (m,)."""
        pictures = [images.preprocess("picture", file, self.maker.side) for file in files]
        probabilities, _ = self._model(pictures)
        best = np.asarray(probabilities).argmax(axis=1)
        return best + self.maker.first_class, np.asarray(probabilities)[np.arange(best.size), best]


class RealSmall:
    """An S-ML that computes on pictures of the data set that its trace was made of.

    Parameters
    ----------
    name : str
        One of `makers.models.MAKERS`.
    samples : int
        How many pictures, the first ones of a shuffled order.
    seed : int
        Decides that order.
    """

    def __init__(self, name: str, samples: int, seed: int) -> None:
        self._classify = Classes(name)
        maker = self._classify.maker
        found = list(images.read_images(images.source_file(maker.images)))
        order = np.random.default_rng(seed).permutation(len(found))[: checks.whole("samples", samples)]
        self._files = [found[place][2] for place in order.tolist()]
        self._labels = np.array([maker.label_index[found[place][1]] for place in order.tolist()])
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

    def __init__(self, name: str) -> None:
        self._classify = Classes(name)

    def answers(self, samples: Sequence[int], images: Sequence[bytes]) -> list[int]:
        """Classes of these pictures."""
        del samples
        try:
            return [int(one) for one in self._classify(images)[0]]
        except ValueError:
            return [self._answer(image) for image in images]

    def _answer(self, image: bytes) -> int:
        try:
            return int(self._classify([image])[0][0])
        except ValueError:
            return -1
