"""Thresholds that a device draws, against the weights they are drawn from."""

import math

import numpy as np
import pytest

import hi_lib as hi

DRAWS = 4000


@pytest.mark.parametrize(
    "p",
    [1 - 2**-53, 1 - 2**-52, 0.5 + 2**-53, 5e-324, 0.3],
    ids=["one ulp below 1", "two ulps below 1", "one ulp above ½", "the least double", "wide cells"],
)
@pytest.mark.parametrize("learner", [hi.HILF, hi.HILN])
def test_the_threshold_that_is_drawn_lies_in_its_cell(p, learner):
    """As often above p as its weight there says, also where the cells beside p are a few ulps wide."""
    more = {"exploration": 1e-9} if learner is hi.HILN else {}
    device = learner(beta=0.5, learning_rate=0.05, seed=1, **more)
    neighbours = [q for q in (p, math.nextafter(p, 0), math.nextafter(p, 1), 0.5) if 0 < q <= 1]
    # Accepting p and what is below it was always wrong: nearly all the weight moves above p.
    device._learn(np.array(neighbours * 300), np.array([-0.5 if q <= p else 0.5 for q in neighbours] * 300))
    probability = device._forecaster.offload_probability(p)
    drawn = [device._forecaster.draw(device._rng) for _ in range(DRAWS)]
    assert all(0 < threshold <= 1 for threshold in drawn)
    error = math.sqrt(probability * (1 - probability) / DRAWS)
    assert np.mean([threshold > p for threshold in drawn]) == pytest.approx(probability, abs=4.5 * error + 1e-9)


def test_what_was_found_in_the_field():
    """Answers that are right at 1 and wrong one ulp below: that sample is always offloaded."""
    below = 1 - 2**-53
    device = hi.HILF(beta=0.7, learning_rate=1.0, seed=0)
    device.update([below, 1.0] * 200, [0, 1] * 200)
    assert device._forecaster.offload_probability(below) == pytest.approx(1.0)
    for _ in range(200):
        assert device.decide([below]).all()
        device.update([below, 1.0], [0, 1])
