"""What stands for a penalty where an optimizer applies it: its value without its gradient."""

from __future__ import annotations

import weakref
from typing import Any

import keras
from keras import ops

from kerasreg.regularizers._penalty import Penalty


class TakenOver(keras.regularizers.Regularizer):
    """The regularizer of a variable whose penalty an optimizer applies.

    The loss so contains the penalty, once, and its gradient does not. In a model
    that trains with another optimizer it is the penalty as it was.

    Args:
        penalty: the penalty.
        optimizer: the one that applies it; it is not kept alive.
    """

    def __init__(self, penalty: Penalty, optimizer: keras.optimizers.Optimizer) -> None:
        self.penalty = penalty
        self._optimizer = weakref.ref(optimizer)

    def __call__(self, w: Any) -> Any:
        value = self.penalty(w)
        # Static: each trace is of one training.
        return ops.stop_gradient(value) if self._applies() else value

    def _applies(self) -> bool:
        mine = self._optimizer()
        model = self.penalty.model_of_pass()
        running = getattr(model, "optimizer", None)
        if mine is None or running is None:
            return mine is not None  # A loop of the user's own, around no compiled model.
        return mine in wrapped_optimizers(running)

    def get_config(self) -> dict[str, Any]:
        """That of the penalty, which is what is saved."""
        return self.penalty.get_config()


def wrapped_optimizers(optimizer: Any) -> list[Any]:
    """An optimizer and those that it wraps, the outermost first."""
    found = [optimizer]
    while (optimizer := getattr(optimizer, "inner_optimizer", None)) is not None:
        found.append(optimizer)
    return found


def penalty_of(variable: keras.Variable) -> Penalty | None:
    """The penalty of kerasreg on a variable, whoever applies it, or None."""
    regularizer = variable.regularizer
    if isinstance(regularizer, TakenOver):
        return regularizer.penalty
    return regularizer if isinstance(regularizer, Penalty) else None
