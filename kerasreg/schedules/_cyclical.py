"""Values that rise and fall again and again."""

from __future__ import annotations

import itertools
import math
from typing import Any, ClassVar

import keras
from keras import ops

from kerasreg._validation import check_above, check_choice, check_count, check_length, check_number
from kerasreg.schedules._schedule import Schedule, hull
from kerasreg.schedules._steps import as_step, periods, power

# No training is longer: beyond it, no cycle begins.
_LAST_STEP = 2**31


@keras.saving.register_keras_serializable(package="kerasreg")
class Cyclical(Schedule):
    """Triangles: from `low` to `high` and back, again and again.

    With x from 0 at `low` to 1 at `high`, `value(t) = low + (high - low) · x · s`, where
    `s = 1` for `"triangular"`, `s = ½ⁿ` in cycle n = 0, 1, ... for `"triangular2"`, and
    `s = gammaᵗ` for `"exp_range"`.

    Args:
        low: a finite number.
        high: a finite number >= `low`.
        rise_steps: steps from `low` to `high`, a number > 0: `step_size` in TensorFlow
            Addons, `step_size_up` in PyTorch.
        fall_steps: steps back to `low`, a number > 0; by default as many as `rise_steps`.
        shape: `"triangular"`, `"triangular2"` or `"exp_range"`.
        gamma: the factor per step for `"exp_range"`, above 0 and at most 1.

    Returns:
        A schedule: `schedule(step)` is float32 of the shape of `step`.

    Raises:
        ValueError: if an argument is outside its range.

    Smith 2017 (arXiv:1506.01186). TensorFlow Addons' `CyclicalLearningRate` family is the
    same. For its argument `scale_fn` write
    `low + (high - low) * Cyclical(0, 1, rise_steps=n) * s`, with `s` any schedule.

    Example:

    >>> from kerasreg.schedules import Cyclical
    >>> schedule = Cyclical(0.0, 1.0, rise_steps=4, shape="triangular2")
    >>> [float(schedule(step)) for step in (0, 2, 4, 8, 12)]
    [0.0, 0.5, 1.0, 0.0, 0.5]
    """

    lane_numbers = ("low", "high", "gamma")
    _new_names: ClassVar = {"rise": "rise_steps", "fall": "fall_steps"}

    def __init__(
        self,
        low: float,
        high: float,
        *,
        rise_steps: float,
        fall_steps: float | None = None,
        shape: str = "triangular",
        gamma: float = 1.0,
    ) -> None:
        self.low = check_number("low", low, -math.inf, math.inf)
        self.high = check_number("high", high, self.low, math.inf)
        self.rise_steps = check_length("rise_steps", rise_steps)
        self.fall_steps = fall_steps
        if fall_steps is not None:
            self.fall_steps = check_length("fall_steps", fall_steps)
        self.shape = check_choice("shape", shape, ("triangular", "triangular2", "exp_range"))
        self.gamma = check_number("gamma", gamma, 0.0, 1.0)
        check_above("gamma", gamma, 0.0)

    def __call__(self, step: Any) -> Any:
        step = as_step(step)
        rise = self.rise_steps
        fall = rise if self.fall_steps is None else self.fall_steps
        cycle, position = periods(step, rise + fall)
        to_come = ops.cast(ops.subtract(rise + fall, position), "float32")
        x = ops.minimum(ops.cast(position, "float32") / rise, to_come / fall)
        if self.shape == "triangular2":
            x = x * power(0.5, cycle)
        elif self.shape == "exp_range":
            x = x * power(self.gamma, step)
        return self.low + (self.high - self.low) * x

    @property
    def bounds(self) -> tuple[float, float]:
        return self.low, self.high

    @property
    def continuous(self) -> bool:
        return True

    def get_config(self) -> dict[str, Any]:
        names = ("low", "high", "rise_steps", "fall_steps", "shape", "gamma")
        return {name: getattr(self, name) for name in names}


@keras.saving.register_keras_serializable(package="kerasreg")
class CosineRestarts(Schedule):
    """Half a cosine from a peak to a minimum, again and again, each time in more steps.

    Cycle n = 0, 1, ... has `steps · growthⁿ` steps, and
    `value = minimum + (peak · peak_factorⁿ - minimum) · ½(1 + cos(πx))`, with x from 0 to 1
    over the cycle.

    Args:
        peak: the first value, a number > 0.
        steps: length of the first cycle, a number > 0.
        growth: the length of each cycle over that of the one before, a number >= 1.
        peak_factor: the peak of each cycle over that of the one before, above 0 and at most 1.
        minimum: the last value of each cycle, from 0 to `peak`.
        cycles: the number of cycles, a whole number >= 1; None for no end. After the last
            cycle the value is `minimum`.

    Returns:
        A schedule: `schedule(step)` is float32 of the shape of `step`.

    Raises:
        ValueError: if an argument is outside its range.

    Loshchilov and Hutter 2017 (arXiv:1608.03983). timm's `CosineLRScheduler` is the same.
    Keras' `CosineDecayRestarts` finds the cycle by a logarithm in float32, which can be wrong
    at a restart. In Keras the minimum is a fraction of each peak, and falls with the peaks.

    Example:

    >>> from kerasreg.schedules import CosineRestarts
    >>> schedule = CosineRestarts(1.0, steps=10, growth=2.0)
    >>> [round(float(schedule(step)), 3) for step in (0, 5, 10, 20, 30)]
    [1.0, 0.5, 1.0, 0.5, 1.0]
    """

    lane_numbers = ("peak", "minimum")
    _new_names: ClassVar = {"decay": "peak_factor"}

    def __init__(
        self,
        peak: float,
        steps: float,
        *,
        growth: float = 1.0,
        peak_factor: float = 1.0,
        minimum: float = 0.0,
        cycles: int | None = None,
    ) -> None:
        self.peak = check_number("peak", peak, 0.0, math.inf)
        check_above("peak", peak, 0.0)
        self.steps = check_length("steps", steps)
        self.growth = check_number("growth", growth, 1.0, math.inf)
        self.peak_factor = check_number("peak_factor", peak_factor, 0.0, 1.0)
        check_above("peak_factor", peak_factor, 0.0)
        self.minimum = check_number("minimum", minimum, 0.0, self.peak)
        self.cycles = None if cycles is None else check_count("cycles", cycles)

    def _lengths(self) -> list[int | float]:
        """The lengths of the cycles that begin before the last step: static."""
        lengths: list[int | float] = []
        total: int | float = 0
        while total < _LAST_STEP and len(lengths) != self.cycles:
            length = self.steps * self.growth ** len(lengths)
            lengths.append(int(length) if float(length).is_integer() else length)
            total += lengths[-1]
        return lengths

    def __call__(self, step: Any) -> Any:
        step = as_step(step)
        if self.growth == 1.0:
            cycle, position = periods(step, self.steps)
            length: Any = self.steps
        else:
            lengths = self._lengths()
            starts = [0, *itertools.accumulate(lengths[:-1])]
            whole = all(isinstance(start, int) for start in starts)
            kind = keras.backend.standardize_dtype(step.dtype) if whole else "float32"
            step = ops.cast(step, kind)
            starts, lengths = ops.array(starts, kind), ops.array(lengths, "float32")
            begun = ops.greater_equal(ops.expand_dims(step, -1), starts)
            cycle = ops.sum(ops.cast(begun, "int32"), axis=-1) - 1
            position = step - ops.take(starts, cycle)
            length = ops.take(lengths, cycle)
        left = ops.cast(ops.maximum(ops.subtract(length, position), 0), "float32") / length
        height = ops.square(ops.sin((math.pi / 2) * left))
        peak = self.peak * power(self.peak_factor, cycle)
        value = self.minimum + (peak - self.minimum) * height
        if self.cycles is None:
            return value
        return ops.where(ops.less(step, self.length), value, self.minimum)

    @property
    def bounds(self) -> tuple[float, float]:
        # A peak may fall below the minimum, and its cycle then rises.
        last = 0.0 if self.cycles is None else self.peak * self.peak_factor ** (self.cycles - 1)
        return hull(self.minimum, self.peak, last if self.peak_factor < 1 else self.peak)

    @property
    def continuous(self) -> bool:
        return self.cycles == 1

    @property
    def length(self) -> float | None:
        if self.cycles is None:
            return None
        return self.steps * self.cycles if self.growth == 1.0 else sum(self._lengths())

    def get_config(self) -> dict[str, Any]:
        names = ("peak", "steps", "growth", "peak_factor", "minimum", "cycles")
        return {name: getattr(self, name) for name in names}
