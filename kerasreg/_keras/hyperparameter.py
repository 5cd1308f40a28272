"""A hyperparameter is a variable, and what it does over time is a schedule.

Every component that takes "a number or a schedule" holds one `Hyperparameter`.
It is a small Keras layer, so that whatever layer owns it, directly or through
a regularizer, tracks its variables: they are in `model.variables`, in `.keras`
and `.weights.h5` files and in checkpoints, and a strategy mirrors them.
"""

from __future__ import annotations

import math
import threading
import weakref
from collections.abc import Callable
from typing import Any, TypeAlias

import keras
import numpy as np
from keras import ops

from kerasreg._keras.internals import (
    check_calls_are_seen,
    inner_layers,
    is_training,
    running_call,
    stateless_scope,
    tracked_variables,
)
from kerasreg._keras.patterns import names_within
from kerasreg._keras.recompute import Recomputations
from kerasreg._validation import check_number, check_schedule

KerasSchedule: TypeAlias = keras.optimizers.schedules.LearningRateSchedule
NumberOrSchedule: TypeAlias = float | int | KerasSchedule


@keras.saving.register_keras_serializable(package="kerasreg")
class Hyperparameter(keras.layers.Layer):
    """A number in a variable, which a schedule may move once a training step.

    The value at training step `t` is `schedule(t)`, `t = 0, 1, ...`, or the
    number that was given. A training step is one training-mode forward pass of
    the outermost Keras model or layer; with gradient accumulation that is each
    micro-batch, and several uses in one pass count as one. Evaluation and
    prediction use the last training step's value and count nothing.

    Args:
        value: a number, or a `keras.optimizers.schedules.LearningRateSchedule`
            (Keras' own or one of `kerasreg.schedules`).
        argument: the name of the owner's argument, used in errors and as the
            name of the variable.
        minimum: smallest accepted value, inclusive.
        maximum: largest accepted value, inclusive; None for no bound.
        count_steps: count training steps even when `value` is a number.

    Raises:
        ValueError: if `value` is no number and no schedule, or leaves
            [`minimum`, `maximum`].

    Example:

    >>> import keras, kerasreg
    >>> rate = kerasreg.schedules.Hyperparameter(0.25, "rate", maximum=1.0)
    >>> float(rate.variable)
    0.25
    """

    # What a program of many lanes may change while it trains.
    lane_hyperparameters = ("variable",)

    def __init__(
        self,
        value: NumberOrSchedule | dict[str, Any],
        argument: str = "value",
        minimum: float = 0.0,
        maximum: float | None = None,
        count_steps: bool = False,
    ) -> None:
        super().__init__(name=argument, dtype=keras.config.floatx())
        if isinstance(value, dict):
            value = keras.saving.deserialize_keras_object(value)
        self.argument = argument
        self.minimum = minimum
        # Infinity is no JSON.
        self.maximum = math.inf if maximum is None else maximum
        self.count_steps = count_steps
        # Static: whether there is a schedule, and which one, is fixed for the
        # life of the object. Traced: `variable` and `step`.
        self.schedule: KerasSchedule | None = None
        if isinstance(value, keras.optimizers.schedules.LearningRateSchedule):
            first = check_schedule(argument, value, minimum, self.maximum)
            self.schedule = value
        else:
            first = check_number(argument, value, minimum, self.maximum, or_schedule=True)
        self.variable = self.add_weight(
            name=argument,
            shape=(),
            # Not `initializers.Constant`, which takes a float64 by way of float32.
            initializer=lambda shape, dtype: ops.convert_to_tensor(np.full(shape, first, dtype)),
            dtype=keras.config.floatx(),
            trainable=False,
            # A rate of 0.1 is another number in float16.
            autocast=False,
            # Replicas compute the same value: keep one, do not sum or average.
            aggregation="only_first_replica",
        )
        self.step = None
        if self.schedule is not None or count_steps:
            self.step = self.add_weight(
                name="step",
                shape=(),
                initializer="zeros",
                dtype="int32",
                trainable=False,
                aggregation="only_first_replica",
            )
        self.built = True
        self._last_pass = _LastPass()

    def current(self, training: bool | None = None) -> tuple[Any, Any, int]:
        """The value and the step to use here; the first use in a pass advances.

        Args:
            training: whether this is a training step; None asks the Keras call
                that is running, or ran last, over the owner.

        Returns:
            `(value, step, use)`. The value and the step are scalar tensors; the step is
            None where neither a schedule nor `count_steps` asks for it. The use, a Python
            integer, counts the uses within this pass from 1, and is 0 where no step counts.
        """
        last = self._last_pass
        if training is None:
            if last.call is None:
                # Never called; or called, and Keras did not tell: then the value would stand still.
                check_calls_are_seen()
            training = last.call is not None and is_training(last.call)
        if self.step is None:
            return ops.convert_to_tensor(self.variable), None, 0
        if not training:
            return ops.convert_to_tensor(self.variable), ops.convert_to_tensor(self.step), 0
        # Gradient checkpointing calls again what was counted before.
        if (given := last.recomputations.first()) is not None:
            return given
        # Python-side, hence static in a trace: each trace sees a new pass. In a
        # stateless scope Keras may enter layer by layer: the scope is the pass.
        this_pass = _surrounding_scope() or last.call
        if this_pass is not None and this_pass is last.counted():
            last.uses += 1
            return self._given(ops.convert_to_tensor(self.variable), self.step - 1)
        # Weak: a scope holds the tensors of its trace.
        last.counted = _no_pass if this_pass is None else weakref.ref(this_pass)
        last.uses = 1
        last.recomputations = Recomputations()
        # `* 1` copies: the assignment below must not change what is returned.
        step = ops.convert_to_tensor(self.step) * 1
        if self.schedule is not None:
            value = ops.cast(self.schedule(step), self.variable.dtype)
            # Schedules are probed when constructed; this holds the bound at
            # steps that were not probed, where raising in a graph is not possible.
            self.variable.assign(ops.clip(value, self.minimum, self.maximum))
        self.step.assign(step + 1)
        return self._given(ops.convert_to_tensor(self.variable), step)

    def _given(self, value: Any, step: Any) -> tuple[Any, Any, int]:
        last = self._last_pass
        given = value, step, last.uses
        last.recomputations.record(given)
        return given

    def last_call(self) -> Any:
        """Keras' context of the call that is running, or ran last, over the owner, or None."""
        return self._last_pass.call

    def serialized_value(self) -> Any:
        """The number as it is now, or the serialised schedule, for a config."""
        if self.schedule is not None:
            return keras.saving.serialize_keras_object(self.schedule)
        return float(ops.convert_to_numpy(self.variable))

    def get_config(self) -> dict[str, Any]:
        """The arguments; a number that was reassigned is given as it is now."""
        return {
            "value": self.serialized_value(),
            "argument": self.argument,
            "minimum": self.minimum,
            "maximum": None if self.maximum == math.inf else self.maximum,
            "count_steps": self.count_steps,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Hyperparameter:
        """Makes a hyperparameter, at step 0."""
        return cls(**config)

    def __deepcopy__(self, memo: dict[int, Any]) -> Hyperparameter:
        memo[id(self)] = copied = type(self).from_config(self.get_config())
        copy_state(self, copied)
        return copied

    @property
    def weights(self) -> list[keras.Variable]:
        """Empty: like seeds, this state is in `variables`, not in `weights`.

        `get_weights`, `set_weights` and parameter counts of a model are so the
        same with and without a hyperparameter.
        """
        return []

    def load_own_variables(self, store: Any) -> None:
        """Takes the saved state; keeps its own where the file has none.

        A weights file of the same model without this hyperparameter so loads
        into one with it.
        """
        if len(store.keys()) > 0:
            super().load_own_variables(store)

    def _clear_losses(self) -> None:
        # Keras calls this on every tracked layer when an outermost call begins.
        super()._clear_losses()
        self._last_pass.call = running_call()


class PartOfPass(keras.StatelessScope):
    """A stateless scope within a forward pass, which is no pass of its own."""


def _surrounding_scope() -> Any:
    """The stateless scope that a whole pass runs in, or None."""
    scope = stateless_scope()
    while isinstance(scope, PartOfPass):
        scope = scope.original_scope
    return scope


def copy_state(source: keras.layers.Layer, target: keras.layers.Layer) -> None:
    """Assigns every variable of a layer to the same one of a layer like it."""
    for theirs, mine in zip(source.variables, target.variables, strict=True):
        mine.assign(theirs)


def hyperparameters_of(model: keras.Model) -> list[tuple[list[str], Hyperparameter]]:
    """The hyperparameters of a model, each with the names that lead to it, its owner's last.

    One that several layers share has the names of all of them.
    """
    found: dict[int, tuple[list[str], Hyperparameter]] = {}

    def take(hyperparameter: Hyperparameter, within: list[str], *names: str) -> None:
        known, _ = found.get(id(hyperparameter), ([], None))
        own = names_within("/".join(within))
        found[id(hyperparameter)] = ([*known, *sorted(own), *names, *within], hyperparameter)

    def visit(layer: Any, within: list[str]) -> None:
        # A layer that is built from the beginning has no path.
        path = getattr(layer, "path", None) or ""
        # On a weight that exists, a penalty may be tracked by nobody.
        for part in [*tracked_variables(layer), *inner_layers(layer)]:
            penalty = getattr(part, "regularizer", part)
            if isinstance(part, Hyperparameter):
                take(part, within, path)
            elif hasattr(penalty, "hyperparameter"):  # A penalty.
                # Of a sum, the factor: its parts stay in proportion.
                strength = penalty.hyperparameter()
                take(strength, [*within, penalty.name], path)
                if penalty is not part:
                    take(strength, [*within, part.name], part.path)
            elif isinstance(part, keras.layers.Layer):
                visit(part, [*within, part.name])

    visit(model, [])
    return list(found.values())


def _no_pass() -> None:
    return None


class _LastPass(threading.local):
    """The running or last forward pass over the owner, and the last counted one.

    Thread-local because a mirrored strategy traces its replicas in threads that
    take turns. Copies and pickles start empty: a pass belongs to one object.
    """

    call: Any = None  # Keras' call context: its `training` outlives the call.
    counted: Callable[[], Any] = staticmethod(_no_pass)
    uses: int = 0  # In the pass that was counted last.

    def __init__(self) -> None:
        self.recomputations = Recomputations()

    def __reduce__(self) -> Any:
        return _LastPass, ()
