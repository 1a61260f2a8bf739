"""The learner in a real browser computes what `hi_lib.replay` does, and its page says what is wrong with a table."""

import json

import numpy as np
import pytest

import hi_lib as hi
from hi_book.press.decide import packed

PAGE = "notebooks/decide.html"
READY = "window.batchHI && batchHI.replay && document.querySelector('#hi-learn-plot .main-svg')"
REPLAY = """([name, beta, size, eta, delay]) => {
    const { confidence, correct } = batchHI.unpack(hiTraces[name]);
    const { offload, ...numbers } = batchHI.replay(confidence, correct, beta, size, eta, delay);
    return { offload: Array.from(offload), ...numbers };
}"""
CASES = [
    ("cifar10-alexnet", 0.5, 1, None, 0),
    ("cifar10-alexnet", 0.3, 7, 0.4, 0),
    ("cifar10-resnet56", 0.9, 64, None, 0),
    ("cifar10-resnet8", 0.1, 1, None, 100),
    ("imagenette-mobilenet_v1_0.25_128", 0.7, 4, None, 10),
    ("imagenette-mobilenet_v1_0.5_160", 0.0, 3, 5.0, 0),
    ("imagenette-mobilenet_v2_1.0_224", 1.0, 5000, None, 0),
    ("imagenette-mobilenet_v2_1.0_224", 0.5, 1, 30.0, 3),
    ("imagenette-mobilenet_v1_0.25_128", 0.5, 1, "adaptive", 0),
    ("cifar10-alexnet", 0.3, 16, "adaptive", 0),
]


@pytest.fixture(scope="module")
def tab(browser, site):
    tab = browser.new_page(viewport={"width": 1280, "height": 900})
    tab.set_default_timeout(90_000)  # in the company of other tests
    tab.goto(site + PAGE)
    tab.wait_for_function(READY)
    yield tab
    tab.close()


@pytest.fixture
def fresh(tab):
    """The page as it opens."""
    tab.reload()
    tab.wait_for_function(READY)
    return tab


def test_traces_come_out_as_they_went_in(tab):
    for name in hi.list_traces(own=False):
        trace = hi.load_trace(name).shuffled(0)
        found = tab.evaluate(
            "name => { const t = batchHI.unpack(hiTraces[name]); return [Array.from(t.confidence), t.correct] }", name
        )
        assert np.array_equal(found[0], trace.confidence)
        assert np.array_equal(found[1], trace.correct)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_learner_is_that_of_the_library(tab, case):
    name, beta, size, eta, delay = case
    found = tab.evaluate(REPLAY, case)
    run = hi.replay(
        hi.load_trace(name).shuffled(0), beta, size, learning_rate="tuned" if eta is None else eta, delay=delay
    )
    close = 1e-9 if eta == "adaptive" else 1e-12  # an adaptive rate adds up as many logarithms as there are batches
    np.testing.assert_allclose(found["offload"], run.offload_probability, rtol=0, atol=close)
    assert found["averageCost"] == pytest.approx(run.average_cost, abs=close)
    assert found["regret"] == pytest.approx(run.regret, abs=close * run.cost.size)
    assert found["eta"] == pytest.approx(run.learning_rate, rel=close)
    assert found["bound"] == pytest.approx(run.regret_bound, rel=close)


def says(tab):
    return tab.inner_text("#hi-learn-says")


def test_batches_are_decided_one_by_one_or_all_at_once(fresh):
    assert "3925 samples" in says(fresh) or "10000 samples" in says(fresh)
    fresh.fill("#hi-learn-size", "16")
    fresh.press("#hi-learn-size", "Tab")
    for _ in range(3):
        fresh.click("#hi-learn-next")
    assert says(fresh).startswith("48 of 10000 samples, 3 batches")
    assert fresh.locator("#hi-learn-timeline rect").count() > 3
    fresh.click("#hi-learn-end")
    run = hi.replay(hi.load_trace("cifar10-alexnet").shuffled(0), 0.5, 16)
    assert says(fresh).startswith("10000 of 10000 samples, 625 batches")
    assert f"Cost a sample {run.average_cost:.3f}" in says(fresh)
    assert f"Regret {run.regret:.1f}, bound so far {run.regret_bound:.1f}" in says(fresh)
    assert fresh.is_disabled("#hi-learn-next")
    fresh.click("#hi-learn-again")
    assert "625 batches" not in says(fresh)


def test_the_adaptive_rate_says_its_bound_and_takes_no_delay(fresh):
    fresh.select_option("#hi-learn-rate", "adaptive")
    assert "The learning rate follows what is lost" in says(fresh)
    fresh.fill("#hi-learn-size", "16")
    fresh.press("#hi-learn-size", "Tab")
    fresh.click("#hi-learn-end")
    run = hi.replay(hi.load_trace("cifar10-alexnet").shuffled(0), 0.5, 16, learning_rate="adaptive")
    assert f"Regret {run.regret:.1f}, bound so far {run.regret_bound:.1f}" in says(fresh)
    fresh.fill("#hi-learn-delay", "3")
    fresh.press("#hi-learn-delay", "Tab")
    assert fresh.inner_text("#hi-learn-error").startswith("the adaptive rate must hear at once")


def test_running_ends_and_can_be_paused_by_keyboard(fresh):
    fresh.focus("#hi-learn-run")
    fresh.keyboard.press("Enter")
    fresh.wait_for_function("document.getElementById('hi-learn-says').textContent.includes(' of 10000 samples')")
    fresh.keyboard.press("Enter")
    paused = says(fresh)
    fresh.wait_for_timeout(100)
    assert says(fresh) == paused
    assert fresh.inner_text("#hi-learn-run") == "Run"


def test_a_table_of_ones_own_may_be_dropped(fresh):
    rng = np.random.default_rng(1)
    confidence = rng.random(300).round(3)
    correct = rng.random(300) < confidence
    rows = "".join(f"{right};{p}\r\n" for p, right in zip(confidence, correct, strict=True))
    table = {"name": "日本 <b>.csv", "mimeType": "text/csv", "buffer": ("correct;confidence\r\n" + rows).encode()}
    fresh.set_input_files("#hi-learn-file", table)
    fresh.wait_for_function("document.getElementById('hi-learn-says').textContent.includes('300 samples')")
    assert says(fresh).startswith("日本 <b>.csv: 300 samples")
    fresh.click("#hi-learn-end")
    run = hi.replay(hi.Trace(confidence, correct), 0.5, 4)
    assert f"Cost a sample {run.average_cost:.3f}" in says(fresh)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "the first line must name the columns confidence and correct"),
        ("confidence,right\n0.5,1\n", "the first line must name the columns confidence and correct"),
        ("confidence,correct\n", "there is no sample below the first line"),
        ("confidence,correct\n0.5,1\n1.5,1\n", 'line 3: confidence must be a number from 0 to 1, got "1.5"'),
        ("confidence,correct\n,1\n", 'line 2: confidence must be a number from 0 to 1, got ""'),
        ("confidence,correct\nNaN,1\n", 'line 2: confidence must be a number from 0 to 1, got "NaN"'),
        ("confidence,correct\n0.5,toString\n", 'line 2: correct must be 1 or 0, got "toString"'),
    ],
)
def test_a_table_that_is_none_is_refused(tab, text, complaint):
    before = says(tab)
    tab.set_input_files("#hi-learn-file", {"name": "a.csv", "mimeType": "text/csv", "buffer": text.encode()})
    tab.wait_for_function("document.getElementById('hi-learn-error').textContent !== ''")
    assert tab.inner_text("#hi-learn-error") == f"a.csv: {complaint}. The figures stay as they were."
    assert says(tab) == before


@pytest.mark.parametrize(
    ("field", "value"), [("beta", "1.2"), ("size", "0"), ("size", "2.5"), ("delay", ""), ("eta", "0")]
)
def test_a_setting_out_of_range_is_refused_until_it_is_mended(tab, field, value):
    before, box = (says(tab), tab.input_value(f"#hi-learn-{field}")), f"#hi-learn-{field}"
    tab.fill(box, value)
    tab.press(box, "Tab")
    assert "must be" in tab.inner_text("#hi-learn-error")
    assert tab.get_attribute(box, "aria-invalid") == "true"
    assert says(tab) == before[0]
    tab.fill(box, before[1])
    tab.press(box, "Tab")
    assert tab.inner_text("#hi-learn-error") == ""
    assert tab.get_attribute(box, "aria-invalid") != "true"


def test_without_javascript_there_is_a_picture(browser, site):
    tab = browser.new_page(java_script_enabled=False)
    tab.goto(site + PAGE)
    assert tab.locator("noscript svg").count() == 2  # what is recommended at first, and the learner
    tab.close()


def test_packed_traces_are_plain_json():
    script = packed([hi.Trace([0.25, 1.0], [0, 1], name="a")])
    data = json.loads(script.removeprefix("window.hiTraces = ").removesuffix(";\n"))
    assert data == {"a": {"confidence": "AAAAAAAA0D8AAAAAAADwPw==", "correct": "01", "lml": ""}}
