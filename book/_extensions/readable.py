"""A Sphinx extension: pages that can be read with JavaScript off, by keyboard and by a screen reader.

Formulas get MathML beside what MathJax sets, and whatever may scroll sideways can be reached by keyboard. Proofs are
folded, but for those that a page is about, and so is all of a public name's entry but its first paragraph. On a phone
a figure is the one that was drawn for it.
"""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx_proof.nodes import proof_node

_FORMULA = re.compile(
    r'(?<=nohighlight")([^>]*>\s*(?:<span class="eqno">.*?</span>)?)\\([(\[])(.*?)\\[)\]](?=</)', re.DOTALL
)
_FIGURE = re.compile(r'<img [^>]*src="(?P<folder>[^"]*_images/)(?P<name>[^"/]+)\.svg"[^>]*>')
_PHONE = "(max-width: 600px)"
_STACKED = '<span class="hi-stacked"></span>'
_ABOUT_A_PROOF = "notebooks/regret_bound"
_PUBLIC_NAMES = "book/api"
# Formulas lie in scripts, so that no TeX stands in a page's text; MathJax is told to look there, too.
_FIND = """\
if (window.MathJax) window.MathJax.options.renderActions = {
  findInScripts: [11, (page) => {
    for (const script of document.querySelectorAll('script[type^="math/tex"]')) {
      const place = document.createTextNode(""), at = {node: place, delim: "", n: 0};
      const formula = new page.options.MathItem(script.textContent, page.inputJax[0], script.type.endsWith("display"));
      script.replaceWith(place);
      Object.assign(formula, {start: at, end: {...at}});
      page.math.push(formula);
    }
  }, ""],
};"""


def setup(app: Sphinx) -> dict[str, Any]:
    """Tell Sphinx what to do with every page, once its body is there."""
    app.add_js_file(None, body=_FIND, priority=900)  # after Sphinx's own words to MathJax, which starts later
    app.connect("doctree-read", _fold_entries)
    app.connect("html-page-context", _improve)
    app.add_node(Folded, html=(_open_folded, _close_details))
    app.add_node(proof_node, override=True, html=(_open_proof, _close_details))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


class Folded(nodes.General, nodes.Element):
    """What a reader unfolds below the first paragraph of an entry (only HTML is made)."""


def _fold_entries(app: Sphinx, document: nodes.document) -> None:
    if app.env.docname != _PUBLIC_NAMES:
        return
    for entry in list(document.findall(addnodes.desc_content)):  # a class with its members is one entry
        rest = entry.children[1:]
        if rest and not isinstance(entry.parent.parent, addnodes.desc_content | Folded):
            del entry[1:]
            entry += Folded("", *rest)


def _open_folded(translator: Any, _node: Any) -> None:
    translator.body.append('<details class="hi-entry"><summary>Details</summary>')


def _open_proof(translator: Any, _node: Any) -> None:
    shown = " open" if translator.builder.current_docname == _ABOUT_A_PROOF else ""
    translator.body.append(f'<details class="hi-proof"{shown}><summary>Proof</summary>')


def _close_details(translator: Any, _node: Any) -> None:
    translator.body.append("</details>")


def _improve(app: Sphinx, _page: str, _template: str, context: dict[str, Any], _doctree: Any) -> None:
    if "body" in context:
        body = _FORMULA.sub(_both, context["body"])
        body = re.sub(r"<(table|pre)(?![^>]*tabindex)\b", r'<\1 tabindex="0"', body)
        body = _FIGURE.sub(lambda found: _for_phones(app, found), body)
        body = re.sub(r"<figure\b.*?</figure>", _say_where, body, flags=re.DOTALL)
        # Its entries link back, which the role of a list does not allow.
        context["body"] = body.replace('role="list" class="citation-list"', 'class="citation-list"')


def _for_phones(app: Sphinx, found: re.Match[str]) -> str:
    folder, name = found["folder"], found["name"]
    if not Path(app.srcdir, "extra", "_images", f"{name}-narrow.svg").exists():
        return found[0]
    return f'<picture><source media="{_PHONE}" srcset="{folder}{name}-narrow.svg">{found[0]}</picture>'


def _say_where(figure: re.Match[str]) -> str:
    """Captions that tell panels by their sides say on a phone what that means there."""
    picture, _, caption = figure[0].partition("<figcaption>")
    if "<picture>" in picture and re.search(r"\bleft\b", caption, re.IGNORECASE):
        return f"{picture}<figcaption>{caption.replace('</span><a ', _STACKED + '</span><a ', 1)}"
    return figure[0]


def _both(found: re.Match[str]) -> str:
    before, bracket, escaped = found.groups()
    tex, block = html.unescape(escaped), bracket == "["
    script = f'<script type="math/tex{"; mode=display" if block else ""}">{tex}</script>'
    return f"{before}{script}<noscript>{convert(tex, display='block' if block else 'inline')}</noscript>"
