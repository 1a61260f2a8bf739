"""A copy of the whole project, as built, for tests that change it: `make test-slow` runs them."""

import hashlib
import json
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hi_book.press import places

ENVIRONMENT = Path(sys.prefix)
EXTRAS = ("book", "pdf", "test", "lab", "models", "test-models", "archive")


@pytest.fixture
def checkout(tmp_path):
    """The project's own files and the built book, in a folder with an odd name; its environment is this one."""
    root = tmp_path / "it's a [copy] of 50 %(x)s & #1"
    for name in runpy.run_path(str(places.ROOT / "tools" / "archive.py"))["source_files"]():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(places.ROOT / name, root / name)
    for folder in (places.RESULTS, places.EXECUTED, places.HTML, places.BUILD / "stamps"):
        shutil.copytree(folder, root / folder.relative_to(places.ROOT))
    shutil.copy2(places.REPORT, root / "_build")
    if (places.ROOT / ".git").exists():
        (root / ".git").touch()  # git itself is told where to look, below
    else:
        for name in ("MANIFEST.txt", "ro-crate-metadata.json"):
            shutil.copy2(places.ROOT / name, root)
    (root / ".venv").symlink_to(ENVIRONMENT)
    # Nothing is installed from here: it would lead this environment to the copy.
    install = runpy.run_path(str(root / "tools" / "install.py"))
    state = {"for": install["fingerprint"](), "python": install["version"](), "extras": EXTRAS, "finished": True}
    (root / ".venv.json").write_text(json.dumps(state))
    return root


@pytest.fixture
def environment(checkout):
    """Variables with which the copy's own library is imported, whatever is installed."""
    variables = {"PYTHONPATH": str(checkout), "PATH": f"{checkout}/.venv/bin:{os.environ['PATH']}"}
    if (places.ROOT / ".git").exists():
        variables |= {"GIT_DIR": str(places.ROOT / ".git"), "GIT_WORK_TREE": str(checkout)}
    return os.environ | variables


@pytest.fixture
def hi(checkout, environment):
    """Run `hi` in the copy; further options are subprocess.run's."""

    def run(*arguments, **options):
        command = [checkout / ".venv" / "bin" / "hi", *arguments]
        return subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, **options)

    return run


@pytest.fixture
def digest():
    """One hash over names and contents of folders."""

    def of(*folders):
        total = hashlib.sha256()
        for folder in folders:
            for path in sorted(path for path in folder.rglob("*") if path.is_file()):
                total.update(f"{path.relative_to(folder)}\0".encode() + path.read_bytes())
        return total.hexdigest()

    return of
