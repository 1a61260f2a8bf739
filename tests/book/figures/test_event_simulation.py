"""What the page on the simulation counts, on cases small enough to work out by hand."""

import math

import pandas as pd
import pytest

import hi_lib as hi
from hi_book.figures import event_simulation as page

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
    growth = page.backlog(HALF, page.Queues([1, 2, 4], arrivals=1600, runs=8))
    assert growth["growth by theory"][0] == pytest.approx(15.5 - 15.5 / 1.25)
    assert growth["off by s.e."].abs().max() < 5


def test_streams_are_cut_and_ordered():
    trace = hi.load_trace("cifar10-resnet8")
    found = page.streams("cifar10-resnet8", 0.5, "imagenette-mobilenet_v1_0.25_128", 0.5, longest=100)
    assert found["archive"].samples(0).confidence.tolist() == trace.confidence[:100].tolist()
    assert found["imagenette"].samples(0).confidence.tolist() == trace.shuffled(0).confidence[:100].tolist()
    assert [each.title for each in found.values()] == [
        *("CIFAR-10, ResNet-8, shuffled", "Imagenette, MobileNet v1 0.25-128, shuffled", "CIFAR-10, archive order"),
    ]
    assert found["imagenette"].timing == hi.CIFAR10.timing  # those of the trace's own data set
    assert found["cifar"].timing == hi.IMAGENETTE.timing


def numbers_of(real, plain=None, queue_mean=1.0, sizes=(1, 2)):
    tables = {
        "plain": page.plain(HALF, [2]) if plain is None else plain,
        "varied": page.varied(HALF, 2, 0.5, 6),
        "queue": pd.DataFrame(
            {"batch_size": sizes, "rate": 10.0, "mean": HALF.single_mean(10) + queue_mean, "error": 0.5}
        ),
        "backlog": pd.DataFrame({"off by s.e.": [-2.0, 1.0]}),
        "real": real,
    }
    streams = page.streams("imagenette-mobilenet_v1_0.25_128", 0.7, "cifar10-alexnet", 0.5, longest=100)
    return page.numbers(HALF, page.Queues(sizes, arrivals=400, runs=2), tables, streams)


def real_table():
    names = ["imagenette", "cifar", "archive"]
    real = pd.DataFrame({"rho": [0.5, 0.25, 0.5], "dispersion": [1.0, 2, 3]}, index=names)
    return real.assign(response_ratio=[1.25, 1.5, 2.0], system_ratio=[1, 0.75, 1], system_paper=[0.5, 1, 1])


def test_numbers_of_real_learners_by_hand():
    found = numbers_of(real_table())
    assert (found["imagenette_off"], found["cifar_off"], found["archive_off"]) == (25, 50, 100)
    assert (found["cifar_ratio"], found["paper_system_off"]) == (25, 50)
    assert (found["system_off"], found["dispersion_max"], found["backlog_deviation"]) == (25, 3, 2)
    assert found["queue_deviation"] == pytest.approx(2)
    assert found["deviation_most"] == max(2, *(found[f"{name}_deviation"] for name in ("plain", "varied", "queue")))
    assert found["off_most"] == 100
    assert (found["largest_queue"], found["imagenette_name"]) == (2, "Imagenette, MobileNet v1 0.25-128")
    assert found["plain_means"] == 3
    assert max(found["plain_deviation"], found["varied_deviation"]) < 5


def test_without_single_samples_there_is_no_queue_to_compare():
    found = numbers_of(real_table(), sizes=(2, 4))
    assert math.isnan(found["queue_deviation"])
    assert math.isnan(found["deviation_most"])
    assert found["capacity_one"] == pytest.approx(1000 / 15.5)


def test_a_mean_that_is_right_to_rounding_is_not_off():
    """Where all is offloaded nothing scatters but rounding errors, and a single batch has no standard error."""
    table = page.plain(ALL, [1, 16])
    assert table["off by s.e."].tolist() == [0.0] * 6
    one = page.plain(page.Case(TIMING, 0.5, samples=1, seed=0), [16])
    assert one["s.e."].isna().all()
    assert one["off by s.e."].isna().all()
    assert math.isnan(page.off(2.0, 1.0, 0.0))


def test_few_batches_do_not_show_how_a_backlog_grows():
    growth = page.backlog(HALF, page.Queues([1, 64], arrivals=400, runs=2))
    assert growth["off by s.e."].isna().tolist() == [False, True]
    assert page.backlog(HALF, page.Queues([4], arrivals=1, runs=1))["found"].notna().all()


def test_one_run_scatters_nowhere_and_one_batch_has_no_variance():
    streams = page.streams("imagenette-mobilenet_v1_0.25_128", 0.7, "cifar10-alexnet", 0.5, longest=30)
    table = page.real(streams, [4, 16], shuffles=1)
    assert table.index.tolist() == ["imagenette", "imagenette", "cifar", "cifar", "archive", "archive"]
    assert table.filter(like="_sd").isna().all(axis=None)
    assert table["dispersion"].isna().tolist() == [False, True] * 3
    assert table["response_ratio"].notna().all()
