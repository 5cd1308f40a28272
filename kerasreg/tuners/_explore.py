"""Values of a hyperparameter near a given one, among those that are declared."""

from __future__ import annotations

import math
import random
from typing import Any

from kerasreg._keras import keras_tuner_internals as internals

_FACTORS = (0.8, 1.2)
# Of the range: how far 0 is moved, which no factor moves.
_FROM_ZERO = 0.1


def explored(hp: Any, value: Any, source: random.Random) -> Any:
    """A value next to a hyperparameter's value, which the hyperparameter may have.

    A number is multiplied by 0.8 or 1.2 within its bounds; 0 goes a tenth of its range. With a
    `step`, and for whole numbers, the result is the nearest number that is declared, and at
    least one step away. A choice goes to a neighbour, and a Boolean to the other one. Where there
    is nothing in one direction, the value goes in the other.

    Args:
        hp: a hyperparameter of KerasTuner's, such as `hp.space` has them.
        value: the value that it has.
        source: draws the direction.

    Returns:
        The other value; the same one if the hyperparameter has no other.
    """
    directions = [0, 1]
    source.shuffle(directions)
    if isinstance(value, bool) and not hasattr(hp, "ordered"):
        return not value
    if hasattr(hp, "min_value"):
        moved = (_number(hp, value, up) for up in directions)
    elif hasattr(hp, "ordered") and value in hp.values:  # A choice.
        moved = (_neighbour(list(hp.values), value, up) for up in directions)
    else:  # Fixed, or of a kind that we do not know.
        return value
    return next((one for one in moved if one != value), value)


def nearest(hp: Any, value: Any) -> Any:
    """The value that a hyperparameter may have which is nearest to a given one.

    Args:
        hp: as for `explored`.
        value: any value.

    Returns:
        The value: a bound of the range, the next place of a step, or the nearest of choices that
        are numbers. None if the given one is of another kind.
    """
    if hasattr(value, "item"):  # NumPy's.
        value = value.item()
    is_bool = isinstance(value, bool)
    is_number = isinstance(value, (int, float)) and not is_bool and math.isfinite(value)
    if hasattr(hp, "min_value"):
        return _nearest_number(hp, value) if is_number else None
    choices = list(hp.values)
    same = [one for one in choices if one == value and isinstance(one, bool) == is_bool]
    # Numbers that have no order are names.
    has_order = (
        is_number and getattr(hp, "ordered", True) and not isinstance(choices[0], (bool, str))
    )
    if not same and has_order:
        same = [min(choices, key=lambda one: abs(one - value))]
    return same[0] if same else None


def _nearest_number(hp: Any, value: float) -> float:
    low, high = hp.min_value, hp.max_value
    kind = int if isinstance(low, int) else float
    if hp.step is None:
        return min(max(kind(round(value) if kind is int else value), low), high)
    index = min(max(_index(hp, value), 0), internals.grid_size(hp) - 1)
    return kind(internals.grid_value(hp, index))


def _neighbour(choices: list[Any], value: Any, up: int) -> Any:
    place = choices.index(value) + (1 if up else -1)
    return choices[min(max(place, 0), len(choices) - 1)]


def _number(hp: Any, value: float, up: int) -> float:
    low, high = hp.min_value, hp.max_value
    kind = int if isinstance(low, int) else float
    if value == 0:
        moved = (1 if up else -1) * _FROM_ZERO * (high - low)
    else:
        moved = value * _FACTORS[up if value > 0 else 1 - up]
    if hp.step is None:
        if kind is int and round(moved) == value:
            moved = value + (1 if up else -1)
        return min(max(kind(round(moved) if kind is int else moved), low), high)
    index, now = _index(hp, moved), _index(hp, value)
    if index == now:
        # The values of a reversed scale go down.
        index += 1 if up == (hp.sampling != "reverse_log") else -1
    index = min(max(index, 0), internals.grid_size(hp) - 1)
    return value if index == now else kind(internals.grid_value(hp, index))


def _index(hp: Any, value: float) -> int:
    """The place of the nearest value of a hyperparameter with a step."""
    low, high = hp.min_value, hp.max_value
    value = min(max(value, low), high)
    if hp.sampling == "linear":
        return round((value - low) / hp.step)
    if hp.sampling == "log":
        return round(math.log(value / low, hp.step))
    return round(math.log((high + low - value) / low, hp.step))
