"""Hosts of their own: what the link between them does to packets, by the kernel's own TCP, and what is left behind."""

import json
import os
import runpy
import signal
import socket
import statistics
import threading
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hi_book.commands.main import app
from hi_book.press import places
from hi_lib.paper import CIFAR10
from hi_live import hosts
from hi_live.hosts import SERVER, Hosts, Network

hindered = hosts.why_not()
needs_hosts = pytest.mark.skipif(bool(hindered), reason=f"hosts of their own {hindered}")


def exchange(client, size):
    """ms until so many bytes are there, and one has come back."""
    begun = time.perf_counter()
    client.sendall(size.to_bytes(8, "big") + bytes(size))
    assert client.recv(1)
    return 1000 * (time.perf_counter() - begun)


def connected(found):
    """A client on the first device, whose bytes the server counts and answers with one."""
    with found.inside(SERVER):
        listening = socket.create_server(("10.77.0.1", 5001))

    def answer():
        server, _ = listening.accept()
        with listening, server:
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while head := server.recv(8, socket.MSG_WAITALL):
                server.recv(int.from_bytes(head, "big"), socket.MSG_WAITALL)
                server.sendall(b"x")

    threading.Thread(target=answer, daemon=True).start()
    with found.inside("device0"):
        client = socket.create_connection(("10.77.0.1", 5001))
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client


@needs_hosts
def test_packets_take_the_round_trip_and_the_rate_that_were_asked_for():
    with Hosts(Network(rtt=30, rate=8e6, keep_window=True, congestion="cubic")) as found, connected(found) as client:
        exchange(client, 100_000)
        small = [exchange(client, 100) for _ in range(15)]
        large = [exchange(client, 100_000) for _ in range(5)]
        late = found.punctuality()
    assert 30 <= statistics.median(small) <= 33
    # 52 bytes of headers for each segment of 1448, at 1000 bytes a millisecond.
    assert statistics.median(large) == pytest.approx(30 + 100 * 1.036, rel=0.05)
    assert late.packets > 100
    assert late.p50 < 1


@pytest.mark.slow
@needs_hosts
def test_what_is_lost_comes_again_and_takes_its_time():
    with Hosts(Network(rtt=5, loss=0.05, congestion="cubic")) as found, connected(found) as client:
        taken = [exchange(client, 30_000) for _ in range(60)]
    assert max(taken) > 3 * min(taken)


@needs_hosts
def test_nothing_stays_when_the_link_is_killed():
    found = Hosts(Network()).__enter__()
    holders = list(found._holders.values())
    assert all(Path(f"/proc/{holder}").exists() for holder in holders)
    os.kill(found._link.pid, signal.SIGKILL)
    found._link.wait()
    until = time.perf_counter() + 10
    while any(alive(holder) for holder in holders):
        assert time.perf_counter() < until
        time.sleep(0.02)
    with pytest.raises(ValueError, match="the link between the hosts has ended"):
        found.punctuality()
    found._end()


def alive(process):
    """Whether it is there, and more than a note of how it ended, for a parent that is gone."""
    try:
        return Path(f"/proc/{process}/stat").read_text().split(") ")[1][0] != "Z"
    except OSError:
        return False


@needs_hosts
def test_a_thread_is_on_a_host_only_inside():
    def names():
        return {name for _, name in socket.if_nameindex()}

    before = names()
    with Hosts(Network()) as found:
        with found.inside("device0"):
            assert names() == {"lo", "t0"} | (names() - before)
            assert "t0" in names()
        assert names() == before


@pytest.mark.slow
@needs_hosts
def test_the_demo_runs_on_hosts_of_their_own():
    command = ["live", "demo", "--hosts", "--samples", "60", "--rtt", "5", "--offloads", "2", "--json"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["lost"] == 0
    assert found["stages"]["tau_nw"] > 5
    assert "the link between the hosts was late with a packet by" in done.stderr


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"rtt": -1}, "rtt must be in"),
        ({"rate": 0}, "rate must be in"),
        ({"loss": 1}, "loss must be in"),
        ({"queue": 1}, "queue must be an integer >= 4096"),
        ({"congestion": "vegas"}, "congestion must be one of cubic, bbr, reno"),
    ],
)
def test_a_network_that_is_none_is_refused(options, says):
    with pytest.raises(ValueError, match=says):
        Network(**options)


def test_what_is_missing_is_said_in_one_line(monkeypatch):
    for name, value, says in (
        ("sys.platform", "darwin", "need Linux"),
        ("os.geteuid", lambda: 1000, "need root"),
        ("shutil.which", lambda _: None, "need the program ip"),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(f"hi_live.hosts.{name}", value)
            if name == "shutil.which":
                patched.setattr("hi_live.hosts.os.geteuid", lambda: 0)
                patched.setattr("hi_live.hosts.Path.exists", lambda _: True)
            with pytest.raises(ValueError, match=f"hosts of their own {says}"):
                Hosts(Network())


def test_options_of_hosts_need_hosts():
    for options, says in (
        (["--rtt", "5"], "--rtt must be left out without --hosts"),
        (["--congestion", "bbr"], "--congestion must be left out without --hosts"),
        (["--keep-window"], "--keep-window must be left out without --hosts"),
        (["--hosts", "--network-time", "5"], "--network-time must be left out with --hosts"),
    ):
        done = CliRunner().invoke(app, ["live", "demo", *options])
        assert (done.exit_code, done.stderr.strip().splitlines()[0].count(says)) == (2, 1), done.stderr


@needs_hosts
def test_a_setting_is_measured_until_its_mean_is_known():
    bench = runpy.run_path(str(places.ROOT / "tools" / "bench_network.py"))
    network = Network(rtt=5, congestion="bbr")
    (row,) = bench["measure"](network, [(CIFAR10, 64, 0)])
    assert row["bytes"] == 64 * CIFAR10.image_bytes
    assert row["repetitions"] >= bench["REPETITIONS"]
    assert row["error"] <= bench["ENOUGH"] * row["mean"]
    assert row["p50"] >= 5 + row["bytes"] * 8000 / network.rate  # the round trip, and the bytes at the link's rate, ms
