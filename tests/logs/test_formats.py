"""Formats beyond plain CSV: what Excel and PowerShell write, nested JSON, and archives that unpack to too much."""

import io
import json
import sys
import tracemalloc
import zipfile

import numpy as np
import pandas as pd
import pytest

import hi_lib as hi
from hi_lib import formats, tables
from hi_lib.logs import reading
from hi_lib.logs.columns import Columns

CSV = "confidence;correct\n0,25;0\n0,5;1\n"


def written(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_a_byte_order_mark_says_the_encoding(tmp_path, encoding):
    records = json.dumps([{"confidence": 0.25, "correct": 0}, {"confidence": 0.5, "correct": 1}])
    for text in (CSV, records):
        path = written(tmp_path / "a", ("\ufeff" + text).encode(encoding))
        assert reading.read(path).trace.confidence.tolist() == [0.25, 0.5]


def test_half_a_character_is_one_line(tmp_path):
    with pytest.raises(ValueError, match="it is not text in UTF-8, nor in what a byte order mark says"):
        reading.read(written(tmp_path / "a.csv", CSV.encode("utf-16")[:-1]))


@pytest.mark.parametrize(
    ("first", "separator"), [("sep=;", ";"), ('"sep=|"', "|"), ("SEP=\t", "\t"), ("\n\nsep=;\n", ";")]
)
def test_excels_first_line_names_the_separator(tmp_path, first, separator):
    path = written(tmp_path / "a.csv", f"{first}\n{CSV.replace(';', separator)}")
    assert reading.read(path).trace.confidence.tolist() == [0.25, 0.5]
    line = path.read_text().count("\n") + 1
    with pytest.raises(ValueError, match=f"a.csv, line {line}: confidence must be numeric, got 'high'"):
        reading.read(written(path, path.read_text() + f"high{separator}1\n"))


def test_a_column_may_be_called_sep(tmp_path):
    assert tables.load(written(tmp_path / "a.csv", "sep=\n1\n")).found == "sep="


def workbook(frame):
    pytest.importorskip("openpyxl")
    file = io.BytesIO()
    frame.to_excel(file, index=False)
    return file.getvalue()


def test_the_first_sheet_of_a_workbook_is_read(tmp_path):
    times = pd.date_range("2026-01-31 12:00:00", periods=2, freq="250ms")
    frame = pd.DataFrame({"confidence": [0.25, 0.5], "correct": [False, True], "time": times})
    log = reading.read(written(tmp_path / "a.xlsx", workbook(frame)))
    assert log.trace.confidence.tolist() == [0.25, 0.5]
    assert log.trace.correct.tolist() == [False, True]
    assert log.arrivals.tolist() == [0, 250]
    path = written(tmp_path / "b.xlsx", workbook(pd.DataFrame({"confidence": [0.5, 3.0], "correct": [1, 1]})))
    with pytest.raises(ValueError, match=r"b.xlsx, row 3: confidence must be in \[0, 1\], got 3"):  # as Excel counts
        reading.read(path)


def zipped(**parts):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name.replace("__", "/").replace("_", "."), content)
    return file.getvalue()


def test_a_workbook_without_openpyxl_is_to_be_saved_as_csv(tmp_path, monkeypatch):
    path = written(tmp_path / "a.xlsx", zipped(xl__workbook_xml="<workbook/>"))
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(ValueError, match=r"a.xlsx cannot be read: .* needs openpyxl, .*: save it as CSV"):
        reading.read(path)


def test_a_damaged_workbook_is_one_line(tmp_path):
    pytest.importorskip("openpyxl")
    path = written(tmp_path / "a.xlsx", zipped(xl__workbook_xml="<workbook>", n__Content_Types__xml="?"))
    with pytest.raises(ValueError, match=r"a.xlsx cannot be read: its first sheet is no table") as refusal:
        reading.read(path)
    assert "\n" not in str(refusal.value)
    with pytest.raises(ValueError, match="a workbook of an old Excel: save it as CSV"):
        reading.read(written(tmp_path / "a.xls", bytes.fromhex("d0cf11e0a1b11ae1") + bytes(100)))


def test_what_lies_deeper_in_json_is_named_with_dots(tmp_path):
    rows = [
        {"edge": {"top": {"p": 0.5}, "pred": 1}, "cloud": {"pred": 0}, "label": 1},
        {"edge": {"top": {"p": 0.25}, "pred": 1}, "cloud": None, "label": 0},
    ]
    wanted = Columns(confidence="edge.top.p", predicted="edge.pred", lml_predicted="cloud.pred")
    for name, text in (("a.jsonl", "\n".join(map(json.dumps, rows))), ("a.json", json.dumps({"rows": rows}))):
        trace = reading.read(written(tmp_path / name, text), wanted).trace
        assert trace.confidence.tolist() == [0.5, 0.25]
        assert trace.correct.tolist() == [True, False]
        np.testing.assert_array_equal(trace.lml_correct, [0, np.nan])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"start": {}, "intervals": [], "end": {}}', "nor columns: it has start, intervals, end$"),
        ("{}", "nor columns$"),
    ],
)
def test_other_json_is_refused_in_words_of_our_own(tmp_path, text, says):
    with pytest.raises(ValueError, match=f"its JSON is neither a list of records, nor a record a line, {says}"):
        reading.read(written(tmp_path / "a.json", text))


def npy(shape, dtype, data=b""):
    """An array that says what it holds, and holds something else."""
    file = io.BytesIO()
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue() + data


def test_what_unpacks_to_too_much_is_refused_before_it_takes_memory(tmp_path):
    """A gigabyte and a half of zeros, in a file of seven megabytes."""
    path, chunk = tmp_path / "bomb.npz", bytes(2**20)
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("confidence.npy", "w", force_zip64=True) as member,
    ):
        member.write(npy((3 * 2**26,), float))
        for _ in range(1536):
            member.write(chunk)
    assert path.stat().st_size < 2**23
    tracemalloc.start()
    try:
        with pytest.raises(
            ValueError, match=r"bomb.npz cannot be read: it is larger than 1,073,741,824 bytes once it is"
        ):
            reading.read(path)
        assert tracemalloc.get_traced_memory()[1] < 10 * path.stat().st_size
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((2**40,), float), ((2**31, 0), float), ((0, 2**31), float), ((2**25,), "V0"), ((2**25,), "S1")],
)
@pytest.mark.parametrize("packed", [True, False])
def test_an_array_that_declares_too_much_is_refused(tmp_path, shape, dtype, packed):
    array = npy(shape, [("confidence", dtype)] if not packed else dtype)
    path = written(tmp_path / "a.npz", zipped(confidence_npy=array) if packed else array)
    with pytest.raises(ValueError, match=r"a.npz cannot be read: it declares an array of shape .*, larger than 1,073,"):
        reading.read(path)


def test_arrays_together_may_not_be_too_large(tmp_path, monkeypatch):
    file = io.BytesIO()
    np.savez_compressed(file, confidence=np.full(200, 0.5), correct=np.ones(200))
    path = written(tmp_path / "a.npz", file.getvalue())
    monkeypatch.setattr(formats, "MOST", 5000)
    assert len(reading.read(path).trace) == 200
    monkeypatch.setattr(formats, "MOST", 3000)
    with pytest.raises(ValueError, match="it is larger than 3,000 bytes"):
        reading.read(path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (npy((2**17 - 1, 2**13), bool)[:60], "cannot be read"),
        (npy((2,), float).replace(b"}", b"("), "cannot be read: the header of its array is damaged"),
        (npy((1, 200_000), float), "without names"),
    ],
)
def test_damaged_arrays_are_one_line(tmp_path, content, says):
    with pytest.raises(ValueError, match=says) as refusal:
        reading.read(written(tmp_path / "a.npy", content + bytes(1_600_000)))
    assert "\n" not in str(refusal.value)


def test_more_columns_than_any_classifier_has_classes_are_refused(tmp_path):
    file = io.BytesIO()
    np.savez_compressed(file, logits=np.zeros((1, 100_001), np.int8))
    with pytest.raises(ValueError, match="logits has 100,001 columns, more than 100,000"):
        reading.read(written(tmp_path / "a.npz", file.getvalue()))


def test_an_archive_packed_in_another_way_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("confidence.npy", npy((1,), float, bytes(8)))
    with pytest.raises(ValueError, match="it is packed in a way that NumPy does not know"):
        hi.Trace.from_csv(tmp_path / "a.npz")


def test_a_file_that_needs_more_memory_than_there_is_is_one_line(tmp_path, monkeypatch):
    def refuse(*_args, **_options):
        raise MemoryError

    monkeypatch.setattr(pd, "read_csv", refuse)
    with pytest.raises(ValueError, match=r"a.csv cannot be read: it needs more memory than there is"):
        reading.read(written(tmp_path / "a.csv", CSV))
