"""The shape of what a function of a weight returns, without any numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras


def returned_shape(function: Callable[[Any], Any], tensor: Any) -> tuple[int | None, ...]:
    """The shape of what a function returns for a tensor of a shape and dtype.

    Symbolically: a spectral norm of large matrices takes minutes.

    Raises:
        Exception: what the function raises.
    """
    called = _Function(function)
    try:
        symbol = keras.KerasTensor(tensor.shape, dtype=tensor.dtype)
        return tuple(called.compute_output_spec(symbol).shape)
    except Exception as error:
        raise (called.error or error) from None


class _Function(keras.Operation):
    """A function as an operation, which Keras can ask for the shape of its result."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        super().__init__()
        self.function = function
        self.error: Exception | None = None

    def call(self, x: Any) -> Any:
        try:
            return self.function(x)
        except Exception as error:
            self.error = error  # Keras wraps it in an error that speaks of the operation.
            raise
