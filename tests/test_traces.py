import gzip
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hi_lib as hi
from hi_book.makers import registering
from hi_lib import files, paper, traces


@pytest.mark.parametrize(
    ("confidence", "correct", "says"),
    [
        ([], [], "at least one value"),
        ([[0.5]], [[1]], "one-dimensional"),
        ([0.5, np.nan], [1, 0], r"confidence\[1\] must be in \[0, 1\]"),
        ([0.5, 93.0], [1, 0], "a percentage"),
        ([-0.1], [1], "must be in"),
        ([0.5, 0.6], [1], "shape"),
        ([0.5, 0.6], [1, 2], r"correct\[1\] must be 0 or 1"),
        ([0.5], [np.nan], "must be 0 or 1"),
        (["high"], [1], "numeric"),
        ([None], [1], "numeric"),
        (["0.5"], [1], "numeric"),
        (b"0.5", [1], "numeric"),
        ([10**400], [1], "numeric"),
        ([0.5 + 0j], [1], "numeric"),
        (np.array(["2020-01-01"], dtype="datetime64"), [1], "numeric"),
        (np.ma.masked_array([0.5, 0.6], [0, 1]), [1, 0], "masked"),
    ],
)
def test_a_bad_trace_is_refused(confidence, correct, says):
    with pytest.raises(ValueError, match=says):
        hi.Trace(confidence, correct)


def test_a_trace_keeps_its_own_copy():
    values = np.array([0.25, 0.5])
    trace = hi.Trace(values, [1, 0])
    values[0] = 1
    assert trace.confidence[0] == 0.25
    with pytest.raises(ValueError, match="read-only"):
        trace.confidence[0] = 1


def test_shuffling_permutes_samples_together():
    second = [0.05, 0.1, 0.3, 0.2]
    trace = hi.Trace([0.1, 0.2, 0.3, 0.4], [0, 1, 0, 1], lml_correct=[1, 1, 0, 1], second_confidence=second)
    shuffled = trace.shuffled(seed=3)
    known = [zip(t.confidence, t.correct, t.lml_correct, t.second_confidence, strict=True) for t in (trace, shuffled)]
    assert set(known[0]) == set(known[1])
    assert (trace.shuffled(3).confidence == shuffled.confidence).all()
    assert any((trace.shuffled(seed).confidence != shuffled.confidence).any() for seed in range(5))


def test_the_second_value_is_read_where_there_is_one(tmp_path):
    path = tmp_path / "two.csv"
    path.write_text("confidence,second_confidence,correct\n0.5,0.25,1\n0.75,0.125,0\n")
    trace = hi.Trace.from_csv(path)
    assert trace.second_confidence.tolist() == [0.25, 0.125]
    assert trace.chosen(np.array([1])).second_confidence.tolist() == [0.125]
    path.write_text("confidence,correct\n0.5,1\n")
    assert hi.Trace.from_csv(path).second_confidence is None
    path.write_text("confidence,second_confidence,correct\n0.5,0.75,1\n")
    with pytest.raises(ValueError, match=r"two\.csv: second_confidence must be at most confidence, got 0\.75"):
        hi.Trace.from_csv(path)
    with pytest.raises(ValueError, match="second_confidence must hold 2 values, got 1"):
        hi.Trace([0.5, 0.6], [1, 0], second_confidence=[0.1])


def test_shipped_eight_bit_traces_know_the_second_value():
    """Both are multiples of 1/256, and all outputs add up to one: the two to no more, but for the rounding of each."""
    names = hi.list_traces(own=False)
    known = [name for name in names if hi.load_trace(name).second_confidence is not None]
    assert known == [name for name in names if "mobilenet" in name]
    for name in known:
        trace = hi.load_trace(name)
        two = np.array([trace.confidence, trace.second_confidence]) * 256
        assert (two == two.round()).all()
        assert (two.sum(axis=0) <= 256 + 1).all()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "cannot be read"),
        ("confidence\n0.5\n", "no column correct"),
        ("confidence,correct\n", "at least one value"),
        ("confidence,correct\n50,1\n", "a percentage"),
        ("confidence,correct\n0.5,\n", "line 2: correct must be 0 or 1, got empty"),
        ("confidence;correct\n0,5;1\n;0\nnan;1\n", r"line 3: confidence must be numeric, got empty \(2 such"),
        ("confidence;correct\n93,5;1\n", "a percentage"),
        ("confidence,correct\n93.5%,1\n", "a percentage"),
        ('confidence,correct\n"0,9",1\n', "decimal commas need another separator"),
        ("confidence,correct\n0.5,1\n0.5,1,2\n", "cannot be read: Expected 2 fields in line 3, saw 3"),
        ('confidence,correct\n"0,935",1\n', "line 2: confidence must be numeric, got '0,935'"),
        ("confidence,correct\nhigh,1\n", "line 2: confidence must be numeric, got 'high'"),
        ("confidence,correct\n0.5,1\n0.6,yes\n", r"line 3: correct must be 0 or 1, got 'yes' \(1 such"),
        ("confidence,correct\n0.5,1,0\n0.6,0,1\n", "more values than its header"),
        ("\x00\x01", "no column"),
        ('"' + "x" * 200_000, "cannot be read"),
        ("confidence,correct,confidence\n0.5,1,0.6\n", "the column confidence more than once"),
    ],
)
def test_a_bad_csv_is_refused_by_name(tmp_path, text, says):
    path = tmp_path / "mine.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=says) as caught:
        hi.Trace.from_csv(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(("separator", "decimal"), [(",", "."), (";", "."), (";", ","), ("\t", "."), ("\t", ",")])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_spreadsheets_of_all_countries_are_read(tmp_path, separator, end, mark, decimal):
    rows = [["image", "correct", "confidence", "note"], ["a", "1", "0.25", "x"], ["b", "0", "0.5", ""]]
    lines = [separator.join(cell.replace(".", decimal) for cell in row) for row in rows]
    path = tmp_path / "mine.csv"
    path.write_text(mark + end.join(lines) + end, encoding="utf-8", newline="")
    trace = hi.Trace.from_csv(path)
    assert trace.confidence.tolist() == [0.25, 0.5]
    assert trace.correct.tolist() == [True, False]


def test_a_missing_csv_is_refused(tmp_path):
    with pytest.raises(ValueError, match="cannot be read"):
        hi.Trace.from_csv(tmp_path / "none.csv")


def test_a_device_that_never_ends_is_refused():
    with pytest.raises(ValueError, match="/dev/zero cannot be read: its first line has more than 1,000,000 characters"):
        hi.Trace.from_csv("/dev/zero")


def test_csv_keeps_full_precision(tmp_path):
    value = 0.1 + 0.2
    path = tmp_path / "mine.csv"
    path.write_text(f"correct,confidence,other\n1,{value!r},x\n0,0.5,y\n")
    trace = hi.Trace.from_csv(path)
    assert trace.confidence[0] == value
    assert trace.name == "mine"


@pytest.mark.parametrize("name", hi.list_traces(own=False))
def test_shipped_traces_agree_with_their_record(name):
    import json

    trace = hi.load_trace(name)
    about = json.loads((traces.TRACES / f"{name}.json").read_text())
    assert about["samples"] == len(trace)
    assert about["accuracy"] == pytest.approx(trace.accuracy, abs=1e-12)
    for source in ("model", "images"):
        assert about[f"{source}_sha256"] == traces.registry()[about[source]].sha256


@pytest.mark.parametrize("name", hi.list_traces(own=False))
def test_a_shipped_trace_says_whose_times_go_with_it(name):
    about = traces.record(name)
    assert paper.setting_of(name) is paper.SETTINGS[about["setting"]]
    assert about["images"] == {"imagenette": "imagenette/val.zip", "cifar10": "cifar10/test.zip"}[about["setting"]]
    assert traces.name_of_file(traces.TRACES / f"{name}.csv") == name


def test_a_trace_without_a_record_goes_with_the_papers_first_setting(tmp_path, monkeypatch):
    monkeypatch.setenv("HI_TRACES", str(tmp_path))
    (tmp_path / "cifar10-mine.csv").write_text("confidence,correct\n0.5,1\n")
    assert traces.record("cifar10-mine") == {}
    assert paper.setting_of("cifar10-mine") is paper.setting_of("no-such-trace") is hi.IMAGENETTE
    (tmp_path / "cifar10-mine.json").write_text('{"setting": "cifar10"}')
    assert paper.setting_of("cifar10-mine") is hi.CIFAR10
    (tmp_path / "cifar10-mine.json").write_text('{"setting": "cifar"}')
    with pytest.raises(ValueError, match="the setting of cifar10-mine must be one of imagenette, cifar10"):
        paper.setting_of("cifar10-mine")
    assert traces.name_of_file(tmp_path / "other.csv") is None


@pytest.mark.parametrize("text", ["", "[1]", "{"])
def test_a_record_that_is_none_is_refused(tmp_path, monkeypatch, text):
    monkeypatch.setenv("HI_TRACES", str(tmp_path))
    (tmp_path / "mine.csv").write_text("confidence,correct\n0.5,1\n")
    (tmp_path / "mine.json").write_text(text)
    with pytest.raises(ValueError, match=r"mine.json must hold a JSON object"):
        traces.record("mine")


def test_an_unknown_trace_names_close_ones():
    with pytest.raises(ValueError, match="did you mean cifar10-resnet8"):
        hi.load_trace("cifar10-resnet9")


def test_a_path_is_no_name():
    with pytest.raises(ValueError, match="trace must be one of"):
        hi.load_trace("data/traces/cifar10-resnet8.csv")


def test_a_changed_file_is_refused_by_name_and_by_path(tmp_path, monkeypatch):
    path = tmp_path / "traces" / "cifar10-resnet8.csv"
    path.parent.mkdir()
    path.write_text(re.sub(r",1\n", ",0\n", (traces.TRACES / path.name).read_text(), count=1))
    monkeypatch.setattr(traces, "DATA", tmp_path)
    for read in (lambda: hi.load_trace(path.stem), lambda: hi.Trace.from_csv(path)):
        with pytest.raises(ValueError, match="damaged or was swapped"):
            read()


def test_a_trace_of_the_users_own_needs_no_hash(tmp_path, monkeypatch):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "mine.csv").write_text("confidence,correct\n0.5,1\n")
    monkeypatch.setattr(traces, "DATA", tmp_path)
    monkeypatch.setattr(traces, "TRACES", tmp_path / "traces")
    assert hi.list_traces() == ["mine"]
    assert len(hi.load_trace("mine")) == 1
    assert traces.files_read()["own/mine.csv"] == files.sha256(tmp_path / "own" / "mine.csv")


def test_a_stray_file_among_the_projects_traces_is_an_own_one(tmp_path, monkeypatch):
    for name in ("cifar10-resnet8", "cifar10-mine"):
        (tmp_path / f"{name}.csv").write_text("confidence,correct\n0.5,1\n")
    monkeypatch.setattr(traces, "TRACES", tmp_path)
    assert hi.list_traces(own=False) == ["cifar10-resnet8"]
    assert len(hi.load_trace("cifar10-mine")) == 1


def test_registering_replaces_one_line(tmp_path, monkeypatch):
    copy = tmp_path / "registry.txt"
    copy.write_text(traces.REGISTRY.read_text())
    monkeypatch.setattr(traces, "REGISTRY", copy)
    before = traces.registry()
    registering.register("models/resnet8_cifar.onnx", "0" * 64, "nowhere")
    registering.register("traces/mine.csv", "1" * 64, "me")
    after = traces.registry()
    assert after.pop("traces/mine.csv") == ("1" * 64, "me")
    assert after.pop("models/resnet8_cifar.onnx").sha256 == "0" * 64
    assert after == {name: entry for name, entry in before.items() if name in after}


def test_registering_a_file_says_whether_it_is_the_known_one(tmp_path, monkeypatch):
    monkeypatch.setattr(traces, "DATA", tmp_path)
    monkeypatch.setattr(traces, "REGISTRY", tmp_path / "registry.txt")
    traces.REGISTRY.touch()
    path = tmp_path / "traces" / "one.csv"
    path.parent.mkdir()
    said = []
    for content in ("a", "a", "bb"):
        path.write_text(content)
        said.append(registering.register_file(path, "me"))
    assert said == [False, True, False]
    assert traces.registry() == {"traces/one.csv": (files.sha256(path), "me")}


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "file.txt"
    files.write_atomically(path, "old")
    with pytest.raises(UnicodeEncodeError):
        files.write_atomically(path, "\ud800")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


hard_to_sort = st.one_of(
    st.floats(0, 1), st.sampled_from([0.0, -0.0, 5e-324, 1.0]), st.integers(0, 40).map(lambda k: 1 - k * 2.0**-53)
)


@given(st.lists(hard_to_sort, min_size=1, max_size=200))
def test_order_is_a_stable_sort(values):
    trace = hi.Trace(values, np.zeros(len(values)))
    assert trace.order.tolist() == np.argsort(values, kind="stable").tolist()
    assert trace.gaps.sum() == pytest.approx(1, abs=1e-12)
    assert (trace.gaps >= 0).all()


def test_the_case_of_a_header_and_its_spaces_do_not_matter(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("Image, Confidence , CORRECT\na, 0.5, True\n\nb, 0.25, False\n")
    trace = hi.Trace.from_csv(path)
    assert (trace.confidence.tolist(), trace.correct.tolist()) == ([0.5, 0.25], [True, False])


def test_what_is_no_text_is_said_to_be_none(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("confidence,correct\n0.5,1\n", encoding="utf-16-le")  # without a mark that says so
    path.write_bytes(b"\xe9" + path.read_bytes())
    with pytest.raises(ValueError, match=r"no(t)? text in UTF-8"):
        hi.Trace.from_csv(path)


def test_a_folder_with_the_name_of_a_trace_is_none(tmp_path, monkeypatch):
    (tmp_path / "d.csv").mkdir()
    monkeypatch.setenv("HI_TRACES", str(tmp_path))
    assert "d" not in hi.list_traces()
    with pytest.raises(ValueError, match="trace must be one of"):
        hi.load_trace("d")


def test_the_first_line_of_a_packed_table_has_an_end_too(tmp_path):
    path = tmp_path / "log.csv.gz"
    path.write_bytes(gzip.compress(b"a" * 1_000_001 + b"\n1\n"))
    with pytest.raises(ValueError, match="its first line has more than 1,000,000 characters"):
        hi.Trace.from_csv(path)


def test_outside_a_checkout_a_trace_of_ones_own_needs_a_folder(monkeypatch, tmp_path):
    monkeypatch.setattr(traces, "_PACKED", traces.DATA)
    monkeypatch.delenv("HI_TRACES", raising=False)
    with pytest.raises(ValueError, match="HI_TRACES must name a folder"):
        traces.own_file("mine")
    monkeypatch.setenv("HI_TRACES", str(tmp_path))
    assert traces.own_file("mine") == tmp_path / "mine.csv"


def test_a_circle_of_links_is_no_shipped_trace(tmp_path):
    (tmp_path / "circle").symlink_to("circle")
    assert traces.name_of_file(tmp_path / "circle") is None
    with pytest.raises(ValueError, match="circle cannot be read"):
        hi.Trace.from_csv(tmp_path / "circle")
