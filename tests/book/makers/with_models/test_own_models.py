"""ONNX models of one's own, for real: networks that these tests build, on pictures that they draw. No torch."""

import io
import json
import subprocess
import sys

import numpy as np
import onnx
import pandas as pd
import pytest
from onnx import TensorProto, helper
from PIL import Image
from typer.testing import CliRunner

import hi_lib as hi
from hi_book.commands import main as cli
from hi_book.makers.networks import ModelOptions
from hi_lib import traces

CLASSES = [f"{number}" for number in range(1, 11)]
# The end of each network, from logits z to the output y.
ENDS = {
    "logits": [("Identity", ["z"], "y", {})],
    "softmax": [("Softmax", ["z"], "y", {})],
    "log": [("LogSoftmax", ["z"], "y", {})],
    "maps": [("Unsqueeze", ["z", "axes_2_3"], "y", {})],
    "sigmoid": [("Sigmoid", ["z"], "y", {})],
    "uint8": [
        ("Softmax", ["z"], "p", {}),
        ("QuantizeLinear", ["p", "step", "zero_u"], "q", {}),
        ("DequantizeLinear", ["q", "step", "zero_u"], "y", {}),
    ],
    "int8": [
        ("Softmax", ["z"], "p", {}),
        ("QuantizeLinear", ["p", "step", "zero_i"], "q", {}),
        ("DequantizeLinear", ["q", "step", "zero_i"], "y", {}),
    ],
    "int8 as it is": [("Softmax", ["z"], "p", {}), ("QuantizeLinear", ["p", "step", "zero_i"], "y", {})],
}
TYPES = {"int8 as it is": TensorProto.INT8}


def constants(weight, bias):
    arrays = {"weight": weight, "bias": bias, "step": np.float32(1 / 256), "zero_u": np.uint8(0)}
    arrays |= {"zero_i": np.int8(-128), "axes_2_3": np.array([2, 3])}
    return [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in arrays.items()]


def network(path, shape, weight, bias=0.0, end="logits", factor=1.0):
    """An ONNX file: the mean of each channel times a factor, then a dense layer (channels, classes), then an end."""
    axes = [1, 2] if shape[3] in (1, 3) else [2, 3]
    weight = np.asarray(weight, np.float32)
    bias = np.broadcast_to(np.float32(bias), weight.shape[1])
    steps = [("ReduceMean", ["x", "axes"], "mean", {"keepdims": 0}), ("Mul", ["mean", "factor"], "m", {})]
    steps += [("MatMul", ["m", "weight"], "s", {}), ("Add", ["s", "bias"], "z", {}), *ENDS[end]]
    nodes = [helper.make_node(kind, inputs, [output], **more) for kind, inputs, output, more in steps]
    own = [onnx.numpy_helper.from_array(np.array(axes), "axes")]
    own += [onnx.numpy_helper.from_array(np.float32(factor), "factor"), *constants(weight, bias)]
    batch = shape[0]
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    told = [batch, weight.shape[1], *([1, 1] if end == "maps" else [])]
    graph = helper.make_graph(
        nodes, "tiny", [given], [helper.make_tensor_value_info("y", TYPES.get(end, TensorProto.FLOAT), told)], own
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path


def shades(path, steepness=400.0, **more):
    """A network that calls a grey picture of brightness k / 9 class k, the surer the steeper."""
    levels = np.linspace(0, 1, 10)
    weight, bias = np.tile(2 * steepness * levels / 3, (3, 1)), -steepness * levels**2
    return network(path, more.pop("shape", ["n", 3, 16, 16]), weight, bias, **more)


def picture(path, colour):
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    Image.fromarray(np.broadcast_to(np.uint8(colour), (20, 30, 3)).copy()).save(buffer, "PNG")
    path.write_bytes(buffer.getvalue())


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Data in a folder of their own, and five pictures in each of the folders 1 to 10."""
    monkeypatch.delenv("HI_TRACES", raising=False)
    monkeypatch.setattr(traces, "DATA", tmp_path / "data")
    monkeypatch.setattr(traces, "TRACES", tmp_path / "data" / "traces")
    for place, name in enumerate(CLASSES):
        for number in range(5):
            picture(tmp_path / "pictures" / name / f"{number}.png", min(255, max(0, place * 255 // 9 + number - 2)))
    return tmp_path


def make(place, *options, pictures="pictures", model="m.onnx"):
    line = ["traces", "make", "mine", "--onnx", place / model, "--images", place / pictures, *options]
    return CliRunner().invoke(cli.app, [str(each) for each in line])


def made(place, *options, **more):
    done = make(place, *options, **more)
    assert done.exit_code == 0, done.output
    return pd.read_csv(place / "data" / "own" / "mine.csv"), done


def refused(place, *options, **more):
    done = make(place, *options, **more)
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1), done.output
    assert hi.list_traces() == []
    return done.stderr


def test_numeric_folders_count_as_numbers(place):
    shades(place / "m.onnx")
    frame, done = made(place)
    assert frame["correct"].all()
    assert "accuracy 100.0%" in done.stdout
    assert "numeric order" in done.stderr
    assert "warning" not in done.stderr


def test_a_network_that_wants_other_pixels_is_near_chance_until_it_is_told(place):
    shades(place / "m.onnx", factor=1 / 255)
    _, done = made(place)
    assert "warning: an accuracy of 10.0% is near chance" in done.stderr
    frame, done = made(place, "--scale", "1")
    assert frame["correct"].all()
    assert "warning" not in done.stderr


def test_mean_and_std_are_those_of_a_training(place):
    shades(place / "m.onnx")
    plain, _ = made(place)
    # A network that halves what it gets and adds 0.4.
    levels = np.linspace(0, 1, 10)
    weight, bias = np.tile(800 * levels / 3, (3, 1)), -400 * levels**2
    network(place / "m.onnx", ["n", 3, 16, 16], weight, bias + 0.4 * weight.sum(axis=0), factor=0.5)
    shifted, done = made(place, "--scale", "1/255", "--mean", "0.4,0.4,0.4", "--std", "0.5")
    np.testing.assert_allclose(shifted["confidence"], plain["confidence"], rtol=1e-3)
    assert "guessed: --scale" not in done.stderr


def test_fewer_folders_than_classes_are_refused_unless_they_are_mapped(place):
    shades(place / "m.onnx")
    for number in range(10):
        picture(place / "few" / "cat" / f"{number}.png", 3 * 255 // 9)
        picture(place / "few" / "dog" / f"{number}.png", 5 * 255 // 9)
    assert "only 2 folders" in refused(place, pictures="few")
    (place / "classes.txt").write_text("\n".join(["a", "b", "c", "cat", "d", "dog", "e", "f", "g", "h"]))
    frame, _ = made(place, "--classes", place / "classes.txt", pictures="few")
    assert frame["correct"].all()
    assert sorted(set(frame["label"])) == [3, 5]


@pytest.mark.parametrize("end", ["softmax", "uint8", "int8", "int8 as it is"])
@pytest.mark.parametrize("steepness", [30.0, 400.0])
def test_probabilities_quantised_or_not_are_those_of_the_network(place, end, steepness):
    shades(place / "m.onnx", steepness)
    exact, _ = made(place)
    shades(place / "m.onnx", steepness, end=end)
    frame, done = made(place)
    assert "taken for probabilities" in done.stderr
    np.testing.assert_allclose(frame["confidence"], exact["confidence"], atol=1 / 256)
    again, done = made(place, "--outputs", "logits") if end != "int8 as it is" else (frame, done)
    assert end == "int8 as it is" or again["confidence"].max() < 0.24


def test_one_decision_for_all_pictures(place):
    """Of 200 pictures, the first hundred give outputs from 0 to 1 that add up to one, the others do not."""
    network(place / "m.onnx", ["n", 3, 16, 16], [[0, 2], [1, 0], [0, 0]])  # class 0: green, class 1: twice the red
    for number in range(100):
        picture(place / "two" / "a" / f"{number:03}.png", [0, 255, 0])
        picture(place / "two" / "b" / f"{number:03}.png", [255, 100 + number, 0])
    frame, done = made(place, pictures="two")
    assert "taken for logits" in done.stderr
    np.testing.assert_allclose(frame["confidence"][:100], 1 / (1 + np.exp(-1)))
    assert "--outputs probabilities: " in make(place, "--outputs", "probabilities", pictures="two").stderr


@pytest.mark.parametrize("batch", [1, 8, 64])
def test_a_fixed_batch_is_filled(place, batch):
    shades(place / "m.onnx")
    free, _ = made(place)
    shades(place / "m.onnx", shape=[batch, 3, 16, 16])
    fixed, _ = made(place)
    pd.testing.assert_frame_equal(free, fixed)


def test_outputs_that_are_not_classes_are_refused(place):
    shades(place / "m.onnx", end="maps")
    assert "must be (n, classes)" in refused(place)


def test_a_sigmoid_tells_two_classes(place):
    weight = np.full((3, 1), 10 / 3)
    network(place / "m.onnx", ["n", 3, 16, 16], weight, -5.0, end="sigmoid")
    for number in range(6):
        picture(place / "two" / "dark" / f"{number}.png", 10 * number)
        picture(place / "two" / "light" / f"{number}.png", 255 - 10 * number)
    frame, done = made(place, pictures="two")
    assert frame["predicted"].tolist() == [0] * 6 + [1] * 6
    assert "second of two classes" in done.stderr
    network(place / "m.onnx", ["n", 3, 16, 16], weight, -5.0)
    logit, done = made(place, pictures="two")
    assert "taken for logits" in done.stderr
    np.testing.assert_allclose(logit["confidence"], frame["confidence"], rtol=1e-5)


@pytest.mark.parametrize("shape", [["n", 1, 16, 16], ["n", 16, 16, 1], ["n", 3, 16, 16]])
def test_grey_pictures(place, shape):
    levels = np.linspace(0, 1, 10)
    channels = 1 if 1 in shape else 3
    network(place / "m.onnx", shape, np.tile(800 * levels / channels, (channels, 1)), -400 * levels**2)
    assert made(place, "--grey")[0]["correct"].all()
    if channels == 1:
        assert made(place)[0]["correct"].all()  # seen from its shape


@pytest.mark.parametrize("shape", [["n", 3, 16, 16], ["n", 16, 16, 3], [1, 3, 16, 16], [1, 3, "h", "w"]])
@pytest.mark.parametrize("end", ["logits", "softmax", "log"])
def test_any_classifier_makes_a_trace(place, shape, end):
    weight = np.random.default_rng(0).normal(0, 5, (3, 3)).astype(np.float32)
    network(place / "m.onnx", shape, weight, end=end)
    colours = np.zeros((9, 3))
    for row, number in enumerate([0, 3, 6, 1, 4, 7, 2, 5, 8]):
        colours[row, number % 3] = 20 * number + 50
        picture(place / "colours" / "abc"[number % 3] / f"{number}.png", colours[row])
    frame, _ = made(place, *(["--size", 16] if "h" in shape else []), pictures="colours")
    assert frame["label"].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    logits = colours / 255 @ weight
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(frame["confidence"], expected.max(axis=1), rtol=1e-5)
    assert (frame["predicted"] == expected.argmax(axis=1)).all()
    assert len(hi.load_trace("mine")) == 9
    assert "mine" not in hi.list_traces(own=False)


def test_bad_files_are_named(place):
    (place / "m.onnx").write_bytes(b"no model")
    assert "m.onnx is not a readable ONNX model" in refused(place)
    assert "m.onnx" in refused(place, model="absent/m.onnx")
    shades(place / "m.onnx")
    (place / "pictures" / "1" / "bad.png").write_bytes(b"no picture")
    assert "1/bad.png is not a readable image" in refused(place)
    shades(place / "m.onnx", shape=["n", 3, "h", "w"])
    assert "say it with --size" in refused(place)


def test_an_own_model_is_timed(place):
    shades(place / "m.onnx", shape=[8, 3, 16, 16])
    line = ["timing", "measure", "--onnx", place / "m.onnx", "--images", place / "pictures", "--repeats", 3]
    done = CliRunner().invoke(cli.app, [str(each) for each in [*line, "--out", place / "times.csv"]])
    assert done.exit_code == 0, done.output
    assert (pd.read_csv(place / "times.csv")["milliseconds"] > 0).all()
    assert not (place / "data").exists()


def test_models_of_ones_own_meet_on_a_wire(place):
    """The same model on both sides: each answer of the L-ML is the local one."""
    real = pytest.importorskip("hi_book.served.real")
    model, folder = shades(place / "m.onnx"), place / "pictures"
    own, pictures = real.own_small(model, ModelOptions(), folder)
    small = real.RealSmall(own.classes, pictures, 9, 0)
    large = real.RealLarge(real.own_large(model, ModelOptions()).classes)
    samples = np.arange(9)
    assert all(0.1 <= small.classify(sample) <= 1 for sample in samples)
    answers = np.array(large.answers(samples, [small.image(sample) for sample in samples]))
    assert small.agrees(samples, answers).all()
    assert (small.correct(samples) == small.lml_correct(samples, answers)).all()
    with pytest.raises(ValueError, match="not a readable image"):
        large.answers([0], [b"no picture"])
    command = [sys.executable, "-m", "hi_book.commands.main", "live", "server", "--bind", "tcp://127.0.0.1:0"]
    command += ["--onnx", str(model)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        address = server.stdout.readline().removeprefix("listening on ").strip()
        given = ["--onnx", str(model), "--images", str(folder), "--server", address, "--json"]
        done = CliRunner().invoke(cli.app, ["live", "device", *given, "--samples", "9"])
        server.stdin.close()
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["lost"] == 0
