"""Dropout of weights (Wan et al. 2013, "Regularization of neural networks using DropConnect")."""

from __future__ import annotations

from typing import Any

import keras

from kerasreg._keras.hyperparameter import Hyperparameter, NumberOrSchedule, PartOfPass
from kerasreg._keras.internals import forget_loss
from kerasreg.layers._dropout import dropout
from kerasreg.layers._noise_stream import NoiseStream
from kerasreg.layers._wrapper import NoisyWrapper, kernels
from kerasreg.random import fold_in


@keras.saving.register_keras_serializable(package="kerasreg")
class DropConnect(NoisyWrapper):
    """Drops weights of a layer in training, at a rate that may be scheduled.

    `layer(x; W · M / (1 - p(t)))`, with a mask `M` of the shape of each kernel `W`
    whose entries are 1 with probability `1 - p(t)`, else 0. Biases are kept. At inference the
    wrapper calls the layer alone.
    Schedules, seeds, replicas and resuming work as in `ScheduledDropout`.

    All examples of a batch on a replica share one mask, as in most implementations. The paper
    draws a mask for each example, and approximates inference by a Gaussian instead of the mean
    weights.

    Args:
        layer: any Keras layer with weights whose names end in `kernel`: `Dense`,
            `EinsumDense`, `Conv1D` to `Conv3D`, depthwise, separable and transposed
            convolutions, and recurrent layers. A recurrent layer has the same mask at every
            time step.
        rate: probability `p` that a weight is dropped, a number from 0 to 1 or a
            schedule of such numbers over training steps.
        seed: an integer; equal seeds give equal masks.
        **kwargs: `name`, `dtype`, `trainable` of a Keras layer.

    Call arguments:
        inputs: the inputs of the layer.
        training: True drops, False does not.

    Returns:
        The outputs of the layer.

    Raises:
        ValueError: if the rate is outside [0, 1], or `layer` is no Keras layer, or `layer` has
            no floating-point kernel.

    Example:

    >>> import keras, kerasreg
    >>> layer = kerasreg.layers.DropConnect(keras.layers.Dense(3), rate=0.5, seed=1)
    >>> layer(keras.ops.ones((2, 4)), training=True).shape
    TensorShape([2, 3])
    """

    def __init__(
        self,
        layer: keras.layers.Layer,
        rate: NumberOrSchedule,
        *,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(layer, **kwargs)
        self._rate = Hyperparameter(rate, "rate", maximum=1.0, count_steps=True)
        self._stream = NoiseStream(seed, self._rate)

    @property
    def rate(self) -> keras.Variable:
        """The rate of the last training step: a scalar variable, which may be assigned."""
        return self._rate.variable

    @property
    def schedule(self) -> Any:
        """The schedule of the rate, or None."""
        return self._rate.schedule

    def build(self, input_shape: Any = None) -> None:
        super().build(input_shape)
        kernels(self.layer)

    def call(
        self, inputs: Any, training: bool | None = False, mask: Any = None, **kwargs: Any
    ) -> Any:
        drawn = self._stream.draw(training)
        if drawn is None:
            return self.call_layer(inputs, training, mask, **kwargs)
        rate, key = drawn
        # Every variable is given to the scope: within it, one that surrounds it is
        # not seen.
        values = {id(variable): variable.value for variable in self.layer.variables}
        for index, kernel in enumerate(kernels(self.layer)):
            values[id(kernel)] = dropout(kernel.value, rate, fold_in(key, index))
        pairs = [(variable, values[id(variable)]) for variable in self.layer.variables]
        with PartOfPass(state_mapping=pairs, collect_losses=True) as scope:
            given = [scope.get_current_value(variable) for variable, _ in pairs]
            outputs = self.call_layer(inputs, training, mask, **kwargs)
        # What the layer assigned in the scope, such as a seed or a step, is kept.
        for (variable, _), before in zip(pairs, given, strict=True):
            after = scope.get_current_value(variable)
            if after is not before:
                variable.assign(after)
        # And so are the losses that it added, such as an activity regularizer's.
        for loss in scope.losses:
            self.add_loss(loss)
            # Where a scope surrounds this one, the layer that added it counts it.
            forget_loss(self, loss)
        return outputs

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rate": self._rate.serialized_value(), "seed": self.seed}
