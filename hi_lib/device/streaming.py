"""Batch HI on a device: confidences not known in advance, thresholds drawn for real, feedback that may come late.

Memory and time of a sample: with `levels`, constant, and NumPy is all that is needed; else O(log n) time for n distinct
confidences, about a hundred bytes each, and numba.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hi_lib import batch_hi, checks, regret
from hi_lib.device import states, tuning
from hi_lib.device.grid import Grid
from hi_lib.device.states import NOTHING, Begun, Decided, Spent
from hi_lib.specification import ADAPTIVE, ANYTIME, FIRST_GAP
from hi_lib.typing import Flags, Floats

if TYPE_CHECKING:
    from hi_lib.device.tree import Tree

STATE_VERSION = 3
_MOST_LEVELS = 2**20
_LEAST_RATE = 1e-150  # that of an exposure of 2^1000
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


class HILF:
    """Algorithm 1 with full feedback, on a device.

    Either in batches, each with one θ: `decide`, then `update`, as often as there are batches. Or with feedback that
    comes when it comes: `decide_later` gives a ticket (or `defer` does, at the end of a batch that `decide` decided),
    `hear` takes its feedback, in any order, `forget` gives it up. The θ of a batch is drawn when its first sample is
    decided, from all feedback there is by then.

    Parameters
    ----------
    beta : float
        Cost of an offload, in [0, 1].
    learning_rate : float or {"tuned", "vanilla", "anytime", "adaptive"}
        η > 0; or the one that minimises the regret bound for `samples` in batches of `batch_size` ("tuned") or one by
        one ("vanilla"); or rates that need no horizon, constant between doublings of the exposure Σ (1 + 2 g_t), with
        g_t earlier samples outstanding when sample t is decided: see `doubling_learning_rate`; or AdaHedge's, which
        needs neither, and falls by at least a half whenever it falls (T22).
    seed : int, optional
        Seeds the draws of θ.
    levels : int, optional
        Round confidences down to multiples of 1/levels, from 1 to 2^20. The regret against the best threshold on that
        grid has the bound with λ_min = 1/levels; that threshold makes at most one more unit of cost than the best of
        all for each sample in one cell of the grid.
    lambda_min : float, optional
        For rates that have a name, in (0, 1): the shortest distance of two confidences that should count; 1/levels with
        levels. For "anytime" and "adaptive" it is 1e-6 by default; the bound of "anytime" grows by √2 at most for every
        factor of two between ln(1/λ) and its truth.
    samples, batch_size : int, optional
        n and M, for "tuned" and "vanilla".
    share : float
        σ in [0, 1), for one rate and `levels` only: after each feedback this share of the weight is spread evenly over
        all thresholds, so that the learner can follow a drift (T25).
    budget : float, optional
        B in [0, 1]: at most this share of the samples is to be offloaded, on average. An offload costs λ more to the
        learner, which follows what is spent: when a batch is heard of, or given up, λ ← λ + μ Σ (q_t − B) over its
        samples, held between 0 and 2 (1 − β), as in `replay` (T26; with rates other than "anytime", and no share).
        λ and the q_t of a batch are those at its end, or at the moment of its ticket: those that its θ was drawn from,
        unless other feedback came in the midst of it.
    multiplier_rate : float > 0, optional
        μ; by default 2 (1 − β)/√(n M), for the `samples` and `batch_size` given.

    Raises
    ------
    ValueError
        An argument outside its range; "tuned" or "vanilla" without `samples`, or with neither `levels` nor
        `lambda_min`; a budget without `samples` or `multiplier_rate`.

    Examples
    --------
    >>> learner = HILF(beta=0.7, learning_rate=0.1, seed=0)
    >>> theta = learner.threshold()                  # the same for the whole batch
    >>> learner.decide([0.2, 0.99]) == (theta > np.array([0.2, 0.99]))
    array([ True,  True])
    >>> learner.update([0.2, 0.99], correct=[0, 1])  # feedback at the batch's end; the next batch has another θ
    >>> first, second = learner.decide_later([0.3]), learner.decide_later([0.8])
    >>> learner.hear(second, correct=[1])            # out of order
    >>> learner.forget(first)                        # no answer will come
    """

    learner = batch_hi.HIL_F
    """What there is to know of it, a `hi_lib.specification.Learner`."""
    _eta: float
    _falls: str | None
    _lambda_min: float | None
    _share = 0.0
    _spending: regret.Spending | None = None

    def __init__(
        self,
        beta: float,
        learning_rate: float | str,
        seed: int | None = None,
        *,
        levels: int | None = None,
        lambda_min: float | None = None,
        samples: int | None = None,
        batch_size: int = 1,
        share: float = 0.0,
        budget: float | None = None,
        multiplier_rate: float | None = None,
    ) -> None:
        self._prepare(beta, levels)
        given = tuning.Given(lambda_min, samples, batch_size)
        self._spending = tuning.spending(self._beta, learning_rate, budget, multiplier_rate, given)
        named = isinstance(learning_rate, str) and learning_rate != ADAPTIVE
        if self._spending and multiplier_rate is None and not named:
            given = given._replace(samples=None)  # they were for μ
        self._set_rates(learning_rate, None, given)
        if self._spending and named:
            self._eta /= 2 - self._beta  # losses lie in [0, 2 − β]
        self._share = checks.real("share", share, 0, 1, open_ends=")")
        if self._share and (self._levels is None or self._falls or self._spending):
            raise ValueError("share must be 0 without levels, with a budget, and where the rate is anytime or adaptive")
        self._begin_life(seed)

    def _prepare(self, beta: float, levels: int | None) -> None:
        self._beta = checks.real("beta", beta, 0, 1)
        self._levels = None if levels is None else checks.whole("levels", levels)
        if self._levels is not None and self._levels > _MOST_LEVELS:
            raise ValueError(f"levels must be at most 2^20, got {self._levels}: leave it out for a tree")

    def _set_rates(self, learning_rate: float | str, exploration: float | None, given: tuning.Given) -> float:
        """Take η, or what it is to follow; return ε."""
        found = tuning.rates(self.learner, self._beta, self._levels, learning_rate, exploration, given)
        self._eta, self._falls, self._lambda_min = found.learning_rate, found.falls, found.lambda_min
        self._gap = FIRST_GAP
        return found.exploration

    def _begin_life(self, seed: int | None) -> None:
        self._rng = np.random.default_rng(checks.seed("seed", seed))
        self._forecaster = self._new_forecaster()
        self._tickets: dict[int, Decided] = {}
        self._next_ticket, self._ticketed, self._closed, self._exposure = 0, 0, 0, 0.0
        self._begun: Begun | None = None
        self._multiplier, self._spent = 0.0, dict[int, Spent]()

    def __repr__(self) -> str:
        """One line: how it was made, and how far it has come."""
        settings = ", ".join(f"{name}={value!r}" for name, value in self._settings().items() if value is not None)
        return f"{type(self).__name__}({settings}; {self._ticketed} samples, {len(self._tickets)} tickets out)"

    @property
    def beta(self) -> float:
        """Cost of an offload."""
        return self._beta

    @property
    def levels(self) -> int | None:
        """How finely confidences are told apart; None is exactly."""
        return self._levels

    @property
    def learning_rate(self) -> float:
        """η, the one of the moment where it is "anytime"."""
        return self._eta

    @property
    def budget(self) -> float | None:
        """B, the share of samples that may be offloaded on average; None where there is no budget."""
        return self._spending.budget if self._spending else None

    @property
    def multiplier(self) -> float:
        """λ of the moment, by which an offload costs more to the learner; 0 where there is no budget."""
        return self._multiplier

    @property
    def regret_bound(self) -> float | None:
        """Bound on the regret so far, (1 + L/L′)Δ of T22, if the rate is "adaptive" and all feedback came in batches.

        L is that of the shortest cell there is, L′ of `lambda_min`, by default the grid's own: then it is 2Δ. None for
        other rates, whose bounds need a horizon, and with a budget.
        """
        if self._falls != ADAPTIVE or self._lambda_min is None or self._spending:
            return None
        log_cells, assumed = (regret.log_inverse(each) for each in (self._forecaster.shortest(), self._lambda_min))
        return (1 + log_cells / assumed) * self._gap

    @property
    def outstanding(self) -> list[int]:
        """Numbers of the tickets that wait for feedback, oldest first."""
        return list(self._tickets)

    def threshold(self) -> float:
        """θ of the current batch, which begins with this if none has begun."""
        return self._begin().threshold

    def decide(self, confidence: ArrayLike) -> NDArray[np.bool_]:
        """Which samples of the current batch to offload: bool array of shape (m,), θ > p; the first call draws θ.

        Raises
        ------
        ValueError
            A confidence outside [0, 1].
        """
        values = self._seen(confidence)
        return self._begin().threshold > values

    def update(self, confidence: ArrayLike, correct: ArrayLike) -> None:
        """End the batch: learn from the confidence and correctness of all its m samples.

        Raises
        ------
        ValueError
            `correct` does not hold an answer for each sample; nothing has changed then. (For `HILN` and `Apple`:
            `confidence` is not what was decided since the last update, or `correct`, nan or None where a sample stayed
            local, lacks the answer to one that was offloaded.)
        """
        values = self._seen(confidence)
        decided = self._batch_of(values)
        right = self._answers(correct, decided)
        self._expose(values.size, self._begun.closed if self._begun else self._closed)
        self._ticketed, self._closed = self._ticketed + values.size, self._closed + values.size
        self._end_batch()
        self._learn_spent(decided, right, [self._spend(values)])

    def defer(self, confidence: ArrayLike) -> Ticket:
        """End the batch before its feedback is there: a ticket for what was decided.

        `confidence` holds all its m samples; errors as for `update`.

        Returns
        -------
        Ticket
        """
        values = self._seen(confidence)
        if self.learner.feedback == "all":
            self._begin()  # where nothing was decided before, all is now
        decided, begun = self._batch_of(values), self._begin()
        self._end_batch()
        return self._ticket(decided, begun)

    def decide_later(self, confidence: ArrayLike) -> Ticket:
        """Decide m samples with a θ of their own, from what has been heard so far; their feedback comes later.

        Returns
        -------
        Ticket
            With the flags of its m samples.

        Raises
        ------
        ValueError
            A confidence outside [0, 1].
        """
        values = self._seen(confidence)
        own = Begun(self._draw(), self._closed)
        return self._ticket(self._decided(values, own), own)

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
        self._learn_spent(decided, right, [self._close(number, decided)])

    def hear_together(self, tickets: Sequence[Ticket | int], correct: ArrayLike) -> None:
        """Learn from the feedback on several tickets at once, as on one batch: `correct` holds all their samples.

        For "adaptive" rates it makes a difference: what their samples lost is measured against the same weights.

        Raises
        ------
        ValueError
            As for `hear`, or a ticket twice; nothing has changed then.
        """
        found = dict(self._outstanding_ticket(ticket) for ticket in tickets)
        if not tickets or len(found) != len(tickets):
            raise ValueError(f"tickets must be at least one, and different ones, got {checks.shown(list(tickets))}")
        decided = states.joined(list(found.values()))
        right = self._answers(correct, decided)
        self._learn_spent(decided, right, [self._close(*each) for each in found.items()])

    def forget(self, ticket: Ticket | int) -> None:
        """Give up a ticket whose answer is lost; errors as for `hear`.

        Nothing is learned from its samples. If losses have nothing to do with the answers, the others are a fair
        sample of all; if, say, hard images are lost more often, thresholds come out too low, and no learner that sees
        only the others can know.
        """
        self._pay([self._close(*self._outstanding_ticket(ticket))])

    def state(self) -> dict[str, Any]:
        """All there is to the learner, outstanding tickets included, as plain values for `json.dump`.

        Returns
        -------
        dict
        """
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
            got = checks.shown(state["version"])
            raise ValueError(f"state must be of version {STATE_VERSION}, got {got}: let the learner begin anew")
        if state["sha256"] != _digest(body):
            raise ValueError("state is damaged: its sha256 is not that of what it holds")
        try:
            learner = cls(**states.part(state, "settings", dict))
        except TypeError:
            learner = None
        if learner is None or learner._settings() != state["settings"]:
            raise ValueError(f"state's settings must be those of {cls.__name__}, got {checks.shown(state['settings'])}")
        learner._remember(state)
        return learner

    def _settings(self) -> dict[str, Any]:
        rate = {"learning_rate": self._falls or self._eta}
        more: dict[str, Any] = {"share": self._share} if self._share else {}
        if self._spending:
            more |= {"budget": self._spending.budget, "multiplier_rate": self._spending.rate}
        return {"beta": self._beta, **rate, "levels": self._levels, "lambda_min": self._lambda_min, **more}

    def _memory(self) -> dict[str, Any]:
        random = dict(self._rng.bit_generator.state)
        # As text, since other readers of JSON know no integers of 128 bits.
        random["state"] = {key: str(value) for key, value in random["state"].items()}
        spent = {str(number): list(each) for number, each in self._spent.items()}
        return ({"multiplier": self._multiplier, "spent": spent} if self._spending else {}) | {
            "random": random,
            "batch": None if self._begun is None else list(self._begun),
            "closed": self._closed,
            "exposure": self._exposure,
            "gap": self._gap,
            "rate": self._eta,
            "weights": self._forecaster.state(),
            "tickets": {str(number): [part.tolist() for part in ticket] for number, ticket in self._tickets.items()},
            "next_ticket": self._next_ticket,
        }

    def _remember(self, state: dict[str, Any]) -> None:
        self._rng.bit_generator.state = states.generator(state)
        self._tickets = states.tickets(state, self._levels)
        self._next_ticket = states.count(state, "next_ticket", low=1 + max(self._tickets, default=-1))
        self._closed = states.count(state, "closed")
        self._ticketed = self._closed + sum(ticket.confidence.size for ticket in self._tickets.values())
        self._begun = states.begun(state, self._closed)
        self._exposure = states.number(state, "exposure", low=self._ticketed)
        first = self._eta  # a rate that was given stays; others only fall
        self._eta = states.number(state, "rate", _LEAST_RATE if self._falls else first, first)
        self._gap = states.number(state, "gap", low=FIRST_GAP)
        self._forecaster = self._restored(states.part(state, "weights", dict))
        if self._spending:
            self._multiplier = states.number(state, "multiplier", high=self._spending.most)
            self._spent = states.spent(state, self._tickets, self._spending.most)

    def _restored(self, weights: dict[str, Any]) -> Grid | Tree:
        forecaster = self._new_forecaster()
        forecaster.restore(weights)
        return forecaster

    def _new_forecaster(self) -> Grid | Tree:
        if self._levels is not None:
            return Grid(self._levels, self._eta)
        from hi_lib.device.tree import Tree  # brings numba, which a device with levels does without

        return Tree(self._eta)

    def _seen(self, confidence: ArrayLike) -> Floats:
        """Confidences as the learner tells them apart."""
        values = checks.vector("confidence", confidence)
        return values if self._levels is None else states.on_grid(values, self._levels)

    def _decided(self, confidence: Floats, begun: Begun) -> Decided:
        if confidence.size == 1:
            return Decided(confidence, _SENT if begun.threshold > confidence.item() else _KEPT, _FULL_WEIGHT)
        return Decided(confidence, begun.threshold > confidence, _FULL_WEIGHT)

    def _begin(self) -> Begun:
        """The current batch; it begins with a draw of its θ."""
        if self._begun is None:
            self._begun = Begun(self._draw(), self._closed)
        return self._begun

    def _batch_of(self, confidence: Floats) -> Decided:
        """The current batch, which holds these samples; where it has not begun, none of them was offloaded."""
        return self._decided(confidence, self._begun or Begun(0.0, self._closed))

    def _ticket(self, decided: Decided, begun: Begun) -> Ticket:
        number, samples = self._next_ticket, decided.confidence.size
        self._tickets[number] = decided
        if self._spending:
            self._spent[number] = self._spend(decided.confidence)
        self._expose(samples, begun.closed)
        self._next_ticket, self._ticketed = number + 1, self._ticketed + samples
        return Ticket(number, begun.threshold, decided.offload)

    def _spend(self, confidence: Floats) -> Spent:
        """λ of the moment, and by how much these samples exceed their part of the budget, in expectation."""
        if not self._spending:
            return NOTHING
        over = 0.0
        for q in self._forecaster.offload_probability(confidence, self._eta).tolist():
            over += q - self._spending.budget
        return Spent(self._multiplier, over, confidence.size)

    def _learn_spent(self, decided: Decided, right: Flags, spent: Sequence[Spent]) -> None:
        """Learn what several calls decided, each with its λ, and let λ follow what they spent."""
        if not self._spending:
            self._learn(decided, right)
            return
        multiplier = np.repeat([each.multiplier for each in spent], [each.samples for each in spent])
        step = self._beta - decided.weight * ~right + multiplier
        if self._falls == ADAPTIVE:
            self._adapt(decided.confidence, step)
        else:
            self._forecaster.update(decided.confidence, step)
        self._pay(spent)

    def _pay(self, spent: Sequence[Spent]) -> None:
        if self._spending:
            self._multiplier = self._spending.moved(self._multiplier, sum(each.over for each in spent))

    def _learn(self, decided: Decided, right: Flags) -> None:
        if self._falls == ADAPTIVE:
            self._adapt(decided.confidence, self._beta - decided.weight * ~right)
        elif right.size == 1:  # the usual case on a device, twice as fast without arrays
            step = self._beta if right.item() else self._beta - decided.weight.item()
            self._forecaster.add(decided.confidence.item(), step)
        else:
            self._forecaster.update(decided.confidence, self._beta - decided.weight * ~right)
        if self._share and isinstance(self._forecaster, Grid):
            self._forecaster.spread(self._share, self._eta)

    def _adapt(self, confidence: Floats, step: Floats) -> None:
        """Learn a batch, and let η = L/Δ follow what it lost, in steps of at least two."""
        self._gap += self._forecaster.measured(confidence, step)
        target = regret.log_inverse(self._lambda_min or 1.0) / self._gap
        if self._eta > 2 * target:
            self._eta = target
            self._forecaster.weigh(target)

    def _end_batch(self) -> None:
        self._begun = None

    def _answers(self, correct: ArrayLike, decided: Decided) -> Flags:
        if self.learner.feedback == "all":
            return checks.flags("correct", correct, decided.confidence.size)
        return _partial_flags("correct", correct, known=decided.offload)

    def _outstanding_ticket(self, ticket: Ticket | int) -> tuple[int, Decided]:
        number = ticket.number if isinstance(ticket, Ticket) else checks.whole("ticket", ticket, low=0)
        if number not in self._tickets:
            gone = "heard or forgotten before" if number < self._next_ticket else "never given"
            raise ValueError(f"ticket {number} must be outstanding, but was {gone}")
        return number, self._tickets[number]

    def _close(self, number: int, decided: Decided) -> Spent:
        del self._tickets[number]
        self._closed += decided.confidence.size
        return self._spent.pop(number, NOTHING)

    def _expose(self, samples: int, closed: int) -> None:
        """Count Σ (1 + 2 g_t) over samples with one θ, and let "anytime" follow.

        What had not been `closed` when their θ was drawn is outstanding for each of them, and so are those of their
        own that were decided before it. (Tickets that others were given in the meantime count here, too: either these
        samples or those do not know of the other.)
        """
        missing = self._ticketed - closed
        self._exposure += self._exposed(samples**2 + 2 * samples * missing, samples)
        if self._falls == ANYTIME and self._lambda_min is not None:
            # As if the next batch were like this one: then a rate is that of all exposure up to its batch's end.
            self._eta = min(self._eta, regret.doubling_learning_rate(self._exposure + samples**2, self._lambda_min))

    def _exposed(self, pattern: int, _samples: int) -> float:
        return float(pattern)

    def _draw(self) -> float:
        return self._forecaster.draw(self._rng, self._eta)


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
    try:
        return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    except (TypeError, ValueError, RecursionError):
        raise ValueError("state must hold plain values only, as json.load gives them") from None
