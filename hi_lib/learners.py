"""The learners over a trace: Batch HI with full feedback (HIL-F) and without (HIL-N), rivals, and fixed rules."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hi_lib import checks, cycles, regret
from hi_lib.batch_hi import APPLE, HIL_F, HIL_N, best_threshold_of, steps_of
from hi_lib.budgets import best_mixture
from hi_lib.regret import Schedule
from hi_lib.specification import Budget, Decided, Learner, Task, Unit
from hi_lib.traces import Trace, checked
from hi_lib.typing import Floats
from hi_lib.units import UNITS


@dataclass(frozen=True, eq=False, repr=False)
class Run:
    """What a learner does on a trace, in expectation over its own draws of θ.

    For learners that see offloaded samples only, everything is conditional on what they saw before, which their seed
    decides; the round at hand is averaged over.

    Attributes
    ----------
    cost : NDArray of shape (n,)
        Expected cost of each round, β q_t + e_t (1 − q_t).
    offload_probability : NDArray of shape (n,)
        q_t, the probability that round t is offloaded, be it to explore.
    correct : NDArray of shape (n,)
        Whether the S-ML was right.
    batch_size : int or tuple of int
        M, where the last batch may be shorter; or the size of every batch.
    learning_rate : float or None
        η of the last batch; None for rules that do not learn.
    regret : float
        Expected total cost minus that of the best fixed threshold in hindsight.
    regret_bound : float or None
        The theorem's bound on `regret` (on its mean over seeds, where a seed matters); None where no theorem applies.
        With a budget it is one on the mean over random orders: R of T26, and `random_order_term`.
    exploration : float or None
        ε, the share of rounds offloaded to learn; None for learners that do not explore.
    offloaded : NDArray of shape (n,), bool, or None
        Which samples were offloaded, where transmissions count offloads: each has a θ of its own, which the seed draws,
        and `transmissions` and `TimingModel.of_run` are those of this draw. Likewise where a budget is strict. None
        where M samples have one θ.
    budget : float or None
        B, the share of samples that may be offloaded. `regret` is against the best mixture of thresholds that keeps it.
    multiplier : NDArray of shape (n,), or None
        λ of each sample, by which its offload costs more to the learner; no part of `cost`. As long as it has stayed
        below Λ, no more than λ/μ offloads are overspent, whatever the order of the samples.
    overspending_bound : float or None
        The theorem's bound on the mean of `overspending`, for independent samples that are alike (T26).
    """

    cost: Floats
    offload_probability: Floats
    correct: NDArray[np.bool_]
    batch_size: int | tuple[int, ...]
    learning_rate: float | None
    regret: float
    regret_bound: float | None
    exploration: float | None = None
    offloaded: NDArray[np.bool_] | None = None
    budget: float | None = None
    multiplier: Floats | None = None
    overspending_bound: float | None = None

    def __repr__(self) -> str:
        """One line: what matters of it."""
        bound = "" if self.regret_bound is None else f" (bound {self.regret_bound:.4g})"
        size = "varying" if isinstance(self.batch_size, tuple) else self.batch_size
        kept = "" if self.budget is None else f", budget={self.budget:.4g}, overspending={self.overspending:.4g}"
        return (
            f"Run({self.cost.size} samples, batch_size={size}, average_cost={self.average_cost:.4g}, "
            f"offload_ratio={self.offload_ratio:.4g}{kept}, regret={self.regret:.4g}{bound})"
        )

    @property
    def average_cost(self) -> float:
        """Expected cost per sample."""
        return float(self.cost.mean())

    @property
    def offload_ratio(self) -> float:
        """Expected share of samples offloaded, ρ."""
        return float(self.offload_probability.mean())

    @property
    def overspending(self) -> float | None:
        """Expected number of offloads beyond the budget, Σ q_t − B n; below zero where some of it is left."""
        if self.budget is None:
            return None
        return float(self.offload_probability.sum() - self.budget * self.offload_probability.size)

    @property
    def accuracy(self) -> float:
        """Expected share of right answers, every offload counting as right (as the paper does)."""
        return float(np.where(self.correct, 1.0, self.offload_probability).mean())

    @property
    def transmissions(self) -> float:
        """Expected number of batches that send anything; where offloads are counted, how many of this draw do.

        One θ a batch: without exploration P(any) is the batch's largest q_t. With it, the other samples of the batch
        must not be explored either for nothing to be sent.
        """
        sizes = regret.sizes_of(self.batch_size, self.offload_probability.size)
        if self.offloaded is not None:
            return float(np.logical_or.reduceat(self.offloaded, np.cumsum(sizes) - sizes).sum())
        likeliest = np.maximum.reduceat(self.offload_probability, np.cumsum(sizes) - sizes)
        others = sizes - 1
        return float((1 - (1 - likeliest) * (1 - (self.exploration or 0.0)) ** others).sum())


def replay(
    trace: Trace,
    beta: float,
    batch_size: int = 1,
    learner: str = "hil-f",
    learning_rate: str | float = "tuned",
    exploration: float | None = None,
    threshold: float | None = None,
    seed: int | None = None,
    *,
    delay: ArrayLike = 0,
    unit: str = "samples",
    max_samples: int | None = None,
    price: float = 0.0,
    share: float = 0.0,
    budget: float | None = None,
    multiplier_rate: float | None = None,
    strict: bool = False,
) -> Run:
    """Run a learner over a trace and return exact expectations over its draws of θ.

    Parameters
    ----------
    trace : Trace
    beta : float
        Cost of an offload, in [0, 1].
    batch_size : int
        M >= 1 samples are decided with one θ; feedback and update come at the end of the batch. With the unit
        "offloads", m >= 1: a cycle ends when m samples are to be offloaded.
    learner : str
        Full feedback: "hil-f" (Algorithm 1; M = 1 is vanilla HI), "quantised" (the same on confidences of 4 bits).
        Feedback on offloaded samples only: "hil-n", "apple", "naive", "hi-lcb", "hi-lcb-lite"; see `rivals`.
        Rules: "fixed", "always", "never".
    learning_rate : {"tuned", "vanilla", "anytime", "adaptive"} or float > 0
        η: the one that minimises the regret bound, the one that does so at M = 1, rates that need no horizon,
        AdaHedge's (T22; both for "hil-f" only, without delay), or a value of your own; for "hi-lcb", "hi-lcb-lite" and
        the rules, which have none, it must be left out.
    exploration : float in (0, 1], optional
        ε for "hil-n", and only for it; by default the one that minimises its regret bound.
    threshold : float in [0, 1], optional
        θ for "fixed", and only for it.
    seed : int, optional
        Decides what "hil-n", "apple" and "naive" see; the others give the same Run for every seed.
    delay : int or array-like of int, shape (n,)
        How many further samples are decided, after the end of a sample's batch, before its feedback is in. For "hil-f",
        "hil-n", "apple" and "naive"; T14 gives the bounds of the first two, tuned rates are for them. HIL-N's bound is
        that of delays which do not depend on its flags.
    unit : {"samples", "offloads"}
        What `batch_size` counts. With "offloads" ("hil-f" and the rules only, without delay) each sample has a θ of its
        own, drawn from the weights of the cycle's beginning; feedback on all samples of a cycle comes at its end (T21).
        What is pending when the trace ends is sent. The rate "tuned" is that of batches of (m + 1 − ρ)/ρ samples, ρ
        being that of the best fixed threshold.
    max_samples : int, optional
        A cycle ends after so many samples at the latest.
    price : float
        β_0 >= 0 of a transmission, beside β of each offload ("hil-f" and the rules only): costs and regret include it,
        and it is learned directly (T23). With the unit "offloads" every offload costs β + β_0/m.
    share : float
        σ in [0, 1): after each batch this share of the weight is spread evenly over all thresholds, so that the learner
        can follow a drift ("hil-f" with one rate; `fixed_share_bound` says how well, T25).
    budget : float, optional
        B in [0, 1]: at most this share of the samples is to be offloaded ("hil-f" with any rate but "anytime", without
        delay, price and share). An offload costs λ more to the learner, which starts at 0 and follows what is spent:
        after each batch, or cycle, λ ← λ + μ Σ (q_t − B) over its samples, held between 0 and Λ = 2 (1 − β). It is kept
        on average, if samples are independent and alike or come in random order, and as well as `budget_regret_bound`
        says (T26); for sequences fixed in advance no learner keeps both cost and budget. The rate "tuned" is that of
        `budget_rates`.
    multiplier_rate : float > 0, optional
        μ; by default that of `budget_rates`.
    strict : bool
        Whether the budget is never exceeded: once B n offloads are spent, no more are made. The Run is that of one
        draw, by the seed, and no theorem bounds its regret.

    Returns
    -------
    Run
        Expectations over the learner's own draws, arrays of shape (n,). With the unit "offloads" `offloaded` is what
        the seed drew, cycles follow from it, and expectations are over the θ of the sample at hand, given the past.

    Raises
    ------
    ValueError
        An argument outside its range, an unknown name, or an argument the learner has no use for.

    Examples
    --------
    >>> trace = Trace([0.25, 0.75, 0.25, 0.75], [0, 1, 0, 1])
    >>> run = replay(trace, beta=0.5, batch_size=2, learning_rate=1.0)
    >>> run.offload_probability.round(3)        # nothing learned in the first batch: P(θ > p) = 1 − p
    array([0.75 , 0.25 , 0.811, 0.189])
    """
    checked(trace)
    found = named(learner)
    beta, seed = checks.real("beta", beta, 0, 1), checks.seed("seed", seed)
    size = checks.whole("batch_size", batch_size)
    schedule = _schedule(len(trace), size, delay, found)
    counted = _unit(size, unit, max_samples, delay)
    price = checks.nonnegative("price", price)
    spread = checks.real("share", share, 0, 1, open_ends=")")
    kept = _budget(budget, multiplier_rate, strict)
    task = Task(trace, beta, schedule, learning_rate, exploration, threshold, seed, counted, price, spread, kept)
    found.refuse_useless(task)
    return _as_run_of(task, size, found.replay(task))


@functools.cache
def known() -> dict[str, Learner]:
    """All learners and rules, by name."""
    from hi_lib import rivals  # brings numba, which only replays need

    return {each.name: each for each in (HIL_F, HIL_N, APPLE, *rivals.RIVALS, *_RULES)}


def named(name: str) -> Learner:
    """The learner of this name; ValueError for one that there is not, with the closest ones."""
    return known()[checks.choice("learner", name, known())]


def _schedule(n: int, batch_size: int, delay: ArrayLike, learner: Learner) -> Schedule:
    if np.ndim(delay) == 0 and checks.nonnegative("delay", delay) == 0:
        return Schedule(batch_size, batch_size)
    release = regret.release_times(n, batch_size, delay)
    if not learner.late:
        others = ", ".join(each.name for each in known().values() if each.late)
        raise ValueError(f"delay must be 0 for learner {learner.name!r}: {others} can learn late")
    return Schedule(batch_size, regret.equivalent_batch_size(n, batch_size, delay), release)


def _unit(size: int, unit: str, max_samples: int | None, delay: ArrayLike) -> Unit | None:
    if checks.choice("unit", unit, UNITS) == "samples":
        if max_samples is not None:
            raise ValueError(f"max_samples must be left out for the unit samples, got {checks.shown(max_samples)}")
        return None
    if np.any(np.asarray(delay) != 0):
        raise ValueError(f"delay must be 0 for the unit offloads, got {checks.shown(delay)}")
    return Unit(size, None if max_samples is None else checks.whole("max_samples", max_samples))


def _budget(ratio: float | None, multiplier_rate: float | None, strict: bool) -> Budget | None:
    if ratio is None:
        if multiplier_rate is not None or strict:
            raise ValueError("multiplier_rate and strict must be left out where there is no budget")
        return None
    mu = None if multiplier_rate is None else checks.positive("multiplier_rate", multiplier_rate)
    return Budget(checks.real("budget", ratio, 0, 1), mu, bool(strict))


def _as_run_of(task: Task, size: int, decided: Decided) -> Run:
    """As `as_run`, for a task with a price, with a budget, or in cycles."""
    if not task.unit and not task.price and not task.budget:
        return as_run(task.trace, task.beta, size, decided)
    trace, unit, budget = task.trace, task.unit, task.budget
    cost = np.where(trace.correct, 0.0, 1.0) + decided.offload * steps_of(task)
    best = best_mixture(trace, task.beta, budget.ratio) if budget else best_threshold_of(task)
    floor = best.average_cost * len(trace)
    sizes: int | tuple[int, ...] = size
    if unit:
        offloaded = decided.offloaded if decided.offloaded is not None else decided.offload > 0
        sizes = tuple(cycles.lengths(offloaded, unit.offloads, unit.max_samples).tolist())
        decided = decided._replace(offloaded=offloaded)
    offload, eta, bound, exploration, drawn, multiplier, over = decided
    regretted, ratio = float(cost.sum() - floor), budget.ratio if budget else None
    return Run(cost, offload, trace.correct, sizes, eta, regretted, bound, exploration, drawn, ratio, multiplier, over)


def as_run(trace: Trace, beta: float, batch_size: int | tuple[int, ...], decided: Decided) -> Run:
    """What a learner did on a trace, with its costs and its regret."""
    offload, eta, bound, exploration, *_ = decided
    cost = np.where(trace.correct, 0.0, 1 - offload)
    cost += beta * offload
    floor = regret.best_threshold(trace, beta).average_cost * len(trace)
    return Run(cost, offload, trace.correct, batch_size, eta, float(cost.sum() - floor), bound, exploration)


def _fixed(task: Task) -> Decided:
    return Decided((task.trace.confidence < checks.real("threshold", task.threshold, 0, 1)).astype(float))


def _always(task: Task) -> Decided:
    return Decided(np.ones(len(task.trace)))


def _never(task: Task) -> Decided:
    return Decided(np.zeros(len(task.trace)))


_RULES = tuple(
    Learner(name, rule, "none", counts_offloads=True)
    for name, rule in {"fixed": _fixed, "always": _always, "never": _never}.items()
)
