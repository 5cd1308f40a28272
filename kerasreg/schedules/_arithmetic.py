"""What is calculated from schedules is a schedule."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Sequence
from typing import Any

import keras

from kerasreg._validation import check_number
from kerasreg.schedules._constant import as_schedule
from kerasreg.schedules._schedule import (
    OfOne,
    Schedule,
    bounds_of,
    hull,
    is_continuous,
    length_of,
    value_at,
)


class _Combined(Schedule):
    """A schedule of several others."""

    def __init__(self, schedules: Sequence[Any]) -> None:
        if not isinstance(schedules, (list, tuple)) or not schedules:
            raise ValueError(
                "`schedules` must be a list of schedules or numbers. "
                f"Received: schedules={schedules!r}"
            )
        self.schedules = [as_schedule("schedules", schedule) for schedule in schedules]

    @property
    def continuous(self) -> bool:
        return all(map(is_continuous, self.schedules))

    @property
    def length(self) -> float | None:
        lengths = [length_of(schedule) for schedule in self.schedules]
        return None if None in lengths else max(length for length in lengths if length is not None)

    def get_config(self) -> dict[str, Any]:
        return {"schedules": [keras.saving.serialize_keras_object(part) for part in self.schedules]}


@keras.saving.register_keras_serializable(package="kerasreg", name="SumOfSchedules")
class Sum(_Combined):
    """The sum of schedules: `value(t) = s₁(t) + s₂(t) + ...`. Written `s + t`.

    Args:
        schedules: numbers or schedules, at least one.

    Returns:
        A schedule: `schedule(step)` is float32 of the shape of `step`.

    Raises:
        ValueError: if these are no numbers and no schedules.

    Example:

    >>> from kerasreg.schedules import Linear
    >>> float((Linear(0.0, 1.0, steps=4) + 0.5)(2))
    1.0
    """

    def __call__(self, step: Any) -> Any:
        return functools.reduce(operator.add, [value_at(part, step) for part in self.schedules])

    @property
    def bounds(self) -> tuple[float, float]:
        lowest, highest = zip(*map(bounds_of, self.schedules), strict=True)
        return sum(lowest), sum(highest)


@keras.saving.register_keras_serializable(package="kerasreg", name="ProductOfSchedules")
class Product(_Combined):
    """The product of schedules: `value(t) = s₁(t) · s₂(t) · ...`. Written `s * t`.

    Args:
        schedules: numbers or schedules, at least one.

    Returns:
        A schedule: `schedule(step)` is float32 of the shape of `step`.

    Raises:
        ValueError: if these are no numbers and no schedules.

    Example:

    >>> from kerasreg.schedules import Linear
    >>> ramp = Linear(0.0, 1.0, steps=4)
    >>> float((ramp * ramp)(2))
    0.25
    """

    def __call__(self, step: Any) -> Any:
        return functools.reduce(operator.mul, [value_at(part, step) for part in self.schedules])

    @property
    def bounds(self) -> tuple[float, float]:
        found = (1.0, 1.0)
        for part in map(bounds_of, self.schedules):
            # Zero times what may be infinite is zero: values are finite.
            products = [a * b if a and b else 0.0 for a in found for b in part]
            found = hull(*products)
        return found


@keras.saving.register_keras_serializable(package="kerasreg")
class Scaled(OfOne):
    """A multiple of a schedule: `value(t) = factor · schedule(t)`. Written `factor * s`.

    Args:
        schedule: a number or a schedule.
        factor: any finite number.

    Returns:
        A schedule: `schedule(step)` is float32 of the shape of `step`.

    Raises:
        ValueError: if `factor` is no finite number.

    Example:

    >>> import keras, kerasreg
    >>> ramp = keras.optimizers.schedules.PolynomialDecay(0.0, 10, 0.5)
    >>> float(kerasreg.schedules.Scaled(ramp, 0.5)(10))
    0.25
    """

    lane_numbers = ("factor",)

    def __init__(self, schedule: Any, factor: float) -> None:
        self.schedule = as_schedule("schedule", schedule)
        self.factor = check_number("factor", factor, -math.inf, math.inf)

    def __call__(self, step: Any) -> Any:
        return self.factor * value_at(self.schedule, step)

    @property
    def bounds(self) -> tuple[float, float]:
        low, high = super().bounds
        return hull(self.factor * low, self.factor * high) if self.factor else (0.0, 0.0)

    def get_config(self) -> dict[str, Any]:
        return {
            "schedule": keras.saving.serialize_keras_object(self.schedule),
            "factor": self.factor,
        }
