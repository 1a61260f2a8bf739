"""A device with a queue, compiled: what `simulation.simulate` finds for a constant network, a thousand times faster."""

from __future__ import annotations

import math
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from hi_lib import checks, payload
from hi_lib.regret import sizes_of
from hi_lib.timing import TimingModel
from hi_lib.typing import Floats
from hi_lib.units import UNITS


class Pipeline(NamedTuple):
    """Times of a run, ms."""

    response_time: Floats
    """From a sample's arrival, or its start where it was there before, to its answer, shape (n,)."""
    system_time: float
    """Of the whole run, a sample."""
    delay: NDArray[np.int64]
    """How many further samples are decided, after the end of a sample's batch, before its feedback is in: as `replay`
    wants it, shape (n,)."""
    sizes: NDArray[np.int64]
    """Samples of each batch or cycle."""
    waited: Floats
    """From the first offload of each batch that sends any to its end, ms, shape (transmissions,)."""


def pipeline(
    timing: TimingModel,
    offloaded: ArrayLike,
    batch_size: int | tuple[int, ...],
    arrivals: ArrayLike | None = None,
    *,
    unit: str = "samples",
    network_times: ArrayLike | None = None,
    sending_times: ArrayLike | None = None,
    window: float | None = None,
    max_wait: float = math.inf,
    overhead: float = 0.0,
    server_setup: float = 0.0,
) -> Pipeline:
    """Count directly when each sample is answered; arguments and errors as for `simulation.simulate`.

    `batch_size` may also hold the size of every batch. `network_times` are for a device that waits: with a window,
    transmissions could overtake each other, which is not counted here.

    Examples
    --------
    >>> timing = TimingModel(tau_ed=1, tau_es=4, tau_tx=5, tau_nw=20)
    >>> pipeline(timing, [1, 0, 1], 1, arrivals=[10, 12, 100]).response_time
    array([30., 29., 30.])
    >>> pipeline(timing, [1, 0, 1], 1, window=2).response_time
    array([30.,  1., 33.])
    >>> pipeline(timing, [1, 0, 1, 1], 2, unit="offloads").response_time
    array([41.,  1., 39., 30.])
    >>> late = pipeline(timing, [1, 0, 1], 1, arrivals=[1.7e12, 1.7e12 + 2, 1.7e12 + 90])  # ms since 1970
    >>> late.system_time                                    # counted from the first arrival: 120 ms for three
    40.0
    """
    flags = checks.flags("offloaded", offloaded)
    n = flags.size
    checked_window(window)
    if network_times is not None and window is not None:
        raise ValueError("network_times must be left out where there is a window: let `simulate` count that")
    counts_offloads = checks.choice("unit", unit, UNITS) == "offloads"
    ends, most = np.empty(0, dtype=np.int64), n
    if counts_offloads:
        most = checks.whole("batch_size", batch_size)
    else:
        sizes = sizes_of(batch_size, n)
        if sizes.sum() != n or (sizes < 1).any():
            raise ValueError(f"batch_size must hold sizes >= 1 that add up to {n}, got a sum of {sizes.sum()}")
        if isinstance(batch_size, tuple):
            ends = np.cumsum(sizes)
        else:
            most = checks.whole("batch_size", batch_size)
    there: Floats = np.zeros(n) if arrivals is None else in_order(arrivals, n)
    there = there - there[0]
    waits = math.inf if max_wait == math.inf else checks.nonnegative("max_wait", max_wait)
    network: Floats = np.full(n, timing.tau_nw) if network_times is None else n_times("network_times", network_times, n)
    by_images: Floats = np.empty(0)
    if timing.network_time is not None and network_times is None:
        by_images = payload.table(timing.network_time, int(min(flags.sum(), most)))
    sending = np.empty(0) if sending_times is None else n_times("sending_times", sending_times, n)
    extra = checks.nonnegative("overhead", overhead), checks.nonnegative("server_setup", server_setup)
    slots = 0 if window is None else int(min(window, n + 1))
    started, answered, heard, stops, waited = _count(
        flags,
        there,
        ends,
        (counts_offloads, most, waits),
        (timing.tau_ed, timing.tau_tx, timing.tau_es, *extra),
        sending,
        network,
        by_images,
        slots,
    )
    lengths = np.diff(stops, prepend=0)
    # Batches whose first sample is decided before the feedback is there are all decided without it.
    batches = (started[stops - lengths] + timing.tau_ed).searchsorted(heard, side="left")
    delay = np.append(0, stops)[batches] - np.repeat(stops, lengths)
    response = answered - (started if arrivals is None else there)
    return Pipeline(response, float(heard.max() / n), np.maximum(delay, 0), lengths, waited)


def checked_window(window: float | None) -> None:
    """Refuse what is neither None, for a device that waits, nor a whole number or inf of transmissions."""
    if window is not None and window != math.inf:
        checks.whole("window", window)


def in_order(arrivals: ArrayLike, n: int) -> NDArray[np.float64]:
    """Times of n arrivals, one after the other."""
    times = n_times("arrivals", arrivals, n)
    if (np.diff(times) < 0).any():
        raise ValueError("arrivals must be in order")
    return times


def n_times(where: str, values: ArrayLike, n: int) -> NDArray[np.float64]:
    """n times, ms."""
    times = checks.reals(where, values, 0, np.finfo(float).max)
    if times.shape != (n,):
        raise ValueError(f"{where} must have shape ({n},), got {times.shape}")
    return times


def poisson_arrivals(n: int, rate: float, seed: int | None = None) -> NDArray[np.float64]:
    """Arrival times of n samples, ms, `rate` of them a millisecond on average: exponential gaps."""
    gaps = np.random.default_rng(checks.seed("seed", seed)).exponential(size=checks.whole("n", n))
    return np.cumsum(gaps / checks.positive("rate", rate))


def lognormal_times(mean: ArrayLike, variation: float, seed: int | None = None) -> NDArray[np.float64]:
    """Random network times, ms: lognormal around `mean`, shape (n,), with this coefficient of variation."""
    middle = checks.reals("mean", mean, 0, np.finfo(float).max)
    spread = np.sqrt(np.log1p(checks.nonnegative("variation", variation) ** 2))
    noise = np.random.default_rng(checks.seed("seed", seed)).standard_normal(middle.shape)
    return middle * np.exp(spread * noise - spread**2 / 2)


def mean_error(values: ArrayLike, block: int) -> float:
    """Standard error of the mean of values that hang together within blocks of so many only, e.g. within batches."""
    found, size = np.asarray(values, dtype=float), checks.whole("block", block)
    blocks = found.size // size
    if blocks < 2:
        raise ValueError(f"values must fill at least two blocks of {size}, got {found.size}")
    return float(found[: blocks * size].reshape(blocks, size).mean(axis=1).std(ddof=1) / np.sqrt(blocks))


@numba.njit(cache=True, nogil=True)
def _count(  # type: ignore[no-untyped-def]
    offloaded, arrivals, ends, closing, times, sending, network, by_images, slots
):
    """When each sample is begun and answered, and when the feedback on its batch is in; first come, first served.

    A batch ends where `ends` says, or else with its m-th offload or its M-th sample, or once it has waited too long. So
    many transmissions may be out as there are slots; with none, the device waits for every answer. Also where batches
    end, and for how long the first offload of each transmission waited for that.
    """
    counts_offloads, most, max_wait = closing
    tau_ed, tau_tx, tau_es, overhead, setup = times
    n = arrivals.size
    started, answered, heard, done, waited = np.empty(n), np.empty(n), np.empty(n), np.empty(n), np.empty(n)
    stops = np.empty(n, dtype=np.int64)
    now = link = server = 0.0
    transmissions = batches = first = 0
    while first < n:
        if ends.size:
            last = ends[batches]
        elif counts_offloads:
            last = n
        else:
            last = min(first + most, n)
        closes, sent, uplink, begun = np.inf, 0, 0.0, 0.0
        for sample in range(first, last):
            now = max(now, min(arrivals[sample], max(now, closes)))
            if now >= closes:
                last = sample
                break
            started[sample] = now
            if sample == first and not counts_offloads:
                closes = now + max_wait
            now = started[sample] + tau_ed
            answered[sample] = now
            if offloaded[sample]:
                sent += 1
                uplink = uplink + sending[sample] if sending.size else sent * tau_tx
                if sent == 1:
                    begun = now
                    if counts_offloads:
                        closes = now + max_wait
                if counts_offloads and sent == most:
                    last = sample + 1
                    break
        back = now
        if sent:
            waited[transmissions] = now - begun
            tau_nw = by_images[sent] if by_images.size else network[last - 1]
            now += overhead
            if slots and transmissions >= slots:
                now = max(now, done[transmissions - slots])
            link = max(now, link) + uplink
            server = max(link + tau_nw / 2, server) + setup + sent * tau_es
            # What was sent later does not come back sooner, as on a connection.
            back = done[transmissions] = max(server + tau_nw / 2, done[transmissions - 1] if transmissions else 0.0)
            transmissions += 1
            for sample in range(first, last):
                if offloaded[sample]:
                    answered[sample] = back
            if not slots:
                now = back
        heard[first:last] = back
        stops[batches] = last
        batches += 1
        first = last
    return started, answered, heard, stops[:batches], waited[:transmissions]
