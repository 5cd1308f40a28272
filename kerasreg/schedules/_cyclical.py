"""Values that go up and down again and again."""

from __future__ import annotations

import itertools
import math
from typing import Any

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
        rise: steps from `low` to `high`, a number > 0. Half a cycle, where there is no
            `fall`: `step_size` in TensorFlow Addons, `step_size_up` in PyTorch.
        fall: steps back to `low`, a number > 0; by default as many.
        shape: `"triangular"`, `"triangular2"` or `"exp_range"`.
        gamma: for `"exp_range"`: above 0 and at most 1.

    Returns:
        A schedule: `schedule(step)` is float32 of the shape of `step`.

    Raises:
        ValueError: if an argument is outside its range.

    Smith 2017 (arXiv:1506.01186). TensorFlow Addons' `CyclicalLearningRate` family is this;
    its argument `scale_fn` any function: write `low + (high - low) * Cyclical(0, 1, rise) * s`.

    Example:

    >>> from kerasreg.schedules import Cyclical
    >>> schedule = Cyclical(0.0, 1.0, rise=4, shape="triangular2")
    >>> [float(schedule(step)) for step in (0, 2, 4, 8, 12)]
    [0.0, 0.5, 1.0, 0.0, 0.5]
    """

    lane_numbers = ("low", "high", "gamma")

    def __init__(
        self,
        low: float,
        high: float,
        rise: float,
        fall: float | None = None,
        shape: str = "triangular",
        gamma: float = 1.0,
    ) -> None:
        self.low = check_number("low", low, -math.inf, math.inf)
        self.high = check_number("high", high, self.low, math.inf)
        self.rise = check_length("rise", rise)
        self.fall = None if fall is None else check_length("fall", fall)
        self.shape = check_choice("shape", shape, ("triangular", "triangular2", "exp_range"))
        self.gamma = check_number("gamma", gamma, 0.0, 1.0)
        check_above("gamma", gamma, 0.0)

    def __call__(self, step: Any) -> Any:
        step = as_step(step)
        fall = self.rise if self.fall is None else self.fall
        cycle, position = periods(step, self.rise + fall)
        to_come = ops.cast(ops.subtract(self.rise + fall, position), "float32")
        x = ops.minimum(ops.cast(position, "float32") / self.rise, to_come / fall)
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
        names = ("low", "high", "rise", "fall", "shape", "gamma")
        return {name: getattr(self, name) for name in names}


@keras.saving.register_keras_serializable(package="kerasreg")
class CosineRestarts(Schedule):
    """Half a cosine from a peak to a minimum, again and again, each longer than the last.

    Cycle n = 0, 1, ... has `steps · growthⁿ` steps, and
    `value = minimum + (peak · decayⁿ - minimum) · ½(1 + cos(πx))`, x from 0 to 1 in it.

    Args:
        peak: the first value, a number > 0.
        steps: length of the first cycle, a number > 0.
        growth: how much longer each cycle is than the one before, a number >= 1.
        decay: what the peak of each is multiplied by, above 0 and at most 1.
        minimum: the last value of each, from 0 to `peak`.
        cycles: how many there are, a whole number >= 1, after which the value is `minimum`;
            None for no end.

    Returns:
        A schedule: `schedule(step)` is float32 of the shape of `step`.

    Raises:
        ValueError: if an argument is outside its range.

    Loshchilov and Hutter 2017 (arXiv:1608.03983). Keras' `CosineDecayRestarts` finds the cycle
    by a logarithm in float32, which can be wrong at a restart, and its `alpha` lifts all
    values: with `decay` its minimum falls with the peaks. timm's `CosineLRScheduler` is this.

    Example:

    >>> from kerasreg.schedules import CosineRestarts
    >>> schedule = CosineRestarts(1.0, steps=10, growth=2.0)
    >>> [round(float(schedule(step)), 3) for step in (0, 5, 10, 20, 30)]
    [1.0, 0.5, 1.0, 0.5, 1.0]
    """

    lane_numbers = ("peak", "minimum")

    def __init__(
        self,
        peak: float,
        steps: float,
        growth: float = 1.0,
        decay: float = 1.0,
        minimum: float = 0.0,
        cycles: int | None = None,
    ) -> None:
        self.peak = check_number("peak", peak, 0.0, math.inf)
        check_above("peak", peak, 0.0)
        self.steps = check_length("steps", steps)
        self.growth = check_number("growth", growth, 1.0, math.inf)
        self.decay = check_number("decay", decay, 0.0, 1.0)
        check_above("decay", decay, 0.0)
        self.minimum = check_number("minimum", minimum, 0.0, self.peak)
        self.cycles = None if cycles is None else check_count("cycles", cycles)

    def _lengths(self) -> list[int | float]:
        """Of the cycles that begin before the last step: static."""
        found: list[int | float] = []
        total: int | float = 0
        while total < _LAST_STEP and len(found) != self.cycles:
            length = self.steps * self.growth ** len(found)
            found.append(int(length) if float(length).is_integer() else length)
            total += found[-1]
        return found

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
        value = self.minimum + (self.peak * power(self.decay, cycle) - self.minimum) * height
        if self.cycles is None:
            return value
        return ops.where(ops.less(step, self.length), value, self.minimum)

    @property
    def bounds(self) -> tuple[float, float]:
        # A peak may fall below the minimum, and its cycle then rises.
        last = 0.0 if self.cycles is None else self.peak * self.decay ** (self.cycles - 1)
        return hull(self.minimum, self.peak, last if self.decay < 1 else self.peak)

    @property
    def continuous(self) -> bool:
        return self.cycles == 1

    @property
    def length(self) -> float | None:
        if self.cycles is None:
            return None
        return self.steps * self.cycles if self.growth == 1.0 else sum(self._lengths())

    def get_config(self) -> dict[str, Any]:
        names = ("peak", "steps", "growth", "decay", "minimum", "cycles")
        return {name: getattr(self, name) for name in names}
