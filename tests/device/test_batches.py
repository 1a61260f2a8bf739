"""A batch's θ is drawn when its first sample is decided, from all feedback there is by then; what that exposes."""

import copy
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hi_lib as hi
from hi_lib import regret
from hi_lib.events.queueing import pipeline
from hi_lib.events.simulation import LateLearning, simulate

TIMING = hi.IMAGENETTE.timing

# What may be done with a learner: decide a further sample of the batch at hand, end it with or without its feedback,
# decide some samples at once, hear or forget the ticket at this place among those that are out.
actions = st.lists(
    st.tuples(st.sampled_from(["decide", "update", "defer", "later", "hear", "forget"]), st.integers(0, 5)), max_size=40
)


def exposure_by_definition(learner, plan, rng):
    """Live through a plan, and count Σ (1 + 2 g_t): g_t earlier samples that the weights behind the θ of t lack."""
    decided, heard, missing = [], set(), {}  # samples in order; those heard of or given up; what θ lacked of a sample
    batch, drawn_from, out, exposure = [], None, {}, 0
    for action, number in plan:
        if action == "decide":
            drawn_from = set(heard) if not batch else drawn_from
            learner.decide([p := float(rng.random())])
            batch.append((len(decided), p))
            decided.append(p)
            missing[batch[-1][0]] = drawn_from
        elif action in ("update", "defer") and batch:
            samples, confidence = zip(*batch, strict=True)
            if action == "update":
                learner.update(confidence, [1] * len(batch))
                heard |= set(samples)
            else:
                out[learner.defer(confidence).number] = samples
            batch = []
        elif action == "later":
            confidence = rng.random(number + 1)
            samples = range(len(decided), len(decided) + number + 1)
            missing |= {t: set(heard) for t in samples}
            decided += confidence.tolist()
            out[learner.decide_later(confidence).number] = samples
        elif action in ("hear", "forget") and out:
            ticket = sorted(out)[number % len(out)]
            samples = out.pop(ticket)
            learner.hear(ticket, [1] * len(samples)) if action == "hear" else learner.forget(ticket)
            heard |= set(samples)
    exposure = sum(1 + 2 * len(set(range(t)) - known) for t, known in missing.items() if t not in dict(batch))
    # Samples of a batch that has not ended count when it does, and so does what others did not know of them.
    unended = {t for t, _ in batch}
    return exposure - 2 * sum(len(unended & set(range(t))) for t in missing if t not in unended)


@given(actions, st.integers(0, 99))
def test_exposure_counts_what_the_weights_behind_each_threshold_lack(plan, seed):
    learner = hi.HILF(0.5, 0.1, seed, levels=16)
    expected = exposure_by_definition(learner, plan, np.random.default_rng(seed))
    assert learner._exposure == expected


def test_a_hundred_batches_of_ten_that_wait_have_the_exposure_of_batches():
    deferred, updated, late = (hi.HILF(0.5, "anytime", 0, levels=8) for _ in range(3))
    tickets = []
    for _ in range(100):
        for learner in (deferred, updated, late):
            learner.decide([0.3] * 10)
        deferred.hear(deferred.defer([0.3] * 10), [1] * 10)
        updated.update([0.3] * 10, [1] * 10)
        tickets.append(late.defer([0.3] * 10))
        if len(tickets) > 1:  # always one ticket out when the next batch is decided
            late.hear(tickets.pop(0), [1] * 10)
    assert deferred._exposure == updated._exposure == 100 * 10**2
    assert late._exposure == 100 * 10**2 + 2 * 99 * 10 * 10


def test_anytime_exploration_exposes_as_its_theorem_says():
    """T4's (η/2) Σ (1/ε + 2 g_t), as (η/8) Σ of four times that; answers that are lost weigh more."""
    learner = hi.HILN(0.5, "anytime", exploration=0.2, seed=0, levels=8, loss_rate=0.5)
    for _ in range(3):
        learner.decide([0.3, 0.6])
        learner.update([0.3, 0.6], [1, 1])
    first, second = learner.decide_later([0.5] * 3), learner.decide_later([0.5])
    outstanding = 3 * 1 + (0 + 1 + 2) + 3
    assert learner._exposure == pytest.approx(4 * (10 / (0.2 * 0.5) + 2 * outstanding))
    learner.hear(first, [1] * 3)
    learner.forget(second)
    assert learner._exposure == pytest.approx(4 * (10 / (0.2 * 0.5) + 2 * outstanding))
    assert learner.learning_rate == regret.doubling_learning_rate(learner._exposure + 1, 1 / 8)


@given(st.integers(1, 40), st.integers(1, 7), st.sampled_from([1, 2, 3, np.inf]), st.integers(0, 999))
def test_replay_simulation_and_learner_agree_on_what_a_window_leaves_out(n, batch_size, window, seed):
    """Σ (1 + 2 g) of a learner at work in the simulation is that of the delays that direct counting gives `replay`."""
    rng = np.random.default_rng(seed)
    # No two events at the same moment.
    timing = hi.TimingModel(*(rng.uniform(0.5, 5, 3)), tau_nw=rng.uniform(1, 30))
    trace = hi.Trace(rng.random(n), rng.random(n) < 0.7)
    arrivals = None if seed % 2 else np.cumsum(rng.exponential(4, n))
    learner = hi.HILF(0.5, 0.3, seed, levels=32)
    log = simulate(timing, LateLearning(learner, trace), batch_size, samples=n, window=window, arrivals=arrivals)
    delay = pipeline(timing, log.offloaded, batch_size, arrivals, window=window).delay
    assert learner._exposure == pytest.approx((1 + 2 * regret.outstanding(n, batch_size, delay)).sum())


def test_a_device_in_a_window_has_the_probabilities_of_the_replay():
    """At every draw the weights are those of `replay` with the delays that came about."""
    trace = hi.synthetic_trace(300, seed=3)
    learner, seen = hi.HILF(0.5, 0.2, seed=1), []

    class Watched(LateLearning):
        def decide(self, batch):
            if self.learner._begun is None:
                whole = trace.confidence[batch.start : batch.start + 4]
                seen.append(learner._forecaster.offload_probability(whole, 0.2))
            return super().decide(batch)

    log = simulate(TIMING, Watched(learner, trace), 4, samples=300, window=2)
    delay = pipeline(TIMING, log.offloaded, 4, window=2).delay
    run = hi.replay(trace, 0.5, 4, learning_rate=0.2, delay=delay)
    assert np.concatenate(seen) == pytest.approx(run.offload_probability, abs=1e-11)
    assert delay.max() > 0


class Scripted:
    """Uniform numbers as a script says: those of a draw of θ, then of an exploration."""

    def __init__(self, numbers):
        self._numbers = list(numbers)

    def random(self, size=None):
        return self._numbers.pop(0) if size is None else np.array([self._numbers.pop(0) for _ in range(size)])


CELLS = np.arange(4) / 4  # with four levels, θ is in one of four cells


def branches(learner, call, confidence):
    """Every way in which a call can go: its probability, the learner after it, and what it returned."""
    draws = [None]
    if call == "decide_later" or learner._begun is None:
        above = learner._forecaster.offload_probability(CELLS, learner.learning_rate)
        share = np.append(above[:-1] - above[1:], above[-1])
        draws = [(share[cell], share[:cell].sum() + share[cell] / 2) for cell in range(4)]
    for draw, explored in itertools.product(draws, (True, False)):
        twin = copy.deepcopy(learner)
        uniform = [] if draw is None else [draw[1], 0.5]
        twin._rng = Scripted([*uniform, 0.0 if explored else 1 - 1e-9])
        weight = (1.0 if draw is None else draw[0]) * (learner.exploration if explored else 1 - learner.exploration)
        yield weight, twin, getattr(twin, call)([confidence])


WRONG = {0.25: True, 0.5: False, 0.75: True}


def means(learner, plan, tickets=()):
    """E of what is added to the loss of mistakes at each confidence, over all θ and explorations of a plan."""
    if not plan:
        return np.zeros(3)
    (action, *what), rest = plan[0], plan[1:]
    total = np.zeros(3)
    if action in ("decide", "decide_later"):
        for probability, twin, result in branches(learner, action, *what):
            weight = (twin._batch[-1] if action == "decide" else twin._tickets[result.number]).weight.item()
            mistake = np.array([weight * wrong * (p == what[0]) for p, wrong in WRONG.items()])
            more = [*tickets, result.number] if action == "decide_later" else tickets
            total += probability * (mistake + means(twin, rest, more))
        return total
    twin = copy.deepcopy(learner)
    if action == "hear":
        ticket = tickets[what[0]]
        twin.hear(ticket, [not WRONG[p] for p in twin._tickets[ticket].confidence])
        return means(twin, rest, [*tickets[: what[0]], *tickets[what[0] + 1 :]])
    confidence = np.concatenate([each.confidence for each in twin._batch])
    if action == "update":
        twin.update(confidence, [not WRONG[p] for p in confidence])
        return means(twin, rest, tickets)
    return means(twin, rest, [*tickets, twin.defer(confidence).number])


@pytest.mark.parametrize(
    "plan",
    [
        [("decide", 0.25), ("decide", 0.5), ("update",), ("decide", 0.75), ("decide", 0.25)],
        # Others are heard of while a batch is open.
        [("decide_later", 0.25), ("decide", 0.75), ("hear", 0), ("decide", 0.25), ("update",), ("decide", 0.25)],
        # Batches that are deferred, and heard of in another order, in the middle of a third.
        [("decide", 0.25), ("defer",), ("decide", 0.75), ("defer",), ("decide", 0.5), ("hear", 1), ("decide", 0.75)],
    ],
)
@pytest.mark.parametrize("kind", [hi.Apple, hi.HILN])
def test_what_is_learned_of_mistakes_is_unbiased_however_feedback_comes(kind, plan):
    """Summed over all θ and explorations: each sample adds e_t to the loss of accepting it, in the mean."""
    learner = kind(0.5, 0.8, 0.2, levels=4)
    decided = [what[0] for action, *what in plan if action.startswith("decide")]
    expected = [decided.count(p) * wrong for p, wrong in WRONG.items()]
    assert means(learner, plan) == pytest.approx(expected, abs=1e-8)


def test_rounding_to_levels_keeps_what_is_a_multiple_already():
    for levels in (3, 7, 10, 100, 1000):
        grid = [k / levels for k in range(levels + 1)]
        learner = hi.HILF(0.5, 0.1, levels=levels)
        assert learner._seen(grid).tolist() == [learner._seen([p]).item() for p in grid] == grid
        below = np.nextafter(grid[1:], 0)
        assert learner._seen(below).tolist() == [learner._seen([p]).item() for p in below] == grid[:-1]
