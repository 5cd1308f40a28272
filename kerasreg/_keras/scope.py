"""A stateless scope in which a variable may be assigned to another one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras


class Scope(keras.StatelessScope):
    """Keras' scope, which keeps values and never variables.

    On the TensorFlow backend Keras takes a variable for a tensor, so that
    `a.assign(b)` would keep `b` itself, and give what it is when it is asked for.

    Attributes:
        on_assign: is given a variable and the value that it is assigned, and gives the value that
            the scope keeps; None to keep values as they are.
    """

    on_assign: Callable[[keras.Variable, Any], Any] | None = None

    def add_update(self, update: tuple[keras.Variable, Any]) -> None:
        variable, value = update
        if isinstance(value, keras.Variable):
            value = value.value
        if self.on_assign is not None:
            value = self.on_assign(variable, value)
        super().add_update((variable, value))
