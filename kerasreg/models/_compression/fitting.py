"""What a layer has for its weights, where the weights of its copy are of another shape.

Initializers, regularizers and constraints may hold arrays, or take some shapes only. A copy has
its weights when it is made: no initializer is needed there, but in its config one must be
that runs when the copy is loaded.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import keras

from kerasreg._keras.internals import set_on_built_layer, untrack
from kerasreg._keras.weights import own_weights
from kerasreg.models._compression.result import LeftOut
from kerasreg.models._matching import argument_of
from kerasreg.models._returned_shape import returned_shape
from kerasreg.regularizers import Penalty


def without_initializers(config: dict[str, Any]) -> dict[str, Any]:
    """The config of a layer that is built with zeros."""
    return {
        name: "zeros" if name.endswith("_initializer") else value for name, value in config.items()
    }


def fit(path: str, old: Any, new: Any) -> Iterator[LeftOut]:
    """Gives a built copy the initializers of its layer, and takes away what does not fit.

    Args:
        path: the path of the layer.
        old: a layer.
        new: its copy, which was made by `without_initializers`.

    Yields:
        A `LeftOut` for each argument that does not take the new shape.
    """
    of: dict[str, tuple[Any, Any]] = {
        name: (before, after) for name, before, after in _weights(old, new, "initializer")
    }
    for name in [name for name in old.get_config() if name.endswith("_initializer")]:
        initializer, (before, after) = getattr(old, name), of.get(name, (None, None))
        if after is not None and _differ(before, after) and not _makes(initializer, after):
            yield LeftOut(path, name, _named(initializer), tuple(after.shape))
            initializer = keras.initializers.get(_default(type(old), name))
        set_on_built_layer(new, name, initializer)
    for name, before, after in _weights(old, new, "regularizer"):
        if _only_takes(_penalises, held := after.regularizer, before, after):
            yield LeftOut(path, name, _named(held), tuple(after.shape))
            _take_away(new, name)
            after.regularizer = None
    for name, before, after in _weights(old, new, "constraint"):
        if _only_takes(_keeps_shape, held := after.constraint, before, after):
            yield LeftOut(path, name, _named(held), tuple(after.shape))
            _take_away(new, name)
            after.constraint = None
    held = getattr(new, "activity_regularizer", None)
    if held is not None and _only_takes(_penalises, held, old.output, new.output):
        yield LeftOut(path, "activity_regularizer", _named(held), tuple(new.output.shape))
        _take_away(new, "activity_regularizer")


def _weights(old: Any, new: Any, kind: str) -> Iterator[tuple[str, Any, Any]]:
    """The arguments of a kind, each with the weight of the layer and that of its copy."""
    before = {variable.name: variable for variable in own_weights(old)}
    for after in own_weights(new):
        name, _ = argument_of(new, after, kind)
        if name is not None:
            yield name, before.get(after.name), after


def _differ(before: Any, after: Any) -> bool:
    return before is None or tuple(before.shape) != tuple(after.shape)


def _makes(initializer: Any, variable: Any) -> bool:
    shape = tuple(variable.shape)
    try:  # It may do anything: a function of the user's own.
        return tuple(initializer(shape, dtype=variable.dtype).shape) == shape
    except Exception:
        return False


def _default(layer: Any, argument: str) -> Any:
    return inspect.signature(layer.__init__).parameters[argument].default


def _only_takes(takes: Any, held: Any, before: Any, after: Any) -> bool:
    """Whether something takes what was there, and not what is there now."""
    if held is None or before is None or not _differ(before, after):
        return False
    return takes(held, before) and not takes(held, after)


def _penalises(penalty: Any, tensor: Any) -> bool:
    # Not one call of those that a schedule counts.
    of = (lambda w: penalty.penalty(w, 1.0)) if isinstance(penalty, Penalty) else penalty
    return _shape(of, tensor) == ()


def _keeps_shape(constraint: Any, tensor: Any) -> bool:
    return _shape(constraint, tensor) == tuple(tensor.shape)


def _shape(function: Any, tensor: Any) -> Any:
    """The shape of what a function returns, None where it fails."""
    try:
        return returned_shape(function, tensor)
    except Exception:
        return None


def _take_away(layer: Any, name: str) -> None:
    held = getattr(layer, name)
    set_on_built_layer(layer, name, None)
    if isinstance(held, Penalty):
        untrack(layer, held)


def _named(held: Any) -> str:
    return str(getattr(held, "__name__", type(held).__name__))
