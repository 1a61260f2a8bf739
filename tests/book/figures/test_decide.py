"""The page "Decide" before it computes: what it begins with, and the picture that stands there without a script."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

import hi_lib as hi
from hi_book.figures import decide
from hi_lib.advise.policies import RULE
from hi_lib.events.simulation import simulate

TRACE = hi.load_trace("cifar10-alexnet").shuffled(0)
FOUND = hi.evaluate(TRACE, 0.3, 0.9, hi.CIFAR10.timing, hi.Conditions(window=4))


def test_it_begins_with_the_times_of_the_traces_setting():
    first = decide.start("cifar10-alexnet", 0.3, 0.9)
    tau_tx = 8 * 1024 * first["kilobytes"] / (first["rate"] * 1e6) * 1e3
    assert (first["tau_ed"], first["tau_es"], first["tau_nw"]) == (0.39, 4.29, 20)
    assert tau_tx == pytest.approx(hi.CIFAR10.timing.tau_tx, rel=0.01)
    with pytest.raises(ValueError, match="alpha must be in"):
        decide.start("cifar10-alexnet", 0.3, 1)
    with pytest.raises(ValueError, match="watched must be one of"):
        decide.beginning_with("nobody", ["a", "b"])
    assert decide.beginning_with("b", ["a", "b"]) == ["b", "a"]


def test_every_field_stands_on_the_page():
    text = decide.page(["cifar10-alexnet"], decide.start("cifar10-alexnet", 0.3, 0.9), "says", "<svg></svg>")
    for field in (*decide.QUESTIONS, *decide.TIMES):
        assert text.count(f'id="hi-{field.id}"') == 1
        assert field.low < field.high
    assert 'value="4"' in decide.watch(["cifar10-alexnet"], 0.5, 4, "")


def test_the_picture_has_every_way_and_every_policy():
    figure = decide.draw(FOUND)
    left, right = figure.axes
    waits, out, chosen = left.lines
    rows = FOUND.recommendation.ways
    assert np.allclose(np.append(waits.get_xdata(), out.get_xdata()), [row.system_time for row in rows])
    assert np.allclose(np.append(waits.get_ydata(), out.get_ydata()), [row.response_time for row in rows])
    assert chosen.get_xdata() == FOUND.recommendation.sent.system_time
    widths = [bar.get_width() for bar in right.patches]
    assert widths == [one.average_cost for one in FOUND.compared.policies[FOUND.compared.counted].values()]
    plt.close(figure)


def test_the_table_of_decisions_counts_what_it_lists():
    table = decide.decisions(["cifar10-alexnet"], 0)
    assert table["β"].tolist() == list(decide.PRICES)
    for row, beta in zip(table.itertuples(index=False), decide.PRICES, strict=True):
        found = hi.evaluate(TRACE, beta, decide.WEIGHT, hi.CIFAR10.timing).recommendation
        assert (row.policy, row[3]) == (found.policy, found.cost)
    said = decide.numbers(FOUND, table, decide.rivals(FOUND), "AlexNet")
    assert said["pays"] == (~table["policy"].isin(["never", "always"])).sum()
    assert said["rule"] == (table["policy"] == RULE).sum()


def test_the_command_is_one_for_the_trace():
    says = decide.command("cifar10-alexnet", 0.3, 0.9, 0)
    assert says.startswith(
        ".venv/bin/hi evaluate data/traces/cifar10-alexnet.csv --beta 0.3 --alpha 0.9 --tau-ed 0.39 "
    )
    assert decide.command("my own", 0.3, 0.9, 0).startswith(".venv/bin/hi evaluate 'my own.csv'")


def test_the_learner_at_work_ends_where_its_run_does():
    figure = decide.draw_watched(TRACE, 0.5, 4)
    run = hi.replay(TRACE, 0.5, 4)
    assert figure.axes[1].lines[0].get_ydata()[-1] == pytest.approx(run.average_cost)
    plt.close(figure)


@pytest.mark.uncounted
def test_the_first_pages_picture_compares_ways_with_the_same_offloads():
    lines = decide.rivals(FOUND)
    flags = FOUND.compared.chosen().offloaded
    for rows, unit in zip(lines.values(), ("samples", "offloads", "offloads"), strict=True):
        for row in rows[::6]:
            how = {"unit": unit, "window": row.way.window, "max_wait": row.way.longest_wait}
            assert row.system_time == pytest.approx(simulate(FOUND.timing, flags, row.way.size, **how).system_time)
    figure = decide.draw_answers(FOUND, lines)
    assert [line.get_label() for line in figure.axes[0].lines] == list(lines)
    said = decide.numbers(FOUND, decide.decisions(["cifar10-alexnet"], 0), lines, "AlexNet")
    assert said["out_system"] < said["counted_system"]
    assert said["counted_size"] == min(lines["after m offloads"], key=lambda row: row.objective).way.size
    plt.close(figure)
