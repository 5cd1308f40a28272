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

from kerasreg._keras.internals import is_in_graph, made_by, node_of
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
    if not isinstance(operation, keras.Model):
        return False
    try:  # A Sequential model that is not built raises.
        tensors = [*(operation.inputs or ()), *(operation.outputs or ())]
    except (AttributeError, ValueError):
        return False
    return bool(tensors) and all(map(is_in_graph, tensors))


def _lay_open(model: Any, given: list[int], prefix: str, uses: list[Use]) -> list[int]:
    """Appends the uses in a model that is called with `given`; returns its outputs."""
    made_by = {id(tensor): index for tensor, index in zip(model.inputs, given, strict=True)}
    for node in nodes(model):
        operation = node.operation
        sources = [made_by[id(tensor)] for tensor in node.input_tensors]
        path = prefix + operation.name
        if has_graph(operation) and len(operation.inputs) == len(sources):
            results = _lay_open(operation, sources, f"{path}/", uses)
        else:
            uses.append(Use(operation, path, tuple(sources)))
            results = [len(uses) - 1] * len(node.outputs)
        for tensor, index in zip(node.outputs, results, strict=True):
            made_by[id(tensor)] = index
    return [made_by[id(tensor)] for tensor in model.outputs]


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
