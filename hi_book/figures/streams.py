"""Samples as a device meets them: a trace in several random orders, with the device's times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from hi_book.figures.style import trace_title
from hi_lib import checks
from hi_lib.timing import TimingModel
from hi_lib.traces import Trace, load_trace


@dataclass(frozen=True)
class Stream:
    """Samples in several random orders, the device's times, and β."""

    title: str
    orders: Sequence[Trace]
    timing: TimingModel
    beta: float

    @classmethod
    def of(cls, trace: Trace | str, timing: TimingModel, beta: float, shuffles: int, samples: int) -> Self:
        """A trace, or the one of this name, shuffled so many times; at most so many samples of it."""
        whole = load_trace(trace) if isinstance(trace, str) else trace
        most = checks.whole("samples", samples)
        orders = [whole.shuffled(seed) for seed in range(checks.whole("shuffles", shuffles))]
        heads = [Trace(one.confidence[:most], one.correct[:most], name=whole.name) for one in orders]
        return cls(trace_title(str(whole.name)), heads, timing, beta)
