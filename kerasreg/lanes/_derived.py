"""Models that are lanes and need not be built: another model's structure, with other values."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import keras

from kerasreg._keras.stateless_optimizer import optimizer_variables
from kerasreg.lanes._structure import ModelStructure


class DerivedModel:
    """A model known by another one of its structure, and by the values in which it differs.

    As a lane it needs no more. The model itself is built when somebody asks for it, as a callback
    does that saves it.

    Args:
        template: a built and compiled model.
        structure: the structure of the template, with the scalars of this model.
        values: a value for each variable of the template that is to be another one's. Of a model
            that is not trained these are all variables but the slots of the optimizer.
        build: builds the model. It is given the values then.

    Example:

    >>> import keras, numpy as np, kerasreg
    >>> def model():
    ...     model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    ...     model.compile("sgd", "mse")
    ...     return model
    >>> structure = kerasreg.lanes.ModelStructure(template := model())
    >>> ones = [(variable, np.ones(variable.shape)) for variable in template.variables]
    >>> derived = kerasreg.lanes.DerivedModel(template, structure, ones, model)
    >>> kerasreg.lanes.Lanes([template, derived]).predict(np.ones((1, 3)))[1].tolist()
    [[4.0]]
    """

    def __init__(
        self,
        template: keras.Model,
        structure: ModelStructure,
        values: Sequence[tuple[keras.Variable, Any]],
        build: Callable[[], keras.Model],
    ) -> None:
        self.template = template
        self.structure = structure
        self.values = values
        self._build = build

    @functools.cached_property
    def built(self) -> tuple[keras.Model, ModelStructure]:
        """The model, with the values that this one has, and its structure."""
        model = self._build()
        structure = ModelStructure(model)
        own = corresponding(self.template, self.structure, model, structure)
        for variable, value in self.values:
            own[id(variable)].assign(value)
        return model, structure


AnyModel: TypeAlias = keras.Model | DerivedModel


def built(model: AnyModel, structure: ModelStructure) -> tuple[keras.Model, ModelStructure]:
    """A model that can be called and trained, and its structure."""
    return model.built if isinstance(model, DerivedModel) else (model, structure)


def template_of(model: AnyModel) -> keras.Model:
    """A model of the same structure: the model itself, or the one that it is derived from."""
    return model.template if isinstance(model, DerivedModel) else model


def corresponding(
    model: keras.Model, structure: ModelStructure, other: keras.Model, theirs: ModelStructure
) -> dict[int, keras.Variable]:
    """The variables of a model `other` by the ids of the same variables of `model`.

    Slots of an optimizer that is not built, and metrics, are left out.
    """
    pairs = [
        *zip(model.trainable_variables, other.trainable_variables, strict=True),
        *zip(model.non_trainable_variables, other.non_trainable_variables, strict=True),
        *zip(structure.variables, theirs.variables, strict=True),
    ]
    slots = optimizer_variables(other.optimizer)
    for place, mine in optimizer_variables(model.optimizer).items():
        if place in slots:
            pairs.append((mine, slots[place]))
    return {id(mine): its for mine, its in pairs}
