"""What is made is written to data/, and pinned by its hash in data/registry.txt."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hi_lib import files, traces


class Unfinished:
    """What a long measurement has found so far: a line each in a file, so that one that was stopped goes on."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(exist_ok=True)
        path.touch()
        self._path, self.found = path, [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]

    def add(self, found: Any) -> None:
        """Keep one thing more, of what JSON can say."""
        self.found.append(found)
        with self._path.open("a", encoding="utf-8") as journal:
            journal.write(json.dumps(found) + "\n")

    def end(self) -> None:
        """Forget it all: it is written where it belongs."""
        self._path.unlink()


def register(name: str, sha256: str, origin: str) -> None:
    """Add or replace one line of the registry, keeping the order of the others."""
    lines = traces.REGISTRY.read_text(encoding="utf-8").splitlines()
    entry = f"{sha256}  {name}  {origin}"
    places = [i for i, line in enumerate(lines) if line.split()[1:2] == [name]]
    if places:
        lines[places[0]] = entry
    else:
        lines.append(entry)
    files.write_atomically(traces.REGISTRY, "\n".join(lines) + "\n")


def register_file(path: Path, origin: str) -> bool:
    """Register a file of data/ as it is; return whether it already was, with this very content."""
    name, sha256 = path.relative_to(traces.DATA).as_posix(), files.sha256(path)
    known = traces.registry().get(name)
    register(name, sha256, origin)
    return known is not None and known.sha256 == sha256


def write_data(name: str, text: str, origin: str) -> Path:
    """Write a file of data/ and register it."""
    path = files.write_atomically(traces.DATA / name, text)
    register_file(path, origin)
    return path
