"""Let .venv hold what the named extras need, by exact hashed pins; run by make, as `install.py EXTRA…`.

uv does the work. It is taken from PATH or, where there is none, put into .venv by pip; either way the pinned uv then
installs the rest. What uv lacks is here: two at once wait for each other, and an environment whose installation was
killed, whose pins have changed, or that belongs to another folder (a copied or moved checkout) is made anew.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
LOCK = ROOT / "requirements.lock"
STATE = (
    ROOT / ".venv.json"
)  # what .venv holds, as an Environment; kept outside, since an unfinished .venv is thrown away
WORTH_SHOWING = re.compile(r"\s*(Downloading|Building)")


def main(*arguments: str) -> None:
    """Install the extras unless they are there already; with --this-python, in an environment of this very Python."""
    if sys.version_info < (3, 11):  # noqa: UP036 (whatever python3 is here)
        sys.exit(f"Python 3.11 or newer is needed; this is {sys.version.split()[0]}. Try: make PYTHON=python3.12 …")
    this_python = "--this-python" in arguments
    wanted = {extra for extra in arguments if not extra.startswith("--")}
    with (ROOT / ".venv.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        state = read_state()
        whole = state["for"] == fingerprint() and state["finished"] and PYTHON.exists()
        if this_python and state["python"] != version():
            whole = False
        if whole and wanted <= set(state["extras"]):
            return
        state |= {"for": fingerprint(), "extras": sorted({*state["extras"], *wanted}), "finished": False}
        if not whole:
            state["python"] = version()
        STATE.write_text(json.dumps(state))
        print(f"installing what 'make {' '.join(sorted(wanted))}' needs …", flush=True)
        if not whole:
            make_environment(lock.fileno())
        install(state["extras"], lock.fileno())
        STATE.write_text(json.dumps(state | {"finished": True}))


def read_state() -> dict:
    """What the last installation noted; of an unknown environment, that nothing is there."""
    nothing = {"for": "", "python": "", "extras": [], "finished": False}
    with contextlib.suppress(OSError, ValueError):
        found = json.loads(STATE.read_text(encoding="utf-8"))
        if isinstance(found, dict) and found.keys() == nothing.keys():
            return found
    return nothing


def version() -> str:
    """Which Python this is."""
    return f"{sys.implementation.name} {sys.version.split()[0]}"


def fingerprint() -> str:
    """Hash of what an environment is made for: this folder, these pins. Contents count, not the time of a change."""
    parts = [os.fsencode(ROOT), (ROOT / "pyproject.toml").read_bytes(), LOCK.read_bytes()]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def make_environment(lock: int) -> None:
    """An empty environment of this Python, with the pinned uv in it."""
    shutil.rmtree(VENV, ignore_errors=True)
    found = shutil.which("uv")
    pin = re.search(r"^uv==.*(\n +--hash.*)*", LOCK.read_text(encoding="utf-8"), flags=re.MULTILINE)
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as pins:
        pins.write(pin[0])
        pins.flush()
        hashed = ["--require-hashes", "-r", pins.name]
        if found:
            run([found, "venv", "-q", "--python", sys.executable, VENV], lock)
            run([found, "pip", "install", "-q", "--python", PYTHON, *hashed], lock)
            return
        run([sys.executable, "-m", "venv", VENV], lock, "On Debian and Ubuntu: apt-get install python3-venv")
        run([PYTHON, "-m", "pip", "--disable-pip-version-check", "install", "-q", *hashed], lock)


def install(extras: list[str], lock: int) -> None:
    """Everything from the lock, then this project itself, built by the pinned setuptools and never copied."""
    uv = [VENV / "bin" / "uv", "pip", "install", "--python", PYTHON]
    chosen = [part for extra in extras for part in ("--extra", extra)]
    pinned = ["--require-hashes", "-c", LOCK, "-r", "pyproject.toml", "--group", "install"]
    run([*uv, *pinned, *chosen], lock)
    run([*uv, "-q", "--no-deps", "--no-build-isolation", "-e", "."], lock)


def run(command: list, lock: int, hint: str = "") -> None:
    """Run a program that holds the lock as long as it lives, even without us; show its main steps, or why it failed."""
    environment = {"UV_HTTP_TIMEOUT": "180", "UV_PYTHON_DOWNLOADS": "never"} | dict(os.environ)
    environment.pop("VIRTUAL_ENV", None)
    if "PIP_INDEX_URL" in environment:  # uv does not read pip's settings: whoever has a mirror has told pip
        environment.setdefault("UV_DEFAULT_INDEX", environment["PIP_INDEX_URL"])
    said = []
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "pass_fds": [lock]}
    with subprocess.Popen(list(map(str, command)), cwd=ROOT, env=environment, **options) as process:
        for line in process.stdout or ():
            said.append(line)
            if WORTH_SHOWING.match(line):
                print(line.rstrip()[:100], flush=True)
    if process.returncode:
        print("".join(said[-10:]), end="", file=sys.stderr)
        sys.exit(f"this failed: {' '.join(map(str, command))}" + f"\n{hint}" * bool(hint))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit("interrupted; run the same command again to go on")
    except OSError as error:
        sys.exit(f"the environment in {VENV} cannot be made: {error}")
