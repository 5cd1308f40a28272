"""The names by which a user means a variable that an optimizer moves.

A variable has the path where it was made. A layer that was made as a part of one model and is used
in another has a path without the names of the latter: `dense/kernel`, where the user of the whole
says `backbone/dense/kernel`. Keras tells an optimizer its variables and not their model.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import keras

from kerasreg._keras.internals import inner_layers
from kerasreg._keras.patterns import names_within
from kerasreg._keras.stateless_optimizer import inner_optimizers
from kerasreg._keras.weights import own_weights


def places_of_variables(model: Any) -> dict[int, list[str]]:
    """The paths that lead from a model to its variables, by their identities.

    A layer that is in several others has several.
    """
    found: dict[int, list[str]] = {}

    def visit(layer: Any, within: tuple[str, ...]) -> None:
        for variable in own_weights(layer):
            found.setdefault(id(variable), []).append("/".join([*within, variable.name]))
        for inner in inner_layers(layer):
            visit(inner, (*within, inner.name))

    visit(model, ())
    return found


def names_of_variables(
    optimizer: Any, variables: Sequence[keras.Variable]
) -> list[tuple[str, frozenset[str]]]:
    """For each variable of an optimizer its path in the model, and all names that it is meant by.

    Args:
        optimizer: an optimizer that is being built, of a model, or within one of a model.
        variables: what it is built for. Where they are of no model that can be found, their names
            are those of their own paths.
    """
    model = _model_of(optimizer, variables)
    places = {} if model is None else places_of_variables(model)
    paths = [places.get(id(variable), []) for variable in variables]
    return [
        (of[0] if of else variable.path, _names(variable, of))
        for variable, of in zip(variables, paths, strict=True)
    ]


def names_in_model(model: Any, variables: Sequence[keras.Variable]) -> list[frozenset[str]]:
    """All names that variables of a model are meant by."""
    places = places_of_variables(model)
    return [_names(variable, places.get(id(variable), [])) for variable in variables]


def _names(variable: keras.Variable, paths: Sequence[str]) -> frozenset[str]:
    return frozenset().union(*map(names_within, [variable.path, *paths]))


def _model_of(optimizer: Any, variables: Sequence[keras.Variable]) -> Any:
    """The model with an optimizer; else the smallest that has all the variables; or None."""
    # Whoever builds an optimizer has the model at hand, nearly always.
    for models in (_models_in_frames, _models_in_memory):
        found = list(models())
        with_optimizer = [model for model in found if _has(model, optimizer)]
        if with_optimizer:
            return with_optimizer[0]
        wanted = {id(variable) for variable in variables}
        whole = [model for model in found if wanted <= {id(v) for v in model.variables}]
        if whole:
            return min(whole, key=lambda model: len(model.variables))
    return None


def _has(model: Any, optimizer: Any) -> bool:
    its = getattr(model, "optimizer", None)
    return its is not None and any(part is optimizer for part in inner_optimizers(its))


def _models_in_frames() -> Iterator[Any]:
    """The models that the functions which run in this thread have in variables."""
    frame = sys._getframe()
    seen: set[int] = set()
    while frame.f_back is not None:
        frame = frame.f_back
        spaces = [frame.f_locals]
        if id(frame.f_globals) not in seen:
            seen.add(id(frame.f_globals))
            spaces.append(frame.f_globals)
        for space in spaces:
            yield from _built_models(list(space.values()))


def _models_in_memory() -> Iterator[Any]:
    return _built_models(gc.get_objects())


def _built_models(values: Iterable[Any]) -> Iterator[Any]:
    # By type: to ask some objects for their class loads a module.
    return (value for value in values if issubclass(type(value), keras.Model) and value.built)
