"""The forecaster over a whole trace at once, compiled: O(log n) a sample instead of O(n).

A sample of confidence p multiplies the weights of all cells above p by one of two factors: one where the local answer
was right, one where it was wrong. To decide a batch, only the mass between the confidences of that batch matters. So
the samples, sorted by confidence and each with the mass of the cell above it, are dealt out by time: into up to 32
stretches of time, each stretch again into 32, down to single batches. On the way from low to high confidence every
stretch sums up the mass between its own samples, weighted with what the earlier stretches make of it. It is a radix
sort from confidence to time that carries masses along: log n / 5 passes, sequential reads, and an inner loop over 32
lanes that the processor does several at a time.

Weights span more than a double can hold. Within a stretch where no two cells can drift apart by more than e^SPAN,
masses relative to the largest do fit, and what is too small to fit there cannot matter there. In wider stretches every
mass is kept as mantissa · B^block with B = 2^512, so nothing overflows, and a weight that has become tiny can grow
again.
"""

from __future__ import annotations

import functools
from decimal import Context, Decimal, localcontext

import numba
import numpy as np
from numpy.typing import NDArray

from hi_lib.forecaster import SPAN
from hi_lib.typing import Floats

_LANES = 5  # bits of time a pass deals out: 32 lanes
_WEIGHT = 1 << _LANES  # where the weights stand in a pass's state, after the sums
_RESYNC = 256  # samples after which the rounding error of a repeated factor is taken out
_B, _INVERSE = 2.0**512, 2.0**-512
_DIGITS = 60  # of the factors, before they are rounded to a double
_LN_B = Context(prec=_DIGITS).multiply(512, Decimal(2).ln(Context(prec=_DIGITS)))
_LOW, _HIGH = 2.0**-256, 2.0**256
_NOTHING = -1e300  # block of a zero mass: below any other, so that a sum never drops its other term for it
# Unsigned, since numba then need not ask whether an index counts from the end.
_ONE = np.uint64(1)
_TIME, _WRONG = np.uint32(2**31 - 1), np.uint32(31)

_compiled = numba.njit(cache=True, nogil=True, error_model="numpy")


def offload_probability(
    gaps: Floats,
    order: NDArray[np.intp],
    wrong: NDArray[np.bool_],
    steps: tuple[float, float],
    learning_rate: float,
    batch_size: int,
) -> NDArray[np.float64]:
    """Probability that θ > p for each sample, learning after each batch: what the plain forecaster computes.

    Parameters
    ----------
    gaps : NDArray of shape (n + 1,)
    order : NDArray of shape (n,)
        Distances between the sorted confidences, and what sorts them: as of a `Trace`.
    wrong : NDArray of shape (n,)
        Which of the two steps each sample takes.
    steps : (float, float)
        Loss for θ > p minus the loss for θ <= p, where not wrong and where wrong.
    learning_rate : float
        η >= 0, the same for all batches.
    batch_size : int
        M from 1 to n.

    Returns
    -------
    NDArray of shape (n,)

    Raises
    ------
    ValueError
        More than 2^29 samples, whose times do not fit into 31 bits.
    """
    if order.size > 2**29:
        raise ValueError(f"a replay must have at most 2^29 samples, got {order.size}")
    factors = np.array([_factor(learning_rate, step) for step in steps])
    drift = learning_rate * np.abs(steps)
    return _replay(order, wrong, gaps, batch_size, factors, drift)


@functools.lru_cache(maxsize=1024)
def _factor(learning_rate: float, step: float) -> tuple[float, float, float]:
    """e^(−η step) as mantissa and block, and the relative error of the mantissa, which repetition would multiply."""
    with localcontext(prec=_DIGITS):
        exponent = -Decimal(learning_rate) * Decimal(step)
        block = (exponent / _LN_B).to_integral_value()
        exact = (exponent - block * _LN_B).exp()
        mantissa = float(exact)
        return mantissa, float(block), float(Decimal(mantissa) / exact - 1)


@_compiled
def _replay(order, wrong, gaps, batch_size, factors, drift):  # type: ignore[no-untyped-def]
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
    narrow = level
    while narrow > w and _drift(wrong, (1 << narrow >> w) * batch_size, drift) > SPAN:
        narrow = max(narrow - _LANES, w)
    entries, below, now = _entries(order, wrong, batch_size, w), gaps[:1].copy(), 0
    mass = np.empty((2, n + 1))
    mass[0] = gaps
    if narrow < level:
        below, now = _deal_wide(entries, mass, level, narrow, w, batch_size, factors, drift)
        level = narrow
    place, state, counts = _scratch()
    passes = -(-(level - w) // _LANES)
    while level > w:
        bits = -(-(level - w) // passes)
        passes -= 1
        level -= bits
        rows, keep = _lane_tables(1 << bits, factors[0, 0] * _B ** factors[0, 1], factors[1, 0] * _B ** factors[1, 1])
        step = (1 << level >> w) * batch_size
        parts = np.empty(-(-n // step))
        old, new, old_mass, new_mass = entries[now], entries[1 - now], mass[now], mass[1 - now]
        # From the end, since a node's first write lands one place before its own.
        for node in range(below.size - 1, -1, -1):
            start, stop = node * step << bits, min((node + 1) * step << bits, n)
            used = _begin(1 << bits, start, stop, step, below[node], place, state, counts)
            for begin in range(start, stop, _RESYNC):
                end = min(begin + _RESYNC, stop)
                _deal(old, old_mass, begin, end, level, rows, keep, new, new_mass, place, state, counts)
                if end < stop:
                    _resync(1 << bits, state, counts, factors)
            # A lane's first write took the place of the last mass of the lane before it: read it before that is due.
            for lane in range(used - 1, -1, -1):
                new_mass[place[lane]] = state[lane]
                parts[(node << bits) + lane] = new_mass[start + lane * step]
        below, now = parts, 1 - now
    return _shares_above(entries[now], mass[now], below, batch_size, w)


@_compiled
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


@_compiled
def _drift(wrong, length, drift):  # type: ignore[no-untyped-def]
    """How far apart two cells can move, at most, in any aligned stretch of `length` samples."""
    largest = 0.0
    for start in range(0, wrong.size, length):
        stop = min(start + length, wrong.size)
        count = wrong[start:stop].sum()
        largest = max(largest, (stop - start - count) * drift[0], count * drift[1])
    return largest


@_compiled
def _scratch():  # type: ignore[no-untyped-def]
    """What a node's lanes need: next place to write; sums, then weights; samples met, right and wrong."""
    return np.empty(1 << _LANES, np.uint64), np.empty(2 << _LANES), np.empty(2 << _LANES)


@_compiled
def _lane_tables(lanes, right, wrong):  # type: ignore[no-untyped-def]
    """What a sample dealt to lane c does: its factor reaches the lanes after c; lane c starts a new sum."""
    rows, keep = np.ones((2 * lanes, lanes)), np.ones((lanes, lanes))
    for c in range(lanes):
        keep[c, c] = 0.0
        rows[c, c + 1 :] = right
        rows[lanes + c, c + 1 :] = wrong
    return rows, keep


@_compiled
def _begin(lanes, start, stop, step, below, place, state, counts):  # type: ignore[no-untyped-def]
    """Set up a node's lanes, stretches of `step` samples; return how many are in use."""
    used = -(-(stop - start) // step)
    for c in range(used):
        place[c] = start + c * step
    state[:lanes] = below
    state[_WEIGHT : _WEIGHT + lanes] = 1.0
    if stop - start > _RESYNC:
        counts[:] = 0.0
    return used


@_compiled
def _deal(  # type: ignore[no-untyped-def]
    entries, mass, begin, end, level, rows, keep, out_entries, out_mass, place, state, counts
):
    """Deal the samples from `begin` to `end` of a node out to its lanes. All the time goes here."""
    lanes = keep.shape[0]
    digit, width, shift = np.uint64(lanes - 1), np.uint64(lanes), np.uint32(level)
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
        for c in range(lanes):
            weight = state[_WEIGHT + c] * factor[c]
            state[_WEIGHT + c] = weight
            state[c] = kept[c] * state[c] + cell * weight


@_compiled
def _resync(lanes, state, counts, factors):  # type: ignore[no-untyped-def]
    """Take the error of the rounded factors, met `counts` times, out of the lanes' weights."""
    error = 0.0
    for c in range(lanes):
        state[_WEIGHT + c] *= 1.0 - error
        error += counts[c] * factors[0, 2] + counts[lanes + c] * factors[1, 2]
        counts[c] = counts[lanes + c] = 0.0


@_compiled
def _deal_wide(entries, mass, level, narrow, w, batch_size, factors, drift):  # type: ignore[no-untyped-def]
    """Deal out from `level` to `narrow` in numbers of unlimited range, then give every node plain masses.

    Sums are in units of B^unit, the one of the cells at hand, times B^raised of each lane. Where a unit or a lane's
    weight must change, its sum so far is set aside, and joined to the rest when it is due.
    """
    n = entries.shape[1]
    block = np.zeros(mass.shape)
    for i in range(n + 1):
        mass[0, i], block[0, i] = _normal(mass[0, i], 0.0)
    below, below_block, now = mass[0, :1].copy(), block[0, :1].copy(), 0
    place, state, counts = _scratch()
    before, raised, aside = np.empty(1 << _LANES, np.uint64), np.empty(1 << _LANES), np.empty((2, 1 << _LANES))
    # So many samples move a weight by 2^128 at most, or one by 2^256: with cells within 2^±384 no product overflows.
    stride = max(1, int(min(_RESYNC, 88.0 / drift.max())))
    most = _LANES if stride > 1 else 2
    passes = -(-(level - narrow) // most)
    while level > narrow:
        bits = -(-(level - narrow) // passes)
        passes -= 1
        level -= bits
        lanes = 1 << bits
        rows, keep = _lane_tables(lanes, factors[0, 0], factors[1, 0])
        step = (1 << level >> w) * batch_size
        parts, parts_block = np.empty(-(-n // step)), np.empty(-(-n // step))
        old, new, old_mass, new_mass = entries[now], entries[1 - now], mass[now], mass[1 - now]
        old_block, new_block = block[now], block[1 - now]
        for node in range(below.size - 1, -1, -1):
            start, stop = node * step << bits, min((node + 1) * step << bits, n)
            used = _begin(lanes, start, stop, step, below[node], place, state, counts)
            unit = below_block[node]
            raised[:], aside[0], aside[1], counts[:] = 0.0, 0.0, _NOTHING, 0.0
            begin = start
            while begin < stop:
                end, next_unit = _common_unit(old_mass, old_block, begin, min(begin + stride, stop), unit)
                jump = factors[old[begin] >> _WRONG, 1]
                if next_unit != unit or jump != 0.0:
                    for lane in range(lanes):
                        _set_aside(lane, state, unit, raised, aside)
                    unit = next_unit
                    raised[int((old[begin] & _TIME) >> np.uint32(level)) % lanes + 1 : lanes] += jump
                before[:] = place
                _deal(old, old_mass, begin, end, level, rows, keep, new, new_mass, place, state, counts)
                for lane in range(used):
                    _join(new_mass, new_block, before[lane], place[lane], unit + raised[lane], aside, lane)
                _resync(lanes, state, counts, factors)
                _rescale(lanes, state, unit, raised, aside)
                begin = end
            for lane in range(used - 1, -1, -1):
                last = place[lane]
                new_mass[last] = state[lane]
                _join(new_mass, new_block, last, last + _ONE, unit + raised[lane], aside, lane)
                first = start + lane * step
                parts[(node << bits) + lane] = new_mass[first]
                parts_block[(node << bits) + lane] = new_block[first]
        below, below_block, now = parts, parts_block, 1 - now
    for node in range(below.size):
        inside = slice(node * step + 1, min((node + 1) * step, n) + 1)
        below[node] = _flatten(mass[now, inside], block[now, inside], below[node], below_block[node])
    return below, now


@_compiled
def _common_unit(mass, block, begin, end, unit):  # type: ignore[no-untyped-def]
    """Scale the cells above the samples from `begin` to one common unit, as long as their sizes allow it.

    Returns the last sample whose cell could be scaled, and the unit.
    """
    for i in range(begin + 1, end + 1):
        if mass[i] == 0.0:
            continue
        gap = block[i] - unit
        if gap == 1.0 and mass[i] < 2.0**-128:
            mass[i] *= _B
        elif gap == -1.0 and mass[i] >= 2.0**128:
            mass[i] *= _INVERSE
        elif gap != 0.0:
            if i > begin + 1:
                return i - 1, unit
            unit = block[i]
    return end, unit


@_compiled
def _set_aside(c, state, unit, raised, aside):  # type: ignore[no-untyped-def]
    if state[c] > 0.0:
        total, total_block = _normal(state[c], unit + raised[c])
        total, total_block = _normal(total, total_block)
        aside[0, c], aside[1, c] = _add(aside[0, c], aside[1, c], total, total_block)
        state[c] = 0.0


@_compiled
def _rescale(lanes, state, unit, raised, aside):  # type: ignore[no-untyped-def]
    """Bring weights that have moved too far back to the middle."""
    for c in range(lanes):
        weight, up = _normal(state[_WEIGHT + c], 0.0)
        if up != 0.0:
            _set_aside(c, state, unit, raised, aside)
            state[_WEIGHT + c] = weight
            raised[c] += up


@_compiled
def _join(mass, block, first, last, unit, aside, lane):  # type: ignore[no-untyped-def]
    """Normal form for a lane's masses from `first` on; what was set aside belongs to the first of them."""
    for i in range(first, last):
        total, total_block = _normal(mass[i], unit)
        total, total_block = _normal(total, total_block)
        if i == first and aside[0, lane] > 0.0:
            total, total_block = _add(total, total_block, aside[0, lane], aside[1, lane])
            aside[0, lane], aside[1, lane] = 0.0, _NOTHING
        mass[i], block[i] = total, total_block


@_compiled
def _flatten(mass, block, below, below_block):  # type: ignore[no-untyped-def]
    """Masses relative to the largest, in place, as plain doubles; return the one below likewise."""
    top = max(below_block, block.max())
    largest = below if below_block == top else 0.0
    for i in range(mass.size):
        if block[i] == top:
            largest = max(largest, mass[i])
    for i in range(mass.size):
        mass[i] = _plain(mass[i] / largest, block[i] - top)
    return _plain(below / largest, below_block - top)


@_compiled
def _plain(mantissa, gap):  # type: ignore[no-untyped-def]
    if gap < 0.0:
        mantissa *= _INVERSE if gap == -1.0 else _INVERSE * _INVERSE if gap == -2.0 else 0.0
    return mantissa


@_compiled
def _add(a, a_block, b, b_block):  # type: ignore[no-untyped-def]
    """Sum of two numbers in normal form; two blocks apart, the smaller is below 2^-512 of the larger."""
    if a_block < b_block:
        a, a_block, b, b_block = b, b_block, a, a_block
    if a_block == b_block:
        return a + b, a_block
    return a + (b * _INVERSE if a_block - b_block == 1.0 else 0.0), a_block


@_compiled
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


@_compiled
def _normal(mantissa, block):  # type: ignore[no-untyped-def]
    """Bring a positive mantissa from (2^-768, 2^768) back to [2^-256, 2^256); zero gets the smallest block."""
    if mantissa >= _HIGH:
        mantissa, block = mantissa * _INVERSE, block + 1.0
    elif mantissa < _LOW:
        if mantissa == 0.0:
            block = _NOTHING
        else:
            mantissa, block = mantissa * _B, block - 1.0
    return mantissa, block
