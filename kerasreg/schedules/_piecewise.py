"""Values that go from one number to the next along lines or half cosines.

Ramps, the 1cycle policy and the trapezoid (warm-up, plateau and decay) are of this kind.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kerasreg._validation import check_choice, check_length, check_number, check_positive
from kerasreg.schedules._schedule import Schedule, hull
from kerasreg.schedules._steps import as_step, share, share_left

SHAPES = ("linear", "cosine", "sqrt")


def _weights(shape: str, passed: Any, left: Any) -> tuple[Any, Any]:
    """The weights of the value at the beginning and of the value at the end of a stretch."""
    if shape == "linear":
        return left, passed
    if shape == "sqrt":
        return left / (1.0 + ops.sqrt(passed)), ops.sqrt(passed)  # 1 - √x = (1 - x)/(1 + √x)
    # ½(1 + cos(πx)) = sin²(π(1 - x)/2), which has all digits also where it is nearly 0.
    return (
        ops.square(ops.sin((math.pi / 2) * left)),
        ops.square(ops.sin((math.pi / 2) * passed)),
    )


def interpolate(
    step: Any, boundaries: Sequence[Any], values: Sequence[Any], shapes: Sequence[str]
) -> Any:
    """Interpolates between values that are reached at given steps.

    Args:
        step: a scalar or an array.
        boundaries: steps > 0 that increase.
        values: the value at step 0, and the one at each boundary; the last one stays.
        shapes: for each stretch `"linear"`, `"cosine"` or `"sqrt"` (fast at first).

    Returns:
        A float32 tensor of the shape of `step`.
    """
    step = as_step(step)
    result = ops.ones_like(step, dtype="float32") * values[-1]
    ends, levels = itertools.pairwise((0, *boundaries)), itertools.pairwise(values)
    stretches = zip(ends, levels, shapes, strict=True)
    for (start, end), (first, last), shape in reversed(list(stretches)):
        if first is last:
            value = ops.ones_like(result) * first
        else:
            at_first, at_last = _weights(
                shape, share(step, start, end), share_left(step, start, end)
            )
            value = first * at_first + last * at_last
        result = ops.where(ops.less(step, end), value, result)
    return result


@keras.saving.register_keras_serializable(package="kerasreg")
class Piecewise(Schedule):
    """From value to value along lines or half cosines.

    The value is `values[0]` at step 0 and `values[i]` at step `boundaries[i - 1]`; the last
    value stays. Between two values a and b, with x from 0 to 1, the value is
    `a + (b - a)·x`. With `shape="cosine"` it is `a + (b - a)·½(1 - cos(πx))`, and with
    `shape="sqrt"` it is `a + (b - a)·√x`.

    Args:
        boundaries: the steps at which the values after the first are reached, numbers > 0
            that increase.
        values: a list of finite numbers, one more than there are boundaries.
        shape: `"linear"`, `"cosine"` or `"sqrt"`.

    Returns:
        A schedule: `schedule(step)` is float32 of the shape of `step`.

    Raises:
        ValueError: if an argument is no such list, or `shape` none of the three.

    optax's `piecewise_interpolate_schedule` takes each value as a factor on the one before.
    Keras' `PiecewiseConstantDecay` has values that jump.

    Example:

    >>> from kerasreg.schedules import Piecewise
    >>> schedule = Piecewise([10, 20], [0.0, 1.0, 0.5])
    >>> [float(schedule(step)) for step in (0, 5, 10, 20, 99)]
    [0.0, 0.5, 1.0, 0.5, 0.5]
    """

    def __init__(
        self, boundaries: Sequence[float], values: Sequence[float], *, shape: str = "linear"
    ) -> None:
        self.boundaries = check_boundaries("boundaries", boundaries)
        if not isinstance(values, (list, tuple)) or len(values) != len(boundaries) + 1:
            raise ValueError(
                f"`values` must be a list of {len(boundaries) + 1} numbers, one more than there "
                f"are boundaries. Received: values={values!r}"
            )
        self.values = [check_number("values", value, -math.inf, math.inf) for value in values]
        self.shape = check_choice("shape", shape, SHAPES)

    def __call__(self, step: Any) -> Any:
        return interpolate(step, self.boundaries, self.values, [self.shape] * len(self.boundaries))

    @property
    def bounds(self) -> tuple[float, float]:
        return hull(*self.values)

    @property
    def continuous(self) -> bool:
        return True

    @property
    def length(self) -> float | None:
        return self.boundaries[-1]

    def get_config(self) -> dict[str, Any]:
        return {"boundaries": self.boundaries, "values": self.values, "shape": self.shape}


def check_boundaries(argument: str, boundaries: Any) -> list[int | float]:
    """Returns numbers > 0 that increase, at least one, or raises."""
    if not isinstance(boundaries, (list, tuple)) or not boundaries:
        raise ValueError(
            f"`{argument}` must be a list of numbers > 0. Received: {argument}={boundaries!r}"
        )
    found = [check_length(argument, boundary) for boundary in boundaries]
    if any(second <= first for first, second in itertools.pairwise(found)):
        raise ValueError(
            f"`{argument}` must be numbers that increase. Received: {argument}={boundaries!r}"
        )
    return found


class _Ramp(Schedule):
    """From `start` to `end` in `steps`; then `end`."""

    lane_numbers: tuple[str, ...] = ("start", "end", "steps")

    def __init__(self, start: float, end: float, steps: float) -> None:
        self.start = check_number("start", start, -math.inf, math.inf)
        self.end = check_number("end", end, -math.inf, math.inf)
        self.steps = check_length("steps", steps)

    @property
    def bounds(self) -> tuple[float, float]:
        return hull(self.start, self.end)

    @property
    def continuous(self) -> bool:
        return True

    @property
    def length(self) -> float | None:
        return self.steps

    def get_config(self) -> dict[str, Any]:
        return {"start": self.start, "end": self.end, "steps": self.steps}


@keras.saving.register_keras_serializable(package="kerasreg")
class Linear(_Ramp):
    """A line: `value(t) = start + (end - start) · t / steps`, and `end` from `steps` on.

    Args:
        start: the first value, any finite number.
        end: the last value, any finite number.
        steps: the step at which the value is `end`, a number > 0.

    Returns:
        A schedule: `schedule(step)` is float32 of the shape of `step`.

    Raises:
        ValueError: if an argument is outside its range.

    Example:

    >>> from kerasreg.schedules import Linear
    >>> [float(Linear(1.0, 0.0, steps=8)(step)) for step in (0, 2, 8, 99)]
    [1.0, 0.75, 0.0, 0.0]
    """

    lane_numbers = ("start", "end", "steps")

    def __call__(self, step: Any) -> Any:
        return interpolate(step, [self.steps], [self.start, self.end], ["linear"])


@keras.saving.register_keras_serializable(package="kerasreg")
class Cosine(_Ramp):
    """Half a cosine: `value(t) = end + (start - end) · ½(1 + cos(πt / steps))`, then `end`.

    The value may also rise. Near an end at zero the value keeps all its digits; Keras'
    `CosineDecay` has none below 10⁻⁷ of its first value.

    Args:
        start: the first value, any finite number.
        end: the last value, any finite number.
        steps: the step at which the value is `end`, a number > 0.

    Returns:
        A schedule: `schedule(step)` is float32 of the shape of `step`.

    Raises:
        ValueError: if an argument is outside its range.

    Loshchilov and Hutter 2017 (arXiv:1608.03983), without restarts.

    Example:

    >>> from kerasreg.schedules import Cosine
    >>> round(float(Cosine(1.0, 0.0, steps=10)(5)), 6)
    0.5
    """

    lane_numbers = ("start", "end", "steps")

    def __call__(self, step: Any) -> Any:
        return interpolate(step, [self.steps], [self.start, self.end], ["cosine"])


@keras.saving.register_keras_serializable(package="kerasreg")
class Polynomial(_Ramp):
    """A power: `value(t) = end + (start - end) · (1 - t / steps)^power`, and then `end`.

    Like Keras' `PolynomialDecay` without cycles, but exact in float32 near its end too.

    Args:
        start: the first value, any finite number.
        end: the last value, any finite number.
        steps: the step at which the value is `end`, a number > 0.
        power: a number > 0.

    Returns:
        A schedule: `schedule(step)` is float32 of the shape of `step`.

    Raises:
        ValueError: if an argument is outside its range.

    Example:

    >>> from kerasreg.schedules import Polynomial
    >>> float(Polynomial(1.0, 0.0, steps=10, power=2.0)(5))
    0.25
    """

    lane_numbers = ("start", "end", "steps", "power")

    def __init__(self, start: float, end: float, steps: float, *, power: float = 1.0) -> None:
        super().__init__(start, end, steps)
        self.power = check_positive("power", power)

    def __call__(self, step: Any) -> Any:
        step = as_step(step)
        at_start = ops.power(share_left(step, 0, self.steps), self.power)
        # 1 - (1 - x)^power, with all digits also where it is nearly 0.
        at_end = -ops.expm1(self.power * ops.log1p(-share(step, 0, self.steps)))
        return self.start * at_start + self.end * at_end

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "power": self.power}
