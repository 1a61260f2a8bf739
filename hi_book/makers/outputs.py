"""Whether a network's outputs are probabilities or logits: decided once, from all that it says."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from hi_book.makers.temperature import softmax
from hi_lib import checks

KINDS = ("probabilities", "logits")
_ROUNDING = 1e-3  # by which a probability may leave [0, 1], e.g. in half precision
_STEPS = 256  # of a probability in eight bits


class Read(NamedTuple):
    """Probabilities (n, classes) with at least two classes, which of KINDS the outputs were, and why we think so."""

    probabilities: NDArray[np.float64]
    kind: str
    why: str


def read(raw: NDArray[Any], kind: str | None = None) -> Read:
    """Probabilities from all outputs (n, classes) of a network.

    Outputs that all lie from 0 to 1 are probabilities, quantised or not, and whatever they add up to. Whole numbers
    of eight bits are probabilities in steps of 1/256 if their rows add up to about one. One output stands for the
    second of two classes.

    Raises
    ------
    ValueError
        Outputs that are not numbers, whole numbers whose scale is not known, or no probabilities where the user says
        that they are.

    Examples
    --------
    >>> read(np.array([[0.9, 0.1], [0.5, 0.5]])).kind, read(np.array([[3.0, -1.0], [0.2, 0.8]])).kind
    ('probabilities', 'logits')
    """
    known(kind)
    values = _whole_numbers(raw, kind) if raw.dtype.kind in "iu" else raw.astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError("the network's outputs are not all finite numbers: are --scale, --mean and --std right?")
    low, high = float(values.min()), float(values.max())
    found = "probabilities" if low >= -_ROUNDING and high <= 1 + _ROUNDING else "logits"
    if kind == "probabilities" and found == "logits":
        raise ValueError(f"--outputs probabilities: the network's outputs go from {low:.4g} to {high:.4g}")
    chosen = kind or found
    why = _why(values, chosen)
    return Read(_probabilities(values, chosen), chosen, why if kind else f"{why} (guessed: --outputs)")


def known(kind: str | None) -> None:
    """Raise ValueError where the user says something that outputs cannot be."""
    if kind is not None:
        checks.choice("--outputs", kind, KINDS)


def _whole_numbers(raw: NDArray[Any], kind: str | None) -> NDArray[np.float64]:
    """Eight bits as probabilities, if their rows add up to one but for rounding; else as they are, if so asked."""
    limits = np.iinfo(raw.dtype)
    steps = raw.astype(np.float64) - limits.min
    slack = 4 + raw.shape[1] / 2  # each output is rounded by half a step at most
    near_one = np.abs(steps.sum(axis=1) - _STEPS) <= slack
    if kind != "logits" and limits.bits == 8 and (raw.shape[1] == 1 or near_one.all() or kind == "probabilities"):
        return steps / _STEPS
    if kind == "logits":
        return raw.astype(np.float64)
    raise ValueError(
        f"the network's outputs are whole numbers ({raw.dtype}) whose scale is not known: say --outputs logits "
        "if they are to be taken as they are"
    )


def _probabilities(values: NDArray[np.float64], kind: str) -> NDArray[np.float64]:
    if values.shape[1] == 1:
        second = np.clip(values, 0, 1) if kind == "probabilities" else special.expit(values)
        return np.hstack([1 - second, second])
    return np.clip(values, 0, 1) if kind == "probabilities" else softmax(values)


def _why(values: NDArray[np.float64], kind: str) -> str:
    """What was seen of the outputs."""
    sums = values.sum(axis=1)
    seen = f"they go from {values.min():.4g} to {values.max():.4g}"
    if values.shape[1] == 1:
        seen += ", one for each picture: the second of two classes"
    elif kind == "probabilities":
        seen += f" and add up to {sums.min():.4g} … {sums.max():.4g} for a picture"
    return seen
