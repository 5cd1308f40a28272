"""A stateless scope in which a variable may be assigned to another one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras

# Private: where Keras keeps which scope it is in.
from keras.src.backend.common import global_state


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


@contextlib.contextmanager
def outside() -> Iterator[None]:
    """Leaves all stateless scopes for a while."""
    scope = global_state.get_global_attribute("stateless_scope")
    global_state.set_global_attribute("stateless_scope", None)
    try:
        yield
    finally:
        global_state.set_global_attribute("stateless_scope", scope)
