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


class Pipeline(NamedTuple):
    """Times of a run, ms."""

    response_time: NDArray[np.float64]
    """From a sample's arrival, or its start where it was there before, to its answer, shape (n,)."""
    system_time: float
    """Of the whole run, a sample."""
    delay: NDArray[np.int64]
    """How many further samples are decided, after the end of a sample's batch, before its feedback is in: as `replay`
    wants it, shape (n,)."""


def pipeline(
    timing: TimingModel,
    offloaded: ArrayLike,
    batch_size: int | tuple[int, ...],
    arrivals: ArrayLike | None = None,
    *,
    window: float | None = None,
    overhead: float = 0.0,
    server_setup: float = 0.0,
) -> Pipeline:
    """Count directly when each sample is answered; arguments and errors as for `simulation.simulate`.

    `batch_size` may also hold the size of every batch.

    Examples
    --------
    >>> timing = TimingModel(tau_ed=1, tau_es=4, tau_tx=5, tau_nw=20)
    >>> pipeline(timing, [1, 0, 1], 1, arrivals=[10, 12, 100]).response_time
    array([30., 29., 30.])
    >>> pipeline(timing, [1, 0, 1], 1, window=2).response_time
    array([30.,  1., 33.])
    >>> late = pipeline(timing, [1, 0, 1], 1, arrivals=[1.7e12, 1.7e12 + 2, 1.7e12 + 90])  # ms since 1970
    >>> late.system_time                                    # counted from the first arrival: 120 ms for three
    40.0
    """
    flags = checks.flags("offloaded", offloaded)
    checked_window(window)
    extra = checks.nonnegative("overhead", overhead), checks.nonnegative("server_setup", server_setup)
    sizes = sizes_of(batch_size, flags.size)
    if sizes.sum() != flags.size or (sizes < 1).any():
        raise ValueError(f"batch_size must hold sizes >= 1 that add up to {flags.size}, got a sum of {sizes.sum()}")
    ends = np.cumsum(sizes)
    there = np.zeros(flags.size) if arrivals is None else in_order(arrivals, flags.size)
    there = there - there[0] if flags.size else there
    times = timing.tau_ed, timing.tau_tx, timing.tau_es, *extra
    sent = np.add.reduceat(flags, ends - sizes, dtype=np.int64)
    network = np.full(sent.size, timing.tau_nw)
    if timing.network_time is not None:
        network = payload.table(timing.network_time, int(sent.max()))[sent]
    slots = 0 if window is None else int(min(window, flags.size + 1))
    started, answered, heard = _count(flags, there, ends, times, network, slots)
    # Batches whose first sample is decided before the feedback is there are all decided without it.
    batches = (started[ends - sizes] + timing.tau_ed).searchsorted(heard, side="left")
    delay = np.append(0, ends)[batches] - np.repeat(ends, sizes)
    response = answered - (started if arrivals is None else there)
    return Pipeline(response, float(heard.max() / flags.size), np.maximum(delay, 0))


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
def _count(offloaded, arrivals, ends, times, network, slots):  # type: ignore[no-untyped-def]
    """When each sample is begun and answered, and when the feedback on its batch is in; first come, first served.

    `network` holds the network time of each batch. So many transmissions may be out as there are slots; with none, the
    device waits for every answer.
    """
    tau_ed, tau_tx, tau_es, overhead, setup = times
    n = arrivals.size
    started, answered, heard, done = np.empty(n), np.empty(n), np.empty(n), np.empty(n)
    now = link = server = 0.0
    transmissions, last = 0, 0
    for number, end in enumerate(ends):
        first, last, sent, tau_nw = last, end, 0, network[number]
        for sample in range(first, last):
            started[sample] = max(now, arrivals[sample])
            now = started[sample] + tau_ed
            answered[sample] = now
            sent += offloaded[sample]
        back = now
        if sent:
            now += overhead
            if slots and transmissions >= slots:
                now = max(now, done[transmissions - slots])
            link = max(now, link) + sent * tau_tx
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
    return started, answered, heard
