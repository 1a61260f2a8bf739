"""The book is served to this machine alone, without anything beside it, and no client holds the others up."""

import contextlib
import os
import socket
import threading

import pytest

from hi_book.press import serving


@pytest.fixture
def book(tmp_path):
    """A book of two pages in folders, and a secret beside it."""
    folder = tmp_path / "html"
    for name in ("index.html", "pages/index.html", "images/one.svg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"this is {name}")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "index.html").write_text("a secret")
    return folder


@contextlib.contextmanager
def served(folder):
    with serving.Server(folder, 0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def connected(server):
    return socket.create_connection(server.server_address, timeout=20)


def ask(server, path="/", hosts=None, method="GET"):
    """Status and content."""
    hosts = [f"127.0.0.1:{server.server_address[1]}"] if hosts is None else hosts
    lines = [f"{method} {path} HTTP/1.1", *(f"Host: {host}" for host in hosts), "", ""]
    with connected(server) as connection:
        connection.sendall("\r\n".join(lines).encode())
        head, _, content = b"".join(iter(lambda: connection.recv(65536), b"")).partition(b"\r\n\r\n")
    return int(head.split()[1]), content.decode()


def test_it_answers_to_its_own_names_alone(book):
    with served(book) as server:
        port = server.server_address[1]
        for own in ("127.0.0.1", "localhost", "LocalHost", "[::1]"):
            assert ask(server, hosts=[f"{own}:{port}"]) == (200, "this is index.html")
        own = f"127.0.0.1:{port}"
        strange = [f"rebound.invalid:{port}", "127.0.0.1", f"127.0.0.1:{port + 1}", f"localhost.invalid:{port}", ""]
        for hosts in ([], [own, "rebound.invalid"], [own, own], *([each] for each in strange)):
            for method in ("GET", "HEAD", "POST"):
                status, content = ask(server, hosts=hosts, method=method)
                assert status == 421, hosts
                assert "this is" not in content


def test_on_the_usual_port_browsers_name_none(book, monkeypatch):
    with served(book) as server:
        monkeypatch.setattr(server, "server_address", ("127.0.0.1", 80))
        assert {"localhost", "localhost:80", "127.0.0.1"} <= server.names


def test_no_link_leads_out_of_the_book(book):
    secret = book.parent / "secret"
    (book / "file.html").symlink_to(secret / "index.html")
    (book / "folder").symlink_to(secret)
    (book / "images" / "index.html").symlink_to("../../secret/index.html")
    (book / "circle").symlink_to("circle")
    (book / "within.html").symlink_to("pages/index.html")
    os.mkfifo(book / "pipe")
    with served(book) as server:
        for path in (
            "/file.html",
            "/folder/",
            "/folder/index.html",
            "/images/",
            "/circle",
            "/pipe",
            "/%00",
            "/a" * 3000,
        ):
            status, content = ask(server, path)
            assert status == 404, path
            assert "secret" not in content.replace("/secret", "")
        for path in ("/../secret/index.html", "/%2e%2e/secret/index.html", "//../secret/index.html"):
            assert ask(server, path)[0] == 404
        assert ask(server, "/within.html") == (200, "this is pages/index.html")


def test_the_folder_itself_may_be_a_link(book):
    (book.parent / "link").symlink_to(book)
    with served(book.parent / "link") as server:
        assert ask(server, "/pages/") == (200, "this is pages/index.html")


def test_folders_are_not_listed(book):
    with served(book) as server:
        assert ask(server, "/images/")[0] == 404
        assert ask(server, "/images")[0] == 404
        assert ask(server, "/images/one.svg") == (200, "this is images/one.svg")
        assert ask(server, "/pages")[0] == 301


STALLING = {
    "says nothing": b"",
    "stops within a line": b"GET / HT",
    "stops within the head": b"GET / HTTP/1.1\r\nHost: x\r\n",
}


@pytest.mark.parametrize("begin", STALLING)
def test_clients_that_stall_are_dropped_and_never_many(begin, book, monkeypatch):
    monkeypatch.setattr(serving, "AT_ONCE", 2)
    monkeypatch.setattr(serving, "PATIENCE", 0.2)
    answering, most, lock = set(), [], threading.Lock()
    finish = serving.Server.finish_request

    def counted(server, request, address):
        with lock:
            answering.add(request)
            most.append(len(answering))
        try:
            finish(server, request, address)
        finally:
            with lock:
                answering.discard(request)

    monkeypatch.setattr(serving.Server, "finish_request", counted)
    with served(book) as server, contextlib.ExitStack() as stack:
        stalled = [stack.enter_context(connected(server)) for _ in range(5)]
        for connection in stalled:
            connection.sendall(STALLING[begin])
        assert ask(server) == (200, "this is index.html")
        assert [connection.recv(65536) for connection in stalled] == [b""] * 5
    assert len(most) == 6
    assert max(most) <= 2


def test_a_client_that_does_not_read_is_dropped(book, monkeypatch):
    monkeypatch.setattr(serving, "AT_ONCE", 1)
    monkeypatch.setattr(serving, "PATIENCE", 0.2)
    (book / "large.bin").write_bytes(bytes(1 << 25))  # more than fits between the two
    with served(book) as server, connected(server) as connection:
        connection.sendall(f"GET /large.bin HTTP/1.1\r\nHost: localhost:{server.server_address[1]}\r\n\r\n".encode())
        assert ask(server) == (200, "this is index.html")


def test_a_mistake_of_ours_is_told_and_a_lost_client_is_not(book, monkeypatch, capsys):
    with served(book) as server:
        for error in (BrokenPipeError(), ZeroDivisionError()):

            def fail(*_, error=error):
                raise error

            monkeypatch.setattr(server, "finish_request", fail)
            with connected(server) as connection:
                assert connection.recv(1) == b""
    said = capsys.readouterr().err
    assert "ZeroDivisionError" in said
    assert "BrokenPipe" not in said


def test_without_a_thread_the_client_is_sent_away(book, monkeypatch, capsys):
    monkeypatch.setattr(serving, "AT_ONCE", 1)
    with served(book) as server:
        with monkeypatch.context() as patch:

            def none_left(_):
                raise RuntimeError("can't start new thread")

            patch.setattr(threading.Thread, "start", none_left)
            with connected(server) as connection:
                assert connection.recv(1) == b""
        assert ask(server)[0] == 200
    assert "can't start new thread" in capsys.readouterr().err
