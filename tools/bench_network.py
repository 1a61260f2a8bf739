"""How long a transmission takes through the kernel's TCP between hosts of their own; run by `make bench-network`.

A request of so many pictures goes out, 172 bytes come back, after the connection has been idle for a while; each
setting has a connection of its own, which carries nothing else, until the mean is known to two per cent. Linux and root
only. The results are committed, with the machine's name. What was measured is kept in _build until all is.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import socket
import struct
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hi_book.makers.registering import Unfinished, write_data
from hi_book.makers.timings import machine
from hi_lib.paper import CIFAR10, IMAGENETTE, Setting
from hi_live.hosts import SERVER, Hosts, Network

TIMES, MACHINE = "benchmarks/network/times.csv", "benchmarks/network/machine.json"  # below data/
PICTURES = ((IMAGENETTE, (1, 2, 4, 8, 16, 32, 64)), (CIFAR10, (1, 16, 64)))
IDLE = (5, 100, 300, 500, 2000)  # ms before the transmission
SETTINGS = [(data, count, pause) for data, counts in PICTURES for pause in IDLE for count in counts]
ROUND_TRIPS = (5.0, 20.0, 50.0)
# Congestion control, and whether the window is kept through an idle time.
WAYS = (("cubic", False), ("cubic", True), ("bbr", False))
LOSSES = (0.001, 0.01)
REPETITIONS = 9
ENOUGH = 0.02  # of the mean: its standard error
LOST, PACKET = 30, 1448  # so many packets of so many bytes are lost in a setting with loss, or its mean is not known
GROUPS = 30  # of transmissions in a row, whose means are as good as independent
GROWING = 6  # transmissions by which a window has become what it stays
ANSWER, PORT = 172, 5000  # bytes; as the paper's packets
UNFINISHED = Path("_build/bench_network.jsonl")
# Networks, each of which is idle most of its time; more where a loss takes longer than a processor that is busy.
AT_ONCE, LOSSY_AT_ONCE = 4, 20

Job = tuple[Network, list[tuple[Setting, int, int]]]  # settings are measured one after the other


def measure(network: Network, settings: list[tuple[Setting, int, int]]) -> list[dict[str, Any]]:
    """Times of transmissions through one network, a row for each number of pictures and idle time, ms."""
    rows = []
    with Hosts(network) as hosts:
        for data, count, pause in settings:
            size = round(count * data.image_bytes)
            lost = LOST / (network.loss * math.ceil(size / PACKET)) if network.loss else 0
            taken = _stream(hosts, size, pause, max(REPETITIONS, math.ceil(lost)))
            found = {f"p{100 * level:.0f}": float(np.quantile(taken, level)) for level in (0.5, 0.95)}
            rows.append({"data": data.name, "pictures": count, "bytes": size, "idle": pause} | found)
            rows[-1] |= {"mean": float(np.mean(taken)), "error": _error(taken), "repetitions": len(taken)}
        late = hosts.punctuality()
    own = {"rtt": network.rtt, "rate": network.rate, "loss": network.loss, "congestion": network.congestion}
    own |= {"keep_window": network.keep_window, "late_p50": late.p50, "late_p95": late.p95, "core": late.core}
    return [own | row for row in rows]


def _stream(hosts: Hosts, size: int, pause: int, least: int) -> list[float]:
    """ms of transmissions alike, over a connection of their own, once its window is what they have made it."""
    with _connected(hosts) as (client, server):
        threading.Thread(target=_answer, args=(server,), daemon=True).start()
        for _ in range(GROWING):
            _exchange(client, size, pause / 1000)
        taken: list[float] = []
        while len(taken) < least or _error(taken) > ENOUGH * np.mean(taken):
            more = max(least, len(taken) // 2)
            taken += [_exchange(client, size, pause / 1000) for _ in range(more)]
        return taken


def _error(taken: list[float]) -> float:
    """Standard error of the mean; a loss is felt by the transmissions after it, too."""
    means = [float(np.mean(group)) for group in np.array_split(taken, min(GROUPS, len(taken)))]
    return float(np.std(means, ddof=1) / np.sqrt(len(means)))


@contextlib.contextmanager
def _connected(hosts: Hosts) -> Iterator[tuple[socket.socket, socket.socket]]:
    """The two ends of a connection between the hosts."""
    name = hosts.address(PORT).removeprefix("tcp://").partition(":")[0]
    with hosts.inside(SERVER):
        listening = socket.create_server((name, PORT))
    with hosts.inside("device0"):
        client = socket.create_connection((name, PORT))
    server, _ = listening.accept()
    with listening, client, server:
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield client, server


def _exchange(client: socket.socket, size: int, pause: float = 0.0) -> float:
    """Send so many bytes after a pause, s; ms until the answer is there."""
    time.sleep(pause)
    begun = time.perf_counter()
    client.sendall(struct.pack(">Q", size) + bytes(size))
    _receive(client, ANSWER)
    return 1000 * (time.perf_counter() - begun)


def _answer(server: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while head := _receive(server, 8):
            _receive(server, struct.unpack(">Q", head)[0])
            server.sendall(bytes(ANSWER))


def _receive(end: socket.socket, size: int) -> bytes:
    """So many bytes; fewer where the other end has gone."""
    found = bytearray()
    while len(found) < size and (part := end.recv(min(size - len(found), 2**20))):
        found += part
    return bytes(found)


def main() -> None:
    """Measure every network, and write what came out."""
    jobs: list[Job] = []
    for loss, rtt, how in itertools.product(LOSSES, ROUND_TRIPS, ("cubic", "bbr")):
        network = Network(rtt=rtt, loss=loss, congestion=how)
        jobs += [(network, [setting]) for setting in SETTINGS if setting[2] == IDLE[0]]
    lossy = len(jobs)
    for rtt, (how, kept) in itertools.product(ROUND_TRIPS, WAYS):
        jobs.append((Network(rtt=rtt, congestion=how, keep_window=kept), SETTINGS))
    journal = Unfinished(UNFINISHED)
    _measure_all(journal, jobs, range(lossy), LOSSY_AT_ONCE)
    _measure_all(journal, jobs, range(lossy, len(jobs)), AT_ONCE)
    table = pd.DataFrame([row for _, rows in sorted(journal.found) for row in rows])
    write_data(MACHINE, json.dumps(machine("numpy"), indent=2) + "\n", "make bench-network")
    write_data(TIMES, table.to_csv(index=False, float_format="%.5g"), "make bench-network")
    journal.end()


def _measure_all(journal: Unfinished, jobs: list[Job], numbers: range, at_once: int) -> None:
    """Measure the jobs of these numbers that the journal does not have, so many at once."""
    known = {number for number, _ in journal.found}
    with ProcessPoolExecutor(at_once) as pool:
        waiting = {pool.submit(measure, *jobs[number]): number for number in numbers if number not in known}
        for done in as_completed(waiting):
            journal.add([waiting[done], done.result()])
            print(f"[{len(journal.found)}/{len(jobs)}] {jobs[waiting[done]][0]}", flush=True)


if __name__ == "__main__":
    main()
