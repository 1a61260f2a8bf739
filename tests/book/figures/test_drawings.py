"""What the figures show: the lines that a reader sees are the numbers that went in, each under its own name."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import hi_lib as hi
from hi_book.figures import (
    adaptive_batch_size,
    batch_size_trade_off,
    calibration,
    data_and_models,
    drift,
    event_simulation,
    exact_times,
    fig2_timing_diagram,
    fig3_cost_vs_batch_size,
    fig4_objective,
    fig5_network_time,
    latency_targets,
    partial_feedback,
    real_lml,
    real_wire,
    regret_bound,
    speed,
    sqrt_m_loss,
    style,
    which_learner,
)
from hi_lib.events import simulation
from hi_lib.studies import lml

# At ρ = 1 every batch sends, and all of it: t_s = 3 + 12/M.
EVEN = hi.TimingModel(tau_ed=1, tau_es=1, tau_tx=1, tau_nw=12)


@pytest.fixture(autouse=True)
def _no_figure_stays():
    yield
    plt.close("all")


def points(line):
    return list(zip(*(np.asarray(values, float).tolist() for values in line.get_data()), strict=True))


def line(axis, label):
    """Points of the one line with this label, as a list of pairs."""
    (found,) = [each for each in axis.lines if each.get_label() == label]
    return points(found)


def bars(axis, label):
    """Points with error bars of one label, and the half lengths of the bars."""
    (found,) = [each for each in axis.containers if each.get_label() == label]
    _, _, (segments,) = found
    return points(found[0]), [(end[1] - start[1]) / 2 for start, end in segments.get_segments()]


def texts(axis):
    return [text.get_text() for text in axis.texts]


def last_row(styler):
    """The last row of a table, as it is shown."""
    return styler.to_string(delimiter="|").strip().splitlines()[-1].split("|")


def legend(figure):
    (found,) = figure.legends
    return [text.get_text() for text in found.get_texts()]


def test_the_price_of_adapting_is_summed_up_in_seconds():
    """Against the best fixed size the first run pays 1000 ms more a sample, the second one 3000 ms."""
    own = {"best fixed": 0, "average network": 0, "adaptive": np.array([[1000], [3000]]), "informed": 0, "fixed m": 0}
    objective = {policy: np.zeros((2, 4)) + value for policy, value in own.items()}
    paths = {"steady": adaptive_batch_size.Paths(np.full(4, 20.0), objective)}
    figure = adaptive_batch_size.price_over_time(paths | {"again": paths["steady"]}, every=2)
    assert points(figure.axes[0].lines[0]) == [(0, 20), (2, 20)]
    assert line(figure.axes[2], "adaptive") == [(0, 2), (2, 6)]
    (band,) = [each for each in figure.axes[2].collections if each.get_datalim(figure.axes[2].transData).y1 > 0]
    assert band.get_paths()[0].vertices[:, 1].max() == 6 + 2 * 3  # 3 s and 9 s: a standard error of 3
    assert legend(figure) == ["average network", "adaptive", "informed", "fixed m"]


def test_bursts_have_a_line_a_policy():
    rows = [("adaptive", 10, 2, 0.5), ("adaptive", 100, 4, 0.5), ("informed", 10, 5, 0), ("informed", 100, 6, 0)]
    figure = adaptive_batch_size.burst_gain(pd.DataFrame(rows, columns=["policy", "length", "gain", "error"]))
    (axis,) = figure.axes
    assert line(axis, "adaptive") == [(10, 2), (100, 4)]
    assert line(axis, "informed") == [(10, 5), (100, 6)]
    assert axis.get_xticks().tolist() == [10, 100]


def test_late_answers_are_means_of_windows_and_runs():
    late = np.array([[1, 1, 0, 0, 1], [1, 0, 0, 0, 1]])  # the fifth sample fills no window
    found = adaptive_batch_size.InTime(np.full(5, 20.0), dict.fromkeys(adaptive_batch_size.POLICY_COLOURS, late), {})
    figure = adaptive_batch_size.deadline_over_time(found, target=0.05, window=2)
    assert line(figure.axes[1], "adaptive") == [(1, 75), (3, 0)]


def test_tables_of_the_adaptive_page_name_their_rows():
    bounds = pd.DataFrame([("M = 4", 0.12345, 1.25, 8.5)], columns=["sizes", "average cost", "regret", "bound"])
    gains = pd.DataFrame([("steady", 12.3, -1.0, 2.0)], columns=["network", adaptive_batch_size.FIXED_COST, "a", "b"])
    policies = ("vanilla", "average network", "best fixed", "adaptive", adaptive_batch_size.RIVAL)
    late = dict.fromkeys(policies, np.array([[True, False]]))
    kept = {"steady": adaptive_batch_size.InTime(np.zeros(2), late, dict.fromkeys(late, 7.0))}
    for shown, cells in (
        (adaptive_batch_size.bounds_table(bounds, LML), ["M = 4", "0.1235", "1.2", "8"]),
        (adaptive_batch_size.gains_table(gains), ["steady", "12.30", "-1.0", "+2.0"]),
        (adaptive_batch_size.deadlines_table(kept, 30, 0.05), [adaptive_batch_size.RIVAL, "50.0", "7.0"]),
    ):
        assert last_row(shown) == cells


def trade_off_table():
    table = pd.DataFrame({"batch_size": [1, 2, 4], "accuracy_mean": 0.9, "accuracy_std": 0.01})
    table = table.assign(average_cost_mean=[0.2, 0.3, 0.4], average_cost_std=0.05, regret=[1.0, 2, 3], regret_bound=9.0)
    return table.assign(system_time=[8, 6, 5.0], system_time_exact=[7, 5, 4.0], response_time=[1, 2, 3.0])


def test_the_trade_off_has_a_row_a_quantity_and_marks_the_optima():
    tables = {"Imagenette, x": trade_off_table(), "CIFAR-10, y": trade_off_table()}
    figure = batch_size_trade_off.trade_off(tables, {title: {0.5: 2} for title in tables})
    shown = np.array(figure.axes).reshape(1 + len(batch_size_trade_off.QUANTITIES), 2)
    assert [axis.get_title() for axis in shown[0]] == list(tables)
    assert [axis.get_yscale() for axis in shown[:, 0]] == ["linear", "log", "log", "linear"]
    assert points(shown[1, 0].lines[1]) == [(1, 9), (2, 9), (4, 9)]
    assert line(shown[0, 0], "average cost") == [(1, 0), (2, pytest.approx(50)), (4, pytest.approx(100))]
    assert texts(shown[3, 1]) == ["M* at α = 0.5"]
    assert texts(shown[1, 1]) == [""]


def test_reliability_leaves_out_bins_of_few_samples():
    table = pd.DataFrame({"confidence": [0.2, 0.5, 0.9], "accuracy": [0.1, 0.5, 1.0], "samples": [10, 9, 200]})
    figure = calibration.reliability_diagrams({"x": {"before": table, "after": table.assign(accuracy=1)}}, 10)
    assert line(figure.axes[0], "before") == [(0.2, 0.1), (0.9, 1)]
    assert line(figure.axes[0], "after") == [(0.2, 1), (0.9, 1)]


def test_offload_curves_end_at_all_samples():
    figure = calibration.offload_curves({"x": hi.Trace([0.75, 0.25], [1, 0])}, {0.5: 0.671})
    assert line(figure.axes[0], "x") == [(0.25, 0.5), (0.75, 1)]
    assert line(figure.axes[0], "paper, β = 0.5") == [(0.5, 0.671)]


def test_what_moves_the_cost_tells_how_far():
    groups = {"S-ML": [0.5, 0.25, 0.375], "M of {sizes}": [0.25, 0.25], "one choice": [0.5], "none": []}
    figure = calibration.what_moves_cost(groups, [4, 1])
    assert sorted(texts(figure.axes[0])) == ["0.0000", "0.2500"]
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == ["M of 1 … 4", "S-ML"]  # from below


def test_whole_tables_are_traces_of_all_samples():
    table = pd.DataFrame({"confidence_float": [0.25, 0.5], "correct_float": [0, 1], "part": ["fit", "report"]})
    assert calibration.whole(table).confidence.tolist() == [0.25, 0.5]
    assert calibration.judged(table, "confidence_float").confidence.tolist() == [0.5]


def test_histograms_stack_right_and_wrong_answers():
    figure = data_and_models.confidence_histograms({"x": hi.Trace([0.1, 0.1, 0.1, 0.9], [1, 0, 0, 1])})
    right, wrong = ([bar.get_height() for bar in part] for part in figure.axes[0].containers)
    assert (right[2], right[22], sum(right)) == (25, 25, 50)
    assert (wrong[2], sum(wrong)) == (50, 50)
    assert legend(figure) == ["S-ML right", "S-ML wrong"]


def test_a_queue_has_a_line_and_a_limit_for_each_batch_size():
    table = pd.DataFrame({"batch_size": [1, 1, 2], "rate": [10, 20, 10], "mean": [20.0, 40, 30], "error": 1.0})
    figure = event_simulation.queue(table, {1: 30, 2: 50}, pd.DataFrame({"rate": [10], "mean": [21]}))
    (axis,) = figure.axes
    assert line(axis, "M = 1") == [(10, 20), (20, 40)]
    assert line(axis, "Pollaczek–Khinchine, M = 1") == [(10, 21)]
    assert [each.get_xdata()[0] for each in axis.lines if each.get_linestyle() == ":"] == [30, 50]


def test_overdispersion_tells_shuffled_from_archive_order():
    columns = {"batch_size": [4, 16], "dispersion": [1, 2], "response_ratio": [1.0, 1.25]}
    shuffled = pd.DataFrame(columns).assign(dispersion_sd=0.5, response_ratio_sd=0.25)
    orders = [shuffled.assign(order="CIFAR-10, y, shuffled"), shuffled.assign(order="Imagenette, archive order")]
    figure = event_simulation.overdispersion(pd.concat(orders, keys=["cifar", "archive"]))
    assert bars(figure.axes[0], "CIFAR-10, y, shuffled") == ([(4, 1), (16, 2)], [0.5, 0.5])
    assert bars(figure.axes[1], "Imagenette, archive order") == ([(4, 1), (16, 1.25)], [0.25, 0.25])
    assert [each[0].get_linestyle() for each in figure.axes[0].containers] == ["-", "--"]


def test_exact_times_stand_beside_the_papers():
    figure = exact_times.exact_against_paper(EVEN, 1.0, [0.5, 0.9], largest=4)
    system, response, objective = figure.axes
    assert [points(each)[0] for each in system.lines] == [(1, 15), (1, 15)]  # at ρ = 1 both are the same
    assert len(response.lines) == 3
    assert texts(objective) == ["α = 0.5", "α = 0.9"]
    # M† = √(12 / 2.5) at α = ½: two, for all three models.
    assert [points(each)[0][0] for each in objective.lines if each.get_marker() == "o"][::2] == [2, 2, 2]


def test_maps_of_the_wrong_optimum_mark_where_the_paper_is():
    excess, extra = np.array([[1.0, 2.0], [4.0, 1.0]]), np.zeros((2, 2))
    figure = exact_times.wrong_optimum({"α = 0.5": (excess, extra)}, [0.5, 1.0], [1.0, 20.0], (0.75, 20))
    above, below = figure.axes[:2]
    assert above.collections[0].get_array().tolist() == excess.tolist()
    assert below.collections[0].get_array().tolist() == extra.tolist()
    assert points(above.lines[0]) == points(below.lines[0]) == [(0.75, 20)]


def test_the_timing_diagram_numbers_every_sample():
    offloaded = [True, False]
    batched, vanilla = (simulation.simulate(EVEN, offloaded, size, record=True).intervals for size in (2, 1))
    figure = fig2_timing_diagram.timing_diagram(batched, vanilla, offloaded, 2)
    above, below = figure.axes
    assert above.get_title(loc="left") == "Batch HI, M = 2: all 2 samples take 16.0 ms"  # 2 + 1 + 12 + 1
    assert below.get_title(loc="left") == "Vanilla HI, M = 1: all 2 samples take 16.0 ms"
    for axis, intervals in ((above, batched), (below, vanilla)):
        assert sorted(texts(axis)) == sorted(str(each.sample + 1) for each in intervals if each.sample is not None)
        assert [bar.get_width() for bar in axis.patches] == [each.end - each.start for each in intervals]


def test_transmissions_are_marked_beside_the_curves():
    runs = pd.DataFrame({"batch_size": [1, 2], "transmissions": [0.5, 0.25], "label": "CIFAR-10, y"})
    curves = pd.DataFrame({"paper": [1, 0.5], "independent": [0.5, 0.4], "vanilla": [0.5, 0.5]}, index=[1, 2])
    a_sample, a_batch = fig2_timing_diagram.transmissions(curves, runs).axes
    assert line(a_sample, "independent") == [(1, 0.5), (2, 0.4)]
    assert line(a_batch, "independent") == [(1, 0.5), (2, 0.8)]
    assert line(a_batch, "HIL-F on CIFAR-10, y") == [(1, 0.5), (2, 0.5)]
    assert line(a_sample, "a testbed's count")[:2] == [(1, 0.39), (5, 0.2)]
    assert line(a_batch, "a testbed's count")[1] == (5, 1)


def cost_table():
    table = pd.DataFrame({"batch_size": [1, 2], "average_cost_mean": [0.25, 0.5], "average_cost_std": 0.1})
    return table.assign(trace="a", beta=0.5, learning_rate="tuned")


def test_costs_are_labelled_at_their_ends():
    floors = pd.DataFrame([("a", 0.5, 0.125)], columns=["trace", "beta", "average_cost"])
    both = pd.concat([cost_table(), cost_table().assign(trace="b", average_cost_mean=0.9)])
    (axis,) = fig3_cost_vs_batch_size.cost_vs_batch_size(both, floors, "a", {"tuned": "A"}).axes
    assert points(axis.lines[0]) == [(1, 0.25), (2, 0.5)]
    assert axis.lines[1].get_ydata() == [0.125, 0.125]
    assert (axis.get_title(), texts(axis)) == ("A", ["β = 0.5"])


def test_relative_costs_begin_at_one():
    figure = fig3_cost_vs_batch_size.relative_cost(cost_table(), {"tuned": "tuned for each M"}, 1.05)
    assert points(figure.axes[0].lines[0]) == [(1, 1), (2, 2)]
    assert legend(figure) == ["β = 0.5"]


def test_both_optima_are_marked_on_the_objective():
    figure = fig4_objective.objective({"x": (EVEN, 1.0)}, [0.5], largest=8)
    (axis,) = figure.axes
    exact = points(axis.lines[1])
    real, whole = (points(each)[0] for each in axis.lines[2:4])
    assert real == pytest.approx(((12 / 2.5) ** 0.5, EVEN.objective((12 / 2.5) ** 0.5, 1.0, 0.5)))
    assert whole == pytest.approx((2, EVEN.objective(2, 1.0, 0.5)))
    assert exact[:2] == [(1, 15), (2, pytest.approx(EVEN.objective(2, 1.0, 0.5, "worst")))]
    assert axis.get_title() == "x, ρ = 1.000"


def test_optima_are_steps_beside_their_relaxation():
    """Figs. 5 and 6: with √(α / (1 − α)) = 1 and 3."""
    times = np.array([10.0, 40.0])
    figure = style.optimal_batch_size({"x": fig5_network_time.optimum(1.0)}, {"x": times}, [0.5, 0.9], "ms", log=True)
    (axis,) = figure.axes
    relaxed, integer, tripled, _ = (points(each) for each in axis.lines)
    assert tripled == [(time, pytest.approx(3 * size)) for time, size in relaxed]
    assert [size for _, size in integer] == [1, 2]  # M† = √(10 / 10.08) and twice that
    assert legend(figure) == ["M*, best integer", "M†, real minimiser"]


def test_simulated_shares_lie_on_the_law():
    """A quarter is offloaded and takes 15 ms: half of the simulated samples are later than the law's first marks."""
    law = EVEN.response_law(1, 0.25)
    figure = latency_targets.response_laws({1: law}, {1: np.array([1.0, 15.0])}, [0.05])
    (axis,) = figure.axes
    marks = points(axis.lines[1])
    assert (marks[0], marks[-1]) == ((1, 0.5), (15, 0))
    assert texts(axis) == ["5% late"]


def test_deadlines_have_a_limit():
    rows = [(0.05, 40, 2, 8.0), (0.05, 60, 4, 6.0)]
    table = pd.DataFrame(rows, columns=["miss_probability", "deadline", "batch_size", "system_time"])
    figure = latency_targets.deadline_optimum(table, {0.05: 30})
    for axis, values in zip(figure.axes, ([2, 4], [8, 6]), strict=True):
        assert line(axis, "at most 5% late") == list(zip([40, 60], values, strict=True))
        assert axis.lines[1].get_xdata() == [30, 30]


def test_the_front_leaves_out_what_is_beaten():
    table = pd.DataFrame({"batch_size": [1, 2, 3], "system_time": [9.0, 8, 8], "mean": [10.0, 11, 12]})
    table = table.assign(p95=table["mean"], p99=table["mean"], mean_front=[True, True, False])
    table = table.assign(p95_front=table["mean_front"], p99_front=table["mean_front"])
    (axis,) = latency_targets.pareto(table, {"mean": "mean", "p95": "95 %", "p99": "99 %"}, [2]).axes
    assert line(axis, "mean") == [(10, 9), (11, 8)]
    assert texts(axis) == ["2", "2"]  # not on the line in the middle


def test_regrets_are_bars_in_the_order_of_size():
    traces, names = {"CIFAR-10, x": 1.0, "Imagenette, y": 2.0}, ("hil-f", "apple")
    rows = [
        (title, size, name, 10 * size * factor * (1 if name == "hil-f" else 0.5) + seed)
        for title, factor in traces.items()
        for size in (1, 4)
        for name in names
        for seed in (-1, 1)
    ]
    figure = which_learner.draw_regrets(pd.DataFrame(rows, columns=["title", "batch_size", "learner", "regret"]))
    one, four = ([bar.get_width() for bar in axis.patches] for axis in figure.axes)
    assert one == [7.5, 15]  # means over the traces and the shuffles; the smaller first
    assert four == [30, 60]
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == ["apple", "hil-f"]
    assert sorted(point for each in figure.axes[0].lines for point in points(each)) == [
        (5, 0),
        (10, 0),
        (10, 1),
        (20, 1),
    ]
    assert [axis.get_title() for axis in figure.axes] == ["M = 1", "M = 4"]
    assert legend(figure) == ["Imagenette", "CIFAR-10"]


def test_the_map_has_a_cell_for_each_trace_and_cost():
    rows = [("cifar10-resnet8", 0.5, "never", 0.004, 0.001), ("cifar10-resnet8", 0.1, "θ = 1 − β", 0.001, 0.001)]
    figure = which_learner.draw_map(pd.DataFrame(rows, columns=["trace", "beta", "first", "lead", "error"]))
    assert texts(figure.axes[0]) == ["4.0", "(1.0)"]  # a lead of one standard error is no more than chance
    clear, pale = (patch.get_facecolor()[:3] for patch in figure.axes[0].patches)
    assert clear == pytest.approx(mpl.colors.to_rgb(which_learner.COLOURS["never"]))
    assert min(pale) > min(mpl.colors.to_rgb(which_learner.COLOURS["θ = 1 − β"]))
    assert legend(figure) == ["never", "θ = 1 − β"]


@pytest.mark.parametrize("count", range(1, 14))
def test_no_panel_stands_alone(count):
    figure, axes = style.panels(count, height=1)
    columns = axes[0].get_subplotspec().get_gridspec().ncols
    assert len(axes) == count
    assert count <= columns or count % columns != 1
    assert columns <= 5
    axes[0].plot([0, 1], label="a line")
    style.shared_legend(figure, 1)
    empty = [axis for axis in figure.axes if axis not in axes]
    legends = [axis.get_legend() for axis in empty[:1]] or figure.legends
    assert [text.get_text() for text in legends[0].get_texts()] == ["a line"]


def test_the_density_keeps_one_scale():
    figure = which_learner.weight_density([0, 0.5, 1], np.array([[1.0, 1.0], [0.0, 2.0]]), [0, 9], best=0.75)
    assert [axis.get_title() for axis in figure.axes] == ["after 0 batches", "after 9 batches"]
    assert [axis.get_ylim() for axis in figure.axes] == [(0, 2.1)] * 2
    assert figure.axes[1].patches[0].get_data().values.tolist() == [0, 2]


@pytest.mark.uncounted
def test_drift_is_drawn_every_sixteenth_sample():
    path = np.array([np.arange(1, 33), np.arange(1, 33) + 2.0])
    paths = {name: path + place for place, name in enumerate(("a", "b", "c", "d", "e", "f"))}
    figure = drift.draw({"x": paths, "y": paths}, change=8)
    assert line(figure.axes[0], "a") == [(16, 17), (32, 33)]
    assert line(figure.axes[1], "e") == [(16, 21), (32, 37)]
    table = drift.table({"x": {"a": path}})
    assert table.to_dict("list") == {"a": [17, 33], "case": ["x", "x"]}


def test_partial_feedback_is_seen_from_two_sides():
    rows = [("hil-f", 100, 1, 5.0), ("hil-f", 400, 1, 10.0), ("hil-f", 400, 4, 20.0)]
    table = pd.DataFrame(rows, columns=["learner", "samples", "batch_size", "regret"])
    figure = partial_feedback.draw(table.assign(error=0.5, bound=40.0, most=100.0))
    assert bars(figure.axes[0], "hil-f") == ([(100, 5), (400, 10)], [1, 1])
    assert bars(figure.axes[1], "hil-f") == ([(1, 10), (4, 20)], [1, 1])


LML = hi.Trace([0.25, 0.5, 0.625, 0.75], [0, 0, 1, 1], [0, 1, 0, 1], name="a")


def test_answers_of_both_models_against_what_is_sent():
    best = pd.DataFrame([("a", 0.5, 0.5, 0.75)], columns=["title", "beta", "offload_ratio", "accuracy"])
    figure = real_lml.accuracy_offload({"a": lml.curve(LML)}, best)
    assumed, real, chance, ring = (points(each) for each in figure.axes[0].lines)
    assert assumed[-1] == (100, 100)
    assert real == [(0, 50), (25, 50), (50, 75), (75, 50), (100, 50)]
    assert chance == [(0, 50), (100, 50)]
    assert ring == [(50, 75)]


def test_costs_of_every_way_have_a_dot_and_their_range():
    rows = [("a", size, way, size / 8, size / 16) for size in (1, 2) for way in real_lml.LABELS]
    table = pd.DataFrame(rows, columns=["title", "batch_size", "way", "average_cost", "accuracy"])
    figure = real_lml.real_cost(table)
    for axis, share in zip(figure.axes, (8, 16), strict=True):
        ranges, dots = axis.collections
        assert [part[:, 0].tolist() for part in ranges.get_segments()] == [[1 / share, 2 / share]] * 7
        assert dots.get_offsets()[:, 0].tolist() == [1.5 / share] * 7
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == list(real_lml.LABELS.values())


def test_times_of_batches_are_medians_and_quartiles():
    measured = pd.DataFrame({"batch_size": [1] * 3 + [4] * 3, "milliseconds": [1.0, 2, 3, 6, 8, 10]})
    measured = measured.assign(model="cifar10-resnet8")
    figure = real_lml.batch_times(measured, {"cifar10-resnet8": real_lml.Line(1, 2, 0, 0)})
    (axis,) = figure.axes
    in_proportion, fitted = (points(each) for each in axis.lines[:2])
    assert (in_proportion[0], in_proportion[-1]) == ((1, 2), (4, 8))
    assert (fitted[0], fitted[-1]) == ((1, 3), (4, 9))
    assert points(axis.containers[0][0]) == [(1, 2), (4, 8)]
    (segments,) = axis.containers[0][2]
    assert [(low, high) for (_, low), (_, high) in segments.get_segments()] == [(1.5, 2.5), (7, 9)]


def test_the_table_of_best_thresholds_shows_both_counts():
    shown = real_lml.best_table(real_lml.best_thresholds({"a": LML}, [0.25]))
    assert last_row(shown) == ["a", "0.25", "0.562", "0.562", "0.500", "0.500", "0.125", "0.375", "0.750"]


def test_slack_adds_up_to_the_bound():
    parts = dict(zip(regret_bound.SLACK_COLOURS, (1.0, 2, 3, 4, 0), strict=True))
    table = pd.DataFrame(
        [{"learning_rate": rate, "batch_size": 1, "bound": 10.0, **parts} for rate in ("tuned", "fixed")]
    )
    figure = regret_bound.draw_bound_slack(table)
    for axis in figure.axes:
        assert [bar.get_height() for bar in axis.patches] == [10, 20, 30, 40, 0]
        assert [bar.get_y() for bar in axis.patches] == [0, 10, 30, 60, 100]
        assert texts(axis) == ["10"]


def test_realised_regret_lies_below_its_limit():
    table = pd.DataFrame({"batch_size": [1, 2], "expected": [10.0, 20], "low": 5.0, "high": 30.0, "limit": [40.0, 50]})
    (axis,) = regret_bound.draw_realised_regret(table).axes
    assert [points(each) for each in axis.lines] == [[(1, 10), (2, 20)], [(1, 40), (2, 50)]]
    assert texts(axis) == ["mean", "limit"]


def test_speed_is_in_microseconds_and_megabytes():
    rows = [(method, 1000, 2e-6, 40.0) for method in speed.METHOD_COLOURS]
    figure = speed.speed(pd.DataFrame(rows, columns=["method", "samples", "seconds_a_round", "peak_megabytes"]))
    assert line(figure.axes[0], "engine") == [(1000, 2)]
    assert line(figure.axes[1], "engine") == [(1000, 40)]


def test_coins_are_exact_bound_and_measured():
    rows = [(case, 4, learner, 9.0, 0.5) for case in ("one confidence", "halving") for learner in ("hil-f", "apple")]
    table = pd.DataFrame(rows, columns=["case", "batch_size", "learner", "mean", "error"])
    figure = sqrt_m_loss.coins(table.assign(exact=10.0, bound=20.0))
    for axis in figure.axes:
        assert line(axis, "every learner, exactly") == [(4, 10)]
        assert line(axis, "bound (HIL-F)") == [(4, 20)]
        assert bars(axis, "HIL-F") == ([(4 * 0.96, 9)], [1])


def test_orders_are_means_of_their_shuffles():
    rows = [
        (rate, order, size, 10.0 * size + seed)
        for rate in ("tuned", "fixed")
        for order in "abc"
        for size in (1, 4)
        for seed in (-1, 1)
    ]
    figure = sqrt_m_loss.sample_orders(pd.DataFrame(rows, columns=["learning_rate", "order", "batch_size", "regret"]))
    assert bars(figure.axes[0], "b") == ([(1, 10), (4, 40)], pytest.approx([2, 2]))
    assert line(figure.axes[1], "slope ½") == [(1, pytest.approx(0.7 * 9)), (4, pytest.approx(0.7 * 9 * 2))]


def test_labels_at_the_ends_of_lines_do_not_overlap():
    _, axis = plt.subplots()
    axis.set_ylim(0, 1)
    style.label_ends(axis, 1, {"upper": (0.51, "k"), "lower": (0.5, "k")})
    heights = {text.get_text(): text.xy[1] for text in axis.texts}
    assert heights["lower"] == 0.5
    assert heights["upper"] == pytest.approx(0.5 + 0.09 * 1.15)


def test_a_figure_is_the_same_svg_every_time():
    def drawn():
        plt.rcParams["svg.hashsalt"] = "batch-hi"
        figure, axis = plt.subplots()
        axis.plot([0, 1])
        return style.as_svg(figure)

    first = drawn()
    assert first.startswith("<svg")
    assert drawn() == first
    assert plt.get_fignums() == []


def test_numbers_and_titles_as_they_are_printed():
    assert style.scientific(2.6e-12) == "2.6e−12"
    assert style.trace_title(" my  $trace\n") == r"my \$trace"


def test_around_the_optimum_factors_are_symmetric_and_samples_are_not():
    panels = {"Imagenette": (hi.IMAGENETTE.timing, 0.421)}
    figure = fig4_objective.around_optimum(panels, [0.5, 0.9])
    left, right = figure.axes
    for line in right.lines:
        assert line.get_ydata() == pytest.approx(line.get_ydata()[::-1], abs=1e-9)
    for line in left.lines:
        assert (line.get_ydata()[:80] > line.get_ydata()[::-1][:80]).all()


def test_the_wire_is_drawn_as_it_was_measured():
    rows = [
        ("cifar10-alexnet", network, size, window, 10.0 / (k + 1), 11.0 / (k + 1))
        for network in (5.0, 20.0)
        for k, (size, window) in enumerate([("1", "waits"), ("4", "waits"), ("adaptive", "waits"), ("1", "inf")])
    ]
    columns = ["trace", "network_time", "batch_size", "window", "measured_system_time", "predicted_system_time"]
    runs = pd.DataFrame(rows, columns=columns)
    runs = runs.assign(sml=None, samples=100, measured_transmissions=10, measured_offload_ratio=0.3, residual=0.01)
    runs["offloads"] = pd.array([pd.NA] * len(runs), dtype="Int64")
    ways = zip(runs["batch_size"], runs["offloads"], runs["window"], strict=True)
    runs["how"] = [real_wire._how(*way) for way in ways]
    for word in ("measured", "predicted"):
        runs[f"{word}_response_time"] = runs[f"{word}_system_time"] + 1
        for level in real_wire.LEVELS:
            runs[f"{word}_{level}_offloaded"] = 30.0
    for name in ("tau_ed", "tau_es", "tau_tx", "tau_nw", "overhead", "framework", "small", "learner"):
        runs[f"stages_{name}"] = 0.5
    upper, lower = real_wire.draw_times(runs).axes
    assert [line.get_ydata().tolist() for line in upper.lines[:2]] == [[11.0, 5.5], [10.0, 5.0]]
    assert lower.lines[1].get_ydata().tolist() == [11.0, 6.0]
    (bars,) = real_wire.draw_parts(runs, 20.0).axes
    tops = [sum(patch.get_height() for patch in bars.patches[place::2]) for place in (0, 1)]
    whole = real_wire.parts(real_wire.waiting(runs)).iloc[0].sum()
    assert tops == pytest.approx([whole, whole])
    table = real_wire.residual_table(runs).data
    assert table.index.tolist() == ["M = 1", "M = 4", "adaptive", "W = ∞"]
    assert (table == 0.01).all(axis=None)
