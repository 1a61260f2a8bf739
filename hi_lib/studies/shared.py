r"""Devices that share one budget on offloads: one multiplier for all of them, against an equal share for each.

The paper's reference [11] has several devices under one constraint on what offloading costs; how they share it here is
our own reading. D devices decide a batch of M samples each, with weights of their own; a server that sees what all of
them offload tells them one λ, and after each batch

.. math:: λ \leftarrow λ + \frac{μ}{D} \sum_d \sum_t (q_{d,t} - B), \qquad 0 \le λ \le Λ = 2 (1 - β).

A device whose S-ML errs more gains more by an offload, and takes more of them at the same λ. T26's proof holds for the
sums over the devices: their total cost lies at most Σ_d R_d above that of the best mixtures that keep the budget in
total, with the R_d of `regret.budget_regret_bound`, and at most Σ_d R_d/(1 − β) offloads are too many, in expectation
over independent samples that are alike on each device.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hi_lib import checks, regret
from hi_lib._tree import compiled, empty, learn_all, share_above
from hi_lib.budgets import best_mixture, frontier
from hi_lib.learners import replay
from hi_lib.specification import TUNED
from hi_lib.traces import Trace, checked, load_trace
from hi_lib.typing import Floats

if TYPE_CHECKING:
    import pandas as pd

COMMON, EQUAL, ALL = "common multiplier", "equal shares", "all"


class Allotment(NamedTuple):
    """The best use of a budget that devices share, in hindsight: what each has of it, arrays of shape (devices,)."""

    offload_ratio: Floats
    average_cost: Floats


class _Ways(NamedTuple):
    """How all devices go about it."""

    beta: float
    budget: float
    batch_size: int
    learning_rate: str | float
    multiplier_rate: float | None


class _Life(NamedTuple):
    """What became of a device on one shuffle."""

    cost: float
    ratio: float
    best_cost: float
    best_ratio: float


def shared_budget(
    traces: Sequence[str | Trace],
    beta: float,
    budget: float,
    *,
    batch_size: int = 1,
    learning_rate: str | float = TUNED,
    multiplier_rate: float | None = None,
    seeds: Iterable[int] = range(20),
    samples: int | None = None,
) -> pd.DataFrame:
    """What a budget brings each of several devices if all have one multiplier, and if each has an equal share.

    Parameters
    ----------
    traces : sequence of str or Trace
        Names for `load_trace`, or traces: one a device.
    beta : float
        Cost of an offload, in [0, 1].
    budget : float
        B in [0, 1]: the share of all samples that may be offloaded.
    batch_size : int
        M >= 1, for every device; λ moves once a batch.
    learning_rate : "tuned" or float > 0
        η: for each device the one of `regret.budget_rates`, or one for all.
    multiplier_rate : float > 0, optional
        μ; by default that of `regret.budget_rates`.
    seeds : iterable of int
        Each shuffles all traces, every device's in its own way.
    samples : int, optional
        How many samples each device has, the first of its shuffle; by default as many as the shortest trace.

    Returns
    -------
    DataFrame with a row for each device, and for "all" of them, under each way to share: columns device, sharing
    ("common multiplier" or "equal shares"), average_cost and offload_ratio (means over the seeds), average_cost_error
    and offload_ratio_error (their standard errors, nan for one seed), best_cost and best_ratio (the best mixtures in
    hindsight that share so, means).

    Raises
    ------
    ValueError
        An argument outside its range, no trace or no seed, a trace that is shorter than `samples`.

    Examples
    --------
    >>> table = shared_budget(["cifar10-alexnet", "cifar10-resnet56"], beta=0.2, budget=0.1, samples=2000, seeds=[0, 1])
    >>> table[["device", "sharing", "offload_ratio"]].round(2).values.tolist()[:2]
    [['cifar10-alexnet', 'common multiplier', 0.19], ['cifar10-alexnet', 'equal shares', 0.1]]
    """
    import pandas as pd

    known = [load_trace(trace) if isinstance(trace, str) else checked(trace) for trace in traces]
    if not known or not (numbers := [checks.whole("seed", seed, low=0) for seed in seeds]):
        raise ValueError("traces and seeds must hold at least one of each")
    most = min(len(trace) for trace in known)
    n = most if samples is None else checks.whole("samples", samples)
    if n > most:
        raise ValueError(f"samples must be at most {most}, as many as the shortest trace has, got {n}")
    ways = _ways(beta, budget, batch_size, learning_rate, multiplier_rate)
    lived: dict[str, list[list[_Life]]] = {COMMON: [], EQUAL: []}
    for seed in numbers:
        orders = [_first(trace.shuffled(seed * len(known) + device), n) for device, trace in enumerate(known)]
        lived[COMMON].append(_in_common(orders, ways))
        lived[EQUAL].append([_alone(order, ways) for order in orders])
    found = {sharing: np.array(lives) for sharing, lives in lived.items()}  # (seeds, devices, what a life holds)
    names = [trace.name or f"device {device}" for device, trace in enumerate(known)]
    rows = [
        _row(name, sharing, lives[:, device]) for device, name in enumerate(names) for sharing, lives in found.items()
    ]
    rows += [_row(ALL, sharing, lives.mean(axis=1)) for sharing, lives in found.items()]
    columns = ["average_cost", "average_cost_error", "offload_ratio", "offload_ratio_error", "best_cost", "best_ratio"]
    return pd.DataFrame(rows, columns=["device", "sharing", *columns])


def best_allotment(traces: Sequence[Trace], beta: float, budget: float) -> Allotment:
    """The best mixtures of thresholds of several devices that offload at most a share B of all samples in total.

    The steps of all lower hulls, taken from the one that saves most by an offload on, until the budget is gone: at the
    end all devices stand where one more offload saves the same, which is the λ that they have in common.

    Raises
    ------
    ValueError
        An argument outside its range, or a budget that no thresholds keep.
    """
    ratio, curves = checks.real("budget", budget, 0, 1), [frontier(trace, beta) for trace in traces]
    sizes = np.array([len(trace) for trace in traces], dtype=float)
    corners = [(curve.offload_ratio[curve.hull], curve.average_cost[curve.hull]) for curve in curves]
    share, cost = (np.array([corner[i][0] for corner in corners]) for i in range(2))
    left = ratio * sizes.sum() - share @ sizes
    if left < -1e-9 * sizes.sum():
        raise ValueError(f"budget must be at least {share @ sizes / sizes.sum():g}, the share of confidence 0")
    steps = [
        (dearer / more, device, more, dearer)
        for device, (x, y) in enumerate(corners)
        for more, dearer in zip(np.diff(x).tolist(), np.diff(y).tolist(), strict=True)
        if dearer < 0
    ]
    for _, device, more, dearer in sorted(steps):
        part = min(max(left / (more * sizes[device]), 0.0), 1.0)
        share[device] += part * more
        cost[device] += part * dearer
        left -= part * more * sizes[device]
    return Allotment(share, cost)


def common_multiplier(
    traces: Sequence[Trace],
    beta: float,
    batch_size: int,
    learning_rates: Sequence[float],
    spending: regret.Spending,
) -> tuple[Floats, Floats]:
    """HIL-F on devices with one λ: P(offload) of each sample, shape (devices, n), and λ, shape (n,).

    All traces have n samples, `learning_rates` one η for each of them.
    """
    confidence = np.array([trace.confidence for trace in traces])
    step = np.array([beta - ~trace.correct for trace in traces])
    return _common(confidence, step, batch_size, np.array(learning_rates, dtype=float), spending)


def _first(trace: Trace, n: int) -> Trace:
    return Trace(trace.confidence[:n], trace.correct[:n], name=trace.name)


def _ways(
    beta: float, budget: float, batch_size: int, learning_rate: str | float, multiplier_rate: float | None
) -> _Ways:
    rate = checks.choice("learning_rate", learning_rate, (TUNED,)) if isinstance(learning_rate, str) else None
    return _Ways(
        checks.real("beta", beta, 0, 1),
        checks.real("budget", budget, 0, 1),
        checks.whole("batch_size", batch_size),
        rate or checks.positive("learning_rate", learning_rate),
        None if multiplier_rate is None else checks.positive("multiplier_rate", multiplier_rate),
    )


def _in_common(traces: Sequence[Trace], ways: _Ways) -> list[_Life]:
    """Cost and share of each device under one λ, and the best ones in hindsight."""
    beta, budget, size, rate, mu = ways
    tuned = [regret.budget_rates(len(trace), size, regret.lambda_min(trace), beta) for trace in traces]
    eta = [each.learning_rate if isinstance(rate, str) else rate for each in tuned]
    # n and M, hence μ, are those of all.
    spending = regret.Spending(budget, mu or tuned[0].multiplier_rate, regret.largest_multiplier(beta))
    offload, _ = common_multiplier(traces, beta, size, eta, spending)
    wrong = np.array([~trace.correct for trace in traces])
    cost, best = (beta * offload + (1 - offload) * wrong).mean(axis=1), best_allotment(traces, beta, budget)
    columns = cost, offload.mean(axis=1), best.average_cost, best.offload_ratio
    return [_Life(*each) for each in np.array(columns).T.tolist()]


def _alone(trace: Trace, ways: _Ways) -> _Life:
    """Cost and share of a device with a λ of its own and an equal share, and the best ones in hindsight."""
    beta, budget, size, rate, mu = ways
    run = replay(trace, beta, size, learning_rate=rate, budget=budget, multiplier_rate=mu)
    best = best_mixture(trace, beta, budget)
    return _Life(run.average_cost, run.offload_ratio, best.average_cost, best.offload_ratio)


def _row(device: str, sharing: str, lives: Floats) -> tuple[str | float, ...]:
    """Means over lives, shape (seeds, what a life holds), and standard errors of the first two."""
    mean, error = lives.mean(axis=0).tolist(), [np.nan, np.nan]
    if len(lives) > 1:
        error = (lives.std(axis=0, ddof=1) / np.sqrt(len(lives))).tolist()
    return (device, sharing, mean[0], error[0], mean[1], error[1], *mean[2:])


# It calls `_tree`'s functions: where the layout of their columns changes, change this file, too, or old code comes from
# a cache.
@compiled
def _common(confidence, step, size, eta, spending):  # type: ignore[no-untyped-def]
    (devices, n), (budget, mu, most) = confidence.shape, spending
    cells, known = np.empty((devices, n + 1, 8)), np.ones(devices, np.int64)
    for device in range(devices):
        cells[device] = empty(n + 1)
    offload, multipliers, multiplier = np.empty((devices, n)), np.empty(n), 0.0
    for start in range(0, n, size):
        stop, over = min(start + size, n), 0.0
        multipliers[start:stop] = multiplier
        for device in range(devices):
            for t in range(start, stop):
                q = share_above(cells[device], confidence[device, t], eta[device])
                offload[device, t] = q
                over += q - budget
            charged = step[device, start:stop] + multiplier
            known[device] = learn_all(
                cells[device], known[device], confidence[device, start:stop], charged, eta[device]
            )
        multiplier = min(max(multiplier + mu * over / devices, 0.0), most)
    return offload, multipliers
