"""What the notebooks compute: a folder a notebook, tables as CSV, figures as SVG, single numbers in values.json."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hi_lib import checks
from hi_lib.files import ROOT, write_atomically
from hi_lib.traces import files_read

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

Value = float | int | bool | str | None
"""A number of a notebook, or its like; None where the parameters at hand do not determine it."""
NOT_COMPUTED = "not computed with these parameters"
_PLACE = re.compile(r"\{\{([\w.]+)(?::([^{}]*))?\}\}")


def folder(notebook: str) -> Path:
    """Where a notebook's results go: below $HI_RESULTS, by default `results/` of this project."""
    return Path(os.environ.get("HI_RESULTS") or ROOT / "results") / notebook


@dataclass(frozen=True)
class Published:
    """The numbers of a notebook, for its prose."""

    values: Mapping[str, Value]

    def tell(self, text: str) -> Any:
        """Prose with the numbers of this run: Markdown, for a notebook to show; places as for `filled`."""
        from IPython.display import Markdown

        return Markdown(filled(text.strip(), self.values))


def filled(text: str, values: Mapping[str, Value]) -> str:
    """Text whose places {{name}} and {{name:format}} hold the values of these names.

    Raises
    ------
    ValueError
        A name that is not among them.

    Examples
    --------
    >>> filled("a regret of {{regret:.1f}}, at most {{bound:.0f}}", {"regret": 23.456, "bound": None})
    'a regret of 23.5, at most not computed with these parameters'
    """

    def value(place: re.Match[str]) -> str:
        found = values[checks.choice("value", place[1], values)]
        return NOT_COMPUTED if found is None else format(found, place[2] or "")

    return _PLACE.sub(value, text)


def publish(notebook: str, values: Mapping[str, Value], **tables: pd.DataFrame) -> Published:
    """Write a notebook's numbers and tables; what is nan is not computed.

    Beside them, inputs.json says which files of data/ they come from, each with its sha256.
    """
    plain = {key: _plain(value) for key, value in values.items()}
    for name, table in tables.items():
        write_atomically(folder(notebook) / f"{name}.csv", table.to_csv(index=False))
    for name, content in (("inputs", files_read()), ("values", plain)):
        write_atomically(folder(notebook) / f"{name}.json", json.dumps(content, indent=2) + "\n")
    return Published(plain)


def _plain(value: Any) -> Value:
    found = value.item() if hasattr(value, "item") else value
    return None if found != found else found


def save_figure(notebook: str, name: str, figure: Figure) -> None:
    """Save a figure as SVG among a notebook's results, for a page of prose to show; the notebook does not show it."""
    from hi_book.figures.style import as_svg, narrow_svg, svg_element

    wide, narrow = as_svg(figure), narrow_svg(figure)
    write_atomically(folder(notebook) / f"{name}.svg", wide)
    if narrow:
        write_atomically(folder(notebook) / f"{name}-narrow.svg", svg_element(narrow))


def keep_figures(executed: Path, below: Path) -> None:
    """Write the figures of an executed notebook into a folder, each by the name that its cell's metadata gives it."""
    for cell in json.loads(executed.read_text(encoding="utf-8"))["cells"]:
        name = cell["metadata"].get("mystnb", {}).get("figure", {}).get("name")
        for data in (output.get("data", {}) for output in cell.get("outputs", [])):
            if name and "image/svg+xml" in data:
                write_atomically(below / f"{name}.svg", "".join(data["image/svg+xml"]))


def numbers(notebook: str, below: Path | None = None) -> dict[str, Value]:
    """As `read_values`, of a notebook that has run.

    Raises
    ------
    ValueError
        It has not.
    """
    found = read_values(notebook, below)
    if found is None:
        raise ValueError(f"results of {notebook} are missing: run make book")
    return found


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
