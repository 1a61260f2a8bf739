import json
import re
import shlex

import jsonschema
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import hi_lib as hi
from hi_book.commands import main as cli
from hi_book.press import own_page, places
from hi_lib.advise import evaluation, groups, on_paper
from hi_lib.advise.policies import ASSUMED, NEVER, compare
from hi_lib.timing import TimingModel

SCHEMA = json.loads((places.ROOT / "book" / "recommendation.schema.json").read_text())
CSV = hi.load_trace("cifar10-resnet8").shuffled(0)
CSV = hi.Trace(CSV.confidence[:800], CSV.correct[:800], name="mine")


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "mine.csv"
    rows = zip(CSV.confidence.tolist(), CSV.correct.astype(int).tolist(), strict=True)
    path.write_text("confidence,correct\n" + "".join(f"{p!r},{right}\n" for p, right in rows))
    return path


def run(*arguments):
    return CliRunner().invoke(cli.app, ["evaluate", *map(str, arguments)])


def test_it_says_what_the_library_says(mine):
    result = run(mine, "--beta", 0.1, "--alpha", 0.9, "--tau-nw", 60, "--paper", "--json")
    assert result.exit_code == 0, result.output
    found, timing = json.loads(result.stdout), TimingModel(1.48, 4.41, 4.93, 60)
    mine = hi.evaluate(CSV, 0.1, 0.9, timing, hi.Conditions(rate=50e6), paper=True).as_dict()
    assert found["ways"] == json.loads(json.dumps(mine["ways"]))
    assert found["policies"] == json.loads(json.dumps(mine["policies"]))
    assert found["best_threshold"] == hi.best_threshold(CSV, 0.1)._asdict()
    jsonschema.validate(found["recommendation"], SCHEMA)
    paper, first = found["paper"], hi.replay(CSV, 0.1)
    assert paper["runs"][0] == {
        "batch_size": 1,
        **{name: getattr(first, name) for name in ("average_cost", "offload_ratio", "regret", "regret_bound")},
    }
    for model, best in paper["optimal_batch_size"].items():
        assert best == timing.optimal_batch_size(first.offload_ratio, 0.9, model)._asdict()
        assert best["integer"] in [row["batch_size"] for row in paper["runs"]]
    assert paper["times"][0]["system_time_exact"] == timing.system_time(1, first.offload_ratio, "exact")


def test_the_same_in_offloads_is_the_mean_of_runs():
    timing = TimingModel(1.48, 4.41, 4.93, 60)
    found = hi.evaluate(CSV, 0.1, 0.9, timing, paper=True).on_paper.offloads
    runs = [hi.replay(CSV, 0.1, found.model.integer, unit="offloads", seed=seed) for seed in range(on_paper.DRAWS)]
    taken = [timing.of_run(one) for one in runs]
    objectives = [0.9 * times.system_time + 0.1 * times.response_time for times in taken]
    assert found.objective == pytest.approx(np.mean(objectives), rel=1e-12)
    assert found.average_cost == pytest.approx(np.mean([one.average_cost for one in runs]), rel=1e-12)


def test_a_camera_sends_a_sample_every_so_often(mine, tmp_path):
    dated = pd.read_csv(mine)
    dated["time"] = np.arange(len(dated)) * 40.0
    path = tmp_path / "dated.csv"
    dated.to_csv(path, index=False)
    every = run(mine, "--beta", 0.1, "--every", 40).stdout
    assert every.splitlines()[:6] == run(path, "--beta", 0.1, "--time-unit", "ms").stdout.splitlines()[:6]
    assert every != run(mine, "--beta", 0.1).stdout
    twice = run(path, "--beta", 0.1, "--time-unit", "ms", "--every", 40)
    assert twice.exit_code == 2
    assert "--every must be left out where the log says when its samples came" in twice.stderr
    assert "--every must be" in run(mine, "--every", 0).stderr


def test_a_rate_goes_with_a_sending_time(mine):
    assert "--rate must be left out where there is no --image-bytes" in run(mine, "--rate", 200e3).stderr
    slow = ("--tau-ed", 400, "--tau-es", 4, "--tau-nw", 50, "--tau-tx", 20, "--beta", 0.1)
    cold = run(mine, *slow, "--rate", 200e3).stdout
    assert "loses its window" in cold
    # What a cold connection takes is not known without the rate, and the paper's is none of this link.
    assert "loses its window" not in run(mine, *slow).stdout


def test_the_recommendation_comes_first(mine):
    lines = run(mine, "--beta", 0.1).stdout.splitlines()
    assert lines[0].startswith("Recommended: ")
    assert lines.index("") <= 5
    assert "M†" not in "\n".join(lines)
    assert "M* = " in run(mine, "--beta", 0.1, "--paper").stdout


@pytest.mark.parametrize("arguments", [[], ["--beta", 0.9], ["--tau-ed", 30, "--time", "at", "--time-unit", "ms"]])
def test_every_recommendation_fits_its_schema(mine, arguments):
    rows = mine.read_text().splitlines()
    mine.write_text("\n".join([f"{rows[0]},at", *(f"{row},{20 * k}" for k, row in enumerate(rows[1:]))]))
    found = json.loads(run(mine, "--json", *arguments).stdout)["recommendation"]
    jsonschema.validate(found, SCHEMA)
    assert set(found) == set(SCHEMA["properties"])


def test_a_price_in_money_is_a_beta(mine):
    found = json.loads(run(mine, "--offload-cost", 0.02, "--error-cost", 0.2, "--json").stdout)
    assert found["beta"] == pytest.approx(0.1)
    for wrong in (["--offload-cost", 0.02], ["--offload-cost", 1, "--error-cost", 2, "--beta", 0.5]):
        assert "must be given together, and --beta left out" in run(mine, *wrong).stderr
    assert "--offload-cost must be at most --error-cost" in run(mine, "--offload-cost", 3, "--error-cost", 2).stderr


def test_a_budget_is_told_with_what_is_overspent(mine):
    result = json.loads(run(mine, "--beta", 0.1, "--budget", 0.1, "--json").stdout)
    found = result["recommendation"]
    jsonschema.validate(found, SCHEMA)
    compared = compare(CSV, 0.1, 0.1)
    chosen = compared.chosen()
    assert (found["budget"], found["policy"]) == (0.1, chosen.name)
    assert found["overspent"] == pytest.approx(chosen.offload_probability[400:].mean() - 0.1)
    assert [row["policy"] for row in result["policies"]] == list(compared.policies[ASSUMED])
    assert result["best_threshold"]["offload_ratio"] <= 0.1
    text = run(mine, "--beta", 0.1, "--budget", 0.1).stdout
    assert f"offloads {chosen.offload_ratio:.2%}, {abs(found['overspent']):.2%} of all samples " in text
    assert "than the budget of 0.1" in text
    assert "best fixed threshold within the budget of 0.1 in hindsight" in text
    free = json.loads(run(mine, "--beta", 0.1, "--json").stdout)["recommendation"]
    assert (free["budget"], free["overspent"]) == (None, None)


def test_joules_are_a_budget(mine):
    joules = ["--energy-budget", 0.03, "--local-joules", 0.01, "--offload-joules", 0.1]
    assert run(mine, *joules, "--json").stdout == run(mine, "--budget", 0.2, "--json").stdout
    assert "--budget must be left out where --energy-budget is given" in run(mine, *joules, "--budget", 0.2).stderr
    for wrong in (joules[:2], joules[2:], joules[:4]):
        refused = run(mine, *wrong)
        assert refused.exit_code == 2
        assert "--energy-budget, --offload-joules and --local-joules must be given together" in refused.stderr
    assert "joules must be at least 0.05" in run(mine, *joules[:2], "--local-joules", 0.05, *joules[4:]).stderr
    assert "--budget must be in [0, 1]" in run(mine, "--budget", 2).stderr


def test_groups_keep_the_budget_too(devices):
    found = json.loads(run(devices, "--beta", 0.3, "--by", "device", "--budget", 0.1, "--json").stdout)["groups"]
    rows = np.genfromtxt(devices, delimiter=",", skip_header=1, usecols=(0, 1))
    for number, group in enumerate(found["groups"]):
        assert group["recommendation"]["policy"] == compare(hi.Trace(*rows[number::2].T), 0.3, 0.1).chosen().name


def test_without_a_log_the_offload_ratio_is_within_the_budget():
    around = hi.Conditions(budget=0.2)
    found = hi.recommend(0.2, hi.IMAGENETTE.timing, conditions=around).as_dict()
    assert found["budget"] == 0.2
    assert found["says"][0].startswith("Recommended: let HIL-F learn θ, with the adaptive rate; ")  # β is not known
    with pytest.raises(ValueError, match=r"offload_ratio must be in \[0, 0\.2\]"):
        hi.recommend(0.3, hi.IMAGENETTE.timing, conditions=around)
    with pytest.raises(ValueError, match="budget must be in"):
        hi.Conditions(budget=-0.1)


def test_graded_answers_are_right_above_a_grade(tmp_path):
    path = tmp_path / "graded.csv"
    path.write_text("confidence,correct\n" + "".join(f"{k / 100},{k % 10 / 10}\n" for k in range(100)))
    result = run(path, "--correct-above", 0.45, "--json")
    assert json.loads(result.stdout)["accuracy"] == 0.5
    assert "note: correct: where correct is above 0.45, 50.0% of the samples" in result.stderr
    assert run(path).exit_code == 2
    (tmp_path / "none.csv").write_text("confidence,label,predicted\n0.5,a,a\n")
    refused = run(tmp_path / "none.csv", "--correct-above", 0.5)
    assert "has no column correct whose grades could be above correct_above" in refused.stderr


def test_the_worked_example_prints_what_the_book_shows(monkeypatch):
    notebook = json.loads((places.EXECUTED / "decide.ipynb").read_text())
    outputs = [output.get("data", {}) for cell in notebook["cells"] for output in cell.get("outputs", [])]
    text = "\n".join("".join(data.get("text/markdown", "")) for data in outputs)
    command = shlex.split(re.search(r"^\.venv/bin/hi evaluate .*$", text, re.MULTILINE).group())
    shown = ["".join(out["text"]) for cell in notebook["cells"] for out in cell.get("outputs", []) if "text" in out]
    monkeypatch.chdir(places.ROOT)
    assert run(*command[2:]).stdout in shown


def test_the_page_stands_alone(mine, tmp_path):
    page = tmp_path / "page.html"
    result = run(mine, "--html", page)
    assert result.exit_code == 0, result.output
    text = page.read_text()
    assert "<h1>Batch HI on mine</h1>" in text
    assert text.count("<svg") == 1
    assert "average_cost" in text
    assert text.count("Recommended: ") == 2
    assert not re.search(r"(src|href)=.http|@import|url\(http", text)
    assert str(tmp_path) not in text


def test_a_name_cannot_smuggle_markup_into_the_page():
    trace = hi.Trace(CSV.confidence, CSV.correct, name="<script>alert(1)</script>")
    text = own_page.as_html(evaluation.evaluate(trace, 0.5))
    assert "<script" not in text


def test_times_are_fitted_to_measurements(mine, tmp_path):
    device, server = tmp_path / "device.csv", tmp_path / "server.csv"
    device.write_text("batch_size,milliseconds\n" + "".join(f"{m},{0.5 + 2 * m}\n" for m in (1, 2, 4)))
    server.write_text("batch_size;milliseconds\n" + "".join(f"{m};{6 + 3 * m}\n" for m in (1, 2, 8)))
    timing = evaluation.device_timing(TimingModel(1, 1, 5, 20), device, server)
    assert [timing.tau_ed, timing.tau_es, timing.tau_tx, timing.tau_nw] == pytest.approx([2.5, 3, 5, 26])
    result = run(mine, "--device-times", device, "--server-times", server, "--json")
    assert json.loads(result.stdout)["timing"]["tau_nw"] == pytest.approx(26)


def test_decimal_commas_are_read_in_times_too(tmp_path):
    path = tmp_path / "times.csv"
    path.write_text("batch_size;milliseconds\n1;2,5\n2;4,5\n4;8,5\n")
    assert evaluation.device_timing(TimingModel(1, 1, 5, 20), path).tau_ed == pytest.approx(2.5)


def test_the_trace_is_not_overwritten(mine):
    before = mine.read_text()
    result = run(mine, "--html", mine)
    assert result.exit_code == 2
    assert "would replace" in result.stderr
    assert mine.read_text() == before


def test_a_batch_that_never_ends_is_said_to_be_infinite():
    instant = TimingModel(0, 0, 0, 5)
    found = evaluation.evaluate(CSV, 0.5, timing=instant, paper=True)
    assert found.as_dict()["paper"]["optimal_batch_size"]["paper"]["integer"] is None
    assert "M* = inf" in found.as_text()
    assert "<svg" in own_page.as_html(found)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--beta", 1.5], "beta must be in [0, 1]"),
        (["--alpha", 1], "alpha must be in (0, 1)"),
        (["--tau-nw", -1], "tau_nw must be in"),
        (["--tau-ed", "nan"], "tau_ed must be in"),
        (["--shuffle", -1], "--shuffle must be an integer >= 0"),
        (["--tau-nw", 1e300], "tau_nw must be in [0, 1e+09]"),
        (["--tau-es", 3, "--server-times", "x.csv"], "--tau-es must be left out where x.csv"),
        (["--html", "/"], "cannot be written"),
        (["--device-times", "nothing.csv"], "nothing.csv cannot be read"),
    ],
)
def test_bad_options_are_one_line(mine, arguments, says):
    result = run(mine, *arguments)
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert says in result.stderr


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "cannot be read"),
        ("size,ms\n1,2\n", "no column batch_size or milliseconds"),
        ("batch_size,milliseconds\n1,2\n2,3\n", "times at three batch sizes"),
        ("batch_size,milliseconds\n1,2\n2,3\n4,-1\n", "milliseconds must be in"),
        ("batch_size,milliseconds\n1.5,2\n2,3\n4,1\n", "batch_size must be an integer"),
        ("batch_size,milliseconds\n1,9\n2,5\n4,1\n", "must be positive"),
        ("batch_size,milliseconds\n1,2\n2,2\n4,2\n", "must be positive"),
        ("batch_size,milliseconds\n1,2\n2,1e300\n4,2\n", "milliseconds must be in (0, 1e+09]"),
    ],
)
def test_bad_times_are_refused(mine, tmp_path, text, says):
    path = tmp_path / "times.csv"
    path.write_text(text)
    result = run(mine, "--server-times", path)
    assert result.exit_code == 2
    assert says in result.stderr
    assert str(path) in result.stderr


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ([], ["tau_ed", "tau_es", "tau_tx", "tau_nw"]),
        (["--tau-ed", 1, "--tau-nw", 5], ["tau_es", "tau_tx"]),
        (["--device-times", "times.csv", "--network-times", "rtt.txt"], ["tau_es", "tau_tx"]),
        (["--image-bytes", "sizes.txt", "--server-times", "times.csv"], ["tau_ed", "tau_nw", "rate"]),
        (["--image-bytes", "sizes.txt", "--rate", "1e6"], ["tau_ed", "tau_es", "tau_nw"]),
        (["--tau-ed", 0, "--tau-es", 1, "--tau-tx", 1, "--tau-nw", 1], None),
    ],
)
def test_times_of_the_paper_are_said_to_be_that(mine, monkeypatch, arguments, names):
    monkeypatch.chdir(mine.parent)
    (mine.parent / "times.csv").write_text("batch_size,milliseconds\n1,2\n2,4\n4,8\n")
    (mine.parent / "rtt.txt").write_text("20\n30\n")
    (mine.parent / "sizes.txt").write_text("2000\n3000\n")
    found = json.loads(run("mine.csv", *arguments, "--json").stdout)["paper_times"]
    assert found == (names and {"setting": "Imagenette", "names": names})
    text = run("mine.csv", *arguments).stdout
    assert ("note: the times of the paper's Imagenette are yours: " in text) == bool(names)


@pytest.mark.parametrize("place", ["cifar10-resnet8", places.ROOT / "data" / "traces" / "cifar10-resnet8.csv"])
def test_a_shipped_trace_takes_the_times_of_its_own_setting(place):
    found = json.loads(run(place, "--tau-nw", 9, "--json").stdout)
    assert found["timing"] == {"tau_ed": 0.39, "tau_es": 4.29, "tau_tx": 0.49, "tau_nw": 9}
    assert found["paper_times"] == {"setting": "CIFAR-10", "names": ["tau_ed", "tau_es", "tau_tx"]}


@pytest.fixture
def devices(tmp_path):
    """Two cameras, of which one knows what it does not know; the other's confidence says nothing."""
    rng = np.random.default_rng(0)
    confidence = rng.random(600)
    correct = np.where(np.arange(600) % 2, rng.random(600) < 0.5, rng.random(600) < confidence)
    path = tmp_path / "devices.csv"
    rows = [
        f"{p!r},{e:d},cam-{k % 2},{5 * k}" for k, (p, e) in enumerate(zip(confidence.tolist(), correct, strict=True))
    ]
    path.write_text("\n".join(["confidence,correct,device,started", *rows]) + "\n")
    return path


def test_a_row_for_each_group(devices):
    result = run(devices, "--beta", 0.3, "--by", "device", "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)["groups"]
    assert found["column"] == "device"
    assert [group["group"] for group in found["groups"]] == ["cam-0", "cam-1"]
    rows = np.genfromtxt(devices, delimiter=",", skip_header=1, usecols=(0, 1))
    for number, group in enumerate(found["groups"]):
        trace = hi.Trace(*rows[number::2].T)
        around = hi.Conditions(rate=hi.IMAGENETTE.rate)
        alone = evaluation.evaluate(trace, 0.3, timing=hi.IMAGENETTE.timing, conditions=around)
        assert (group["samples"], group["accuracy"]) == (300, trace.accuracy)
        assert group["recommendation"] == json.loads(json.dumps(alone.recommendation.as_dict()))
        assert group["pays"] == alone.compared.answer
    assert [group["pays"] for group in found["groups"]] == ["yes", "no"]
    assert found["note"].startswith("groups differ: HI pays for cam-0; not for cam-1; all together say ")
    text = run(devices, "--beta", 0.3, "--by", "device").stdout
    assert found["note"] in text
    (row,) = (line.split() for line in text.splitlines() if line.startswith("cam-1 "))
    never = compare(trace, 0.3).policies[ASSUMED][NEVER].average_cost
    assert row[:5] == ["cam-1", "300", f"{trace.accuracy:.1%}", f"{never:.4f}", "0.3000"]


def test_groups_that_are_numbers_come_first_and_in_order():
    names = ["10", "nan", "9", "b", "-1", "a"]
    assert sorted(names, key=groups._by_number) == ["-1", "9", "10", "a", "b", "nan"]


def test_groups_that_agree_need_no_note(tmp_path):
    path = tmp_path / "even.csv"
    rows = [f"{(k % 100) / 100},{k % 100 > 40:d},{k % 12}" for k in range(600)]  # right exactly where it is sure
    path.write_text("\n".join(["confidence,correct,hour", *rows]) + "\n")
    found = json.loads(run(path, "--beta", 0.3, "--by", "hour", "--json").stdout)["groups"]
    assert found["note"] is None
    assert [group["group"] for group in found["groups"]] == [str(k) for k in range(12)]  # by number
    assert "groups differ" not in run(path, "--beta", 0.3, "--by", "hour").stdout


def test_groups_have_their_own_conditions(devices):
    """Every device's samples come 10 ms apart, all of them 5: alone each keeps up, together they do not."""
    arguments = (devices, "--beta", 0.3, "--time", "started", "--time-unit", "ms", "--tau-ed", 6, "--window", "inf")
    found = json.loads(run(*arguments, "--by", "device", "--json").stdout)
    assert (found["recommendation"]["keeps_up"], found["recommendation"]["send"]) == (False, None)
    assert all(group["recommendation"]["keeps_up"] for group in found["groups"]["groups"])
    text = run(*arguments).stdout
    assert "the device cannot keep up: a sample comes every 5 ms, and takes 6.0" in text


def test_too_many_groups_are_refused(devices, monkeypatch):
    monkeypatch.setattr(groups, "MOST", 500)
    result = run(devices, "--by", "started")
    assert result.exit_code == 2
    assert "started has 600 different values: at most 500 groups are compared" in result.stderr
    assert result.stderr.count("\n") == 1


def test_thresholds_are_told_as_the_log_has_them(devices):
    lines = [line.split(",") for line in devices.read_text().splitlines()]
    entropies = [f"{2 - 2 * float(cells[0])!r},{cells[1]}" for cells in lines[1::2]]
    devices.write_text("\n".join(["entropy,correct", *entropies]) + "\n")
    arguments = (devices, "--confidence", "entropy", "--rescale", "--beta", 0.3)
    found = json.loads(run(*arguments, "--json").stdout)
    own, best = found["own_units"], found["best_threshold"]["threshold"]
    assert own["name"] == "entropy"
    values = np.array([float(line.split(",")[0]) for line in entropies])
    assert own["best_threshold"] == pytest.approx(values.max() - best / 0.999 * np.ptp(values))
    assert (values > own["best_threshold"]).mean() == found["best_threshold"]["offload_ratio"]
    text = run(*arguments).stdout
    assert f"every offload right: entropy above {own['best_threshold']:.5g}, cost" in text
    assert f"offload what is less sure than {found['recommendation']['own_threshold']}; " in text
    assert "θ = 1 − β is left out" in text
    assert json.loads(run("cifar10-resnet8", "--json").stdout)["own_units"] is None


def test_the_unit_of_network_times_can_be_said(mine, tmp_path):
    (tmp_path / "rtt.txt").write_text("0.02\n0.03\n")
    found = json.loads(run(mine, "--network-times", tmp_path / "rtt.txt", "--network-unit", "s", "--json").stdout)
    assert found["timing"]["tau_nw"] == pytest.approx(25)
    refused = run(mine, "--network-unit", "s")
    assert (refused.exit_code, refused.stderr) == (
        2,
        "error: --network-unit must be left out where there is no --network-times\n",
    )
