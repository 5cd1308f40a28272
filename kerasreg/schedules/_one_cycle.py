"""Policies for a whole training: the 1cycle policy, and warm-up, plateau and decay."""

from __future__ import annotations

from typing import Any, ClassVar

import keras

from kerasreg._validation import (
    check_above,
    check_choice,
    check_count,
    check_length,
    check_number,
    check_positive,
)
from kerasreg.schedules._piecewise import SHAPES, Piecewise, interpolate
from kerasreg.schedules._schedule import Schedule, hull


@keras.saving.register_keras_serializable(package="kerasreg")
class OneCycle(Schedule):
    """Up to a peak and down to nearly nothing: the 1cycle policy.

    The value rises from `peak / div_factor` to `peak` in the first `pct_start` of the steps,
    and then falls to `peak / (div_factor · final_div_factor)`. With three phases the value
    first falls back to its beginning, in as many steps as it rose, and then to the end.
    `momentum()` is the schedule of the momentum: low where the learning rate is high.

    The peak is at step `pct_start · steps`, and the end at `steps`, as in optax.
    PyTorch's `OneCycleLR(total_steps=n)` has both one step earlier: write
    `steps = n - 1` and `pct_start = (p·n - 1) / (n - 1)` here. fastai's `div_final` divides
    the peak, so `div_final` is `div_factor · final_div_factor`.

    Args:
        peak: the largest value, a number >= 0.
        steps: length of the whole, a number > 0.
        pct_start: the part of the steps in which the value rises, above 0 and below 1, or
            below 0.5 with three phases.
        div_factor: the peak over the first value, a number >= 1.
        final_div_factor: the first value over the last one, a number >= 1.
        shape: `"cosine"` or `"linear"`.
        three_phase: whether to fall to the first value before the last, as in the paper.

    Returns:
        A schedule: `schedule(step)` is float32 of the shape of `step`.

    Raises:
        ValueError: if an argument is outside its range.

    Smith and Topin 2018 (arXiv:1708.07120).

    Example:

    >>> from kerasreg.schedules import OneCycle
    >>> schedule = OneCycle(0.1, steps=100)
    >>> [round(float(schedule(step)), 7) for step in (0, 30, 100)]
    [0.004, 0.1, 4e-07]
    >>> [round(float(schedule.momentum()(step)), 2) for step in (0, 30, 100)]
    [0.95, 0.85, 0.95]
    """

    lane_numbers = ("peak", "div_factor", "final_div_factor")

    def __init__(
        self,
        peak: float,
        steps: float,
        *,
        pct_start: float = 0.3,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        shape: str = "cosine",
        three_phase: bool = False,
    ) -> None:
        self.peak = check_number("peak", peak, 0.0, float("inf"))
        self.steps = check_length("steps", steps)
        if not isinstance(three_phase, bool):
            raise ValueError(
                f"`three_phase` must be True or False. Received: three_phase={three_phase!r}"
            )
        self.three_phase = three_phase
        most = 0.5 if three_phase else 1.0
        self.pct_start = check_above("pct_start", pct_start, 0.0)
        if self.pct_start >= most:
            raise ValueError(
                f"`pct_start` must be a number above 0 and below {most:g}. "
                f"Received: pct_start={pct_start!r}"
            )
        self.div_factor = check_number("div_factor", div_factor, 1.0, float("inf"))
        self.final_div_factor = check_number(
            "final_div_factor", final_div_factor, 1.0, float("inf")
        )
        self.shape = check_choice("shape", shape, SHAPES[:2])

    @property
    def _boundaries(self) -> list[float]:
        rise = self.pct_start * self.steps
        return [rise, 2 * rise, self.steps] if self.three_phase else [rise, self.steps]

    def __call__(self, step: Any) -> Any:
        first = self.peak / self.div_factor
        back = [first] if self.three_phase else []
        values = [first, self.peak, *back, first / self.final_div_factor]
        return interpolate(step, self._boundaries, values, [self.shape] * len(self._boundaries))

    def momentum(self, high: float = 0.95, low: float = 0.85) -> Piecewise:
        """The momentum that goes with this cycle: from `high` to `low` at the peak, and back.

        Args:
            high: the first and last value, from 0 to 1.
            low: the value at the peak, from 0 to 1.

        Returns:
            A schedule, `Piecewise`.

        Raises:
            ValueError: if an argument is outside its range.
        """
        high, low = check_number("high", high, 0.0, 1.0), check_number("low", low, 0.0, 1.0)
        values = [high, low, high, high][: len(self._boundaries) + 1]
        return Piecewise(self._boundaries, values, shape=self.shape)

    @property
    def bounds(self) -> tuple[float, float]:
        return hull(self.peak / self.div_factor / self.final_div_factor, self.peak)

    @property
    def continuous(self) -> bool:
        return True

    @property
    def length(self) -> float | None:
        return self.steps

    def get_config(self) -> dict[str, Any]:
        return {
            "peak": self.peak,
            "steps": self.steps,
            "pct_start": self.pct_start,
            "div_factor": self.div_factor,
            "final_div_factor": self.final_div_factor,
            "shape": self.shape,
            "three_phase": self.three_phase,
        }


@keras.saving.register_keras_serializable(package="kerasreg")
class WarmupStableDecay(Schedule):
    """A rise, a plateau and a fall: a trapezoid, whose plateau can be prolonged.

    The value goes from `start` to `peak` on a line, and stays there. Then it falls to
    `minimum` on a line, along half a cosine, or as `peak - (peak - minimum)·√x` with
    `shape="sqrt"`, the "1-sqrt" of Hägele et al.

    Args:
        peak: the value of the plateau, a number > 0.
        warmup_steps: steps of the rise, a whole number >= 0.
        stable_steps: steps of the plateau, a whole number >= 0.
        decay_steps: steps of the fall, a whole number >= 1.
        minimum: the last value, from 0 to `peak`.
        start: the first value, from 0 to `peak`. By default `peak / (warmup_steps + 1)`, as
            in `Warmup`.
        shape: the shape of the fall: `"linear"`, `"cosine"` or `"sqrt"`.

    Returns:
        A schedule: `schedule(step)` is float32 of the shape of `step`.

    Raises:
        ValueError: if an argument is outside its range.

    Zhai et al. 2022 (arXiv:2106.04560); Hägele et al. 2024 (arXiv:2405.18392).

    Example:

    >>> from kerasreg.schedules import WarmupStableDecay
    >>> schedule = WarmupStableDecay(
    ...     0.1, warmup_steps=10, stable_steps=80, decay_steps=10, start=0.0
    ... )
    >>> [round(float(schedule(step)), 3) for step in (0, 5, 50, 95, 100)]
    [0.0, 0.05, 0.1, 0.05, 0.0]
    """

    lane_numbers = ("peak", "minimum", "start")
    _new_names: ClassVar = {
        "warmup": "warmup_steps",
        "stable": "stable_steps",
        "decay": "decay_steps",
    }

    def __init__(
        self,
        peak: float,
        warmup_steps: int,
        *,
        stable_steps: int,
        decay_steps: int,
        minimum: float = 0.0,
        start: float | None = None,
        shape: str = "linear",
    ) -> None:
        self.peak = check_positive("peak", peak)
        self.warmup_steps = check_count("warmup_steps", warmup_steps, minimum=0)
        self.stable_steps = check_count("stable_steps", stable_steps, minimum=0)
        self.decay_steps = check_count("decay_steps", decay_steps)
        self.minimum = check_number("minimum", minimum, 0.0, self.peak)
        self.start = None if start is None else check_number("start", start, 0.0, self.peak)
        self.shape = check_choice("shape", shape, SHAPES)

    @property
    def _start(self) -> float:
        return self.peak / (self.warmup_steps + 1) if self.start is None else self.start

    def __call__(self, step: Any) -> Any:
        stretches = [
            (self.warmup_steps, self.peak, "linear"),
            (self.stable_steps, self.peak, "linear"),
            (self.decay_steps, self.minimum, self.shape),
        ]
        boundaries, values, shapes = [], [self._start if self.warmup_steps else self.peak], []
        end = 0
        for length, value, shape in stretches:
            if length:
                end += length
                boundaries.append(end)
                values.append(value)
                shapes.append(shape)
        return interpolate(step, boundaries, values, shapes)

    @property
    def bounds(self) -> tuple[float, float]:
        return min(self.minimum, self._start), self.peak

    @property
    def continuous(self) -> bool:
        return True

    @property
    def length(self) -> float | None:
        return self.warmup_steps + self.stable_steps + self.decay_steps

    def get_config(self) -> dict[str, Any]:
        return {
            "peak": self.peak,
            "warmup_steps": self.warmup_steps,
            "stable_steps": self.stable_steps,
            "decay_steps": self.decay_steps,
            "minimum": self.minimum,
            "start": self.start,
            "shape": self.shape,
        }
