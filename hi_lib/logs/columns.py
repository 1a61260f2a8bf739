"""Which column of a log is what: as the user says, or by the names that public logs use."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hi_lib import checks
from hi_lib.logs import scores
from hi_lib.tables import Table

if TYPE_CHECKING:
    import pandas as pd

# Names that public logs use; capitals, and what separates the words of a name, do not matter.
NAMES = {
    "confidence": "confidence, sml confidence, device confidence, max probability, max prob, maxprob, max softmax, "
    "softmax max, msp, top1 probability, top1 prob, top 1 confidence, conf, score, probability",
    "second_confidence": "second confidence, sml second confidence, second probability, top2 probability, "
    "top 2 probability, top2 prob, top 2 confidence",
    "correct": "correct, sml correct, is correct, device correct, correctness, hit, right",
    "label": "label, true label, true class, target, ground truth, groundtruth, gt, y true, y, class, labels, targets",
    "predicted": "predicted, sml predicted, sml prediction, predicted label, predicted class, prediction, pred, "
    "pred label, device prediction, y pred, predictions",
    "lml_correct": "lml correct, server correct, cloud correct, edge correct, large correct",
    "lml_predicted": "lml predicted, lml prediction, server prediction, server predicted, cloud prediction, "
    "edge prediction, large prediction",
    "offload_probability": "offload probability, offloading probability, propensity",
    "time": "time, timestamp, arrival, arrival time, arrived, datetime, date, ts, ts sml inference start, time ms, "
    "timestamp ms, arrival ms, time s, timestamp s, arrival s, time us, timestamp us, time ns, timestamp ns",
}
PATTERNS = {"probabilities": "prob*, p_class*, softmax*", "logits": "logit*"}


@dataclass(frozen=True)
class Columns:
    """Which column of a log is what, and how a score is made of them; None is guessed from the names in NAMES.

    An empty text means that the log has no such column, whatever it is called. `probabilities` and `logits` are
    patterns such as "prob_*", for a column a class. `score` says what is taken of them: "max" (the largest), "margin"
    (less the second largest), "entropy" (1 minus it, as a share of the most that it can be) or "regression" (on the two
    largest, fitted where the log is evaluated), for which two columns will do, too. `rescale` maps any other
    score to [0, 1), the surest to `scores.SUREST`. `time_unit` is that of times that are numbers ("ns", "us", "ms",
    "s"), `time_format` is how `strptime` reads those that are text. Where answers are graded, those above
    `correct_above` are right. `by` parts the log into groups, and is never
    guessed.
    """

    confidence: str | None = None
    second_confidence: str | None = None
    correct: str | None = None
    label: str | None = None
    predicted: str | None = None
    lml_correct: str | None = None
    lml_predicted: str | None = None
    probabilities: str | None = None
    logits: str | None = None
    offload_probability: str | None = None
    time: str | None = None
    time_unit: str | None = None
    time_format: str | None = None
    score: str | None = None
    rescale: bool = False
    correct_above: float | None = None
    by: str | None = None

    def __post_init__(self) -> None:
        if self.score is not None:
            checks.choice("score", self.score, (*scores.SCORES, scores.REGRESSION))
        if self.time_unit is not None:
            checks.choice("time_unit", self.time_unit, ("ns", "us", "ms", "s"))
        for one, other in (
            ("correct", "predicted"),
            ("lml_correct", "lml_predicted"),
            ("probabilities", "logits"),
            ("second_confidence", "probabilities"),
            ("second_confidence", "logits"),
            ("time_unit", "time_format"),
        ):
            if getattr(self, one) and getattr(self, other):
                raise ValueError(f"{one} must be left out where {other} is given")
        if self.rescale and self.score == scores.REGRESSION:
            raise ValueError("rescale must be left out where the score is a regression, which is a probability")
        of_all = self.score if self.score != scores.REGRESSION else None
        if self.confidence and (matrix := self.probabilities or self.logits or of_all):
            raise ValueError(f"confidence must be left out where {checks.shown(matrix)} gives the score")


GUESSED = Columns()


def known_as(names: str, columns: Iterable[str]) -> str | None:
    """The column that bears the first of these names, which commas part; of two, the one that stands first."""
    found = {words(column): column for column in reversed(list(columns))}
    return next((found[name] for name in names.split(", ") if name in found), None)


def words(name: object) -> str:
    """The words of a column's name, whatever stands between them."""
    return " ".join(re.findall(r"[^\W_]+", str(name).lower()))


def ending(column: str) -> str:
    """The last word of a column's name, often the number of a class."""
    return re.search(r"[^\W_]*$", column.strip())[0]  # type: ignore[index]


def class_names(columns: list[str]) -> list[str]:
    """What tells the columns apart: their names without the beginning that all share; numbers without zeros ahead.

    Examples
    --------
    >>> class_names(["prob_08", "prob_09", "prob_10"]), class_names(["p_cat", "p_car"])
    (['8', '9', '10'], ['cat', 'car'])
    """
    if len(columns) < 2:
        return columns
    alike = itertools.takewhile(lambda letters: len(set(letters)) == 1, zip(*columns, strict=False))
    shared = "".join(letters[0] for letters in alike)
    begun = re.sub(r"\d+$", "", shared)  # class 10 and 11 do not share their 1
    if not all(column[len(begun) :].isdecimal() for column in columns):
        begun = re.sub(r"[^\W_]+$", "", shared)  # nor "cat" and "car" their "ca"
    names = [column[len(begun) :].strip() for column in columns]
    return [str(int(name)) if name.isdecimal() else name for name in names]


def text(table: Table, column: str, blanks: bool = False) -> pd.Series:
    """The column as text, whole numbers without a decimal point; blanks are nan, or the first one is named."""
    import pandas as pd

    cells = table.frame[column]
    values = cells.dropna()
    if pd.api.types.is_float_dtype(values) and (values == values.round()).all() and (values.abs() < 2**53).all():
        values = values.astype("int64")
    found = values.astype(str).str.strip()
    found = found[found != ""].reindex(cells.index)
    if not blanks:
        table.refuse(column, found.isna().to_numpy(), found, "given")
    return found
