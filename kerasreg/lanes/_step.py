"""The steps of one lane as pure functions: what Keras does in `fit`, `evaluate` and `predict`.

Nothing in here knows of lanes: a step takes the values of all variables and
gives new ones, and `_tensorflow` and `_jax` make one program of K of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
from keras import ops, tree

from kerasreg._keras.scope import Scope
from kerasreg._keras.stateless_optimizer import keys_by_identity, stateless
from kerasreg.lanes._numbers import Number, Values, replaced

# `differentiate(function)(values)` is `(gradients, what the function gave besides)`.
Differentiate = Callable[[Callable[[Any], tuple[Any, Any]]], Callable[[Any], tuple[Any, Any]]]


class Step:
    """The training, test and prediction step of a model as pure functions.

    Args:
        model: a built and compiled model, whose optimizer, losses and metrics
            are built.
        variables: all variables that the model reads or writes.
        numbers: the numbers that differ between lanes and are in no variable.
    """

    def __init__(
        self,
        model: keras.Model,
        variables: Sequence[keras.Variable],
        numbers: Sequence[Number],
    ) -> None:
        self.model = model
        self.variables = list(variables)
        self.numbers = list(numbers)
        index = {id(variable): i for i, variable in enumerate(self.variables)}
        self._trainable = [index[id(variable)] for variable in model.trainable_variables]

    @contextmanager
    def _lane(self, values: Sequence[Any], numbers: Values) -> Iterator[Scope]:
        pairs = list(zip(self.variables, values, strict=True))
        # Keras gathers the losses of layers in the scope, and not on the layers.
        scope = Scope(state_mapping=pairs, collect_losses=True)
        with replaced(self.numbers, numbers), scope:
            yield scope

    def _values(self, scope: Scope) -> list[Any]:
        return [scope.get_current_value(variable) for variable in self.variables]

    def _forward(self, x: Any, training: bool) -> Any:
        if self.model._call_has_training_arg:
            return self.model(x, training=training)
        return self.model(x)

    def _loss(self, x: Any, y: Any, weights: Any, training: bool) -> Any:
        """Forward pass, loss, and the metrics' update, in Keras' order."""
        model = self.model
        y_pred = self._forward(x, training)
        loss = model._compute_loss(
            x=x, y=y, y_pred=y_pred, sample_weight=weights, training=training
        )
        examples = ops.shape(tree.flatten(x)[0])[0]
        model._loss_tracker.update_state(loss, sample_weight=examples)
        model.compute_metrics(x, y, y_pred, sample_weight=weights)
        return loss

    def train(
        self, values: Sequence[Any], numbers: Values, batch: Any, differentiate: Differentiate
    ) -> list[Any]:
        """One training step: the values of the variables after it."""
        x, y, weights = batch
        trainable = self.model.trainable_variables

        def loss(of: Sequence[Any]) -> tuple[Any, Any]:
            inside = list(values)
            for index, value in zip(self._trainable, of, strict=True):
                inside[index] = value
            with self._lane(inside, numbers) as scope:
                found = self.model.optimizer.scale_loss(self._loss(x, y, weights, training=True))
                return found, self._values(scope)

        gradients, after = differentiate(loss)([values[index] for index in self._trainable])
        optimizer = self.model.optimizer
        with self._lane(after, numbers) as scope, stateless(), keys_by_identity(optimizer):
            if not _overrides_stateless_apply(optimizer):
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
        """What Keras does with the weights when a training ends."""
        optimizer = self.model.optimizer
        with stateless(), keys_by_identity(optimizer):
            optimizer.finalize_variable_values(self.model.trainable_variables)

    def test(self, values: Sequence[Any], numbers: Values, batch: Any) -> list[Any]:
        """One test step: the values of the variables, metrics updated."""
        with self._lane(values, numbers) as scope:
            x, y, weights = batch
            self._loss(x, y, weights, training=False)
            return self._values(scope)

    def predict(self, values: Sequence[Any], numbers: Values, x: Any) -> Any:
        """The model's outputs for a batch."""
        with self._lane(values, numbers):
            return self._forward(x, training=False)

    def results(self, values: Sequence[Any], numbers: Values) -> dict[str, Any]:
        """The loss and the metrics so far."""
        with self._lane(values, numbers):
            return dict(self.model.get_metrics_result())


def _overrides_stateless_apply(optimizer: Any) -> bool:
    from keras.src.optimizers.base_optimizer import BaseOptimizer

    # Within `stateless`, where TensorFlow's class has the method of the base.
    return type(optimizer).stateless_apply is not BaseOptimizer.stateless_apply
