"""What the theorems say, asserted on computed expectations: no statistics, no tolerance but rounding."""

import numpy as np
import pytest
from conftest import batch_sizes, costs, traces
from hypothesis import given
from hypothesis import strategies as st

import hi_lib as hi


@given(traces(), costs, batch_sizes, st.sampled_from(["tuned", "anytime"]) | st.floats(1e-3, 1e3))
def test_regret_stays_below_the_bound(trace, beta, batch_size, learning_rate):
    run = hi.replay(trace, beta, batch_size, learning_rate=learning_rate)
    # Costs lie in [0, 1] and are added up over n rounds.
    assert run.regret <= run.regret_bound + 1e-12 * len(trace)


@pytest.mark.parametrize("name", hi.list_traces(own=False))
@pytest.mark.parametrize("batch_size", [1, 7, 128])
def test_regret_stays_below_the_bound_on_real_traces(name, batch_size):
    # Unshuffled, sorted by class: the bound holds for any order.
    for beta in (0.1, 0.5, 0.9):
        run = hi.replay(hi.load_trace(name), beta, batch_size)
        assert run.regret <= run.regret_bound


def test_the_papers_lambda_min_breaks_its_bound():
    # All answers wrong and confident but for one: offloading all but nothing below the tiny first cell is best.
    confidence = np.full(1000, 0.999)
    confidence[0] = 0.0005
    trace = hi.Trace(confidence, np.zeros(1000))
    between_values = 0.999 - 0.0005
    eta = hi.tuned_learning_rate(1000, 1, between_values)
    run = hi.replay(trace, 0.5, learning_rate=eta)
    assert hi.regret_bound(1000, 1, between_values) < 1
    assert run.regret > 400
    assert run.regret <= hi.regret_bound(1000, 1, hi.lambda_min(trace), eta)


@pytest.mark.uncounted
@given(traces(), costs, batch_sizes)
def test_costs_are_expectations_over_the_threshold(trace, beta, batch_size):
    run = hi.replay(trace, beta, batch_size)
    q, wrong = run.offload_probability, ~trace.correct
    assert ((q >= 0) & (q <= 1)).all()
    assert run.cost == pytest.approx(beta * q + wrong * (1 - q), abs=1e-15)
    assert run.accuracy == pytest.approx(1 - (wrong * (1 - q)).mean(), abs=1e-12)
    assert run.transmissions <= min(-(-len(trace) // batch_size), q.sum()) + 1e-9


@given(traces(), costs)
def test_one_batch_learns_nothing_before_its_end(trace, beta):
    run = hi.replay(trace, beta, batch_size=len(trace))
    assert run.offload_probability == pytest.approx(1 - trace.confidence, abs=1e-12)


@given(traces(), costs, st.integers(1, 20))
def test_a_short_last_batch_is_the_start_of_a_full_one(trace, beta, batch_size):
    missing = -len(trace) % batch_size
    longer = hi.Trace(
        np.append(trace.confidence, np.full(missing, trace.confidence[0])), np.append(trace.correct, [True] * missing)
    )
    short = hi.replay(trace, beta, batch_size, learning_rate=0.3).offload_probability
    whole = hi.replay(longer, beta, batch_size, learning_rate=0.3).offload_probability
    assert short == pytest.approx(whole[: len(trace)], abs=1e-12)


@given(traces(), costs, batch_sizes)
def test_order_within_a_batch_does_not_matter(trace, beta, batch_size):
    order = np.concatenate(
        [np.arange(s, min(s + batch_size, len(trace)))[::-1] for s in range(0, len(trace), batch_size)]
    )
    turned = hi.Trace(trace.confidence[order], trace.correct[order])
    forward = hi.replay(trace, beta, batch_size, learning_rate=0.3)
    backward = hi.replay(turned, beta, batch_size, learning_rate=0.3)
    assert backward.offload_probability == pytest.approx(forward.offload_probability[order], abs=1e-12)


@pytest.mark.parametrize("name", ["imagenette-mobilenet_v1_0.25_128", "cifar10-resnet8"])
@pytest.mark.parametrize("batch_size", [1, 64])
def test_hil_n_stays_below_its_bound_on_average(name, batch_size):
    trace = hi.load_trace(name).shuffled(0)
    runs = [hi.replay(trace, 0.5, batch_size, "hil-n", seed=seed) for seed in range(20)]
    regret = np.array([run.regret for run in runs])
    assert regret.mean() + 4 * regret.std(ddof=1) / np.sqrt(20) < runs[0].regret_bound
