"""Thresholds that a device draws, against the weights they are drawn from."""

import itertools
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import costs, traces
from hypothesis import given
from hypothesis import strategies as st

import hi_lib as hi
from hi_lib import files, regret
from hi_lib.forecaster import Forecaster

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
    steps = [-0.5 if q <= p else 0.5 for q in neighbours]
    device._forecaster.update(np.array(neighbours * 300), np.array(steps * 300))
    probability = device._forecaster.offload_probability(np.array([p]), 0.05)[0]
    drawn = [device._draw() for _ in range(DRAWS)]
    assert all(0 < threshold <= 1 for threshold in drawn)
    error = math.sqrt(probability * (1 - probability) / DRAWS)
    assert np.mean([threshold > p for threshold in drawn]) == pytest.approx(probability, abs=4.5 * error + 1e-9)


def test_what_was_found_in_the_field():
    """Answers that are right at 1 and wrong one ulp below: that sample is always offloaded."""
    below = 1 - 2**-53
    device = hi.HILF(beta=0.7, learning_rate=1.0, seed=0)
    device.update([below, 1.0] * 200, [0, 1] * 200)
    assert device._forecaster.offload_probability(np.array([below]), 1.0) == pytest.approx([1.0])
    for _ in range(200):
        assert device.decide([below]).all()
        device.update([below, 1.0], [0, 1])


EVERY = {
    "HILF": lambda **more: hi.HILF(0.6, 0.3, seed=4, **more),
    "HILF, anytime": lambda **more: hi.HILF(0.6, "anytime", seed=4, **more),
    "HILF, adaptive": lambda **more: hi.HILF(0.6, "adaptive", seed=4, **more),
    "HILF, budget": lambda **more: hi.HILF(0.6, 0.3, seed=4, budget=0.3, multiplier_rate=0.1, **more),
    "HILN": lambda **more: hi.HILN(0.6, 0.3, 0.2, seed=4, loss_rate=0.1, **more),
    "HILN, anytime": lambda **more: hi.HILN(0.6, "anytime", 0.2, seed=4, **more),
    "Apple": lambda **more: hi.Apple(0.6, 0.3, 0.3, seed=4, **more),
}
every_learner = pytest.mark.parametrize("make", EVERY.values(), ids=EVERY)
memory = pytest.mark.parametrize("levels", [None, 16])


def live(learner, samples, rng):
    """Use a learner in both ways for a while; return the thresholds it drew."""
    drawn = []
    for p in rng.random(samples):
        right = rng.random() < p
        if rng.random() < 0.5:
            learner.decide([p])
            learner.update([p], [right])
            drawn.append(learner.threshold())
        else:
            drawn.append(learner.decide_later([p, 1 - p]).threshold)
            chosen = int(rng.choice(learner.outstanding))
            if rng.random() < 0.3:
                learner.forget(chosen)
            elif rng.random() < 0.6:
                learner.hear(chosen, [right, not right])
    return drawn


def test_a_restored_learner_knows_confidences_whose_losses_have_cancelled():
    learner = hi.HILF(0.5, 1.0, seed=0)
    for p, correct in ((0.3, 1), (0.3, 0), (0.6, 1)):  # β, and then β − 1: nothing is left at 0.3 but a cell's edge
        learner.update([p], [correct])
    restored = hi.HILF.restore(learner.state())
    for each in (learner, restored):
        for _ in range(200):
            each.update([0.6], [1])
    assert learner.state() == restored.state()


@every_learner
@memory
def test_a_restored_learner_goes_on_to_the_last_bit(make, levels, tmp_path):
    learner = make(levels=levels)
    live(learner, 60, np.random.default_rng(1))
    learner.decide([0.25])
    file = tmp_path / "state.json"
    file.write_text(json.dumps(learner.state(), allow_nan=False))
    restored = type(learner).restore(json.loads(file.read_text()))
    for each in (learner, restored):
        each.update([0.25], [1])
    first, second = (live(each, 60, np.random.default_rng(2)) for each in (learner, restored))
    assert first == second
    assert learner.state() == restored.state()


@every_learner
def test_state_of_others_or_damaged_is_refused(make):
    learner = make()
    learner.decide([0.3])
    learner.update([0.3], [1])
    state = learner.state()
    others = {"Apple", "HILF", "HILN"} - {type(learner).__name__}
    for bad, says in [
        (state | {"learner": others.pop()}, "state must be of"),
        (state | {"version": 99}, "must be of version 3, got 99: let the learner begin anew"),
        (state | {"version": 2}, "must be of version 3, got 2: let the learner begin anew"),
        (state | {"rate": 0.123}, "state is damaged"),
        ({**state, "weights": {}}, "state is damaged"),
        ({key: value for key, value in state.items() if key != "exposure"}, "state is damaged"),
        ({}, r"state must be what state\(\) gave"),
        ("text", r"state must be what state\(\) gave"),
    ]:
        with pytest.raises(ValueError, match=says):
            type(learner).restore(bad)


@every_learner
@memory
def test_a_wrong_use_changes_nothing(make, levels):
    learner = make(levels=levels)
    first, second = learner.decide_later([0.2, 0.8]), learner.decide_later([0.9])
    learner.hear(first, [0, 1])
    learner.decide([0.4, 0.5])
    before = learner.state()
    for wrong, says in [
        (lambda: learner.hear(first, [0, 1]), "ticket 0 must be outstanding, but was heard or forgotten before"),
        (lambda: learner.forget(first), "ticket 0 must be outstanding"),
        (lambda: learner.hear(7, [0]), "ticket 7 must be outstanding, but was never given"),
        (lambda: learner.hear("x", [0]), "ticket must be numeric"),
        (lambda: learner.hear(second, [0, 1]), r"correct must have shape \(1,\), got \(2,\)"),
        (lambda: learner.hear(second, [2]), r"correct\[0\] must be 0 or 1"),
        (lambda: learner.update([0.4], [1, 0]), "must"),
        (lambda: learner.defer([1.4]), r"confidence\[0\] must be in"),
        (lambda: learner.decide_later([1.5]), r"confidence\[0\] must be in \[0, 1\]"),
        (lambda: learner.decide_later([]), "confidence must hold at least one value"),
    ]:
        with pytest.raises(ValueError, match=says):
            wrong()
        assert learner.state() == before
    assert learner.outstanding == [second.number]


@every_learner
def test_settings_cannot_be_changed(make):
    learner = make()
    partial = () if isinstance(learner, hi.HILF) and not isinstance(learner, hi.HILN) else ("exploration", "loss_rate")
    for name in ("beta", "learning_rate", "levels", "outstanding", *partial):
        with pytest.raises(AttributeError):
            setattr(learner, name, 0.5)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (
            lambda: hi.HILF(0.5, "tuned"),
            "learning_rate must be a number unless samples, and either levels or lambda_min,",
        ),
        (lambda: hi.HILF(0.5, "vanilla", samples=100), "learning_rate must be a number unless samples"),
        (lambda: hi.HILF(0.5, "best"), "learning_rate must be one of tuned, vanilla, anytime"),
        (lambda: hi.HILF(0.5, 0.1, samples=100), "samples must be left out unless learning_rate is tuned or vanilla"),
        (lambda: hi.HILF(0.5, "tuned", samples=0, levels=8), "samples must be an integer >= 1"),
        (lambda: hi.HILF(0.5, "tuned", samples=9, levels=8, batch_size=0), "batch_size must be an integer >= 1"),
        (lambda: hi.HILN(0.5, 0.1), "exploration must be a number unless samples, and"),
        (lambda: hi.HILN(0.5, "anytime", samples=9, levels=4), "exploration must be given with anytime rates"),
        (lambda: hi.HILF(0.5, 0.1, lambda_min=0.1), "lambda_min must be left out"),
        (lambda: hi.HILF(0.5, "anytime", lambda_min=1), r"lambda_min must be in \(0, 1\)"),
        (lambda: hi.HILF(0.5, 0.1, levels=0), "levels must be an integer >= 1"),
        (lambda: hi.HILF(0.5, 0.1, levels=2**21), "levels must be at most 2"),
        (lambda: hi.HILN(0.5, 0.1, 0.1, loss_rate=1), r"loss_rate must be in \[0, 1\)"),
        (lambda: hi.Apple(0.5, "anytime", 0.1), "learning_rate must be one of tuned, vanilla"),
        (lambda: hi.Apple(0.5, 0.1), "exploration must be given with a number for the learning rate"),
    ],
)
def test_settings_that_no_learner_has_are_refused(wrong, says):
    with pytest.raises(ValueError, match=says):
        wrong()


@given(traces(), costs, st.integers(1, 9), st.randoms())
def test_late_feedback_teaches_the_same_in_any_order(trace, beta, size, random):
    """All tickets first, then their feedback, shuffled: the weights are those of one batch."""
    late, batch = hi.HILF(beta, 0.5, seed=0), hi.HILF(beta, 0.5, seed=0)
    batch.update(trace.confidence, trace.correct)
    tickets = [
        (late.decide_later(trace.confidence[start : start + size]), trace.correct[start : start + size])
        for start in range(0, len(trace), size)
    ]
    random.shuffle(tickets)
    for ticket, right in tickets:
        late.hear(ticket, right)
    asked = np.append(trace.confidence, 0.3)
    first, second = (each._forecaster.offload_probability(asked, 0.5) for each in (late, batch))
    # Sums of steps in another order: n roundings in the exponent.
    assert first == pytest.approx(second, abs=1e-13 * len(trace))


@pytest.mark.uncounted
@pytest.mark.parametrize("kind", [hi.HILN, hi.Apple])
def test_lost_answers_leave_no_bias_where_their_rate_is_known(kind):
    """Over many lives, what is learned about accepting has the true mean, though 40 % of the answers are lost."""
    confidence, wrong, beta = np.array([0.2, 0.5, 0.9]), np.array([1, 1, 0]), 0.5
    found = []
    for seed in range(4000):
        rng = np.random.default_rng([seed, 1])  # losses have nothing to do with what the learner draws
        learner = kind(beta, 0.4, 0.3, seed, loss_rate=0.4, levels=10)
        for _ in range(3):
            ticket = learner.decide_later(confidence)
            if rng.random() < 0.4:
                learner.forget(ticket)
            else:
                learner.hear(ticket, 1 - wrong)
        steps = np.array(learner._forecaster._step)[[2, 5, 9]]
        found.append(steps)
    mean, error = np.mean(found, axis=0), np.std(found, axis=0, ddof=1) / np.sqrt(len(found))
    assert np.abs(mean - 3 * (beta - wrong)) == pytest.approx(0, abs=4.5 * error.max())
    assert error.max() < 0.1


@every_learner
@memory
def test_a_batch_that_is_deferred_and_heard_teaches_what_an_update_does(make, levels):
    at_once, late = make(levels=levels), make(levels=levels)
    rng = np.random.default_rng(3)
    for _ in range(20):
        batch, right = rng.random(4), rng.random(4) < 0.5
        decided = [[learner.decide(part).tolist() for part in (batch[:1], batch[1:])] for learner in (at_once, late)]
        assert decided[0] == decided[1]
        at_once.update(batch, right)
        ticket = late.defer(batch)
        assert ticket.offload.tolist() == [*itertools.chain(*decided[0])]
        late.hear(ticket, right)
        assert at_once.threshold() == late.threshold()  # drawn from the same weights, to the last bit


def test_answers_that_are_lost_without_notice_look_right():
    """What `forget` without a loss rate leaves: mistakes count (1 − r) times what they should."""
    found = []
    for seed in range(2000):
        learner = hi.HILN(0.5, 0.4, 1.0, seed, levels=2)
        ticket = learner.decide_later([0.5])
        learner.forget(ticket) if np.random.default_rng([seed, 1]).random() < 0.4 else learner.hear(ticket, [0])
        found.append(sum(learner._forecaster._step[:2]))
    assert np.mean(found) == pytest.approx(0.5 - 0.6, abs=4.5 * np.sqrt(0.24 / 2000))


@given(traces(), costs, st.sampled_from([1, 2, 7, 256]))
def test_the_grid_costs_what_is_stated(trace, beta, levels):
    """The best threshold on the grid costs at most a unit more for each sample in one cell of the grid."""
    rounded = np.floor(trace.confidence * levels) / levels
    grid = hi.best_threshold(hi.Trace(rounded, trace.correct), beta)
    crowd = np.unique(rounded, return_counts=True)[1].max()
    best = hi.best_threshold(trace, beta).average_cost * len(trace)
    assert best - 1e-9 <= grid.average_cost * len(trace) <= best + crowd + 1e-9
    by_hand = min(
        np.where(trace.confidence < k / levels, beta, ~trace.correct).sum()
        for k in range(
            1, levels + 1
        )  # thresholds that offload the first k cells; a rounded θ > 0 offloads one at least
    )
    assert grid.average_cost * len(trace) <= by_hand + 1e-9


@memory
@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=12), seed=st.integers(0, 99))
def test_anytime_is_the_plain_forecaster_with_rates_that_fall_at_doublings(levels, sizes, seed):
    rng = np.random.default_rng(seed)
    learner = hi.HILF(0.5, "anytime", seed=0, levels=levels, lambda_min=0.01)
    known, seen, exposure = Forecaster(np.arange(64) / 64), [], 0
    if levels is None:
        known = Forecaster(confidence := rng.integers(0, 64, sum(sizes)) / 64)
    else:
        known = Forecaster(confidence := rng.integers(0, levels, sum(sizes)) / levels)
    for stop, size in zip(np.cumsum(sizes), sizes, strict=True):
        batch, right = confidence[stop - size : stop], rng.random(size) < 0.5
        eta = learner.learning_rate
        share = learner._forecaster.offload_probability(batch, eta)
        assert share == pytest.approx(known.offload_probability(batch, eta), abs=1e-12)
        learner.update(batch, right)
        known.update(batch, 0.5 - ~right)
        exposure += size**2
        seen.append(eta)
        assert learner.learning_rate <= regret.doubling_learning_rate(exposure + size**2, 0.01) + 1e-15
    assert all(a >= b for a, b in itertools.pairwise(seen))


@pytest.mark.parametrize("batches", [1, 2, 3, 7, 8, 100, 4095, 4096])
@pytest.mark.parametrize("batch_size", [1, 5])
def test_doubling_rates_keep_their_bound(batches, batch_size):
    """L/η_K + Σ η_k M²/8 with the rates that a device uses, against 1.1 √(L E)."""
    shortest, log_cells = 1e-4, -math.log(1e-4)
    rates = [regret.doubling_learning_rate(k * batch_size**2, shortest) for k in range(1, batches + 1)]
    bound = log_cells / rates[-1] + sum(rates) * batch_size**2 / 8
    assert bound <= math.sqrt((1 + math.sqrt(2)) / 2 * log_cells * batches * batch_size**2)


@pytest.mark.uncounted
def test_anytime_learns_without_knowing_for_how_long():
    """Mean regret over a thousand rounds of coins at the middle, where learning is as hard as it gets."""
    beta, n, regrets = 0.5, 1000, []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        wrong = rng.random(n) < beta
        learner = hi.HILF(beta, "anytime", seed, lambda_min=0.5)
        cost = 0.0
        for mistake in wrong:
            cost += beta if learner.decide([0.5])[0] else mistake
            learner.update([0.5], [not mistake])
        regrets.append(cost - min(beta * n, wrong.sum()))
    error = np.std(regrets, ddof=1) / np.sqrt(len(regrets))
    assert np.mean(regrets) < 1.1 * math.sqrt(math.log(2) * n) + 4 * error


def test_levels_need_numpy_alone(tmp_path):
    """In an environment that holds NumPy and nothing else, with the package on its path."""
    site = tmp_path / "site"
    site.mkdir()
    installed = Path(np.__file__).parent.parent
    for part in installed.glob("numpy*"):
        (site / part.name).symlink_to(part)
    (site / "hi_lib").symlink_to(files.ROOT / "hi_lib")
    program = (
        f"import sys; sys.path.insert(0, {str(site)!r}); import hi_lib as hi\n"
        "for learner in (hi.HILF(.5, 'anytime', 0, levels=256), hi.HILN(.5, .1, .1, 0, levels=256),"
        " hi.Apple(.5, .1, .1, 0, levels=256)):\n"
        "    learner.hear(learner.decide_later([.3, .7]), [0, 1])\n"
        "    learner = type(learner).restore(learner.state())\n"
        "    learner.decide([.4]); learner.update([.4], [1])\n"
        "others = {name.split('.')[0] for name in sys.modules} - set(sys.stdlib_module_names)\n"
        "print(sorted(others & {'hi_lib', 'numpy', 'numba', 'scipy', 'pandas', 'simpy', 'yaml'}))\n"
        "try:\n    hi.HILF(.5, .1)\nexcept ModuleNotFoundError as error:\n    print(error.name)\n"
    )
    # -S leaves out site-packages, -I what the environment or the folder would add.
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == ["['hi_lib', 'numpy']", "numba"], done.stderr


@pytest.mark.parametrize("name", ["tuned", "vanilla"])
@pytest.mark.parametrize("learner", [hi.HILF, hi.HILN, hi.Apple])
def test_a_rate_by_name_is_that_of_the_replay(learner, name):
    """On a trace whose shortest cell is that of the grid, device and replay have the same η and ε."""
    trace = hi.Trace(np.arange(64) % 32 / 32, np.arange(64) % 3 > 0)
    run = hi.replay(trace, 0.4, 4, learner.learner.name, learning_rate=name, seed=0)
    given = {"samples": 64, "batch_size": 4, "seed": 0}
    for more in ({"levels": 32}, {"lambda_min": 1 / 32}):
        device = learner(0.4, name, **given, **more)
        assert device.learning_rate == run.learning_rate
        assert learner is hi.HILF or device.exploration == run.exploration
        assert type(device).restore(device.state()).learning_rate == run.learning_rate


def test_a_learner_says_how_it_was_made():
    learner = hi.HILN(0.6, 0.3, 0.2, loss_rate=0.1, levels=8)
    assert (learner.beta, learner.learning_rate, learner.exploration) == (0.6, 0.3, 0.2)
    assert (learner.loss_rate, learner.levels) == (0.1, 8)
    said = "HILN(beta=0.6, learning_rate=0.3, levels=8, exploration=0.2, loss_rate=0.1; 0 samples, 0 tickets out)"
    assert repr(learner) == said


@memory
@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=15), beta=costs, seed=st.integers(0, 99))
def test_an_adaptive_device_is_the_adaptive_replay(levels, sizes, beta, seed):
    """The same weights before every batch, and the same Δ, where the replay knows the device's cells."""
    rng = np.random.default_rng(seed)
    grid = levels or 16
    # Every cell's edge is met at once, in a first batch that all thresholds pay for alike but for their offloads.
    confidence = np.concatenate((np.arange(grid) / grid, rng.integers(0, grid, sum(sizes)) / grid))
    right = rng.random(confidence.size) < 0.6
    learner = hi.HILF(beta, "adaptive", seed=0, levels=levels, lambda_min=1 / grid)
    ends = [grid, *(grid + np.cumsum(sizes)).tolist()]
    cost, start = 0.0, 0
    for end in ends:
        batch, known = confidence[start:end], right[start:end]
        q = learner._forecaster.offload_probability(batch, learner.learning_rate)
        cost += (beta * q + (1 - q) * ~known).sum()
        learner.decide(batch)
        learner.update(batch, known)
        start = end
    trace = hi.Trace(confidence, right)
    regretted = cost - hi.best_threshold(trace, beta).average_cost * len(trace)
    assert regretted <= learner.regret_bound + 1e-9  # T22, with L of the grid
    assert learner.regret_bound <= 2 * learner._gap * (1 + 1e-12)  # less where a tree has not met all cells
    assert levels is None or learner.regret_bound == pytest.approx(2 * learner._gap)
    restored = hi.HILF.restore(json.loads(json.dumps(learner.state())))
    assert restored.regret_bound == learner.regret_bound
    for each in (learner, restored):
        each.update([0.25, 0.5], [0, 1])
    assert restored.state() == learner.state()


@pytest.mark.python_source
def test_adaptive_devices_agree_with_the_replay_of_single_samples():
    trace = hi.Trace((np.arange(600) * 7919 % 32) / 32, np.arange(600) % 5 > 1)
    run = hi.replay(trace, 0.3, learning_rate="adaptive")
    for more in ({"levels": 32}, {}):
        learner = hi.HILF(0.3, "adaptive", seed=0, lambda_min=1 / 32, **more)
        for p, right in zip(trace.confidence, trace.correct, strict=True):
            learner.update([p], [right])
        assert 2 * learner._gap == pytest.approx(run.regret_bound, rel=1e-6)
        assert learner.learning_rate == pytest.approx(run.learning_rate, rel=1e-6)


def test_a_bound_is_told_only_where_it_needs_no_horizon():
    assert hi.HILF(0.5, 0.1).regret_bound is None
    assert hi.HILF(0.5, "anytime").regret_bound is None
    learner = hi.HILF(0.5, "adaptive", lambda_min=1e-3)
    learner.update([0.5, 0.5 + 1e-6], [0, 1])
    # A cell shorter than assumed: (1 + L/L') Δ.
    assert learner.regret_bound == pytest.approx((1 + math.log(1e-6) / math.log(1e-3)) * learner._gap, rel=1e-6)


@pytest.mark.parametrize("sizes", [[1] * 40, [8, 1, 3, 20, 8]])
def test_a_device_that_shares_is_the_replay_that_shares(sizes):
    """On a grid whose every level is met, all cells have one length: the same weights before every batch."""
    rng = np.random.default_rng(1)
    size = sizes[0] if len(set(sizes)) == 1 else 8
    confidence = np.concatenate((np.arange(16) / 16, rng.integers(0, 16, 64) / 16))
    right = rng.random(80) < 0.5
    run = hi.replay(hi.Trace(confidence, right), 0.4, size, learning_rate=0.6, share=0.05)
    learner = hi.HILF(0.4, 0.6, seed=0, levels=16, share=0.05)
    for start in range(0, 80, size):
        batch = slice(start, start + size)
        q = learner._forecaster.offload_probability(confidence[batch], 0.6)
        assert q == pytest.approx(run.offload_probability[batch], abs=1e-12)
        learner.update(confidence[batch], right[batch])
    restored = hi.HILF.restore(json.loads(json.dumps(learner.state())))
    assert restored.state() == learner.state()
    assert "share=0.05" in repr(restored)


def test_a_share_needs_one_rate_on_a_grid():
    for more in ({"learning_rate": 0.1}, {"learning_rate": "adaptive", "levels": 16}):
        with pytest.raises(ValueError, match="share must be 0 without levels"):
            hi.HILF(0.5, share=0.1, **more)
    with pytest.raises(ValueError, match=r"share must be in \[0, 1\)"):
        hi.HILF(0.5, 0.1, levels=16, share=1.0)
