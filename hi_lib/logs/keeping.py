"""A log that is kept as a trace of the user's own, with a record of where it came from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from hi_lib import files, traces
from hi_lib.logs import reading
from hi_lib.logs.columns import Columns


class Kept(NamedTuple):
    """Where the trace is now, and what was read."""

    path: Path
    samples: int
    accuracy: float
    notes: list[str]


def keep(log: Path, name: str, columns: Columns) -> Kept:
    """Write a log as a trace that `hi.load_trace(name)` finds, and a .json beside it that says where it came from.

    Raises
    ------
    ValueError
        A name that is no file name, that comes with the project, or that another trace has already.
    """
    path = traces.own_file(name)
    read = reading.read(log, columns, name)
    if path.exists() and path.read_text(encoding="utf-8") != as_csv(read):
        raise ValueError(f"{path} is another trace already: remove it first, or choose another name")
    write(read, path)
    about = {"trace": name, "samples": len(read.trace), "accuracy": read.trace.accuracy, "log": log.name}
    about |= {"log_sha256": files.sha256(log)} if log.is_file() else {}
    files.write_atomically(path.with_suffix(".json"), json.dumps(about | {"notes": read.notes}, indent=1) + "\n")
    return Kept(path, len(read.trace), read.trace.accuracy, read.notes)


def write(log: reading.Log, path: Path) -> Path:
    """Write a log as a trace that notebooks and commands read."""
    return files.write_atomically(path, as_csv(log))


def as_csv(log: reading.Log) -> str:
    """A log as a table whose columns have the names of a trace."""
    import pandas as pd

    trace = log.trace
    columns = {"confidence": trace.confidence, "correct": trace.correct.astype(int)}
    table = pd.DataFrame(columns)
    if trace.second_confidence is not None:
        table.insert(1, "second_confidence", trace.second_confidence)
    if trace.lml_correct is not None:
        table["lml_correct"] = pd.array(trace.lml_correct, dtype="Int64")
    for name, values in (("offload_probability", log.offload_probability), ("time_ms", log.arrivals)):
        if values is not None:
            table[name] = values
    return table.to_csv(index=False)
