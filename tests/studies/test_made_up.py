import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hi_lib as hi


@pytest.mark.parametrize("beta", [0.2, 0.5, 0.8])
def test_the_synthetic_trace_has_the_stated_optimum(beta):
    n = 200_000
    trace = hi.synthetic_trace(n, seed=1, beta=beta)
    run = hi.replay(trace, beta, learner="fixed", threshold=1 - beta)
    # A round's cost lies in [0, 1]: its standard deviation is at most 1/2.
    assert run.average_cost == pytest.approx(beta - beta**2 / 2, abs=4 * 0.5 / np.sqrt(n))


@pytest.mark.parametrize(
    ("depth", "batches", "batch_size", "beta"), [(1, 10, 100, 0.5), (6, 20, 5, 0.5), (3, 8, 4, 0.3)]
)
def test_every_learner_pays_for_coins(depth, batches, batch_size, beta):
    expected = depth * batch_size * hi.coin_regret(batches, beta)
    for learner in ("hil-f", "never", "apple"):
        found = []
        for seed in range(300):
            trace = hi.halving_coins(depth, batches, batch_size, beta, seed)
            found.append(hi.replay(trace, beta, batch_size, learner, seed=seed).regret)
        assert hi.lambda_min(trace) == 0.5**depth
        assert np.mean(found) == pytest.approx(expected, abs=4 * np.std(found, ddof=1) / np.sqrt(300)), learner


def test_coins_without_chance_leave_nothing_to_hindsight():
    assert hi.coin_regret(10, 0.0) == hi.coin_regret(10, 1.0) == 0


def test_intervals_are_halved_no_further_than_a_double_can():
    with pytest.raises(ValueError, match="depth must be at most 50"):
        hi.halving_coins(51, 1, 1, 0.5, 0)


def test_coin_regret_is_the_known_one():
    # K = 10 fair coins: E|S − 5| / 2; and √(K β (1 − β) / (2π)) for many.
    assert 100 * hi.coin_regret(10, 0.5) == pytest.approx(61.5234375)
    assert hi.coin_regret(10**5, 0.3) == pytest.approx(np.sqrt(10**5 * 0.21 / (2 * np.pi)), rel=1e-4)


@given(st.integers(2, 400), st.floats(0, 1))
def test_coin_regret_exceeds_what_the_proof_says(batches, beta):
    variance = beta * (1 - beta)
    if batches * variance >= 1 - 6 * variance:
        assert hi.coin_regret(batches, beta) >= np.sqrt(batches * variance) / 4
    if 1 / batches <= beta <= 1 - 1 / batches:
        assert hi.coin_regret(batches, beta) >= np.sqrt(batches * variance / 8) * (1 - 1e-12)
