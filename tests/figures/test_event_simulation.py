"""What the page on the simulation counts, on cases small enough to work out by hand."""

import pandas as pd
import pytest

import hi_lib as hi
from hi_lib.figures import event_simulation as page

TIMING = hi.TimingModel(tau_ed=1, tau_es=4, tau_tx=5, tau_nw=20)
ALL = page.Case(TIMING, offload_ratio=1.0, samples=10, seed=0)  # nothing is left to chance
HALF = page.Case(TIMING, offload_ratio=0.5, samples=400, seed=0)


def test_plain_times_by_hand():
    """Half of the samples are offloaded, and three of four batches of two send something."""
    table = page.plain(HALF, [2]).set_index("offloads")
    assert table.loc["–", "exact"] == pytest.approx(1 + 0.5 * 9 + 0.75 * 20 / 2)
    assert table.loc["–", "paper"] == pytest.approx(1 + 0.5 * 9 + 20 / 2)
    assert table["off by s.e."].abs().max() < 5


def test_a_server_s_set_up_counts_as_network_time():
    """Where all is offloaded a batch of two takes 2 + 20 + 2 · 9 ms, and its second sample 1 ms less."""
    table = page.varied(ALL, size=2, variation=0.5, server_setup=6).set_index("case")
    assert table.loc["constant", "mean"] == pytest.approx((40 + 39) / 2)
    assert table.loc["server with set-up", "mean"] == pytest.approx((46 + 45) / 2)
    assert table.loc["server with set-up", ["99 %", "99 %, computed"]].tolist() == pytest.approx([46, 46])


def test_queue_by_hand():
    """Half of the samples take 1 ms, half 30 ms: first moment 15.5, second 450.5."""
    assert HALF.capacity(1) == pytest.approx(1000 / 15.5)
    assert HALF.single_mean(10) == pytest.approx(15.5 + 0.01 * 450.5 / (2 * (1 - 0.155)))
    assert page.recursion_error(HALF) < 1e-6
    growth = page.backlog(HALF, 200)
    assert growth["growth by theory"][0] == pytest.approx(15.5 - 15.5 / 1.25)
    assert growth["off by s.e."].abs().max() < 5


def test_streams_are_cut_and_ordered():
    trace = hi.synthetic_trace(5000, 0)
    stream = page.Stream(trace, 0.5, hi.IMAGENETTE, shuffled=False)
    assert stream.samples(0).confidence.tolist() == trace.confidence[:3925].tolist()
    assert (
        page.Stream(trace, 0.5, hi.IMAGENETTE).samples(0).confidence.tolist() != stream.samples(0).confidence.tolist()
    )
    titles = list(page.streams((trace, 0.5), (hi.load_trace("cifar10-resnet8"), 0.5)))
    assert titles[1] == "CIFAR-10, ResNet-8, shuffled"


def test_numbers_of_real_learners_by_hand():
    orders = ["Imagenette, x, shuffled", "CIFAR-10, y, shuffled", "Imagenette, archive order"]
    real = pd.DataFrame({"order": orders, "batch_size": [4, 64, 4], "rho": [0.5, 0.25, 0.5], "dispersion": [1.0, 2, 3]})
    real = real.assign(response_ratio=[1.25, 1.5, 2.0], system_ratio=[1, 0.75, 1])
    tables = {
        "plain": page.plain(HALF, [2]),
        "varied": page.varied(HALF, 2, 0.5, 6),
        "queue": pd.DataFrame(
            {"batch_size": [1, 2], "rate": [10.0, 10], "mean": [HALF.single_mean(10) + 1, 0], "error": 0.5}
        ),
        "backlog": pd.DataFrame({"off by s.e.": [-2.0, 1.0]}),
        "real": real.assign(system_paper=[0.5, 1, 1]),
    }
    found = page.numbers(HALF, tables)
    assert (found["imagenette_off"], found["cifar_off"], found["archive_off"]) == (25, 50, 100)
    assert (found["cifar_ratio"], found["paper_system_off"]) == (25, 50)
    assert (found["system_off"], found["dispersion_max"], found["backlog_deviation"]) == (25, 3, 2)
    assert found["queue_deviation"] == pytest.approx(2)
    assert found["deviation_most"] == max(2, *(found[f"{name}_deviation"] for name in ("plain", "varied", "queue")))
    assert found["plain_means"] == 3
    assert max(found["plain_deviation"], found["varied_deviation"]) < 5
