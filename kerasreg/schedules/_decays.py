"""Values that fall in drops, with time, or with the root of time."""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Sequence
from typing import Any, ClassVar

import keras
from keras import ops

from kerasreg._validation import check_count, check_length, check_number, check_positive
from kerasreg.schedules._piecewise import check_boundaries
from kerasreg.schedules._schedule import Schedule, hull
from kerasreg.schedules._steps import as_step, periods, power


@keras.saving.register_keras_serializable(package="kerasreg")
class Step(Schedule):
    """A drop every so many steps: `value(t) = start · factor^⌊t / every⌋`.

    Args:
        start: the first value, any finite number.
        factor: the factor of each drop, a number >= 0.
        every: steps between drops, a number > 0.

    Returns:
        A schedule: `schedule(step)` is float32 of the shape of `step`.

    Raises:
        ValueError: if an argument is outside its range.

    Keras' `ExponentialDecay(..., staircase=True)` is the same rule, with an error of 3·10⁻⁴
    after 10⁴ drops by 0.999.

    Example:

    >>> from kerasreg.schedules import Step
    >>> [float(Step(1.0, factor=0.5, every=10)(step)) for step in (9, 10, 25)]
    [1.0, 0.5, 0.25]
    """

    lane_numbers = ("start", "factor")
    _new_names: ClassVar = {"initial": "start"}

    def __init__(self, start: float, factor: float, every: float) -> None:
        self.start = check_number("start", start, -math.inf, math.inf)
        self.factor = check_number("factor", factor, 0.0, math.inf)
        self.every = check_length("every", every)

    def __call__(self, step: Any) -> Any:
        return self.start * power(self.factor, periods(as_step(step), self.every)[0])

    @property
    def bounds(self) -> tuple[float, float]:
        if self.factor <= 1 or self.start == 0:
            return hull(self.start, 0.0)
        return hull(self.start, math.copysign(math.inf, self.start))

    @property
    def continuous(self) -> bool:
        return self.factor == 1

    def get_config(self) -> dict[str, Any]:
        return {"start": self.start, "factor": self.factor, "every": self.every}


@keras.saving.register_keras_serializable(package="kerasreg")
class MultiStep(Schedule):
    """A drop at each of some steps: `value(t) = start · Π factor` over the milestones `<= t`.

    Args:
        start: the first value, any finite number.
        milestones: the steps of the drops, numbers > 0 that increase.
        factor: the factor of every drop, a number >= 0; or a list with one number for each drop.

    Returns:
        A schedule: `schedule(step)` is float32 of the shape of `step`.

    Raises:
        ValueError: if an argument is outside its range.

    Keras' `PiecewiseConstantDecay` takes the values instead of factors, and drops one step
    after each boundary.

    Example:

    >>> from kerasreg.schedules import MultiStep
    >>> [float(MultiStep(1.0, [10, 20], factor=0.5)(step)) for step in (9, 10, 20)]
    [1.0, 0.5, 0.25]
    """

    lane_numbers = ("start",)
    _new_names: ClassVar = {"initial": "start"}

    def __init__(
        self,
        start: float,
        milestones: Sequence[float],
        *,
        factor: float | Sequence[float] = 0.1,
    ) -> None:
        self.start = check_number("start", start, -math.inf, math.inf)
        self.milestones = check_boundaries("milestones", milestones)
        if isinstance(factor, (list, tuple)):
            self.factor: float | list[float] = [
                check_number("factor", each, 0.0, math.inf) for each in factor
            ]
            if len(factor) != len(milestones):
                raise ValueError(
                    f"`factor` must be a number, or a list of {len(milestones)} numbers, one for "
                    f"each milestone. Received: factor={factor!r}"
                )
        else:
            self.factor = check_number("factor", factor, 0.0, math.inf)

    def _factors(self) -> list[float]:
        """The factor on the first value, for each number of milestones that passed."""
        each = (
            self.factor if isinstance(self.factor, list) else [self.factor] * len(self.milestones)
        )
        return list(itertools.accumulate(each, operator.mul, initial=1.0))

    def __call__(self, step: Any) -> Any:
        step = as_step(step)
        factors = self._factors()
        result = ops.ones_like(step, dtype="float32") * factors[0]
        for milestone, factor in zip(self.milestones, factors[1:], strict=True):
            result = ops.where(ops.less(step, milestone), result, factor)
        return self.start * result

    @property
    def bounds(self) -> tuple[float, float]:
        return hull(*(self.start * factor for factor in self._factors()))

    @property
    def length(self) -> float | None:
        return self.milestones[-1]

    def get_config(self) -> dict[str, Any]:
        return {"start": self.start, "milestones": self.milestones, "factor": self.factor}


@keras.saving.register_keras_serializable(package="kerasreg")
class TimeBased(Schedule):
    """The inverse of time: `value(t) = start / (1 + decay · t)`.

    The argument `decay` of optimizers did the same up to Keras 2. Keras'
    `InverseTimeDecay(start, 1, decay)` does so too.

    Args:
        start: the first value, any finite number.
        decay: the rate k of `1 / (1 + k·t)` per step, a number >= 0.

    Returns:
        A schedule: `schedule(step)` is float32 of the shape of `step`.

    Raises:
        ValueError: if an argument is outside its range.

    Example:

    >>> from kerasreg.schedules import TimeBased
    >>> float(TimeBased(1.0, decay=0.5)(2))
    0.5
    """

    lane_numbers = ("start", "decay")
    _new_names: ClassVar = {"initial": "start"}

    def __init__(self, start: float, decay: float) -> None:
        self.start = check_number("start", start, -math.inf, math.inf)
        self.decay = check_number("decay", decay, 0.0, math.inf)

    def __call__(self, step: Any) -> Any:
        return self.start / (1.0 + self.decay * ops.cast(as_step(step), "float32"))

    @property
    def bounds(self) -> tuple[float, float]:
        return hull(self.start, 0.0)

    @property
    def continuous(self) -> bool:
        return True

    def get_config(self) -> dict[str, Any]:
        return {"start": self.start, "decay": self.decay}


@keras.saving.register_keras_serializable(package="kerasreg")
class InverseSqrt(Schedule):
    """A rise on a line, and then the inverse root of time: the schedule of Transformers.

    `value(t) = peak · min(n / w, √(w / n))`, with `n = t + 1` and `w` the steps of the rise.
    The first step is not wasted at zero, and the peak is at `t = w - 1`.

    Args:
        peak: the largest value, any finite number.
        warmup_steps: steps of the rise, a whole number >= 1.

    Returns:
        A schedule: `schedule(step)` is float32 of the shape of `step`.

    Raises:
        ValueError: if an argument is outside its range.

    Vaswani et al. 2017 (arXiv:1706.03762), section 5.3: `InverseSqrt.noam(d_model)`.

    Example:

    >>> from kerasreg.schedules import InverseSqrt
    >>> [float(InverseSqrt(1.0, warmup_steps=4)(step)) for step in (0, 1, 3, 15)]
    [0.25, 0.5, 1.0, 0.5]
    """

    lane_numbers = ("peak",)
    _new_names: ClassVar = {"warmup": "warmup_steps"}

    def __init__(self, peak: float, warmup_steps: int) -> None:
        self.peak = check_number("peak", peak, -math.inf, math.inf)
        self.warmup_steps = check_count("warmup_steps", warmup_steps)

    @classmethod
    def noam(cls, d_model: int, warmup_steps: int = 4000, *, factor: float = 1.0) -> InverseSqrt:
        """The schedule of the paper: `factor · d_model^-½ · min(n^-½, n · w^-1½)`, `n = t + 1`.

        Args:
            d_model: the width of the Transformer, a whole number >= 1.
            warmup_steps: steps of the rise, a whole number >= 1.
            factor: a number > 0.

        Returns:
            An `InverseSqrt`.

        Raises:
            ValueError: if an argument is outside its range.

        Example:

        >>> from kerasreg.schedules import InverseSqrt
        >>> InverseSqrt.noam(d_model=400, warmup_steps=100)
        InverseSqrt(peak=0.005, warmup_steps=100)
        """
        width = check_count("d_model", d_model)
        steps = check_count("warmup_steps", warmup_steps)
        return cls(check_positive("factor", factor) / math.sqrt(width * steps), steps)

    def __call__(self, step: Any) -> Any:
        number = ops.cast(as_step(step), "float32") + 1.0
        return self.peak * ops.minimum(
            number / self.warmup_steps, ops.sqrt(self.warmup_steps / number)
        )

    @property
    def bounds(self) -> tuple[float, float]:
        return hull(self.peak, 0.0)

    @property
    def continuous(self) -> bool:
        return True

    def get_config(self) -> dict[str, Any]:
        return {"peak": self.peak, "warmup_steps": self.warmup_steps}
