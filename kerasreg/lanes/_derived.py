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
        if self.template.optimizer.built and not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
        structure = ModelStructure(model)
        own = OwnVariables(self.template, self.structure).in_model(model, structure)
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


class OwnVariables:
    """The variables of a model as they are now, each by what it is there.

    Code of the user's may compile the model again, or freeze it, while its lanes train.

    Args:
        model: a built and compiled model.
        structure: its structure.
    """

    def __init__(self, model: keras.Model, structure: ModelStructure) -> None:
        # Which a model with a rate of zero lacks. They are among the last ones.
        left = set(map(id, structure.generators))
        self._lists = [
            list(model.trainable_variables),
            [variable for variable in model.non_trainable_variables if id(variable) not in left],
            list(structure.variables),
        ]
        self._slots = optimizer_variables(model.optimizer)

    def in_model(self, other: keras.Model, theirs: ModelStructure) -> dict[int, keras.Variable]:
        """The variables of another model by the ids of the same variables of this one.

        Slots of an optimizer that is not built, and metrics, are left out.
        """
        others = OwnVariables(other, theirs)
        pairs = [
            pair
            for mine, its in zip(self._lists, others._lists, strict=True)
            for pair in zip(mine, its, strict=True)
        ]
        pairs += [(m, others._slots[at]) for at, m in self._slots.items() if at in others._slots]
        return {id(mine): its for mine, its in pairs}
