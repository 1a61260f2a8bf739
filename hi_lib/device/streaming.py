"""Batch HI on a device: confidences not known in advance, thresholds drawn for real, feedback that may come late.

Memory and time of a sample: with `levels`, constant, and NumPy is all that is needed; else O(log n) time for n distinct
confidences, about a hundred bytes each, and numba.
"""

from __future__ import annotations

import hashlib
import json
import math
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hi_lib import checks, regret
from hi_lib.device.grid import Grid
from hi_lib.typing import Flags, Floats

if TYPE_CHECKING:
    from hi_lib.device.tree import Tree

STATE_VERSION = 2
DEFAULT_LAMBDA_MIN = 1e-6
_MOST_LEVELS = 2**20
_FULL_WEIGHT = np.ones(1)  # of every sample, where all answers are known
# What a single sample's decision may be: looked up ten times faster than compared as an array.
_KEPT, _SENT = np.zeros(1, np.bool_), np.ones(1, np.bool_)
for _decision in (_KEPT, _SENT):
    _decision.setflags(write=False)


class Ticket(NamedTuple):
    """Decisions whose feedback is still to come."""

    number: int
    """Names the ticket in `hear` and `forget`, also after a restart."""
    threshold: float
    """The θ with which it was decided."""
    offload: Flags
    """Which samples to offload, shape (m,)."""


class Decided(NamedTuple):
    """Samples that wait for their feedback, arrays of shape (m,): p, whether offloaded, how much a mistake counts.

    The last may have shape (1,), for all.
    """

    confidence: Floats
    offload: Flags
    weight: Floats


class HILF:
    """Algorithm 1 with full feedback, on a device.

    Either in batches, each with one θ: `decide`, then `update`, as often as there are batches. Or with feedback that
    comes when it comes: `decide_later` gives a ticket (or `defer` does, at the end of a batch that `decide` decided),
    `hear` takes its feedback, in any order, `forget` gives it up.

    Parameters
    ----------
    beta : float
        Cost of an offload, in [0, 1].
    learning_rate : float or "anytime"
        η > 0; or rates that need no horizon, constant between doublings of the exposure Σ (1 + 2 g_t), with g_t earlier
        samples outstanding when sample t is decided: see `doubling_learning_rate`.
    seed : int, optional
        Seeds the draws of θ.
    levels : int, optional
        Round confidences down to multiples of 1/levels, from 1 to 2^20. The regret against the best threshold on that
        grid has the bound with λ_min = 1/levels; that threshold makes at most one more unit of cost than the best of
        all for each sample in one cell of the grid.
    lambda_min : float, optional
        For "anytime", in (0, 1): the shortest distance of two confidences that should count; 1e-6 by default, and
        1/levels with levels. The bound grows by √2 at most for every factor of two between ln(1/λ) and its truth.

    Raises
    ------
    ValueError
        An argument outside its range.

    Examples
    --------
    >>> learner = HILF(beta=0.7, learning_rate=0.1, seed=0)
    >>> theta = learner.threshold()                  # the same for the whole batch
    >>> learner.decide([0.2, 0.99]) == (theta > np.array([0.2, 0.99]))
    array([ True,  True])
    >>> learner.update([0.2, 0.99], correct=[0, 1])  # feedback at the batch's end; a new θ is drawn
    >>> first, second = learner.decide_later([0.3]), learner.decide_later([0.8])
    >>> learner.hear(second, correct=[1])            # out of order
    >>> learner.forget(first)                        # no answer will come
    """

    feedback = "all"  # or "offloaded": whether it is told of the samples that it accepted, too

    def __init__(
        self,
        beta: float,
        learning_rate: float | str,
        seed: int | None = None,
        *,
        levels: int | None = None,
        lambda_min: float | None = None,
    ) -> None:
        self._beta = checks.real("beta", beta, 0, 1)
        self._levels = None if levels is None else checks.whole("levels", levels)
        if self._levels is not None and self._levels > _MOST_LEVELS:
            raise ValueError(f"levels must be at most 2^20, got {self._levels}: leave it out for a tree")
        self._set_rate(learning_rate, lambda_min)
        self._rng = np.random.default_rng(checks.seed("seed", seed))
        self._forecaster = self._new_forecaster()
        self._tickets: dict[int, Decided] = {}
        self._next_ticket, self._outstanding, self._exposure = 0, 0, 0.0
        self._threshold = self._draw()

    @property
    def beta(self) -> float:
        """Cost of an offload."""
        return self._beta

    @property
    def levels(self) -> int | None:
        """How finely confidences are told apart; None: exactly."""
        return self._levels

    @property
    def learning_rate(self) -> float:
        """η, the one of the moment where it is "anytime"."""
        return self._eta

    @property
    def outstanding(self) -> list[int]:
        """Numbers of the tickets that wait for feedback, oldest first."""
        return list(self._tickets)

    def threshold(self) -> float:
        """θ of the current batch."""
        return self._threshold

    def decide(self, confidence: ArrayLike) -> NDArray[np.bool_]:
        """Which samples of the current batch to offload: bool array of shape (m,), θ > p."""
        return self._threshold > self._seen(confidence)

    def update(self, confidence: ArrayLike, correct: ArrayLike) -> None:
        """End the batch: learn from the confidence and correctness of all its m samples, then draw the next θ.

        Raises
        ------
        ValueError
            `correct` does not hold an answer for each sample; nothing has changed then. (For `HILN` and `Apple`:
            `confidence` is not what was decided since the last update, or `correct`, nan or None where a sample stayed
            local, lacks the answer to one that was offloaded.)
        """
        decided = self._batch_of(self._seen(confidence))
        right = self._answers(correct, decided)
        self._expose(decided.confidence.size)
        self._learn(decided, right)
        self._next_batch()

    def defer(self, confidence: ArrayLike) -> Ticket:
        """End the batch before its feedback is there: a ticket for what was decided, and the next θ is drawn.

        `confidence` holds all its m samples; errors as for `update`.
        """
        decided = self._batch_of(self._seen(confidence))
        ticket = self._ticket(decided, self._threshold)
        self._next_batch()
        return ticket

    def decide_later(self, confidence: ArrayLike) -> Ticket:
        """Decide m samples with a θ of their own, from what has been heard so far; their feedback comes later."""
        values = self._seen(confidence)
        threshold = self._draw()
        return self._ticket(self._decided(values, threshold), threshold)

    def hear(self, ticket: Ticket | int, correct: ArrayLike) -> None:
        """Learn from the feedback on a ticket: whether the S-ML was right, shape (m,).

        Raises
        ------
        ValueError
            The ticket is not outstanding (heard or forgotten before, or of another learner), or `correct` does not
            hold an answer for each of its samples; nothing has changed then.
        """
        number, decided = self._outstanding_ticket(ticket)
        right = self._answers(correct, decided)
        self._close(number, decided)
        self._learn(decided, right)

    def forget(self, ticket: Ticket | int) -> None:
        """Give up a ticket whose answer is lost; errors as for `hear`.

        Nothing is learned from its samples. If losses have nothing to do with the answers, the others are a fair
        sample of all; if, say, hard images are lost more often, thresholds come out too low, and no learner that sees
        only the others can know.
        """
        self._close(*self._outstanding_ticket(ticket))

    def state(self) -> dict[str, Any]:
        """All there is to the learner, outstanding tickets included, as plain values for `json.dump`."""
        body = {
            "learner": type(self).__name__,
            "version": STATE_VERSION,
            "settings": self._settings(),
            **self._memory(),
        }
        return body | {"sha256": _digest(body)}

    @classmethod
    def restore(cls, state: dict[str, Any]) -> Self:
        """The learner that gave this state, going on as it would have: the same draws, to the last bit.

        Raises
        ------
        ValueError
            The state is of another learner or of another version, or it is damaged.
        """
        if not isinstance(state, dict) or not {"learner", "version", "sha256"} <= set(state):
            raise ValueError("state must be what state() gave: a dictionary with learner, version and sha256")
        body = {key: value for key, value in state.items() if key != "sha256"}
        if state["learner"] != cls.__name__:
            raise ValueError(f"state must be of {cls.__name__}, got one of {checks.shown(state['learner'])}")
        if state["version"] != STATE_VERSION:
            raise ValueError(f"state must be of version {STATE_VERSION}, got {checks.shown(state['version'])}")
        if state["sha256"] != _digest(body):
            raise ValueError("state is damaged: its sha256 is not that of what it holds")
        learner = cls(**state["settings"])
        learner._remember(state)
        return learner

    def _settings(self) -> dict[str, Any]:
        rate = {"learning_rate": self._eta} if self._lambda_min is None else {"learning_rate": "anytime"}
        return {"beta": self._beta, **rate, "levels": self._levels, "lambda_min": self._lambda_min}

    def _memory(self) -> dict[str, Any]:
        random = dict(self._rng.bit_generator.state)
        # As text, since other readers of JSON know no integers of 128 bits.
        random["state"] = {key: str(value) for key, value in random["state"].items()}
        return {
            "random": random,
            "threshold": self._threshold,
            "exposure": self._exposure,
            "rate": self._eta,
            "weights": self._forecaster.state(),
            "tickets": {str(number): [part.tolist() for part in ticket] for number, ticket in self._tickets.items()},
            "next_ticket": self._next_ticket,
        }

    def _remember(self, state: dict[str, Any]) -> None:
        random = state["random"]
        self._rng.bit_generator.state = random | {"state": {k: int(value) for k, value in random["state"].items()}}
        self._eta, self._threshold, self._exposure = state["rate"], state["threshold"], state["exposure"]
        self._forecaster = self._new_forecaster()
        self._forecaster.restore(state["weights"])
        self._tickets = {int(number): as_decided(parts) for number, parts in state["tickets"].items()}
        self._outstanding = sum(ticket.confidence.size for ticket in self._tickets.values())
        self._next_ticket = state["next_ticket"]

    def _set_rate(self, learning_rate: float | str, lambda_min: float | None) -> None:
        if not isinstance(learning_rate, str):
            if lambda_min is not None:
                raise ValueError('lambda_min must be left out unless learning_rate is "anytime"')
            self._lambda_min, self._eta = None, checks.positive("learning_rate", learning_rate)
            return
        checks.choice("learning_rate", learning_rate, ("anytime",))
        if lambda_min is None:
            lambda_min = DEFAULT_LAMBDA_MIN if self._levels is None else 1 / max(self._levels, 2)
        self._lambda_min = checks.real("lambda_min", lambda_min, 0, 1, open_ends="()")
        self._eta = regret.doubling_learning_rate(1, self._lambda_min)

    def _new_forecaster(self) -> Grid | Tree:
        if self._levels is not None:
            return Grid(self._levels, self._eta)
        from hi_lib.device.tree import Tree  # brings numba, which a device with levels does without

        return Tree(self._eta)

    def _seen(self, confidence: ArrayLike) -> Floats:
        """Confidences as the learner tells them apart."""
        values = checks.vector("confidence", confidence)
        if self._levels is None:
            return values
        if values.size == 1:  # the usual case on a device, four times faster so
            values[0] = math.floor(values.item() * self._levels) / self._levels
            return values
        return np.floor(values * self._levels) / self._levels

    def _decided(self, confidence: Floats, threshold: float) -> Decided:
        if confidence.size == 1:
            return Decided(confidence, _SENT if threshold > confidence.item() else _KEPT, _FULL_WEIGHT)
        return Decided(confidence, threshold > confidence, _FULL_WEIGHT)

    def _batch_of(self, confidence: Floats) -> Decided:
        """The current batch, which holds these samples."""
        return self._decided(confidence, self._threshold)

    def _ticket(self, decided: Decided, threshold: float) -> Ticket:
        number, samples = self._next_ticket, decided.confidence.size
        self._tickets[number] = decided
        self._expose(samples)
        self._next_ticket, self._outstanding = number + 1, self._outstanding + samples
        return Ticket(number, threshold, decided.offload)

    def _learn(self, decided: Decided, right: Flags) -> None:
        if right.size == 1:  # the usual case on a device, twice as fast without arrays
            step = self._beta if right.item() else self._beta - decided.weight.item()
            self._forecaster.add(decided.confidence.item(), step)
        else:
            self._forecaster.update(decided.confidence, self._beta - decided.weight * ~right)

    def _next_batch(self) -> None:
        self._threshold = self._draw()

    def _answers(self, correct: ArrayLike, decided: Decided) -> Flags:
        if self.feedback == "all":
            return checks.flags("correct", correct, decided.confidence.size)
        return _partial_flags("correct", correct, known=decided.offload)

    def _outstanding_ticket(self, ticket: Ticket | int) -> tuple[int, Decided]:
        number = ticket.number if isinstance(ticket, Ticket) else checks.whole("ticket", ticket, low=0)
        if number not in self._tickets:
            gone = "heard or forgotten before" if number < self._next_ticket else "never given"
            raise ValueError(f"ticket {number} must be outstanding, but was {gone}")
        return number, self._tickets[number]

    def _close(self, number: int, decided: Decided) -> None:
        del self._tickets[number]
        self._outstanding -= decided.confidence.size

    def _expose(self, samples: int) -> None:
        """Count Σ (1 + 2 g_t) over samples decided together, and let "anytime" follow."""
        self._exposure += self._exposed(samples**2 + 2 * samples * self._outstanding, samples)
        if self._lambda_min is not None:
            # As if the next batch were like this one: then a rate is that of all exposure up to its batch's end.
            self._eta = min(self._eta, regret.doubling_learning_rate(self._exposure + samples**2, self._lambda_min))

    def _exposed(self, pattern: int, _samples: int) -> float:
        return float(pattern)

    def _draw(self) -> float:
        return self._forecaster.draw(self._rng, self._eta)


def as_decided(parts: list[list[Any]]) -> Decided:
    """Samples as a state holds them."""
    confidence, offload, weight = parts
    return Decided(np.array(confidence, float), np.array(offload, np.bool_), np.array(weight, float))


def _partial_flags(where: str, values: ArrayLike, known: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return a bool array from values that are 0/1 where `known`; elsewhere nan and None are taken as 0."""
    array = np.asarray(values, dtype=object)
    if array.shape != known.shape:
        raise ValueError(f"{where} must have shape {known.shape}, got {array.shape}")
    missing = np.array([item is None or item != item for item in array], dtype=bool)
    if (missing & known).any():
        first = int(np.flatnonzero(missing & known)[0])
        raise ValueError(
            f"{where}[{first}] must be 0 or 1: that sample was offloaded, got {checks.shown(array[first])}"
        )
    return checks.flags(where, np.where(missing, 0, array), array.size)


def _digest(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
