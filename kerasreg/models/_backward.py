"""Gradients with respect to what layers return: the part that needs TensorFlow.

Keras has no interface for gradients; on the other backends this refuses.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

# Keras' own first scale of losses in half precision, where small gradients are 0.
_LOSS_SCALE = 2.0**15


def forward_and_backward(
    run: Callable[[Callable[[Any], None]], Any], variables: list[Any]
) -> tuple[list[np.ndarray | None], list[np.ndarray | None]]:
    """Runs a forward pass, and the gradients of the loss that it returns.

    Args:
        run: a function that computes the loss; it calls the function that it is
            given with each tensor of which the gradient is wanted.
        variables: Keras variables of which the gradient is wanted.

    Returns:
        The gradients of the tensors and those of the variables, float64; None
        where the loss does not depend on it.

    Raises:
        NotImplementedError: with another backend than TensorFlow.
    """
    if keras.backend.backend() != "tensorflow":
        raise NotImplementedError(
            "signal_report needs the gradients of TensorFlow, and Keras runs on "
            f"{keras.backend.backend()}: set KERAS_BACKEND=tensorflow."
        )
    import tensorflow as tf

    tensors: list[Any] = []
    with tf.GradientTape(persistent=True) as tape:

        def watch(tensor: Any) -> None:
            tape.watch(tensor)
            tensors.append(tensor)

        loss = run(watch)
        half = any(tensor.dtype == tf.float16 for tensor in tensors)
        scale = _LOSS_SCALE if half else 1.0
        scaled = tf.cast(loss, tf.float32) * scale
    targets = [*tensors, *(variable.value for variable in variables)]
    gradients = _gradients(tape, scaled, targets, scale)
    if scale > 1 and not all(np.all(np.isfinite(g)) for g in gradients if g is not None):
        # The scale itself was too much, as it may be in training, where it then is halved.
        gradients = _gradients(tape, loss, targets, 1.0)
    return gradients[: len(tensors)], gradients[len(tensors) :]


def _gradients(tape: Any, loss: Any, targets: list[Any], scale: float) -> list[np.ndarray | None]:
    import tensorflow as tf

    found = tape.gradient(loss, targets)
    return [
        None
        if gradient is None
        else np.asarray(tf.cast(tf.convert_to_tensor(gradient), tf.float32), "float64") / scale
        for gradient in found
    ]
