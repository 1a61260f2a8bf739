"""Notebooks for JupyterLab: copies whose references lead somewhere there, too, and a Lab that runs them.

    notebooks/ + _build/html ──▶ _build/lab/

Theorems and formulas JupyterLab sets itself (jupyterlab-myst). What a reference to another page is called, or where a
figure stands, only the rendered book knows: it is asked. Copies that somebody has changed stay as they are.
"""

from __future__ import annotations

import functools
import json
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from pybtex.database import Entry, parse_file

from hi_book.press import places
from hi_book.press.notebooks import Progress, notebook_names
from hi_lib import checks, files
from hi_lib.files import write_atomically

_ROLE = re.compile(r"\{(doc|ref|numref|eq|prf:ref|cite)\}`(?:([^`<]+?)\s*<([^`>]+)>|([^`]+))`")
_LINK = re.compile(r'<a class="reference internal" href="([^"#]*)#([^"]+)"[^>]*>(.*?)</a>', flags=re.DOTALL)
_TITLE = re.compile(r"<title>(.*?)(?: &#8212;| —|</title>)", flags=re.DOTALL)
# Without it, JupyterLab asks for one before it runs anything.
_KERNEL = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
# Neither news from the makers of JupyterLab nor a search for a newer one: this book asks the network for nothing.
_QUIET = {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False}}


def prepare(folder: Path = places.BUILD / "lab", progress: Progress = print) -> Path:
    """Write a copy of every notebook that is not there, or that nobody has changed, and return their folder.

    Raises
    ------
    ValueError
        The book has not been built.
    """
    if not places.HTML.is_dir():
        raise ValueError("there is no book yet: run make book")
    known, noted = _links(), folder / ".written.json"
    written = json.loads(noted.read_text(encoding="utf-8")) if noted.is_file() else {}
    for name in notebook_names():
        copy = folder / f"{name}.ipynb"
        if copy.is_file() and files.sha256(copy) != written.get(name):
            progress(f"{copy} has been changed, and stays as it is: remove it for a new copy")
            continue
        write_atomically(copy, _resolved(places.NOTEBOOKS / f"{name}.ipynb", known))
        written[name] = files.sha256(copy)
    write_atomically(noted, json.dumps(written, indent=1))
    return folder


def command(folder: Path) -> list[str]:
    """What starts JupyterLab on these copies, in this environment, for this machine only."""
    settings = write_atomically(places.BUILD / "lab-settings" / "overrides.json", json.dumps(_QUIET)).parent
    root = ["--allow-root"] if os.geteuid() == 0 else []
    options = {"ip": "127.0.0.1", "ServerApp.root_dir": places.BUILD, "LabApp.app_settings_dir": settings}
    options["LabApp.default_url"] = f"/lab/tree/{folder.name}"
    given = [f"--{name}={value}" for name, value in options.items()]
    return [str(Path(sys.executable).with_name("jupyter")), "lab", *given, *root]


def environment(folder: Path) -> dict[str, str]:
    """The variables of its kernels: results of the copies lie beside them, the book's stay."""
    return os.environ | {"HI_RESULTS": str(folder / "results")}


def _links() -> dict[str, tuple[str, str]]:
    """Every label that a page of the book refers to: its place, seen from a copy, and what it is called there."""
    found = {}
    for page in sorted(places.HTML.glob("*/*.html")):
        for target, label, text in _LINK.findall(page.read_text(encoding="utf-8")):
            place = (page.parent / target if target else page).resolve().relative_to(places.HTML.resolve())
            name = re.sub(r"<[^>]+>", "", text)
            found[label.removeprefix("equation-")] = f"../html/{place.as_posix()}#{label}", " ".join(name.split())
    return found


def _resolved(notebook: Path, known: Mapping[str, tuple[str, str]]) -> str:
    """A notebook as text, with links in place of the references that JupyterLab cannot follow."""
    content = json.loads(notebook.read_text(encoding="utf-8"))
    cells = content["cells"]
    texts = ["".join(cell["source"]) for cell in cells]
    # jupyterlab-myst follows what is labelled in Markdown of the same notebook, and numbers it in its own way.
    found = re.findall(r"^:label: (\S+)$|\$\$ \((\S+)\)$", "\n".join(texts), flags=re.MULTILINE)
    labels = {label for pair in found for label in pair if label}
    for cell, text in zip(cells, texts, strict=True):
        if cell["cell_type"] == "markdown" or ".tell(" in text:
            near: set[str] = labels if cell["cell_type"] == "markdown" else set()  # an output knows no other cell
            linked = _ROLE.sub(functools.partial(_link, own=near, known=known), text)
            cell["source"] = linked.splitlines(keepends=True)
    content["metadata"]["kernelspec"] = _KERNEL
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _link(role: re.Match[str], own: set[str], known: Mapping[str, tuple[str, str]]) -> str:
    kind, said, target = role[1], role[2], role[3] or role[4]
    if kind == "doc":
        return _to_page(target, said)
    if kind == "cite":
        return f"[{', '.join(_cited(key.strip()) for key in target.split(','))}](../html/book/glossary.html)"
    if target in own or target not in known:
        return role[0]
    place, name = known[target]
    return f"[{said or name}]({place})"


def _to_page(target: str, said: str | None) -> str:
    """A link to another copy, or to a page of the book, by its title."""
    name = Path(target).name
    if name in notebook_names():
        first = json.loads((places.NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"][0]
        return f"[{said or ''.join(first['source']).splitlines()[0].lstrip('# ')}]({name}.ipynb)"
    page = checks.text_file(places.HTML / "book" / f"{name}.html")
    title = _TITLE.search(page)
    return f"[{said or (title[1].strip() if title else name)}](../html/book/{name}.html)"


def _cited(key: str) -> str:
    """First author and year of an entry of the bibliography."""
    entry = parse_file(places.PAGES / "references.bib").entries.get(key, Entry("misc"))
    authors = [" ".join(each.prelast_names + each.last_names) for each in entry.persons.get("author", [])] or [key]
    return f"{authors[0]}{' et al.' if authors[1:] else ''} {entry.fields.get('year', '')}".strip()
