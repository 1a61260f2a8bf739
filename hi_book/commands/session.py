"""What the options of a device on a real wire stand for, and a run with them: its parts, and what is kept of it."""

from __future__ import annotations

import contextlib
import functools
import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hi_book.commands.line import complain
from hi_book.commands.outputs import checked_output
from hi_book.commands.reading import tell
from hi_book.makers.networks import ModelOptions
from hi_lib import checks
from hi_lib.device.adaptive import AdaptiveBatchSize
from hi_lib.device.states import on_grid
from hi_lib.learners import Run, known, replay
from hi_lib.logs import network
from hi_lib.paper import setting_of
from hi_lib.specification import ADAPTIVE, FALLING
from hi_lib.timing import TimingModel
from hi_lib.traces import Trace, load_trace

if TYPE_CHECKING:
    from hi_book.served.infer import Gateway, Wanted
    from hi_live.device import Exchange, Plan, Small
    from hi_live.keeping import Kept
    from hi_live.runs import Parts, Ran

LEVELS = 256  # of the learner's confidences: it needs no horizon of memory, and lambda_min is known
_PATIENCE = 60  # seconds for a server to end, and for real models to load
_LARGEST = 64  # batch of an adaptive device
_BATCH_SIZE, _MAX_SAMPLES = "4", 200
_DRAWS = 20  # of a learner that draws a θ a sample: so many runs are expected from


@dataclass(frozen=True)
class Session:
    """What the options of a device say."""

    trace: str
    sml: str | None
    samples: int
    beta: float
    batch_size: str | None
    offloads: int | None
    max_samples: int | None
    alpha: float
    deadline: float | None
    window: str
    max_wait: float | None
    learner: str
    learning_rate: str | None
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
    asked: ModelOptions = field(default_factory=ModelOptions)
    lml_scaling: str = "unit"
    lml_side: int | None = None
    lml_first_class: int = 0
    # Of a crowd: which of so many devices this one is; their seeds are those of the first one, and so many more.
    device: int = 0
    devices: int = 1

    @classmethod
    def of(cls, given: dict[str, Any]) -> Session:
        """What a command was given, as far as it is a device's."""
        return cls(**{name: given[name] for name in cls.__annotations__ if name in given})

    @property
    def model(self) -> str | None:
        """Name of the S-ML, if it is a real one."""
        return self.onnx.stem if self.onnx else self.sml

    def wanted(self) -> Wanted:
        """What the L-ML on a server of others wants and means."""
        from hi_book.served.infer import Wanted

        return Wanted(self.lml_scaling, self.lml_side, self.lml_first_class)

    @property
    def adaptive(self) -> bool:
        """Whether batch sizes are chosen on the way."""
        return self.batch_size == "adaptive"

    def begins_at(self, known: int) -> int:
        """The first of so many samples: devices of a crowd begin at places of their own, as far apart as can be."""
        return self.device * max(0, known - self.samples) // max(1, self.devices - 1)


def run(
    address: str,
    session: Session,
    progress: Callable[[str], None] = complain,
    others: Callable[[], object] = lambda: None,
) -> Ran:
    """Run a device against the server there; `others` waits for those that shall begin at the same time."""
    from hi_live import runs

    for option, path in (("--log", session.log), ("--state", session.state)):
        if path:
            checked_output(option, path)
    return runs.run(address, replace(_parts(address, session), others=others), progress)


@contextlib.contextmanager
def served(bind: str, options: list[str]) -> Iterator[str]:
    """A server in a process of its own, which ends with this; its address."""
    command = [sys.executable, "-m", "hi_book.commands.main", "live", "server", "--bind", bind, *options]
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


def _parts(address: str, session: Session) -> Parts:
    """What the options of a device stand for."""
    from hi_live.runs import Parts

    plan, beta = plan_of(session), checks.real("--beta", session.beta, 0, 1)
    draw, speed = _network(session), None if session.rate is None else checks.positive("--rate", session.rate)
    small, known = _small(session)
    plan = replace(plan, tau_tx=8000 * _image_bytes(session, small) / speed if speed else 0.0)
    learner, first, kept = _learner_at(session, plan, beta)
    first += session.begins_at(known)
    n = min(checks.whole("--samples", session.samples), known - first)
    if n < 1:
        raise ValueError(f"{session.state} has been through all {known} samples: remove it to start again")
    return Parts(
        small,
        learner,
        plan,
        beta,
        samples=n,
        first=first,
        name=session.model or session.trace,
        rate=speed,
        network_time=draw,
        keys=session.keys,
        controller=functools.partial(_controller, session, plan, small),
        far_end=functools.partial(_gateway, address, session, plan) if address.startswith("grpc://") else None,
        kept=kept,
        log=session.log,
        # A device that goes on has learned already what a replay would learn anew.
        replays=None
        if first or not _replayable(session, plan)
        else functools.partial(_replays, session, plan, learner),
    )


def _gateway(address: str, session: Session, plan: Plan, context: Any) -> Gateway:
    from hi_book.served.infer import Gateway, Model

    gateway = Gateway(context, Model(address, session.wanted(), plan.most_pictures, plan.timeout))
    gateway.start()
    return gateway


def _replayable(session: Session, plan: Plan) -> bool:
    """Whether the times of a replay are those that the device should have: it waits, and M or m is the same."""
    waits = plan.window is None and session.max_wait is None and session.devices == 1
    return waits and not session.adaptive and session.learner == "hil-f"


def _replays(session: Session, plan: Plan, learner: Any, seen: Trace) -> list[Run]:
    """Replays of the device's learner: one that knows all, or one a draw where each sample has a θ of its own."""
    seen = Trace(on_grid(seen.confidence.copy(), LEVELS), seen.correct)
    rate = name if (name := _rate(session)) in FALLING else learner.learning_rate
    if plan.offloads is None:
        return [replay(seen, session.beta, min(plan.batch_size, len(seen)), learning_rate=rate)]
    cap = min(plan.batch_size, len(seen))
    return [
        replay(seen, session.beta, plan.offloads, learning_rate=rate, seed=draw, unit="offloads", max_samples=cap)
        for draw in range(_DRAWS)
    ]


def plan_of(session: Session) -> Plan:
    """How a device goes on, as its options say."""
    from hi_live.device import Plan

    if session.offloads is not None:
        size = checks.whole("--max-samples", _MAX_SAMPLES if session.max_samples is None else session.max_samples)
        if session.batch_size is not None:
            raise ValueError("--batch-size and --offloads are two ways to send: give one of them")
    elif session.max_samples is not None:
        raise ValueError("--max-samples must be left out without --offloads")
    else:
        size = _LARGEST if session.adaptive else _whole("--batch-size", session.batch_size or _BATCH_SIZE, "adaptive")
    offloads = None if session.offloads is None else checks.whole("--offloads", session.offloads)
    window = _window(session.window)
    return Plan(size, window, session.timeout, session.max_wait, session.feedback, offloads=offloads)


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
    if session.model:
        from hi_book.served import real

        if session.onnx and session.images:
            own, pictures = real.own_small(session.onnx, session.asked, session.images)
            tell(own.notes)
            small = real.RealSmall(own.classes, pictures, n, seed)
        else:
            small = real.RealSmall(real.model(session.model), real.data_set(session.model), n, seed)
        return small, len(small)
    from hi_live.replayed import ReplayedSmall

    # All of a crowd have the order that the server has, and draw for themselves.
    known, setting = load_trace(session.trace).shuffled(seed - session.device), setting_of(session.trace)
    if n > len(known):
        raise ValueError(f"--samples must be at most the trace's {len(known)}, got {n}")
    return ReplayedSmall(known, setting.timing.tau_ed, int(setting.image_bytes), session.busy), len(known)


def _image_bytes(session: Session, small: Any) -> float:
    """Mean size of a picture that is sent."""
    return float(small.image_bytes if session.model else setting_of(session.trace).image_bytes)


def _controller(session: Session, plan: Plan, small: Any, met: Exchange | None) -> AdaptiveBatchSize | None:
    """Who chooses the batch sizes: with the paper's times for a trace, with measured ones for real models."""
    if not session.adaptive:
        return None
    timing = replace(setting_of(session.trace).timing, tau_tx=plan.tau_tx)
    if session.model:
        timing = _measured(small.time_of_one(), plan.tau_tx, met)
    aim = {"alpha": session.alpha} if session.deadline is None else {"deadline": session.deadline}
    return AdaptiveBatchSize(timing, 0.5, **aim, largest=_LARGEST)  # type: ignore[arg-type]


def _measured(tau_ed: float, tau_tx: float, met: Exchange | None) -> TimingModel:
    """Times of the device's own S-ML, and of the server and the network as one exchange met them, if it had an answer.

    >>> from hi_live.device import Exchange
    >>> _measured(3.0, 2.0, Exchange(round_trip=30.0, computing=8.0)).taus
    {'tau_ed': 3.0, 'tau_es': 8.0, 'tau_tx': 2.0, 'tau_nw': 20.0}
    """
    if met is None:
        return TimingModel(tau_ed, 0.0, tau_tx, 0.0)
    return TimingModel(tau_ed, met.computing, tau_tx, max(0.0, met.round_trip - met.computing - tau_tx))


def _learner_at(session: Session, plan: Plan, beta: float) -> tuple[Any, int, Kept | None]:
    """A streaming learner, and its first sample: new, or from the file that keeps it."""
    new = _learner(session, plan, beta)
    if session.state is None:
        return new, 0, None
    from hi_live.keeping import Kept

    kept = Kept(session.state, new, {"data": session.model or session.trace, "seed": session.seed})
    return kept.learner, kept.first, kept


def _learner(session: Session, plan: Plan, beta: float) -> Any:
    """A streaming learner of the kind that is asked for."""
    import hi_lib as hi

    devices = {name: each for name, each in known().items() if each.device}
    wanted = devices[checks.choice("--learner", session.learner, devices)]
    if plan.offloads is not None and not wanted.counts_offloads:
        able = " or ".join(name for name, each in devices.items() if each.counts_offloads)
        raise ValueError(f"--offloads must go with --learner {able}, got {session.learner}")
    rate = checks.choice("--learning-rate", _rate(session), wanted.device_rate_names)
    horizon = {} if rate in FALLING else {"samples": session.samples, "batch_size": plan.batch_size}
    kind = getattr(hi, str(wanted.device))
    return kind(beta, rate, seed=session.seed, levels=LEVELS, **horizon)


def _rate(session: Session) -> str:
    """Name of the learning rate; with offloads, "tuned" would be for the longest cycles there can be."""
    return session.learning_rate or ("tuned" if session.offloads is None else ADAPTIVE)
