"""What the page on exact times counts, on times small enough to work out by hand."""

from dataclasses import replace

import numpy as np
import pytest

import hi_lib as hi
from hi_book.figures import exact_times as page

# At ρ = 1 every batch sends, and all of it: t_s = 3 + 12/M and, offloads first, t_r = (M + 1)/2 + 12 + 2 M.
EVEN = hi.TimingModel(tau_ed=1, tau_es=1, tau_tx=1, tau_nw=12)


def objective(size, alpha):
    return alpha * (3 + 12 / size) + (1 - alpha) * ((size + 1) / 2 + 12 + 2 * size)


def test_errors_by_hand():
    even = page.errors(EVEN, 1.0, [0.5, 0.9], error=0.5)["α = 0.5"]
    assert even["formula", "the paper's, right parameters"] == 0  # at ρ = 1 the paper is exact
    assert even["M*", "one less"] == pytest.approx(objective(1, 0.5) - objective(2, 0.5))  # M† = √(12 / 2.5) = 2.19
    assert even["M*", "one more"] == pytest.approx(objective(3, 0.5) - objective(2, 0.5))
    assert even["τ_nw", "half"] == 0  # √(6 / 2.5) = 1.55 still gives two
    assert even["τ_nw", "one and a half"] == pytest.approx(objective(3, 0.5) - objective(2, 0.5))  # √(18 / 2.5) = 2.68


def test_below_one_there_is_no_neighbour():
    table = page.errors(replace(EVEN, tau_nw=1), 1.0, [0.5], error=0.5)  # M† = √(1 / 2.5) at α = ½
    assert np.isnan(table["α = 0.5"]["M*", "one less"])
    assert table["α = 0.5"]["M*", "one more"] > 0


def test_worthwhile_network_time_by_hand():
    """At ρ = 1 and α = ½ two beat one where τ_nw/2 of system time outweigh half a sample more, and two services."""
    assert page.worthwhile(EVEN, 1.0, 0.5) == {"worst": 2 * (0.5 + 2), "average": 2 * (0.5 + 2)}


def test_numbers_by_hand():
    axes = np.array([0.5, 1.0]), np.array([1.0, 12.0])
    maps = {0.5: (np.array([[1.0, 2.0]]), np.array([[0.0, 0.5]]), np.array([[4.0, 5.0]]))}
    found = page.numbers((EVEN, 0.5), axes, maps, page.Reading([0.3, 0.9], above_alpha=0.9, above_network=50))
    assert (found["smaller_than_exact"], found["points"]) == (0, 2 * 4)
    assert (found["excess_max"], found["excess_share"]) == (2, 0.5)
    assert (found["extra_max"], found["extra_max_relative"]) == (0.5, pytest.approx(10))
    assert found["second_difference_min"] > 0
    assert found["worthwhile_holds"]
    assert (found["overcharge"], found["paper_vanilla"]) == (6, 1 + 1 + 12)


def test_a_learner_at_work_on_certain_offloads():
    """Everything is always offloaded: f is known, and no advice can be better than the best size."""
    trace = hi.Trace([1e-12] * 12, [0] * 12, name="nearly certain")
    timing = hi.TimingModel(tau_ed=1, tau_es=1, tau_tx=1, tau_nw=30)
    work = page.at_work(trace, beta=0.5, alpha=0.9, shuffles=2, timing=timing)
    for size, value in zip(work.sizes, work.objective, strict=True):
        if 12 % size == 0:
            exact = [float(timing.objective(size, 1.0, 0.9, model)) for model in ("worst", "average")]
            assert [value, value] == pytest.approx(exact, rel=1e-9)
    assert work.best.objective == pytest.approx(work.objective.min())
    assert all(work.price(model) >= -1e-12 for model in work.advised)
    found = page.work_numbers([work, work])
    assert found["work_first_best"] == found["work_second_best"] == work.best.batch_size
    assert found["work_first_name"] == "nearly certain"


def test_advice_is_not_larger_than_the_trace():
    """Where nothing can be offloaded, the paper's formula asks for batches without end."""
    sure = hi.Trace([1.0] * 12, [1] * 12, name="cifar10-resnet8")
    work = page.at_work(sure, beta=0.5, alpha=0.9, shuffles=1)
    assert work.advised == {"paper": 12, "worst": 1, "average": 1}
    assert work.best.objective == pytest.approx(hi.CIFAR10.timing.tau_ed)
    assert page.work_numbers([work, work])["work_second_paper_price"] == pytest.approx(0)


def test_axes_of_the_maps_rise_whichever_end_comes_first():
    ratios, times = page.map_axes(0.5, 200, 1.0)
    assert (ratios[0], ratios[-1], ratios.size) == (0.5, 1, 80)
    assert (times[0], times[-1], times.size) == (1, pytest.approx(200), 80)
    assert page.map_axes(1, 5, 5)[1].tolist() == pytest.approx([5])
    with pytest.raises(ValueError, match=r"fastest_network must be in \(0, inf\), got 0"):
        page.map_axes(0.5, 0, 1)
