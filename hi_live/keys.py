"""Keys for a wire that leaves this machine: CURVE encrypts it, and each side knows the other (ZeroMQ's own)."""

from __future__ import annotations

from pathlib import Path

import zmq
import zmq.auth

SERVER, DEVICE = "server", "device"


def make(folder: Path) -> list[Path]:
    """Write a pair of keys for the server and one for a device: NAME.key is public, NAME.key_secret is not.

    Raises
    ------
    ValueError
        There are keys already, or they cannot be written.
    """
    files = [folder / f"{name}.{kind}" for name in (SERVER, DEVICE) for kind in ("key", "key_secret")]
    if there := [file.name for file in files if file.exists()]:
        raise ValueError(f"{folder} must hold no keys yet, but has {', '.join(there)}: choose another folder")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in (SERVER, DEVICE):
            _, secret = zmq.auth.create_certificates(folder, name)
            Path(secret).chmod(0o600)  # which it leaves to all
    except OSError as error:
        raise ValueError(f"keys cannot be written to {folder}: {error.strerror}") from None
    return files


def public(folder: Path, name: str) -> bytes:
    """A public key of this folder."""
    return _loaded(folder / f"{name}.key")[0]


def pair(folder: Path, name: str) -> tuple[bytes, bytes]:
    """Public and secret key of this folder."""
    found, secret = _loaded(folder / f"{name}.key_secret")
    if secret is None:
        raise ValueError(f"{folder / f'{name}.key_secret'} must hold a secret key")
    return found, secret


def _loaded(file: Path) -> tuple[bytes, bytes | None]:
    try:
        return zmq.auth.load_certificate(file)
    except (OSError, ValueError):
        raise ValueError(f"{file} must hold a key, and does not or cannot be read") from None


def secure_client(socket: zmq.Socket[bytes], folder: Path) -> None:
    """Let this end talk to the server of these keys only."""
    socket.curve_publickey, socket.curve_secretkey = pair(folder, DEVICE)
    socket.curve_serverkey = public(folder, SERVER)


def secure_server(socket: zmq.Socket[bytes], folder: Path) -> None:
    """Let this end talk only to those who know its key; who may do so is up to an authenticator."""
    socket.curve_publickey, socket.curve_secretkey = pair(folder, SERVER)
    socket.curve_server = True
