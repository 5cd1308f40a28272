"""Proximal operators, as functions of arrays.

`prox_{t·Ω}(v) = argmin_w ½‖w-v‖² + t·Ω(w)` (Moreau 1965; Parikh and Boyd 2014). Where a
threshold says "array", it is broadcast against `v`: an operator that works element by element
takes a step size for each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras import ops

from kerasreg.regularizers._functions import norm


def soft_threshold(v: Any, threshold: Any) -> Any:
    """`sign(v)·max(|v| - threshold, 0)`: the operator of the absolute sum.

    Args:
        v: an array of any shape.
        threshold: a number >= 0 or an array.
    """
    # Not by the sign, which would give zeros a sign.
    return v - ops.clip(v, -threshold, threshold)


def shrink_groups(v: Any, threshold: Any, axes: tuple[int, ...]) -> Any:
    """`v·max(1 - threshold/‖v‖, 0)` for each group: the operator of the sum of norms.

    Args:
        v: an array.
        threshold: a number >= 0.
        axes: the axes over which a group extends.
    """
    length = norm(v, axes)
    kept = ops.maximum(length - threshold, 0.0)
    return v * (kept / ops.where(length > 0.0, length, 1.0))


# Of Newton's method below, which takes 6 to double precision for step sizes that differ
# by factors of 10⁶ (each doubles the digits, once they are right).
_NEWTON_STEPS = 8


def shrink_scaled_groups(v: Any, thresholds: Any, axes: tuple[int, ...]) -> Any:
    """`argmin_w ½·Σ(w-v)²/thresholds + ‖w‖` for each group.

    A group is zero where `‖v/thresholds‖ <= 1`, and otherwise
    `w = v·r/(r + thresholds)`, with the length `r = ‖w‖` at which
    `‖v/(r + thresholds)‖ = 1`. The inverse of this norm is concave in `r` and nearly a line, so
    Newton's method finds `r` from below and without a search (Moré and Sorensen 1983 for trust
    regions; Deleu and Bengio 2021).

    Args:
        v: an array.
        thresholds: numbers > 0 for each element of `v`.
        axes: the axes over which a group extends.
    """
    moves = thresholds > 0.0
    t = ops.where(moves, thresholds, 1.0)
    # A lower bound of the length, from which the iterates rise; at first nearly right.
    r = ops.maximum(norm(v, axes) - ops.max(t, axis=axes, keepdims=True), 0.0)
    for _ in range(_NEWTON_STEPS):
        inverse = 1.0 / (r + t)
        squares = ops.square(v * inverse)
        square = ops.sum(squares, axis=axes, keepdims=True)
        slope = ops.sum(squares * inverse, axis=axes, keepdims=True)
        step = (ops.sqrt(square) - 1.0) * square / ops.where(slope > 0.0, slope, 1.0)
        # Below zero only where the group is zero.
        r = ops.maximum(r + step, 0.0)
    return ops.where(moves, v * (r / (r + t)), v)


def firm_threshold(v: Any, t: Any, strength: Any, gamma: Any) -> Any:
    """The operator of `t` times the minimax concave penalty (Zhang 2010).

    Zero up to `strength·t`, `v` from `strength·gamma`, a line between. From
    `t = gamma` on, where the objective is no longer convex, its global minimum:
    zero or `v`, with the jump at `strength·√(gamma·t)`.

    Args:
        v: an array of any shape.
        t: a number >= 0 or an array.
        strength: the penalty's slope at zero, a number >= 0.
        gamma: a number > 0.
    """
    size = ops.abs(v)
    convex = t < gamma
    slope = ops.where(convex, 1.0 - t / gamma, 1.0)
    line = ops.minimum(size, ops.maximum(size - strength * t, 0.0) / slope)
    firm = ops.where(size <= gamma * strength, ops.sign(v) * line, v)
    hard = ops.where(size <= strength * ops.sqrt(gamma * t), ops.zeros_like(v), v)
    return ops.where(convex, firm, hard)


def scad_threshold(v: Any, t: Any, strength: Any, gamma: Any) -> Any:
    """The operator of `t` times the smoothly clipped absolute deviation (Fan and Li 2001).

    The soft threshold up to `strength·(1 + t)`, `v` from `strength·gamma`, a
    line between. From `t = gamma - 1` on, where the objective is no longer
    convex, its global minimum, with a jump.

    Args:
        v: an array of any shape.
        t: a number >= 0 or an array.
        strength: the penalty's slope at zero, a number >= 0.
        gamma: a number > 1.
    """
    size = ops.abs(v)
    soft = soft_threshold(v, strength * t)
    convex = t < gamma - 1.0
    slope = ops.where(convex, (gamma - 1.0) - t, 1.0)
    line = ops.sign(v) * ((gamma - 1.0) * size - t * gamma * strength) / slope
    beyond = ops.where(size <= gamma * strength, line, v)
    clipped = ops.where(size <= strength * (1.0 + t), soft, beyond)
    jump = ops.where(t <= gamma + 1.0, 0.5 * (gamma + 1.0 + t), ops.sqrt(t * (gamma + 1.0)))
    hard = ops.where(size <= strength * jump, soft, v)
    return ops.where(convex, clipped, hard)


def of_singular_values(matrix: Any, operator: Callable[[Any], Any]) -> Any:
    """Applies an operator to the singular values of a matrix.

    This is the operator of any penalty that is a symmetric function of the singular values
    (Lewis 1995).
    """
    u, s, vt = ops.svd(matrix, full_matrices=False)
    return ops.matmul(u * ops.expand_dims(operator(s), -2), vt)


def clip_largest(s: Any, threshold: Any) -> Any:
    """The operator of `threshold` times the largest of numbers >= 0 that fall.

    Numbers above a level are cut down to the level, at which the parts cut off sum up to the
    threshold (Duchi et al. 2008, by Moreau's identity). Numbers that sum up to less than the
    threshold become zero.

    Args:
        s: numbers >= 0, falling along the last axis.
        threshold: a number >= 0.
    """
    count = ops.cast(ops.arange(1, s.shape[-1] + 1), s.dtype)
    levels = (ops.cumsum(s, axis=-1) - threshold) / count
    # The right number of values that are cut gives the highest level.
    level = ops.maximum(ops.max(levels, axis=-1, keepdims=True), 0.0)
    return ops.minimum(s, level)
