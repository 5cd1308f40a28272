"""The base class of dropout layers whose rate is scheduled."""

from __future__ import annotations

from typing import Any

import keras

from kerasreg._keras.hyperparameter import Hyperparameter, NumberOrSchedule
from kerasreg._validation import check_choice
from kerasreg.layers._noise_stream import NoiseStream, NoisyLayer
from kerasreg.random import Key

# Rates at which noise of infinite variance would be needed are refused.
BELOW_ONE = 0.999999


class BaseScheduledDropout(NoisyLayer, keras.layers.Layer):
    """Base class: noise of a scheduled rate in training, the identity at inference.

    The layer holds the rate in a variable, counts training steps, moves the rate by its
    schedule, and draws the keys of the noise. Seed, step and rate are saved with the model,
    each replica draws its own noise, and gradient checkpointing repeats the noise.

    Args:
        rate: a number from 0 to `maximum_rate`, or a schedule of such numbers over
            training steps.
        seed: an integer >= 0; equal seeds give equal noise. By default drawn at random (under
            `keras.utils.set_random_seed`), and kept in the config.
        **kwargs: `name`, `dtype`, `trainable` of a Keras layer.

    Attributes:
        rate: the rate of the last training step, a scalar variable that may be assigned.
        schedule: the schedule of the rate, or None.
        step: the number of training steps that the layer has seen, an int32 variable.
        seed: the seed of the noise, an integer.

    Raises:
        ValueError: if the rate is outside [0, `maximum_rate`] or a schedule that leaves this
            range, or the seed is no whole number >= 0.

    Example:

    >>> import keras, kerasreg
    >>> layer = kerasreg.layers.ScheduledDropout(0.5, seed=1)
    >>> isinstance(layer, kerasreg.layers.BaseScheduledDropout)
    True

    To write a layer of your own:

    A subclass must define one method, in operations of `keras.ops`:

    - `drop(inputs, rate, key)` returns the inputs with noise: a tensor of the shape and dtype
      of `inputs`. The rate is a scalar tensor, and the key goes to `kerasreg.random.keep_mask`,
      `uniform`, `normal` or `bits`. The method must be a pure function of its arguments, so
      that it can be traced, vectorised and computed again.

    A subclass with arguments of its own returns them from `get_config`, beside those of
    `super().get_config()`. The class attribute `maximum_rate` is the largest rate accepted, 1
    by default. Registered with `keras.saving.register_keras_serializable`, the layer is
    loaded from files.

    >>> from keras import ops
    >>> @keras.saving.register_keras_serializable("my_package")
    ... class FlippedSigns(kerasreg.layers.BaseScheduledDropout):
    ...     "Flips the sign of a fraction of the elements."
    ...
    ...     maximum_rate = 0.5
    ...
    ...     def drop(self, inputs, rate, key):
    ...         kept, _ = kerasreg.random.keep_mask(ops.shape(inputs), rate, key)
    ...         return ops.where(kept, inputs, -inputs)
    >>> layer = FlippedSigns(kerasreg.schedules.Linear(0.5, 0.0, steps=10), seed=1)
    >>> x = ops.ones((4, 250))
    >>> 300 < int(ops.sum(layer(x, training=True) < 0)) < 700, int(layer.step)
    (True, 1)
    >>> int(ops.sum(layer(x) < 0))
    0
    """

    maximum_rate = 1.0

    def __init__(self, rate: NumberOrSchedule, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._rate = Hyperparameter(rate, "rate", maximum=self.maximum_rate, count_steps=True)
        self._stream = NoiseStream(seed, self._rate)
        self.supports_masking = True
        # As in Keras: a subclass with variables of its own has a `build`, which is still to come.
        self.built = type(self).build is keras.layers.Layer.build

    @property
    def rate(self) -> keras.Variable:
        """The rate of the last training step: a scalar variable, which may be assigned."""
        return self._rate.variable

    @property
    def schedule(self) -> Any:
        """The schedule of the rate, or None."""
        return self._rate.schedule

    def drop(self, inputs: Any, rate: Any, key: Key) -> Any:
        """Adds the noise of one use in training, for subclasses to define.

        Args:
            inputs: a floating-point tensor of any shape that the layer takes.
            rate: the rate at this step, a scalar tensor from 0 to `maximum_rate`.
            key: the key of this use, for the functions of `kerasreg.random`.

        Returns:
            A tensor of the shape and dtype of `inputs`.
        """
        raise NotImplementedError

    def call(self, inputs: Any, training: bool | None = False) -> Any:
        """The inputs with noise in training, and the inputs themselves at inference."""
        drawn = self._stream.draw(training)
        return inputs if drawn is None else self.drop(inputs, *drawn)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of the inputs."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The arguments; a rate that was assigned is given as it is now."""
        config = super().get_config()
        return {**config, "rate": self._rate.serialized_value(), "seed": self.seed}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """Makes a layer from its config, at step 0."""
        return cls(**config)


def check_noise_shape(noise_shape: Any) -> tuple[int | None, ...] | None:
    """The noise shape as a tuple, or a `ValueError`."""
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


def check_data_format(data_format: str | None) -> str:
    """The data format, or Keras' default."""
    if data_format is None:
        return str(keras.config.image_data_format())
    return check_choice("data_format", data_format, ("channels_last", "channels_first"))
