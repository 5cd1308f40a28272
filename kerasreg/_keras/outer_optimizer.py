"""An optimizer around another one: what Keras' base class has, decided name by name.

Keras' base class gives each optimizer options, counters and methods. An optimizer that makes no
step of its own has no use for them: a value that is set there, nobody would read. Here each name
is that of the inner optimizer, unless it belongs to whatever has variables and a name.
`tests/optimizers/test_names_of_keras.py` asks for a decision on each name that Keras has.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kerasreg._keras.internals import (
    calls_of,
    check_known,
    own_variables,
    share_trainable_variables,
    trainable_variables_of,
)


class InnerOption:
    """An option that is read from, and written to, the inner optimizer."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, optimizer: Any, owner: type | None = None) -> Any:
        if optimizer is None:
            return self
        inner = vars(optimizer).get("inner_optimizer")
        return None if inner is None else getattr(inner, self._name)

    def __set__(self, optimizer: Any, value: Any) -> None:
        # Keras' constructor sets them all, before there is an inner optimizer.
        if (inner := vars(optimizer).get("inner_optimizer")) is not None:
            setattr(inner, self._name, value)


class OuterOptimizer(keras.optimizers.Optimizer):
    """Base class: an optimizer that lets the one in `inner_optimizer` make the step.

    Args:
        inner_optimizer: a Keras optimizer, or another one around an optimizer.
        name: optional name of the optimizer.
    """

    built: bool

    clipnorm = InnerOption()
    clipvalue = InnerOption()
    ema_momentum = InnerOption()
    ema_overwrite_frequency = InnerOption()
    global_clipnorm = InnerOption()
    gradient_accumulation_steps = InnerOption()
    # A `LossScaleOptimizer` outside turns it off.
    loss_scale_factor = InnerOption()
    use_ema: Any = InnerOption()
    weight_decay: Any = InnerOption()

    def __init__(
        self, inner_optimizer: keras.optimizers.Optimizer, name: str | None = None
    ) -> None:
        # The number is never read: `learning_rate` is that of the inner optimizer.
        super().__init__(learning_rate=0.0, name=name)
        self.inner_optimizer = inner_optimizer

    @property
    def rule(self) -> Any:
        """The innermost optimizer, which has the update rule."""
        return rule_of(self.inner_optimizer)

    def build(self, variables: Any) -> None:
        """Makes the state of the inner optimizer."""
        if self.built:
            return
        self.inner_optimizer.build(variables)
        share_trainable_variables(self, self.inner_optimizer)
        self.built = True

    def by_names(self, names: Sequence[frozenset[str]]) -> Any:
        """What the optimizer decides by the names of its variables, for subclasses to override.

        Args:
            names: for each variable the names that it is meant by.

        Returns:
            The decisions, as plain values. None if it decides nothing.
        """
        return None

    def prepare(self, trainable_variables: Any) -> list[Any]:
        """Builds, if nobody did, when gradients are to be applied.

        Args:
            trainable_variables: those that `apply` was given.

        Returns:
            The variables that the gradients are of.

        Raises:
            ValueError: if an optimizer that is built does not know one of them.
        """
        if trainable_variables is None:
            return trainable_variables_of(self)
        variables = list(trainable_variables)
        if not self.built:
            with keras.name_scope(self.name, caller=self):
                self.build(variables)
        check_known(self, variables)
        return variables

    def apply_gradients(self, grads_and_vars: Any) -> Any:
        """Applies gradients, and returns how often that was done."""
        super().apply_gradients(grads_and_vars)
        return calls_of(self.rule)

    @property
    def variables(self) -> list[keras.Variable]:
        """The variables of the wrapper and of the inner optimizer."""
        return [*own_variables(self), *self.inner_optimizer.variables]

    def set_weights(self, weights: Any) -> None:
        """Sets the variables of the wrapper and of the inner optimizer."""
        variables = self.variables
        if not self.built or len(weights) != len(variables):
            raise ValueError(
                f"`weights` must be one array for each of the {len(variables)} variables of an "
                f"optimizer that is built. Received: {len(weights)} arrays, for an optimizer that "
                f"is {'built' if self.built else 'not built'}"
            )
        for variable, weight in zip(variables, weights, strict=True):
            variable.assign(weight)

    @property
    def learning_rate(self) -> Any:
        """The inner optimizer's learning rate."""
        return self.inner_optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, learning_rate: Any) -> None:
        self.inner_optimizer.learning_rate = learning_rate

    @property
    def iterations(self) -> keras.Variable:
        """The number of steps that the inner optimizer made."""
        return self.inner_optimizer.iterations

    def exclude_from_weight_decay(self, var_list: Any = None, var_names: Any = None) -> None:
        """Excludes variables from the weight decay of the inner optimizer, as Keras does."""
        self.inner_optimizer.exclude_from_weight_decay(var_list, var_names)

    def scale_loss(self, loss: Any) -> Any:
        """Scales the loss as the inner optimizer does."""
        return self.inner_optimizer.scale_loss(loss)

    def finalize_variable_values(self, var_list: Any) -> None:
        """Ends the training as the inner optimizer does, for example with moving averages.

        Keras' averages are zeros until gradients are applied, and overflowing losses are not.
        """
        if not self.rule.use_ema:
            self.inner_optimizer.finalize_variable_values(var_list)
            return
        kept = [value_of(variable) * 1.0 for variable in var_list]  # Copies.
        self.inner_optimizer.finalize_variable_values(var_list)
        none = ops.equal(ops.convert_to_tensor(calls_of(self.rule)), 0)
        for variable, value in zip(var_list, kept, strict=True):
            variable.assign(ops.where(none, value, value_of(variable)))

    @property
    def _model_variables_moving_average(self) -> Any:
        """The averages of the innermost optimizer, where `SwapEMAWeights` looks for them.

        The callback looks one optimizer deep. Until gradients are applied, the weights stand
        for their averages, so that a swap leaves them.
        """
        averages = self.rule._model_variables_moving_average
        if int(ops.convert_to_numpy(calls_of(self.rule))) == 0:
            for variable, average in zip(trainable_variables_of(self.rule), averages, strict=True):
                if average is not None:
                    average.assign(variable)
        return averages


def rule_of(optimizer: Any) -> Any:
    """The optimizer that has the update rule: the innermost one."""
    while isinstance(optimizer, OuterOptimizer):
        optimizer = optimizer.inner_optimizer
    return optimizer


def value_of(variable: Any) -> Any:
    """The value of a variable, of Keras or of the backend."""
    # A Keras variable is taken for a tensor on TensorFlow.
    held = variable.value if isinstance(variable, keras.Variable) else variable
    return ops.convert_to_tensor(held)


def makes_a_step(rule: Any, calls: Any) -> Any:
    """Whether an optimizer makes a step when gradients are applied, or only gathers them.

    Args:
        rule: an optimizer with an update rule.
        calls: how often gradients were applied, with these, a tensor.
    """
    every = rule.gradient_accumulation_steps
    return ops.equal(calls % every, 0) if every else True
