"""The compiled rivals against their definitions, written out once more the slow way."""

import numpy as np
import pytest
from conftest import batch_sizes, costs, traces
from hypothesis import given
from hypothesis import strategies as st

import hi_lib as hi
from hi_lib import rivals
from hi_lib.forecaster import Forecaster
from hi_lib.studies import variants

rates = st.floats(0.01, 20)
PARTIAL = ("apple", "naive")


def the_slow_way(trace, beta, batch_size, eta, seed=None, feedback="full", exploration=0.0, window=None, share=0.0):
    n = len(trace)
    edges = np.unique(np.concatenate(([0, 1], trace.confidence)))
    length, upper = np.diff(edges), edges[1:]
    rng = np.random.default_rng(seed)
    uniform, flags = rng.random(-(-n // batch_size)), rng.random(n) < exploration
    density, steps, offload = np.ones(length.size), np.zeros(n), np.empty(n)
    for batch, start in enumerate(range(0, n, batch_size)):
        stop = min(start + batch_size, n)
        if share == 0:
            first = 0 if window is None else max(0, start - window)
            loss = sum((steps[t] * (upper > trace.confidence[t]) for t in range(first, start)), np.zeros(length.size))
            density = np.exp(-eta * (loss - loss.min()))
        mass = density * length
        drawn = np.searchsorted(np.cumsum(mass), uniform[batch] * mass.sum(), side="right")
        for t in range(start, stop):
            above = upper > trace.confidence[t]
            q = mass[above].sum() / mass.sum()
            offload[t] = q + (1 - q) * exploration
            sent, wrong = above[min(drawn, length.size - 1)] or flags[t], not trace.correct[t]
            seen = wrong * sent / offload[t] if feedback == "weighted" else wrong
            steps[t] = 0 if feedback == "naive" and not sent else beta - seen
        if share > 0:
            for t in range(start, stop):
                density = density * np.exp(-eta * steps[t] * (upper > trace.confidence[t]))
            density = (1 - share) * density / (density * length).sum() + share
    return offload


@pytest.mark.python_source
@given(traces(), costs, batch_sizes, rates)
def test_a_window_that_holds_everything_is_hil_f(trace, beta, batch_size, eta):
    whole = variants.sliding_window(trace, beta, batch_size, eta, window=len(trace))
    run = hi.replay(trace, beta, batch_size, learning_rate=eta)
    assert whole.offload_probability == pytest.approx(run.offload_probability, abs=1e-10)
    assert whole.regret == pytest.approx(run.regret, abs=1e-9)


@pytest.mark.python_source
@given(traces(30), costs, st.integers(1, 10), rates, st.integers(1, 20))
def test_sliding_window(trace, beta, batch_size, eta, window):
    run = variants.sliding_window(trace, beta, batch_size, eta, window)
    assert run.offload_probability == pytest.approx(the_slow_way(trace, beta, batch_size, eta, window=window), abs=1e-9)


@given(traces(30), costs, st.integers(1, 10), rates, st.floats(1e-6, 0.999))
def test_fixed_share(trace, beta, batch_size, eta, share):
    run = hi.replay(trace, beta, batch_size, learning_rate=eta, share=share)
    expected = the_slow_way(trace, beta, batch_size, eta, share=share)
    assert run.offload_probability == pytest.approx(expected, abs=1e-9)


@pytest.mark.uncounted
@given(traces(24), costs, st.integers(1, 6), st.floats(0.05, 2), st.floats(0.001, 0.5), st.integers(0, 3))
def test_a_fixed_share_follows_switches_as_its_theorem_says(trace, beta, batch_size, eta, share, switches):
    """T25 against the best sequence of thresholds, by going through all places to switch from one cell to another."""
    batches = -(-len(trace) // batch_size)
    switches = min(switches, batches - 1)
    edges = Forecaster(trace.confidence).edges
    inside = np.maximum((edges[1:] + edges[:-1]) / 2, np.nextafter(edges[:-1], 1))
    loss = np.where(inside[:, None] > trace.confidence, beta, ~trace.correct)
    spent = np.add.reduceat(loss, np.arange(0, len(trace), batch_size), axis=1)
    best = spent[:, 0] + np.zeros((switches + 1, inside.size))  # least cost so far, by switches made and cell
    for k in range(1, batches):
        moved = np.vstack([np.full(inside.size, np.inf), np.repeat(best.min(axis=1)[:-1, None], inside.size, axis=1)])
        best = np.minimum(best, moved) + spent[:, k]
    run = hi.replay(trace, beta, batch_size, learning_rate=eta, share=share)
    bound = hi.fixed_share_bound(len(trace), batch_size, hi.lambda_min(trace), eta, share, switches)
    assert run.cost.sum() - best[switches].min() <= bound + 1e-9
    assert run.regret <= run.regret_bound + 1e-9


@pytest.mark.python_source
@given(traces(30), costs, st.integers(1, 10), st.floats(0.01, 0.9), st.integers(0, 99))
def test_apple_tasting(trace, beta, batch_size, relative_rate, seed):
    eta = relative_rate / batch_size
    run = hi.replay(trace, beta, batch_size, "apple", eta, seed=seed)
    expected = the_slow_way(trace, beta, batch_size, eta, seed, "weighted", exploration=eta * batch_size)
    assert run.offload_probability == pytest.approx(expected, abs=1e-9)
    assert run.exploration == eta * batch_size


@pytest.mark.python_source
@given(traces(30), costs, st.integers(1, 10), rates, st.integers(0, 99))
def test_naive_feedback(trace, beta, batch_size, eta, seed):
    run = hi.replay(trace, beta, batch_size, "naive", eta, seed=seed)
    expected = the_slow_way(trace, beta, batch_size, eta, seed, "naive")
    assert run.offload_probability == pytest.approx(expected, abs=1e-9)
    assert run.regret_bound is None


@pytest.mark.python_source
@given(traces(), costs, batch_sizes, st.booleans())
def test_lower_confidence_bounds(trace, beta, batch_size, monotone):
    run = hi.replay(trace, beta, batch_size, "hi-lcb" if monotone else "hi-lcb-lite")
    level = np.minimum((trace.confidence * rivals.LEVELS).astype(int), rivals.LEVELS - 1)
    for start in range(0, len(trace), batch_size):
        for t in range(start, min(start + batch_size, len(trace))):
            lower = []
            for k in range(level[t] + 1) if monotone else [level[t]]:
                seen = (level[:start] == k) & (run.offload_probability[:start] > 0)
                known = trace.correct[:start][seen]
                lower.append(known.mean() - np.sqrt(np.log(start + 1) / known.size) if known.size else -np.inf)
            if abs(max(lower) - (1 - beta)) > 1e-12:
                assert run.offload_probability[t] == (max(lower) < 1 - beta)


@given(traces(), costs, batch_sizes, rates)
def test_the_quantised_learner_sees_rounded_confidences(trace, beta, batch_size, eta):
    run = hi.replay(trace, beta, batch_size, "quantised", eta)
    rounded = hi.Trace(np.floor(trace.confidence * 16) / 16, trace.correct)
    seen = hi.replay(rounded, beta, batch_size, learning_rate=eta)
    assert (run.offload_probability == seen.offload_probability).all()


@pytest.mark.parametrize("learner", PARTIAL)
def test_partial_feedback_depends_on_the_seed_alone(learner):
    trace = hi.synthetic_trace(400, seed=0)
    first, again, other = (hi.replay(trace, 0.5, 4, learner, seed=seed).average_cost for seed in (1, 1, 2))
    assert first == again != other


def test_apple_tasting_stays_below_its_bound_on_hostile_traces():
    for batch_size in (1, 10):
        trace = hi.halving_coins(1, 4000 // batch_size, batch_size, 0.5, seed=3)
        runs = [hi.replay(trace, 0.5, batch_size, "apple", seed=seed) for seed in range(20)]
        regret = np.array([run.regret for run in runs])
        assert regret.mean() + 4 * regret.std(ddof=1) / np.sqrt(20) < runs[0].regret_bound


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda t: hi.replay(t, 0.5, 10, "apple", 0.2), r"learning_rate must be in \(0, 0.1\]"),
        (lambda t: hi.replay(t, 0.5, 1, "naive", 0), r"learning_rate must be in \(0, inf\)"),
        (lambda t: hi.replay(t, 0.5, 1, "apple", "anytime"), "learning_rate must be one of tuned"),
        (lambda t: hi.replay(t, 0.5, 1, "apple", exploration=0.1), "only hil-n explores"),
        (lambda t: hi.replay(t, 0.5, 1, "aple"), "did you mean apple"),
        (lambda t: variants.sliding_window(t, 0.5, 1, 0.1, 0), "window must be an integer >= 1"),
        (lambda t: variants.sliding_window(t, 0.5, 1, "tuned", 5), "learning_rate must be numeric"),
        (lambda t: hi.replay(t, 0.5, share=1), r"share must be in \[0, 1\)"),
        (lambda t: hi.replay(t, 0.5, learner="hil-n", share=0.1), "share must be 0 for learner 'hil-n'"),
        (lambda t: hi.replay(t, 0.5, share=0.1, price=1), "share must be 0 where"),
        (lambda t: hi.replay(t, 0.5, share=0.1, learning_rate="adaptive"), "learning_rate must be one rate"),
        (lambda _: hi.fixed_share_bound(10, 5, 0.1, 0.1, 0.1, switches=2), "switches must be fewer than the 2 batches"),
    ],
)
def test_bad_arguments_are_refused(call, says):
    with pytest.raises(ValueError, match=says):
        call(hi.Trace([0.2, 0.6], [0, 1]))
