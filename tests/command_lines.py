"""Command lines that are nearly right, and what must hold for each of them."""

import contextlib
import os
from pathlib import Path
from unittest.mock import Mock

import pytest
from hypothesis import strategies as st
from typer.main import get_command
from typer.testing import CliRunner

from hi_book.commands import live, making
from hi_book.commands import main as cli
from hi_book.press import book, lab, mine, notebooks, places
from hi_lib import checks, traces
from hi_lib.studies import sweeps
from hi_live import device, server


def commands(command, path=()):
    """Every command with its parameters."""
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, (*path, name))
    if not hasattr(command, "commands"):
        yield path, command.params


COMMANDS = dict(commands(get_command(cli.app)))
# The doctor looks at everything, whatever its flags are, for longer than an example may take.
HARMLESS = {path: params for path, params in COMMANDS.items() if path != ("doctor",)}
# Places that are there when a command line is tried, and names that are hard to handle.
PLACES = [
    "good.csv",
    "folder",
    "folder/x.csv",
    "circle",
    "nowhere",
    "big.csv",
    "\x1b[31mred.csv",
    "new\nline.csv",
    "$x_$.csv",
]
PLACES += [
    "absent/x.csv",
    "/dev/null",
    "/dev/full",
    "/proc/x.csv",
    "..",
    "x" * 300,
    "日本.csv",
    "",
    " ",
    "good.csv/below",
]
PLACES += [str(traces.DATA / "traces" / "cifar10-resnet8.csv"), str(traces.REGISTRY), str(places.NOTEBOOKS)]
WORDS = [
    "0",
    "-1",
    "1e400",
    "nan",
    "0:3",
    "0:100000000000",
    "1,2",
    "tuned",
    "hil-f",
    "α",
    "full",
    "a=b",
    "a=[",
    "--",
    "-p",
]
WORDS += [
    "offload_ratio=1e-1",
    "offload_ratio=yes",
    "a=&x [*x, *x]",
    "cifar10-resnet8",
    "fig5_network_time",
    "[" * 2000,
]
arguments = st.text(max_size=8) | st.sampled_from(WORDS) | st.sampled_from(PLACES)


def prepare_places():
    """Files, links and folders in the current folder that PLACES names."""
    for name in ("good.csv", "\x1b[31mred.csv", "new\nline.csv", "$x_$.csv", "日本.csv"):
        Path(name).write_text("confidence,correct\n0.25,0\n0.5,1\n0.75,1\n")
    Path("big.csv").write_text("confidence,correct\n0.5," + "7" * 100_000 + "x\n")
    Path("folder").mkdir()
    Path("circle").symlink_to("circle")
    Path("nowhere").symlink_to("absent")


@st.composite
def command_lines(draw):
    """A command and words after it: its own flags, right and wrong values and places, in any order."""
    path, parameters = draw(st.sampled_from(sorted(HARMLESS.items())))
    flags = [option for each in parameters for option in each.opts if option.startswith("-")]
    pairs = st.tuples(st.sampled_from([*flags, "--unknown"]), arguments).map(list)
    parts = draw(st.lists(pairs | arguments.map(lambda word: [word]), max_size=5))
    return [*path, *(word for part in parts for word in part)]


def understood_or_refused_in_one_line(line, folder):
    """Run a command line in the empty folder; it must end with 0, 1 or 2, say why in one line, and leave no part."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        prepare_places()
        patch.setenv("HI_TRACES", str(folder / "own"))  # not the project's own folder
        before = {path: path.read_bytes() for path in Path().iterdir() if path.is_file()}
        # What a right line would set off.
        for name, gives in {"build": Path("page"), "outcomes": []}.items():
            patch.setattr(book, name, Mock(return_value=gives))
        patch.setattr(notebooks, "run_notebook", Mock(return_value=None))
        patch.setattr(mine, "build", lambda log, *_, **__: log.trace.name)
        patch.setattr(lab, "prepare", Mock(return_value=Path("lab")))
        patch.setattr(lab, "command", Mock(return_value=["lab"]))
        patch.setattr(os, "execve", Mock())  # JupyterLab would take the place of the tests
        patch.setattr("http.server.ThreadingHTTPServer.serve_forever", lambda *_: None)
        patch.setattr(making, "_needs_models", lambda: checks.choice("models", "none", []))
        patch.setattr(sweeps, "_PATIENCE", 0.1)
        patch.setattr(device.Device, "run", Mock(side_effect=ValueError("nothing is measured here")))
        patch.setattr(server, "serve", Mock(return_value=server.Served(0, 0, 0)))
        patch.setattr(live, "served", lambda *_: contextlib.nullcontext("tcp://127.0.0.1:1"))
        patch.setattr(live, "_on_hosts", Mock())
        result = CliRunner().invoke(cli.app, line)
        left = [each for each in Path().iterdir() if each.suffix == ".part"]
        # What was given is only replaced where it was named as an output.
        if not {"--out", "--html"} & set(line):
            assert before == {path: path.read_bytes() for path in before}
    assert result.exception is None or isinstance(result.exception, SystemExit), (line, result.exception)
    assert result.exit_code in (0, 1, 2), (line, result.exit_code)
    assert "Traceback" not in result.output
    assert "\x1b" not in result.output
    assert left == []
    if result.exit_code == 2 and result.stderr:
        assert result.stderr.count("\n") == 1, (line, result.stderr)
        assert len(result.stderr) < 400, (line, result.stderr)
