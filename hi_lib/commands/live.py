"""Batch HI over a real wire: a server, a device, and both at once."""

from __future__ import annotations

import contextlib
import json
import math
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from hi_lib import checks, regret
from hi_lib.commands.line import complain, needs, one_line_errors, path_option, say
from hi_lib.commands.outputs import checked_output
from hi_lib.device.adaptive import AdaptiveBatchSize
from hi_lib.files import write_atomically
from hi_lib.learners import replay
from hi_lib.logs import network
from hi_lib.paper import setting_of
from hi_lib.traces import Trace, load_trace

if TYPE_CHECKING:
    from hi_lib.live.device import Plan, Small
    from hi_lib.live.infer import Gateway
    from hi_lib.live.report import Report
    from hi_lib.live.server import Large

app = typer.Typer(no_args_is_help=True, help="Batch HI over a real wire, measured against the model.")

TraceName = Annotated[str, typer.Option(help="A trace whose S-ML and L-ML are replayed with the paper's times.")]
Keys = Annotated[Path | None, typer.Option(help="Folder with keys of hi live keys: encrypts all.")]
Insecure = Annotated[bool, typer.Option(help="Allow other machines without keys, though nothing is encrypted.")]
Samples = Annotated[int, typer.Option(help="How many samples.")]
Beta = Annotated[float, typer.Option(help="Cost of an offload; a wrong answer costs 1.")]
BatchSize = Annotated[str, typer.Option(help="M, or adaptive.")]
Alpha = Annotated[float, typer.Option(help="Weight of the system time, for adaptive batches.")]
Deadline = Annotated[float | None, typer.Option(help="ms: adaptive batches plan for it, in place of --alpha.")]
Window = Annotated[str, typer.Option(help="Transmissions that may be out: a number, inf, or waits.")]
MaxWait = Annotated[float | None, typer.Option(help="A batch ends when its first sample is so many ms old.")]
Learner = Annotated[str, typer.Option(help="hil-f, hil-n or apple.")]
Feedback = Annotated[str, typer.Option(help="What offloads teach: labels, or lml, the L-ML's answer.")]
Rate = Annotated[float | None, typer.Option(help="Emulated uplink, bit/s; by default none.")]
NetworkTime = Annotated[
    str, typer.Option(help="Emulated network time, ms: a number, exponential:MEAN, or FILE[:COLUMN].")
]
Timeout = Annotated[float, typer.Option(help="After how many ms an answer counts as lost.")]
Seed = Annotated[int, typer.Option(help="Decides the order of the samples and the learner's draws.")]
LogFolder = Annotated[Path | None, typer.Option("--log", help="Folder for samples.csv and transmissions.csv.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Busy = Annotated[bool, typer.Option("--busy", help="Replayed models compute for their time, rather than sleep.")]
Sml = Annotated[str | None, typer.Option(help="A real S-ML on real images, in place of a trace (extra `models`).")]
Lml = Annotated[str | None, typer.Option(help="A real L-ML, in place of a trace (extra `models`).")]
Onnx = Annotated[Path | None, path_option("A classifier of your own, in place of a trace (extra `models`).")]
Images = Annotated[Path | None, path_option("For --onnx: folder or zip of pictures, a folder for each class.")]
Side = Annotated[int | None, typer.Option(help="Side of the pictures, if the ONNX model leaves it open.")]


@app.command()
@one_line_errors
def server(
    bind: Annotated[str, typer.Option(help="Address; port 0: any free one.")] = "tcp://127.0.0.1:5555",
    trace: TraceName = "cifar10-alexnet",
    lml: Lml = None,
    onnx: Onnx = None,
    side: Side = None,
    busy: Busy = False,
    seed: Seed = 0,
    keys: Keys = None,
    insecure: Insecure = False,
) -> None:
    """Answer devices until stopped (Ctrl-C, or the end of its input)."""
    _needs_its_extra()
    from hi_lib.live.server import Access, serve

    if lml and onnx:
        raise ValueError("--lml and --onnx are two L-MLs: give one of them")
    large, stop = _own_large(onnx, side) if onnx else _large(lml, trace, seed, busy), threading.Event()

    def ready(address: str) -> None:
        say(f"listening on {address}")
        sys.stdout.flush()

    if not sys.stdin.isatty():  # whoever started it has gone when its end of the pipe is closed
        threading.Thread(target=_until_the_end_of_input, args=(stop,), daemon=True).start()
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    served = serve(large, bind, stop, ready, Access(insecure, keys))
    say(f"{served.requests} requests answered, {served.refused} messages refused")


def _until_the_end_of_input(stop: threading.Event) -> None:
    sys.stdin.read()
    stop.set()


@app.command()
@one_line_errors
def device(
    server: Annotated[
        str, typer.Option(help="Address of the server; grpc://HOST:PORT/MODEL: one of the Open Inference Protocol.")
    ] = "tcp://127.0.0.1:5555",
    trace: TraceName = "cifar10-alexnet",
    sml: Sml = None,
    onnx: Onnx = None,
    images: Images = None,
    side: Side = None,
    lml_scaling: Annotated[
        str, typer.Option(help="For grpc://: pictures as unit (0 to 1), signed, bytes, cifar10 or imagenet.")
    ] = "unit",
    lml_side: Annotated[int | None, typer.Option(help="For grpc://: side, if the model leaves it open.")] = None,
    lml_first_class: Annotated[int, typer.Option(help="For grpc://: class of the model's first output.")] = 0,
    samples: Samples = 1000,
    beta: Beta = 0.5,
    batch_size: BatchSize = "4",
    alpha: Alpha = 0.5,
    deadline: Deadline = None,
    window: Window = "waits",
    max_wait: MaxWait = None,
    learner: Learner = "hil-f",
    feedback: Feedback = "labels",
    rate: Rate = None,
    network_time: NetworkTime = "0",
    timeout: Timeout = 2000.0,
    busy: Busy = False,
    seed: Seed = 0,
    state: Annotated[Path | None, typer.Option(help="File that keeps the learner: a restart goes on.")] = None,
    log: LogFolder = None,
    keys: Keys = None,
    insecure: Insecure = False,
    as_json: AsJson = False,
) -> None:
    """Run a device against a server, and report what was measured and predicted."""
    given = locals()
    _needs_its_extra()
    session = Session.of(given)
    _show(_run(_server_address(server, insecure, session), session), as_json)


@app.command()
@one_line_errors
def demo(
    trace: TraceName = "cifar10-alexnet",
    sml: Sml = None,
    lml: Lml = None,
    samples: Samples = 500,
    beta: Beta = 0.5,
    batch_size: BatchSize = "4",
    alpha: Alpha = 0.5,
    deadline: Deadline = None,
    window: Window = "waits",
    max_wait: MaxWait = None,
    learner: Learner = "hil-f",
    feedback: Feedback = "labels",
    rate: Rate = 50e6,
    network_time: NetworkTime = "20",
    timeout: Timeout = 2000.0,
    busy: Busy = False,
    seed: Seed = 0,
    log: LogFolder = None,
    as_json: AsJson = False,
) -> None:
    """Start a server and a device on this machine, two processes, and report what was measured and predicted."""
    given = locals()
    _needs_its_extra()
    if (sml is None) != (lml is None):
        raise ValueError("--sml and --lml must be given together: what one of them sees, the other must know")
    with _server_process(trace, lml, seed, busy) as address:
        _show(_run(address, Session.of(given)), as_json)


@app.command()
@one_line_errors
def keys(folder: Annotated[Path, typer.Argument(help="A folder for the keys.")]) -> None:
    """Make keys for a server and a device on different machines; each needs its own and the other's public one."""
    _needs_its_extra()
    from hi_lib.live import keys

    checked_output("FOLDER", folder)
    for file in keys.make(folder):
        say(f"written: {file}")


_PATIENCE = 60  # seconds for the server to end, and for real models to load
LEVELS = 256  # of the learner's confidences: it needs no horizon of memory, and lambda_min is known
_LARGEST = 64  # batch of an adaptive device
_SAVE_EVERY = 1.0  # seconds between two writes of the learner's state


@dataclass(frozen=True)
class Session:
    """What the options of a device say."""

    trace: str
    sml: str | None
    samples: int
    beta: float
    batch_size: str
    alpha: float
    deadline: float | None
    window: str
    max_wait: float | None
    learner: str
    feedback: str
    rate: float | None
    network_time: str
    timeout: float
    busy: bool
    seed: int
    log: Path | None
    # What only `hi live device` asks for.
    state: Path | None = None
    keys: Path | None = None
    onnx: Path | None = None
    images: Path | None = None
    side: int | None = None
    lml_scaling: str = "unit"
    lml_side: int | None = None
    lml_first_class: int = 0

    @classmethod
    def of(cls, given: dict[str, Any]) -> Session:
        """What a command was given, as far as it is a device's."""
        return cls(**{name: given[name] for name in cls.__annotations__ if name in given})

    @property
    def model(self) -> str | None:
        """Name of the S-ML, if it is a real one."""
        return self.onnx.stem if self.onnx else self.sml


def _needs_its_extra(*more: str) -> None:
    needs("hi live", "make live", "msgpack", "zmq", *more)


def _needs_models() -> None:
    needs("a real model", "make models", "onnxruntime", "PIL")


def _server_address(server: str, insecure: bool, session: Session) -> str:
    """Where a device's server is, if the device may go there with what it was given."""
    if not server.startswith("grpc://"):
        from hi_lib.live.server import checked_address

        return checked_address(server, insecure, session.keys is not None)
    if session.model is None:
        raise ValueError("grpc:// needs real pictures, and a trace has none: give --sml, or --onnx with --images")
    if session.keys:
        raise ValueError("--keys are for servers of hi live: grpc:// encrypts nothing")
    _needs_its_extra("tritonclient", "grpc")
    from hi_lib.live import infer

    return infer.checked_address(server, insecure)


@contextlib.contextmanager
def _far_end(address: str, session: Session, plan: Plan) -> Iterator[tuple[Any, str]]:
    """A context for the run, and where its link leads: to our server, or to a gateway here that asks one of others."""
    import zmq

    context, gateway = zmq.Context(), None
    try:
        if address.startswith("grpc://"):
            gateway = _gateway(context, address, session, plan)
        yield context, gateway.address if gateway else address
    finally:
        if gateway:
            gateway.close()
            if gateway.failed:
                complain(f"{gateway.failed} requests failed; the last one: {gateway.last_failure}")
        context.destroy(linger=0)


def _gateway(context: Any, address: str, session: Session, plan: Plan) -> Gateway:
    from hi_lib.live.infer import Gateway, Model, Wanted

    wanted = Wanted(session.lml_scaling, session.lml_side, session.lml_first_class)
    gateway = Gateway(context, Model(address, wanted, plan.batch_size, plan.timeout))
    gateway.start()
    return gateway


@contextlib.contextmanager
def _server_process(trace: str, lml: str | None, seed: int, busy: bool) -> Iterator[str]:
    command = [sys.executable, "-m", "hi_lib.commands.main", "live", "server", "--bind", "tcp://127.0.0.1:0"]
    command += ["--trace", trace, "--seed", str(seed), *(("--lml", lml) if lml else ()), *(["--busy"] if busy else [])]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        _, found, address = (process.stdout.readline() if process.stdout else "").partition("listening on ")
        try:
            if not found:
                raise ValueError("the server did not start")
            yield address.strip()
        finally:
            if process.stdin:
                process.stdin.close()  # which ends it
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_PATIENCE)
            process.kill()


def _run(address: str, session: Session) -> Report:
    from hi_lib.live.device import Device
    from hi_lib.live.link import Link
    from hi_lib.live.report import report

    for option, path in (("--log", session.log), ("--state", session.state)):
        if path:
            checked_output(option, path)
    plan, beta = _plan(session), checks.real("--beta", session.beta, 0, 1)
    draw, speed = _network(session), None if session.rate is None else checks.positive("--rate", session.rate)
    small, known = _small(session)
    mind, first = _mind(session, plan, beta)
    n = min(checks.whole("--samples", session.samples), known - first)
    if n < 1:
        raise ValueError(f"{session.state} has been through all {known} samples: remove it to start again")
    controller = _controller(session, plan)
    before = signal.getsignal(signal.SIGINT)
    with _far_end(address, session, plan) as (context, far_end):
        link = Link(context, far_end, speed, draw, session.keys)
        link.start()
        try:
            unit = Device(small, mind, link, plan, controller)
            kept = _Kept(session.state, mind, first)
            signal.signal(signal.SIGINT, lambda *_: unit.stop())
            unit.warm_up()
            log = unit.run(n, first, _Progress(n, kept))
        finally:
            signal.signal(signal.SIGINT, before)
            link.close()
    done = log.started.size
    if not done:
        raise ValueError("the run was stopped before its first batch: nothing was measured")
    kept.write(done)
    correct = small.correct(np.arange(first, first + done))
    found = Trace(log.confidence, correct, name=session.model or session.trace)
    if session.log:
        log.write(session.log, correct, link.delays)
    measured = report(log, link.delays, found, beta, plan)
    if not _replayable(session, plan):
        return measured
    return measured.beside(replay(found, beta, min(plan.batch_size, done), "hil-f", mind.learning_rate))


def _replayable(session: Session, plan: Plan) -> bool:
    """Whether the exact times of a replay are those that the device should have: it waits, and M is the same."""
    waits = plan.window is None and session.max_wait is None
    return waits and session.batch_size != "adaptive" and session.learner == "hil-f"


def _plan(session: Session) -> Plan:
    from hi_lib.live.device import Plan

    size = _LARGEST if session.batch_size == "adaptive" else _whole("--batch-size", session.batch_size, "adaptive")
    sending = _sending_time(session) if session.batch_size == "adaptive" else 0.0
    return Plan(size, _window(session.window), session.timeout, session.max_wait, session.feedback, sending)


def _whole(where: str, text: str, *words: str) -> int:
    try:
        return checks.whole(where, int(text))
    except ValueError:
        raise ValueError(f"{where} must be an integer >= 1, {' or '.join(words)}, got {checks.shown(text)}") from None


def _window(text: str) -> float | None:
    if text == "waits":
        return None
    return math.inf if text == "inf" else _whole("--window", text, "inf", "waits")


def _network(session: Session) -> Callable[[], float] | None:
    """Draws the network time of each transmission, ms."""
    rng = np.random.default_rng(session.seed)
    if Path(network.file_of(session.network_time)).is_file():
        times = network.network_times(session.network_time).values
        return lambda: float(rng.choice(times))
    kind, colon, mean = session.network_time.rpartition(":")
    try:
        value = checks.nonnegative("--network-time", float(mean))
        if kind not in ("", "exponential"):
            raise ValueError
    except ValueError:
        shown = checks.shown(session.network_time)
        raise ValueError(f"--network-time must be ms >= 0, exponential:MEAN, or a file of times, got {shown}") from None
    if not value:
        return None
    return (lambda: float(rng.exponential(value))) if colon else (lambda: value)


def _small(session: Session) -> tuple[Small, int]:
    """The S-ML, and how many samples it can be shown."""
    n, seed = checks.whole("--samples", session.samples), checks.whole("--seed", session.seed, low=0)
    if (session.onnx is None) != (session.images is None) or (session.onnx and session.sml):
        raise ValueError("--onnx and --images must be given together, and without --sml")
    if session.model:
        _needs_models()
        from hi_lib.live import real

        if session.onnx and session.images:
            model, pictures = real.own_model(session.onnx, session.side), real.own_pictures(session.images)
        else:
            model, pictures = real.model(session.model), real.data_set(session.model)
        small = real.RealSmall(model, pictures, n, seed)
        return small, len(small)
    from hi_lib.live.replayed import ReplayedSmall

    known, setting = load_trace(session.trace).shuffled(seed), setting_of(session.trace)
    if n > len(known):
        raise ValueError(f"--samples must be at most the trace's {len(known)}, got {n}")
    return ReplayedSmall(known, setting.timing.tau_ed, int(setting.image_bytes), session.busy), len(known)


def _large(lml: str | None, trace: str, seed: int, busy: bool) -> Large:
    if lml:
        _needs_models()
        from hi_lib.live import real

        return real.RealLarge(real.model(lml))
    from hi_lib.live.replayed import ReplayedLarge

    known = load_trace(trace).shuffled(checks.whole("--seed", seed, low=0))
    return ReplayedLarge(known, setting_of(trace).timing.tau_es, busy)


def _own_large(onnx: Path, side: int | None) -> Large:
    _needs_models()
    from hi_lib.live import real

    return real.RealLarge(real.own_model(onnx, side))


def _sending_time(session: Session) -> float:
    """ms an image on the uplink."""
    return 8000 * setting_of(session.sml or session.trace).image_bytes / session.rate if session.rate else 0.0


def _controller(session: Session, plan: Plan) -> AdaptiveBatchSize | None:
    if session.batch_size != "adaptive":
        return None
    timing = replace(setting_of(session.sml or session.trace).timing, tau_tx=plan.tau_tx)
    aim = {"alpha": session.alpha} if session.deadline is None else {"deadline": session.deadline}
    return AdaptiveBatchSize(timing, 0.5, **aim, largest=_LARGEST)  # type: ignore[arg-type]


class _Kept:
    """The learner on disk: how far it has come, and all that it knows."""

    def __init__(self, file: Path | None, learner: Any, first: int) -> None:
        self.file, self.learner, self.first, self.next = file, learner, first, time.perf_counter() + _SAVE_EVERY

    def __call__(self, done: int) -> None:
        if self.file and time.perf_counter() > self.next:
            self.write(done)
            self.next = time.perf_counter() + _SAVE_EVERY

    def write(self, done: int) -> None:
        if self.file:
            write_atomically(self.file, json.dumps({"next": self.first + done, "learner": self.learner.state()}))


class _Progress:
    """A line every two seconds: a bar that is drawn beside the device would take its time from it."""

    def __init__(self, total: int, kept: _Kept) -> None:
        self.total, self.kept, self.next = total, kept, time.perf_counter() + 2

    def __call__(self, done: int) -> None:
        self.kept(done)
        if time.perf_counter() > self.next:
            complain(f"{done} of {self.total} samples")
            self.next += 2


def _mind(session: Session, plan: Plan, beta: float) -> tuple[Any, int]:
    """A streaming learner, and its first sample: new, or from the file that keeps it, whose open answers are lost."""
    new = _learner(session.learner, session.samples, plan.batch_size, beta, session.seed)
    if session.state is None or not session.state.exists():
        return new, 0
    try:
        held = json.loads(session.state.read_text())
        learner, first = type(new).restore(held["learner"]), checks.whole("next", held["next"], low=0)
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise ValueError(f"{session.state} keeps no {session.learner} learner: {error}") from None
    for number in learner.outstanding:
        learner.forget(number)
    return learner, first


def _learner(name: str, n: int, size: int, beta: float, seed: int) -> Any:
    """A streaming learner with the tuned rate of its kind."""
    from hi_lib.device.exploring import HILN, Apple
    from hi_lib.device.streaming import HILF

    shortest = 1 / LEVELS
    if checks.choice("--learner", name, ("hil-f", "hil-n", "apple")) == "hil-f":
        return HILF(beta, regret.tuned_learning_rate(n, size, shortest), seed, levels=LEVELS)
    if name == "hil-n":
        share = regret.tuned_exploration(n, size, shortest, beta)
        return HILN(beta, regret.tuned_partial_feedback_rate(n, size, shortest, share), share, seed, levels=LEVELS)
    eta = min(regret.tuned_apple_rate(n, size, shortest, beta), 1 / size)
    return Apple(beta, eta, eta * size, seed, levels=LEVELS)


def _show(found: Report, as_json: bool) -> None:
    say(json.dumps(found.as_dict(), indent=2) if as_json else found.as_text())
