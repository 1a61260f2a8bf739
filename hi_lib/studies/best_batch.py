"""The best batch size of a trace: by the exact times of its replays, or in a crowd, by simulating it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from hi_lib import checks
from hi_lib.learners import Run, named, replay
from hi_lib.run_times import drawn
from hi_lib.specification import TUNED
from hi_lib.timing import TimingModel
from hi_lib.traces import Trace, checked

_RATIO = 1.2  # of neighbouring batch sizes in the first pass of the search


class BestBatch(NamedTuple):
    """The best batch size of a trace and what it brings: f, t_s and t_r in ms, means over the shuffles."""

    batch_size: int
    objective: float
    system_time: float
    response_time: float


def best_batch_size(
    trace: Trace,
    timing: TimingModel,
    beta: float,
    alpha: float,
    *,
    learner: str = "hil-f",
    learning_rate: str | float = "tuned",
    seeds: Iterable[int] | None = None,
    network_times: ArrayLike | None = None,
    unit: str = "samples",
    max_samples: int | None = None,
    price: float = 0.0,
    devices: int = 1,
) -> BestBatch:
    """Find the M with the least f = α t_s + (1 − α) t_r for this trace, learner and device, by `TimingModel.of_run`.

    Several devices that share one server are simulated (`hi_lib.events.crowd`): all equal, each offloading what one
    draw of the replay offloads, from a place of its own in the trace. Beyond `TimingModel.saturation` a batch size has
    next to nothing to gain.

    The search tries batch sizes in steps of a fifth until f has doubled, or the trace ends, and then all between the
    neighbours of the best. What it returns is not worse than any size it tried; f is jagged, since samples fall into
    other batches with every M.

    Parameters
    ----------
    trace : Trace
    timing : TimingModel
    beta : float
        Cost of an offload, in [0, 1].
    alpha : float
        Weight of the system time, in (0, 1).
    learner, learning_rate
        As for `replay`; the learning rate "vanilla" is the one tuned for M = 1, whatever M.
    seeds : iterable of int, optional
        Shuffles over which times are averaged, each seed deciding the learner's chances, too; by default the trace as
        it is.
    network_times : array-like of shape (k,), optional
        As for `TimingModel.of_run`.
    unit, max_samples, price
        As for `replay`; with the unit "offloads" the best m, whose times are those of the draws that the seeds decide:
        give some.
    devices : int
        D, how many share the server; if several, the times are those of such draws, too, for either unit.

    Returns
    -------
    BestBatch

    Raises
    ------
    ValueError
        An argument outside its range.

    Examples
    --------
    >>> import hi_lib as hi
    >>> trace = hi.load_trace("cifar10-alexnet")
    >>> best_batch_size(trace, hi.CIFAR10.timing, beta=0.5, alpha=0.5).batch_size
    6
    """
    alpha = checks.real("alpha", alpha, 0, 1, open_ends="()")
    if checks.whole("devices", devices) > 1 and network_times is not None:
        raise ValueError("network_times must be left out where there are several devices")
    if seeds is None:
        orders: list[tuple[Trace, int | None]] = [(checked(trace), None)]
    else:
        orders = [(checked(trace).shuffled(seed), seed) for seed in seeds]
    if not orders:
        raise ValueError("seeds must hold at least one seed, or be left out")

    def replayed(order: Trace, seed: int | None, size: int) -> Run:
        rate = learning_rate if named(learner).rate_names else TUNED
        return replay(order, beta, size, learner, rate, seed=seed, unit=unit, max_samples=max_samples, price=price)

    def times(order: Trace, seed: int | None, size: int) -> tuple[float, float]:
        run = replayed(order, seed, size)
        if devices == 1:
            exact = timing.of_run(run, network_times)
            return exact.system_time, exact.response_time
        from hi_lib.events.crowd import crowd  # brings numba, which only replays need

        rng = np.random.default_rng(None if seed is None else [seed, 1])
        found = crowd(timing, drawn(run, rng), size, devices, unit=unit, max_samples=max_samples)
        return found.system_time, float(found.response_time.mean())

    def tried(size: int) -> BestBatch:
        return weighed(size, alpha, *np.mean([times(order, seed, size) for order, seed in orders], axis=0))

    return least(tried, len(trace))


def weighed(batch_size: int, alpha: float, system_time: float, response_time: float) -> BestBatch:
    """A batch size and its f = α t_s + (1 − α) t_r, ms."""
    objective = float(alpha * system_time + (1 - alpha) * response_time)
    return BestBatch(batch_size, objective, float(system_time), float(response_time))


def least(tried: Callable[[int], BestBatch], most: int) -> BestBatch:
    """The best of the batch sizes 1, …, `most` that the search tries: in steps of a fifth, then around the best."""
    tried = functools.cache(tried)
    best = tried(1)
    for size in _spaced(most):
        found = tried(size)
        if found.objective < best.objective:
            best = found
        elif found.objective > 2 * best.objective:
            break
    around = range(max(1, int(best.batch_size / _RATIO)), min(most, int(best.batch_size * _RATIO) + 1) + 1)
    return min((tried(size) for size in around), key=lambda found: found.objective)


def _spaced(most: int) -> list[int]:
    """Whole numbers from 2 to `most`, each at most a fifth above the one before, or one more."""
    sizes, size = [], 1
    while size < most:
        size = min(max(size + 1, int(size * _RATIO)), most)
        sizes.append(size)
    return sizes
