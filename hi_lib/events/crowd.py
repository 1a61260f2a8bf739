"""Several devices at one server, compiled: what `simulation.simulate` finds for a constant network, in seconds.

Between two meetings with others a device is counted straight ahead, so that there are a few events a transmission: it
is ready to be sent, it comes to the server, the server looks at who waits. A device's transmissions are served in the
order in which they were sent. So nothing is kept of one that is out but its device and how many images it has; what is
in it is read off the offloads once more when it is answered.
"""

from __future__ import annotations

import heapq
from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from hi_lib import checks
from hi_lib.events.queueing import checked_window
from hi_lib.events.serving import checked_server
from hi_lib.timing import TimingModel
from hi_lib.typing import Flags, Floats, Samples
from hi_lib.units import UNITS

_READY, _COMES, _FREED, _LOOK = 0, 1, 2, 3  # events; of one time, a look comes last


class Crowd(NamedTuple):
    """Times of a run, ms, device by device."""

    response_time: NDArray[np.float64]
    """From a sample's start to its answer, shape (all samples,), those of one device after those of the other."""
    system_times: NDArray[np.float64]
    """Of each device's whole run, a sample, shape (devices,)."""
    samples: NDArray[np.int64]
    """How many each device has, shape (devices,)."""

    @property
    def response_times(self) -> list[Floats]:
        """The response times of each device."""
        return np.split(self.response_time, np.cumsum(self.samples)[:-1])

    @property
    def system_time(self) -> float:
        """Mean of `system_times`."""
        return float(self.system_times.mean())


def crowd(
    timing: TimingModel,
    offloaded: ArrayLike,
    batch_size: int | ArrayLike,
    devices: int,
    *,
    unit: str = "samples",
    max_samples: int | None = None,
    window: float | None = None,
    overhead: float = 0.0,
    server_setup: float = 0.0,
    shared_uplink: bool = False,
    in_turn: str = "requests",
    merge: int | None = None,
    merge_wait: float = 0.0,
) -> Crowd:
    """Count when each sample of each device is answered: to the last digit what `simulation.simulate` finds.

    Beside its results it takes memory in proportion to the transmissions that may be out, not to the samples.

    Parameters
    ----------
    timing : TimingModel
        What each step takes, ms.
    offloaded : array-like of bool, shape (n,), or a sequence of D of them
        Which samples are offloaded: what the devices have in common goes round, device d of D beginning with sample
        ⌊d n / D⌋; or each has its own. Whoever is through leaves the server to the others, so devices that are to be
        compared need work for about the same time.
    batch_size : int, or sequence of D of them
        M, or m with the unit "offloads".
    devices : int
        D.
    unit, max_samples, window, overhead, server_setup, shared_uplink, in_turn, merge, merge_wait
        As for `simulation.simulate`.

    Returns
    -------
    Crowd
        Times in ms.

    Raises
    ------
    ValueError
        An argument outside its range, or not one for each device.

    Examples
    --------
    Two devices offload every sample. The second one's first waits for the server, which has 4 ms for each; from then on
    they come at different times.

    >>> timing = TimingModel(tau_ed=1, tau_es=4, tau_tx=5, tau_nw=20)
    >>> crowd(timing, [1, 1], batch_size=1, devices=2).response_times
    [array([30., 30.]), array([34., 30.])]
    >>> crowd(timing, [1, 1], batch_size=1, devices=2, merge=2).response_times
    [array([34., 34.]), array([34., 34.])]
    >>> greedy = crowd(timing, [[1] * 4, [1] * 2], batch_size=[4, 1], devices=2, in_turn="images")
    >>> greedy.system_times.tolist()
    [15.0, 32.0]
    """
    number = checks.whole("devices", devices)
    if timing.network_time is not None:
        raise ValueError("network_time must be left out for a crowd: let `simulate` count with it")
    given = [checks.flags(where, flags) for where, flags in one_or_each("offloaded", offloaded, number)]
    for flags in given:
        checks.whole("samples", flags.size)
    in_common = len(given) < number
    samples = np.array([flags.size for flags in given] * (number if in_common else 1))
    sizes = [checks.whole(where, size) for where, size in of_each("batch_size", batch_size, number)]
    counts_offloads = checks.choice("unit", unit, UNITS) == "offloads"
    cap = checked_cap(max_samples, counts_offloads)
    checked_window(window)
    checked_server(in_turn, merge, merge_wait)
    times = timing.tau_ed, timing.tau_tx, timing.tau_nw / 2, timing.tau_es
    extra = checks.nonnegative("overhead", overhead), checks.nonnegative("server_setup", server_setup)
    most = int(samples.max())
    ends = np.cumsum(samples)
    work = _Work(
        flags=np.concatenate(given),
        first=np.zeros(number, np.int64) if in_common else ends - samples,
        turned=begins(given[0].size, number) if in_common else np.zeros(number, np.int64),
        samples=samples,
        results=ends - samples,
        sizes=np.minimum(sizes, most),
        cap=most if cap is None else min(cap, most),
        counts_offloads=counts_offloads,
    )
    slots = 0 if window is None else int(min(window, most))
    merged = (1, 0.0) if merge is None else (int(merge), float(merge_wait))  # one request at a time fills the server
    state = _state(number, slots if slots < most else 1)
    response = _run(work, state, times, (*extra, slots), shared_uplink, in_turn == "images", merged)
    return Crowd(response, state.ended / samples, samples)


def one_or_each(where: str, values: Any, devices: int) -> list[tuple[str, Any]]:
    """What a crowd is given, with its names: one array that all have in common, or one for each device."""
    items = values if isinstance(values, list | tuple) else np.atleast_1d(np.asarray(values))
    if devices == 1 or len(items) == 0 or np.ndim(items[0]) == 0:
        return [(where, values)]
    return of_each(where, items, devices)


def of_each(where: str, values: Any, devices: int) -> list[tuple[str, Any]]:
    """One value a device, with its name: the same for all, or one of a list."""
    if devices == 1 or not isinstance(values, list | tuple | np.ndarray):
        return [(where, values)] * devices
    if len(values) != devices:
        raise ValueError(f"{where} must hold one for each of the {devices} devices, got {len(values)}")
    return [(f"{where}[{device}]", value) for device, value in enumerate(values)]


def begins(n: int, devices: int) -> Samples:
    """With which of n samples each device begins that has them in common with others, shape (devices,)."""
    return np.arange(devices) * n // devices


def dealt(offloaded: ArrayLike, devices: int) -> list[Flags]:
    """The offloads of each device; what all have in common goes round, each beginning at a place of its own."""
    flags = [checks.flags(where, given) for where, given in one_or_each("offloaded", offloaded, devices)]
    if len(flags) == devices:
        return flags
    return [np.roll(flags[0], -begin) for begin in begins(flags[0].size, devices)]


def checked_cap(max_samples: int | None, counts_offloads: bool) -> int | None:
    """After how many samples a cycle ends at the latest."""
    if max_samples is not None and not counts_offloads:
        raise ValueError(f"max_samples must be left out for the unit samples, got {checks.shown(max_samples)}")
    return None if max_samples is None else checks.whole("max_samples", max_samples)


class _Work(NamedTuple):
    """What there is to do: the offloads of device d begin in `flags` at `first`, of which `turned` come at the end."""

    flags: Flags
    first: Samples
    turned: Samples
    samples: Samples
    results: Samples
    """Where the results of each device begin."""
    sizes: Samples
    cap: int
    counts_offloads: bool


class _State(NamedTuple):
    """How far each device is, shape (devices,)."""

    position: Samples
    """First sample that is not yet begun."""
    clock: Floats
    """When it has the images, which it can send once there is room in its window."""
    images: Samples
    blocked: Flags
    """Whether it is not known yet when there will be room."""
    sent: Samples
    """Transmissions, of which so many are served, whose answers were there at `back`, the last of them."""
    heard: Samples
    back: Floats
    served: Samples
    """First sample of which no answer is known."""
    waits: Samples
    """Transmissions at the server, of the first of which so many images are left, where it takes those in turn."""
    left: Samples
    ended: Floats


def _state(devices: int, slots: int) -> _State:
    """All at the beginning."""
    whole = np.zeros((6, devices), np.int64)
    clock, ended = np.zeros((2, devices))
    back = np.zeros((devices, max(slots, 1)))
    position, images, sent, heard, served, waits = whole
    left = np.zeros(devices, np.int64)
    blocked = np.zeros(devices, np.bool_)
    return _State(position, clock, images, blocked, sent, heard, back, served, waits, left, ended)


@numba.njit(cache=True, nogil=True)
def _is_offloaded(work, device, sample):  # type: ignore[no-untyped-def]
    return work.flags[work.first[device] + (work.turned[device] + sample) % work.samples[device]]


@numba.njit(cache=True, nogil=True)
def _batch(work, device, first):  # type: ignore[no-untyped-def]
    """Where a device's batch ends that begins with this sample, and how many it offloads."""
    size, images = work.sizes[device], 0
    last = min(first + (work.cap if work.counts_offloads else size), work.samples[device])
    for sample in range(first, last):
        images += _is_offloaded(work, device, sample)
        if work.counts_offloads and images == size:
            return sample + 1, images
    return last, images


@numba.njit(cache=True, nogil=True)
def _transmission(work, device, first):  # type: ignore[no-untyped-def]
    """The next batch of a device that sends something, which there must be."""
    last, images = _batch(work, device, first)
    while images == 0:
        first = last
        last, images = _batch(work, device, first)
    return first, last, images


@numba.njit(cache=True, nogil=True)
def _compute(work, state, events, response, device, now, tau_ed, overhead, slots):  # type: ignore[no-untyped-def]
    """Let a device go on until it has something to send, or is through."""
    first, images = state.position[device], 0
    while images == 0 and first < work.samples[device]:
        last, images = _batch(work, device, first)
        for sample in range(first, last):
            started, place = now, work.results[device] + sample
            now += tau_ed
            response[place] = started if _is_offloaded(work, device, sample) else now - started
        first = last
    state.position[device] = first
    state.ended[device] = max(state.ended[device], now)
    if images:
        state.clock[device], state.images[device] = now + overhead, images
        _send(state, events, device, slots)


@numba.njit(cache=True, nogil=True)
def _send(state, events, device, slots):  # type: ignore[no-untyped-def]
    """Let what a device has be sent when there is room in its window, if that is known."""
    now, before = state.clock[device], state.sent[device] - slots
    state.blocked[device] = slots > 0 and before >= state.heard[device]
    if state.blocked[device]:
        return
    if slots > 0 and before >= 0:
        now = max(now, state.back[device, before % state.back.shape[1]])
    heapq.heappush(events, (now, _READY, device, state.images[device]))


@numba.njit(cache=True, nogil=True)
def _answer(work, state, events, response, taken, back, tau_ed, overhead, slots):  # type: ignore[no-untyped-def]
    """Write down when the samples of some transmissions are answered; their devices may go on."""
    for device, first, last in taken:
        for sample in range(first, last):
            if _is_offloaded(work, device, sample):
                place = work.results[device] + sample
                response[place] = back - response[place]
        state.ended[device] = max(state.ended[device], back)
        state.back[device, state.heard[device] % state.back.shape[1]] = back
        state.heard[device] += 1
        if slots == 0:
            _compute(work, state, events, response, device, back, tau_ed, overhead, slots)
        elif state.blocked[device]:
            _send(state, events, device, slots)


@numba.njit(cache=True, nogil=True)
def _take_images(work, state, events, line, taken, now, tau_es, setup):  # type: ignore[no-untyped-def]
    """Serve one image of the device that is first in line."""
    device = heapq.heappop(line)[1]
    first, last, images = _transmission(work, device, state.served[device])
    if state.left[device] == 0:
        state.left[device] = images
        now += setup
    now += tau_es
    state.left[device] -= 1
    if state.left[device]:
        heapq.heappush(line, (now, device))
    else:
        state.served[device] = last
        taken.append((device, first, last))
        heapq.heappush(events, (now, _FREED, device, 0))
    return now


@numba.njit(cache=True, nogil=True)
def _take_requests(work, state, line, taken, now, tau_es, setup, most):  # type: ignore[no-untyped-def]
    """Serve the first in line, and with it those next that have up to so many images together."""
    now, images = now + setup, 0
    while len(line) > 0:
        device = line[0][1]
        first, last, more = _transmission(work, device, state.served[device])
        if images > 0 and images + more > most:
            break
        heapq.heappop(line)
        state.served[device] = last
        taken.append((device, first, last))
        images += more
        for _ in range(more):
            now += tau_es
    return now, images


@numba.njit(cache=True, nogil=True)
def _run(work, state, times, extra, shared_uplink, by_image, merged):  # type: ignore[no-untyped-def]
    """Response times of all samples, event by event."""
    (tau_ed, tau_tx, half, tau_es), (overhead, setup, slots), (most, wait) = times, extra, merged
    response, uplink = np.empty(work.samples.sum()), np.zeros(state.position.size)
    events, line, taken = [(0.0, _READY, 0, 0)], [(0.0, 0)], [(0, 0, 0)]
    events.pop()
    line.pop()
    free, waiting = 0.0, 0
    for device in range(state.position.size):
        _compute(work, state, events, response, device, 0.0, tau_ed, overhead, slots)
    while len(events) > 0:
        now, event, device, images = heapq.heappop(events)
        if event == _READY:
            lane = 0 if shared_uplink else device
            end = max(now, uplink[lane])
            for _ in range(images):
                end += tau_tx
            uplink[lane] = end
            heapq.heappush(events, (end + half, _COMES, device, images))
            state.sent[device] += 1
            if slots > 0:
                _compute(work, state, events, response, device, now, tau_ed, overhead, slots)
        elif event == _COMES:
            waiting += images
            state.waits[device] += 1
            if not by_image or state.waits[device] == 1:
                heapq.heappush(line, (now, device))
            heapq.heappush(events, (now, _LOOK, device, 0))
            if wait > 0:
                heapq.heappush(events, (now + wait, _LOOK, device, 0))
        elif event == _FREED:
            state.waits[device] -= 1
            if state.waits[device] > 0:
                heapq.heappush(line, (now, device))
        elif now >= free and len(line) > 0:
            if not by_image and waiting < most and now < line[0][0] + wait:
                continue
            taken.clear()
            if by_image:
                free = _take_images(work, state, events, line, taken, now, tau_es, setup)
            else:
                free, images = _take_requests(work, state, line, taken, now, tau_es, setup, most)
                waiting -= images
            heapq.heappush(events, (free, _LOOK, 0, 0))
            _answer(work, state, events, response, taken, free + half, tau_ed, overhead, slots)
    return response
