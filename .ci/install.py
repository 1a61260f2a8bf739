"""Make .venv and install what one extra needs, by exact pins; run by make, as `install.py EXTRA`.

Two at once wait for each other. An installation that was killed half-way is thrown away: pip takes half a package for
a whole one.
"""

import fcntl
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
WORTH_SHOWING = ("Downloading", "Installing", "Successfully")


def main(extra: str) -> None:
    """Install the extra unless that is done already."""
    if sys.version_info < (3, 11):  # noqa: UP036 (whatever python3 is here)
        sys.exit(f"Python 3.11 or newer is needed; this is {sys.version.split()[0]}. Try: make PYTHON=python3.12 …")
    with (ROOT / ".venv.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done, unfinished = VENV / f"{extra}.installed", VENV / "unfinished"
        pins = [ROOT / "pyproject.toml", ROOT / "requirements.lock"]
        if done.exists() and done.stat().st_mtime >= max(path.stat().st_mtime for path in pins):
            return  # somebody else did it while we waited
        if unfinished.exists() or not (VENV / "bin" / "pip").exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", VENV], check=True)
        unfinished.touch()
        print(f"installing what 'make {extra}' needs (the first time takes about a minute) …", flush=True)
        install(extra, lock.fileno())
        unfinished.unlink()
        done.touch()


def install(extra: str, lock: int) -> None:
    """Let pip do it, and hold the lock as long as it lives, even without us; show its main steps."""
    command = [VENV / "bin" / "pip", "--disable-pip-version-check", "install", "--progress-bar", "off"]
    command += ["-c", "requirements.lock", "-e", f".[{extra}]"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, pass_fds=[lock]) as pip:
        for line in pip.stdout or ():
            if line.startswith(WORTH_SHOWING):
                print(line.rstrip()[:100], flush=True)
    if pip.returncode:
        sys.exit(f"pip failed; run it again by hand to see more: {' '.join(map(str, command))}")


if __name__ == "__main__":
    main(sys.argv[1])
