"""Dropout of square regions of feature maps (Ghiasi et al. 2018, arXiv:1810.12890)."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kerasreg._keras.hyperparameter import NumberOrSchedule
from kerasreg._validation import check_count
from kerasreg.layers._base import BaseScheduledDropout, check_data_format
from kerasreg.random import Key, keep_mask

# Halvings of an interval of length 1: beyond the resolution of float32.
_HALVINGS = 30


def drop_block(x: Any, rate: Any, key: Key, *, block_size: int) -> Any:
    """Zeroes square blocks of each feature map, and scales what is kept.

    A block of side `b` fits at `(H - b + 1)·(W - b + 1)` places. Each place is dropped with
    probability `γ`, independently. An element covered by `n` places is kept with probability
    `(1 - γ)ⁿ` and divided by this probability, so that the expectation of every element is
    exact. `γ` solves `mean((1 - γ)ⁿ) = 1 - p` over the elements: `p` is the expected fraction of
    dropped elements.

    Args:
        x: a floating-point tensor (batch, height H, width W, channels).
        rate: `p`, a number or a scalar tensor from 0 to 1.
        key: the key of the mask, from `kerasreg.random.key`.
        block_size: `b` in pixels, a whole number >= 1. A block longer than a side of the map
            covers that side.

    Returns:
        A tensor of the shape and dtype of `x`.

    Example:

    >>> import numpy as np, kerasreg
    >>> x = np.ones((1, 8, 8, 3), "float32")
    >>> y = kerasreg.layers.drop_block(x, 0.3, kerasreg.random.key(7), block_size=3)
    >>> y.shape
    TensorShape([1, 8, 8, 3])
    """
    x = ops.convert_to_tensor(x)
    batch, height, width, channels = ops.shape(x)
    rows, columns = _places(height, block_size), _places(width, block_size)
    covering = ops.reshape(_covering(height, block_size), (-1, 1)) * _covering(width, block_size)
    place_rate = _solve(covering, ops.cast(rate, "float32"))
    kept, scale = keep_mask((batch, rows, columns, channels), place_rate, key)
    dropped = _dilate(1.0 - ops.cast(kept, "float32"), block_size)[:, :height, :width]
    # Of the rate as the mask resolved it: 0 where the scale is 0, at rate 1.
    inverse = ops.expand_dims(ops.power(scale, covering), -1)
    return ops.where(dropped > 0.5, ops.zeros((), dtype=x.dtype), x * ops.cast(inverse, x.dtype))


def _places(length: Any, block_size: int) -> Any:
    """The number of places of a block along an axis."""
    if isinstance(length, int):
        return max(length - block_size + 1, 1)
    return ops.maximum(length - block_size + 1, 1)


def _covering(length: Any, block_size: int) -> Any:
    """The number of places along an axis that cover each element."""
    index = ops.arange(length)
    last = ops.minimum(index, _places(length, block_size) - 1)
    first = ops.maximum(index - block_size + 1, 0)
    return ops.cast(last - first + 1, "float32")


def _solve(covering: Any, rate: Any) -> Any:
    """The rate of places at which the fraction `rate` of all elements is covered."""
    low, high = ops.zeros_like(rate), ops.ones_like(rate)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2.0
        too_few = ops.mean(1.0 - ops.power(1.0 - middle, covering)) < rate
        low, high = ops.where(too_few, middle, low), ops.where(too_few, high, middle)
    # The ends exactly: nothing at 0, all at 1.
    return ops.where(rate <= 0.0, 0.0, ops.where(rate >= 1.0, 1.0, (low + high) / 2.0))


def _dilate(places: Any, block_size: int) -> Any:
    """1 where any place that covers the element is 1: one axis after the other."""
    reach = block_size - 1
    for axis in (1, 2):
        padding = [[0, 0]] * 4
        padding[axis] = [reach, reach]
        window = (block_size, 1) if axis == 1 else (1, block_size)
        places = ops.max_pool(
            ops.pad(places, padding), window, strides=1, data_format="channels_last"
        )
    return places


@keras.saving.register_keras_serializable(package="kerasreg")
class ScheduledDropBlock2D(BaseScheduledDropout):
    """Dropout of square blocks of feature maps, at a rate that may be scheduled.

    In training, blocks are dropped in each channel of each example independently. At inference
    the layer is the identity. The paper ramps the rate linearly from 0: give a schedule.
    Schedules, seeds, replicas and resuming work as in `ScheduledDropout`.

    The paper and timm's `drop_block_2d` ignore that blocks overlap, and so drop less than
    `rate`. Both scale by the fraction that happened to be kept in the batch. Here `rate` is the
    expected fraction, and each element is divided by its own keep probability (see
    `kerasreg.layers.drop_block`). So expectations are exact, and neither examples nor replicas
    depend on each other.

    Args:
        rate: expected fraction of elements to drop, a number from 0 to 1 or a
            schedule of such numbers over training steps.
        block_size: side of a block in pixels, a whole number >= 1.
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
        ValueError: if the rate is outside [0, 1], `block_size` is no whole number
            >= 1, or inputs have another rank.

    Example:

    >>> import keras, kerasreg
    >>> layer = kerasreg.layers.ScheduledDropBlock2D(0.1, block_size=5, seed=1)
    >>> layer(keras.ops.ones((2, 16, 16, 4)), training=True).shape
    TensorShape([2, 16, 16, 4])
    """

    def __init__(
        self,
        rate: NumberOrSchedule,
        block_size: int = 7,
        *,
        data_format: str | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(rate, seed, **kwargs)
        self.block_size = check_count("block_size", block_size)
        self.data_format = check_data_format(data_format)
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def drop(self, inputs: Any, rate: Any, key: Key) -> Any:
        if self.data_format == "channels_last":
            return drop_block(inputs, rate, key, block_size=self.block_size)
        last = ops.transpose(inputs, (0, 2, 3, 1))
        last = drop_block(last, rate, key, block_size=self.block_size)
        return ops.transpose(last, (0, 3, 1, 2))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "block_size": self.block_size,
            "data_format": self.data_format,
        }
