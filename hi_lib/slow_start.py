r"""How long a transmission takes through TCP: a round trip, its bytes at the link's rate, and rounds of a small window.

A sender may have a window of :math:`w` segments on the way. While that is less than the link holds, it stops after each
window until the first acknowledgement is back, a round trip after the window began; each round may be twice as large.
With segments that take σ, N of them, and a first window of :math:`w_0`, a transmission and its short answer take

.. math::
    T = r + Nσ + \sum_{k \ge 0,\; w_0 + … + w_k < N} \max(0,\; r + 2σ - w_k σ), \qquad w_{k+1} = \min(2 w_k, W),

with r the round trip (every second segment is acknowledged, hence 2σ). Cubic lets the window double until the
acknowledgements of one round come for longer than half a round trip, and keeps it at that, W, afterwards (Linux' hybrid
slow start); what fills the link is below W.

A connection that was idle halves its window once for each retransmission time-out, some 200 ms and a round trip, down
to ten segments (RFC 2861, RFC 6928), and gains a segment for each that is acknowledged: one that sends N segments again
and again, with h halvings before each, begins with a :math:`w_0` that repeats itself, the first that
:math:`w ← \max(10, ⌊\min(w + N, W) / 2^h⌋)` comes to from ten. Without any halving, or where the window is kept, T is
r + Nσ.

BBR keeps its window over an idle time, but sends no faster than g = 2 / ln 2 times, less one per cent, what it has seen
arrive. If it only ever sends N segments at a time, and takes S for that, it has seen them arrive within r + S, so that
S = (r + S) / g; but it is never slower than at its beginning, with ten segments a round trip. The first two segments
and the last wait for nothing: :math:`T = r + \max(Nσ, (N - 3)\, r \min(1/(10 g), 1/((g - 1) N)))`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from hi_lib import checks
from hi_lib.typing import Floats

SEGMENT, HEADERS = 1448, 52  # bytes: of a picture in a packet, and beside it
FIRST_WINDOW = 10  # segments, of a connection that is new, or has been idle for long (RFC 6928)
LEAST_TIMEOUT = 200.0  # ms beside the round trip, after which a segment is sent again
CONGESTION = ("cubic", "bbr")
_MOST_HALVINGS = 64  # after which no window is left of any that a machine could have
_PACE = 0.99 * 2 / math.log(2)  # of BBR, in the rate that it has seen
_UNPACED = 3  # segments, of BBR: the first two, and the last
_SMALLEST_TO_LEAVE = 16  # segments: cubic's slow start does not end below it
_TRAIN_DELAY = 1.0  # ms that acknowledgements may be later by for one burst to count as one


def transmission_time(
    sent_bytes: ArrayLike, rtt: float, rate: float, idle: float = 0.0, congestion: str = "cubic"
) -> Floats:
    """Time from the first byte sent to a short answer, ms, for transmissions alike of so many bytes each.

    Parameters
    ----------
    sent_bytes : array-like
        Of all pictures of a transmission.
    rtt : float
        Round trip of an empty packet, ms.
    rate : float
        Of the link, bit/s.
    idle : float
        For how long the connection has been idle before, ms; 0 where it keeps its window, too. BBR's does not matter.
    congestion : {"cubic", "bbr"}
        What the sender's kernel uses.

    Returns
    -------
    float or NDArray

    Raises
    ------
    ValueError
        An argument outside its range.

    Examples
    --------
    >>> transmission_time([30_803, 492_842], rtt=20, rate=50e6).round(1)
    array([ 25.1, 101.7])
    >>> transmission_time([30_803, 492_842], rtt=20, rate=50e6, idle=500).round(1)
    array([ 43.2, 120.3])
    >>> transmission_time([30_803, 492_842], rtt=20, rate=50e6, congestion="bbr").round(1)
    array([ 29.3, 101.7])
    """
    sizes = checks.reals("sent_bytes", sent_bytes, 0, 1e12)
    round_trip = checks.nonnegative("rtt", rtt)
    speed = checks.positive("rate", rate) / 8000  # bytes a millisecond
    halvings = idle_halvings(checks.nonnegative("idle", idle), round_trip)
    paced = checks.choice("congestion", congestion, CONGESTION) == "bbr"
    found = [
        _paced(float(size), round_trip, speed) if paced else _time(float(size), round_trip, speed, halvings)
        for size in sizes.ravel()
    ]
    return np.array(found).reshape(sizes.shape)[()]


def idle_halvings(idle: float, rtt: float) -> int:
    """How often a window is halved over an idle time, both in ms: once for each whole time-out in it.

    >>> idle_halvings(100, rtt=20), idle_halvings(300, rtt=20), idle_halvings(500, rtt=20)
    (0, 1, 2)
    """
    return min(max(0, math.ceil((idle + rtt) / (LEAST_TIMEOUT + rtt)) - 1), _MOST_HALVINGS)


@dataclass(frozen=True)
class TCP:
    """Network time of a transmission through TCP by its number of images, ms: `TimingModel`'s `network_time`.

    It is what `transmission_time` has beside the images themselves at the link's rate, which are τ_tx for each.

    Parameters
    ----------
    rtt : float
        Round trip of an empty packet, ms.
    rate : float
        Of the link, bit/s.
    image_bytes : float
        Of an image: τ_tx is `8 * image_bytes / rate` s.
    idle : float
        For how long the connection has been idle before each transmission, ms; 0 where it keeps its window, too.
    congestion : {"cubic", "bbr"}
        What the sender's kernel uses.

    Raises
    ------
    ValueError
        An argument outside its range.

    Examples
    --------
    >>> warm, cold = (TCP(rtt=20, rate=50e6, image_bytes=30_803, idle=idle) for idle in (0, 2000))
    >>> round(warm(1), 2), round(cold(1), 2), round(cold(4), 2)
    (20.18, 38.26, 65.36)
    """

    rtt: float
    rate: float
    image_bytes: float
    idle: float = 0.0
    congestion: str = "cubic"

    def __post_init__(self) -> None:
        checks.nonnegative("rtt", self.rtt)
        checks.positive("rate", self.rate)
        checks.positive("image_bytes", self.image_bytes)
        checks.nonnegative("idle", self.idle)
        checks.choice("congestion", self.congestion, CONGESTION)

    def __call__(self, images: int) -> float:
        """ms, for so many images."""
        size = images * self.image_bytes
        whole = transmission_time(size, self.rtt, self.rate, self.idle, self.congestion)
        return float(whole) - 8000 * size / self.rate


def _time(size: float, rtt: float, speed: float, halvings: int) -> float:
    """Through cubic, ms, at so many bytes a millisecond."""
    segments, each, alone = _segments(size, speed)
    time = rtt + alone
    if halvings:
        window, largest = _steady_window(segments, rtt, each, halvings)
        sent = window
        while sent < segments and window * each < rtt + 2 * each:
            time += rtt + 2 * each - window * each
            window = min(2 * window, largest)
            sent += window
    return time


def _paced(size: float, rtt: float, speed: float) -> float:
    """Through BBR, on a connection that sends such transmissions only, ms."""
    segments, _, alone = _segments(size, speed)
    begun, seen = 1 / (_PACE * FIRST_WINDOW), 1 / ((_PACE - 1) * max(segments, 1))  # round trips a segment
    return rtt + max(alone, max(segments - _UNPACED, 0) * rtt * min(begun, seen))


def _segments(size: float, speed: float) -> tuple[int, float, float]:
    """How many, what a full one takes, and what all take, ms."""
    segments = math.ceil(size / SEGMENT)
    return segments, (SEGMENT + HEADERS) / speed, (size + HEADERS * segments) / speed


def _steady_window(segments: int, rtt: float, each: float, halvings: int) -> tuple[float, float]:
    """The window with which each of many transmissions alike begins, and the largest that slow start lets it become."""
    train = math.ceil((rtt + _TRAIN_DELAY) / (2 * each))
    begun, largest, window = 0.0, math.inf, float(FIRST_WINDOW)
    while window != begun:
        begun, left = window, segments
        while left > 0 and window < largest:  # a round
            acknowledged = min(left, int(window))
            if largest == math.inf and acknowledged > train and window >= _SMALLEST_TO_LEAVE:
                largest = window + train + 1
            left -= int(window)
            window = min(window + acknowledged, largest)
        window = float(max(FIRST_WINDOW, int(window) >> halvings))
    return begun, largest
