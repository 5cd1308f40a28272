"""The state of many models of one structure: how it comes in from models and goes out again."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Self

import keras
import numpy as np
from keras import ops

from kerasreg._validation import check_count
from kerasreg.lanes._epochs import Epochs
from kerasreg.lanes._group import structure_of
from kerasreg.lanes._own_model import OwnMethods
from kerasreg.lanes._state import State
from kerasreg.lanes._structure import Structure
from kerasreg.lanes._view import LaneScope, merge


class StackedModels:
    """Keras models that share a program, with their state stacked: see `kerasreg.lanes.Lanes`."""

    def __init__(
        self,
        models: Sequence[keras.Model],
        jit_compile: bool | str = "auto",
        structures: Sequence[Structure] | None = None,
    ) -> None:
        self.models = list(models)
        if not self.models:
            raise ValueError("`models` must be at least one model. Received: models=[]")
        if jit_compile not in (True, False, "auto"):
            raise ValueError(
                f'`jit_compile` must be True, False or "auto". Received: {jit_compile!r}'
            )
        self.model = self.models[0]
        known = [None] * len(self.models) if structures is None else structures
        structure = known[0] or self._structure_of(self.model)
        self._state = State(self.model, structure, len(self.models))
        self._structures = [structure]
        for model, found in zip(self.models[1:], known[1:], strict=True):
            same = model is self.model
            self._structures.append(structure if same else found or self._structure_of(model))
        lanes = range(len(self.models))
        self._state.load(list(zip(lanes, self.models, self._structures, strict=True)))
        self._epochs = Epochs(self._state, jit_compile)
        self.stopped = np.zeros(len(self.models), dtype=bool)

    def __len__(self) -> int:
        return len(self.models)

    @classmethod
    def copies(
        cls,
        model: keras.Model,
        count: int,
        assign: Callable[[keras.Model, int], Any] | None = None,
        jit_compile: bool | str = "auto",
    ) -> Self:
        """Lanes of one model, which differ by what is assigned to its variables.

        Args:
            model: a built and compiled model.
            count: number of lanes.
            assign: a function of the model and the number of a lane, which
                assigns variables of the model: those of the lane only.
            jit_compile: as for `Lanes`.

        Example:

        >>> import keras, kerasreg
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        >>> model.compile("sgd", "mse")
        >>> def assign(model, lane):
        ...     model.optimizer.learning_rate = 0.1 / 2**lane
        >>> len(kerasreg.lanes.Lanes.copies(model, 8, assign))
        8
        """
        lanes = cls([model] * check_count("count", count), jit_compile)
        if assign is not None:
            for lane in range(count):
                with lanes.view(lane) as shown:
                    assign(shown, lane)
        return lanes

    def load(
        self,
        models: Mapping[int, keras.Model],
        structures: Mapping[int, Structure] | None = None,
    ) -> None:
        """Puts other models of the same structure in the place of some lanes.

        Nothing is compiled anew, but for a number in no variable that was the
        same for all lanes until now.

        Args:
            models: a built and compiled model for each of these lanes.
            structures: theirs, where they are known to be equal.

        Raises:
            ValueError: if a model does not share the program.
        """
        known = structures or {}
        loaded = [
            (lane, model, known.get(lane) or self._structure_of(model))
            for lane, model in models.items()
        ]
        if loaded:
            self._state.load(loaded)
        for lane, model, structure in loaded:
            self.models[lane], self._structures[lane] = model, structure
            self.stopped[lane] = False

    def copy(self, source: int, target: int) -> None:
        """Gives a lane all values of another, of its variables and its optimizer.

        Args:
            source: the number of the lane that is copied.
            target: the number of the lane that becomes a copy.
        """
        self._state.copy(source, target)

    def assign_hyperparameters(self, lane: int, model: keras.Model) -> None:
        """Gives a lane the hyperparameters of another model.

        These are the learning rate, the numbers of optimizers, regularizers and
        schedules, and the rates and strengths of kerasreg. Weights, slots of the
        optimizer, seeds and counts of steps stay those of the lane.

        Args:
            lane: the number of the lane.
            model: a built and compiled model of the same structure.

        Raises:
            ValueError: if the model does not share the program.
        """
        self._state.assign_hyperparameters(lane, model, self._structure_of(model))

    def unstack(
        self, lane: int, model: keras.Model | None = None, slots: bool = True
    ) -> keras.Model:
        """Assigns the values of a lane to an ordinary Keras model, and returns it.

        Args:
            lane: the number of the lane.
            model: the model to assign to, of the same structure. By default the
                one that the lane was made of.
            slots: False leaves the optimizer as it is, which is faster: for a
                model that is not trained further.

        Returns:
            The model, with the weights, the optimizer's slots and all other
            variables of the lane.
        """
        model = self.models[lane] if model is None else model
        same = model is self.models[lane]
        structure = self._structures[lane] if same else self._structure_of(model)
        self._state.store(lane, model, structure, slots)
        return model

    @contextlib.contextmanager
    def _scope(self, lane: int) -> Iterator[LaneScope]:
        scope = LaneScope(self._state.variables, self._state.values, lane)
        with scope, OwnMethods(self, scope):
            yield scope

    @contextlib.contextmanager
    def view(self, lane: int) -> Iterator[keras.Model]:
        """Shows one lane as a model: what is read, and assigned, is the lane's.

        The model is the one that all lanes share; its variables have the values
        of the lane until the context is left. Its `fit`, `evaluate`,
        `predict`, `save` and the like, called within, are those of the model
        that the lane was made of, with the values of the lane; each model
        traces its own functions for them.

        Args:
            lane: the number of the lane.
        """
        with self._scope(lane) as scope:
            yield self.model
        self._state.values = list(merge(self._state.values, [scope]))

    def get_values(self) -> list[np.ndarray]:
        """The values of `model.variables`, in that order, each with a first axis of lanes."""
        index = {id(variable): i for i, variable in enumerate(self._state.variables)}
        return [
            ops.convert_to_numpy(self._state.values[index[id(variable)]])
            for variable in self.model.variables
            if id(variable) in index
        ]

    def _structure_of(self, model: keras.Model) -> Structure:
        known = None if model is self.model else self._state.structure
        return structure_of(model, self.model, known)
