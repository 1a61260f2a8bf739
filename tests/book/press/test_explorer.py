"""The explorer in a real browser shows what `hi_lib.timing` computes, and keeps its setting in the address bar."""

import itertools
import json
import re

import numpy as np
import pytest

import hi_lib as hi
from hi_book.figures import explorer
from hi_book.press import results
from hi_lib.paper import setting_of

MODELS = ("paper", "worst", "average", "offloads")
PAGE = "notebooks/explorer.html"


READY = "!!window.batchHI"  # once the explorer has filled its table


@pytest.fixture(scope="module")
def tab(browser):
    tab = browser.new_page(viewport={"width": 1280, "height": 900})
    tab.set_default_timeout(90_000)  # in the company of other tests
    yield tab
    tab.close()


def opened(tab, address):
    tab.goto(address)
    tab.wait_for_function(READY)


def address(site, setting):
    return f"{site}{PAGE}#" + "&".join(f"{key}={value}" for key, value in setting.items())


def shown(tab):
    """Every number of the table, by row and column, and the sending time."""
    cells = {
        (row, column): tab.inner_text(f"#hi-{row}-{column}")
        for row in (*MODELS, "run", "vanilla")
        for column in ("real", "size", "system", "response", "objective", "true")
    }
    return cells, tab.inner_text("#hi-tau_tx")


def same(text, value, digits):
    """Whether a printed number is this one: rounded to so many digits, but for the last bit of a tie."""
    if np.isinf(value):
        return text == "∞"
    return re.fullmatch(rf"\d+\.\d{{{digits}}}" if digits else r"\d+", text) and abs(float(text) - value) <= (
        0.5 * 10.0**-digits * (1 + 1e-9) + 1e-9 * abs(value)
    )


def expected(setting):
    """The same numbers from `hi_lib.timing`: (value, digits) by row and column."""
    tau_tx = 8 * setting["kilobytes"] * 1024 / (setting["rate"] * 1e6) * 1e3
    timing = hi.TimingModel(setting["tau_ed"], setting["tau_es"], tau_tx, setting["tau_nw"])
    rho, alpha, found = setting["rho"], setting["alpha"], {}
    for row in (*MODELS, "vanilla"):
        model = "worst" if row == "vanilla" else row
        pending = {"unit": "offloads"} if row == "offloads" else {}
        best = timing.optimal_batch_size(rho, alpha, **(pending or {"model": model}))
        size = 1 if row == "vanilla" else best.integer
        at = min(size, np.finfo(float).max)
        found[row, "size"] = (size, 0)
        if row != "vanilla":
            found[row, "real"] = (best.relaxed, 2)
        if pending:
            found[row, "system"] = (timing.system_time(at, rho, **pending), 2)
            found[row, "response"] = (timing.response_time(at, rho, **pending), 2)
            found[row, "objective"] = found[row, "true"] = (timing.objective(at, rho, alpha, **pending), 2)
        elif np.isfinite(size):
            found[row, "system"] = (timing.system_time(at, rho, "paper" if row == "paper" else "exact"), 2)
            found[row, "response"] = (timing.response_time(at, rho, model), 2)
            found[row, "objective"] = (timing.objective(at, rho, alpha, model), 2)
            found[row, "true"] = (timing.objective(at, rho, alpha, "average"), 2)
    return found, tau_tx


def settings():
    rng = np.random.default_rng(5)
    yield {"rho": 0.421, "alpha": 0.5, "tau_ed": 1.48, "tau_es": 4.41, "kilobytes": 30.08, "rate": 50, "tau_nw": 20}
    edge = {"rho": 0.5, "alpha": 0.5, "tau_ed": 1, "tau_es": 1, "kilobytes": 1, "rate": 10, "tau_nw": 20}
    yield from (edge | change for change in ({"rho": 0}, {"rho": 1}, {"tau_nw": 0}, {"tau_ed": 0}, {"kilobytes": 0}))
    yield edge | {"tau_ed": 0, "tau_es": 0, "kilobytes": 0}
    for _ in range(40):
        drawn = [rng.uniform(0.01, 1), rng.uniform(0.02, 0.98), *rng.uniform(0.05, 30, 3), rng.uniform(1, 100)]
        drawn.append(rng.uniform(0.5, 150))
        names = ("rho", "alpha", "tau_ed", "tau_es", "kilobytes", "rate", "tau_nw")
        yield dict(zip(names, (round(float(value), 3) for value in drawn), strict=True))


def test_every_number_is_that_of_the_library(tab, site):
    opened(tab, address(site, next(settings())))
    for setting in itertools.islice(settings(), 12):
        tab.evaluate("text => { location.hash = text }", address("", setting).partition("#")[2])
        tab.wait_for_function(
            "value => document.getElementById('hi-tau_nw').value === value", arg=str(setting["tau_nw"])
        )
        wanted, tau_tx = expected(setting)
        cells, sending = shown(tab)
        assert same(sending, tau_tx, 3), setting
        for place, (value, digits) in wanted.items():
            assert same(cells[place], float(value), digits), (setting, place, cells[place], value)


def test_the_address_keeps_what_the_controls_say(tab, site):
    opened(tab, site + PAGE)
    tab.fill("#hi-rho", "0.2")
    tab.focus("#hi-tau_nw-slider")
    for _ in range(5):
        tab.keyboard.press("ArrowRight")
    assert tab.input_value("#hi-tau_nw") == "20.5"
    assert tab.input_value("#hi-preset") == ""
    assert "rho=0.2&" in tab.url
    assert tab.url.endswith("tau_nw=20.5")
    before = shown(tab)
    shared = tab.url
    tab.goto("about:blank")
    opened(tab, shared)
    assert shown(tab) == before


def test_an_address_with_some_fields_takes_the_others_from_the_first_preset(tab, site):
    tab.goto("about:blank")
    opened(tab, site + PAGE + "#rho=0.2&tau_nw=abc&x=<script>")
    assert tab.input_value("#hi-rho") == "0.2"
    assert tab.input_value("#hi-tau_es") == "4.41"
    assert tab.input_value("#hi-tau_nw") == ""
    assert "network time" in tab.inner_text("#hi-says")


def test_a_preset_survives_a_reload(tab, site):
    tab.goto("about:blank")
    opened(tab, site + PAGE)
    tab.select_option("#hi-preset", "cifar10-resnet56")
    tab.select_option("#hi-beta", "0.3")
    before = shown(tab)
    tab.reload()
    tab.wait_for_function(READY)
    assert (tab.input_value("#hi-preset"), tab.input_value("#hi-beta")) == ("cifar10-resnet56", "0.3")
    assert shown(tab) == before


def test_presets_are_those_of_the_build(tab, site):
    opened(tab, site + PAGE)
    ratios = (results.folder("explorer") / "ratios.csv").read_text().splitlines()[1:]
    options = tab.eval_on_selector_all("#hi-preset option", "all => all.map(one => one.value)")
    assert {line.split(",")[0] for line in ratios} == set(hi.list_traces(own=False)) <= set(options)
    for line in ratios[::4]:
        name, beta, ratio = line.split(",")
        tab.select_option("#hi-preset", name)
        tab.select_option("#hi-beta", beta)
        assert float(tab.input_value("#hi-rho")) == pytest.approx(float(ratio), abs=5e-5)
        setting = setting_of(name)
        assert float(tab.input_value("#hi-tau_es")) == setting.timing.tau_es
    tab.select_option("#hi-preset", "imagenette")
    assert tab.input_value("#hi-rho") == "0.421"


def test_the_learners_runs_are_those_of_the_library(tab, site):
    name, beta, other = "imagenette-mobilenet_v1_0.5_160", "0.7", {"tau_nw": 60, "alpha": 0.8, "tau_ed": 2.5}
    tab.goto("about:blank")
    opened(tab, site + PAGE)
    assert set(run_row(tab).values()) == {"–"}  # the paper's model is not ours: no run
    tab.select_option("#hi-preset", name)
    tab.select_option("#hi-beta", beta)
    for field, value in other.items():
        tab.fill(f"#hi-{field}", str(value))
    assert tab.input_value("#hi-preset") == ""
    shared, row = tab.url, run_row(tab)

    trace, setting = hi.load_trace(name), hi.IMAGENETTE
    device = hi.TimingModel(2.5, setting.timing.tau_es, 8 * setting.image_bytes / setting.rate * 1e3, 60)
    found = {}
    for size in explorer.BATCH_SIZES:
        of_runs = [device.of_run(hi.replay(trace.shuffled(seed), 0.7, size, seed=seed)) for seed in range(3)]
        system, response = (
            np.mean([getattr(one, kind) for one in of_runs]) for kind in ("system_time", "response_time")
        )
        found[size] = (0.8 * system + 0.2 * response, system, response)
    best = min(found, key=lambda size: found[size])
    assert row["size"] == str(best)
    assert f"{best} in the learner's own runs" in tab.inner_text("#hi-says")
    for column, value in zip(("objective", "system", "response"), found[best], strict=True):
        assert float(row[column]) == pytest.approx(value, abs=0.0051)

    tab.goto("about:blank")
    opened(tab, shared)
    assert run_row(tab) == row
    tab.fill("#hi-rho", "0.2")  # not this model's any more
    assert set(run_row(tab).values()) == {"–"}
    assert "runs" not in tab.url


def run_row(tab):
    return {column: tab.inner_text(f"#hi-run-{column}") for column in ("size", "system", "response", "objective")}


@pytest.mark.parametrize("text", ["", "42.1", "-1"])
def test_a_bad_number_is_named_and_changes_nothing(tab, site, text):
    opened(tab, site + PAGE)
    before = shown(tab)
    tab.fill("#hi-rho", text)
    assert "offload ratio ρ must be a number in [0, 1]" in tab.inner_text("#hi-says")
    assert tab.get_attribute("#hi-rho", "aria-invalid") == "true"
    assert shown(tab) == before


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
    assert tab.locator("#hi-plot .scatterlayer .trace").count() >= 8


def test_every_control_has_a_label(tab, site):
    opened(tab, site + PAGE)
    unnamed = tab.evaluate(
        """() => [...document.querySelectorAll('#hi-explorer input, #hi-explorer select')]
          .filter(control => !control.labels.length && !control.ariaLabel).map(control => control.id)"""
    )
    assert unnamed == []


def test_a_preset_cannot_end_the_script():
    sneaky = explorer.preset("</script><script>alert(1)</script>", hi.CIFAR10, {0.5: 0.1}, (0.5, 0.9))
    text = explorer.page({"x": sneaky})
    assert text.count("</script>") == 3
    data = re.search(r'id="hi-explorer-data">(.*?)</script>', text, re.DOTALL).group(1)
    assert json.loads(data)["presets"]["x"]["title"] == sneaky["title"]
