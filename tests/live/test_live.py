"""Batch HI over a real wire: two ends on loopback, faults of every kind, and messages that are none."""

import contextlib
import copy
import functools
import hashlib
import json
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import msgpack
import numpy as np
import pandas as pd
import pytest
import zmq
from conftest import sample
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner
from wire_peers import serving

import hi_lib as hi
from hi_book.commands import session
from hi_book.commands.main import app
from hi_lib import regret
from hi_live import keys, server, wire
from hi_live.device import Device, Plan
from hi_live.link import Delay, Link
from hi_live.log import Log, Transmission
from hi_live.replayed import ReplayedLarge, ReplayedSmall
from hi_live.report import Stages, report, stages_of
from hi_live.wire import Reply, Request, WireError

TRACE = hi.synthetic_trace(400, seed=3)


@contextlib.contextmanager
def faulty(schedule, lateness=0.15):
    """A server that answers each message as a schedule says: at once, twice, late, never, wrongly, with rubbish.

    What is late is so by `lateness` seconds.
    """
    context = zmq.Context()
    socket = context.socket(zmq.ROUTER)
    socket.setsockopt(zmq.LINGER, 0)
    port = socket.bind_to_random_port("tcp://127.0.0.1")
    stop, late = threading.Event(), []

    def run():
        for fault in [*schedule, *["fine"] * 10_000]:
            while not stop.is_set() and not socket.poll(5):
                while late and late[0][0] < time.perf_counter():
                    socket.send_multipart(late.pop(0)[1])
            if stop.is_set():
                return
            identity, part = socket.recv_multipart()
            request = wire.Assembly().add(part)  # all of these requests are small
            right = Reply(request.run, request.number, request.samples, (1,) * len(request.samples), 0.1, 0.05)
            wrong = {
                "another run": right._replace(run="other"),
                "too few": right._replace(samples=(), answers=()),
                "other samples": right._replace(samples=tuple(one + 1 for one in request.samples)),
            }
            reply = [identity, wire.pack_reply(wrong.get(fault, right))]
            if fault == "late":
                late.append((time.perf_counter() + lateness, reply))
            elif fault == "rubbish":
                socket.send_multipart([identity, b"\xc1 no MessagePack"])
            elif fault != "never":
                for _ in range(2 if fault == "twice" else 1):
                    socket.send_multipart(reply)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield f"tcp://127.0.0.1:{port}"
    finally:
        stop.set()
        thread.join()
        socket.close()
        context.term()


def live(address, plan, samples=60, learner=None, tau_ed=0.0, image_bytes=100, controller=None, first=0, **emulated):
    """A run of the device; returns its log, the link's delays and the learner."""
    learner = learner or hi.HILF(0.5, 0.1, seed=0, levels=64)
    context = zmq.Context()
    link = Link(context, address, **emulated)
    link.start()
    small = ReplayedSmall(TRACE, tau_ed, image_bytes)

    try:
        log = Device(small, learner, link, plan, controller).run(samples, first)
    finally:
        link.close()
        context.term()
    return log, link.delays, learner


LEARNERS = {
    "hil-f": lambda: hi.HILF(0.5, 0.1, seed=1, levels=64),
    "hil-n": lambda: hi.HILN(0.5, 0.1, 0.2, seed=1, levels=64),
    "apple": lambda: hi.Apple(0.5, 0.1, 0.1, seed=1, levels=64),
}


@pytest.mark.parametrize("make", LEARNERS.values(), ids=LEARNERS)
@pytest.mark.parametrize(("batch_size", "window"), [(1, None), (4, None), (3, 2), (1, np.inf)])
def test_every_sample_gets_one_answer(make, batch_size, window):
    with serving(ReplayedLarge(TRACE, 0.0)) as (address, ended):
        log, delays, learner = live(address, Plan(batch_size, window), learner=make())
    assert (log.answered >= log.started).all()
    assert (np.isfinite(log.lml_right) == log.offloaded).all()
    assert not log.lost.any()
    assert learner.outstanding == []
    sent = sorted(one.number for one in log.transmissions)
    assert len(set(sent)) == len(sent) == len(delays) == ended[0].requests
    assert sum(one.offloads for one in log.transmissions) == log.offloaded.sum()


def test_pictures_arrive_as_they_were_sent():
    """Large frames are not copied: whoever touched one while it is on its way would change what arrives."""
    rng, sent, arrived = np.random.default_rng(0), {}, {}

    class Hashing:
        def answers(self, samples, images):
            arrived.update(zip(samples, (hashlib.sha256(image).hexdigest() for image in images), strict=True))
            assert all(memoryview(image).readonly for image in images)
            return [0] * len(images)

    context = zmq.Context()
    with serving(Hashing()) as (address, _):
        link = Link(context, address, network_time=lambda: 5.0)
        link.start()
        device = link.device_socket()
        for number in range(40):
            samples = tuple(range(4 * number, 4 * number + 4))
            images = [rng.bytes(size) for size in rng.integers(100, 200_000, size=4)]
            sent.update(zip(samples, (hashlib.sha256(image).hexdigest() for image in images), strict=True))
            parts = wire.pack_request(Request("run", number, samples, images))
            device.send_multipart([b"%d" % number, b"0", *parts])
        replies = [wire.read_reply(*wire.receive(device)) for _ in range(40)]
        device.close()
        link.close()
    context.term()
    assert {reply.number for reply in replies} == set(range(40))
    assert arrived == sent


def test_a_batch_too_large_for_a_message_is_refused_where_it_is_made():
    largest = wire.MOST_BYTES - 64 * 2**10
    assert together(wire.pack_request(Request("run", 0, (0,), [bytes(largest)]))).images == [bytes(largest)]
    with pytest.raises(WireError, match="choose smaller batches"):
        wire.pack_request(Request("run", 0, (0, 1), [bytes(largest), b"x"]))
    many = tuple(range(wire.MOST_IMAGES + 1))
    with pytest.raises(WireError, match="at most 4096 images"):
        wire.pack_request(Request("run", 0, many, [b""] * len(many)))


def test_an_exchange_before_the_run_counts_for_nothing():
    context = zmq.Context()
    with serving(ReplayedLarge(TRACE, 0.0)) as (address, ended):
        link = Link(context, address)
        link.start()
        device = Device(ReplayedSmall(TRACE, 0.0, 100), hi.HILF(0.5, 0.1, seed=0, levels=64), link, Plan(4))
        before = device.learner.state()
        device.warm_up()
        assert device.learner.state() == before
        log = device.run(40)
        link.close()
    context.term()
    assert log.stray == 0
    assert not log.lost.any()
    assert ended[0].requests == len(log.transmissions) + 2


def test_what_the_learner_hears_is_what_a_replay_would_teach_it():
    """On a perfect wire the learner ends with the weights of one that was told everything directly."""
    with serving(ReplayedLarge(TRACE, 0.0)) as (address, _):
        _, _, learner = live(address, Plan(5), samples=100)
    direct = hi.HILF(0.5, 0.1, seed=0, levels=64)
    direct.update(TRACE.confidence[:100], TRACE.correct[:100])
    asked = np.arange(64) / 64
    first, second = (each._forecaster.offload_probability(asked, 0.1) for each in (learner, direct))
    assert first == pytest.approx(second, abs=1e-12)


@pytest.mark.parametrize("seed", sample(range(100), range(20)))
def test_nothing_is_lost_twice_or_left_open_whatever_the_server_does(seed):
    rng = np.random.default_rng(seed)
    kinds = ["fine", "late", "never", "twice", "rubbish", "another run", "too few", "other samples"]
    schedule = rng.choice(kinds, 8).tolist()
    size, faults = int(rng.integers(1, 6)), sum(fault not in ("fine", "twice") for fault in schedule)
    for slower in (1, 10):  # a busy machine may be late by itself: then the same, with all times ten times as long
        counted = size if seed % 4 == 3 else None  # a quarter of them count offloads
        plan = Plan(9 if counted else size, [None, 1, 3][seed % 3], timeout=60.0 * slower, offloads=counted)
        with faulty(schedule, lateness=0.15 * slower) as address:
            log, _, learner = live(address, plan, learner=list(LEARNERS.values())[seed % 3](), samples=40)
        if sum(one.lost for one in log.transmissions) <= faults:
            break
    assert (log.answered >= log.started).all()
    assert (log.lost <= log.offloaded).all()
    assert (np.isfinite(log.lml_right) == (log.offloaded & ~log.lost)).all()
    assert learner.outstanding == []
    numbers = [one.number for one in log.transmissions]
    assert len(set(numbers)) == len(numbers)
    # What is late, never comes, or answers something else is lost; what came at once is not.
    assert sum(one.lost for one in log.transmissions) <= faults


def test_an_adaptive_device_follows_its_controller_and_a_batch_may_be_cut_short():
    class Cycle:
        sizes, heard = [3, 5, 2], []

        def next_size(self):
            return self.sizes[len(self.heard) % 3]

        def observe(self, *batch):
            self.heard.append(batch)

    controller = Cycle()
    with serving(ReplayedLarge(TRACE, 0.0)) as (address, _):
        log, _, _ = live(address, Plan(4), controller=controller, samples=30)
        cut, _, _ = live(address, Plan(20, max_wait=8.0), tau_ed=2.0, samples=30)
    assert log.sizes == [[3, 4, 2][k % 3] for k in range(10)]  # never above the plan's
    assert [batch[0] for batch in controller.heard] == log.sizes
    assert sum(batch[1] for batch in controller.heard) == log.offloaded.sum()
    assert all((batch[2] is None) == (batch[1] == 0) for batch in controller.heard)
    assert sum(cut.sizes) == 30
    assert max(cut.sizes) <= 4


@pytest.mark.parametrize("window", [None, 2])
def test_a_device_sends_once_so_many_offloads_are_pending(window):
    with serving(ReplayedLarge(TRACE, 0.0)) as (address, _):
        log, _, learner = live(address, Plan(9, window, offloads=3), samples=200)
        waited, _, _ = live(address, Plan(200, offloads=200, max_wait=8.0), tau_ed=2.0, samples=60)
    cycles = np.split(log.offloaded, np.cumsum(log.sizes)[:-1])
    assert all(cycle.sum() == 3 or cycle.size == 9 for cycle in cycles[:-1])
    assert all(cycle.sum() <= 3 for cycle in cycles)
    assert all(cycle[-1] for cycle in cycles if cycle.sum() == 3)
    assert {one.offloads for one in log.transmissions} == {3, *(int(cycle.sum()) for cycle in cycles)} - {0}
    assert np.isfinite(log.lml_right[log.offloaded]).all()
    assert learner.outstanding == []
    # Of 2 ms each: no more than four come after the first offload of a cycle, and are through before its 8 ms are over.
    cycles = np.split(waited.offloaded, np.cumsum(waited.sizes)[:-1])
    assert all(cycle.size - cycle.argmax() <= 5 for cycle in cycles)
    assert max(cycle.sum() for cycle in cycles) > 1


def test_a_device_that_counts_offloads_decides_as_the_learner_driven_by_hand():
    """The same seed, the same weights: each cycle is heard of at once, after its end."""
    wired, by_hand = (hi.HILF(0.5, "adaptive", seed=3, levels=64) for _ in range(2))
    with serving(ReplayedLarge(TRACE, 0.0)) as (address, _):
        log, _, _ = live(address, Plan(30, offloads=4), learner=wired, samples=150)
    decided, cycle = [], []
    for t in range(150):
        cycle.append(by_hand.decide_later([TRACE.confidence[t]]))
        decided.append(cycle[-1].offload.item())
        if sum(ticket.offload.item() for ticket in cycle) == 4 or len(cycle) == 30 or t == 149:
            by_hand.hear_together(cycle, TRACE.correct[t + 1 - len(cycle) : t + 1])
            cycle = []
    assert log.offloaded.tolist() == decided
    assert wired.state() == by_hand.state()


@pytest.mark.slow
def test_what_is_expected_of_a_device_that_counts_offloads_is_a_mean_over_draws():
    """Of 40 runs over the wire without delays, offload ratios lie around the replays' mean as their spread allows."""
    ratios, expected = [], []
    with serving(ReplayedLarge(TRACE, 0.0)) as (address, _):
        for seed in range(40):
            learner = hi.HILF(0.5, "adaptive", seed=seed, levels=session.LEVELS)
            log, _, _ = live(address, Plan(30, offloads=4), learner=learner, samples=150)
            ratios.append(log.offloaded.mean())
    asked = SimpleNamespace(beta=0.5, learning_rate=None, offloads=4)
    seen = hi.Trace(log.confidence, TRACE.correct[:150])
    expected = [run.offloaded.mean() for run in session._replays(asked, Plan(30, offloads=4), learner, seen)]
    error = np.hypot(np.std(ratios) / np.sqrt(40), np.std(expected) / np.sqrt(len(expected)))
    assert abs(np.mean(ratios) - np.mean(expected)) < 4 * error + 0.01  # steps of the rate: at most a hundredth


@pytest.mark.parametrize("learner", LEARNERS)
def test_the_learner_may_hear_the_l_ml_in_place_of_the_labels(learner):
    """An L-ML that is always wrong: by its word, every offload was worth it; by the labels, only some."""
    wrong = hi.Trace(TRACE.confidence, TRACE.correct, np.zeros(len(TRACE)))
    heard = {}
    for feedback in ("labels", "lml"):
        taught = LEARNERS[learner]()
        taught.hear = functools.partial(
            lambda told, hear, ticket, correct: (
                told.extend(zip(np.asarray(ticket.offload), np.asarray(correct, float), strict=True)),
                hear(ticket, correct),
            )[1],
            heard.setdefault(feedback, []),
            taught.hear,
        )
        with serving(ReplayedLarge(wrong, 0.0)) as (address, _):
            log, _, _ = live(address, Plan(5, feedback=feedback), learner=taught, samples=60)
        assert (log.lml_right[log.offloaded] == 0).all()
        sent = np.array([right for offload, right in heard[feedback] if offload])
        kept = np.array([right for offload, right in heard[feedback] if not offload])
        assert sent.mean() == (0 if feedback == "lml" else TRACE.correct[:60][log.offloaded].mean())
        assert np.isnan(kept).all() if learner != "hil-f" else np.isfinite(kept).all()


def test_a_learner_of_ones_own_hears_what_it_says_that_it_hears():
    for base in (hi.HILF, functools.partial(hi.HILN, exploration=0.2)):
        kind = getattr(base, "func", base)
        heard = []

        class Own(kind):
            def hear(self, ticket, correct, heard=heard):
                heard.append(np.isfinite(correct).all())
                super().hear(ticket, correct)

        made = Own(0.5, 0.1, **getattr(base, "keywords", {}), seed=1, levels=64)
        with serving(ReplayedLarge(TRACE, 0.0)) as (address, _):
            live(address, Plan(5), learner=made, samples=60)
        assert all(heard) == (kind is hi.HILF)
        assert made.learner.feedback == ("all" if kind is hi.HILF else "offloaded")


def test_the_log_is_read_again(tmp_path):
    with serving(ReplayedLarge(TRACE, 0.0)) as (address, _):
        log, delays, _ = live(address, Plan(5), samples=50, first=20)
    files = log.write(tmp_path / "log", lambda samples: TRACE.correct[samples], delays)
    again = pd.read_csv(files[0])
    assert again["confidence"].to_numpy() == pytest.approx(TRACE.confidence[20:70])
    assert (again["correct"] == TRACE.correct[20:70]).all()
    assert (again["lml_correct"].notna() == log.offloaded).all()
    assert np.isfinite(hi.Trace.from_csv(files[0]).lml_correct).tolist() == log.offloaded.tolist()
    told = CliRunner().invoke(app, ["evaluate", str(files[0])])
    assert told.exit_code == 0, told.output
    table = pd.read_csv(files[1])
    assert table["offloads"].sum() == log.offloaded.sum()
    assert (table["round_trip"] >= table["there"] + table["back"]).all()
    assert sorted(file.name for file in (tmp_path / "log").iterdir()) == ["samples.csv", "transmissions.csv"]


def device(*options):
    return CliRunner().invoke(app, ["live", "device", "--samples", "60", *map(str, options)])


def test_the_networks_times_may_come_from_a_file(tmp_path):
    (tmp_path / "ping.txt").write_text("12.5\n30\n")
    chosen = {"network_time": str(tmp_path / "ping.txt"), "seed": 3}
    draw = session._network(SimpleNamespace(**chosen))
    assert {draw() for _ in range(50)} == {12.5, 30.0}
    assert session._network(SimpleNamespace(network_time="0", seed=0)) is None
    assert session._network(SimpleNamespace(network_time="exponential:5", seed=0))() > 0
    with pytest.raises(ValueError, match="must be ms >= 0, exponential:MEAN, or a file"):
        session._network(SimpleNamespace(network_time="fast", seed=0))


def test_a_restarted_device_goes_on_with_what_it_had_learned(tmp_path):
    kept = tmp_path / "learner.json"
    with serving(ReplayedLarge(hi.load_trace("cifar10-alexnet").shuffled(0), 0.0)) as (address, _):
        for expected in (60, 120):
            assert device("--server", address, "--state", kept, "--timeout", 500).exit_code == 0
            held = json.loads(kept.read_text())
            assert held["next"] == expected
            assert hi.HILF.restore(held["learner"]).outstanding == []
        kept.write_text(kept.read_text()[:-9])
        refused = device("--server", address, "--state", kept)
    assert refused.exit_code == 2
    assert "keeps no HILF learner" in refused.stderr


@pytest.mark.slow
def test_a_device_that_is_killed_starts_again_and_one_that_is_stopped_reports(tmp_path):
    kept = tmp_path / "learner.json"
    command = [sys.executable, "-m", "hi_book.commands.main", "live", "device", "--state", str(kept), "--json"]
    with serving(ReplayedLarge(hi.load_trace("cifar10-alexnet").shuffled(0), 0.0)) as (address, _):
        command += ["--server", address, "--samples", "10000", "--network-time", "5"]
        for how in (signal.SIGKILL, signal.SIGINT):
            kept.unlink(missing_ok=True)
            process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            deadline = time.monotonic() + 60
            while not kept.exists() and time.monotonic() < deadline:
                time.sleep(0.05)
            process.send_signal(how)
            output = process.communicate(timeout=60)[0]
            held = json.loads(kept.read_text())
            assert 0 < held["next"] < 10_000
            assert hi.HILF.restore(held["learner"]).levels == 256
    found = json.loads(output)
    assert "the run was stopped before its end" in found["doubts"]
    assert found["measured"]["system_time"] > 0


def test_keys_encrypt_the_wire_and_keep_strangers_out(tmp_path):
    assert CliRunner().invoke(app, ["live", "keys", str(tmp_path / "ours")]).exit_code == 0
    keys.make(tmp_path / "theirs")
    shutil.copy(tmp_path / "ours" / "server.key", tmp_path / "theirs" / "server.key")  # they know our server's
    assert (tmp_path / "ours" / "server.key_secret").stat().st_mode & 0o077 == 0
    access = server.Access(keys_folder=tmp_path / "ours")
    with serving(ReplayedLarge(TRACE, 0.0), access=access) as (address, ended):
        log, _, _ = live(address, Plan(4), keys_folder=tmp_path / "ours")
        assert not log.lost.any()
        for stranger in (tmp_path / "theirs", None):
            strange, _, _ = live(address, Plan(4, timeout=60.0), samples=8, keys_folder=stranger)
            assert (strange.lost == strange.offloaded).all()
    assert ended[0].requests == len(log.transmissions)
    assert server.checked_address("tcp://10.0.0.7:5", secret=True)
    with pytest.raises(ValueError, match="must hold no keys yet"):
        keys.make(tmp_path / "ours")
    with pytest.raises(ValueError, match="must hold a key, and does not or cannot be read"):
        keys.pair(tmp_path, "server")


def test_a_server_that_is_not_there_costs_answers_and_no_more():
    log, _, learner = live("tcp://127.0.0.1:1", Plan(4, timeout=30.0), samples=24)
    assert (log.lost == log.offloaded).all()
    assert (log.answered >= log.started).all()
    assert learner.outstanding == []
    waited = [one.round_trip for one in log.transmissions]
    assert waited
    assert min(waited) >= 30


def test_a_server_that_stays_away_is_asked_less_and_less():
    """Of a run of one second, with answers lost after 20 ms, only a few transmissions are tried."""
    log, _, learner = live("tcp://127.0.0.1:1", Plan(1, timeout=20.0), samples=390, tau_ed=2.0)
    assert (log.lost == log.offloaded).all()
    # Two answers are waited for, then 20, 40, … 320 ms of silence, and 320 ms between all further ones.
    assert len(log.transmissions) <= 7 + log.ended / 320
    assert len(log.transmissions) < log.offloaded.sum() / 4
    assert learner.outstanding == []


def test_a_server_that_comes_later_is_found():
    """The first transmissions time out; once somebody listens there, answers come."""
    probe = zmq.Context()
    socket = probe.socket(zmq.ROUTER)
    port = socket.bind_to_random_port("tcp://127.0.0.1")
    socket.close()
    probe.term()
    stop = threading.Event()

    def later():
        time.sleep(0.3)
        server.serve(ReplayedLarge(TRACE, 0.0), f"tcp://127.0.0.1:{port}", stop)

    thread = threading.Thread(target=later)
    thread.start()
    try:
        log, _, _ = live(f"tcp://127.0.0.1:{port}", Plan(2, timeout=100.0), samples=400, tau_ed=4.0)
    finally:
        stop.set()
        thread.join()
    assert log.lost.any()
    assert np.isfinite(log.lml_right[-20:]).any()


def test_the_emulated_link_takes_the_time_it_says():
    """Never less than asked for; a little more, since a machine has other things to do."""
    with serving(ReplayedLarge(TRACE, 0.0)) as (address, _):
        log, delays, _ = live(address, Plan(4), image_bytes=5000, rate=8e6, network_time=lambda: 10.0)
    for one in log.transmissions:
        delay = delays[one.number]
        assert delay.uplink == pytest.approx(5.0 * one.offloads)
        assert delay.there >= delay.uplink + 5 - 1e-6
        assert delay.back >= 5 - 1e-6
        assert one.round_trip >= delay.there + delay.back


def test_the_report_names_each_stage():
    with serving(ReplayedLarge(TRACE, 2.0)) as (address, _):
        plan = Plan(4)
        log, delays, _ = live(
            address, plan, samples=120, tau_ed=1.0, rate=8e6, network_time=lambda: 8.0, image_bytes=1000
        )
    found = report(log, delays, hi.Trace(TRACE.confidence[:120], TRACE.correct[:120]), 0.5, plan)
    stages = found.stages.timing
    assert stages.tau_tx == pytest.approx(1.0)
    assert stages.tau_ed >= 1
    assert stages.tau_es >= 2
    assert stages.tau_nw >= 8
    assert found.measured["response_time"] == pytest.approx(log.response_time[6:].mean())
    # The waiting device's stages add up to its time, but for what happens between them.
    assert found.measured["system_time"] >= 0.97 * found.predicted["system_time"]
    assert found.as_text().splitlines()[1].startswith("system_time")
    assert found.expected == {}  # no replay was given
    told = json.loads(json.dumps(found.as_dict()))
    assert told["lost"] == 0
    assert told["valid"] == (told["doubts"] == [])


@pytest.mark.parametrize(
    ("options", "replayable"),
    [
        ([], True),
        (["--window", "2"], False),
        (["--max-wait", "5"], False),
        (["--batch-size", "adaptive"], False),
        (["--learner", "hil-n"], False),
    ],
)
def test_only_what_a_replay_does_is_expected_of_it(options, replayable):
    given = ["--batch-size", "4", "--network-time", "0", "--json", *options]
    with serving(ReplayedLarge(TRACE, 0.0)) as (address, _):
        done = CliRunner().invoke(app, ["live", "device", "--server", address, "--samples", "60", *given])
    assert done.exit_code == 0, done.output
    assert bool(json.loads(done.stdout)["expected"]) == replayable


def test_what_was_expected_is_the_times_of_a_replay():
    with serving(ReplayedLarge(TRACE, 2.0)) as (address, _):
        plan = Plan(4)
        log, delays, _ = live(address, plan, samples=100, tau_ed=1.0)
    short = hi.Trace(TRACE.confidence[:100], TRACE.correct[:100])
    run = hi.replay(short, 0.5, 4, learning_rate=0.1)
    found = report(log, delays, short, 0.5, plan).beside([run])
    times = found.stages.timing.of_run(run)
    assert found.expected["response_time"] == times.response_time
    assert found.expected["system_time"] >= times.system_time
    # Nothing random is left but which samples θ sends: four standard errors of their number.
    spread = 4 * np.sqrt((run.offload_probability * (1 - run.offload_probability)).sum()) / 100
    assert found.measured["offload_ratio"] == pytest.approx(run.offload_ratio, abs=4 * spread)


@given(st.binary(max_size=300))
def test_bytes_that_are_no_message_are_refused(rubbish):
    for read in (wire.Assembly().add, wire.read_reply, lambda frame: wire.read_request(3, memoryview(frame))):
        with contextlib.suppress(WireError):  # and nothing else
            read(rubbish)


REQUEST = Request("run", 3, (5, 8), [b"one", b"two"])
REPLY = Reply("run", 3, (5, 8), (1, None), 2.0, 1.0)


def together(parts):
    """The request that parts make."""
    assembly = wire.Assembly()
    *before, request = [assembly.add(part) for part in parts]
    assert before == [None] * len(before)
    return request


def test_messages_come_out_as_they_went_in():
    assert together(wire.pack_request(REQUEST)) == REQUEST
    assert wire.read_reply(wire.pack_reply(REPLY)) == REPLY
    large = Request("run", 3, (5, 8, 9), [b"one" * 40_000, b"", b"two" * 50_000])
    assert len(wire.pack_request(large)) == 5
    assert together(wire.pack_request(large)) == large


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"v": 1}, "nothing else"),
        ({"number": 4}, "number of its parts"),
        ({"run": 7}, "must hold"),
        ({"run": "x" * 65}, "64 characters"),
        ({"number": -1}, "a number is >= 0"),
        ({"number": True}, "must hold"),
        ({"samples": [1]}, "an image for each"),
        ({"samples": [1, "2"]}, "integers"),
        ({"samples": [1, -2]}, "integers"),
        ({"sizes": [3, -3]}, "integers"),
        ({"sizes": [6]}, "an image for each"),
        ({"sizes": [3, 4]}, "as long as they are together"),
        ({"sizes": 6}, "must hold"),
    ],
)
def test_requests_that_are_none_are_refused(change, says):
    header = {"run": "run", "number": 3, "samples": [5, 8], "sizes": [3, 3]}
    right, wrong = (len(text).to_bytes(4) + text for text in map(msgpack.packb, (header, header | change)))
    assert wire.read_request(3, memoryview(right + b"onetwo")) == REQUEST
    with pytest.raises(WireError, match=says):
        wire.read_request(3, memoryview(wrong + b"onetwo"))
    with pytest.raises(WireError, match="as long as they are together"):
        wire.read_request(3, memoryview(right + b"onetw"))


def head(version=wire.VERSION, number=3, at=0, length=2 * wire.PART):
    return struct.pack(">BQII", version, number, at, length)


@pytest.mark.parametrize(
    ("second", "says"),
    [
        (head(version=2, at=wire.PART) + bytes(wire.PART), "must be of version 3"),
        (head(at=wire.PART), "at most 65536"),
        (head(at=wire.PART) + bytes(wire.PART + 1), "at most 65536"),
        (head(at=wire.PART, number=4) + bytes(wire.PART), "must follow"),
        (head(at=wire.PART - 1) + bytes(wire.PART), "must follow"),
        (head(at=wire.PART, length=3 * wire.PART) + bytes(wire.PART), "must follow"),
        (head(at=wire.PART) + bytes(10), "are full"),
        (head(length=10) + bytes(11), "are full"),
        (head(length=wire.MOST_BYTES + 1) + bytes(wire.PART), "at most 67108864"),
    ],
)
def test_parts_that_do_not_follow_are_refused_and_leave_nothing(second, says):
    assembly = wire.Assembly()
    assert assembly.add(head() + bytes(wire.PART)) is None
    assert assembly.held == wire.PART
    with pytest.raises(WireError, match=says):
        assembly.add(second)
    assert assembly.held == 0
    assert assembly.add(*wire.pack_request(REQUEST)) == REQUEST


@pytest.mark.parametrize(
    "change",
    [
        *({"answers": ["1"]}, {"answers": [2**63]}, {"answers": [1, 2]}, {"answers": [True]}, {"samples": [-1]}),
        *({"resident": 0.5}, {"computing": -1.0}, {"resident": np.inf}, {"v": 2}, {"more": 1}),
    ],
)
def test_replies_that_are_none_are_refused(change):
    header = {"v": wire.VERSION, "run": "run", "number": 3, "samples": [5], "answers": [1]}
    header |= {"resident": 2.0, "computing": 1.0}
    assert wire.read_reply(msgpack.packb(header)).answers == (1,)
    with pytest.raises(WireError):
        wire.read_reply(msgpack.packb(header | change))
    with pytest.raises(WireError, match="at most"):
        wire.read_reply(b"x" * (2**17 + 1))


def test_a_server_lives_through_ten_thousand_bad_messages():
    rng = np.random.default_rng(0)
    (good,) = wire.pack_request(REQUEST)
    with serving(ReplayedLarge(TRACE, 0.0)) as (address, ended):
        context = zmq.Context()
        socket = context.socket(zmq.DEALER)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.SNDHWM, 0)
        socket.connect(address)
        for _ in range(10_000):
            if rng.random() < 0.25:
                mutated = bytearray(good)
                mutated[rng.integers(len(mutated))] = rng.integers(256)
                socket.send(bytes(mutated))
            else:
                socket.send_multipart([rng.bytes(rng.integers(40)) for _ in range(rng.integers(1, 4))])
        reply = None
        while reply is None or reply.run != "the last":  # some mutations are valid requests, and are answered
            if not socket.poll(100):  # whose answers are dropped if they are too many
                wire.send(socket, wire.pack_request(REQUEST._replace(run="the last")))
            assert socket.poll(30_000)
            reply = wire.read_reply(socket.recv())
        socket.close()
        context.term()
    assert ended[0].refused > 8000


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("http://127.0.0.1:5", "must be tcp://HOST:PORT"),
        ("tcp://0.0.0.0:5", "nothing is encrypted"),
        ("tcp://10.0.0.7:5", "nothing is encrypted"),
        ("nowhere", "must be tcp"),
    ],
)
def test_other_machines_are_refused_unless_asked_for(address, says):
    with pytest.raises(ValueError, match=says):
        server.checked_address(address, insecure=False)


def test_other_machines_can_be_asked_for():
    assert server.checked_address("tcp://10.0.0.7:5", insecure=True)


def test_an_address_in_use_is_one_clear_error():
    with serving(ReplayedLarge(TRACE, 0.0)) as (address, _), pytest.raises(ValueError, match="cannot be used"):
        server.serve(ReplayedLarge(TRACE, 0.0), address, threading.Event())


def test_the_demo_runs_two_processes_and_reports():
    done = CliRunner().invoke(app, ["live", "demo", "--samples", "60", "--network-time", "5", "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert {"measured", "predicted", "lost", "stray"} <= set(found)
    assert found["lost"] == 0
    assert found["measured"]["system_time"] > 0.39


def test_the_demo_counts_offloads_and_says_what_was_expected(tmp_path):
    command = ["live", "demo", "--samples", "60", "--network-time", "2", "--offloads", "3", "--log", str(tmp_path)]
    done = CliRunner().invoke(app, [*command, "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert set(found["expected"]) == {"system_time", "response_time"}
    sent = pd.read_csv(tmp_path / "transmissions.csv")["offloads"]
    assert sent.max() == 3
    assert (sent < 3).sum() <= 1  # what was pending at the end


def test_a_learner_on_disk_goes_on_in_cycles(tmp_path):
    with serving(ReplayedLarge(hi.load_trace("cifar10-alexnet").shuffled(0), 0.0)) as (address, _):
        command = ["live", "device", "--server", address, "--offloads", "2", "--state", str(tmp_path / "kept.json")]
        for done in (CliRunner().invoke(app, [*command, "--samples", "40"]) for _ in range(2)):
            assert done.exit_code == 0, done.output
        other = CliRunner().invoke(app, [*command, "--samples", "40", "--learning-rate", "anytime"])
    assert json.loads((tmp_path / "kept.json").read_text())["next"] == 80
    assert "keeps a learner with learning_rate 'adaptive'" in other.stderr


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--window", "0"], "--window must be"),
        (["--window", "few"], "--window must be an integer >= 1, inf or waits"),
        (["--samples", "10000000"], "--samples must be at most"),
        (["--learner", "naive"], "--learner must be one of"),
        (["--trace", "none"], "trace must be one of"),
        (["--beta", "2"], "--beta must be in"),
        (["--offloads", "3", "--batch-size", "4"], "--batch-size and --offloads are two ways to send"),
        (["--offloads", "0"], "--offloads must be an integer >= 1"),
        (["--max-samples", "3"], "--max-samples must be left out without --offloads"),
        (["--offloads", "3", "--max-samples", "0"], "--max-samples must be an integer >= 1"),
        (["--offloads", "3", "--learner", "apple"], "--offloads must go with --learner hil-f"),
        (["--learner", "apple", "--learning-rate", "adaptive"], "--learning-rate must be one of tuned, vanilla"),
    ],
)
def test_bad_options_are_one_line(options, says):
    done = CliRunner().invoke(app, ["live", "device", *options])
    assert done.exit_code == 2
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_while_the_server_is_busy_it_takes_no_other_transmission():
    timing = hi.TimingModel(tau_ed=1, tau_es=2, tau_tx=0, tau_nw=13)
    stages = Stages(timing, overhead=0, framework=4, serving=3, small=1, learner=0)
    waits = stages.count(np.ones(2, bool), (1, 1), None)
    np.testing.assert_allclose(waits.response_time, [16, 16])  # 1 + 13 + 2: it is a part of the network's 13
    wide = stages.count(np.ones(2, bool), (1, 1), 2)
    # The second starts at 1 and would be there at 2 + 5, while the first keeps the server from 6 to 11.
    np.testing.assert_allclose(wide.response_time, [16, 20])


def test_a_request_that_waited_for_another_is_with_the_server_since_the_last_answer():
    context = zmq.Context()
    with serving(ReplayedLarge(TRACE, tau_es=20)) as (address, _):
        socket = context.socket(zmq.DEALER)
        socket.connect(address)
        for number in range(3):
            wire.send(socket, wire.pack_request(Request("run", number, (0,), [bytes(2**20)])))
        replies = [wire.read_reply(socket.recv()) for _ in range(3)]
    context.destroy(linger=0)
    for reply in replies:  # what is not the L-ML's is the server's own: above nothing, and not another's turn
        assert reply.computing >= 20
        assert 0 < reply.resident - reply.computing < 20


def test_the_frameworks_part_is_measured_where_nothing_else_was_under_way():
    log, delays = Log.empty(0, 4), {}
    for number, (sent, waited, there, round_trip) in enumerate(
        [(0, 0, 10, 36), (1, 4, 15, 55), (30, 0, 6, 40), (80, 0, 10, 38)]  # the third comes while the second computes
    ):
        log.transmissions.append(Transmission(number, 1, 1, sent, round_trip, 15, 14, lost=False))
        delays[number] = Delay(waited, 2, there, 8)
    stages = stages_of(log, delays)
    assert stages.framework == pytest.approx(((36 - 14 - 18) + (38 - 14 - 18)) / 2)
    assert stages.serving == 1


@pytest.mark.parametrize("busy", [False, True])
def test_a_replayed_model_takes_its_time_asleep_or_at_work(busy):
    small, large = ReplayedSmall(TRACE, 20.0, 0, busy), ReplayedLarge(TRACE, 10.0, busy)
    begun, worked = time.perf_counter(), time.thread_time()
    small.classify(0)
    large.answers([0, 1], [b"", b""])
    assert time.perf_counter() - begun >= 0.04
    assert (time.thread_time() - worked > 0.01) == busy


class Watched(hi.HILF):
    """A learner that notes each θ, and with which probability it would have offloaded each sample of its batch."""

    def __init__(self, *args, **more):
        super().__init__(*args, **more)
        self.drawn, self.probability, self.out = [], [], []

    def decide(self, confidence):
        if self._begun is None:
            self.out.append(set(self.outstanding))
            self.drawn.append(self.threshold())
            self._then = copy.deepcopy(self._forecaster)  # feedback may come amid a batch; θ is drawn at its beginning
        self.probability += self._then.offload_probability(self._seen(confidence), self.learning_rate).tolist()
        return super().decide(confidence)


@pytest.mark.parametrize("batch_size", [1, 4, 7])
def test_a_device_that_waits_decides_as_the_learner_driven_by_hand_and_as_its_replay(batch_size):
    """Over the wire and by hand, with the same seed: the same θ, to the last bit; and the replay's probabilities."""
    samples, rounded = 60, np.floor(TRACE.confidence[:60] * 64) / 64
    wired, by_hand = (Watched(0.5, 0.3, seed=3, levels=64) for _ in range(2))
    with serving(ReplayedLarge(TRACE, 0.0)) as (address, _):
        log, _, _ = live(address, Plan(batch_size), learner=wired, samples=samples)
    decided = []
    for start in range(0, samples, batch_size):
        batch = slice(start, min(start + batch_size, samples))
        for p in TRACE.confidence[batch]:
            decided.append(by_hand.decide([p]).item())
        by_hand.update(TRACE.confidence[batch], TRACE.correct[batch])
    assert wired.drawn == by_hand.drawn
    assert log.offloaded.tolist() == decided
    run = hi.replay(hi.Trace(rounded, TRACE.correct[:samples]), 0.5, batch_size, learning_rate=0.3)
    assert wired.probability == pytest.approx(run.offload_probability, abs=1e-11)
    assert wired._exposure == by_hand._exposure == sum(log.sizes[k] ** 2 for k in range(len(log.sizes)))


@pytest.mark.parametrize("window", [1, 2, 4])
def test_a_device_in_a_window_has_the_replays_probabilities_and_exposure(window):
    """With the delays that came about on the wire, `replay` lacks the same feedback at every draw."""
    samples, size = 60, 3
    learner = Watched(0.5, 0.3, seed=3, levels=64)
    with serving(ReplayedLarge(TRACE, 0.0)) as (address, _):
        live(address, Plan(size, window), learner=learner, samples=samples, tau_ed=0.5, network_time=lambda: 4.0)
    starts = np.arange(0, samples, size)
    # How many further samples were decided before each batch's feedback was in: none that began while it was out.
    begun_without = [sum(number in out for out in learner.out) for number in range(starts.size)]
    delay = np.repeat([size * count for count in begun_without], size)
    rounded = hi.Trace(np.floor(TRACE.confidence[:samples] * 64) / 64, TRACE.correct[:samples])
    run = hi.replay(rounded, 0.5, size, learning_rate=0.3, delay=delay)
    assert learner.probability == pytest.approx(run.offload_probability, abs=1e-11)
    assert learner._exposure == (1 + 2 * regret.outstanding(samples, size, delay)).sum()
    assert delay.max() > 0
