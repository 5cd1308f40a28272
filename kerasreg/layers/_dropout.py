"""Dropout whose rate is a variable that a schedule may move.

Srivastava et al. 2014, "Dropout: a simple way to prevent neural networks from
overfitting"; scheduled rates after Morerio et al. 2017, "Curriculum Dropout"
(arXiv:1703.06229).
"""

from __future__ import annotations

import random as python_random
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kerasreg._validation import check_count
from kerasreg.random import keep_mask, key, replica_id
from kerasreg.schedules._hyperparameter import Hyperparameter, NumberOrSchedule


def dropout(x: Any, rate: Any, key: tuple[Any, Any], noise_shape: Any = None) -> Any:
    """Inverted dropout: `x * mask / (1 - rate)`, with `mask ~ Bernoulli(1 - rate)`.

    Args:
        x: a floating-point tensor.
        rate: drop probability, a number or a scalar tensor from 0 to 1.
        key: the key of the mask, from `kerasreg.random.key`.
        noise_shape: shape of the mask, broadcast against `x`; None entries, or
            None in all, take the size of `x`.

    Returns:
        A tensor like `x`; all zeros at rate 1.

    Raises:
        ValueError: if `noise_shape` has not one entry for each axis of `x`.

    Example:

    >>> import numpy as np, kerasreg
    >>> x = np.ones((2, 3), "float32")
    >>> y = kerasreg.layers.dropout(x, 0.0, kerasreg.random.key(7))
    >>> bool((np.array(y) == x).all())
    True
    """
    x = ops.convert_to_tensor(x)
    shape = ops.shape(x)
    if noise_shape is not None:
        if len(noise_shape) != len(shape):
            raise ValueError(
                f"`noise_shape` must have {len(shape)} entries, one for each axis of the input. "
                f"Received: noise_shape={tuple(noise_shape)}"
            )
        shape = tuple(
            size if wanted is None else wanted
            for size, wanted in zip(shape, noise_shape, strict=True)
        )
    mask, scale = keep_mask(shape, rate, key)
    # `where`, not a product with 0: an infinity that is dropped must not give NaN.
    return ops.where(mask, x * ops.cast(scale, x.dtype), ops.zeros((), dtype=x.dtype))


@keras.saving.register_keras_serializable(package="kerasreg")
class ScheduledDropout(keras.layers.Layer):
    """Dropout with a rate that may be scheduled, moved and searched.

    In training, an element is kept with probability `1 - p(t)` and divided by
    it, else it is 0; at inference the layer is the identity. `p(t)` is the rate
    at training step `t`. The layer counts training steps by itself (see
    `kerasreg.schedules.Hyperparameter`), so no callback is needed, and the
    count, the rate and the seed are saved with the model: a reloaded layer goes
    on with the masks that it would have drawn.

    In contrast to `keras.layers.Dropout`, the rate is read when the program
    runs: `layer.rate.assign(0.3)` acts on a compiled model; and each replica of
    a `tf.distribute` strategy draws its own mask.

    Args:
        rate: fraction of elements to drop, a number from 0 to 1 or a schedule
            of such numbers over training steps.
        noise_shape: shape of the mask, as in `keras.layers.Dropout`: entries
            that are None take the size of the input, entries 1 share a mask.
        seed: an integer; equal seeds give equal masks. By default drawn at
            random (under `keras.utils.set_random_seed`), and kept in the config.
        **kwargs: `name`, `dtype`, `trainable` of a Keras layer.

    Call arguments:
        inputs: a floating-point tensor of any shape.
        training: True drops, False does not; None, as in any Keras layer, means
            what the surrounding call says.

    Returns:
        A tensor of the shape and dtype of `inputs`.

    Raises:
        ValueError: if the rate is outside [0, 1] or is a schedule that leaves it.

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
        super().__init__(**kwargs)
        if seed is None:
            seed = python_random.randint(0, 2**31 - 1)
        self.seed = check_count("seed", seed, minimum=0)
        self.noise_shape = _check_noise_shape(noise_shape)
        self._rate = Hyperparameter(rate, "rate", maximum=1.0, count_steps=True)
        self.supports_masking = True
        self.built = True

    @property
    def rate(self) -> keras.Variable:
        """The rate of the last training step: a scalar variable, which may be assigned."""
        return self._rate.variable

    @property
    def step(self) -> keras.Variable:
        """How many training steps the layer has seen: a scalar int32 variable."""
        return self._rate.step

    @property
    def schedule(self) -> Any:
        """The schedule of the rate, or None."""
        return self._rate.schedule

    def call(self, inputs: Any, training: bool | None = False) -> Any:
        if not training:
            return inputs
        rate, step = self._rate.current(training=True)
        # A layer that is shared in one pass draws another mask for each use.
        use = self._rate.uses_in_pass()
        return dropout(inputs, rate, key(self.seed, step, use, replica_id()), self.noise_shape)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "rate": self._rate.get_value(),
            "noise_shape": self.noise_shape,
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> ScheduledDropout:
        return cls(**config)

    # A weights file has no config: with a seed that was drawn at random, a new
    # process could not go on with the same masks. Static: the seed is part of the
    # trace, and is loaded before there is one.
    def save_own_variables(self, store: Any) -> None:
        store["seed"] = np.array(self.seed, dtype="int64")

    def load_own_variables(self, store: Any) -> None:
        if "seed" in store.keys():  # noqa: SIM118 - not a dict
            self.seed = int(np.array(store["seed"]))


def _check_noise_shape(noise_shape: Any) -> tuple[int | None, ...] | None:
    if noise_shape is None:
        return None
    expected = "None, or a sequence whose entries are None or whole numbers >= 1"
    if isinstance(noise_shape, (str, bytes)) or not hasattr(noise_shape, "__iter__"):
        raise ValueError(f"`noise_shape` must be {expected}. Received: noise_shape={noise_shape!r}")
    entries = tuple(noise_shape)
    for entry in entries:
        if entry is not None and (not isinstance(entry, int) or entry < 1):
            raise ValueError(
                f"`noise_shape` must be {expected}. Received: noise_shape={noise_shape!r}"
            )
    return entries
