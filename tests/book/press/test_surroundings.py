"""What a user has set for other work changes nothing that is made here."""

import os
import subprocess
import sys

import matplotlib.pyplot as plt
import pytest
from hostile_settings import hostile

import hi_lib as hi
from hi_book.press import own_page, places, surroundings
from hi_lib.advise import evaluation

MADE = """
import sys
from pathlib import Path
from hi_book.figures import style
from hi_book.press import notebooks
folder = Path(sys.argv[1])
notebooks.run_notebook("fig5_network_time", {}, folder / "run")
with style.house_style():
    figure, axes = style.panels(4, 2)
    axes[0].plot([0, 1], label="$τ_1$")
    style.shared_legend(figure, 1)
    (folder / "outside.svg").write_text(style.as_svg(figure))
"""


@pytest.mark.slow
def test_a_users_settings_change_no_figure_and_no_number(tmp_path):
    plain, loud = tmp_path / "plain", tmp_path / "loud"
    plain.mkdir()
    loud.mkdir()
    made = []
    for folder, environment in ((plain, dict(os.environ)), (loud, hostile(loud))):
        command = [sys.executable, "-c", MADE, folder]
        made.append(subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True))
    for process in made:
        said = process.communicate()[1]
        assert process.returncode == 0, said
    for name in ("outside.svg", "run/fig5_network_time.ipynb", "run/results/fig5_network_time/values.json"):
        text = (plain / name).read_text()
        assert (loud / name).read_text() == text
        assert name.endswith(".json") or "<svg" in text
    profile = loud / ".ipython" / "profile_default"
    assert {path.name for path in profile.iterdir()} == {"startup", "ipython_kernel_config.py"}


def test_the_page_of_an_evaluation_is_drawn_in_our_style():
    found = evaluation.evaluate(hi.synthetic_trace(200, 0), 0.5)
    page = own_page.as_html(found)
    with plt.rc_context({"figure.facecolor": "red", "lines.linewidth": 9}):
        assert own_page.as_html(found) == page


def test_whatever_draws_does_so_in_our_style():
    for path in places.NOTEBOOKS.glob("*.ipynb"):
        assert "style.use_style()" in path.read_text(), path
    for folder in (places.ROOT / "hi_lib", places.ROOT / "tools", places.PAGES):
        for path in folder.rglob("*.py"):
            if path.parent.name != "figures" and "import matplotlib.pyplot" in (text := path.read_text()):
                assert "style.house_style()" in text, path


@pytest.mark.parametrize(
    "name",
    ["PYTHONOPTIMIZE", "PYTHONWARNINGS", "MATPLOTLIBRC", "JPY_PARENT_PID", "HI_TRACES", "LANG", "NUMBA_DISABLE_JIT"],
)
def test_settings_stay_outside(name, monkeypatch):
    monkeypatch.setenv(name, "1")
    assert name not in surroundings.variables()
    assert surroundings.variables(**{name: "2"})[name] == "2"


@pytest.mark.parametrize(
    "name", ["PATH", "HOME", "OPENBLAS_CORETYPE", "OMP_NUM_THREADS", "MPLCONFIGDIR", "NUMBA_CACHE_DIR"]
)
def test_what_describes_the_machine_is_passed_on(name, monkeypatch):
    monkeypatch.setenv(name, "1")
    assert surroundings.variables()[name] == "1"
