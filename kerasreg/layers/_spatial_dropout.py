"""Dropout of whole feature maps (Tompson et al. 2015, arXiv:1411.4280)."""

from __future__ import annotations

from typing import Any

import keras

from kerasreg._keras.hyperparameter import NumberOrSchedule
from kerasreg.layers._base import BaseScheduledDropout, check_data_format
from kerasreg.layers._dropout import dropout
from kerasreg.random import Key


class _SpatialDropout(BaseScheduledDropout):
    _positions: int  # How many axes hold positions.

    def __init__(
        self,
        rate: NumberOrSchedule,
        data_format: str | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(rate, seed, **kwargs)
        self.data_format = check_data_format(data_format)
        self.input_spec = keras.layers.InputSpec(ndim=self._positions + 2)

    def drop(self, inputs: Any, rate: Any, key: Key) -> Any:
        positions = (1,) * self._positions
        if self.data_format == "channels_last":
            return dropout(inputs, rate, key, (None, *positions, None))
        return dropout(inputs, rate, key, (None, None, *positions))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "data_format": self.data_format}


@keras.saving.register_keras_serializable(package="kerasreg")
class ScheduledSpatialDropout1D(_SpatialDropout):
    """Dropout of whole channels of a sequence, with a rate that may be scheduled.

    `y[n, :, c] = x[n, :, c] · m[n, c] / (1 - p(t))`, with `m[n, c]` 1 with
    probability `1 - p(t)`, else 0, in training; the identity at inference.
    Schedules, seeds, replicas and resuming work as in `ScheduledDropout`.

    Args:
        rate: probability `p` that a channel is dropped, a number from 0 to 1 or a
            schedule of such numbers over training steps.
        seed: an integer; equal seeds give equal masks.
        **kwargs: `name`, `dtype`, `trainable` of a Keras layer.

    Call arguments:
        inputs: a floating-point tensor (batch, steps, channels).
        training: True drops, False does not.

    Returns:
        A tensor of the shape and dtype of `inputs`.

    Raises:
        ValueError: if the rate is outside [0, 1], or the inputs have another rank.

    Example:

    >>> import keras, kerasreg
    >>> layer = kerasreg.layers.ScheduledSpatialDropout1D(0.5, seed=1)
    >>> layer(keras.ops.ones((2, 10, 4)), training=True).shape
    TensorShape([2, 10, 4])
    """

    _positions = 1

    def __init__(self, rate: NumberOrSchedule, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(rate, "channels_last", seed, **kwargs)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["data_format"]  # As in Keras, a sequence has its channels last.
        return config


@keras.saving.register_keras_serializable(package="kerasreg")
class ScheduledSpatialDropout2D(_SpatialDropout):
    """Dropout of whole feature maps of an image, with a rate that may be scheduled.

    `y[n, :, :, c] = x[n, :, :, c] · m[n, c] / (1 - p(t))`, with `m[n, c]` 1 with
    probability `1 - p(t)`, else 0, in training; the identity at inference.
    Schedules, seeds, replicas and resuming work as in `ScheduledDropout`.

    Args:
        rate: probability `p` that a map is dropped, a number from 0 to 1 or a
            schedule of such numbers over training steps.
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras'
            default.
        seed: an integer; equal seeds give equal masks.
        **kwargs: `name`, `dtype`, `trainable` of a Keras layer.

    Call arguments:
        inputs: a floating-point tensor (batch, height, width, channels), or
            (batch, channels, height, width) with channels first.
        training: True drops, False does not.

    Returns:
        A tensor of the shape and dtype of `inputs`.

    Raises:
        ValueError: if the rate is outside [0, 1], `data_format` is none of the two, or the
            inputs have another rank.

    Example:

    >>> import keras, kerasreg
    >>> layer = kerasreg.layers.ScheduledSpatialDropout2D(0.5, seed=1)
    >>> layer(keras.ops.ones((2, 8, 8, 4)), training=True).shape
    TensorShape([2, 8, 8, 4])
    """

    _positions = 2


@keras.saving.register_keras_serializable(package="kerasreg")
class ScheduledSpatialDropout3D(_SpatialDropout):
    """Dropout of whole feature maps of a volume, with a rate that may be scheduled.

    `y[n, :, :, :, c] = x[n, :, :, :, c] · m[n, c] / (1 - p(t))`, with `m[n, c]` 1
    with probability `1 - p(t)`, else 0, in training; the identity at inference.
    Schedules, seeds, replicas and resuming work as in `ScheduledDropout`.

    Args:
        rate: probability `p` that a map is dropped, a number from 0 to 1 or a
            schedule of such numbers over training steps.
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras'
            default.
        seed: an integer; equal seeds give equal masks.
        **kwargs: `name`, `dtype`, `trainable` of a Keras layer.

    Call arguments:
        inputs: a floating-point tensor (batch, depth, height, width, channels),
            or (batch, channels, depth, height, width) with channels first.
        training: True drops, False does not.

    Returns:
        A tensor of the shape and dtype of `inputs`.

    Raises:
        ValueError: if the rate is outside [0, 1], `data_format` is none of the two, or the
            inputs have another rank.

    Example:

    >>> import keras, kerasreg
    >>> layer = kerasreg.layers.ScheduledSpatialDropout3D(0.5, seed=1)
    >>> layer(keras.ops.ones((2, 4, 4, 4, 3)), training=True).shape
    TensorShape([2, 4, 4, 4, 3])
    """

    _positions = 3
