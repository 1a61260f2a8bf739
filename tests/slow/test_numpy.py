"""The oldest NumPy that pyproject.toml allows, in an environment of its own, finds what the pinned one found."""

import json
import re
import runpy
import subprocess
import sys
import tomllib

import pandas as pd
import pytest

from hi_book.press import places

# Sums are taken in another order; a deviation over seeds loses up to five digits more than a mean.
RELATIVE = 1e-9


def test_the_oldest_numpy_gives_the_same_results(checkout, tmp_path):
    needed = tomllib.loads((checkout / "pyproject.toml").read_text())["project"]["dependencies"]
    oldest = re.search(r"numpy>=([\d.]+)", " ".join(needed))[1]
    pins = (checkout / "requirements.lock").read_text()
    constraints = re.sub(r"^numpy==.*(\n +--hash.*)*", f"numpy=={oldest}", pins, flags=re.MULTILINE)
    versions = runpy.run_path(str(places.ROOT / "tools" / "versions.py"))
    python = versions["environment"](sys.executable, constraints, checkout, tmp_path)
    found = subprocess.run([python, "-c", "import numpy; print(numpy.__version__)"], capture_output=True, text=True)
    assert found.stdout.startswith(oldest)
    done = subprocess.run([python.with_name("hi"), "check"], cwd=checkout, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr  # every verdict is the reviewed one
    for path in sorted(places.RESULTS.rglob("*.*")):
        again = checkout / path.relative_to(places.ROOT)
        if path.suffix == ".csv":
            pd.testing.assert_frame_equal(pd.read_csv(again), pd.read_csv(path), rtol=RELATIVE, atol=1e-12)
        elif path.suffix == ".json":
            found, expected = (json.loads(each.read_text()) for each in (again, path))
            assert split(found)[0] == split(expected)[0]
            assert split(found)[1] == pytest.approx(split(expected)[1], rel=RELATIVE, abs=1e-12)


def split(values):
    """Texts, yes and no; numbers."""
    other = {key: value for key, value in values.items() if isinstance(value, str | bool)}
    return other, {key: value for key, value in values.items() if key not in other}
