"""The proximal operator of the total variation, exact.

Johnson 2013, "A dynamic programming algorithm for the fused lasso": for `i` from the
first, the derivative `g(b)` of the least objective up to `i` with `w[i] = b` is a line with
knots that rises; passing it over the difference to the next weight cuts it off at `-t` and
`t`, which adds two knots, and the weights follow from the last one backwards. He keeps the
knots sorted; here they lie in any order, and every one is looked at in each step. So it
takes `n²` operations instead of `n`, without a loop of unknown length, which a program of
many lanes could not have.
"""

from __future__ import annotations

import math
from typing import Any

from keras import ops


def fuse(v: Any, t: Any, axis: int) -> Any:
    """`argmin_w ½‖w-v‖² + t·Σ|w[i+1]-w[i]|` along `axis`, the same for all other indices.

    Args:
        v: an array.
        t: a scalar tensor >= 0 of the dtype of `v`.
        axis: an integer; the weights along it are `n`, static.
    """
    moved = ops.moveaxis(v, axis, 0)
    count = moved.shape[0]
    if count == 1:
        return v
    y = ops.reshape(moved, (count, -1))
    numbers = ops.expand_dims(ops.arange(count), -1)

    def forward(i: Any, state: Any) -> Any:
        x, g, lows, highs = state
        low, high = _root(x, g, -t), _root(x, g, t)
        # Beyond the cut all knots are one; each stays a point of the line.
        x, g = ops.clip(x, low, high), ops.clip(g, -t, t)
        x = _put(x, numbers == i, low, high)
        g = _put(g, numbers == i, ops.zeros_like(low) - t, ops.zeros_like(high) + t)
        lows, highs = ops.where(numbers == i, low, lows), ops.where(numbers == i, high, highs)
        g = g + x - ops.take(y, i + 1, axis=0)
        return x, g, lows, highs

    # All knots begin as one point of the line `g(b) = b - y[0]`.
    start = ops.concatenate([y[:1]] * (2 * count))
    zeros = ops.zeros_like(y)
    x, g, lows, highs = ops.fori_loop(
        0, count - 1, forward, (start, ops.zeros_like(start), zeros, zeros)
    )
    last = _root(x, g, ops.zeros_like(t))

    def backward(j: Any, w: Any) -> Any:
        i = count - 2 - j
        after = ops.take(w, i + 1, axis=0)
        here = ops.clip(after, ops.take(lows, i, axis=0), ops.take(highs, i, axis=0))
        return ops.where(numbers == i, here, w)

    w = ops.fori_loop(0, count - 1, backward, ops.where(numbers == count - 1, last, zeros))
    return ops.moveaxis(ops.reshape(w, moved.shape), 0, axis)


def _put(knots: Any, at: Any, low: Any, high: Any) -> Any:
    """Writes the two new knots of a step, each to the half of the knots that is for it."""
    first, second = ops.split(knots, 2, axis=0)
    return ops.concatenate([ops.where(at, low, first), ops.where(at, high, second)])


def _root(x: Any, g: Any, level: Any) -> Any:
    """Where a line through the points `(x, g)`, of slope 1 outside of them, is `level`."""
    before = g <= level
    x_left = ops.max(ops.where(before, x, -math.inf), axis=0)
    g_left = ops.max(ops.where(before, g, -math.inf), axis=0)
    x_right = ops.min(ops.where(before, math.inf, x), axis=0)
    g_right = ops.min(ops.where(before, math.inf, g), axis=0)
    none_left, none_right = ops.isinf(x_left), ops.isinf(x_right)
    inside = ~(none_left | none_right)
    share = (level - g_left) / ops.where(inside, g_right - g_left, 1.0)
    between = x_left + share * ops.where(inside, x_right - x_left, 0.0)
    outside = ops.where(none_left, x_right + (level - g_right), x_left + (level - g_left))
    return ops.where(inside, between, outside)
