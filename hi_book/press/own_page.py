"""What `hi evaluate` found, as a page of its own: the recommendation, a figure, and the tables."""

from __future__ import annotations

import html

from hi_book.figures import decide, style
from hi_lib.advise.evaluation import Evaluation
from hi_lib.advise.recommendation import ways_table


def as_html(found: Evaluation) -> str:
    """A page of its own: the recommendation, a figure and both tables, with nothing to load from elsewhere."""
    tables = [
        table.to_html(index=False, float_format=lambda value: f"{value:.4g}", border=0)
        for table in (found.compared.table(), ways_table(found.recommendation.ways))
    ]
    says = "Response time against system time of every way to send, the recommended one marked; cost of each policy."
    with style.house_style():
        drawn = style.as_svg(decide.draw(found))
    body = f"""<p>{"<br>".join(map(html.escape, found.recommendation.as_lines()))}</p>
<div role="img" aria-label="{says}">{drawn}</div>
<h2>Where it comes from</h2>
<pre>{html.escape(found.as_text())}</pre>
<h2>All numbers</h2>
<div>{"".join(tables)}</div>"""
    return page(f"Batch HI on {found.trace}", body)


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
