"""The AlexNet that is trained here: the same weights every time, also after an interruption."""

import numpy as np
import pytest
import torch

from hi_book.makers import training
from hi_book.makers.training import AlexNet, Recipe


@pytest.fixture(scope="module")
def pictures():
    """400 pictures whose class is their colour, a little noisy."""
    rng = np.random.default_rng(0)
    labels = np.arange(400) % 10
    colours = rng.integers(0, 256, (10, 1, 1, 3))
    noisy = colours[labels] + rng.normal(0, 20, (400, 32, 32, 3))
    return np.clip(noisy, 0, 255).astype(np.uint8), labels


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


# Processors without bfloat16 are many times slower with it.
@pytest.mark.parametrize(("bfloat16", "batch"), [(False, 32), (True, 2)])
def test_twenty_steps_give_the_same_weights_twice(pictures, bfloat16, batch):
    recipe = Recipe(batch=batch, steps=20, bfloat16=bfloat16)
    first, second = (weights(training.train(*pictures, recipe)) for _ in range(2))
    assert torch.equal(first, second)
    other = weights(training.train(*pictures, Recipe(batch=batch, steps=20, bfloat16=bfloat16, seed=1)))
    assert not torch.equal(first, other)


def test_it_has_the_layers_it_says():
    model = AlexNet()
    kinds = [type(layer).__name__ for layer in (*model.features, *model.classifier)]
    assert (kinds.count("Conv2d"), kinds.count("Linear")) == (5, 3)
    assert weights(model).numel() == pytest.approx(3.7e6, rel=0.01)


def test_it_learns_colours_and_reports_its_loss(pictures):
    losses, steps = [], []

    def progress(count, loss):
        steps.append(count)
        losses.append(loss)

    model = training.train(*pictures, Recipe(epochs=6, batch=40, dropout=0.0), progress=progress)
    assert sum(steps) == 60
    assert np.mean(losses[-10:]) < 0.5 * np.mean(losses[:5])
    logits = training.classifier(model, threads=2)(pictures[0])
    # Chance is 0.1; its standard error over 400 pictures 0.015.
    assert (logits.argmax(axis=1) == pictures[1]).mean() > 0.5


def test_an_interrupted_training_ends_with_the_same_weights(pictures, tmp_path):
    recipe, checkpoint = Recipe(epochs=3, batch=64), tmp_path / "deep" / "alexnet.pt"
    whole = weights(training.train(*pictures, recipe))
    steps = []

    def interrupted(count, _loss):
        steps.append(count)
        if len(steps) == 10:  # in the second epoch of seven steps each
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        training.train(*pictures, recipe, checkpoint, interrupted)
    resumed = []
    found = weights(training.train(*pictures, recipe, checkpoint, lambda count, _loss: resumed.append(count)))
    assert resumed[0] == 7
    assert sum(resumed) == 21
    assert torch.equal(found, whole)
    # Finished: nothing is left to do, whatever the machine was doing meanwhile.
    again = []
    assert torch.equal(weights(training.train(*pictures, recipe, checkpoint, lambda c, _l: again.append(c))), whole)
    assert again == [21]


def test_another_recipe_does_not_go_on_from_a_checkpoint(pictures, tmp_path):
    checkpoint = tmp_path / "alexnet.pt"
    training.train(*pictures, Recipe(batch=64, epochs=1), checkpoint)
    steps = []
    training.train(*pictures, Recipe(batch=64, epochs=1, seed=5), checkpoint, lambda c, _l: steps.append(c))
    assert steps[0] == 1


def test_a_damaged_checkpoint_is_named(pictures, tmp_path):
    checkpoint = tmp_path / "alexnet.pt"
    checkpoint.write_bytes(b"half a file")
    with pytest.raises(ValueError, match=r"alexnet\.pt is not a readable checkpoint; delete it"):
        training.train(*pictures, Recipe(steps=1), checkpoint)


def test_the_number_of_threads_is_put_back(pictures):
    before = torch.get_num_threads()
    training.train(*pictures, Recipe(steps=1, threads=1))
    assert torch.get_num_threads() == before
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize(
    ("shape", "kind", "labels"),
    [((3, 16, 16, 3), np.uint8, [0, 1, 2]), ((3, 32, 32, 3), float, [0, 1, 2]), ((3, 32, 32, 3), np.uint8, [0, 1, 10])],
)
def test_what_is_no_cifar_is_refused(shape, kind, labels):
    with pytest.raises(ValueError, match="must be"):
        training.train(np.zeros(shape, kind), np.array(labels), Recipe())
