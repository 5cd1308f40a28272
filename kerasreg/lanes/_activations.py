"""Activations as values of lanes: several of them side by side, of which each lane takes one.

A model that stands for others has a `ChosenActivation` where these differ. The number of the one
that is taken is in a variable, and so may differ between lanes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import keras
from keras import ops

if TYPE_CHECKING:
    from kerasreg.lanes._structure import ModelStructure

# Of Keras' activations those that take each element by itself.
_NAMES = (
    *("celu", "elu", "exponential", "gelu", "hard_shrink", "hard_sigmoid", "hard_silu"),
    *("hard_tanh", "leaky_relu", "linear", "log_sigmoid", "mish", "relu", "relu6", "selu"),
    *("sigmoid", "silu", "soft_shrink", "softplus", "softsign", "sparse_plus", "squareplus"),
    *("tanh", "tanh_shrink", "threshold"),
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


def merge_activations(model: keras.Model, structures: Sequence[ModelStructure]) -> ModelStructure:
    """Lets a model stand for others that differ from it in activations.

    The model gets a `ChosenActivation` in each place where one of the others has another
    activation. Then it can be the `template` of their `kerasreg.lanes.Lanes`. As a model of its
    own it is of no use any more.

    Args:
        model: a built and compiled model.
        structures: the structures of the others, which may also be narrower.

    Returns:
        The structure of the model.

    Raises:
        ValueError: if the others differ in more than activations and widths.

    Example:

    >>> import keras, numpy as np, kerasreg
    >>> def model(activation):
    ...     hidden = keras.layers.Dense(4, activation)
    ...     model = keras.Sequential([keras.Input((3,)), hidden, keras.layers.Dense(1)])
    ...     model.compile("sgd", "mse")
    ...     return model
    >>> models, template = [model("relu"), model("tanh")], model("relu")
    >>> structures = [kerasreg.lanes.ModelStructure(one) for one in models]
    >>> structure = kerasreg.lanes.merge_activations(template, structures)
    >>> lanes = kerasreg.lanes.Lanes(models, template=template, template_structure=structure)
    >>> x, y = np.ones((8, 3)), np.ones((8, 1))
    >>> len(lanes.fit(x, y))
    2
    """
    from kerasreg.lanes._structure import ModelStructure

    own = ModelStructure(model)
    if any(of.unsized_tokens != own.unsized_tokens for of in structures):
        raise ValueError(
            "`structures` must be of models that differ in activations and widths only. Received: "
            f"{len(structures)} structures, of which some differ in more"
        )
    every = [own, *structures]
    for place, site in enumerate(own.activations):
        names = dict.fromkeys(name for of in every for name in of.activations[place].names)
        if len(names) > 1:
            setattr(site.layer, site.attribute, ChosenActivation(sorted(names)))
    return ModelStructure(model)
