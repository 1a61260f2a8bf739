"""Builds that are killed, and builds at the same time: what is there in the end is always the same book.

HI_KILLS says how often a build is killed (default: 2).
"""

import contextlib
import os
import random
import signal
import subprocess
import time

import psutil
import pytest
from hostile_settings import hostile

from hi_book.press import notebooks

KILLS = int(os.environ.get("HI_KILLS", "2"))
QUICKEST = ("fig5_network_time", "fig6_processing_ratio", "speed")


@pytest.fixture
def outcome(checkout, digest):
    return lambda: digest(checkout / "_build" / "html", checkout / "results", checkout / "_build" / "executed")


def forget(checkout, notebooks=QUICKEST):
    """Let the build take some notebooks, and the book, for out of date."""
    for name in notebooks:
        (checkout / "_build" / "stamps" / f"{name}.json").unlink()
    (checkout / "_build" / "build.json").unlink()


def start(checkout, environment):
    command = [checkout / ".venv" / "bin" / "hi", "book"]
    (checkout / "temporary").mkdir(exist_ok=True)
    environment = environment | {"TMPDIR": str(checkout / "temporary")}
    options = {"cwd": checkout, "env": environment, "start_new_session": True, "text": True}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)


def left_over(checkout):
    found = [path.name for path in (checkout / "_build").rglob("*") if ".part" in path.name or path.name == "running"]
    return found + [path.name for path in (checkout / "temporary").iterdir()]


def kernels_of(checkout):
    """Processes that run one of its notebooks."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.cwd() == str(checkout / "notebooks"):
                found.append(process)
    return found


def kill(build, whole_group, checkout):
    """Kill a build, or with it all that is of its group; kernels are not, and end all the same."""
    (os.killpg if whole_group else os.kill)(build.pid, signal.SIGKILL)
    assert build.wait() == -signal.SIGKILL
    assert psutil.wait_procs(kernels_of(checkout), timeout=10)[1] == []


@pytest.mark.parametrize("number", range(KILLS))
def test_a_killed_build_goes_on_to_the_same_bytes(number, checkout, environment, hi, outcome):
    expected = outcome()
    forget(checkout)
    rng = random.Random(number)
    killed = start(checkout, environment)
    time.sleep(rng.uniform(0.2, 12))  # notebooks take about a third of that, and rendering goes on beyond
    if killed.poll() == 0:
        pytest.skip("the build had ended before it was to be killed")
    # Every other time only the build itself dies, and what it started lives on for a moment.
    kill(killed, number % 2, checkout)
    again = hi("book")
    killed.stdout.close()
    assert again.returncode == 0, again.stdout + again.stderr
    assert outcome() == expected
    assert left_over(checkout) == []
    assert "up to date" in hi("book").stdout


def test_a_build_killed_again_and_again_from_the_start(checkout, environment, hi, outcome):
    expected = outcome()
    forget(checkout, notebooks.notebook_names())
    rng = random.Random(0)
    times_killed = 0
    for number in range(KILLS):
        killed = start(checkout, environment)
        time.sleep(rng.uniform(1, 15))
        if killed.poll() == 0:  # so much was left of the builds before that it had time to end
            forget(checkout, notebooks.notebook_names())
        else:
            kill(killed, number % 2, checkout)
            times_killed += 1
        killed.stdout.close()
    assert times_killed
    done = hi("book")
    assert done.returncode == 0, done.stdout + done.stderr
    assert outcome() == expected
    assert left_over(checkout) == []


def test_a_build_among_hostile_settings_is_the_same(checkout, environment, outcome, tmp_path):
    expected = outcome()
    forget(checkout, notebooks.notebook_names())
    settings = hostile(tmp_path)
    settings["PYTHONPATH"] = environment["PYTHONPATH"]  # by which this copy is found
    command = [checkout / ".venv" / "bin" / "hi", "book"]
    done = subprocess.run(command, cwd=tmp_path, env=settings, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert outcome() == expected


def test_two_builds_at_once(checkout, environment, hi, outcome):
    expected = outcome()
    forget(checkout)
    builds = [start(checkout, environment) for _ in range(2)]
    runs = [hi("run", "fig5_network_time"), hi("check")]
    said = [build.communicate()[0] for build in builds]
    assert [build.returncode for build in builds] == [0, 0]
    assert [run.returncode for run in runs] == [0, 0]
    assert sum("another build is running" in text for text in said) >= 1
    assert sum("up to date" in text for text in said) == 1
    assert outcome() == expected
