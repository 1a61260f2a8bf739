"""What a long measurement keeps on its way."""

from hi_book.makers.registering import Unfinished


def test_a_measurement_that_was_stopped_goes_on(tmp_path):
    path = tmp_path / "build" / "bench.jsonl"
    first = Unfinished(path)
    first.add([1, [{"rtt": 5.0}]])
    first.add({"how": "M = 1"})
    again = Unfinished(path)
    assert again.found == first.found == [[1, [{"rtt": 5.0}]], {"how": "M = 1"}]
    again.end()
    assert not path.exists()
    assert Unfinished(path).found == []
