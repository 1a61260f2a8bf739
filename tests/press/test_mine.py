import re

import numpy as np
import pytest

import hi_lib as hi
from hi_lib import traces
from hi_lib.press import mine, notebooks, places


@pytest.fixture
def csv(tmp_path):
    rng = np.random.default_rng(0)
    confidence = rng.random(400)
    path = tmp_path / "my <$x_$ model>.csv"
    rows = zip(confidence, rng.random(400) < confidence, strict=True)
    path.write_text("confidence;correct\n" + "".join(f"{p:.4f};{int(right)}\n" for p, right in rows))
    return path


def test_every_notebook_has_the_parameter():
    for notebook, parameter in mine.TAKES.items():
        value = notebooks.default_parameters(notebook)[parameter]
        assert value in hi.list_traces() or set(value) <= set(hi.list_traces())


def test_the_figures_are_made_on_the_own_trace(csv, tmp_path):
    names, before = hi.list_traces(), {path: path.read_bytes() for path in places.RESULTS.rglob("*.json")}
    page = mine.build(csv, ["fig2_timing_diagram", "fig3_cost_vs_batch_size"], tmp_path / "mine", lambda _: None)
    text = page.read_text()
    assert "<h1>The book&#x27;s figures on my &lt;$x_$ model&gt;</h1>" in text
    assert text.count("<figure>") == text.count("<svg") == 4  # not the time line, which no trace changes
    assert "could not be made" not in text
    assert not re.search(r"(src|href)=.http|<script", text)
    costs = (tmp_path / "mine" / "results" / "fig3_cost_vs_batch_size" / "costs.csv").read_text()
    assert "my <$x_$ model>" in costs
    assert "mobilenet" not in costs
    assert hi.list_traces() == names
    assert before == {path: path.read_bytes() for path in places.RESULTS.rglob("*.json")}


def test_a_notebook_that_fails_is_named(csv, tmp_path, monkeypatch):
    def fail(*_):
        raise notebooks.BuildError("fig2_timing_diagram failed: ValueError: too short\nand a traceback")

    monkeypatch.setattr(notebooks, "run_notebook", fail)
    text = mine.build(csv, ["fig2_timing_diagram"], tmp_path / "mine", lambda _: None).read_text()
    assert "could not be made on your trace: fig2_timing_diagram failed: ValueError: too short</p>" in text


def test_a_shipped_name_is_refused(tmp_path):
    path = tmp_path / "cifar10-resnet8.csv"
    path.write_text("confidence,correct\n0.5,1\n")
    with pytest.raises(ValueError, match="rename it"):
        mine.build(path, folder=tmp_path / "mine")
    assert not (tmp_path / "mine").exists()


def test_traces_of_an_own_folder_are_found(tmp_path, monkeypatch):
    (tmp_path / "mine.csv").write_text("confidence,correct\n0.5,1\n")
    monkeypatch.setenv("HI_TRACES", str(tmp_path))
    assert "mine" in hi.list_traces()
    assert len(hi.load_trace("mine")) == 1
    assert len(traces.load_trace("cifar10-resnet8")) == 10_000
