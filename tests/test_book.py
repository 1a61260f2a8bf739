"""The published book in a real browser: no outside request, no script error, maths typeset, nothing overflows."""

import re

import pytest

from hi_lib import book

PAGES = sorted(str(path.relative_to(book.HTML)) for path in book.HTML.glob("*/*.html") if "_" not in path.parts[-2][:1])
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}


def test_the_book_has_every_page():
    chapters = re.findall(r"(?:root|file): (\S+)", (book.PAGES / "_toc.yml").read_text())
    assert PAGES, "run make book first"
    assert set(PAGES) == {f"{chapter}.html" for chapter in chapters}
    assert 10 <= len(PAGES) <= 28


def test_pages_hold_nothing_of_this_machine():
    for path in book.HTML.rglob("*"):
        if path.suffix in (".html", ".ipynb", ".txt", ".json", ".csv") or path.name == "searchindex.js":
            text = path.read_text(encoding="utf-8")
            assert str(book.ROOT) not in text, path
            assert not re.search(r"/(root|home|tmp|Users)/\w", text), path


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("page", PAGES)
def test_a_page_loads_whole(page, size, site, browser):
    width, height = SIZES[size]
    context = browser.new_context(viewport={"width": width, "height": height})
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
    context.close()
    assert outside == []
    assert errors == []
    assert (facts["unset"], facts["wrong"], facts["blank"], facts["mute"]) == (0, 0, 0, [])
    assert facts["width"] <= width
    assert len(facts["text"]) > 300
    # Markup that was not understood would stand in the text.
    for leftover in ("{glue", "{numref", "{doc}", "{cite", ":::", "```", "Traceback"):
        assert leftover not in facts["text"]
