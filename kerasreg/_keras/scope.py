"""A stateless scope in which a variable may be assigned to another one."""

from __future__ import annotations

from typing import Any

import keras

from kerasreg._keras.internals import outside_stateless_scopes

outside = outside_stateless_scopes


class Scope(keras.StatelessScope):
    """Keras' scope, which keeps values and never variables.

    On the TensorFlow backend Keras takes a variable for a tensor, so that
    `a.assign(b)` would keep `b` itself, and give what it is when it is asked for.
    """

    def add_update(self, update: tuple[keras.Variable, Any]) -> None:
        variable, value = update
        if isinstance(value, keras.Variable):
            value = value.value
        super().add_update((variable, value))
