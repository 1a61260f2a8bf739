import joblib
import numpy as np
import pytest
from conftest import batch_sizes, costs, traces
from hypothesis import given
from hypothesis import strategies as st

import hi_lib as hi
from hi_lib import learners
from hi_lib.forecaster import Forecaster

TRACE = hi.Trace([0.2, 0.6, 0.9, 0.4], [0, 1, 1, 0])


def vanilla(trace, beta, eta):
    """HIL-F as in the vanilla paper: one θ a round, weights on a fine grid, updated after every sample."""
    theta = (np.arange(4096) + 0.5) / 4096
    weight = np.ones_like(theta)
    offload = []
    for p, right in zip(trace.confidence, trace.correct, strict=True):
        offload.append(weight[theta > p].sum() / weight.sum())
        weight *= np.exp(-eta * np.where(theta > p, beta, float(not right)))
    return np.array(offload)


def test_batches_of_one_are_vanilla_hi():
    rng = np.random.default_rng(2)
    trace = hi.Trace(rng.integers(0, 4097, 300) / 4096, rng.random(300) < 0.7)
    run = hi.replay(trace, 0.4, batch_size=1, learning_rate=0.2)
    assert run.offload_probability == pytest.approx(vanilla(trace, 0.4, 0.2), abs=1e-11)


@pytest.mark.uncounted
@pytest.mark.parametrize("exploration", [None, 0.2])
@pytest.mark.parametrize("batch_size", [1, 4, 7])
def test_streaming_objects_agree_with_replays(batch_size, exploration):
    """HIL-F's expectations are exact; HIL-N's depend on the rounds explored, and both sides are means over seeds."""
    trace, beta, eta, seeds = hi.load_trace("imagenette-mobilenet_v1_0.25_128").shuffled(4), 0.5, 0.3, 1000
    trace = hi.Trace(trace.confidence[:30], trace.correct[:30])
    if exploration is None:
        runs = [hi.replay(trace, beta, batch_size, learning_rate=eta)]
    else:
        runs = [hi.replay(trace, beta, batch_size, "hil-n", eta, exploration, seed=seed) for seed in range(seeds)]
    offloads = np.zeros((seeds, len(trace)))
    for seed in range(seeds):
        learner = hi.HILF(beta, eta, seed) if exploration is None else hi.HILN(beta, eta, exploration, seed)
        for start in range(0, len(trace), batch_size):
            batch = slice(start, start + batch_size)
            offloads[seed, batch] = sent = learner.decide(trace.confidence[batch])
            feedback = trace.correct[batch] if exploration is None else np.where(sent, trace.correct[batch], np.nan)
            learner.update(trace.confidence[batch], feedback)
    q = np.array([run.offload_probability for run in runs])
    error = np.sqrt((q * (1 - q)).mean(axis=0) / seeds + q.var(axis=0) * (1 / seeds + 1 / len(runs)))
    # 30 means; a normal deviate beyond 4.5 has probability 7e-6.
    assert (np.abs(offloads.mean(axis=0) - q.mean(axis=0)) <= 4.5 * error).all()
    cost = (offloads * beta + (1 - offloads) * ~trace.correct).mean(axis=1)
    expected = np.array([run.average_cost for run in runs])
    spread = np.sqrt(cost.var(ddof=1) / seeds + expected.var() / len(runs))
    assert cost.mean() == pytest.approx(expected.mean(), abs=4 * spread)
    sent = np.maximum.reduceat(offloads, np.arange(0, len(trace), batch_size), axis=1).sum(axis=1)
    expected = np.array([run.transmissions for run in runs])
    spread = np.sqrt(sent.var(ddof=1) / seeds + expected.var() / len(runs))
    assert sent.mean() == pytest.approx(expected.mean(), abs=4 * spread)


@given(traces(), costs, batch_sizes, st.floats(0.01, 1.0), st.floats(0.01, 10.0), st.integers(0, 9))
def test_hil_n_learns_from_explored_samples_only(trace, beta, batch_size, exploration, eta, seed):
    run = hi.replay(trace, beta, batch_size, "hil-n", eta, exploration, seed=seed)
    explored = np.random.default_rng(seed).random(len(trace)) < exploration
    step = beta - (explored & ~trace.correct) / exploration
    forecaster = Forecaster(trace.confidence)
    for start in range(0, len(trace), batch_size):
        batch = slice(start, start + batch_size)
        below_threshold = forecaster.offload_probability(trace.confidence[batch], eta)
        expected = 1 - (1 - below_threshold) * (1 - exploration)
        # Steps of 1/ε are rounded: n η / ε ε_machine in an exponent.
        tolerance = 1e-12 + 8 * len(trace) * eta / exploration * np.finfo(float).eps
        assert run.offload_probability[batch] == pytest.approx(expected, abs=tolerance)
        forecaster.update(trace.confidence[batch], step[batch])


def test_hil_n_depends_on_its_seed_alone():
    trace = hi.load_trace("cifar10-resnet8").shuffled(0)
    alone = [hi.replay(trace, 0.5, 4, "hil-n", seed=seed).average_cost for seed in range(8)]
    threads = joblib.Parallel(n_jobs=4, prefer="threads")(
        joblib.delayed(hi.replay)(trace, 0.5, 4, "hil-n", seed=seed) for seed in range(8)
    )
    assert [run.average_cost for run in threads] == alone
    assert len(set(alone)) == 8


def test_hil_n_feedback_must_belong_to_the_batch():
    learner, twin = (hi.HILN(0.5, 0.1, exploration=0.5, seed=3) for _ in range(2))
    with pytest.raises(ValueError, match="0 samples decided"):
        learner.update([0.3], [1])
    for each in (learner, twin):
        assert each.decide([0.0, 1.0, 1.0])[0]
    for wrong_order, feedback, says in (
        ([0.0, 1.0], [1, 1], "3 samples decided"),
        ([1.0, 0.0, 1.0], [1, 1, 1], "in order"),
        ([0.0, 1.0, 1.0], [None, 1, 1], r"correct\[0\] must be 0 or 1: that sample was offloaded"),
        ([0.0, 1.0, 1.0], [2, 1, 1], r"correct\[0\] must be 0 or 1"),
        ([0.0, 1.0, 1.0], [1, 1], "shape"),
    ):
        with pytest.raises(ValueError, match=says):
            learner.update(wrong_order, feedback)
    for each in (learner, twin):
        each.update([0.0, 1.0, 1.0], [0, 0, 0])
    assert learner.threshold() == twin.threshold()


def test_streaming_threshold_is_constant_within_a_batch():
    learner = hi.HILF(0.5, 0.1, seed=1)
    first = learner.threshold()
    learner.decide([0.3, 0.4])
    assert learner.threshold() == first
    learner.update([0.3, 0.4], [1, 0])
    assert learner.threshold() != first


def test_the_same_seed_draws_the_same_thresholds():
    draws = []
    for _ in range(2):
        learner = hi.HILF(0.5, 0.1, seed=9)
        learner.update([0.3], [0])
        draws.append(learner.threshold())
    assert draws[0] == draws[1]


def test_refused_feedback_leaves_the_learner_as_it_was():
    learner, twin = hi.HILF(0.5, 0.1, seed=1), hi.HILF(0.5, 0.1, seed=1)
    with pytest.raises(ValueError, match=r"correct\[1\]"):
        learner.update([0.3, 0.4], [1, np.nan])
    learner.update([0.3], [1])
    twin.update([0.3], [1])
    assert learner.threshold() == twin.threshold()


def test_fixed_rules():
    always, never = (hi.replay(TRACE, 0.3, learner=rule) for rule in ("always", "never"))
    assert (always.average_cost, always.offload_ratio, always.accuracy) == (0.3, 1, 1)
    assert (never.average_cost, never.offload_ratio, never.accuracy) == (0.5, 0, 0.5)
    fixed = hi.replay(TRACE, 0.3, learner="fixed", threshold=0.6)
    assert fixed.offload_probability.tolist() == [1, 0, 0, 1]
    assert fixed.regret == pytest.approx(0)
    assert fixed.regret_bound is None
    assert fixed.learning_rate is None


@pytest.mark.parametrize(
    "trace", [hi.Trace([0.4], [0]), hi.Trace([0.4] * 5, [0, 1, 0, 1, 1]), hi.Trace([0, 1], [1, 1])]
)
@pytest.mark.parametrize("batch_size", [1, 2, 100])
def test_small_traces(trace, batch_size):
    run = hi.replay(trace, 0.5, batch_size)
    assert run.offload_probability[0] == pytest.approx(1 - trace.confidence[0])
    assert run.cost.shape == (len(trace),)


def test_anytime_rates_start_high_and_fall():
    trace = hi.synthetic_trace(1000, seed=0)
    run = hi.replay(trace, 0.5, batch_size=3, learning_rate="anytime")
    rates = hi.anytime_learning_rates(1000, 3, hi.lambda_min(trace))
    assert run.learning_rate == rates[-1]
    assert rates.size == 334
    assert (np.diff(rates) < 0).all()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"beta": 1.1}, r"beta must be in \[0, 1\]"),
        ({"beta": 70}, "a percentage"),
        ({"batch_size": 10**19}, "at most 2"),
        ({"seed": -1}, "seed must be an integer >= 0"),
        ({"seed": "x"}, "seed must be numeric"),
        ({"learning_rate": [0.1, 0.2]}, "single number"),
        ({"batch_size": np.True_}, "batch_size must be an integer"),
        ({"beta": np.nan}, "beta must be in"),
        ({"beta": "half"}, "beta must be numeric"),
        ({"beta": [0.1, 0.2]}, "beta must be a single number"),
        ({"batch_size": 0}, "batch_size must be an integer >= 1"),
        ({"batch_size": 2.5}, "batch_size must be an integer >= 1"),
        ({"batch_size": True}, "batch_size must be an integer >= 1"),
        ({"batch_size": None}, "batch_size must be numeric"),
        ({"learning_rate": 0}, "learning_rate must be in"),
        ({"learning_rate": np.inf}, "learning_rate must be in"),
        ({"learning_rate": "tunde"}, "did you mean tuned"),
        ({"learner": "hilf"}, "did you mean hil-f"),
        ({"learner": ["hil-f"]}, "learner must be one of"),
        ({"exploration": 0.1}, "exploration must be None"),
        ({"learner": "hil-n", "exploration": 0}, r"exploration must be in \(0, 1\]"),
        ({"learner": "hil-n", "exploration": 1.5}, r"exploration must be in \(0, 1\]"),
        ({"learner": "hil-n", "exploration": np.nan}, r"exploration must be in \(0, 1\]"),
        ({"learner": "hil-n", "learning_rate": "anytime"}, "learning_rate must be one of tuned"),
        ({"threshold": 0.5}, "threshold must be None"),
        ({"learner": "fixed", "threshold": 0.5, "learning_rate": -3}, "learning_rate must be left out for learner"),
        ({"learner": "hi-lcb", "learning_rate": "foo"}, "learning_rate must be left out for learner 'hi-lcb'"),
        ({"learner": "never", "learning_rate": np.ones(2)}, "learning_rate must be left out for learner 'never'"),
        ({"learner": "always", "delay": np.int64(1)}, "delay must be 0 for learner 'always'"),
        ({"learner": "always", "delay": "x"}, "delay must be numeric"),
        ({"learner": "fixed"}, "threshold must be given"),
        ({"learner": "fixed", "threshold": 2}, "threshold must be in"),
    ],
)
def test_bad_arguments_are_refused(arguments, says):
    with pytest.raises(ValueError, match=says):
        hi.replay(TRACE, **{"beta": 0.5, **arguments})


@pytest.mark.parametrize("whole", [np.int64, np.int8, np.float32, float])
def test_whole_numbers_of_any_kind_are_whole_numbers(whole):
    plain = hi.replay(TRACE, 0.5, 2, "always", seed=3, delay=0)
    assert hi.replay(TRACE, 0.5, whole(2), "always", seed=whole(3), delay=whole(0)).regret == plain.regret
    late = hi.replay(TRACE, 0.5, whole(2), "naive", seed=whole(3), delay=whole(2))
    assert late.regret == hi.replay(TRACE, 0.5, 2, "naive", seed=3, delay=2).regret


@pytest.mark.parametrize("arguments", [(1.5, 0.1), (0.5, 0), (0.5, -1), (0.5, np.nan), (0.5, "tuned")])
def test_bad_streaming_arguments_are_refused(arguments):
    with pytest.raises(ValueError, match="must be"):
        hi.HILF(*arguments)


@pytest.mark.parametrize("call", [hi.best_threshold, hi.replay])
@pytest.mark.parametrize("trace", [None, "cifar10-resnet8", [0.1, 0.2]])
def test_only_traces_are_replayed(call, trace):
    with pytest.raises(ValueError, match=r"trace must be a hi_lib\.Trace"):
        call(trace, 0.5)


@pytest.mark.parametrize("eta", [1e-300, 1e8, 1e10, 1e20, 1e300])
def test_extreme_learning_rates(eta):
    trace = hi.Trace([0.2, 0.4, 0.6, 0.8] * 3, [0, 1, 0, 1] * 3)
    run = hi.replay(trace, 0.5, learning_rate=eta)
    if eta < 1:
        assert run.offload_probability == pytest.approx(1 - trace.confidence)
    else:
        # The best cells so far share all the weight, in proportion to their lengths.
        expected = [0.8, 0.75, 0, 1 / 3, 1, 0.5, 0, 0]
        assert run.offload_probability[:8] == pytest.approx(expected, abs=1e-12)


def test_a_run_and_a_trace_say_in_a_line_what_they_are():
    trace = hi.Trace([0.5, 0.25, 1, 0], [1, 0, 1, 1], lml_correct=[1, 1, np.nan, 1], name="mine")
    assert repr(trace) == "Trace('mine', 4 samples, accuracy=0.750, L-ML known on 75%)"
    run = hi.replay(trace, 0.5, 2, "always")
    assert repr(run) == "Run(4 samples, batch_size=2, average_cost=0.5, offload_ratio=1, regret=1)"
    assert "(bound " in repr(hi.replay(trace, 0.5, 2))


def test_a_rule_has_no_rate():
    with pytest.raises(ValueError, match="learning_rate must be left out for a learner that has none"):
        learners.named("always").rates((100, 1.0, 0.1, 0.5), 0.3)


def test_bounds_and_rates_are_found_under_the_learners_name():
    n, size, shortest, beta = 10_000, 4, 1e-6, 0.5
    assert hi.HILF.learner.regret_bound(n, shortest, batch_size=size) == pytest.approx(
        hi.regret_bound(n, size, shortest)
    )
    rates = hi.HILN.learner.tuned_rates(n, shortest, beta, size)
    bound = hi.partial_feedback_bound(n, size, shortest, beta, *rates)
    assert hi.HILN.learner.regret_bound(n, shortest, beta, size) == bound
    eta = hi.tuned_apple_rate(n, size, shortest, beta)
    assert hi.Apple.learner.regret_bound(n, shortest, beta, size) == hi.apple_bound(n, size, shortest, beta, eta)
    for name, says in (("naive", "there must be a theorem"), ("always", "learning_rate must be left out")):
        with pytest.raises(ValueError, match=says):
            learners.named(name).regret_bound(n, shortest)
