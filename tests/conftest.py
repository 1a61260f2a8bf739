"""Shared by all tests: hypothesis without deadlines (the machine is noisy), traces to draw from, a browser."""

import contextlib
import functools
import os
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st

import hi_lib as hi
from hi_book.press import places

settings.register_profile("batch-hi", deadline=None, derandomize=True, max_examples=100)
settings.load_profile("batch-hi")

# Confidences that hurt: both ends, ties, neighbours in floating point, and anything between.
HOSTILE = [0.0, 1.0, 0.5, 0.25, 0.75, 1e-300, float(np.nextafter(0.5, 1)), float(np.nextafter(1.0, 0))]


@st.composite
def traces(draw, max_size: int = 60) -> hi.Trace:
    """Short traces, hostile ones among them."""
    values = st.sampled_from(HOSTILE) | st.floats(0, 1, allow_subnormal=False)
    confidence = draw(st.lists(values, min_size=1, max_size=max_size))
    correct = draw(st.lists(st.booleans(), min_size=len(confidence), max_size=len(confidence)))
    return hi.Trace(confidence, correct)


costs = st.floats(0, 1)
batch_sizes = st.integers(1, 70)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """No lines are counted where none but a page's script works, or where others count them.

    pytest-cov has a marker for that, too, which leaves a second tracer at work in processes that share the tests.
    """
    if "browser" not in getattr(item, "fixturenames", ()) and item.get_closest_marker("uncounted") is None:
        return (yield)
    tracers = sys.gettrace(), threading.gettrace()
    sys.settrace(None)
    threading.settrace(None)
    try:
        return (yield)
    finally:
        sys.settrace(tracers[0])
        threading.settrace(tracers[1])


CHROMIUM = places.chromium()
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]


class Silent(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@contextlib.contextmanager
def served(folder):
    """Address of a folder that is served while the context lasts."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Silent, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def site():
    assert places.HTML.is_dir(), "run make book first"
    with served(places.HTML) as address:
        yield address


@pytest.fixture(scope="module")
def site_below():
    """The book below another path, as a project's pages are on most hosts."""
    with served(places.BUILD) as address:
        yield f"{address}html/"


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        if os.environ.get("HI_REQUIRE_BROWSER"):
            pytest.fail("HI_REQUIRE_BROWSER is set, but there is no Chromium")
        pytest.skip("NO CHROMIUM: THE BOOK WAS NOT TESTED IN A BROWSER (apt-get install chromium libatomic1)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


def sample(cases, quick):
    """Parameters of which only some are tried in `make test`, and all in `make test-slow`."""
    return [case if case in quick else pytest.param(*_several(case), marks=pytest.mark.slow) for case in cases]


def _several(case):
    return case if isinstance(case, tuple) else (case,)
