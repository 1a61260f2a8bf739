"""Models of one's own on the wire, without any runtime: what their outputs are, how long they take, what is refused."""

import functools
import json
import time
from pathlib import Path

import numpy as np
import pytest
from command_lines import COMMANDS
from grey_pictures import CLASSES, SIDE, level, network, picture
from typer.testing import CliRunner
from wire_peers import serving

from hi_book.commands import live as commands
from hi_book.commands import session
from hi_book.commands.main import app
from hi_book.makers import networks
from hi_book.makers.networks import ModelOptions
from hi_book.served import real

FILE = Path("m.onnx")


def nearest(pictures, slowness=0.0):
    """Logits that are all nought for a black picture: the largest of 2 v l − l² is that of the nearest grey."""
    time.sleep(slowness)
    values = np.array([one.mean() / 255 for one in pictures])[:, None]
    greys = np.array([level(label) / 255 for label in range(CLASSES)])
    return 40 * np.sign(values) * (2 * values * greys - greys**2)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Pictures of four classes, and no runtime."""
    monkeypatch.setattr(commands, "_needs_models", lambda own: None)  # noqa: ARG005
    for label in range(CLASSES):
        (tmp_path / "pictures" / str(label)).mkdir(parents=True)
        for number in range(10):
            (tmp_path / "pictures" / str(label) / f"{number}.png").write_bytes(picture(label))
    return tmp_path


def own(monkeypatch, says, asked=None, place=None):
    monkeypatch.setattr(networks, "read", functools.partial(network, says=says))
    if place is None:
        return real.own_large(FILE, asked or ModelOptions())
    return real.own_small(FILE, asked or ModelOptions(), place / "pictures")


def test_real_pictures_decide_what_the_outputs_are_and_not_a_black_one(place, monkeypatch):
    model, pictures = own(monkeypatch, nearest, place=place)
    assert any("taken for logits" in note for note in model.notes)
    found = model.classes(pictures.files)
    assert (found.classes == pictures.labels).all()
    assert ((found.confidence > 0.25) & (found.confidence < 1)).all()
    assert (model.classes.count, len(pictures.names)) == (CLASSES, 40)


def test_what_the_user_says_of_the_outputs_is_held_to(place, monkeypatch):
    with pytest.raises(ValueError, match="--outputs probabilities: the network's outputs go from"):
        own(monkeypatch, nearest, ModelOptions(outputs="probabilities"), place)
    for which in (place, None):
        with pytest.raises(ValueError, match="did you mean logits"):
            own(monkeypatch, nearest, ModelOptions(outputs="logit"), which)
    model, pictures = own(
        monkeypatch, lambda given: np.abs(np.tanh(nearest(given))), ModelOptions(outputs="logits"), place
    )
    assert model.classes(pictures.files).confidence.max() < 0.5


def test_an_l_ml_with_one_output_is_known_by_all_that_it_has_said(monkeypatch):
    """0.3 is the first class if it is a probability, and the second one if it is a logit: one of −2 shows that."""
    for asked, expected in ((None, [[0], [1, 0], [1]]), ("logits", [[1], [1, 0], [1]]), ("probabilities", [[0]])):
        says = iter([[0.3], [0.3, -2.0], [0.3]])
        monkeypatch.setattr(
            networks,
            "read",
            lambda path, asked, says=says: network(path, asked, lambda g: np.zeros((len(g), 1)))._replace(
                outputs=lambda _given: np.array(next(says))[:, None]
            ),
        )
        large = real.RealLarge(real.own_large(FILE, ModelOptions(outputs=asked)).classes)
        for classes in expected:
            assert large.answers(range(len(classes)), [picture(0)] * len(classes)) == classes


def test_an_l_ml_of_ones_own_answers_with_its_largest_output_whatever_that_is(monkeypatch):
    whole = lambda given: np.rint(nearest(given)).astype(np.int32)  # noqa: E731
    for says in (nearest, whole, lambda given: nearest(given).astype(np.float16)):
        large = real.RealLarge(own(monkeypatch, says).classes)
        assert large.answers([0, 1], [picture(1), picture(3)]) == [1, 3]
    large = real.RealLarge(own(monkeypatch, lambda given: np.full((len(given), 4), np.nan)).classes)
    with pytest.raises(ValueError, match="not all finite"):
        large.answers([0], [picture(1)])


def test_pictures_may_be_of_any_shape_and_without_colours(place, monkeypatch):
    def oblong(path, asked):
        form, notes = networks.form_of(path, ["n", 1, 6, 10], "tensor(float)", asked)
        return networks.Network(form, CLASSES, nearest, notes)

    monkeypatch.setattr(networks, "read", oblong)
    model, pictures = real.own_small(FILE, ModelOptions(), place / "pictures")
    assert model.classes.shape == (6, 10, 1)
    assert (model.classes(pictures.files).classes == pictures.labels).all()


def device(place, *options):
    line = ["live", "device", "--onnx", "m.onnx", "--images", place / "pictures", "--samples", "40", *options]
    return CliRunner().invoke(app, [str(each) for each in line])


def test_adaptive_batches_are_planned_with_the_models_own_times_and_sizes(place, monkeypatch):
    planned = []

    class Noted(session.AdaptiveBatchSize):
        def __init__(self, timing, *others, **more):
            planned.append(timing)
            super().__init__(timing, *others, **more)

    monkeypatch.setattr(session, "AdaptiveBatchSize", Noted)
    model = own(monkeypatch, functools.partial(nearest, slowness=0.006))
    monkeypatch.setattr(networks, "read", functools.partial(network, says=functools.partial(nearest, slowness=0.003)))
    with serving(real.RealLarge(model.classes)) as (address, _):
        options = ["--server", address, "--batch-size", "adaptive", "--rate", "1e6", "--network-time", "20", "--json"]
        done = device(place, *options)
        assert done.exit_code == 0, done.stderr
    (timing,) = planned
    assert timing.tau_ed >= 3  # and not AlexNet's
    assert timing.tau_es >= 6
    mean = np.mean([len(picture(label)) for label in range(CLASSES)])
    assert timing.tau_tx == pytest.approx(8 * mean / 1e6 * 1000)  # and not of 3072 bytes
    assert timing.tau_nw >= 20
    assert json.loads(done.stdout)["lost"] == 0


def test_a_picture_that_cannot_be_read_is_named(place, monkeypatch):
    monkeypatch.setattr(networks, "read", functools.partial(network, says=nearest))
    (place / "pictures" / "2" / "3.png").write_bytes(b"GIF89a")
    monkeypatch.setattr(real, "_LOOKED_AT", 10)
    with serving(real.RealLarge(real.Classes(lambda g: real.Outputs(nearest(g), None), SIDE))) as (address, _):
        refused = device(place, "--server", address)
    assert refused.exit_code == 2
    assert "2/3.png" in refused.stderr.splitlines()[-1]


def test_every_command_that_loads_a_model_has_what_its_errors_name():
    loading = {path: {option for each in given for option in each.opts} for path, given in COMMANDS.items()}
    loading = {path: options for path, options in loading.items() if "--onnx" in options}
    assert len(loading) == 4
    named = {"--outputs", "--scale", "--mean", "--std", "--layout", "--size", "--side", "--grey"}
    for path, options in loading.items():
        assert named <= options, path
    for path in (("live", "device"), ("traces", "make")):
        assert "--classes" in loading[path]


@pytest.mark.parametrize("command", ["device", "server"])
def test_what_describes_a_model_of_ones_own_needs_one(command):
    done = CliRunner().invoke(app, ["live", command, "--outputs", "logits"])
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert "--outputs describes a model of your own" in done.stderr
