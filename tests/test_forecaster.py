import copy
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import batch_sizes, costs, sample, traces
from hypothesis import given
from hypothesis import strategies as st

import hi_lib as hi
from hi_lib import _engine, _tree, batch_hi
from hi_lib.device.grid import Grid
from hi_lib.device.tree import Tree
from hi_lib.forecaster import Forecaster, Steps
from hi_lib.regret import Schedule

EPSILON = np.finfo(float).eps


def plain(trace, beta, batch_size, eta):
    """Algorithm 1 in its plain form."""
    return batch_hi.hil_f(trace, beta, batch_size, np.full(-(-len(trace) // batch_size), eta))


def fast(trace, beta, batch_size, eta):
    """The same on the engine."""
    return _engine.offload_probability(trace, ~trace.correct, Steps(beta, beta - 1, eta), min(batch_size, len(trace)))


def grown(trace, beta, batch_size, eta):
    """The same on the tree."""
    return _tree.replay(trace, ~trace.correct, Steps(beta, beta - 1, eta), Schedule(batch_size, batch_size))


def brute_force(trace, beta, batch_size, eta, grid):
    """Algorithm 1 over a grid of thresholds, each with its own loss; exact if cells are unions of grid intervals."""
    theta = (np.arange(grid) + 0.5) / grid
    loss, offload = np.zeros(grid), np.empty(len(trace))
    for start in range(0, len(trace), batch_size):
        batch = range(start, min(start + batch_size, len(trace)))
        weight = np.exp(-eta * (loss - loss.min()))
        for t in batch:
            offload[t] = weight[theta > trace.confidence[t]].sum() / weight.sum()
        for t in batch:
            loss += np.where(theta > trace.confidence[t], beta, float(not trace.correct[t]))
    return offload


def test_edges_are_the_distinct_confidences_between_both_ends():
    assert Forecaster([0.5, 0.25, 0.5, 1.0, 0.0]).edges.tolist() == [0.0, 0.25, 0.5, 1.0]


on_a_grid = st.lists(st.tuples(st.integers(0, 64), st.booleans()), min_size=1, max_size=40)


@given(on_a_grid, costs, batch_sizes, st.floats(0.01, 5))
def test_plain_version_agrees_with_brute_force(samples, beta, batch_size, eta):
    trace = hi.Trace([p / 64 for p, _ in samples], [right for _, right in samples])
    expected = brute_force(trace, beta, batch_size, eta, grid=64)
    # Sums of at most 64 weights, whose exponents carry rounding errors of η · loss.
    assert plain(trace, beta, batch_size, eta) == pytest.approx(expected, abs=1e-12)


fast_ones = pytest.mark.parametrize("version", [fast, grown])


@pytest.mark.python_source
@fast_ones
@given(traces(), st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), batch_sizes, st.floats(1e-3, 1e300))
def test_fast_versions_agree_with_the_plain_one(version, trace, beta, batch_size, eta):
    # Losses that are multiples of 1/4 are exact in all; only the exponentials round.
    assert version(trace, beta, batch_size, eta) == pytest.approx(plain(trace, beta, batch_size, eta), abs=1e-12)


@fast_ones
@given(traces(), costs, batch_sizes, st.floats(1e-3, 1e4))
def test_fast_versions_agree_for_any_cost(version, trace, beta, batch_size, eta):
    # β itself is rounded: over n rounds the exponents may differ by n η ε, however they are added up.
    tolerance = 1e-12 + 4 * len(trace) * eta * EPSILON
    assert version(trace, beta, batch_size, eta) == pytest.approx(plain(trace, beta, batch_size, eta), abs=tolerance)


@fast_ones
@pytest.mark.parametrize("eta", sample([0.02, 1.0, 50.0], [1.0]))
@pytest.mark.parametrize("spread", ["even", "five ulps", "tiny", "two values"])
def test_fast_versions_agree_over_ten_thousand_samples(version, eta, spread):
    rng = np.random.default_rng(3)
    confidence = {
        "even": rng.random(10_000),
        "five ulps": 1 - rng.integers(0, 5, 10_000) * 2.0**-53,
        "tiny": rng.random(10_000) * 1e-305,
        "two values": rng.choice([0.25, 0.5], 10_000),
    }[spread]
    trace = hi.Trace(confidence, rng.random(10_000) < 0.5)
    assert version(trace, 0.5, 7, eta) == pytest.approx(plain(trace, 0.5, 7, eta), abs=1e-12)


@pytest.mark.python_source
@pytest.mark.parametrize("eta", [0.5, 8.0, 1000.0])
def test_weights_recover_after_underflow(eta):
    # 400 rounds push the upper cells down to e^(−200 η), then 800 push them up again.
    confidence = np.tile([0.25, 0.5], 600)
    correct = np.arange(1200) < 400
    trace = hi.Trace(confidence, correct)
    offload = fast(trace, 0.5, 1, eta)
    assert offload == pytest.approx(plain(trace, 0.5, 1, eta), abs=1e-12)
    assert grown(trace, 0.5, 1, eta) == pytest.approx(offload, abs=1e-12)
    assert offload[399] < 1e-20
    assert offload[-1] > 1 - 1e-15


def exact_share(trace, beta, eta, t):
    """q_t from the definition, for M = 1: one sum over the cells of the past, in extended precision."""
    past, p = np.argsort(trace.confidence[:t], kind="stable"), trace.confidence[t]
    edges = np.concatenate(([0.0], trace.confidence[past], [1.0]))
    wrong = np.append(0, np.cumsum(~trace.correct[past]))
    exponent = -np.longdouble(eta) * (np.longdouble(beta) * np.arange(t + 1) - wrong)
    weight = np.exp(exponent - exponent.max())
    above = (weight * (edges[1:] - np.clip(p, edges[:-1], edges[1:]))).sum()
    return float(above / (weight * np.diff(edges)).sum())


@pytest.mark.parametrize(
    # A step of the tree's is a sum along a path: 40 additions, each rounding a loss of up to 10^6 · β in the exponent.
    ("version", "beta", "eta", "rounding"),
    [
        (fast, 0.5, 0.0148, 0),
        (fast, 0.7, 0.0148, 0),
        (fast, 0.3, 1.0, 0),
        (grown, 0.5, 0.0148, 0),
        (grown, 0.7, 0.0148, 40),
    ],
)
@pytest.mark.slow
def test_fast_versions_are_exact_over_a_million_rounds(version, beta, eta, rounding):
    trace = hi.synthetic_trace(1_000_000, seed=1)
    offload = version(trace, beta, 1, eta)
    for t in (1, 1000, 54_321, 400_000, 999_999):
        tolerance = 1e-12 + rounding * eta * beta * t * EPSILON
        assert offload[t] == pytest.approx(exact_share(trace, beta, eta, t), abs=tolerance)
    assert offload.min() >= 0
    assert offload.max() <= 1


@pytest.mark.python_source
@given(traces(), st.sampled_from([0.25, 0.5]), st.floats(0.01, 1e300), st.floats(0.01, 10))
def test_the_tree_can_change_its_rate(trace, beta, eta, later):
    known, growing = Forecaster(trace.confidence), Tree(eta)
    for forecaster in (known, growing):
        forecaster.update(trace.confidence, beta - ~trace.correct)
    asked = np.unique(trace.confidence)
    for rate in (eta, later, eta):
        expected = known.offload_probability(asked, rate)
        assert growing.offload_probability(asked, rate) == pytest.approx(expected, abs=1e-12)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(-1, 1)), max_size=60), st.randoms())
def test_the_shape_of_a_tree_depends_on_its_confidences_alone(samples, random):
    """Added in another order, one step each: the same bits everywhere."""
    steps = dict(samples)
    trees = []
    for _ in range(2):
        items = list(steps.items())
        random.shuffle(items)
        tree = Tree(0.5)
        for p, step in items:
            tree.update(np.array([p]), np.array([step]))
        trees.append(tree)
    asked = np.array([0.0, 0.3, *steps])
    first, second = (tree.offload_probability(asked, 0.5) for tree in trees)
    assert (first == second).all()
    assert trees[0].state() == trees[1].state()


@pytest.mark.python_source
def test_the_tree_asks_between_the_confidences_it_has_met():
    tree, known = Tree(1.0), Forecaster([0.25, 0.4, 0.75])
    for forecaster in (tree, known):
        forecaster.update(np.array([0.25, 0.75]), np.array([0.5, -0.5]))
    asked = np.array([0.4])
    assert tree.offload_probability(asked, 1.0) == pytest.approx(known.offload_probability(asked, 1.0), abs=1e-15)


@pytest.mark.python_source
def test_what_teaches_nothing_takes_no_room():
    tree = Tree(1.0)
    tree.update(np.array([0.0, 1.0, 0.3, 0.5, 0.5]), np.array([0.5, 0.5, 0.0, 0.5, -0.5]))
    assert tree.state() == {"confidence": [0.5], "step": [0.0]}


@given(st.lists(st.tuples(st.integers(0, 8), st.booleans()), max_size=80), costs, st.floats(0.01, 100))
def test_a_grid_agrees_with_the_plain_version(samples, beta, eta):
    known, grid = Forecaster(np.arange(8) / 8), Grid(8, eta)
    for level, right in samples:
        sample, step = np.array([level / 8]), np.array([beta - (not right)])
        known.update(sample, step)
        grid.update(sample, step)
    expected = known.offload_probability(np.arange(9) / 8, eta)
    # Weights are products of up to 80 factors; those of the plain version have rounded exponents.
    assert grid.offload_probability(np.arange(9) / 8, eta) == pytest.approx(expected, abs=1e-12 + 400 * eta * EPSILON)


def test_a_grid_weighs_afresh_before_its_weights_run_out_of_range():
    grid, plain = Grid(4, 50.0), Forecaster(np.arange(4) / 4)
    for _ in range(40):  # 25 nats each: e^-1000 is no double
        for forecaster in (grid, plain):
            forecaster.update(np.array([0.5]), np.array([0.5]))
    for _ in range(39):
        for forecaster in (grid, plain):
            forecaster.update(np.array([0.5]), np.array([-0.5]))
    asked = np.arange(4) / 4
    assert grid.offload_probability(asked, 50.0) == pytest.approx(plain.offload_probability(asked, 50.0), abs=1e-12)


def test_the_engine_refuses_what_its_numbers_cannot_count():
    endless = SimpleNamespace(order=np.broadcast_to(0, 2**29 + 1), gaps=None)
    with pytest.raises(ValueError, match=r"at most 2\^29 samples, got 536870913"):
        _engine.offload_probability(endless, None, Steps(0.5, -0.5, 0.1), 1)


@pytest.mark.python_source
def test_a_long_path_finds_room(monkeypatch):
    monkeypatch.setattr(_tree, "_DEPTH", 1)  # which compiled code does not see
    tree, plain = Tree(1.0), Forecaster(np.arange(1, 20) / 20)
    for k in range(1, 20):
        for forecaster in (tree, plain):
            forecaster.update(np.array([k / 20]), np.array([0.5 - k % 2]))
    asked = np.arange(1, 20) / 20
    assert tree.offload_probability(asked, 1.0) == pytest.approx(plain.offload_probability(asked, 1.0), abs=1e-12)


def test_confidence_one_is_never_offloaded_and_zero_always():
    forecaster = Forecaster([0.0, 1.0, 0.5])
    assert forecaster.offload_probability(np.array([0.0, 0.5, 1.0]), 0.1).tolist() == [1.0, 0.5, 0.0]


@pytest.mark.python_source
@pytest.mark.parametrize("make", [lambda: Tree(2.0), lambda: Grid(4, 2.0), lambda: Forecaster([0.25, 0.75])])
def test_draws_follow_the_density(make):
    forecaster = make()
    forecaster.update(np.array([0.25, 0.75]), np.array([-0.6, 0.3]))
    rng = np.random.default_rng(5)
    draws = np.array([forecaster.draw(rng, 2.0) for _ in range(20_000)])
    for q, p in zip(forecaster.offload_probability(np.array([0.25, 0.75]), 2.0), (0.25, 0.75), strict=True):
        assert (draws > p).mean() == pytest.approx(q, abs=4 * np.sqrt(q * (1 - q) / draws.size))
    inside = draws[(draws > 0.25) & (draws <= 0.75)]
    # Uniform within a cell: mean 1/2, standard deviation of a draw 1/(2 √12).
    assert inside.mean() == pytest.approx(0.5, abs=4 / (2 * np.sqrt(12 * inside.size)))


def test_draws_fill_the_cells_as_often_as_their_weights_say():
    rng = np.random.default_rng(8)
    edges, tree = np.sort(rng.random(30)), Tree(3.0)
    tree.update(edges, rng.uniform(-1, 1, 30))
    above = np.concatenate(([1.0], tree.offload_probability(edges, 3.0), [0.0]))
    expected = -np.diff(above)
    draws = [tree.draw(rng, 3.0) for _ in range(50_000)]
    counts = np.histogram(draws, np.concatenate(([0.0], edges, [1.0])))[0]
    often = expected * 50_000 > 5
    squares = (counts - expected * 50_000)[often] ** 2 / (expected * 50_000)[often]
    # χ² has mean k and variance 2k: five standard deviations above.
    assert squares.sum() < often.sum() + 5 * np.sqrt(2 * often.sum())


def test_a_copied_learner_goes_on_as_the_original():
    rng = np.random.default_rng(0)
    learner = hi.HILF(0.5, 0.3, seed=0)
    learner.update(rng.random(50), rng.random(50) < 0.5)
    copies = copy.deepcopy(learner), pickle.loads(pickle.dumps(learner))
    more, right = rng.random(100), rng.random(100) < 0.5
    for each in (learner, *copies):
        each.update(more, right)
    assert len({each.threshold() for each in (learner, *copies)}) == 1
