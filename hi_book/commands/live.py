"""Batch HI over a real wire: a server, a device, and both at once."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import stat
import sys
import threading
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hi_book.commands.crowd import checked_devices, run_all
from hi_book.commands.line import complain, needs, one_line_errors, path_option, say
from hi_book.commands.outputs import checked_output
from hi_book.commands.own_models import network_options, refuse_without_onnx
from hi_book.commands.reading import tell
from hi_book.commands.session import Session, plan_of, run, served
from hi_book.makers.networks import ModelOptions
from hi_lib import checks
from hi_lib.paper import setting_of
from hi_lib.traces import load_trace

if TYPE_CHECKING:
    from hi_live.hosts import Network, Punctuality
    from hi_live.runs import Ran
    from hi_live.server import Large, Service
    from hi_live.together import Shared

app = typer.Typer(no_args_is_help=True, help="Batch HI over a real wire, measured against the model.")

TraceName = Annotated[str, typer.Option(help="A trace whose S-ML and L-ML are replayed with the paper's times.")]
Keys = Annotated[Path | None, typer.Option(help="Folder with keys of hi live keys: encrypts all.")]
Insecure = Annotated[bool, typer.Option(help="Allow other machines without keys, though nothing is encrypted.")]
Samples = Annotated[int, typer.Option(help="How many samples.")]
Beta = Annotated[float, typer.Option(help="Cost of an offload; a wrong answer costs 1.")]
BatchSize = Annotated[str | None, typer.Option(help="M, or adaptive; by default 4.")]
Offloads = Annotated[int | None, typer.Option(help="m: send once so many offloads are pending, in place of M samples.")]
MaxSamples = Annotated[int | None, typer.Option(help="With --offloads: most samples before it sends; by default 200.")]
Alpha = Annotated[float, typer.Option(help="Weight of the system time, for adaptive batches.")]
Deadline = Annotated[float | None, typer.Option(help="ms: adaptive batches plan for it, in place of --alpha.")]
Window = Annotated[str, typer.Option(help="Transmissions that may be out: a number, inf, or waits.")]
MaxWait = Annotated[
    float | None, typer.Option(help="ms after which a batch ends: of its first sample, or of its first offload.")
]
Learner = Annotated[str, typer.Option(help="hil-f, hil-n or apple.")]
LearningRate = Annotated[
    str | None,
    typer.Option(help="tuned, vanilla, anytime or adaptive; by default tuned, with --offloads adaptive."),
]
Feedback = Annotated[str, typer.Option(help="What offloads teach: labels, or lml, the L-ML's answer.")]
Rate = Annotated[float | None, typer.Option(help="Emulated uplink, bit/s; by default none.")]
NETWORK_TIME = typer.Option(help="Emulated network time, ms: a number, exponential:MEAN, or FILE[:COLUMN].")
NetworkTime = Annotated[str, NETWORK_TIME]
Timeout = Annotated[float, typer.Option(help="After how many ms an answer counts as lost.")]
Seed = Annotated[int, typer.Option(help="Decides the order of the samples and the learner's draws.")]
OnHosts = Annotated[bool, typer.Option("--hosts", help="Hosts of their own, and the kernel's TCP (Linux, root).")]
Rtt = Annotated[float | None, typer.Option(help="With --hosts: round trip of an empty packet, ms; 20.")]
Loss = Annotated[float | None, typer.Option(help="With --hosts: share of packets that are lost; 0.")]
Congestion = Annotated[str | None, typer.Option(help="With --hosts: cubic, bbr or reno; by default the machine's.")]
KeepWindow = Annotated[bool, typer.Option("--keep-window", help="With --hosts: no slow start after an idle time.")]
SharedUplink = Annotated[bool, typer.Option("--shared-uplink", help="With --hosts: one link for all devices.")]
Fair = Annotated[bool, typer.Option("--fair", help="Images of the devices in turn, rather than requests.")]
Merge = Annotated[int | None, typer.Option(help="Work on requests that wait together, up to so many images.")]
MergeWait = Annotated[float, typer.Option(help="With --merge: longest wait for so many images, ms.")]
LogFolder = Annotated[Path | None, typer.Option("--log", help="Folder for samples.csv and transmissions.csv.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Busy = Annotated[bool, typer.Option("--busy", help="Replayed models compute for their time, rather than sleep.")]
Sml = Annotated[str | None, typer.Option(help="A real S-ML on real images, in place of a trace (extra `models`).")]
Lml = Annotated[str | None, typer.Option(help="A real L-ML, in place of a trace (extra `models`).")]
Onnx = Annotated[Path | None, path_option("A classifier of your own, in place of a trace (extra `models`).")]
Images = Annotated[Path | None, path_option("For --onnx: folder or zip of pictures, a folder for each class.")]


@app.command()
@one_line_errors
@network_options(without=("classes",))
def server(
    bind: Annotated[str, typer.Option(help="Address; port 0: any free one.")] = "tcp://127.0.0.1:5555",
    trace: TraceName = "cifar10-alexnet",
    lml: Lml = None,
    onnx: Onnx = None,
    busy: Busy = False,
    seed: Seed = 0,
    fair: Fair = False,
    merge: Merge = None,
    merge_wait: MergeWait = 0.0,
    keys: Keys = None,
    insecure: Insecure = False,
    *,
    asked: ModelOptions,
) -> None:
    """Answer devices until stopped (Ctrl-C, or the end of its input where that is a pipe)."""
    _prepare()
    from hi_live.server import Access, checked_address, serve

    if lml and onnx:
        raise ValueError("--lml and --onnx are two L-MLs: give one of them")
    if not onnx:
        refuse_without_onnx(asked)
    checked_address(bind, insecure, keys is not None)  # before a model is loaded
    service = _service(fair, merge, merge_wait)
    large, stop = _own_large(onnx, asked) if onnx else _large(lml, trace, seed, busy), threading.Event()

    def ready(address: str) -> None:
        say(f"listening on {address}")
        sys.stdout.flush()

    if _has_pipe():  # whoever started it has gone when its end is closed
        threading.Thread(target=_until_the_end_of_input, args=(stop,), daemon=True).start()
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    warnings.filterwarnings("ignore", module="PIL")  # of damaged pictures, which have a line of their own
    served = serve(large, bind, stop, ready, Access(insecure, keys), service)
    cut = f", {served.cut} connections cut off" if served.cut else ""
    say(f"{served.requests} requests answered, {served.refused} messages refused{cut}")


def _has_pipe() -> bool:
    """Whether standard input is a pipe; a service has none, or one that ends at once."""
    try:
        return stat.S_ISFIFO(os.fstat(sys.stdin.fileno()).st_mode)
    except (AttributeError, OSError, ValueError):  # none, closed, or no file
        return False


def _until_the_end_of_input(stop: threading.Event) -> None:
    sys.stdin.read()
    stop.set()


@app.command()
@one_line_errors
@network_options()
def device(
    server: Annotated[
        str, typer.Option(help="Address of the server; grpc://HOST:PORT/MODEL: one of the Open Inference Protocol.")
    ] = "tcp://127.0.0.1:5555",
    trace: TraceName = "cifar10-alexnet",
    sml: Sml = None,
    onnx: Onnx = None,
    images: Images = None,
    lml_scaling: Annotated[
        str, typer.Option(help="For grpc://: pictures as unit (0 to 1), signed, bytes, cifar10 or imagenet.")
    ] = "unit",
    lml_side: Annotated[int | None, typer.Option(help="For grpc://: side, if the model leaves it open.")] = None,
    lml_first_class: Annotated[int, typer.Option(help="For grpc://: class of the model's first output.")] = 0,
    samples: Samples = 1000,
    beta: Beta = 0.5,
    batch_size: BatchSize = None,
    offloads: Offloads = None,
    max_samples: MaxSamples = None,
    alpha: Alpha = 0.5,
    deadline: Deadline = None,
    window: Window = "waits",
    max_wait: MaxWait = None,
    learner: Learner = "hil-f",
    learning_rate: LearningRate = None,
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
    *,
    asked: ModelOptions,
) -> None:
    """Run a device against a server, and report what was measured and predicted."""
    given = locals()
    _prepare()
    session = Session.of(given)
    if (onnx is None) != (images is None) or (onnx and sml):
        raise ValueError("--onnx and --images must be given together, and without --sml")
    if not onnx:
        refuse_without_onnx(asked)
    if session.model:
        _needs_models(own=onnx is not None)
    address = _server_address(server, insecure, session)
    _show(run(address, session), server, as_json)


@app.command()
@one_line_errors
def demo(
    trace: TraceName = "cifar10-alexnet",
    sml: Sml = None,
    lml: Lml = None,
    devices: Annotated[int, typer.Option(help="How many devices use the server, each a process of its own.")] = 1,
    fair: Fair = False,
    merge: Merge = None,
    merge_wait: MergeWait = 0.0,
    samples: Samples = 500,
    beta: Beta = 0.5,
    batch_size: BatchSize = None,
    offloads: Offloads = None,
    max_samples: MaxSamples = None,
    alpha: Alpha = 0.5,
    deadline: Deadline = None,
    window: Window = "waits",
    max_wait: MaxWait = None,
    learner: Learner = "hil-f",
    learning_rate: LearningRate = None,
    feedback: Feedback = "labels",
    rate: Rate = 50e6,
    network_time: Annotated[str | None, NETWORK_TIME] = None,
    hosts: OnHosts = False,
    rtt: Rtt = None,
    loss: Loss = None,
    congestion: Congestion = None,
    keep_window: KeepWindow = False,
    shared_uplink: SharedUplink = False,
    timeout: Timeout = 2000.0,
    busy: Busy = False,
    seed: Seed = 0,
    log: LogFolder = None,
    as_json: AsJson = False,
) -> None:
    """Start a server and devices on this machine, a process each, and report what was measured and predicted."""
    given = locals()
    _prepare()
    checked_devices(devices)
    if (sml is None) != (lml is None):
        raise ValueError("--sml and --lml must be given together: what one of them sees, the other must know")
    if sml:
        _needs_models(own=False)
    crowd = _Crowd(devices, _service(fair, merge, merge_wait), shared_uplink)
    command = ["--trace", trace, "--seed", str(seed), *(("--lml", lml) if lml else ()), *(["--busy"] if busy else [])]
    command += crowd.options
    if not hosts:
        own = {"rtt": rtt, "loss": loss, "congestion": congestion, "keep-window": keep_window or None}
        own["shared-uplink"] = shared_uplink or None
        if useless := [name for name, value in own.items() if value is not None]:
            raise ValueError(f"--{useless[0]} must be left out without --hosts")
        session = Session.of(given | {"network_time": "20" if network_time is None else network_time, "devices": 1})
        with served("tcp://127.0.0.1:0", command) as address:
            if devices == 1:
                _show(run(address, session), address, as_json)
            else:
                _show_all(
                    run_all(address, session, devices, lambda _: contextlib.nullcontext()),
                    crowd.shared(session),
                    as_json,
                )
        return
    if network_time is not None:
        raise ValueError("--network-time must be left out with --hosts: give --rtt")
    session = Session.of(given | {"network_time": "0", "rate": None, "devices": 1})
    _on_hosts(command, session, _network(given), crowd, as_json)


@app.command()
@one_line_errors
def keys(folder: Annotated[Path, typer.Argument(help="A folder for the keys.")]) -> None:
    """Make keys for a server and a device on different machines; each needs its own and the other's public one."""
    _needs_its_extra()
    from hi_live import keys

    checked_output("FOLDER", folder)
    for file in keys.make(folder):
        say(f"written: {file}")


def _needs_its_extra(*more: str) -> None:
    needs("hi live", "live", "msgpack", "zmq", *more)


def _prepare() -> None:
    """What a process needs that moves requests."""
    from hi_live.memory import OF_A_LINK, keep_memory

    _needs_its_extra()
    keep_memory(OF_A_LINK)


def _needs_models(own: bool) -> None:
    needs("a real model", "onnx" if own else "models", "onnxruntime", "PIL")


def _server_address(server: str, insecure: bool, session: Session) -> str:
    """Where a device's server is, if the device may go there with what it was given."""
    if not server.startswith("grpc://"):
        from hi_live.server import checked_address

        return checked_address(server, insecure, session.keys is not None)
    if session.model is None:
        raise ValueError("grpc:// needs real pictures, and a trace has none: give --sml, or --onnx with --images")
    if session.keys:
        raise ValueError("--keys are for servers of hi live: grpc:// encrypts nothing")
    _needs_its_extra("tritonclient", "grpc")
    from hi_book.served import infer

    session.wanted()  # what it refuses is refused before a model is loaded
    return infer.checked_address(server, insecure).address


def _network(given: dict[str, Any]) -> Network:
    """What lies between the hosts, as the options say."""
    from hi_live.hosts import Network

    named = {"rtt": given["rtt"], "rate": given["rate"], "loss": given["loss"], "congestion": given["congestion"]}
    chosen = {name: value for name, value in named.items() if value is not None}
    return Network(**chosen, keep_window=given["keep_window"], shared=given["shared_uplink"])


@dataclass(frozen=True)
class _Crowd:
    """How many devices use the server, what it does with their requests, and whether they share the uplink."""

    devices: int
    service: Service
    shared_uplink: bool

    @property
    def options(self) -> list[str]:
        """For the server's command."""
        merge, wait = self.service.merge, self.service.merge_wait
        fair = ["--fair"] if self.service.in_turn == "images" else []
        return fair if merge is None else ["--merge", str(merge), "--merge-wait", str(wait)]

    def shared(self, session: Session, network: Network | None = None) -> Shared:
        """What the devices have in common."""
        from hi_live.together import Shared

        window = plan_of(session).window
        if network is None:
            return Shared(self.service, window)
        image_time = 8000 * setting_of(session.trace).image_bytes / network.rate
        return Shared(self.service, window, self.shared_uplink, image_time, network.rtt)


def _service(fair: bool, merge: int | None, merge_wait: float) -> Service:
    from hi_live.server import Service

    if fair and merge is not None:
        raise ValueError("--fair and --merge are two ways to serve: give one of them")
    if merge is None and merge_wait:
        raise ValueError("--merge-wait must be left out without --merge")
    if merge is not None:
        checks.whole("--merge", merge)
    return Service("images" if fair else "requests", merge, checks.nonnegative("--merge-wait", merge_wait))


def _on_hosts(command: list[str], session: Session, network: Network, crowd: _Crowd, as_json: bool) -> None:
    """Let a server and devices run on hosts of their own."""
    from hi_live.hosts import SERVER, Hosts

    with Hosts(network, crowd.devices) as hosts, contextlib.ExitStack() as stack:
        with hosts.inside(SERVER):
            address = stack.enter_context(served(hosts.address(0), [*command, "--insecure"]))
        if crowd.devices == 1:
            with hosts.inside("device0"):
                rans = [run(address, session)]
        else:
            rans = run_all(address, session, crowd.devices, lambda number: hosts.inside(f"device{number}"))
        late = hosts.punctuality()
        complain(
            f"the link between the hosts was late with a packet by {late.p50:.2f} ms (median), {late.p95:.2f} (95 %), "
            f"and took {late.core:.0%} of a core"
        )
        if crowd.devices == 1:
            _show(rans[0], address, as_json, late)
        else:
            _show_all(rans, crowd.shared(session, network), as_json, late)


def _large(lml: str | None, trace: str, seed: int, busy: bool) -> Large:
    if lml:
        _needs_models(own=False)
        from hi_book.served import real

        return real.RealLarge(real.model(lml))
    from hi_live.replayed import ReplayedLarge

    known = load_trace(trace).shuffled(checks.whole("--seed", seed, low=0))
    return ReplayedLarge(known, setting_of(trace).timing.tau_es, busy)


def _own_large(onnx: Path, asked: ModelOptions) -> Large:
    _needs_models(own=True)
    from hi_book.served import real

    own = real.own_large(onnx, asked)
    tell(own.notes)
    return real.RealLarge(own.classes)


def _show(ran: Ran, server: str, as_json: bool, late: Punctuality | None = None) -> None:
    say(_in_json(ran.report.as_dict(), late) if as_json else ran.report.as_text())
    if ran.silence:
        complain(f"error: no answer came from {server}: {ran.silence}")
        raise typer.Exit(1)


def _in_json(found: dict[str, Any], late: Punctuality | None) -> str:
    """What was found, and between hosts how exact their link was."""
    return json.dumps(found if late is None else found | {"link": late._asdict()}, indent=2)


def _show_all(rans: list[Ran], shared: Shared, as_json: bool, late: Punctuality | None = None) -> None:
    from hi_live.together import together

    found = together(rans, shared)
    say(_in_json(found.as_dict(), late) if as_json else found.as_text())
    for number, ran in enumerate(rans):
        if ran.silence:
            complain(f"error: device {number} had no answer: {ran.silence}")
    if any(ran.silence for ran in rans):
        raise typer.Exit(1)
