"""Whether the outputs of a model are probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import layers, tree

from kerasreg._keras.internals import (
    functional_of,
    is_functional,
    is_in_graph,
    node_of,
    output_place,
    output_structure,
)
from kerasreg.layers import NoisyLayer

# The last axis is as it was, at most with axes of one beside it.
_SAME_VALUES = ("Cast", "Copy", "Identity", "StopGradient")
_SAME_ORDER = ("Reshape", "Squeeze", "ExpandDims")
_NOTHING_AT_INFERENCE = (
    layers.Dropout,
    layers.SpatialDropout1D,
    layers.SpatialDropout2D,
    layers.SpatialDropout3D,
    layers.GaussianDropout,
    layers.GaussianNoise,
    layers.AlphaDropout,
    layers.ActivityRegularization,
    layers.Identity,
)
# Of probabilities at several places.
_MEANS = (
    layers.GlobalAveragePooling1D,
    layers.GlobalAveragePooling2D,
    layers.GlobalAveragePooling3D,
)
_OF_THEIR_INPUT = (layers.Dense, layers.EinsumDense, layers.Conv1D, layers.Conv2D, layers.Conv3D)
_SIGMOIDS = (keras.activations.sigmoid, keras.activations.hard_sigmoid)
_CROSSENTROPIES = (
    keras.losses.BinaryCrossentropy,
    keras.losses.BinaryFocalCrossentropy,
    keras.losses.CategoricalCrossentropy,
    keras.losses.CategoricalFocalCrossentropy,
    keras.losses.SparseCategoricalCrossentropy,
)
_FUNCTIONS = (
    "binary_crossentropy",
    "binary_focal_crossentropy",
    "categorical_crossentropy",
    "categorical_focal_crossentropy",
    "sparse_categorical_crossentropy",
)


def scores_of(
    model: keras.Model, classes: int, values: Mapping[str, np.ndarray] | None
) -> str | None:
    """What the only output of a model is, of shape (batch, classes).

    The graph of the model tells: through nested models, layers of activations, functions of
    `keras.ops`, changes of shape and type, dropout and averages. Where it does not, outputs do that
    are positive and sum to 1; and for models and layers of a class of one's own the crossentropy
    that the model is compiled with.

    Args:
        model: a built model.
        classes: the size of the output.
        values: outputs by name, or None where there are none to look at.

    Returns:
        `"probabilities"`: of the classes, or of each class by itself. `"logits"`: of the classes,
        before a softmax. None for anything else.
    """
    structure = output_structure(model)
    if structure is None:
        functional = functional_of(model)
        structure = None if functional is None else output_structure(functional)
    (tensor,) = tree.flatten(structure) if structure is not None else (None,)
    found = "unknown" if tensor is None else _ends_with(tensor)
    if found in ("softmax", "sigmoid"):
        return "probabilities"
    of_logits = _from_logits(model)
    if found == "logits" or (found == "unknown" and of_logits is True):
        return "logits" if classes > 1 and of_logits in (True, "not compiled") else None
    within = sums = None
    if values is not None:
        (scores,) = (np.asarray(value, "float64") for value in values.values())
        within = bool(np.all((scores >= 0) & (scores <= 1)))
        sums = within and classes > 1 and bool(np.allclose(scores.sum(-1), 1, atol=1e-2))
    if sums:
        return "probabilities"
    if found == "unknown" and of_logits is False and within is not False:
        return "probabilities"
    return None


def _ends_with(tensor: Any) -> str:
    """`"softmax"`, `"sigmoid"`, `"logits"`, `"other"`, or `"unknown"`, of what made a tensor."""
    while True:
        if not is_in_graph(tensor):
            return "unknown"
        node, kind = node_of(tensor), None
        operation = node.operation
        activation = getattr(operation, "activation", None)
        name = type(operation).__name__
        ours = type(operation).__module__.startswith(("keras.", "kerasreg."))
        if is_functional(operation) or isinstance(operation, keras.Sequential):
            inner = functional_of(operation)
            if inner is None:
                return "unknown"
            tensor = tree.flatten(output_structure(inner))[output_place(tensor)]
            continue
        if hasattr(operation, "member_outputs"):
            return _of_members(operation, output_place(tensor))
        if isinstance(operation, layers.Softmax) or name == "Softmax":
            kind = "softmax" if _is_last(operation.axis, tensor) else "other"
        elif isinstance(operation, layers.Activation) and activation is keras.activations.linear:
            pass
        elif isinstance(operation, (layers.Activation, *_OF_THEIR_INPUT)):
            kind = _of_activation(activation)
        elif name in ("Sigmoid", "HardSigmoid") and ours:
            kind = "sigmoid"
        elif isinstance(operation, layers.Average):
            kinds = {_ends_with(one) for one in node.input_tensors}
            kind = kinds.pop() if len(kinds) == 1 else "other"
        elif isinstance(operation, (*_NOTHING_AT_INFERENCE, *_MEANS, NoisyLayer)):
            pass
        elif name == "GetItem" and ours:
            inner = _ends_with(node.input_tensors[0])
            some = inner == "sigmoid" or (inner == "softmax" and _is_one(tensor))
            kind = "sigmoid" if some else "other"
        elif isinstance(operation, (layers.Reshape, layers.Flatten)) or (
            name in _SAME_ORDER and ours
        ):
            if not _keeps_classes(tensor, node.input_tensors[0]):
                kind = "other"
        elif not (name in _SAME_VALUES and ours):
            kind = "other" if type(operation).__module__.startswith("keras.") else "unknown"
            if isinstance(operation, (layers.Lambda, keras.Model)):
                kind = "unknown"
        if kind is not None:
            return kind
        tensor = node.input_tensors[0]


def _of_members(mean: Any, place: int) -> str:
    """Of the mean that an ensemble takes; behind the means there are spreads."""
    every = mean.member_outputs()
    if place >= len(every[0]):
        return "other"
    if mean.logits != "none":
        return "logits"
    kinds = {_ends_with(outputs[place]) for outputs in every}
    return kinds.pop() if len(kinds) == 1 else "unknown"


def _of_activation(activation: Any) -> str:
    if activation is keras.activations.softmax:
        return "softmax"
    if activation in _SIGMOIDS:
        return "sigmoid"
    if isinstance(activation, keras.layers.Softmax):
        return "softmax" if activation.axis == -1 else "other"
    if activation is keras.activations.linear:
        return "logits"
    return "other" if getattr(activation, "__module__", "").startswith("keras.") else "unknown"


def _is_last(axis: Any, tensor: Any) -> bool:
    return axis in (-1, len(tensor.shape) - 1)


def _is_one(tensor: Any) -> bool:
    return all(size == 1 for size in tensor.shape[1:])


def _keeps_classes(after: Any, before: Any) -> bool:
    """Whether each example has its scores on one axis before and after a change of shape."""
    sizes = [[size for size in one.shape[1:] if size != 1] for one in (after, before)]
    return sizes[0] == sizes[1] and len(sizes[0]) <= 1 and None not in sizes[0]


def _from_logits(model: keras.Model) -> bool | str | None:
    """Of the crossentropy that a model is compiled with; None if it is another loss."""
    if not getattr(model, "compiled", False):
        return "not compiled"
    loss = getattr(model, "loss", None)
    losses = tree.flatten(loss)
    if len(losses) != 1:
        return None
    loss = keras.losses.get(losses[0])
    if getattr(loss, "__name__", None) in _FUNCTIONS:
        return False
    return bool(loss.get_config()["from_logits"]) if isinstance(loss, _CROSSENTROPIES) else None
