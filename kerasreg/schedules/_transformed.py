"""A schedule within bounds, later, or in epochs."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from kerasreg._validation import check_length, check_number
from kerasreg.schedules._constant import as_schedule
from kerasreg.schedules._schedule import OfOne, value_at
from kerasreg.schedules._steps import as_step, since


@keras.saving.register_keras_serializable(package="kerasreg")
class Clipped(OfOne):
    """A schedule within bounds: `value(t) = min(max(s(t), minimum), maximum)`. `s.clip(a, b)`.

    Args:
        schedule: a number or a schedule `s`.
        minimum: the smallest value, or None.
        maximum: the largest value, or None; not below `minimum`.

    Returns:
        A schedule: `schedule(step)` is float32 of the shape of `step`.

    Raises:
        ValueError: if a bound is no finite number, or `maximum` is below `minimum`.

    Example:

    >>> from kerasreg.schedules import Linear
    >>> float(Linear(1.0, 0.0, steps=4).clip(minimum=0.25)(4))
    0.25
    """

    def __init__(
        self, schedule: Any, minimum: float | None = None, maximum: float | None = None
    ) -> None:
        self.schedule = as_schedule("schedule", schedule)
        self.minimum = self.maximum = None
        if minimum is not None:
            self.minimum = check_number("minimum", minimum, -math.inf, math.inf)
        if maximum is not None:
            least = -math.inf if self.minimum is None else self.minimum
            self.maximum = check_number("maximum", maximum, least, math.inf)

    def __call__(self, step: Any) -> Any:
        value = value_at(self.schedule, step)
        if self.minimum is not None:
            value = ops.maximum(value, self.minimum)
        return value if self.maximum is None else ops.minimum(value, self.maximum)

    @property
    def bounds(self) -> tuple[float, float]:
        least = -math.inf if self.minimum is None else self.minimum
        most = math.inf if self.maximum is None else self.maximum
        low, high = super().bounds
        return min(max(low, least), most), min(max(high, least), most)

    def get_config(self) -> dict[str, Any]:
        return {
            "schedule": keras.saving.serialize_keras_object(self.schedule),
            "minimum": self.minimum,
            "maximum": self.maximum,
        }


@keras.saving.register_keras_serializable(package="kerasreg")
class Shifted(OfOne):
    """A schedule that begins later: `value(t) = s(max(t - steps, 0))`. Written `s.shift(steps)`.

    Args:
        schedule: a number or a schedule `s`.
        steps: how much later, a whole number; negative to leave out its beginning.

    Returns:
        A schedule: `schedule(step)` is float32 of the shape of `step`.

    Raises:
        ValueError: if `steps` is no whole number.

    Example:

    >>> from kerasreg.schedules import Linear
    >>> late = Linear(1.0, 0.0, steps=4).shift(10)
    >>> float(late(10)), float(late(12))
    (1.0, 0.5)
    """

    def __init__(self, schedule: Any, steps: int) -> None:
        self.schedule = as_schedule("schedule", schedule)
        shift = check_number("steps", steps, -math.inf, math.inf)
        if not shift.is_integer():
            raise ValueError(f"`steps` must be a whole number. Received: steps={steps!r}")
        self.steps = int(shift)

    def __call__(self, step: Any) -> Any:
        return value_at(self.schedule, since(as_step(step), self.steps))

    @property
    def length(self) -> float | None:
        length = super().length
        return None if length is None else max(length + self.steps, 0)

    def get_config(self) -> dict[str, Any]:
        schedule = keras.saving.serialize_keras_object(self.schedule)
        return {"schedule": schedule, "steps": self.steps}


@keras.saving.register_keras_serializable(package="kerasreg")
class InEpochs(OfOne):
    """A schedule whose lengths count epochs: `value(t) = s(t / steps_per_epoch)`.

    Written `s.in_epochs(steps_per_epoch)`. Within an epoch it moves with every step, or,
    as a staircase, `value(t) = s(⌊t / steps_per_epoch⌋)`.

    Args:
        schedule: a number or a schedule `s` of the epoch.
        steps_per_epoch: a number > 0: the batches of an epoch, rounded up.
        staircase: whether to move at whole epochs only.

    Returns:
        A schedule: `schedule(step)` is float32 of the shape of `step`.

    Raises:
        ValueError: if `steps_per_epoch` is no number > 0, or `staircase` no boolean.

    Example:

    >>> from kerasreg.schedules import Linear
    >>> schedule = Linear(1.0, 0.0, steps=2).in_epochs(100)
    >>> float(schedule(50)), float(schedule(100))
    (0.75, 0.5)
    """

    def __init__(self, schedule: Any, steps_per_epoch: int, staircase: bool = False) -> None:
        self.schedule = as_schedule("schedule", schedule)
        self.steps_per_epoch = check_length("steps_per_epoch", steps_per_epoch)
        if not isinstance(staircase, bool):
            raise ValueError(
                f"`staircase` must be True or False. Received: staircase={staircase!r}"
            )
        self.staircase = staircase

    def __call__(self, step: Any) -> Any:
        step = as_step(step)
        if self.staircase:
            # The division of whole numbers is exact; that of fractions is to 24 bits.
            epoch = ops.floor_divide(step, self.steps_per_epoch)
        else:
            epoch = ops.cast(step, "float32") / self.steps_per_epoch
        return value_at(self.schedule, epoch)

    @property
    def continuous(self) -> bool:
        return super().continuous and not self.staircase

    @property
    def length(self) -> float | None:
        length = super().length
        return None if length is None else math.ceil(length) * self.steps_per_epoch

    def get_config(self) -> dict[str, Any]:
        return {
            "schedule": keras.saving.serialize_keras_object(self.schedule),
            "steps_per_epoch": self.steps_per_epoch,
            "staircase": self.staircase,
        }
