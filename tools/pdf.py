"""Print the whole book as one PDF, _build/batch-hi.pdf, by headless Chromium; run by `make pdf`, as `pdf.py PROFILE`.

The same book gives the same bytes.
"""

import re
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from hi_book.press import book, notebooks, places

# What paper needs: what stands in for scripts shown, formulas set, pictures there.
PREPARE = """async () => {
  document.documentElement.dataset.theme = "light";
  document.querySelectorAll("article noscript").forEach((part) => {
    if (!part.closest(".math")) part.outerHTML = part.textContent;
  });
  document.querySelectorAll("#jb-print-toc h2").forEach((title) => (title.textContent = "Contents"));
  document.querySelectorAll("img").forEach((image) => (image.loading = "eager"));
  await Promise.all([...document.images].map((image) => image.decode()));
  await window.MathJax?.startup.promise;
}"""
FOOTER = '<div style="font-size:7px;width:100%;text-align:center"><span class="pageNumber"></span></div>'


def main(profile: str) -> None:
    """Render the book on one page, and print that."""
    browser = places.chromium()
    if browser is None:
        sys.exit("error: printing needs Chromium, which is not here: install it (apt-get install chromium libatomic1)")
    places.BUILD.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=places.BUILD) as folder:
        try:
            page = book.one_page(Path(folder) / "page", profile)
        except (ValueError, notebooks.BuildError) as error:
            sys.exit(f"error: {error}")
        printed = to_pdf(page, Path(folder) / "book.pdf", browser)
        print(f"written: {printed.replace(places.BUILD / 'batch-hi.pdf')}")


def to_pdf(page: Path, target: Path, browser: str) -> Path:
    """Print a local page, A4, with page numbers and an outline."""
    with sync_playwright() as playwright:
        chrome = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox", "--disable-gpu"])
        tab = chrome.new_page()
        tab.goto(page.as_uri(), wait_until="load")
        tab.evaluate(PREPARE)
        content = tab.pdf(
            format="A4",
            scale=0.63,
            margin={"top": "13mm", "bottom": "15mm", "left": "14mm", "right": "14mm"},
            print_background=True,
            display_header_footer=True,
            header_template="<i></i>",
            footer_template=FOOTER,
            outline=True,
            tagged=True,
        )
        chrome.close()
    # The dates of printing, as long as they were: what comes after them must not move.
    target.write_bytes(re.sub(rb"(/(?:Creation|Mod)Date \(D:)\d{14}", rb"\g<1>20000101000000", content))
    return target


if __name__ == "__main__":
    main(sys.argv[1])
