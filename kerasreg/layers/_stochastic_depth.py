"""Residual branches that training leaves out at random (Huang et al. 2016, arXiv:1603.09382)."""

from __future__ import annotations

from typing import Any

import keras

from kerasreg.layers._base import BaseScheduledDropout
from kerasreg.layers._dropout import dropout
from kerasreg.random import Key


@keras.saving.register_keras_serializable(package="kerasreg")
class ScheduledStochasticDepth(BaseScheduledDropout):
    """Leaves out a residual branch for some examples (DropPath), at a rate that may be scheduled.

    `y[n] = shortcut[n] + m[n] · branch[n] / (1 - p(t))`, with `m[n]` 1 with
    probability `1 - p(t)`, else 0, for each example in training; `shortcut +
    branch` at inference.
    Schedules, seeds, replicas and resuming work as in `ScheduledDropout`.
    `kerasreg.schedules.linear_depth` gives rates that grow with depth.

    TensorFlow Addons' `StochasticDepth` takes the *survival* probability `1 - p`, and leaves a
    branch out for a whole batch. It scales by `1 - p` at inference instead of in training.

    Args:
        rate: probability `p` that the branch is left out, a number from 0 to 1 or
            a schedule of such numbers over training steps.
        seed: an integer; equal seeds give equal masks.
        **kwargs: `name`, `dtype`, `trainable` of a Keras layer.

    Call arguments:
        inputs: the branch, a floating-point tensor whose first axis is the
            examples; or a pair `[shortcut, branch]` of one shape.
        training: True leaves out, False does not.

    Returns:
        The scaled branch; for a pair, the sum of the shortcut and the scaled branch. A tensor
        of the shape and dtype of the branch.

    Raises:
        ValueError: if the rate is outside [0, 1], or the inputs are neither a tensor nor a
            pair.

    Example:

    >>> import keras, kerasreg
    >>> x = keras.Input((8,))
    >>> branch = keras.layers.Dense(8, activation="relu")(x)
    >>> y = kerasreg.layers.ScheduledStochasticDepth(0.2)([x, branch])
    >>> y.shape
    (None, 8)
    """

    def drop(self, inputs: Any, rate: Any, key: Key) -> Any:
        return dropout(inputs, rate, key, (None,) + (1,) * (len(inputs.shape) - 1))

    def call(self, inputs: Any, training: bool | None = False) -> Any:
        if not isinstance(inputs, (list, tuple)):
            return super().call(inputs, training=training)
        shortcut, branch = _check_pair(inputs)
        return shortcut + super().call(branch, training=training)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        # Of a pair: the branch has been computed from the shortcut.
        if isinstance(previous_mask, (list, tuple)):
            masks = [mask for mask in previous_mask if mask is not None]
            return masks[0] if masks else None
        return previous_mask

    def compute_output_shape(self, input_shape: Any) -> Any:
        if isinstance(input_shape, (list, tuple)) and isinstance(input_shape[0], (list, tuple)):
            return tuple(_check_pair(input_shape)[1])
        return input_shape


def _check_pair(inputs: Any) -> Any:
    if len(inputs) != 2:
        raise ValueError(
            "`inputs` of ScheduledStochasticDepth must be a tensor or a pair "
            f"[shortcut, branch]. Received: {len(inputs)} inputs"
        )
    return inputs
