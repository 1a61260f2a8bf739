import http.client
import json
import re
import threading

import pytest
from typer.testing import CliRunner

from hi_book.commands import main as cli
from hi_book.commands import making
from hi_book.makers import images
from hi_book.press import book, claims, mine, notebooks, places
from hi_lib import traces

runner = CliRunner()


def hi(*arguments):
    return runner.invoke(cli.app, [str(argument) for argument in arguments])


def refused(result, *says):
    """Exit 2, one line on standard error, no traceback."""
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.output
    for text in says:
        assert text in result.stderr


def test_check_prints_every_claim_as_json():
    result = hi("check", "--json")
    assert result.exit_code == 0, result.stderr
    rows = json.loads(result.stdout)
    assert {row["id"] for row in rows} >= {"C3", "C17"}
    assert all(set(row) == {"id", "statement", "paper", "ours", "tolerance", "verdict", "proved"} for row in rows)


def test_check_fails_when_a_verdict_differs(tmp_path, monkeypatch):
    changed = tmp_path / "claims.yml"
    changed.write_text(claims.CLAIMS.read_text().replace("verdict: holds in part", "verdict: holds", 1))
    outcomes = claims.evaluate(claims.load_claims(changed))
    monkeypatch.setattr(book, "outcomes", lambda *_: outcomes)
    result = hi("check")
    assert result.exit_code == 1
    assert "C3: holds in part, but claims.yml says holds" in result.stderr


def test_doctor_passes_without_the_optional_parts(monkeypatch, tmp_path):
    monkeypatch.setenv("HI_DATA", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    result = hi("doctor")
    assert result.exit_code == 0
    assert "ok       trace cifar10-resnet8" in result.stdout
    assert "missing  Chromium" in result.stdout
    assert f"missing  {tmp_path}/imagenette/val.zip" in result.stdout


@pytest.fixture
def broken_data(monkeypatch, tmp_path):
    """One trace damaged, all other files of data/ missing."""
    (tmp_path / "traces").mkdir()
    (tmp_path / "traces" / "cifar10-resnet8.csv").write_text("confidence,correct\n0.5,1\n")
    monkeypatch.setattr(traces, "DATA", tmp_path)
    monkeypatch.setattr(traces, "TRACES", tmp_path / "traces")


@pytest.mark.usefixtures("broken_data")
def test_doctor_finds_damaged_and_missing_traces():
    result = hi("doctor")
    assert result.exit_code == 1
    for name in traces.shipped():
        fault = "damaged or was swapped" if name == "cifar10-resnet8" else "is missing"
        assert re.search(f"^BROKEN .*{name}.csv .*{fault}", result.stdout, re.MULTILINE)


def test_traces_are_listed_and_verified():
    assert hi("traces", "list").stdout.split() == traces.list_traces()
    verified = hi("traces", "verify")
    assert verified.exit_code == 0
    here = [name for name in traces.registry() if (traces.DATA / name).is_file()]
    assert (
        verified.stdout.count("ok  ") == len(here) >= 2 * len(traces.list_traces(own=False))
    )  # each has its calibration


@pytest.mark.usefixtures("broken_data")
def test_verification_names_every_file_that_fails():
    result = hi("traces", "verify")
    refused(result, "damaged or missing")
    failed = [name for name, entry in traces.registry().items() if entry.origin.startswith(("hi ", "make "))]
    assert result.stdout.count("BROKEN") == len(failed) > 20
    assert f"and {len(failed) - 1} more" in result.stderr


def test_bad_names_are_refused(monkeypatch):
    monkeypatch.setattr(making, "_needs_models", lambda: None)
    refused(hi("traces", "make", "cifar10-resnet9"), "did you mean cifar10-resnet8")
    refused(hi("book", "--profile", "ful"), "did you mean full")
    refused(hi("run", "fig5_network_tim"), "did you mean fig5_network_time")
    refused(hi("run", "fig2_timing_diagram", "fig5_network_tim"), "did you mean fig5_network_time")
    refused(hi("run", "fig5_network_time", "-p", "alpha=[0.5]"), "did you mean alphas")
    refused(hi("run", "fig5_network_time", "-p", "alphas"), "must look like name=value")
    refused(hi("run", "fig5_network_time", "-p", "alphas=[0.5"), "cannot be read as YAML")


def test_making_traces_without_the_extra_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    refused(hi("traces", "make", "all"), "make models")


def test_serving_needs_a_book(monkeypatch, tmp_path):
    monkeypatch.setattr(places, "HTML", tmp_path / "none")
    refused(hi("serve"), "run make book")


def test_a_failed_build_says_why(monkeypatch):
    def fail(*_):
        raise notebooks.BuildError("fig9 failed:\nNameError")

    monkeypatch.setattr(book, "build", fail)
    result = hi("book")
    assert result.exit_code == 1
    assert "NameError" in result.stderr


def test_several_notebooks_run_one_after_the_other(monkeypatch):
    ran = []
    monkeypatch.setattr(
        notebooks, "run_notebook", lambda name, values, folder, *_: ran.append((name, folder.name, values))
    )
    monkeypatch.setattr(claims, "evaluate", lambda *_: [])
    result = hi("run", "fig2_timing_diagram", "fig5_network_time")
    assert result.exit_code == 0
    assert ran == [(name, name, {}) for name in ("fig2_timing_diagram", "fig5_network_time")]
    assert result.stdout.count("data in") == 2


def test_a_notebook_that_fails_leaves_no_empty_folder(monkeypatch, tmp_path):
    def fail(*_):
        (tmp_path / "mine").mkdir()
        raise notebooks.BuildError("fig5_network_time failed:\nNameError")

    monkeypatch.setattr(notebooks, "run_notebook", fail)
    refused(hi("run", "fig5_network_time", "-o", tmp_path / "mine"), "fig5_network_time failed:")
    assert not (tmp_path / "mine").exists()


def test_a_book_or_the_figures_of_an_own_trace_are_opened(monkeypatch, tmp_path):
    monkeypatch.setattr(book, "build", lambda profile, _: tmp_path / profile / "index.html")
    monkeypatch.setattr(mine, "build", lambda log, **_: tmp_path / log.trace.name / "index.html")
    assert hi("book", "--profile", "quick").stdout == f"open {tmp_path}/quick/index.html  (or: make serve)\n"
    own = tmp_path / "own.csv"
    own.write_text("conf,correct\n0.5,1\n")
    result = hi("book", "--trace", own)
    assert result.stdout == f"open {tmp_path}/own/index.html\n"
    assert "guessed: --confidence 'conf'" in result.stderr


def test_claims_are_a_table_too(monkeypatch):
    found = claims.evaluate(claims.load_claims())
    monkeypatch.setattr(book, "outcomes", lambda *_: found)
    result = hi("check")
    assert result.exit_code == 0
    assert all(each.claim.id in result.stdout for each in found)


def test_an_interruption_says_how_to_go_on(monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(book, "build", interrupt)
    result = hi("book")
    assert result.exit_code == 130
    assert "run the same command again" in result.stderr


@pytest.mark.parametrize("flag", ["--port=-1", "--port=many"])
def test_bad_flags_are_refused(flag):
    result = hi("serve", flag)
    assert result.exit_code == 2
    assert "Traceback" not in result.output


@pytest.mark.parametrize(("path", "status"), [("/", 200), ("/%00", 404), ("/a%00b/c", 404), ("/%2e%2e/secret", 404)])
def test_the_server_answers_odd_paths(path, status, tmp_path, monkeypatch):
    html = tmp_path / "html"
    html.mkdir()
    (html / "index.html").write_text("book")
    (tmp_path / "secret").write_text("no")
    monkeypatch.setattr(places, "HTML", html)
    answers = []

    def serve_one(server):
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        connection = http.client.HTTPConnection(*server.server_address, timeout=10)
        connection.request("GET", path)
        answers.append(connection.getresponse().status)
        thread.join()

    monkeypatch.setattr("http.server.ThreadingHTTPServer.serve_forever", serve_one)
    assert hi("serve", "--port", "0").exit_code == 0
    assert answers == [status]


def test_a_user_without_name_and_home_is_given_one(monkeypatch):
    monkeypatch.setattr("pwd.getpwuid", lambda _: {}["nobody of that number"])
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("HI_DATA", raising=False)
    with pytest.raises(RuntimeError):
        images.source_folder()
    cli.with_a_home()
    assert images.source_folder() == places.ROOT / "_build" / "home" / ".cache" / "batch-hi"


def test_a_build_that_cannot_write_is_one_line(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(places, "BUILD", tmp_path / "file" / "_build")  # as a read-only disk would refuse it
    refused(hi("book"), "file/_build: Not a directory")
