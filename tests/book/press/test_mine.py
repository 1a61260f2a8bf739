import re

import matplotlib.pyplot as plt
import numpy as np
import pytest

import hi_lib as hi
from hi_book.figures import style
from hi_book.press import mine, notebooks, places
from hi_lib import traces
from hi_lib.logs import reading
from hi_lib.logs.columns import Columns


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


def built(path, *where, **more):
    return mine.build(reading.read(path), *where, **more)


def test_the_figures_are_made_on_the_own_trace(csv, tmp_path):
    names, before = hi.list_traces(), {path: path.read_bytes() for path in places.RESULTS.rglob("*.json")}
    page = built(csv, ["fig2_timing_diagram", "fig3_cost_vs_batch_size"], tmp_path / "mine", lambda _: None)
    text = page.read_text()
    assert "<h1>The book&#x27;s figures on my &lt;$x_$ model&gt;</h1>" in text
    assert text.count("<figure>") == text.count("<svg") == 3  # not the time line, which no trace changes
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
    page = tmp_path / "mine" / "index.html"
    with pytest.raises(
        notebooks.BuildError, match=r"1 of 1 pages could not be made, .*: fig2_timing_diagram failed: V"
    ):
        built(csv, ["fig2_timing_diagram"], page.parent, lambda _: None)
    text = page.read_text()
    assert "could not be made on your trace: fig2_timing_diagram failed: ValueError: too short</p>" in text


def test_a_shipped_name_is_refused(tmp_path):
    path = tmp_path / "cifar10-resnet8.csv"
    path.write_text("confidence,correct\n0.5,1\n")
    with pytest.raises(ValueError, match="rename it"):
        built(path, folder=tmp_path / "mine")
    assert not (tmp_path / "mine").exists()


def test_traces_of_an_own_folder_are_found(tmp_path, monkeypatch):
    (tmp_path / "mine.csv").write_text("confidence,correct\n0.5,1\n")
    monkeypatch.setenv("HI_TRACES", str(tmp_path))
    assert "mine" in hi.list_traces()
    assert len(hi.load_trace("mine")) == 1
    assert len(traces.load_trace("cifar10-resnet8")) == 10_000


LOG = "True Class,SML Prediction,SML Confidence,LML Prediction\n1,1,0.75,\n2,1,0.25,2\n"


def test_a_log_stands_for_a_trace_in_a_notebook(tmp_path):
    path = tmp_path / "testbed.csv"
    path.write_text(LOG)
    given = {"traces": ["cifar10-resnet8", str(path)], "shuffles": 3}
    found, environment, notes = mine.with_own_traces("fig3_cost_vs_batch_size", given, tmp_path / "run")
    assert found == {"traces": ["cifar10-resnet8", "testbed"], "shuffles": 3}
    assert environment == {"HI_TRACES": str(tmp_path / "run" / "traces")}
    assert (tmp_path / "run" / "traces" / "testbed.csv").read_text() == (
        "confidence,correct,lml_correct\n0.75,1,\n0.25,0,1\n"
    )
    assert "confidence='SML Confidence'" in notes[0]
    assert given["traces"][1] == str(path)


def test_other_parameters_are_left_alone(tmp_path):
    (tmp_path / "run").mkdir()
    given = {"offload_ratio": 0.2, "alphas": ["mine.csv"]}
    assert mine.with_own_traces("fig5_network_time", given, tmp_path / "run") == (given, {}, [])
    assert mine.with_own_traces("fig2_timing_diagram", {"trace": "cifar10-resnet8"}, tmp_path / "run")[1:] == ({}, [])


def test_options_for_columns_reach_the_page(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("sure,ok\n" + "".join(f"{k / 40},{k % 3 > 0:d}\n" for k in range(40)))
    columns = Columns(confidence="sure", correct="ok")
    log = reading.read(path, columns)
    page = mine.build(log, [], tmp_path / "mine", lambda _: None)
    assert "Recommended: " in page.read_text()
    assert log.notes == []


def test_a_name_in_another_script_is_text_in_the_figures(csv, tmp_path):
    own = csv.rename(csv.with_name("日本 модель 모델.csv"))
    page = built(own, ["fig2_timing_diagram"], tmp_path / "mine", lambda _: None).read_text()
    assert re.search(r"<text[^>]*>[^<]*日本 модель 모델", page)


def test_a_figure_is_the_same_whichever_way_its_text_is_drawn():
    def drawn(how, height):
        with plt.rc_context({"svg.fonttype": how, "svg.hashsalt": "batch-hi"}):
            figure, axis = plt.subplots()
            axis.plot([0, height])
            axis.set_title("cost")
            return mine._drawn(style.as_svg(figure))

    assert drawn("none", 1) == drawn("path", 1) != drawn("path", 2)


def test_signs_that_our_font_lacks_are_known():
    assert style.in_our_font("модель τ²")
    assert not style.in_our_font("日本")
