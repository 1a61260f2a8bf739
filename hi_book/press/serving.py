"""The built book, served to this machine: to its own name alone, nothing beside the book, nobody for ever."""

from __future__ import annotations

import contextlib
import functools
import sys
import threading
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import SHUT_RDWR
from typing import Any

AT_ONCE = 32  # connections; the next ones wait
PATIENCE = 20.0  # seconds that one connection may take, question and answer


class Server(ThreadingHTTPServer):
    """Serves the files of a folder on 127.0.0.1; port 0 takes a free one.

    Raises
    ------
    OSError
        The port cannot be had.
    """

    def __init__(self, folder: Path, port: int) -> None:
        self._free = threading.BoundedSemaphore(AT_ONCE)
        super().__init__(("127.0.0.1", port), functools.partial(_Handler, directory=str(folder.resolve())))

    @property
    def names(self) -> set[str]:
        """What a browser may have called this server: a page of somebody else's reaches it by another name."""
        hosts, port = ("127.0.0.1", "localhost", "[::1]"), self.server_address[1]
        return {f"{host}:{port}" for host in hosts} | (set(hosts) if port == 80 else set())

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread of its own, once there is one."""
        self._free.acquire()
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no thread could be started
            self._free.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer, or hang up when that takes too long."""
        end = threading.Timer(PATIENCE, _hang_up, [request])
        end.daemon = True
        end.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            end.cancel()
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that went away, or were sent away."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


def _hang_up(connection: Any) -> None:
    with contextlib.suppress(OSError):  # it is closed already
        connection.shutdown(SHUT_RDWR)


class _Handler(SimpleHTTPRequestHandler):
    server: Server

    def parse_request(self) -> bool:
        """Whether there is a request to answer; one to another host is refused, whatever it asks for."""
        if not super().parse_request():
            return False
        hosts = self.headers.get_all("Host", [])
        if len(hosts) == 1 and hosts[0].strip().lower() in self.server.names:
            return True
        here = f"This server is 127.0.0.1:{self.server.server_address[1]} and answers to no other name"
        self.send_error(HTTPStatus.MISDIRECTED_REQUEST, here)
        return False

    def send_head(self) -> Any:
        """Begin to answer with a file of the book; a folder stands for its first page, and is never listed."""
        try:
            path = Path(self.translate_path(self.path))
            page = (path / "index.html" if path.is_dir() else path).resolve()
            if page.is_file() and page.is_relative_to(self.directory):
                return super().send_head()
        except (OSError, RuntimeError, ValueError):  # too long a name, a circle of links, a zero byte
            pass
        self.send_error(HTTPStatus.NOT_FOUND)
        return None
