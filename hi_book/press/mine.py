"""The figures of the book again, on a trace of your own: _build/mine/index.html. The book itself stays as it is."""

from __future__ import annotations

import html
import json
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from hi_book.figures import style
from hi_book.press import notebooks, own_page, places
from hi_book.press.notebooks import BuildError
from hi_lib import checks
from hi_lib.advise.evaluation import evaluate
from hi_lib.files import write_atomically
from hi_lib.logs import keeping, reading
from hi_lib.logs.columns import GUESSED, Columns
from hi_lib.traces import Trace, list_traces, shipped

# Notebooks whose figures are about one trace, and the parameter that names it.
TAKES = {
    "fig2_timing_diagram": "trace",
    "fig3_cost_vs_batch_size": "traces",
    "batch_size_trade_off": "imagenette_trace",
    "regret_bound": "trace_name",
    "sqrt_m_loss": "trace_name",
    "counting_times": "imagenette_trace",
    "count_offloads": "imagenette_trace",
}


def build(
    log: reading.Log,
    notebooks: Iterable[str] = TAKES,
    folder: Path = places.BUILD / "mine",
    progress: notebooks.Progress = print,
) -> Path:
    """Run notebooks on the trace of a log, and gather the figures that it changes on one page.

    Raises
    ------
    ValueError
        The name of a shipped trace; an unknown notebook.
    BuildError
        Pages that could not be made, and why; the others are there.
    """
    trace, name = log.trace, _free_name(log.trace, log.trace.name)
    chosen = [checks.choice("notebook", notebook, TAKES) for notebook in notebooks]
    shutil.rmtree(folder, ignore_errors=True)
    keeping.write(log, folder / "traces" / f"{name}.csv")
    sections, missing = [], []
    for number, notebook in enumerate(chosen, 1):
        progress(f"[{number}/{len(chosen)}] {notebook}")
        try:
            sections.append(_section(notebook, name, folder))
        except BuildError as error:
            missing.append(str(error).splitlines()[0])
            sections.append(_apology(notebook, missing[-1]))
    mine, summary = html.escape(name), html.escape(_summary(log))
    body = f"""<p>Your trace {mine} ({len(trace)} samples) in place of the small model that each figure names. Only
figures that it changes are here. The captions are the book's: where they name a model, read {mine}.</p>
<h2>In short</h2>
<pre>{summary}</pre>
"""
    text = own_page.page(f"The book's figures on {name}", body + "\n".join(sections))
    page = write_atomically(folder / "index.html", text)
    if missing:
        raise BuildError(
            f"{len(missing)} of {len(chosen)} pages could not be made, the others are in {page}: {missing[0]}"
        )
    return page


def with_own_traces(
    notebook: str, parameters: Mapping[str, Any], folder: Path, columns: Columns = GUESSED
) -> tuple[dict[str, Any], dict[str, str], list[str]]:
    """Parameters in which each file that stands for a trace has become the trace of its name, in folder/traces.

    Returns the parameters, what the notebook's kernel needs in its environment, and notes on what was read.
    """
    found, notes, known = dict(parameters), [], list_traces()
    defaults = notebooks.default_parameters(checks.choice("notebook", notebook, notebooks.notebook_names()))
    for name, value in parameters.items():
        default = defaults.get(name)
        takes = default if isinstance(default, list) else [default]
        if not all(isinstance(each, str) for each in takes) or not set(takes) & set(known):
            continue
        items = list(value) if isinstance(value, list) else [value]
        for place, item in enumerate(items):
            if isinstance(item, str) and item not in known and (item == "-" or Path(item).is_file()):
                log = reading.read(item, columns)
                items[place] = _free_name(log.trace, item)
                keeping.write(log, folder / "traces" / f"{items[place]}.csv")
                notes += log.notes
        found[name] = items if isinstance(value, list) else items[0]
    own = folder / "traces"
    return found, {"HI_TRACES": str(own.resolve())} if own.is_dir() else {}, notes


def _free_name(trace: Trace, place: object) -> str:
    if trace.name in shipped():
        raise ValueError(f"{place} has the name of a trace that comes with the project: rename it")
    return str(trace.name)


def _summary(log: reading.Log) -> str:
    return evaluate(log, beta=0.5).as_text()


def _apology(notebook: str, reason: str) -> str:
    """A heading, and why there are no figures below it."""
    title = html.escape(_title(places.NOTEBOOKS / f"{notebook}.ipynb"))
    return f"<h2>{title}</h2>\n<p>This page could not be made on your trace: {html.escape(reason)}</p>"


def _section(notebook: str, trace: str, folder: Path) -> str:
    """A heading and the figures of one notebook."""
    parameter = TAKES[notebook]
    value = [trace] if isinstance(notebooks.default_parameters(notebook)[parameter], list) else trace
    title = html.escape(_title(places.NOTEBOOKS / f"{notebook}.ipynb"))
    notebooks.run_notebook(notebook, {parameter: value}, folder, {"HI_TRACES": str(folder / "traces")})
    published = _figures(places.EXECUTED / f"{notebook}.ipynb")
    changed = [
        f'<figure><div role="img" aria-label="{html.escape(alt)}">{svg}</div>\n'
        f"<figcaption>Caption in the book: {html.escape(re.sub(r'[$*]', '', caption))}</figcaption></figure>"
        for figure, (svg, caption, alt) in _figures(folder / f"{notebook}.ipynb").items()
        if figure not in published or _drawn(svg) != _drawn(published[figure][0])
    ]
    return "\n".join([f"<h2>{title}</h2>", *changed])


def _drawn(svg: str) -> str:
    """A figure without its text, which is drawn in one of two ways."""
    tree = ElementTree.fromstring(svg)  # noqa: S314 (matplotlib wrote it)
    for parent in tree.iter():
        for child in [child for child in parent if child.get("id", "").startswith("text_")]:
            parent.remove(child)
    return ElementTree.tostring(tree, encoding="unicode")


def _title(path: Path) -> str:
    return "".join(_cells(path)[0]["source"]).splitlines()[0].lstrip("# ")


def _figures(path: Path) -> Mapping[str, tuple[str, str, str]]:
    """SVG, caption and alternative text of every figure of an executed notebook, by name; none if it is not there."""
    found = {}
    for cell in _cells(path) if path.is_file() else []:
        figure = cell["metadata"].get("mystnb", {}).get("figure")
        for output in cell.get("outputs", []) if figure else []:
            svg = "".join(output.get("data", {}).get("image/svg+xml", ""))
            if svg:
                alt = cell["metadata"]["mystnb"]["image"]["alt"]
                found[figure["name"]] = (style.svg_element(svg), figure["caption"], alt)
    return found


def _cells(path: Path) -> list[dict[str, Any]]:
    return json.loads(path.read_text(encoding="utf-8"))["cells"]
