"""An optimizer's number in a variable, so that it can be moved without a new trace.

Keras holds a learning rate in a variable, but `momentum`, `beta_1` and `weight_decay`
as Python numbers, which are constants of the traced step.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kerasreg._keras.patching import replace


class LiveNumber(keras.Variable):
    """A variable in the place of a Python number > 0.

    Optimizers ask only whether the number is zero, to know whether they need slots for
    it: that stays as it was. All else reads the variable, in graphs too.
    """

    # Static: what a trace branches on.

    def __eq__(self, other: Any) -> Any:
        return False if _is_zero(other) else super().__eq__(other)

    def __ne__(self, other: Any) -> Any:
        return True if _is_zero(other) else super().__ne__(other)

    def __gt__(self, other: Any) -> Any:
        return True if _is_zero(other) else super().__gt__(other)

    def __le__(self, other: Any) -> Any:
        return False if _is_zero(other) else super().__le__(other)

    __hash__ = keras.Variable.__hash__

    def __bool__(self) -> bool:
        return True


def _is_zero(other: Any) -> bool:
    return isinstance(other, (int, float)) and other == 0


class _PlainConfig:
    """In place of an optimizer's `get_config`: with its variables as the numbers they have."""

    def __init__(self, optimizer: keras.optimizers.Optimizer) -> None:
        self._optimizer = optimizer

    def __call__(self) -> dict[str, Any]:
        config = type(self._optimizer).get_config(self._optimizer)
        return {
            name: float(ops.convert_to_numpy(value)) if isinstance(value, LiveNumber) else value
            for name, value in config.items()
        }


def live_number(optimizer: keras.optimizers.Optimizer, name: str) -> LiveNumber:
    """The variable of a number of an optimizer, which is put in its place if there is none.

    Args:
        optimizer: one of Keras' own, or one that uses `name` as Keras' own do.
        name: of an attribute that holds a number > 0, such as `"momentum"`.

    Returns:
        A scalar variable. It is none of `optimizer.variables`, and the optimizer's config
        and checkpoints are as before.
    """
    held = getattr(optimizer, name)
    if isinstance(held, LiveNumber):
        return held
    variable = LiveNumber(
        float(held),
        dtype="float32",
        trainable=False,
        autocast=False,
        aggregation="only_first_replica",
        name=name,
    )
    # Past Keras' tracking: it is no part of a checkpoint, which so fits with and without.
    replace(optimizer, name, variable)
    if not isinstance(vars(optimizer).get("get_config"), _PlainConfig):
        replace(optimizer, "get_config", _PlainConfig(optimizer))
    return variable
