"""What the notebooks compute: a folder a notebook, tables as CSV, single numbers in values.json."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from hi_lib import checks
from hi_lib.files import ROOT, write_atomically
from hi_lib.traces import files_read

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

Value = float | int | bool | str


def folder(notebook: str) -> Path:
    """Where a notebook's results go: below $HI_RESULTS, by default `results/` of this project."""
    return Path(os.environ.get("HI_RESULTS") or ROOT / "results") / notebook


def publish(notebook: str, values: Mapping[str, Value], **tables: pd.DataFrame) -> None:
    """Write a notebook's numbers and tables, and glue the numbers, so that prose anywhere in the book can use them.

    Beside them, inputs.json says which files of data/ they come from, each with its sha256.
    """
    from myst_nb import glue

    plain = {key: value.item() if hasattr(value, "item") else value for key, value in values.items()}
    for name, table in tables.items():
        write_atomically(folder(notebook) / f"{name}.csv", table.to_csv(index=False))
    for name, content in (("inputs", files_read()), ("values", plain)):
        write_atomically(folder(notebook) / f"{name}.json", json.dumps(content, indent=2) + "\n")
    for key, value in plain.items():
        glue(key, value, display=False)


def save_figure(notebook: str, name: str, figure: Figure) -> None:
    """Save a figure as SVG among a notebook's results, for a page of prose to show; the notebook does not show it."""
    from hi_lib.figures.style import as_svg

    write_atomically(folder(notebook) / f"{name}.svg", as_svg(figure))


def read_values(notebook: str, below: Path | None = None) -> dict[str, Value] | None:
    """Single numbers of a notebook, from a folder of results if not the usual one; None if it has not run."""
    path = (below / notebook if below else folder(notebook)) / "values.json"
    if not path.is_file():
        return None
    try:
        found = json.loads(checks.text_file(path))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ValueError(f"{path} must hold names and values as JSON, and does not: delete it, and run make book")
    return found
