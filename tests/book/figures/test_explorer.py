"""What the explorer keeps of the learner's runs, by hand."""

import pytest

import hi_lib as hi
from hi_book.figures import explorer


def test_runs_that_offload_all_are_counted_by_hand():
    trace = hi.Trace([0.0] * 256, [0] * 256)  # a confidence of zero lies below every threshold
    found = explorer.runs_of(trace, [0.0], [0])[0.0]
    sizes = explorer.BATCH_SIZES
    assert found["offloaded"] == pytest.approx([1] * len(sizes))
    for size, sent, waited, served in zip(sizes, found["sent"], found["waited"], found["served"], strict=True):
        batches, rest = divmod(256, size)
        parts = [size] * batches + [rest] * bool(rest)
        assert sent == pytest.approx(len(parts) / 256)
        assert waited == pytest.approx(sum(part * (part + 1) / 2 for part in parts) / 256)
        assert served == pytest.approx(sum(part**2 for part in parts) / 256)


def test_shares_give_the_times_of_any_device():
    trace, device = hi.load_trace("cifar10-resnet8"), hi.TimingModel(0.7, 3.1, 0.6, 11.0)
    found = explorer.runs_of(trace, [0.3], [4])[0.3]
    for place, size in enumerate(explorer.BATCH_SIZES):
        times = device.of_run(hi.replay(trace.shuffled(4), 0.3, size, seed=4))
        offloaded, sent, waited, served = (found[name][place] for name in ("offloaded", "sent", "waited", "served"))
        assert 0.7 + 3.7 * offloaded + 11.0 * sent == pytest.approx(times.system_time, rel=1e-12)
        assert 0.7 * waited + 3.7 * served + 11.0 * offloaded == pytest.approx(times.response_time, rel=1e-12)


def test_a_beta_that_is_given_twice_is_replayed_once():
    trace = hi.Trace([0.25, 0.5] * 8, [0, 1] * 8)
    found = explorer.runs_of(trace, [0.5, 0.25, 0.5], [0])
    assert list(found) == [0.25, 0.5]
    assert len(found[0.5]["sent"]) == len(explorer.BATCH_SIZES)


def test_a_preset_starts_from_the_nearest_price_that_it_has():
    ratios = {0.1: 0.4, 0.9: 0.2}
    assert explorer.preset("a", hi.CIFAR10, ratios, (0.6, 0.5))["beta"] == "0.9"
    with pytest.raises(ValueError, match="alpha must be in"):
        explorer.preset("a", hi.CIFAR10, ratios, (0.5, 1.0))


def test_the_command_is_the_one_that_prints_what_follows():
    assert explorer.command("cifar10-resnet8", 0.5, 0.9) == (
        ".venv/bin/hi evaluate data/traces/cifar10-resnet8.csv --beta 0.5 --alpha 0.9 "
        "--tau-ed 0.39 --tau-es 4.29 --tau-tx 0.49 --tau-nw 20 --shuffle 0"
    )
    other = explorer.command("imagenette-mobilenet_v2_1.0_224", 0.5, 0.9)
    assert "imagenette-mobilenet_v2_1.0_224.csv" in other
    assert "--tau-ed 1.48" in other
    assert "evaluate 'my log.csv' " in explorer.command("my log", 0.5, 0.9)


def test_the_watched_trace_is_one_that_the_page_holds():
    assert explorer.beginning_with("b", ["a", "b", "c"]) == ["b", "a", "c"]
    with pytest.raises(ValueError, match="watched must be one of a, b"):
        explorer.beginning_with("c", ["a", "b"])
