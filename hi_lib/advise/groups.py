"""The recommendation for each part of a log: every device, every hour. What is true of all may be true of none."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from hi_lib import checks
from hi_lib.advise.aligned import aligned
from hi_lib.advise.policies import Comparison
from hi_lib.advise.recommendation import Recommendation
from hi_lib.advise.recommending import from_log
from hi_lib.advise.ways import Conditions
from hi_lib.logs.reading import Log
from hi_lib.timing import TimingModel

MOST = 1000  # every class of ImageNet
_SAYS = {"yes": "HI pays for", "no": "not for", "it depends": "it depends for"}


class Group(NamedTuple):
    """A part of a log: what is recommended for it, and what each policy costs."""

    name: str
    samples: int
    accuracy: float
    recommendation: Recommendation
    compared: Comparison


@dataclass(frozen=True, eq=False)
class Groups:
    """The groups that a column parts a log into.

    Attributes
    ----------
    column : str
    groups : list of Group
    pooled : str
        What the whole log says: "yes", "no" or "it depends".
    """

    column: str
    groups: list[Group]
    pooled: str

    @property
    def note(self) -> str | None:
        """Which groups say what, unless each says what all together do."""
        answers: dict[str, list[str]] = {}
        for group in self.groups:
            answers.setdefault(group.compared.answer, []).append(group.name)
        if set(answers) == {self.pooled}:
            return None
        said = "; ".join(
            f"{says} {checks.one_line(', '.join(answers[answer]), 80)}"
            for answer, says in _SAYS.items()
            if answer in answers
        )
        return f"groups differ: {said}; all together say {self.pooled}, which misleads"

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain values."""
        rows = [
            {
                "group": group.name,
                "samples": group.samples,
                "accuracy": group.accuracy,
                "pays": group.compared.answer,
                "recommendation": group.recommendation.as_dict(),
            }
            for group in self.groups
        ]
        return {"column": self.column, "groups": rows, "note": self.note}

    def as_lines(self) -> list[str]:
        """A row a group, and where they differ."""
        names = list(self.groups[0].compared.policies[self.groups[0].compared.counted])
        rows = [[self.column, "samples", "S-ML", *names, "pays", "recommended", "send"]]
        for group in self.groups:
            costs, found = group.compared.policies[group.compared.counted], group.recommendation
            cells = [f"{costs[name].average_cost:.4f}" if name in costs else "" for name in names]
            send = found.sent.way.short if found.sent and found.pays else ""
            label = checks.one_line(group.name, 30)
            rows.append(
                [label, f"{group.samples}", f"{group.accuracy:.1%}", *cells, group.compared.answer, found.policy, send]
            )
        width = max(len(row[0]) for row in rows)
        rows = [[row[0].ljust(width), *row[1:]] for row in rows]
        lines = [f"cost a sample by {self.column}", *aligned(rows, [0] * len(rows[0]))]
        return [*lines, self.note] if self.note else lines


def by_group(log: Log, beta: float, timing: TimingModel, alpha: float | None, conditions: Conditions) -> list[Group]:
    """Find for each group of a log what to set; none where it is not parted.

    Raises
    ------
    ValueError
        The column parts the log into too many groups to compare.
    """
    if log.groups is None:
        return []
    names = sorted(set(log.groups.names.tolist()), key=_by_number)
    if len(names) > MOST:
        raise ValueError(f"{log.groups.column} has {len(names):,} different values: at most {MOST} groups are compared")
    groups = []
    for name in names:
        samples = np.flatnonzero(log.groups.names == name)
        part = log.chosen(samples)
        found, compared = from_log(part, beta, timing, conditions.chosen(samples), alpha)
        groups.append(Group(name, len(part.trace), part.trace.accuracy, found, compared))
    return groups


def _by_number(name: str) -> tuple[float, str]:
    """Numbers in their order, before all other names."""
    try:
        number = float(name)
    except ValueError:
        return (np.inf, name)
    return (np.inf if math.isnan(number) else number, name)
