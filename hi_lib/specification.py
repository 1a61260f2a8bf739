"""What there is to know of a learner, said in one place: replays, devices, sweeps and the wire read it.

A learner is a `Learner` in `learners.known()`. Which of its names for a rate stands for which number, what it hears,
and whether it may hear late follow from there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from hi_lib import checks
from hi_lib.regret import Schedule
from hi_lib.traces import Trace
from hi_lib.typing import Flags, Floats

TUNED = "tuned"
"""The rate that minimises the regret bound."""
VANILLA = "vanilla"
"""The one that is tuned for single samples, whatever the batch size."""
ANYTIME = "anytime"
"""Rates that fall, and need no horizon."""
ADAPTIVE = "adaptive"
"""AdaHedge's rate, which follows from what has been lost so far: neither a horizon nor a batch size is in it (T22)."""


FALLING = (ANYTIME, ADAPTIVE)
FIRST_GAP = 1e-6
"""Δ of the adaptive rate before anything is lost: a millionth of an error, and no division by zero."""


class Horizon(NamedTuple):
    """What a tuned rate must know in advance."""

    samples: int
    batch_size: float
    """M, or what late feedback is equivalent to."""
    lambda_min: float
    beta: float


class Rates(NamedTuple):
    """η, and ε of a learner that explores."""

    learning_rate: float
    exploration: float = 0.0


class Decided(NamedTuple):
    """What a learner did: P(offload) of each sample, shape (n,), with which η and ε, and what a theorem says of it."""

    offload: Floats
    learning_rate: float | None = None
    regret_bound: float | None = None
    exploration: float | None = None
    offloaded: Flags | None = None
    """Where the unit is the offload, or a budget is strict: what was drawn, shape (n,)."""
    multiplier: Floats | None = None
    """λ of each sample where there is a budget, shape (n,)."""
    overspending_bound: float | None = None


class Unit(NamedTuple):
    """When a transmission is sent, if not after M samples: after so many offloads, or so many samples at the latest."""

    offloads: int
    max_samples: int | None


class Budget(NamedTuple):
    """At most so many offloads."""

    ratio: float
    """B, their share of all samples."""
    multiplier_rate: float | None
    """μ; None: the one that T26 takes."""
    strict: bool
    """Whether nothing is offloaded once B n offloads are spent."""


class Task(NamedTuple):
    """What a learner is to be replayed on; what each of them takes is checked by itself."""

    trace: Trace
    beta: float
    schedule: Schedule
    learning_rate: str | float
    exploration: float | None
    threshold: float | None
    seed: int | None
    unit: Unit | None = None
    price: float = 0.0
    """β_0, of a transmission."""
    share: float = 0.0
    """σ, of the weight that is spread evenly after each batch."""
    budget: Budget | None = None


def _no_bound(_horizon: Horizon, _rates: Rates) -> float:
    raise ValueError("there must be a theorem for a regret bound, and this learner has none")


def _no_rates(_horizon: Horizon, _learning_rate: float | None, _exploration: float | None) -> Rates:
    raise ValueError("learning_rate must be left out for a learner that has none")


@dataclass(frozen=True)
class Learner:
    """A learner, or a fixed rule.

    Attributes
    ----------
    name : str
    replay : callable
        From a `Task` to what it decided.
    feedback : str
        Whose answers it must hear: "all" samples', those of "offloaded" ones, or "none".
    rate_names : tuple of str
        Names that its learning rate may have, besides numbers; a learner without any has no rate.
    tune : callable
        From a `Horizon`, an own η and an own ε, each or None, to the `Rates` that minimise its bound for these.
    bound : callable
        From a `Horizon` and `Rates` to the bound on its expected regret, where a theorem gives one.
    late : bool
        Whether its feedback may come late.
    explores : bool
        Whether it takes an ε.
    counts_offloads : bool
        Whether it can send after m offloads, and learn the price of a transmission.
    device : str, optional
        Name of its class in `hi_lib`, for a device.
    device_rate_names : tuple of str
        Names that a learning rate may have there.
    """

    name: str
    replay: Callable[[Task], Decided]
    feedback: str = "all"
    rate_names: tuple[str, ...] = ()
    tune: Callable[[Horizon, float | None, float | None], Rates] = _no_rates
    bound: Callable[[Horizon, Rates], float] = _no_bound
    late: bool = False
    explores: bool = False
    counts_offloads: bool = False
    device: str | None = None
    device_rate_names: tuple[str, ...] = ()

    def rates(self, horizon: Horizon, learning_rate: str | float, exploration: float | None = None) -> Rates:
        """η and ε for a name or a number.

        Raises
        ------
        ValueError
            A name that this learner's rate does not have, or a number that is no rate.
        """
        if not self.rate_names:
            return self.tune(horizon, None, None)  # which says so
        if not isinstance(learning_rate, str):
            return self.tune(horizon, checks.positive("learning_rate", learning_rate), exploration)
        name = checks.choice("learning_rate", learning_rate, [each for each in self.rate_names if each not in FALLING])
        return self.tune(horizon._replace(batch_size=1.0) if name == VANILLA else horizon, None, exploration)

    def tuned_rates(self, samples: int, lambda_min: float, beta: float = 0.5, batch_size: int = 1) -> Rates:
        """η, and ε where it explores, that minimise its regret bound for so many samples in batches of M.

        Returns
        -------
        Rates

        Raises
        ------
        ValueError
            A learner without a rate, or an argument outside its range.

        Examples
        --------
        >>> from hi_lib import HILN
        >>> rates = HILN.learner.tuned_rates(10_000, lambda_min=1e-6, batch_size=4)
        >>> round(rates.learning_rate, 4), round(rates.exploration, 4)
        (0.0159, 0.1261)
        """
        return self.rates(Horizon(samples, batch_size, lambda_min, beta), TUNED)

    def regret_bound(
        self,
        samples: int,
        lambda_min: float,
        beta: float = 0.5,
        batch_size: int = 1,
        learning_rate: str | float = TUNED,
        exploration: float | None = None,
    ) -> float:
        """Bound on its expected regret for so many samples in batches of M, with these rates or the best ones.

        Raises
        ------
        ValueError
            A learner for which no theorem gives one, or an argument outside its range.

        Examples
        --------
        >>> from hi_lib import HILF, HILN
        >>> [round(each.learner.regret_bound(10_000, lambda_min=1e-6, batch_size=4)) for each in (HILF, HILN)]
        [526, 2368]
        """
        horizon = Horizon(samples, batch_size, lambda_min, beta)
        return self.bound(horizon, self.rates(horizon, learning_rate, exploration))

    def refuse_useless(self, task: Task) -> None:
        """Raise ValueError for what was given, and this learner has no use for."""
        if task.exploration is not None and not self.explores:
            got = checks.shown(task.exploration)
            raise ValueError(f"exploration must be None for learner {self.name!r}, got {got}: only hil-n explores")
        if (task.threshold is None) == (self.name == "fixed"):
            must = "given" if self.name == "fixed" else "None"
            raise ValueError(f"threshold must be {must} for learner {self.name!r}")
        if task.share and self.name != "hil-f":
            raise ValueError(f"share must be 0 for learner {self.name!r}: only hil-f has one")
        if task.share and (task.unit or task.price or task.schedule.release is not None):
            raise ValueError("share must be 0 where offloads are counted, transmissions cost, or feedback is late")
        if task.budget and self.name != "hil-f":
            raise ValueError(f"budget must be left out for learner {self.name!r}: only hil-f keeps one")
        if task.budget and (task.price or task.share or task.schedule.release is not None):
            raise ValueError("budget must be left out where transmissions cost, a share is spread, or feedback is late")
        if (task.unit is not None or task.price) and not self.counts_offloads:
            what = "unit must be samples" if task.unit else "price must be 0"
            raise ValueError(f"{what} for learner {self.name!r}: only hil-f and the rules have another")
        if not self.rate_names and not (isinstance(task.learning_rate, str) and task.learning_rate == TUNED):
            got = checks.shown(task.learning_rate)
            raise ValueError(f"learning_rate must be left out for learner {self.name!r}, which has none, got {got}")
