"""Making traces, without any model: a classifier that reads the answer off the picture stands in for one."""

import io
import json
import zipfile

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from hi_book.commands import main as cli
from hi_book.commands import making
from hi_book.makers import classifiers, images, models, own, registering
from hi_book.makers.networks import ModelOptions
from hi_lib import files, traces

SIDE = 8


def picture(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((20, 30, 3), shade, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def load(_path):
    """A "model" that calls dark pictures class 0 and bright ones class 1, the surer the further from grey."""

    def classify(pictures):
        bright = np.array([p.mean() / 255 for p in pictures])
        probabilities = np.column_stack([1 - bright, bright])
        return classifiers.Outputs(probabilities, np.log(probabilities))

    return classify


@pytest.fixture
def sources(tmp_path, monkeypatch):
    """A folder of sources with a registry of its own, a maker `tiny` over four pictures, and an L-ML for it."""
    folder = tmp_path / "sources"
    folder.mkdir()
    with zipfile.ZipFile(folder / "images.zip", "w") as archive:
        shades = {"val/bright/b.png": 204, "val/dark/c.png": 204, "val/dark/a.png": 51, "val/bright/d.png": 153}
        for name, shade in shades.items():
            archive.writestr(name, picture(shade))
    (folder / "model.bin").write_bytes(b"weights")
    registry = tmp_path / "registry.txt"
    registry.write_text("# comment\n")
    monkeypatch.setattr(traces, "REGISTRY", registry)
    monkeypatch.setattr(traces, "DATA", tmp_path / "data")
    monkeypatch.setattr(traces, "TRACES", tmp_path / "data" / "traces")
    for name in ("images.zip", "model.bin"):
        registering.register(name, files.sha256(folder / name), "GitHub someone/something")
    monkeypatch.setenv("HI_DATA", str(folder))
    maker = models.Maker("images.zip", "model.bin", {"dark": 0, "bright": 1}, load, SIDE, "numpy")
    monkeypatch.setitem(models.MAKERS, "tiny", maker)
    monkeypatch.setitem(models.LMLS, "large", maker)
    monkeypatch.setattr("importlib.metadata.version", lambda _package: "1.0")
    return folder


def again(folder, name, data):
    """Add a picture to the archive, and register the archive as it is now."""
    with zipfile.ZipFile(folder / "images.zip", "a") as archive:
        archive.writestr(name, data)
    registering.register("images.zip", files.sha256(folder / "images.zip"), "GitHub someone/something")


@pytest.mark.usefixtures("sources")
def test_a_trace_is_made_with_its_record_and_calibration():
    counts = []
    calibrated, path = models.make("tiny", counts.append)
    trace = traces.Trace.from_csv(path)
    # Sorted by name: bright/b right, bright/d right but less sure, dark/a right, dark/c (a bright picture) wrong.
    assert trace.confidence == pytest.approx([0.8, 0.6, 0.8, 0.8])
    assert trace.correct.tolist() == [True, True, True, False]
    assert trace.second_confidence == pytest.approx([0.2, 0.4, 0.2, 0.2])  # of two classes
    assert path.read_text().splitlines()[0] == "image,label,predicted,confidence,second_confidence,correct"
    assert sum(counts) == 4
    record = json.loads(path.with_suffix(".json").read_text())
    assert record["accuracy"] == 0.75
    assert {"model_sha256", "images_sha256", "preprocessing", "versions", "seconds", "temperature"} <= set(record)
    table = pd.read_csv(calibrated)
    assert table["confidence_float"].to_numpy() == pytest.approx(trace.confidence)
    assert (table["part"] == "fit").sum() == 2


@pytest.mark.usefixtures("sources")
def test_a_trace_made_by_the_command_is_registered(monkeypatch):
    monkeypatch.setattr(making, "_needs_models", lambda: None)
    first, again = (CliRunner().invoke(cli.app, ["traces", "make", "tiny"]) for _ in range(2))
    assert first.stdout.count("new content, registered") == 2
    assert f"{traces.TRACES / 'tiny.csv'}: as registered" in again.stdout
    assert traces.registry()["traces/tiny.csv"].sha256 == files.sha256(traces.TRACES / "tiny.csv")


@pytest.mark.usefixtures("sources")
def test_preprocessings_are_compared_by_the_command(monkeypatch):
    monkeypatch.setattr(making, "_needs_models", lambda: None)
    monkeypatch.setitem(models.MAKERS, "imagenette-mobilenet_v1_0.25_128", models.MAKERS["tiny"])
    done = CliRunner().invoke(cli.app, ["traces", "make", "preprocessing"])
    assert f"{traces.DATA / 'preprocessing.csv'}: new content, registered" in done.stdout
    assert pd.read_csv(traces.DATA / "preprocessing.csv")["preprocessing"].tolist() == list(images.PREPROCESSINGS)


@pytest.mark.usefixtures("sources")
def test_the_answers_of_an_lml_join_by_image(monkeypatch):
    monkeypatch.setitem(models.MAKERS, "tiny", models.Maker(**vars(models.MAKERS["tiny"]) | {"lml": "large"}))
    with pytest.raises(ValueError, match="hi traces make large"):
        models.make("tiny")
    (answers,) = models.make("large")
    frame = pd.read_csv(answers)
    frame.loc[frame["image"] == "val/dark/c.png", "predicted"] = 0
    answers.write_text(frame.sample(frac=1, random_state=1).to_csv(index=False))
    trace = traces.Trace.from_csv(models.make("tiny")[-1])
    assert trace.lml_correct.tolist() == [True, True, True, True]
    answers.write_text(frame.iloc[1:].to_csv(index=False))
    with pytest.raises(ValueError, match="no answer for some images"):
        models.make("tiny")


def test_a_wrong_hash_is_refused_and_nothing_written(sources):
    (sources / "model.bin").write_bytes(b"other weights")
    with pytest.raises(ValueError, match="damaged or was swapped"):
        models.make("tiny")
    assert not traces.DATA.exists()


def test_a_missing_source_says_what_to_fetch_and_where_to_put_it(sources):
    (sources / "images.zip").unlink()
    with pytest.raises(
        ValueError, match=r"images\.zip is missing: get it from GitHub someone/something and put it there"
    ):
        models.make("tiny")


def test_a_corrupt_image_is_named(sources):
    again(sources, "val/dark/broken.png", picture(10)[:40])
    with pytest.raises(ValueError, match=r"val/dark/broken\.png is not a readable image"):
        models.make("tiny")
    assert not traces.DATA.exists()


def test_an_unknown_class_folder_is_named(sources):
    again(sources, "val/grey/d.png", picture(100))
    with pytest.raises(ValueError, match=r"class folder of val/grey/d\.png must be one of dark, bright"):
        models.make("tiny")


@pytest.mark.usefixtures("sources")
def test_pictures_may_lie_in_a_folder_instead(tmp_path):
    for name, shade in {"bright/x.png": 204, "dark/y.PNG": 51, "dark/notes.txt": None, "dark/.hidden.png": 51}.items():
        path = tmp_path / "own" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(shade) if shade else b"not a picture")
    frame = pd.read_csv(models.make("tiny", images_path=tmp_path / "own")[-1])
    assert frame["image"].tolist() == ["bright/x.png", "dark/y.PNG"]
    assert frame["correct"].all()


@pytest.mark.parametrize("what", ["missing", "empty folder", "no zip"])
def test_a_place_without_pictures_is_named(tmp_path, what):
    path = tmp_path / "pictures"
    if what == "empty folder":
        path.mkdir()
    elif what == "no zip":
        path.write_bytes(b"no zip")
    with pytest.raises(ValueError, match=r"pictures (holds no image|is neither a folder nor a readable zip)"):
        list(images.read_images(path))


@pytest.mark.parametrize("what", ["encrypted", "odd compression", "damaged", "dangling link"])
def test_an_odd_archive_is_one_line(what, tmp_path):
    path = tmp_path / "pictures.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("cat/x.png", picture(51) * 20)
    content = bytearray(path.read_bytes())
    central = content.index(b"PK\x01\x02")
    if what == "encrypted":
        content[6] |= 1
        content[central + 8] |= 1
    elif what == "odd compression":
        content[8:10] = content[central + 10 : central + 12] = (99).to_bytes(2, "little")
    elif what == "damaged":
        content[60:70] = bytes(10)
    path.write_bytes(content)
    if what == "dangling link":
        path = tmp_path / "pictures"
        (path / "cat").mkdir(parents=True)
        (path / "cat" / "x.png").symlink_to("absent")
    with pytest.raises(ValueError, match=r"pictures.*(is neither a folder nor a readable zip|cannot be read)"):
        list(images.read_images(path))


@pytest.mark.usefixtures("sources")
def test_an_interrupted_run_leaves_no_trace(monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        models.make("tiny", interrupted)
    assert not traces.DATA.exists()
    write = files.write_atomically

    def killed_before_the_trace(path, text):
        if path == traces.TRACES / "tiny.csv":
            raise KeyboardInterrupt
        return write(path, text)

    monkeypatch.setattr(files, "write_atomically", killed_before_the_trace)
    with pytest.raises(KeyboardInterrupt):
        models.make("tiny")
    assert traces.list_traces() == []


def test_an_unknown_maker_names_close_ones():
    with pytest.raises(ValueError, match="did you mean cifar10-resnet8"):
        models.make("cifar10-resnet")


@pytest.mark.parametrize("how", images.PREPROCESSINGS)
def test_preprocessing_gives_square_rgb(how):
    pixels = images.preprocess("a.png", picture(77), SIDE, how)
    assert pixels.shape == (SIDE, SIDE, 3)
    assert pixels.dtype == np.uint8
    assert (pixels == 77).all()


def test_a_centre_crop_drops_the_border():
    pixels = np.zeros((80, 80, 3), np.uint8)
    pixels[10:70, 10:70] = 255
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    whole, cropped = (
        images.preprocess("a.png", buffer.getvalue(), 80, how).mean() for how in ("bilinear", "centre crop")
    )
    # The central 70 of 80 pixels hold the same white square on a smaller ground.
    assert whole == pytest.approx(255 * 60**2 / 80**2, rel=0.01)
    assert cropped == pytest.approx(255 * 60**2 / 70**2, rel=0.02)


def test_unknown_preprocessing_is_refused():
    with pytest.raises(ValueError, match="did you mean bicubic"):
        images.preprocess("a.png", picture(0), SIDE, "cubic")


@pytest.mark.usefixtures("sources")
def test_preprocessings_are_compared_on_all_images():
    table = models.compare_preprocessings("tiny")
    assert list(table["preprocessing"]) == list(images.PREPROCESSINGS)
    assert (table["samples"] == 4).all()


@pytest.mark.usefixtures("sources")
def test_a_name_of_the_project_is_not_taken_for_an_own_trace(tmp_path):
    for name, problem in {"tiny": "comes with the project", "../up": "must be letters", "": "must be letters"}.items():
        with pytest.raises(ValueError, match=problem):
            own.make(name, tmp_path / "m.onnx", tmp_path, ModelOptions())


def test_a_shipped_trace_is_not_made_from_other_images(tmp_path, monkeypatch):
    monkeypatch.setattr(making, "_needs_models", lambda: None)
    for name in ("cifar10-resnet8", "all", "preprocessing"):
        done = CliRunner().invoke(cli.app, ["traces", "make", name, "--images", str(tmp_path)])
        assert done.exit_code == 2
        assert "would replace it" in done.output


def test_every_shipped_trace_has_a_maker_with_registered_sources():
    shipped = {name.split("/")[1].removesuffix(".csv") for name in traces.registry() if name.startswith("traces/")}
    # imagenette-alexnet is the paper's own S-ML: for users who can fetch its weights.
    assert set(models.MAKERS) - shipped == {"imagenette-alexnet"}
    for maker in (models.MAKERS | models.LMLS).values():
        assert {maker.images, maker.model} <= set(traces.registry())
        assert maker.lml is None or maker.lml in models.MAKERS | models.LMLS
