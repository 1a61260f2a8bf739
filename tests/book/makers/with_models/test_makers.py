"""Every maker for real: on pictures made here, and on real ones where $HI_DATA has them. No network."""

import hashlib
import io
import json
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import hi_lib as hi
from hi_book.makers import images, models, registering, timings
from hi_book.makers.training import Recipe
from hi_lib import files, traces
from hi_lib.studies import measured as measured_times

REAL = os.environ.get("HI_DATA")
needs_sources = pytest.mark.skipif(not REAL, reason="HI_DATA names no folder of images and models")
SOME = 300


def encoded(pixels, kind="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def noise(seed, side=40):
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


@pytest.fixture
def sandbox(tmp_path, monkeypatch):
    """Data, registry, cache and sources in a folder of their own."""
    (tmp_path / "registry.txt").write_text("# comment\n")
    (tmp_path / "sources").mkdir()
    for name, value in {"DATA": "data", "TRACES": "data/traces", "REGISTRY": "registry.txt"}.items():
        monkeypatch.setattr(traces, name, tmp_path / value)
    monkeypatch.setenv("HI_DATA", str(tmp_path / "sources"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def source(sandbox, name, data):
    path = sandbox / "sources" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    registering.register(name, files.sha256(path), "the test")


def archive(names_and_seeds, kind="PNG", side=40):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, seed in names_and_seeds.items():
            file.writestr(name, encoded(noise(seed, side), kind))
    return buffer.getvalue()


def without_lml(name, **changes):
    known = models.MAKERS | models.LMLS
    return models.Maker(**vars(known[name]) | {"lml": None} | changes)


# --- the paper's own pair, without its weights ---


def tiny_imagenette(folder):
    for number, wnid in enumerate(["n01440764", "n02102040", "n03888257"]):
        path = folder / wnid / f"{wnid}_{number}.JPEG"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(noise(number), "JPEG"))


def random_alexnet():
    from torchvision.models import alexnet

    torch.manual_seed(0)
    buffer = io.BytesIO()
    torch.save(alexnet().state_dict(), buffer)
    return buffer.getvalue()


def test_the_papers_imagenette_pair_by_way_of_torchvision(sandbox, monkeypatch):
    """torchvision finds its folder already there, as after a download, and hands it on; the weights are random."""
    from torchvision import datasets

    monkeypatch.setitem(models.MAKERS, "imagenette-alexnet", without_lml("imagenette-alexnet"))
    root = sandbox / "cache" / "batch-hi" / "imagenette"
    for part in ("train", "val"):
        tiny_imagenette(root / "imagenette2" / part)
    source(sandbox, models.MAKERS["imagenette-alexnet"].model, random_alexnet())
    registering.register("imagenette/val.zip", "0" * 64, "torchvision")
    path = models.make("imagenette-alexnet", download=True)[-1]
    frame = pd.read_csv(path)
    assert frame["label"].tolist() == [0, 217, 701]
    assert frame["image"].iloc[0] == "n01440764/n01440764_0.JPEG"
    assert frame["predicted"].between(0, 999).all()
    # The same pictures through the local path, without torchvision's data set.
    local = pd.read_csv(models.make("imagenette-alexnet", images_path=root / "imagenette2" / "val")[-1])
    pd.testing.assert_frame_equal(frame, local)
    assert datasets.Imagenette(root, split="val", size="full").wnids == sorted(
        wnid for wnid in models.IMAGENETTE_INDEX if (root / "imagenette2" / "val" / wnid).is_dir()
    )


def test_cifar10_by_way_of_torchvision(sandbox, monkeypatch):
    """A CIFAR-10 of ten pictures in the original's format; torchvision checks its hashes and reads it."""
    from torchvision import datasets

    folder = sandbox / "cache" / "batch-hi" / "cifar10" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    pixels = np.stack([noise(seed, 32) for seed in range(10)])
    batch = {"data": pixels.transpose(0, 3, 1, 2).reshape(10, -1), "labels": list(range(10))}
    names = {"label_names": images.CIFAR10_CLASSES}
    hashes = {}
    for name, content in {"test_batch": batch, "data_batch_1": batch, "batches.meta": names}.items():
        (folder / name).write_bytes(pickle.dumps(content))
        hashes[name] = hashlib.md5((folder / name).read_bytes()).hexdigest()
    monkeypatch.setattr(datasets.CIFAR10, "test_list", [["test_batch", hashes["test_batch"]]])
    monkeypatch.setattr(datasets.CIFAR10, "train_list", [["data_batch_1", hashes["data_batch_1"]]])
    meta = {"filename": "batches.meta", "key": "label_names", "md5": hashes["batches.meta"]}
    monkeypatch.setattr(datasets.CIFAR10, "meta", meta)
    found = list(images.download("cifar10/test.zip"))
    assert [folder for _, folder, _ in found] == images.CIFAR10_CLASSES
    assert (images.preprocess("x", found[3][2], 32) == pixels[3]).all()


@pytest.mark.usefixtures("sandbox")
@pytest.mark.parametrize("name", ["imagenette/val.zip", "cifar10/test.zip"])
def test_without_network_one_line_says_what_to_fetch_and_where_to_put_it(monkeypatch, name):
    from torchvision import datasets

    def offline(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(datasets, "Imagenette", offline)
    monkeypatch.setattr(datasets, "CIFAR10", offline)
    with pytest.raises(ValueError, match=f"no route to host. Put {name} into a folder and set HI_DATA"):
        images.download(name)


def test_weights_are_fetched_by_torchvisions_address_and_checked(sandbox, monkeypatch):
    asked = []

    def fetch(url, target, hash_prefix):
        asked.append((url.rsplit("/", 1)[1], hash_prefix))
        Path(target).write_bytes(b"weights")

    name = models.MAKERS["imagenette-alexnet"].model
    registering.register(name, "7be5be79", "torchvision")
    monkeypatch.setattr(torch.hub, "download_url_to_file", fetch)
    with pytest.raises(ValueError, match="damaged or was swapped"):
        models.model_file(name, download=True)
    assert asked == [("alexnet-owt-7be5be79.pth", "7be5be79")]

    def offline(*_, **__):
        raise OSError("no route to host")

    (sandbox / "cache" / "batch-hi" / name).unlink()
    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    with pytest.raises(ValueError, match=r"could not be fetched: no route to host\. Put it at"):
        models.model_file(name, download=True)


def test_weights_of_another_network_are_refused(sandbox, monkeypatch):
    source(sandbox, "models/alexnet-owt-7be5be79.pth", b"no weights")
    source(sandbox, "imagenette/val.zip", archive({"val/n01440764/a.png": 0}))
    monkeypatch.setitem(models.MAKERS, "imagenette-alexnet", without_lml("imagenette-alexnet"))
    with pytest.raises(ValueError, match=r"alexnet-owt-7be5be79\.pth does not hold the weights"):
        models.make("imagenette-alexnet")


# --- makers on pictures made here ---


def test_the_alexnet_is_trained_and_makes_a_trace(sandbox, monkeypatch):
    monkeypatch.setitem(models.MAKERS, "cifar10-alexnet", without_lml("cifar10-alexnet"))
    names = {f"train/{name}/{number}.png": number for number, name in enumerate(images.CIFAR10_CLASSES)}
    source(sandbox, "cifar10/train.zip", archive(names, side=32))
    source(sandbox, "cifar10/test.zip", archive({n.replace("train", "test"): s for n, s in names.items()}, side=32))
    steps = []
    options = {"recipe": Recipe(epochs=2, batch=4), "progress": lambda count, _loss: steps.append(count)}
    first = models.make("cifar10-alexnet", load_options=options)[-1].read_bytes()
    assert sum(steps) == 6
    (sandbox / "cache" / "batch-hi" / "training" / "cifar10-alexnet.pt").unlink()
    assert models.make("cifar10-alexnet", load_options=options)[-1].read_bytes() == first


def test_the_efficientnet_of_its_package_answers():
    maker = models.LMLS["imagenette-efficientnet_lite2"]
    outputs = maker.load(models.model_file(maker.model))([noise(seed, maker.side) for seed in range(12)])
    assert outputs.logits.shape == (12, 1000)
    np.testing.assert_allclose(outputs.probabilities.sum(axis=1), 1, rtol=1e-9)


# --- recipes on the page "Run it yourself" ---


def recipe(kind):
    page = (traces.ROOT / "book" / "rerun.md").read_text(encoding="utf-8")
    (found,) = (block.partition("```")[0] for block in page.split("```python\n")[1:] if f"# {kind}" in block)
    return found


def test_the_recipe_for_a_scikit_learn_classifier():
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression

    digits, labels = load_digits(return_X_y=True)
    classifier = LogisticRegression(max_iter=200, C=0.01).fit(digits[:900] / 16, labels[:900])
    scope = {"classifier": classifier, "X": digits[900:] / 16, "y": labels[900:], "hi": hi}
    exec(recipe("scikit-learn"), scope)
    assert scope["trace"].accuracy == pytest.approx(classifier.score(digits[900:] / 16, labels[900:]))
    assert scope["run"].average_cost < 0.5


def test_the_recipe_for_a_torch_module():
    torch.manual_seed(0)
    scope = {"model": torch.nn.Linear(5, 3), "X": torch.randn(50, 5), "y": np.arange(50) % 3, "hi": hi}
    exec(recipe("torch"), scope)
    assert len(scope["trace"]) == 50
    assert (scope["trace"].confidence >= 1 / 3 - 1e-6).all()


# --- real sources ---


class Few:
    """The first pictures of an archive, so that a test takes seconds."""

    def __init__(self, count):
        self.count, self.read = count, images.read_images

    def __call__(self, path):
        for number, found in enumerate(self.read(path)):
            if number == self.count:
                return
            yield found


@needs_sources
@pytest.mark.parametrize("name", [name for name in models.MAKERS if name in traces.shipped() and "alexnet" not in name])
def test_real_pictures_give_the_shipped_trace(name, monkeypatch):
    monkeypatch.setattr(images, "read_images", Few(SOME))
    maker = models.MAKERS[name]
    classifier = maker.load(models.model_file(maker.model))
    frame, _ = models.classify(maker, classifier, images.read_images(images.source_file(maker.images)))
    shipped = pd.read_csv(traces.TRACES / f"{name}.csv").head(SOME)
    assert (frame["image"] == shipped["image"]).all()
    # Whole numbers agree exactly; floating-point models to the last digits of a float32.
    tolerance = 0 if "mobilenet" in name else 1e-4
    np.testing.assert_allclose(frame["confidence"], shipped["confidence"], atol=tolerance, rtol=0)
    assert (frame["second_confidence"] <= frame["confidence"]).all()
    if "second_confidence" in shipped:  # where a run anew gave the first one to the last digit
        assert (frame["second_confidence"] == shipped["second_confidence"]).all()
    assert (frame["predicted"] == shipped["predicted"]).mean() >= 1 - tolerance * 100


@needs_sources
def test_real_pictures_give_the_shipped_answers_of_the_lml(monkeypatch):
    monkeypatch.setattr(images, "read_images", Few(40))
    maker = models.LMLS["imagenette-efficientnet_lite2"]
    classifier = maker.load(models.model_file(maker.model))
    frame, _ = models.classify(maker, classifier, images.read_images(images.source_file(maker.images)))
    shipped = pd.read_csv(models.lml_file("imagenette-efficientnet_lite2")).head(40)
    np.testing.assert_allclose(frame["confidence"], shipped["confidence"], atol=1e-3)
    assert (frame["predicted"] == shipped["predicted"]).all()


@needs_sources
def test_twenty_steps_on_real_pictures_give_the_same_trace_twice(sandbox, monkeypatch):
    monkeypatch.setenv("HI_DATA", REAL)
    registry = (traces.ROOT / "data" / "registry.txt").read_text(encoding="utf-8")
    traces.REGISTRY.write_text(registry, encoding="utf-8")
    monkeypatch.setattr(images, "read_images", Few(SOME))
    monkeypatch.setitem(models.MAKERS, "cifar10-alexnet", without_lml("cifar10-alexnet"))
    found = []
    for _ in range(2):
        options = {"recipe": Recipe(batch=32, epochs=3, steps=20)}
        found.append(models.make("cifar10-alexnet", load_options=options)[-1].read_bytes())
        (sandbox / "cache" / "batch-hi" / "training" / "cifar10-alexnet.pt").unlink()
    assert found[0] == found[1]


@needs_sources
def test_a_shipped_pair_meets_on_the_wire():
    command = [sys.executable, "-m", "hi_book.commands.main", "live", "demo", "--json", "--samples", "120"]
    command += ["--sml", "cifar10-resnet8", "--lml", "cifar10-resnet56"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"HI_DATA": REAL})
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["lost"], found["stray"]) == (0, 0)
    assert found["measured"]["accuracy"] > 0.75  # ResNet-8 alone: 0.87, give or take 0.03
    assert found["measured"]["transmissions"] > 0


@needs_sources
def test_models_are_timed(tmp_path, monkeypatch):
    monkeypatch.setattr(traces, "DATA", tmp_path)
    registry = tmp_path / "registry.txt"
    registry.write_text(traces.REGISTRY.read_text())
    monkeypatch.setattr(traces, "REGISTRY", registry)
    monkeypatch.setattr(timings, "BATCH_SIZES", (1, 2, 3))
    timings.run(repeats=3, say=lambda _text: None)
    measured = pd.read_csv(traces.data_file(measured_times.MEASURED))
    assert (measured["milliseconds"] > 0).all()
    for data_set in measured_times.PAIRS:
        assert measured_times.timing_model(measured, data_set).tau_es > 0
