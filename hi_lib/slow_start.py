r"""How long a transmission takes through TCP: a round trip, its bytes at the link's rate, and rounds of a small window.

A sender may have a window of :math:`w` segments on the way. While that is less than the link holds, it stops after each
window until the first acknowledgement is back, a round trip after the window began; each round may be twice as large.
With segments that take σ, N of them, and a first window of :math:`w_0`, a transmission and its short answer take

.. math::
    T = r + Nσ + \sum_{k \ge 0,\; w_0 + … + w_k < N} \max(0,\; r + σ - w_k σ), \qquad w_{k+1} = 2 w_k - 1,

with r the round trip (the last acknowledgement of a window may wait for another segment, hence the −1). A connection
that was idle halves its window once for each retransmission time-out, some 200 ms and a round trip, down to ten
segments (RFC 2861, RFC 6928). One that sends N segments again and again, with as much idle time before each, has a
window of :math:`w_0 + N` after each, and so begins with :math:`w_0 = \max(10,\; N/(2^h - 1))` after h halvings; without
any, or where the window is kept, T is r + Nσ.
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
_MOST_HALVINGS = 64  # after which no window is left of any that a machine could have


def transmission_time(sent_bytes: ArrayLike, rtt: float, rate: float, idle: float = 0.0) -> Floats:
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
        For how long the connection has been idle before, ms; 0 where it keeps its window, too.

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
    array([ 43. , 101.7])
    """
    sizes = checks.reals("sent_bytes", sent_bytes, 0, 1e12)
    round_trip = checks.nonnegative("rtt", rtt)
    speed = checks.positive("rate", rate) / 8000  # bytes a millisecond
    halvings = idle_halvings(checks.nonnegative("idle", idle), round_trip)
    found = [_time(float(size), round_trip, speed, halvings) for size in sizes.ravel()]
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

    Raises
    ------
    ValueError
        An argument outside its range.

    Examples
    --------
    >>> warm, cold = (TCP(rtt=20, rate=50e6, image_bytes=30_803, idle=idle) for idle in (0, 2000))
    >>> round(warm(1), 2), round(cold(1), 2), round(cold(4), 2)
    (20.18, 38.02, 65.6)
    """

    rtt: float
    rate: float
    image_bytes: float
    idle: float = 0.0

    def __post_init__(self) -> None:
        checks.nonnegative("rtt", self.rtt)
        checks.positive("rate", self.rate)
        checks.positive("image_bytes", self.image_bytes)
        checks.nonnegative("idle", self.idle)

    def __call__(self, images: int) -> float:
        """ms, for so many images."""
        size = images * self.image_bytes
        return float(transmission_time(size, self.rtt, self.rate, self.idle)) - 8000 * size / self.rate


def _time(size: float, rtt: float, speed: float, halvings: int) -> float:
    segments = math.ceil(size / SEGMENT)
    each = (SEGMENT + HEADERS) / speed
    time = rtt + (size + HEADERS * segments) / speed
    if halvings:
        window = max(float(FIRST_WINDOW), segments / (2.0**halvings - 1))
        sent = window
        while sent < segments and window * each < rtt + each:
            time += rtt + each - window * each
            window = 2 * window - 1
            sent += window
    return time
