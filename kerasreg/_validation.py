"""Checks of numbers and schedules, with messages that name the argument."""

from __future__ import annotations

import difflib
import math
import numbers
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:  # The command checks its input before it loads Keras.
    import keras

# Where a schedule is probed when a component takes it: every early step, where
# mistakes of unit show, and then growing distances up to long trainings. No
# further: an exponential ramp that overflows after 10⁵ steps is still a good
# schedule for the training that it is for.
_PROBED_STEPS = sorted({*range(17), *(int(10 ** (k / 4)) for k in range(5, 21))})


def accepted_range(minimum: float, maximum: float) -> str:
    """The range in words, for an error message."""
    if maximum == math.inf:
        return "any finite number" if minimum == -math.inf else f"a finite number >= {minimum:g}"
    return f"a number from {minimum:g} to {maximum:g}"


def check_number(
    argument: str, value: Any, minimum: float, maximum: float, or_schedule: bool = False
) -> float:
    """Returns `value` as a float, or raises a `ValueError` naming `argument`.

    Accepted are real numbers, and scalar arrays, tensors and variables of them.
    """
    expected = accepted_range(minimum, maximum)
    also = ", or a schedule of such numbers" if or_schedule else ""
    is_number = isinstance(value, (numbers.Real, np.number))
    is_scalar = is_number or getattr(value, "shape", None) == ()
    if not is_scalar or isinstance(value, (bool, np.bool_)):
        raise ValueError(
            f"`{argument}` must be {expected}{also}. Received: {argument}={value!r} "
            f"(of type {type(value).__name__})"
        )
    number = float(value)
    if not math.isfinite(number) or not minimum <= number <= maximum:
        raise ValueError(f"`{argument}` must be {expected}{also}. Received: {argument}={number:g}")
    return number


def check_above(argument: str, value: Any, bound: float) -> float:
    """Returns `value` as a float > `bound`, or raises a `ValueError` naming `argument`."""
    number = check_number(argument, value, -math.inf, math.inf)
    if number <= bound:
        raise ValueError(
            f"`{argument}` must be a number > {bound:g}. Received: {argument}={number:g}"
        )
    return number


def check_positive(argument: str, value: Any) -> float:
    """Returns `value` as a float > 0, or raises a `ValueError` naming `argument`."""
    return check_above(argument, value, 0.0)


def check_below_one(argument: str, value: Any) -> float:
    """Returns `value` as a float from 0 to below 1, or raises a `ValueError`."""
    number = check_number(argument, value, 0.0, 1.0)
    if number == 1.0:
        raise ValueError(
            f"`{argument}` must be a number from 0 to below 1. Received: {argument}={number:g}"
        )
    return number


def check_count(argument: str, value: Any, minimum: int = 1) -> int:
    """Returns `value` as an int >= `minimum`, or raises a `ValueError` naming `argument`."""
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not whole or value < minimum:
        raise ValueError(
            f"`{argument}` must be a whole number >= {minimum}. Received: {argument}={value!r}"
        )
    return int(value)


def check_length(argument: str, value: Any) -> int | float:
    """Returns a number > 0 of steps or epochs, as an int where it is whole, or raises."""
    number = check_positive(argument, value)
    return int(number) if number.is_integer() else number


def check_schedule(
    argument: str,
    schedule: keras.optimizers.schedules.LearningRateSchedule,
    minimum: float,
    maximum: float,
) -> float:
    """Probes a schedule from step 0 to 10⁵; returns its value at step 0.

    Raises:
        ValueError: naming the step and the value, where a probed value is not
            finite or leaves [`minimum`, `maximum`] by more than rounding.
    """
    from keras import ops

    # Float rounding may miss a bound by a little where the schedule meets it.
    slack = 1e-6 * max(abs(minimum), abs(maximum) if maximum != math.inf else 0.0)
    first = 0.0
    low, high = getattr(schedule, "bounds", (-math.inf, math.inf))
    # One of kerasreg's says itself what its values are between.
    known = minimum <= low and high <= maximum and math.isfinite(low) and math.isfinite(high)
    for step in _PROBED_STEPS[:1] if known else _PROBED_STEPS:
        value = float(ops.convert_to_numpy(schedule(step)))
        if not math.isfinite(value) or not minimum - slack <= value <= maximum + slack:
            raise ValueError(
                f"`{argument}` must be a schedule whose every value is "
                f"{accepted_range(minimum, maximum)}. "
                f"Received: {argument}={type(schedule).__name__}, which gives {value:g} "
                f"at step {step}"
            )
        if step == 0:
            first = min(max(value, minimum), maximum)
    return first


def check_choice(argument: str, value: Any, choices: Iterable[str]) -> str:
    """Returns `value`, or raises a `ValueError` that lists `choices` and the nearest."""
    names = list(choices)
    if value in names:
        return str(value)
    near = difflib.get_close_matches(str(value), names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    listed = ", ".join(map(repr, names[:30])) + (", ..." if len(names) > 30 else "")
    raise ValueError(f"`{argument}` must be one of {listed}. Received: {argument}={value!r}{hint}")
