"""What the page on the regret bound counts, on one sample and one shape of trace, worked out by hand."""

import math

import pandas as pd
import pytest

import hi_lib as hi
from hi_book.figures import regret_bound as page

# One wrong answer at ½: thresholds up to ½ pay 1, those above pay β = ½, so that a uniform θ pays ¾ and regrets ¼.
ONE = page.Case(hi.Trace([0.5], [0]), 0.5, [1])


def test_slack_by_hand():
    steps = page.slack(ONE)
    assert list(steps["learning_rate"]) == ["tuned", "fixed"]
    assert steps["regret"].tolist() == pytest.approx([0.25, 0.25])
    assert steps["bound"].tolist() == pytest.approx([math.sqrt(math.log(2) / 2)] * 2)
    assert steps[["shortest cell", "short batch"]].abs().max(axis=None) < 1e-12  # both cells have length ½
    eta = math.sqrt(8 * math.log(2))
    mass = (math.exp(-eta) + math.exp(-eta / 2)) / 2
    assert steps["other cells"][0] == pytest.approx((math.log(mass) + eta / 2 + math.log(2)) / eta)


def test_realised_regret_by_hand():
    row = page.realised(ONE, draws=400, failure=1.0).iloc[0]
    assert row["expected"] == pytest.approx(0.25)
    assert (row["low"], row["high"]) == (0, 0.5)  # one cell or the other
    assert row["mean"] == pytest.approx(0.25, abs=5 * row["deviation"] / 20)
    assert row["limit"] == pytest.approx(math.sqrt(math.log(2) / 2))  # at δ = 1 the margin vanishes
    assert row["share_above"] == 0


@pytest.mark.uncounted
def test_the_bounds_are_what_calculus_says():
    pytest.importorskip("sympy")
    assert page.algebra_holds()
    rate, least, stated = page.least_bounds()["full feedback"]
    at = {"n": 8, "M": 4, "L": 1}
    assert [
        float(value.subs({symbol: at[str(symbol)] for symbol in value.free_symbols})) for value in (rate, least)
    ] == [
        0.5,  # √(8 L / (n M))
        4.0,  # √(n M L / 2)
    ]
    assert str(stated) == "sqrt(2)*sqrt(L)*sqrt(M)*sqrt(n)/2"
    assert page.bounds_in_markdown().count("\n") == 4


def test_the_counterexample_regrets_more_than_the_papers_bound():
    """Nearly all thresholds accept at first and pay 1, the few above 0.999 offload and pay ½: 500 less in the end."""
    found = page.counterexample()
    assert found["counterexample_bound"] == pytest.approx(math.sqrt(1000 * math.log(1 / 0.899) / 2))
    assert found["counterexample_bound"] < found["counterexample_regret"] < 500


def test_one_draw_leaves_open_how_far_it_is_off():
    row = page.realised(ONE, draws=1, failure=1.0)
    found = page.numbers(ONE, page.slack(ONE), row, draws=1)
    assert math.isnan(found["realised_mean_error"])
    assert found["realised_above_limit"] == 0


def test_a_trace_of_one_cell_has_nothing_to_regret():
    case = page.Case(hi.Trace([1.0, 1.0], [1, 0], name="sure"), 0.5, [1, 2])
    steps, drawn = page.slack(case), page.realised(case, draws=5, failure=0.5)
    found = page.numbers(case, steps, drawn, draws=5)
    unknown = {name for name, value in found.items() if isinstance(value, float) and math.isnan(value)}
    assert unknown == {"realised_mean_error", "bound_growth_16", "bound_form_differs"}
    assert found["regret_share_most"] == 0  # of the bound at η = 1
    assert found["decomposition_error"] < 1e-12
    page.draw_bound_slack(steps)
    page.draw_realised_regret(drawn)


def test_first_samples_are_as_many_as_a_trace_has():
    heads = page.Heads(0.5, [1], 400, 100)
    assert heads.counts(1000).tolist()[::7] == [100, 400]
    assert heads.counts(200).tolist()[-1] == 200
    assert heads.counts(50).tolist() == [50]
    assert math.isnan(page._decay("cifar10-alexnet", 1, page.Heads(0.5, [1], 200, 200), shuffles=1))


def test_numbers_of_the_shipped_traces_say_what_was_run():
    names = ["cifar10-alexnet", "cifar10-resnet8"]
    runs = pd.DataFrame({"trace": names, "seed": 0, "beta": [0.5, 0.1], "batch_size": [8, 1]})
    found = page.shipped_numbers(
        runs.assign(regret=[1.0, 3.0], regret_bound=4.0), [0.25, 0.75], page.Heads(0.5, [16, 1], 200, 20_000)
    )
    assert (found["all_betas"], found["all_batch_sizes"]) == ("0.1 and 0.5", "1 and 8")
    assert (found["decay_batch_sizes"], found["decay_from"], found["decay_to"]) == ("1 and 16", 200, 10_000)
    assert (found["regret_over_bound_max"], found["decay_least"], found["decay_most"]) == (0.75, 0.25, 0.75)
