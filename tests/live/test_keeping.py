"""What a device keeps on disk, what it says of a server that it does not understand, and how a server is started."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner
from wire_peers import HI, LOOPBACK, answer, ask, asking, greeting, raw, serving

import hi_lib as hi
from hi_book.commands.main import app
from hi_book.served import infer
from hi_live import keys, server
from hi_live.connections import PATIENCE
from hi_live.keeping import Growing, Kept
from hi_live.log import Log, Transmission
from hi_live.replayed import ReplayedLarge

TRACE = hi.load_trace("cifar10-alexnet").shuffled(0)


def device(*options):
    return CliRunner().invoke(app, ["live", "device", "--samples", "40", *map(str, options)])


def refused(done, says):
    assert done.exit_code == 2, done.output
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


# --- the learner ---


@pytest.fixture
def state(tmp_path):
    """A state that a run with the options' own values left, and the address of a server."""
    kept = tmp_path / "learner.json"
    with serving(ReplayedLarge(TRACE, 0.0)) as (address, _):
        assert device("--server", address, "--state", kept).exit_code == 0
        yield kept, address


def test_a_state_is_for_the_options_with_which_it_began(state):
    kept, address = state
    before = kept.read_text()
    for options, says in (
        (["--beta", "0.3"], "keeps a learner with beta 0.5, but the options say 0.3"),
        (["--seed", "1"], "keeps a learner with seed 0, but the options say 1"),
        (["--trace", "cifar10-resnet8"], "with data 'cifar10-alexnet', but the options say 'cifar10-resnet8'"),
        (["--batch-size", "16"], "keeps a learner with learning_rate"),
        (["--learner", "hil-n"], "keeps no HILN learner: state must be of HILN, got one of 'HILF'"),
    ):
        refused(device("--server", address, "--state", kept, *options), says)
        assert kept.read_text() == before
    assert device("--server", address, "--state", kept, "--network-time", "1", "--window", "2").exit_code == 0
    assert json.loads(kept.read_text())["next"] == 80


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "keeps no HILF learner: Expecting value"),
        ("[" * 100_000, "keeps no HILF learner: RecursionError"),
        ('{"next": 0, "learner": ' + '{"a":' * 100_000, "keeps no HILF learner: RecursionError"),
        ("[]", "keeps no HILF learner: TypeError"),
        ("{}", "keeps no HILF learner: KeyError"),
        ('{"next": -1, "learner": {}}', "keeps no HILF learner: state must be what"),
        ('"' + "x" * 2**24 + '"', "it has more than 16,777,216 bytes"),
        (b"\xff\xfe", "codec can't decode"),
    ],
)
def test_a_state_that_is_none_is_one_line(tmp_path, content, says):
    kept = tmp_path / "learner.json"
    kept.write_bytes(content if isinstance(content, bytes) else content.encode())
    refused(device("--server", "tcp://127.0.0.1:1", "--state", kept), says)


@pytest.mark.parametrize("kind", ["device", "folder", "pipe", "link"])
def test_a_state_that_is_no_file_is_not_read(tmp_path, kind):
    kept = tmp_path / "learner.json"
    if kind == "folder":
        kept.mkdir()
    elif kind == "pipe":
        os.mkfifo(kept)
    else:
        kept.symlink_to("/dev/zero" if kind == "device" else "learner.json")
    refused(device("--server", "tcp://127.0.0.1:1", "--state", kept), "learner.json keeps no HILF learner: ")


def test_what_was_out_when_it_was_kept_is_lost(tmp_path):
    learner = hi.HILF(0.5, 0.1, seed=0, levels=8)
    kept = Kept(tmp_path / "state", learner, {"seed": 3})
    learner.decide_later([0.5])
    kept.write(7)
    again = Kept(tmp_path / "state", hi.HILF(0.5, 0.1, seed=0, levels=8), {"seed": 3})
    assert (again.first, again.learner.outstanding) == (7, [])
    again.write(2)
    assert json.loads((tmp_path / "state").read_text())["next"] == 9


# --- the log ---


def test_a_log_grows_by_whole_lines_and_ends_as_if_written_at_once(tmp_path):
    log, rng = Log.empty(5, 6), np.random.default_rng(0)
    log.confidence[:] = rng.random(6)
    log.offloaded[[1, 4]] = log.sent[[1, 4]] = True
    log.lml_right[1], log.agrees[1] = 1.0, 0.0
    log.answered[:] = np.arange(6) / 3
    growing = Growing(tmp_path, lambda samples: samples % 2 == 0, {})
    tables = [pd.read_csv(tmp_path / name) for name in ("samples.csv", "transmissions.csv")]
    assert [len(table) for table in tables] == [0, 0]
    for final, ended in ((3, 1), (3, None), (6, 0)):
        if ended is not None:
            log.transmissions.append(Transmission(ended, 3, 1, 0.1, 20.0, 5.0, 4.0, lost=False))
        growing.write(log, final)
        text = (tmp_path / "samples.csv").read_text()
        assert text.endswith("\n")
        assert text.count("\n") == final + 1
    grown = [pd.read_csv(tmp_path / name) for name in ("samples.csv", "transmissions.csv")]
    log.write(tmp_path, lambda samples: samples % 2 == 0, {})
    samples, transmissions = [pd.read_csv(tmp_path / name) for name in ("samples.csv", "transmissions.csv")]
    pd.testing.assert_frame_equal(grown[0], samples)
    pd.testing.assert_frame_equal(grown[1].sort_values("number", ignore_index=True), transmissions)
    assert samples["sample"].tolist() == list(range(5, 11))
    assert samples.columns.tolist() == pd.read_csv(tmp_path / "samples.csv").columns.tolist()


def test_what_was_done_is_on_disk_when_a_device_is_killed(tmp_path):
    with serving(ReplayedLarge(TRACE, 0.0)) as (address, _):
        command = [*HI, "live", "device", "--server", address, "--samples", "10000", "--log", str(tmp_path)]
        process = subprocess.Popen([*command, "--network-time", "5"], stdout=subprocess.DEVNULL)
        file, deadline = tmp_path / "samples.csv", time.monotonic() + 60
        while not (file.exists() and file.read_text().count("\n") > 1) and time.monotonic() < deadline:
            time.sleep(0.02)
        process.kill()
        process.wait()
    samples, transmissions = pd.read_csv(file), pd.read_csv(tmp_path / "transmissions.csv")
    assert file.read_text().endswith("\n")
    assert samples["sample"].tolist() == list(range(len(samples)))
    assert (samples["answered_ms"] >= samples["started_ms"]).all()
    assert samples["offloaded"].sum() <= transmissions["offloads"].sum()
    told = CliRunner().invoke(app, ["evaluate", str(file)])
    assert told.exit_code == 0, told.output


# --- the server ---


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Folders of keys: ours, those of a stranger, and of one who knows our server's."""
    folder = tmp_path_factory.mktemp("keys")
    for name in ("ours", "strange", "half"):
        keys.make(folder / name)
    shutil.copy(folder / "ours" / "server.key", folder / "half" / "server.key")
    return folder


@pytest.mark.parametrize(
    ("server_has", "device_has", "says"),
    [
        ("ours", None, "one end has keys, and the other has none"),
        (None, "ours", "none"),  # whichever end notices first
        ("ours", "half", "the other end does not know this one's public key"),
        ("ours", "strange", "the other end has other keys"),
    ],
)
def test_keys_that_do_not_fit_are_said_before_the_run(made, server_has, device_has, says):
    access = server.Access(keys_folder=made / server_has) if server_has else server.THIS_MACHINE
    with serving(ReplayedLarge(TRACE, 0.0), access=access) as (address, _):
        options = ["--keys", made / device_has] if device_has else []
        begun = time.monotonic()
        refused(device("--server", address, "--timeout", 20_000, *options), says)
        assert time.monotonic() - begun < 10


def test_whom_a_server_does_not_understand_is_told_at_once(made):
    access = server.Access(keys_folder=made / "ours")
    with serving(ReplayedLarge(TRACE, 0.0), access=access) as (address, _), raw(address) as peer:
        time.sleep(10 * PATIENCE)  # so that the server has looked at this connection, and holds it
        peer.sendall(greeting())  # without keys
        with contextlib.suppress(ConnectionResetError):
            while peer.recv(64):
                pass


def test_keys_that_fit_are_enough(made):
    access = server.Access(keys_folder=made / "ours")
    with serving(ReplayedLarge(TRACE, 0.0), access=access) as (address, ended):
        done = device("--server", address, "--keys", made / "ours", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["lost"] == 0
    assert ended[0].cut == 0


def test_who_never_has_an_answer_says_so_and_fails():
    done = device("--server", "tcp://127.0.0.1:1", "--timeout", "30", "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["lost"] > 0
    assert done.stderr == "error: no answer came from tcp://127.0.0.1:1: no server listens there\n"


@pytest.mark.parametrize(
    "address",
    [
        "tcp://127.0.0.1:0;10.1.2.3:5555",
        "tcp://127.0.0.1:99999",
        "tcp://127.0.0.1:65536",
        "tcp://127.0.0.1:-1",
        "tcp://127.0.0.1:+5",
        "tcp://127.0.0.1: 5",
        "tcp://127.0.0.1:5 ",
        "tcp://127.0.0.1:5/path",
        "tcp://127.0.0.1:5?x",
        "tcp://127.0.0.1@10.1.2.3:5",
        "tcp://127.0.0.1#@10.1.2.3:5",
        "tcp://127.0.0.1\\@10.1.2.3:5",
        "tcp://127.0.0.1:5,tcp://10.1.2.3:5",
        "tcp://127.0.0.1:５",
        "tcp://127.0.0.1:5\n",
        "tcp://:5",
        "tcp://127.0.0.1",
        "ipc://127.0.0.1:5",
        "TCP://127.0.0.1:5",
    ],
)
def test_what_is_not_one_address_is_none(address):
    for insecure in (False, True):
        with pytest.raises(ValueError, match="tcp://HOST:PORT with a port up to 65535"):
            server.checked_address(address, insecure)
        with pytest.raises(ValueError, match="must be grpc://HOST:PORT/MODEL"):
            infer.checked_address(address.replace("tcp", "grpc").replace("/path", "/a/b"), insecure)


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "*", "[::]", "localhost.example.org", "127.0.0.1.example.org", "2130706433"]
)
def test_every_other_host_is_another_machine(host):
    with pytest.raises(ValueError, match="must be of this machine"):
        server.checked_address(f"tcp://{host}:5")
    assert server.checked_address(f"tcp://{host}:5", insecure=True)
    with pytest.raises(ValueError, match="is another machine"):
        infer.checked_address(f"grpc://{host}:5/model")


def test_an_address_of_six_words_is_understood():
    assert server.checked_address("tcp://[::1]:5555") == "tcp://[::1]:5555"
    assert server.parsed_address("tcp://[::1]:5555").host == "::1"


@pytest.mark.parametrize("how", ["nothing", "closed", "file"])
def test_a_server_without_an_input_answers_until_it_is_interrupted(how, tmp_path):
    (tmp_path / "empty").touch()
    with (tmp_path / "empty").open() as empty:
        given = {"nothing": {"stdin": subprocess.DEVNULL}, "file": {"stdin": empty}}.get(how, {})
        before = (lambda: os.close(0)) if how == "closed" else None
        process = subprocess.Popen(
            [*HI, "live", "server", "--bind", LOOPBACK], stdout=subprocess.PIPE, text=True, preexec_fn=before, **given
        )
    address = process.stdout.readline().split()[-1]
    with asking(address) as (one,):
        ask(one, [1], [b"x"])
        assert answer(one).samples == (1,)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=20)
    assert (process.returncode, output) == (0, "1 requests answered, 0 messages refused\n")


def test_a_server_ends_with_the_pipe_of_who_started_it():
    process = subprocess.Popen(
        [*HI, "live", "server", "--bind", LOOPBACK], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    process.stdout.readline()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.communicate(timeout=20)
    assert process.returncode == 0
