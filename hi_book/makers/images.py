"""Pictures and model files: where they are looked for, how they are checked, read and brought to size."""

from __future__ import annotations

import io
import logging
import os
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hi_lib import checks, traces
from hi_lib.typing import Bytes

# What decoders say of a damaged picture is an error of ours, and no line on the terminal.
logging.getLogger("PIL").addHandler(logging.NullHandler())

Pixels = NDArray[np.uint8]
Shape = tuple[int, int, int]  # of a picture: height, width, channels
PREPROCESSINGS = ("bilinear", "bicubic", "nearest", "centre crop")
CIFAR10_CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
CIFAR10_MEAN, CIFAR10_STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)  # of a colour channel
# The formats that are read, whatever a file is called: Pillow knows some that run programs, as Ghostscript for EPS.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
_SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}


def source_folder() -> Path:
    """Where images and models are looked for: $HI_DATA, else the user's cache."""
    return Path(os.environ.get("HI_DATA") or cache_folder())


def cache_folder() -> Path:
    """Where downloads and half-trained models go: always writable, unlike $HI_DATA."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "batch-hi"


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


def read_images(path: Path) -> Iterator[tuple[str, str, bytes]]:
    """Yield (name, class folder, file content) of every image in a zip or folder, sorted by name.

    Raises
    ------
    ValueError
        Neither a zip nor a folder, or no image in it.
    """
    found = _read_folder(path) if path.is_dir() else _read_zip(path)
    first = next(found, None)
    if first is None:
        raise ValueError(f"{path} holds no image: it must have a folder for each class, with its pictures in it")
    yield first
    yield from found


def _read_folder(path: Path) -> Iterator[tuple[str, str, bytes]]:
    for file in sorted(path.rglob("*")):
        if file.suffix.lower() in _SUFFIXES and not file.name.startswith("."):
            try:
                yield file.relative_to(path).as_posix(), file.parent.name, file.read_bytes()
            except OSError as error:  # among them a link to nowhere
                raise ValueError(f"{file} cannot be read: {error.strerror}") from None


def _read_zip(path: Path) -> Iterator[tuple[str, str, bytes]]:
    try:
        with zipfile.ZipFile(path) as archive:
            for name in sorted(name for name in archive.namelist() if not name.endswith("/")):
                yield name, Path(name).parent.name, archive.read(name)
    # Encrypted archives are RuntimeErrors, unknown compressions NotImplementedErrors, broken streams errors of zlib.
    except (OSError, RuntimeError, EOFError, zlib.error, zipfile.BadZipFile, zipfile.LargeZipFile) as error:
        raise ValueError(f"{path} is neither a folder nor a readable zip of images: {error}") from None


def preprocess(name: str, data: Bytes, side: int, how: str = "bilinear") -> Pixels:
    """Decode one picture and bring it to (side, side, 3) uint8; `how` is one of PREPROCESSINGS.

    Raises
    ------
    ValueError
        The picture `name` is of none of FORMATS or cannot be decoded, or an unknown preprocessing.
    """
    from PIL import Image

    resize = "bilinear" if how == "centre crop" else checks.choice("preprocessing", how, PREPROCESSINGS)
    picture = _decoded(name, data, "RGB")
    if how == "centre crop":
        # The usual ImageNet evaluation: keep the central 87.5 % of the shorter side.
        edge = round(0.875 * min(picture.size))
        left, top = (picture.width - edge) // 2, (picture.height - edge) // 2
        picture = picture.crop((left, top, left + edge, top + edge))
    return np.asarray(picture.resize((side, side), Image.Resampling[resize.upper()]))


def resized(name: str, data: Bytes, shape: Shape, most_pixels: int | None = None) -> Pixels:
    """Decode one picture and bring it to a shape (height, width, channels), uint8; one channel is without its colours.

    Raises
    ------
    ValueError
        The picture `name` is of none of FORMATS, cannot be decoded, or has more pixels than allowed; then it is not
        decoded at all.
    """
    from PIL import Image

    height, width, channels = shape
    picture = _decoded(name, data, "L" if channels == 1 else "RGB", most_pixels)
    return np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR)).reshape(height, width, -1)


def _decoded(name: str, data: Bytes, mode: str, most_pixels: int | None = None) -> Any:
    from PIL import Image, UnidentifiedImageError

    try:
        picture = Image.open(io.BytesIO(data), formats=FORMATS)
        if most_pixels is not None and picture.width * picture.height > most_pixels:
            raise ValueError(f"{picture.width} x {picture.height} pixels, more than {most_pixels:,}")
        return picture.convert(mode)
    except UnidentifiedImageError:
        raise ValueError(f"{name} is not a readable image: it must be {', '.join(FORMATS[:-1])} or WebP") from None
    except Exception as error:  # a damaged picture may make a decoder raise anything
        why = checks.one_line(str(error)) or type(error).__name__
        raise ValueError(f"{name} is not a readable image: {why}") from None


def download(archive: str) -> Iterator[tuple[str, str, bytes]]:
    """The images of `archive`, "imagenette/val.zip" or a CIFAR-10 one, by way of torchvision.

    They go to the cache, and are fetched once. CIFAR-10 is the same data as the archive; Imagenette comes in its
    original sizes, so that a trace of it will differ a little from the shipped ones.
    """
    from torchvision import datasets

    data_set, _, part = archive.removesuffix(".zip").partition("/")
    root = cache_folder() / data_set
    root.mkdir(parents=True, exist_ok=True)
    try:
        if data_set == "imagenette":
            fetched = datasets.Imagenette(root, split=part, size="full", download=True)
            return read_images(Path(fetched._image_root))
        return _cifar10(datasets.CIFAR10(root, train=part == "train", download=True), part)
    except (OSError, RuntimeError) as error:
        raise ValueError(
            f"torchvision could not fetch {data_set} to {root}: {error}. "
            f"Put {archive} into a folder and set HI_DATA to that folder instead"
        ) from None


def download_weights(name: str) -> Path:
    """Fetch torchvision's AlexNet, checked against the part of its hash that torchvision writes into its name."""
    import torch
    from torchvision.models import AlexNet_Weights

    target = cache_folder() / name
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.is_file():
        try:
            prefix = traces.registry()[name].sha256
            torch.hub.download_url_to_file(AlexNet_Weights.IMAGENET1K_V1.url, str(target), hash_prefix=prefix)
        except (OSError, RuntimeError) as error:
            raise ValueError(
                f"{target.name} could not be fetched: {error}. Put it at {source_folder() / name} instead"
            ) from None
    traces.verify_hash(target, traces.registry()[name].sha256)
    return target


def _cifar10(fetched: Any, part: str) -> Iterator[tuple[str, str, bytes]]:
    for number, (picture, label) in enumerate(fetched):
        data = io.BytesIO()
        picture.save(data, "BMP")  # decoded again where every other picture is
        yield f"{part}/{CIFAR10_CLASSES[label]}/{number:05d}.bmp", CIFAR10_CLASSES[label], data.getvalue()
