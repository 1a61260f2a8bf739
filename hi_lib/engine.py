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
_P, _P_EXP, _Q, _Q_EXP = 0, 1, 2, 3

_compiled = numba.njit(cache=True, nogil=True, error_model="numpy")
_inlined = numba.njit(cache=True, nogil=True, error_model="numpy", inline="always")


def offload_probability(
    edges: Floats, confidence: Floats, step: Floats, learning_rate: float, batch_size: int
) -> NDArray[np.float64]:
    """Probability of offloading each sample, learning after each batch: what the plain forecaster computes.

    Parameters
    ----------
    edges : NDArray of shape (J + 1,)
        Cell edges, as from `cell_edges(confidence)`.
    confidence, step : NDArray of shape (n,)
        p_t, and the loss for θ > p_t minus the loss for θ <= p_t.
    learning_rate : float
        η >= 0, the same for all batches.
    batch_size : int
        M >= 1.

    Returns
    -------
    NDArray of shape (n,)
    """
    position = np.searchsorted(edges, confidence)
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
        tree[leaves + j, _P], tree[leaves + j, _P_EXP] = 1.0, 0.0
        size = length[j] if j < length.size else 0.0
        tree[leaves + j, _Q], tree[leaves + j, _Q_EXP] = _normal(size, 0.0)
    for node in range(leaves - 1, 0, -1):
        _join(tree, node)
    return tree


@_inlined
def _share_above(tree, position):  # type: ignore[no-untyped-def]
    """Q over the edges from `position` on, relative to all: both parts are sums of positive terms, nothing cancels."""
    node = tree.shape[0] // 2 + position
    above, above_exp = tree[node, _Q], tree[node, _Q_EXP]
    below, below_exp = 0.0, _NOTHING
    while node > 1:
        sibling = node ^ 1
        if node & 1:
            factor, factor_exp = tree[sibling, _P], tree[sibling, _P_EXP]
            above, above_exp = _normal(factor * above, factor_exp + above_exp)
            below, below_exp = _normal(factor * below, factor_exp + below_exp)
            below, below_exp = _add(tree[sibling, _Q], tree[sibling, _Q_EXP], below, below_exp)
        else:
            more, more_exp = _normal(tree[node, _P] * tree[sibling, _Q], tree[node, _P_EXP] + tree[sibling, _Q_EXP])
            above, above_exp = _add(above, above_exp, more, more_exp)
        node >>= 1
    if above_exp == below_exp:
        return above / (above + below)
    gap = above_exp - below_exp
    if gap == 1:
        return above / (above + below * _INVERSE)
    if gap == -1:
        return above * _INVERSE / (above * _INVERSE + below)
    return 1.0 if gap > 0 else 0.0


@_inlined
def _multiply(tree, position, exponent, rest):  # type: ignore[no-untyped-def]
    """Multiply all cells above edge `position` by e^(exponent + rest)."""
    node = tree.shape[0] // 2 + position
    blocks = np.rint(exponent / (_LN_B_HEAD + _LN_B_TAIL))
    factor = np.exp((exponent - blocks * _LN_B_HEAD) - blocks * _LN_B_TAIL + rest)
    tree[node, _P], tree[node, _P_EXP] = _normal(tree[node, _P] * factor, tree[node, _P_EXP] + blocks)
    tree[node, _Q], tree[node, _Q_EXP] = _normal(tree[node, _Q] * factor, tree[node, _Q_EXP] + blocks)
    node >>= 1
    while node:
        _join(tree, node)
        node >>= 1


@_inlined
def _join(tree, node):  # type: ignore[no-untyped-def]
    left, right = 2 * node, 2 * node + 1
    factor, factor_exp = tree[left, _P], tree[left, _P_EXP]
    tree[node, _P], tree[node, _P_EXP] = _normal(factor * tree[right, _P], factor_exp + tree[right, _P_EXP])
    more, more_exp = _normal(factor * tree[right, _Q], factor_exp + tree[right, _Q_EXP])
    tree[node, _Q], tree[node, _Q_EXP] = _add(tree[left, _Q], tree[left, _Q_EXP], more, more_exp)


@_inlined
def _add(a, a_exp, b, b_exp):  # type: ignore[no-untyped-def]
    if a_exp == b_exp:
        total, total_exp = a + b, a_exp
    elif a_exp > b_exp:
        # Two blocks apart the smaller term is below 2^-512 of the larger: it does not reach the last digit.
        total, total_exp = (a + b * _INVERSE if a_exp - b_exp == 1 else a), a_exp
    else:
        total, total_exp = (b + a * _INVERSE if b_exp - a_exp == 1 else b), b_exp
    if total >= _HIGH:
        total, total_exp = total * _INVERSE, total_exp + 1
    return total, total_exp


@_inlined
def _normal(mantissa, exponent):  # type: ignore[no-untyped-def]
    """Bring a positive mantissa from (2^-768, 2^768) back to [2^-256, 2^256); zero gets the smallest exponent."""
    if mantissa >= _HIGH:
        return mantissa * _INVERSE, exponent + 1
    if mantissa < _LOW:
        if mantissa == 0.0:
            return 0.0, _NOTHING
        return mantissa * _B, exponent - 1
    return mantissa, exponent
