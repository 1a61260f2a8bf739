"""What the wire holds against: memory and time stay bounded, whatever comes from the other end."""

import contextlib
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import zmq
from wire_peers import (
    HI,
    answer,
    ask,
    asking,
    by_hand,
    endless,
    most_resident,
    pester,
    resident,
    served,
    serving,
    started,
)

import hi_lib as hi
from hi_live import connections, turns, wire
from hi_live import device as devices
from hi_live import link as links
from hi_live.device import Device, Plan
from hi_live.link import Link
from hi_live.replayed import ReplayedLarge, ReplayedSmall
from hi_live.turns import Sender, Turns
from hi_live.wire import Reply, Request, WireError

TRACE = hi.synthetic_trace(400, seed=3)
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts what comes on a connection")
PROMISED = 1024  # MiB, of SECURITY.md


class Counting:
    """An L-ML that takes its time for each picture, and remembers how many it was shown at once."""

    def __init__(self, seconds=0.0):
        self.seconds, self.shown = seconds, []

    def answers(self, samples, images):
        self.shown.append(len(images))
        time.sleep(self.seconds * len(images))
        return [sample % 7 for sample in samples]


@linux
def test_messages_that_never_end_take_little_memory_of_a_server():
    with served() as (process, port):
        before = resident(process.pid)
        took = most_resident(process.pid, started(*((pester, port, size, 1.5) for size in (0, 100, 60_000)))) - before
        assert took < PROMISED / 4
        with asking(f"tcp://127.0.0.1:{port}") as (one,):
            ask(one, [3], [b"picture"])
            assert answer(one).samples == (3,)


@linux
@pytest.mark.slow
def test_what_many_devices_send_at_once_takes_bounded_memory_of_a_server():
    busy = ([b"x"] * 500, range(500))
    large = [bytes(15 * 2**20)] * 4, range(4)
    with served() as (process, port), asking(f"tcp://127.0.0.1:{port}", 8) as devices:
        before = resident(process.pid)

        def send():
            for images, samples in (busy, large, large):
                for one in devices:
                    ask(one, samples, images)

        took = most_resident(process.pid, started((send,), (time.sleep, 3))) - before
        assert took < PROMISED / 2


@linux
@pytest.mark.slow
def test_messages_that_never_end_take_little_memory_of_a_device():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"tcp://127.0.0.1:{listening.getsockname()[1]}"
        command = [*HI, "live", "device", "--server", address, "--samples", "50", "--timeout", "1500"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        listening.accept()[0].close()  # by now it has loaded what it needs
        before = resident(process.pid)

        def flood():
            until = time.monotonic() + 1.2
            while time.monotonic() < until:
                connection, _ = listening.accept()
                with connection, contextlib.suppress(OSError):
                    by_hand(connection, b"ROUTER")
                    endless(connection, 0, until - time.monotonic())

        took = most_resident(process.pid, started((flood,))) - before
        process.kill()
        process.communicate()
    assert took < PROMISED / 4


@linux
def test_who_sends_much_but_honestly_is_not_cut_off():
    with serving(Counting(0.0005)) as (address, ended), asking(address, 12) as devices:
        images, samples = [bytes(100_000)] * 40, range(40)
        for number in range(2):
            for one in devices:
                ask(one, samples, images, number)
        replies = [answer(one) for one in devices for _ in range(2)]
    assert all(reply.answers == tuple(sample % 7 for sample in samples) for reply in replies)
    assert (ended[0].requests, ended[0].cut) == (24, 0)


@linux
def test_there_are_so_many_connections_and_no_more(monkeypatch):
    monkeypatch.setattr(connections, "MOST_CONNECTIONS", 3)
    with serving(Counting()) as (address, ended), asking(address, 3) as devices:
        for one in devices:
            ask(one, [1], [b"x"])
            answer(one)
        with asking(address) as (late,):
            ask(late, [1], [b"x"])
            time.sleep(0.2)
            for one in devices:
                ask(one, [2], [b"x"])
                assert answer(one).answers == (2,)
    assert ended[0].cut >= 1


def test_a_message_of_many_frames_is_refused():
    with serving(Counting()) as (address, ended), asking(address) as (one,):
        one.send_multipart([b""] * 1000)
        one.send_multipart([*wire.pack_request(Request("test", 0, (1,), [b"x"])), b"more"])
        ask(one, [5], [b"x"])
        assert answer(one).answers == (5,)
    assert ended[0].refused == 2


def test_nobody_waits_for_all_the_pictures_of_another():
    with serving(Counting(0.002)) as (address, _), asking(address, 2) as (greedy, modest):
        ask(modest, [1], [b"x"])
        answer(modest)
        ask(greedy, range(wire.MOST_IMAGES), [b"x"] * wire.MOST_IMAGES)  # eight seconds of work
        time.sleep(0.1)
        begun = time.monotonic()
        ask(modest, [2], [b"x"])
        assert answer(modest).answers == (2,)
        assert time.monotonic() - begun < 2


def test_empty_pictures_are_answered_at_once_and_never_shown():
    large = Counting(1.0)
    with serving(large) as (address, _), asking(address) as (one,):
        begun = time.monotonic()
        ask(one, range(wire.MOST_IMAGES), [b""] * wire.MOST_IMAGES)
        assert answer(one).answers == (None,) * wire.MOST_IMAGES
        assert time.monotonic() - begun < 2
    assert large.shown == []


def test_a_request_is_worked_on_in_slices_and_its_times_add_up():
    large = Counting(0.001)
    with serving(large) as (address, _), asking(address) as (one,):
        ask(one, range(100), [b"x"] * 100)
        reply = answer(one)
    assert large.shown == [32, 32, 32, 4]
    assert reply.answers == tuple(sample % 7 for sample in range(100))
    assert 100 <= reply.computing <= reply.resident


def part(number=0, pictures=1, size=10):
    return wire.pack_request(Request("run", number, tuple(range(pictures)), [bytes(size)] * pictures))


ONE, TWO, THREE = (Sender(name) for name in (b"one", b"two", b"three"))


def test_devices_take_turns_and_each_ones_requests_their_order():
    waiting = Turns()
    for number in range(2):
        for who in (ONE, TWO):
            assert waiting.add(who, *part(number), 0.0) == []
    order = []
    while work := waiting.next():
        order.append((work.device.name, work.request.number))
        waiting.end(work)
    assert order == [(b"one", 0), (b"two", 0), (b"one", 1), (b"two", 1)]
    assert not waiting
    assert waiting._held == 0


def test_where_there_is_no_room_who_holds_most_loses_its_newest():
    waiting = Turns(most=2 * 10**6)
    assert waiting.add(ONE, *part(size=100), 0.0) == []
    several = [piece for number in range(3) for piece in part(number, size=600_000)]
    refused = [work for piece in several for work in waiting.add(TWO, piece, 0.0)]
    assert refused == []
    *first, last = [waiting.add(THREE, piece, 0.0) for piece in part(7, size=400_000)]
    (work,) = [work for each in [*first, last] for work in each]
    assert (work.device, work.request.number) == (TWO, 2)
    assert waiting.next().device == ONE


def test_a_request_that_is_half_there_can_be_refused_by_name():
    waiting = Turns(most=10**6)
    refused = []
    for piece in part(3, pictures=4, size=500_000):
        with contextlib.suppress(WireError):  # the rest of what was given up follows nothing
            refused += waiting.add(ONE, piece, 0.0)
    (work,) = refused
    assert (work.request.number, work.request.samples) == (3, (0, 1, 2, 3))
    assert waiting._held == 0


def test_who_has_gone_waits_for_nothing():
    peer = connections.Peer(None, 0)
    waiting = Turns()
    waiting.add(Sender(b"gone", peer), *part(), 0.0)
    waiting.add(ONE, *part(), 0.0)
    peer.gone = True
    assert waiting.next().device == ONE
    assert waiting._held == waiting.next().size


def test_who_leaves_in_the_middle_of_a_request_is_forgotten_when_others_come(monkeypatch):
    monkeypatch.setattr(turns, "_MOST_DEVICES", 2)
    waiting = Turns()
    for name in (b"a", b"b", b"c", b"d"):
        waiting.add(Sender(name), part(size=200_000)[0], 0.0)
    assert [device.name for device in waiting._devices] == [b"c", b"d"]
    assert waiting._held == 2 * wire.PART


class Frames:
    """A device's end of a link on which there is always a message."""

    def __init__(self, reply, most=100_000):
        self.reply, self.left = wire.pack_reply(reply), most

    def poll(self, _patience):
        self.left -= 1
        assert self.left, "it never stops listening"
        return 1

    def recv_multipart(self, **_options):
        return [zmq.Frame(self.reply)]

    def send_multipart(self, *_frames, **_options):
        pass

    def close(self):
        pass


class Ends:
    """A link of such an end; it looks at the network, or does so after having been asked some times."""

    refusal, stray = "", 0

    def __init__(self, end, looks_after=0):
        self.end, self.unasked = end, looks_after

    def device_socket(self):
        return self.end

    @property
    def looking(self):
        self.unasked -= 1
        return self.unasked < 0


def test_a_timeout_holds_under_a_flood():
    stray = Reply("another run", 0, (0,), (1,), 0.0, 0.0)
    device = Device(
        ReplayedSmall(TRACE, 0.0, 10), hi.HILF(0.5, 0.1, seed=0, levels=64), Ends(Frames(stray)), Plan(4, timeout=20.0)
    )
    log = device.run(20)
    assert log.lost.any()
    assert max(one.round_trip for one in log.transmissions) < 20 + 200  # what a busy machine may add
    assert log.stray > 0


def test_no_answer_is_given_up_before_the_link_has_looked_for_it():
    """As in a process that was stopped: the time is over, and the answer is there, but not yet with the device."""
    end = Frames(Reply("", 0, (0,), (1,), 0.0, 0.0))
    link = Ends(end, looks_after=5)
    device = Device(ReplayedSmall(TRACE, 0.0, 10), hi.HILF(0.5, 0.1, seed=0, levels=64), link, Plan(1, timeout=1e-3))
    asked = []
    end.send_multipart = lambda frames, **_: asked.append(wire.Assembly().add(frames[2]))
    end.poll = lambda _patience: link.unasked <= 1 and bool(asked)

    def reply(**_options):
        request = asked.pop()
        return [zmq.Frame(wire.pack_reply(Reply(device.run_name, request.number, request.samples, (1,), 0.0, 0.0)))]

    end.recv_multipart = reply
    log = device.run(1)
    if log.offloaded.any():
        assert not log.lost.any()


def test_a_link_that_had_no_turn_says_so():
    context = zmq.Context()
    link = Link(context, "tcp://127.0.0.1:1")
    assert link.looking  # it carries nothing yet
    link.start()
    time.sleep(0.1)
    assert link.looking
    link._looked -= 1.0  # as if it had been stopped
    assert not link.looking
    link._look()
    assert not link.looking  # what has come is on its way
    deadline = time.monotonic() + 5
    while not link.looking and time.monotonic() < deadline:
        time.sleep(0.01)
    assert link.looking
    link.close()
    context.term()


def test_a_flooding_server_is_passed_over():
    context = zmq.Context()
    flood = context.socket(zmq.ROUTER)
    flood.setsockopt(zmq.LINGER, 0)
    port, stop = flood.bind_to_random_port("tcp://127.0.0.1"), threading.Event()

    def run():
        name = None
        while not stop.is_set():
            if flood.poll(0 if name else 10):
                name = flood.recv_multipart()[0]
            if name:
                flood.send_multipart([name, b"\xc1 no MessagePack"])

    (thread,) = started((run,))
    link = Link(context, f"tcp://127.0.0.1:{port}")
    link.start()
    device = Device(ReplayedSmall(TRACE, 0.0, 10), hi.HILF(0.5, 0.1, seed=0, levels=64), link, Plan(4, timeout=100.0))
    log = device.run(12)
    link.close()
    stop.set()
    thread.join()
    flood.close()
    context.term()
    waited = [one.round_trip for one in log.transmissions]
    assert len(waited) == np.isfinite(waited).sum() >= 1
    assert max(waited) < 100 + 400
    # 32 of them every 10 ms, and not what the server can send.
    assert 0 < log.stray <= 32 * (log.ended / 10 + 2)


def test_an_emulated_link_carries_so_many_bytes_and_no_more(monkeypatch):
    """What finds it full is lost, as in any queue."""
    monkeypatch.setattr(links, "MOST_ON_THE_WAY", 3500)
    context = zmq.Context()
    link = Link(context, "tcp://127.0.0.1:1", rate=8000.0)  # a kilobyte a second
    link.start()
    end = link.device_socket()
    for number in range(20):
        request = Request("run", number, (number,), [bytes(1000)])
        end.send_multipart([b"%d" % number, b"1000", *wire.pack_request(request)])
    deadline = time.monotonic() + 5
    while len(link._network) < 20 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(link._due) == 3
    assert 3000 < link._on_the_way <= 3500
    end.close()
    link.close()
    context.term()


def test_a_device_has_so_many_bytes_out_and_no_more(monkeypatch):
    monkeypatch.setattr(devices, "MOST_OUT", 2500)
    with serving(ReplayedLarge(TRACE, 0.002)) as (address, _):
        context = zmq.Context()
        link = Link(context, address)
        link.start()
        most = []
        device = Device(ReplayedSmall(TRACE, 0.0, 1000), hi.HILF(0.1, 0.1, seed=0, levels=64), link, Plan(1, np.inf))
        log = device.run(60, 0, lambda _done: most.append(len(device._out)))
        link.close()
        context.term()
    assert log.offloaded.sum() > 10
    assert max(most) == 2
