"""What happened in a run on the wire: by sample, by transmission, and how the device spent its time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from hi_lib.files import write_atomically
from hi_lib.typing import Flags, Floats, Samples
from hi_live.link import Delay

SAMPLES, TRANSMISSIONS = "samples.csv", "transmissions.csv"


class Transmission(NamedTuple):
    """One that is over, ms: when it went, its round trip as the device saw it, and what the server said of itself."""

    number: int
    samples: int
    offloads: int
    sent: float
    round_trip: float
    resident: float
    computing: float
    lost: bool


@dataclass
class Spent:
    """Where the device's time went, ms over the whole run; what is left is the framework's own."""

    small: float = 0.0
    learning: float = 0.0
    sending: float = 0.0
    waiting: float = 0.0


@dataclass(eq=False)
class Log:
    """What happened on the device's own clock, ms from the start of the run.

    Attributes
    ----------
    first : int
        Number of the first sample in the data.
    started, answered : NDArray of shape (n,)
        When the S-ML began with a sample, and when its final answer was known.
    confidence : NDArray of shape (n,)
    offloaded, sent, lost : NDArray of shape (n,), bool
        What was to be offloaded; what of it was sent, which nothing is to a server that counts as away; and what of it
        kept the local answer, since it was not sent, no answer came in time, or the answer is unknown.
    lml_right, agrees : NDArray of shape (n,)
        Whether the L-ML's answer was right by the label, and whether it is the local one; nan where there is none.
    sizes : list of int
        Samples of each batch.
    spent : Spent
    transmissions : list of Transmission
    stray : int
        Messages that answered nothing: late, twice, of another run, to other samples, or no reply at all.
    interrupted : bool
        Whether it was stopped before its end; the arrays hold what was done.
    begun : float
        The start of the run by the clock that all processes of a machine have in common, ms.
    """

    first: int
    started: Floats
    answered: Floats
    confidence: Floats
    offloaded: Flags
    sent: Flags
    lost: Flags
    lml_right: Floats
    agrees: Floats
    sizes: list[int] = field(default_factory=list)
    spent: Spent = field(default_factory=Spent)
    ended: float = 0.0
    stray: int = 0
    interrupted: bool = False
    begun: float = 0.0
    transmissions: list[Transmission] = field(default_factory=list)

    @classmethod
    def empty(cls, first: int, n: int) -> Log:
        """Room for so many samples."""
        unknown = np.full((2, n), np.nan)
        times, flags = np.zeros((3, n)), np.zeros((3, n), np.bool_)
        return cls(first, *times, *flags, *unknown)

    @property
    def response_time(self) -> Floats:
        """From the start of a sample's S-ML to its final answer, ms, shape (n,)."""
        return self.answered - self.started

    @property
    def system_time(self) -> float:
        """Time of the run a sample, ms."""
        return self.ended / self.started.size

    @property
    def unanswered(self) -> bool:
        """Whether something was sent, and nothing of it was answered."""
        return bool(self.sent.any()) and not (self.sent & ~self.lost).any()

    def cut(self, n: int) -> None:
        """Keep the first n samples: an interrupted run has no others."""
        for name in ("started", "answered", "confidence", "offloaded", "sent", "lost", "lml_right", "agrees"):
            setattr(self, name, getattr(self, name)[:n])

    def samples_text(self, begin: int, end: int, correct: Callable[[Samples], Flags]) -> str:
        """A table of the samples from `begin` to `end`, as CSV; `correct` is the word of the labels."""
        part = slice(begin, end)
        numbers = np.arange(self.first + begin, self.first + end)
        table = pd.DataFrame(
            {
                "sample": numbers,
                "confidence": self.confidence[part],
                "correct": correct(numbers).astype(int),
                "lml_correct": pd.array(self.lml_right[part], dtype="Int64"),
                "lml_agrees": pd.array(self.agrees[part], dtype="Int64"),
                "offloaded": self.offloaded[part].astype(int),
                "sent": self.sent[part].astype(int),
                "lost": self.lost[part].astype(int),
                "started_ms": self.started[part].round(4),
                "answered_ms": self.answered[part].round(4),
            }
        )
        return table.to_csv(index=False)

    def write(self, folder: Path, correct: Callable[[Samples], Flags], delays: dict[int, Delay]) -> list[Path]:
        """Write samples.csv, which `hi evaluate` reads, and transmissions.csv, in the order of their numbers."""
        ordered = sorted(self.transmissions, key=lambda one: one.number)
        return [
            write_atomically(folder / SAMPLES, self.samples_text(0, self.started.size, correct)),
            write_atomically(folder / TRANSMISSIONS, transmissions_text(ordered, delays)),
        ]


def transmissions_text(transmissions: Sequence[Transmission], delays: dict[int, Delay]) -> str:
    """A table of transmissions, and of what each met on the link, where that is known, as CSV."""
    unknown = (None,) * len(Delay._fields)
    rows = [(*one, *delays.get(one.number, unknown)) for one in transmissions]
    table = pd.DataFrame(rows, columns=[*Transmission._fields, *Delay._fields])
    return table.to_csv(index=False, float_format="%.4f")
