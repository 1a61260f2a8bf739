"""What SECURITY.md promises: each promise names its tests, and there are such tests."""

import ast
import functools
import json
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from hi_book.commands.main import app
from hi_lib.logs import reading

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "SECURITY.md").read_text(encoding="utf-8")


@functools.cache
def names_in(file):
    """Names of the tests in a file."""
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def rows():
    return [row for row in re.findall(r"^\| (.*) \| (.*) \|$", TEXT, re.MULTILINE) if row != ("promise", "tests")]


def test_every_promise_names_its_tests_and_they_exist():
    assert len(rows()) > 15
    for promise, named in rows():
        found = re.fullmatch(r"`[^`]+`(?:, `[^`]+`)*", named)
        assert found, promise
        for test in re.findall(r"`([^`]+)`", named):
            file, _, name = test.partition("::")
            assert name in names_in(file), test
    assert TEXT.count("::test_") == sum(named.count("::test_") for _, named in rows())


class Harm:
    """What would run, if a file that holds it were unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


@pytest.mark.parametrize("kind", ["npy", "npz", "pickle", "csv", "json", "state"])
def test_what_a_file_holds_is_never_run(tmp_path, kind):
    marker, file = tmp_path / "it ran", tmp_path / f"log.{kind}"
    harm = np.array([Harm(marker)], dtype=object)
    if kind == "npy":
        np.save(file, harm)
    elif kind == "npz":
        np.savez(file, confidence=harm, correct=harm)
    elif kind in ("pickle", "state"):
        file.write_bytes(pickle.dumps({"next": 0, "learner": Harm(marker)}))
    elif kind == "csv":
        file.write_text(f"confidence,correct\n__import__('pathlib').Path({str(marker)!r}).touch(),1\n")
    else:
        file.write_text(json.dumps([{"confidence": f"open({str(marker)!r}, 'w')", "correct": 1}]))
    if kind == "state":
        done = CliRunner().invoke(app, ["live", "device", "--server", "tcp://127.0.0.1:1", "--state", str(file)])
        assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    else:
        with pytest.raises(ValueError, match="log"):
            reading.read(file)
    assert not marker.exists()
    Harm(marker).__reduce__()[0](marker)
    assert marker.exists()  # it would have
