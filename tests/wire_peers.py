"""Ends of the wire that tests need: a server in a thread or a process, a device of a few lines, peers by hand."""

import contextlib
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import zmq

from hi_live import server, wire

LOOPBACK = "tcp://127.0.0.1:0"
HI = (sys.executable, "-m", "hi_book.commands.main")


@contextlib.contextmanager
def serving(large, **more):
    """Address of a server in a thread, and what it says when it ends."""
    stop, address, ready, ended = threading.Event(), [], threading.Event(), []

    def run():
        ended.append(server.serve(large, LOOPBACK, stop, lambda where: (address.append(where), ready.set()), **more))

    thread = threading.Thread(target=run)
    thread.start()
    assert ready.wait(10)
    try:
        yield address[0], ended
    finally:
        stop.set()
        thread.join()


@contextlib.contextmanager
def served(*options):
    """A server in a process of its own, and its port."""
    command = [*HI, "live", "server", "--bind", LOOPBACK, *options]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process, int(process.stdout.readline().rpartition(":")[2])
        finally:
            process.kill()


@contextlib.contextmanager
def asking(address, count=1):
    """Sockets of devices that ask a server."""
    context = zmq.Context()
    sockets = [context.socket(zmq.DEALER) for _ in range(count)]
    for one in sockets:
        one.setsockopt(zmq.LINGER, 0)
        one.setsockopt(zmq.SNDHWM, 0)
        one.connect(address)
    try:
        yield sockets
    finally:
        context.destroy(linger=0)


def ask(one, samples, images, number=0):
    """Send a request."""
    wire.send(one, wire.pack_request(wire.Request("test", number, tuple(samples), images)))


def answer(one, seconds=20):
    """The next reply."""
    assert one.poll(1000 * seconds), "no answer"
    return wire.read_reply(one.recv())


def raw(address):
    """A connection of bytes to a server."""
    return socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])), timeout=5)


def greeting():
    """What comes first in ZMTP 3.0, of a peer without keys."""
    return b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)


def by_hand(connection, kind):
    """Greet as ZMTP 3.0 does, without libzmq, which would never send half a message."""
    connection.sendall(greeting())
    there = b""
    while len(there) < 64:
        there += connection.recv(64 - len(there))
    ready = b"\x05READY\x0bSocket-Type" + struct.pack(">I", len(kind)) + kind
    connection.sendall(b"\x04" + bytes([len(ready)]) + ready)


def endless(connection, size, seconds):
    """Send a message that never ends, of frames of so many bytes, for so long or until it is cut off."""
    head = bytes([1, size]) if size < 256 else b"\x03" + struct.pack(">Q", size)
    many = (head + bytes(size)) * max(1, 2**18 // (size + 2))
    until = time.monotonic() + seconds
    with contextlib.suppress(OSError):
        while time.monotonic() < until:
            connection.sendall(many)


def pester(port, size, seconds):
    """As a device that comes again whenever it is cut off, send a server messages that never end."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            by_hand(connection, b"DEALER")
            endless(connection, size, until - time.monotonic())


def resident(pid):
    """Memory of a process, MiB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / 2**20


def most_resident(pid, threads):
    """The most memory that a process takes while threads run, MiB; it must live through it."""
    most = 0.0
    while any(thread.is_alive() for thread in threads):
        most = max(most, resident(pid))
        time.sleep(0.01)
    return most


def started(*targets):
    """Threads that run functions, each with its arguments."""
    threads = [threading.Thread(target=function, args=arguments, daemon=True) for function, *arguments in targets]
    for thread in threads:
        thread.start()
    return threads
