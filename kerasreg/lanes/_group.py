"""Which models share a program."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from kerasreg.lanes._structure import Structure


def group(models: Sequence[keras.Model]) -> list[list[int]]:
    """Finds which models share a program.

    Args:
        models: built and compiled Keras models.

    Returns:
        Lists of positions in `models`, each of models that share a program, in
        the order of their first. A model that cannot be a lane is alone.

    Example:

    >>> import keras, kerasreg
    >>> def model(units, rate):
    ...     dropout = kerasreg.layers.ScheduledDropout(rate)
    ...     model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(units), dropout])
    ...     model.compile("sgd", "mse")
    ...     return model
    >>> kerasreg.lanes.group([model(4, 0.1), model(8, 0.1), model(4, 0.5)])
    [[0, 2], [1]]
    """
    groups: dict[Any, list[int]] = {}
    for index, model in enumerate(models):
        lane = why_not_a_lane(model) is None
        key = Structure(model).tokens if lane else ("alone", index)
        groups.setdefault(key, []).append(index)
    return list(groups.values())


def structure_of(model: keras.Model, like: keras.Model, structure: Structure | None) -> Structure:
    """The structure of a model, which must share the program of another one.

    Args:
        model: a model.
        like: the model whose program it is to share.
        structure: that of `like`; None if `model` is `like`, and the first.

    Raises:
        ValueError: if it cannot be a lane, or shares no program, and why.
    """
    if (reason := why_not_a_lane(model)) is not None:
        name = getattr(model, "name", model)
        raise ValueError(f"{name!r} cannot be a lane: {reason}.")
    found = Structure(model)
    if structure is not None and found.tokens != structure.tokens:
        place = Structure(like, places=True).difference(Structure(model, places=True))
        raise ValueError(f"{like.name!r} and {model.name!r} share no program: {place}.")
    return found


_STEPS = ("train_step", "test_step", "make_train_function", "make_test_function")


def why_not_a_lane(model: Any) -> str | None:
    """What keeps a model from being trained as a lane, in words, or None."""
    if not isinstance(model, keras.Model):
        return f"it must be a Keras model, and is a {type(model).__name__}"
    if not model.built:
        return "it is not built; call it on data, or give it an `Input`"
    if not getattr(model, "compiled", False):
        return "it is not compiled; call `model.compile(...)`"
    if model.optimizer is None:
        return "it is compiled without an optimizer"
    for name in _STEPS:
        if getattr(type(model), name) is not getattr(keras.Model, name):
            return f"its class defines its own `{name}`, of which the program would know nothing"
    if model.run_eagerly:
        return "it is compiled with `run_eagerly=True`"
    if not model.trainable_variables:
        return "it has no trainable weights"
    strategy = getattr(model, "distribute_strategy", None)
    if strategy is not None and strategy.num_replicas_in_sync > 1:
        return "it was built for several replicas"
    return None
