"""Rates of a learner on a device: given as numbers, or by names that ask for what only a horizon can tell."""

from __future__ import annotations

from typing import NamedTuple

from hi_lib import checks, regret
from hi_lib.specification import ADAPTIVE, ANYTIME, FALLING, FIRST_GAP, VANILLA, Horizon, Learner

DEFAULT_LAMBDA_MIN = 1e-6  # for rates that need no horizon


class Given(NamedTuple):
    """What a device may say of its data in advance: the shortest cell that counts, n, and M."""

    lambda_min: float | None
    samples: int | None
    batch_size: int


class Chosen(NamedTuple):
    """η, ε, and where the rate falls, by which rule, and with which λ."""

    learning_rate: float
    exploration: float
    falls: str | None = None
    lambda_min: float | None = None


def rates(
    learner: Learner,
    beta: float,
    levels: int | None,
    learning_rate: float | str,
    exploration: float | None,
    given: Given,
) -> Chosen:
    """The rates of a learner that knows so much.

    Raises
    ------
    ValueError
        A name that the learner's rate does not have, one that needs what is not given, or something given without need.
    """
    if isinstance(learning_rate, str):
        checks.choice("learning_rate", learning_rate, learner.device_rate_names)
    named = isinstance(learning_rate, str) and learning_rate not in FALLING
    wanted = named or (exploration is None and learner.explores)
    _refuse_useless(learning_rate, given, wanted)
    if wanted:
        horizon = _horizon(learning_rate, beta, levels, given)
        if learning_rate in FALLING:
            raise ValueError(f"exploration must be given with {learning_rate} rates")
        found = learner.rates(horizon, learning_rate, exploration)
        return Chosen(found.learning_rate or 1.0, found.exploration if exploration is None else exploration)
    if isinstance(learning_rate, str):
        shortest = _shortest(given.lambda_min, levels)
        first = regret.doubling_learning_rate(1, shortest)
        if learning_rate == ADAPTIVE:
            first = regret.log_inverse(shortest) / FIRST_GAP
        return Chosen(first, exploration or 0.0, learning_rate, shortest)
    return Chosen(checks.positive("learning_rate", learning_rate), exploration or 0.0)


def spending(
    beta: float, learning_rate: float | str, budget: float | None, multiplier_rate: float | None, given: Given
) -> regret.Spending | None:
    """How a learner keeps a budget, which asks for n or for μ; None where it has none.

    Raises
    ------
    ValueError
        A number outside its range, a rate that goes with no budget, or something missing or given without need.
    """
    if budget is None:
        if multiplier_rate is not None:
            raise ValueError("multiplier_rate must be left out where there is no budget")
        return None
    if isinstance(learning_rate, str) and learning_rate == ANYTIME:
        raise ValueError("learning_rate must be one rate, tuned, vanilla or adaptive where there is a budget")
    ratio, most = checks.real("budget", budget, 0, 1), regret.largest_multiplier(beta)
    if multiplier_rate is not None:
        return regret.Spending(ratio, checks.positive("multiplier_rate", multiplier_rate), most)
    if given.samples is None:
        raise ValueError("multiplier_rate must be given with a budget unless samples are")
    size = 1 if isinstance(learning_rate, str) and learning_rate == VANILLA else given.batch_size
    rate = regret.budget_rates(given.samples, size, DEFAULT_LAMBDA_MIN, beta).multiplier_rate  # has no λ_min in it
    return regret.Spending(ratio, rate or 1.0, most)  # where offloads save nothing, λ stays 0 with any


def _refuse_useless(learning_rate: float | str, given: Given, wanted: bool) -> None:
    if given.lambda_min is not None and not isinstance(learning_rate, str) and not wanted:
        raise ValueError("lambda_min must be left out unless learning_rate is a name")
    if given.samples is not None and not wanted:
        raise ValueError("samples must be left out unless learning_rate is tuned or vanilla")


def _horizon(learning_rate: float | str, beta: float, levels: int | None, given: Given) -> Horizon:
    if given.samples is None or (given.lambda_min is None and levels is None):
        name = "learning_rate" if isinstance(learning_rate, str) else "exploration"
        raise ValueError(f"{name} must be a number unless samples, and either levels or lambda_min, are given")
    shortest = _shortest(given.lambda_min, levels)
    return Horizon(checks.whole("samples", given.samples), checks.whole("batch_size", given.batch_size), shortest, beta)


def _shortest(lambda_min: float | None, levels: int | None) -> float:
    """λ: as given, else the grid's, else the default."""
    if lambda_min is not None:
        return checks.real("lambda_min", lambda_min, 0, 1, open_ends="()")
    return DEFAULT_LAMBDA_MIN if levels is None else 1 / max(levels, 2)
