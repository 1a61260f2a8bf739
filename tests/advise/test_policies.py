"""Which policy costs least: worked by hand, and where the answer is known."""

import numpy as np
import pytest

import hi_lib as hi
from hi_lib.advise.policies import (
    ALWAYS,
    ASSUMED,
    FITTED,
    LEARNER,
    NEVER,
    RULE,
    SURE,
    Difference,
    compare,
    difference,
)
from hi_lib.logs.reading import Log
from hi_lib.logs.scores import Scale
from hi_lib.studies import lml


def test_costs_by_hand():
    """Eight samples, β = ¼; in the second half the S-ML errs on the two that are less sure, the L-ML on one of them."""
    confidence, correct = [0.25, 0.5, 0.8, 0.9] * 2, [0, 0, 1, 1] * 2
    trace = hi.Trace(confidence, correct, [1, 1, 1, 1, 1, 0, 1, 1])
    found = compare(trace, 0.25)
    assumed, real = found.policies[ASSUMED], found.policies[lml.AS_IT_IS]
    assert [assumed[name].average_cost for name in (NEVER, ALWAYS, RULE, FITTED)] == [0.5, 0.25, 0.125, 0.125]
    assert [real[name].average_cost for name in (NEVER, ALWAYS, RULE, FITTED)] == [0.5, 0.5, 0.375, 0.375]
    assert [real[name].accuracy for name in (NEVER, ALWAYS, RULE)] == [0.5, 0.75, 0.75]
    assert [real[name].offload_ratio for name in (NEVER, ALWAYS, RULE)] == [0, 1, 0.5]
    assert (
        real[FITTED].threshold == lml.best_threshold(hi.Trace(confidence[:4], correct[:4]), 0.25, np.ones(4)).threshold
    )
    run = hi.replay(trace, 0.25, learning_rate="adaptive")
    assert assumed[LEARNER].average_cost == pytest.approx(run.cost[4:].mean())
    assert difference(real[NEVER], real[RULE]).mean == 0.125
    assert difference(real[NEVER], real[RULE]).error == pytest.approx(np.std([0.75, -0.25, 0, 0]) / 2)
    assert found.counted == lml.AS_IT_IS


def test_the_learner_is_judged_on_what_it_has_not_heard_yet():
    """Its cost on the second half is that of the device's class, which is told after each answer."""
    trace = hi.load_trace("cifar10-alexnet").shuffled(1)
    trace = hi.Trace(trace.confidence[:600].round(2), trace.correct[:600])
    learner, cost = hi.HILF(0.3, learning_rate="adaptive", lambda_min=0.01, seed=0), []
    found = compare(trace, 0.3).policies[ASSUMED][LEARNER]
    for p, right in zip(trace.confidence, trace.correct, strict=True):
        q = learner.decide_later([p])
        learner.hear(q, [right])
        cost.append(q.offload[0] * 0.3 + (~q.offload[0]) * (not right))
    # One draw of 300 decisions: four standard errors of a mean of costs in [0, 1].
    assert np.mean(cost[300:]) == pytest.approx(found.average_cost, abs=4 * 0.5 / np.sqrt(300))


def test_an_lml_that_always_errs_never_pays():
    rng = np.random.default_rng(1)
    confidence = rng.random(800)
    correct = rng.random(800) < confidence
    assert compare(hi.Trace(confidence, correct), 0.5).answer == "yes"
    wrong = compare(hi.Trace(confidence, correct, np.zeros(800)), 0.5)
    assert (wrong.answer, wrong.chosen().name) == ("no", NEVER)
    assert wrong.chosen(ASSUMED).name == RULE  # as the paper counts


def test_the_simplest_that_is_not_clearly_dearer_is_taken():
    """Resampled by hand: whatever is chosen, nothing simpler is within 1.645 standard errors of the cheapest."""
    rng = np.random.default_rng(2)
    for seed in range(30):
        trace, beta = hi.synthetic_trace(int(rng.integers(20, 2000)), seed=seed), float(rng.random())
        found = compare(trace, beta)
        policies = list(found.policies[ASSUMED].values())
        cheapest = min(policies, key=lambda one: one.cost.sum())
        for one in policies:
            more = one.cost - cheapest.cost
            near = more.sum() <= SURE * np.sqrt((more**2).sum() - more.sum() ** 2 / more.size) + 1e-9
            if one is found.chosen():
                assert near
                break
            assert not near


def test_what_was_fitted_on_a_sample_does_not_decide_on_it():
    """Coins: the first half's best threshold is no better than chance on the second."""
    rng = np.random.default_rng(1)
    gains = []
    for _ in range(200):
        trace = hi.Trace(rng.random(60), rng.random(60) < 0.5)
        found = compare(trace, 0.5).policies[ASSUMED]
        gains.append(found[FITTED].average_cost - 0.5 * (found[NEVER].average_cost + found[ALWAYS].average_cost))
    assert abs(np.mean(gains)) < 4 * np.std(gains) / np.sqrt(200)


def test_one_sample_has_no_first_half():
    found = compare(hi.Trace([0.5], [1]), 0.5)
    assert FITTED not in found.policies[ASSUMED]
    assert (found.answer, found.next_best().name) == ("no", RULE)


def test_bounds_that_disagree_are_both_told():
    rng = np.random.default_rng(4)
    confidence = rng.random(400)
    correct = rng.random(400) < confidence
    known = np.where(np.arange(400) == 0, 1.0, np.nan)
    found = compare(hi.Trace(confidence, correct, known), 0.4)
    assert found.known == [lml.AT_BEST, lml.AT_WORST]
    assert found.answer == "it depends"
    assert (found.chosen(lml.AT_BEST).name, found.chosen().name) == (RULE, NEVER)


def test_weights_are_one_way_to_count():
    trace = hi.Trace([0.2, 0.4, 0.9], [0, 1, 1], [1, 0, None])
    found = compare(Log(trace, offload_probability=np.array([1, 0.5, 0.5])), 0.3)
    assert list(found.policies) == [ASSUMED, lml.BY_WEIGHTS]
    assert set(found.table()["lml_is"]) == set(found.policies)


def test_the_rule_is_left_out_where_scores_are_no_probabilities():
    found = compare(Log(hi.synthetic_trace(400, seed=5), scale=Scale("entropy", 2.0, 0.0)), 0.3)
    assert RULE not in found.policies[ASSUMED]


def test_the_error_of_a_difference_is_that_of_its_mean():
    """By brute force: the standard deviation of the mean over resampled halves."""
    found, rng = compare(hi.synthetic_trace(800, seed=5), 0.6).policies[ASSUMED], np.random.default_rng(0)
    for name in (RULE, LEARNER):
        more = found[NEVER].cost - found[name].cost
        means = [rng.choice(more, 400).mean() for _ in range(2000)]
        assert difference(found[NEVER], found[name]).error == pytest.approx(np.std(means), rel=0.07)


def test_differences_in_words():
    assert Difference(0.02, 0.01).in_words() == "0.0200 more (one standard error: 0.0100)"
    assert Difference(-0.02, 0.01).in_words() == "0.0200 less (one standard error: 0.0100)"
    assert [Difference(mean, 0.01).clear for mean in (0.02, 0.01, -0.02)] == [True, False, False]


def test_a_budget_by_hand():
    """Ten samples, β = ¼, and of the five of the first half two at most may be offloaded."""
    confidence = [0.1, 0.2, 0.3, 0.8, 0.9, 0.1, 0.15, 0.25, 0.3, 0.9]
    correct = [0, 0, 0, 1, 1, 0, 0, 1, 0, 1]
    found = compare(hi.Trace(confidence, correct), 0.25, budget=0.4)
    assert list(found.policies[ASSUMED]) == [NEVER, FITTED, LEARNER]  # θ = ¾ offloads three of five
    fitted = found.policies[ASSUMED][FITTED]
    assert fitted.threshold == 0.25  # between the second and the third
    assert fitted.offload_ratio == 0.4
    assert fitted.average_cost == pytest.approx((2 * 0.25 + 1) / 5)
    assert RULE in compare(hi.Trace(confidence, correct), 0.25, budget=0.6).policies[ASSUMED]
    assert ALWAYS in compare(hi.Trace(confidence, correct), 0.25, budget=1).policies[ASSUMED]
    assert found.overspent == found.chosen().offload_ratio - 0.4
    assert compare(hi.Trace(confidence, correct), 0.25).overspent is None


def test_what_keeps_a_budget_was_tried_on_the_first_half_only():
    """Every threshold of the first half by brute force; the second half, in which all is surer, changes nothing."""
    rng = np.random.default_rng(3)
    for seed in range(20):
        budget, beta = float(rng.random()), float(rng.random())
        trace = hi.synthetic_trace(int(rng.integers(2, 300)), seed=seed)
        half, large = len(trace) // 2, rng.random(len(trace)) < 0.7
        confidence = np.append(trace.confidence[:half], np.sqrt(trace.confidence[half:]))
        found = compare(hi.Trace(confidence, trace.correct, large), beta, budget)
        first = confidence[:half]
        for lml_is, right in {ASSUMED: np.ones(half), lml.AS_IT_IS: large[:half]}.items():

            def cost(theta, first=first, right=right, small=trace.correct[:half], beta=beta):
                return np.where(first < theta, beta + 1 - right, 1 - small).mean()

            policies = found.policies[lml_is]
            assert all((first < policies[name].threshold).mean() <= budget for name in policies if name != LEARNER)
            costs = [cost(theta) for theta in (0, *first, 1) if (first < theta).mean() <= budget]
            assert cost(policies[FITTED].threshold) == pytest.approx(min(costs))
        learned = hi.replay(hi.Trace(confidence, trace.correct), beta, learning_rate="adaptive", budget=budget)
        assert (found.policies[ASSUMED][LEARNER].offload_probability == learned.offload_probability).all()


def test_a_first_half_that_has_no_threshold_within_the_budget():
    """Confidences of 0 are offloaded by every threshold but 0."""
    found = compare(hi.Trace([0, 0, 0, 0.5] + [0.5] * 28, [0, 1, 0, 1] * 8), 0.5, budget=0.2)  # three of sixteen
    assert FITTED in found.policies[ASSUMED]
    zeros = hi.Trace([0, 0, 0, 0.5] + [0.5] * 4, [0, 1] * 4)
    assert list(compare(zeros, 0.4, budget=0.5).policies[ASSUMED]) == [NEVER, LEARNER]
    assert list(compare(hi.Trace([0.5], [1]), 0.5, budget=0.5).policies[ASSUMED]) == [NEVER, LEARNER]
