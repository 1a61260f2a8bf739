"""Logs of other people's programs as traces: which column is what, what was guessed, and what looks upside down."""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hi_lib import checks, tables, traces
from hi_lib.logs import clocks, columns, scores
from hi_lib.logs.columns import GUESSED, Columns
from hi_lib.tables import Table
from hi_lib.traces import Trace
from hi_lib.typing import Flags, Floats

_ROUNDING = 1e-4  # what single precision may add to a sum of probabilities, and more than that


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
    """

    trace: Trace
    notes: list[str] = field(default_factory=list)
    offload_probability: Floats | None = None
    arrivals: Floats | None = None
    rows: NDArray[np.intp] | None = None

    def shuffled(self, seed: int) -> Log:
        """The same samples in an order drawn with the given seed; the arrivals stay where they are."""
        share, order = self.offload_probability, self.trace.shuffle_order(seed)
        shuffled = None if share is None else share[order]
        rows = order if self.rows is None else self.rows[order]
        return replace(self, trace=self.trace.shuffled(seed), offload_probability=shuffled, rows=rows)


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
    stem = re.sub(r"\.(csv|tsv|txt|json|jsonl|ndjson|parquet|npz|npy)$", "", re.sub(r"\.gz$", "", Path(path).name))
    return "log" if str(path) == "-" or str(path).startswith(("/dev/", "/proc/")) else stem or "log"


class _Reader:
    """A table, what is asked of it, and notes on what was found."""

    def __init__(self, table: Table, wanted: Columns) -> None:
        self.table, self.wanted = table, wanted
        self.notes: list[str] = []
        self.guessed: dict[str, str] = {}
        self.order: NDArray[np.intp] | None = None

    def log(self, name: str) -> Log:
        matrix = self.matrix()
        likeliest = None if matrix is None else matrix[1]
        correct = self.correct(likeliest)
        confidence = self.confidence(None if matrix is None else matrix[0], correct)
        lml, share, arrivals = self.lml_correct(), self.share(), self.arrivals()
        if self.order is not None:
            confidence, correct = confidence[self.order], correct[self.order]
            lml, share = (None if part is None else part[self.order] for part in (lml, share))
        trace = Trace(confidence, correct, lml, name)
        guessed = ", ".join(f"{option} {column!r}" for option, column in self.guessed.items())
        notes = [f"guessed: {guessed}"] if guessed else []
        return Log(trace, [*notes, *self.notes], share, arrivals, self.order)

    def pick(self, role: str, say: bool = True) -> str | None:
        """The column for a role: the one that is asked for, or the first of the names in NAMES."""
        asked = getattr(self.wanted, role)
        if asked is not None:
            found = self.table.find(asked)
            if found is None:
                option = f"{columns.flag(role)} {checks.shown(asked)}"
                raise ValueError(f"{self.table.name} has no column for {option}; found {self.table.found}")
            return found
        if exact := self.table.find(role):
            return exact
        known = columns.known_as(columns.NAMES[role], self.table.frame.columns)
        if known is not None and say:
            self.guessed[columns.flag(role)] = known
        return known

    def matrix(self) -> tuple[Floats, list[str]] | None:
        """The score of each sample and its likeliest class, from columns with a value for each class."""
        if self.wanted.confidence is not None:
            return None
        for kind in ("probabilities", "logits"):
            asked = getattr(self.wanted, kind)
            found = self.matching(asked or columns.PATTERNS[kind])
            if asked and not found:
                raise ValueError(f"{self.table.name} has no column like {asked}; found {self.table.found}")
            if asked or (len(found) > 1 and not self.has_confidence()):
                if not asked:
                    self.guessed[columns.flag(kind)] = f"{found[0]} … {found[-1]}"
                return self.scored(kind, found)
        if self.wanted.score is not None:
            raise ValueError("--score is for --probabilities or --logits, a column a class; no such columns were found")
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

    def scored(self, kind: str, names: list[str]) -> tuple[Floats, list[str]]:
        values = np.stack([self.table.numbers(column) for column in names], axis=1)
        classes = columns.class_names(names)
        if kind == "logits":
            values = np.exp(values - values.max(axis=1, keepdims=True))
            values /= values.sum(axis=1, keepdims=True)
        elif len(names) == 1:
            self.notes.append(f"{names[0]}: one column, taken for the probability of class 1 of two")
            values, classes = np.concatenate([1 - values, values], axis=1), ["0", "1"]
        self.check_probabilities(values, names)
        score = self.wanted.score or "max"
        return scores.SCORES[score](np.clip(values, 0, 1)), [classes[k] for k in values.argmax(axis=1)]

    def check_probabilities(self, values: Floats, names: list[str]) -> None:
        """Rows that are no probabilities are refused: they may be logits."""
        off = (np.abs(values.sum(axis=1) - 1) > 0.01) | (values < -_ROUNDING).any(axis=1)
        if off.any():
            row = int(off.argmax())
            raise ValueError(
                f"{self.table.where(row)}: {names[0]} … {names[-1]} must add up to 1, got "
                f"{values[row].sum():.4g} ({int(off.sum())} such rows): are they --logits?"
            )

    def correct(self, likeliest: list[str] | None) -> Flags:
        """Whether the S-ML was right."""
        wanted = self.wanted
        compared = wanted.label is not None or wanted.predicted is not None
        if wanted.correct is not None or not compared:
            column = self.pick("correct")
            if column is not None:
                return self.table.flags(column).astype(bool)
        label = self.pick("label")
        predicted = self.pick("predicted") if likeliest is None or wanted.predicted is not None else None
        if label is None or (predicted is None and likeliest is None):
            missing = "label" if compared and label is None else "correct"
            raise ValueError(
                f"{self.table.name} has no column {missing}, nor a label and a prediction: name them with --correct, "
                f"or --label and --predicted; found {self.table.found}"
            )
        if predicted is None:
            return self.class_is_right(label, likeliest or [])
        self.notes.append(f"correct: where {predicted} is {label}")
        return self.same(label, predicted)

    def same(self, label: str, predicted: str) -> Flags:
        """Where two columns hold the same class."""
        found = np.asarray(columns.text(self.table, label) == columns.text(self.table, predicted), dtype=bool)
        if not found.any():
            self.notes.append(f"{predicted} never equals {label}: do both name classes in the same way?")
        return found

    def class_is_right(self, label: str, likeliest: list[str]) -> Flags:
        """Where the likeliest class is that of the label; classes are meant by name, or else by position from 0."""
        truth = columns.text(self.table, label)
        names = columns.class_names(
            self.matching(self.wanted.probabilities or self.wanted.logits or ",".join(columns.PATTERNS.values()))
        )
        if len(names) == 1:
            names = ["0", "1"]
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
        return (truth == np.array(likeliest)).to_numpy(bool)

    def confidence(self, scored: Floats | None, correct: Flags) -> Floats:
        """The score in [0, 1]; what rounding put beyond it is moved to its end, and said."""
        column = None if scored is not None else self.pick("confidence")
        if scored is None and column is None:
            raise ValueError(
                f"{self.table.name} has no column confidence: name it with --confidence, or the probabilities of all "
                f"classes with --probabilities; found {self.table.found}"
            )
        values = self.table.numbers(column) if column else scored
        values, where = np.asarray(values, dtype=float), column or self.wanted.score or "the largest probability"
        if self.wanted.rescale:
            return self.rescaled(values, where, correct)
        values = self.within(values, where, correct)
        if scores.falls(values, correct):
            self.notes.append(
                f"{where} falls as accuracy rises ({scores.halves(values, correct)}): is it an entropy, or another "
                "uncertainty? --rescale turns it round"
            )
        return values

    def within(self, values: Floats, column: str, correct: Flags) -> Floats:
        """Values in [0, 1], and those that only rounding put beyond."""
        off = (values < -_ROUNDING) | (values > 1 + _ROUNDING) | ~np.isfinite(values)
        if off.any():
            row, most = int(off.argmax()), float(np.nanmax(np.abs(values)))
            if 10 < most <= 100 and values.min() >= 0:
                hint = "a percentage? divide by 100"
            elif scores.falls(values, correct):
                hint = "it falls as accuracy rises, as an entropy does: --rescale turns it round"
            else:
                hint = "--rescale maps any score to [0, 1], --logits or --probabilities take a column a class"
            raise ValueError(
                f"{self.table.where(row)}: {column} must be in [0, 1], got {values[row]:.6g} "
                f"({int(off.sum())} such values): {hint}"
            )
        beyond = int(((values < 0) | (values > 1)).sum())
        if beyond:
            extreme = values[np.abs(values - 0.5).argmax()]
            self.notes.append(
                f"{column}: {beyond} of {values.size} values beyond [0, 1] by rounding moved there ({float(extreme)!r})"
            )
        return np.clip(values, 0, 1)

    def rescaled(self, values: Floats, column: str, correct: Flags) -> Floats:
        """Any score, mapped to [0, 1] in a straight line, turned round if it falls as accuracy rises."""
        off = ~np.isfinite(values)
        if off.any():
            raise ValueError(f"{self.table.where(int(off.argmax()))}: {column} must be finite, got {values[off][0]}")
        low, high = float(values.min()), float(values.max())
        if low == high:
            raise ValueError(f"{self.table.name}: {column} is {low:g} everywhere: there is nothing to rescale")
        turned = scores.falls(values, correct)
        ends = (high, low) if turned else (low, high)
        why = "; turned round, since accuracy falls as it rises" if turned else ""
        self.notes.append(f"{column}: {ends[0] + 0:.6g} … {ends[1] + 0:.6g} mapped to 0 … 1{why}")
        return np.clip((values - ends[0]) / (ends[1] - ends[0]), 0, 1)

    def lml_correct(self) -> Floats | None:
        """Whether the L-ML was right, nan where the log does not know."""
        column = self.pick("lml_correct") if self.wanted.lml_predicted is None else None
        if column is not None:
            found = self.table.flags(column, blanks=True)
        else:
            column = self.pick("lml_predicted")
            label = None if column is None else self.pick("label", say=False)
            if column is None or label is None:
                return None
            said = columns.text(self.table, column, blanks=True)
            found = np.where(said.isna(), np.nan, said == columns.text(self.table, label))
            self.notes.append(f"L-ML correct: where {column} is {label}")
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
        """Times of arrival, ms since the first; a log that is not in their order is put into it."""
        column = self.pick("time")
        if column is None:
            return None
        times, unit = clocks.milliseconds(self.table, column)
        if (np.diff(times) < 0).any():
            self.order = np.argsort(times, kind="stable")
            times = times[self.order]
            self.notes.append(f"{column}: the log is not in the order of these times; it was sorted")
        self.notes.append(f"{column}: {unit}; arrivals count from the first one")
        return times - times[0]
