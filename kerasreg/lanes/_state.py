"""The values of the variables of many models, stacked along an axis of lanes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from kerasreg._keras.deferred_variables import initial_value
from kerasreg._keras.internals import learning_rate_of
from kerasreg._keras.scope import Scope
from kerasreg._keras.stateless_optimizer import inner_optimizers, optimizer_variables
from kerasreg.lanes._derived import AnyModel, DerivedModel, OwnVariables, template_of
from kerasreg.lanes._lane_state import with_seeds
from kerasreg.lanes._padding import Padding, chosen_of
from kerasreg.lanes._scalars import ScalarValues, stack_scalars
from kerasreg.lanes._structure import ModelStructure
from kerasreg.lanes._widths import padding_between


class State:
    """The variables of one model, with a value for each lane.

    A lane of a narrower model has zeros beside its values.

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
        masks: variables that are 1 where lanes have something on an axis of a weight, and 0 beside
            it, by the number of the weight among those that are trained and by the axis. There
            are some if the gradients of lanes are to be zero there.
        normalized: layers that take means over units, each with a variable that is 1 for the units
            of lanes, and 0 beside them; by the id of the layer.
        paddings: for each lane, where the values of its model lie in those of a variable; None
            for a model that is as wide.
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
            *chosen_of(structure),
        ]:
            if id(variable) not in known:
                known.add(id(variable))
                self.variables.append(variable)
        self._scalars_of_lanes = [list(structure.scalars) for _ in range(lanes)]
        self._initial = [_array(variable) for variable in self.variables]
        self._sources: dict[int, tuple[keras.Model, list[int]]] = {}
        self.paddings: list[Padding | None] = [None] * lanes
        self._known_paddings: dict[Any, Padding] = {}
        self.masks: dict[tuple[int, int], keras.Variable] = {}
        self.normalized: dict[int, tuple[keras.Layer, keras.Variable]] = {}
        self.values: list[Any] = []
        self._metrics: dict[int, Any] | None = None
        self.varying: list[int] = []
        self.scalars: ScalarValues = _tensors(stack_scalars([[]] * lanes))

    def is_current(self) -> bool:
        """Whether the model is as it was: nobody has changed it, or compiled it again."""
        return is_as_it_was(self.model, self.variables, self.structure)

    def padding_of(self, model: AnyModel, structure: ModelStructure) -> Padding | None:
        """Where the values of a model lie in those of `model`; None for one that is as wide.

        Args:
            model: a model, or what it is derived from.
            structure: its structure.

        Raises:
            ValueError: if the model cannot be padded to be so wide.
        """
        tokens = structure.tokens
        if tokens == self.structure.tokens:
            return None
        if tokens not in self._known_paddings:
            structures = structure, self.structure
            self._known_paddings[tokens] = padding_between(
                template_of(model), self.model, structures
            )
        return self._known_paddings[tokens]

    def load(self, models: Sequence[tuple[int, AnyModel, ModelStructure]]) -> None:
        """Gives lanes the values of models; other lanes keep their values."""
        # All of them, or none if one cannot be.
        paddings = [self.padding_of(model, structure) for _, model, structure in models]
        for (lane, _, _), padding in zip(models, paddings, strict=True):
            self.paddings[lane] = padding
        fresh = not self.values
        columns = [
            np.stack([initial] * self.lanes) if fresh else np.array(keras.ops.convert_to_numpy(now))
            for initial, now in zip(self._initial, self.values or self._initial, strict=True)
        ]
        known: dict[int, list[np.ndarray]] = {}  # Many lanes may be of one model.
        for (lane, model, structure), padding in zip(models, paddings, strict=True):
            if id(model) not in known:
                known[id(model)] = (
                    self._values_derived(model, padding)
                    if isinstance(model, DerivedModel)
                    else self._values_of(model, structure, padding)
                )
            for column, value in zip(columns, known[id(model)], strict=True):
                column[lane] = value
            self._scalars_of_lanes[lane] = structure.scalars
        stack = keras.ops.convert_to_tensor
        self.values = [
            stack(column, dtype=variable.dtype)
            for column, variable in zip(columns, self.variables, strict=True)
        ]
        self._mask()
        # A number that is the same for all lanes stays a constant of the program.
        self._vary(
            index
            for index, scalar in enumerate(self.structure.scalars)
            if index in self.varying
            or any(lane[index].value != scalar.value for lane in self._scalars_of_lanes)
        )

    def _mask(self) -> None:
        """Makes masks where lanes have zeros beside them that are not left alone without."""
        paddings = [padding for padding in self.paddings if padding is not None]
        weights = self.model.trainable_variables
        if self.masks or any(padding.masked for padding in paddings):
            for padding in paddings:
                for number, weight in enumerate(weights):
                    for axis, indices in enumerate(padding.axes.get(id(weight), ())):
                        if indices is not None and (number, axis) not in self.masks:
                            self.masks[number, axis] = self._new_mask(weight.shape[axis])
        for padding in paddings:
            for layer, _ in padding.normalized:
                if id(layer) not in self.normalized:
                    mask = self._new_mask(layer.input.shape[-1])
                    self.normalized[id(layer)] = layer, mask
        for (number, axis), mask in self.masks.items():
            weight = weights[number]
            self._set(mask, [None if of is None else of.mask(weight, axis) for of in self.paddings])
        for layer, mask in self.normalized.values():
            units = mask.shape[0]
            self._set(
                mask,
                [None if of is None else of.mask_of_units(layer, units) for of in self.paddings],
            )

    def _new_mask(self, length: int) -> keras.Variable:
        mask = keras.Variable(np.ones(length), dtype="float32", trainable=False, name="mask")
        self.add([mask])
        return mask

    def _set(self, mask: keras.Variable, of_lanes: Sequence[np.ndarray | None]) -> None:
        """Gives a mask its value for each lane; None for ones."""
        index = next(at for at, variable in enumerate(self.variables) if variable is mask)
        stacked = [np.ones(mask.shape) if value is None else value for value in of_lanes]
        self.values[index] = keras.ops.convert_to_tensor(np.stack(stacked), dtype=mask.dtype)

    def _values_of(
        self, model: keras.Model, structure: ModelStructure, padding: Padding | None
    ) -> list[np.ndarray]:
        """The values of a model for all variables; initial values where the model has none."""
        if self._own_slots and not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
        theirs = self._own.in_model(model, structure)
        sources = [theirs.get(id(variable)) for variable in self.variables]
        own = [None if source is None else _array(source) for source in sources]
        return self._in_lane(own, padding)

    def _values_derived(self, model: DerivedModel, padding: Padding | None) -> list[np.ndarray]:
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
                return self._values_of(*model.built, padding)
        return self._in_lane([values.get(source) for source in sources], padding)

    def _in_lane(self, own: Sequence[Any], padding: Padding | None) -> list[np.ndarray]:
        """Values of a model as a lane has them; initial values where the model has none."""
        found = []
        for value, variable, initial in zip(own, self.variables, self._initial, strict=True):
            if value is None:
                chosen = None if padding is None else padding.chosen.get(id(variable))
                value = np.asarray(initial if chosen is None else chosen, initial.dtype)
            elif padding is not None:
                value = padding.embed(variable, value)
            found.append(np.asarray(value))
        return found

    def vary_all(self) -> None:
        """Makes constants of the program of no scalars: models loaded later may differ in any.

        Those that are only tried, and those that the model goes without, stay constants until two
        lanes differ in them: a tensor in the place of each number would make the program slower.
        """
        self._vary(
            index
            for index, scalar in enumerate(self.structure.scalars)
            if (scalar.tried is None and not scalar.absent) or index in self.varying
        )

    def copy(self, source: int, target: int) -> None:
        """Gives a lane the values of all variables of another, of an equal model.

        Raises:
            ValueError: if the models of the lanes have different widths.
        """
        if self.paddings[source] is not self.paddings[target]:
            raise ValueError(
                "A lane can be a copy of one that is as wide. Received: "
                f"source={source}, target={target}"
            )
        lanes = list(range(self.lanes))
        lanes[target] = source
        # They are as wide, and have equal masks.
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
            target.assign(self.own_value(lane, index, self.values[index][lane]))

    def values_of_lanes(
        self, lanes: Mapping[int, tuple[keras.Model, ModelStructure]]
    ) -> dict[int, list[np.ndarray]]:
        """The values of the variables of lanes, and of their optimizers, of their own shapes.

        Args:
            lanes: for each lane its own model, or one of its structure, and the structure.
        """
        stacked: dict[int, np.ndarray] = {}  # Each is fetched once for all lanes.
        found: dict[int, list[np.ndarray]] = {}
        for lane, (model, structure) in lanes.items():
            found[lane] = []
            for index in self.targets(model, structure):
                if index not in stacked:
                    stacked[index] = np.asarray(keras.ops.convert_to_numpy(self.values[index]))
                found[lane].append(np.array(self.own_value(lane, index, stacked[index][lane])))
        return found

    def restore(
        self,
        lanes: Mapping[int, tuple[keras.Model, ModelStructure]],
        values: Mapping[int, Sequence[np.ndarray]],
        numbers: Mapping[int, Sequence[tuple[str, float]]],
    ) -> None:
        """Gives lanes the values that `values_of_lanes` has returned for equal models.

        Args:
            lanes: as for `values_of_lanes`.
            values: of each lane.
            numbers: of each lane the numbers in no variable, of which the seeds are taken.

        Raises:
            ValueError: if the values are those of another model. No lane is changed then.
        """
        columns: dict[int, np.ndarray] = {}
        for lane, (model, structure) in lanes.items():
            targets = self.targets(model, structure)
            theirs = [(tuple(one.shape), str(one.dtype)) for one in targets.values()]
            given = [(one.shape, str(one.dtype)) for one in values[lane]]
            if given != theirs:
                raise ValueError(
                    f"`states` must be of models like those of the lanes. Received: for lane "
                    f"{lane} values of the shapes {given}, and a model with {theirs}"
                )
            padding = self.paddings[lane]
            for index, value in zip(targets, values[lane], strict=True):
                if index not in columns:
                    columns[index] = np.array(keras.ops.convert_to_numpy(self.values[index]))
                variable = self.variables[index]
                columns[index][lane] = value if padding is None else padding.embed(variable, value)
        for index, column in columns.items():
            dtype = self.variables[index].dtype
            self.values[index] = keras.ops.convert_to_tensor(column, dtype=dtype)
        for lane in lanes:
            self._scalars_of_lanes[lane] = with_seeds(self._scalars_of_lanes[lane], numbers[lane])
        self._vary(
            index
            for index, scalar in enumerate(self.structure.scalars)
            if index in self.varying
            or any(lane[index].value != scalar.value for lane in self._scalars_of_lanes)
        )

    def numbers_of(self, lane: int) -> list[tuple[str, float]]:
        """The numbers of the model of a lane that are in no variable, with their names."""
        return [(scalar.name, scalar.value) for scalar in self._scalars_of_lanes[lane]]

    def own_variables(self) -> list[int]:
        """The indices of the variables that models hold: those of `model`, then what it lacks."""
        index = {id(variable): at for at, variable in enumerate(self.variables)}
        every = [*self.model.variables, *self.structure.generators]
        return list(dict.fromkeys(index[id(one)] for one in every if id(one) in index))

    def values_in_model(
        self, lane: int, model: keras.Model, structure: ModelStructure, values: Sequence[Any]
    ) -> list[np.ndarray]:
        """Values of a lane in the order of the variables of its own model, and of their shapes.

        Args:
            lane: the number of the lane.
            model: the model of the lane, or one of its structure.
            structure: the structure of the model.
            values: a value of the lane for each of `own_variables`.
        """
        theirs = self._own.in_model(model, structure)
        found = {
            id(theirs[id(self.variables[index])]): self.own_value(lane, index, value)
            for index, value in zip(self.own_variables(), values, strict=True)
            if id(self.variables[index]) in theirs
        }
        return [
            np.asarray(found[id(one)]) if id(one) in found else _array(one)
            for one in model.variables
        ]

    def own_value(self, lane: int, index: int, value: Any) -> Any:
        """A value of a variable as the model of a lane has it, without zeros beside it."""
        padding = self.paddings[lane]
        return value if padding is None else padding.extract(self.variables[index], value)


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
    if model.optimizer is None:
        return False
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
    return keras.tree.map_structure(
        lambda part: keras.ops.convert_to_tensor(part, dtype=str(part.dtype)), values
    )
