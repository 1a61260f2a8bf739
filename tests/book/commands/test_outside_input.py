"""Whatever a file or a command line holds: it is understood, or refused with one clear error. Nothing else happens."""

import json
import re
import warnings

import pytest
import yaml
from command_lines import command_lines, understood_or_refused_in_one_line
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import hi_lib as hi
from hi_book.commands import main as cli
from hi_book.commands.journal import Journal
from hi_book.press import claims, notebooks, places, plain_yaml, results
from hi_lib import traces
from hi_lib.studies import measured, sweeps

# A fixture's folder is shared by the examples of one test: each writes its own file anew.
shared_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])

cells = st.sampled_from(
    ["0", "1", "0.5", "1e-9", "-0.1", "1.5", "50 %", "nan", "inf", "", "true", "no", "0,5", '"0.5"', "é", "\x00", "2"]
) | st.text(max_size=6)
separators = st.sampled_from([",", ";", "\t", " ", ",,"])


@st.composite
def tables(draw, names):
    """A table that is nearly one: header and rows with wrong names, numbers, widths and separators among right ones."""
    separator, end = draw(separators), draw(st.sampled_from(["\n", "\r\n", "\r", "\n\n"]))
    header = draw(st.permutations(names)) + draw(st.lists(st.sampled_from([*names, "more", "", " "]), max_size=1))
    good = st.lists(st.sampled_from(["0", "1", "0.5", "2"]), min_size=len(header), max_size=len(header))
    rows = draw(st.lists(good | st.lists(cells, max_size=len(header) + 1), max_size=6))
    return end.join(separator.join(row) for row in [header, *rows])


def encoded(texts):
    return st.binary(max_size=200) | st.tuples(texts, st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "latin-1"])).map(
        lambda pair: pair[0].encode(pair[1], errors="replace")
    )


def understood_or_refused(read, path, content):
    """What `read` gives, or None if it refused; the refusal names the file, in one line."""
    path.write_bytes(content)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return read(path)
    except ValueError as refusal:
        said = str(refusal)
    assert path.name in said
    assert "\n" not in said.strip()
    return None


@shared_folder
@given(encoded(tables(["confidence", "correct"])))
def test_any_file_is_a_trace_or_refused(tmp_path, content):
    trace = understood_or_refused(hi.Trace.from_csv, tmp_path / "mine.csv", content)
    if trace is not None:
        assert len(trace) >= 1
        assert ((trace.confidence >= 0) & (trace.confidence <= 1)).all()


@shared_folder
@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=20), st.sampled_from([",", ";", "\t"]))
def test_every_good_file_is_understood(tmp_path, samples, separator):
    comma = separator != ","
    rows = [f"{p!r}".replace(".", ",") if comma and "e" not in repr(p) else repr(p) for p, _ in samples]
    lines = [f"{p}{separator}{right:d}" for p, (_, right) in zip(rows, samples, strict=True)]
    path = tmp_path / "mine.csv"
    path.write_text("\n".join([f"confidence{separator}correct", *lines]))
    trace = hi.Trace.from_csv(path)
    assert trace.confidence.tolist() == [p for p, _ in samples]
    assert trace.correct.tolist() == [right for _, right in samples]


@shared_folder
@given(encoded(tables(["batch_size", "milliseconds"])))
def test_any_file_holds_times_or_is_refused(tmp_path, content):
    table = understood_or_refused(measured.read_times, tmp_path / "times.csv", content)
    if table is not None:
        assert (table["batch_size"] >= 1).all()
        assert (table["milliseconds"] > 0).all()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-1", 0.1),
        ("010", 10),
        ("yes", "yes"),
        ("no", "no"),
        ("1_000", "1_000"),
        ("0x10", "0x10"),
        ("1:20", "1:20"),
        ("true", True),
        ("null", None),
        ("[1, 2.5e3, on]", [1, 2500.0, "on"]),
        ("2020-01-01", "2020-01-01"),
    ],
)
def test_values_are_read_as_json_and_python_read_them(text, value):
    found = plain_yaml.yaml_value("-p x", text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("text", ["&a [1, *a]", "{a: 1, a: 2}", "[&a [1], *a]"])
def test_aliases_and_repeats_are_refused(text):
    with pytest.raises(ValueError, match=r"alias|twice"):
        plain_yaml.yaml_value("-p x", text)


@pytest.mark.parametrize("text", ["- " * 50_000 + "1", "[" * 30_000 + "]" * 30_000, "{a: " * 30_000 + "}" * 30_000])
def test_bottomless_values_are_refused(text):
    with pytest.raises(ValueError, match="nested deeper than 100 levels"):
        plain_yaml.yaml_value("-p x", text)


def test_a_parameter_given_twice_is_refused():
    result = CliRunner().invoke(cli.app, ["run", "fig5_network_time", "-p", "alpha=0.5", "-p", "alpha=0.7"])
    assert result.exit_code == 2
    assert "--parameter alpha is given more than once" in result.stderr


@pytest.mark.parametrize("blank", ["\n", "\r\n\n", "  \n"])
def test_blank_first_lines_change_nothing(blank, tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text(blank + "confidence;correct\n0,5;1\n")
    assert hi.Trace.from_csv(path).confidence.tolist() == [0.5]
    path.write_text(blank + "confidence,correct,correct\n0.5,1,0\n")
    with pytest.raises(ValueError, match="has the column correct more than once"):
        hi.Trace.from_csv(path)


def test_a_message_does_not_repeat_megabytes(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("confidence,correct\n" + "7" * 5_000_000 + "x,1\n")
    with pytest.raises(ValueError, match="must be numeric") as refusal:
        hi.Trace.from_csv(path)
    assert len(str(refusal.value)) < 300 + len(str(path))


plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
values = st.recursive(
    plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
)
names = st.sampled_from([*notebooks.notebook_names()[:3], "quick", "full", "alphas", "id", "checks", "value"])
documents = (
    st.text(max_size=60)
    | values.map(yaml.safe_dump)
    | st.dictionaries(names, st.dictionaries(names, values, max_size=2) | values, max_size=3).map(yaml.safe_dump)
)


@shared_folder
@given(encoded(documents))
def test_any_parameters_are_a_mapping_or_refused(tmp_path, content):
    path = tmp_path / "parameters.yml"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(places, "PARAMETERS", path)
        found = understood_or_refused(lambda _: notebooks.load_parameters("full"), path, content)
    if found is not None:
        assert set(found) == set(notebooks.notebook_names())
        for name, parameters in found.items():
            assert set(parameters) <= set(notebooks.default_parameters(name))


@st.composite
def nearly_claims(draw):
    """The real claims with one thing changed."""
    entries = yaml.safe_load(claims.CLAIMS.read_text(encoding="utf-8"))[:4]
    entry = draw(st.sampled_from(entries))
    target = draw(st.sampled_from([entry, entry["checks"][0]]))
    name = draw(st.sampled_from([*target, "verdict", "unknown"]))
    if draw(st.booleans()):
        target.pop(name, None)
    else:
        target[name] = draw(values)
    return yaml.safe_dump(entries)


@pytest.mark.uncounted
@shared_folder
@given(encoded(documents | nearly_claims()))
def test_any_claims_are_complete_or_refused(tmp_path, content):
    found = understood_or_refused(claims.load_claims, tmp_path / "claims.yml", content)
    for claim in found or []:
        assert claim.verdict in claims.VERDICTS
        assert claim.checks


words = st.sampled_from(["", "a1b2c3d4", "a1b2c3d", "A1B2C3D4", 64 * "0", 65 * "0", "#", "traces/x.csv", "GitHub x"])
lines = st.lists(words, max_size=4).map("  ".join)


@shared_folder
@given(st.binary(max_size=80) | st.lists(lines, max_size=3).map("\n".join).map(str.encode))
def test_a_damaged_registry_is_refused(tmp_path, content):
    path = tmp_path / "registry.txt"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(traces, "REGISTRY", path)
        found = understood_or_refused(lambda _: traces.registry(), path, content)
    for entry in (found or {}).values():
        assert re.fullmatch("[0-9a-f]{8,64}", entry.sha256)
        assert entry.origin


@shared_folder
@given(st.binary(max_size=80) | values.map(json.dumps).map(str.encode))
def test_damaged_results_are_refused(tmp_path, content):
    (tmp_path / "fig").mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HI_RESULTS", str(tmp_path))
        found = understood_or_refused(lambda _: results.read_values("fig"), tmp_path / "fig" / "values.json", content)
    assert found is None or isinstance(found, dict)


rows = st.lists(st.floats(0, 1), min_size=len(sweeps.MEASURED) - 1, max_size=len(sweeps.MEASURED) + 2)
notes = st.tuples(st.text(max_size=5), st.lists(rows | values, max_size=3)) | st.lists(values, max_size=3) | values


@shared_folder
@given(st.binary(max_size=80) | st.lists(notes.map(json.dumps), max_size=3).map("\n".join).map(str.encode))
def test_a_damaged_journal_is_not_believed(tmp_path, content):
    path = tmp_path / "journal"
    path.write_bytes(content)
    for found in Journal(path).read().values():
        assert all(len(row) == len(sweeps.MEASURED) + 1 for row in found)


@pytest.mark.uncounted
@settings(max_examples=60)
@given(command_lines())
def test_any_command_line_is_understood_or_refused(tmp_path_factory, line):
    understood_or_refused_in_one_line(line, tmp_path_factory.mktemp("empty"))


@pytest.mark.uncounted
@pytest.mark.parametrize("name", [name for name in traces.registry() if (traces.DATA / name).is_file()])
@pytest.mark.parametrize("damage", ["truncated", "corrupt", "swapped"])
def test_damaged_data_are_refused(name, damage, tmp_path, monkeypatch):
    content = (traces.DATA / name).read_bytes()
    middle = len(content) // 2
    damaged = {
        "truncated": content[:middle],
        "corrupt": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
        "swapped": (
            traces.DATA / ("traces/cifar10-resnet8.csv" if "resnet56" in name else "preprocessing.csv")
        ).read_bytes(),
    }[damage]
    if damaged == content:
        damaged = (traces.DATA / "benchmarks/speed.csv").read_bytes()
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(damaged)
    monkeypatch.setattr(traces, "DATA", tmp_path)
    monkeypatch.setattr(traces, "TRACES", tmp_path / "traces")
    with pytest.raises(ValueError, match="damaged or was swapped"):
        hi.load_trace(path.stem) if name.startswith("traces/") and path.suffix == ".csv" else traces.data_file(name)
    result = CliRunner().invoke(cli.app, ["traces", "verify"])
    assert result.exit_code == 2
    assert f"BROKEN   {path}" in result.stdout


def test_notebooks_read_data_through_the_registry():
    for path in places.NOTEBOOKS.glob("*.ipynb"):
        cells = json.loads(path.read_text())["cells"]
        lines = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code").splitlines()
        for line in lines:
            reads = re.search(r"read_text\(|read_csv\(|read_bytes\(|\bopen\(|loadtxt\(", line)
            assert not reads or "data_file(" in line, (path.name, line)
            assert not re.search(r"(?:TRACES|DATA) /", line), (path.name, line)
