"""Published schedules of dropout rates, and rates that grow with depth."""

from __future__ import annotations

from typing import Any, ClassVar

import keras
from keras import ops

from kerasreg._validation import check_choice, check_count, check_number, check_positive
from kerasreg.schedules._schedule import (
    Scaled,
    Schedule,
    as_schedule,
    bounds_of,
    hull,
    is_continuous,
    is_schedule,
    length_of,
    value_at,
)
from kerasreg.schedules._steps import as_step, share_left, since


@keras.saving.register_keras_serializable(package="kerasreg")
class CurriculumDropout(Schedule):
    """A rate that rises from 0: `value(t) = rate · (1 - exp(-gamma · t))`.

    Morerio et al. 2017, "Curriculum Dropout" (arXiv:1703.06229), write the rule for the keep
    probability.

    Args:
        rate: the limit of the rate, a number from 0 to 1.
        steps: length of the training in steps, a whole number >= 1.
        gamma: speed of the rise per step, a number > 0. By default `10 / steps`, as in the
            paper: half of the rate is reached after 7 % of the training.

    Returns:
        A schedule: `schedule(step)` is float32 of the shape of `step`.

    Raises:
        ValueError: if an argument is outside its range.

    Example:

    >>> import kerasreg
    >>> schedule = kerasreg.schedules.CurriculumDropout(0.5, steps=1000)
    >>> [round(float(schedule(step)), 3) for step in (0, 100, 1000)]
    [0.0, 0.316, 0.5]
    """

    lane_numbers = ("rate", "steps", "gamma")

    def __init__(self, rate: float, steps: int, *, gamma: float | None = None) -> None:
        self.rate = check_number("rate", rate, 0.0, 1.0)
        self.steps = check_count("steps", steps)
        self.gamma = gamma if gamma is None else check_positive("gamma", gamma)

    def __call__(self, step: Any) -> Any:
        gamma = 10.0 / self.steps if self.gamma is None else self.gamma
        return self.rate * -ops.expm1(-gamma * ops.cast(step, "float32"))

    @property
    def bounds(self) -> tuple[float, float]:
        return 0.0, self.rate

    @property
    def continuous(self) -> bool:
        return True

    def get_config(self) -> dict[str, Any]:
        return {"rate": self.rate, "steps": self.steps, "gamma": self.gamma}


@keras.saving.register_keras_serializable(package="kerasreg")
class EarlyDropout(Schedule):
    """Dropout in the first steps only, against underfitting.

    `value(t) = rate` for `t < steps`, or `rate · (1 - t / steps)` with `shape="linear"`, and
    then 0. Liu et al. 2023, "Dropout Reduces Underfitting" (arXiv:2303.01500).

    Args:
        rate: the first rate, a number from 0 to 1.
        steps: the number of steps with dropout, a whole number >= 1. The paper takes the
            first 50 of 300 epochs.
        shape: `"constant"` or `"linear"`.

    Returns:
        A schedule: `schedule(step)` is float32 of the shape of `step`.

    Raises:
        ValueError: if an argument is outside its range.

    Example:

    >>> import kerasreg
    >>> schedule = kerasreg.schedules.EarlyDropout(0.1, steps=4, shape="linear")
    >>> [round(float(schedule(step)), 3) for step in (0, 2, 4, 100)]
    [0.1, 0.05, 0.0, 0.0]
    """

    lane_numbers = ("rate", "steps")

    def __init__(self, rate: float, steps: int, *, shape: str = "constant") -> None:
        self.rate = check_number("rate", rate, 0.0, 1.0)
        self.steps = check_count("steps", steps)
        self.shape = check_choice("shape", shape, ("constant", "linear"))

    def __call__(self, step: Any) -> Any:
        step = as_step(step)
        left = share_left(step, 0, self.steps) if self.shape == "linear" else 1.0
        return ops.where(ops.less(step, self.steps), self.rate * left, 0.0)

    @property
    def bounds(self) -> tuple[float, float]:
        return 0.0, self.rate

    @property
    def continuous(self) -> bool:
        return self.shape == "linear"

    @property
    def length(self) -> float | None:
        return self.steps

    def get_config(self) -> dict[str, Any]:
        return {"rate": self.rate, "steps": self.steps, "shape": self.shape}


@keras.saving.register_keras_serializable(package="kerasreg")
class LateDropout(Schedule):
    """Dropout after the first steps only, against overfitting.

    `value(t) = 0` for `t < start_step`, and then `rate(t - start_step)`. Liu et al. 2023,
    "Dropout Reduces Underfitting" (arXiv:2303.01500).

    Args:
        rate: the rate from `start_step` on: a number, or a schedule that begins there.
        start_step: the first step with dropout, a whole number >= 0.

    Returns:
        A schedule: `schedule(step)` is float32 of the shape of `step`.

    Raises:
        ValueError: if `start_step` is negative or no whole number.

    Example:

    >>> import kerasreg
    >>> schedule = kerasreg.schedules.LateDropout(0.5, start_step=100)
    >>> [float(schedule(step)) for step in (0, 99, 100)]
    [0.0, 0.0, 0.5]
    """

    lane_numbers = ("start_step",)
    _new_names: ClassVar = {"start": "start_step"}

    def __init__(self, rate: Any, start_step: int) -> None:
        self.rate = as_schedule("rate", rate)
        self.start_step = check_count("start_step", start_step, minimum=0)

    def __call__(self, step: Any) -> Any:
        step = as_step(step)
        late = value_at(self.rate, since(step, self.start_step))
        return ops.where(ops.less(step, self.start_step), 0.0, late)

    @property
    def bounds(self) -> tuple[float, float]:
        return hull(0.0, *bounds_of(self.rate))

    @property
    def continuous(self) -> bool:
        return self.start_step == 0 and is_continuous(self.rate)

    @property
    def length(self) -> float | None:
        length = length_of(self.rate)
        return None if length is None else length + self.start_step

    def get_config(self) -> dict[str, Any]:
        return {
            "rate": keras.saving.serialize_keras_object(self.rate),
            "start_step": self.start_step,
        }


def linear_depth(rate: Any, depth: int) -> list[Any]:
    """Rates that grow linearly over residual blocks: `rate · l / depth`, `l = 1, ..., depth`.

    The rule of stochastic depth (Huang et al. 2016, arXiv:1603.09382): the last block is
    left out most often. In timm the rates begin at 0 in the first block, and not at
    `rate / depth`.

    Args:
        rate: the rate of the last block: a number from 0 to 1, or a schedule.
        depth: number of blocks, a whole number >= 1.

    Returns:
        A list of `depth` numbers, or of `depth` schedules where `rate` is a schedule.

    Raises:
        ValueError: if `depth` is no whole number >= 1, or the rate is outside [0, 1].

    Example:

    >>> import kerasreg
    >>> kerasreg.schedules.linear_depth(0.2, depth=4)
    [0.05, 0.1, 0.15, 0.2]
    """
    check_count("depth", depth)
    if is_schedule(rate):
        return [Scaled(rate, block / depth) for block in range(1, depth + 1)]
    rate = check_number("rate", rate, 0.0, 1.0)
    # In this order, rounding keeps the last rate exact.
    return [round(rate * block / depth, 15) for block in range(1, depth + 1)]
