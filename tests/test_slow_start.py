"""TCP's rounds, against a sender that is followed packet by packet."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hi_lib import slow_start


def followed(segments, window, each, rtt):
    """Whole windows, one after the other: each begins once the first acknowledgement of the one before is back."""
    now, left = 0.0, segments
    while True:
        sent = min(left, window)
        left -= sent
        if not left:
            return now + sent * each + rtt
        now += max(window * each, rtt + each)
        window = 2 * window - 1


@given(st.integers(1, 400), st.sampled_from([5.0, 20.0, 50.0]), st.sampled_from([1e6, 10e6, 50e6]), st.integers(1, 4))
def test_a_cold_window_takes_the_rounds_that_it_takes(segments, rtt, rate, halvings):
    each = 8000 * (slow_start.SEGMENT + slow_start.HEADERS) / rate
    window = max(float(slow_start.FIRST_WINDOW), segments / (2.0**halvings - 1))
    found = slow_start._time(segments * slow_start.SEGMENT, rtt, rate / 8000, halvings)
    assert found == pytest.approx(followed(segments, window, each, rtt))
    assert found >= slow_start._time(segments * slow_start.SEGMENT, rtt, rate / 8000, 0) - 1e-9


def test_what_is_no_transmission_is_refused():
    for arguments, says in (
        ((-1, 20, 50e6), "sent_bytes must be in"),
        ((1, -1, 50e6), "rtt must be"),
        ((1, 20, 0), "rate must be"),
        ((1, 20, 50e6, -1), "idle must be"),
    ):
        with pytest.raises(ValueError, match=says):
            slow_start.transmission_time(*arguments)


def test_windows_are_halved_once_for_each_timeout():
    assert [slow_start.idle_halvings(idle, 20) for idle in (0, 199, 201, 430, 2000)] == [0, 0, 1, 2, 9]
