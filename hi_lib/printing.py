"""The whole book as one PDF, printed by headless Chromium."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from hi_lib.traces import writable

# What paper needs: notes below figures unfolded, what stands in for scripts shown, formulas set, pictures there.
_PREPARE = """async () => {
  document.documentElement.dataset.theme = "light";
  document.querySelectorAll(".hi-provenance").forEach((note) => (note.open = true));
  document.querySelectorAll("article noscript").forEach((part) => {
    if (!part.closest(".math")) part.outerHTML = part.textContent;
  });
  document.querySelectorAll("#jb-print-toc h2").forEach((title) => (title.textContent = "Contents"));
  document.querySelectorAll("img").forEach((image) => (image.loading = "eager"));
  await Promise.all([...document.images].map((image) => image.decode()));
  await window.MathJax?.startup.promise;
}"""
_FOOTER = '<div style="font-size:7px;width:100%;text-align:center"><span class="pageNumber"></span></div>'


def chromium() -> str:
    """Path of an installed Chromium or Chrome.

    Raises
    ------
    ValueError
        There is none.
    """
    found = find_chromium()
    if found is None:
        raise ValueError("printing needs Chromium, which was not found: install it (apt-get install chromium)")
    return found


def find_chromium() -> str | None:
    """The same, or None."""
    return next((path for name in ("chromium", "google-chrome", "chrome") if (path := shutil.which(name))), None)


def to_pdf(page: Path, target: Path, browser: str) -> Path:
    """Print a local page to a PDF, A4; the same page gives the same bytes."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise ValueError("printing needs the extra `pdf`: make pdf installs it") from None
    with sync_playwright() as playwright:
        chrome = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox", "--disable-gpu"])
        tab = chrome.new_page()
        tab.goto(page.as_uri(), wait_until="load")
        tab.evaluate(_PREPARE)
        content = tab.pdf(
            format="A4",
            scale=0.8,
            margin={"top": "16mm", "bottom": "18mm", "left": "15mm", "right": "15mm"},
            print_background=True,
            display_header_footer=True,
            header_template="<i></i>",
            footer_template=_FOOTER,
            outline=True,
            tagged=True,
        )
        chrome.close()
    # The dates of printing, as long as they were: what comes after them must not move.
    content = re.sub(rb"(/(?:Creation|Mod)Date \(D:)\d{14}", rb"\g<1>20000101000000", content)
    target = writable(target)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    part.write_bytes(content)
    return part.replace(target)
