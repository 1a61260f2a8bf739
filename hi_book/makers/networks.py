"""Any ONNX classifier: what it wants pictures to be, and its outputs for them. Needs the extra `onnx`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hi_book.makers.images import Pixels, Shape
from hi_lib import checks

LAYOUTS = ("nchw", "nhwc")
# What a network may take its pictures as.
_TYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
    "tensor(int8)": np.int8,
}
_AT_ONCE = 100  # pictures, where the network takes any number

Run = Callable[[NDArray[Any]], Any]


@dataclass(frozen=True)
class ModelOptions:
    """What the user says of a network; what is None is read from the file or guessed.

    Attributes
    ----------
    size : int or None
        Side of the pictures in pixels, where the network leaves it open.
    layout : str or None
        One of LAYOUTS: channels first or last.
    grey : bool
        Pictures lose their colours.
    scale, mean, std
        Pixels from 0 to 255 become (scale · pixel − mean) / std; `mean` and `std` hold one number, or one a channel.
    outputs : str or None
        "probabilities" or "logits".
    classes : Path or None
        A file that names the class of each folder.
    """

    size: int | None = None
    layout: str | None = None
    grey: bool = False
    scale: float | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    outputs: str | None = None
    classes: Path | None = None


class Form(NamedTuple):
    """How a network takes its pictures; `batch` is None where it takes any number of them."""

    height: int
    width: int
    channels: int
    layout: str
    grey: bool
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    dtype: Any
    batch: int | None

    @property
    def shape(self) -> Shape:
        """Of a picture that it is given."""
        return self.height, self.width, 1 if self.grey else 3

    def __str__(self) -> str:
        colours = "grey" if self.grey else "RGB"
        scale = "1/255" if self.scale == 1 / 255 else f"{self.scale:g}"
        mean, std = (",".join(f"{each:g}" for each in values) for values in (self.mean, self.std))
        return (
            f"{colours} pictures of {self.width} x {self.height}, --layout {self.layout}, "
            f"--scale {scale}, --mean {mean}, --std {std}"
        )


class Network(NamedTuple):
    """A network that was read: its form, how many outputs it has, and raw outputs (n, classes) of pictures."""

    form: Form
    classes: int
    outputs: Callable[[Sequence[Pixels]], NDArray[Any]]
    notes: list[str]


def read(path: Path, asked: ModelOptions) -> Network:
    """Read an ONNX classifier, and try it on an empty picture.

    Raises
    ------
    ValueError
        Not a readable model, one that takes no pictures or something beside them, pictures of open size with no `size`
        given, or outputs that are not (n, classes).
    """
    if not path.is_file():  # a device or a pipe would be read for ever
        why = "it is no file" if path.exists() else "it is missing"
        raise ValueError(f"{path} is not a readable ONNX model: {why}")
    import onnxruntime

    onnxruntime.set_default_logger_severity(3)  # what goes wrong is said once, as an error
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has a kind of its own for every way a file can be wrong
        raise ValueError(f"{path} is not a readable ONNX model: {_first_line(error)}") from None
    sources = session.get_inputs()
    if len(sources) != 1:
        raise ValueError(f"{path} takes {len(sources)} inputs; it must take pictures, and nothing else")
    form, notes = form_of(path, sources[0].shape, sources[0].type, asked)

    def run(batch: NDArray[Any]) -> Any:
        try:
            return session.run(None, {sources[0].name: batch})
        except Exception as error:  # again a kind of its own for everything
            raise ValueError(f"{path} fails on {len(batch)} pictures: {_first_line(error)}") from None

    return tried(path, form, run, notes)


def tried(path: Path, form: Form, run: Run, notes: list[str]) -> Network:
    """The network that `run` makes of batches, once it has answered for a batch of empty pictures.

    One that claims to take any number of pictures, and fails on two, is given one at a time.
    """
    for batch in [form.batch] if form.batch else [2, 1]:
        empty = [np.zeros(form.shape, np.uint8)] * batch
        try:
            which, classes = _chosen(path, run(prepared(form, empty)), batch)
            break
        except ValueError:
            if form.batch or batch == 1:
                raise
    if batch == 1:
        form = form._replace(batch=1)

    def outputs(pictures: Sequence[Pixels]) -> NDArray[Any]:
        return in_batches(lambda part: run(part)[which], prepared(form, pictures), form.batch)

    return Network(form, classes, outputs, notes)


def form_of(path: Path, shape: Sequence[Any], kind: str, asked: ModelOptions) -> tuple[Form, list[str]]:
    """What a network wants of pictures, by the shape and type of its input and by what the user says; and notes.

    Raises
    ------
    ValueError
        The input is no picture, its size is open, or what the user says contradicts it.
    """
    sizes = [each if isinstance(each, int) and each > 0 else None for each in shape]
    if kind not in _TYPES or len(sizes) != 4:
        raise ValueError(_no_pictures(path, shape, kind))
    layout = _layout(path, sizes, asked.layout, _no_pictures(path, shape, kind))
    channels = (sizes[1] if layout == "nchw" else sizes[3]) or (1 if asked.grey else 3)
    height, width = _size(path, shape, sizes[2:] if layout == "nchw" else sizes[1:3], asked.size)
    scale = _scale(kind, asked)
    mean, std = (_each(name, values, channels) for name, values in (("--mean", asked.mean), ("--std", asked.std)))
    if 0 in std:
        raise ValueError("--std must not be 0")
    grey = asked.grey or channels == 1
    form = Form(height, width, channels, layout, grey, scale, mean or (0.0,), std or (1.0,), _TYPES[kind], sizes[0])
    guessed = [] if asked.scale is not None else ["--scale"]
    if asked.layout is None and (sizes[1] in (1, 3)) == (sizes[3] in (1, 3)):
        guessed.append("--layout")
    return form, [f"{path.name} is given {form}" + (f" (guessed: {', '.join(guessed)})" if guessed else "")]


def prepared(form: Form, pictures: Sequence[Pixels]) -> NDArray[Any]:
    """Pictures of (height, width, channels), 0 to 255, as the network takes them."""
    pixels: NDArray[Any] = np.stack(pictures).astype(np.float32)
    pixels = (pixels * np.float32(form.scale) - np.array(form.mean, np.float32)) / np.array(form.std, np.float32)
    if pixels.shape[-1] != form.channels:  # grey ones for a network that takes colours
        pixels = np.repeat(pixels[..., :1], form.channels, axis=-1)
    if form.layout == "nchw":
        pixels = pixels.transpose(0, 3, 1, 2)
    if np.issubdtype(form.dtype, np.integer):
        limits = np.iinfo(form.dtype)
        pixels = np.clip(np.rint(pixels), limits.min, limits.max)
    return np.ascontiguousarray(pixels, form.dtype)


def in_batches(run: Run, pixels: NDArray[Any], batch: int | None) -> NDArray[Any]:
    """Outputs for all pictures where the network takes `batch` at once: the last batch is filled with its last picture.

    Examples
    --------
    >>> in_batches(lambda part: part + len(part), np.arange(5), 3)
    array([3, 4, 5, 6, 7])
    """
    size, parts = batch or _AT_ONCE, []
    for start in range(0, len(pixels), size):
        part = pixels[start : start + size]
        missing = size - len(part) if batch else 0
        parts.append(run(np.concatenate([part, np.repeat(part[-1:], missing, axis=0)]))[: len(part)])
    return np.concatenate(parts)


def _chosen(path: Path, outputs: Sequence[Any], n: int) -> tuple[int, int]:
    """Which of the outputs for n pictures tells classes, the first that can, and how many."""
    for place, output in enumerate(outputs):
        numbers = isinstance(output, np.ndarray) and output.dtype.kind in "fiu"
        if numbers and output.ndim == 2 and len(output) == n and output.shape[1]:
            return place, output.shape[1]
    shapes = ", ".join(str(getattr(output, "shape", type(output).__name__)) for output in outputs)
    raise ValueError(
        f"{path} answers {n} picture{'s' * (n > 1)} with an output of shape {shapes}; it must be (n, classes), "
        f"here ({n}, classes)"
    )


def _layout(path: Path, sizes: Sequence[int | None], asked: str | None, refusal: str) -> str:
    """Channels first or last: where the shape tells three channels or one, or may do so; first where both may."""
    if asked is not None:
        checks.choice("--layout", asked, LAYOUTS)
    first, last = (sizes[place] in (1, 3) for place in (1, 3))
    if not first and not last:
        first, last = (sizes[place] is None for place in (1, 3))
    found = [name for name, may in zip(LAYOUTS, (first, last), strict=True) if may]
    if not found:
        raise ValueError(refusal)
    if asked is not None and asked not in found:
        raise ValueError(f"{path} takes pictures of shape {list(sizes)}: --layout must be {found[0]}, got {asked}")
    return asked or found[0]


def _size(path: Path, shape: Sequence[Any], sizes: Sequence[int | None], asked: int | None) -> tuple[int, int]:
    """Height and width: the network's own, and what the user says where it leaves them open."""
    if asked is not None:
        checks.whole("--size", asked)
    if asked is None and None in sizes:
        raise ValueError(f"{path} leaves the size of its pictures open (shape {list(shape)}): say it with --size")
    height, width = (each or asked or 0 for each in sizes)
    if asked is not None and (height, width) != (asked, asked):
        raise ValueError(f"{path} takes pictures of {height} x {width}: --size must be left out, got {asked}")
    return height, width


def _scale(kind: str, asked: ModelOptions) -> float:
    """The user's factor; else 1 where the network takes whole numbers or the mean is one of pixels, else 1/255."""
    if asked.scale is not None:
        return checks.positive("--scale", asked.scale)
    whole = np.issubdtype(_TYPES[kind], np.integer)
    return 1.0 if whole or any(abs(each) > 1 for each in asked.mean or ()) else 1 / 255


def _each(name: str, values: tuple[float, ...] | None, channels: int) -> tuple[float, ...]:
    """One number for all channels, or one for each."""
    if values is not None and len(values) not in (1, channels):
        raise ValueError(f"{name} must hold one number or {channels}, one a channel, got {len(values)}")
    return tuple(checks.real(name, each, -1e9, 1e9) for each in values or ())


def _no_pictures(path: Path, shape: Sequence[Any], kind: str) -> str:
    return (
        f"{path} takes {kind} of shape {list(shape)}; it must take pictures (n, 3, height, width) or "
        "(n, height, width, 3), or 1 in place of 3, as float, uint8 or int8"
    )


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
