"""The activation that follows a kernel, in its layer or further on in the graph."""

from __future__ import annotations

import heapq
import re
from typing import Any

import keras

from kerasreg._keras.activations import ACTIVATION_LAYERS
from kerasreg._keras.graph import Graph
from kerasreg._keras.ignored_attributes import module_of


def activation_behind(
    layer: Any, graph: Graph | None = None, index: int | None = None
) -> tuple[Any, bool]:
    """The activation that a layer's kernel works for, and whether it makes an output.

    It is the layer's own; or, where that is linear, the nearest one in the graph
    past layers that multiply by no matrix: normalisation, dropout, reshaping,
    pooling, addition. Of several ways onwards, the one that comes first in the
    graph counts.

    Args:
        layer: the layer with the kernel.
        graph: the model's graph, or None.
        index: the use of the graph that is, or contains, the layer.

    Returns:
        The activation as a name or a function, None for none; and True where no
        layer with a kernel comes behind.
    """
    own = _own_activation(layer)
    if graph is None or index is None:
        return own, False
    is_output = bool(graph.outputs >> index & 1)
    whole = graph.uses[index].operation
    # The graph continues behind the whole of which this layer may be a part.
    if own is not None or layer is not whole:
        return own, is_output and layer is whole
    ahead = list(graph.consumers[index])
    heapq.heapify(ahead)
    seen = set(ahead)
    while ahead:
        use = heapq.heappop(ahead)
        operation = graph.uses[use].operation
        if graph.matrices >> use & 1:  # Whose own activation is for its own kernel.
            continue
        found = _own_activation(operation)
        if found is not None:
            return found, is_output
        for consumer in graph.consumers[use]:
            if consumer not in seen:
                seen.add(consumer)
                heapq.heappush(ahead, consumer)
    return None, is_output


def _own_activation(operation: Any) -> Any:
    """The activation of a layer or an operation; None for no activation or a linear one."""
    if isinstance(operation, keras.layers.PReLU):
        return "relu"  # Which it begins as, unless its slopes do not begin at zero.
    if isinstance(operation, keras.layers.Softmax):
        return "softmax"
    if type(operation) in ACTIVATION_LAYERS:
        found = getattr(operation, "activation", operation)
    elif isinstance(operation, keras.layers.Layer):
        found = getattr(operation, "activation", None)
    else:  # keras.ops.relu(x) in a functional model is an operation named Relu.
        name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(operation).__name__).lower()
        name = {"re_lu": "relu", "re_lu6": "relu6"}.get(name, name)
        is_one = module_of(type(operation)) == "keras"
        known = is_one and callable(getattr(keras.activations, name, None)) and name != "get"
        # The operation itself: it knows its slope.
        found = operation if known else None
        if name in ("softmax", "log_softmax", "sparsemax") and known:
            found = name
    return None if found is keras.activations.linear else found
