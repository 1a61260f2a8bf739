"""Under every figure: which notebook made it, from which data, with which parameters, and how to make it again."""

from __future__ import annotations

import ast
import html
import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FIRST_SCREEN = "first-screen"  # the tag of cells that a reader sees first
_SHOWN = 12  # digits of a hash
_FOLDED = {"hide-input", "hide-cell", "remove-input", "remove-cell"}  # tags of cells whose code is not shown at once


def add(notebook: Path, results: Path) -> tuple[str, str]:
    """Put a note below every figure of an executed notebook, and its data at the end, in place.

    Returns the note, and what `differing` says. `results` is the folder that `results.publish` filled, next to the one
    that holds the notebook.
    """
    content = json.loads(notebook.read_text(encoding="utf-8"))
    inputs = json.loads((results / "inputs.json").read_text(encoding="utf-8"))
    own, injected = (parameters(content["cells"], tag) for tag in ("parameters", "injected-parameters"))
    other = differing(own, injected)
    note = _note(notebook.stem, own, injected, inputs, html.escape(other, quote=False))
    cells = []
    for cell in first_screen(content["cells"]):
        cells.append(_folded(cell, notebook.stem))
        if "figure" in cell["metadata"].get("mystnb", {}):
            cells.append(_markdown(note, len(cells)))
    tables = [path.name for path in sorted(results.iterdir()) if path.suffix in (".csv", ".json")]
    links = ", ".join(f"{{download}}`{name} <../{results.parent.name}/{results.name}/{name}>`" for name in tables)
    content["cells"] = [*cells, _markdown(f"The data behind this page: {links}.", len(cells))]
    notebook.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return note, other


def _folded(cell: dict[str, Any], name: str) -> dict[str, Any]:
    """A cell of the lab, parameters or code, one click away; any other as it is."""
    tags = cell["metadata"].get("tags", [])
    if cell["cell_type"] != "code" or _FOLDED.intersection(tags):
        return cell
    prompt = "The code that computes this page"
    if {"parameters", "injected-parameters"}.intersection(tags):
        prompt = f"The parameters of this page: hi run {name} -p NAME=VALUE makes it with others"
    shown = {"code_prompt_show": prompt, "code_prompt_hide": prompt}
    metadata = cell["metadata"] | {"tags": [*tags, "hide-input"], "mystnb": cell["metadata"].get("mystnb", {}) | shown}
    return cell | {"metadata": metadata}


def first_screen(cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Cells in the order of the page: those tagged so stand behind the title, though others compute them first."""
    above = [cell for cell in cells[1:] if FIRST_SCREEN in cell["metadata"].get("tags", [])]
    return [*cells[:1], *above, *(cell for cell in cells[1:] if cell not in above)]


def parameters(cells: list[dict[str, Any]], tag: str = "parameters") -> dict[str, Any]:
    """Names and values that the cells with this tag set: "parameters", or papermill's "injected-parameters"."""
    tagged = ["".join(cell["source"]) for cell in cells if tag in cell["metadata"].get("tags", [])]
    return {
        target.id: ast.literal_eval(line.value)
        for line in ast.parse("\n".join(tagged)).body
        if isinstance(line, ast.Assign)
        for target in line.targets
        if isinstance(target, ast.Name)
    }


def differing(own: Mapping[str, Any], given: Mapping[str, Any]) -> str:
    """Which parameters a notebook ran with instead of its own, which its text describes; "" if none."""
    others = [(name, value) for name, value in given.items() if value != own[name]]
    return "; ".join(f"{name} = {json.dumps(value)} instead of {json.dumps(own[name])}" for name, value in others)


def _note(name: str, own: dict[str, Any], injected: dict[str, Any], inputs: dict[str, str], other: str) -> str:
    settings = "; ".join(f"{each} = {json.dumps(value)}" for each, value in (own | injected).items())
    given = [f"{each}={json.dumps(value)}" for each, value in injected.items()]
    command = shlex.join([".venv/bin/hi", "run", name, *(part for value in given for part in ("-p", value))])
    data = "; ".join(f"{file} <code title={sha256}>{sha256[:_SHOWN]}</code>" for file, sha256 in inputs.items())
    rows = {
        "Made by": f"<code>notebooks/{name}.ipynb</code>",
        "Data and sha256": data or "none: it is computed from the parameters",
        "Parameters": html.escape(settings, quote=False),
        "Again": f"<code>{html.escape(command, quote=False)}</code>",
    }
    body = "".join(f"<dt>{title}</dt><dd>{text}</dd>" for title, text in rows.items())
    folded = f'<details class="hi-provenance"><summary>How this figure was made</summary><dl>{body}</dl></details>'
    return f'<p class="hi-changed">Not as text and caption say, but with {other}.</p>\n{folded}' if other else folded


def _markdown(text: str, number: int) -> dict[str, Any]:
    return {"cell_type": "markdown", "metadata": {}, "source": text, "id": f"note-{number}"}
