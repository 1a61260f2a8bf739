"""A recommendation: what to set, what it brings, what it rests on, and the words for it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from hi_lib.advise.aligned import four_digits
from hi_lib.advise.policies import ALWAYS, LEARNER, NEVER, RULE, Difference
from hi_lib.advise.ways import Conditions, Sent

if TYPE_CHECKING:
    import pandas as pd

_SHOWN = 5e-5  # costs are told with four digits after the point: what would be told as nothing is left out


class Change(NamedTuple):
    """What would be recommended if something were otherwise; None where that is the same."""

    what: str
    policy: str | None
    send: str | None


@dataclass(frozen=True, eq=False)
class Recommendation:
    """What to set, what it brings, and what it rests on.

    Attributes
    ----------
    policy : str
        Which samples to offload: "never", "always", "θ = 1 − β", "fitted θ", or "learner" (HIL-F, adaptive rate).
    threshold : float or None
        θ; of the learner, the one at which it would offload half the time by now. None without a log for a learner.
    beta : float or None
        Cost of an offload with its share of a transmission's price.
    sent : Sent or None
        How to send, with its times, ms. None where nothing is sent, the device cannot keep up, or no way is in time.
    keeps_up, keeps_deadline : bool
        Whether any way to send does.
    ways : list of Sent
        All that were compared.
    cost, against_never, against_next : float, Difference, Difference; each or None
        A sample, on the second half of the log, and how much more never offloading and the next best policy cost.
    next_policy : str or None
    waiting_costs : float or None
        How much more a learner costs that hears no sooner than answers come this way, against one that hears at once.
    assumption : str
        The one that matters most.
    changes : list of Change
    conditions : Conditions
    offload_ratio : float
        Of all samples.
    own_threshold : str or None
        The threshold in the units of the log, if these are no probabilities.
    overspent : float or None
        By which share of the second half of the log the budget is exceeded, if there is one; below zero where some of
        it is left.
    """

    policy: str
    threshold: float | None
    beta: float | None
    sent: Sent | None
    keeps_up: bool
    keeps_deadline: bool
    ways: list[Sent]
    cost: float | None
    against_never: Difference | None
    against_next: Difference | None
    next_policy: str | None
    waiting_costs: float | None
    assumption: str
    changes: list[Change]
    conditions: Conditions
    offload_ratio: float
    own_threshold: str | None = None
    overspent: float | None = None

    @property
    def pays(self) -> bool:
        """Whether hierarchical inference does better than never and always offloading."""
        return self.policy not in (NEVER, ALWAYS)

    @property
    def nearest(self) -> Sent:
        """The way with the fewest late answers, or the fastest one: what comes nearest where none does."""
        return min(
            self.ways, key=lambda row: row.system_time if math.isnan(row.late) or not self.keeps_up else row.late
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain values; what is not known, or not finite, is None. `recommendation.schema.json` says what they are."""
        row = self.sent
        return {
            "says": self.as_lines(),
            "policy": self.policy,
            "threshold": _known(self.threshold),
            "own_threshold": self.own_threshold,
            "beta": self.beta,
            "pays": self.pays,
            "keeps_up": self.keeps_up,
            "keeps_deadline": self.keeps_deadline,
            "send": None if row is None or self.policy == NEVER else _plain(row),
            "system_time": None if row is None else row.system_time,
            "response_time": None if row is None else row.response_time,
            "response_p95": None if row is None else row.p95,
            "late": None if row is None else _known(row.late),
            "offload_ratio": self.offload_ratio,
            "budget": self.conditions.budget,
            "overspent": self.overspent,
            "cost": self.cost,
            "against_never": None if self.against_never is None else self.against_never._asdict(),
            "next_policy": self.next_policy,
            "against_next": None if self.against_next is None else self.against_next._asdict(),
            "waiting_costs": self.waiting_costs,
            "assumption": self.assumption,
            "changes": [change._asdict() for change in self.changes],
        }

    def as_lines(self) -> list[str]:
        """At most five lines, of which the first says what to set."""
        return [
            f"Recommended: {self._what()}",
            *self._costs(),
            *self._times(),
            f"Assumed: {self.assumption}",
            *self._if(),
        ]

    def _what(self) -> str:
        if not self.keeps_up:
            row, every = self.nearest, four_digits(self.conditions.spacing or 0.0)
            return (
                f"no way to send, since the device cannot keep up: a sample comes every {every} ms, and takes "
                f"{four_digits(row.system_time)} ms at best ({row.way})"
            )
        if self.policy == NEVER:
            return "keep every answer on the device; nothing that offloads costs clearly less"
        if self.sent is None:
            row, miss, late = self.nearest, four_digits(self.conditions.miss), self._deadline
            return (
                f"no way to send, since none has at most {miss} of all answers after {late} ms: {row.late:.2%} are "
                f"later if you {row.way}"
            )
        return f"{self._offload()}; {self.sent.way}"

    @property
    def _deadline(self) -> str:
        return four_digits(self.conditions.deadline or 0.0)

    def _offload(self) -> str:
        if self.policy == ALWAYS:
            return "offload every sample"
        if self.policy == LEARNER:
            now = "" if self.threshold is None else f", by now {self.own_threshold or f'θ = {self.threshold:.4f}'}"
            cost = "" if self.beta is None else f" and β = {four_digits(self.beta)}"
            return f"let HIL-F learn θ, with the adaptive rate{cost}{now}"
        return f"offload what is less sure than {self._rule()}"

    def _rule(self) -> str:
        if self.own_threshold:
            return self.own_threshold
        if self.threshold is None:
            return "θ = 1 − β"
        told = " (1 − β, less a share of the price)" if self.conditions.price else " (1 − β)"
        return f"θ = {self.threshold:.4f}" + (told if self.policy == RULE else "")

    def _costs(self) -> list[str]:
        if self.cost is None or self.against_next is None or self.against_never is None:
            return []
        says = f"Cost: {self.cost:.4f} a sample"
        if NEVER not in (self.policy, self.next_policy):
            says += f"; never offloading costs {self.against_never.in_words()}"
        says += f"; the next best, {self.next_policy}, costs {self.against_next.in_words()}"
        if self.waiting_costs is not None and self.sent is not None and abs(self.waiting_costs) >= _SHOWN:
            more = "more" if self.waiting_costs > 0 else "less"
            says += f"; sending this way the learner hears later, which costs {abs(self.waiting_costs):.4f} {more}"
        return [says + self._spent()]

    def _spent(self) -> str:
        """What becomes of the budget on the second half, if there is one."""
        budget = self.conditions.budget
        if budget is None or self.overspent is None:
            return ""
        beyond = f"{abs(self.overspent):.2%} of all samples {'more' if self.overspent > 0 else 'less'} than"
        return f"; offloads {budget + self.overspent:.2%}, {beyond} the budget of {four_digits(budget)}"

    def _times(self) -> list[str]:
        row = self.sent
        if row is None:
            return []
        late = "" if math.isnan(row.late) else f", {row.late:.2%} after {self._deadline} ms"
        cold = ", over a connection that has been idle" if row.cold else ""
        system, response, most = map(four_digits, (row.system_time, row.response_time, row.p95))
        return [
            f"Times: {system} ms of the system a sample; answers after {response} ms on average, 95 of 100 within "
            f"{most} ms{late}{cold}"
        ]

    def _if(self) -> list[str]:
        if not self.changes:
            return []
        said = [(change.what, change.policy, change.send) for change in self.changes]
        same = [what for what, policy, send in said if policy is None and send is None]
        other = [f"{what}: {'; '.join(filter(None, (policy, send)))}" for what, policy, send in said if policy or send]
        return ["What if: " + ". ".join([*other, *([f"the same with {', '.join(same)}"] if same else [])])]


def _plain(row: Sent) -> dict[str, Any]:
    """A way as plain values: None for what is infinite, and for a device that waits."""
    way = row.way
    return {
        "unit": way.unit,
        "size": way.size,
        "longest_wait": _known(way.longest_wait),
        "window": None if way.window is None else ("inf" if way.window == math.inf else way.window),
        "connection": "cold" if row.cold else "warm",
    }


def _known(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def ways_table(rows: list[Sent]) -> pd.DataFrame:
    """A row a way to send, with its times, ms."""
    import pandas as pd

    return pd.DataFrame([{**_plain(row), **row._asdict()} for row in rows]).drop(columns=["way", "cold"])
