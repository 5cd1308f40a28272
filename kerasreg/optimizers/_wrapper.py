"""The base class of optimizers that wrap another one.

Keras calls `update_step` for each variable when a step is really made: on the device of the
variable, once where gradients are accumulated, and after loss scaling and clipping. A wrapper
acts in place of that method.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import keras

from kerasreg._descriptions import described_component
from kerasreg._keras.internals import (
    index_of,
    own_variables,
    replace_update_step,
    trainable_variables_of,
)
from kerasreg._keras.patterns import check_matches, names_within
from kerasreg._old_names import with_new_names
from kerasreg._warnings import warn


class Wrapper(keras.optimizers.Optimizer):
    """Base class: the step of the inner optimizer for each variable, and something around it.

    Subclasses override `step` and, for slots, `make_slots`. A wrapper may wrap another
    wrapper: the outermost acts first. Clipping, weight decay, gradient accumulation, moving
    averages and loss scaling are those of the inner optimizer. A `LossScaleOptimizer` goes
    around all wrappers.

    Args:
        inner_optimizer: a Keras optimizer with an update rule of its own, or a wrapper.
        name: optional name of the optimizer.
    """

    wraps_wrappers = True

    # Whether it was made from its config. The model may be another one since it was checked: a
    # layer frozen, a penalty removed. Then what does not fit is no error, and said in training.
    is_restored = False

    # Old names of arguments, in files of versions before 0.1.0.
    _new_names: ClassVar[Mapping[str, str]] = {}

    def __init__(
        self, inner_optimizer: keras.optimizers.Optimizer, name: str | None = None
    ) -> None:
        inner_optimizer = self.checked(inner_optimizer)
        # The number is never read: `learning_rate` is that of the inner optimizer.
        super().__init__(learning_rate=0.0, name=name)
        self.inner_optimizer = inner_optimizer
        # For good, not while `apply` runs: replicas of a strategy take turns in it. Past
        # Keras' tracking, which is for state. Subclasses check their arguments before.
        object.__setattr__(self, "_next_step", replace_update_step(self.rule, self.step))

    @classmethod
    def checked(cls, inner_optimizer: Any) -> keras.optimizers.Optimizer:
        """An optimizer that this one can be around, or a `ValueError`."""
        if isinstance(inner_optimizer, dict):
            inner_optimizer = keras.saving.deserialize_keras_object(inner_optimizer)
        wrapper = isinstance(inner_optimizer, Wrapper)
        has_rule = (
            isinstance(inner_optimizer, keras.optimizers.Optimizer)
            # An optimizer that has no rule of its own wraps others.
            and type(inner_optimizer).update_step is not keras.optimizers.Optimizer.update_step
        )
        if not (cls.wraps_wrappers if wrapper else has_rule):
            raise ValueError(
                "`inner_optimizer` must be a Keras optimizer that has an update rule, and wraps "
                f"no other{' but of kerasreg' if cls.wraps_wrappers else ''}. "
                f"Received: inner_optimizer={inner_optimizer!r}"
            )
        if keras.backend.backend() == "torch":
            raise ValueError(
                f"`{cls.__name__}` trains on TensorFlow and JAX. Optimizers on PyTorch move "
                "all weights at once, past its step. Received: the backend torch"
            )
        return inner_optimizer

    @property
    def rule(self) -> Any:
        """The innermost optimizer, which has the update rule."""
        return rule_of(self.inner_optimizer)

    def build(self, variables: Any) -> None:
        """Makes the state of the inner optimizer, and the slots."""
        if self.built:
            return
        self.inner_optimizer.build(variables)
        super().build(variables)
        self.make_slots(variables)

    def make_slots(self, variables: Any) -> None:
        """Makes the slots of the wrapper, with `slots`, for subclasses to override."""

    def check_names(self, argument: str, patterns: Iterable[str], variables: Any) -> None:
        """Checks that each pattern of an argument matches a variable."""
        names = {variable.path: names_within(variable.path) for variable in variables}
        for pattern in patterns:
            try:
                check_matches(argument, pattern, names)
            except ValueError as error:
                self.refuse(str(error))

    def refuse(self, reason: str) -> None:
        """A `ValueError`; a note for `say_notes` where the optimizer was made from its config."""
        if not self.is_restored:
            raise ValueError(reason)
        self._notes = (*self._notes, reason)

    _notes: tuple[str, ...] = ()

    def say_notes(self) -> None:
        """Warns once, when training begins, of what was no error when a model was loaded."""
        notes, self._notes = self._notes, ()
        for note in notes:
            warn(f"{type(self).__name__} was read with a model that has changed: {note}")

    def slots(self, variables: Any, name: str) -> list[keras.Variable]:
        """Makes a slot of zeros for each variable: the first step may be traced already.

        The slots are among those of the inner optimizer, which Keras restores in steps that
        only gather gradients.
        """
        return self.rule.add_optimizer_variables(variables, name)

    def step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """The step for one variable, in place of the rule's `update_step`."""
        self._next_step(gradient, variable, learning_rate)

    @staticmethod
    def value(variable: Any) -> Any:
        """The value of a variable, of Keras or of the backend."""
        # A Keras variable is taken for a tensor on TensorFlow.
        held = variable.value if isinstance(variable, keras.Variable) else variable
        return keras.ops.convert_to_tensor(held)

    def index(self, variable: Any) -> int:
        """The index of a trainable variable, of Keras or of the backend."""
        return index_of(self.rule, variable)

    def known(self, variable: Any) -> keras.Variable:
        """The Keras variable of a trainable variable, of Keras or of the backend."""
        known: keras.Variable = trainable_variables_of(self.rule)[self.index(variable)]
        return known

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        """Applies gradients."""
        if not self.built:
            with keras.name_scope(self.name, caller=self):
                self.build(list(trainable_variables))
        self.inner_optimizer.apply(grads, trainable_variables)

    def takes_over(self, penalty: Any, w: Any) -> bool:
        """Whether an inner optimizer applies a penalty, which then has no gradient."""
        inner = self.inner_optimizer
        return hasattr(inner, "takes_over") and inner.takes_over(penalty, w)

    # What follows is the inner optimizer's.

    @property
    def variables(self) -> list[keras.Variable]:
        """The variables of the wrapper and of the inner optimizer."""
        return [*own_variables(self), *self.inner_optimizer.variables]

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

    @property
    def loss_scale_factor(self) -> float | None:
        """The factor of the inner optimizer, which a `LossScaleOptimizer` outside turns off."""
        inner = self.__dict__.get("inner_optimizer")
        return None if inner is None else inner.loss_scale_factor

    @loss_scale_factor.setter
    def loss_scale_factor(self, factor: float | None) -> None:
        # Keras' constructor sets it too, before there is an inner optimizer.
        if (inner := self.__dict__.get("inner_optimizer")) is not None:
            inner.loss_scale_factor = factor

    def scale_loss(self, loss: Any) -> Any:
        """Scales the loss as the inner optimizer does."""
        return self.inner_optimizer.scale_loss(loss)

    def finalize_variable_values(self, var_list: Any) -> None:
        """Ends the training as the inner optimizer does, for example with moving averages."""
        self.inner_optimizer.finalize_variable_values(var_list)

    def get_config(self) -> dict[str, Any]:
        """The arguments, and the config of the inner optimizer."""
        inner = keras.saving.serialize_keras_object(self.inner_optimizer)
        return {"inner_optimizer": inner, "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        """Makes an optimizer from its config, at step 0."""
        inner = keras.saving.deserialize_keras_object(
            config["inner_optimizer"], custom_objects=custom_objects
        )
        made = cls(**{**with_new_names(config, cls._new_names), "inner_optimizer": inner})
        made.is_restored = True
        return made

    def __repr__(self) -> str:
        return described_component(self)


def rule_of(optimizer: Any) -> Any:
    """The optimizer that has the update rule: the innermost one."""
    while isinstance(optimizer, Wrapper):
        optimizer = optimizer.inner_optimizer
    return optimizer
