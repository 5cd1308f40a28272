"""Linear warm-up before any schedule (Goyal et al. 2017, arXiv:1706.02677)."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from kerasreg._validation import check_count, check_number
from kerasreg.schedules._schedule import OfOne, as_schedule, hull, value_at
from kerasreg.schedules._steps import as_step, share, since


@keras.saving.register_keras_serializable(package="kerasreg")
class Warmup(OfOne):
    """A linear rise to the first value of a schedule, then that schedule.

    `value(t) = start + (s(0) - start) * t / steps` for `t < steps`, and
    `s(t - steps)` afterwards: the schedule `s` begins after the rise.

    Args:
        schedule: a number or a schedule `s`.
        steps: length of the rise in steps, a whole number >= 0.
        start: value at step 0, any finite number. By default `s(0) / (steps + 1)`: the rise
            is then `s(0) * (t + 1) / (steps + 1)`, and no step is wasted at zero. optax's
            warm-ups begin at `start=0.0`.

    Returns:
        A schedule: `schedule(step)` is float32 of the shape of `step`.

    Raises:
        ValueError: if `steps` is negative or no whole number, or `start` no finite number.

    Example:

    >>> import kerasreg
    >>> warmup = kerasreg.schedules.Warmup(0.1, steps=4, start=0.0)
    >>> [round(float(warmup(step)), 3) for step in range(6)]
    [0.0, 0.025, 0.05, 0.075, 0.1, 0.1]
    """

    lane_numbers = ("start",)

    def __init__(self, schedule: Any, steps: int, *, start: float | None = None) -> None:
        self.schedule = as_schedule("schedule", schedule)
        self.steps = check_count("steps", steps, minimum=0)
        self.start = start
        if start is not None:
            self.start = check_number("start", start, -math.inf, math.inf)

    def __call__(self, step: Any) -> Any:
        step = as_step(step)
        after = value_at(self.schedule, since(step, self.steps))
        if self.steps == 0:
            return after
        peak = value_at(self.schedule, ops.zeros_like(step))
        start = peak / (self.steps + 1) if self.start is None else self.start
        rising = start + (peak - start) * share(step, 0, self.steps)
        return ops.where(ops.less(step, self.steps), rising, after)

    @property
    def bounds(self) -> tuple[float, float]:
        low, high = super().bounds
        # From a part of its first value, which is within these.
        return hull(low, high, 0.0 if self.start is None else self.start)

    @property
    def length(self) -> float | None:
        length = super().length
        return None if length is None else length + self.steps

    def get_config(self) -> dict[str, Any]:
        return {
            "schedule": keras.saving.serialize_keras_object(self.schedule),
            "steps": self.steps,
            "start": self.start,
        }
