"""The total variation along an axis, and its exact proximal operator.

Johnson 2013, "A dynamic programming algorithm for the fused lasso". For `i` from the first,
the derivative `g(b)` of the least objective up to `i` with `w[i] = b` is a rising line with
knots. The step over the difference to the next weight cuts the line off at `-t` and `t`, which
adds two knots. The weights follow from the last one backwards.

Johnson keeps the knots sorted. Here the knots lie in any order, and each step looks at every
one. So the operator takes `n²` operations instead of `n`, but no loop of unknown length, which
a program of many lanes could not have.
"""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from kerasreg._keras.hyperparameter import NumberOrSchedule
from kerasreg.regularizers._functions import absolute_sum, axes_within
from kerasreg.regularizers._penalty import Penalty


@keras.saving.register_keras_serializable(package="kerasreg")
class TotalVariation(Penalty):
    """`strength * Σ|w[i+1] - w[i]|` along an axis: neighbours become equal.

    For weights in an order, such as the taps of a filter of `Conv1D`, whose kernel
    is `(taps, channels, filters)`. With `L1` added it is the fused lasso.

    Args:
        strength: λ, a finite number >= 0 or a schedule of such numbers.
        axis: the axis along which neighbours are compared, an integer.
        name: optional name of the penalty.

    Returns:
        Called with a tensor that has this axis: a scalar of its dtype; float32
        for half precision.

    Raises:
        ValueError: if the strength is negative, or a schedule that becomes negative;
            if `axis` is no integer, or no axis of the tensor.

    Rudin, Osher and Fatemi 1992, Tibshirani et al. 2005. The proximal operator is the exact one
    of Johnson 2013.

    Example:

    >>> import numpy as np, kerasreg
    >>> penalty = kerasreg.regularizers.TotalVariation(0.5)
    >>> float(penalty(np.array([1.0, 3.0, 2.0])))
    1.5
    >>> penalty.prox(np.array([1.0, 3.0, 2.0]), t=1.0).numpy().tolist()
    [1.5, 2.25, 2.25]
    """

    takes_step_sizes = False
    prox_order = "before"

    def __init__(
        self, strength: NumberOrSchedule, axis: int = 0, *, name: str | None = None
    ) -> None:
        super().__init__(strength, name=name)
        if type(axis) is not int:
            raise ValueError(f"`axis` must be an integer. Received: axis={axis!r}")
        self.axis = axis  # Static.

    def unit_penalty(self, w: Any) -> Any:
        axes_within(self.axis, w.shape)
        return absolute_sum(ops.diff(w, axis=self.axis))

    def unit_prox(self, v: Any, t: Any) -> Any:
        axes_within(self.axis, v.shape)
        return fuse(v, t, self.axis)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "axis": self.axis}


def fuse(v: Any, t: Any, axis: int) -> Any:
    """`argmin_w ½‖w-v‖² + t·Σ|w[i+1]-w[i]|` along `axis`, for all other indices at once.

    Args:
        v: an array.
        t: a scalar tensor >= 0 of the dtype of `v`.
        axis: an integer; the number of weights along this axis is static.
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
    """Writes the two new knots of a step, the low one to the first half of the knots."""
    first, second = ops.split(knots, 2, axis=0)
    return ops.concatenate([ops.where(at, low, first), ops.where(at, high, second)])


def _root(x: Any, g: Any, level: Any) -> Any:
    """The place where a line through points `(x, g)`, of slope 1 outside, is `level`."""
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
