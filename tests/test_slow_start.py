"""TCP's rounds, against a sender that is followed packet by packet, acknowledgement by acknowledgement."""

import collections
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hi_lib import slow_start

EACH = 0.24  # ms that a full packet takes at 50 Mbit/s


class Sender:
    """Cubic's slow start as Linux has it: a window of packets, ended by a long train of acknowledgements."""

    def __init__(self, rtt, each):
        self.rtt, self.each = rtt, each
        self.window, self.threshold, self.free = 10, math.inf, 0.0

    def idles(self, halvings):
        """Lose the window, but not what it was."""
        self.threshold = max(self.threshold, 3 * self.window // 4)
        self.window = max(10, self.window >> halvings)

    def sends(self, packets):
        """ms until so many packets have arrived and an answer is back."""
        begun = now = self.free
        out, left, until, round_began = collections.deque(), packets, 0, now
        while out or left:
            while left and len(out) < self.window:
                self.free = max(self.free, now) + self.each
                out.append(self.free + self.rtt)
                left -= 1
            heard = min(2, len(out))  # every second packet is acknowledged, and the last
            now = [out.popleft() for _ in range(heard)][-1]
            until -= heard
            if until < 0:  # a round ends with what was out when it began
                until, round_began = len(out), now
            if self.window >= self.threshold:
                continue
            if self.threshold == math.inf and self.window >= 16 and now - round_began > (self.rtt + 1) / 2:
                self.threshold = self.window
            else:
                self.window += heard
        self.free = now
        return now - begun


@pytest.mark.uncounted
@given(st.integers(1, 1400), st.sampled_from([5.0, 20.0, 50.0]), st.integers(1, 8))
def test_transmissions_alike_come_to_take_what_the_law_says(packets, rtt, halvings):
    sender, taken = Sender(rtt, EACH), []
    for _ in range(60):
        taken.append(sender.sends(packets))
        sender.idles(halvings)
    # Where a window is odd an acknowledgement waits, and a train may be longer by one: a few packets more or fewer.
    few = 4
    near = [law(more, rtt, halvings) for more in range(max(1, packets - few), packets + few + 1)]
    assert min(near) - 4 * EACH <= taken[-1] <= max(near) + 4 * EACH
    assert law(packets, rtt, halvings) >= law(packets, rtt, 0) - 1e-9


def law(packets, rtt, halvings):
    """ms, of whole packets."""
    return slow_start._time(
        packets * slow_start.SEGMENT, rtt, (slow_start.SEGMENT + slow_start.HEADERS) / EACH, halvings
    )


@given(st.integers(1, 400), st.integers(1, 64))
def test_the_window_that_a_device_comes_to_is_one_that_repeats_itself(packets, halvings):
    window, largest = slow_start._steady_window(packets, 20.0, EACH, halvings)
    assert max(10, int(min(window + packets, largest)) >> halvings) == window


def test_bbr_sends_at_what_it_has_seen():
    # 22 packets sent in S are seen to arrive in r + S, and sent g times as fast as that again: S stays what it is.
    found = slow_start.transmission_time(22 * 1448, 50, 50e6, idle=500, congestion="bbr")
    sending = (found - 50) * 22 / 19  # the first two and the last are not paced
    assert (50 + sending) / sending == pytest.approx(0.99 * 2 / math.log(2))
    # Five are sent no slower than at the beginning, when ten a round trip were assumed to arrive.
    few = slow_start.transmission_time(5 * 1448, 50, 50e6, congestion="bbr")
    assert few == pytest.approx(50 + 2 * 50 / 10 / (0.99 * 2 / math.log(2)))
    assert slow_start.transmission_time(2 * 1448, 50, 50e6, congestion="bbr") == pytest.approx(50 + 2 * 0.24)
    many = slow_start.transmission_time(300 * 1448, 50, 50e6, congestion="bbr")
    assert many == pytest.approx(slow_start.transmission_time(300 * 1448, 50, 50e6))
    cold = slow_start.TCP(rtt=50, rate=50e6, image_bytes=22 * 1448, congestion="bbr")
    assert cold(1) + 8000 * 22 * 1448 / 50e6 == pytest.approx(found)


def test_what_is_no_transmission_is_refused():
    for arguments, says in (
        ((-1, 20, 50e6), "sent_bytes must be in"),
        ((1, -1, 50e6), "rtt must be"),
        ((1, 20, 0), "rate must be"),
        ((1, 20, 50e6, -1), "idle must be"),
        ((1, 20, 50e6, 0, "reno"), "congestion must be one of cubic, bbr"),
    ):
        with pytest.raises(ValueError, match=says):
            slow_start.transmission_time(*arguments)


def test_windows_are_halved_once_for_each_timeout():
    assert [slow_start.idle_halvings(idle, 20) for idle in (0, 199, 201, 430, 2000)] == [0, 0, 1, 2, 9]
