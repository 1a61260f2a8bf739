"""A trace of one's own, without any runtime: what a network wants, what it says, which folder is which class."""

import io
import json
import os

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

import hi_lib as hi
from hi_book.commands import main as cli
from hi_book.commands import making
from hi_book.makers import folders, networks, outputs, timings
from hi_book.makers.networks import ModelOptions
from hi_lib import traces

FLOAT = "tensor(float)"


def form(shape, path, kind=FLOAT, **asked):
    return networks.form_of(path / "m.onnx", shape, kind, ModelOptions(**asked))


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Data in a folder of their own."""
    monkeypatch.delenv("HI_TRACES", raising=False)
    monkeypatch.setattr(traces, "DATA", tmp_path / "data")
    monkeypatch.setattr(traces, "TRACES", tmp_path / "data" / "traces")
    return tmp_path


def picture(path, shade):
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    Image.fromarray(np.full((6, 9, 3), shade, np.uint8)).save(buffer, "PNG")
    path.write_bytes(buffer.getvalue())


# --- what it wants ---


@pytest.mark.parametrize(
    ("shape", "asked", "expected"),
    [
        (["n", 3, 16, 8], {}, (16, 8, 3, "nchw", False, None)),
        (["n", 16, 8, 3], {}, (16, 8, 3, "nhwc", False, None)),
        ([8, 3, "h", "w"], {"size": 5}, (5, 5, 3, "nchw", False, 8)),
        ([1, 28, 28, 1], {}, (28, 28, 1, "nhwc", True, 1)),
        (["n", 3, 28, 3], {}, (28, 3, 3, "nchw", False, None)),
        (["n", 3, 28, 3], {"layout": "nhwc"}, (3, 28, 3, "nhwc", False, None)),
        ([-1, None, "h", "w"], {"size": 4, "layout": "nhwc"}, None),
        (["n", "c", "h", "w"], {"size": 4, "layout": "nchw", "grey": True}, (4, 4, 1, "nchw", True, None)),
        (["n", 3, 4, 4], {"grey": True}, (4, 4, 3, "nchw", True, None)),
    ],
)
def test_what_a_network_wants_is_read_from_its_shape(tmp_path, shape, asked, expected):
    found, _ = form(shape, tmp_path, **asked)
    if expected:
        assert (found.height, found.width, found.channels, found.layout, found.grey, found.batch) == expected
    assert found.scale == 1 / 255


@pytest.mark.parametrize(
    ("shape", "kind", "asked", "problem"),
    [
        (["n", 3, "h", "w"], FLOAT, {}, "leaves the size of its pictures open .*--size"),
        (["n", 3, 16, 16], FLOAT, {"size": 20}, "takes pictures of 16 x 16: --size must be left out, got 20"),
        (["n", 5, 16, 16], FLOAT, {}, "it must take pictures"),
        (["n", 3], FLOAT, {}, "it must take pictures"),
        (["n", 3, 16, 16], "tensor(int64)", {}, "it must take pictures"),
        (["n", 3, 16, 16], FLOAT, {"layout": "nhwc"}, "--layout must be nchw"),
        (["n", 3, 16, 16], FLOAT, {"layout": "nwhc"}, "did you mean"),
        (["n", 3, 16, 16], FLOAT, {"mean": (1, 2)}, "--mean must hold one number or 3"),
        (["n", 3, 16, 16], FLOAT, {"std": (1, 0, 1)}, "--std must not be 0"),
        (["n", 3, 16, 16], FLOAT, {"scale": 0}, "--scale must be in"),
        (["n", 3, "h", "w"], FLOAT, {"size": 0}, "--size must be an integer >= 1"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, shape, kind, asked, problem):
    with pytest.raises(ValueError, match=problem):
        form(shape, tmp_path, kind, **asked)


def test_what_is_guessed_is_said(tmp_path):
    _, (note,) = form(["n", 3, 16, 16], tmp_path)
    assert note.endswith("--layout nchw, --scale 1/255, --mean 0, --std 1 (guessed: --scale)")
    assert form(["n", "c", 3, "w"], tmp_path, size=3)[1][0].endswith("(guessed: --scale, --layout)")
    assert "guessed" not in form(["n", 3, 16, 16], tmp_path, scale=1)[1][0]


def test_the_scale_follows_from_whole_numbers_and_from_the_mean(tmp_path):
    assert form(["n", 3, 4, 4], tmp_path, "tensor(uint8)")[0].scale == 1
    assert form(["n", 3, 4, 4], tmp_path, mean=(127.5,))[0].scale == 1
    assert form(["n", 3, 4, 4], tmp_path, mean=(0.5, 0.4, 0.5))[0].scale == 1 / 255


def test_pixels_are_scaled_shifted_and_turned(tmp_path):
    pixels = np.zeros((2, 2, 3), np.uint8)
    pixels[0, 1] = 51, 102, 255
    asked = {"mean": (0.1, 0.2, 0.5), "std": (0.5, 0.5, 0.25)}
    found = networks.prepared(form(["n", 3, 2, 2], tmp_path, **asked)[0], [pixels])
    assert (found.shape, found.dtype) == ((1, 3, 2, 2), np.float32)
    np.testing.assert_allclose(found[0, :, 0, 1], [0.2, 0.4, 2.0], rtol=1e-5)
    whole = networks.prepared(form(["n", 2, 2, 3], tmp_path, "tensor(int8)", mean=(128,))[0], [pixels])
    assert whole.dtype == np.int8
    assert whole[0, 0, 1].tolist() == [-77, -26, 127]
    grey = networks.prepared(form(["n", 3, 2, 2], tmp_path, grey=True, scale=1)[0], [pixels[..., :1]])
    assert grey[0, :, 0, 1].tolist() == [51, 51, 51]


def answering(classes, batch=None, at_most=None):
    """A stand-in for a network: first the mean of each picture, then noughts; it refuses other batches than its own."""
    seen = []

    def run(pixels):
        seen.append(len(pixels))
        if (at_most and len(pixels) > at_most) or (batch and len(pixels) != batch):
            raise ValueError("fails")
        found = np.zeros((len(pixels), classes))
        found[:, 0] = pixels.reshape(len(pixels), -1).mean(axis=1)
        return [found]

    return run, seen


@pytest.mark.parametrize(("batch", "at_most", "sizes"), [(8, None, {8}), (None, None, {2, 20}), (None, 1, {2, 1})])
def test_batches_are_as_the_network_wants_them(tmp_path, batch, at_most, sizes):
    run, seen = answering(4, batch, at_most)
    shape = form([batch or "n", 3, 2, 2], tmp_path, scale=1)[0]
    network = networks.tried(tmp_path / "m.onnx", shape, run, [])
    shades = np.arange(20)
    found = network.outputs([np.full((2, 2, 3), shade, np.uint8) for shade in shades])
    assert found[:, 0].tolist() == shades.tolist()
    assert network.classes == 4
    assert set(seen) == sizes


@pytest.mark.parametrize("shape", [(2, 4, 1, 1), (2,), (4, 2), (2, 0), ()])
def test_outputs_that_tell_no_classes_are_refused(tmp_path, shape):
    given = form(["n", 3, 2, 2], tmp_path)[0]._replace(batch=2)
    with pytest.raises(ValueError, match=r"m\.onnx answers 2 pictures with an output of shape .*it must be \(n, class"):
        networks.tried(tmp_path / "m.onnx", given, lambda _: [np.zeros(shape)], [])


def test_the_first_output_that_tells_classes_is_taken(tmp_path):
    given = form(["n", 3, 2, 2], tmp_path)[0]
    several = lambda batch: [[{"a": 0.5}], np.zeros((len(batch), 4, 1)), np.full((len(batch), 3), 7.0)]  # noqa: E731
    network = networks.tried(tmp_path / "m.onnx", given, several, [])
    assert network.classes == 3
    assert network.outputs([np.zeros((2, 2, 3), np.uint8)]).tolist() == [[7, 7, 7]]


# --- what it says ---


def quantised(probabilities):
    return np.round(np.asarray(probabilities) * 256) / 256


def test_quantised_probabilities_stay_probabilities():
    rng = np.random.default_rng(0)
    exact = rng.dirichlet(np.full(10, 0.2), 500)
    for raw in (exact, quantised(exact), exact.astype(np.float16), quantised(rng.dirichlet(np.full(1000, 0.1), 50))):
        read = outputs.read(raw)
        assert read.kind == "probabilities"
        np.testing.assert_array_equal(read.probabilities, np.asarray(raw, float))


def test_whole_numbers_of_eight_bits_are_steps():
    steps = np.array([[250, 4, 1], [100, 90, 66]])
    for raw in (steps.astype(np.uint8), (steps - 128).astype(np.int8)):
        np.testing.assert_array_equal(outputs.read(raw).probabilities, steps / 256)
    with pytest.raises(ValueError, match=r"whole numbers .int64. whose scale is not known"):
        outputs.read(steps)
    with pytest.raises(ValueError, match=r"whole numbers .int8. whose scale is not known"):
        outputs.read(np.array([[3, -20, 7]], np.int8))
    assert outputs.read(np.array([[3, -20, 7]], np.int8), "logits").probabilities.argmax() == 2


def test_one_picture_out_of_bounds_makes_all_of_them_logits():
    raw = np.array([[1.0, 0.0], [0.5, 0.5], [4.0, 1.0]])
    read = outputs.read(raw)
    assert read.kind == "logits"
    np.testing.assert_allclose(read.probabilities.sum(axis=1), 1)
    assert read.probabilities[0, 0] == pytest.approx(1 / (1 + np.exp(-1)))
    assert outputs.read(raw[:2]).kind == "probabilities"
    assert outputs.read(raw[:2], "logits").probabilities[0, 0] == read.probabilities[0, 0]
    with pytest.raises(ValueError, match=r"--outputs probabilities: .*from 0 to 4"):
        outputs.read(raw, "probabilities")
    with pytest.raises(ValueError, match="did you mean logits"):
        outputs.read(raw, "logit")


def test_logarithms_of_probabilities_are_logits():
    exact = np.array([[0.9, 0.1], [0.2, 0.8]])
    np.testing.assert_allclose(outputs.read(np.log(exact)).probabilities, exact)


def test_one_output_tells_two_classes():
    sigmoid = outputs.read(np.array([[0.9], [0.2]]))
    np.testing.assert_allclose(sigmoid.probabilities, [[0.1, 0.9], [0.8, 0.2]])
    logit = outputs.read(np.array([[2.0], [-1.0]]))
    np.testing.assert_allclose(logit.probabilities[:, 1], 1 / (1 + np.exp([-2.0, 1.0])))
    assert "second of two classes" in logit.why


def test_what_is_no_number_is_refused():
    with pytest.raises(ValueError, match="not all finite"):
        outputs.read(np.array([[np.nan, 1]]))


# --- which folder is which class ---


def test_folders_stand_for_classes_only_where_there_are_as_many(tmp_path):
    numbered = [str(number) for number in range(1, 11)]
    assert folders.ranked(numbered, 10, tmp_path / "m.onnx")["10"] == 9
    with pytest.raises(ValueError, match=r"m\.onnx tells 10 classes apart, but there are only 2 folders.*--classes"):
        folders.ranked(["cat", "dog"], 10, tmp_path / "m.onnx")
    with pytest.raises(ValueError, match=r"m\.onnx tells 2 classes apart, but there are 3 folders"):
        folders.ranked("abc", 2, tmp_path / "m.onnx")


@pytest.mark.parametrize(
    "text",
    [
        "bird\ncat\ndeer\ndog\n",
        "dog 3\ncat 1\n",
        "\ufefffolder,index\r\ncat,1\r\ndog,3\r\n",
        "cat: 1\ndog: 3",
        "dog\t3\ncat\t1\nfrog\t17",
        "bird, a bird\ncat, tabby, tabby cat\ndeer\ndog 12\n",
        '["bird", "cat", "deer", "dog"]',
        '{"cat": 1, "dog": 3}',
        '{"0": ["n0", "bird"], "1": ["n1", "cat"], "3": ["n3", "dog"]}',
    ],
)
def test_a_file_says_which_class_a_folder_is(tmp_path, text):
    path = tmp_path / "classes.txt"
    path.write_text(text, encoding="utf-8")
    assert folders.mapped(["cat", "dog"], path, 4) == {"cat": 1, "dog": 3}


def test_names_that_end_in_numbers_are_names(tmp_path):
    path = tmp_path / "classes.txt"
    path.write_text("class 7\nclass 8\n")
    assert folders.mapped(["class 8", "class 7"], path, 2) == {"class 7": 0, "class 8": 1}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("bird\ncat\n", "does not say which class the folder 'dog' is"),
        ("cat\ndog\nbird\n", "names 3 classes, but the network tells 4 apart"),
        ("cat 1\ndog 4\n", "says 4 for 'dog'; classes go from 0 to 3"),
        ("cat\ndog\ncat\nbird\n", "names 'cat' 2 times"),
        ('{"cat": 1, "dog": -1}', "says -1 for 'dog'"),
        ('{"cat": "x"}', "must map folders to numbers"),
        ('{"cat"', "is no readable JSON"),
        ("[" * 100_000, "is no readable JSON: maximum recursion"),
        ("x" * (2**24 + 1), "cannot be read: it has more than 16,777,216 bytes"),
        ("\n", "is empty"),
    ],
)
def test_a_file_that_does_not_say_it_is_named(tmp_path, text, problem):
    path = tmp_path / "classes.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"classes\.txt {problem}"):
        folders.mapped(["cat", "dog"], path, 4)


@pytest.mark.parametrize("kind", ["folder", "pipe", "device"])
def test_what_has_no_end_is_not_read(tmp_path, kind):
    path = tmp_path / "endless"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(ValueError, match="endless cannot be read: it is no file"):
        folders.mapped(["cat"], path, 2)
    with pytest.raises(ValueError, match="endless is not a readable ONNX model: it is no file"):
        networks.read(path, ModelOptions())


# --- the whole way ---


def stand_in(classes):
    """A network that calls a picture of brightness k / (classes − 1) class k."""

    def read(_path, asked):
        given, notes = networks.form_of(_path, ["n", 3, 2, 2], FLOAT, asked)

        def run(pixels):
            bright = pixels.mean(axis=(1, 2, 3))[:, None]
            return [-200 * (bright - np.linspace(0, 1, classes)) ** 2]

        return networks.tried(_path, given, run, notes)

    return read


@pytest.fixture
def model(place, monkeypatch):
    monkeypatch.setattr(making, "_needs_onnx", lambda: None)
    monkeypatch.setattr("importlib.metadata.version", lambda _package: "1.0")
    monkeypatch.setattr(networks, "read", stand_in(11))
    path = place / "m.onnx"
    path.write_bytes(b"a network")
    for number in range(11):
        for name in "ab":
            picture(place / "pictures" / str(number + 1) / f"{name}.png", round(number * 25.5))
    return path


def run(*arguments):
    return CliRunner().invoke(cli.app, [str(each) for each in arguments])


def make(place, *options, name="mine"):
    given = ["--onnx", place / "m.onnx", "--images", place / "pictures"]
    return run("traces", "make", name, *given, *options)


@pytest.mark.usefixtures("model")
def test_an_own_trace_is_kept_apart_from_the_books(place):
    shipped = hi.list_traces(own=False)
    done = make(place)
    assert done.exit_code == 0, done.output
    assert done.stdout.endswith("mine.csv: 22 samples, accuracy 100.0%\n")
    assert "numeric order: 1 is 0, …, 11 is 10" in done.stderr
    assert "taken for logits" in done.stderr
    assert "warning" not in done.stderr
    assert (place / "data" / "own" / "mine.csv").is_file()
    assert (hi.list_traces(), hi.list_traces(own=False)) == ([*shipped, "mine"], shipped)
    assert len(hi.load_trace("mine")) == 22
    about = json.loads((place / "data" / "own" / "mine.json").read_text())
    assert (about["accuracy"], about["outputs"], about["classes"]["11"]) == (1, "logits", 10)


@pytest.mark.usefixtures("model")
def test_a_folder_of_ones_own_choice_is_used_and_read(place, monkeypatch):
    assert make(place).exit_code == 0
    monkeypatch.setenv("HI_TRACES", str(place / "elsewhere"))
    assert make(place, name="other").exit_code == 0
    assert (place / "elsewhere" / "other.csv").is_file()
    assert hi.list_traces() == ["mine", "other"]


@pytest.mark.usefixtures("model")
def test_a_model_that_guesses_is_noticed(place):
    done = make(place, "--scale", "1")
    assert done.exit_code == 0
    assert "warning: an accuracy of 18.2% is near chance, 9.1% ± 6.1%" in done.stderr


@pytest.mark.usefixtures("model")
def test_a_subset_is_mapped_or_refused(place):
    for number in range(3, 12):
        for file in (place / "pictures" / str(number)).iterdir():
            file.unlink()
    refused = make(place)
    assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1)
    assert "only 2 folders" in refused.stderr
    assert not (place / "data").exists()
    (place / "classes.txt").write_text("1 0\n2 1\n")
    done = make(place, "--classes", place / "classes.txt")
    assert "4 samples, accuracy 100.0%" in done.stdout


@pytest.mark.usefixtures("model")
def test_pictures_beside_the_folders_are_refused(place):
    picture(place / "pictures" / "x.png", 3)
    refused = make(place)
    assert (refused.exit_code, "x.png lies in no folder" in refused.stderr) == (2, True)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--scale", "a"], "--scale must be a number or a fraction"),
        (["--mean", "1,,2"], "--mean must be a number"),
        (["--std", "1/0"], "--std must be a number"),
        (["--outputs", "logit"], "did you mean logits"),
        (["--layout", "chw"], "--layout must be one of"),
    ],
)
@pytest.mark.usefixtures("model")
def test_options_that_cannot_be_read_are_one_line(place, options, problem):
    refused = make(place, *options)
    assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1), refused.stderr
    assert problem in refused.stderr


def test_options_of_an_own_model_need_one():
    for line in (["traces", "make", "all", "--grey"], ["timing", "measure", "--mean", "0.5"]):
        refused = run(*line)
        assert (refused.exit_code, "there is no --onnx" in refused.stderr) == (2, True)
    refused = run("timing", "measure", "--out", "x.csv")
    assert "--out describes a model of your own" in refused.stderr


@pytest.mark.parametrize("line", [["traces", "make", "mine"], ["timing", "measure"]])
def test_what_is_missing_says_how_to_get_it(line, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    refused = run(*line, "--onnx", tmp_path / "m.onnx", "--images", tmp_path)
    assert refused.exit_code == 2
    assert refused.stderr == "error: a model of your own needs onnxruntime, PIL: run make onnx\n"


@pytest.mark.usefixtures("model")
def test_an_own_model_is_timed(place, monkeypatch):
    monkeypatch.setattr(timings, "BATCH_SIZES", (1, 2, 30))
    out = place / "times.csv"
    line = ["timing", "measure", "--onnx", place / "m.onnx", "--repeats", 3]
    done = run(*line, "--images", place / "pictures", "--out", out)
    assert done.exit_code == 0, done.output
    assert "batch of 30: " in done.stdout
    table = pd.read_csv(out)
    assert table["batch_size"].tolist() == [1, 2, 30] * 3
    assert not (place / "data").exists()
    assert run(*line).exit_code == 0  # random pictures
    refused = run(*line, "--out", place / "m.onnx")
    assert (refused.exit_code, "would replace" in refused.stderr) == (2, True)
