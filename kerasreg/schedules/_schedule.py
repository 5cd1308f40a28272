"""What every schedule can do besides giving its value."""

from __future__ import annotations

import json
import math
import numbers
import os
from typing import Any

import keras
from keras import ops


class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """A value that is a function of the step, and can be calculated with.

    `value(t) = schedule(t)`. A subclass defines `__call__(step)` with `keras.ops` and
    `get_config`. Schedules are calculated with as the values would be: `0.1 * s`,
    `s + t`, `s - 0.5`, `s * t`, `s / 2`, `-s`, `s.clip(0.0, 1.0)`; `s.shift(100)`
    begins 100 steps later, `s.in_epochs(50)` takes its lengths for epochs. In sums and
    products one of the two may be a schedule of Keras' own.

    Schedules are equal when they are of one class and have equal configs.

    Returns:
        `schedule(step)` is float32 of the shape of `step`, which may be a scalar or an
        array of whole numbers or fractions >= 0. Whole numbers are exact up to 2²⁴.

    Example:

    >>> from kerasreg.schedules import Linear
    >>> schedule = 0.1 * Linear(1.0, 0.0, steps=10).clip(0.2, 1.0)
    >>> [round(float(schedule(step)), 3) for step in (0, 5, 10)]
    [0.1, 0.05, 0.02]
    >>> schedule
    Scaled(schedule=Clipped(schedule=Linear(start=1.0, end=0.0, steps=10), minimum=0.2,
    maximum=1.0), factor=0.1)
    """

    # NumPy's numbers leave `0.1 * schedule` to the schedule.
    __array_ufunc__ = None

    @property
    def bounds(self) -> tuple[float, float]:
        """What no value is below and above, up to rounding; infinite where not known."""
        return -math.inf, math.inf

    @property
    def continuous(self) -> bool:
        """Whether the value is known to have no jump, the step taken for a real number."""
        return False

    @property
    def length(self) -> float | None:
        """The step from which the value stays as it is; None if it does not, or is not known."""
        return None

    def __add__(self, other: Any) -> Schedule:
        from kerasreg.schedules._arithmetic import Sum

        return Sum([self, other]) if _is_operand(other) else NotImplemented

    def __radd__(self, other: Any) -> Schedule:
        from kerasreg.schedules._arithmetic import Sum

        return Sum([other, self]) if _is_operand(other) else NotImplemented

    def __mul__(self, other: Any) -> Schedule:
        from kerasreg.schedules._arithmetic import Product, Scaled

        if _is_schedule(other):
            return Product([self, other])
        return Scaled(self, other) if _is_operand(other) else NotImplemented

    def __rmul__(self, other: Any) -> Schedule:
        return self * other

    def __neg__(self) -> Schedule:
        return self * -1.0

    def __sub__(self, other: Any) -> Schedule:
        from kerasreg.schedules._arithmetic import Scaled

        if _is_schedule(other):
            return self + Scaled(other, -1.0)
        return self + -other if _is_operand(other) else NotImplemented

    def __rsub__(self, other: Any) -> Schedule:
        return -self + other

    def __truediv__(self, other: Any) -> Schedule:
        return self * (1.0 / other) if _is_operand(other, schedule=False) else NotImplemented

    def clip(self, minimum: float | None = None, maximum: float | None = None) -> Schedule:
        """`min(max(value, minimum), maximum)`; None for no bound."""
        from kerasreg.schedules._transformed import Clipped

        return Clipped(self, minimum, maximum)

    def shift(self, steps: int) -> Schedule:
        """Begins `steps` later, and has its first value until then; earlier if negative."""
        from kerasreg.schedules._transformed import Shifted

        return Shifted(self, steps)

    def in_epochs(self, steps_per_epoch: int, staircase: bool = False) -> Schedule:
        """The same with its lengths in epochs; `staircase` moves it at whole epochs only."""
        from kerasreg.schedules._transformed import InEpochs

        return InEpochs(self, steps_per_epoch, staircase)

    def plot(self, path: str | os.PathLike[str] | None = None, steps: int | None = None) -> Any:
        """Draws the value over the steps; see `kerasreg.schedules.plot`."""
        from kerasreg.schedules._plot import plot

        return plot(self, path, steps)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return bool(self.get_config() == other.get_config())

    def __hash__(self) -> int:
        return hash((type(self), json.dumps(self.get_config(), sort_keys=True)))

    def __repr__(self) -> str:
        return described(self)


class OfOne(Schedule):
    """A schedule of another one, with its bounds, jumps and length."""

    schedule: Any

    @property
    def bounds(self) -> tuple[float, float]:
        """Those of the schedule."""
        return bounds_of(self.schedule)

    @property
    def continuous(self) -> bool:
        """Whether the schedule is."""
        return is_continuous(self.schedule)

    @property
    def length(self) -> float | None:
        """That of the schedule."""
        return length_of(self.schedule)


def _is_schedule(value: Any) -> bool:
    return isinstance(value, keras.optimizers.schedules.LearningRateSchedule)


def _is_operand(value: Any, schedule: bool = True) -> bool:
    # Checked further where it is used, with a message.
    number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return number or (schedule and _is_schedule(value))


def described(value: Any) -> str:
    """A schedule with its arguments, also one of Keras'; anything else as Python prints it."""
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(described, value))}]"
    if not _is_schedule(value):
        return repr(value)
    arguments = [
        f"{name}={described(getattr(value, name, given))}"
        for name, given in value.get_config().items()
        if name != "name"
    ]
    return f"{type(value).__name__}({', '.join(arguments)})"


def value_at(schedule: Any, step: Any) -> Any:
    """The value of any schedule, as float32."""
    return ops.cast(schedule(step), "float32")


def bounds_of(schedule: Any) -> tuple[float, float]:
    """The bounds of any schedule: of Keras' own they are not known."""
    return schedule.bounds if isinstance(schedule, Schedule) else (-math.inf, math.inf)


def is_continuous(schedule: Any) -> bool:
    """Whether any schedule is known to be continuous."""
    return isinstance(schedule, Schedule) and schedule.continuous


def length_of(schedule: Any) -> float | None:
    """The length of any schedule, or None."""
    return schedule.length if isinstance(schedule, Schedule) else None


def hull(*values: float) -> tuple[float, float]:
    """The smallest and the largest."""
    return min(values), max(values)
