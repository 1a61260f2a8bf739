"""Render the book and publish it: always whole, never stale.

    _build/executed/, results/, book/ ──Jupyter Book──▶ _build/html

It renders again when any page or result has changed; the old book stays until the new one is whole.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.metadata
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from hi_book.press import claims, decide, phones, places, plain_yaml, provenance, results, surroundings, uses
from hi_book.press.notebooks import BuildError, Progress, installed, notebook_names, run_notebooks
from hi_lib.files import write_atomically

# Pages are made of a million small parts that all stay: looking for garbage among them would take a quarter longer.
_JUPYTER_BOOK = "import gc; gc.disable(); from jupyter_book.cli.main import main; main()"
_CHANGED = "Built with other parameters than the text describes: the notes under the figures concerned say which."


def build(profile: str = "full", progress: Progress = print) -> Path:
    """Bring `_build/html` up to date and return its first page.

    Raises
    ------
    ValueError
        Unknown profile, or a parameter that no notebook has.
    BuildError
        A notebook or the rendering failed.
    """
    start = time.perf_counter()
    with _only_one_build(progress):
        _recover()
        executed = run_notebooks(profile, progress)
        fingerprint = _sources()
        if _published(fingerprint):
            progress("the book is up to date")
        else:
            progress("rendering the book …")
            _publish(_render())
            report: dict[str, Any] = {
                "fingerprint": fingerprint,
                "html": places.digest(places.files_below(places.HTML)),
                "profile": profile,
            }
            report |= {"seconds": round(time.perf_counter() - start, 1), "notebooks_run": executed}
            report |= {"finished": time.strftime("%Y-%m-%d %H:%M:%S"), "python": platform.python_version()}
            write_atomically(places.REPORT, json.dumps(report, indent=2) + "\n")
    return places.HTML / "index.html"


def one_page(folder: Path, profile: str = "full", progress: Progress = print) -> Path:
    """Render the whole book as one page of places.HTML into a folder that is not there yet, and return the page.

    Raises ValueError and BuildError as `build` does.
    """
    with _only_one_build(progress):
        run_notebooks(profile, progress)
        progress("rendering the book on one page …")
        places.move(_render("singlehtml"), folder)
    # All links on the page are meant from above the folder that it is written to.
    return (folder / "book" / "intro.html").replace(folder / "index.html")


def outcomes(profile: str = "full", progress: Progress = print) -> list[claims.Outcome]:
    """All claims against up-to-date results, running what is missing."""
    with _only_one_build(progress):
        run_notebooks(profile, progress)
    return claims.evaluate(claims.load_claims())


def _render(builder: str = "html") -> Path:
    """Lay out the sources in a folder of their own, run Jupyter Book with warnings as errors, return its HTML."""
    source, output = places.BUILD / "source", places.BUILD / "rendering"
    for folder in (source, output):
        shutil.rmtree(folder, ignore_errors=True)
    for folder in (places.PAGES, places.ROOT / "hi_lib", places.RESULTS):
        shutil.copytree(folder, source / folder.name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(places.EXECUTED, source / "notebooks")
    _fill_in(source / "book")
    _write_verdicts(source / "book")
    (source / "provenance").mkdir()
    changed = False
    for name in notebook_names():
        note, other = provenance.add(source / "notebooks" / f"{name}.ipynb", source / "results" / name)
        (source / "provenance" / f"{name}.md").write_text(note, encoding="utf-8")
        changed |= bool(other)
    _copy_mathjax(source / "extra" / "mathjax")
    decide.copy(source / "extra" / "decide")
    phones.take_out(source)
    _configure(source / "_config.yml", changed)
    command: list[str | Path] = [sys.executable, "-P", "-c", _JUPYTER_BOOK, "build", source, "--builder", builder]
    command += ["--config", source / "_config.yml", "--toc", source / "book" / "_toc.yml", "--path-output", output]
    command += ["-W", "-n", "--keep-going"]
    path = os.pathsep.join([str(source / "book" / "_extensions"), str(places.ROOT)])
    environment = surroundings.variables(PYTHONWARNINGS="ignore", NO_COLOR="1", PYTHONPATH=path)
    # It holds the lock as well: if only this process is killed, the next build waits until that one has ended.
    done = subprocess.run(command, env=environment, capture_output=True, text=True, pass_fds=_locks)
    if done.returncode:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if "WARNING" in line or "ERROR" in line]
        raise BuildError("the book did not render:\n" + ("\n".join(lines) or done.stderr[-3000:]))
    html = output / "_build" / builder
    (html / ".buildinfo").unlink(missing_ok=True)  # Sphinx's own note for next time; it holds a hash of this folder
    return html


def _fill_in(folder: Path) -> None:
    """The numbers of all notebooks in the pages of prose, by names such as {{not_waiting.four_system:.1f}}."""
    values = {f"{name}.{key}": value for name in notebook_names() for key, value in results.numbers(name).items()}
    for page in folder.glob("*.md"):
        page.write_text(results.filled(page.read_text(encoding="utf-8"), values), encoding="utf-8")


def _write_verdicts(folder: Path) -> None:
    """The tables of claims, and how many of the paper's have which verdict."""
    listed = claims.load_claims()
    for name, some in zip(("claims_table.md", "own_claims_table.md"), claims.by_author(listed), strict=True):
        found = claims.evaluate(some)
        (folder / name).write_text(claims.overview(found, pages="../notebooks"), encoding="utf-8")
        (folder / f"by_verdict_{name}").write_text(claims.by_verdict(found, pages="../notebooks"), encoding="utf-8")
    (folder / "claims_counts.md").write_text(claims.counted(claims.evaluate(claims.by_author(listed)[0])), "utf-8")


def _configure(target: Path, changed: bool) -> None:
    """Jupyter Book's configuration; on every page a banner, where a notebook ran with other parameters than its own."""
    config = plain_yaml.yaml_file(places.ROOT / "_config.yml")
    if changed:
        config["sphinx"]["config"]["html_theme_options"]["announcement"] = _CHANGED
    # Jupyter Book's own way to find these takes a bracket in the path of this folder for a pattern.
    config["exclude_patterns"] = _parts_of_pages(target.parent)
    target.write_text(yaml.safe_dump(config, allow_unicode=True, sort_keys=False), encoding="utf-8")


def _parts_of_pages(source: Path) -> list[str]:
    """What pages include, and what is no page itself: it is not in the table of contents."""
    listed = re.findall(r"(?:root|file): (\S+)", (source / "book" / "_toc.yml").read_text(encoding="utf-8"))
    found = (path.relative_to(source) for kind in ("md", "ipynb") for path in source.rglob(f"*.{kind}"))
    return sorted(path.as_posix() for path in found if path.with_suffix("").as_posix() not in listed)


def _copy_mathjax(target: Path) -> None:
    """MathJax from the installed package: the book must typeset its maths without asking the network for anything."""
    files = importlib.metadata.files("django-static-mathjax") or []
    wanted = ("es5/tex-chtml.js", "es5/input/tex/extensions/", "es5/output/chtml/fonts/woff-v2/", "LICENSE")
    for file in files:
        inner = str(file).partition("static/mathjax/")[2] or file.name
        if inner.startswith(wanted):
            path = target / inner.removeprefix("es5/")
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(str(file.locate()), path)
    if not (target / "tex-chtml.js").is_file():
        raise BuildError("MathJax was not found in the installed package django-static-mathjax: run make book again")


def _publish(rendered: Path) -> None:
    """Swap the new book in; `_recover` puts the old one back should we die between the two renames."""
    places.REPORT.unlink(missing_ok=True)
    old = places.BUILD / "previous"
    if places.HTML.exists():
        places.move(places.HTML, old)
    places.move(rendered, places.HTML)
    for folder in (old, places.BUILD / "rendering", places.BUILD / "source"):
        shutil.rmtree(folder, ignore_errors=True)


def _recover() -> None:
    if not places.HTML.exists() and (places.BUILD / "previous").exists():
        (places.BUILD / "previous").replace(places.HTML)


def _published(fingerprint: str) -> bool:
    try:
        report = json.loads(places.REPORT.read_text(encoding="utf-8"))
        return report["fingerprint"] == fingerprint and report["html"] == places.digest(places.files_below(places.HTML))
    except (OSError, ValueError, KeyError):
        return False


_locks: list[int] = []  # descriptors


@contextlib.contextmanager
def _only_one_build(progress: Progress) -> Iterator[None]:
    """Builds wait for each other; the lock goes with the process, however it ends."""
    places.BUILD.mkdir(exist_ok=True)
    with (places.BUILD / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("another build is running: waiting for it …")
            fcntl.flock(lock, fcntl.LOCK_EX)
        _locks.append(lock.fileno())
        try:
            yield
        finally:
            _locks.clear()


def _sources() -> str:
    """Hash of all that the rendered book depends on: pages, results, and the code that makes and documents them."""
    pages = [
        *places.files_below(places.PAGES),
        places.ROOT / "_config.yml",
        *places.files_below(places.EXECUTED),
        *places.files_below(places.RESULTS),
        *uses.modules("from hi_book.press import book", places.ROOT),
    ]
    return places.digest(pages, installed())
