"""The three worked logs of the book: what the page prints is what the commands print."""

import re
import shlex

import pytest
from typer.testing import CliRunner

from hi_book.commands import main as cli
from hi_book.press import places

PAGE = (places.PAGES / "rerun.md").read_text(encoding="utf-8")
WORKED = re.findall(r"```console\n\$ \.venv/bin/hi ([^\n]*)\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the page's own code has written its logs."""
    folder = tmp_path_factory.mktemp("logs")
    (code,) = (block for block in re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL) if "testbed.csv" in block)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        exec(code, {})
    return folder


@pytest.mark.parametrize(("command", "shown"), WORKED)
def test_the_page_shows_what_the_command_prints(folder, monkeypatch, command, shown):
    monkeypatch.chdir(folder)
    result = CliRunner().invoke(cli.app, shlex.split(command))
    assert result.exit_code == 0, result.stderr
    printed = iter([*result.stderr.splitlines(), *result.stdout.splitlines()])
    for line in shown.splitlines():
        assert line in ("…", "") or line in printed, line  # in this order: each search goes on behind the last


def test_all_three_logs_are_worked():
    assert len(WORKED) == 3
