"""Operations of Keras that take a Python number, in a form that takes a tensor too."""

from __future__ import annotations

import contextlib
from typing import Any

import keras
from keras import ops

from kerasreg._keras.patching import original, patched


def tensors_for_numbers() -> contextlib.AbstractContextManager[None]:
    """Which operations refuse a tensor as the number that they take? In here, none of these.

    They are those of TensorFlow's kernels whose attribute the number is. Read for Keras 3.10 to
    3.15.

    Raises:
        AttributeError: if Keras has no such operation.
    """
    from keras.src import backend

    if keras.backend.backend() != "tensorflow":
        return contextlib.nullcontext()
    relu = original(backend.nn, "leaky_relu")

    def leaky_relu(x: Any, negative_slope: Any = 0.2) -> Any:
        if isinstance(negative_slope, (int, float)):
            return relu(x, negative_slope)
        return ops.where(x > 0, x, x * ops.cast(negative_slope, x.dtype))

    return patched(backend.nn, leaky_relu=leaky_relu)
