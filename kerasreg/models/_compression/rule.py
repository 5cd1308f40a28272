"""The base class of rules: how channels go through one kind of layer."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from kerasreg._keras.weights import own_weights
from kerasreg.models._compression.channels import Channels, Tensor

Shape = tuple[int | None, ...]

_ELEMENTWISE = {
    "celu", "elu", "exponential", "gelu", "hard_shrink", "hard_sigmoid", "hard_silu", "hard_tanh",
    "leaky_relu", "linear", "log_sigmoid", "mish", "relu", "relu6", "selu", "sigmoid", "silu",
    "soft_shrink", "softplus", "softsign", "sparse_plus", "squareplus", "swish", "tanh",
    "tanh_shrink", "threshold",
}  # fmt: skip


class LayerRule:
    """One use of a layer: how channels go through it, and the layer without some of them.

    Args:
        layer: a built layer.
        inputs: what is known of each of its inputs.
        shape: the shape of its output, without the batch.
    """

    def __init__(self, layer: Any, inputs: list[Tensor], shape: Shape) -> None:
        self.layer = layer
        self.inputs = inputs
        self.shape = shape

    output: Tensor  # What `analyse` returned.
    pads = False  # Whether it puts zeros beside what it is given.

    @staticmethod
    def has_width(layer: Any) -> bool:
        """Whether an argument of such a layer is a number of channels."""
        return False

    @staticmethod
    def takes(inputs: list[Tensor], shape: Shape) -> bool:
        """Whether such a layer is given what the rule follows; `shape` is that of its output."""
        return len(inputs) == 1 and bool(inputs[0].shape)

    @staticmethod
    def unsupported_reason(layer: Any) -> str | None:
        """Why such a layer is not followed, or None."""
        if getattr(layer, "data_format", None) == "channels_first":
            return "its channels are not the last axis"
        return None

    def analyse(self, channels: Channels) -> Tensor:
        """Says what it looks at; returns what is known of its output."""
        raise NotImplementedError

    def config(self, stays: np.ndarray) -> dict[str, Any]:
        """The changes of the layer's config, where a mask says which channels stay."""
        return {}

    def copy(self, new: Any, stays: np.ndarray) -> None:
        """Gives the values of what stays to the layer of the smaller model."""
        self.assign(new, stays)
        # Strengths, rates and seeds, which are no weights.
        for mine, theirs in zip(_others(new), _others(self.layer), strict=True):
            mine.assign(np.array(ops.convert_to_numpy(theirs)))

    def assign(self, new: Any, stays: np.ndarray) -> None:
        """Gives the weights of what stays to the layer of the smaller model."""
        for mine, theirs in zip(own_weights(new), own_weights(self.layer), strict=True):
            mine.assign(np.array(ops.convert_to_numpy(theirs)))


def _others(layer: Any) -> list[Any]:
    own = {id(weight) for weight in own_weights(layer)}
    return [variable for variable in layer.variables if id(variable) not in own]


def is_elementwise(activation: Any) -> bool:
    """Whether a function is one of Keras' that works on each number by itself."""
    known = (getattr(keras.activations, name, None) for name in _ELEMENTWISE)
    return activation is None or any(activation is function for function in known)


def applied(function: Any, constant: np.ndarray, layer: Any) -> np.ndarray:
    """A function of each number, of constants, in the precision in which a layer computes."""
    if function is None:
        return constant
    varies = np.isnan(constant)  # Some functions make a number of NaN.
    value = ops.convert_to_tensor(np.where(varies, 0.0, constant)[None], dtype=layer.compute_dtype)
    value = np.array(ops.convert_to_numpy(function(value))[0], dtype="float64")
    return np.where(varies, np.nan, value)


def array(weight: Any, default: float = 0.0) -> Any:
    """A weight in float64, or a number where there is none."""
    return default if weight is None else np.array(weight, dtype="float64")
