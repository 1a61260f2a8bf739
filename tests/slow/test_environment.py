"""The environment that make makes, on a small project in a folder with an odd name.

Killed, made twice at once, copied, moved, from the future, and where a user has set other things.
"""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hi_book.press import places

REAL_UV = Path(sys.executable).with_name("uv")
KILLS = int(os.environ.get("HI_KILLS", "3"))
PYPROJECT = """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"
[project]
name = "nothing"
version = "0"
optional-dependencies = {book = ["mpmath"], other = ["wcwidth"]}
[dependency-groups]
install = ["uv", "setuptools"]
[tool.setuptools]
py-modules = ["nothing"]
"""


@pytest.fixture
def project(tmp_path):
    """Something to install, with the real pins of the few packages that it needs."""
    root = tmp_path / """it's a "project" [of] 50 %(x)s, ünï & #1 $5"""
    (root / "tools").mkdir(parents=True)
    shutil.copy(places.ROOT / "tools" / "install.py", root / "tools")
    (root / "pyproject.toml").write_text(PYPROJECT)
    (root / "nothing.py").write_text("")
    pins = re.findall(
        r"^(?:uv|setuptools|mpmath|wcwidth)==.*(?:\n +--hash.*)*\n", places.LOCK.read_text(), flags=re.MULTILINE
    )
    assert len(pins) == 4
    (root / "requirements.lock").write_text("".join(pins))
    return root


def start(project, *extras, **options):
    command = [sys.executable, "tools/install.py", *extras]
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, cwd=project, **output, **options)


def install(project, *extras, **options):
    """What it said; it must have worked."""
    process = start(project, *extras, **options)
    said = process.communicate()[0]
    assert process.returncode == 0, said
    return said


def imports(project, *modules):
    """Whether the project's environment, and not another one, has these."""
    code = f"import {', '.join(modules)}, nothing; print(nothing.__file__)"
    done = subprocess.run([project / ".venv/bin/python", "-c", code], cwd="/", capture_output=True, text=True)
    return done.stdout.strip() == str(project / "nothing.py")


def test_nothing_to_do_is_quick_and_goes_by_content(project):
    assert "installing what 'make book' needs" in install(project, "book")
    assert imports(project, "mpmath")
    for name in ("pyproject.toml", "requirements.lock"):
        os.utime(project / name, (time.time() + 1e8,) * 2)  # a file from the future
    begin = time.perf_counter()
    assert install(project, "book") == ""
    assert time.perf_counter() - begin < 1
    assert install(project, "other") != ""
    assert imports(project, "mpmath", "wcwidth")
    (project / "requirements.lock").write_text("# other pins\n" + (project / "requirements.lock").read_text())
    assert install(project, "book") != ""
    assert imports(project, "mpmath", "wcwidth")


def test_two_at_once_wait_for_each_other(project):
    both = [start(project, "book"), start(project, "book")]
    said = sorted(each.communicate()[0] for each in both)
    assert [each.returncode for each in both] == [0, 0], said
    assert said[0] == ""
    assert imports(project, "mpmath")


@pytest.mark.parametrize("number", range(KILLS))
def test_killed_at_any_moment_it_can_be_run_again(number, project):
    rng = random.Random(number)
    install(project, "book")
    shutil.rmtree(project / ".venv")
    for whole_group in (True, False):
        killed = start(project, "other", start_new_session=True)
        time.sleep(rng.uniform(0.05, 4))
        # Where only the first process dies, what it started goes on for a while, and holds the lock.
        (os.killpg if whole_group else os.kill)(killed.pid, signal.SIGKILL)
        killed.communicate()
    install(project, "other")
    assert imports(project, "mpmath", "wcwidth")
    assert install(project, "other", "book") == ""


@pytest.mark.parametrize("move", [shutil.copytree, shutil.move])
def test_a_checkout_that_was_copied_or_moved_makes_its_own(move, project, tmp_path):
    install(project, "book")
    options = {"symlinks": True} if move is shutil.copytree else {}
    move(project, tmp_path / "other place", **options)
    install(tmp_path / "other place", "book")
    assert imports(tmp_path / "other place", "mpmath")
    if move is shutil.copytree:
        assert install(project, "book") == ""
        assert imports(project, "mpmath")


@pytest.mark.parametrize("uv", [None, "#!/bin/sh\nexit 127\n", f"#!/bin/sh\nexec '{REAL_UV}' \"$@\"\n"])
def test_what_is_set_for_other_work_sends_nothing_elsewhere(uv, project, tmp_path):
    """Without a uv on the path, with a broken one, and with one that works."""
    elsewhere, home, path = tmp_path / "elsewhere", tmp_path / "home", tmp_path / "bin"
    for folder in (elsewhere, home / ".config" / "pip", path):
        folder.mkdir(parents=True)
    if uv:
        (path / "uv").write_text(uv)
        (path / "uv").chmod(0o755)
    (home / ".config" / "pip" / "pip.conf").write_text(f"[global]\nuser = true\n[install]\ntarget = {elsewhere}\n")
    (home / ".pydistutils.cfg").write_text(f"[install]\nprefix = {elsewhere}\n")
    (elsewhere / "sitecustomize.py").write_text("raise SystemExit('not this one')\n")
    names = ("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_CONSTRAINT", "UV_OVERRIDE", "UV_CONSTRAINT", "PYTHONPATH")
    hostile = dict.fromkeys(names, str(elsewhere)) | {"UV_EXCLUDE_NEWER": "2001-01-01", "UV_PYTHON": "3.1"}
    hostile |= dict.fromkeys(("PIP_USER", "PIP_REQUIRE_VIRTUALENV", "UV_SYSTEM_PYTHON", "UV_REQUIRE_HASHES"), "1")
    # The script itself is run by make, which lets no PYTHONPATH through.
    command = [sys.executable, "-I", "tools/install.py", "book"]
    environment = os.environ | hostile | {"PATH": str(path), "HOME": str(home)}
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert imports(project, "mpmath")
    assert (project / ".venv/bin/uv").is_file()
    assert [each.name for each in elsewhere.iterdir()] == ["sitecustomize.py"]


def test_a_pin_with_another_hash_is_refused(project):
    lock = project / "requirements.lock"
    pin = re.search(r"mpmath==.*(?:\n +--hash.*)*", lock.read_text())[0]
    lock.write_text(lock.read_text().replace(pin, re.sub("sha256:....", "sha256:0000", pin)))
    process = start(project, "book")
    said = process.communicate()[0]
    assert process.returncode == 1
    assert "Hash mismatch" in said
    assert "this failed" in said
