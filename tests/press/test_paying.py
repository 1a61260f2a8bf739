"""Does HI pay? Worked by hand, and the verdict where the answer is known."""

import numpy as np
import pytest

import hi_lib as hi
from hi_lib.press import paying
from hi_lib.studies import lml


def test_costs_by_hand():
    """Four samples, β = ¼: the S-ML errs on the two that are less sure, the L-ML on the second of them."""
    trace = hi.Trace([0.25, 0.5, 0.8, 0.9], [0, 0, 1, 1], [1, 0, 1, 1])
    found = paying.compare(trace, 0.25, 2, shuffles=3)
    assumed, real = found.costs[paying.ASSUMED], found.costs[lml.AS_IT_IS]
    assert [assumed[way].average_cost for way in (paying.NEVER, paying.ALWAYS, "θ = 1 − β = 0.75")] == [
        0.5,
        0.25,
        0.125,
    ]
    assert [real[way].average_cost for way in (paying.NEVER, paying.ALWAYS, "θ = 1 − β = 0.75")] == [0.5, 0.5, 0.375]
    assert real[paying.BEST].average_cost == lml.best_threshold(trace, 0.25).average_cost == 0.3125
    assert found.thresholds == {paying.ASSUMED: 0.65, lml.AS_IT_IS: 0.375}
    assert (real[paying.NEVER].accuracy, real[paying.ALWAYS].accuracy) == (0.5, 0.75)
    runs = [(order := trace.shuffled(seed), hi.replay(order, 0.25, 2)) for seed in range(3)]
    costs = [lml.outcome(order, run, 0.25).average_cost for order, run in runs]
    mine = real["the learner at M = 2"]
    assert mine.average_cost == pytest.approx(np.mean(costs))
    assert mine.error == pytest.approx(np.std(costs, ddof=1) / np.sqrt(3))
    assert assumed["the learner at M = 1"].average_cost == pytest.approx(
        np.mean([hi.replay(trace.shuffled(seed), 0.25).average_cost for seed in range(3)])
    )


def test_an_lml_that_always_errs_never_pays():
    rng = np.random.default_rng(1)
    confidence = rng.random(400)
    correct = rng.random(400) < confidence
    without = paying.compare(hi.Trace(confidence, correct), 0.5, 2)
    assert without.verdict.startswith("yes: the learner at M = 2 costs less than a device that always offloads, 0.")
    wrong = paying.compare(hi.Trace(confidence, correct, np.zeros(400)), 0.5, 2)
    assert wrong.verdict.startswith("no: a device that never offloads does better than the learner at M = 2, 0.")
    for way, cost in without.costs[paying.ASSUMED].items():
        assert wrong.costs[paying.ASSUMED][way].average_cost == cost.average_cost  # as the paper counts


def test_a_device_that_never_offloads_does_as_well_where_the_small_model_is_good():
    rng = np.random.default_rng(2)
    confidence = rng.uniform(0.9, 1, 300)
    found = paying.compare(hi.Trace(confidence, rng.random(300) < 0.99), 0.7, 1)
    assert "a device that never offloads does" in found.verdict
    assert list(found.costs) == [paying.ASSUMED]


def test_free_offloads_make_always_the_rival():
    trace = hi.synthetic_trace(500, seed=3)
    assert "always offloads" in paying.compare(trace, 0.05, 1).verdict


def test_bounds_that_disagree_are_both_told():
    rng = np.random.default_rng(4)
    confidence = rng.random(400)
    correct = rng.random(400) < confidence
    known = np.where(np.arange(400) == 0, 1.0, np.nan)
    found = paying.compare(hi.Trace(confidence, correct, known), 0.4, 1)
    assert found.verdict.startswith("it depends on answers of the L-ML that the log does not hold: at best, yes: ")
    assert "at worst, no: " in found.verdict
    some = np.where(confidence < 0.4, 1.0, np.nan)  # offloads only: enough to tell
    told = paying.compare(hi.Trace(confidence, correct, some), 0.4, 1).verdict
    assert told.startswith("yes: ") or told.startswith("it depends")


def test_weights_are_one_way_to_count():
    trace = hi.Trace([0.2, 0.4, 0.9], [0, 1, 1], [1, 0, None])
    found = paying.compare(trace, 0.3, 1, np.array([1, 0.5, 0.5]))
    assert list(found.costs) == [paying.ASSUMED, lml.BY_WEIGHTS]
    assert set(found.table()["lml_is"]) == set(found.costs)


def test_the_error_of_a_saving_is_that_of_its_mean():
    """By brute force: the standard deviation over resampled traces of the learner's mean saving."""
    trace = hi.synthetic_trace(400, seed=5)
    run = hi.replay(trace.shuffled(0), 0.5, 2)
    error = paying._saving_errors(trace, run, 0.5, np.ones(400))[paying.NEVER]
    saved = (~run.correct).astype(float) - run.cost
    rng = np.random.default_rng(0)
    means = [rng.choice(saved, 400).mean() for _ in range(2000)]
    assert error == pytest.approx(np.std(means), rel=0.07)
