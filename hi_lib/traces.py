"""Traces: what a small model said about every sample, and whether it was right. All that a learner ever sees."""

from __future__ import annotations

import functools
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hi_lib import checks, files, tables
from hi_lib.files import ROOT, resolved

_PACKED = Path(__file__).parent / "data"  # where a wheel has them
DATA = _PACKED if _PACKED.is_dir() else ROOT / "data"
TRACES = DATA / "traces"
REGISTRY = DATA / "registry.txt"


@dataclass(frozen=True, eq=False, repr=False)
class Trace:
    """A sequence of samples as the learner meets them.

    Parameters
    ----------
    confidence : array-like of shape (n,)
        The S-ML's largest softmax value p_t, in [0, 1].
    correct : array-like of shape (n,)
        1 where the S-ML's prediction was right, else 0 (e_t = 1 - correct).
    lml_correct : array-like of shape (n,), optional
        The same for the L-ML, nan (or None) where it is not known: logs know it for offloaded samples only.
    name : str, optional
        Shown in captions and error messages.
    second_confidence : array-like of shape (n,), optional
        The second largest softmax value, in [0, p_t]; no learner needs it, but a score may be made of the two.

    Raises
    ------
    ValueError
        Empty, not one-dimensional, unequal lengths, a confidence outside [0, 1], a second one above the first,
        correctness that is not 0/1.

    Examples
    --------
    >>> trace = Trace(confidence=[0.9, 0.4, 0.7], correct=[1, 0, 1])
    >>> len(trace), round(trace.accuracy, 3)
    (3, 0.667)
    """

    confidence: NDArray[np.float64]
    correct: NDArray[np.bool_]
    lml_correct: NDArray[np.float64] | None = None
    name: str | None = None
    second_confidence: NDArray[np.float64] | None = None

    def __init__(
        self,
        confidence: ArrayLike,
        correct: ArrayLike,
        lml_correct: ArrayLike | None = None,
        name: str | None = None,
        second_confidence: ArrayLike | None = None,
    ) -> None:
        values = checks.vector("confidence", confidence)
        object.__setattr__(self, "confidence", _frozen(values))
        object.__setattr__(self, "correct", _frozen(checks.flags("correct", correct, values.size)))
        lml = None if lml_correct is None else _frozen(checks.known_flags("lml_correct", lml_correct, values.size))
        object.__setattr__(self, "lml_correct", lml)
        object.__setattr__(self, "name", name)
        second = None if second_confidence is None else _frozen(_below(values, second_confidence))
        object.__setattr__(self, "second_confidence", second)

    def __repr__(self) -> str:
        """One line: its name, how long it is, how right the S-ML."""
        name = "" if self.name is None else f"{self.name!r}, "
        known = "" if self.lml_correct is None else f", L-ML known on {np.isfinite(self.lml_correct).mean():.0%}"
        return f"Trace({name}{len(self)} samples, accuracy={self.accuracy:.3f}{known})"

    def __len__(self) -> int:
        return self.confidence.size

    @property
    def accuracy(self) -> float:
        """Share of samples the S-ML gets right on its own."""
        return float(self.correct.mean())

    @functools.cached_property
    def order(self) -> NDArray[np.intp]:
        """What sorts the samples by confidence, equal ones by time, shape (n,)."""
        return _stable_order(self.confidence)

    @functools.cached_property
    def gaps(self) -> NDArray[np.float64]:
        """Distances between neighbours among 0, the sorted confidences and 1, shape (n + 1,).

        The positive ones are the lengths of the cells of θ on which every loss of this trace is constant: a θ in gap i
        offloads the i least confident samples. Equal confidences have gaps of zero between them.
        """
        return np.diff(self.confidence[self.order], prepend=0.0, append=1.0)

    def shuffled(self, seed: int) -> Trace:
        """The same samples in an order drawn uniformly with the given seed.

        Returns
        -------
        Trace
            Of the same n samples.

        Raises
        ------
        ValueError
            A seed that is none.
        """
        return self.chosen(self.shuffle_order(seed))

    def chosen(self, samples: NDArray[np.intp]) -> Trace:
        """These samples, in this order.

        Parameters
        ----------
        samples : NDArray of int, shape (k,)
            Their places in the trace.

        Returns
        -------
        Trace
            Of k samples, with all that is known of them.

        Raises
        ------
        ValueError
            No sample.

        Examples
        --------
        >>> Trace([0.9, 0.4, 0.7], [1, 0, 1]).chosen(np.array([1, 0])).confidence
        array([0.4, 0.9])
        """
        lml, second = (None if part is None else part[samples] for part in (self.lml_correct, self.second_confidence))
        return Trace(self.confidence[samples], self.correct[samples], lml, self.name, second)

    def shuffle_order(self, seed: int) -> NDArray[np.intp]:
        """The order of `shuffled`, for what else is known of each sample, shape (n,).

        Raises
        ------
        ValueError
            A seed that is none.
        """
        return np.random.default_rng(checks.seed("seed", seed)).permutation(len(self))

    @classmethod
    def from_csv(cls, path: str | os.PathLike[str], name: str | None = None) -> Trace:
        """Read a file with at least the columns `confidence` and `correct`.

        `lml_correct`, with blanks, and `second_confidence` are read where they are there. Any format that `tables.load`
        knows; `hi evaluate` and its like also understand columns of other names.

        Returns
        -------
        Trace

        Raises
        ------
        ValueError
            The file is missing, empty, lacks a column, or holds values that no trace may have; or it is a damaged
            one of data/.
        """
        table = tables.load(path)
        names = table.needed(["confidence", "correct"])
        refuse_damaged(path)
        lml = table.find("lml_correct")
        known = None if lml is None else table.flags(lml, blanks=True)
        try:
            confidence = checks.vector("confidence", table.numbers(names["confidence"]))
            column = table.find("second_confidence")
            second = None if column is None else table.numbers(column)
            return cls(confidence, table.flags(names["correct"]), known, name or Path(path).stem, second)
        except ValueError as error:
            raise ValueError(str(error) if str(error).startswith(str(path)) else f"{path}: {error}") from None


def _stable_order(values: NDArray[np.float64]) -> NDArray[np.intp]:
    """np.argsort(kind="stable") of numbers in [0, 1], several times faster: numpy sorts values faster than indices.

    As an unsigned integer, a positive double sorts as it does itself. Its last bits make room for the sample's index.
    """
    index = np.uint64((1 << max(values.size - 1, 1).bit_length()) - 1)
    keys = (values + 0.0).view(np.uint64)  # + 0.0 makes -0.0 positive
    keys &= ~index
    keys |= np.arange(values.size, dtype=np.uint64)
    keys.sort()
    order = (keys & index).view(np.int64).astype(np.intp, copy=False)
    in_order = values[order]
    if (in_order[1:] < in_order[:-1]).any():
        # Values that differ only in the bits lost stand in order of time: sort those again.
        alike = np.append(False, keys[1:] ^ keys[:-1] <= index)
        alike[:-1] |= alike[1:]
        order[alike] = order[alike][np.argsort(in_order[alike], kind="stable")]
    return order


def checked(trace: object) -> Trace:
    """Return `trace` if it is one."""
    if not isinstance(trace, Trace):
        raise ValueError(f"trace must be a hi_lib.Trace (load_trace gives one), got {checks.shown(trace)}")
    return trace


class Entry(NamedTuple):
    """One line of data/registry.txt."""

    sha256: str
    origin: str


def registry() -> dict[str, Entry]:
    """Every file whose content is pinned: relative name → sha256 and where it comes from."""
    entries = {}
    for number, line in enumerate(checks.text_file(REGISTRY).splitlines(), 1):
        parts = line.split(maxsplit=2)
        if not parts or line.startswith("#"):
            continue
        if len(parts) != 3 or not re.fullmatch("[0-9a-f]{8,64}", parts[0]):
            raise ValueError(f"{REGISTRY}, line {number}: must hold sha256, name and origin, got {checks.shown(line)}")
        entries[parts[1]] = Entry(parts[0], parts[2])
    return entries


def list_traces(own: bool = True) -> list[str]:
    """Names of the project's traces and, unless `own` is False, of those of the user's own.

    Own traces lie in data/own, and in $HI_TRACES if that is set. The book's notebooks leave them out.

    Returns
    -------
    list of str
        In the order of the alphabet.

    Examples
    --------
    >>> "cifar10-resnet8" in list_traces()
    True
    >>> set(list_traces(own=False)) <= set(shipped())
    True
    """
    return sorted(trace_files() if own else trace_files().keys() & set(shipped()))


def own_file(name: str) -> Path:
    """Where a trace of the user's own is kept under this name: in $HI_TRACES if that is set, else in data/own.

    Raises ValueError for a name that is no file name, or that comes with the project, or where there is no folder.
    """
    if not re.fullmatch(r"[^\W_][\w.-]{0,80}", name):
        raise ValueError(f"a trace's name must be letters, digits, dots, - and _, got {checks.shown(name)}")
    if name in shipped():
        raise ValueError(f"{name} is a trace that comes with the project; choose another name for yours")
    if DATA == _PACKED and not os.environ.get("HI_TRACES"):
        raise ValueError("HI_TRACES must name a folder for traces of your own, outside a checkout of the project")
    return _own_folders()[-1] / f"{name}.csv"


def _own_folders() -> list[Path]:
    """Where traces of the user's own are looked for; new ones go to the last of them."""
    chosen = os.environ.get("HI_TRACES")
    return [DATA / "own", *([Path(chosen)] if chosen else [])]


def trace_files() -> dict[str, Path]:
    """Names of all traces, and the file of each."""
    folders = [*_own_folders(), TRACES]  # of two of one name, the later is meant: the project's before any other
    return {path.stem: path for folder in folders for path in folder.glob("*.csv") if path.is_file()}


def shipped() -> list[str]:
    """Names of the traces that came with the project, with a registered hash and a record of their making."""
    return [Path(name).stem for name in registry() if re.fullmatch(r"traces/[^/]*\.csv", name)]


def load_trace(name: str) -> Trace:
    """Load a trace by name (never a path), refusing a shipped file whose hash is not the registered one.

    Returns
    -------
    Trace

    Raises
    ------
    ValueError
        An unknown name, or a shipped file that is damaged.

    Examples
    --------
    >>> load_trace("cifar10-resnet8").confidence.shape
    (10000,)
    """
    if name in shipped():
        path = data_file(f"traces/{name}.csv")
    else:
        checks.choice("trace", name, list_traces())
        path = trace_files()[name]
    folder = "own" if path.parent == DATA / "own" else "traces"
    return _load(path, _noted(f"{folder}/{name}.csv", path))


def record(name: str) -> dict[str, Any]:
    """What the .json beside a trace says of its making; nothing where there is none.

    Raises ValueError for a shipped record whose hash is not the registered one, and for one that is no JSON object.
    """
    if name in shipped():
        path = data_file(f"traces/{name}.json")
    elif name not in trace_files() or not (path := trace_files()[name].with_suffix(".json")).is_file():
        return {}
    try:
        about = json.loads(checks.text_file(path))
    except json.JSONDecodeError:
        about = None
    if not isinstance(about, dict):
        raise ValueError(f"{path} must hold a JSON object: remove it, or make the trace again")
    return about


def name_of_file(path: str | os.PathLike[str]) -> str | None:
    """The name of the trace that this file is, if it is one."""
    place = resolved(path)
    return next((name for name, file in trace_files().items() if file.resolve() == place), None)


@functools.lru_cache(maxsize=16)
def _load(path: Path, _sha256: str) -> Trace:
    """Read a trace once, and again when its file has changed: traces cannot be written to, so they may be shared."""
    return Trace.from_csv(path, path.stem)


def data_file(name: str) -> Path:
    """Path of a file of data/, e.g. "lml/NAME.csv", refused if it is registered with another hash."""
    path = DATA / name
    if not path.is_file():
        raise ValueError(f"{path} is missing: restore it (git checkout)")
    _noted(name, path)
    return path


def files_read() -> dict[str, str]:
    """Every file of data/ that this process has read so far, by its name in the registry, and its sha256."""
    return dict(sorted(_files_read.items()))


_files_read: dict[str, str] = {}


def refuse_damaged(path: str | os.PathLike[str]) -> None:
    """Raise ValueError where a path leads to a shipped file whose hash is not the registered one."""
    if (place := resolved(path)).is_relative_to(DATA):
        data_file(place.relative_to(DATA).as_posix())


def _noted(name: str, path: Path) -> str:
    """Hash of a file that is about to be read; refused if it is registered with another one."""
    entry = registry().get(name)
    _files_read[name] = sha256 = files.sha256(path)
    if entry:
        verify_hash(path, entry.sha256)
    return sha256


def verify_hash(path: Path, sha256: str) -> None:
    """Raise ValueError unless the file has the given hash (or one that begins so, where only that is known)."""
    found = files.sha256(path)
    if not sha256 or not found.startswith(sha256):
        raise ValueError(
            f"{path} has sha256 {found[:12]}…, but {REGISTRY.name} says {sha256[:12]}…: "
            "the file is damaged or was swapped; restore it (git checkout, or fetch it again)"
        )


def _below(confidence: NDArray[np.float64], values: ArrayLike) -> NDArray[np.float64]:
    """Second largest softmax values, each at most the largest one."""
    second = checks.vector("second_confidence", values)
    if second.size != confidence.size:
        raise ValueError(f"second_confidence must hold {confidence.size} values, got {second.size}")
    if (above := second > confidence).any():
        place = int(above.argmax())
        raise ValueError(
            f"second_confidence must be at most confidence, got {second[place]:g} above {confidence[place]:g} "
            f"at position {place}"
        )
    return second


def _frozen(array: NDArray) -> NDArray:  # type: ignore[type-arg]
    copy = array.copy()
    copy.setflags(write=False)
    return copy
