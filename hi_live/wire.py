"""What goes over the wire: small headers in MessagePack, and the bytes of pictures. Nothing is ever unpickled.

A request carries the offloads of one batch, its reply one answer each. A request travels in parts of at most 64 KiB,
each a message of one frame: so a limit on the messages that may wait is one on their bytes, and nothing large is ever
put together but by us, who count it. Every field is checked before it is used, since anyone who reaches the socket can
send anything.
"""

from __future__ import annotations

import contextlib
import itertools
import struct
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgpack
import zmq

from hi_lib.typing import Bytes

VERSION = 3
MOST_IMAGES = 4096  # a batch
MOST_BYTES = 64 * 2**20  # a request
PART = 64 * 2**10  # of a request, in a message
_HEADER_BYTES = 64 * 2**10
_MOST_OF_IMAGES = MOST_BYTES - _HEADER_BYTES
_PART = struct.Struct(">BQII")  # version, number of the transmission, where the part begins, how long all are together
_LENGTH = struct.Struct(">I")  # of a request's header
MOST_OF_PART = _PART.size + PART
MOST_OF_REPLY = 128 * 2**10
_MOST_CLASS = 2**53


class Request(NamedTuple):
    """The offloads of a batch: a number for each transmission of a run, and an image for each sample."""

    run: str
    number: int
    samples: tuple[int, ...]
    images: Sequence[Bytes]


class Reply(NamedTuple):
    """The answers to a request, and how long it was with the server, of which how long the L-ML computed, ms.

    It repeats which samples it answers. An answer of None is unknown: that picture could not be read, say.
    """

    run: str
    number: int
    samples: tuple[int, ...]
    answers: tuple[int | None, ...]
    resident: float
    computing: float


class WireError(ValueError):
    """A message that is none of ours."""


def receive(socket: zmq.Socket[Any]) -> list[Bytes]:
    """A message's frames, as views of what arrived; from this process only, since their number has no limit."""
    return [frame.buffer.toreadonly() for frame in socket.recv_multipart(copy=False)]


def send(socket: zmq.Socket[Any], parts: Sequence[Bytes], flags: int = 0) -> None:
    """Send parts, each as a message of its own."""
    for part in parts:
        socket.send(part, flags)


def pack_request(request: Request) -> list[Bytes]:
    """The parts of a request: header and images, one after the other, cut into pieces.

    Raises
    ------
    WireError
        More images, or more bytes, than a request may hold.
    """
    sizes = [len(image) for image in request.images]
    if len(sizes) > MOST_IMAGES or sum(sizes) > _MOST_OF_IMAGES:
        raise WireError(
            f"a batch of {len(sizes)} images with {sum(sizes):,} bytes is too large for one transmission: "
            f"at most {MOST_IMAGES} images and {_MOST_OF_IMAGES:,} bytes, so choose smaller batches"
        )
    fields = {"run": request.run, "number": request.number, "samples": list(request.samples), "sizes": sizes}
    header = msgpack.packb(fields)
    whole = [_LENGTH.pack(len(header)) + header, *request.images]
    length = sum(map(len, whole))
    parts = enumerate(_cut(whole, PART))
    return [b"".join([_PART.pack(VERSION, request.number, PART * place, length), *part]) for place, part in parts]


def _cut(whole: Sequence[Bytes], size: int) -> Iterator[list[memoryview]]:
    """Bytes that lie in several places, in pieces of one size but for the last, without putting them together.

    >>> [[bytes(part) for part in piece] for piece in _cut([b"abc", b"de", b"f"], 2)]
    [[b'ab'], [b'c', b'd'], [b'e', b'f']]
    """
    piece, room = list[memoryview](), size
    for each in whole:
        left = memoryview(each)
        while left:
            piece.append(left[:room])
            left, room = left[room:], room - len(piece[-1])
            if not room:
                yield piece
                piece, room = [], size
    if piece:
        yield piece


class Assembly:
    """Puts the parts of one device's requests together; they come in order, one request after the other.

    Attributes
    ----------
    held : int
        Bytes that have come of a request that is not complete.
    """

    def __init__(self) -> None:
        self._begin(-1, 0)

    def add(self, part: Bytes) -> Request | None:
        """The request that this part completes, if it does.

        Raises
        ------
        WireError
            No part of this version, one that is out of order or too much, or a whole that is no request. What had come
            before is dropped then.
        """
        try:
            self._take(memoryview(part))
        except WireError:
            self._begin(-1, 0)
            raise
        if self.held < self._length:
            return None
        number, whole = self._number, b"".join(self._parts)
        self._begin(-1, 0)
        return read_request(number, memoryview(whole))

    def drop(self) -> Request | None:
        """Forget what has come of a request that is not complete; which one, without images, if that is known."""
        number, there = self._number, b"".join(self._parts[:2])  # its head is no longer
        self._begin(-1, 0)
        with contextlib.suppress(WireError):
            return _read_head(number, memoryview(there))[0]
        return None

    def _begin(self, number: int, length: int) -> None:
        self._number, self._length, self.held = number, length, 0
        self._parts: list[Bytes] = []

    def _take(self, part: memoryview) -> None:
        if not _PART.size < len(part) <= MOST_OF_PART:
            raise WireError(f"a part has a head of {_PART.size} bytes and at most {PART} of a request")
        version, number, at, length = _PART.unpack_from(part)
        if version != VERSION:
            raise WireError(f"a part must be of version {VERSION}")
        if at == 0:  # a new request, whatever became of the last one
            self._begin(number, length)
        if (number, at, length) != (self._number, self.held, self._length):
            raise WireError("a part must follow the one before it")
        # A small message is a part of libzmq's buffer, which would stay as long.
        full, data = len(part) == MOST_OF_PART, part[_PART.size :]
        self._parts.append(data if full else bytes(data))
        self.held += len(data)
        if self.held > length or length > MOST_BYTES or (self.held < length and not full):
            raise WireError(f"a request has at most {MOST_BYTES} bytes, and all its parts but the last one are full")


def read_request(number: int, whole: memoryview) -> Request:
    """The request that these bytes hold, put together of parts with this number.

    Raises
    ------
    WireError
        A header that is none, a number out of range, or images of other lengths than it says.
    """
    request, sizes, begin = _read_head(number, whole)
    if begin + sum(sizes) != len(whole):
        raise WireError("a request's images must be as long as they are together")
    images, ends = whole[begin:].toreadonly(), itertools.accumulate(sizes)
    return request._replace(images=[images[end - size : end] for size, end in zip(sizes, ends, strict=True)])


def _read_head(number: int, whole: memoryview) -> tuple[Request, list[int], int]:
    """A request without its images, their sizes, and where they begin."""
    (size,) = _LENGTH.unpack_from(whole) if len(whole) >= _LENGTH.size else (0,)
    begin = _LENGTH.size + size
    header = _header(whole[_LENGTH.size : begin], {"run": str, "number": int, "samples": list, "sizes": list})
    samples, sizes = header["samples"], header["sizes"]
    if not _all_whole([*samples, *sizes]):
        raise WireError("samples and sizes must be integers >= 0")
    if not 1 <= len(samples) <= MOST_IMAGES or len(sizes) != len(samples):
        raise WireError(f"a request holds 1 to {MOST_IMAGES} samples and an image for each")
    if header["number"] != number:
        raise WireError("a request must have the number of its parts")
    return Request(header["run"], number, tuple(samples), ()), sizes, begin


def pack_reply(reply: Reply) -> bytes:
    """The only frame of a reply."""
    fields = reply._asdict() | {"samples": list(reply.samples), "answers": list(reply.answers)}
    packed: bytes = msgpack.packb({"v": VERSION} | fields)
    return packed


def read_reply(frame: Bytes) -> Reply:
    """The reply that this frame holds.

    Raises
    ------
    WireError
        A header that is none or of another version, a number out of range, or not an answer for each sample.
    """
    if len(frame) > MOST_OF_REPLY:
        raise WireError(f"a reply has at most {MOST_OF_REPLY} bytes")
    kinds = {"v": int, "run": str, "number": int, "samples": list, "answers": list}
    header = _header(frame, kinds | {"resident": float, "computing": float})
    samples, answers = header["samples"], header["answers"]
    if header["v"] != VERSION:
        raise WireError(f"a reply must be of version {VERSION}")
    if not _all_whole(samples) or not all(map(is_answer, answers)) or len(samples) != len(answers):
        raise WireError("a reply has an answer for each sample: an integer below 2^53, or none")
    if not 0 <= header["computing"] <= header["resident"] < 1e9:
        raise WireError("a reply's times must be >= 0, and the L-ML's within the server's")
    return Reply(
        header["run"], header["number"], tuple(samples), tuple(answers), header["resident"], header["computing"]
    )


def is_answer(value: Any) -> bool:
    """Whether this is a class, or None for unknown."""
    return value is None or (type(value) is int and abs(value) < _MOST_CLASS)


def _all_whole(values: Sequence[Any]) -> bool:
    return all(type(value) is int and 0 <= value < 2**53 for value in values)


def _header(packed: Bytes, kinds: dict[str, type]) -> dict[str, Any]:
    try:
        # Limits on what msgpack builds, and no extension types: only plain values come out.
        header = msgpack.unpackb(
            packed,
            strict_map_key=True,
            max_ext_len=0,
            max_map_len=16,
            max_array_len=min(MOST_IMAGES, len(packed)),
        )
    except Exception:
        raise WireError("a header must be MessagePack") from None
    if type(header) is not dict or {name: type(value) for name, value in header.items()} != kinds:
        raise WireError(f"a header must hold {', '.join(kinds)}, and nothing else")
    if len(header["run"]) > 64 or not 0 <= header["number"] < 2**53:
        raise WireError("a run's name has at most 64 characters, a number is >= 0")
    return header
