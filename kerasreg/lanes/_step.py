"""The steps of one lane as pure functions: what Keras does in `fit`, `evaluate` and `predict`.

Nothing in here knows of lanes: a step takes the values of all variables and
gives new ones, and `_tensorflow` and `_jax` make one program of K of them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Literal

import keras
from keras import ops, tree

from kerasreg._keras.internals import (
    compute_loss,
    default_stateless_apply,
    loss_tracker,
    stateless_scope,
    takes_training,
)
from kerasreg._keras.own_steps import (
    flat_logs,
    own_steps,
    packed,
    scopes_within,
    specs_of_logs,
    watching_tapes,
)
from kerasreg._keras.patching import patched
from kerasreg._keras.scope import Scope
from kerasreg._keras.stateless_optimizer import keys_by_identity, stateless
from kerasreg._keras.tensors_for_numbers import tensors_for_numbers
from kerasreg.lanes._class_weights import weighted
from kerasreg.lanes._draws import RandomNumbers, lane_draws
from kerasreg.lanes._padded_layers import padded_layers
from kerasreg.lanes._scalars import LaneScalar, Scalar, ScalarValues, replaced_scalars
from kerasreg.lanes._structure import ModelStructure

Kind = Literal["train", "test"]
# Is given the number of a weight and what a layer assigns to it; gives what the weight is then.
Assigned = Callable[[int, Any], Any]
# `differentiate(function)(values)` is `(gradients, what the function gave besides)`. The function
# takes the values, and what is to be called for each that is assigned meanwhile.
Differentiate = Callable[
    [Callable[[Any, Assigned], tuple[Any, Any]]], Callable[[Any], tuple[Any, Any]]
]


class Step:
    """The training, test and prediction step of a model as pure functions.

    Args:
        model: a built and compiled model, whose optimizer, losses and metrics
            are built.
        variables: all variables that the model reads or writes.
        scalars: the numbers in no variable that differ between lanes.
        random_numbers: which random numbers Keras' own layers draw, as for `Lanes`.
        masks: variables that are 0 where gradients are to be zero, by the number of a weight among
            those that are trained, and by an axis of the weight.
        normalized: layers that take means over units, each with a variable that is 0 beside these.
        logs: for steps of the model's own, variables for those logs that are results of no
            metric: by "train" or "test", and by the name of the log.

    Attributes:
        draws: makes the context in which Keras' layers draw.
        before: the structure of the model when a trace of the step began; None before the first
            one, and when it was set to None since.
    """

    def __init__(
        self,
        model: keras.Model,
        variables: Sequence[keras.Variable],
        scalars: Sequence[Scalar],
        random_numbers: RandomNumbers = "vectorized",
        masks: Mapping[tuple[int, int], keras.Variable] | None = None,
        normalized: Sequence[tuple[keras.Layer, keras.Variable]] = (),
        logs: Mapping[Kind, Mapping[str, keras.Variable]] | None = None,
    ) -> None:
        self.model = model
        self.own = frozenset(own_steps(model))
        self.logs = dict(logs or {})
        self.draws: Callable[[], AbstractContextManager[None]]
        self.draws = functools.partial(lane_draws, random_numbers)
        self.variables = list(variables)
        self.scalars = list(scalars)
        self.before: ModelStructure | None = None
        index = {id(variable): i for i, variable in enumerate(self.variables)}
        self._trainable = [index[id(variable)] for variable in model.trainable_variables]
        self._normalized = [(layer, index[id(mask)]) for layer, mask in normalized]
        self._masks = {place: index[id(mask)] for place, mask in (masks or {}).items()}

    @contextmanager
    def lane(self, values: Sequence[Any], scalars: ScalarValues) -> Iterator[Scope]:
        """Makes the model that of one lane, with values for `variables` and `scalars`."""
        # A step is run to be traced: what else happens to the model changes no program.
        if self.before is None:
            with _eagerly():
                self.before = ModelStructure(self.model)
        pairs = list(zip(self.variables, values, strict=True))
        # Keras gathers the losses of layers in the scope, and not on the layers.
        scope = Scope(state_mapping=pairs, collect_losses=True)
        numbers, draws = replaced_scalars(self.scalars, scalars), self.draws()
        padded = padded_layers([(layer, values[index]) for layer, index in self._normalized])
        with numbers, tensors_for_numbers(LaneScalar), draws, padded, scope:
            yield scope

    def _values(self, scope: Scope) -> list[Any]:
        return [scope.get_current_value(variable) for variable in self.variables]

    def _values_behind(self, scope: Scope, values: Sequence[Any]) -> list[Any]:
        """The values of the variables after a forward pass, which began with `values`."""
        found = self._values(scope)
        if keras.backend.backend() == "jax":
            # There, Keras forgets what a layer assigns to a weight that is trained.
            for index in self._trainable:
                found[index] = values[index]
        return found

    def forward(self, x: Any, training: bool) -> Any:
        """The outputs of the model for inputs."""
        if takes_training(self.model):
            return self.model(x, training=training)
        return self.model(x)

    def _loss(self, x: Any, y: Any, weights: Any, training: bool) -> Any:
        """Forward pass, loss, and the metrics' update, in Keras' order."""
        model = self.model
        y_pred = self.forward(x, training)
        loss = compute_loss(model, x, y, y_pred, weights, training)
        samples = ops.shape(tree.flatten(x)[0])[0]
        loss_tracker(model).update_state(loss, sample_weight=samples)
        model.compute_metrics(x, y, y_pred, sample_weight=weights)
        return loss

    def train(
        self, values: Sequence[Any], scalars: ScalarValues, batch: Any, differentiate: Differentiate
    ) -> list[Any]:
        """One training step: the values of the variables after it."""
        if scalars.class_weights:
            batch = weighted(batch, scalars.class_weights)
        if "train_step" in self.own:
            return self._own_step("train", values, scalars, batch)
        x, y, weights = batch

        def loss(of: Sequence[Any], assigned: Assigned) -> tuple[Any, Any]:
            inside = list(values)
            for index, value in zip(self._trainable, of, strict=True):
                inside[index] = value
            with self.lane(inside, scalars) as scope:
                scope.on_assign = self._assigned(assigned)
                found = self.model.optimizer.scale_loss(self._loss(x, y, weights, training=True))
                return found, self._values_behind(scope, inside)

        gradients, after = differentiate(loss)([values[index] for index in self._trainable])
        return self.update(after, scalars, self._masked(gradients, values))

    def _assigned(self, assigned: Assigned) -> Callable[[keras.Variable, Any], Any]:
        """For variables what `assigned` is for the numbers of weights."""
        trainable = enumerate(self._trainable)
        numbers = {id(self.variables[index]): number for number, index in trainable}

        def kept(variable: keras.Variable, value: Any) -> Any:
            number = numbers.get(id(variable))
            return value if number is None else assigned(number, value)

        return kept

    def _masked(self, gradients: Sequence[Any], values: Sequence[Any]) -> list[Any]:
        """The gradients with zeros beside what the lane has."""
        found = list(gradients)
        for (number, axis), index in self._masks.items():
            if found[number] is not None:
                # Slices of an embedding, which are its rows, become the whole.
                gradient = ops.convert_to_tensor(found[number])
                shape = [1] * len(gradient.shape)
                shape[axis] = -1
                mask = ops.cast(values[index], gradient.dtype)
                found[number] = gradient * ops.reshape(mask, shape)
        return found

    def update(
        self, values: Sequence[Any], scalars: ScalarValues, gradients: Sequence[Any]
    ) -> list[Any]:
        """One step of the optimizer: the values of the variables after it."""
        optimizer, trainable = self.model.optimizer, self.model.trainable_variables
        with self.lane(values, scalars) as scope, stateless(), keys_by_identity(optimizer):
            if default_stateless_apply(optimizer):
                optimizer.apply(gradients, trainable)
            else:
                self._apply(gradients, trainable)
            return self._values(scope)

    def _apply(self, gradients: Sequence[Any], trainable: Any = None) -> None:
        """Applies gradients by the loss-scaling wrapper, whose `apply` has branches that assign."""
        optimizer = self.model.optimizer
        every = self.model.trainable_variables
        trainable = every if trainable is None else list(trainable)
        if list(map(id, trainable)) != list(map(id, every)):
            raise ValueError("it applies gradients to some of the weights, with a loss scale")
        slots = optimizer.variables
        weights_after, slots_after = optimizer.stateless_apply(
            [slot.value for slot in slots], gradients, [weight.value for weight in trainable]
        )
        for variable, value in zip(
            [*trainable, *slots], [*weights_after, *slots_after], strict=True
        ):
            variable.assign(value)

    @contextmanager
    def _own_optimizer(self) -> Iterator[None]:
        """Lets a step of the model's own use its optimizer."""
        optimizer = self.model.optimizer
        own: AbstractContextManager[None] = nullcontext()
        if not default_stateless_apply(optimizer):
            own = patched(optimizer, apply=self._apply)
        with stateless(), keys_by_identity(optimizer), own:
            yield

    def _own_step(
        self, kind: Kind, values: Sequence[Any], scalars: ScalarValues, batch: Any
    ) -> list[Any]:
        """A step of the model's own: the values of the variables after it."""
        with self.lane(values, scalars) as scope, self._own_optimizer():
            known = set(scope.state_mapping)
            logs = flat_logs(self._called(kind, scope, packed(batch)))
            if set(scope.state_mapping) - known:
                raise ValueError("it assigns variables that are not known to be the model's")
            for name, variable in self.logs.get(kind, {}).items():
                variable.assign(ops.cast(logs[name], variable.dtype))
            return self._values(scope)

    def _called(self, kind: Kind, scope: Scope, data: Any) -> Any:
        """Calls a step as Keras would on its backend; returns its logs."""
        step = getattr(self.model, f"{kind}_step")
        if keras.backend.backend() == "tensorflow":
            with watching_tapes(scope, self.variables):
                return step(data)
        state = self._state(kind)
        given = [variable for part in state for variable in part]
        with scopes_within(scope, given):
            logs, after = step(tuple([variable.value for variable in of] for of in state), data)
        for variable, value in zip(given, [v for part in after for v in part], strict=True):
            variable.assign(value)
        return logs

    def _state(self, kind: Kind) -> list[list[keras.Variable]]:
        """The variables that Keras gives to a step on JAX."""
        model = self.model
        state = [model.trainable_variables, model.non_trainable_variables]
        state += [model.optimizer.variables] if kind == "train" else []
        return [*map(list, state), list(model.metrics_variables)]

    def specs_of_logs(self, kind: Kind, batch: Any) -> dict[str, Any]:
        """The logs of a step of the model's own, which builds what is not built.

        Args:
            kind: training or testing.
            batch: some of the data.

        Returns:
            Symbolic tensors by name; none if the step is Keras' own.
        """

        def step(data: Any) -> Any:
            if f"{kind}_step" not in self.own:
                x, y, weights = keras.utils.unpack_x_y_sample_weight(data)
                self._loss(x, y, weights, training=kind == "train")
                return {}
            with self._own_optimizer():
                call = getattr(self.model, f"{kind}_step")
                if keras.backend.backend() == "tensorflow":
                    with watching_tapes(stateless_scope(), self.variables):
                        return call(data)
                state = [[variable.value for variable in of] for of in self._state(kind)]
                return call(tuple(state), data)[0]

        return specs_of_logs(step, packed(batch))

    def finalize(self) -> None:
        """Puts averages of weights in place, as Keras does when a training ends."""
        optimizer = self.model.optimizer
        with stateless(), keys_by_identity(optimizer):
            optimizer.finalize_variable_values(self.model.trainable_variables)

    def test(self, values: Sequence[Any], scalars: ScalarValues, batch: Any) -> list[Any]:
        """One test step: the values of the variables, metrics updated."""
        if "test_step" in self.own:
            return self._own_step("test", values, scalars, batch)
        with self.lane(values, scalars) as scope:
            x, y, weights = batch
            self._loss(x, y, weights, training=False)
            return self._values_behind(scope, values)

    def predict(self, values: Sequence[Any], scalars: ScalarValues, x: Any) -> Any:
        """The model's outputs for a batch."""
        with self.lane(values, scalars):
            return self.forward(x, training=False)

    def results(self, values: Sequence[Any], scalars: ScalarValues) -> dict[str, Any]:
        """The loss and the metrics so far, and logs of steps of the model's own."""
        with self.lane(values, scalars):
            found = dict(self.model.get_metrics_result())
            for kind, variables in self.logs.items():
                # No name has such a character.
                found |= {f"{kind}\0{name}": of.value for name, of in variables.items()}
            return found

    def results_of(self, kind: Kind, results: Mapping[str, Any]) -> dict[str, Any]:
        """Those of `results` that Keras shows after a training, or after a test."""
        own = self.logs.get(kind)
        if own:
            return {name: results[f"{kind}\0{name}"] for name in own}
        return {name: of for name, of in results.items() if "\0" not in name}


def _eagerly() -> AbstractContextManager[Any]:
    """Leaves the function that is traced: the values of tables and tensors can be read then."""
    if keras.backend.backend() != "tensorflow":
        return nullcontext()
    import tensorflow as tf

    context: AbstractContextManager[Any] = tf.init_scope()
    return context
