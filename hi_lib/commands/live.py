"""Batch HI over a real wire: a server, a device, and both at once."""

from __future__ import annotations

import contextlib
import json
import math
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hi_lib import checks, regret, traces
from hi_lib.commands.line import complain, one_line_errors, say
from hi_lib.paper import CIFAR10, IMAGENETTE, Setting

if TYPE_CHECKING:
    from hi_lib.live.report import Report

app = typer.Typer(no_args_is_help=True, help="Batch HI over a real wire, measured against the model.")

TraceName = Annotated[str, typer.Option(help="A trace whose S-ML and L-ML are replayed with the paper's times.")]
Insecure = Annotated[bool, typer.Option(help="Allow other machines, though nothing is encrypted.")]
Samples = Annotated[int, typer.Option(help="How many samples.")]
Beta = Annotated[float, typer.Option(help="Cost of an offload; a wrong answer costs 1.")]
BatchSize = Annotated[int, typer.Option(help="M.")]
Window = Annotated[str, typer.Option(help="Transmissions that may be out: a number, inf, or waits.")]
Learner = Annotated[str, typer.Option(help="hil-f, hil-n or apple.")]
Rate = Annotated[float | None, typer.Option(help="Emulated uplink, bit/s; by default none.")]
NetworkTime = Annotated[float, typer.Option(help="Emulated network time of a transmission, ms.")]
Timeout = Annotated[float, typer.Option(help="After how many ms an answer counts as lost.")]
Seed = Annotated[int, typer.Option(help="Decides the order of the samples and the learner's draws.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


@app.command()
@one_line_errors
def server(
    bind: Annotated[str, typer.Option(help="Address; port 0: any free one.")] = "tcp://127.0.0.1:5555",
    trace: TraceName = "cifar10-alexnet",
    seed: Seed = 0,
    insecure: Insecure = False,
) -> None:
    """Answer devices until stopped (Ctrl-C, or the end of its input)."""
    _needs_its_extra()
    from hi_lib.live.server import ReplayedLarge, serve

    large = ReplayedLarge(traces.load_trace(trace).shuffled(seed), _setting(trace).timing.tau_es)
    stop = threading.Event()

    def ready(address: str) -> None:
        say(f"listening on {address}")
        sys.stdout.flush()

    if not sys.stdin.isatty():  # whoever started it has gone when its end of the pipe is closed
        threading.Thread(target=_until_the_end_of_input, args=(stop,), daemon=True).start()
    served = serve(large, bind, stop, ready, insecure)
    say(f"{served.requests} requests answered, {served.refused} messages refused")


def _until_the_end_of_input(stop: threading.Event) -> None:
    sys.stdin.read()
    stop.set()


@app.command()
@one_line_errors
def device(
    server: Annotated[str, typer.Option(help="Address of the server.")] = "tcp://127.0.0.1:5555",
    trace: TraceName = "cifar10-alexnet",
    samples: Samples = 1000,
    beta: Beta = 0.5,
    batch_size: BatchSize = 4,
    window: Window = "waits",
    learner: Learner = "hil-f",
    rate: Rate = None,
    network_time: NetworkTime = 0.0,
    timeout: Timeout = 2000.0,
    seed: Seed = 0,
    insecure: Insecure = False,
    as_json: AsJson = False,
) -> None:
    """Run a device against a server, and report what was measured and predicted."""
    _needs_its_extra()
    from hi_lib.live.server import checked_address

    address = checked_address(server, insecure)
    _show(_run(address, **_given(locals())), as_json)


@app.command()
@one_line_errors
def demo(
    trace: TraceName = "cifar10-alexnet",
    samples: Samples = 500,
    beta: Beta = 0.5,
    batch_size: BatchSize = 4,
    window: Window = "waits",
    learner: Learner = "hil-f",
    rate: Rate = 50e6,
    network_time: NetworkTime = 20.0,
    timeout: Timeout = 2000.0,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Start a server and a device on this machine, two processes, and report what was measured and predicted."""
    _needs_its_extra()
    with _server_process(trace, seed) as address:
        _show(_run(address, **_given(locals())), as_json)


_PATIENCE = 10  # seconds for the server to end
OPTIONS = (
    *("trace", "samples", "beta", "batch_size", "window", "learner"),
    *("rate", "network_time", "timeout", "seed"),
)


def _needs_its_extra() -> None:
    try:
        import msgpack
        import zmq
    except ImportError as error:
        raise ValueError(f"hi live needs the extra `live` ({error.name} is missing): run make live") from None
    del msgpack, zmq


def _given(names: dict[str, Any]) -> dict[str, Any]:
    return {name: names[name] for name in OPTIONS}


@contextlib.contextmanager
def _server_process(trace: str, seed: int) -> Iterator[str]:
    command = [sys.executable, "-m", "hi_lib.commands.main", "live", "server", "--bind", "tcp://127.0.0.1:0"]
    command += ["--trace", trace, "--seed", str(seed)]
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


def _run(
    address: str,
    trace: str,
    samples: int,
    beta: float,
    batch_size: int,
    window: str,
    learner: str,
    rate: float | None,
    network_time: float,
    timeout: float,
    seed: int,
) -> Report:
    import zmq

    from hi_lib.live.device import Device, Plan, ReplayedSmall
    from hi_lib.live.link import Link
    from hi_lib.live.report import report

    known, setting = traces.load_trace(trace).shuffled(checks.whole("--seed", seed, low=0)), _setting(trace)
    n = checks.whole("--samples", samples)
    if n > len(known):
        raise ValueError(f"--samples must be at most the trace's {len(known)}, got {n}")
    plan = Plan(checks.whole("--batch-size", batch_size), _window(window), timeout)
    network = checks.nonnegative("--network-time", network_time)
    speed = None if rate is None else checks.positive("--rate", rate)
    mind = _learner(learner, known, n, checks.real("--beta", beta, 0, 1), plan, seed)
    small = ReplayedSmall(known, setting.timing.tau_ed, int(setting.image_bytes))

    def feedback(batch: Any, offloaded: Any) -> Any:
        right = known.correct[batch].astype(float)
        return right if learner == "hil-f" else [r if sent else None for r, sent in zip(right, offloaded, strict=True)]

    context = zmq.Context()
    link = Link(context, address, speed, (lambda: network) if network else None)
    link.start()
    try:
        log = Device(small, mind, link, context, plan, feedback).run(n, _Progress(n))
    finally:
        link.close()
        context.term()
    return report(log, link.delays, known, beta, plan)


class _Progress:
    """A line every two seconds: a bar that is drawn beside the device would take its time from it."""

    def __init__(self, total: int) -> None:
        self.total, self.done, self.next = total, 0, time.perf_counter() + 2

    def __call__(self, samples: int) -> None:
        self.done += samples
        if time.perf_counter() > self.next:
            complain(f"{self.done} of {self.total} samples")
            self.next += 2


def _learner(name: str, trace: traces.Trace, n: int, beta: float, plan: Any, seed: int) -> Any:
    """A streaming learner with the tuned rate of its kind."""
    from hi_lib.exploring import HILN, Apple
    from hi_lib.streaming import HILF

    size, shortest = plan.batch_size, regret.lambda_min(trace)
    if checks.choice("--learner", name, ("hil-f", "hil-n", "apple")) == "hil-f":
        return HILF(beta, regret.tuned_learning_rate(n, size, shortest), seed, levels=256)
    if name == "hil-n":
        share = regret.tuned_exploration(n, size, shortest, beta)
        return HILN(beta, regret.tuned_partial_feedback_rate(n, size, shortest, share), share, seed, levels=256)
    eta = min(regret.tuned_apple_rate(n, size, shortest, beta), 1 / size)
    return Apple(beta, eta, eta * size, seed, levels=256)


def _window(text: str) -> float | None:
    if text == "waits":
        return None
    try:
        return math.inf if text == "inf" else checks.whole("--window", int(text))
    except ValueError:
        raise ValueError(f"--window must be an integer >= 1, inf or waits, got {checks.shown(text)}") from None


def _setting(trace: str) -> Setting:
    return CIFAR10 if trace.startswith("cifar10") else IMAGENETTE


def _show(found: Report, as_json: bool) -> None:
    say(json.dumps(found.as_dict(), indent=2) if as_json else found.as_text())
