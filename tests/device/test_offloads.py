"""A device that sends after m offloads: what it says of each sample, and what survives a restart."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hi_lib as hi
from hi_lib.device.offloads import HOLD, KEEP, SEND

LEARNERS = {
    "HILF": lambda: hi.HILF(0.5, 0.2, seed=1, levels=16),
    "HILN": lambda: hi.HILN(0.5, 0.2, 0.3, seed=1, levels=16),
    "Apple": lambda: hi.Apple(0.5, 0.2, 0.3, seed=1, levels=16),
}
each_learner = pytest.mark.parametrize("make", LEARNERS.values(), ids=LEARNERS)


@given(st.integers(1, 5), st.none() | st.integers(1, 9), st.integers(0, 99))
def test_every_sample_is_in_one_cycle_which_ends_as_it_should(offloads, most, seed):
    rng = np.random.default_rng(seed)
    batches = hi.OffloadBatches(hi.HILF(0.5, 0.2, seed=seed, levels=8), offloads, most)
    seen, offloaded = [], []
    for sample, confidence in enumerate(rng.random(60)):
        decision = batches.decide(confidence)
        offloaded.append(decision.offload)
        if decision.cycle is None:
            assert decision.says == (HOLD if decision.offload else KEEP)
            continue
        cycle = decision.cycle
        assert decision.says == SEND
        assert cycle.first == len(seen)
        assert cycle.sent == [number for number in range(cycle.first, sample + 1) if offloaded[number]]
        assert len(cycle.sent) == offloads or cycle.offload.size == most
        assert len(cycle.sent) <= offloads
        assert most is None or cycle.offload.size <= most
        seen += range(cycle.first, sample + 1)
        batches.hear(cycle, rng.random(cycle.offload.size) < 0.5)
    last = batches.flush()
    assert len(seen) + (0 if last is None else last.offload.size) == 60
    assert batches.flush() is None


def test_the_longest_wait_counts_from_the_first_pending_offload():
    batches = hi.OffloadBatches(hi.HILF(0.5, 1e-9, seed=0, levels=4), offloads=9, max_wait=50)
    assert batches.decide(1.0, time=0).says == KEEP  # p = 1 is never offloaded
    assert batches.due(1e6) is None
    assert batches.decide(0.0, time=100).says == HOLD  # p = 0 always is
    assert batches.due(149.9) is None
    assert batches.decide(1.0, time=149).says == KEEP
    cycle = batches.due(150)
    assert cycle.sent == [1]
    assert batches.due(1e9) is None
    batches.hear(cycle, [1, 0, 1])
    batches.decide(0.0, time=200)
    decision = batches.decide(1.0, time=260)  # nobody asked in between
    assert (decision.says, decision.offload, decision.cycle.sent) == (SEND, False, [3])


@each_learner
def test_what_is_restored_goes_on_to_the_last_bit(make):
    rng = np.random.default_rng(2)
    first = hi.OffloadBatches(make(), offloads=3, max_samples=20)
    out = []

    def live(batches, confidences, waiting):
        said = []
        for confidence in confidences:
            decision = batches.decide(confidence)
            said.append((decision.says, decision.offload))
            waiting += [decision.cycle] if decision.cycle else []
            if len(waiting) > 1:
                cycle = waiting.pop(0)
                batches.hear(cycle, cycle.offload)
        return said

    live(first, rng.random(101), out)
    assert first.pending
    second = hi.OffloadBatches.restore(json.loads(json.dumps(first.state())), type(first.learner))
    after, waiting = rng.random(80), list(out)
    assert live(first, after, out) == live(second, after, waiting)
    assert first.state() == second.state()


@each_learner
def test_a_wrong_use_changes_nothing(make):
    batches = hi.OffloadBatches(make(), offloads=1, max_samples=3)
    cycle = None
    while cycle is None:
        cycle = batches.decide(0.4).cycle
    before = batches.state()
    for wrong, says in [
        (lambda: batches.hear(cycle, [1] * 9), "correct must have shape"),
        (lambda: batches.hear(cycle, [2] * cycle.offload.size), "must be 0 or 1"),
        (lambda: batches.decide(1.5), "confidence"),
        (lambda: batches.decide(0.5, time=3), "time must be left out"),
    ]:
        with pytest.raises(ValueError, match=says):
            wrong()
        assert batches.state() == before
    assert repr(batches) == f"OffloadBatches({batches.learner!r}, offloads=1, max_samples=3)"
    batches.forget(cycle)
    for again in (lambda: batches.hear(cycle, cycle.offload), lambda: batches.forget(cycle)):
        with pytest.raises(ValueError, match="heard or forgotten before"):
            again()


def test_who_learns_from_offloads_alone_needs_no_other_answers():
    batches, cycle = hi.OffloadBatches(LEARNERS["HILN"](), offloads=8), None
    while cycle is None:
        cycle = batches.decide(0.9).cycle
    assert not cycle.offload.all()
    batches.hear(cycle, np.where(cycle.offload, 1, np.nan))
    assert batches.learner.outstanding == []


def test_settings_and_states_that_are_none_are_refused():
    learner = LEARNERS["HILF"]()
    for wrong, says in [
        (lambda: hi.OffloadBatches("hil-f", 2), "learner must be a HILF, HILN or Apple"),
        (lambda: hi.OffloadBatches(learner, 0), "offloads must be an integer >= 1"),
        (lambda: hi.OffloadBatches(learner, 2, max_samples=0), "max_samples must be an integer >= 1"),
        (lambda: hi.OffloadBatches(learner, 2, max_wait=0), "max_wait must be in"),
        (lambda: hi.OffloadBatches(learner, 2, max_wait=5).decide(0.5), "time must be given"),
        (lambda: hi.OffloadBatches.restore([]), "state must be what state"),
        (lambda: hi.OffloadBatches.restore({}), "state's learner must be a dict"),
    ]:
        with pytest.raises(ValueError, match=says):
            wrong()
    batches = hi.OffloadBatches(learner, offloads=3, max_samples=5)
    batches.decide(1.0)
    batches.decide(0.0)
    good = json.loads(json.dumps(batches.state()))
    for change, says in [
        ({"offloads": 1}, "flags must leave the cycle open"),
        ({"max_samples": 2}, "flags must leave the cycle open"),
        ({"flags": [True]}, "flags must say true or false of each ticket"),
        ({"flags": [1, 0]}, "flags must say true or false"),
        ({"tickets": [7, 8]}, "all of them must be outstanding"),
        ({"tickets": ["a", 1]}, "tickets must be numeric"),
        ({"decided": -1}, "decided must be an integer >= 0"),
        ({"waiting": "x"}, "waiting must be numeric"),
    ]:
        with pytest.raises(ValueError, match=says):
            hi.OffloadBatches.restore(good | change)
    assert hi.OffloadBatches.restore(good).pending == 1


@given(st.lists(st.integers(0, 7), min_size=1, max_size=60), st.integers(1, 4), st.floats(0, 1), st.integers(0, 99))
def test_an_adaptive_device_keeps_its_bound_in_cycles(places, offloads, beta, seed):
    """T22, conditionally on the cycles' ends, which the draws decide: all of a cycle is heard of at once."""
    confidence, right = np.array(places) / 8, np.random.default_rng(seed).random(len(places)) < 0.5
    learner = hi.HILF(beta, "adaptive", seed=seed, levels=8)
    batches, cost = hi.OffloadBatches(learner, offloads, max_samples=12), 0.0
    for p, known in zip(confidence, right, strict=True):
        q = learner._forecaster.offload_probability(np.array([p]), learner.learning_rate).item()
        cost += beta * q + (1 - q) * (not known)
        decision = batches.decide(p)
        if decision.cycle:
            first = decision.cycle.first
            batches.hear(decision.cycle, right[first : first + decision.cycle.offload.size])
    if (last := batches.flush()) is not None:
        batches.hear(last, right[last.first :])
    best = hi.best_threshold(hi.Trace(confidence, right), beta)
    assert cost - best.average_cost * len(places) <= learner.regret_bound + 1e-9


def test_tickets_that_are_heard_of_together_are_open_and_different():
    learner = LEARNERS["HILF"]()
    first, second = learner.decide_later([0.1, 0.2]), learner.decide_later([0.3])
    before = learner.state()
    for tickets, answers, says in [
        ([], [], "tickets must be at least one"),
        ([first, first], [1, 1, 1, 1], "and different ones"),
        ([first, 7], [1, 1], "ticket 7 must be outstanding"),
        ([first, second], [1, 1], r"correct must have shape \(3,\)|length 3"),
    ]:
        with pytest.raises(ValueError, match=says):
            learner.hear_together(tickets, answers)
        assert learner.state() == before
    learner.hear_together([second, first], [1, 0, 1])  # in the order of the tickets
    twin = LEARNERS["HILF"]()
    twin.update([0.3, 0.1, 0.2], [1, 0, 1])
    assert learner._forecaster.state() == twin._forecaster.state()
    assert learner.outstanding == []
