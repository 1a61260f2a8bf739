"""A real L-ML: against brute force over thresholds, and against the paper's assumption where it holds."""

import math

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hi_lib as hi
from hi_book.figures import real_lml as page
from hi_lib.studies import lml

samples = st.lists(st.tuples(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), st.booleans(), st.booleans()), min_size=1)


def trace_of(rows):
    confidence, correct, large = zip(*rows, strict=True)
    return hi.Trace(confidence, correct, large)


def cost_at(trace, threshold, beta):
    offloaded = trace.confidence < threshold
    return np.where(offloaded, beta + 1 - trace.lml_correct, ~trace.correct).mean()


@settings(max_examples=100, deadline=None)
@given(samples, st.floats(0, 1))
def test_the_best_threshold_is_the_best_of_all(rows, beta):
    trace = trace_of(rows)
    best = lml.best_threshold(trace, beta)
    all_costs = [cost_at(trace, theta, beta) for theta in (0.1, 0.3, 0.6, 0.9)]
    assert best.average_cost == pytest.approx(min(all_costs))
    assert cost_at(trace, best.threshold, beta) == pytest.approx(best.average_cost)
    assert best.offload_ratio == pytest.approx((trace.confidence < best.threshold).mean())


@settings(max_examples=100, deadline=None)
@given(samples, st.floats(0, 1))
def test_an_lml_that_never_errs_is_the_papers(rows, beta):
    trace = trace_of([(p, e, True) for p, e, _ in rows])
    table = lml.curve(trace)
    np.testing.assert_allclose(table["accuracy"], table["assumed_accuracy"])
    assert lml.best_threshold(trace, beta).average_cost == pytest.approx(hi.best_threshold(trace, beta).average_cost)
    run = hi.replay(trace, beta)
    found = lml.outcome(trace, run, beta)
    assert found.average_cost == pytest.approx(run.average_cost)
    assert found.accuracy == pytest.approx(run.accuracy)


def test_a_table_worked_by_hand():
    trace = hi.Trace([0.2, 0.6, 0.9], [0, 1, 1], [1, 0, 1])
    assert lml.curve(trace).to_numpy().tolist() == [
        [0.2, 0.0, 2 / 3, 2 / 3],
        [0.6, 1 / 3, 1.0, 1.0],
        [0.9, 2 / 3, 2 / 3, 1.0],
        [1.0, 1.0, 2 / 3, 1.0],
    ]
    # θ = 0.7 offloads two: one mended, one broken.
    run = hi.replay(trace, 0.5, learner="fixed", threshold=0.7)
    assert lml.outcome(trace, run, 0.5) == pytest.approx((2 / 3, 2 / 3))


def test_a_trace_without_lml_is_refused():
    trace = hi.synthetic_trace(10, 0)
    for ask in (lml.curve, lambda t: lml.best_threshold(t, 0.5), lambda t: lml.outcome(t, hi.replay(t, 0.5), 0.5)):
        with pytest.raises(ValueError, match="synthetic-10 has no L-ML"):
            ask(trace)


def test_a_run_of_another_trace_is_refused():
    trace = hi.Trace([0.5, 0.6], [1, 0], [1, 1])
    with pytest.raises(ValueError, match="one of this trace's 2 samples, got 3"):
        lml.outcome(trace, hi.replay(hi.synthetic_trace(3, 0), 0.5), 0.5)


# The S-ML errs on the first two, on the first of them as the L-ML does; the L-ML alone errs on the third.
FILE = pd.DataFrame(
    {
        "confidence": [0.25, 0.5, 0.625, 0.75],
        "correct": [0, 0, 1, 1],
        "lml_correct": [0, 1, 0, 1],
        "predicted": [1, 1, 0, 0],
        "lml_predicted": [1, 0, 1, 0],
    }
)
TRACE = hi.Trace(FILE["confidence"], FILE["correct"], FILE["lml_correct"], name="a")


def test_both_best_thresholds_by_hand():
    """β = ¼: always right, the L-ML is worth asking twice, for ½ instead of 2; as it is, the first costs 1¼, not 1."""
    row = page.best_thresholds({"a": TRACE}, [0.25]).iloc[0]
    assert row[["assumed_threshold", "assumed_ratio", "assumed_cost"]].tolist() == [0.5625, 0.5, 0.5 / 4]
    assert row[["threshold", "offload_ratio", "average_cost"]].tolist() == [0.5625, 0.5, (1.25 + 0.25) / 4]
    assert row["accuracy"] == 0.75
    assert page.both_wrong(TRACE, FILE, 0.25) == (0.5, 0)  # of the two below the threshold
    assert page.both_wrong(TRACE, FILE.assign(correct=1), 0.25) == (0, 0.5)


def test_costs_of_the_ways_by_hand():
    """One batch, nothing learned yet: an image is offloaded with probability 1 − p, whatever is learned from."""
    drawn = page.shuffled_costs({"a": TRACE}, {"a": FILE}, 0.25, [4], shuffles=1)
    assert drawn["way"].tolist() == [
        "truth",
        "answer",
        "truth, error added",
        "answer, error added",
        "never",
        "best",
        "paper",
    ]
    cost = drawn.set_index("way")["average_cost"]
    q = 1 - FILE["confidence"]
    real = (q * (0.25 + 1 - FILE["lml_correct"]) + (1 - q) * (1 - FILE["correct"])).mean()
    assert cost[["truth", "answer", "truth, error added", "answer, error added"]].tolist() == pytest.approx([real] * 4)
    assert cost["paper"] == pytest.approx((q * 0.25 + (1 - q) * (1 - FILE["correct"])).mean())
    assert cost[["never", "best"]].tolist() == pytest.approx([0.5, 0.375])


def test_numbers_by_hand():
    best = page.best_thresholds({"a": TRACE}, [0.25])
    ways = {
        "truth": 0.5,
        "answer": 0.75,
        "truth, error added": 0.375,
        "answer, error added": 0.5,
        "never": 1,
        "best": 0.25,
    }
    rows = [
        ("a", size, seed, way, cost * size + (0.125 * seed if way == "answer" else 0), 0.75)
        for size in (1, 2)
        for seed in (-1, 1)
        for way, cost in ways.items()
    ]
    drawn = pd.DataFrame(rows, columns=["title", "batch_size", "seed", "way", "average_cost", "accuracy"])
    files = {"a": FILE, "b": FILE}
    both = pd.concat([drawn, drawn.assign(title="b")])
    found = page.example_numbers(dict.fromkeys(files, TRACE), files, both, 0.25)
    assert (found["second_title"], found["first_error"], found["first_hard"]) == ("b", 0.5, 0.5)
    assert (found["first_added_gain"], found["first_answer"], found["first_answer_error"]) == (0.125, 0.25, 0.125)
    assert page.growth_numbers(drawn) == {"largest_size": 2, "real_growth_max": 2, "answer_growth_max": 2}
    curves = {"a": lml.curve(TRACE), "b": pd.DataFrame({"accuracy": [0.5, 0.5]})}
    peak = page.peak_numbers(curves, best, 0.01)
    # With the first two offloaded three of four are right; with all, two.
    assert (peak["peak_title"], peak["peak_gain"], peak["few_count"]) == ("a", 0.25, 0)


def test_examples_that_were_not_asked_for_have_no_numbers():
    drawn = page.shuffled_costs({"a": TRACE}, {"a": FILE}, 0.25, [4, 2, 4], shuffles=1)
    assert drawn["batch_size"].unique().tolist() == [2, 4]
    found = page.example_numbers({"a": TRACE}, {"a": FILE}, drawn, 0.25)
    assert (found["first_title"], found["first_assumed"], found["first_alike"]) == ("a", 0.5, 0.5)
    unknown = [key for key, value in found.items() if value != value]
    assert [key for key in unknown if key.startswith("first_")] == [
        *("first_never", "first_best", "first_truth", "first_truth_accuracy", "first_added_gain"),
        *("first_answer", "first_answer_error"),
    ]
    assert len([key for key in found if key.startswith("second_")]) == len(unknown) - 7
    growth = page.growth_numbers(drawn)
    assert growth["largest_size"] == 4
    assert math.isnan(growth["real_growth_max"])
    alone = page.growth_numbers(page.shuffled_costs({"a": TRACE}, {"a": FILE}, 0.25, [1], shuffles=1))
    assert math.isnan(alone["answer_growth_max"])


def test_nothing_below_the_best_threshold_has_no_share():
    """Offloading at β = 1 never pays."""
    found = page.example_numbers(
        {"a": TRACE}, {"a": FILE}, page.shuffled_costs({"a": TRACE}, {"a": FILE}, 1, [1], shuffles=1), 1
    )
    assert [math.isnan(found[f"first_{what}"]) for what in ("hard", "alike", "only", "answer_error")] == [True] * 4


def test_only_a_trace_that_knows_both_models_answers_is_an_example(tmp_path, monkeypatch):
    monkeypatch.setenv("HI_TRACES", str(tmp_path))
    (tmp_path / "mine.csv").write_text("confidence,correct,lml_correct\n0.5,1,1\n")
    with pytest.raises(ValueError, match="trace mine must say what both models answer"):
        page.answers("mine")
    with pytest.raises(ValueError, match="trace cifar10-resnet56 has no L-ML"):
        page.answers("cifar10-resnet56")
    assert len(page.answers("cifar10-resnet8")) == 10_000


def test_rings_are_those_of_the_best_thresholds():
    best = page.best_thresholds({"a": TRACE}, [0.9, 0.8, 0.7, 0.6, 0.4, 0.4])
    figure = page.accuracy_offload({"a": lml.curve(TRACE)}, best)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()][3:] == [
        f"best θ, β = {b}" for b in (0.4, 0.6, 0.7, 0.8, 0.9)
    ]
    assert len(figure.axes[0].lines) == 3 + 5
    plt.close(figure)


def test_devices_compare_at_their_weight():
    devices = pd.DataFrame({page.EXACT: [1, 3]})
    assert page.device_numbers(devices, 0.25) == {
        **{"alpha": 0.25, "exact_most": 3},
        **{"imagenette_beta": hi.IMAGENETTE.beta, "cifar10_beta": hi.CIFAR10.beta},
    }


def test_times_by_hand():
    models = ("imagenette-efficientnet_lite2", "cifar10-resnet56")
    rows = [(model, size, 4.0 * (place + size)) for place, model in enumerate(models) for size in (1, 32)]
    measured = pd.DataFrame(rows, columns=["model", "batch_size", "milliseconds"])
    found = page.time_numbers(measured, {"cores": 2, "processor": "abacus"})
    assert found["machine"] == "2 cores of type abacus"
    assert (found["efficientnet_over"], found["resnet56_over"]) == (1, 32 * 8 / (4 * 33))
    table = page.times(measured, {models[1]: page.Line(4, 4, 0.5, 0.25)})
    assert table.loc["ResNet-56 (ONNX)"].tolist() == ["8.00", "4.00 ± 0.50", "4.000 ± 0.250", "132.0", "256.0"]
