import json
import re
import signal
import subprocess
import sys

import distributed
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import hi_lib as hi
from hi_book.commands import main as cli
from hi_book.commands import sweeping
from hi_book.commands.journal import Journal, sweep_to
from hi_book.press import uses
from hi_lib.files import ROOT
from hi_lib.studies import sweeps

NAME = "imagenette-mobilenet_v1_0.25_128"


def test_a_row_is_one_replay():
    table = sweeps.sweep([NAME], [0.3, 0.7], [1, 16], ["tuned", "vanilla", 0.2], range(2))
    assert len(table) == 2 * 2 * 3 * 2
    row = table[(table["beta"] == 0.7) & (table["batch_size"] == 16) & (table["seed"] == 1)].set_index("learning_rate")
    trace = hi.load_trace(NAME).shuffled(1)
    vanilla_rate = hi.tuned_learning_rate(len(trace), 1, hi.lambda_min(trace))
    for name, rate in {"tuned": "tuned", "vanilla": vanilla_rate, 0.2: 0.2}.items():
        run = hi.replay(trace, 0.7, 16, learning_rate=rate)
        assert row.loc[name, "average_cost"] == run.average_cost
        assert row.loc[name, "regret_bound"] == run.regret_bound
        assert row.loc[name, "transmissions"] * len(trace) == pytest.approx(run.transmissions)


def test_summaries_are_over_seeds():
    table = sweeps.sweep([NAME], [0.5], [8], ["tuned"], range(3))
    summary = sweeps.summarise(table, ["trace", "batch_size"], ["average_cost"])
    assert list(summary) == ["trace", "batch_size", "average_cost_mean", "average_cost_std"]
    assert summary["average_cost_std"].item() == pytest.approx(np.std(table["average_cost"], ddof=1))


SMALL = hi.synthetic_trace(300, seed=1)


def grid(**options):
    return sweeps.sweep([SMALL], [0.3, 0.7], [1, 4, 16], ["tuned", 0.1], range(4), **options)


def test_the_table_does_not_depend_on_the_number_of_workers():
    pd.testing.assert_frame_equal(grid(jobs=1), grid(jobs=4))


def test_every_row_is_its_own_run():
    for row in grid().itertuples():
        rate = row.learning_rate if row.learning_rate == "tuned" else float(row.learning_rate)
        run = hi.replay(SMALL.shuffled(row.seed), row.beta, row.batch_size, learning_rate=rate)
        assert (row.average_cost, row.offload_ratio) == (run.average_cost, run.offload_ratio)


def test_rules_that_have_no_rate_join_a_grid_of_rates():
    table = sweeps.sweep([SMALL], [0.3], [1, 4], ["vanilla", 0.1], range(1), learners=["never", "hi-lcb"])
    never = table[table["learner"] == "never"]["average_cost"]
    assert np.allclose(never, 1 - SMALL.accuracy)
    best = hi.best_batch_size(SMALL, hi.CIFAR10.timing, 0.3, 0.5, learner="always", learning_rate="vanilla")
    assert best.batch_size == hi.best_batch_size(SMALL, hi.CIFAR10.timing, 0.3, 0.5, learner="always").batch_size


def test_a_grid_may_count_offloads():
    timing = hi.CIFAR10.timing
    table = sweeps.sweep([SMALL], [0.3], [1, 3], ["adaptive"], range(2), unit="offloads", price=0.2, timing=timing)
    for row in table.itertuples():
        trace = SMALL.shuffled(row.seed)
        run = hi.replay(trace, 0.3, row.batch_size, learning_rate="adaptive", seed=row.seed, unit="offloads", price=0.2)
        assert (row.average_cost, row.regret_bound) == (run.average_cost, run.regret_bound)
        assert row.system_time == timing.of_run(run).system_time
        assert row.transmissions * len(trace) == pytest.approx(run.transmissions)


def test_a_bad_combination_is_a_row_with_its_reason():
    table = sweeps.sweep([SMALL], [0.5, 1.5], [1], ["tuned", "tunned"], [0], keep_errors=True)
    assert len(table) == 4
    assert table["error"].map(bool).tolist() == [False, True, True, True]
    assert "beta must be in [0, 1], got 1.5" in table["error"][2]
    assert "learning_rate must be one of" in table["error"][1]
    assert table["average_cost"].isna().tolist() == [False, True, True, True]
    with pytest.raises(ValueError, match="learning_rate must be one of"):
        sweeps.sweep([SMALL], [0.5], [1], ["tuned", "tunned"], [0])


def test_an_empty_grid_is_refused():
    with pytest.raises(ValueError, match="at least one trace"):
        sweeps.sweep([SMALL], [], [1], ["tuned"], [0])


def test_finished_runs_survive_an_interruption(tmp_path, monkeypatch):
    whole, out, counted = grid(keep_errors=True), tmp_path / "x.csv", []

    def stop_in_the_middle(count):
        counted.append(count)
        if sum(counted) >= 24:
            raise KeyboardInterrupt

    arguments = ([SMALL], [0.3, 0.7], [1, 4, 16], ["tuned", 0.1], range(4))
    with pytest.raises(KeyboardInterrupt):
        sweep_to(out, *arguments, jobs=1, advance=stop_in_the_middle)
    assert not out.exists()
    (journal,) = tmp_path.iterdir()
    with journal.open("a") as file:
        file.write('5\n["x", [1]]\n["half a li')  # as a power failure may leave it
    journal.write_bytes(journal.read_bytes() + b"\xff\xfe")
    made = []
    measure = sweeps._measure
    monkeypatch.setattr(sweeps, "_measure", lambda *point: made.append(point) or measure(*point))
    table = sweep_to(out, *arguments, advance=lambda _: None)
    assert len(made) == 24
    pd.testing.assert_frame_equal(table, whole)
    assert [path.name for path in tmp_path.iterdir()] == ["x.csv"]
    assert out.read_text() == whole.to_csv(index=False)


ARGUMENTS = ([SMALL], [0.3, 0.7], [1, 4, 16], ["tuned", 0.1], range(4))


def test_killed_twice_no_finished_run_is_lost(tmp_path):
    """Each time right after the first new run: what was there before must still be."""
    out = tmp_path / "x.csv"
    code = f"""
import os, signal
from pathlib import Path
import hi_lib as hi
from hi_book.commands.journal import sweep_to
told = []
def kill(count):
    told.append(count)
    if len(told) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
small = hi.synthetic_trace(300, seed=1)
sweep_to(Path({str(out)!r}), [small], [0.3, 0.7], [1, 4, 16], ["tuned", 0.1], range(4), jobs=1, advance=kill)
"""
    for times in (1, 2):
        done = subprocess.run([sys.executable, "-c", code])
        assert done.returncode == -signal.SIGKILL
        (journal,) = tmp_path.iterdir()
        assert len(Journal(journal).read()) == times
    resumed = []
    sweep_to(out, *ARGUMENTS, advance=resumed.append)
    assert resumed[0] == 2 * 12
    assert out.read_text() == grid(keep_errors=True).to_csv(index=False)


@pytest.mark.parametrize("changed", ["code", "rows", "row"])
def test_rows_of_other_code_and_rows_that_do_not_fit_are_made_anew(changed, tmp_path, monkeypatch):
    out, journal = tmp_path / "x.csv", tmp_path / "journal"
    sweeps.sweep(*ARGUMENTS, keep_errors=True, journal=Journal(journal))
    if changed == "code":
        monkeypatch.setattr(sweeps, "_code", lambda: "another version")
    else:
        lines = [json.loads(line) for line in journal.read_text().split("\n") if line]
        for _, rows in lines:
            rows[:] = rows[:-1] if changed == "rows" else [[None] * 7] * 12
        journal.write_text("\n".join(map(json.dumps, lines)))
    journal.rename(tmp_path / ".x.csv.journal")
    told = []
    sweep_to(out, *ARGUMENTS, advance=told.append)
    assert told[0] == 0
    assert out.read_text() == grid(keep_errors=True).to_csv(index=False)


def test_all_that_a_sweep_uses_is_its_code():
    used = {path.relative_to(ROOT).as_posix() for path in uses.modules("from hi_lib.studies import sweeps", ROOT)}
    assert "hi_lib/_engine.py" in used
    counted = set(re.findall(r"hi_lib/[\w/]+\.py", sweeps._code()))
    assert {name for name in used if name.startswith("hi_lib/")} <= counted


def test_a_journal_that_is_a_link_is_not_followed(tmp_path):
    other = tmp_path / "other.txt"
    other.write_text("precious")
    (tmp_path / ".x.csv.journal").symlink_to(other)
    with pytest.raises(ValueError, match="it is a link"):
        sweep_to(tmp_path / "x.csv", *ARGUMENTS, advance=lambda _: None)
    assert other.read_text() == "precious"


def test_a_worker_with_other_code_is_refused():
    with pytest.raises(ValueError, match="has other code"):
        sweeps._replay_all("other", None, "key", sweeps.Task(SMALL, 0, ()))


def test_times_of_a_device_are_those_of_the_runs():
    timing = hi.CIFAR10.timing
    table = sweeps.sweep([SMALL], [0.5], [1, 3], ["tuned"], [0], timing=timing)
    for size, row in table.set_index("batch_size").iterrows():
        times = timing.of_run(hi.replay(SMALL.shuffled(0), 0.5, size))
        assert (row["system_time"], row["response_time"]) == (times.system_time, times.response_time)


@pytest.mark.parametrize("seeds", ["0:100000000000", "5:100000000000000000000", ",".join(["0:9000000", "1"] * 2)])
def test_absurd_grids_are_refused_before_they_take_memory(seeds, tmp_path):
    result = sweep_command("--out", tmp_path / "x.csv", "--trace", "cifar10-resnet8", "--seeds", seeds)
    assert result.exit_code == 2
    assert "must name" in result.stderr


def test_absurd_grids_in_python_are_refused_too():
    with pytest.raises(ValueError, match="10,000,000 runs at most"):
        sweeps.sweep([SMALL], [0.5], [1], ["tuned"], range(10**12))


def test_a_journal_of_another_trace_does_not_count(tmp_path):
    journal = tmp_path / "journal"
    sweeps.sweep([SMALL], [0.5], [1], ["tuned"], [0], journal=Journal(journal))
    other = hi.synthetic_trace(300, seed=2)
    table = sweeps.sweep([other], [0.5], [1], ["tuned"], [0], journal=Journal(journal))
    assert table["average_cost"][0] == hi.replay(other.shuffled(0), 0.5).average_cost


@pytest.mark.parametrize(("text", "found"), [("1,2,8", [1, 2, 8]), ("0:3", [0, 1, 2]), ("0:2,7", [0, 1, 7])])
def test_numbers_on_the_command_line(text, found):
    assert sweeping._numbers(text, "--seeds", int) == found


@pytest.mark.parametrize("text", ["", "a", "1,,2", "1:", "1,2,…,8", "1.5"])
def test_other_texts_are_refused(text):
    with pytest.raises(ValueError, match="--seeds must be a list such as 1,2,8 or 0:100, got"):
        sweeping._numbers(text, "--seeds", int)


def test_the_command_writes_the_table(tmp_path):
    out, mine = tmp_path / "sub" / "x.csv", tmp_path / "mine.csv"
    mine.write_text("confidence;correct\n0,5;1\n0,75;0\n")
    arguments = ["sweep", "--out", out, "--trace", mine, "--trace", "cifar10-resnet8", "--beta", "0.3,1.5"]
    arguments += ["--batch-size", "1,2", "--learning-rate", "tuned,0.1", "--seeds", "0:2"]
    result = CliRunner().invoke(cli.app, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    assert "32 runs, 16 refused, see column error" in result.stdout
    table = pd.read_csv(out)
    assert list(table) == [*sweeps.COLUMNS, *sweeps.REAL, "error"]
    assert table[table["trace"] == "mine"]["real_cost_low"].isna().all()  # nothing is known of its L-ML
    assert set(table["trace"]) == {"mine", "cifar10-resnet8"}


def sweep_command(*arguments):
    return CliRunner().invoke(cli.app, ["sweep", *map(str, arguments)])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--learner", "foo"], "every run was refused, the first since learner must be one of"),
        (["--beta", "2"], "every run was refused, the first since beta must be in [0, 1]"),
        (["--beta", "0.5,0.5"], "--beta must name at least one value, and none twice"),
        (["--seeds", "5:1"], "--seeds must name at least one value"),
        (["--jobs", "0"], "jobs must be an integer >= 1"),
        (["--trace", "cifar10-resnet8"], "traces must have different names"),
        (["--out", "/"], "cannot be written"),
    ],
)
def test_bad_options_leave_nothing_behind(tmp_path, arguments, says):
    result = sweep_command("--out", tmp_path / "x.csv", "--trace", "cifar10-resnet8", "--seeds", "0:1", *arguments)
    assert result.exit_code == 2
    assert says in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_does_not_replace_its_trace(tmp_path):
    mine = tmp_path / "mine.csv"
    mine.write_text("confidence,correct\n0.5,1\n")
    result = sweep_command("--out", mine, "--trace", mine)
    assert result.exit_code == 2
    assert "would replace" in result.stderr
    assert mine.read_text() == "confidence,correct\n0.5,1\n"


def test_a_scheduler_that_is_not_there_is_one_line(tmp_path):
    arguments = ["sweep", "--out", tmp_path / "x.csv", "--trace", "cifar10-resnet8", "--scheduler", "nonsense://here"]
    result = CliRunner().invoke(cli.app, list(map(str, arguments)))
    assert result.exit_code == 2
    assert "scheduler nonsense://here does not answer" in result.stderr


def test_a_scheduler_without_the_extra_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ValueError, match="needs the extra `cluster`"):
        sweep_to(tmp_path / "x.csv", [NAME], [0.5], [8], ["tuned"], range(1), scheduler="tcp://x:1", advance=print)


@pytest.fixture
def cluster(tmp_path, request):
    """A real scheduler and some workers (two), as processes of their own: their address and the workers."""
    count = getattr(request, "param", 2)
    address = tmp_path / "scheduler.json"
    local = ["--host", "127.0.0.1", "--no-dashboard"]
    start = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--port", "0", "--scheduler-file", address, *local]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": tmp_path}
    worker = [sys.executable, "-m", "distributed.cli.dask_worker", "--scheduler-file", address, "--no-nanny"]
    processes = [subprocess.Popen(start, **quiet)]
    try:
        processes += [subprocess.Popen([*worker, "--nthreads", "1", *local], **quiet) for _ in range(count)]
        with distributed.Client(scheduler_file=str(address), timeout="60s") as client:
            if count:
                client.wait_for_workers(count, timeout=60)
        yield json.loads(address.read_text())["address"], processes[1:]
    finally:
        for process in processes:
            process.kill()
            process.wait()


@pytest.mark.filterwarnings("ignore")
def test_a_cluster_gives_the_same_table_though_a_worker_dies(cluster, tmp_path):
    address, workers = cluster
    finished = []

    def kill_one(count):
        finished.append(count)
        if sum(finished) > 48 and workers[0].poll() is None:
            workers[0].kill()

    arguments = ([SMALL], [0.3, 0.7], [1, 4, 16], ["tuned", 0.1], range(40))
    table = sweep_to(tmp_path / "x.csv", *arguments, scheduler=address, advance=kill_one)
    assert workers[0].poll() is not None
    pd.testing.assert_frame_equal(table, sweeps.sweep(*arguments, keep_errors=True))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("cluster", [0], indirect=True)
def test_a_cluster_without_workers_is_one_line(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(sweeps, "_PATIENCE", 2)
    result = sweep_command("--out", tmp_path / "x.csv", "--trace", "cifar10-resnet8", "--scheduler", cluster[0])
    assert result.exit_code == 2
    assert "has no workers" in result.stderr
    assert not list(tmp_path.glob(".x.csv*"))
