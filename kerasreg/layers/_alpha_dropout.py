"""Dropout that keeps mean and variance (Klambauer et al. 2017, arXiv:1706.02515)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kerasreg._keras.hyperparameter import NumberOrSchedule
from kerasreg.layers._base import BELOW_ONE, BaseScheduledDropout, check_noise_shape
from kerasreg.layers._dropout import mask_shape
from kerasreg.random import Key, keep_mask

# What SELU tends to for large negative inputs: -λα of self-normalising networks.
_SATURATED = -1.0507009873554805 * 1.6732632423543772


def alpha_dropout(x: Any, rate: Any, key: Key, noise_shape: Any = None) -> Any:
    """Dropped elements become SELU's saturation; then mean 0 and variance 1 are restored.

    `y = a · (x · m + α' · (1 - m)) + b`, with `m ~ Bernoulli(1 - p)`, `α' =
    -1.7581`, `a = ((1 - p) · (1 + p · α'²))^(-½)` and `b = -a · α' · p`.

    Args:
        x: a floating-point tensor; for mean 0 and variance 1 both are kept exactly.
        rate: `p`, a number or a scalar tensor from 0 to 0.999999.
        key: the key of the mask, from `kerasreg.random.key`.
        noise_shape: shape of the mask, as for `dropout`.

    Returns:
        A tensor of the shape and dtype of `x`.

    Raises:
        ValueError: if the length of `noise_shape` is not the rank of `x`.

    Example:

    >>> import numpy as np, kerasreg
    >>> x = np.ones((2, 3), "float32")
    >>> y = kerasreg.layers.alpha_dropout(x, 0.0, kerasreg.random.key(7))
    >>> bool((np.array(y) == x).all())
    True
    """
    x = ops.convert_to_tensor(x)
    mask, scale = keep_mask(mask_shape(noise_shape, x), rate, key)
    # Of the rate as the mask resolved it: mean and variance are then exact.
    kept = 1.0 / scale
    a = ops.rsqrt(kept * (1.0 + (1.0 - kept) * _SATURATED**2))
    b = -a * _SATURATED * (1.0 - kept)
    saturated = ops.cast(a * _SATURATED + b, x.dtype)
    return ops.where(mask, x * ops.cast(a, x.dtype) + ops.cast(b, x.dtype), saturated)


@keras.saving.register_keras_serializable(package="kerasreg")
class ScheduledAlphaDropout(BaseScheduledDropout):
    """Dropout for self-normalising networks, with a rate that may be scheduled.

    `y = a · (x · m + α' · (1 - m)) + b`, with `m ~ Bernoulli(1 - p(t))`, `α' =
    -1.7581` (SELU's saturation), `a = ((1 - p) · (1 + p · α'²))^(-½)` and `b = -a ·
    α' · p`, in training; the identity at inference. Inputs of mean 0 and
    variance 1 keep both.
    Schedules, seeds, replicas and resuming work as in `ScheduledDropout`.

    Args:
        rate: `p`, a number from 0 to 0.999999 or a schedule of such numbers over
            training steps. In contrast to `keras.layers.AlphaDropout`, a rate of 1 is
            refused: no element would be left to restore the variance from.
        noise_shape: shape of the mask, as in `ScheduledDropout`.
        seed: an integer; equal seeds give equal masks.
        **kwargs: `name`, `dtype`, `trainable` of a Keras layer.

    Call arguments:
        inputs: a floating-point tensor of any shape.
        training: True drops, False does not.

    Returns:
        A tensor of the shape and dtype of `inputs`.

    Raises:
        ValueError: if the rate is outside [0, 0.999999].

    Example:

    >>> import keras, kerasreg
    >>> layer = kerasreg.layers.ScheduledAlphaDropout(0.1, seed=1)
    >>> layer(keras.ops.ones((2, 4)), training=True).shape
    TensorShape([2, 4])
    """

    maximum_rate = BELOW_ONE

    def __init__(
        self,
        rate: NumberOrSchedule,
        noise_shape: Sequence[int | None] | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(rate, seed, **kwargs)
        self.noise_shape = check_noise_shape(noise_shape)

    def drop(self, inputs: Any, rate: Any, key: Key) -> Any:
        return alpha_dropout(inputs, rate, key, self.noise_shape)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "noise_shape": self.noise_shape}
