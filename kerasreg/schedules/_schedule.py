"""The algebra of schedules: the base class, the constant, and what is calculated from others."""

from __future__ import annotations

import functools
import json
import math
import numbers
import operator
import os
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import keras
from keras import ops

from kerasreg._descriptions import described_schedule
from kerasreg._old_names import with_new_names
from kerasreg._validation import check_length, check_number
from kerasreg.schedules._plot import plot
from kerasreg.schedules._steps import as_step, since


class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """Base class of schedules: a value that is a function of the step.

    `value(t) = schedule(t)`. Schedules are calculated with as their values would be:
    `0.1 * s`, `s + t`, `s - 0.5`, `s * t`, `s / 2`, `-s` and `s.clip(0.0, 1.0)`. The schedule
    `s.shift(100)` begins 100 steps later, and `s.in_epochs(50)` counts its lengths in
    epochs of 50 steps. In a sum or a product one of the two schedules may be Keras' own.

    Schedules are equal when they have the same class and equal configs.

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

    To write a schedule of your own:

    A subclass must define two methods:

    - `__call__(step)` returns the value, with operations of `keras.ops`. The step is a
      scalar or an array, of integers or floats, in a graph or not. The value has the
      shape of the step and the dtype float32.
    - `get_config()` returns the arguments of the constructor, as numbers, strings and
      lists. A subclass registered with `keras.saving.register_keras_serializable` is
      loaded from files.

    A subclass may define three properties:

    - `bounds`, a pair of numbers: no value is below the first or above the second. A
      component that accepts these bounds takes the schedule as it is. Without them, the
      component tries steps from 0 to 10⁵.
    - `continuous`, True if the value has no jump between two steps.
    - `length`, the step from which the value no longer changes, for `plot` and `Join`.

    A class attribute `lane_numbers` names the attributes that hold numbers which may differ
    between models trained as lanes (`kerasreg.lanes`).

    >>> import keras, kerasreg
    >>> from keras import ops
    >>> @keras.saving.register_keras_serializable("my_package")
    ... class SquareRoot(kerasreg.schedules.Schedule):
    ...     "`value(t) = end · √(t / steps)`, and `end` from `steps` on."
    ...
    ...     def __init__(self, end, steps):
    ...         self.end, self.steps = end, steps
    ...
    ...     def __call__(self, step):
    ...         return self.end * ops.sqrt(ops.minimum(ops.cast(step, "float32") / self.steps, 1.0))
    ...
    ...     def get_config(self):
    ...         return {"end": self.end, "steps": self.steps}
    ...
    ...     bounds = property(lambda self: (min(self.end, 0.0), max(self.end, 0.0)))
    ...     continuous = True
    ...     length = property(lambda self: self.steps)
    >>> rate = SquareRoot(0.5, steps=100)
    >>> float(rate(25)), float((2 * rate)(100))
    (0.25, 1.0)
    >>> kerasreg.layers.ScheduledDropout(rate)
    ScheduledDropout(rate=SquareRoot(end=0.5, steps=100))
    """

    # NumPy's numbers leave `0.1 * schedule` to the schedule.
    __array_ufunc__ = None

    # Old names of arguments, in files of versions before 0.1.0.
    _new_names: ClassVar[Mapping[str, str]] = {}

    @property
    def bounds(self) -> tuple[float, float]:
        """The smallest and the largest value, up to rounding; infinite where unknown."""
        return -math.inf, math.inf

    @property
    def continuous(self) -> bool:
        """Whether the value is known to have no jump, for a step that is a real number."""
        return False

    @property
    def length(self) -> float | None:
        """The step from which the value no longer changes; None if there is none known."""
        return None

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """Makes a schedule from its config.

        Args:
            config: a dict that `get_config` returned, also one of an earlier version.

        Returns:
            A schedule equal to the one that gave the config.
        """
        return cls(**with_new_names(config, cls._new_names))

    def __add__(self, other: Any) -> Schedule:
        return Sum([self, other]) if _is_operand(other) else NotImplemented

    def __radd__(self, other: Any) -> Schedule:
        return Sum([other, self]) if _is_operand(other) else NotImplemented

    def __mul__(self, other: Any) -> Schedule:
        if is_schedule(other):
            return Product([self, other])
        return Scaled(self, other) if _is_operand(other) else NotImplemented

    def __rmul__(self, other: Any) -> Schedule:
        return self * other

    def __neg__(self) -> Schedule:
        return self * -1.0

    def __sub__(self, other: Any) -> Schedule:
        if is_schedule(other):
            return self + Scaled(other, -1.0)
        return self + -other if _is_operand(other) else NotImplemented

    def __rsub__(self, other: Any) -> Schedule:
        return -self + other

    def __truediv__(self, other: Any) -> Schedule:
        return self * (1.0 / other) if _is_operand(other, schedule=False) else NotImplemented

    def clip(self, minimum: float | None = None, maximum: float | None = None) -> Schedule:
        """Keeps the value within bounds: `min(max(value, minimum), maximum)`.

        Args:
            minimum: the smallest value, any finite number; None for no bound.
            maximum: the largest value, a number >= `minimum`; None for no bound.

        Returns:
            A schedule, `Clipped`.

        Raises:
            ValueError: if a bound is no finite number, or `maximum` is below `minimum`.
        """
        return Clipped(self, minimum, maximum)

    def shift(self, steps: int) -> Schedule:
        """Makes the schedule begin later, with its first value until then.

        Args:
            steps: how much later, a whole number; a negative number leaves out the first
                steps of the schedule.

        Returns:
            A schedule, `Shifted`.

        Raises:
            ValueError: if `steps` is no whole number.
        """
        return Shifted(self, steps)

    def in_epochs(self, steps_per_epoch: int, staircase: bool = False) -> Schedule:
        """Takes the lengths of the schedule for epochs.

        Args:
            steps_per_epoch: the batches of an epoch, a number > 0.
            staircase: whether the value changes at the beginning of an epoch only.

        Returns:
            A schedule of steps, `InEpochs`.

        Raises:
            ValueError: if `steps_per_epoch` is no number > 0, or `staircase` no boolean.
        """
        return InEpochs(self, steps_per_epoch, staircase=staircase)

    def plot(
        self,
        path: str | os.PathLike[str] | None = None,
        steps: int | None = None,
        *,
        style: str | None = None,
    ) -> Any:
        """Draws the value over the steps, as `kerasreg.schedules.plot` does.

        Args:
            path: a file to write the picture to, whose name ends with `.png` or `.svg`; or
                None for no file.
            steps: how many steps are drawn, a whole number >= 1. The default is a tenth more
                than `length`, or 1000 where the schedule has no length.
            style: as for `kerasreg.schedules.plot`.

        Returns:
            The Matplotlib figure, which notebooks show.

        Raises:
            ImportError: if Matplotlib is not installed.
            ValueError: if an argument is outside its range.
            OSError: if the picture cannot be written.
        """
        return plot(self, path, steps=steps, style=style)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return bool(self.get_config() == other.get_config())

    def __hash__(self) -> int:
        return hash((type(self), json.dumps(self.get_config(), sort_keys=True)))

    def __repr__(self) -> str:
        return described_schedule(self)


def is_schedule(value: Any) -> bool:
    """Whether a value is a schedule, of kerasreg or of Keras."""
    return isinstance(value, keras.optimizers.schedules.LearningRateSchedule)


def _is_operand(value: Any, schedule: bool = True) -> bool:
    # Checked further where it is used, with a message.
    number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return number or (schedule and is_schedule(value))


def value_at(schedule: Any, step: Any) -> Any:
    """The value of any schedule, as float32."""
    return ops.cast(schedule(step), "float32")


def bounds_of(schedule: Any) -> tuple[float, float]:
    """The bounds of any schedule, infinite for Keras' own."""
    return schedule.bounds if isinstance(schedule, Schedule) else (-math.inf, math.inf)


def is_continuous(schedule: Any) -> bool:
    """Whether any schedule is known to be continuous."""
    return isinstance(schedule, Schedule) and schedule.continuous


def length_of(schedule: Any) -> float | None:
    """The length of any schedule, or None."""
    return schedule.length if isinstance(schedule, Schedule) else None


def hull(*values: float) -> tuple[float, float]:
    """The smallest and the largest of some numbers."""
    return min(values), max(values)


@keras.saving.register_keras_serializable(package="kerasreg")
class Constant(Schedule):
    """The same value at every step: `value(t) = value`.

    Where a component takes "a number or a schedule", a plain number does the same. This
    class is for places that ask for a schedule.

    Args:
        value: the value, any finite number.

    Returns:
        A schedule: `schedule(step)` is float32 of the shape of `step`.

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
        return ops.full(ops.shape(ops.convert_to_tensor(step)), self.value, dtype="float32")

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
    """Returns a schedule unchanged or from its config, and a number as a `Constant`."""
    if isinstance(value, dict):
        value = keras.saving.deserialize_keras_object(value)
    if is_schedule(value):
        return value
    return Constant(check_number(argument, value, -math.inf, math.inf, or_schedule=True))


class _OfSeveral(Schedule):
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
class Sum(_OfSeveral):
    """The sum of schedules: `value(t) = s₁(t) + s₂(t) + ...`. Written `s + t`.

    Args:
        schedules: a list of numbers or schedules, with at least one.

    Returns:
        A schedule: `schedule(step)` is float32 of the shape of `step`.

    Raises:
        ValueError: if `schedules` holds anything but numbers and schedules, or nothing.

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
class Product(_OfSeveral):
    """The product of schedules: `value(t) = s₁(t) · s₂(t) · ...`. Written `s * t`.

    Args:
        schedules: a list of numbers or schedules, with at least one.

    Returns:
        A schedule: `schedule(step)` is float32 of the shape of `step`.

    Raises:
        ValueError: if `schedules` holds anything but numbers and schedules, or nothing.

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
        bounds = (1.0, 1.0)
        for part in map(bounds_of, self.schedules):
            # Zero times what may be infinite is zero: values are finite.
            products = [a * b if a and b else 0.0 for a in bounds for b in part]
            bounds = hull(*products)
        return bounds


class OfOne(Schedule):
    """A schedule of another one, with the bounds, jumps and length of that schedule."""

    schedule: Any

    @property
    def bounds(self) -> tuple[float, float]:
        """The bounds of the inner schedule."""
        return bounds_of(self.schedule)

    @property
    def continuous(self) -> bool:
        """Whether the inner schedule is continuous."""
        return is_continuous(self.schedule)

    @property
    def length(self) -> float | None:
        """The length of the inner schedule."""
        return length_of(self.schedule)


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


@keras.saving.register_keras_serializable(package="kerasreg")
class Clipped(OfOne):
    """A schedule within bounds: `value(t) = min(max(s(t), minimum), maximum)`. `s.clip(a, b)`.

    Args:
        schedule: a number or a schedule `s`.
        minimum: the smallest value, or None.
        maximum: the largest value, a number >= `minimum`, or None.

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
        steps: how much later, a whole number; a negative number leaves out the first steps
            of the schedule.

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

    Written `s.in_epochs(steps_per_epoch)`. The value changes at every step. With a staircase,
    `value(t) = s(⌊t / steps_per_epoch⌋)` changes at the beginning of an epoch only.

    Args:
        schedule: a number or a schedule `s` of the epoch.
        steps_per_epoch: a number > 0: the batches of an epoch, rounded up.
        staircase: whether the value changes at the beginning of an epoch only.

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

    def __init__(self, schedule: Any, steps_per_epoch: int, *, staircase: bool = False) -> None:
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
