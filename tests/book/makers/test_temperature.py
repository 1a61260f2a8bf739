"""Temperature scaling: closed forms, and what must hold for any model."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hi_book.makers import temperature as scaling


def noisy_logits(n, classes, temperature, seed):
    """Logits of a model that is calibrated once they are divided by `temperature`, and labels drawn accordingly."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (n, classes))
    probabilities = scaling.softmax(logits)
    labels = (probabilities.cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)
    return logits * temperature, labels


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_was_put_in_is_found(temperature):
    n = 20_000
    found = scaling.fit_temperature(*noisy_logits(n, 5, temperature, seed=0))
    # Maximum likelihood: the error of 1/T has variance 1 / (n Var), Var the mean variance of the logits under p.
    logits, _ = noisy_logits(n, 5, 1.0, seed=0)
    p = scaling.softmax(logits)
    variance = ((p * logits**2).sum(axis=1) - (p * logits).sum(axis=1) ** 2).mean()
    assert abs(temperature / found.value - 1) < 4 / np.sqrt(n * variance)
    assert found.loss_after <= found.loss_before


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.floats(0.05, 20), st.integers(0, 10**6))
def test_scaling_never_changes_the_answer_and_cools_or_heats_all_of_them(n, temperature, seed):
    logits = np.random.default_rng(seed).normal(0, 3, (n, 4))
    before, after = scaling.softmax(logits), scaling.softmax(logits, temperature)
    assert (before.argmax(axis=1) == after.argmax(axis=1)).all()
    np.testing.assert_allclose(after.sum(axis=1), 1, rtol=1e-12)
    surer = after.max(axis=1) - before.max(axis=1)
    assert (surer * (1 - temperature) >= -1e-12).all()


def test_huge_logits_do_not_overflow():
    assert scaling.softmax(np.array([[1e6, 0.0], [-1e6, -1e6]])).tolist() == [[1.0, 0.0], [0.5, 0.5]]


def test_halves_part_the_samples_the_same_way_every_time():
    chosen = scaling.halves(1001, seed=0)
    assert chosen.sum() == 500
    assert (chosen == scaling.halves(1001, seed=0)).all()
    assert (chosen != scaling.halves(1001, seed=1)).any()


@pytest.mark.parametrize(
    ("logits", "labels", "problem"),
    [
        (np.zeros((3, 2)), np.zeros(2, int), "must be"),
        (np.zeros(3), np.zeros(3, int), "must be"),
        (np.zeros((0, 2)), np.zeros(0, int), "must be"),
        (np.zeros((2, 2)), np.array([0, 2]), "labels must lie from 0 to 1, got 0 to 2"),
        (np.zeros((2, 2)), np.array([-1, 1]), "labels must lie"),
    ],
)
def test_what_does_not_fit_is_refused(logits, labels, problem):
    with pytest.raises(ValueError, match=problem):
        scaling.fit_temperature(logits, labels)
