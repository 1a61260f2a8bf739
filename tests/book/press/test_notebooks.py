"""Every executed notebook runs again in a fresh kernel and shows the same; its figures are whole."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hi_book.press import notebooks, places


@pytest.mark.parametrize("name", notebooks.notebook_names())
def test_a_second_run_shows_the_same(name, tmp_path):
    executed = places.EXECUTED / f"{name}.ipynb"
    assert executed.is_file(), "run make book first"
    command = [sys.executable, "-m", "pytest", "--nbval", executed, "-q", "-p", "no:cacheprovider", "-W", "default"]
    command += ["--nbval-sanitize-with", Path(__file__).with_name("sanitize.cfg"), "--rootdir", places.EXECUTED]
    environment = os.environ | {"HI_RESULTS": str(tmp_path), "JUPYTER_PREFER_ENV_PATH": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:]
    again, before = tmp_path / name, places.RESULTS / name
    assert {p.name for p in again.iterdir()} == {p.name for p in before.iterdir()}
    for path in again.iterdir():
        assert path.read_bytes() == (before / path.name).read_bytes(), path.name


@pytest.mark.parametrize("name", notebooks.notebook_names())
def test_no_legend_is_empty(name):
    cells = json.loads((places.EXECUTED / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    outputs = [output.get("data", {}) for cell in cells for output in cell.get("outputs", [])]
    for svg in ["".join(data["image/svg+xml"]) for data in outputs if "image/svg+xml" in data]:
        for legend in re.split(r'id="legend_', svg)[1:]:
            assert 'id="text_' in legend
