"""The schedule that does not move."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="kerasreg")
class Constant(keras.optimizers.schedules.LearningRateSchedule):
    """The same value at every step: `value(t) = value`.

    Where a component takes "a number or a schedule", a plain number does the
    same; this class is for places that ask for a schedule, such as `Warmup`.

    Args:
        value: the value, any number.

    Returns:
        A schedule: `schedule(step)` is a float32 scalar, or an array of the
        shape of `step`.

    Example:

    >>> import kerasreg
    >>> float(kerasreg.schedules.Constant(0.5)(1000))
    0.5
    """

    def __init__(self, value: float) -> None:
        self.value = float(value)

    def __call__(self, step: Any) -> Any:
        return ops.full(ops.shape(step), self.value, dtype="float32")

    def get_config(self) -> dict[str, Any]:
        return {"value": self.value}
