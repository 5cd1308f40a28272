"""Activations as values of lanes: several of them side by side, of which each lane takes one.

A model that stands for others has a `ChosenActivation` where these differ. The number of the one
that is taken is in a variable, and so may differ between lanes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
from keras import ops

# Of Keras' activations those that take each element by itself.
_NAMES = (
    *("celu", "elu", "exponential", "gelu", "hard_shrink", "hard_sigmoid", "hard_silu"),
    *("hard_tanh", "leaky_relu", "linear", "log_sigmoid", "mish", "relu", "relu6", "selu"),
    *("sigmoid", "silu", "soft_shrink", "softplus", "softsign", "sparse_plus", "squareplus"),
    *("tanh", "tanh_shrink"),
)
_functions = {
    id(function): name
    for name in _NAMES
    if (function := getattr(keras.activations, name, None)) is not None
}
# The attributes of layers that are activations.
ATTRIBUTES = ("activation", "recurrent_activation")


class ChosenActivation:
    """One of several activations: that with the number in a variable.

    Args:
        names: the names of the activations.

    Attributes:
        names: the names of the activations.
        number: the variable.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self.number = keras.Variable(0, dtype="int32", trainable=False, name="chosen_activation")

    def __call__(self, x: Any) -> Any:
        found = None
        for number, name in enumerate(self.names):
            chosen = ops.equal(self.number, number)
            # The others are given zeros: none of their gradients is infinite there.
            given = ops.where(chosen, x, ops.zeros_like(x))
            value = getattr(keras.activations, name)(given)
            found = value if found is None else ops.where(chosen, value, found)
        return found


class ActivationSite(NamedTuple):
    """A place in a model where an activation stands.

    Attributes:
        layer: the layer that has the activation.
        attribute: the attribute of the layer.
        activation: the activation.
    """

    layer: keras.Layer
    attribute: str
    activation: Any

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the activations that may be taken."""
        activation = self.activation
        if isinstance(activation, ChosenActivation):
            return activation.names
        return (_functions[id(activation)],)


def is_choosable(layer: Any, attribute: str, value: Any) -> bool:
    """Whether an attribute of a layer is an activation that may be one of several.

    Args:
        layer: the layer, or any other object.
        attribute: the name of the attribute.
        value: its value.
    """
    if attribute not in ATTRIBUTES or not isinstance(layer, keras.Layer):
        return False
    return isinstance(value, ChosenActivation) or id(value) in _functions
