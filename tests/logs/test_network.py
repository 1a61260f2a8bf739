"""Round trips and sizes from files of all kinds, and the batch size that follows from them."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

import hi_lib as hi
from hi_book.commands import main as cli
from hi_lib.advise import planning
from hi_lib.advise.planning import Conditions
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


@pytest.mark.parametrize("place", ["nothing.csv", "nothing.csv:rtt", ":", "a:"])
def test_a_file_that_is_not_there_is_said(place):
    with pytest.raises(ValueError, match=r"--network-times .* cannot be read: no such file"):
        network.network_times(place)


def test_without_a_deadline_only_the_means_count():
    """The best batch size is that of the mean, which `best_batch_size` finds as well."""
    times = np.array([5.0, 5, 5, 65])
    found = planning.plan(TRACE, 0.5, planning.with_means(TIMING, Conditions(times)), None, Conditions(times))
    assert found.batch_size == hi.best_batch_size(TRACE, hi.TimingModel(1.48, 4.41, 4.93, 20.0), 0.5, 0.5).batch_size
    assert "without a --deadline only means count" in found.as_lines()[0]


def test_percentiles_are_those_of_the_runs_law():
    times = np.array([5.0, 20, 65])
    found = planning.plan(TRACE, 0.5, TIMING, None, Conditions(times, deadline=60, miss=0.05))
    law = TIMING.of_run(hi.replay(TRACE, 0.5, found.batch_size), times)
    assert (found.best.p50, found.best.p95, found.best.p99) == tuple(law.quantile(each) for each in planning.LEVELS)
    assert found.best.late == 1 - law.cdf(60.0) <= 0.05
    # No batch size that was tried keeps the deadline and is clearly faster.
    for size in planning._SIZES:
        other = TIMING.of_run(hi.replay(TRACE, 0.5, size), times)
        assert other.cdf(60.0) < 0.95 or other.system_time * 1.005 >= found.best.system_time


def test_a_deadline_that_nobody_keeps_is_said():
    found = planning.plan(TRACE, 0.5, TIMING, None, Conditions(deadline=2, miss=0.01))
    assert (found.best, found.batch_size) == (None, None)
    assert found.as_lines()[0].startswith("no batch size keeps 2 ms for all but 0.01 of all answers: at M = 1 ")
    assert found.as_dict()["keeps_deadline"] is False


def test_the_chance_to_be_late_is_never_below_zero():
    found = planning.plan(TRACE, 0.5, TIMING, None, Conditions(deadline=1e6, miss=0.05))
    assert (found.vanilla.late, found.best.late) == (0, 0)
    assert "-0" not in "\n".join(found.as_lines())


def test_simulated_percentiles_agree_with_the_law():
    """The same device by both ways; 0.02 is four standard errors of a share of a half among 10 000 samples."""
    trace = hi.load_trace("cifar10-resnet8").shuffled(0)
    run, times = hi.replay(trace, 0.3, 4), np.array([5.0, 20, 65])
    _, each = planning.simulated(TIMING, run, Conditions(times))
    law = TIMING.of_run(run, times)
    for time in (20.0, 40.0, 60.0, 80.0):
        assert (each <= time).mean() == pytest.approx(float(law.cdf(time)), abs=0.02)


def test_one_theta_decides_a_batch():
    run = hi.replay(TRACE, 0.3, 8)
    flags = planning.drawn(run, np.random.default_rng(0))
    for start in range(0, len(TRACE), 8):
        sent, kept = (run.offload_probability[start : start + 8][part[start : start + 8]] for part in (flags, ~flags))
        assert sent.min(initial=1) >= kept.max(initial=0)
    assert flags.mean() == pytest.approx(run.offload_ratio, abs=4 * 0.5 * np.sqrt(8 / len(TRACE)))


def test_a_window_and_arrivals_are_simulated():
    arrivals = np.arange(600) * 10.0
    run = hi.replay(TRACE, 0.5, 2)
    flags = planning.drawn(run, np.random.default_rng(0))
    _, each = planning.simulated(TIMING, run, Conditions(window=3, arrivals=arrivals))
    assert each.tolist() == queueing.pipeline(TIMING, flags, 2, window=3, arrivals=arrivals).response_time.tolist()
    found = planning.plan(TRACE, 0.5, TIMING, None, Conditions(window=3, arrivals=arrivals))
    assert "has up to 3 transmissions out" in found.as_lines()[0]
    assert "(simulated)" in found.as_lines()[0]
    assert found.spacing == 10


def test_a_device_that_cannot_keep_up_gets_no_batch_size():
    """A millisecond between samples, and an S-ML that takes 1.48: no batch helps."""
    slow = planning.plan(TRACE, 0.5, TIMING, None, Conditions(arrivals=np.arange(600.0)))
    (line,) = slow.as_lines()
    assert line.startswith("the device cannot keep up: a sample comes every 1 ms, and takes ")
    assert line.endswith("; no batch size is recommended")
    assert (slow.batch_size, slow.best, slow.keeps_up) == (None, None, False)
    found = slow.as_dict()
    assert (found["batch_size"], found["keeps_up"], found["keeps_deadline"]) == (None, False, None)
    assert found["times"][-1]["batch_size"] == slow.fastest.batch_size


def test_only_sizes_that_keep_up_are_recommended():
    """M = 1 is a little slower than samples come."""
    run = hi.replay(TRACE, 0.3)
    arrivals = np.arange(600) * 0.99 * planning.simulated(TIMING, run, Conditions())[0]
    found = planning.plan(TRACE, 0.3, TIMING, 0.01, Conditions(arrivals=arrivals))
    assert found.vanilla.system_time > found.spacing >= found.best.system_time
    strict = planning.plan(TRACE, 0.3, TIMING, None, Conditions(arrivals=arrivals, deadline=0.01))
    assert strict.best is None
    assert f"at M = {strict.fastest.batch_size} " in strict.as_lines()[0]


def test_columns_do_not_run_together_however_late_answers_are():
    """A million milliseconds for each transmission: every number takes more room than a column has."""
    times = np.array([1.23456e6, 9.87654e6])
    found = planning.plan(TRACE, 0.5, TIMING, None, Conditions(times, deadline=1e9))
    _, header, *rows = found.as_lines()
    assert header.split() == ["M", "t_s", "t_r", "p50", "p95", "p99", "(ms)", "late"]
    for row in rows:
        assert [float(cell.rstrip("%")) for cell in row.split()]
        assert len(row.split()) == 7
        assert "  " in row
    assert len({len(line) for line in (header, *rows)}) == 1


def test_a_batch_does_not_wait_for_an_hour():
    """Two samples, an hour, and one more: max_wait closes the batch, else the first is answered with the third."""
    trace = hi.Trace([0.2, 0.3, 0.4], [0, 0, 1])
    run = hi.replay(trace, 0.5, 3, learner="always")
    arrivals = np.array([0.0, 2.0, 3.6e6])
    _, late = planning.simulated(TIMING, run, Conditions(arrivals=arrivals))
    _, soon = planning.simulated(TIMING, run, Conditions(arrivals=arrivals, max_wait=100))
    assert late[0] > 3.6e6
    assert soon.max() < 200


def test_sizes_that_vary_take_their_own_times():
    sending = planning.sending_times(np.array([1000.0, 3000.0]), 8e6, 2)
    assert sending.tolist() == [1, 3]
    assert set(planning.sending_times(np.array([1000.0, 3000.0]), 8e6, 50)) == {1, 3}
    timing = hi.TimingModel(1, 4, 5, 20)
    log = simulate(timing, [1, 1], 2, sending_times=sending)
    assert log.answered.tolist() == [2 + 4 + 10 + 8 + 10] * 2
    assert planning.with_means(timing, Conditions(sending_times=sending)).tau_tx == 2


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
    expected = planning.plan(
        TRACE,
        0.5,
        hi.TimingModel(1.48, 4.41, 4.93, 10.15),
        None,
        Conditions(np.array([12.3, 8]), deadline=60, miss=0.1),
    )
    assert found["plan"]["batch_size"] == expected.batch_size
    assert found["plan"]["times"][0]["p99"] == expected.vanilla.p99
    assert expected.batch_size in [row["batch_size"] for row in found["runs"]]
    assert "2 round trips of ping; 33.3333 % were lost" in result.stderr


def test_the_command_takes_sizes_and_a_window(mine):
    result = run(mine, "--image-bytes", f"{mine}:bytes", "--rate", "8e6", "--window", "inf")
    assert result.exit_code == 0, result.stderr
    assert "sending 1.2995" in result.stdout
    assert "has any number of transmissions out" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--network-times", "mine.csv:bytes", "--tau-nw", 3], "--tau-nw must be left out where mine.csv:bytes gives"),
        (["--image-bytes", "mine.csv:bytes", "--tau-tx", 3], "--tau-tx must be left out where mine.csv:bytes gives"),
        (["--rate", 3], "--rate must be left out where there is no --image-bytes"),
        (["--miss", 0.1], "--miss must be left out where there is no --deadline"),
        (["--deadline", 0], "--deadline must be in (0, inf)"),
        (["--deadline", 9, "--miss", 1], "--miss must be in [0, 1)"),
        (["--window", 1.5], "window must be an integer >= 1"),
        (["--max-wait", -1], "--max-wait must be in [0, inf)"),
        (["--image-bytes", "mine.csv:bytes", "--rate", 0], "--rate must be in (0, inf)"),
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
