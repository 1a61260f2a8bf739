"""Every command that README and the book print does what it is for, in a copy of the project."""

import contextlib
import os
import re
import shlex
import signal
import subprocess
import time
import urllib.request
import zipfile

import pytest

from hi_book.press import places

PAGES = ("README.md", "CONTRIBUTING.md", "book/appendix.md", "book/rerun.md", "data/README.md")
# Commands that only a dry run can try, and why.
DRY = {
    "make test": "these tests are part of it, but for the slow ones; .ci/run runs it",
    "make test-slow": "these tests",
    "make test-random": "all other tests, twice",
    "make bench-live": "a quarter of an hour, and it needs images",
    "make bench-network": "an hour, on Linux as root; tests/live/test_hosts.py measures one setting so",
    "make versions": "the whole book, half a dozen times",
    "make test-models": "it installs 5 GB; .ci/run runs it",
    "make test-badges": ".ci/run runs it",
    "make test-device": "it would lead this environment to the copy; few machines have what it needs",
    "make bench-device": "few machines have a compiler for microcontrollers; tests/device/test_arm.py measures, too",
    "make experiments": "its commands are all run here, one by one",
    "tools/container": "few machines have a container engine; tests/test_badges.py reads the Dockerfile",
    "make lab": "it installs JupyterLab",
    "make lock": "it resolves all packages anew",
    "make models": "5 GB; make test-models installs the same",
    "make onnx": "it would lead this environment to the copy; make test-models installs the same",
    "make live": "it would lead this environment to the copy; make test installs the same",
    "make cluster": "it would lead this environment to the copy; make test installs the same",
}
SERVERS = {"make serve": 8000}
REFUSED = {  # exit 2, one line
    "HI_DATA=/path": "a folder that is not there, or an extra that is not installed",
    ".venv/bin/hi traces make mine": "no such model",
    ".venv/bin/hi timing measure": "no models to time",
}


def commands():
    """Every command in a box of code, and every one in the running text that begins with make or .venv."""
    found = {}
    for page in PAGES:
        text = (places.ROOT / page).read_text(encoding="utf-8")
        boxes = re.findall(r"```bash\n(.*?)```", text, flags=re.DOTALL)
        lines = [line for box in boxes for line in box.splitlines()]
        lines += re.findall(r"`((?:make [a-z]|\.venv/bin/)[^`\n]*)`", text)
        for line in lines:
            command = line.partition(" #")[0].strip()
            if command:
                found.setdefault(command, page)
    return sorted(found)


def refused(command):
    return any(command.startswith(start) for start in REFUSED)


def run(command, checkout, environment):
    """Run it where there are no images and models, whatever this machine has."""
    nothing = {"HI_DATA": str(checkout / "none"), "XDG_CACHE_HOME": str(checkout / "none")}
    options = {"cwd": checkout, "env": environment | nothing, "capture_output": True, "text": True}
    return subprocess.run(["bash", "-c", command], **options)


@pytest.fixture
def prepared(checkout):
    """What the commands take for given: a trace of one's own."""
    (checkout / "mine.csv").write_bytes((checkout / "data/traces/imagenette-mobilenet_v1_0.5_160.csv").read_bytes())
    return checkout


def test_all_commands_were_found():
    assert len(commands()) >= 35
    assert {*DRY, *SERVERS} <= {*commands(), "make test-slow"}


@pytest.mark.parametrize("command", [each for each in commands() if each not in {*DRY, *SERVERS} and not refused(each)])
def test_a_printed_command_works(command, prepared, environment, digest):
    before = digest(prepared / "_build" / "html")
    done = run(command, prepared, environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    if command.startswith((".venv/bin/hi", "make book TRACE")):
        assert digest(prepared / "_build" / "html") == before
    target = re.fullmatch(r"\.venv/bin/hi run ([\w ]+)", command)
    for name in target[1].split() if target else []:
        assert digest(prepared / "_build" / "runs" / name / "results" / name) == digest(prepared / "results" / name)


@pytest.mark.parametrize("command", [each for each in commands() if refused(each)])
def test_a_command_that_cannot_work_here_says_why(command, prepared, environment):
    done = run(command, prepared, environment)
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines() if not line.startswith("make:")]
    assert len(lines) == 1
    assert lines[0].startswith("error: ")


@pytest.mark.parametrize("command", DRY)
def test_a_command_that_is_not_run_exists(command, checkout, environment):
    if command.startswith("make"):
        assert run(command.replace("make", "make -n", 1), checkout, environment).returncode == 0
    else:
        assert (checkout / shlex.split(command)[0]).is_file()


@pytest.mark.parametrize(("command", "port"), SERVERS.items())
def test_a_server_serves_this_machine_only(command, port, checkout, environment):
    with subprocess.Popen(
        ["bash", "-c", f"exec {command}"], cwd=checkout, env=environment, start_new_session=True
    ) as server:
        try:
            assert b"Batch HI" in answer(f"http://127.0.0.1:{port}/book/intro.html")
            listening = {f"{port:04X}"}
            with open("/proc/net/tcp") as table:  # noqa: PTH123
                local = [line.split()[1] for line in table if line.split()[3] == "0A"]
            assert {where.split(":")[0] for where in local if where.split(":")[1] in listening} == {"0100007F"}
        finally:
            os.killpg(server.pid, signal.SIGINT)


def answer(address):
    for _ in range(300):
        with contextlib.suppress(OSError), urllib.request.urlopen(address) as page:
            return page.read()
        time.sleep(0.1)
    raise AssertionError(f"nobody answers at {address}")


def test_an_archive_is_the_same_twice_whole_and_can_be_packed_again(checkout, environment, tmp_path):
    packed = []
    for _ in range(2):
        done = run("make archive", checkout, environment)
        assert done.returncode == 0, done.stderr
        (archive,) = (checkout / "_build").glob("*.zip")
        packed.append(archive.read_bytes())
    assert packed[0] == packed[1]
    with zipfile.ZipFile(archive) as content:
        names = content.namelist()
        content.extractall(tmp_path)
    (unpacked,) = tmp_path.glob("batch-hi-*")
    assert {f"{unpacked.name}/{name}" for name in ("README.md", "rendered/html/index.html", ".ci/run")} <= set(names)
    assert not [name for name in names if ".venv/" in name or "/_build/" in name or "__pycache__" in name]
    whole = subprocess.run(["sha256sum", "--quiet", "-c", "MANIFEST.txt"], cwd=unpacked, capture_output=True)
    assert whole.returncode == 0, whole.stderr
    # Once more, from the archive itself, where there is no git.
    (unpacked / "_build").mkdir()
    for part in (unpacked / "rendered").iterdir():
        part.rename(unpacked / "_build" / part.name)
    again = subprocess.run(
        [checkout / ".venv/bin/python", "tools/archive.py"], cwd=unpacked, capture_output=True, text=True
    )
    assert again.returncode == 0, again.stderr
    assert next((unpacked / "_build").glob("*.zip")).read_bytes() == packed[0]


def test_the_whole_book_on_paper(checkout, environment):
    from pypdf import PdfReader

    done = run("make pdf", checkout, environment)
    assert done.returncode == 0, done.stderr
    reader = PdfReader(checkout / "_build" / "batch-hi.pdf")
    text = " ".join("".join(page.extract_text() for page in reader.pages).split())
    assert 50 < len(reader.pages) <= 70
    for needed in ("Artifact appendix", "E1: every verdict", "Glossary"):
        assert needed in text
    assert not re.search(r"\\\(|\\\[|\\frac", text), "formulas were not set"
