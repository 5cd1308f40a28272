"""The values of the variables of many models, stacked along an axis of lanes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np

from kerasreg._keras.deferred_variables import initial_value
from kerasreg._keras.internals import learning_rate_of
from kerasreg._keras.scope import Scope
from kerasreg._keras.stateless_optimizer import inner_optimizers, optimizer_variables
from kerasreg.lanes._derived import AnyModel, DerivedModel, OwnVariables
from kerasreg.lanes._scalars import ScalarValues, stack_scalars
from kerasreg.lanes._structure import ModelStructure


class State:
    """The variables of one model, with a value for each lane.

    Args:
        model: the model whose objects the program is traced from.
        structure: the structure of `model`.
        lanes: the number of lanes.

    Attributes:
        variables: all variables of `model` that its program reads or writes.
        values: the values of `variables`, each with a first axis of lanes.
        varying: the indices, in `structure.scalars`, of the scalars that differ
            between lanes. All others are constants of the program.
        scalars: the values of those scalars, for all lanes.
    """

    def __init__(self, model: keras.Model, structure: ModelStructure, lanes: int) -> None:
        self.model = model
        self.structure = structure
        self.lanes = lanes
        optimizer = model.optimizer
        if not optimizer.built:
            optimizer.build(model.trainable_variables)
        # Else slots begin with zeros in all models.
        self._own_slots = _has_own_slots(optimizer)
        self._own = OwnVariables(model, structure)
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
        self._scalars_of_lanes = [list(structure.scalars) for _ in range(lanes)]
        self._initial = [_array(variable) for variable in self.variables]
        self._sources: dict[int, tuple[keras.Model, list[int]]] = {}
        self.values: list[Any] = []
        self._metrics: dict[int, Any] | None = None
        self.varying: list[int] = []
        self.scalars: ScalarValues = _tensors(stack_scalars([[]] * lanes))

    def is_current(self) -> bool:
        """Whether the model is as it was: nobody has changed it, or compiled it again."""
        return is_as_it_was(self.model, self.variables, self.structure)

    def load(self, models: Sequence[tuple[int, AnyModel, ModelStructure]]) -> None:
        """Gives lanes the values of models; other lanes keep their values."""
        fresh = not self.values
        columns = [
            np.stack([initial] * self.lanes) if fresh else np.array(keras.ops.convert_to_numpy(now))
            for initial, now in zip(self._initial, self.values or self._initial, strict=True)
        ]
        known: dict[int, list[np.ndarray]] = {}  # Many lanes may be of one model.
        for lane, model, structure in models:
            if id(model) not in known:
                known[id(model)] = (
                    self._values_derived(model)
                    if isinstance(model, DerivedModel)
                    else self._values_of(model, structure)
                )
            for column, value in zip(columns, known[id(model)], strict=True):
                column[lane] = value
            self._scalars_of_lanes[lane] = structure.scalars
        stack = keras.ops.convert_to_tensor
        self.values = [
            stack(column, dtype=variable.dtype)
            for column, variable in zip(columns, self.variables, strict=True)
        ]
        # A number that is the same for all lanes stays a constant of the program.
        self._vary(
            index
            for index, scalar in enumerate(self.structure.scalars)
            if index in self.varying
            or any(lane[index].value != scalar.value for lane in self._scalars_of_lanes)
        )

    def _values_of(self, model: keras.Model, structure: ModelStructure) -> list[np.ndarray]:
        """The values of a model for all variables; initial values where the model has none."""
        if self._own_slots and not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
        theirs = self._own.in_model(model, structure)
        sources = [theirs.get(id(variable)) for variable in self.variables]
        return [
            initial if source is None else _array(source)
            for initial, source in zip(self._initial, sources, strict=True)
        ]

    def _values_derived(self, model: DerivedModel) -> list[np.ndarray]:
        """The values of a model that is not built; initial values where it has none."""
        template = model.template
        if id(template) not in self._sources:
            theirs = self._own.in_model(template, model.structure)
            found = [theirs.get(id(variable)) for variable in self.variables]
            # With the template: the id of what is gone could be given again.
            self._sources[id(template)] = template, [id(source) for source in found]
        values = {id(variable): value for variable, value in model.values}
        sources = self._sources[id(template)][1]
        if self._own_slots:
            slots = {id(slot) for slot in optimizer_variables(self.model.optimizer).values()}
            pairs = zip(self.variables, sources, strict=True)
            if any(id(mine) in slots and source not in values for mine, source in pairs):
                return self._values_of(*model.built)
        return [
            np.asarray(values.get(source, initial))
            for initial, source in zip(self._initial, sources, strict=True)
        ]

    def vary_all(self) -> None:
        """Makes constants of the program of no scalars: models loaded later may differ in any.

        Those that are only tried stay constants until two lanes differ in them: a tensor in the
        place of each number of each layer would make the program slower.
        """
        self._vary(
            index
            for index, scalar in enumerate(self.structure.scalars)
            if scalar.tried is None or index in self.varying
        )

    def copy(self, source: int, target: int) -> None:
        """Gives a lane the values of all variables of another."""
        lanes = list(range(self.lanes))
        lanes[target] = source
        self.values = [keras.ops.take(value, lanes, axis=0) for value in self.values]
        self._scalars_of_lanes[target] = self._scalars_of_lanes[source]
        self._vary(self.varying)

    def assign_hyperparameters(
        self, lane: int, model: keras.Model, structure: ModelStructure
    ) -> None:
        """Gives a lane the hyperparameters of another model, and nothing else of that model."""
        theirs = self._own.in_model(model, structure)
        # A schedule in the place of a learning rate has scalars, and no variable.
        rates = map(learning_rate_of, inner_optimizers(self.model.optimizer))
        chosen = {id(variable) for variable in [*self.structure.hyperparameters, *rates]}
        for index, variable in enumerate(self.variables):
            if id(variable) in chosen:
                stacked = np.array(keras.ops.convert_to_numpy(self.values[index]))
                stacked[lane] = _array(theirs[id(variable)])
                self.values[index] = keras.ops.convert_to_tensor(stacked, dtype=variable.dtype)
        self._scalars_of_lanes[lane] = [
            old if old.name == "seed" else new
            for old, new in zip(self._scalars_of_lanes[lane], structure.scalars, strict=True)
        ]
        self._vary(
            index
            for index, scalar in enumerate(self.structure.scalars)
            if index in self.varying or self._scalars_of_lanes[lane][index].value != scalar.value
        )

    def _vary(self, indices: Iterable[int]) -> None:
        self.varying = list(indices)
        self.scalars = _tensors(
            stack_scalars(
                [[lane[index] for index in self.varying] for lane in self._scalars_of_lanes]
            )
        )

    def add(self, variables: Sequence[keras.Variable]) -> None:
        """Adds variables of the model: those of metrics that were built since."""
        known = {id(variable) for variable in self.variables}
        for variable in variables:
            if id(variable) not in known:
                initial = _array(variable)
                self.variables.append(variable)
                self._initial.append(initial)
                self._metrics = None
                self._sources.clear()
                stacked = np.stack([initial] * self.lanes)
                self.values.append(keras.ops.convert_to_tensor(stacked, dtype=variable.dtype))

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
        self, model: keras.Model, structure: ModelStructure, slots: bool = True
    ) -> dict[int, keras.Variable]:
        """The variables of another model by their index in `variables`, with or without slots."""
        if slots and not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
        theirs = self._own.in_model(model, structure)
        left = optimizer_variables(model.optimizer).values() if not slots else ()
        skipped = {id(variable) for variable in left}
        found = ((index, theirs.get(id(variable))) for index, variable in enumerate(self.variables))
        return {
            index: target
            for index, target in found
            if target is not None and id(target) not in skipped
        }

    def store(self, lane: int, model: keras.Model, structure: ModelStructure, slots: bool) -> None:
        """Assigns the values of a lane to the variables of a model, with or without slots."""
        for index, target in self.targets(model, structure, slots).items():
            target.assign(self.values[index][lane])


def is_as_it_was(
    model: keras.Model, variables: Sequence[keras.Variable], structure: ModelStructure
) -> bool:
    """Whether a model was left alone by those who have it.

    It was not if it was changed, or compiled again: then it has variables of another optimizer.

    Args:
        model: the model.
        variables: all variables that it had, with those of its optimizer and its metrics.
        structure: the structure that it had.
    """
    known = {id(variable) for variable in variables}
    now = [
        *model.variables,
        *optimizer_variables(model.optimizer).values(),
        *model.metrics_variables,
    ]
    same = all(id(variable) in known for variable in now)
    return same and ModelStructure(model).tokens == structure.tokens


def _has_own_slots(optimizer: Any) -> bool:
    """Whether slots have values of the model's own.

    It was trained before, or slots begin with the weights, or with a number of the optimizer's.
    """
    plain: set[int] = set()
    for part in inner_optimizers(optimizer):
        plain |= {id(part.iterations), id(learning_rate_of(part))}
        if np.any(_array(part.iterations)):
            return True
    variables = optimizer_variables(optimizer).values()
    return any(np.any(_array(one)) for one in variables if id(one) not in plain)


def _array(variable: keras.Variable) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(initial_value(variable)))


def _tensors(values: ScalarValues) -> ScalarValues:
    as_they_are = [keras.ops.convert_to_tensor(part, dtype=str(part.dtype)) for part in values]
    return ScalarValues(*as_they_are)
