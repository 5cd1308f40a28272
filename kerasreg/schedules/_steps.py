"""Counting steps without rounding.

Float32 has whole numbers up to 2²⁴, about 1.7·10⁷. A remainder of a quotient in float32 is
wrong long before that. So whole steps stay integers until they are small, and a stretch is
measured from its end, where its value must be right.
"""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops


def as_step(step: Any) -> Any:
    """A step, or an array of them, as a tensor: signed whole numbers as they are, or float32."""
    step = ops.convert_to_tensor(step)
    dtype = keras.backend.standardize_dtype(step.dtype)
    if dtype.startswith("int"):
        return step
    return ops.cast(step, "int64" if dtype.startswith("uint") else "float32")


def since(step: Any, start: Any) -> Any:
    """Steps since `start`, at least 0."""
    return ops.maximum(ops.subtract(step, start), 0)


def share(step: Any, start: Any, end: Any) -> Any:
    """The part of the stretch from `start` to `end` that has passed, from 0 to 1."""
    length = end - start
    return ops.cast(ops.minimum(since(step, start), length), "float32") / length


def share_left(step: Any, start: Any, end: Any) -> Any:
    """The part of the stretch from `start` to `end` still to come, exact near 0."""
    length = end - start
    left = ops.maximum(ops.subtract(end, step), 0)
    return ops.cast(ops.minimum(left, length), "float32") / length


def periods(step: Any, period: int | float) -> tuple[Any, Any]:
    """The whole periods that have passed, and the steps since then: exact for integers."""
    if isinstance(period, int) and keras.backend.standardize_dtype(step.dtype).startswith("int"):
        return ops.floor_divide(step, period), ops.mod(step, period)
    step = ops.cast(step, "float32")
    passed = ops.floor(step / period)
    return passed, ops.clip(step - passed * period, 0.0, period)


def power(factor: Any, exponent: Any) -> Any:
    """`factor ** exponent` in float32 for a number `factor >= 0`.

    The function takes the logarithm first: 0.999 rounded to float32, to the power of 10⁴, is
    wrong in the fourth digit.
    """
    exponent = ops.cast(exponent, "float32")
    if isinstance(factor, (int, float)):
        logarithm: Any = math.log(factor) if factor > 0 else -math.inf
    else:  # A number of a lane, known when the program runs.
        logarithm = ops.log(ops.convert_to_tensor(factor))
    # Not to infinity, of which zero times is no number.
    result = ops.exp(ops.minimum(exponent * logarithm, 88.0))
    # Zero to the power of zero is one.
    return ops.where(exponent == 0.0, 1.0, result)
