"""Schedules that follow one another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kerasreg.schedules._piecewise import check_boundaries
from kerasreg.schedules._schedule import (
    Schedule,
    as_schedule,
    bounds_of,
    hull,
    is_continuous,
    length_of,
    value_at,
)
from kerasreg.schedules._steps import as_step, since


@keras.saving.register_keras_serializable(package="kerasreg")
class Join(Schedule):
    """Schedules that follow one another, each from its own beginning.

    `value(t) = s₀(t)` for `t < b₀`, and `sᵢ(t - bᵢ₋₁)` for `bᵢ₋₁ <= t < bᵢ`. The last schedule
    holds from the last boundary on.

    Args:
        schedules: a list of numbers or schedules, one more than there are boundaries.
        boundaries: the steps at which the next schedule begins, numbers > 0 that increase.

    Returns:
        A schedule: `schedule(step)` is float32 of the shape of `step`.

    Raises:
        ValueError: if an argument is no such list.

    optax's `join_schedules` is the same; PyTorch's is `SequentialLR`.

    Example:

    >>> from kerasreg.schedules import Join, Linear
    >>> schedule = Join([Linear(0.0, 1.0, steps=10), 1.0, Linear(1.0, 0.0, steps=20)], [10, 50])
    >>> [float(schedule(step)) for step in (5, 30, 60, 70)]
    [0.5, 1.0, 0.5, 0.0]
    """

    def __init__(self, schedules: Sequence[Any], boundaries: Sequence[float]) -> None:
        self.boundaries = check_boundaries("boundaries", boundaries)
        if not isinstance(schedules, (list, tuple)) or len(schedules) != len(boundaries) + 1:
            raise ValueError(
                f"`schedules` must be a list of {len(boundaries) + 1} schedules or numbers, one "
                f"more than there are boundaries. Received: schedules={schedules!r}"
            )
        self.schedules = [as_schedule("schedules", schedule) for schedule in schedules]

    def __call__(self, step: Any) -> Any:
        step = as_step(step)
        result = value_at(self.schedules[0], step)
        for start, schedule in zip(self.boundaries, self.schedules[1:], strict=True):
            result = ops.where(
                ops.less(step, start), result, value_at(schedule, since(step, start))
            )
        return result

    @property
    def bounds(self) -> tuple[float, float]:
        return hull(*(bound for schedule in self.schedules for bound in bounds_of(schedule)))

    @property
    def continuous(self) -> bool:
        if not all(map(is_continuous, self.schedules)):
            return False
        starts = [0, *self.boundaries[:-1]]
        ends = [end - start for start, end in zip(starts, self.boundaries, strict=True)]
        # By their values: up to the rounding of float32.
        return all(
            math.isclose(float(before(end)), float(after(0)), rel_tol=1e-6, abs_tol=1e-12)
            for before, after, end in zip(self.schedules, self.schedules[1:], ends, strict=False)
        )

    @property
    def length(self) -> float | None:
        length = length_of(self.schedules[-1])
        return None if length is None else self.boundaries[-1] + length

    def get_config(self) -> dict[str, Any]:
        schedules = [keras.saving.serialize_keras_object(part) for part in self.schedules]
        return {"schedules": schedules, "boundaries": self.boundaries}
