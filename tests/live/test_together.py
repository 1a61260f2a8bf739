"""Several devices at one server: whose turn it is, what is merged, and a measured crowd beside a simulated one."""

import json
import threading
import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner
from wire_peers import answer, ask, asking, serving

import hi_lib as hi
from hi_book.commands.main import app
from hi_book.commands.session import Session
from hi_lib.events.simulation import Listed, simulate
from hi_live import connections, hosts, wire
from hi_live.device import Plan
from hi_live.link import Delay
from hi_live.log import Log, Transmission
from hi_live.report import report
from hi_live.runs import Ran
from hi_live.server import Service
from hi_live.together import Shared, together
from hi_live.turns import Sender, Turns
from hi_live.wire import Request

FAIR = Service("images")
TIMING = hi.TimingModel(tau_ed=1.5, tau_es=4, tau_tx=5, tau_nw=20)


def request(number=0, pictures=1):
    """A request, as it goes over the wire."""
    return wire.pack_request(Request("run", number, tuple(range(pictures)), [b"x"] * pictures))


class Held:
    """An L-ML that remembers what it is shown, and stops at its `stop`-th call until it is let go."""

    def __init__(self, stop=1):
        self.shown, self.stop = [], stop
        self.stopped, self.go = threading.Event(), threading.Event()

    def answers(self, samples, images):
        assert len(images) == len(samples)
        self.shown.append(tuple(samples))
        if len(self.shown) == self.stop:
            self.stopped.set()
            assert self.go.wait(20)
            time.sleep(0.1)  # by then what was sent before has come
        return [sample % 7 for sample in samples]


@pytest.mark.parametrize(("service", "before"), [(FAIR, 3), (Service(), 20)])
def test_no_answer_waits_behind_more_than_one_image_of_another(service, before):
    large = Held(stop=3 if service is FAIR else 1)
    with serving(large, service=service) as (address, _), asking(address, 2) as (greedy, modest):
        ask(greedy, range(20), [b"x"] * 20)
        assert large.stopped.wait(20)
        ask(modest, [100], [b"x"])  # while an image of the other is worked on: as it is, all that are left of it
        large.go.set()
        assert answer(modest).answers == (100 % 7,)
        assert answer(greedy).answers == tuple(sample % 7 for sample in range(20))
    assert [sample for shown in large.shown for sample in shown].index(100) == before


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 3), st.integers(1, 4)), min_size=1, max_size=8))
def test_images_in_turn_are_a_line_in_which_each_device_stands_once(coming):
    """Against a plain line: who comes goes to its end, and after an image so does its device, if it has more."""
    waiting, served = Turns(behind_all=True), []
    line, has, expected = [], dict.fromkeys(range(4), 0), []
    coming = [(when, who, pictures, number) for number, (when, who, pictures) in enumerate(sorted(coming))]
    current = None
    for now in range(60):
        for when, who, pictures, number in coming:
            if when == now:
                waiting.add(Sender(b"%d" % who), *request(number, pictures), float(now))
                has[who] += pictures
                if who not in line and who != current:
                    line.append(who)
        if current is not None and has[current]:
            line.append(current)
        current = None
        if line:
            current = line.pop(0)
            has[current] -= 1
            expected.append(current)
        if work := waiting.next():
            served.append(int(work.device.name))
            work.answers.append(1)
            if work.done:
                waiting.end(work)
        if current is not None and not has[current]:
            current = None
    assert served == expected
    assert len(served) == sum(pictures for _, _, pictures, _ in coming)


def test_a_merged_server_answers_all_in_whole_requests():
    large = Held()
    with serving(large, service=Service(merge=5)) as (address, ended), asking(address, 5) as devices:
        ask(devices[0], [0], [b"x"])
        assert large.stopped.wait(20)
        for number, (one, pictures) in enumerate(zip(devices[1:], (2, 2, 2, 7), strict=True), 1):
            ask(one, range(10 * number, 10 * number + pictures), [b"x"] * pictures)
        large.go.set()
        replies = [answer(one) for one in devices]
    # Two and two have room, in whatever order they come; seven, alone more than five, are worked on in pieces.
    assert large.shown[0] == (0,)
    assert sorted(map(len, large.shown[1:])) == [2, 2, 4, 5]
    assert all(shown[0] % 10 in (0, 5) for shown in large.shown)  # no other request is parted
    assert all(reply.answers == tuple(sample % 7 for sample in reply.samples) for reply in replies)
    assert ended[0].requests == 5


def test_a_merging_server_waits_for_more_but_not_for_long():
    large = Held(stop=0)
    with serving(large, service=Service(merge=3, merge_wait=300)) as (address, _), asking(address, 3) as devices:
        begun = time.perf_counter()
        ask(devices[0], [1], [b"x"])
        assert answer(devices[0]).answers == (1,)
        assert 0.3 <= time.perf_counter() - begun < 5
        for number, one in enumerate(devices):
            ask(one, [number], [b"x"])
        begun = time.perf_counter()
        assert [answer(one).answers for one in devices] == [(0,), (1,), (2,)]
    assert sorted(map(len, large.shown)) == [1, 3]


def test_who_has_gone_is_merged_with_nobody():
    peer, waiting = connections.Peer(None, 0), Turns()
    waiting.add(Sender(b"gone", peer), *request(), 1.0)
    waiting.add(Sender(b"late"), *request(pictures=2), 3.0)
    waiting.add(Sender(b"early"), *request(pictures=2), 2.0)
    assert waiting.since(5) == -np.inf
    peer.gone = True
    assert waiting.since(5) == 2.0
    assert [work.device.name for work in waiting.together(4)] == [b"early", b"late"]
    assert [work.device.name for work in waiting.together(1)] == [b"early"]
    for work in waiting.together(4):
        waiting.end(work)
    assert waiting.since(1) == np.inf
    assert waiting._held == 0


def runs_of(model, flags, sizes, setup, hidden):
    """What devices would log if it came about as simulated, with a network time of which no link knows so much."""
    found, ends = [], np.cumsum(model.samples)
    for device, end in enumerate(ends):
        part = slice(end - model.samples[device], end)
        log = Log.empty(0, model.samples[device])
        log.started, log.answered, log.offloaded = model.started[part], model.answered[part], flags[device]
        log.sent, log.sizes, log.begun = log.offloaded, list(sizes[device]), 1e6
        log.lml_right = np.where(log.offloaded, 1.0, np.nan)
        log.ended = model.system_times[device] * model.samples[device]
        delays, first = {}, 0
        for number, size in enumerate(sizes[device]):
            sent = np.flatnonzero(log.offloaded[first : first + size])
            last = first + size - 1
            if sent.size:
                went = log.started[last] + TIMING.tau_ed
                trip, own = log.answered[first + sent[0]] - went, sent.size * TIMING.tau_es
                log.transmissions.append(Transmission(number, size, sent.size, went, trip, own + setup, own, False))
                sending, half = sent.size * TIMING.tau_tx, (TIMING.tau_nw - hidden) / 2
                delays[number] = Delay(0.0, sending, sending + half, half)
                log.spent.waiting += trip
            first += size
        trace = hi.Trace(np.linspace(0, 0.9, log.started.size), np.zeros(log.started.size))
        found.append(Ran(report(log, delays, trace, 0.5, Plan(4)), "", log, delays))
    return found


@pytest.mark.parametrize(
    ("service", "setup", "hidden"),
    [
        (Service(), 0, 0),
        (Service(), 0.5, 2),
        (FAIR, 0, 0),
        (Service(merge=6), 0, 0),
        (Service(merge=6, merge_wait=3), 0, 0),
    ],
)
def test_what_came_about_as_simulated_is_simulated_as_it_came_about(service, setup, hidden):
    """Runs that are made of a simulation give its times of each stage, and are off by nothing."""
    rng = np.random.default_rng(0)
    flags, sizes = rng.random((3, 400)) < 0.4, [[1] * 400, [3] * 133 + [1], [4] * 100]
    options = {"in_turn": service.in_turn, "merge": service.merge, "merge_wait": service.merge_wait}
    model = simulate(TIMING, list(flags), [Listed(one) for one in sizes], devices=3, server_setup=setup, **options)
    waited = service.merge_wait
    found = together(runs_of(model, flags, sizes, setup + waited, hidden), Shared(service))
    assert found.stages.timing.tau_ed == pytest.approx(TIMING.tau_ed)
    assert found.stages.timing.tau_es == pytest.approx(TIMING.tau_es)
    assert found.stages.timing.tau_tx == pytest.approx(TIMING.tau_tx)
    assert found.stages.framework == pytest.approx(setup + hidden, abs=1e-6)
    assert found.stages.serving == pytest.approx(setup, abs=1e-6)
    assert found.stages.timing.tau_nw == pytest.approx(TIMING.tau_nw + setup, abs=1e-6)
    assert [one["residual"] for one in found.devices] == pytest.approx([0, 0, 0], abs=1e-6)
    assert found.measured == pytest.approx(found.simulated)
    work = flags.sum() * TIMING.tau_es
    assert found.busy == pytest.approx(work / (model.system_times * model.samples).max())
    assert found.as_text().count("device ") >= 3
    assert found.as_dict()["residual"] == found.residual


def test_on_hosts_the_way_is_what_the_network_should_take():
    flags, sizes = np.ones((2, 30), bool), [[1] * 30] * 2
    model = simulate(TIMING, list(flags), 1, devices=2, shared_uplink=True)
    rans = runs_of(model, flags, sizes, 0, 0)
    rans = [ran._replace(delays={number: Delay(0.0, 0.0, 0.0, 0.0) for number in ran.delays}) for ran in rans]
    shared = Shared(uplink=True, image_time=TIMING.tau_tx, rtt=TIMING.tau_nw)
    found = together(rans, shared)
    assert found.stages.timing.taus == pytest.approx(TIMING.taus, abs=0.2)  # the two meet now and then
    assert found.residual == pytest.approx(0, abs=0.01)


def test_devices_begin_at_places_of_their_own():
    given = dict.fromkeys(Session.__annotations__) | {"samples": 100, "devices": 3}
    assert [Session.of(given | {"device": one}).begins_at(400) for one in range(3)] == [0, 150, 300]
    assert Session.of(given | {"device": 2}).begins_at(100) == 0
    assert Session.of(given | {"device": 0, "devices": 1}).begins_at(400) == 0


def test_the_demo_runs_a_crowd_and_reports(tmp_path):
    options = ["--devices", "3", "--samples", "60", "--network-time", "5", "--batch-size", "2", "--log", str(tmp_path)]
    done = CliRunner().invoke(app, ["live", "demo", *options, "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert [one["lost"] for one in found["devices"]] == [0, 0, 0]
    assert all({"measured", "simulated", "residual", "doubts"} <= set(one) for one in found["devices"])
    assert 0 < found["server_busy"] <= 1
    assert found["measured"]["system_time"] > hi.CIFAR10.timing.tau_ed
    samples = [pd.read_csv(tmp_path / f"device{device}" / "samples.csv")["sample"] for device in range(3)]
    assert all(one.size == 60 for one in samples)
    assert len({one[0] for one in samples}) == 3


def test_what_keeps_a_device_of_a_crowd_from_running_is_one_line():
    done = CliRunner().invoke(app, ["live", "demo", "--devices", "2", "--samples", "60", "--beta", "2"])
    assert done.exit_code == 2
    assert done.stderr.startswith("error: --beta must be in [0, 1], got 2.0")
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.slow
@pytest.mark.skipif(bool(hosts.why_not()), reason=f"hosts of their own {hosts.why_not()}")
@pytest.mark.parametrize("uplink", [[], ["--shared-uplink"]])
def test_a_crowd_on_hosts_of_their_own(uplink):
    command = [
        "live",
        "demo",
        "--hosts",
        "--devices",
        "2",
        "--samples",
        "60",
        "--rtt",
        "5",
        "--offloads",
        "2",
        "--json",
    ]
    done = CliRunner().invoke(app, [*command, *uplink])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert [one["lost"] for one in found["devices"]] == [0, 0]
    assert found["stages"]["tau_nw"] > 5


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["demo", "--devices", "0"], "--devices must be an integer >= 1"),
        (["demo", "--devices", "65"], "--devices must be at most 64"),
        (["demo", "--shared-uplink"], "--shared-uplink must be left out without --hosts"),
        (["demo", "--merge", "0"], "--merge must be an integer >= 1"),
        (["demo", "--merge-wait", "2"], "--merge-wait must be left out without --merge"),
        (["server", "--merge", "2", "--merge-wait", "-2"], "--merge-wait must be"),
        (["server", "--fair", "--merge", "4"], "--fair and --merge are two ways to serve: give one of them"),
    ],
)
def test_bad_options_of_a_crowd_are_one_line(options, says):
    done = CliRunner().invoke(app, ["live", *options])
    assert done.exit_code == 2
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_service_that_is_none_is_refused():
    with pytest.raises(ValueError, match="in_turn must be one of requests, images"):
        Service("devices")
    with pytest.raises(ValueError, match="merge must be left out where the server takes images in turn"):
        Service("images", merge=2)
