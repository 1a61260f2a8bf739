"""Who is connected to a socket, and how much of what they sent waits within libzmq, which has no limit for it.

libzmq limits how many whole messages may wait, and how long each frame is. But a message may have any number of
frames, and is not handed over before its last: a peer that never ends one fills the memory, and one of empty frames
takes thirty times what it sends. So somebody has to look from outside: Linux counts what has come on each connection,
and we count what was handed over. Who is ahead of us by more than an honest peer ever is, is cut off, which frees all.
"""

from __future__ import annotations

import contextlib
import os
import socket as sockets
import struct
import sys
import threading
from dataclasses import dataclass
from typing import Any, NamedTuple

import zmq
from zmq.utils.monitor import parse_monitor_message

MOST_CONNECTIONS = 64
MOST_HELD = 2**20  # bytes of a connection that wait within libzmq: several times those of an honest peer
MOST_HELD_BY_ALL = 20 * 2**20
PATIENCE = 0.01  # seconds between two looks
_ESTABLISHED = 1
_BYTES_RECEIVED = struct.Struct("@B127xQ")  # state, and bytes received, of Linux' struct tcp_info
_ENCRYPTION = 33  # bytes that CURVE adds to a frame
_CONNECTED = zmq.EVENT_ACCEPTED | zmq.EVENT_CONNECTED
_FAILED = zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL


@dataclass(eq=False)
class Peer:
    """A connection: a handle of our own on it, what its descriptor had handed over before, whether it has ended."""

    handle: sockets.socket
    before: int
    gone: bool = False

    def end(self) -> None:
        """Let go of it."""
        self.gone = True
        self.handle.close()


class Received(NamedTuple):
    """Frames of a message, the sender's name first where there is one, and who sent it, where that is known."""

    frames: list[zmq.Frame] | None
    peer: Peer | None


class Connections(threading.Thread):
    """Watches a ROUTER or DEALER, and receives from it.

    Parameters
    ----------
    socket : zmq.Socket
        Before it is bound or connected.
    encrypted : bool
        Whether it has keys.

    Attributes
    ----------
    cut : int
        How many connections were cut off.
    greeted : bool
        Whether somebody has been understood, keys included.
    failure : str
        Why the first one was not; empty where nobody failed.
    """

    def __init__(self, socket: zmq.Socket[Any], encrypted: bool = False) -> None:
        super().__init__(daemon=True)
        self.cut, self.greeted, self.failure = 0, False, ""
        self._socket, self._added = socket, _ENCRYPTION if encrypted else 0
        heard = _CONNECTED | _FAILED | zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED
        self._monitor = socket.get_monitor_socket(heard)
        self._routed = socket.type == zmq.ROUTER
        self._lock, self._closing = threading.Lock(), threading.Event()
        self._peers: dict[int, Peer] = {}  # by their file descriptor within libzmq
        self._handed_over: dict[int, int] = {}  # bytes, by the same, of all that ever had it

    def receive(self, most: int) -> Received:
        """The next message; without frames if it has more than `most`.

        Frames are let go of as they come, since a message may have millions.
        """
        kept: list[zmq.Frame] = []
        more, count, peer = True, 0, None
        while more:
            frame = self._socket.recv(copy=False)
            more, count = frame.more, count + 1
            if count > 1 or not self._routed:
                peer = self._count(frame)
            if count <= most:
                kept.append(frame)
        return Received(kept if count <= most else None, peer)

    def run(self) -> None:
        """Look until closed."""
        while not self._closing.wait(PATIENCE):
            with self._lock:
                self._hear()
                self._look()

    def close(self) -> None:
        """Stop looking; before the socket is closed."""
        self._closing.set()
        self.join()
        self._socket.disable_monitor()
        self._monitor.close()
        for peer in self._peers.values():
            peer.end()

    def _count(self, frame: zmq.Frame) -> Peer | None:
        """Note that a frame was handed over; of whom."""
        if not _counting():
            return None
        try:
            place, size = frame.get(zmq.SRCFD), len(frame) + self._added
        except zmq.ZMQError:  # it came from this process
            return None
        with self._lock:
            self._hear()  # whose frame it is: another connection may have had its descriptor before
            self._handed_over[place] = self._handed_over.get(place, 0) + size + (2 if size < 256 else 9)
            return self._peers.get(place)

    def _hear(self) -> None:
        """Of connections that have come or gone, and whether they were understood."""
        while self._monitor.poll(0):
            event = parse_monitor_message(self._monitor.recv_multipart())
            if event["event"] & _CONNECTED:
                self._add(event["value"])
            elif event["event"] == zmq.EVENT_DISCONNECTED:
                self._end(event["value"])
            elif event["event"] & _FAILED:
                self.failure = self.failure or self._why(event["event"], event["value"])
            else:
                self.greeted = True

    def _why(self, event: int, value: int) -> str:
        """What a failed handshake means."""
        if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
            return f"the other end does not know this one's public key (status {value})"
        if event == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL:
            return "one end has keys, and the other has none"
        return "the other end has other keys, or none" if self._added else ""

    def _add(self, place: int) -> None:
        self._end(place)
        if not _counting():
            return
        with contextlib.suppress(OSError):  # it is gone already
            self._peers[place] = Peer(sockets.socket(fileno=os.dup(place)), self._handed_over.get(place, 0))

    def _end(self, place: int) -> None:
        """Let go of a connection that libzmq has closed: while we hold it, the other end is not told."""
        if peer := self._peers.pop(place, None):
            peer.end()

    def _look(self) -> None:
        """Cut off those who are ahead of us by too much, alone or all together, and who is one too many."""
        held = {place: self._held(place, peer) for place, peer in self._peers.items()}
        gone = [place for place, size in held.items() if size is None]
        for place in gone:
            self._end(place)
        waits = {place: size for place, size in held.items() if size is not None}
        largest = sorted(waits, key=waits.__getitem__, reverse=True)
        over = [place for place in largest if waits[place] > MOST_HELD]
        if sum(waits.values()) > MOST_HELD_BY_ALL and not over:
            over = largest[:1]
        for place in {*over, *list(waits)[MOST_CONNECTIONS:]}:
            self._cut(place)

    def _held(self, place: int, peer: Peer) -> int | None:
        """Bytes that libzmq has taken and not handed over; None if the connection has ended."""
        try:
            state, received = _BYTES_RECEIVED.unpack_from(
                peer.handle.getsockopt(sockets.IPPROTO_TCP, sockets.TCP_INFO, _BYTES_RECEIVED.size)
            )
            return None if state != _ESTABLISHED else received - _unread(peer.handle) - self._handed(place, peer)
        except (OSError, struct.error):
            return None

    def _handed(self, place: int, peer: Peer) -> int:
        return self._handed_over.get(place, 0) - peer.before

    def _cut(self, place: int) -> None:
        peer = self._peers.pop(place)
        with contextlib.suppress(OSError):
            # Once it is closed here the other end is told at once, and not when it asks for room to send.
            peer.handle.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, struct.pack("ii", 1, 0))
            peer.handle.shutdown(sockets.SHUT_RDWR)
        peer.end()
        self.cut += 1


def _counting() -> bool:
    """Whether this system tells what has come on a connection."""
    return sys.platform == "linux"


def _unread(handle: sockets.socket) -> int:
    """Bytes that wait in the kernel, which has a limit of its own for them."""
    import fcntl
    import termios

    (size,) = struct.unpack("i", fcntl.ioctl(handle, termios.FIONREAD, bytes(4)))
    return int(size)
