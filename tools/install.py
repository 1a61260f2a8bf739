"""Let .venv hold what the named extras need, by exact hashed pins; run by make, as `install.py EXTRA…`.

uv does the work. It is taken from PATH or, where there is none that works, put into .venv by pip; either way the pinned
uv then installs the rest. What uv lacks is here: two at once wait for each other, and an environment whose installation
was killed, whose pins have changed, or that belongs to another folder (a copied or moved checkout) is made anew.

Where packages come from is the user's to say, to pip or to uv, in variables or in pip.conf. What else is set there,
such as where they go, is for other work and stays outside.
"""

import configparser
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
UV = VENV / "bin" / "uv"
LOCK = ROOT / "requirements.lock"
STATE = (
    ROOT / ".venv.json"
)  # what .venv holds, as an Environment; kept outside, since an unfinished .venv is thrown away
WORTH_SHOWING = re.compile(r"\s*(Downloading|Building)")
# What venv or setuptools take for the end of a path or for a variable in it, and bytes that are no text.
UNFIT = re.compile(r"[:{}\x00-\x1f\ud800-\udfff]|\$[A-Za-z_]")
# Indexes, the way to them, certificates, caches.
SOURCES = re.compile(
    r"PIP_(\w*INDEX\w*|FIND_LINKS|TRUSTED_HOST|\w*CERT|PROXY|\w*TIMEOUT|\w*RETRIES|\w*CACHE_DIR|KEYRING_\w+|USE_FEATURE)"
    r"|UV_(\w*INDEX\w*|FIND_LINKS|INSECURE_HOST|\w*TLS|\w*CERTS|\w*TIMEOUT|\w*RETRIES|\w*CACHE\w*|KEYRING_\w+|OFFLINE)"
    r"|UV_(CONFIG_FILE|NO_CONFIG|LINK_MODE|CONCURRENT_\w+|\w*PROXY)"
)
# Whoever has a mirror has told pip, whose settings uv does not read, or uv by its older name.
AS_UV_SAYS = {
    "UV_INDEX_URL": "UV_DEFAULT_INDEX",
    "PIP_INDEX_URL": "UV_DEFAULT_INDEX",
    "PIP_NO_INDEX": "UV_NO_INDEX",
    "PIP_TRUSTED_HOST": "UV_INSECURE_HOST",
    "PIP_CERT": "SSL_CERT_FILE",
    "PIP_PROXY": "ALL_PROXY",
}


class StepError(Exception):
    """A program that was needed could not be run, or did not do what it was asked for; the message says it all."""


def main(*arguments: str) -> None:
    """Install the extras unless they are there already; with --this-python, in an environment of this very Python."""
    if sys.version_info < (3, 11):  # noqa: UP036 (whatever python3 is here)
        sys.exit(f"Python 3.11 or newer is needed; this is {sys.version.split()[0]}. Try: make PYTHON=python3.12 …")
    if unfit := UNFIT.search(str(ROOT)):
        sys.exit(
            f"no environment can be made in {str(ROOT)!r}: Python's tools do not bear {unfit[0]!r} in a path: rename it"
        )
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
    pin = re.search(r"^uv==.*(\n +--hash.*)*", LOCK.read_text(encoding="utf-8"), flags=re.MULTILINE)
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as pins:
        pins.write(pin[0])
        pins.flush()
        hashed = ["--require-hashes", "-r", pins.name]
        if (uv := shutil.which("uv")) and made_by(uv, hashed, lock):
            return
        shutil.rmtree(VENV, ignore_errors=True)
        run([sys.executable, "-m", "venv", VENV], lock, "On Debian and Ubuntu: apt-get install python3-venv")
        run([PYTHON, "-m", "pip", "--disable-pip-version-check", "install", "-q", *hashed], lock)


def made_by(uv: str, hashed: list[str], lock: int) -> bool:
    """Whether a uv that is there has made it; it may be broken, or too old for what it is asked."""
    shutil.rmtree(VENV, ignore_errors=True)
    try:
        run([uv, "venv", "-q", "--python", sys.executable, VENV], lock)
        run([uv, "pip", "install", "-q", "--python", PYTHON, *hashed], lock)
    except StepError as failed:
        print(f"{failed}\ntrying without {uv} …", file=sys.stderr, flush=True)
    return UV.exists()


def install(extras: list[str], lock: int) -> None:
    """Everything from the lock, then this project itself, built by the pinned setuptools and never copied."""
    uv = [UV, "pip", "install", "--python", PYTHON]
    chosen = [part for extra in extras for part in ("--extra", extra)]
    pinned = ["--require-hashes", "-c", LOCK, "-r", "pyproject.toml", "--group", "install"]
    run([*uv, *pinned, *chosen], lock)
    run([*uv, "-q", "--no-deps", "--no-build-isolation", "-e", "."], lock)


def run(command: list, lock: int, hint: str = "") -> None:
    """Run a program that holds the lock as long as it lives, even without us; show its main steps, or why it failed."""
    said = []
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "pass_fds": [lock]}
    try:
        with subprocess.Popen(list(map(str, command)), cwd=ROOT, env=environment(), **options) as process:
            for line in process.stdout or ():
                said.append(line)
                if WORTH_SHOWING.match(line):
                    print(line.rstrip()[:100], flush=True)
    except OSError as error:
        raise StepError(f"{command[0]} cannot be run: {error.strerror}") from None
    if process.returncode:
        raise StepError("".join(said[-10:]) + f"this failed: {' '.join(map(str, command))}" + f"\n{hint}" * bool(hint))


def environment() -> dict[str, str]:
    """Variables for uv and pip: the user's, but for those that set up Python's tools and say nothing of sources."""
    tools = re.compile("PYTHON|PIP_|UV_|SETUPTOOLS_|DISTUTILS_|VIRTUAL_ENV")
    told = pip_settings() | os.environ
    found = {name: value for name, value in told.items() if SOURCES.fullmatch(name) or not tools.match(name)}
    for name, for_uv in AS_UV_SAYS.items():
        if name in found:
            found.setdefault(for_uv, found[name])
    if "UV_DEFAULT_INDEX" in found:  # it may have a name before its address
        found.setdefault("PIP_INDEX_URL", re.sub(r"^[\w-]+=", "", found["UV_DEFAULT_INDEX"]))
    if "PIP_NO_INDEX" in found and "PIP_FIND_LINKS" in found:
        found.setdefault("UV_FIND_LINKS", ",".join(found["PIP_FIND_LINKS"].split()))
    return {"UV_HTTP_TIMEOUT": "180"} | found | {"UV_PYTHON_DOWNLOADS": "never", "PIP_CONFIG_FILE": os.devnull}


def pip_settings() -> dict[str, str]:
    """What pip's files set, as the variables that would; they lie where pip's documentation says."""
    shared, own = os.environ.get("XDG_CONFIG_DIRS") or "/etc/xdg", os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    folders = [*(f"{each}/pip" for each in shared.split(os.pathsep)), "/Library/Application Support/pip", "/etc"]
    folders += ["~/Library/Application Support/pip", "~/.pip", f"{own}/pip", sys.prefix]
    named = os.environ.get("PIP_CONFIG_FILE")
    if named == os.devnull:
        return {}
    parser = configparser.RawConfigParser()
    try:
        parser.read([*(Path(folder).expanduser() / "pip.conf" for folder in folders), *filter(None, [named])], "utf-8")
    except (configparser.Error, UnicodeDecodeError) as error:
        sys.exit(f"pip's settings cannot be read: {' '.join(str(error).split())}")
    sections = [parser[name] for name in ("global", "install") if name in parser]
    return {
        f"PIP_{key.upper().replace('-', '_')}": " ".join(value.split())
        for section in sections
        for key, value in section.items()
    }


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit("interrupted; run the same command again to go on")
    except StepError as failed:
        sys.exit(str(failed))
    except OSError as error:
        sys.exit(f"the environment in {VENV} cannot be made: {error}")
