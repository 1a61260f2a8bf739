"""One recommendation: ten logs with what an expert would do, worked out by brute force, and fifty random settings."""

import math
from dataclasses import replace

import numpy as np
import pytest

import hi_lib as hi
from hi_lib.advise import recommending
from hi_lib.advise import ways as sending
from hi_lib.advise.policies import ALWAYS, FITTED, LEARNER, NEVER, RULE, compare
from hi_lib.advise.ways import Conditions
from hi_lib.events.simulation import simulate
from hi_lib.logs.reading import Log
from hi_lib.logs.scores import Scale

TIMING = hi.IMAGENETTE.timing
N = 4000


def rng(seed):
    return np.random.default_rng(seed)


def calibrated(seed=0, n=N):
    confidence = rng(seed).uniform(0.3, 1, n)
    return hi.Trace(confidence, rng(seed + 1).random(n) < confidence)


def overconfident():
    confidence = rng(2).uniform(0.5, 1, N)
    return hi.Trace(confidence, rng(3).random(N) < confidence**4)


def drifting():
    """Calibrated in the first half; in the second, right only where it is surer than 0.8."""
    confidence = rng(4).uniform(0.3, 1, N)
    later = np.where(confidence < 0.8, 0.1, 0.98)
    return hi.Trace(confidence, rng(5).random(N) < np.where(np.arange(N) < N // 2, confidence, later))


def saturated():
    """Three in five scores are exactly 1, of which a fifth are wrong: no threshold offloads these."""
    confidence = np.where(rng(6).random(N) < 0.6, 1.0, rng(7).uniform(0.3, 0.9, N))
    return hi.Trace(confidence, rng(8).random(N) < np.where(confidence == 1, 0.8, confidence - 0.2))


def erring():
    """The L-ML is right on three in five, the S-ML on more where it is sure."""
    trace = calibrated(9)
    return hi.Trace(trace.confidence, trace.correct, (rng(11).random(N) < 0.6).astype(float))


def rare():
    """Two in a hundred are of a class that the S-ML does not know, and it is unsure of them."""
    hard = rng(12).random(N) < 0.02
    confidence = np.where(hard, rng(13).uniform(0.2, 0.5, N), rng(14).uniform(0.97, 1, N))
    return hi.Trace(confidence, rng(15).random(N) < np.where(hard, 0.1, 0.995))


def cost(trace, threshold, beta):
    """Of a fixed threshold on the second half of a log, a sample at a time."""
    half, costs = len(trace) // 2, []
    lml = np.ones(len(trace)) if trace.lml_correct is None else trace.lml_correct
    for k in range(half, len(trace)):
        sent = trace.confidence[k] < threshold
        costs.append(beta + 1 - lml[k] if sent else 1 - trace.correct[k])
    return np.array(costs)


def fitted(trace, beta):
    """The best of all thresholds on the first half, each tried."""
    half = len(trace) // 2
    lml = np.ones(len(trace)) if trace.lml_correct is None else trace.lml_correct
    p, e, wrong = trace.confidence[:half], ~trace.correct[:half], 1 - lml[:half]
    tried = [*p.tolist(), 1.0]
    return min(tried, key=lambda theta: np.where(p < theta, beta + wrong, e).mean())


def clearly_less(one, other):
    """Whether the first costs less, by more than chance would do once in twenty times."""
    less = other - one
    return less.mean() > 1.645 * less.std() / np.sqrt(less.size)


def found_for(log, beta=0.3, conditions=None, alpha=0.9, timing=TIMING):
    return hi.evaluate(log, beta, alpha, timing, conditions or Conditions()).recommendation


def best_by_brute_force(flags, timing, alpha, arrivals=None, **how):
    """The number of offloads with the least f, each simulated event by event."""
    objectives = {}
    for size in range(1, 17):
        log = simulate(timing, flags, size, unit="offloads", arrivals=arrivals, **how)
        busy = simulate(timing, flags, size, unit="offloads", **how)
        objectives[size] = alpha * busy.system_time + (1 - alpha) * log.response_time.mean()
    return min(objectives, key=objectives.get)


@pytest.mark.uncounted
def test_calibrated_the_rule():
    trace = calibrated()
    found = found_for(trace)
    assert found.policy == RULE
    assert found.threshold == 0.7
    assert not clearly_less(cost(trace, fitted(trace, 0.3), 0.3), cost(trace, 0.7, 0.3))
    assert clearly_less(cost(trace, 0.7, 0.3), cost(trace, 0, 0.3))
    assert clearly_less(cost(trace, 0.7, 0.3), cost(trace, np.inf, 0.3))
    assert found.cost == pytest.approx(cost(trace, 0.7, 0.3).mean())
    assert found.against_never.mean == pytest.approx((cost(trace, 0, 0.3) - cost(trace, 0.7, 0.3)).mean())
    assert found.sent.way.size == best_by_brute_force(trace.confidence < 0.7, TIMING, 0.9)


def test_overconfident_a_fitted_threshold():
    trace = overconfident()
    found = found_for(trace)
    assert found.policy == FITTED
    theta = fitted(trace, 0.3)
    assert found.cost == pytest.approx(cost(trace, theta, 0.3).mean(), abs=1e-9)
    assert clearly_less(cost(trace, theta, 0.3), cost(trace, 0.7, 0.3))
    assert abs(found.threshold - 0.7**0.25) < 0.05  # where one is right with probability 1 − β


def test_drifting_a_learner():
    trace = drifting()
    found = found_for(trace)
    assert found.policy == LEARNER
    assert found.threshold == pytest.approx(0.8, abs=0.02)
    for theta in (0, 0.7, fitted(trace, 0.3), np.inf):
        assert found.cost < cost(trace, theta, 0.3).mean() - 0.03


def test_saturated_scores_what_a_threshold_can_do():
    trace = saturated()
    found = found_for(trace)
    costs = {
        name: cost(trace, theta, 0.3) for name, theta in ((NEVER, 0), (ALWAYS, np.inf), (FITTED, fitted(trace, 0.3)))
    }
    assert found.policy == FITTED
    assert clearly_less(costs[FITTED], costs[NEVER])
    assert clearly_less(costs[FITTED], costs[ALWAYS])
    assert found_for(trace, beta=0.1).policy == ALWAYS  # the sure ones err more often than that


def test_an_erring_lml_as_it_is():
    trace = erring()
    found = found_for(trace, beta=0.1)
    assert found.policy == FITTED  # 1 − β = .9 offloads what the S-ML knows better
    theta = fitted(trace, 0.1)
    assert theta == pytest.approx(0.5, abs=0.06)  # where the S-ML is right as often as the L-ML, less β
    assert clearly_less(cost(trace, theta, 0.1), cost(trace, 0.9, 0.1))
    assert found_for(trace, beta=0.5).policy == NEVER
    assert found_for(hi.Trace(trace.confidence, trace.correct), beta=0.1).policy == RULE


def test_rare_classes_a_threshold_between():
    trace = rare()
    found = found_for(trace)
    assert found.policy == RULE
    assert clearly_less(cost(trace, 0.7, 0.3), cost(trace, 0, 0.3))
    assert found.offload_ratio == pytest.approx(0.02, abs=0.01)
    assert found.sent.way.size == best_by_brute_force(trace.confidence < 0.7, TIMING, 0.9)


def test_three_devices_each_its_own(tmp_path):
    parts = [calibrated(20, 900), overconfident(), hi.Trace(rng(21).uniform(0.9, 1, 900), np.ones(900))]
    lines = ["confidence,correct,device"]
    for name, part in zip("abc", parts, strict=True):
        pairs = zip(part.confidence[:900].tolist(), part.correct[:900].tolist(), strict=True)
        lines += [f"{p!r},{right:d},{name}" for p, right in pairs]
    path = tmp_path / "devices.csv"
    path.write_text("\n".join(lines) + "\n")
    from hi_lib.logs.columns import Columns
    from hi_lib.logs.reading import read

    found = hi.evaluate(read(path, Columns(by="device")), 0.3, 0.9, TIMING)
    assert [group.recommendation.policy for group in found.groups.groups] == [RULE, FITTED, NEVER]
    assert "groups differ: HI pays for a, b; not for c" in found.groups.note


def test_bursts_are_sent_together():
    """Twenty pictures at once, then half a second of nothing: three offloads come sooner than one by one."""
    trace, gaps = calibrated(22, 2000), np.where(np.arange(2000) % 20, 0.0, 500.0)
    arrivals = np.cumsum(gaps) - 500
    found = found_for(trace, conditions=Conditions(arrivals=arrivals), alpha=0.5)
    sent = trace.confidence < 0.7
    by_wait = {row.way.size: row.way.longest_wait for row in found.ways}
    objectives = {}
    for size in range(1, 17):
        how = {"unit": "offloads", "max_wait": by_wait[size]}
        log, busy = simulate(TIMING, sent, size, arrivals=arrivals, **how), simulate(TIMING, sent, size, **how)
        objectives[size] = busy.system_time / 2 + log.response_time.mean() / 2
    assert found.sent.way.size == min(objectives, key=objectives.get)
    assert found.sent.way.size > found_for(trace, conditions=Conditions(arrivals=np.arange(2000) * 500.0)).sent.way.size


def test_overloaded_no_size():
    found = found_for(calibrated(), conditions=Conditions(arrivals=np.arange(N) * 2.0))
    assert (found.sent, found.keeps_up) == (None, False)
    least = min(
        simulate(TIMING, calibrated().confidence < 0.7, size, unit="offloads").system_time for size in (16, 256)
    )
    assert least > 2
    first = found.as_lines()[0]
    assert first.startswith("Recommended: no way to send, since the device cannot keep up: a sample comes every 2 ms, ")
    assert found.as_dict()["send"] is None


def test_short_nothing_is_clear():
    trace = calibrated(30, 24)
    found = found_for(trace)
    assert found.policy == NEVER
    assert not clearly_less(cost(trace, 0.7, 0.3), cost(trace, 0, 0.3))
    assert found.as_lines()[0].startswith(
        "Recommended: keep every answer on the device; nothing that offloads costs cl"
    )


def random_settings():
    draw = rng(99)
    for number in range(50):
        timing = hi.TimingModel(*draw.uniform(0.1, 30, 4))
        n = int(draw.integers(30, 800))
        deadline = float(draw.uniform(20, 400)) if number % 3 == 0 else None
        conditions = Conditions(
            arrivals=np.sort(draw.uniform(0, n * draw.uniform(1, 60), n)) if number % 4 == 1 else None,
            deadline=deadline,
            miss=float(draw.uniform(0, 0.3)) if deadline else 0.05,
            window=[None, 2, math.inf][number % 3 if number % 5 else 0],
            unit="samples" if number % 7 == 3 else "offloads",
            rate=50e6 if number % 2 else None,
        )
        alpha = None if deadline and number % 2 else float(draw.uniform(0.05, 0.95))
        yield calibrated(number, n), float(draw.uniform(0.02, 0.6)), timing, conditions, alpha


@pytest.mark.uncounted
@pytest.mark.parametrize("setting", list(random_settings()), ids=range(50))
def test_no_way_that_the_table_lists_is_better(setting):
    trace, beta, timing, conditions, alpha = setting
    found = hi.evaluate(trace, beta, alpha, timing, conditions).recommendation
    assert 4 <= len(found.as_lines()) <= 5 or found.sent is None
    assert found.as_lines()[0].startswith("Recommended: ")
    for row in found.ways:
        in_time = conditions.deadline is None or row.late <= conditions.miss
        if in_time and (conditions.spacing is None or row.system_time <= conditions.spacing):
            assert found.sent.objective <= row.objective
    if found.sent is not None and not found.sent.cold:  # and what it says of it is so, event by event
        flags = compare(trace, beta).chosen().offloaded
        way = found.sent.way
        how = {"unit": way.unit, "window": way.window, "max_wait": way.longest_wait}
        log = simulate(timing, flags, way.size, arrivals=conditions.arrivals, **how)
        assert found.sent.response_time == pytest.approx(log.response_time.mean(), rel=1e-9)


def test_a_price_makes_offloads_travel_together_and_fewer():
    trace = calibrated()
    free, dear = (found_for(trace, beta=0.1, conditions=Conditions(price=price)) for price in (0.0, 0.4))
    assert dear.offload_ratio < free.offload_ratio
    together = dear.offload_ratio / dear.sent.transmissions
    # β and a share of the price: the rule that goes with it.
    assert dear.threshold == pytest.approx(1 - 0.1 - 0.4 / free_size(trace), abs=0.02)
    assert together > 1
    assert f"θ = {dear.threshold:.4f} (1 − β, less a share of the price); " in dear.as_lines()[0]


@pytest.mark.parametrize("price", [0.3, 0.5, 1.0])
def test_what_pays_together_is_sent_though_none_would_pay_alone(price):
    trace = hi.load_trace("imagenette-mobilenet_v1_0.25_128").shuffled(0)
    found = found_for(trace, beta=0.1, conditions=Conditions(price=price))
    assert compare(Log(trace), min(0.1 + price, 1)).chosen().name == NEVER or price == 0.3
    assert found.policy != NEVER
    half = len(trace) // 2
    priced = 0.1 + price * found.sent.transmissions / found.offload_ratio
    offloaded = trace.confidence < found.threshold
    paid = np.where(offloaded, priced, ~trace.correct.astype(bool))[half:].mean()
    assert paid < (~trace.correct.astype(bool))[half:].mean() - 0.05


def free_size(trace):
    """Offloads that the first choice sends together, which decides how a price is shared."""
    first = found_for(trace, beta=0.1)
    return first.offload_ratio / first.sent.transmissions


def test_a_learner_with_a_price_learns_with_it_and_is_late_with_it():
    trace, price = drifting(), 0.1
    found = found_for(trace, conditions=Conditions(price=price))
    assert found.policy == LEARNER
    first = found_for(trace)
    together = compare(Log(trace), 0.3).chosen().offloaded.mean() / first.sent.transmissions
    priced = 0.3 + price / together
    assert found.beta == pytest.approx(priced)
    size = max(1, round(1 / found.sent.transmissions))
    late, soon = (hi.replay(trace, priced, each, learning_rate="adaptive").cost[N // 2 :].mean() for each in (size, 1))
    assert found.waiting_costs == pytest.approx(late - soon)


def test_a_network_twice_as_slow_is_so_however_it_is_known():
    def answer(**how):
        timing = how.pop("timing", hi.IMAGENETTE.timing)
        changes = recommending.recommend(0.4, timing, alpha=0.9, conditions=Conditions(**how)).changes
        return [change.send for change in changes if change.what == "a network twice as slow"]

    known = answer()
    assert known != [None]
    assert answer(network_times=np.full(3, hi.IMAGENETTE.timing.tau_nw)) == known
    assert answer(timing=replace(hi.IMAGENETTE.timing, network_time=lambda _: hi.IMAGENETTE.timing.tau_nw)) == known


def test_without_a_log_nothing_that_needs_one_is_taken():
    for how in ({"price": 0.1}, {"arrivals": np.arange(5.0)}, {"sending_times": np.ones(5)}):
        with pytest.raises(ValueError, match="price, arrivals and sending_times must be left out without a log"):
            recommending.recommend(0.4, hi.IMAGENETTE.timing, conditions=Conditions(**how))


def test_a_learner_that_hears_late_is_told_what_it_costs():
    found = found_for(drifting())
    size = max(1, round(1 / found.sent.transmissions))
    trace = drifting()
    late, soon = (hi.replay(trace, 0.3, each, learning_rate="adaptive").cost[N // 2 :].mean() for each in (size, 1))
    assert found.waiting_costs == pytest.approx(late - soon)
    assert f"the learner hears later, which costs {abs(found.waiting_costs):.4f} " in found.as_lines()[1]
    assert "let HIL-F learn θ, with the adaptive rate and β = 0.3" in found.as_lines()[0]


def test_the_assumption_that_matters_most():
    def assumed(log, **how):
        (line,) = (line for line in found_for(log, **how).as_lines() if line.startswith("Assumed: "))
        return line

    assert "the link allows one transmission at a time; if it allows 4" in assumed(calibrated())
    assert "the L-ML is always right" in assumed(calibrated(), conditions=Conditions(window=4))
    sure = hi.Trace(calibrated().confidence, calibrated().correct, np.ones(N))
    assert assumed(sure, conditions=Conditions(window=4)) == "Assumed: what comes is like the second half of the log"
    drift = hi.Trace(drifting().confidence, drifting().correct, np.ones(N))
    assert "the learner hears of every sample" in assumed(drift, conditions=Conditions(window=4))
    unknown = hi.Trace(calibrated().confidence, calibrated().correct, np.where(np.arange(N) == 0, 1.0, np.nan))
    assert "were they right, HI would pay" in assumed(unknown)
    seldom = Conditions(arrivals=np.arange(N) * 1000.0)
    assert "ms before a transmission and keeps its window; with Linux' defaults it loses it" in assumed(
        calibrated(), conditions=seldom
    )
    cold = Conditions(arrivals=np.arange(N) * 1000.0, rate=50e6)
    assert "and loses its window; kept warm" in assumed(calibrated(), conditions=cold)
    assert hi.evaluate(calibrated(), 0.3).recommendation.assumption.startswith("the times of the paper's Imagenette")


def test_what_would_change_it():
    found = found_for(calibrated(), beta=0.4)
    changes = {change.what: change for change in found.changes}
    assert changes["twice β"].policy == found_for(calibrated(), beta=0.8).policy
    assert changes["half of β"].policy is None
    slow = found_for(calibrated(), beta=0.4, timing=TIMING.with_taus({"tau_nw": 40.0}))
    assert changes["a network twice as slow"].send == slow.sent.way.short != found.sent.way.short
    assert "What if: " in found.as_lines()[-1]


def test_own_units_and_no_deadline_in_reach():
    log = Log(overconfident(), scale=Scale("entropy", 2.0, 0.0))
    found = found_for(log)
    assert found.own_threshold == f"entropy above {2 - 2 * found.threshold:.5g}"
    assert f"less sure than {found.own_threshold}" in found.as_lines()[0]
    late = found_for(calibrated(), conditions=Conditions(deadline=2.0), alpha=None)
    assert late.as_lines()[0].startswith(
        "Recommended: no way to send, since none has at most 0.05 of all answers after"
    )
    assert (late.keeps_deadline, late.as_dict()["keeps_deadline"]) == (False, False)
    assert late.as_lines()[0].count(f"{min(row.late for row in late.ways):.2%}") == 1


def test_without_a_log():
    found = hi.recommend(0.4, TIMING, alpha=0.9, beta=0.3)
    assert found.policy == LEARNER
    # Independent offloads: what the formula says of a ratio, whose draw is known to half a percent.
    assert found.sent.way.size == TIMING.optimal_batch_size(0.4, 0.9, unit="offloads").integer
    expected = TIMING.system_time(found.sent.way.size, 0.4, unit="offloads")
    assert found.sent.system_time == pytest.approx(expected, rel=0.02)
    assert (hi.recommend(0, TIMING).policy, hi.recommend(1, TIMING).policy) == (NEVER, ALWAYS)
    assert hi.recommend(0.4, TIMING, calibrated=True, beta=0.3).threshold == 0.7
    assert "θ = 1 − β" in hi.recommend(0.4, TIMING, calibrated=True).as_lines()[0]
    assert hi.recommend(0.4, TIMING, conditions=Conditions(deadline=3.0)).sent is None
    with pytest.raises(ValueError, match="offload_ratio must be in"):
        hi.recommend(1.2, TIMING)
    with pytest.raises(ValueError, match="alpha must be in"):
        hi.recommend(0.2, TIMING, alpha=1)


def test_the_steady_uniforms_are_uniform():
    values = recommending.steady_uniforms(recommending.NO_LOG)
    counts = np.histogram(values, bins=50, range=(0, 1))[0]
    # χ² with 49 degrees of freedom: 49 ± 4 · √98.
    assert abs(((counts - 200) ** 2 / 200).sum() - 49) < 40
    below = values < 0.4
    assert abs((below[1:] == below[:-1]).mean() - (0.16 + 0.36)) < 4 * 0.5 / 100


def test_the_table_has_all_ways():
    found = found_for(calibrated(), conditions=Conditions(window=math.inf))
    table = hi.evaluate(calibrated(), 0.3, 0.9, TIMING, Conditions(window=math.inf)).as_dict()["ways"]
    assert len(table) == len(found.ways) == 2 * len(sending.SIZES)
    assert {row["window"] for row in table} == {None, "inf"}
    assert {row["connection"] for row in table} == {"warm"}
