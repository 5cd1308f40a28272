"""The graph of a functional or Sequential model, with nested models laid open.

Keras keeps for each symbolic tensor which operation made it of which others. Names
play no part: the order is that of the model's outputs and of the arguments, in every
process the same.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

import keras

from kerasreg._keras.internals import (
    functional_of,
    has_own_call,
    input_structure,
    is_in_graph,
    made_by,
    node_of,
)
from kerasreg._keras.weights import has_matrix


class Use(NamedTuple):
    """One use of an operation: a shared layer has several."""

    operation: Any
    path: str
    sources: tuple[int, ...]  # Which uses made its inputs.


class Graph:
    """All uses, each behind those that it needs."""

    def __init__(self, uses: list[Use]) -> None:
        self.uses = uses

    @functools.cached_property
    def ancestors(self) -> list[int]:
        """For each use, a set of bits: itself and all that it depends on."""
        found: list[int] = []
        for index, use in enumerate(self.uses):
            bits = 1 << index
            for source in use.sources:
                bits |= found[source]
            found.append(bits)
        return found

    @functools.cached_property
    def consumers(self) -> list[list[int]]:
        """For each use, the uses that take its output."""
        found: list[list[int]] = [[] for _ in self.uses]
        for index, use in enumerate(self.uses):
            for source in dict.fromkeys(use.sources):
                found[source].append(index)
        return found

    @functools.cached_property
    def matrices(self) -> int:
        """A set of bits: the uses that mix their inputs."""
        return sum(1 << n for n, use in enumerate(self.uses) if has_matrix(use.operation))

    @functools.cached_property
    def outputs(self) -> int:
        """A set of bits: the uses behind which nothing mixes its inputs."""
        before = 0
        for index, bits in enumerate(self.ancestors):
            if self.matrices >> index & 1:
                before |= bits & ~(1 << index)
        return ~before & ((1 << len(self.uses)) - 1)


def graph_of(model: Any) -> Graph | None:
    """The graph of a model, or None of one that has none, such as a subclassed one."""
    if not has_graph(model):
        return None
    uses = [Use(made_by(tensor), tensor.name, ()) for tensor in model.inputs]
    _lay_open(model, list(range(len(uses))), "", uses)
    return Graph(uses)


def has_graph(operation: Any) -> bool:
    # A `call` of a class of one's own may do anything before and behind the graph.
    if not isinstance(operation, keras.Model) or has_own_call(operation):
        return False
    try:  # A Sequential model that is not built raises.
        tensors = [*(operation.inputs or ()), *(operation.outputs or ())]
    except (AttributeError, ValueError):
        return False
    return bool(tensors) and all(map(is_in_graph, tensors))


def _lay_open(model: Any, given: list[int], prefix: str, uses: list[Use]) -> list[int]:
    """Appends the uses in a model that is called with `given`; returns its outputs."""
    made = {id(tensor): index for tensor, index in zip(model.inputs, given, strict=True)}
    for node in nodes(model):
        operation = node.operation
        sources = [made[id(tensor)] for tensor in node.input_tensors]
        path = prefix + operation.name
        if has_graph(operation) and (tensors := given_to(operation, node)) is not None:
            inner = []
            for tensor, of in zip(tensors, operation.inputs, strict=True):
                if tensor is None:  # An input that is left out begins there.
                    uses.append(Use(made_by(of), f"{path}/{of.name}", ()))
                inner.append(len(uses) - 1 if tensor is None else made[id(tensor)])
            results = _lay_open(operation, inner, f"{path}/", uses)
        else:
            uses.append(Use(operation, path, tuple(sources)))
            results = [len(uses) - 1] * len(node.outputs)
        for tensor, index in zip(node.outputs, results, strict=True):
            made[id(tensor)] = index
    return [made[id(tensor)] for tensor in model.outputs]


def given_to(model: Any, node: Any) -> list[Any] | None:
    """The tensors that a call of a nested model gives to its inputs, None for one left out.

    Args:
        model: a model that has a graph.
        node: the call of the model.

    Returns:
        A tensor or None for each of the model's inputs. None in place of the list where the
        inputs are not the model's as they are: there is an array among them, or one of
        another rank, which Keras adapts.
    """
    args, kwargs = node.arguments.args, node.arguments.kwargs
    given = args[0] if args else kwargs.get("inputs")
    names = [tensor.name for tensor in model.inputs]
    if isinstance(given, dict) and not isinstance(input_structure(functional_of(model)), dict):
        # Keras then goes by the names of the inputs.
        given = [given[name] for name in names] if set(names) <= set(given) else None
    tensors = keras.tree.flatten(given)
    if len(tensors) != len(names) or {id(t) for t in tensors if t is not None} != {
        id(t) for t in unmasked(node)
    }:
        return None
    fit = [
        t is None or len(t.shape) == len(of.shape)
        for t, of in zip(tensors, model.inputs, strict=True)
    ]
    return tensors if all(fit) else None


def unmasked(node: Any) -> list[Any]:
    """The symbolic tensors that a call is given, in their order, without masks of these."""
    kwargs = {name: of for name, of in node.arguments.kwargs.items() if name != "mask"}
    leaves = keras.tree.flatten((node.arguments.args, kwargs))
    return [leaf for leaf in leaves if isinstance(leaf, keras.KerasTensor)]


def other_arguments(node: Any) -> list[Any]:
    """What a call is given beside symbolic tensors, but for what stands for nothing."""
    leaves = keras.tree.flatten((node.arguments.args, node.arguments.kwargs))
    return [
        leaf
        for leaf in leaves
        if not (isinstance(leaf, keras.KerasTensor) or leaf is None or leaf is False)
    ]


def nodes(model: Any) -> Iterator[Any]:
    """The calls between a model's inputs and outputs, each behind those that it needs."""
    inputs = {id(tensor) for tensor in model.inputs}
    done: set[int] = set()
    # Not recursive: a model may be deeper than Python's stack.
    stack = [(tensor, False) for tensor in reversed(model.outputs)]
    while stack:
        tensor, ready = stack.pop()
        if id(tensor) in inputs:
            continue
        node = node_of(tensor)
        if id(node) in done:
            continue
        if ready:
            done.add(id(node))
            yield node
        else:
            stack.append((tensor, True))
            stack.extend((source, False) for source in reversed(node.input_tensors))
