"""A device that keeps a budget on offloads: the replay's weights, λ and decisions, late feedback, restarts."""

import json
import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hi_lib as hi
from hi_lib import _tree, regret

GRID = 16
memory = pytest.mark.parametrize("levels", [None, GRID])


def drawn(samples, seed):
    """Samples on the grid, none of which has no confidence at all."""
    rng = np.random.default_rng(seed)
    return rng.integers(1, GRID, samples) / GRID, rng.random(samples) < 0.6


@memory
@given(
    st.integers(1, 9),
    st.sampled_from([0.3, "adaptive"]),
    st.floats(0, 1),
    st.floats(0, 1),
    st.floats(0.01, 1),
    st.integers(0, 99),
)
def test_batches_of_a_device_are_those_of_the_replay(levels, size, rate, beta, budget, mu, seed):
    """On a grid whose every level is met at once, since the replay's cells must be the device's."""
    later, known = drawn(60, seed)
    confidence, right = np.concatenate((np.arange(GRID) / GRID, later)), np.append(np.arange(GRID) % 2 > 0, known)
    confidence[0] = 0.5 / GRID if levels is None else 1 / GRID
    run = hi.replay(hi.Trace(confidence, right), beta, size, learning_rate=rate, budget=budget, multiplier_rate=mu)
    cells = {"lambda_min": hi.lambda_min(hi.Trace(confidence, right))} if rate == "adaptive" else {}
    learner = hi.HILF(beta, rate, seed=0, levels=levels, budget=budget, multiplier_rate=mu, **cells)
    tolerance = 1e-13 if rate == 0.3 else 1e-6  # AdaHedge's gaps are differences of rounded logarithms
    for start in range(0, confidence.size, size):
        batch = slice(start, start + size)
        q = learner._forecaster.offload_probability(confidence[batch], learner.learning_rate)
        assert q == pytest.approx(run.offload_probability[batch], abs=tolerance)
        assert learner.multiplier == pytest.approx(run.multiplier[start], abs=tolerance)
        if levels is None and rate == 0.3:  # the same tree: to the last bit
            assert learner.multiplier == run.multiplier[start]
        learner.decide(confidence[batch])
        learner.update(confidence[batch], right[batch])
    assert learner.regret_bound is None
    restored = hi.HILF.restore(json.loads(json.dumps(learner.state())))
    assert restored.state() == learner.state()
    assert restored.multiplier == learner.multiplier


@pytest.mark.uncounted
@given(st.integers(1, 4), st.none() | st.integers(1, 12), st.floats(0, 1), st.floats(0, 1), st.integers(0, 99))
def test_cycles_of_a_device_decide_as_the_replay_does(offloads, most, beta, budget, seed):
    """With the same uniforms: a device goes through the cells from below, the replay counts from above."""
    confidence, right = drawn(120, seed)
    learner = hi.HILF(beta, 0.4, seed=seed, levels=GRID, budget=budget, multiplier_rate=0.2)
    batches = hi.OffloadBatches(learner, offloads, max_samples=most)
    decided, multipliers = [], []
    for sample, p in enumerate(confidence):
        multipliers.append(learner.multiplier)
        decision = batches.decide(p)
        decided.append(decision.offload)
        cycle = decision.cycle or (batches.flush() if sample == confidence.size - 1 else None)
        if cycle:
            batches.hear(cycle, right[cycle.first : cycle.first + cycle.offload.size])
        if sample == 60:
            state = json.loads(json.dumps(batches.state()))
            batches = hi.OffloadBatches.restore(state)
            learner = batches.learner
    uniform = 1 - np.random.default_rng(seed).random(2 * confidence.size)[::2]
    spending = regret.Spending(budget, 0.2, regret.largest_multiplier(beta))
    closing = (most or confidence.size, offloads)
    played = _tree.play(confidence, beta - ~right, closing, _tree.Rate(0.4), uniform, spending)
    assert decided == played.offloaded.tolist()
    assert multipliers == pytest.approx(played.multiplier, abs=1e-12)


@memory
def test_a_ticket_keeps_the_multiplier_of_its_decision(levels):
    learner = hi.HILF(0.4, 0.5, seed=1, levels=levels, budget=0.25, multiplier_rate=0.8)
    first, second = learner.decide_later([0.5, 0.75]), learner.decide_later([0.25])
    # Nothing is learned yet: P(θ > p) = 1 − p.
    learner.hear(first, [1, 0])
    assert learner.multiplier == pytest.approx(0.8 * (0.5 + 0.25 - 2 * 0.25))
    third = learner.decide_later([0.25])
    q = learner._forecaster.offload_probability(np.array([0.25]), 0.5).item()
    learner.hear(second, [1])  # decided at λ = 0
    assert learner.multiplier == pytest.approx(0.2 + 0.8 * (0.75 - 0.25))
    learner.hear(third, [0])  # decided at λ = 0.2
    assert learner.multiplier == pytest.approx(min(0.6 + 0.8 * (q - 0.25), 1.2))
    other = hi.HILF(0.4, 0.5, seed=1, levels=levels)
    other._forecaster.update(np.array([0.5, 0.75, 0.25, 0.25]), np.array([0.4, -0.6, 0.4, -0.6 + 0.2]))
    places = np.arange(1, 4) / 4
    assert learner._forecaster.offload_probability(places, 0.5) == pytest.approx(
        other._forecaster.offload_probability(places, 0.5)
    )


@memory
def test_what_is_given_up_was_spent(levels):
    learner = hi.HILF(0.4, 0.5, seed=1, levels=levels, budget=0.25, multiplier_rate=0.5)
    tickets = [learner.decide_later([0.5]), learner.decide_later([0.25])]
    for ticket in tickets:
        learner.forget(ticket)
    assert learner.multiplier == pytest.approx(0.5 * (0.5 + 0.75 - 0.5))
    assert learner._forecaster.offload_probability(np.array([0.5]), 0.5).item() == pytest.approx(0.5)
    learner.decide([0.9375])
    learner.hear(learner.defer([0.9375]), [1])
    assert learner.multiplier == pytest.approx(0.375 - 0.5 * (0.25 - 0.0625))


@pytest.mark.uncounted
@pytest.mark.parametrize("unit", ["samples", "offloads"])
def test_many_lives_spend_what_the_replays_do(unit):
    trace = hi.load_trace("imagenette-mobilenet_v1_0.25_128").shuffled(4)
    trace = hi.Trace(trace.confidence[:800], trace.correct[:800])
    eta, mu = hi.budget_rates(800, 1, 1 / 256, 0.3)
    shares, expected = [], []
    for seed in range(30):
        learner = hi.HILF(0.3, eta, seed=seed, levels=256, budget=0.2, multiplier_rate=mu)
        batches, sent = hi.OffloadBatches(learner, 2 if unit == "offloads" else 900, 8), 0
        for sample, p in enumerate(trace.confidence):
            decision = batches.decide(p)
            sent += decision.offload
            if decision.cycle:
                batches.hear(decision.cycle, trace.correct[decision.cycle.first : sample + 1])
        shares.append(sent / 800)
        more = {"unit": unit, "max_samples": 8} if unit == "offloads" else {}
        run = hi.replay(
            trace, 0.3, 2 if more else 8, learning_rate=eta, budget=0.2, multiplier_rate=mu, seed=seed, **more
        )
        expected.append(run.offload_ratio)
    error = math.hypot(np.std(shares, ddof=1), np.std(expected, ddof=1)) / math.sqrt(30)
    assert np.mean(shares) == pytest.approx(np.mean(expected), abs=4 * error)
    assert np.mean(shares) < 0.3 < hi.replay(trace, 0.3, learning_rate=eta).offload_ratio


def test_rates_by_name_are_those_of_the_budget():
    given = {"samples": 4000, "batch_size": 4, "lambda_min": 1e-3}
    tuned = hi.HILF(0.3, "tuned", budget=0.2, **given)
    expected = hi.budget_rates(4000, 4, 1e-3, 0.3)
    assert tuned.learning_rate == expected.learning_rate
    assert tuned._spending == (0.2, expected.multiplier_rate, 1.4)
    vanilla = hi.HILF(0.3, "vanilla", budget=0.2, **given)
    assert (vanilla.learning_rate, vanilla._spending.rate) == hi.budget_rates(4000, 1, 1e-3, 0.3)
    for rate, more in ((0.1, {}), ("adaptive", {"lambda_min": 1e-3})):
        own = hi.HILF(0.3, rate, budget=0.2, samples=4000, batch_size=4, **more)
        assert own._spending.rate == expected.multiplier_rate
    assert (tuned.budget, tuned.multiplier) == (0.2, 0.0)
    assert (hi.HILF(0.3, 0.1).budget, hi.HILF(0.3, 0.1).multiplier) == (None, 0.0)
    assert "budget=0.2, multiplier_rate=0.0" in repr(tuned)
    nothing_saved = hi.HILF(1.0, 0.1, budget=0.2, samples=100)
    nothing_saved.update([0.5], [1])
    assert hi.HILF.restore(nothing_saved.state()).multiplier == 0


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"budget": 1.5, "multiplier_rate": 0.1}, r"budget must be in \[0, 1\]"),
        ({"budget": 0.5}, "multiplier_rate must be given with a budget unless samples are"),
        ({"budget": 0.5, "multiplier_rate": 0}, r"multiplier_rate must be in \(0"),
        ({"multiplier_rate": 0.1}, "multiplier_rate must be left out where there is no budget"),
        ({"budget": 0.5, "multiplier_rate": 0.1, "samples": 9}, "samples must be left out"),
        ({"budget": 0.5, "samples": 0}, "n must be an integer >= 1"),
        ({"budget": 0.5, "multiplier_rate": 0.1, "learning_rate": "anytime"}, "learning_rate must be one rate, tuned"),
        (
            {"budget": 0.5, "multiplier_rate": 0.1, "levels": 8, "share": 0.1},
            "share must be 0 without levels, with a b",
        ),
    ],
)
def test_budgets_that_no_device_keeps_are_refused(more, says):
    with pytest.raises(ValueError, match=says):
        hi.HILF(0.5, **{"learning_rate": 0.1, **more})


def test_levels_with_a_budget_need_numpy_alone():
    """As without: what a small device installs does not grow."""
    code = (
        "import sys; from hi_lib.device.streaming import HILF; "
        "learner = HILF(0.5, 0.1, levels=8, budget=0.2, multiplier_rate=0.1); learner.update([0.5], [1]); "
        "print('numba' in sys.modules, learner.multiplier)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["False", "0.03"]
