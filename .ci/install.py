"""Make .venv and install what one extra needs, by exact pins; run by make, as `install.py EXTRA`.

Two at once wait for each other. An environment whose installation was killed half-way is made anew, with all that was
in it: pip takes half a package for a whole one.
"""

import fcntl
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
UNFINISHED = ROOT / ".venv.unfinished"  # holds the extras of an installation that has begun, and not ended
WORTH_SHOWING = ("Downloading", "Installing", "Successfully")


def main(extra: str) -> None:
    """Install the extra unless that is done already."""
    if sys.version_info < (3, 11):  # noqa: UP036 (whatever python3 is here)
        sys.exit(f"Python 3.11 or newer is needed; this is {sys.version.split()[0]}. Try: make PYTHON=python3.12 …")
    with (ROOT / ".venv.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = VENV / f"{extra}.installed"
        newest = max((ROOT / name).stat().st_mtime for name in ("pyproject.toml", "requirements.lock"))
        if not UNFINISHED.exists() and done.exists() and done.stat().st_mtime >= newest:
            return  # somebody else did it while we waited
        extras, whole = {extra}, (VENV / "bin" / "pip").exists() and not UNFINISHED.exists()
        if not whole:
            lost = UNFINISHED.read_text().split() if UNFINISHED.exists() else []
            extras |= {*lost, *(path.stem for path in VENV.glob("*.installed"))}
        UNFINISHED.write_text(" ".join(sorted(extras)))
        if not whole:
            subprocess.run([sys.executable, "-m", "venv", "--clear", VENV], check=True)
        print(f"installing what 'make {extra}' needs (the first time takes a minute or two) …", flush=True)
        install(sorted(extras), lock.fileno())
        for each in extras:
            (VENV / f"{each}.installed").touch()
        UNFINISHED.unlink()


def install(extras: list[str], lock: int) -> None:
    """Let pip do it, and hold the lock as long as it lives, even without us; show its main steps."""
    command = [VENV / "bin" / "pip", "--disable-pip-version-check", "install", "--progress-bar", "off"]
    command += ["-c", "requirements.lock", "-e", f".[{','.join(extras)}]"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, pass_fds=[lock]) as pip:
        for line in pip.stdout or ():
            if line.startswith(WORTH_SHOWING):
                print(line.rstrip()[:100], flush=True)
    if pip.returncode:
        sys.exit(f"pip failed; run it again by hand to see more: {' '.join(map(str, command))}")


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except KeyboardInterrupt:
        sys.exit("interrupted; run the same command again to go on")
