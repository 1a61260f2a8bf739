"""Does HI pay in each part of a log: on every device, in every hour? What is true of all may be true of none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from hi_lib import checks
from hi_lib.advise.aligned import aligned
from hi_lib.advise.paying import ALWAYS, ASSUMED, FITTED, NEVER, Comparison, compare
from hi_lib.advise.planning import Conditions, plan
from hi_lib.logs.reading import Log
from hi_lib.studies.best_batch import best_batch_size
from hi_lib.timing import TimingModel

MOST = 1000  # every class of ImageNet
_SAYS = {"yes": "HI pays for", "no": "not for", "it depends": "it depends for"}


class Group(NamedTuple):
    """A part of a log: the recommended batch size, if there is one, and what each way to decide costs."""

    name: str
    samples: int
    accuracy: float
    batch_size: int | None
    paying: Comparison


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
            answers.setdefault(group.paying.answer, []).append(group.name)
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
                "batch_size": group.batch_size,
                "verdict": group.paying.verdict,
                "costs": group.paying.table().to_dict("records"),
            }
            for group in self.groups
        ]
        return {"column": self.column, "groups": rows, "note": self.note}

    def as_lines(self) -> list[str]:
        """A row a group, and where they differ."""
        lml_is = self.groups[0].paying.known[-1]
        rule = ["1 − β"] if self.groups[0].paying.scale is None else []
        rows = [[self.column, "samples", "S-ML", "never", "always", *rule, "fitted θ", "learner", "M", "pays"]]
        for group in self.groups:
            counted = lml_is if lml_is in group.paying.costs else ASSUMED
            costs = group.paying.costs[counted]
            ways = [NEVER, ALWAYS, *(way for way in group.paying.judged if way not in (FITTED, group.paying.learner))]
            cells = [f"{costs[way].average_cost:.4f}" if way in costs else "" for way in [*ways, FITTED]]
            size = "" if group.batch_size is None else f"{group.batch_size}"
            learner = f"{costs[group.paying.learner].average_cost:.4f}"
            rows.append(
                [
                    checks.one_line(group.name, 30),
                    *(f"{group.samples}", f"{group.accuracy:.1%}", *cells, learner, size, group.paying.answer),
                ]
            )
        label = max(len(row[0]) for row in rows)
        rows = [[row[0].ljust(label), *row[1:]] for row in rows]
        lines = [f"average cost by {self.column}, the L-ML {lml_is}", *aligned(rows, [0] * len(rows[0]))]
        return [*lines, self.note] if self.note else lines


def by_group(log: Log, beta: float, timing: TimingModel, alpha: float | None, conditions: Conditions) -> list[Group]:
    """Find for each group of a log the batch size, and what each way to decide costs; none where it is not parted.

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
        part, around = log.chosen(samples), conditions.chosen(samples)
        if around.given:
            size = plan(part.trace, beta, timing, alpha, around).batch_size
        else:
            size = best_batch_size(part.trace, timing, beta, 0.5 if alpha is None else alpha).batch_size
        groups.append(Group(name, len(part.trace), part.trace.accuracy, size, compare(part, beta, size or 1)))
    return groups


def _by_number(name: str) -> tuple[float, str]:
    """Numbers in their order, before all other names."""
    try:
        return (float(name), name)
    except ValueError:
        return (np.inf, name)
