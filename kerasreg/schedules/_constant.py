"""The schedule that does not move."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from kerasreg._validation import check_number
from kerasreg.schedules._schedule import Schedule


@keras.saving.register_keras_serializable(package="kerasreg")
class Constant(Schedule):
    """The same value at every step: `value(t) = value`.

    Where a component takes "a number or a schedule", a plain number does the
    same; this class is for places that ask for a schedule, such as `Warmup`.

    Args:
        value: the value, any finite number.

    Returns:
        A schedule: `schedule(step)` is a float32 scalar, or an array of the
        shape of `step`.

    Raises:
        ValueError: if the value is no finite number.

    Example:

    >>> import kerasreg
    >>> float(kerasreg.schedules.Constant(0.5)(1000))
    0.5
    """

    lane_numbers = ("value",)

    def __init__(self, value: float) -> None:
        self.value = check_number("value", value, -math.inf, math.inf)

    def __call__(self, step: Any) -> Any:
        return ops.full(ops.shape(step), self.value, dtype="float32")

    @property
    def bounds(self) -> tuple[float, float]:
        return self.value, self.value

    @property
    def continuous(self) -> bool:
        return True

    @property
    def length(self) -> float | None:
        return 0

    def get_config(self) -> dict[str, Any]:
        return {"value": self.value}


def as_schedule(argument: str, value: Any) -> Any:
    """A schedule as it is or from its config; a number as a constant one."""
    if isinstance(value, dict):
        value = keras.saving.deserialize_keras_object(value)
    if isinstance(value, keras.optimizers.schedules.LearningRateSchedule):
        return value
    return Constant(check_number(argument, value, -math.inf, math.inf, or_schedule=True))
