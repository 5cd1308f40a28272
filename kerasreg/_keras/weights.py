"""The weights that a layer has of its own, and the kernels among them."""

from __future__ import annotations

from typing import Any

from kerasreg._keras.internals import inner_layers


def is_kernel(variable: Any) -> bool:
    """Whether a variable is one by which inputs are multiplied and summed."""
    return len(variable.shape) >= 2 and str(variable.name).endswith("kernel")


def kernels(operation: Any) -> list[Any]:
    """The kernels of a layer and of what is in it, in the order in which they were made."""
    return [variable for variable in getattr(operation, "weights", []) if is_kernel(variable)]


# Weights that may have several axes, and scale or shift their inputs one by one.
_ELEMENTWISE = (
    "alpha",
    "beta",
    "gamma",
    "mean",
    "moving_mean",
    "moving_variance",
    "scale",
    "variance",
)


def has_matrix(operation: Any) -> bool:
    """Whether an operation may mix its inputs: it has another weight of rank 2 or more."""
    return any(
        len(variable.shape) >= 2 and variable.name not in _ELEMENTWISE
        for variable in getattr(operation, "weights", [])
    )


def own_weights(layer: Any) -> list[Any]:
    """The weights of a layer that are in none of the layers in it."""
    inner = {id(weight) for other in inner_layers(layer) for weight in other.weights}
    return [weight for weight in layer.weights if id(weight) not in inner]
