"""The layers of a model, each once, and the place of each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import keras

from kerasreg._keras.graph import Graph
from kerasreg._keras.internals import inner_layers


class Place(NamedTuple):
    """A layer, where it is, and the use of the graph that it belongs to."""

    layer: Any
    path: str
    use: int | None
    is_part: bool  # Of another layer, which is no model: attention has four.


def places(model: Any, graph: Graph | None) -> list[Place]:
    """Every layer of a model once: in the order of the graph, then what is in none."""
    found: list[Place] = []
    seen: set[int] = set()

    def add(layer: Any, path: str, use: int | None) -> None:
        for place in _with_inside(layer, path, use):
            if id(place.layer) not in seen:
                seen.add(id(place.layer))
                found.append(place)

    for index, use in enumerate(graph.uses if graph else []):
        if isinstance(use.operation, keras.layers.Layer):
            add(use.operation, use.path, index)
    add(model, "", None)
    return [place for place in found if not isinstance(place.layer, keras.layers.InputLayer)]


def _with_inside(layer: Any, path: str, use: int | None, is_part: bool = False) -> Iterator[Place]:
    yield Place(layer, path or layer.name, use, is_part)
    of_layer = is_part or not isinstance(layer, keras.Model)
    for inner in inner_layers(layer):
        yield from _with_inside(
            inner, f"{path}/{inner.name}" if path else inner.name, use, of_layer
        )
