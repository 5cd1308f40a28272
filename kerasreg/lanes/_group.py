"""Which models share a program."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from kerasreg.lanes._refusal import refusal
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
        lane = refusal(model) is None
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
    if (reason := refusal(model)) is not None:
        name = getattr(model, "name", model)
        raise ValueError(f"{name!r} cannot be a lane: {reason}.")
    found = Structure(model)
    if structure is not None and found.tokens != structure.tokens:
        place = Structure(like, places=True).difference(Structure(model, places=True))
        raise ValueError(f"{like.name!r} and {model.name!r} share no program: {place}.")
    return found
