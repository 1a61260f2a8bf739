"""The published book in a real browser: no outside request, no script error, maths typeset, nothing overflows.

It is also read without JavaScript, from a file, below another path, by a screen reader's rules, and as paper.
"""

import functools
import inspect
import itertools
import json
import re
import subprocess
import sys
import urllib.parse
from pathlib import Path
from types import FunctionType

import axe_playwright_python
import pytest
from bs4 import BeautifulSoup
from conftest import sample

import hi_lib as hi
from hi_book.press import book, places
from hi_lib import files, traces

PAGES = sorted(
    str(path.relative_to(places.HTML)) for path in places.HTML.glob("*/*.html") if "_" not in path.parts[-2][:1]
)
# `make test-slow` opens all.
OPENED = [
    ("book/intro.html", "desktop"),
    ("notebooks/decide.html", "phone"),
    ("notebooks/which_learner.html", "phone"),
]
SIZES = {"desktop": (1280, 900, "light"), "phone": (390, 844, "dark")}
AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js").read_text(encoding="utf-8")
PRINTER = places.ROOT / "tools" / "pdf.py"


def test_the_book_has_every_page():
    chapters = re.findall(r"(?:root|file): (\S+)", (places.PAGES / "_toc.yml").read_text())
    assert PAGES, "run make book first"
    assert set(PAGES) == {f"{chapter}.html" for chapter in chapters}
    assert 10 <= len(PAGES) <= 29


def test_pages_hold_nothing_of_this_machine():
    for path in places.HTML.rglob("*"):
        if path.suffix in (".html", ".ipynb", ".txt", ".json", ".csv") or path.name == "searchindex.js":
            text = path.read_text(encoding="utf-8")
            assert str(places.ROOT) not in text, path
            assert not re.search(r"/(root|home|tmp|Users)/\w", text), path


@pytest.mark.parametrize(("page", "size"), sample(itertools.product(PAGES, SIZES), OPENED))
def test_a_page_loads_whole(page, size, site, browser):
    width, height, scheme = SIZES[size]
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    tab = context.new_page()
    outside, errors = [], []

    def guard(route):
        if route.request.url.startswith((site, "data:", "blob:")):
            route.continue_()
        else:
            outside.append(route.request.url)
            route.abort()

    tab.route("**/*", guard)
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.on("response", lambda response: errors.append(response.url) if response.status >= 400 else None)
    tab.goto(site + page, wait_until="networkidle")
    tab.wait_for_function("!document.querySelector('.math') || document.querySelector('mjx-container')")
    facts = tab.evaluate(
        """() => ({
          unset: [...document.querySelectorAll('.math')].filter(m => !m.querySelector('mjx-container')).length,
          wrong: document.querySelectorAll('mjx-merror').length,
          blank: [...document.querySelectorAll('article img')].filter(i => !i.naturalWidth).length,
          mute: [...document.querySelectorAll('article img')].filter(i => !i.alt).map(i => i.src),
          width: document.documentElement.scrollWidth,
          text: document.querySelector('article').innerText,
        })"""
    )
    tab.evaluate(AXE)
    faults = tab.evaluate("() => axe.run({exclude: ['mjx-container']}, {resultTypes: ['violations'], preload: false})")[
        "violations"
    ]
    context.close()
    assert [fault["id"] for fault in faults if fault["impact"] in ("serious", "critical")] == []
    assert outside == []
    assert errors == []
    assert (facts["unset"], facts["wrong"], facts["blank"], facts["mute"]) == (0, 0, 0, [])
    assert facts["width"] <= width
    assert len(facts["text"]) > 300
    # Markup that was not understood would stand in the text.
    for leftover in ("{glue", "{{", "{numref", "{doc}", "{cite", ":::", "```", "Traceback"):
        assert leftover not in facts["text"]


@functools.cache
def parsed(page):
    return BeautifulSoup((places.HTML / page).read_text(encoding="utf-8"), "html.parser")


@functools.cache
def names(page):
    """What a link may lead to; "top" always exists."""
    known = (element.get(kind) for element in parsed(page).find_all(True) for kind in ("id", "name"))
    return {"top", *filter(None, known)}


def targets(page):
    """Where the page's links and pictures lead, but for other sites."""
    for element in parsed(page).find_all(True):
        for name in ("href", "src"):
            if element.get(name) and not re.match(r"(https?|data|mailto):", element[name]):
                yield element[name]


@pytest.mark.uncounted
@pytest.mark.parametrize("page", [*PAGES, "index.html", "search.html", "genindex.html"])
def test_every_link_leads_somewhere(page):
    for target in targets(page):
        path, _, fragment = urllib.parse.unquote(target).partition("#")
        path = path.partition("?")[0]
        assert not path.startswith("/"), f"{target} would leave a book that is served below another path"
        file = (places.HTML / page).parent / path if path else places.HTML / page
        assert file.resolve().is_file(), target
        if fragment and file.suffix == ".html":
            assert fragment in names(str(file.resolve().relative_to(places.HTML.resolve()))), target


def test_links_to_other_sites_are_those_of_the_bibliography():
    hosts = {
        urllib.parse.urlparse(link["href"]).netloc
        for page in PAGES
        for link in parsed(page).select("article a[href^=http]")
    }
    assert hosts <= {"doi.org"}


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_light(page):
    own = {target.partition("?")[0] for target in targets(page)} - {"", "#"}
    pictures = {(places.HTML / page).parent / path for path in own if path.endswith((".svg", ".png", ".jpg"))}
    size = (places.HTML / page).stat().st_size + sum(path.stat().st_size for path in pictures)
    assert size < 1.5e6


@pytest.mark.parametrize("page", sample(PAGES, [page for page, _ in OPENED]))
def test_a_page_can_be_read_without_javascript(page, site, browser):
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto(site + page)
    text = tab.locator("article").inner_text()
    formulas, shown = tab.locator(".math").count(), tab.locator("math >> visible=true").count()
    folded = tab.locator("details:not([open]) .math, .toggle-hidden").count()
    context.close()
    assert formulas - folded <= shown
    assert not re.search(r"\\\(|\\\[|\\frac|\\sqrt", text), "TeX stands in the text"
    assert len(text) > 300


def test_proofs_are_folded_but_on_the_page_about_one():
    proofs = {page: parsed(page).select("details.hi-proof") for page in PAGES}
    assert sum(map(len, proofs.values())) == 19
    for page, found in proofs.items():
        assert {proof.has_attr("open") for proof in found} <= {page == "notebooks/regret_bound.html"}


def test_a_link_to_a_folded_public_name_unfolds_it(site, browser):
    tab = browser.new_page()
    tab.goto(f"{site}book/api.html")
    method = tab.locator("[id='hi_lib.TimingModel.of_run']")
    entry = tab.locator("details.hi-entry").filter(has=method)
    assert not method.is_visible()
    assert entry.get_attribute("open") is None
    tab.goto(f"{site}book/api.html#hi_lib.TimingModel.of_run")
    method.wait_for(state="visible")
    assert entry.get_attribute("open") is not None
    tab.close()


def test_the_book_knows_where_the_docstrings_that_it_prints_are(monkeypatch):
    monkeypatch.setattr(book.places, "digest", lambda files, *_: set(files))
    printed = {Path(inspect.getfile(item)) for item in vars(hi).values() if isinstance(item, type | FunctionType)}
    assert len(printed) > 8
    assert printed <= book._sources()


HOMES = ("book/intro.html", "notebooks/fig4_objective.html", "notebooks/decide.html")


@pytest.mark.parametrize("page", sample(HOMES, HOMES[-1:]))
@pytest.mark.parametrize("where", sample(["file", "sub-path"], ["file"]))
def test_the_book_works_from_anywhere(where, page, browser, site_below):
    tab = browser.new_page()
    failed, errors = [], []
    tab.on("requestfailed", lambda request: failed.append(request.url))
    tab.on("response", lambda response: failed.append(response.url) if response.status >= 400 else None)
    tab.on("pageerror", lambda error: errors.append(str(error)))
    home = f"{places.HTML.resolve().as_uri()}/" if where == "file" else site_below
    tab.goto(home + page, wait_until="networkidle", timeout=120_000)
    tab.wait_for_function("document.querySelector('mjx-container')")
    blank = tab.evaluate("[...document.querySelectorAll('article img')].filter(i => !i.naturalWidth).length")
    tab.locator("nav.bd-links a").last.click()
    tab.wait_for_url("**/book/glossary.html")
    tab.wait_for_load_state("networkidle", timeout=120_000)
    tab.close()
    assert (failed, errors, blank) == ([], [], 0)


def theorems():
    """(name, page) of every theorem, lemma and corollary of the book."""
    for path in sorted(places.NOTEBOOKS.glob("*.ipynb")):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            for name in re.findall(r":::\{prf:(?:theorem|lemma|corollary)\} ?(.*)", "".join(cell["source"])):
                yield name, f"notebooks/{path.stem}.html"


@pytest.mark.parametrize("where", sample(["http", "file"], ["file"]))
def test_search_finds_the_theorems(where, site, browser):
    home = site if where == "http" else f"{places.HTML.resolve().as_uri()}/"
    named = [(name, page) for name, page in theorems() if name]
    assert len(named) >= 9
    tab = browser.new_page()
    for name, page in named:
        words = " ".join(re.findall(r"[a-zA-Z]{3,}|T\d+", name))
        tab.goto(f"{home}search.html?q={urllib.parse.quote(words)}")
        tab.wait_for_selector("#search-results li a")
        tab.wait_for_function("document.querySelector('.search-summary, #search-results p')?.textContent.match(/\\d/)")
        found = tab.evaluate("[...document.querySelectorAll('#search-results li a')].map(a => a.href)")
        assert any(page in address for address in found), (name, words, found)
    tab.close()


def test_the_first_page_answers_on_one_screen(site, browser):
    tab = browser.new_page(viewport={"width": 1280, "height": 900})
    tab.goto(site + "book/intro.html", wait_until="networkidle")
    assert tab.evaluate("document.querySelector('#in-short').getBoundingClientRect().bottom") <= 900
    tab.close()


@pytest.mark.parametrize("page", sample([page for page in PAGES if page.startswith("notebooks/")], dict(OPENED)))
def test_the_first_picture_of_a_page_is_on_its_first_screen(page, site, browser):
    tab = browser.new_page(viewport={"width": 1280, "height": 900})
    tab.goto(site + page, wait_until="load")
    image = tab.locator("article figure img, #hi-plot").first
    bottom = image.evaluate("each => each.getBoundingClientRect().bottom")
    tab.close()
    assert bottom <= 900


def test_a_caption_says_on_a_phone_where_left_is(site, browser):
    tab = browser.new_page(viewport={"width": 390, "height": 844})
    tab.goto(site + "notebooks/fig6_processing_ratio.html", wait_until="load")
    said = "getComputedStyle(document.querySelector('figcaption .hi-stacked'), '::after').content"
    assert "left is above" in tab.evaluate(said)
    tab.set_viewport_size({"width": 1280, "height": 900})
    assert tab.evaluate(said) == "none"
    tab.close()


@pytest.mark.parametrize("page", [page for page in PAGES if page.startswith("notebooks/")])
def test_every_figure_says_how_it_was_made(page):
    figures = [figure for figure in parsed(page).select("article figure") if figure.get("id", "").startswith("fig-")]
    notes = parsed(page).select("details.hi-provenance")
    assert len(notes) == len(figures)
    for note in notes:
        assert f"hi run {Path(page).stem}" in note.get_text()
        for code in note.select("code[title]"):
            name = code.previous_sibling.strip("; \n")
            assert files.sha256(traces.DATA / name) == code["title"]


@pytest.mark.slow
@pytest.mark.usefixtures("browser")
def test_paper_is_the_same_every_time(tmp_path):
    (tmp_path / "page.html").write_text("<h1>One</h1>")
    code = f"import runpy; from pathlib import Path; to_pdf = runpy.run_path({str(PRINTER)!r})['to_pdf']\n"
    code += f"for name in 'ab': to_pdf(Path('page.html').resolve(), Path(name), {places.chromium()!r})"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)  # a second playwright needs its own process
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "a").read_bytes().startswith(b"%PDF")


def test_the_papers_equations_carry_its_numbers():
    labels = ["objective", "below", "above", "bound", "tuned", "system", "response", "expanded", "relaxed"]
    page = parsed("book/system_model.html")
    found = [page.select_one(f"#equation-eq-{label} .eqno").get_text().strip("#") for label in labels]
    assert found == [f"({number})" for number in range(1, 10)]
