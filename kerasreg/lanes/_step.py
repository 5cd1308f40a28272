"""The steps of one lane as pure functions: what Keras does in `fit`, `evaluate` and `predict`.

Nothing in here knows of lanes: a step takes the values of all variables and
gives new ones, and `_tensorflow` and `_jax` make one program of K of them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import keras
from keras import ops, tree

from kerasreg._keras.internals import (
    compute_loss,
    default_stateless_apply,
    loss_tracker,
    takes_training,
)
from kerasreg._keras.scope import Scope
from kerasreg._keras.stateless_optimizer import keys_by_identity, stateless
from kerasreg._keras.tensors_for_numbers import tensors_for_numbers
from kerasreg.lanes._draws import RandomNumbers, lane_draws
from kerasreg.lanes._scalars import LaneScalar, Scalar, ScalarValues, replaced_scalars
from kerasreg.lanes._structure import ModelStructure

# `differentiate(function)(values)` is `(gradients, what the function gave besides)`.
Differentiate = Callable[[Callable[[Any], tuple[Any, Any]]], Callable[[Any], tuple[Any, Any]]]


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
    ) -> None:
        self.model = model
        self.draws: Callable[[], AbstractContextManager[None]]
        self.draws = functools.partial(lane_draws, random_numbers)
        self.variables = list(variables)
        self.scalars = list(scalars)
        self.before: ModelStructure | None = None
        index = {id(variable): i for i, variable in enumerate(self.variables)}
        self._trainable = [index[id(variable)] for variable in model.trainable_variables]
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
        with numbers, tensors_for_numbers(LaneScalar), draws, scope:
            yield scope

    def _values(self, scope: Scope) -> list[Any]:
        return [scope.get_current_value(variable) for variable in self.variables]

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
        x, y, weights = batch

        def loss(of: Sequence[Any]) -> tuple[Any, Any]:
            inside = list(values)
            for index, value in zip(self._trainable, of, strict=True):
                inside[index] = value
            with self.lane(inside, scalars) as scope:
                found = self.model.optimizer.scale_loss(self._loss(x, y, weights, training=True))
                return found, self._values(scope)

        gradients, after = differentiate(loss)([values[index] for index in self._trainable])
        return self.update(after, scalars, self._masked(gradients, values))

    def _masked(self, gradients: Sequence[Any], values: Sequence[Any]) -> list[Any]:
        """The gradients with zeros beside what the lane has."""
        found = list(gradients)
        for (number, axis), index in self._masks.items():
            if found[number] is not None:
                # Slices of an embedding, which are its rows, become the whole.
                gradient = ops.convert_to_tensor(found[number])
                shape = [1] * len(gradient.shape)
                shape[axis] = -1
                found[number] = gradient * ops.reshape(values[index], shape)
        return found

    def update(
        self, values: Sequence[Any], scalars: ScalarValues, gradients: Sequence[Any]
    ) -> list[Any]:
        """One step of the optimizer: the values of the variables after it."""
        optimizer, trainable = self.model.optimizer, self.model.trainable_variables
        with self.lane(values, scalars) as scope, stateless(), keys_by_identity(optimizer):
            if default_stateless_apply(optimizer):
                optimizer.apply(gradients, trainable)
                return self._values(scope)
            # The loss-scaling wrapper, whose `apply` has branches that assign.
            slots = optimizer.variables
            weights_after, slots_after = optimizer.stateless_apply(
                [slot.value for slot in slots], gradients, [weight.value for weight in trainable]
            )
            for variable, value in zip(
                [*trainable, *slots], [*weights_after, *slots_after], strict=True
            ):
                variable.assign(value)
            return self._values(scope)

    def finalize(self) -> None:
        """Puts averages of weights in place, as Keras does when a training ends."""
        optimizer = self.model.optimizer
        with stateless(), keys_by_identity(optimizer):
            optimizer.finalize_variable_values(self.model.trainable_variables)

    def test(self, values: Sequence[Any], scalars: ScalarValues, batch: Any) -> list[Any]:
        """One test step: the values of the variables, metrics updated."""
        with self.lane(values, scalars) as scope:
            x, y, weights = batch
            self._loss(x, y, weights, training=False)
            return self._values(scope)

    def predict(self, values: Sequence[Any], scalars: ScalarValues, x: Any) -> Any:
        """The model's outputs for a batch."""
        with self.lane(values, scalars):
            return self.forward(x, training=False)

    def results(self, values: Sequence[Any], scalars: ScalarValues) -> dict[str, Any]:
        """The loss and the metrics so far."""
        with self.lane(values, scalars):
            return dict(self.model.get_metrics_result())


def _eagerly() -> AbstractContextManager[Any]:
    """Leaves the function that is traced: the values of tables and tensors can be read then."""
    if keras.backend.backend() != "tensorflow":
        return nullcontext()
    import tensorflow as tf

    context: AbstractContextManager[Any] = tf.init_scope()
    return context
