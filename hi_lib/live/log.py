"""What happened in a run on the wire: by sample, by transmission, and how the device spent its time."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from hi_lib.files import write_atomically
from hi_lib.live.link import Delay
from hi_lib.typing import Flags, Floats

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
    offloaded, lost : NDArray of shape (n,), bool
        What was sent, and what of it kept the local answer since none came back.
    lml_right, agrees : NDArray of shape (n,)
        Whether the L-ML's answer was right by the label, and whether it is the local one; nan where there is none.
    sizes : list of int
        Samples of each batch.
    spent : Spent
    transmissions : list of Transmission
    stray : int
        Messages that answered nothing: late, twice, of another run, or no reply at all.
    interrupted : bool
        Whether it was stopped before its end; the arrays hold what was done.
    """

    first: int
    started: Floats
    answered: Floats
    confidence: Floats
    offloaded: Flags
    lost: Flags
    lml_right: Floats
    agrees: Floats
    sizes: list[int] = field(default_factory=list)
    spent: Spent = field(default_factory=Spent)
    ended: float = 0.0
    stray: int = 0
    interrupted: bool = False
    transmissions: list[Transmission] = field(default_factory=list)

    @classmethod
    def empty(cls, first: int, n: int) -> Log:
        """Room for so many samples."""
        unknown = np.full((2, n), np.nan)
        times, flags = np.zeros((3, n)), np.zeros((2, n), np.bool_)
        return cls(first, *times, *flags, *unknown)

    @property
    def response_time(self) -> Floats:
        """From the start of a sample's S-ML to its final answer, ms, shape (n,)."""
        return self.answered - self.started

    @property
    def system_time(self) -> float:
        """Time of the run a sample, ms."""
        return self.ended / self.started.size

    def cut(self, n: int) -> None:
        """Keep the first n samples: an interrupted run has no others."""
        for name in ("started", "answered", "confidence", "offloaded", "lost", "lml_right", "agrees"):
            setattr(self, name, getattr(self, name)[:n])

    def write(self, folder: Path, correct: Flags, delays: dict[int, Delay]) -> list[Path]:
        """Write samples.csv, which `hi evaluate` reads, and transmissions.csv; `correct` is the labels' word."""
        by_sample = pd.DataFrame(
            {
                "sample": np.arange(self.first, self.first + self.started.size),
                "confidence": self.confidence,
                "correct": correct.astype(int),
                "lml_correct": pd.array(self.lml_right, dtype="Int64"),
                "lml_agrees": pd.array(self.agrees, dtype="Int64"),
                "offloaded": self.offloaded.astype(int),
                "lost": self.lost.astype(int),
                "started_ms": self.started.round(4),
                "answered_ms": self.answered.round(4),
            }
        )
        by_transmission = pd.DataFrame(self.transmissions, columns=Transmission._fields)
        met = pd.DataFrame([(number, *delay) for number, delay in delays.items()], columns=["number", *Delay._fields])
        by_transmission = by_transmission.merge(met, on="number", how="left").sort_values("number")
        return [
            write_atomically(folder / SAMPLES, by_sample.to_csv(index=False)),
            write_atomically(folder / TRANSMISSIONS, by_transmission.to_csv(index=False, float_format="%.4f")),
        ]
