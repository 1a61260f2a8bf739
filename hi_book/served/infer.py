"""A server of others as the edge server: whatever speaks the Open Inference Protocol, as Triton, KServe and OVMS do.

A gateway stands at the far end of the link in place of our server, in the device's own process. It decodes the
pictures of a batch, brings them to the size that the model wants, asks once for all of them, and takes the answer for
the device. A picture that cannot be read is left out, and what fails is answered at once, as unknown.

The protocol tells no time of the server. What stands for it is this client's own: from request to answer, less what
a call that carries nothing took at the start. What pictures cost on the way beyond that counts as the server's.
"""

from __future__ import annotations

import contextlib
import functools
import socket
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import zmq
from numpy.typing import NDArray
from tritonclient.grpc import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException, triton_to_np_dtype

from hi_book.makers import images
from hi_book.makers.classifiers import IMAGENET_MEAN, IMAGENET_STD
from hi_book.makers.images import CIFAR10_MEAN, CIFAR10_STD
from hi_lib import checks
from hi_lib.typing import Bytes
from hi_live.server import LOCAL, parsed_address
from hi_live.wire import MOST_BYTES, Assembly, Reply, Request, WireError, pack_reply, receive

_PATIENCE = 50  # ms between two looks at whether to stop
_AT_START = 20.0  # seconds for each call before the run: a server may load the model now
_TRIES, _BETWEEN_TRIES = 4, 0.2  # seconds
_PINGS = 9
_MOST_CLASS = 2**53
_CHANNEL = [
    ("grpc.max_send_message_length", -1),  # pictures are large: the server sets the limit
    ("grpc.max_receive_message_length", MOST_BYTES),
    # A server that comes back is found as soon as the device asks again; by default gRPC waits up to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
]
# By datatype of an input: whole numbers are pixels as they are.
_INPUTS: dict[str, Any] = {"UINT8": np.uint8, "FP16": np.float16, "FP32": np.float32}
# Where numbers stand that a server does not send as raw bytes.
_TYPED = {"FP32": "fp32_contents", "FP64": "fp64_contents", "INT64": "int64_contents", "UINT64": "uint64_contents"}
_TYPED |= dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents")
_TYPED |= dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents")
# What is taken from values of 0 to 1, and by what the rest is divided.
SCALINGS: dict[str, tuple[Any, Any]] = {
    "unit": (0.0, 1.0),
    "signed": (0.5, 0.5),
    "bytes": (0.0, 1 / 255),
    "cifar10": (CIFAR10_MEAN, CIFAR10_STD),
    "imagenet": (IMAGENET_MEAN, IMAGENET_STD),
}


@dataclass(frozen=True)
class Wanted:
    """What a model wants and means, as far as the protocol does not tell.

    Parameters
    ----------
    scaling : str
        Of floating-point pictures: "unit", values from 0 to 1; "signed", −1 to 1; "bytes", 0 to 255; "cifar10" and
        "imagenet", less the mean of that data set, by its deviation.
    side : int, optional
        Of the pictures, where the model leaves it open.
    first_class : int
        Which class the model's first output stands for: −1 where one for the background comes before all others.
    """

    scaling: str = "unit"
    side: int | None = None
    first_class: int = 0

    def __post_init__(self) -> None:
        checks.choice("--lml-scaling", self.scaling, SCALINGS)
        if self.side is not None:
            checks.whole("--lml-side", self.side)


class _Input(NamedTuple):
    """What the model takes: pictures of this side, channels first or last, any number of them or exactly so many."""

    name: str
    datatype: str
    side: int
    last: bool
    exactly: int | None


class Model:
    """A model on a server.

    Parameters
    ----------
    address : str
        grpc://HOST:PORT/MODEL.
    wanted : Wanted
    most : int
        Pictures of the largest request.
    timeout : float
        ms after which a request is given up.

    Raises
    ------
    ValueError
        No server there, no such model, or one that does not take pictures and answer with classes.
    """

    def __init__(self, address: str, wanted: Wanted, most: int, timeout: float) -> None:
        _, target, self.name = checked_address(address, insecure=True)
        self._wanted, self._timeout = wanted, timeout / 1000
        self._client = InferenceServerClient(target, channel_args=_CHANNEL)
        try:
            metadata = self._metadata()
            self._input = _input(self.name, metadata.inputs, wanted.side)
            self._output = metadata.outputs[0].name if metadata.outputs else None
            if self._input.exactly is not None and most > self._input.exactly:
                raise ValueError(f"{self.name} takes {self._input.exactly} pictures at once: no larger --batch-size")
            self._try(1)
            self._try_many(most)
            self.empty_call = self._ping()
        except InferenceServerException as error:
            self._client.close()
            raise ValueError(f"{address} does not answer: {error.message()}") from None
        except ValueError:
            self._client.close()
            raise

    def pixels(self, file: Bytes) -> images.Pixels:
        """A picture as large as the model wants it; ValueError if it cannot be read."""
        return images.preprocess("picture", file, self._input.side)

    def ask(self, tensor: InferInput, hear: Callable[..., None]) -> None:
        """Ask for the classes of these pictures; `hear` is called from another thread with a result or an error."""
        self._client.async_infer(self.name, [tensor], hear, outputs=self._asked_for(), client_timeout=self._timeout)

    def classes(self, response: Any, pictures: int) -> tuple[int, ...]:
        """What a response says of so many pictures.

        Raises
        ------
        ValueError
            It is none of: probabilities or logits (m, classes), or classes (m,) or (m, 1).
        """
        values = _values(response, self._output)
        rows = self._input.exactly or pictures
        if values.ndim == 0 or values.shape[0] != rows or not values.size:
            raise ValueError(f"{self.name} answers with shape {values.shape} for {rows} pictures")
        table = values.reshape(rows, -1)[:pictures]
        if table.shape[1] > 1:
            if not np.isfinite(table).all():
                raise ValueError(f"{self.name} answers with a score that is no number")
            found = table.argmax(axis=1)
        elif np.issubdtype(table.dtype, np.integer):
            found = table[:, 0]
        else:
            raise ValueError(f"{self.name} answers with one {table.dtype} a picture: neither classes nor their scores")
        if int(found.max()) >= _MOST_CLASS:
            raise ValueError(f"{self.name} answers with a class of {found.max()}")
        return tuple(int(one) + self._wanted.first_class for one in found)

    def close(self) -> None:
        """Hang up; what is still out is given up."""
        self._client.close()

    def _metadata(self) -> Any:
        """What the server says of the model; a busy machine may need more than one try to connect."""
        for _ in range(_TRIES - 1):
            with contextlib.suppress(InferenceServerException):
                return self._client.get_model_metadata(self.name, client_timeout=_AT_START)
            time.sleep(_BETWEEN_TRIES)
        return self._client.get_model_metadata(self.name, client_timeout=_AT_START)

    def _asked_for(self) -> list[InferRequestedOutput] | None:
        return None if self._output is None else [InferRequestedOutput(self._output)]

    def tensor(self, pictures: list[images.Pixels]) -> InferInput:
        """The input of a request; where the model takes an exact number of pictures, black ones fill it up."""
        pixels: NDArray[Any] = np.stack(pictures)
        if self._input.exactly is not None:
            missing = self._input.exactly - len(pixels)
            pixels = np.concatenate([pixels, np.zeros((missing, *pixels.shape[1:]), np.uint8)])
        if self._input.datatype != "UINT8":
            less, by = (np.float32(each) for each in SCALINGS[self._wanted.scaling])
            pixels = ((pixels / np.float32(255) - less) / by).astype(_INPUTS[self._input.datatype])
        if not self._input.last:
            pixels = pixels.transpose(0, 3, 1, 2)
        tensor = InferInput(self._input.name, list(pixels.shape), self._input.datatype)
        tensor.set_data_from_numpy(np.ascontiguousarray(pixels))
        return tensor

    def _try(self, count: int) -> None:
        """Black pictures: what does not fit is known before the run, and what a server does only once is done."""
        tensor = self.tensor([np.zeros((self._input.side, self._input.side, 3), np.uint8)] * count)
        result = self._client.infer(self.name, [tensor], outputs=self._asked_for(), client_timeout=_AT_START)
        self.classes(result.get_response(), count)

    def _try_many(self, most: int) -> None:
        """As many pictures as the largest batch may send, now that it is known that the model takes one."""
        if most == 1:
            return
        try:
            self._try(most)
        except (ValueError, InferenceServerException) as error:
            why = error.message() if isinstance(error, InferenceServerException) else str(error)
            raise ValueError(
                f"{self.name} answers for one picture, but not for {most} at once: "
                f"choose a smaller --batch-size ({checks.one_line(why)})"
            ) from None

    def _ping(self) -> float:
        """How long a call takes that carries nothing, ms."""
        took = []
        for _ in range(_PINGS):
            begun = time.perf_counter()
            self._client.is_server_live(client_timeout=_AT_START)
            took.append(1000 * (time.perf_counter() - begun))
        return statistics.median(took)


class _Question(NamedTuple):
    """A request that is out: whose, which of its pictures could be read, and when it came and went on."""

    device: Bytes
    request: Request
    readable: list[int]
    came: float
    sent: float


class Gateway(threading.Thread):
    """Takes the requests that a link brings, asks a model, and gives its answers to the link.

    Several requests may be out at once, so that a server with several workers is used as it can be.

    Parameters
    ----------
    context : zmq.Context
        The link's.
    model : Model

    Attributes
    ----------
    address : str
        Where the link finds it.
    failed : int
        Requests without an answer to all of their pictures.
    last_failure : str
        Why the last one had none.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], model: Model) -> None:
        super().__init__(daemon=True)
        self.address = f"inproc://gateway-{id(self)}"
        self.failed, self.last_failure = 0, ""
        self._model, self._closing = model, threading.Event()
        self._socket = context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.bind(self.address)
        # Answers come in threads of gRPC, which may not touch this socket: they are left here, and one byte wakes us.
        self._answers: deque[tuple[_Question, float, Any, Any]] = deque()
        self._wake, self._woken = socket.socketpair()
        self._assembly = Assembly()  # of the only device that there is

    def close(self) -> None:
        """Stop asking; what is out is lost."""
        self._closing.set()
        self.join()
        self._model.close()
        self._wake.close()
        self._woken.close()

    def run(self) -> None:
        """Ask and answer until closed."""
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._woken, zmq.POLLIN)
        while not self._closing.is_set():
            ready = dict(poller.poll(_PATIENCE))
            if self._socket in ready:
                self._ask(receive(self._socket))
            if self._woken.fileno() in ready:
                self._woken.recv(4096)
            while self._answers:
                self._answer(*self._answers.popleft())
        self._socket.close()

    def _ask(self, frames: list[Bytes]) -> None:
        """Go on with a request, once all of its parts are here."""
        came = time.perf_counter()
        try:
            request = self._assembly.add(frames[1])
        except WireError:  # the link was full, and lost some of them
            return
        if request is None:
            return
        pixels, problem = {}, None
        for place, file in enumerate(request.images):
            try:
                pixels[place] = self._model.pixels(file)
            except ValueError as error:
                problem = error
        asked = _Question(frames[0], request, list(pixels), came, time.perf_counter())
        if not pixels:
            self._answers.append((asked, came, None, problem))
            return
        if problem:
            self._fail(problem)
        try:
            self._model.ask(self._model.tensor(list(pixels.values())), functools.partial(self._hear, asked))
        except (ValueError, InferenceServerException) as error:
            self._answers.append((asked, came, None, error))

    def _hear(self, asked: _Question, result: Any, error: Any) -> None:
        self._answers.append((asked, time.perf_counter(), result, error))
        try:
            self._wake.send(b".")
        except OSError:  # closed by now: nobody waits for it
            self._answers.clear()

    def _answer(self, asked: _Question, done: float, result: Any, error: Any) -> None:
        try:
            if error is not None:
                raise error
            answers = self._model.classes(result.get_response(), len(asked.readable))
        except (ValueError, InferenceServerException) as failure:
            self._fail(failure)
            answers = ()
        self._reply(asked, done, answers)

    def _reply(self, asked: _Question, done: float, answers: Sequence[int]) -> None:
        """Answer for the pictures that could be read, or for none; all others are unknown."""
        request = asked.request
        known = dict(zip(asked.readable, answers, strict=True)) if answers else {}
        computing = max(0.0, 1000 * (done - asked.sent) - self._model.empty_call) if answers else 0.0
        resident = max(computing, 1000 * (done - asked.came) - self._model.empty_call)
        every = tuple(known.get(place) for place in range(len(request.samples)))
        reply = Reply(request.run, request.number, request.samples, every, resident, computing)
        self._socket.send_multipart([asked.device, pack_reply(reply)])

    def _fail(self, error: Exception) -> None:
        self.failed += 1
        self.last_failure = error.message() if isinstance(error, InferenceServerException) else str(error)


class Target(NamedTuple):
    """A model's address as it is given, and its server's and its name."""

    address: str
    server: str
    model: str


def checked_address(address: str, insecure: bool = False) -> Target:
    """The address, if it is one, and if only this machine can be meant or others are expressly allowed.

    Raises
    ------
    ValueError
        No grpc://HOST:PORT/MODEL, or another machine, to which nothing is encrypted.
    """
    parts = parsed_address(address)
    if parts is None or parts.scheme != "grpc" or not parts.port or not parts.path:
        raise ValueError(f"--server must be grpc://HOST:PORT/MODEL, got {checks.shown(address)}")
    if parts.host not in LOCAL and not insecure:
        raise ValueError(f"--server {parts.host} is another machine, and grpc:// encrypts nothing: allow --insecure")
    return Target(address, address.removeprefix("grpc://").partition("/")[0], parts.path)


def _input(model: str, inputs: Sequence[Any], side: int | None) -> _Input:
    """What the model takes, by its metadata; errors as for `Model`."""
    if len(inputs) != 1:
        raise ValueError(f"{model} takes {len(inputs)} inputs; it must take one: pictures")
    name, datatype, shape = inputs[0].name, inputs[0].datatype, list(inputs[0].shape)
    last = len(shape) == 4 and shape[3] == 3
    if len(shape) != 4 or not (last or shape[1] == 3) or datatype not in _INPUTS:
        raise ValueError(
            f"{model} takes {datatype} of shape {shape}; it must take {', '.join(_INPUTS)} of shape (n, 3, side, side) "
            "or (n, side, side, 3)"
        )
    height, width = shape[1:3] if last else shape[2:4]
    fixed = height if height > 0 else None
    if fixed is None and side is None:
        raise ValueError(f"{model} leaves the size of its pictures open (shape {shape}): say it with --lml-side")
    if fixed and (width != fixed or side not in (None, fixed)):
        raise ValueError(f"{model} takes pictures of {height} x {width}; leave --lml-side out, and both must be equal")
    return _Input(name, datatype, fixed or side or 0, last, shape[0] if shape[0] > 0 else None)


def _values(response: Any, name: str | None) -> NDArray[Any]:
    """The output of this name, else the first one: a server may send more than it was asked for.

    It comes as raw bytes or as typed numbers. (tritonclient's own reader knows raw bytes only, and takes typed numbers
    for none.)
    """
    place = next((k for k, each in enumerate(response.outputs) if name in (None, each.name)), None)
    if place is None:
        raise ValueError(f"the server answers without the output {name}")
    output = response.outputs[place]
    if output.datatype not in (*_TYPED, "FP16"):
        raise ValueError(f"the server answers with {output.datatype}: no numbers")
    kind = np.dtype(triton_to_np_dtype(output.datatype))
    if place < len(response.raw_output_contents):
        flat = np.frombuffer(response.raw_output_contents[place], kind)
    else:
        flat = np.array(getattr(output.contents, _TYPED.get(output.datatype, "fp32_contents")), kind)
    return flat.reshape(tuple(output.shape))
