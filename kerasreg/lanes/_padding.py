"""Where the values of a narrow model lie in those of a wide one, with zeros beside them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from kerasreg.lanes._activations import ChosenActivation
from kerasreg.lanes._structure import ModelStructure

# For each axis of a wide tensor the indices that a narrow one has there; None for all.
Axes = tuple[np.ndarray | None, ...]


class NotPadded(ValueError):
    """A model cannot be padded to be as wide as another one; the message says why."""


class Padding(NamedTuple):
    """Where the values of a narrow model lie in those of a wide one.

    Attributes:
        axes: for each variable of the wide model that the narrow one has smaller, by its id, the
            indices on each axis.
        fills: by the id of a variable, what lies beside the values if that is not 0: what a slot
            of the optimizer begins with.
        chosen: by the id of a variable that only the wide model has, its value: the number of an
            activation.
        masked: whether the program is to make the gradients of what lies beside the values zero.
            Otherwise they are.
        normalized: the layers of the wide model that take means over units, each with the indices
            of those that the narrow model has.
    """

    axes: dict[int, Axes]
    fills: dict[int, float]
    chosen: dict[int, int]
    masked: bool = False
    normalized: tuple[tuple[Any, np.ndarray], ...] = ()

    def mask(self, variable: keras.Variable, axis: int) -> np.ndarray:
        """1 for each index of an axis that the narrow model has, and 0 beside it.

        Args:
            variable: the variable of the wide model.
            axis: the number of the axis.
        """
        axes = self.axes.get(id(variable))
        return ones_at(None if axes is None else axes[axis], variable.shape[axis])

    def mask_of_units(self, layer: Any, count: int) -> np.ndarray:
        """1 for each unit of a layer in `normalized` that the narrow model has, and 0 beside it.

        Args:
            layer: the layer.
            count: the number of units in the wide model.
        """
        found = next((indices for own, indices in self.normalized if own is layer), None)
        return ones_at(found, count)

    def embed(self, variable: keras.Variable, value: Any) -> np.ndarray:
        """A value of the narrow model as one of the wide model, with zeros beside it.

        Args:
            variable: the variable of the wide model.
            value: the value of the narrow model's.
        """
        array = np.asarray(value)
        axes = self.axes.get(id(variable))
        if axes is None:
            return array
        fill = self.fills.get(id(variable), 0.0)
        wide = np.full(tuple(variable.shape), fill, array.dtype)
        wide[grid(axes, wide.shape)] = array
        return wide

    def extract(self, variable: keras.Variable, value: Any) -> Any:
        """The part of a value of the wide model that the narrow one has.

        Args:
            variable: the variable of the wide model.
            value: its value.
        """
        axes = self.axes.get(id(variable))
        if axes is None:
            return value
        array = np.asarray(ops.convert_to_numpy(value))
        return array[grid(axes, array.shape)]


def ones_at(indices: np.ndarray | None, count: int) -> np.ndarray:
    """1 at some indices, or at all if these are None, and 0 elsewhere."""
    if indices is None:
        return np.ones(count)
    found = np.zeros(count)
    found[indices] = 1.0
    return found


def grid(axes: Axes, shape: Sequence[int]) -> tuple[np.ndarray, ...]:
    """The indices of a narrow array in a wide one of a shape, as NumPy takes them."""
    every = (
        np.arange(length) if indices is None else indices
        for indices, length in zip(axes, shape, strict=True)
    )
    return np.ix_(*every)


def chosen_of(structure: ModelStructure) -> list[keras.Variable]:
    """The variables of a wide model that choose activations."""
    return [
        site.activation.number
        for site in structure.activations
        if isinstance(site.activation, ChosenActivation)
    ]
