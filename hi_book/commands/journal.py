"""A sweep into a file: finished runs are noted beside it as they come, and survive whatever happens to the program."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Callable, Iterable, Sequence
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hi_lib.files import writable, write_atomically
from hi_lib.studies.sweeps import MEASURED, REAL, sweep
from hi_lib.traces import Trace

if TYPE_CHECKING:
    import pandas as pd


class Journal:
    """Rows of finished tasks, a line each, by the key that says what computed them from what."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> dict[str, list[Any]]:
        """What earlier runs noted; a line that was cut short or damaged does not count."""
        found: dict[str, list[Any]] = {}
        if not os.path.lexists(self._path):
            return found
        with self._opened("rb") as file:
            lines = file.read().decode(errors="replace").splitlines()
        for line in lines:
            with contextlib.suppress(ValueError, TypeError, RecursionError):
                key, rows = json.loads(line)
                if isinstance(key, str) and all(_is_row(row) for row in rows):
                    found[key] = rows
        return found

    def note(self, key: str, rows: list[Any]) -> None:
        """Append one task by one write: what is in the file already is never touched."""
        with self._opened("ab") as file:
            try:
                file.write(b"\n" + json.dumps([key, rows]).encode() + b"\n")  # after a line that was cut short, too
            except OSError as error:
                raise ValueError(f"{self._path} cannot be written: {error.strerror}") from None

    def remove(self) -> None:
        """Forget everything."""
        self._path.unlink(missing_ok=True)

    def _opened(self, mode: str) -> FileIO:
        """The file without a buffer; a link in its place, which somebody else may have put there, is refused."""
        try:
            return FileIO(self._path, mode, opener=lambda path, flags: os.open(path, flags | os.O_NOFOLLOW, 0o644))
        except OSError as error:
            hint = ": it is a link; remove it" if error.errno == errno.ELOOP else f": {error.strerror}"
            raise ValueError(f"the sweep's journal {self._path} cannot be used{hint}") from None


def sweep_to(
    path: Path,
    traces: Sequence[str | Trace],
    betas: Iterable[float],
    batch_sizes: Iterable[int],
    learning_rates: Iterable[str | float],
    seeds: Iterable[int],
    *,
    learners: Iterable[str] = ("hil-f",),
    real_lml: bool = False,
    jobs: int = -1,
    scheduler: str | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> pd.DataFrame:
    """Run a sweep into a CSV, through a journal beside it; errors become rows. Arguments as for `sweep`."""
    target = writable(path)
    journal = Journal(target.with_name(f".{target.name[:200]}.journal"))
    table = sweep(
        traces,
        betas,
        batch_sizes,
        learning_rates,
        seeds,
        learners=learners,
        real_lml=real_lml,
        keep_errors=True,
        jobs=jobs,
        scheduler=scheduler,
        journal=journal,
        advance=advance,
    )
    if (table["error"] != "").all():
        journal.remove()
        raise ValueError(f"every run was refused, the first since {table['error'].iloc[0]}")
    write_atomically(path, table.to_csv(index=False))
    journal.remove()
    return table


def _is_row(row: Any) -> bool:
    if not isinstance(row, list) or len(row) not in (len(MEASURED) + 1, len([*MEASURED, *REAL]) + 1):
        return False
    return all(type(value) in (int, float) for value in row[:-1]) and isinstance(row[-1], str)
