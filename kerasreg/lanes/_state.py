"""The values of the variables of many models, stacked along an axis of lanes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np

from kerasreg._keras.deferred_variables import initial_value
from kerasreg._keras.scope import Scope
from kerasreg._keras.stateless_optimizer import optimizer_variables
from kerasreg.lanes._numbers import Values, values_of
from kerasreg.lanes._structure import Structure


def backend_module() -> Any:
    """The module that makes programs on Keras' backend."""
    name = keras.backend.backend()
    if name == "tensorflow":
        from kerasreg.lanes import _tensorflow as module
    elif name == "jax":
        from kerasreg.lanes import _jax as module  # type: ignore[no-redef]
    else:
        raise NotImplementedError(
            f"Lanes need Keras' TensorFlow or JAX backend. Received: backend={name!r}"
        )
    return module


class State:
    """The variables of the first of some models, with a value for each lane.

    Args:
        model: the model whose objects the program is traced from.
        structure: its structure.
        lanes: how many lanes.

    Attributes:
        variables: of `model`: all that a program of it reads or writes.
        values: their values, each with a first axis of lanes.
        lifted: which of the model's numbers differ between lanes.
        numbers: those numbers of the lanes.
    """

    def __init__(self, model: keras.Model, structure: Structure, lanes: int) -> None:
        self.model = model
        self.structure = structure
        self.lanes = lanes
        optimizer = model.optimizer
        # Of a model that was trained before, slots are no initial values.
        self._own_slots = bool(optimizer.built)
        if not optimizer.built:
            optimizer.build(model.trainable_variables)
        self.variables: list[keras.Variable] = []
        known: set[int] = set()
        for variable in [
            *model.trainable_variables,
            *model.non_trainable_variables,
            *optimizer_variables(optimizer).values(),
            *model.metrics_variables,
            *structure.variables,
        ]:
            if id(variable) not in known:
                known.add(id(variable))
                self.variables.append(variable)
        self._lane_numbers = [list(structure.numbers) for _ in range(lanes)]
        self._initial = [_array(variable) for variable in self.variables]
        # Nor are they where they begin with, for example, the weights.
        slots = map(_array, optimizer_variables(optimizer).values())
        self._own_slots |= any(slot.size > 1 and np.ptp(slot) != 0 for slot in slots)
        self.values: list[Any] = []
        self._metrics: dict[int, Any] | None = None
        self.lifted: list[int] = []
        self.numbers: Values = _tensors(values_of([[]] * lanes))

    def load(self, models: Sequence[tuple[int, keras.Model, Structure]]) -> None:
        """Takes the values of models, each for a lane; other lanes keep theirs."""
        fresh = not self.values
        columns = [
            [initial] * self.lanes if fresh else list(keras.ops.convert_to_numpy(value))
            for initial, value in zip(self._initial, self.values or self._initial, strict=True)
        ]
        known: dict[int, list[np.ndarray]] = {}  # Many lanes may be of one model.
        for lane, model, structure in models:
            if id(model) not in known:
                known[id(model)] = self._values_of(model, structure)
            for column, value in zip(columns, known[id(model)], strict=True):
                column[lane] = value
            self._lane_numbers[lane] = structure.numbers
        stack = keras.ops.convert_to_tensor
        self.values = [
            stack(np.stack(column), dtype=variable._dtype)
            for column, variable in zip(columns, self.variables, strict=True)
        ]
        # A number that is the same for all lanes stays a constant of the program.
        of_model = self.structure.numbers
        self._lift(
            index
            for index, number in enumerate(of_model)
            if index in self.lifted
            or any(lane[index].value != number.value for lane in self._lane_numbers)
        )

    def _values_of(self, model: keras.Model, structure: Structure) -> list[np.ndarray]:
        """The values of a model for all variables, initial ones where it has none."""
        if self._own_slots and not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
        theirs = corresponding(self.model, self.structure, model, structure)
        sources = [theirs.get(id(variable)) for variable in self.variables]
        return [
            initial if source is None else _array(source)
            for initial, source in zip(self._initial, sources, strict=True)
        ]

    def lift_all(self) -> None:
        """Makes no number a constant of the program, so that lanes loaded later may differ."""
        self._lift(range(len(self.structure.numbers)))

    def copy(self, source: int, target: int) -> None:
        """Gives a lane the values of all variables of another."""
        lanes = list(range(self.lanes))
        lanes[target] = source
        self.values = [keras.ops.take(value, lanes, axis=0) for value in self.values]
        self._lane_numbers[target] = self._lane_numbers[source]
        self._lift(self.lifted)

    def assign_hyperparameters(self, lane: int, model: keras.Model, structure: Structure) -> None:
        """Gives a lane the hyperparameters of another model, and leaves it all else."""
        theirs = corresponding(self.model, self.structure, model, structure)
        optimizer = optimizer_variables(self.model.optimizer).items()
        of_model = [
            *self.structure.hyperparameters,
            *(variable for (_, name, _), variable in optimizer if name == "_learning_rate"),
        ]
        chosen = {id(variable) for variable in of_model}
        for index, variable in enumerate(self.variables):
            if id(variable) in chosen:
                stacked = np.array(keras.ops.convert_to_numpy(self.values[index]))
                stacked[lane] = _array(theirs[id(variable)])
                self.values[index] = keras.ops.convert_to_tensor(stacked, dtype=variable._dtype)
        self._lane_numbers[lane] = [
            old if old.name == "seed" else new
            for old, new in zip(self._lane_numbers[lane], structure.numbers, strict=True)
        ]
        self._lift(
            index
            for index, number in enumerate(self.structure.numbers)
            if index in self.lifted or self._lane_numbers[lane][index].value != number.value
        )

    def _lift(self, indices: Iterable[int]) -> None:
        self.lifted = list(indices)
        self.numbers = _tensors(
            values_of([[lane[index] for index in self.lifted] for lane in self._lane_numbers])
        )

    def add(self, variables: Sequence[keras.Variable]) -> None:
        """Takes more variables of the model (of metrics that were built since)."""
        known = {id(variable) for variable in self.variables}
        for variable in variables:
            if id(variable) not in known:
                initial = _array(variable)
                self.variables.append(variable)
                self._initial.append(initial)
                self._metrics = None
                stacked = np.stack([initial] * self.lanes)
                self.values.append(keras.ops.convert_to_tensor(stacked, dtype=variable._dtype))

    def reset_metrics(self) -> None:
        """Puts the metrics of all lanes where an epoch begins."""
        # What a metric begins with depends on nothing: it is found once.
        if self._metrics is None:
            with Scope() as scope:
                self.model.reset_metrics()
            found = {index: scope.get_current_value(v) for index, v in enumerate(self.variables)}
            self._metrics = {
                index: keras.ops.broadcast_to(value, (self.lanes, *value.shape))
                for index, value in found.items()
                if value is not None
            }
        for index, value in self._metrics.items():
            self.values[index] = value

    def targets(
        self, model: keras.Model, structure: Structure, slots: bool = True
    ) -> dict[int, keras.Variable]:
        """The variables of a model, by their index here, with or without slots."""
        if slots and not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
        theirs = corresponding(self.model, self.structure, model, structure)
        left = optimizer_variables(model.optimizer).values() if not slots else ()
        skipped = {id(variable) for variable in left}
        found = ((index, theirs.get(id(variable))) for index, variable in enumerate(self.variables))
        return {
            index: target
            for index, target in found
            if target is not None and id(target) not in skipped
        }

    def store(self, lane: int, model: keras.Model, structure: Structure, slots: bool) -> None:
        """Assigns the values of a lane to the variables of a model, with or without slots."""
        for index, target in self.targets(model, structure, slots).items():
            target.assign(self.values[index][lane])


def _array(variable: keras.Variable) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(initial_value(variable)))


def _tensors(numbers: Values) -> Values:
    as_they_are = [keras.ops.convert_to_tensor(part, dtype=str(part.dtype)) for part in numbers]
    return Values(*as_they_are)


def corresponding(
    model: keras.Model, structure: Structure, other: keras.Model, theirs: Structure
) -> dict[int, keras.Variable]:
    """The variables of another model, by the ids of those of the first.

    Slots of an optimizer that is not built yet, and metrics, have none.
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
