"""Logs as other programs write them: read by their content, columns by name, errors by line."""

import gzip
import io
import json
import os
import shlex
import sys
import threading
import zipfile
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import hi_lib as hi
from hi_book.commands import main as cli
from hi_lib import tables, traces
from hi_lib.logs import keeping, reading
from hi_lib.logs.columns import Columns, class_names, words

SAMPLES = [(0.25, 0), (0.5, 1), (0.75, 1), (0.9, 1)]
CSV = "confidence,correct\n" + "".join(f"{p},{right}\n" for p, right in SAMPLES)


def run(*arguments, **options):
    return CliRunner().invoke(cli.app, list(map(str, arguments)), **options)


def written(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def npz(**arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def zip_of_text():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("notes.txt", "no array")
    return file.getvalue()


ZIP_OF_TEXT = zip_of_text()
RECORDS = [{"confidence": p, "correct": right} for p, right in SAMPLES]
FORMATS = {
    "a.csv": CSV,
    "a.tsv": CSV.replace(",", "\t"),
    "semicolons.txt": CSV.replace(",", ";").replace(".", ","),
    "a.csv.gz": gzip.compress(CSV.encode()),
    "wrong_name.parquet": CSV,
    "records.json": json.dumps(RECORDS),
    "lines.jsonl": "\n".join(map(json.dumps, RECORDS)) + "\n",
    "columns.json": json.dumps({"confidence": [p for p, _ in SAMPLES], "correct": [bool(e) for _, e in SAMPLES]}),
    "pandas.json": json.dumps(
        {name: {str(k): row[name] for k, row in enumerate(RECORDS)} for name in ("confidence", "correct")}
    ),
    "split.json": json.dumps({"columns": ["confidence", "correct"], "index": [0, 1, 2, 3], "data": SAMPLES}),
    "nested.json": json.dumps({"results": RECORDS}),
    "a.npz": npz(confidence=[p for p, _ in SAMPLES], correct=[e for _, e in SAMPLES]),
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_read(tmp_path, name):
    path = written(tmp_path / name, FORMATS[name])
    log = reading.read(path)
    assert log.trace.confidence.tolist() == [p for p, _ in SAMPLES]
    assert log.trace.correct.tolist() == [bool(e) for _, e in SAMPLES]
    assert log.notes == []
    assert hi.Trace.from_csv(path).confidence.tolist() == [p for p, _ in SAMPLES]


def test_a_structured_npy_is_read(tmp_path):
    rows = np.array(SAMPLES, dtype=[("confidence", float), ("correct", int)])
    np.save(tmp_path / "a.npy", rows)
    assert reading.read(tmp_path / "a.npy").trace.accuracy == 0.75


def test_blank_lines_before_the_first_row_are_passed_over(tmp_path):
    assert len(reading.read(written(tmp_path / "a.csv", "\n \n" + CSV)).trace) == len(SAMPLES)


def test_parquet_is_read_or_says_what_it_needs(tmp_path, monkeypatch):
    path = written(tmp_path / "a.parquet", b"PAR1" + bytes(8) + b"PAR1")
    monkeypatch.setattr(pd, "read_parquet", Mock(side_effect=ImportError))
    with pytest.raises(ValueError, match=r"a.parquet cannot be read: Parquet needs pyarrow, which is not installed"):
        reading.read(path)
    monkeypatch.setattr(pd, "read_parquet", lambda _: pd.DataFrame(SAMPLES, columns=["confidence", "correct"]))
    assert len(reading.read(path).trace) == len(SAMPLES)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"[1, 2]", "its JSON is neither a list of records"),
        (b'{"columns": ["correct", "correct"], "data": [[1, 0]]}', "it has the column correct more than once"),
        (npz(confidence=[0.5j], correct=[1]), "its array confidence holds complex numbers"),
        (ZIP_OF_TEXT, "it holds no array with one or two axes"),
        (b'[{"confidence": 0.5,', "it is no JSON: .* in line 1"),
        (b'{"confidence": 0.5}\n{"confidence": \n', "line 2 is no JSON record"),
        (b"[" * 100_000, "its JSON is nested too deeply"),
        (b'{"confidence": [0.5], "correct": [1, 0]}', "All arrays must be of the same length"),
        (b'[{"confidence": [0.5, 0.5]}, {"confidence": [1]}]', "its lists in confidence must have one length"),
        (b"PK\x03\x04", "cannot be read"),
        (npz(a=[1, 2], b=[1]), r"its arrays have different lengths: a \(2,\), b \(1,\)"),
        (npz(a=3), "it holds no array with one or two axes"),
        (b"PAR1", "cannot be read: "),
        (gzip.compress(b"x" * 3000, mtime=0)[:20], "cannot be read"),
    ],
)
def test_damaged_files_are_one_line(tmp_path, content, says):
    path = written(tmp_path / "a.dat", content)
    with pytest.raises(ValueError, match=says) as refusal:
        reading.read(path)
    assert str(path) in str(refusal.value)
    assert len(str(refusal.value)) < 500
    assert "\n" not in str(refusal.value)


def test_an_array_without_names_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((3, 2)))
    with pytest.raises(ValueError, match=r"one array of shape \(3, 2\) without names"):
        reading.read(tmp_path / "a.npy")


def test_pipes_and_standard_input_are_read(tmp_path):
    """Neither can go back to its start."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_text(CSV))
    writer.start()
    assert len(reading.read(pipe).trace) == 4
    writer.join()
    for content in (CSV.encode(), gzip.compress(CSV.encode()), json.dumps(RECORDS).encode()):
        result = run("evaluate", "-", "--json", input=content)
        assert result.exit_code == 0, result.stderr
        assert json.loads(result.stdout)["trace"] == "log"


def test_names_of_pipes_say_nothing():
    assert [reading.name_of(path) for path in ("-", "/dev/fd/63", "/x/mine.csv.gz", "mine.jsonl")] == [
        *("log", "log", "mine", "mine")
    ]


def test_larger_than_memory_allows_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "MOST", 20)
    with pytest.raises(ValueError, match="it is larger than 20 bytes"):
        reading.read(written(tmp_path / "a.csv", CSV))


PROBABILITIES = np.array([[0.7, 0.2, 0.1], [0.3, 0.3, 0.4], [0.1, 0.9, 0.0]])
MATRIX = "true_label,prob_class_0,prob_class_1,prob_class_2\n" + "".join(
    f"{label},{','.join(map(str, row))}\n" for label, row in zip([0, 1, 1], PROBABILITIES, strict=True)
)


def test_a_column_a_class_is_read(tmp_path):
    """As public repositories write them: the label, and the probability of each class."""
    log = reading.read(written(tmp_path / "a.csv", MATRIX))
    assert log.trace.confidence.tolist() == [0.7, 0.4, 0.9]
    assert log.trace.correct.tolist() == [True, False, True]
    assert log.notes == [
        "guessed: probabilities='prob_class_0 … prob_class_2', label='true_label'",
        "correct: where the likeliest class is true_label",
        "the likeliest class: classes that no true_label has: 2 (1 of 3 predictions)",
    ]


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        ("max", [0.7, 0.4, 0.9]),
        ("margin", [0.5, 0.1, 0.8]),
        ("entropy", 1 + np.array([0.7 * np.log(0.7) + 0.2 * np.log(0.2) + 0.1 * np.log(0.1)]) / np.log(3)),
    ],
)
def test_scores_are_computed(tmp_path, score, expected):
    log = reading.read(written(tmp_path / "a.csv", MATRIX), Columns(score=score))
    assert log.trace.confidence[: len(expected)] == pytest.approx(expected)


@pytest.mark.parametrize("names", [{"probabilities": PROBABILITIES}, {"logits": np.log(PROBABILITIES + 1e-30) + 7}])
def test_arrays_of_probabilities_and_logits(tmp_path, names):
    log = reading.read(written(tmp_path / "a.npz", npz(labels=[0, 1, 1], **names)))
    assert log.trace.confidence == pytest.approx([0.7, 0.4, 0.9])
    assert log.trace.correct.tolist() == [True, False, True]


def test_lists_in_records_are_classes(tmp_path):
    rows = [{"label": k, "logits": row} for k, row in enumerate([[2.0, 0.0], [1.0, 0.0]])]
    log = reading.read(written(tmp_path / "a.json", json.dumps(rows)))
    assert log.trace.correct.tolist() == [True, False]
    assert log.trace.confidence[0] == pytest.approx(1 / (1 + np.exp(-2)))


def test_classes_are_in_numeric_order_and_meant_by_name(tmp_path):
    header = ",".join(["label", *(f"p{k}" for k in (1, 10, 2, 3, 4, 5, 6, 7, 8, 9))])
    path = written(tmp_path / "a.csv", header + "\n10" + ",0,1" + ",0" * 8 + "\n")
    assert reading.read(path, Columns(probabilities="p*")).trace.correct.tolist() == [True]
    path = written(tmp_path / "b.csv", "label,prob_cat,prob_dog\ndog,0.25,0.75\ncat,0.25,0.75\n")
    assert reading.read(path).trace.correct.tolist() == [True, False]
    path = written(tmp_path / "c.csv", "label,prob_cat,prob_dog\n1,0.25,0.75\n0,0.25,0.75\n")  # by position
    assert reading.read(path).trace.correct.tolist() == [True, False]
    path = written(tmp_path / "d.csv", "label,prob_cat,prob_dog\ncat,0.25,0.75\ncow,0.25,0.75\n")
    with pytest.raises(ValueError, match=r"d.csv, line 3: label must be one of cat, dog, got 'cow'"):
        reading.read(path)


def test_names_of_classes():
    assert class_names(["prob_08", "prob_09", "prob_10"]) == ["8", "9", "10"]
    assert class_names(["z10", "z11"]) == ["10", "11"]
    assert class_names(["p_cat", "p_car"]) == ["cat", "car"]
    assert class_names(["pa", "pb"]) == ["pa", "pb"]
    assert words("True_Class (id)") == "true class id"


BOTH = "label,z_a,z_b,prob_a,prob_b\n" + "".join(
    f"{label},{z},0,{p},{1 - p}\n" for label, z, p in (("a", 1, 0.75), ("b", 1, 0.25), ("a", -1, 0.75), ("a", 2, 0.75))
)


def test_what_is_asked_comes_before_what_is_guessed(tmp_path):
    path = written(tmp_path / "a.csv", BOTH)
    guessed, asked = reading.read(path), reading.read(path, Columns(logits="z_*"))
    assert guessed.trace.correct.tolist() == [True] * 4
    assert asked.trace.correct.tolist() == [True, False, False, True]
    assert asked.trace.confidence == pytest.approx(1 / (1 + np.exp(-np.array([1, 1, 1, 2]))))
    assert not any("prob" in note for note in asked.notes)
    with pytest.raises(ValueError, match=r"no column like u_\*"):
        reading.read(path, Columns(logits="u_*"))
    assert reading.read(path, Columns(probabilities="prob_*")).trace.correct.all()


def test_only_columns_that_were_used_name_classes(tmp_path):
    header = "label,prob_0,prob_1,logit_0,logit_1\n"
    rows = "0,0.75,0.25,3,0\n1,0.25,0.75,0,3\n1,0.25,0.75,0,3\n"
    assert reading.read(written(tmp_path / "a.csv", header + rows)).trace.accuracy == 1


def test_percentages_are_told_from_logits(tmp_path):
    text = "label,prob_a,prob_b\n" + "".join(f"a,{p},{100 - p}\n" for p in (90, 80, 70))
    path = written(tmp_path / "a.csv", text)
    with pytest.raises(ValueError, match=r"line 2: prob_a … prob_b must add up to 1, got 100 .*a percentage"):
        reading.read(path)
    assert reading.read(path, Columns(logits="prob_*")).trace.accuracy == 1  # as it was asked


def test_predicted_classes_that_no_label_has_are_named(tmp_path):
    text = "confidence,label,predicted,lml_predicted\n0.5,1,0\n0.6,2,1,1\n0.7,1,1,3\n0.8,2,0,\n"
    log = reading.read(written(tmp_path / "a.csv", text.replace("0.5,1,0\n", "0.5,1,0,\n")))
    assert "predicted: classes that no label has: 0 (2 of 4 predictions)" in log.notes
    assert "lml_predicted: classes that no label has: 3 (1 of 2 predictions)" in log.notes


def test_a_log_may_be_told_that_a_column_is_none_of_its_own(tmp_path):
    path = written(tmp_path / "a.csv", "confidence,correct,time,lml_correct\n0.5,1,10,1\n0.6,0,20,0\n")
    log = reading.read(path, Columns(time="", lml_correct=""))
    assert (log.arrivals, log.trace.lml_correct, log.notes) == (None, None, [])


def test_scores_that_no_threshold_reaches_are_counted(tmp_path):
    path = written(tmp_path / "a.csv", "confidence,correct\n1,0\n1.0,1\n0.5,1\n1,0\n")
    (note,) = reading.read(path).notes
    assert note.startswith("confidence: 3 of 4 scores are exactly 1, 2 of them wrong: no θ in [0, 1] offloads these")
    log = reading.read(path, Columns(rescale=True))
    assert log.trace.confidence.max() == 0.999
    best = hi.best_threshold(log.trace, 0.2)
    assert (best.average_cost, log.scale.shown(best.threshold)) == (0.2, "any confidence")
    assert "exactly 1" not in "".join(log.notes)
    right = written(tmp_path / "b.csv", "confidence,correct\n1,1\n0.5,0\n")
    assert reading.read(right).notes == []


def test_a_score_that_is_no_probability_has_a_scale(tmp_path):
    path = written(tmp_path / "a.csv", MATRIX)
    assert reading.read(path).scale is None
    assert reading.read(path, Columns(score="margin")).scale.shown(0.25) == "margin below 0.25"
    entropy = reading.read(path, Columns(score="entropy"))
    logs = np.log(PROBABILITIES, out=np.zeros((3, 3)), where=PROBABILITIES > 0)
    nats = -(PROBABILITIES * logs).sum(axis=1)
    assert [entropy.scale.own(each) for each in entropy.trace.confidence] == pytest.approx(nats)
    assert entropy.scale.shown(0) == f"entropy above {np.log(3):.5g}"
    mapped = reading.read(path, Columns(score="entropy", rescale=True))
    assert [mapped.scale.own(each) for each in mapped.trace.confidence] == pytest.approx(nats)


def test_scores_too_far_apart_are_refused(tmp_path):
    path = written(tmp_path / "a.csv", "confidence,correct\n-1e308,1\n1e308,0\n")
    with pytest.raises(ValueError, match=r"a.csv: confidence goes from -1e\+308 to 1e\+308: too far to rescale"):
        reading.read(path, Columns(rescale=True))


def test_one_sigmoid_column_means_two_classes(tmp_path):
    path = written(tmp_path / "a.csv", "y,prob\n1,0.75\n1,0.25\n0,0.25\n")
    log = reading.read(path, Columns(probabilities="prob"))
    assert log.trace.confidence.tolist() == [0.75, 0.75, 0.75]
    assert log.trace.correct.tolist() == [True, False, True]
    assert "prob: one column, taken for the probability of class 1 of two" in log.notes


def test_one_logit_means_two_classes(tmp_path):
    path = written(tmp_path / "a.csv", "y,z\n1,2\n1,-2\n0,-1e9\n")
    log = reading.read(path, Columns(logits="z", label="y"))
    assert log.trace.confidence == pytest.approx([1 / (1 + np.exp(-2))] * 2 + [1])
    assert log.trace.correct.tolist() == [True, False, True]
    assert "z: one column, taken for the logit of class 1 of two" in log.notes
    with pytest.raises(ValueError, match=r"line 3: z must be finite, got inf"):
        reading.read(written(tmp_path / "b.csv", "y,z\n1,2\n1,inf\n"), Columns(logits="z", label="y"))


def test_logits_are_not_taken_for_probabilities(tmp_path):
    path = written(tmp_path / "a.csv", "label,prob_0,prob_1\n0,0.5,0.5\n1,-3,4\n")
    with pytest.raises(ValueError, match=r"line 3: prob_0 … prob_1 must add up to 1, got 1|are they --logits"):
        reading.read(path)


TESTBED = (  # as the testbed of a Batch HI device writes them, values made up
    "UUID,True Class,SML Prediction,SML Confidence,Offloaded,LML Prediction,ts_sml_inference_start\n"
    "a,867,868,0.13,True,867,1700000000.0\n"
    "b,120,120,0.75,False,,1700000000.25\n"
    "c,5,4,0.25,True,6,1700000000.5\n"
)


def test_a_testbeds_columns_are_understood(tmp_path):
    log = reading.read(written(tmp_path / "a.csv", TESTBED))
    assert log.trace.confidence.tolist() == [0.13, 0.75, 0.25]
    assert log.trace.correct.tolist() == [False, True, False]
    np.testing.assert_array_equal(log.trace.lml_correct, [1, np.nan, 0])
    assert log.arrivals.tolist() == [0, 250, 500]
    assert log.notes[0] == (
        "guessed: label='True Class', predicted='SML Prediction', confidence='SML Confidence', "
        "lml_predicted='LML Prediction', time='ts_sml_inference_start'"
    )
    named = Columns(
        confidence="sml confidence", label="true class", predicted="sml prediction", lml_predicted="lml prediction"
    )
    again = reading.read(tmp_path / "a.csv", named)
    assert again.trace.correct.tolist() == log.trace.correct.tolist()


def test_names_are_shown_as_in_the_file(tmp_path):
    path = written(tmp_path / "a.csv", TESTBED)
    with pytest.raises(ValueError, match="no column for correct='Right'; found UUID, True Class, SML Prediction"):
        reading.read(path, Columns(correct="Right"))
    with pytest.raises(ValueError, match=r"no column correct, nor a label and a prediction: .* found time, RTT_ms"):
        reading.read(written(tmp_path / "b.csv", "time,RTT_ms\n1,2\n"))
    with pytest.raises(ValueError, match=r"no column confidence: name it with confidence=…, .* found correct, Sure"):
        reading.read(written(tmp_path / "c.csv", "correct,Sure\n1,0.5\n"))


@pytest.mark.parametrize(
    ("text", "columns", "says"),
    [
        ("confidence,correct\n0.9,True\n0.5,False\n0.7,\n", {}, r"line 4: correct must be 0 or 1, got empty \(1 such"),
        ("\n\nconfidence,correct\n\n0.9,1\n,0\n", {}, "line 6: confidence must be numeric, got empty"),
        (
            'note,confidence,correct\n"two\nlines",0.5,1\nx,high,1\n',
            {},
            "line 4: confidence must be numeric, got 'high'",
        ),
        ("confidence,label,predicted\n0.5,1,1\n0.6,,1\n", {}, "line 3: label must be given, got empty"),
        ("confidence,correct\n50,1\n93,0\n", {}, r"line 2: confidence must be in \[0, 1\], got 50 .*a percentage"),
        ("confidence,correct,offload_probability\n0.5,1,2\n", {}, r"offload_probability must be in \[0, 1\], got 2"),
        ("confidence,correct,lml_correct\n0.5,1,maybe\n", {}, "line 2: lml_correct must be 0 or 1, got 'maybe'"),
        ("confidence,correct\n0.5,1\n0.5,0\n", {"rescale": True}, "confidence is 0.5 everywhere"),
        ("confidence,correct\n0.5,1\n", {"score": "margin"}, "score is for probabilities or logits"),
        ("confidence,correct\n0.5,1\n", {"logits": "z*"}, r"no column like z\*"),
        ("Confidence,confidence ,CONFIDENCE,correct\n0,0,0,1\n", {"confidence": "conFidence"}, "more than once"),
    ],
)
def test_errors_name_the_line(tmp_path, text, columns, says):
    with pytest.raises(ValueError, match=says):
        reading.read(written(tmp_path / "a.csv", text), Columns(**columns))


def test_a_record_and_a_row_are_named_where_there_are_no_lines(tmp_path):
    bad = [*RECORDS, {"confidence": 2, "correct": 1}]
    with pytest.raises(ValueError, match=r"a.json, record 5: confidence must be in"):
        reading.read(written(tmp_path / "a.json", json.dumps(bad)))
    with pytest.raises(ValueError, match=r"a.npz, row 2: confidence must be in"):
        reading.read(written(tmp_path / "a.npz", npz(confidence=[0.5, -3], correct=[1, 1])))


@pytest.mark.parametrize(
    "options",
    [
        {"correct": "a", "predicted": "b"},
        {"lml_correct": "a", "lml_predicted": "b"},
        {"probabilities": "a", "logits": "b"},
        {"confidence": "a", "score": "margin"},
        {"time_unit": "s", "time_format": "%H"},
    ],
)
def test_options_that_contradict_each_other_are_refused(options):
    with pytest.raises(ValueError, match="must be left out where"):
        Columns(**options)


def test_rounding_above_one_is_moved_and_said(tmp_path):
    log = reading.read(written(tmp_path / "a.csv", "confidence,correct\n1.0000001,1\n-1e-9,0\n0.5,0\n"))
    assert log.trace.confidence.tolist() == [1, 0, 0.5]
    assert log.notes == ["confidence: 2 of 3 values beyond [0, 1] by rounding moved there (1.0000001)"]


@pytest.fixture
def entropies():
    rng = np.random.default_rng(0)
    values = rng.exponential(0.4, 300)
    return values, rng.random(300) < np.exp(-values)


def as_csv(values, correct, name="confidence"):
    rows = zip(values.tolist(), correct.astype(int).tolist(), strict=True)
    return f"{name},correct\n" + "".join(f"{p!r},{right}\n" for p, right in rows)


def test_a_score_that_falls_as_accuracy_rises_is_noticed(tmp_path, entropies):
    values, correct = entropies
    path = written(tmp_path / "a.csv", as_csv(values, correct))
    with pytest.raises(ValueError, match="it falls as accuracy rises, as an entropy does: rescale=…") as refusal:
        reading.read(path)
    assert "percentage" not in str(refusal.value)
    small = reading.read(written(tmp_path / "b.csv", as_csv(values / 100, correct)))
    assert small.notes[0].startswith("confidence falls as accuracy rises (")
    assert "is it an entropy" in small.notes[0]


def test_rescaling_turns_a_falling_score_round(tmp_path, entropies):
    values, correct = entropies
    path = written(tmp_path / "a.csv", as_csv(values, correct, "entropy"))
    log = reading.read(path, Columns(confidence="entropy", rescale=True))
    span = values.max() - values.min()
    assert log.trace.confidence == pytest.approx(0.999 * (values.max() - values) / span)
    assert log.notes[0].endswith("mapped to 0 … 0.999; turned round, since accuracy falls as it rises")
    assert [log.scale.own(each) for each in log.trace.confidence] == pytest.approx(values)
    assert log.scale.shown(0.5) == f"entropy above {values.max() - span / 1.998:.5g}"
    rising = reading.read(written(tmp_path / "b.csv", as_csv(-values, correct)), Columns(rescale=True))
    assert rising.trace.confidence == pytest.approx(log.trace.confidence)
    assert "turned round" not in rising.notes[0]


@pytest.mark.parametrize(
    ("name", "times"),
    [
        ("time", ["1700000000", "1700000000.5", "1700000002"]),
        ("timestamp", ["1700000000000", "1700000000500", "1700000002000"]),
        ("time", ["1700000000000000", "1700000000500000", "1700000002000000"]),
        ("time", ["2026-03-29T01:59:59+01:00", "2026-03-29T02:59:59.500+02:00", "2026-03-29T03:00:01+02:00"]),
        ("datetime", ["2026-01-31 12:00:00", "2026-01-31 12:00:00.5", "2026-01-31 12:00:02"]),
        ("arrival", ["5", "505", "2005"]),
        ("arrival time (s)", ["7", "7.5", "9"]),
        ("t_us", ["0", "500000", "2000000"]),
        ("startedMs", ["0.25", "500.25", "2000.25"]),
        ("time", ["0.0025", "0.5025", "2.0025"]),  # a sample a millisecond? seconds
    ],
)
def test_arrivals_count_from_the_first(tmp_path, name, times):
    text = f"confidence,correct,{name}\n" + "".join(f"0.5,1,{time}\n" for time in times)
    log = reading.read(written(tmp_path / "a.csv", text), Columns(time=name))
    assert log.arrivals == pytest.approx([0, 500, 2000])


@pytest.mark.parametrize(
    ("times", "options", "arrivals"),
    [
        (["0", "1.5", "3"], {"time_unit": "s"}, [0, 1500, 3000]),
        (["1.5", "3", "1500"], {"time_unit": "ns"}, [0, 1.5e-6, 1.4985e-3]),
        (["1.3.2026 23:59:59.5", "2.3.2026 00:00:01.0"], {"time_format": "%d.%m.%Y %H:%M:%S.%f"}, [0, 1500]),
        (["20260301", "20260302"], {"time_format": "%Y%m%d"}, [0, 86_400_000]),
        (["1700-01-01T00:00:00.5", "1700-01-01T00:00:01"], {}, [0, 500]),
    ],
)
def test_the_unit_and_the_form_of_times_can_be_said(tmp_path, times, options, arrivals):
    text = "confidence,correct,time\n" + "".join(f"0.5,1,{time}\n" for time in times)
    log = reading.read(written(tmp_path / "a.csv", text), Columns(**options))
    assert log.arrivals == pytest.approx(arrivals)


@pytest.mark.parametrize(
    ("times", "options", "says"),
    [
        (
            ["2026-01-01T00:00:00", "0001-01-01T00:00:00", "2026-01-01T00:00:02"],
            {},
            "line 3: time is more than ten years",
        ),
        (["1700-01-01T00:00:00", "2200-12-31T00:00:00"], {}, "time is more than ten years from the others, got '1700"),
        (["1700000000", "0", "1700000001"], {}, "line 3: time is more than ten years from the others, got 0"),
        (["1e308", "-1e308", "0"], {}, "time is more than ten years"),
        (["5", "5"], {}, "time is the same everywhere"),
        (["inf", "5"], {}, "line 2: time must be finite, got inf"),
        (["1.3.2026", "2.3.2026"], {}, r"line 2: time must be a number, or a date as .*; time_format says how others"),
        (
            ["1.3.2026", "2/3/2026"],
            {"time_format": "%d.%m.%Y"},
            r"line 3: time must be a date written as %d.%m.%Y, got",
        ),
        (["1.3.2026"], {"time_format": "%d.%Q.%Y"}, r"time_format '%d.%Q.%Y' is none: 'Q' is a bad directive"),
        (["1.3.2026"], {"time_format": "mixed"}, "time_format must be written as .* is, got 'mixed'"),
        (["2026-01-31"], {"time_unit": "s"}, "time_unit must be left out where time holds dates"),
        (["1"], {"time_unit": "h"}, "time_unit must be one of ns, us, ms, s"),
    ],
)
def test_times_that_are_none(tmp_path, times, options, says):
    """An error where they were asked for; else the log is read without them, and the note says why."""
    path = written(tmp_path / "a.csv", "confidence,correct,time\n" + "".join(f"0.5,1,{time}\n" for time in times))
    with pytest.raises(ValueError, match=says) as refusal:
        reading.read(path, Columns(time="time", **options))
    assert "\n" not in str(refusal.value)
    if not options:
        log = reading.read(path)
        assert (log.arrivals, len(log.trace)) == (None, len(times))
        assert log.notes == [f"time is not used, and no arrivals are known: {refusal.value}"]


def test_a_unit_of_no_times_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"a.csv has no column time: name it; found confidence, correct"):
        reading.read(written(tmp_path / "a.csv", CSV), Columns(time_unit="s"))


@pytest.mark.parametrize("content", ['{"time": [], "confidence": [], "correct": []}', "confidence,correct,time\n"])
def test_a_log_without_samples_is_one_line(tmp_path, content):
    with pytest.raises(ValueError, match=r"a.log must hold at least one sample, got none; found .*confidence, correct"):
        reading.read(written(tmp_path / "a.log", content))


def test_a_log_parts_into_groups(tmp_path):
    text = "confidence,correct,device,time\n0.2,0,b,30\n0.8,1,a,10\n0.5,0,,20\n0.6,1,b,50\n"
    log = reading.read(written(tmp_path / "a.csv", text), Columns(by="Device"))
    assert log.groups.column == "device"
    assert log.groups.names.tolist() == ["a", "(blank)", "b", "b"]  # in the order of their times
    part = log.chosen(np.flatnonzero(log.groups.names == "b"))
    assert part.trace.confidence.tolist() == [0.2, 0.6]
    assert part.arrivals.tolist() == [0, 20]
    assert part.rows.tolist() == [0, 3]
    with pytest.raises(ValueError, match="no column for by='hour'; found confidence, correct, device, time"):
        reading.read(tmp_path / "a.csv", Columns(by="hour"))


def test_a_kept_log_says_its_unit(tmp_path, monkeypatch):
    monkeypatch.setenv("HI_TRACES", str(tmp_path))
    text = "confidence,correct,t_s\n0.5,1,0\n0.5,0,0.0001\n0.5,0,0.0002\n"
    kept = keeping.keep(written(tmp_path / "a.csv", text), "mine", Columns(time="t_s"))
    assert reading.read(kept.path).arrivals == pytest.approx([0, 0.1, 0.2])


def test_a_log_out_of_order_is_sorted(tmp_path):
    text = "confidence,correct,lml_correct,offload_probability,time\n0.2,0,0,0.5,30\n0.8,1,1,1,10\n0.5,0,,0.25,20\n"
    log = reading.read(written(tmp_path / "a.csv", text))
    assert log.arrivals.tolist() == [0, 10, 20]
    assert log.trace.confidence.tolist() == [0.8, 0.5, 0.2]
    assert log.offload_probability.tolist() == [1, 0.25, 0.5]
    assert log.rows.tolist() == [1, 2, 0]
    assert any("it was sorted" in note for note in log.notes)
    shuffled = log.shuffled(3)
    order = log.trace.shuffle_order(3)
    assert shuffled.arrivals.tolist() == [0, 10, 20]
    assert shuffled.rows.tolist() == log.rows[order].tolist()
    assert shuffled.offload_probability.tolist() == log.offload_probability[order].tolist()


def test_a_bad_date_is_named(tmp_path):
    text = "confidence,correct,time\n0.5,1,2026-01-31T12:00:00\n0.5,1,31.1.2026\n"
    path = written(tmp_path / "a.csv", text)
    says = "line 3: time must be a date as 2026-01-31T12:00:00.250, got '31.1.2026'"
    with pytest.raises(ValueError, match=says):
        reading.read(path, Columns(time="time"))
    log = reading.read(path)  # nobody asked for it
    assert log.arrivals is None
    assert log.notes == [f"time is not used, and no arrivals are known: {path}, {says}"]


def test_the_lml_that_is_never_known_is_none(tmp_path):
    log = reading.read(written(tmp_path / "a.csv", "confidence,correct,lml_correct\n0.5,1,\n0.6,0,\n"))
    assert log.trace.lml_correct is None
    assert log.notes == ["lml_correct: blank everywhere, not used"]


def test_labels_that_never_agree_are_said(tmp_path):
    log = reading.read(written(tmp_path / "a.csv", "confidence,label,predicted\n0.5,1,cat\n0.6,2,dog\n"))
    assert any("never equals label" in note for note in log.notes)


def test_whole_numbers_are_the_same_class_however_they_are_written(tmp_path):
    log = reading.read(written(tmp_path / "a.csv", "confidence,label,predicted\n0.5,1,1.0\n0.6,2,3.0\n"))
    assert log.trace.correct.tolist() == [True, False]


def test_a_damaged_shipped_file_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "traces" / "cifar10-resnet8.csv"
    path.parent.mkdir()
    written(path, CSV)
    monkeypatch.setattr(traces, "DATA", tmp_path)
    with pytest.raises(ValueError, match="damaged or was swapped"):
        reading.read(path)


# One reader for all commands.


def test_sweep_reads_what_evaluate_reads(tmp_path):
    path = written(tmp_path / "a.tsv", TESTBED.replace(",", "\t"))
    out = tmp_path / "x.csv"
    result = run("sweep", "--trace", path, "--out", out, "--seeds", "0:2")
    assert result.exit_code == 0, result.stderr
    assert "--confidence 'SML Confidence'" in result.stderr
    assert out.read_text().splitlines()[1].startswith("a,0,0.5,1,tuned,hil-f,")
    unknown = run("sweep", "--trace", "cifar10-resnet9", "--out", out)
    assert unknown.exit_code == 2
    assert "did you mean cifar10-resnet8" in unknown.stderr


def test_a_log_becomes_a_trace_of_ones_own(tmp_path, monkeypatch):
    monkeypatch.setenv("HI_TRACES", str(tmp_path / "own"))
    path = written(tmp_path / "a.csv", TESTBED)
    for _ in range(2):  # the same again changes nothing
        result = run("traces", "import", path, "mine")
        assert result.exit_code == 0, result.stderr
    assert "3 samples, the S-ML is right on 33.3%" in result.stdout
    trace = hi.load_trace("mine")
    assert trace.confidence.tolist() == [0.13, 0.75, 0.25]
    np.testing.assert_array_equal(trace.lml_correct, [1, np.nan, 0])
    about = json.loads((tmp_path / "own" / "mine.json").read_text())
    assert (about["log"], about["samples"]) == ("a.csv", 3)
    other = run("traces", "import", written(tmp_path / "b.csv", CSV), "mine")
    assert (other.exit_code, "another trace already" in other.stderr) == (2, True)
    for name in ("cifar10-resnet8", "../x", ""):
        assert run("traces", "import", path, name).exit_code == 2
    evaluated = run("evaluate", "mine", "--json")
    assert evaluated.exit_code == 0, evaluated.stderr


def test_an_option_names_a_column_in_every_command(tmp_path):
    path = written(tmp_path / "a.csv", "sure,ok\n0.25,0\n0.5,1\n")
    named = ["--confidence", "sure", "--correct", "ok"]
    for command in (["evaluate", path], ["sweep", "--trace", path, "--out", tmp_path / "x.csv"]):
        assert run(*command, *named).exit_code == 0
        bad = run(*command, "--confidence", "sure", "--correct", "nok")
        assert bad.exit_code == 2
        assert bad.stderr.count("\n") == 1
        assert "no column for --correct 'nok'; found sure, ok" in bad.stderr


@pytest.mark.uncounted
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_a_process_substitution_is_read():
    import subprocess

    log = "<(printf 'confidence,correct\\n0.5,1\\n0.6,0\\n')"
    command = f"{shlex.quote(sys.executable)} -m hi_book.commands.main evaluate {log}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "\nlog: 2 samples" in done.stdout
