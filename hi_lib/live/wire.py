"""What goes over the wire: a small header in MessagePack, and a raw frame with all images. Nothing is ever unpickled.

A request carries the offloads of one batch, its reply one answer each. Sizes are limited and every field is checked
before it is used, since anyone who reaches the socket can send anything.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgpack
import zmq

from hi_lib.typing import Bytes

VERSION = 2
MOST_IMAGES = 4096  # a batch
MOST_BYTES = 64 * 2**20  # a message
_HEADER_BYTES = 64 * 2**10
_MOST_OF_IMAGES = MOST_BYTES - _HEADER_BYTES


class Request(NamedTuple):
    """The offloads of a batch: a number for each transmission of a run, and an image for each sample."""

    run: str
    number: int
    samples: tuple[int, ...]
    images: Sequence[Bytes]


class Reply(NamedTuple):
    """The answers to a request, and how long it was with the server, of which how long the L-ML computed, ms."""

    run: str
    number: int
    answers: tuple[int, ...]
    resident: float
    computing: float


class WireError(ValueError):
    """A message that is none of ours."""


def receive(socket: zmq.Socket[Any]) -> list[Bytes]:
    """A message's frames, as views of what arrived: to copy sixteen pictures takes as long as to carry them."""
    return [frame.buffer.toreadonly() for frame in socket.recv_multipart(copy=False)]


def send(socket: zmq.Socket[Any], frames: Sequence[Bytes], flags: int = 0) -> None:
    """Send a message; large frames (64 KiB, says pyzmq) are not copied, and must not change."""
    socket.send_multipart(frames, flags, copy=False)


def pack_request(request: Request) -> list[Bytes]:
    """Frames of a request: header, then the images, one after the other; as frames of their own they travel slower.

    Raises
    ------
    WireError
        More images, or more bytes, than a message may hold.
    """
    sizes = [len(image) for image in request.images]
    if len(sizes) > MOST_IMAGES or sum(sizes) > _MOST_OF_IMAGES:
        raise WireError(
            f"a batch of {len(sizes)} images with {sum(sizes):,} bytes is too large for one transmission: "
            f"at most {MOST_IMAGES} images and {_MOST_OF_IMAGES:,} bytes, so choose smaller batches"
        )
    header = {"v": VERSION, "run": request.run, "number": request.number, "samples": list(request.samples)}
    return [msgpack.packb(header | {"sizes": sizes}), b"".join(request.images)]


def read_request(frames: Sequence[Bytes]) -> Request:
    """The request that these frames hold.

    Raises
    ------
    WireError
        A frame too many or too few, a header that is not one of this version, a number out of range, or too much.
    """
    header = _header(frames, {"run": str, "number": int, "samples": list, "sizes": list})
    samples, sizes = header["samples"], header["sizes"]
    if not all(type(value) is int and 0 <= value < 2**53 for value in [*samples, *sizes]):
        raise WireError("samples and sizes must be integers >= 0")
    if not 1 <= len(samples) <= MOST_IMAGES or len(sizes) != len(samples):
        raise WireError(f"a request holds 1 to {MOST_IMAGES} samples and an image for each")
    if len(frames) != 2 or len(frames[1]) != sum(sizes):
        raise WireError("a request has a header and a frame with its images, as long as they are together")
    images, ends = memoryview(frames[1]), itertools.accumulate(sizes)
    return Request(
        header["run"],
        header["number"],
        tuple(samples),
        [images[end - size : end] for size, end in zip(sizes, ends, strict=True)],
    )


def pack_reply(reply: Reply) -> list[Bytes]:
    """The only frame of a reply."""
    times = {"resident": reply.resident, "computing": reply.computing}
    header = {"v": VERSION, "run": reply.run, "number": reply.number, "answers": list(reply.answers), **times}
    return [msgpack.packb(header)]


def read_reply(frames: Sequence[Bytes]) -> Reply:
    """The reply that these frames hold; errors as for `read_request`."""
    kinds = {"run": str, "number": int, "answers": list, "resident": float, "computing": float}
    header = _header(frames, kinds)
    answers = header["answers"]
    whole = all(type(answer) is int and abs(answer) < 2**53 for answer in answers)
    if len(frames) != 1 or len(answers) > MOST_IMAGES or not whole:
        raise WireError("a reply is one frame with an integer for each image, below 2^53")
    if not 0 <= header["computing"] <= header["resident"] < 1e9:
        raise WireError("a reply's times must be >= 0, and the L-ML's within the server's")
    return Reply(header["run"], header["number"], tuple(answers), header["resident"], header["computing"])


def _header(frames: Sequence[Bytes], kinds: dict[str, type]) -> dict[str, Any]:
    if not frames or len(frames[0]) > _HEADER_BYTES or sum(map(len, frames)) > MOST_BYTES:
        raise WireError(f"a message has a header of at most {_HEADER_BYTES} bytes, and at most {MOST_BYTES} in all")
    try:
        # Limits on what msgpack builds, and no extension types: only plain values come out.
        header = msgpack.unpackb(
            frames[0],
            strict_map_key=True,
            max_ext_len=0,
            max_map_len=16,
            max_array_len=min(MOST_IMAGES, len(frames[0])),
        )
    except Exception:
        raise WireError("a header must be MessagePack") from None
    if type(header) is not dict or header.get("v") != VERSION:
        raise WireError(f"a header must be of version {VERSION}")
    if not all(type(header.get(name)) is kind for name, kind in kinds.items()):
        raise WireError(f"a header must hold {', '.join(kinds)}")
    if len(header["run"]) > 64 or not 0 <= header["number"] < 2**53:
        raise WireError("a run's name has at most 64 characters, a number is >= 0")
    return header
