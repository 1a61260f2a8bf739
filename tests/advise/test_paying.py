"""Does HI pay? Worked by hand, and the verdict where the answer is known."""

import numpy as np
import pytest

import hi_lib as hi
from hi_lib.advise import paying
from hi_lib.logs.reading import Log
from hi_lib.logs.scores import Scale
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
    assert without.answer == "yes"
    assert "the learner at M = 2" in without.paying(paying.ASSUMED)
    assert " costs less than a device that always offloads, 0." in without.verdict
    wrong = paying.compare(hi.Trace(confidence, correct, np.zeros(400)), 0.5, 2)
    assert wrong.answer == "no"
    assert wrong.verdict.startswith("no: nothing does ")
    assert "better than a device that never offloads: θ fitted on other samples costs 0." in wrong.verdict
    for way, cost in without.costs[paying.ASSUMED].items():
        assert wrong.costs[paying.ASSUMED][way].average_cost == cost.average_cost  # as the paper counts


def test_a_fixed_threshold_pays_where_the_learner_has_no_time_to_learn():
    """Ninety-nine samples in five batches, half of the twenty less sure ones wrong: the rule knows it at once."""
    confidence = np.repeat([0.55, 0.97], [20, 79])
    trace = hi.Trace(confidence, np.arange(99) % 2 + (np.arange(99) > 20) > 0)
    found = paying.compare(trace, 0.3, 24)
    assert found.paying(paying.ASSUMED)[0] == "θ = 1 − β = 0.7"
    assert found.verdict.startswith(
        "yes: θ = 1 − β = 0.7 costs less than a device that never offloads, 0.0707 a sample"
    )
    assert found.verdict.endswith("; the learner at M = 24 does not")


def test_what_was_fitted_on_a_sample_does_not_decide_on_it():
    """Coins: a threshold that saw them all seems to save, one that did not saves nothing."""
    rng = np.random.default_rng(1)
    trace = hi.Trace(rng.random(60), rng.random(60) < 0.5)
    found = paying.compare(trace, 0.5, 1)
    costs = found.costs[paying.ASSUMED]
    assert costs[paying.BEST].average_cost < min(costs[way].average_cost for way in (paying.NEVER, paying.ALWAYS))
    assert costs[paying.FITTED].average_cost > costs[paying.BEST].average_cost
    assert paying.BEST not in found.judged
    share = paying._fitted_elsewhere(trace, 0.5, np.ones(60))
    part = np.random.default_rng(0).permutation(60) % 5
    for each in range(5):
        others = hi.Trace(trace.confidence[part != each], trace.correct[part != each])
        theta = lml.best_threshold(others, 0.5, np.ones(48)).threshold
        assert (share[part == each] == (trace.confidence[part == each] < theta)).all()


def test_one_sample_has_no_others():
    found = paying.compare(hi.Trace([0.5], [1]), 0.5, 1)
    assert paying.FITTED not in found.costs[paying.ASSUMED]
    assert found.answer == "no"


def test_a_device_that_never_offloads_does_as_well_where_the_small_model_is_good():
    rng = np.random.default_rng(2)
    confidence = rng.uniform(0.9, 1, 300)
    found = paying.compare(hi.Trace(confidence, rng.random(300) < 0.99), 0.7, 1)
    assert found.verdict.startswith("no: nothing does clearly better than a device that never offloads: ")
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
    assert found.answer == "it depends"
    some = np.where(confidence < 0.4, 1.0, np.nan)  # offloads only: enough to tell
    told = paying.compare(hi.Trace(confidence, correct, some), 0.4, 1).verdict
    assert told.startswith("yes: ") or told.startswith("it depends")


def test_weights_are_one_way_to_count():
    trace = hi.Trace([0.2, 0.4, 0.9], [0, 1, 1], [1, 0, None])
    found = paying.compare(Log(trace, offload_probability=np.array([1, 0.5, 0.5])), 0.3, 1)
    assert list(found.costs) == [paying.ASSUMED, lml.BY_WEIGHTS]
    assert set(found.table()["lml_is"]) == set(found.costs)


def test_the_rule_is_left_out_where_scores_are_no_probabilities():
    log = Log(hi.synthetic_trace(400, seed=5), scale=Scale("entropy", 2.0, 0.0))
    found = paying.compare(log, 0.3, 2)
    assert not any("1 − β" in way for way in (*found.judged, *found.costs[paying.ASSUMED]))
    text = "\n".join(found.as_lines())
    assert f"entropy above {2 - 2 * found.thresholds[paying.ASSUMED]:.5g}" in text
    assert "θ = 1 − β is left out: entropy need be no probability of being right" in text


def test_the_error_of_a_saving_is_that_of_its_mean():
    """By brute force: the standard deviation over resampled traces of each way's mean saving."""
    trace = hi.synthetic_trace(400, seed=5)
    costs = paying.compare(trace, 0.6, 2).costs[paying.ASSUMED]
    order = trace.shuffled(0)
    wrong, rng = (~order.correct).astype(float), np.random.default_rng(0)
    assert costs[paying.NEVER].average_cost < costs[paying.ALWAYS].average_cost
    runs = {
        "the learner at M = 2": hi.replay(order, 0.6, 2),
        "θ = 1 − β = 0.4": hi.replay(order, 0.6, learner="fixed", threshold=0.4),
    }
    for way, run in runs.items():
        saved = wrong - run.cost
        means = [rng.choice(saved, 400).mean() for _ in range(2000)]
        assert costs[way].saving_error == pytest.approx(np.std(means), rel=0.07)
    assert costs[paying.NEVER].saving_error == 0


def test_no_error_is_printed_as_zero():
    """Of 3000 samples the learner's cost hardly depends on their order: more decimals, and columns stay apart."""
    lines = paying.compare(hi.synthetic_trace(3000, seed=6), 0.5, 1).as_lines()
    assert "± 0.0000 " not in "\n".join(f"{line} " for line in lines)
    (row,) = (line for line in lines if line.startswith("the learner at M = 1"))
    assert 0 < float(row.split("±")[1]) < 0.0002
