"""What a notebook uses: the modules of our packages that it imports, and those that they import, and so on."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

PACKAGES = ("hi_lib", "hi_live", "hi_book")


def modules(code: str, root: Path) -> list[Path]:
    """Files of the packages below `root` that this code reaches by imports, those inside functions included."""
    found: set[Path] = set()
    waiting = list(_imported(code, root))
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += _imported(path.read_text(encoding="utf-8"), root)
    return sorted(found)


@functools.cache  # many notebooks use the same modules; no file comes or goes while a build looks
def _imported(code: str, root: Path) -> tuple[Path, ...]:
    return tuple(_imports(code, root))


def _imports(code: str, root: Path) -> Iterator[Path]:
    for node in _statements(ast.parse(code)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _files(alias.name, root)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:  # each a module of its own, or a name in the one it comes from
                yield from _files(f"{node.module}.{alias.name}", root)


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """All statements within a node, as deep as they go; expressions, the most of a tree, hold no imports."""
    for part in ("body", "orelse", "finalbody", "handlers", "cases"):
        for inner in getattr(node, part, ()):
            yield inner
            yield from _statements(inner)


def _files(name: str, root: Path) -> Iterator[Path]:
    """The module's file, and those of the packages around it, which Python runs on the way."""
    if name.split(".")[0] not in PACKAGES:
        return
    place = root
    for part in name.split("."):
        place /= part
        for path in (place / "__init__.py", place.with_suffix(".py")):
            if path.is_file():
                yield path
