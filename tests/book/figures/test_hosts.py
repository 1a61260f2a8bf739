"""What the page over a wire counts of transmissions through TCP, by hand."""

import math

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from hi_book.figures import hosts as page
from hi_lib.slow_start import transmission_time

COLUMNS = ["data", "rtt", "rate", "congestion", "keep_window", "loss", "idle", "pictures", "bytes", "p50", "p95"]
# One picture of 1448 bytes at 12 Mbit/s: a packet of 1500 bytes takes a millisecond.
ROWS = [
    ("Imagenette", 20.0, 12e6, "cubic", False, 0.0, 5, 1, 1448, 21.0, 22.0),
    ("Imagenette", 20.0, 12e6, "cubic", False, 0.0, 500, 1, 1448, 42.0, 43.0),
    ("Imagenette", 20.0, 12e6, "cubic", True, 0.0, 500, 1, 1448, 21.0, 22.0),
    ("Imagenette", 20.0, 12e6, "bbr", False, 0.0, 500, 1, 1448, 28.4, 29.0),
    ("Imagenette", 20.0, 12e6, "cubic", False, 0.0, 5, 16, 16 * 1448, 36.0, 37.0),
    ("Imagenette", 20.0, 12e6, "cubic", False, 0.01, 5, 16, 16 * 1448, 90.0, 210.0),
]
TABLE = pd.DataFrame(ROWS, columns=COLUMNS).assign(late_p95=0.5, core=0.1, mean=50.0, error=1.0)


def test_numbers_by_hand():
    found = page.numbers(TABLE)
    # Without headers a picture takes 1448/1500 ms.
    assert found["warm_off_most"] == pytest.approx(36 / (20 + 16 * 1448 / 1500) - 1)
    assert found["cold_most"] == found["cold_least"] == 2
    # The law knows no reason why a single packet should take twice as long; the others are as it says.
    assert found["law_half"] == pytest.approx(0)
    assert found["law_worst"] == pytest.approx(0.5)
    assert found["cells"] == 5
    assert math.isnan(found["bbr_most"])  # no single picture over a connection in use
    assert (found["many_whole"], found["many_lost"]) == (36, 90)
    assert math.isnan(found["many_lost_bbr"])
    assert math.isnan(found["cold_longest"])
    slower = TABLE[TABLE["idle"] == 500].assign(idle=2000, p50=63.0)
    assert page.numbers(pd.concat([TABLE, slower]))["cold_longest"] == 3
    assert found["mean_error"] == 0.02


def test_bbr_is_compared_with_cubic_where_both_are_in_use():
    paced = TABLE[TABLE["congestion"] == "bbr"].assign(idle=5, p50=28.0)
    assert page.numbers(pd.concat([TABLE, paced]))["bbr_most"] == pytest.approx(28 / 21)


def test_a_window_that_is_kept_was_never_idle():
    cold = transmission_time(200 * 1448, 20, 12e6, idle=500)
    warm = transmission_time(200 * 1448, 20, 12e6)
    table = TABLE[TABLE["idle"] == 500].assign(bytes=200 * 1448)
    assert page.law(table).tolist() == [cold, warm, warm]  # BBR has seen that much come
    assert warm == pytest.approx(20 + 200)


def test_the_figure_has_a_panel_a_round_trip():
    figure = page.draw(pd.concat([TABLE, TABLE.assign(rtt=5.0)]))
    assert [axis.get_title() for axis in figure.axes[:2]] == ["round trip 5 ms", "round trip 20 ms"]
    dots = [line for line in figure.axes[1].lines if line.get_label() == page.COLD]
    assert dots[0].get_ydata().tolist() == [42]
    plt.close(figure)


def test_the_table_has_a_column_a_number_of_pictures():
    table = page.shown(TABLE)
    assert table.columns.tolist() == ["round trip (ms)", "congestion control", "idle before (ms)", "1", "16"]
    assert table["congestion control"].tolist() == ["bbr", "cubic", "cubic", "cubic, window kept"]


RUNS = pd.DataFrame(
    {
        "how": ["M = 1", "M = 1", "m = 2"],
        "seed": [0, 1, 0],
        "lost": [0, 0, 1],
        "link_p95": [0.1, 0.2, 0.1],
        "link_core": [0.1, 0.1, 0.3],
        **{f"measured_{time}": [11.0, 9.0, 20.0] for time in ("system_time", "response_time")},
        **{f"expected_{time}": [10.0, 10.0, 20.0] for time in ("system_time", "response_time")},
        **{f"realised_{time}": [11.0, 9.0, 16.0] for time in ("system_time", "response_time")},
    }
)


def test_errors_of_runs_by_hand():
    found = page.run_numbers(RUNS)
    assert (found["host_runs"], found["host_seeds"], found["host_lost"]) == (3, 2, 1)
    assert (found["host_late_p95"], found["host_core"]) == (0.2, 0.3)
    assert found["host_expected_system_worst"] == pytest.approx(0.1)
    assert found["host_expected_system_median"] == pytest.approx(0.1)
    assert found["host_expected_response_mean_worst"] == pytest.approx(0)
    assert found["host_realised_system_mean_worst"] == pytest.approx(0.25)


def test_the_figure_has_a_dot_a_run():
    figure = page.draw_runs(RUNS)
    dots = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert sorted(value for line in dots for value in line.get_ydata()) == pytest.approx([-10, 0, 0, 0, 10, 25])
    plt.close(figure)
