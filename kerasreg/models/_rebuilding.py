"""A functional or Sequential model made anew, with some of its layers changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import keras

from kerasreg._keras.graph import has_graph, nodes
from kerasreg._keras.internals import config_sharing_scope, is_made_of_inputs_and_outputs


def check_has_graph(model: Any) -> None:
    """A `ValueError` if `model` is no functional or Sequential model that is built."""
    if not has_graph(model):
        raise ValueError(
            "`model` must be a built functional or Sequential Keras model. "
            f"Received: model={model!r}"
        )


def layers_of(model: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The layers in the graph of a model, with their paths, and then those of nested ones."""
    seen: set[int] = set()
    for node in nodes(model):
        layer = node.operation
        if id(layer) in seen or not isinstance(layer, keras.layers.Layer):
            continue
        seen.add(id(layer))
        yield prefix + layer.name, layer
        if has_graph(layer):
            yield from layers_of(layer, f"{prefix}{layer.name}/")


def rebuild(
    model: keras.Model,
    instead: Callable[[Any], Any | None],
    behind: Callable[[Any], Any | None],
) -> keras.Model:
    """A copy of a model with the values of its variables.

    `instead(layer)` is what takes the place of a layer, `behind(layer)` what is called
    with its output; None leaves it as it is. Each is asked once for each layer.
    """
    made: dict[int, Any] = {}
    inserted: dict[int, Any] = {}
    copies: list[tuple[Any, Any]] = []

    def copied(layer: Any) -> Any:
        if not isinstance(layer, keras.layers.Layer):
            return layer  # A function of `keras.ops`.
        if id(layer) not in made:
            if has_graph(layer):
                new = remade(layer)
            elif (new := instead(layer)) is None:
                new = _from_config(layer)
                copies.append((layer, new))
            made[id(layer)] = new
            inserted[id(new)] = behind(layer)
        return made[id(layer)]

    def call(operation: Any, *args: Any, **kwargs: Any) -> Any:
        output = operation(*args, **kwargs)
        added = inserted.get(id(operation))
        return output if added is None else added(output)

    # Not `clone_model`: it compiles what was compiled, and fails at a loss of one's own.
    def remade(old: Any) -> Any:
        given = {id(tensor): _input_like(tensor) for tensor in old.inputs}
        if isinstance(old, keras.Sequential):
            stack = [given[id(old.inputs[0])]]
            for layer in old.layers:
                new = copied(layer)
                added = inserted[id(new)]
                stack += [new] if added is None else [new, added]
            model = keras.Sequential(stack, name=old.name)
        else:
            tensors = dict(given)
            for node in nodes(old):
                args, kwargs = node.arguments.fill_in(tensors)
                outputs = keras.tree.flatten(call(copied(node.operation), *args, **kwargs))
                made_here = zip(node.outputs, outputs, strict=True)
                tensors |= {id(tensor): output for tensor, output in made_here}
            ends = [
                keras.tree.map_structure(lambda tensor: tensors[id(tensor)], structure)
                for structure in (old.input, old.output)
            ]
            kind = type(old) if is_made_of_inputs_and_outputs(type(old)) else keras.Model
            model = kind(*ends, name=old.name)
        if not old.trainable:
            model.trainable = False
        return model

    # Layers that share a penalty share it when they are made from their configs too.
    with config_sharing_scope():
        result = remade(model)
    for theirs, mine in copies:
        if len(theirs.variables) != len(mine.variables):
            raise ValueError(
                f"`model` must have layers that their configs describe. Received: {theirs.name}, "
                f"with {len(theirs.variables)} variables, and {len(mine.variables)} when made anew"
            )
        for source, target in zip(theirs.variables, mine.variables, strict=True):
            target.assign(source)
    return result


def _input_like(tensor: Any) -> Any:
    return keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=tensor.name)


def _from_config(layer: Any) -> Any:
    try:
        return type(layer).from_config(layer.get_config())
    except Exception as error:
        raise ValueError(
            "`model` must have layers that can be made anew from their configs. "
            f"Received: {layer.name} of type {type(layer).__name__}: {error}"
        ) from error
