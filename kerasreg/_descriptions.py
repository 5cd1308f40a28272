"""Components in words: what their `repr` prints."""

from __future__ import annotations

import inspect
from typing import Any

import keras
from keras import ops

from kerasreg._keras.hyperparameter import Hyperparameter

_LEFT_OUT = ("self", "name", "seed")


def described(value: Any) -> str:
    """A schedule or an optimizer with its arguments; anything else as Python prints it.

    Keras prints its own schedules and optimizers by their address in memory.
    """
    if isinstance(value, list):
        return f"[{', '.join(map(described, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key!r}: {described(item)}' for key, item in value.items())}}}"
    if isinstance(value, Hyperparameter):
        return described(value.variable if value.schedule is None else value.schedule)
    if isinstance(value, keras.Variable):
        return _number(value)
    own = type(value).__repr__ is not object.__repr__
    if isinstance(value, keras.optimizers.Optimizer) and not own:
        rate = value.get_config()["learning_rate"]
        if isinstance(rate, dict):
            rate = keras.saving.deserialize_keras_object(rate)
        shown = described(rate) if _is_schedule(rate) else _number(rate)
        return f"{type(value).__name__}(learning_rate={shown})"
    return described_schedule(value) if _is_schedule(value) and not own else repr(value)


def described_schedule(schedule: Any) -> str:
    """A schedule as the call that makes it, also one of Keras' own."""
    arguments = [
        f"{name}={described(getattr(schedule, name, value))}"
        for name, value in schedule.get_config().items()
        if name != "name"
    ]
    return f"{type(schedule).__name__}({', '.join(arguments)})"


def described_component(component: Any, **values: Any) -> str:
    """A component as the call that makes it, with the arguments that are no defaults.

    A number in a variable is shown as the number is now, and a schedule as the schedule.
    Names and seeds are left out.

    Args:
        component: an object whose arguments are attributes.
        **values: arguments that are shown otherwise than by their attribute.
    """
    arguments = []
    for name, parameter in inspect.signature(type(component).__init__).parameters.items():
        # A strength is public as the variable alone, without its schedule.
        held = getattr(component, f"_{name}", None)
        missing = parameter.empty
        value = held if isinstance(held, Hyperparameter) else getattr(component, name, missing)
        value = values.get(name, value)
        if name in _LEFT_OUT or value is missing:
            continue
        shown, default = described(value), parameter.default
        # A number in a variable is shown as numbers are, and 1.0 there as 1.
        usual = {described(default)} | ({_number(default)} if _is_number(default) else set())
        if default is missing or shown not in usual:
            arguments.append(f"{name}={shown}")
    return f"{type(component).__name__}({', '.join(arguments)})"


def _is_schedule(value: Any) -> bool:
    return isinstance(value, keras.optimizers.schedules.LearningRateSchedule)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _number(value: Any) -> str:
    try:
        # As many digits as float32 has: of 0.1 there, more would be those of its rounding.
        return f"{float(ops.convert_to_numpy(value)):.7g}"
    except Exception:  # While a graph is traced no variable has a number; `repr` must not fail.
        return "?"
