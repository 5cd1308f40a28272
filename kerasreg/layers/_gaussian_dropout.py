"""Multiplicative Gaussian noise (Srivastava et al. 2014, section 10)."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kerasreg.layers._base import BELOW_ONE, BaseScheduledDropout
from kerasreg.random import Key, normal


def gaussian_dropout(x: Any, rate: Any, key: Key) -> Any:
    """Multiplicative noise: `x · (1 + √(p / (1 - p)) · z)`, with `z ~ N(0, 1)`.

    The noise has the mean and the variance of inverted dropout with rate `p`.

    Args:
        x: a floating-point tensor.
        rate: `p`, a number or a scalar tensor from 0 to 0.999999.
        key: the key of the noise, from `kerasreg.random.key`.

    Returns:
        A tensor of the shape and dtype of `x`.

    Example:

    >>> import numpy as np, kerasreg
    >>> x = np.ones((2, 3), "float32")
    >>> y = kerasreg.layers.gaussian_dropout(x, 0.0, kerasreg.random.key(7))
    >>> bool((np.array(y) == x).all())
    True
    """
    x = ops.convert_to_tensor(x)
    rate = ops.minimum(ops.cast(rate, "float32"), BELOW_ONE)
    noise = 1.0 + ops.sqrt(rate / (1.0 - rate)) * normal(ops.shape(x), key)
    return x * ops.cast(noise, x.dtype)


@keras.saving.register_keras_serializable(package="kerasreg")
class ScheduledGaussianDropout(BaseScheduledDropout):
    """Multiplicative Gaussian noise, with a rate that may be scheduled.

    `y = x · (1 + √(p(t) / (1 - p(t))) · z)`, `z ~ N(0, 1)` for each element, in
    training; the identity at inference.
    Schedules, seeds, replicas and resuming work as in `ScheduledDropout`.

    Args:
        rate: `p`, a number from 0 to 0.999999 or a schedule of such numbers over
            training steps. In contrast to `keras.layers.GaussianDropout`, a rate
            of 1 is refused: the noise would be infinite.
        seed: an integer; equal seeds give equal noise.
        **kwargs: `name`, `dtype`, `trainable` of a Keras layer.

    Call arguments:
        inputs: a floating-point tensor of any shape.
        training: True adds noise, False does not.

    Returns:
        A tensor of the shape and dtype of `inputs`.

    Raises:
        ValueError: if the rate is outside [0, 0.999999].

    Example:

    >>> import keras, kerasreg
    >>> layer = kerasreg.layers.ScheduledGaussianDropout(0.2, seed=1)
    >>> layer(keras.ops.ones((2, 4)), training=True).shape
    TensorShape([2, 4])
    """

    maximum_rate = BELOW_ONE

    def drop(self, inputs: Any, rate: Any, key: Key) -> Any:
        return gaussian_dropout(inputs, rate, key)
