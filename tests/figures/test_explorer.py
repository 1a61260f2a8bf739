"""What the explorer keeps of the learner's runs, by hand."""

import pytest

import hi_lib as hi
from hi_lib.figures import explorer


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
