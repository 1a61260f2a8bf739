"""What a device keeps on disk while it runs: its learner, to go on after a restart, and the log of what it did."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hi_lib import checks
from hi_lib.files import small_text, write_atomically
from hi_lib.typing import Flags, Samples
from hi_live.link import Delay
from hi_live.log import SAMPLES, TRANSMISSIONS, Log, transmissions_text

EVERY = 1.0  # seconds between two writes


class Kept:
    """The learner on disk: how far it has come in which samples, and all that it knows.

    Parameters
    ----------
    file : Path
    new : HILF, HILN or Apple
        The learner as it would begin.
    order : dict of str to str or int
        What decides which samples come in which order.

    Attributes
    ----------
    learner : HILF, HILN or Apple
        The new one; if there is a file, the one that it keeps, whose open answers are lost.
    first : int
        Number of its first sample in the data.

    Raises
    ------
    ValueError
        Something else than a file of ours is there, or its learner began with other settings, or other samples.
    """

    def __init__(self, file: Path, new: Any, order: dict[str, str | int]) -> None:
        self._file, self._order = file, order
        self.learner, self.first = self._restored(new) if os.path.lexists(file) else (new, 0)
        for number in self.learner.outstanding:
            self.learner.forget(number)

    def write(self, done: int) -> None:
        """Keep the learner after so many samples of this run."""
        held = {"next": self.first + done, **self._order, "learner": self.learner.state()}
        write_atomically(self._file, json.dumps(held))

    def _restored(self, new: Any) -> tuple[Any, int]:
        try:
            held = json.loads(small_text(self._file))
            learner, first = type(new).restore(held["learner"]), checks.whole("next", held["next"], low=0)
            order = {name: held[name] for name in self._order}
        except Exception as error:  # whatever a file may hold, down to brackets without end
            why = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
            raise ValueError(f"{self._file} keeps no {type(new).__name__} learner: {why}") from None
        kept, asked = _settings(learner) | order, _settings(new) | self._order
        if differ := [name for name in asked if kept[name] != asked[name]]:
            name = differ[-1]
            raise ValueError(
                f"{self._file} keeps a learner with {name} {checks.shown(kept[name])}, but the options say "
                f"{checks.shown(asked[name])}: give those with which it began, or another file"
            )
        return learner, first


def _settings(learner: Any) -> dict[str, Any]:
    """What a learner began with; first the learning rate, which may follow from all else."""
    found = learner.state()["settings"]
    return {"learning_rate": found["learning_rate"], **found}


class Growing:
    """A log on disk that grows with the run: whole lines, so that one who is killed leaves what was done by then.

    Samples come in their order, each once its answer and those of all before it are final; transmissions as they end.
    `Log.write` writes both anew at the end.

    Parameters
    ----------
    folder : Path
    correct : callable
        Whether the local answers to samples of the data are right, by the labels.
    delays : dict of int to Delay
        The link's, by number of the transmission.
    """

    def __init__(self, folder: Path, correct: Callable[[Samples], Flags], delays: dict[int, Delay]) -> None:
        self._folder, self._correct, self._delays = folder, correct, delays
        self._samples = self._transmissions = 0  # that are written
        empty = Log.empty(0, 0).samples_text(0, 0, lambda numbers: numbers == 0)
        for name, text in ((SAMPLES, empty), (TRANSMISSIONS, transmissions_text([], {}))):
            write_atomically(folder / name, text)

    def write(self, log: Log, final: int) -> None:
        """Add what has come since, of which the answers to the first so many samples are final."""
        ended = log.transmissions[self._transmissions :]  # first, so that those of all samples are there
        _append(self._folder / TRANSMISSIONS, transmissions_text(ended, self._delays))
        _append(self._folder / SAMPLES, log.samples_text(self._samples, final, self._correct))
        self._samples, self._transmissions = final, self._transmissions + len(ended)


def _append(file: Path, text: str) -> None:
    """Add the lines of a table, without its head, by one call: no other process sees a part of it."""
    lines = text.partition("\n")[2].encode()
    if lines:
        place = os.open(file, os.O_WRONLY | os.O_APPEND)
        try:
            os.write(place, lines)
        finally:
            os.close(place)


class Every:
    """Calls what it is given once a second at most, with what it is told."""

    def __init__(self, *actions: Callable[[int], None]) -> None:
        self._actions, self._next = actions, time.perf_counter() + EVERY

    def __call__(self, done: int) -> None:
        """Call them, if it is time; after so many samples."""
        if time.perf_counter() > self._next:
            for action in self._actions:
                action(done)
            self._next = time.perf_counter() + EVERY
