"""Both models of a trace, played back: they take their time, and answer what they answered when the trace was made."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from hi_lib import checks
from hi_lib.traces import Trace
from hi_lib.typing import Bytes, Flags, Samples


class ReplayedSmall:
    """The S-ML of a trace, which takes as long as a real one would compute.

    A trace knows only who is right. Where S-ML and L-ML are both wrong, they are taken to disagree.

    Parameters
    ----------
    trace : Trace
    tau_ed : float
        ms an image.
    image_bytes : int
        Size of an image that is sent.
    busy : bool
        Whether it computes for that time, rather than sleep.
    """

    def __init__(self, trace: Trace, tau_ed: float, image_bytes: int, busy: bool = False) -> None:
        self._trace, self._seconds, self._busy = trace, checks.nonnegative("tau_ed", tau_ed) / 1000, busy
        self._image = bytes(checks.whole("image_bytes", image_bytes, low=0))

    def classify(self, sample: int) -> float:
        """The trace's confidence."""
        _spend(self._seconds, self._busy)
        return float(self._trace.confidence[sample])

    def image(self, sample: int) -> bytes:
        """As many bytes as an image has: all are alike."""
        del sample
        return self._image

    def correct(self, samples: Samples) -> Flags:
        """As the trace says."""
        return self._trace.correct[samples]

    def lml_correct(self, samples: Samples, answers: Samples) -> Flags:
        """The L-ML of a trace answers 1 where it is right."""
        del samples
        return answers == 1

    def agrees(self, samples: Samples, answers: Samples) -> Flags:
        """Both are right."""
        return self.correct(samples) & (answers == 1)


class ReplayedLarge:
    """The L-ML of a trace, which takes as long as a real one would compute, and answers 1 where it is right.

    Parameters
    ----------
    trace : Trace
        Where nothing is known of an L-ML, it is always right, as the paper's.
    tau_es : float
        ms an image.
    busy : bool
        Whether it computes for that time, rather than sleep.
    """

    def __init__(self, trace: Trace, tau_es: float, busy: bool = False) -> None:
        self._right = np.ones(len(trace), int) if trace.lml_correct is None else (trace.lml_correct != 0).astype(int)
        self._seconds, self._busy = checks.nonnegative("tau_es", tau_es) / 1000, busy

    def answers(self, samples: Sequence[int], images: Sequence[Bytes]) -> list[int]:
        """1 where the L-ML is right; a sample that the trace does not hold is answered 0."""
        _spend(self._seconds * len(images), self._busy)
        return [int(self._right[sample]) if sample < self._right.size else 0 for sample in samples]


def _spend(seconds: float, busy: bool) -> None:
    """Let time pass: asleep, or at work on one core, where others that want it come too short."""
    if not busy:
        time.sleep(seconds)
        return
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass
