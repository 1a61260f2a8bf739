"""The forecaster that knows no confidence in advance, compiled: a balanced tree over those met, O(log n) a sample.

Each node is a confidence p: it adds its `step` to the loss of all thresholds above p, and owns the cell from p to the
next confidence. A subtree needs three numbers: the sum S of its steps, the least loss ℓ of its cells and their mass m
relative to the best of them, both counted from the subtree's own left end. Two neighbouring stretches join as

    S = S₁ + S₂,    ℓ = min(ℓ₁, S₁ + ℓ₂),    m = m₁ e^{−η(ℓ₁ − ℓ)} + m₂ e^{−η(S₁ + ℓ₂ − ℓ)},

so no exponent is ever positive and the best cell counts in full: nothing overflows, and what underflows cannot matter.

The tree is a treap whose priorities are hashes of the confidences: its shape follows from which confidences it holds,
whatever the order in which they came. So a learner that is restored from its cells goes on to the last bit.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from hi_lib.forecaster import Steps
from hi_lib.regret import NO_BUDGET, Schedule, Spending
from hi_lib.traces import Trace
from hi_lib.typing import Floats

# Columns of a node, which fill one line of a cache: its confidence, its own step, the length of its cell; then S, ℓ and
# m of its subtree; then, as integers in the place of the floats, its left and its right child.
KEY, STEP, LENGTH, SUM, LEAST, MASS, LEFT, RIGHT = range(8)
HEAD = 0  # owns the cell from 0 to the least confidence; the treap is its right child
NONE = -1
# Lengths are kept in this unit: even the shortest, 2^-1074, has all its digits after some learning.
_UNIT = 2.0**600
_DEPTH = 128  # a path longer than this is rarer than a broken computer, and costs one larger array

# Whose answers count: all; offloaded ones, by their probability; offloaded ones, as they are.
FULL, WEIGHTED, NAIVE = range(3)

compiled = numba.njit(cache=True, nogil=True, error_model="numpy")


class Feedback(NamedTuple):
    """Which samples teach, and how; by default all do, for ever."""

    counts: int = FULL
    """FULL; or offloaded samples only, WEIGHTED or NAIVE."""
    uniform: Floats = np.empty(0)
    """One number in [0, 1) a batch, which stands for its θ, where offloaded samples count only."""
    explored: NDArray[np.bool_] = np.empty(0, np.bool_)
    """Which samples are offloaded whatever θ says, shape (n,)."""
    exploration: float = 0.0
    """With which probability."""
    window: int = 0
    """Only so many samples of the past count; 0: all."""


def replay(
    trace: Trace, wrong: NDArray[np.bool_], steps: Steps, schedule: Schedule, feedback: Feedback | None = None
) -> NDArray[np.float64]:
    """Probability of an offload for each sample of a trace, shape (n,); `wrong` (n,) says which step each takes."""
    late = release = np.empty(0, np.int64)
    if schedule.release is not None:
        late = np.argsort(schedule.release, kind="stable")
        release = schedule.release[late]
    return _rounds(trace.confidence, wrong, steps, (schedule.batch_size, late, release), feedback or Feedback())


class Rate(NamedTuple):
    """One η; or, where Δ is given, AdaHedge's: η = L/Δ, which falls as Δ grows, in steps of two at most (T22)."""

    learning_rate: float
    log_cells: float = 0.0
    """L."""
    gap: float = 0.0
    """Δ at the start; 0 for one rate."""


class Played(NamedTuple):
    """What a learner did in cycles."""

    offload: Floats
    """q of each sample, given the past, shape (n,)."""
    offloaded: NDArray[np.bool_]
    """Whether its own θ offloads it; where a batch has one θ, nothing is drawn."""
    ends: NDArray[np.int64]
    """How many samples had been decided at the end of each cycle."""
    learning_rate: float
    """η of the last one."""
    gap: float
    """Δ at the end."""
    multiplier: Floats
    """λ when each sample was decided, shape (n,); (0,) without a budget."""


def play(
    confidence: Floats,
    step: Floats,
    closing: tuple[int, int],
    rate: Rate,
    uniform: Floats | None = None,
    spending: Spending | None = None,
) -> Played:
    """HIL-F in cycles, each of which ends after so many samples or so many offloads; then all of it is learned.

    Parameters
    ----------
    confidence : NDArray of shape (n,)
    step : NDArray of shape (n,)
        What each sample adds to the loss of the thresholds above it.
    closing : tuple of int
        The largest number of samples, and of offloads, of a cycle.
    rate : Rate
    uniform : NDArray of shape (n,), optional
        A number in [0, 1) for each sample, which stands for its own θ; without it cycles end by samples alone.
    spending : Spending, optional
        A budget on offloads.
    """
    drawn = np.empty(0) if uniform is None else uniform
    return Played(*_play(confidence, step, closing, rate, drawn, spending or NO_BUDGET))


@compiled
def _priority(cells, node):  # type: ignore[no-untyped-def]
    """A hash of the confidence's bits (the finaliser of splitmix64), so that equal ones need no random numbers."""
    x = cells[node, KEY : KEY + 1].view(np.uint64)[0]
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@compiled
def _weigh(cells, links, node, eta):  # type: ignore[no-untyped-def]
    """Take S, ℓ and m of a node from its children and its own cell."""
    left, right = links[node, LEFT], links[node, RIGHT]
    own = cells[node, STEP]
    if left != NONE:
        own += cells[left, SUM]
    least, total = own, own
    if left != NONE:
        least = min(least, cells[left, LEAST])
    if right != NONE:
        least = min(least, own + cells[right, LEAST])
        total += cells[right, SUM]
    mass = cells[node, LENGTH] * np.exp(-eta * (own - least))
    if left != NONE:
        mass += cells[left, MASS] * np.exp(-eta * (cells[left, LEAST] - least))
    if right != NONE:
        mass += cells[right, MASS] * np.exp(-eta * (own + cells[right, LEAST] - least))
    cells[node, SUM], cells[node, LEAST], cells[node, MASS] = total, least, mass


@compiled
def learn_all(cells, count, confidence, step, eta):  # type: ignore[no-untyped-def]
    """Add samples; return how many nodes there are then. A step of zero changes nothing, nor does one for all cells."""
    for t in range(confidence.size):
        if step[t] != 0.0 and 0.0 < confidence[t] < 1.0:
            count = learn(cells, count, confidence[t], step[t], eta)
    return count


@compiled
def learn(cells, count, p, step, eta):  # type: ignore[no-untyped-def]
    links = cells.view(np.int64)
    path = np.empty(_DEPTH, np.int32)
    depth, node, before, after = 0, links[HEAD, RIGHT], HEAD, 1.0
    while node != NONE and cells[node, KEY] != p:
        if depth == path.size:
            path = np.concatenate((path, np.empty_like(path)))
        path[depth] = node
        depth += 1
        if p < cells[node, KEY]:
            after, node = cells[node, KEY], links[node, LEFT]
        else:
            before, node = node, links[node, RIGHT]
    new = node == NONE
    if new:  # cut the cell that holds p
        node = count
        count += 1
        cells[node, KEY], cells[node, LENGTH] = p, (after - p) * _UNIT
        cells[before, LENGTH] = (p - cells[before, KEY]) * _UNIT
    cells[node, STEP] += step
    _weigh(cells, links, node, eta)
    rises = new
    while depth > 0:
        depth -= 1
        parent = path[depth]
        side = LEFT if p < cells[parent, KEY] else RIGHT
        rises = rises and _priority(cells, node) > _priority(cells, parent)
        if rises:
            other = LEFT + RIGHT - side
            links[parent, side] = links[node, other]
            links[node, other] = parent
            _weigh(cells, links, parent, eta)
            _weigh(cells, links, node, eta)
        else:
            links[parent, side] = node
            _weigh(cells, links, parent, eta)
            node = parent
    links[HEAD, RIGHT] = node
    _weigh(cells, links, HEAD, eta)
    return count


@compiled
def share_above(cells, p, eta):  # type: ignore[no-untyped-def]
    """Share of the mass above p: a sum of positive terms, so that nothing cancels."""
    links = cells.view(np.int64)
    least = cells[HEAD, LEAST]
    node, passed, above = links[HEAD, RIGHT], 0.0, 0.0
    # The cell that holds p begins at the last node that was passed on its right.
    high, at = 1.0, 0.0
    while node != NONE:
        left, right = links[node, LEFT], links[node, RIGHT]
        own = passed + cells[node, STEP]
        if left != NONE:
            own += cells[left, SUM]
        if p < cells[node, KEY]:
            high = cells[node, KEY]
            above += cells[node, LENGTH] * np.exp(-eta * (own - least))
            if right != NONE:
                above += cells[right, MASS] * np.exp(-eta * (own + cells[right, LEAST] - least))
            node = left
        else:
            at, passed = own, own
            node = right
    above += max(high - p, 0.0) * _UNIT * np.exp(-eta * (at - least))
    return min(above / cells[HEAD, MASS], 1.0)


@compiled
def learn_lost(cells, count, confidence, step, eta, mean):  # type: ignore[no-untyped-def]
    """Add samples that lost so much on average; return how many nodes there are then, and their mixability gap (T22).

    It is the mean loss less the mixed one, −η⁻¹ ln ⟨w, e^(−η b)⟩: the part that rounding could take to below zero is
    none.
    """
    least, mass = cells[HEAD, LEAST], cells[HEAD, MASS]
    count = learn_all(cells, count, confidence, step, eta)
    mixed = cells[HEAD, LEAST] - least - np.log(cells[HEAD, MASS] / mass) / eta
    return count, max(mean - mixed, 0.0)


@compiled
def learn_measured(cells, count, confidence, step, eta):  # type: ignore[no-untyped-def]
    """Add samples; return how many nodes there are then, and their mixability gap."""
    mean = 0.0
    for t in range(confidence.size):
        if confidence[t] > 0.0:
            mean += step[t] * share_above(cells, confidence[t], eta)
    return learn_lost(cells, count, confidence, step, eta, mean)


@compiled
def weigh_all(cells, eta):  # type: ignore[no-untyped-def]
    """Take S, ℓ and m of all nodes afresh, children first: for another η."""
    links = cells.view(np.int64)
    waiting, order = [np.int64(HEAD)], [np.int64(HEAD)]
    while waiting:
        node = waiting.pop()
        for side in (LEFT, RIGHT):
            if links[node, side] != NONE:
                waiting.append(links[node, side])
                order.append(links[node, side])
    for i in range(len(order) - 1, -1, -1):
        _weigh(cells, links, order[i], eta)


@compiled
def _play(confidence, step, closing, rate, uniform, spending):  # type: ignore[no-untyped-def]
    (most_samples, most_offloads), (eta, log_cells, gap), (budget, mu, most) = closing, rate, spending
    n, known, start, pending = confidence.size, 1, 0, 0
    cells = empty(n + 1)
    offload, offloaded, ends = np.empty(n), np.zeros(n, np.bool_), []
    adaptive, mean = gap > 0.0, 0.0
    kept, multiplier, over = budget >= 0.0, 0.0, 0.0
    charged, multipliers = step.copy() if kept else step, np.empty(n if kept else 0)
    for t in range(n):
        q = share_above(cells, confidence[t], eta)
        offload[t] = q
        if kept:
            multipliers[t] = multiplier
            charged[t] += multiplier
            over += q - budget
        if confidence[t] > 0.0:  # every θ offloads it: that is no loss which tells them apart
            mean += charged[t] * q
        if uniform.size:
            offloaded[t] = uniform[t] < q
            pending += offloaded[t]
        if pending < most_offloads and t + 1 - start < most_samples and t + 1 < n:
            continue
        known, lost = learn_lost(cells, known, confidence[start : t + 1], charged[start : t + 1], eta, mean)
        ends.append(t + 1)
        multiplier, over = min(max(multiplier + mu * over, 0.0), most), 0.0
        if adaptive:
            gap += lost
            if eta > 2.0 * log_cells / gap:
                eta = log_cells / gap
                weigh_all(cells, eta)
        start, pending, mean = t + 1, 0, 0.0
    return offload, offloaded, np.array(ends), eta, gap, multipliers


@compiled
def empty(capacity):  # type: ignore[no-untyped-def]
    """A tree that has met no confidence yet: with room for more."""
    cells = np.zeros((capacity, 8))
    cells.view(np.int64)[:, LEFT:] = NONE
    cells[HEAD, LENGTH] = cells[HEAD, MASS] = _UNIT
    return cells


@compiled
def _rounds(confidence, wrong, steps, times, feedback):  # type: ignore[no-untyped-def]
    right_step, wrong_step, eta = steps
    counts, uniform, explored, exploration, window = feedback
    batch_size, late, release = times
    n, known, heard = confidence.size, 1, 0
    cells = empty(n + 1)
    offload, step = np.empty(n), np.empty(n)
    for start in range(0, n, batch_size):
        stop = min(start + batch_size, n)
        first = heard
        while heard < late.size and release[heard] <= start:
            heard += 1
        known = learn_all(cells, known, confidence[late[first:heard]], step[late[first:heard]], eta)
        for t in range(start, stop):
            q = share_above(cells, confidence[t], eta)
            offload[t] = q + (1 - q) * exploration
            step[t] = wrong_step if wrong[t] else right_step
            if counts != FULL:
                sent = explored[t] or 1 - uniform[start // batch_size] <= q  # the same θ for the whole batch
                if counts == WEIGHTED:
                    step[t] = right_step + ((step[t] - right_step) / offload[t] if sent else 0.0)
                elif not sent:
                    step[t] = 0.0
        if late.size == 0:
            known = learn_all(cells, known, confidence[start:stop], step[start:stop], eta)
        if window > 0:
            out = slice(max(start - window, 0), max(stop - window, 0))
            known = learn_all(cells, known, confidence[out], -step[out], eta)
    return offload
