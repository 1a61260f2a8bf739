"""Making traces, without any model: a classifier that reads the answer off the picture stands in for one."""

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from hi_lib import models, traces

SIDE = 8


def picture(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((20, 30, 3), shade, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def load(_path):
    """A "model" that calls dark pictures class 0 and bright ones class 1, the surer the further from grey."""

    def classify(pictures):
        bright = np.array([p.mean() / 255 for p in pictures])
        return np.column_stack([1 - bright, bright])

    return classify


@pytest.fixture
def sources(tmp_path, monkeypatch):
    """A folder of sources with a registry of its own, and a maker `tiny` over three pictures."""
    folder = tmp_path / "sources"
    folder.mkdir()
    with zipfile.ZipFile(folder / "images.zip", "w") as archive:
        for name, shade in {"val/bright/b.png": 204, "val/dark/c.png": 204, "val/dark/a.png": 51}.items():
            archive.writestr(name, picture(shade))
    (folder / "model.bin").write_bytes(b"weights")
    registry = tmp_path / "registry.txt"
    registry.write_text("# comment\n")
    monkeypatch.setattr(traces, "REGISTRY", registry)
    for name in ("images.zip", "model.bin"):
        traces.register(name, traces.file_sha256(folder / name), "GitHub someone/something")
    monkeypatch.setenv("HI_DATA", str(folder))
    monkeypatch.setitem(
        models.MAKERS, "tiny", models.Maker("images.zip", "model.bin", {"dark": 0, "bright": 1}, load, SIDE)
    )
    monkeypatch.setattr("importlib.metadata.version", lambda _package: "1.0")
    return folder


@pytest.mark.usefixtures("sources")
def test_a_trace_is_made_with_its_record(tmp_path):
    counts = []
    path = models.make("tiny", tmp_path / "out", counts.append)
    trace = traces.Trace.from_csv(path)
    assert trace.confidence == pytest.approx([0.8, 0.8, 0.8])
    # Sorted by name: bright/b right, dark/a right, dark/c (a bright picture) wrong.
    assert trace.correct.tolist() == [True, True, False]
    assert path.read_text().splitlines()[0] == "image,label,predicted,confidence,correct"
    assert sum(counts) == 3
    record = (tmp_path / "out" / "tiny.json").read_text()
    for expected in ('"accuracy": 0.66', "model_sha256", "images_sha256", "bilinear", "versions", "seconds"):
        assert expected in record


def test_a_wrong_hash_is_refused_and_nothing_written(sources, tmp_path):
    (sources / "model.bin").write_bytes(b"other weights")
    with pytest.raises(ValueError, match="damaged or was swapped"):
        models.make("tiny", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_missing_source_says_what_to_fetch_and_where_to_put_it(sources, tmp_path):
    (sources / "images.zip").unlink()
    with pytest.raises(
        ValueError, match=r"images\.zip is missing: get it from GitHub someone/something and put it there"
    ):
        models.make("tiny", tmp_path / "out")


def test_a_corrupt_image_is_named(sources, tmp_path):
    with zipfile.ZipFile(sources / "images.zip", "a") as archive:
        archive.writestr("val/dark/broken.png", picture(10)[:40])
    traces.register("images.zip", traces.file_sha256(sources / "images.zip"), "GitHub someone/something")
    with pytest.raises(ValueError, match=r"val/dark/broken\.png in images\.zip is not a readable image"):
        models.make("tiny", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_unknown_class_folder_is_named(sources, tmp_path):
    with zipfile.ZipFile(sources / "images.zip", "a") as archive:
        archive.writestr("val/grey/d.png", picture(100))
    traces.register("images.zip", traces.file_sha256(sources / "images.zip"), "GitHub someone/something")
    with pytest.raises(ValueError, match=r"class folder of val/grey/d\.png must be one of dark, bright"):
        models.make("tiny", tmp_path / "out")


def test_an_unknown_maker_names_close_ones():
    with pytest.raises(ValueError, match="did you mean cifar10-resnet8"):
        models.make("cifar10-resnet", traces.TRACES)


@pytest.mark.parametrize("how", models.PREPROCESSINGS)
def test_preprocessing_gives_square_rgb(how):
    pixels = models.preprocess(picture(77), SIDE, how)
    assert pixels.shape == (SIDE, SIDE, 3)
    assert pixels.dtype == np.uint8
    assert (pixels == 77).all()


def test_a_centre_crop_drops_the_border():
    pixels = np.zeros((80, 80, 3), np.uint8)
    pixels[10:70, 10:70] = 255
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    whole, cropped = (models.preprocess(buffer.getvalue(), 80, how).mean() for how in ("bilinear", "centre crop"))
    # The central 70 of 80 pixels hold the same white square on a smaller ground.
    assert whole == pytest.approx(255 * 60**2 / 80**2, rel=0.01)
    assert cropped == pytest.approx(255 * 60**2 / 70**2, rel=0.02)


def test_unknown_preprocessing_is_refused():
    with pytest.raises(ValueError, match="did you mean bicubic"):
        models.preprocess(picture(0), SIDE, "cubic")


@pytest.mark.usefixtures("sources")
def test_preprocessings_are_compared_on_all_images():
    table = models.compare_preprocessings("tiny")
    assert list(table["preprocessing"]) == list(models.PREPROCESSINGS)
    assert (table["samples"] == 3).all()


def test_every_shipped_trace_has_a_maker_with_registered_sources():
    shipped = {name.split("/")[1].removesuffix(".csv") for name in traces.registry() if name.startswith("traces/")}
    assert shipped == set(models.MAKERS)
    for maker in models.MAKERS.values():
        assert {maker.images, maker.model} <= set(traces.registry())
