"""The residual branches of a model: what is added to a shortcut."""

from __future__ import annotations

from kerasreg._keras.graph import Graph
from kerasreg._keras.weights import kernels


def residual_branches(graph: Graph) -> list[list[int]]:
    """The branches of all additions, each as the uses in it, in forward order.

    An addition is `keras.layers.Add` or `+`. Of its inputs, what lies behind the
    last place that all have in common is compared: the input with the fewest
    layers with kernels, and among these with the fewest operations, is the
    shortcut; every input that has more, and a kernel, is a branch. Inputs that
    are tied for the fewest are none: of two towers that are alike, neither is a
    correction of the other. Inputs with nothing in common are no residual
    connection (token and position embeddings).
    """
    ancestors = graph.ancestors
    branches = []
    for use in graph.uses:
        inputs = list(dict.fromkeys(use.sources))
        if type(use.operation).__name__ != "Add" or len(inputs) < 2:
            continue
        common = ancestors[inputs[0]]
        for source in inputs[1:]:
            common &= ancestors[source]
        if not common:
            continue
        own = [_members(ancestors[source] & ~common) for source in inputs]
        lengths = [
            (sum(bool(kernels(graph.uses[index].operation)) for index in uses), len(uses))
            for uses in own
        ]
        branches += [
            uses
            for uses, length in zip(own, lengths, strict=True)
            if length > min(lengths) and length[0] > 0
        ]
    return branches


def _members(bits: int) -> list[int]:
    return [index for index in range(bits.bit_length()) if bits >> index & 1]
