"""Every executed notebook runs again in a fresh kernel and shows the same; its figures are whole."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import sample

from hi_book.press import notebooks, places

# The others take a second or more of each core: `make test-slow` runs all.
QUICK = [name for name in notebooks.notebook_names() if re.match("fig[256]|speed", name)]


@pytest.mark.parametrize("name", sample(notebooks.notebook_names(), QUICK))
def test_the_press_makes_the_same_again(name, tmp_path):
    executed = places.EXECUTED / f"{name}.ipynb"
    assert executed.is_file(), "run make book first"
    notebooks.run_notebook(name, notebooks.load_parameters("full")[name], tmp_path)
    assert (tmp_path / executed.name).read_bytes() == executed.read_bytes()
    again, before = tmp_path / "results" / name, places.RESULTS / name
    assert {path.name for path in again.iterdir()} == {path.name for path in before.iterdir()}
    for path in again.iterdir():
        assert path.read_bytes() == (before / path.name).read_bytes(), path.name


def test_a_foreign_runner_shows_the_same():
    """nbval, which knows nothing of the press, in a kernel of its own."""
    executed = places.EXECUTED / "fig5_network_time.ipynb"
    command = [sys.executable, "-m", "pytest", "--nbval", executed, "-q", "-p", "no:cacheprovider", "-W", "default"]
    command += ["--nbval-sanitize-with", Path(__file__).with_name("sanitize.cfg"), "--rootdir", places.EXECUTED]
    environment = os.environ | {"HI_RESULTS": str(places.BUILD / "nbval"), "JUPYTER_PREFER_ENV_PATH": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:]


@pytest.mark.parametrize("name", notebooks.notebook_names())
def test_no_legend_is_empty(name):
    cells = json.loads((places.EXECUTED / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    outputs = [output.get("data", {}) for cell in cells for output in cell.get("outputs", [])]
    for svg in ["".join(data["image/svg+xml"]) for data in outputs if "image/svg+xml" in data]:
        for legend in re.split(r'id="legend_', svg)[1:]:
            assert 'id="text_' in legend
