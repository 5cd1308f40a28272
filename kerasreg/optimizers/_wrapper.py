"""The base class of optimizers that wrap another one.

Keras calls `update_step` for each variable when a step is really made: on the device of the
variable, once where gradients are accumulated, and after loss scaling and clipping. A wrapper
acts in place of that method. Keras does not call it for a variable without a gradient: state that
all variables need, a wrapper keeps around `apply`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar

import keras

from kerasreg._descriptions import described_component
from kerasreg._keras.internals import index_of, replace_update_step, trainable_variables_of
from kerasreg._keras.names_of_variables import names_of_variables
from kerasreg._keras.outer_optimizer import OuterOptimizer, value_of
from kerasreg._keras.patterns import check_matches
from kerasreg._old_names import with_new_names
from kerasreg._warnings import warn


class Wrapper(OuterOptimizer):
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
        super().__init__(self.checked(inner_optimizer), name=name)
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

    def build(self, variables: Any) -> None:
        """Makes the state of the inner optimizer, and the slots."""
        if self.built:
            return
        super().build(variables)
        self.make_slots(variables)

    def make_slots(self, variables: Any) -> None:
        """Makes the slots of the wrapper, with `slots`, for subclasses to override."""

    def decide(self, argument: str, patterns: Collection[str], variables: Any) -> None:
        """Decides `by_names` for each variable, in the order of the variables.

        Raises:
            ValueError: if a pattern of the argument matches no variable.
        """
        names = names_of_variables(self, variables) if patterns else []
        decided = self.by_names([of for _, of in names]) if patterns else None
        object.__setattr__(self, "decided", decided)  # Past Keras' tracking, as no state.
        for pattern in patterns:
            try:
                check_matches(argument, pattern, dict(names))
            except ValueError as error:
                self.refuse(str(error))

    def refuse(self, reason: str) -> None:
        """A `ValueError`; a note for `say_notes` where the optimizer was made from its config."""
        if not self.is_restored:
            raise ValueError(reason)
        self._notes = (*self._notes, reason)

    _notes: tuple[str, ...] = ()
    decided: Any = None

    def say_notes(self) -> None:
        """Warns once, when training begins, of what was no error when a model was loaded."""
        notes, self._notes = self._notes, ()
        for note in notes:
            warn(f"{type(self).__name__} was read with a model that has changed: {note}")

    def slots(self, variables: Any, name: str) -> list[keras.Variable | None]:
        """Makes a slot of zeros for each variable that a gradient moves.

        Zeros, since weights may be loaded after the optimizer was built. A slot that stands for
        weights is filled when the first gradients are applied. The slots are among those of the
        inner optimizer, which Keras restores in steps that only gather gradients.
        """
        return self.rule.add_optimizer_variables(variables, name)

    def step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """The step for one variable, in place of the rule's `update_step`."""
        self._next_step(gradient, variable, learning_rate)

    @staticmethod
    def value(variable: Any) -> Any:
        """The value of a variable, of Keras or of the backend."""
        return value_of(variable)

    def index(self, variable: Any) -> int:
        """The index of a trainable variable, of Keras or of the backend."""
        return index_of(self.rule, variable)

    def known(self, variable: Any) -> keras.Variable:
        """The Keras variable of a trainable variable, of Keras or of the backend."""
        known: keras.Variable = trainable_variables_of(self.rule)[self.index(variable)]
        return known

    def completed(self, grads: Sequence[Any], variables: Sequence[Any]) -> Sequence[Any]:
        """The gradients with which the rule makes its step, of those that it is given."""
        inner = self.inner_optimizer
        return inner.completed(grads, variables) if isinstance(inner, Wrapper) else grads

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        """Applies gradients."""
        variables = self.prepare(trainable_variables)
        if len(grads) == len(variables):  # Else Keras says what is wrong, or does nothing.
            grads = self.completed(grads, variables)
        self.inner_optimizer.apply(grads, trainable_variables)

    @property
    def _later_variables(self) -> list[keras.Variable]:
        """The variables that files of versions before 0.1.0 have not."""
        inner = self.inner_optimizer
        return inner._later_variables if isinstance(inner, Wrapper) else []

    def load_own_variables(self, store: Any) -> None:
        """Takes the variables from a file, and keeps what the file is too old to have."""
        later = {id(variable) for variable in self._later_variables}
        if not later or len(store.keys()) != len(self.variables) - len(later):
            super().load_own_variables(store)
            return
        earlier = [variable for variable in self.variables if id(variable) not in later]
        for number, variable in enumerate(earlier):
            variable.assign(store[str(number)])

    def takes_over(self, penalty: Any, w: Any) -> bool:
        """Whether an inner optimizer applies a penalty, which then has no gradient."""
        inner = self.inner_optimizer
        return hasattr(inner, "takes_over") and inner.takes_over(penalty, w)

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
