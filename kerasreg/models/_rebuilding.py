"""A functional or Sequential model made anew, with some of its layers changed."""

from __future__ import annotations

import tempfile
import types
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

from kerasreg._keras.graph import has_graph, nodes
from kerasreg._keras.ignored_attributes import module_of
from kerasreg._keras.internals import (
    config_sharing_scope,
    is_made_of_inputs_and_outputs,
    made_by,
    walk_layers,
)

_LOOKUPS = (keras.layers.IntegerLookup, keras.layers.StringLookup, keras.layers.TextVectorization)

Shape = tuple[int | None, ...]


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
    behind: Callable[[Any], Any | None] = lambda layer: None,
    shapes: Callable[[Any], list[Shape] | None] = lambda model: None,
) -> keras.Model:
    """A copy of a model with the values of its variables.

    Args:
        model: a model that has a graph.
        instead: called with each layer once: returns what takes its place, or None.
        behind: called with each layer once: returns a layer that is called with the output of
            the layer, or None.
        shapes: called with each nested model once: returns the shapes of the inputs of its
            copy, or None where they are those of the model.

    Returns:
        A new model.
    """
    made: dict[int, Any] = {}
    inserted: dict[int, Any] = {}
    copies: list[tuple[Any, Any]] = []

    def copied(operation: Any) -> Any:
        if not isinstance(operation, keras.layers.Layer):
            return operation  # A function of `keras.ops`.
        if id(operation) not in made:
            if has_graph(operation):
                new = remade(operation, shapes(operation))
            elif (new := instead(operation)) is None:
                new = from_config(operation, lambda config: config)
                _copy_vocabularies(operation, new)
                copies.append((operation, new))
            made[id(operation)] = new
            inserted[id(new)] = behind(operation)
        return made[id(operation)]

    def call(operation: Any, *args: Any, **kwargs: Any) -> Any:
        output = operation(*args, **kwargs)
        added = inserted.get(id(operation))
        return output if added is None else added(output)

    # Not `clone_model`: it compiles what was compiled, and fails at a loss of one's own.
    def remade(old: Any, of: list[Shape] | None = None) -> Any:
        shapes_of_inputs = of or [tensor.shape for tensor in old.inputs]
        given = {
            id(tensor): _input_like(tensor, shape)
            for tensor, shape in zip(old.inputs, shapes_of_inputs, strict=True)
        }
        if isinstance(old, keras.Sequential):
            stack = [given[id(old.inputs[0])]]
            for layer in old.layers:
                new = copied(layer)
                added = inserted[id(new)]
                stack += [new] if added is None else [new, added]
            own = type(old).__init__ is not keras.Sequential.__init__
            kind = keras.Sequential if own else type(old)
            return kind(stack, trainable=old.trainable, name=old.name)
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
        return kind(*ends, trainable=old.trainable, name=old.name)

    # Layers that share a penalty share it when they are made from their configs too.
    with config_sharing_scope():
        result = remade(model)
    for theirs, mine in copies:
        _copy_state(theirs, mine)
    return result


def _copy_vocabularies(theirs: Any, mine: Any) -> None:
    """Gives a new layer the words that lookups have learnt, which no config has.

    Before the layer is called: the width of its output may be the number of words.
    """
    for source, target in zip(walk_layers(theirs), walk_layers(mine), strict=False):
        if not isinstance(source, _LOOKUPS) or source.get_config()["vocabulary"] is not None:
            continue
        if source.get_vocabulary(include_special_tokens=False):
            with tempfile.TemporaryDirectory() as folder:
                _through_store(source, target)
                source.save_assets(folder)
                target.load_assets(folder)


def _copy_state(theirs: Any, mine: Any) -> None:
    """Gives the values of a layer's variables to its copy, and what it derives from them."""
    if len(theirs.variables) != len(mine.variables):
        raise ValueError(
            f"`model` must have layers that their configs describe. Received: {theirs.name}, "
            f"with {len(theirs.variables)} variables, and {len(mine.variables)} when made anew"
        )
    for source, target in zip(theirs.variables, mine.variables, strict=True):
        # A copy: JAX gives away the arrays of a model that predicts, here those of another one.
        target.assign(np.array(keras.ops.convert_to_numpy(source)))
    for source, target in zip(walk_layers(theirs), walk_layers(mine), strict=True):
        loads = type(target).load_own_variables
        # What Keras' own layers keep is in their variables, but for those that prepare data.
        if loads is not keras.Layer.load_own_variables and (
            hasattr(target, "finalize_state") or module_of(loads) != "keras"
        ):
            _through_store(source, target)


def _through_store(source: Any, target: Any) -> None:
    """Gives a layer what another one writes into files beside its config."""
    store: dict[str, Any] = {}
    source.save_own_variables(store)
    target.load_own_variables(store)


def _input_like(tensor: Any, shape: Shape) -> Any:
    layer = made_by(tensor)
    # What the config has is what a saved model has: also whether the input may be left out.
    return type(layer).from_config({**layer.get_config(), "batch_shape": shape}).output


def from_config(layer: Any, changed: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    """A layer made anew from its config, which is changed.

    Functions without a name, and those that Keras makes of arrays, are written into a config
    from which Keras does not make them again: the copy has them as they are. It also has its
    initializers and constraints as they are if it cannot be made with those of the config.
    """
    config = changed(layer.get_config())
    held = {
        name: getattr(layer, name, None)
        for name, value in config.items()
        if isinstance(value, dict)
    }
    functions = {name: one for name, one in held.items() if isinstance(one, types.FunctionType)}
    # These have no state, and so may be shared.
    stateless = (keras.initializers.Initializer, keras.constraints.Constraint)
    objects = {name: one for name, one in held.items() if isinstance(one, stateless)}
    try:
        if isinstance(layer, keras.layers.Lambda) and "function" in functions:
            return type(layer)(**{**config, **functions})  # Its `from_config` takes text only.
        try:
            return type(layer).from_config({**config, **functions})
        except Exception:
            if not objects:
                raise
            return type(layer).from_config({**config, **functions, **objects})
    except Exception as error:
        raise ValueError(
            "`model` must have layers that can be made anew from their configs. "
            f"Received: {layer.name} of type {type(layer).__name__}: {error}"
        ) from error
