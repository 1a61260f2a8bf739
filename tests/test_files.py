"""Files are written whole or not at all, and never over what is read."""

import errno
import os
import re
import resource
import runpy
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hi_book.commands import main, outputs
from hi_book.commands.outputs import checked_output
from hi_book.press import places
from hi_lib import files


def test_only_files_are_written_to(tmp_path):
    target, link = tmp_path / "target.txt", tmp_path / "link.txt"
    target.write_text("old")
    link.symlink_to(target)
    files.write_atomically(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    for path in (tmp_path, Path("/dev/null"), Path()):
        with pytest.raises(ValueError, match="cannot be written: it is there, and not a file"):
            files.write_atomically(path, "text")
    for path in (target / "below.txt", tmp_path / ("x" * 300)):
        with pytest.raises(ValueError, match="cannot be written"):
            files.write_atomically(path, "text")
    assert Path("/dev/null").is_char_device()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.txt", "target.txt"]


def test_a_circle_of_links_is_no_place_to_write(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(ValueError, match="cannot be written: its links lead in a circle"):
        files.write_atomically(tmp_path / "a", "text")
    assert checked_output("--html", tmp_path / "a") == tmp_path / "a"


def test_a_full_disk_leaves_the_old_file(tmp_path):
    path = tmp_path / "x.txt"
    path.write_text("old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(ValueError, match=r"x\.txt cannot be written: File too large"):
            files.write_atomically(path, "x" * 9000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [each.read_text() for each in tmp_path.iterdir()] == ["old"]


def test_a_read_only_folder_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere
    with pytest.raises(ValueError, match=r"x\.txt cannot be written: its folder is read-only"):
        files.write_atomically(tmp_path / "x.txt", "text")
    assert list(tmp_path.iterdir()) == []


OWN = ["data/registry.txt", "data/traces/new.csv", "notebooks", "hi_lib/checks.py", ".venv/bin/hi", "results/x.csv"]
OWN += ["Makefile", "makefile", "README.md", "pyproject.toml", "_config.yml", ".venv.json", "book/../LICENSE", ""]


@pytest.mark.parametrize("name", OWN)
def test_what_belongs_to_the_project_is_no_output(name, tmp_path):
    with pytest.raises(ValueError, match="belongs to the project"):
        checked_output("--out", files.ROOT / name)
    (tmp_path / "link").symlink_to(files.ROOT / name)
    with pytest.raises(ValueError, match="belongs to the project"):
        checked_output("--out", tmp_path / "link")


def test_a_new_name_beside_the_projects_own_is_an_output():
    for name in ("mine.csv", "_build/mine.html", "Makefile.csv", "data2/x.csv"):
        assert checked_output("--out", files.ROOT / name) == files.ROOT / name


def test_all_that_the_project_is_made_of_is_known():
    tracked = runpy.run_path(str(files.ROOT / "tools" / "archive.py"))["source_files"]()
    assert {Path(name).parts[0] for name in tracked} == set(outputs.SOURCES)


@pytest.mark.parametrize(
    "command",
    [
        "evaluate cifar10-resnet8 --html README.md",
        "sweep --out Makefile --trace cifar10-resnet8",
        "run fig5_network_time -o .",
        "run fig5_network_time --output _config.yml",
        "timing measure --onnx model.onnx --out pyproject.toml",
        "live device --state LICENSE",
        "live device --log .",
        "live keys .",
    ],
)
def test_no_command_writes_over_the_project(command, monkeypatch):
    monkeypatch.chdir(files.ROOT)
    result = CliRunner().invoke(main.app, command.split())
    assert result.exit_code == 2
    assert re.search(r"^error: .* would change .*, which belongs to the project: choose another place$", result.stderr)


def test_an_output_is_none_of_the_inputs_by_any_name(tmp_path):
    given = tmp_path / "given.csv"
    given.write_text("x")
    (tmp_path / "soft").symlink_to(given)
    os.link(given, tmp_path / "hard")
    for name in ("given.csv", "soft", "hard", "../" + tmp_path.name + "/given.csv"):
        with pytest.raises(ValueError, match="would replace"):
            checked_output("--out", tmp_path / name, [tmp_path / "other", given])
    assert checked_output("--out", tmp_path / "new", [given, tmp_path / "other"])


@pytest.mark.parametrize("other_file_system", [False, True])
def test_folders_and_files_move_across_file_systems(other_file_system, tmp_path, monkeypatch):
    if other_file_system:
        replace = Path.replace

        def refuse(self, target):
            if self.parent.name != Path(target).parent.name:
                raise OSError(errno.EXDEV, "Invalid cross-device link")
            return replace(self, target)

        monkeypatch.setattr(Path, "replace", refuse)
    for folder in ("here", "there/old"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "there/old/stale").touch()
    (tmp_path / "here/new").mkdir()
    (tmp_path / "here/new/x").write_text("content")
    (tmp_path / "here/file").write_text("more")
    places.move(tmp_path / "here/new", tmp_path / "there/old")
    places.move(tmp_path / "here/file", tmp_path / "there/file")
    assert not list((tmp_path / "here").iterdir())
    assert sorted(path.name for path in (tmp_path / "there").iterdir()) == ["file", "old"]
    assert [path.read_text() for path in (tmp_path / "there/old").iterdir()] == ["content"]


def test_a_text_may_have_as_many_bytes_as_is_said(tmp_path, monkeypatch):
    path = tmp_path / "text"
    path.write_text("x" * 70_000)
    assert len(files.small_text(path)) == 70_000
    monkeypatch.setattr(files, "_MOST_OF_TEXT", 4)
    path.write_text("four")
    assert files.small_text(path) == "four"
    path.write_text("fives")
    with pytest.raises(ValueError, match="it has more than 4 bytes"):
        files.small_text(path)
