"""The forecaster at O(log n) a round: a tree over the cells, compiled.

A sample of confidence p multiplies the weights of all cells above p by one factor, and asks for their share of the
total. Let g_i be the product of the factors met at edge i, and ℓ_j the length of cell j. Then cell j weighs
ℓ_j g_0 g_1 … g_j, and a node over the edges i … k needs two numbers only,

    P = g_i … g_k          and          Q = Σ_j ℓ_j g_i … g_j,

which join as P = P_left P_right and Q = Q_left + P_left Q_right. A round changes one g and climbs to the root once.

Weights span more than a double can hold. Every number is kept as mantissa · B^k with B = 2^512 and k a whole number,
so nothing overflows, and a weight that has become tiny can grow again.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

_B, _INVERSE = 2.0**512, 2.0**-512
_LOW, _HIGH = 2.0**-256, 2.0**256
_NOTHING = -1e300  # exponent of zero: smaller than any other, so that a sum never drops its other term for it
# ln B in two parts: k times the first is exact for |k| < 2^20, so huge learning rates lose no digits.
_LN_B_HEAD = float(np.float32(512 * np.log(2)))
_LN_B_TAIL = float(512 * np.log(np.longdouble(2)) - np.longdouble(_LN_B_HEAD))
# Unsigned, since numba then need not ask whether an index counts from the end: twice as fast.
_ONE = np.uint64(1)
_P, _P_EXP, _Q, _Q_EXP = (np.uint64(column) for column in range(4))

_compiled = numba.njit(cache=True, nogil=True, error_model="numpy")
_inlined = numba.njit(cache=True, nogil=True, error_model="numpy", inline="always")


def offload_probability(
    edges: Floats, position: NDArray[np.intp], step: Floats, learning_rate: float, batch_size: int
) -> NDArray[np.float64]:
    """Probability of offloading each sample, learning after each batch: what the plain forecaster computes.

    Parameters
    ----------
    edges : NDArray of shape (J + 1,)
        Cell edges, as of a `Trace`.
    position, step : NDArray of shape (n,)
        Where p_t stands among the edges, and the loss for θ > p_t minus the loss for θ <= p_t.
    learning_rate : float
        η >= 0, the same for all batches.
    batch_size : int
        M >= 1.

    Returns
    -------
    NDArray of shape (n,)
    """
    return _replay(np.diff(edges), position, *_exact_product(-learning_rate, step), batch_size)


def _exact_product(a: float, b: Floats) -> tuple[Floats, Floats]:
    """a · b as a rounded product and its rounding error (Dekker): with a huge η the error alone would be visible."""

    def halves(x: Any) -> tuple[Any, Any]:
        shifted = x * 134217729.0  # 2^27 + 1
        high = shifted - (shifted - x)
        return high, x - high

    product = a * b
    (a_high, a_low), (b_high, b_low) = halves(a), halves(b)
    error = ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low
    return product, error


@_compiled
def _replay(length, position, exponent, rest, batch_size):  # type: ignore[no-untyped-def]
    tree = _plant(length)
    n = position.size
    offload = np.empty(n)
    for start in range(0, n, batch_size):
        end = min(start + batch_size, n)
        for t in range(start, end):
            offload[t] = _share_above(tree, position[t])
        for t in range(start, end):
            _multiply(tree, position[t], exponent[t], rest[t])
    return offload


@_compiled
def _plant(length):  # type: ignore[no-untyped-def]
    """A node a row, the root at 1, the children of i at 2i and 2i + 1, edge j at leaf leaves + j."""
    leaves = 1
    while leaves < length.size + 1:  # one edge more than cells: nothing lies above p = 1
        leaves *= 2
    tree = np.empty((2 * leaves, 4))
    for j in range(leaves):
        size, size_exp = _normal(length[j] if j < length.size else 0.0, 0.0)
        _store(tree, leaves + j, 1.0, 0.0, size, size_exp)
    for node in range(leaves - 1, 0, -1):
        left, right = 2 * node, 2 * node + 1
        p, p_exp = _normal(tree[left, _P] * tree[right, _P], tree[left, _P_EXP] + tree[right, _P_EXP])
        more, more_exp = _normal(tree[left, _P] * tree[right, _Q], tree[left, _P_EXP] + tree[right, _Q_EXP])
        q, q_exp = _add(tree[left, _Q], tree[left, _Q_EXP], more, more_exp)
        _store(tree, node, p, p_exp, q, q_exp)
    return tree


@_compiled
def _share_above(tree, position):  # type: ignore[no-untyped-def]
    """Q over the edges from `position` on, relative to all: both parts are sums of positive terms, nothing cancels."""
    node = _leaf(tree, position)
    above, above_exp = tree[node, _Q], tree[node, _Q_EXP]
    below, below_exp = 0.0, _NOTHING
    while node > _ONE:
        sibling = node ^ _ONE
        if node & _ONE:
            factor, factor_exp = tree[sibling, _P], tree[sibling, _P_EXP]
            above, above_exp = _normal(factor * above, factor_exp + above_exp)
            below, below_exp = _normal(factor * below, factor_exp + below_exp)
            below, below_exp = _add(tree[sibling, _Q], tree[sibling, _Q_EXP], below, below_exp)
        else:
            more, more_exp = _normal(tree[node, _P] * tree[sibling, _Q], tree[node, _P_EXP] + tree[sibling, _Q_EXP])
            above, above_exp = _add(above, above_exp, more, more_exp)
        node >>= _ONE
    gap = above_exp - below_exp
    if gap == 0.0:
        return above / (above + below)
    if gap == 1.0:
        return above / (above + below * _INVERSE)
    if gap == -1.0:
        return above * _INVERSE / (above * _INVERSE + below)
    return 1.0 if gap > 0.0 else 0.0


@_compiled
def _multiply(tree, position, exponent, rest):  # type: ignore[no-untyped-def]
    """Multiply all cells above edge `position` by e^(exponent + rest)."""
    node = _leaf(tree, position)
    blocks = np.rint(exponent / (_LN_B_HEAD + _LN_B_TAIL))
    factor = np.exp((exponent - blocks * _LN_B_HEAD) - blocks * _LN_B_TAIL + rest)
    p, p_exp = _normal(tree[node, _P] * factor, tree[node, _P_EXP] + blocks)
    q, q_exp = _normal(tree[node, _Q] * factor, tree[node, _Q_EXP] + blocks)
    _store(tree, node, p, p_exp, q, q_exp)
    while node > _ONE:
        sibling = node ^ _ONE
        other, other_exp = tree[sibling, _P], tree[sibling, _P_EXP]
        if node & _ONE:
            more, more_exp = _normal(other * q, other_exp + q_exp)
            q, q_exp = _add(tree[sibling, _Q], tree[sibling, _Q_EXP], more, more_exp)
        else:
            more, more_exp = _normal(p * tree[sibling, _Q], p_exp + tree[sibling, _Q_EXP])
            q, q_exp = _add(q, q_exp, more, more_exp)
        p, p_exp = _normal(p * other, p_exp + other_exp)
        node >>= _ONE
        _store(tree, node, p, p_exp, q, q_exp)


@_inlined
def _leaf(tree, position):  # type: ignore[no-untyped-def]
    return np.uint64(tree.shape[0] // 2) + np.uint64(position)


@_inlined
def _store(tree, node, p, p_exp, q, q_exp):  # type: ignore[no-untyped-def]
    tree[node, _P], tree[node, _P_EXP], tree[node, _Q], tree[node, _Q_EXP] = p, p_exp, q, q_exp


@_inlined
def _add(a, a_exp, b, b_exp):  # type: ignore[no-untyped-def]
    if a_exp == b_exp:
        total, total_exp = a + b, a_exp
    elif a_exp > b_exp:
        # Two blocks apart the smaller term is below 2^-512 of the larger: it does not reach the last digit.
        total, total_exp = (a + b * _INVERSE if a_exp - b_exp == 1.0 else a), a_exp
    else:
        total, total_exp = (b + a * _INVERSE if b_exp - a_exp == 1.0 else b), b_exp
    if total >= _HIGH:
        total, total_exp = total * _INVERSE, total_exp + 1.0
    return total, total_exp


@_inlined
def _normal(mantissa, exponent):  # type: ignore[no-untyped-def]
    """Bring a positive mantissa from (2^-768, 2^768) back to [2^-256, 2^256); zero gets the smallest exponent."""
    if mantissa >= _HIGH:
        mantissa, exponent = mantissa * _INVERSE, exponent + 1.0
    elif mantissa < _LOW:
        if mantissa == 0.0:
            exponent = _NOTHING
        else:
            mantissa, exponent = mantissa * _B, exponent - 1.0
    return mantissa, exponent
