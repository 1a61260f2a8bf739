"""What `hi evaluate` found, as a page of its own: its text, its tables and two figures."""

from __future__ import annotations

import html

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from hi_book.figures import style
from hi_book.figures.style import PLAIN, batch_size_axis
from hi_lib.advise.evaluation import Evaluation
from hi_lib.timing import MODEL_NAMES


def as_html(found: Evaluation) -> str:
    """A page of its own: the text, both tables and two figures, with nothing to load from elsewhere."""
    tables = [
        table.to_html(index=False, float_format=lambda value: f"{value:.4g}", border=0)
        for table in (found.paying.table(), found.runs, found.times)
    ]
    says = (
        "Average cost against batch size, and the objective with its best batch size and its best number of offloads."
    )
    with style.house_style():
        drawn = style.as_svg(_figure(found))
    body = f"""<pre>{html.escape(found.as_text())}</pre>
<div role="img" aria-label="{says}">{drawn}</div>
<h2>The numbers</h2>
<div>{"".join(tables)}</div>"""
    return page(f"Batch HI on {found.trace}", body)


def _figure(found: Evaluation) -> Figure:
    """Average cost, and the objective with its optima, against the batch size."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.6, 3.2), layout="constrained")
    sizes = found.runs["batch_size"]
    left.plot(sizes, found.runs["average_cost"], "o-", ms=4, color="#0072B2")
    left.axhline(found.best.average_cost, color="#333333", lw=0.9, ls="--")
    left.set(ylim=(0, None), title="average cost; dashed: best fixed threshold")
    for model, colour in {"paper": "#333333", "average": "#D55E00"}.items():
        best = found.optima[model]
        grid = np.arange(1, min(4 * max(64, sizes.max()), 4096) + 1)
        curve = found.timing.objective(grid, found.offload_ratio, found.alpha, model)
        right.plot(grid, curve, color=colour, label=f"{MODEL_NAMES[model]}: M* = {best.integer:g}")
        if best.integer <= grid[-1]:
            right.plot(best.integer, best.objective, "o", ms=5, color=colour)
    right.set(title=f"objective f (ms), α = {found.alpha:g}", yscale="log")
    right.yaxis.set_major_formatter(PLAIN)
    best_run = found.learner_best
    label = f"the learner on this trace: M* = {best_run.batch_size}"
    right.plot(found.times["batch_size"], found.times["objective_run"], "o-", ms=3, color="#0072B2", label=label)
    pending = found.offloads.model
    grid = np.arange(1, 65)
    curve = found.timing.objective(grid, found.offload_ratio, found.alpha, unit="offloads")
    right.plot(grid, curve, color="#CC79A7", label=f"sent after m offloads: m* = {pending.integer:g}")
    if pending.integer <= grid[-1]:
        right.plot(pending.integer, pending.objective, "o", ms=5, color="#CC79A7")
    right.legend(fontsize=7, frameon=False)
    for axis in (left, right):
        batch_size_axis(axis, [4**k for k in range(7)])
    right.set_xlabel("batch size M, or offloads m")
    return figure


def page(title: str, body: str) -> str:
    """A page of HTML that needs nothing else; `body` is HTML, `title` is not."""
    return _PAGE.format(title=html.escape(title), body=body)


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 56rem; margin: 2rem auto; padding: 0 1rem; }}
pre, div {{ overflow-x: auto; }}
figure {{ margin: 1.5rem 0; }}
svg {{ max-width: 100%; height: auto; background: white; }}
td, th {{ padding: 0.2rem 0.7rem; text-align: right; }}
@media (prefers-color-scheme: dark) {{ body {{ background: #121212; color: #ddd; }} }}
</style>
</head>
<body>
<h1>{title}</h1>
{body}
</body>
</html>
"""
