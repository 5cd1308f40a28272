"""Activations as Keras has them: their names, and what they do to arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from kerasreg._validation import check_choice

# Layers that are an activation and nothing else: all of Keras' own, from 3.10 to 3.15.
ACTIVATION_LAYERS = (
    keras.layers.Activation,
    keras.layers.ELU,
    keras.layers.LeakyReLU,
    keras.layers.PReLU,
    keras.layers.ReLU,
    keras.layers.Softmax,
)


def activation_name(activation: Any) -> str:
    if activation is None:
        return "linear"
    if callable(activation):
        return str(getattr(activation, "__name__", type(activation).__name__))
    return str(activation)


def set_activation(layer: keras.Layer, attribute: str, activation: Any) -> None:
    """How does a built layer get another activation? By its attribute, which the layer calls.

    Read for Keras 3.10 to 3.15.

    Args:
        layer: the layer.
        attribute: the attribute that has the activation, such as `"recurrent_activation"`.
        activation: the new one.

    Raises:
        AttributeError: if the layer has no such attribute.
    """
    getattr(layer, attribute)
    setattr(layer, attribute, activation)


def elementwise(activation: Any) -> Callable[[np.ndarray], np.ndarray]:
    """An activation as a function of NumPy arrays.

    Raises:
        ValueError: if it is unknown, or not elementwise.
    """
    if callable(activation):
        function = activation
    else:
        names = [name for name in dir(keras.activations) if not name.startswith("_")]
        names = [name for name in names if name not in ("get", "serialize", "deserialize")]
        function = getattr(
            keras.activations, check_choice("activation", activation_name(activation), names)
        )

    def of_array(x: np.ndarray) -> np.ndarray:
        try:
            y = np.asarray(ops.convert_to_numpy(function(ops.convert_to_tensor(x))), "float64")
        except Exception as error:  # It is the user's: it may raise anything.
            raise ValueError(
                "`activation` must be a function of arrays. "
                f"Received: activation={activation_name(activation)!r}, which raised {error!r}"
            ) from error
        return y

    probe = np.array([[-2.0, -0.5, 0.25], [0.5, 1.0, 3.0]])
    whole = of_array(probe)
    # The same values, in other company.
    if whole.shape != probe.shape or not np.allclose(whole[:, 1:], of_array(probe[:, 1:])):
        raise ValueError(
            "`activation` must be an elementwise function. "
            f"Received: activation={activation_name(activation)!r}"
        )
    return of_array
