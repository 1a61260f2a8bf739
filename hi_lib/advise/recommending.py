"""One recommendation, from a log or from an offload ratio: what to offload, and how to send it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from hi_lib import checks
from hi_lib.advise import policies as deciding
from hi_lib.advise import ways as sending
from hi_lib.advise.aligned import four_digits
from hi_lib.advise.policies import ALWAYS, ASSUMED, FITTED, LEARNER, NEVER, RULE, Comparison, Policy, compare
from hi_lib.advise.recommendation import Change, Recommendation
from hi_lib.advise.ways import Conditions, Sent
from hi_lib.learners import replay
from hi_lib.logs.reading import Log
from hi_lib.logs.regression import out_of_sample
from hi_lib.slow_start import LEAST_TIMEOUT
from hi_lib.specification import ADAPTIVE
from hi_lib.studies import lml
from hi_lib.timing import TimingModel
from hi_lib.traces import Trace, checked
from hi_lib.typing import Flags, Floats

NO_LOG = 10_000  # samples that stand for a log where there is none
_MATTERS = 0.1  # of f: what not waiting must gain to be the assumption that matters most
_OUT = 4  # transmissions, where the advice asks what a link that allows several would bring


def from_log(
    log: Log | Trace, beta: float, timing: TimingModel, conditions: Conditions, alpha: float | None, borrowed: str = ""
) -> tuple[Recommendation, Comparison]:
    """The recommendation for a log, and the policies that were compared.

    Parameters
    ----------
    log : Log or Trace
    beta : float
        Cost of an offload, in [0, 1].
    timing : TimingModel
    conditions : Conditions
    alpha : float or None
        Weight of the system time; None where a deadline alone counts.
    borrowed : str
        Which times are the paper's, in words, if any are.
    """
    log = out_of_sample(log if isinstance(log, Log) else Log(checked(log)))
    found = _Decision(log, beta, timing, conditions, alpha)
    policy, row = found.policy, found.sent
    next_best, never = found.compared.next_best(), found.compared.policies[found.compared.counted][NEVER]
    scale = found.compared.scale
    shown = scale.shown(policy.threshold) if scale and policy.name in (FITTED, LEARNER) else None
    recommendation = Recommendation(
        policy=policy.name,
        threshold=policy.threshold,
        beta=float(found.priced),
        sent=row,
        keeps_up=any(sending.keeps_up(each, conditions) for each in found.ways),
        keeps_deadline=conditions.deadline is None or row is not None,
        ways=found.ways,
        cost=policy.average_cost,
        against_never=deciding.difference(never, policy),
        against_next=deciding.difference(next_best, policy),
        next_policy=next_best.name,
        waiting_costs=_hearing_late(found) if policy.name == LEARNER and row else None,
        assumption=borrowed or _assumption(found),
        changes=[_change(found, what, other) for what, other in _otherwise(found)] if row else [],
        conditions=conditions,
        offload_ratio=float(policy.offload_probability.mean()),
        own_threshold=shown,
        overspent=found.compared.overspent,
    )
    return recommendation, found.compared


class _Decision:
    """A policy by cost, and a way to send by time; the price of a transmission is shared by what is sent together."""

    def __init__(self, log: Log, beta: float, timing: TimingModel, conditions: Conditions, alpha: float | None) -> None:
        self.log, self.beta, self.timing, self.conditions, self.alpha = log, beta, timing, conditions, alpha
        self._settle(beta)  # what is sent if offloads have no other price: how many share one
        if conditions.price and self.sent is not None and self.sent.transmissions:
            together = self.policy.offloaded.mean() / self.sent.transmissions
            self._settle(beta + conditions.price / float(together))

    def _settle(self, price_of_an_offload: float) -> None:
        self.priced = min(price_of_an_offload, 1.0)
        self.compared = compare(self.log, self.priced, self.conditions.budget)
        self.policy: Policy = self.compared.chosen()
        self.ways = self.ways_of(self.policy.offloaded)
        self.sent = sending.best(self.ways, self.conditions)

    def ways_of(self, offloaded: Flags) -> list[Sent]:
        return sending.ways(offloaded, self.timing, self.conditions, self.alpha)

    def with_beta(self, beta: float) -> _Decision:
        return _Decision(self.log, beta, self.timing, self.conditions, self.alpha)


class _Other(NamedTuple):
    """Another policy's name, where that may change, and another way to send."""

    policy: str | None
    sent: Sent | None


def _otherwise(found: _Decision) -> Iterator[tuple[str, _Other]]:
    """What else might be the case, and what would be recommended then."""
    if found.beta > 0:
        for what, beta in (("half of β", found.beta / 2), ("twice β", min(1.0, 2 * found.beta))):
            other = found.with_beta(beta)
            yield what, _Other(other.policy.name, other.sent)
    yield from _with_other_times(found.policy, found)


def _with_other_times(policy: Policy, found: _Decision) -> Iterator[tuple[str, _Other]]:
    if policy.name == NEVER:
        return
    share = policy.offloaded.mean()
    for what, ratio in (("half of the offloads", share / 2), ("twice the offloads", min(1.0, 2 * share))):
        rows = found.ways_of(_least_sure(found.log.trace.confidence, float(ratio)))
        yield what, _Other(None, sending.best(rows, found.conditions))
    rows = sending.ways(policy.offloaded, *_twice_as_slow(found.timing, found.conditions), found.alpha)
    yield "a network twice as slow", _Other(None, sending.best(rows, found.conditions))


def _twice_as_slow(timing: TimingModel, conditions: Conditions) -> tuple[TimingModel, Conditions]:
    """The same with twice the network time, be it assumed, measured, or one that depends on what is sent."""
    network, measured = timing.network_time, conditions.network_times
    slow = replace(
        timing, tau_nw=2 * timing.tau_nw, network_time=None if network is None else lambda sent: 2 * network(sent)
    )
    return slow, replace(conditions, network_times=None if measured is None else 2 * measured)


def _least_sure(confidence: Floats, share: float) -> Flags:
    """So large a share of the samples, the least sure ones; of equally sure ones all, or none."""
    return confidence < sending.percentile(confidence, share) if share < 1 else confidence <= 1


def _change(found: _Decision, what: str, other: _Other) -> Change:
    policy = other.policy if other.policy != found.policy.name else None
    if NEVER in (found.policy.name, other.policy):
        return Change(what, policy, None)  # nothing is sent in one of the two
    return Change(what, policy, _instead(found.sent, other.sent))


def _instead(before: Sent | None, other: Sent | None) -> str | None:
    """Another way to send in a few words; None where it is the same."""
    if other is None:
        return "no way to send is in time"
    return None if before is not None and other.way.alike(before.way) else other.way.short


def _hearing_late(found: _Decision) -> float:
    """What a learner's cost rises by if it hears once for as many samples as lie between two transmissions."""
    trace, row = found.log.trace, found.sent
    size = max(1, math.floor(1 / row.transmissions + 0.5)) if row and row.transmissions else 1
    late = replay(
        trace, found.priced, min(size, len(trace)), learning_rate=ADAPTIVE, budget=found.conditions.budget
    ).offload_probability
    large = _answers(found)
    half = len(trace) // 2
    change = (late - found.policy.offload_probability) * (found.priced + trace.correct - large)
    return float(change[half:].mean())


def _answers(found: _Decision) -> Floats:
    """How right the L-ML is, as it was counted."""
    trace = found.log.trace
    return lml.answers(trace, found.log.offload_probability).get(found.compared.counted, np.ones(len(trace)))


def _assumption(found: _Decision) -> str:
    """The assumption that matters most: of the link, of the L-ML, of the labels, or of what is still to come."""
    if found.compared.answer == "it depends":
        return "answers of the L-ML that the log does not hold are wrong; were they right, HI would " + (
            "pay" if found.compared.chosen().name in (NEVER, ALWAYS) else "not pay"
        )
    if found.policy.name != NEVER and found.sent is not None and (idle := _of_idle(found, found.sent)):
        return idle
    if found.policy.name != NEVER and found.sent is not None and found.conditions.window is None:
        free = sending.best(_without_waiting(found), found.conditions)
        if free is not None and free.objective < (1 - _MATTERS) * found.sent.objective:
            response, system = four_digits(free.response_time), four_digits(free.system_time)
            together = f" after {free.way.size} {free.way.unit}" if free.way.size > 1 else ""
            return (
                f"the link allows one transmission at a time; if it allows {_OUT}, send{together} without waiting, and "
                f"answers come after {response} ms, {system} ms of the system a sample"
            )
    if found.compared.counted == ASSUMED and found.policy.name != NEVER:
        return (
            "the L-ML is always right; for each percent of its answers that is wrong the cost rises by "
            f"{found.policy.offload_ratio / 100:.4f}"
        )
    if found.policy.name == LEARNER:
        return "the learner hears of every sample whether the local answer was right"
    return "what comes is like the second half of the log"


def _of_idle(found: _Decision, row: Sent) -> str:
    """What an idle connection takes, or may take."""
    pause = f"the connection is idle for {row.idle:.0f} ms before a transmission"
    if row.cold:
        around = replace(found.conditions, connection="warm")
        kept = sending.sent_by(row.way, found.policy.offloaded, found.timing, around, found.alpha)
        return (
            f"{pause} and loses its window; kept warm (tcp_slow_start_after_idle = 0), answers come after "
            f"{four_digits(kept.response_time)} ms"
        )
    if row.idle > LEAST_TIMEOUT and found.conditions.connection == "auto" and found.conditions.rate is None:
        return f"{pause} and keeps its window; with Linux' defaults it loses it, and takes up to three round trips"
    return ""


def _without_waiting(found: _Decision) -> list[Sent]:
    open_link = replace(found.conditions, window=_OUT)
    return sending.ways(found.policy.offloaded, found.timing, open_link, found.alpha)


def recommend(
    offload_ratio: float,
    timing: TimingModel,
    *,
    alpha: float | None = None,
    conditions: Conditions | None = None,
    beta: float | None = None,
    calibrated: bool = False,
) -> Recommendation:
    """What to set where no log is at hand: samples are offloaded independently, each with the same probability.

    Parameters
    ----------
    offload_ratio : float
        ρ, in [0, 1], and within the budget of the conditions, if they have one.
    timing : TimingModel
        ms.
    alpha : float, optional
        Weight of the system time, in (0, 1); ½ where no deadline is given, either.
    conditions : Conditions, optional
        Deadline, window and whatever else is known but what needs a log: a price, arrivals, sizes of images.
    beta : float, optional
        Cost of an offload, in [0, 1].
    calibrated : bool
        Whether a confidence is the probability of being right: then θ = 1 − β, and nothing needs be learned.

    Returns
    -------
    Recommendation
        Without costs, which only a log can tell.

    Raises
    ------
    ValueError
        An argument outside its range.

    Examples
    --------
    >>> import hi_lib as hi
    >>> found = recommend(0.421, hi.IMAGENETTE.timing, alpha=0.9, beta=0.3, calibrated=True)
    >>> found.policy, found.sent.way.size, found.sent.way.longest_wait
    ('θ = 1 − β', 4, 27.0)
    """
    conditions = conditions or Conditions()
    ratio = checks.real("offload_ratio", offload_ratio, 0, 1 if conditions.budget is None else conditions.budget)
    if conditions.price or conditions.arrivals is not None or conditions.sending_times is not None:
        raise ValueError("price, arrivals and sending_times must be left out without a log")
    price = None if beta is None else checks.real("beta", beta, 0, 1)
    weight = weight_of(alpha, conditions)
    uniforms = steady_uniforms(NO_LOG)
    policy = NEVER if ratio == 0 else ALWAYS if ratio == 1 else RULE if calibrated else LEARNER

    def tried(share: float, times: TimingModel = timing, around: Conditions = conditions) -> list[Sent]:
        return sending.ways(uniforms < share, times, around, weight)

    rows = tried(ratio)
    row = sending.best(rows, conditions)
    others: dict[str, tuple[Any, ...]] = {
        "half of the offloads": (ratio / 2,),
        "twice the offloads": (min(1.0, 2 * ratio),),
        "a network twice as slow": (ratio, *_twice_as_slow(timing, conditions)),
    }
    changes = [
        Change(what, None, _instead(row, sending.best(tried(*case), conditions)))
        for what, case in others.items()
        if row and ratio
    ]
    return Recommendation(
        policy=policy,
        threshold=1 - price if policy == RULE and price is not None else None,
        beta=price,
        sent=row,
        keeps_up=any(sending.keeps_up(each, conditions) for each in rows),
        keeps_deadline=conditions.deadline is None or row is not None,
        ways=rows,
        cost=None,
        against_never=None,
        against_next=None,
        next_policy=None,
        waiting_costs=None,
        assumption="samples are offloaded independently of each other; a log of your own tells whether HI pays at all",
        changes=changes,
        conditions=conditions,
        offload_ratio=float(ratio),
    )


def weight_of(alpha: float | None, conditions: Conditions) -> float | None:
    """α, checked; ½ where neither it nor a deadline is given, and None where a deadline alone counts."""
    if alpha is None:
        return 0.5 if conditions.deadline is None else None
    return checks.real("alpha", alpha, 0, 1, open_ends="()")


def steady_uniforms(n: int) -> Floats:
    """n numbers in [0, 1), always the same: mulberry32, which a page computes to the last bit, too.

    Examples
    --------
    >>> steady_uniforms(3).round(4)
    array([0.2664, 0.0003, 0.2233])
    """
    state = (np.arange(1, n + 1, dtype=np.uint64) * 0x6D2B79F5).astype(np.uint32)
    x = (state ^ (state >> np.uint32(15))) * (state | np.uint32(1))
    x = (x + (x ^ (x >> np.uint32(7))) * (x | np.uint32(61))) ^ x
    return (x ^ (x >> np.uint32(14))) / 2.0**32
