"""States that somebody made up, with the right sha256: every value is checked, and what is wrong is said in a line."""

import copy
import json
import math

import pytest

import hi_lib as hi
from hi_lib.device.streaming import _digest

LEARNERS = {
    "HILF": lambda: hi.HILF(0.6, 0.3, seed=4),
    "HILF, levels": lambda: hi.HILF(0.6, "anytime", seed=4, levels=4),
    "HILF, budget": lambda: hi.HILF(0.6, 0.3, seed=4, levels=4, budget=0.3, multiplier_rate=0.1),
    "HILN": lambda: hi.HILN(0.6, "anytime", 0.2, seed=4, loss_rate=0.1),
    "Apple, levels": lambda: hi.Apple(0.6, 0.3, 0.3, seed=4, levels=4),
}
# What no place of a state holds. Lists may be of another length, numbers out of range.
NONSENSE = [None, "", "x", -1, 1e308, math.inf, math.nan, [], {}, [1e308], [[]], True, 10**40, {"a": 1}]


def lived(make):
    """A learner with a batch at hand, tickets out, and feedback that came in the middle of the batch."""
    learner = make()
    learner.decide([0.3])
    learner.update([0.3], [1])
    learner.decide([0.6])
    first, _ = learner.decide_later([0.2, 0.8]), learner.decide_later([0.5])
    learner.hear(first, [0, 1])
    return learner


def places(value, path=()):
    """Every place in a state but its sha256, whole parts included."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        if (*path, key) != ("sha256",):
            yield from places(inner, (*path, key))


def signed(state):
    body = {key: value for key, value in state.items() if key != "sha256"}
    return body | {"sha256": _digest(body)}


def used(learner):
    """What a restored learner must be able to do."""
    for number in learner.outstanding:
        learner.hear(number, [1] * learner._tickets[number].confidence.size)
    assert 0 <= learner.threshold() <= 1
    learner.decide_later([0.1, 0.9])
    json.dumps(learner.state(), allow_nan=False)


@pytest.mark.parametrize("make", LEARNERS.values(), ids=LEARNERS)
def test_nonsense_anywhere_in_a_state_is_refused_or_harmless(make):
    state = json.loads(json.dumps(lived(make).state()))
    kind, refused, tried = type(make()), [], 0
    for path in places(state):
        if not path:
            continue
        for value in NONSENSE:
            bad = copy.deepcopy(state)
            inner = bad
            for key in path[:-1]:
                inner = inner[key]
            if inner[path[-1]] == value:
                continue
            inner[path[-1]] = value
            tried += 1
            try:
                learner = kind.restore(signed(bad))
            except ValueError as error:
                refused.append(str(error))
            else:
                used(learner)
    assert len(refused) > 0.9 * tried
    assert all("\n" not in said and len(said) < 400 for said in refused)


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (("settings", "beta"), 1.5, r"beta must be in \[0, 1\]"),
        (("settings", "levels"), 8, "settings must be those of HILF|grid of 8 levels"),
        (("settings",), {"nonsense": 1}, "settings must be those of HILF"),
        (("random", "state", "inc"), "2", "generator PCG64"),
        (("batch",), [1.5, 0], r"batch\[0\] must be in \[0, 1\]"),
        (("batch",), [0.5, 99], r"batch\[1\] must be at most"),
        (("exposure",), 1, "exposure must be in"),
        (("rate",), 99.0, "rate must be in"),
        (("next_ticket",), 1, "next_ticket must be an integer >= 2"),
        (("weights", "weight"), [1.0, 0.0, 0.0, 0.0], "weight must follow from its steps"),
        (("weights", "step"), [0.0], "grid of 4 levels"),
        (("tickets", "1"), [[0.3], [1], [1]], "multiples of 1/4"),
        (("tickets", "1"), [[0.5], [1, 0], [1]], r"offload must have shape \(1,\)"),
        (("tickets",), {"one": []}, "tickets must be numbered"),
    ],
)
def test_what_is_wrong_with_a_state_is_said(path, value, says):
    state = json.loads(json.dumps(lived(LEARNERS["HILF, levels"]).state()))
    inner = state
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    with pytest.raises(ValueError, match=says):
        hi.HILF.restore(signed(state))


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (("multiplier",), 0.9, r"multiplier must be in \[0, 0.8\]"),
        (("spent",), {}, "spent must hold the numbers of its tickets"),
        (("spent", "1"), [0.1, 0.2], "spent must be λ, an excess, and how many samples"),
        (("spent", "1"), [0.1, 0.2, 3], "spent must be λ, an excess, and how many samples"),
        (("spent", "1", 0), 0.9, r"spent\[0\] must be in \[0, 0.8\]"),
        (("spent", "1", 1), 1.5, r"spent\[1\] must be in \[-1, 1\]"),
        (("settings", "budget"), 1.5, "budget must be in"),
    ],
)
def test_what_is_wrong_with_what_was_spent_is_said(path, value, says):
    state = json.loads(json.dumps(lived(LEARNERS["HILF, budget"]).state()))
    inner = state
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    with pytest.raises(ValueError, match=says):
        hi.HILF.restore(signed(state))


def test_what_json_could_not_hold_is_no_state():
    state = lived(LEARNERS["HILF"]).state()
    for wrong in ({1, 2}, object(), b""):
        with pytest.raises(ValueError, match="plain values only"):
            hi.HILF.restore(state | {"settings": wrong})


def test_confidences_of_a_tree_must_rise():
    state = lived(LEARNERS["HILF"]).state()
    state["weights"]["confidence"].reverse()
    with pytest.raises(ValueError, match="confidence must rise, from above 0 to below 1"):
        hi.HILF.restore(signed(state))


def test_exploration_that_could_not_teach_is_refused():
    for wrong in (5e-324, 1e-13, 0):
        with pytest.raises(ValueError, match=r"exploration must be in \[1e-12, 1\]"):
            hi.HILN(0.5, 0.1, wrong)
