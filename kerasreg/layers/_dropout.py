"""Dropout whose rate is a variable that a schedule may move.

Srivastava et al. 2014, "Dropout: a simple way to prevent neural networks from
overfitting"; scheduled rates after Morerio et al. 2017, "Curriculum Dropout"
(arXiv:1703.06229).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kerasreg._keras.fused import fused, fuses_here
from kerasreg._keras.hyperparameter import NumberOrSchedule
from kerasreg.layers._base import BaseScheduledDropout, check_noise_shape
from kerasreg.random import Key, keep_mask


def dropout(x: Any, rate: Any, key: Key, noise_shape: Any = None) -> Any:
    """Inverted dropout: `x * mask / (1 - rate)`, with `mask ~ Bernoulli(1 - rate)`.

    Args:
        x: a floating-point tensor.
        rate: drop probability, a number or a scalar tensor from 0 to 1.
        key: the key of the mask, from `kerasreg.random.key`.
        noise_shape: shape of the mask, broadcast against `x`. An entry None takes the size of
            `x`; None in place of the shape takes the shape of `x`.

    Returns:
        A tensor of the shape and dtype of `x`; all zeros at rate 1.

    Raises:
        ValueError: if the length of `noise_shape` is not the rank of `x`.

    Example:

    >>> import numpy as np, kerasreg
    >>> x = np.ones((2, 3), "float32")
    >>> y = kerasreg.layers.dropout(x, 0.0, kerasreg.random.key(7))
    >>> bool((np.array(y) == x).all())
    True
    """
    x = ops.convert_to_tensor(x)
    rate = ops.cast(rate, "float32")
    if noise_shape is not None:
        noise_shape = tuple(noise_shape)
    if fuses_here(x):
        # The backward pass draws the mask again, which is cheaper than to keep it.
        def masked(values: Any) -> Any:
            return _draw_and_mask(values, rate, key, noise_shape=noise_shape)
    else:
        keep = keep_mask(mask_shape(noise_shape, x), rate, key)

        def masked(values: Any) -> Any:
            return _mask(values, *keep)

    @ops.custom_gradient
    def forward(x: Any) -> tuple[Any, Any]:
        # The gradient is the same function; derived by the backend it would be
        # more passes over memory.
        return masked(x), lambda *args, upstream=None: masked(
            args[0] if upstream is None else upstream
        )

    return forward(x)


def mask_shape(noise_shape: Any, x: Any) -> tuple[Any, ...]:
    """The noise shape, with the sizes of `x` in place of None."""
    sizes = tuple(ops.shape(x))
    if noise_shape is None:
        return sizes
    if len(noise_shape) != len(sizes):
        raise ValueError(
            f"`noise_shape` must have {len(sizes)} entries, one for each axis of the input. "
            f"Received: noise_shape={tuple(noise_shape)}"
        )
    return tuple(
        size if wanted is None else wanted for size, wanted in zip(sizes, noise_shape, strict=True)
    )


def _mask(x: Any, mask: Any, scale: Any) -> Any:
    # `where`, not a product with 0: an infinity that is dropped must not give NaN.
    return ops.where(mask, x * ops.cast(scale, x.dtype), ops.zeros((), dtype=x.dtype))


@fused
def _draw_and_mask(x: Any, rate: Any, key: Key, noise_shape: Any) -> Any:
    return _mask(x, *keep_mask(mask_shape(noise_shape, x), rate, key))


@keras.saving.register_keras_serializable(package="kerasreg")
class ScheduledDropout(BaseScheduledDropout):
    """Dropout with a rate that may be scheduled, moved and searched.

    In training, an element is kept with probability `1 - p(t)` and divided by this
    probability, or becomes 0. At inference the layer is the identity. `p(t)` is the rate at
    training step `t`. The layer counts training steps itself (see
    `kerasreg.schedules.Hyperparameter`), so no callback is needed. The count, the rate and
    the seed are saved with the model: a reloaded layer draws the masks that follow.

    In contrast to `keras.layers.Dropout`, the rate is read when the program runs:
    `layer.rate.assign(0.3)` acts on a compiled model. Each replica of a `tf.distribute`
    strategy draws its own mask.

    Args:
        rate: fraction of elements to drop, a number from 0 to 1 or a schedule
            of such numbers over training steps.
        noise_shape: shape of the mask, as in `keras.layers.Dropout`. An entry None takes the
            size of the input; along an axis with entry 1 all elements share a mask.
        seed: an integer; equal seeds give equal masks. By default drawn at random (under
            `keras.utils.set_random_seed`), and kept in the config.
        **kwargs: `name`, `dtype`, `trainable` of a Keras layer.

    Call arguments:
        inputs: a floating-point tensor of any shape.
        training: True drops, False does not; None, as in any Keras layer, takes the value of
            the surrounding call.

    Returns:
        A tensor of the shape and dtype of `inputs`.

    Raises:
        ValueError: if the rate is outside [0, 1] or a schedule that leaves this range.

    Example:

    >>> import keras, kerasreg
    >>> ramp = keras.optimizers.schedules.PolynomialDecay(0.0, 1000, 0.5)
    >>> layer = kerasreg.layers.ScheduledDropout(ramp, seed=1)
    >>> y = layer(keras.ops.ones((2, 4)), training=True)
    >>> int(layer.step), float(layer.rate)
    (1, 0.0)
    """

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
        return dropout(inputs, rate, key, self.noise_shape)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "noise_shape": self.noise_shape}
