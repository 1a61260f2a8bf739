"""Round trips and sizes from files of all kinds, and the batch size that follows from them."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

import hi_lib as hi
from hi_book.commands import main as cli
from hi_lib.advise.ways import Conditions
from hi_lib.events import queueing
from hi_lib.events.simulation import simulate
from hi_lib.logs import network

TRACE = hi.load_trace("cifar10-resnet8").shuffled(0)
TRACE = hi.Trace(TRACE.confidence[:600], TRACE.correct[:600], name="mine")
TIMING = hi.IMAGENETTE.timing

LINUX = """PING 1.1.1.1 (1.1.1.1) 56(84) bytes of data.
64 bytes from 1.1.1.1: icmp_seq=1 ttl=57 time=12.3 ms
no answer yet for icmp_seq=2
64 bytes from 1.1.1.1: icmp_seq=3 ttl=57 time=8 ms

--- 1.1.1.1 ping statistics ---
3 packets transmitted, 2 received, 33.3333% packet loss, time 2003ms
rtt min/avg/max/mdev = 8.000/10.150/12.300/2.150 ms
"""
WINDOWS = """Pinging 1.1.1.1 with 32 bytes of data:
Reply from 1.1.1.1: bytes=32 time=14ms TTL=57
Reply from 1.1.1.1: bytes=32 time<1ms TTL=57
    Minimum = 1ms, Maximum = 14ms, Average = 7ms
"""


@pytest.mark.parametrize(
    ("text", "column", "times"),
    [
        ("12.5\n8\n", None, [12.5, 8]),
        ("\n12.5\n\n8\n", None, [12.5, 8]),
        ("rtt\n12.5\n8\n", None, [12.5, 8]),
        (
            "time,rtt_ms,operator\n2024-05-27T11:23:28.726453-04:00,51.4,att\n2024-05-27T11:23:28.9-04:00,27.3,att\n",
            *(None, [51.4, 27.3]),
        ),
        ("time,a,b\nx,51.4,1\ny,27.3,2\n", "a", [51.4, 27.3]),
        ("when;RTT ms\nx;51,4\n", None, [51.4]),
        ('[{"latency": 5}, {"latency": 6.5}]', None, [5, 6.5]),
        (LINUX, None, [12.3, 8]),
        (WINDOWS, None, [14, 1]),
        ("Antwort von 1.1.1.1: Bytes=32 Zeit=14ms TTL=57\n", None, [14]),
    ],
)
def test_round_trips_are_read(tmp_path, text, column, times):
    path = tmp_path / "my:ping.txt"  # a colon of its own
    path.write_text(text)
    found = network.network_times(str(path) if column is None else f"{path}:{column}")
    assert found.values.tolist() == times
    assert any("33.3333 % were lost" in note for note in found.notes) == (text is LINUX)


@pytest.mark.parametrize(
    ("text", "column", "says"),
    [
        ("12\n-3\n", "", r"net.txt, line 2: rtt must be in \[0, 1e\+09\], got -3"),
        ("12\nfast\n", "", "net.txt, line 2: rtt must be numeric, got 'fast'"),
        ("rtt_ms\n12\n\n\nfast\n", "", "net.txt, line 5: rtt_ms must be numeric, got 'fast'"),
        ("rtt,x\n12,1\n,2\nfast,3\n", "", "net.txt, line 4: rtt must be numeric, got 'fast'"),
        ("rtt,x\n-,1\n,2\n", "", "net.txt: every round trip was lost"),
        (
            "3 packets transmitted, 0 received, 100% packet loss, time 2003ms\n",
            "",
            "net.txt: every round trip was lost",
        ),
        (
            '{"start": {}, "intervals": [], "end": {}}',
            "",
            "nor columns: it has start, intervals, end; round trips are wanted as a number a line",
        ),
        ("a,b\n1,2\n", "", "net.txt: which column holds the rtt\\? Say FILE:COLUMN; found a, b"),
        ("a,b\n1,2\n", ":c", "net.txt has no column 'c'; found a, b"),
        ("", "", "net.txt cannot be read"),
        ("rtt\n", "", "net.txt must hold at least one value"),
        ("[1", "", "net.txt cannot be read: it is no JSON"),
    ],
)
def test_bad_round_trips_are_one_line(tmp_path, text, column, says):
    path = tmp_path / "net.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match=says) as refusal:
        network.network_times(f"{path}{column}")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "text",
    [
        "rtt_ms,x\n12,1\n-,2\n,3\n8,4\n",
        "rtt_ms;x\n12,0;1\n-1;2\n-1.0;3\n8;4\n",
        "12\n*\n* * *\n8\n".replace("* * *", "***"),
        "-\n12\nRequest timed out.\n8\n",
        "rtt\n12\nno answer yet for icmp_seq=2\nlost\n8\n",
        '[{"rtt": 12}, {"rtt": null}, {"rtt": "-"}, {"rtt": 8}]',
        '{"latency": [-1, 12, -1, 8]}',
    ],
)
def test_lost_round_trips_are_counted_in_every_format(tmp_path, text):
    path = tmp_path / "net.txt"
    path.write_text(text)
    found = network.network_times(str(path))
    assert found.values.tolist() == [12, 8]
    assert found.notes[-1] == f"{path}: 2 of 4 round trips were lost, which no time counts"


def test_ping_without_a_summary_counts_its_losses(tmp_path):
    path = tmp_path / "ping.txt"
    path.write_text("Reply from 1.1.1.1: bytes=32 time=14ms TTL=57\nRequest timed out.\nRequest timed out.\n")
    assert network.network_times(str(path)).notes == [
        f"{path}: 1 round trips of ping; 2 more were lost, which no time counts"
    ]
    path.write_text(path.read_text() + "Packets: Sent = 3, Received = 1, Lost = 2 (66% loss),\n", encoding="utf-16")
    assert network.network_times(str(path)).notes == [
        f"{path}: 1 round trips of ping; 66 % were lost, which no time counts"
    ]


@pytest.mark.parametrize(
    ("text", "unit", "times", "says"),
    [
        ("0.03\n0.05\n", None, [0.03, 0.05], "all round trips are below 1, taken for milliseconds: seconds?"),
        ("0.03\n0.05\n", "s", [30, 50], None),
        ("30\n50\n", "us", [0.03, 0.05], None),
        ("0.03\n5\n", None, [0.03, 5], None),
        ("rtt_us,x\n30,1\n50,1\n", None, [0.03, 0.05], "rtt_us is taken for microseconds, as its name says"),
        ("rtt_ms,x\n0.03,1\n0.05,1\n", None, [0.03, 0.05], None),
        ("rtt_ms,x\n30,1\n50,1\n", "us", [0.03, 0.05], None),
        ("Reply from 1.1.1.1: bytes=32 time=0.03 ms\n", None, [0.03], None),
    ],
)
def test_the_unit_of_round_trips(tmp_path, text, unit, times, says):
    path = tmp_path / "net.txt"
    path.write_text(text)
    found = network.network_times(str(path), unit)
    assert found.values == pytest.approx(times)
    assert any(says in note for note in found.notes) if says else not any("below 1" in note for note in found.notes)


def test_a_unit_that_is_none_or_is_said_already_is_refused(tmp_path):
    path = tmp_path / "ping.txt"
    path.write_text(LINUX)
    with pytest.raises(ValueError, match=r"ping.txt: the unit must be left out where ping says it"):
        network.network_times(str(path), "s")
    with pytest.raises(ValueError, match="unit of network times must be one of ns, us, ms, s"):
        network.network_times(str(path), "min")


@pytest.mark.parametrize("place", ["nothing.csv", "nothing.csv:rtt", ":", "a:", 300 * "a", 300 * "a" + ":rtt"])
def test_a_file_that_is_not_there_is_said(place):
    with pytest.raises(ValueError, match=r"network_times=.* cannot be read: no such file"):
        network.network_times(place)


@pytest.mark.parametrize("start", [0.0, 1.7e12])
def test_times_count_from_the_first_arrival(start):
    arrivals = start + np.array([0, 2, 90])
    timing = hi.TimingModel(1, 4, 5, 20)
    found = queueing.pipeline(timing, [1, 0, 1], 1, arrivals=arrivals)
    log = simulate(timing, [1, 0, 1], 1, arrivals=arrivals)
    assert found.system_time == log.system_time == 40
    assert found.response_time.tolist() == log.response_time.tolist() == [30, 29, 30]


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "mine.csv"
    rows = zip(TRACE.confidence.tolist(), TRACE.correct.astype(int).tolist(), strict=True)
    path.write_text("confidence,correct,bytes\n" + "".join(f"{p!r},{e},{1000 + k}\n" for k, (p, e) in enumerate(rows)))
    (tmp_path / "ping.txt").write_text(LINUX)
    return path


def run(*arguments):
    return CliRunner().invoke(cli.app, ["evaluate", *map(str, arguments)])


def test_the_command_plans(mine):
    ping = mine.with_name("ping.txt")
    result = run(mine, "--network-times", ping, "--deadline", 60, "--miss", 0.1, "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["timing"]["tau_nw"] == pytest.approx(10.15)
    around = Conditions(np.array([12.3, 8]), deadline=60, miss=0.1, rate=50e6)
    expected = hi.evaluate(TRACE, 0.5, None, hi.TimingModel(1.48, 4.41, 4.93, 10.15), around)
    assert found["ways"] == json.loads(json.dumps(expected.as_dict()["ways"]))
    assert found["recommendation"]["send"] == expected.recommendation.as_dict()["send"]
    assert "2 round trips of ping; 33.3333 % were lost" in result.stderr


def test_the_command_takes_sizes_and_a_window(mine):
    result = run(mine, "--image-bytes", f"{mine}:bytes", "--rate", "8e6", "--window", "inf", "--beta", 0.1)
    assert result.exit_code == 0, result.stderr
    assert "sending 1.2995" in result.stdout
    assert "after 2 offloads, any number out" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--network-times", "mine.csv:bytes", "--tau-nw", 3], "--tau-nw must be left out where mine.csv:bytes gives"),
        (["--image-bytes", "mine.csv:bytes", "--tau-tx", 3], "--tau-tx must be left out where mine.csv:bytes gives"),
        (["--miss", 0.1], "--miss must be left out where there is no --deadline"),
        (["--deadline", 0], "deadline must be in (0, inf)"),
        (["--deadline", 9, "--miss", 1], "miss must be in [0, 1)"),
        (["--window", 1.5], "window must be an integer >= 1"),
        (["--max-wait", -1], "max_wait must be in [0, inf)"),
        (["--image-bytes", "mine.csv:bytes", "--rate", 0], "rate must be in (0, inf)"),
        (["--network-times", ""], "--network-times must be FILE or FILE:COLUMN, got ''"),
        (["--network-times", "."], ". cannot be read: Is a directory"),
        (["--html", "mine.csv"], "would replace"),
        (["--network-times", "ping.txt", "--html", "ping.txt"], "would replace"),
    ],
)
def test_bad_options_are_one_line(mine, monkeypatch, arguments, says):
    monkeypatch.chdir(mine.parent)
    result = run("mine.csv", *arguments)
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert says in result.stderr
