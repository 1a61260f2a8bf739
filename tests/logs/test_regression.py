"""The score from two values: by Newton's method, on drawn answers, and never fitted on what it is judged on."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import hi_lib as hi
from hi_book.commands import main as cli
from hi_lib.advise.policies import ASSUMED, FITTED, RULE, compare
from hi_lib.logs import reading, regression
from hi_lib.logs.columns import Columns
from hi_lib.logs.reading import Log

MOBILENET = "imagenette-mobilenet_v1_0.5_160"


def drawn(n, weights, seed):
    """Two values of three classes, and answers that are right as the weights say."""
    rng = np.random.default_rng(seed)
    values = np.sort(rng.dirichlet([1.0, 0.7, 0.4], n), axis=1)
    first, second = np.clip(values[:, 2], 1 / 512, 1 - 1 / 512), np.maximum(values[:, 1], 1 / 512)
    x = np.column_stack([np.ones(n), np.log(first / (1 - first)), np.log(second)])
    right = rng.random(n) < 1 / (1 + np.exp(-x @ weights))
    return hi.Trace(values[:, 2], right, second_confidence=values[:, 1]), x


def test_newtons_method_finds_the_same():
    trace, x = drawn(300, np.array([0.3, 0.8, -0.5]), 0)
    weights, plain = np.zeros(3), np.array([0, 1, 0])
    for _ in range(30):
        p = 1 / (1 + np.exp(-x @ weights))
        slope = x.T @ (p - trace.correct) + (weights - plain)
        weights = weights - np.linalg.solve((x * (p * (1 - p))[:, None]).T @ x + np.eye(3), slope)
    np.testing.assert_allclose(regression.fit(trace), weights, atol=1e-4)


def test_what_drew_the_answers_is_found():
    """Within four standard errors, which the information of the samples gives."""
    true = np.array([0.2, 0.7, -0.4])
    trace, x = drawn(40_000, true, 1)
    p = 1 / (1 + np.exp(-x @ true))
    error = np.sqrt(np.diag(np.linalg.inv((x * (p * (1 - p))[:, None]).T @ x)))
    assert (np.abs(np.array(regression.fit(trace)) - true) < 4 * error).all()


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.booleans()), min_size=1, max_size=30))
def test_a_score_is_a_probability(samples):
    first, share, right = zip(*samples, strict=True)
    trace = hi.Trace(first, right, second_confidence=np.array(first) * share)
    score = regression.fit(trace).score(trace)
    assert ((score >= 0) & (score < 1)).all()


def test_nothing_to_fit_on_leaves_the_confidence():
    trace = hi.Trace([0.25, 0.9], [0, 1], [1, 1], "two", [0.2, 0.1])
    found = regression.regressed(trace, np.array([], dtype=int))
    assert found.confidence == pytest.approx([0.25, 0.9])
    assert (found.name, found.lml_correct.tolist(), found.second_confidence) == ("two", [1, 1], None)
    with pytest.raises(ValueError, match="has no second_confidence"):
        regression.fit(hi.load_trace("cifar10-resnet8"))


def test_the_second_half_says_nothing_to_the_fit():
    """Whatever its answers are, they change neither the scores of the second half nor the fitted threshold."""
    trace = hi.load_trace(MOBILENET).shuffled(0)
    half = len(trace) // 2
    turned = np.append(trace.correct[:half], ~trace.correct[half:])
    other = hi.Trace(trace.confidence, turned, second_confidence=trace.second_confidence)
    logs = [Log(each, regression=True) for each in (trace, other)]
    one, two = (regression.out_of_sample(log) for log in logs)
    assert (one.trace.confidence == two.trace.confidence).all()
    assert regression.out_of_sample(one) is one
    found = [compare(log, 0.3).policies[ASSUMED] for log in logs]
    assert found[0][FITTED].threshold == found[1][FITTED].threshold
    alone = regression.fit(trace.chosen(np.arange(half))).score(trace)
    assert (one.trace.confidence == alone).all()


def test_every_group_is_judged_on_what_its_own_fit_has_not_seen():
    """Two groups, one after the other: all of the first is in the first half of the log."""
    trace = hi.load_trace(MOBILENET).shuffled(1)
    names = np.repeat(["a", "b"], [1900, 2025])
    log = Log(trace, groups=reading.Groups("device", names), regression=True)
    found = hi.evaluate(log, 0.3)
    for group, samples in zip(found.groups.groups, (np.arange(1900), np.arange(1900, 3925)), strict=True):
        part = trace.chosen(samples)
        score = regression.regressed(part, np.arange(len(part) // 2))
        expected = compare(score, 0.3).policies[group.compared.counted][RULE].average_cost
        assert group.compared.policies[group.compared.counted][RULE].average_cost == expected


def evaluate(*arguments):
    return CliRunner().invoke(cli.app, ["evaluate", *map(str, arguments)])


@pytest.fixture
def matrix(tmp_path):
    rng = np.random.default_rng(3)
    values = rng.dirichlet([0.6, 0.4, 0.3], 400)
    label = [int(rng.choice(3, p=row**0.7 / (row**0.7).sum())) for row in values]
    path = tmp_path / "classes.csv"
    rows = [",".join(map(repr, row)) + f",{each}" for row, each in zip(values.tolist(), label, strict=True)]
    path.write_text("prob_0,prob_1,prob_2,label\n" + "\n".join(rows) + "\n")
    return path, values, np.array(label) == values.argmax(axis=1)


def test_a_column_a_class_or_two_columns_say_the_same(matrix, tmp_path):
    path, values, right = matrix
    two = tmp_path / "two.csv"
    ordered = np.sort(values, axis=1)[:, ::-1]
    rows = [f"{p!r},{q!r},{int(e)}" for p, q, e in zip(*ordered[:, :2].T.tolist(), right, strict=True)]
    two.write_text("confidence,second_confidence,correct\n" + "\n".join(rows) + "\n")
    results = [evaluate(each, "--score", "regression", "--beta", 0.3, "--json") for each in (path, two)]
    assert [each.exit_code for each in results] == [0, 0], results[0].output + results[1].output
    found = [json.loads(each.stdout) for each in results]
    assert found[0]["policies"] == found[1]["policies"]
    assert "hi evaluate makes a score of it and the second largest, fitted on the first half" in results[0].stderr
    trace = hi.Trace(ordered[:, 0], right, second_confidence=ordered[:, 1])
    expected = compare(Log(trace, regression=True), 0.3).table()
    assert [row["average_cost"] for row in found[0]["policies"]] == expected["average_cost"].tolist()
    plain = json.loads(evaluate(two, "--beta", 0.3, "--json").stdout)["policies"]
    assert plain != found[1]["policies"]
    assert "θ = 1 − β" in [row["policy"] for row in found[0]["policies"]]  # it is a probability


def test_the_second_value_is_kept_with_a_log_that_asks_for_it(matrix, tmp_path, monkeypatch):
    path, values, _ = matrix
    monkeypatch.setenv("HI_TRACES", str(tmp_path / "own"))
    assert reading.read(path).trace.second_confidence is None
    done = CliRunner().invoke(cli.app, ["traces", "import", str(path), "classes", "--score", "regression"])
    assert done.exit_code == 0, done.output
    kept = hi.load_trace("classes")
    np.testing.assert_allclose(kept.second_confidence, np.sort(values, axis=1)[:, 1])


def test_a_column_of_another_name(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("confidence,runner,correct\n0.5,0.25,1\n0.9,0.05,0\n")
    log = reading.read(path, Columns(second_confidence="runner"))
    assert log.trace.second_confidence.tolist() == [0.25, 0.05]
    assert not log.regression
    path.write_text("confidence,top2_prob,correct\n0.5,0.25,1\n0.9,0.05,0\n")
    assert reading.read(path).trace.second_confidence is None  # nobody asked for it
    assert reading.read(path, Columns(score="regression")).trace.second_confidence.tolist() == [0.25, 0.05]


def test_second_values_that_cannot_be_are_refused_where_they_are_asked_for(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("confidence,second_confidence,correct\n0.5,0.75,1\n")
    log = reading.read(path)
    assert log.trace.second_confidence is None
    assert "second_confidence is not used" in log.notes[0]
    with pytest.raises(ValueError, match=r"line 2: second_confidence must be in \[0, 0\.5\], got 0\.75: the second"):
        reading.read(path, Columns(score="regression"))
    path.write_text("confidence,correct\n0.5,1\n")
    with pytest.raises(ValueError, match="score regression is for probabilities or logits, a column a class, or for"):
        reading.read(path, Columns(score="regression"))


@pytest.mark.parametrize(
    "options",
    [
        {"score": "regression", "rescale": True},
        {"second_confidence": "a", "logits": "b"},
        {"second_confidence": "a", "probabilities": "b"},
    ],
)
def test_options_that_contradict_a_regression(options):
    with pytest.raises(ValueError, match="must be left out where"):
        Columns(**options)
