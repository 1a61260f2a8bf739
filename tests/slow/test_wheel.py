"""The wheel, in an environment of its own outside the checkout: the library first, then the command."""

import os
import subprocess
import sys

import pytest

from hi_lib.files import ROOT

UV = ROOT / ".venv" / "bin" / "uv"
DOCTESTS = """
import doctest, importlib, pkgutil
import hi_lib
failed = tried = 0
for each in pkgutil.walk_packages(hi_lib.__path__, "hi_lib."):
    found = doctest.testmod(importlib.import_module(each.name))
    failed, tried = failed + found.failed, tried + found.attempted
assert (failed, tried > 100) == (0, True), (failed, tried)
assert "site-packages" in hi_lib.__file__
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("elsewhere")
    code = f"from setuptools import build_meta; print(build_meta.build_wheel({str(folder)!r}))"
    copied = folder / "source"
    run(["git", "clone", "-q", ROOT, copied], folder)
    run([sys.executable, "-c", code], copied)
    (wheel,) = folder.glob("*.whl")
    run([UV, "venv", "-q", "--python", sys.executable, folder / "env"], folder)
    pinned = ["-c", ROOT / "requirements.lock"]
    run([UV, "pip", "install", "-q", "--python", folder / "env/bin/python", *pinned, wheel], folder)
    return folder, wheel


def run(command, folder):
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "HI_"))}
    done = subprocess.run(list(map(str, command)), cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_library_works_alone(installed):
    folder, _ = installed
    python = folder / "env/bin/python"
    run([python, "-c", DOCTESTS], folder)
    packages = run([UV, "pip", "list", "-q", "--python", python], folder)
    assert not {"matplotlib", "typer", "rich", "pyzmq", "torch"} & {line.split()[0] for line in packages.splitlines()}
    refused = subprocess.run([folder / "env/bin/hi", "--help"], cwd=folder, capture_output=True, text=True)
    assert refused.stderr.startswith("error: the command hi needs ")
    header = "import hi_lib, pathlib; print((pathlib.Path(hi_lib.__path__[0]) / 'device/c/hil.h').read_text())"
    assert run([python, "-c", header], folder).rstrip() == (ROOT / "hi_lib/device/c/hil.h").read_text().rstrip()
    kept = "from hi_lib import traces\ntry:\n    traces.own_file('mine')\nexcept ValueError as error:\n    print(error)"
    assert run([python, "-c", kept], folder).startswith("HI_TRACES must name a folder")


def test_the_command_evaluates_a_shipped_trace(installed):
    folder, wheel = installed
    pinned = ["-c", ROOT / "requirements.lock"]
    run([UV, "pip", "install", "-q", "--python", folder / "env/bin/python", *pinned, f"{wheel}[book]"], folder)
    said = run([folder / "env/bin/hi", "evaluate", "cifar10-resnet8", "--beta", "0.5"], folder)
    assert "cifar10-resnet8: 10000 samples" in said
