"""The forecaster over a whole trace at once, compiled: O(log n) a sample instead of O(n).

A sample of confidence p multiplies the weights of all cells above p by one of two factors: one where the local answer
was right, one where it was wrong. To decide a batch, only the mass between the confidences of that batch matters. So
the samples, sorted by confidence and each with the mass of the cell above it, are dealt out by time: into up to 32
stretches of time, each stretch again into 32, down to single batches. On the way from low to high confidence every
stretch sums up the mass between its own samples, weighted with what the earlier stretches make of it. It is a radix
sort from confidence to time that carries masses along: log n / 5 passes, sequential reads, and an inner loop over 32
lanes that the processor does several at a time.

Weights span more than a double can hold. Within a stretch of time where no two cells can drift apart by more than
e^SPAN, masses relative to the largest do fit, and what is too small to fit there cannot matter there. A longer trace is
cut into such stretches; at the start of each, all weights are computed afresh from the counts of the past. (With a
learning rate so large that there are very many, the tree takes over.)
"""

from __future__ import annotations

import functools
import itertools
from decimal import Decimal, localcontext

import numpy as np
from numpy.typing import NDArray

from hi_lib import _tree
from hi_lib._tree import compiled
from hi_lib.forecaster import SPAN, Steps
from hi_lib.regret import Schedule
from hi_lib.traces import Trace

_MOST_STRETCHES = 150  # beyond it, the tree is faster
_LANES = 5  # bits of time a pass deals out: 32 lanes
_WEIGHT = 1 << _LANES  # where the weights stand in a pass's state, after the sums
_RESYNC = 256  # samples after which the rounding error of a repeated factor is taken out
_DIGITS = 60  # of the factors, before they are rounded to a double
# Unsigned, since numba then need not ask whether an index counts from the end.
_ONE = np.uint64(1)
_TIME, _WRONG = np.uint32(2**31 - 1), np.uint32(31)


def offload_probability(trace: Trace, wrong: NDArray[np.bool_], steps: Steps, batch_size: int) -> NDArray[np.float64]:
    """Probability that θ > p for each sample, learning after each batch: what the plain forecaster computes.

    `wrong` says which of the two steps each sample takes, shape (n,); M lies from 1 to n, η may be 0. Raises ValueError
    for more than 2^29 samples, whose times do not fit into 31 bits.
    """
    order, gaps = trace.order, trace.gaps
    if order.size > 2**29:
        raise ValueError(f"a replay must have at most 2^29 samples, got {order.size}")
    eta, values = steps.learning_rate, np.array(steps[:2])
    factors = np.array([_factor(eta, step) for step in steps[:2]])
    bounds = _stretches(wrong, batch_size, eta * np.abs(values)).tolist()
    if len(bounds) == 2:
        return _replay(order, wrong, gaps, batch_size, factors)
    if len(bounds) > _MOST_STRETCHES:
        return _tree.replay(trace, wrong, steps, Schedule(batch_size, batch_size))
    # Products of factors for a few cells, in which they move by e^40 at most; then an exponential again.
    stride = int(np.clip(40.0 / (eta * np.abs(values).max()), 1, _RESYNC))
    with np.errstate(divide="ignore"):  # a gap of length zero is no cell
        longest = np.log(np.maximum.reduceat(gaps, np.arange(0, gaps.size, stride)))
    found, cells = [], (order, wrong[order], gaps, longest, stride)
    for start, stop in itertools.pairwise(bounds):
        inside, masses = _resume(cells, steps, factors[:, 0], start, stop)
        found.append(_replay(inside, wrong[start:stop], masses, min(batch_size, stop - start), factors))
    return np.concatenate(found)


@functools.lru_cache(maxsize=1024)
def _factor(learning_rate: float, step: float) -> tuple[float, float]:
    """e^(−η step), and its relative error, which repetition would multiply."""
    if learning_rate * abs(step) > SPAN:
        return 1.0, 0.0  # never used: the batch of such a sample is a stretch of its own
    with localcontext(prec=_DIGITS):
        exact = (-Decimal(learning_rate) * Decimal(step)).exp()
        factor = float(exact)
        return factor, float(Decimal(factor) / exact - 1)


@compiled
def _stretches(wrong, batch_size, drift):  # type: ignore[no-untyped-def]
    """Bounds of stretches of whole batches, in each of which two cells move apart by SPAN at most, or of one batch."""
    bounds, right, mistakes = [0], 0, 0
    for begin in range(0, wrong.size, batch_size):
        end = min(begin + batch_size, wrong.size)
        new_mistakes = wrong[begin:end].sum()
        right, mistakes = right + end - begin - new_mistakes, mistakes + new_mistakes
        if max(right * drift[0], mistakes * drift[1]) > SPAN and begin > bounds[-1]:
            bounds.append(begin)
            right, mistakes = end - begin - new_mistakes, new_mistakes
    bounds.append(wrong.size)
    return np.array(bounds)


@compiled
def _resume(cells, steps, factors, start, stop):  # type: ignore[no-untyped-def]
    """Go on at `start`: the stretch's own samples by confidence, and the mass between them after what came before."""
    order, sorted_wrong, gaps, longest, stride = cells
    values, eta = np.array([steps.right, steps.wrong]), steps.learning_rate
    counts = _past(order, sorted_wrong, stride, longest.size, start)
    exponents = longest - eta * (values[0] * counts[0] + values[1] * counts[1])
    best = exponents.argmax()
    log_scale = min(-longest[best], 660.0)
    # Losses are counted from the best cell, in two halves of which the first is exact: cells far ahead keep all digits.
    high = values.astype(np.float32).astype(np.float64)
    halves = high, values - high
    by = np.array([1.0, factors[0], factors[1]])
    inside, masses, found = np.empty(stop - start + 1, order.dtype), np.zeros(stop - start + 1), 0
    for block in range(longest.size):
        right, bad = counts[0, block] - counts[0, best], counts[1, block] - counts[1, best]
        first, last = block * stride, min((block + 1) * stride, order.size)
        if exponents[block] < exponents[best] - 830.0:  # beyond a double's reach, wherever in the block
            for i in range(first, last):
                inside[found] = order[i] - start
                found += (order[i] >= start) & (order[i] < stop)
            continue
        # Cells without length may have weights beyond a double: beside them, every cell gets its own exponential.
        exact, weight = True, 0.0
        for i in range(first, last):
            if exact:
                exponent = _exponent(halves, right, bad, eta, log_scale)
                exact, weight = exponent > 660.0, np.exp(exponent)
            if gaps[i] > 0.0:
                masses[found] += gaps[i] * weight
            past = order[i] < start
            mistaken = past & sorted_wrong[i]
            bad += mistaken
            right += past ^ mistaken
            weight *= by[np.int64(past) + mistaken]
            inside[found] = order[i] - start
            found += (order[i] >= start) & (order[i] < stop)
        if block == longest.size - 1:
            exponent = _exponent(halves, right, bad, eta, log_scale)
            masses[found] += gaps[last] * np.exp(min(exponent, 709.0))
    return inside[:-1], masses


@compiled
def _exponent(halves, right, bad, learning_rate, log_scale):  # type: ignore[no-untyped-def]
    high, low = halves
    loss = (high[0] * right + high[1] * bad) + (low[0] * right + low[1] * bad)
    return log_scale - learning_rate * loss


@compiled
def _past(order, sorted_wrong, stride, blocks, start):  # type: ignore[no-untyped-def]
    """How many samples of the past, right ones and wrong ones, lie below each block of cells, shape (2, blocks)."""
    counts = np.zeros((2, blocks))
    for block in range(blocks - 1):
        past, bad = 0, 0
        for i in range(block * stride, (block + 1) * stride):
            past += order[i] < start
            bad += (order[i] < start) & sorted_wrong[i]
        counts[0, block + 1] = counts[0, block] + past - bad
        counts[1, block + 1] = counts[1, block] + bad
    return counts


@compiled
def _replay(order, wrong, gaps, batch_size, factors):  # type: ignore[no-untyped-def]
    """Deal out by time. A node of the current level holds the samples of 2^level slots, sorted by confidence.

    Batch b has the slots from b·2^w on, so that a slot's high bits name its node. A node lies where its samples will
    lie in the end: at their times. mass[:, i + 1] belongs above the sample at i, `below` beneath the first of a node.
    """
    n = order.size
    batches = -(-n // batch_size)
    w = 0
    while 1 << w < batch_size:
        w += 1
    level = w
    while 1 << level < batches << w:
        level += 1
    entries, below, now = _entries(order, wrong, batch_size, w), gaps[:1].copy(), 0
    mass = np.empty((2, n + 1))
    mass[0] = gaps
    # For each lane: next place to write; sum, then weight; samples met, right and wrong.
    lanes = place, state, _ = np.empty(1 << _LANES, np.uint64), np.empty(2 << _LANES), np.empty(2 << _LANES)
    passes = -(-(level - w) // _LANES)
    while level > w:
        bits = -(-(level - w) // passes)
        passes -= 1
        level -= bits
        tables = _lane_tables(1 << bits, factors[0, 0], factors[1, 0])
        step = (1 << level >> w) * batch_size
        parts = np.empty(-(-n // step))
        old, new = (entries[now], mass[now]), (entries[1 - now], mass[1 - now])
        # From the end, since a node's first write lands one place before its own.
        for node in range(below.size - 1, -1, -1):
            start, stop = node * step << bits, min((node + 1) * step << bits, n)
            used = _begin(lanes, 1 << bits, below[node], range(start, stop, step))
            for begin in range(start, stop, _RESYNC):
                end = min(begin + _RESYNC, stop)
                _deal(old, new, (begin, end, level), tables, lanes)
                if end < stop:
                    _resync(lanes, 1 << bits, factors)
            # A lane's first write took the place of the last mass of the lane before it: read it before that is due.
            for lane in range(used - 1, -1, -1):
                mass[1 - now, place[lane]] = state[lane]
                parts[(node << bits) + lane] = mass[1 - now, start + lane * step]
        below, now = parts, 1 - now
    return _shares_above(entries[now], mass[now], below, batch_size, w)


@compiled
def _entries(order, wrong, batch_size, w):  # type: ignore[no-untyped-def]
    """Slot of each sample in order of confidence, its top bit telling whether it was wrong; and room for a pass."""
    n = order.size
    entries = np.empty((2, n), np.uint32)
    size = np.uint32(batch_size)
    for i in range(n):
        time = np.uint32(order[i])
        entries[0, i] = time
        if size > 1:
            batch = time // size
            entries[0, i] = (batch << np.uint32(w)) + time - batch * size
        entries[0, i] |= np.uint32(wrong[order[i]]) << _WRONG
    return entries


@compiled
def _lane_tables(lanes, right, wrong):  # type: ignore[no-untyped-def]
    """What a sample dealt to lane c does: its factor reaches the lanes after c; lane c starts a new sum."""
    rows, keep = np.ones((2 * lanes, lanes)), np.ones((lanes, lanes))
    for c in range(lanes):
        keep[c, c] = 0.0
        rows[c, c + 1 :] = right
        rows[lanes + c, c + 1 :] = wrong
    return rows, keep


@compiled
def _begin(lanes, count, below, starts):  # type: ignore[no-untyped-def]
    """Set up a node's lanes, of which each in use has its first place among `starts`; return how many these are."""
    place, state, counts = lanes
    for c, start in enumerate(starts):
        place[c] = start
    state[:count] = below
    state[_WEIGHT : _WEIGHT + count] = 1.0
    if starts.stop - starts.start > _RESYNC:
        counts[:] = 0.0
    return len(starts)


@compiled
def _deal(old, new, span, tables, lanes):  # type: ignore[no-untyped-def]
    """Deal the samples of a span of a node out to its lanes, from the old order to the new. All the time goes here."""
    (entries, mass), (out_entries, out_mass), (begin, end, level), (rows, keep) = old, new, span, tables
    place, state, counts = lanes
    count = keep.shape[0]
    digit, width, shift = np.uint64(count - 1), np.uint64(count), np.uint32(level)
    for i in range(np.uint64(begin), np.uint64(end)):
        entry = entries[i]
        lane = np.uint64((entry & _TIME) >> shift) & digit
        row = lane + np.uint64(entry >> _WRONG) * width
        counts[row] += 1.0
        here = place[lane]
        place[lane] = here + _ONE
        out_entries[here] = entry
        out_mass[here] = state[lane]  # above the lane's sample before this one
        cell = mass[i + _ONE]
        factor, kept = rows[row], keep[lane]
        for c in range(count):
            weight = state[_WEIGHT + c] * factor[c]
            state[_WEIGHT + c] = weight
            state[c] = kept[c] * state[c] + cell * weight


@compiled
def _resync(lanes, count, factors):  # type: ignore[no-untyped-def]
    """Take the error of the rounded factors, met so often as the lanes count, out of their weights."""
    _, state, counts = lanes
    error = 0.0
    for c in range(count):
        state[_WEIGHT + c] *= 1.0 - error
        error += counts[c] * factors[0, 1] + counts[count + c] * factors[1, 1]
        counts[c] = counts[count + c] = 0.0


@compiled
def _shares_above(entries, mass, below, batch_size, w):  # type: ignore[no-untyped-def]
    """Share of the mass above each sample of a batch; sums of positive terms, so that nothing cancels."""
    n = entries.size
    offload = np.empty(n)
    place = np.uint32((1 << w) - 1)
    for batch in range(below.size):
        start, stop = batch * batch_size, min((batch + 1) * batch_size, n)
        above = 0.0
        for i in range(stop - 1, start - 1, -1):
            above += mass[i + 1]
            offload[start + np.int64(entries[i] & place)] = above
        total = above + below[batch]
        for i in range(start, stop):
            offload[i] /= total
    return offload
