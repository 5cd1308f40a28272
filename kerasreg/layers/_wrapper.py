"""The base class of wrappers that change a layer in training."""

from __future__ import annotations

from typing import Any

import keras

from kerasreg._keras.internals import takes_mask, takes_training
from kerasreg.layers._noise_stream import NoisyLayer


class NoisyWrapper(NoisyLayer, keras.layers.Wrapper):
    """Base class of wrappers that give a layer other inputs or weights in training."""

    def __init__(self, layer: keras.layers.Layer, **kwargs: Any) -> None:
        check_layer(layer)
        super().__init__(layer, **kwargs)
        self.supports_masking = layer.supports_masking

    def call_layer(self, inputs: Any, training: bool | None, mask: Any, **kwargs: Any) -> Any:
        """Calls the layer, with `training` and `mask` where the layer takes them."""
        if takes_training(self.layer):
            kwargs["training"] = training
        if takes_mask(self.layer):
            kwargs["mask"] = mask
        return self.layer(inputs, **kwargs)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        return self.layer.compute_mask(inputs, previous_mask)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return self.layer.compute_output_shape(input_shape)

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        # By tracing the call: a layer of one's own may have no `compute_output_shape`.
        return keras.Operation.compute_output_spec(self, *args, **kwargs)


def check_layer(layer: Any) -> None:
    """Raises a `ValueError` if `layer` is no Keras layer."""
    if not isinstance(layer, keras.layers.Layer):
        raise ValueError(f"`layer` must be a Keras layer. Received: layer={layer!r}")


def kernels(layer: keras.layers.Layer) -> list[keras.Variable]:
    """The kernels of a layer that is built, or a `ValueError` if there are none."""
    found = [variable for variable in layer.variables if variable.name.endswith("kernel")]
    floating = [kernel for kernel in found if keras.backend.is_float_dtype(kernel.dtype)]
    if not floating or len(floating) < len(found):
        raise ValueError(
            "`layer` must have floating-point weights whose names end in 'kernel'. "
            f"Received: layer={layer.name!r} of type {type(layer).__name__}, with the weights "
            f"{[f'{variable.name} ({variable.dtype})' for variable in layer.variables]}"
        )
    return floating
