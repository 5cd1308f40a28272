"""Dropout whose rate is learned (Gal, Hron and Kendall 2017, arXiv:1705.07832)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from kerasreg._keras.hyperparameter import Hyperparameter, NumberOrSchedule
from kerasreg._validation import check_number
from kerasreg.layers._base import check_noise_shape
from kerasreg.layers._dropout import mask_shape
from kerasreg.layers._noise_stream import NoiseStream
from kerasreg.layers._wrapper import NoisyWrapper, kernels
from kerasreg.random import Key, uniform


def concrete_dropout(
    x: Any, logit: Any, key: Key, *, temperature: Any = 0.1, noise_shape: Any = None
) -> Any:
    """Dropout relaxed to a continuous mask, through which the rate has a gradient.

    `y = x · (1 - d) / (1 - p)`, `d = sigmoid((logit(p) + logit(u)) / temperature)`,
    `u` uniform on (0, 1). Towards temperature 0, `d` becomes 1 with probability `p`, and 0
    otherwise.

    Args:
        x: a floating-point tensor.
        logit: `log(p / (1 - p))`, a scalar tensor.
        key: the key of the mask, from `kerasreg.random.key`.
        temperature: a number > 0 or a scalar tensor.
        noise_shape: shape of the mask, as for `dropout`.

    Returns:
        A tensor of the shape and dtype of `x`.

    Example:

    >>> import numpy as np, kerasreg
    >>> x = np.ones((2, 3), "float32")
    >>> kerasreg.layers.concrete_dropout(x, -2.0, kerasreg.random.key(7)).shape
    TensorShape([2, 3])
    """
    x = ops.convert_to_tensor(x)
    u = uniform(mask_shape(noise_shape, x), key)
    logit = ops.cast(logit, "float32")
    kept = ops.sigmoid(-(logit + ops.log(u) - ops.log(1.0 - u)) / temperature)
    return x * ops.cast(kept / ops.sigmoid(-logit), x.dtype)


class _Regularization(keras.regularizers.Regularizer):
    """A method of a layer as a regularizer, for older versions of Keras."""

    def __init__(self, penalty: Callable[[Any], Any]) -> None:
        self.penalty = penalty

    def __call__(self, logit: Any) -> Any:
        return self.penalty(logit)


@keras.saving.register_keras_serializable(package="kerasreg")
class ConcreteDropout(NoisyWrapper):
    """Drops the inputs of a layer at a rate that is learned with the weights.

    In training the wrapper multiplies the inputs by a relaxed mask (see
    `kerasreg.layers.concrete_dropout`), whose rate `p` is a trainable weight. At inference the
    wrapper calls the layer alone. The wrapper adds to the loss of the model

    `weight_regularizer · Σ‖W‖² / (1 - p) + dropout_regularizer · K · (p log p + (1 -
    p) log(1 - p))`,

    over the kernels `W` of the layer, with `K` input features. The paper has a prior length
    scale `l`, `N` examples and a model precision `τ`. For a mean squared error the paper's
    objective has `weight_regularizer = l² / (τN)` and `dropout_regularizer = 2 / (τN)`. For a
    mean cross-entropy take half of each, with `τ = 1`.

    Args:
        layer: any Keras layer with weights whose names end in `kernel`.
        weight_regularizer: a number >= 0 or a schedule of such numbers over training steps.
        dropout_regularizer: a number >= 0 or a schedule of such over training
            steps. A larger number draws `p` closer to 1/2.
        initial_rate: the first `p`, from 0.001 to 0.999.
        temperature: the temperature of the relaxation, a number from 0.01 to 100 or a schedule
            of such numbers over training steps.
        noise_shape: shape of the mask, as in `ScheduledDropout`; `(None, 1, 1, None)`
            drops whole feature maps of a convolution's inputs.
        seed: an integer; equal seeds give equal masks.
        **kwargs: `name`, `dtype`, `trainable` of a Keras layer.

    Call arguments:
        inputs: a floating-point tensor that the layer takes, features last, or
            first for a layer with `data_format="channels_first"`.
        training: True drops, False does not.

    Returns:
        The outputs of the layer.

    Raises:
        ValueError: if a number is outside its range, or `layer` is no Keras layer, or `layer`
            has no floating-point kernel.

    Example:

    >>> import keras, kerasreg
    >>> layer = kerasreg.layers.ConcreteDropout(
    ...     keras.layers.Dense(3), 1e-4, dropout_regularizer=1e-3
    ... )
    >>> layer(keras.ops.ones((2, 4)), training=True).shape, round(float(layer.rate), 3)
    (TensorShape([2, 3]), 0.1)
    """

    def __init__(
        self,
        layer: keras.layers.Layer,
        weight_regularizer: NumberOrSchedule = 1e-6,
        *,
        dropout_regularizer: NumberOrSchedule = 1e-5,
        initial_rate: float = 0.1,
        temperature: NumberOrSchedule = 0.1,
        noise_shape: Sequence[int | None] | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(layer, **kwargs)
        self.supports_masking = layer.supports_masking
        self._weight_regularizer = Hyperparameter(weight_regularizer, "weight_regularizer")
        self._dropout_regularizer = Hyperparameter(dropout_regularizer, "dropout_regularizer")
        self.initial_rate = check_number("initial_rate", initial_rate, 0.001, 0.999)
        self._temperature = Hyperparameter(
            temperature, "temperature", minimum=0.01, maximum=100.0, count_steps=True
        )
        self.noise_shape = check_noise_shape(noise_shape)
        self._stream = NoiseStream(seed, self._temperature)

    def build(self, input_shape: Any = None) -> None:
        super().build(input_shape)
        kernels(self.layer)
        first = getattr(self.layer, "data_format", "channels_last") == "channels_first"
        self._features = input_shape[1 if first else -1]
        logit = math.log(self.initial_rate / (1.0 - self.initial_rate))
        self.logit = self.add_weight(
            name="logit",
            shape=(),
            initializer=keras.initializers.Constant(logit),
            # A difference of rates below 1/1000 is no difference in float16.
            autocast=False,
            # Keras evaluates it outside of the call: in full precision, once a
            # step, and scaled rightly over replicas.
            regularizer=_Regularization(self._penalty),
        )

    @property
    def rate(self) -> Any:
        """The rate `p` as it is now: a scalar tensor."""
        return ops.sigmoid(self.logit)

    def _penalty(self, logit: Any) -> Any:
        weight_strength, *_ = self._weight_regularizer.current()
        entropy_strength, *_ = self._dropout_regularizer.current()
        squares = sum(
            ops.sum(ops.square(ops.cast(kernel, logit.dtype))) for kernel in kernels(self.layer)
        )
        p, log_p, log_q = ops.sigmoid(logit), ops.log_sigmoid(logit), ops.log_sigmoid(-logit)
        negative_entropy = p * log_p + (1.0 - p) * log_q
        return (
            weight_strength * squares / (1.0 - p)
            + entropy_strength * self._features * negative_entropy
        )

    def call(
        self, inputs: Any, training: bool | None = False, mask: Any = None, **kwargs: Any
    ) -> Any:
        drawn = self._stream.draw(training)
        if drawn is not None:
            temperature, key = drawn
            inputs = concrete_dropout(
                inputs, self.logit, key, temperature=temperature, noise_shape=self.noise_shape
            )
        return self.call_layer(inputs, training, mask, **kwargs)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "weight_regularizer": self._weight_regularizer.serialized_value(),
            "dropout_regularizer": self._dropout_regularizer.serialized_value(),
            "initial_rate": self.initial_rate,
            "temperature": self._temperature.serialized_value(),
            "noise_shape": self.noise_shape,
            "seed": self.seed,
        }
