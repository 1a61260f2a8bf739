"""Several devices at one server over a wire, each a process of its own, begun at the same time."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from multiprocessing.connection import Connection
from threading import BrokenBarrierError
from typing import TYPE_CHECKING, Any

from hi_book.commands.line import complain
from hi_book.commands.session import Session, run
from hi_lib import checks

if TYPE_CHECKING:
    from hi_live.runs import Ran

MOST_DEVICES = 64
_PATIENCE = 300  # seconds for all devices to be there


def checked_devices(devices: int) -> int:
    """The number of devices, if there can be so many processes."""
    if checks.whole("--devices", devices) > MOST_DEVICES:
        raise ValueError(f"--devices must be at most {MOST_DEVICES}, got {devices}")
    return devices


def run_all(address: str, session: Session, devices: int, inside: Callable[[int], AbstractContextManager[None]]) -> Any:
    """Run so many devices of a kind against the server there, each of which begins when all can; a `Ran` of each.

    They have the same data, in which each begins at a place of its own, and draw for themselves. `inside` says where a
    process is started.

    Raises
    ------
    ValueError
        What kept one of them from running.
    """
    context = multiprocessing.get_context("spawn")
    barrier, ends = context.Barrier(devices), []
    with _not_interrupted(), contextlib.ExitStack() as stack:
        for number in range(devices):
            ours, theirs = context.Pipe(duplex=False)
            log = None if session.log is None else session.log / f"device{number}"
            own = replace(session, seed=session.seed + number, device=number, devices=devices, log=log)
            process = context.Process(target=_device, args=(address, own, barrier, theirs), daemon=True)
            with inside(number):
                process.start()
            theirs.close()
            stack.callback(_end, process)
            ends.append(ours)
        found = [_heard(end) for end in ends]
    errors = [each for each in found if isinstance(each, str)]
    if errors:
        raise ValueError(next((error for error in errors if error), "a device ended before its report"))
    return found


def _heard(end: Connection) -> Ran | str:
    """What a device has to say; nothing if it ended without a word."""
    try:
        said: Ran | str = end.recv()
    except EOFError:
        return ""
    return said


def _end(process: Any) -> None:
    process.join(5)
    process.kill()
    process.join()


@contextlib.contextmanager
def _not_interrupted() -> Iterator[None]:
    """Let Ctrl-C be for the devices alone, which end with the batch at hand and report."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _device(address: str, session: Session, barrier: Any, end: Connection) -> None:
    """Be one of the devices: its report goes to who started it, or why there is none."""
    from hi_live.memory import OF_A_LINK, keep_memory

    keep_memory(OF_A_LINK)
    try:
        progress = lambda text: complain(f"device {session.device}: {text}")  # noqa: E731
        end.send(run(address, session, progress, lambda: barrier.wait(_PATIENCE)))
    except BrokenBarrierError:
        end.send("")  # the one that did not come says why
    except (ValueError, OSError) as error:
        barrier.abort()
        end.send(checks.one_line(str(error)))
