"""Logs of other people's programs as traces: which column is what, what was guessed, and what looks upside down."""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hi_lib import checks, tables, traces
from hi_lib.logs import clocks, columns, scores
from hi_lib.logs.columns import GUESSED, Columns
from hi_lib.logs.scores import Scale
from hi_lib.tables import Table
from hi_lib.traces import Trace
from hi_lib.typing import Flags, Floats

if TYPE_CHECKING:
    import pandas as pd

_ROUNDING = 1e-4  # what single precision may add to a sum of probabilities, and more than that
_BLANK = "(blank)"  # the group of samples that name none


@dataclass(frozen=True, eq=False)
class Log:
    """What a log holds.

    Attributes
    ----------
    trace : Trace
    notes : list of str
        What was guessed, changed, or looks wrong, a line each.
    offload_probability : NDArray of shape (n,) or None
        With which probability each sample was offloaded.
    arrivals : NDArray of shape (n,) or None
        ms since the first sample.
    rows : NDArray of shape (n,) or None
        Which row of the file each sample is; None if they are in its order.
    scale : Scale or None
        What its confidences are if they are no probabilities of being right.
    groups : Groups or None
        The group of each sample, if the log was to be parted.
    regression : bool
        Whether a score shall be made of the two largest softmax values: `regression.out_of_sample` does.
    """

    trace: Trace
    notes: list[str] = field(default_factory=list)
    offload_probability: Floats | None = None
    arrivals: Floats | None = None
    rows: NDArray[np.intp] | None = None
    scale: Scale | None = None
    groups: Groups | None = None
    regression: bool = False

    def shuffled(self, seed: int) -> Log:
        """The same samples in an order drawn with the given seed; the arrivals stay where they are."""
        return replace(self.chosen(self.trace.shuffle_order(seed)), arrivals=self.arrivals)

    def chosen(self, samples: NDArray[np.intp]) -> Log:
        """These samples, in this order."""
        arrivals, groups = _of(self.arrivals, samples), self.groups
        return replace(
            self,
            trace=self.trace.chosen(samples),
            offload_probability=_of(self.offload_probability, samples),
            arrivals=None if arrivals is None else arrivals - arrivals[0],
            rows=samples if self.rows is None else self.rows[samples],
            groups=None if groups is None else Groups(groups.column, groups.names[samples]),
        )


class Groups(NamedTuple):
    """The column that parts a log, and what it says of each sample, shape (n,)."""

    column: str
    names: NDArray[np.str_]


class _Matrix(NamedTuple):
    """What a column a class comes to: score and likeliest class of each sample, all classes, scale, second value."""

    score: Floats
    likeliest: NDArray[np.str_]
    classes: list[str]
    scale: Scale | None
    second: Floats


def _of(values: Floats | None, samples: NDArray[np.intp]) -> Floats | None:
    return None if values is None else values[samples]


def read(path: str | Path, wanted: Columns = GUESSED, name: str | None = None) -> Log:
    """Read a log in any format that `tables.load` knows, whatever its columns are called.

    Correctness comes from a column, or from a label and what was predicted: a column, or the likeliest class.

    Raises
    ------
    ValueError
        The file cannot be read; a column is missing, or there twice; a value that no trace may have, with its line.
    """
    table = tables.load(path)
    if str(path) != "-":
        traces.refuse_damaged(path)
    return _Reader(table, wanted).log(name or name_of(path))


def name_of(path: str | Path) -> str:
    """A trace's name for the file that it comes from; that of a pipe says nothing."""
    stem = re.sub(r"\.(csv|tsv|txt|json|jsonl|ndjson|parquet|npz|npy|xlsx)$", "", re.sub(r"\.gz$", "", Path(path).name))
    return "log" if str(path) == "-" or str(path).startswith(("/dev/", "/proc/")) else stem or "log"


class _Reader:
    """A table, what is asked of it, and notes on what was found."""

    def __init__(self, table: Table, wanted: Columns) -> None:
        self.table, self.wanted = table, wanted
        self.notes: list[str] = []
        self.guessed: dict[str, str] = {}
        self.scale: Scale | None = None
        self.regression = wanted.score == scores.REGRESSION

    def log(self, name: str) -> Log:
        if not len(self.table.frame):
            raise ValueError(f"{self.table.name} must hold at least one sample, got none; found {self.table.found}")
        matrix = self.matrix()
        correct = self.correct(matrix)
        confidence = self.confidence(matrix, correct)
        trace = Trace(confidence, correct, self.lml_correct(), name, self.second(matrix, confidence))
        log = Log(trace, [], self.share(), self.arrivals(), None, self.scale, self.groups(), self.regression)
        guessed = ", ".join(f"{role}={column!r}" for role, column in self.guessed.items())
        return replace(_in_order(log), notes=[*([f"guessed: {guessed}"] if guessed else []), *self.notes])

    def pick(self, role: str, say: bool = True) -> str | None:
        """The column for a role: the one that is asked for, or the first of the names in NAMES."""
        asked = getattr(self.wanted, role)
        if asked is not None:
            return self.named(role, asked) if asked else None
        if exact := self.table.find(role):
            return exact
        known = columns.known_as(columns.NAMES[role], self.table.frame.columns)
        if known is not None and say:
            self.guessed[role] = known
        return known

    def named(self, role: str, asked: str) -> str:
        """The column that is asked for."""
        found = self.table.find(asked)
        if found is None:
            asked_for = f"{role}={checks.shown(asked)}"
            raise ValueError(f"{self.table.name} has no column for {asked_for}; found {self.table.found}")
        return found

    def matrix(self) -> _Matrix | None:
        """What columns with a value for each class say: those that are asked for, or else those that look like it."""
        if self.regression and not (self.wanted.probabilities or self.wanted.logits) and self.pick("second_confidence"):
            return None
        for kind in columns.PATTERNS:
            if asked := getattr(self.wanted, kind):
                if found := self.matching(asked):
                    return self.scored(kind, found)
                raise ValueError(f"{self.table.name} has no column like {asked}; found {self.table.found}")
        if not self.wanted.confidence and not self.has_confidence():
            for kind, patterns in columns.PATTERNS.items():
                found = self.matching(patterns) if getattr(self.wanted, kind) is None else []
                if len(found) > 1:
                    self.guessed[kind] = f"{found[0]} … {found[-1]}"
                    return self.scored(kind, found)
        if self.regression:
            raise ValueError(
                "score regression is for probabilities or logits, a column a class, or for a column second_confidence; "
                f"found {self.table.found}"
            )
        if self.wanted.score is not None:
            raise ValueError("score is for probabilities or logits, a column a class; no such columns were found")
        return None

    def has_confidence(self) -> bool:
        return self.wanted.score is None and self.pick("confidence", say=False) is not None

    def matching(self, patterns: str) -> list[str]:
        """Columns that match any of the patterns, in the order of the numbers at their ends."""
        wanted = [tables.plain(pattern) for pattern in patterns.split(",")]
        found = [
            column
            for column in map(str, self.table.frame.columns)
            if any(fnmatch.fnmatchcase(tables.plain(column), pattern) for pattern in wanted)
        ]
        return sorted(found, key=lambda column: int(columns.ending(column)) if columns.ending(column).isdigit() else -1)

    def scored(self, kind: str, names: list[str]) -> _Matrix:
        values = np.stack([self.table.numbers(column) for column in names], axis=1)
        classes = columns.class_names(names)
        off = ~np.isfinite(values)
        if off.any():
            row, place = map(int, np.argwhere(off)[0])
            raise ValueError(f"{self.table.where(row)}: {names[place]} must be finite, got {values[row, place]}")
        if len(names) == 1:
            what = "probability" if kind == "probabilities" else "logit"
            self.notes.append(f"{names[0]}: one column, taken for the {what} of class 1 of two")
            other = 1 - values if kind == "probabilities" else np.zeros_like(values)
            values, classes = np.concatenate([other, values], axis=1), ["0", "1"]
        if kind == "logits":
            with np.errstate(over="ignore"):  # far apart is far apart
                values = np.exp(values - values.max(axis=1, keepdims=True))
            values /= values.sum(axis=1, keepdims=True)
        self.check_probabilities(values, names)
        score = "max" if self.regression else self.wanted.score or "max"
        within, likeliest = np.clip(values, 0, 1), np.array(classes)[values.argmax(axis=1)]
        found, second = scores.SCORES[score](within), scores.second_largest(within)
        return _Matrix(found, likeliest, classes, scores.scale_of(score, len(classes)), second)

    def check_probabilities(self, values: Floats, names: list[str]) -> None:
        """Rows that are no probabilities are refused: they may be percentages, or logits."""
        sums = values.sum(axis=1)
        off = (np.abs(sums - 1) > 0.01) | (values < -_ROUNDING).any(axis=1)
        if off.any():
            row = int(off.argmax())
            percentages = (np.abs(sums - 100) <= 1).all() and (values >= -_ROUNDING).all()
            raise ValueError(
                f"{self.table.where(row)}: {names[0]} … {names[-1]} must add up to 1, got {sums[row]:.4g} "
                f"({int(off.sum())} such rows): {'a percentage? divide by 100' if percentages else 'are they logits?'}"
            )

    def correct(self, matrix: _Matrix | None) -> Flags:
        """Whether the S-ML was right."""
        wanted = self.wanted
        compared = wanted.label is not None or wanted.predicted is not None
        if wanted.correct is not None or not compared:
            column = self.pick("correct")
            if column is not None and wanted.correct_above is not None:
                return self.graded(column, wanted.correct_above)
            if column is not None:
                return self.table.flags(column).astype(bool)
        if wanted.correct_above is not None:
            raise ValueError(f"{self.table.name} has no column correct whose grades could be above correct_above")
        label = self.pick("label")
        predicted = self.pick("predicted") if matrix is None or wanted.predicted is not None else None
        if label is None or (predicted is None and matrix is None):
            missing = "label" if compared and label is None else "correct"
            raise ValueError(
                f"{self.table.name} has no column {missing}, nor a label and a prediction: name them with "
                f"correct=…, or label=… and predicted=…; found {self.table.found}"
            )
        if predicted is None:
            return self.class_is_right(label, matrix)  # type: ignore[arg-type]
        self.notes.append(f"correct: where {predicted} is {label}")
        truth, said = columns.text(self.table, label), columns.text(self.table, predicted)
        self.name_unlabelled(predicted, said, label, truth)
        found = np.asarray(truth == said, dtype=bool)
        if not found.any():
            self.notes.append(f"{predicted} never equals {label}: do both name classes in the same way?")
        return found

    def graded(self, column: str, above: float) -> Flags:
        """Which grades are above the one that is asked for."""
        grades = self.table.numbers(column)
        least = checks.real("correct_above", above, -np.finfo(float).max, np.finfo(float).max)
        found = grades > least
        self.notes.append(f"correct: where {column} is above {least:g}, {found.mean():.1%} of the samples")
        return found

    def class_is_right(self, label: str, matrix: _Matrix) -> Flags:
        """Where the likeliest class is that of the label; classes are meant by name, or else by position from 0."""
        truth, names = columns.text(self.table, label), matrix.classes
        places = {str(place): name for place, name in enumerate(names)}
        unknown = ~truth.isin(names).to_numpy()
        if unknown.any() and truth.isin(list(places)).all():
            truth, unknown = truth.map(places), unknown & False
        if unknown.any():
            row = int(unknown.argmax())
            raise ValueError(
                f"{self.table.where(row)}: {label} must be one of {checks.one_line(', '.join(names), 100)}, got "
                f"{checks.shown(truth.iloc[row])}: each class needs a column"
            )
        self.notes.append(f"correct: where the likeliest class is {label}")
        self.name_unlabelled("the likeliest class", matrix.likeliest, label, truth)
        return (truth == matrix.likeliest).to_numpy(bool)

    def name_unlabelled(self, what: str, said: ArrayLike, label: str, truth: pd.Series) -> None:
        """Note predicted classes that no label has: both may name classes in different ways."""
        import pandas as pd

        named = pd.Series(np.asarray(said)).dropna()
        strange = named[~named.isin(set(truth))]
        if len(strange):
            names = checks.one_line(", ".join(strange.unique()), 60)
            self.notes.append(
                f"{what}: classes that no {label} has: {names} ({len(strange)} of {len(named)} predictions)"
            )

    def confidence(self, matrix: _Matrix | None, correct: Flags) -> Floats:
        """The score in [0, 1]; what rounding put beyond it is moved to its end, and said."""
        column = None if matrix is not None else self.pick("confidence")
        if matrix is not None:
            values, self.scale, where = matrix.score, matrix.scale, self.wanted.score or "the largest probability"
        elif column is not None:
            values, where = self.table.numbers(column), column
        else:
            raise ValueError(
                f"{self.table.name} has no column confidence: name it with confidence=…, or the probabilities of all "
                f"classes with probabilities=…; found {self.table.found}"
            )
        if self.regression:
            self.notes.append(
                f"score regression: {where} is kept as it is; hi evaluate makes a score of it and the second largest, "
                "fitted on the first half"
            )
        values = self.rescaled(values, where, correct) if self.wanted.rescale else self.within(values, where, correct)
        full = values == 1
        if wrong := int((full & ~correct).sum()):
            self.notes.append(
                f"{where}: {int(full.sum())} of {full.size} scores are exactly 1, {wrong} of them wrong: "
                "no θ in [0, 1] offloads these; rescale=… puts them below 1"
            )
        return values

    def second(self, matrix: _Matrix | None, confidence: Floats) -> Floats | None:
        """The second largest softmax value, where a score is made of it or a trace's own column has it."""
        if matrix is not None:
            return np.minimum(matrix.second, confidence) if self.regression else None
        asked = self.regression or self.wanted.second_confidence
        column = self.pick("second_confidence") if asked else self.table.find("second_confidence")
        if column is None or self.wanted.rescale:
            return None
        values = self.table.numbers(column)
        off = ~((values >= -_ROUNDING) & (values <= confidence + _ROUNDING))
        if off.any():
            row = int(off.argmax())
            says = f"{self.table.where(row)}: {column} must be in [0, {confidence[row]:.6g}], got {values[row]:.6g}"
            if asked:
                raise ValueError(f"{says}: the second largest value lies below the largest")
            self.notes.append(f"{column} is not used: {says}")
            return None
        return np.clip(values, 0, confidence)

    def within(self, values: Floats, column: str, correct: Flags) -> Floats:
        """Values in [0, 1], and those that only rounding put beyond."""
        off = (values < -_ROUNDING) | (values > 1 + _ROUNDING) | ~np.isfinite(values)
        falls = scores.falls(values, correct)
        if off.any():
            row, most = int(off.argmax()), float(np.nanmax(np.abs(values)))
            if 10 < most <= 100 and values.min() >= 0:
                hint = "a percentage? divide by 100"
            elif falls:
                hint = "it falls as accuracy rises, as an entropy does: rescale=… turns it round"
            else:
                hint = "rescale=… maps any score to [0, 1], logits=… or probabilities=… take a column a class"
            raise ValueError(
                f"{self.table.where(row)}: {column} must be in [0, 1], got {values[row]:.6g} "
                f"({int(off.sum())} such values): {hint}"
            )
        if beyond := int(((values < 0) | (values > 1)).sum()):
            extreme = values[np.abs(values - 0.5).argmax()]
            self.notes.append(
                f"{column}: {beyond} of {values.size} values beyond [0, 1] by rounding moved there ({float(extreme)!r})"
            )
        if falls:
            self.notes.append(
                f"{column} falls as accuracy rises ({scores.halves(values, correct)}): is it an entropy, or another "
                "uncertainty? rescale=… turns it round"
            )
        return np.clip(values, 0, 1)

    def rescaled(self, values: Floats, column: str, correct: Flags) -> Floats:
        """Any score, mapped to [0, 1) in a straight line, turned round if it falls as accuracy rises."""
        off = ~np.isfinite(values)
        if off.any():
            raise ValueError(f"{self.table.where(int(off.argmax()))}: {column} must be finite, got {values[off][0]}")
        mapped, scale = scores.rescaled(values, correct, f"{self.table.name}: {column}")
        ends = (scale.at_zero, scale.own(scores.SUREST))
        why = "; turned round, since accuracy falls as it rises" if scale.at_one < scale.at_zero else ""
        self.notes.append(f"{column}: {ends[0] + 0:.6g} … {ends[1] + 0:.6g} mapped to 0 … {scores.SUREST}{why}")
        inner = self.scale or Scale(column, 0.0, 1.0)  # of what was rescaled
        self.scale = Scale(inner.name, inner.own(scale.at_zero), inner.own(scale.at_one), scale.surest)
        return mapped

    def lml_correct(self) -> Floats | None:
        """Whether the L-ML was right, nan where the log does not know."""
        column = self.pick("lml_correct") if not self.wanted.lml_predicted else None
        if column is not None:
            found = self.table.flags(column, blanks=True)
        else:
            column = self.pick("lml_predicted")
            label = None if column is None else self.pick("label", say=False)
            if column is None or label is None:
                return None
            said, truth = columns.text(self.table, column, blanks=True), columns.text(self.table, label)
            found = np.where(said.isna(), np.nan, said == truth)
            self.notes.append(f"L-ML correct: where {column} is {label}")
            self.name_unlabelled(column, said, label, truth)
        unknown = int(np.isnan(found).sum())
        if unknown:
            known_of = f"known on {found.size - unknown} of {found.size} samples"
            self.notes.append(f"{column}: {'blank everywhere, not used' if unknown == found.size else known_of}")
        return None if unknown == found.size else found

    def share(self) -> Floats | None:
        """With which probability each sample was offloaded."""
        column = self.pick("offload_probability")
        if column is None:
            return None
        values = self.table.numbers(column)
        off = (values < 0) | (values > 1)
        if off.any():
            row = int(off.argmax())
            raise ValueError(f"{self.table.where(row)}: {column} must be in [0, 1], got {values[row]:g}")
        return values

    def arrivals(self) -> Floats | None:
        """Times of arrival, ms since the first row; a column that nobody asked for need not be one of times."""
        column, wanted = self.pick("time"), self.wanted
        asked = wanted.time or wanted.time_unit or wanted.time_format
        if column is None:
            if wanted.time_unit or wanted.time_format:
                raise ValueError(f"{self.table.name} has no column time: name it; found {self.table.found}")
            return None
        try:
            times, unit = clocks.milliseconds(self.table, column, wanted.time_unit, wanted.time_format)
        except ValueError as error:
            if asked:
                raise
            self.guessed.pop("time", None)
            self.notes.append(f"{column} is not used, and no arrivals are known: {error}")
            return None
        if (np.diff(times) < 0).any():
            self.notes.append(f"{column}: the log is not in the order of these times; it was sorted")
        self.notes.append(f"{column}: {unit}; arrivals count from the first one")
        return times

    def groups(self) -> Groups | None:
        if self.wanted.by is None:
            return None
        column = self.named("by", self.wanted.by)
        return Groups(column, columns.text(self.table, column, blanks=True).fillna(_BLANK).to_numpy(str))


def _in_order(log: Log) -> Log:
    """The samples in the order of their arrivals, which count from the first one."""
    if log.arrivals is None or (np.diff(log.arrivals) >= 0).all():
        return log
    return log.chosen(np.argsort(log.arrivals, kind="stable"))
