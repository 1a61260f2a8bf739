"""Who should batch where many devices share one server: the devices, the server, both, or nobody."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from hi_lib import checks
from hi_lib.events.crowd import crowd
from hi_lib.studies.best_batch import BestBatch, least, weighed
from hi_lib.timing import TimingModel

_CLEAR = 1.01  # times of finite runs that differ by less are not told apart


class Batchers(NamedTuple):
    """What four ways to batch bring: the batch size of the devices, f, t_s and t_r in ms."""

    neither: BestBatch
    """Devices send every offload at once, the server takes one request after the other."""
    server: BestBatch
    """The server merges what waits."""
    device: BestBatch
    """Devices send batches of the best size."""
    both: BestBatch
    """Devices send batches of the size that is best where the server merges; it may be 1."""

    @property
    def best(self) -> str:
        """The name of the one with the least f; of those within a hundredth of it the first, which asks for less."""
        least_f = min(each.objective for each in self)
        return next(name for name, each in zip(self._fields, self, strict=True) if each.objective <= _CLEAR * least_f)


class Point(NamedTuple):
    """Who should batch for one network time, one setup of the server and one D, and what all four ways bring there."""

    tau_nw: float
    server_setup: float
    devices: int
    best: str
    batchers: Batchers


def who_batches(
    timing: TimingModel,
    offload_ratio: float,
    alpha: float,
    devices: int,
    server_setup: float,
    *,
    merge: int = 32,
    merge_wait: float = 0.0,
    unit: str = "samples",
    samples: int = 2000,
    seed: int | None = None,
) -> Batchers:
    """Compare f = α t_s + (1 − α) t_r where the devices batch, the server merges, both, or neither, by simulation.

    The share ρ of the samples is offloaded, at random places, the same for all four, so that chance tells little
    between them; devices are equal, and each begins at a place of its own.

    Parameters
    ----------
    timing : TimingModel
        What each step takes, ms.
    offload_ratio : float
        ρ, in [0, 1].
    alpha : float
        Weight of the system time, in (0, 1).
    devices : int
        D, each with its own uplink, each waiting for its answers.
    server_setup : float
        a >= 0: a request, or what is merged to one, takes the server a + b · images ms, b being τ_es.
    merge, merge_wait
        Of the server that merges, as for `hi_lib.events.simulation.simulate`.
    unit : {"samples", "offloads"}
        What the batch size of the devices counts.
    samples : int
        Of each device.
    seed : int, optional
        Decides the offloads.

    Returns
    -------
    Batchers

    Raises
    ------
    ValueError
        An argument outside its range.

    Examples
    --------
    A server that takes 4 ms to begin with, and as much an image: one device had better batch; with 16 of them the
    server.

    >>> timing = TimingModel(tau_ed=1.48, tau_es=4.41, tau_tx=4.93, tau_nw=20.0)
    >>> [who_batches(timing, 0.421, 0.9, devices, server_setup=4, seed=0).best for devices in (1, 16)]
    ['device', 'server']
    """
    alpha = checks.real("alpha", alpha, 0, 1, open_ends="()")
    ratio, n = checks.real("offload_ratio", offload_ratio, 0, 1), checks.whole("samples", samples)
    offloaded = np.random.default_rng(checks.seed("seed", seed)).permutation(n) < ratio * n

    def found(size: int, merged: int | None) -> BestBatch:
        times = crowd(
            timing,
            offloaded,
            size,
            devices,
            unit=unit,
            server_setup=server_setup,
            merge=merged,
            merge_wait=0.0 if merged is None else merge_wait,
        )
        return weighed(size, alpha, times.system_time, float(times.response_time.mean()))

    return Batchers(
        neither=found(1, None),
        server=found(1, merge),
        device=least(lambda size: found(size, None), n),
        both=least(lambda size: found(size, merge), n),
    )


def frontier(
    timing: TimingModel,
    offload_ratio: float,
    alpha: float,
    network_times: Iterable[float],
    server_setups: Iterable[float],
    crowds: Iterable[int],
    *,
    merge: int = 32,
    merge_wait: float = 0.0,
    unit: str = "samples",
    samples: int = 2000,
    seed: int | None = None,
) -> list[Point]:
    """Say who should batch for each τ_nw, each setup of the server and each number of devices, in this order.

    Arguments and errors as for `who_batches`; with a seed, all points have the same offloads.

    Returns
    -------
    list of Point
        One for each combination, which a `pandas.DataFrame` takes as its rows.

    Examples
    --------
    >>> timing = TimingModel(tau_ed=1.48, tau_es=4.41, tau_tx=4.93, tau_nw=20.0)
    >>> [point.best for point in frontier(timing, 0.421, 0.5, [5, 50], [0, 16], [8], samples=1000, seed=0)]
    ['neither', 'server', 'device', 'both']
    """
    found = []
    for network, setup, number in itertools.product(network_times, server_setups, crowds):
        batchers = who_batches(
            replace(timing, tau_nw=network),
            offload_ratio,
            alpha,
            number,
            setup,
            merge=merge,
            merge_wait=merge_wait,
            unit=unit,
            samples=samples,
            seed=seed,
        )
        found.append(Point(network, setup, number, batchers.best, batchers))
    return found
