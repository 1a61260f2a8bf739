"""The page "Decide" in a real browser: it recommends what `hi_lib.advise` does, and its address keeps the setting."""

import itertools
import json
import math
import re

import numpy as np
import pytest

import hi_lib as hi
from hi_book.figures import decide
from hi_lib.advise.recommending import from_log, recommend, weight_of
from hi_lib.advise.ways import Conditions
from hi_lib.paper import setting_of

PAGE = "notebooks/decide.html"
READY = "window.batchHI && window.batchHI.shown > 0 && document.getElementById('hi-decide').ariaBusy !== 'true'"
# What the page found, as plain values.
FOUND = """found => {
  const { row, againstNever, againstNext } = found;
  return {
    policy: found.policy, threshold: found.threshold, keeps_up: found.keepsUp, cost: found.cost,
    against_never: againstNever && [againstNever.mean, againstNever.error],
    against_next: againstNext && [againstNext.mean, againstNext.error],
    send: row && [row.way.unit, row.way.size, row.way.longestWait, row.way.window],
    times: row && [row.systemTime, row.responseTime, row.p95, row.late, row.transmissions],
    lines: window.hiAdvice.lines(found),
  };
}"""


@pytest.fixture(scope="module")
def tab(browser, site):
    tab = browser.new_page(viewport={"width": 1280, "height": 900})
    tab.set_default_timeout(90_000)  # in the company of other tests
    tab.goto(site + PAGE)
    tab.wait_for_function(READY)
    yield tab
    tab.close()


def opened(tab, address):
    tab.goto("about:blank")
    tab.goto(address)
    tab.wait_for_function(READY)


def asked_for(tab, setting):
    """Ask for a setting in the address, without loading the page anew."""
    changed(tab, lambda: tab.evaluate("text => { location.hash = text }", setting))


def changed(tab, change):
    """Change something, and wait for what follows."""
    before = tab.evaluate("window.batchHI.shown")
    change()
    tab.wait_for_function("before => window.batchHI.shown > before", arg=before)
    tab.wait_for_function(READY)


def same(found, expected):
    """Whether values are the same, numbers to 1e-9."""
    if isinstance(expected, list | tuple):
        return len(found) == len(expected) and all(map(same, found, expected))
    if isinstance(expected, int | float) and not isinstance(expected, bool):
        return found == pytest.approx(expected, rel=1e-9, abs=1e-12, nan_ok=True)
    return found == expected


def expected(found):
    row = found.sent
    return {
        "policy": found.policy,
        "threshold": found.threshold,
        "keeps_up": found.keeps_up,
        "cost": found.cost,
        "against_never": found.against_never,
        "against_next": found.against_next,
        "send": row and [row.way.unit, row.way.size, row.way.longest_wait, row.way.window],
        "times": row and [row.system_time, row.response_time, row.p95, row.late, row.transmissions],
        "lines": found.as_lines(),
    }


def settings():
    """A grid over what may be asked, and some drawn times: (conditions, α, timing)."""
    rng = np.random.default_rng(3)
    grid = itertools.product((None, 4.0, math.inf), ("offloads", "samples"), ((None, 0.9), (90.0, None), (150.0, 0.4)))
    for window, unit, (deadline, alpha) in grid:
        conditions = {"window": window, "unit": unit, "deadline": deadline, "miss": 0.08 if deadline else 0.05}
        yield conditions, alpha, hi.TimingModel(*rng.uniform(0.2, 25, 4))
    yield {"devices": 6}, 0.9, hi.IMAGENETTE.timing
    yield {"devices": 3, "window": 2.0}, 0.5, hi.IMAGENETTE.timing
    yield {"price": 0.2}, 0.5, hi.CIFAR10.timing
    yield {"gap": 30.0}, 0.5, hi.IMAGENETTE.timing
    yield {"gap": 700.0}, 0.9, hi.IMAGENETTE.timing
    yield {"gap": 700.0, "connection": "warm", "window": 2.0}, 0.9, hi.IMAGENETTE.timing
    yield {"gap": 1.0}, 0.5, hi.IMAGENETTE.timing


def asked(conditions):
    """The same for the page's arithmetic: its arrivals are evenly spaced."""
    plain = {"deadline": None, "miss": 0.05, "window": None, "unit": "offloads", "connection": "auto", "devices": 1}
    gap = conditions.get("gap")
    return plain | {"price": 0, "rate": 50e6, "gap": gap} | {k: v for k, v in conditions.items() if k != "gap"}


ASK = """({ name, samples, beta, timing, conditions, alpha }) => {
  const { confidence, correct, lml } = window.hiTraces[name];
  const bytes = Uint8Array.from(atob(confidence), letter => letter.charCodeAt(0));
  const log = {
    confidence: new Float64Array(bytes.buffer).slice(0, samples),
    correct: Array.from(correct, Number).slice(0, samples),
    lml: lml ? Float64Array.from(lml, Number).slice(0, samples) : null,
  };
  const gap = conditions.gap;
  const arrivals = gap ? Float64Array.from({ length: samples }, (_, k) => k * gap) : null;
  const around = { ...conditions, arrivals, spacing: gap ? arrivals[samples - 1] / (samples - 1) : null };
  return (FOUND)(window.hiAdvice.fromLog(log, beta, timing, around, alpha));
}""".replace("FOUND", FOUND)


def test_the_recommendation_is_that_of_the_library(tab):
    names, betas = itertools.cycle(hi.list_traces(own=False)), itertools.cycle((0.05, 0.1, 0.3, 0.5))
    for conditions, alpha, timing in settings():
        name, beta, samples = next(names), next(betas), 1500
        given = asked(conditions)
        arguments = {
            "name": name,
            "samples": samples,
            "beta": beta,
            "timing": timing.taus,
            "conditions": given,
            "alpha": alpha,
        }
        whole = hi.load_trace(name).shuffled(0)
        lml = None if whole.lml_correct is None else whole.lml_correct[:samples]
        trace = hi.Trace(whole.confidence[:samples], whole.correct[:samples], lml)
        around = {key: value for key, value in conditions.items() if key != "gap"}
        if "gap" in conditions:
            around["arrivals"] = np.arange(samples) * conditions["gap"]
        around = Conditions(**around, rate=50e6)
        mine, _ = from_log(trace, beta, timing, around, weight_of(alpha, around))
        found = tab.evaluate(ASK, arguments)
        for key, value in expected(mine).items():
            assert same(found[key], value), (arguments, key, found[key], value)


def test_all_seven_traces_as_they_come(tab):
    for name in hi.list_traces(own=False):
        asked_for(tab, f"log={name}&beta=0.2&alpha=0.7")
        setting = setting_of(name)
        tau_tx = setting.image_bytes * 8 / setting.rate * 1e3
        timing = setting.timing.with_taus({"tau_tx": tau_tx})
        mine = hi.evaluate(hi.load_trace(name).shuffled(0), 0.2, 0.7, timing, Conditions(rate=setting.rate))
        found = tab.evaluate(f"({FOUND})(window.batchHI.found())")
        for key, value in expected(mine.recommendation).items():
            assert same(found[key], value), (name, key, found[key], value)
        assert tab.inner_text("#hi-says") == f"{mine.recommendation.as_lines()[0]}."


@pytest.mark.parametrize("calibrated", [True, False])
def test_without_a_log(tab, calibrated):
    setting = setting_of("cifar10-alexnet")
    where = f"log=&rho=0.3&beta=0.25&alpha=0.8&calibrated={str(calibrated).lower()}&window=4"
    times = {"tau_ed": 2.0, "tau_es": 5.0, "kilobytes": 20.0, "rate": 40.0, "tau_nw": 30.0}
    where += "".join(f"&{name}={value}" for name, value in times.items())
    asked_for(tab, where)
    timing = hi.TimingModel(2.0, 5.0, 20 * 1024 * 8 / 40e6 * 1e3, 30.0)
    around = Conditions(window=4.0, rate=40e6)
    mine = recommend(0.3, timing, alpha=0.8, conditions=around, beta=0.25, calibrated=calibrated)
    found = tab.evaluate(f"({FOUND})(window.batchHI.found())")
    for key, value in expected(mine).items():
        assert same(found[key], value), (key, found[key], value)
    assert tab.is_visible("#hi-rho")
    assert setting.rate == 50e6


def test_the_address_keeps_what_was_asked(tab, site):
    opened(tab, site + PAGE)
    first = tab.inner_text("#hi-says")
    changed(tab, lambda: tab.select_option("#hi-log", "cifar10-alexnet"))
    assert tab.input_value("#hi-tau_ed") == f"{hi.CIFAR10.timing.tau_ed:g}"  # the times that go with it
    changed(tab, lambda: tab.fill("#hi-beta", "0.3"))
    changed(tab, lambda: tab.select_option("#hi-aim", "deadline"))
    changed(tab, lambda: tab.fill("#hi-deadline", "80"))
    assert not tab.is_visible("#hi-alpha")
    shared, says = tab.url, tab.inner_text("#hi-says")
    assert says != first
    assert tab.get_attribute("#hi-link", "href") == shared
    assert "beta=0.3" in shared
    opened(tab, shared)
    assert tab.inner_text("#hi-says") == says
    # A time that is the first setting's and not this log's is kept, too.
    tab.evaluate("document.querySelectorAll('#hi-decide details').forEach(each => { each.open = true })")
    changed(tab, lambda: tab.fill("#hi-tau_ed", f"{hi.IMAGENETTE.timing.tau_ed:g}"))
    shared, says = tab.url, tab.inner_text("#hi-says")
    tab.goto("about:blank")
    opened(tab, shared)
    assert (tab.inner_text("#hi-says"), tab.input_value("#hi-tau_ed")) == (says, f"{hi.IMAGENETTE.timing.tau_ed:g}")
    tab.goto("about:blank")
    tab.goto(site + PAGE + "#log=<script>&beta=abc")
    tab.wait_for_function("document.getElementById('hi-beta').ariaInvalid === 'true'")
    assert "cost of an offload β" in tab.inner_text("#hi-says")


@pytest.mark.parametrize(
    ("beta", "field", "text"),  # β is another each time, or the address would not change
    [(0.41, "beta", ""), (0.42, "beta", "42.1"), (0.43, "devices", "1.5"), (0.44, "tau_nw", "-1")],
)
def test_a_bad_number_is_named_and_changes_nothing(tab, beta, field, text):
    asked_for(tab, f"log=cifar10-resnet8&beta={beta}")
    before = tab.evaluate(f"({FOUND})(window.batchHI.found())")
    tab.evaluate("document.querySelectorAll('#hi-decide details').forEach(each => { each.open = true })")
    tab.fill(f"#hi-{field}", text)
    tab.wait_for_function("id => document.getElementById(id).ariaInvalid === 'true'", arg=f"hi-{field}")
    assert " must be a" in tab.inner_text("#hi-says")
    assert tab.evaluate(f"({FOUND})(window.batchHI.found())") == before


def test_a_log_of_ones_own(tab, site, tmp_path):
    opened(tab, site + PAGE)
    trace = hi.load_trace("cifar10-resnet8").shuffled(4)
    rows = zip(trace.confidence[:900].tolist(), trace.correct[:900].astype(int).tolist(), strict=True)
    path = tmp_path / "mine.csv"
    path.write_text("confidence,correct\n" + "".join(f"{p!r},{right}\n" for p, right in rows))
    changed(tab, lambda: tab.set_input_files("#hi-file", path))
    setting = hi.IMAGENETTE
    timing = setting.timing.with_taus({"tau_tx": setting.image_bytes * 8 / setting.rate * 1e3})
    mine = hi.evaluate(hi.Trace(trace.confidence[:900], trace.correct[:900]), 0.1, 0.9, timing, Conditions(rate=50e6))
    assert tab.inner_text("#hi-says") == f"{mine.recommendation.as_lines()[0]}."
    (tmp_path / "bad.csv").write_text("confidence,correct\n0.5,1\n7,1\n")
    tab.set_input_files("#hi-file", tmp_path / "bad.csv")
    tab.wait_for_function("document.getElementById('hi-file-error').textContent.includes('line 3')")


def test_what_only_a_log_can_tell_is_not_asked_without_one(tab, site):
    opened(tab, site + PAGE)
    tab.evaluate("document.querySelectorAll('#hi-decide details').forEach(each => { each.open = true })")
    changed(tab, lambda: tab.fill("#hi-price", "0.2"))
    changed(tab, lambda: tab.fill("#hi-gap", "40"))
    changed(tab, lambda: tab.select_option("#hi-log", ""))
    assert not tab.is_visible("#hi-price")
    assert not tab.is_visible("#hi-gap")
    timing = hi.IMAGENETTE.timing
    found = hi.recommend(0.4, timing, alpha=0.9, beta=0.1, conditions=Conditions(rate=50e6))
    assert tab.inner_text("#hi-says") == f"{found.as_lines()[0]}."


def test_of_a_long_log_it_says_what_is_left_out(tab, site, tmp_path):
    opened(tab, site + PAGE)
    path = tmp_path / "long.csv"
    path.write_text("confidence,correct\n" + "0.25,0\n0.75,1\n" * 10_001)
    changed(tab, lambda: tab.set_input_files("#hi-file", path))
    assert tab.inner_text("#hi-file-error") == "Only the first 20000 samples are used; 2 more are left out."


def test_why_unfolds(tab, site):
    opened(tab, site + PAGE)
    tab.click("#hi-why summary")
    lines = tab.evaluate("window.hiAdvice.lines(window.batchHI.found())")
    assert tab.locator("#hi-why li").all_inner_texts() == lines[1:]
    assert tab.locator("#hi-why tr.hi-chosen").count() == 2


def test_the_plot_follows_the_theme(tab, site):
    opened(tab, site + PAGE)

    def colour():
        return tab.evaluate("getComputedStyle(document.querySelector('#hi-plot .xtitle')).fill")

    tab.evaluate("document.documentElement.dataset.theme = 'light'")
    light = colour()
    tab.evaluate("document.documentElement.dataset.theme = 'dark'")
    tab.wait_for_function(
        "before => getComputedStyle(document.querySelector('#hi-plot .xtitle')).fill !== before", arg=light
    )
    assert tab.locator("#hi-plot .scatterlayer .trace").count() == 2
    assert tab.locator("#hi-plot .barlayer .point").count() == 5


def test_the_picture_is_on_the_first_screen(tab, site):
    opened(tab, site + PAGE)
    assert tab.evaluate("document.getElementById('hi-plot').getBoundingClientRect().bottom") <= 900


def test_every_control_has_a_label_and_is_reached_by_the_keyboard(tab, site):
    opened(tab, site + PAGE)
    unnamed = tab.evaluate(
        """() => [...document.querySelectorAll('#hi-decide input, #hi-decide select')]
          .filter(control => !control.labels.length && !control.ariaLabel).map(control => control.id)"""
    )
    assert unnamed == []
    tab.focus("#hi-beta-slider")
    changed(tab, lambda: tab.keyboard.press("ArrowRight"))
    assert tab.input_value("#hi-beta") == "0.11"


def test_the_learner_begins_with_a_picture(tab, site):
    opened(tab, site + PAGE)
    assert tab.locator("#hi-learn-plot .scatterlayer .trace").count() >= 6
    assert re.match(r"10000 of 10000 samples", tab.inner_text("#hi-learn-says"))


def test_a_name_cannot_end_the_script():
    first = decide.start("cifar10-alexnet", 0.5, 0.9) | {"log": "</script><script>alert(1)</script>"}
    text = decide.page(["cifar10-alexnet"], first, "<b>", "")
    assert text.count("</script>") == 5
    assert "&lt;b&gt;" in text
    data = re.search(r'id="hi-decide-data">(.*?)</script>', text, re.DOTALL).group(1)
    assert json.loads(data)["start"]["log"] == first["log"]
