"""Variables that get their values when somebody asks for them.

The models of a group give their values to lanes, and most of them are never run.
To make a `tf.Variable` for each of theirs would be much of the work of building them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from kerasreg._keras.internals import stored_dtype
from kerasreg._keras.patching import original, patched


@contextlib.contextmanager
def deferred_variables() -> Iterator[None]:
    """Lets variables made within get their values when these are first asked for.

    They are the same values as without: a variable is made at once where its value
    depends on what was drawn before, or may do so (an initializer of the user's, or
    one with a `keras.random.SeedGenerator`). On other backends than TensorFlow, and
    in the scope of a strategy, it is only noted which initializer gave the value.
    For other threads nothing changes.
    """
    with _deferring() if _can_defer() else _noting():
        yield


def initial_value(variable: keras.Variable) -> Any:
    """The value of a variable, which is not made for it."""
    pending = vars(variable).get(_PENDING)
    if pending is None:
        return keras.ops.convert_to_tensor(variable)
    value = pending() if callable(pending) else pending
    return keras.ops.convert_to_tensor(value, stored_dtype(variable))


def initializer_of(variable: keras.Variable) -> Any:
    """The initializer that gave a variable the value that it has, or will give it; else None.

    It is known of variables that were made by `deferred_variables`.
    """
    initializer = vars(variable).get(_INITIALIZER)
    if initializer is None or callable(vars(variable).get(_PENDING)):
        return initializer
    given = keras.ops.convert_to_numpy(initializer(variable.shape, dtype=variable.dtype))
    # It may have been assigned since.
    same = np.array_equal(given, keras.ops.convert_to_numpy(initial_value(variable)))
    return initializer if same else None


_PENDING = "_kerasreg_pending_value"
_INITIALIZER = "_kerasreg_initializer"
_TRAINABLE = "_kerasreg_trainable_when_made"


def _can_defer() -> bool:
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return not tf.distribute.has_strategy()


@contextlib.contextmanager
def _noting() -> Iterator[None]:
    by_initializer = original(keras.Variable, "_initialize_with_initializer")

    def of_initializer(self: Any, initializer: Any) -> None:
        if _is_pure(initializer):
            vars(self)[_INITIALIZER] = initializer
        by_initializer(self, initializer)

    with patched(keras.Variable, _initialize_with_initializer=of_initializer):
        yield


@contextlib.contextmanager
def _deferring() -> Iterator[None]:
    import tensorflow as tf

    Variable = keras.Variable
    # Where Keras, from 3.10 to 3.15, makes the `tf.Variable` of one of its own.
    initialize = original(Variable, "_initialize")
    by_initializer = original(Variable, "_initialize_with_initializer")

    class DeferredVariable(keras.Variable):
        """A variable until its value is asked for; then it is Keras' own."""

        @property
        def _value(self) -> Any:
            pending = self.__dict__[_PENDING]
            if self._shape is None:
                return pending  # While it is made: Keras takes the shape of a tensor.
            del self.__dict__[_PENDING]
            self.__class__ = Variable
            # A layer that was frozen since may be trained later: TensorFlow's gradients see
            # variables that were trainable when they were made.
            now = Variable.trainable.fget(self)
            self.trainable = self.__dict__.pop(_TRAINABLE)
            with tf.init_scope():
                initialize(self, pending)
            self.trainable = now
            return self._value

        @_value.setter
        def _value(self, value: Any) -> None:
            self.__dict__.pop(_PENDING, None)
            self.__dict__.pop(_TRAINABLE, None)
            self.__class__ = Variable
            self._value = value

    def defer(variable: Any, pending: Any) -> None:
        vars(variable)[_PENDING] = pending
        vars(variable)[_TRAINABLE] = variable.trainable
        variable.__class__ = DeferredVariable

    def of_value(self: Any, value: Any) -> None:
        if type(self) is Variable and tf.is_tensor(value) and tf.executing_eagerly():
            defer(self, value)
        else:
            initialize(self, value)

    def of_initializer(self: Any, initializer: Any) -> None:
        if type(self) is Variable and _is_pure(initializer) and tf.executing_eagerly():
            vars(self)[_INITIALIZER] = initializer
            defer(self, lambda: initializer(self._shape, dtype=self._dtype))
        else:
            by_initializer(self, initializer)

    with patched(Variable, _initialize=of_value, _initialize_with_initializer=of_initializer):
        yield


def _is_pure(initializer: Any) -> bool:
    """Whether an initializer gives the same value at any time."""
    seed = getattr(initializer, "seed", None)
    of_keras = type(initializer).__module__.startswith("keras.")
    return (
        isinstance(initializer, keras.initializers.Initializer)
        and of_keras
        and (seed is None or isinstance(seed, int))
    )
