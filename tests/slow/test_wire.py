"""The wire for longer: ten thousand damaged pictures, a device that is stopped for seconds, floods from many sides."""

import json
import signal
import subprocess
import sys
import time

import pytest
from bad_pictures import fuzz
from wire_peers import HI, answer, ask, asking, most_resident, pester, resident, served, started


def test_ten_thousand_damaged_pictures_leave_a_server_at_work():
    answered, unknown = fuzz(10_000, seed=2)
    assert answered > 500
    assert unknown > 2500


@pytest.mark.parametrize("window", ["1", "4", "inf"])
def test_a_device_that_was_stopped_takes_the_answers_that_came_meanwhile(window):
    with served() as (_, port):
        command = [*HI, "live", "device", "--server", f"tcp://127.0.0.1:{port}", "--samples", "3000", "--json"]
        more = ["--batch-size", "1", "--window", window, "--network-time", "5", "--timeout", "1000"]
        device = subprocess.Popen([*command, *more], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        device.stderr.readline()  # how far it has come, after two seconds
        device.send_signal(signal.SIGSTOP)
        time.sleep(5)
        device.send_signal(signal.SIGCONT)
        found = json.loads(device.communicate(timeout=120)[0])
    assert (found["lost"], found["stray"]) == (0, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts what comes on a connection")
def test_a_server_that_is_flooded_from_twelve_sides_keeps_what_was_promised():
    with served() as (process, port):
        before = resident(process.pid)
        sides = [(pester, port, size, 10) for size in (0, 0, 0, 100, 2000, 60_000) * 2]
        assert most_resident(process.pid, started(*sides)) - before < 1024
        with asking(f"tcp://127.0.0.1:{port}") as (one,):
            ask(one, [3], [b"picture"])
            assert answer(one).samples == (3,)
