"""Run the notebooks, render the book, publish it: always whole, never stale.

    notebooks/ + parameters.yml ──papermill──▶ _build/executed/, results/ ──Jupyter Book──▶ _build/html

A notebook runs again when it, its parameters, hi_lib, data, the claims or the lock file change, or when somebody
changed its results. The book renders again when any page or result does. Both go by content, not by time stamps.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import importlib.metadata
import importlib.util
import json
import logging
import math
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import yaml

from hi_lib import checks, claims, files, provenance
from hi_lib.files import ROOT, write_atomically
from hi_lib.traces import DATA

NOTEBOOKS = ROOT / "notebooks"
PARAMETERS = NOTEBOOKS / "parameters.yml"
PAGES = ROOT / "book"
RESULTS = ROOT / "results"
BUILD = ROOT / "_build"
EXECUTED = BUILD / "executed"
HTML = BUILD / "html"
REPORT = BUILD / "build.json"
LOCK = ROOT / "requirements.lock"
PROFILES = ("quick", "full")
_CHANGED = "Built with other parameters than the text describes: the notes under the figures concerned say which."

Progress = Callable[[str], None]


class BuildError(RuntimeError):
    """A notebook failed or the book did not render; the published book is untouched."""


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
            report: dict[str, Any] = {"fingerprint": fingerprint, "html": _digest(_files(HTML)), "profile": profile}
            report |= {"seconds": round(time.perf_counter() - start, 1), "notebooks_run": executed}
            report |= {"finished": time.strftime("%Y-%m-%d %H:%M:%S"), "python": platform.python_version()}
            write_atomically(REPORT, json.dumps(report, indent=2) + "\n")
    return HTML / "index.html"


def one_page(folder: Path, profile: str = "full", progress: Progress = print) -> Path:
    """Render the whole book as one page of HTML into a folder that is not there yet, and return the page.

    Raises ValueError and BuildError as `build` does.
    """
    with _only_one_build(progress):
        run_notebooks(profile, progress)
        progress("rendering the book on one page …")
        files.move(_render("singlehtml"), folder)
    # All links on the page are meant from above the folder that it is written to.
    return (folder / "book" / "intro.html").replace(folder / "index.html")


def chromium() -> str | None:
    """Path of an installed Chromium or Chrome."""
    return next((path for name in ("chromium", "google-chrome", "chrome") if (path := shutil.which(name))), None)


def notebook_names() -> list[str]:
    """Names of all notebooks, without suffix."""
    return sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))


def load_parameters(profile: str) -> dict[str, dict[str, Any]]:
    """What a profile changes in each notebook's own parameters, every name checked.

    Raises
    ------
    ValueError
        Unknown profile, notebook or parameter; the message names close matches.
    """
    checks.choice("profile", profile, PROFILES)
    profiles = checks.yaml_file(PARAMETERS)
    chosen = profiles.get(profile) if isinstance(profiles, dict) else None
    if not isinstance(chosen, dict):
        raise ValueError(f"{PARAMETERS.name} must hold a mapping {profile}: {{notebook: {{parameter: value}}}}")
    for name, parameters in chosen.items():
        where = f"{PARAMETERS.name}, {profile}: "
        check_parameters(checks.choice(f"{where}notebook", name, notebook_names()), parameters, where)
    return {name: chosen.get(name, {}) for name in notebook_names()}


def default_parameters(name: str) -> dict[str, Any]:
    """The parameters of a notebook and their values, read from its one cell tagged `parameters`."""
    cells = json.loads((NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    tagged = sum("parameters" in cell["metadata"].get("tags", []) for cell in cells)
    if tagged != 1:
        raise ValueError(f"{name}.ipynb must have exactly one cell tagged parameters, found {tagged}")
    return provenance.parameters(cells)


def check_parameters(name: str, parameters: Any, where: str = "") -> None:
    """Raise ValueError for a parameter that the notebook does not have (papermill itself would only warn)."""
    if not isinstance(parameters, Mapping):
        raise ValueError(f"{where}parameters of {name} must be a mapping, got {checks.shown(parameters)}")
    known = default_parameters(name)
    for parameter, value in parameters.items():
        checks.choice(f"{where}parameter of {name}", parameter, known)
        try:
            json.dumps(value)
        except (TypeError, ValueError):
            raise ValueError(
                f"{where}parameter {parameter} of {name} must be a plain value, got {checks.shown(value)}"
            ) from None


def run_notebooks(profile: str, progress: Progress = print) -> list[str]:
    """Run every notebook that is not up to date, two or more at a time; return the names of those that ran."""
    parameters = load_parameters(profile)
    shared = _digest([*_files(ROOT / "hi_lib"), *_files(DATA), claims.CLAIMS], _installed())
    stamps = {
        name: _digest([NOTEBOOKS / f"{name}.ipynb"], shared, json.dumps(chosen, sort_keys=True))
        for name, chosen in parameters.items()
    }
    _forget_removed(parameters)
    stale = [name for name in parameters if not _executed(name, stamps[name])]
    # The slowest first, so that none is left over at the end; one more than cores, since kernels wait while they start.
    stale.sort(key=_seconds_last_time, reverse=True)
    pool = ThreadPoolExecutor((os.cpu_count() or 1) + 1)
    try:
        jobs = {pool.submit(_run_and_keep, name, parameters[name], stamps[name]): name for name in stale}
        for done, job in enumerate(as_completed(jobs), 1):
            progress(f"[{done}/{len(jobs)}] {jobs[job]}: {job.result():.0f} s")
    except KeyboardInterrupt:
        from hi_lib import kernels

        pool.shutdown(wait=False, cancel_futures=True)
        while any(job.running() for job in jobs):  # also those whose kernel is only about to start
            kernels.stop_all()
            time.sleep(0.1)
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        shutil.rmtree(BUILD / "running", ignore_errors=True)
    return stale


def run_notebook(
    name: str, parameters: Mapping[str, Any], output: Path, environment: Mapping[str, str] | None = None
) -> None:
    """Run one notebook with papermill; leave the executed copy and a folder `results` in `output`.

    `environment` holds further variables for its kernel.

    Raises
    ------
    ValueError
        Unknown notebook or parameter.
    BuildError
        The notebook failed; the message ends with its traceback.
    """
    check_parameters(checks.choice("notebook", name, notebook_names()), parameters)
    files.writable(output / f"{name}.ipynb")
    part = output / f".{name}.{os.getpid()}.part.ipynb"
    try:
        _papermill(name, parameters, part, {"HI_RESULTS": str(output / "results"), **(environment or {})})
        write_atomically(output / f"{name}.ipynb", _without_traces_of_the_run(part.read_text(encoding="utf-8")))
    finally:
        part.unlink(missing_ok=True)


def _papermill(name: str, parameters: Mapping[str, Any], output: Path, environment: Mapping[str, str]) -> None:
    """Let papermill run a notebook in a kernel of this environment, with these variables added."""
    import papermill  # takes half a second
    from jupyter_core.utils import ensure_event_loop

    from hi_lib import kernels  # brings Jupyter, which only the extra `book` installs

    logging.getLogger("papermill").setLevel(logging.CRITICAL)  # what goes wrong comes as an exception
    options: dict[str, Any] = {"progress_bar": False, "resources": {"metadata": {"path": str(NOTEBOOKS)}}}
    options |= {"kernel_manager_class": kernels.manager(environment), "shutdown_kernel": "immediate"}
    execute = functools.partial(papermill.execute_notebook, NOTEBOOKS / f"{name}.ipynb", output, dict(parameters))
    try:
        try:
            execute(**options)
        except RuntimeError as error:
            if "before replying" not in str(error):
                raise
            execute(**options)  # nothing has run yet: somebody took a port that Jupyter had chosen for the kernel
    except papermill.PapermillExecutionError as error:
        other = provenance.differing(default_parameters(name), parameters)
        said = f"{name} failed{' with ' if other else ''}{other}: {error.ename}: {checks.one_line(error.evalue)}"
        frames = [re.sub(r"\x1b\[[0-9;]*m", "", frame) for frame in error.traceback]
        refused = re.match(r"File .*hi_lib/(?:checks|traces|spreadsheets)\.py", frames[-2]) if frames[1:] else None
        if refused:  # bad input, e.g. damaged data: nobody needs to know the way to it
            raise BuildError(said) from None
        trace = "\n".join(frames)
        raise BuildError(f"{said}\n{trace[-3000:]}") from None
    except RuntimeError as error:  # among them nbclient's own for a kernel that is gone
        raise BuildError(f"{name} failed: {error}") from None
    finally:
        ensure_event_loop().close()  # this thread's, which papermill leaves open


def outcomes(profile: str = "full", progress: Progress = print) -> list[claims.Outcome]:
    """All claims against up-to-date results, running what is missing."""
    with _only_one_build(progress):
        run_notebooks(profile, progress)
    return claims.evaluate(claims.load_claims())


def _run_and_keep(name: str, parameters: Mapping[str, Any], stamp: str) -> float:
    """Run in a folder of its own, then put notebook, results and stamp in place; the stamp last, as the seal."""
    start = time.perf_counter()
    # Of its own also among builds: a kernel of one that was killed may still write for a moment.
    (BUILD / "running").mkdir(exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=name, dir=BUILD / "running"))
    run_notebook(name, parameters, scratch)
    found = scratch / "results" / name
    if not (found / "values.json").is_file():
        raise BuildError(f"{name} published no results: it must call results.publish({name!r}, …)")
    _stamp_file(name).unlink(missing_ok=True)
    RESULTS.mkdir(exist_ok=True)
    files.move(found, RESULTS / name)
    EXECUTED.mkdir(exist_ok=True)
    files.move(scratch / f"{name}.ipynb", EXECUTED / f"{name}.ipynb")
    shutil.rmtree(scratch)
    seconds = time.perf_counter() - start
    report = {"stamp": stamp, "output": _output_digest(name), "seconds": round(seconds, 1)}
    write_atomically(_stamp_file(name), json.dumps(report))
    return seconds


def _executed(name: str, stamp: str) -> bool:
    """Whether the executed copy and its results are the ones this stamp led to, and still untouched."""
    found = _stamp(name)
    try:
        return found["stamp"] == stamp and found["output"] == _output_digest(name)
    except (OSError, KeyError):
        return False


def _seconds_last_time(name: str) -> float:
    seconds = _stamp(name).get("seconds")
    return seconds if isinstance(seconds, float) else math.inf


def _stamp(name: str) -> dict[str, Any]:
    """What `_run_and_keep` wrote when the notebook last ran; empty if it did not, or left no sense."""
    try:
        found = json.loads(_stamp_file(name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _stamp_file(name: str) -> Path:
    return BUILD / "stamps" / f"{name}.json"


def _output_digest(name: str) -> str:
    return _digest([EXECUTED / f"{name}.ipynb", *_files(RESULTS / name)])


def _forget_removed(known: Mapping[str, Any]) -> None:
    for path in [*EXECUTED.glob("*.ipynb"), *RESULTS.glob("*"), *(BUILD / "stamps").glob("*.json")]:
        if path.stem not in known:
            files.remove(path)


def _without_traces_of_the_run(text: str) -> str:
    """Drop times, random ids and memory addresses, so that the same inputs give the same bytes."""
    notebook = json.loads(re.sub(r" at 0x[0-9a-f]+>", ">", text))
    notebook["metadata"].pop("papermill", None)
    for number, cell in enumerate(notebook["cells"]):
        for key in ("papermill", "execution"):
            cell["metadata"].pop(key, None)
        cell["id"] = f"cell-{number}"
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def _render(builder: str = "html") -> Path:
    """Lay out the sources in a folder of their own, run Jupyter Book with warnings as errors, return its HTML."""
    source, output = BUILD / "source", BUILD / "rendering"
    for folder in (source, output):
        shutil.rmtree(folder, ignore_errors=True)
    for folder in (PAGES, ROOT / "hi_lib", RESULTS):
        shutil.copytree(folder, source / folder.name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(EXECUTED, source / "notebooks")
    table = claims.markdown_table(claims.evaluate(claims.load_claims()), pages="../notebooks")
    (source / "book" / "claims_table.md").write_text(table, encoding="utf-8")
    (source / "provenance").mkdir()
    changed = False
    for name in notebook_names():
        note, other = provenance.add(source / "notebooks" / f"{name}.ipynb", source / "results" / name)
        (source / "provenance" / f"{name}.md").write_text(note, encoding="utf-8")
        changed |= bool(other)
    _configure(source / "_config.yml", changed)
    _copy_mathjax(source / "extra" / "mathjax")
    _copy_explorer(source / "extra" / "explorer")
    command: list[str | Path] = [Path(sys.executable).with_name("jupyter-book"), "build", source, "--builder", builder]
    command += ["--config", source / "_config.yml", "--toc", source / "book" / "_toc.yml", "--path-output", output]
    command += ["-W", "-n", "--keep-going"]
    environment = os.environ | {"PYTHONHASHSEED": "0", "PYTHONWARNINGS": "ignore", "NO_COLOR": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([str(source / "book" / "_extensions"), *sys.path])
    # It holds the lock as well: if only this process is killed, the next build waits until that one has ended.
    done = subprocess.run(command, env=environment, capture_output=True, text=True, pass_fds=_locks)
    if done.returncode:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if "WARNING" in line or "ERROR" in line]
        raise BuildError("the book did not render:\n" + ("\n".join(lines) or done.stderr[-3000:]))
    html = output / "_build" / builder
    (html / ".buildinfo").unlink(missing_ok=True)  # Sphinx's own note for next time; it holds a hash of this folder
    return html


def _configure(target: Path, changed: bool) -> None:
    """Jupyter Book's configuration; on every page a banner, where a notebook ran with other parameters than its own."""
    config = checks.yaml_file(ROOT / "_config.yml")
    if changed:
        config["sphinx"]["config"]["html_theme_options"]["announcement"] = _CHANGED
    target.write_text(yaml.safe_dump(config, allow_unicode=True, sort_keys=False), encoding="utf-8")


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


def _copy_explorer(target: Path) -> None:
    """The explorer's script, and plotly.js from the installed package; outside _static, which every page would load."""
    shutil.copytree(PAGES / "explorer", target)
    package = importlib.util.find_spec("plotly")
    script = Path(str(package.origin)).parent / "package_data" / "plotly.min.js" if package else None
    if script is None or not script.is_file():
        raise BuildError("plotly.js was not found in the installed package plotly: run make book again")
    shutil.copy(script, target)


def _publish(rendered: Path) -> None:
    """Swap the new book in; `_recover` puts the old one back should we die between the two renames."""
    REPORT.unlink(missing_ok=True)
    old = BUILD / "previous"
    if HTML.exists():
        files.move(HTML, old)
    files.move(rendered, HTML)
    for folder in (old, BUILD / "rendering", BUILD / "source"):
        shutil.rmtree(folder, ignore_errors=True)


def _recover() -> None:
    if not HTML.exists() and (BUILD / "previous").exists():
        (BUILD / "previous").replace(HTML)


def _published(fingerprint: str) -> bool:
    try:
        report = json.loads(REPORT.read_text(encoding="utf-8"))
        return report["fingerprint"] == fingerprint and report["html"] == _digest(_files(HTML))
    except (OSError, ValueError, KeyError):
        return False


_locks: list[int] = []


@contextlib.contextmanager
def _only_one_build(progress: Progress) -> Iterator[None]:
    """Builds wait for each other; the lock goes with the process, however it ends."""
    BUILD.mkdir(exist_ok=True)
    with (BUILD / ".lock").open("w") as lock:
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
    """Hash of all that the rendered book depends on."""
    pages = [*_files(PAGES), ROOT / "_config.yml", *_files(EXECUTED), *_files(RESULTS), *_files(ROOT / "hi_lib")]
    return _digest(pages, _installed())


def _installed() -> str:
    """What the book may depend on beside this repository's own pages and code: Python, pins, packages as installed."""
    lines = importlib.metadata.requires("hi-lib") or []
    required = [re.split(r"[^\w.-]", line)[0] for line in lines if re.search("extra == .(?!book)", line) is None]
    packages = [f"{name}=={importlib.metadata.version(name)}" for name in sorted(set(required))]
    return "\n".join([platform.python_version(), *packages, LOCK.read_text(encoding="utf-8")])


def _files(folder: Path) -> list[Path]:
    """All files below a folder, but for caches and other hidden ones."""
    found = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return sorted(path for path in found if not path.name.startswith("."))


def _digest(files: list[Path], *texts: str) -> str:
    """One hash over names and contents."""
    total = hashlib.sha256()
    for path in files:
        total.update(f"{path.relative_to(ROOT)}\0".encode())
        total.update(hashlib.sha256(path.read_bytes()).digest())
    for text in texts:
        total.update(hashlib.sha256(text.encode()).digest())
    return total.hexdigest()
