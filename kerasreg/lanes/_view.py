"""A Keras model that shows one lane: what callbacks read, and what they assign.

A callback is written for a model: it reads weights, assigns the learning rate,
puts back the best weights, sets `stop_training`. Within a `LaneScope` the one
model that the lanes share is the model of a lane: its variables have the values
of the lane, and what is assigned goes to the lane alone.

Some methods of a Keras model need variables of its own: `predict`, `save`, ... In
the scope they would make new variables, which Keras forbids there, or trace a
function that keeps the values of the lane as constants. For these methods the
model that the lane was made of stands in for the shared one (`OwnMethods`).
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kerasreg._keras.internals import outside_stateless_scopes
from kerasreg._keras.patching import patched
from kerasreg._keras.scope import Scope
from kerasreg.lanes._padding import Padding
from kerasreg.lanes._state import State
from kerasreg.lanes._structure import ModelStructure


class LaneScope(Scope):
    """The variables of a model with the values of one lane.

    Args:
        model: the model: the one that all lanes share, or a narrower one of the lane's own.
        variables: its variables, in the order of those of `state`.
        state: the state of the lanes.
        lane: the number of the lane.
        padding: where the values of `model` lie in those of `state`; None if it is as wide.
    """

    def __init__(
        self,
        model: keras.Model,
        variables: Sequence[keras.Variable],
        state: State,
        lane: int,
        padding: Padding | None = None,
    ) -> None:
        super().__init__(initialize_variables=False)
        self.model = model
        self.variables = variables
        self.lane = lane
        self._index = {id(variable): index for index, variable in enumerate(variables)}
        self._shared, self._stacked = list(state.variables), state.values
        self._padding = padding
        self._assigned: set[int] = set()

    def get_current_value(self, variable: keras.Variable) -> Any:
        key = id(variable)
        if key in self._index and _traces():
            # The function would keep the value of this lane as a constant.
            raise RuntimeError(
                "A function is traced while the model is that of one lane. Of the methods of "
                "models, those of the lanes' own model can be called, and of no other model that "
                "has its layers."
            )
        if key not in self.state_mapping and key in self._index:
            # Fetched when asked for: most callbacks read few variables, or none.
            index = self._index[key]
            value = self._stacked[index][self.lane]
            if self._padding is not None:
                own = self._padding.extract(self._shared[index], value)
                value = ops.convert_to_tensor(own, dtype=variable.dtype)
            self.state_mapping[key] = value
        return self.state_mapping.get(key)

    def add_update(self, update: tuple[keras.Variable, Any]) -> None:
        super().add_update(update)
        self._assigned.add(id(update[0]))

    def assigned(self) -> dict[int, Any]:
        """The values that were assigned, as the lanes have them, by the index of the variable."""
        found = {
            self._index[key]: self.state_mapping[key]
            for key in self._assigned
            if key in self._index
        }
        if self._padding is None:
            return found
        return {
            index: self._padding.embed(self._shared[index], ops.convert_to_numpy(value))
            for index, value in found.items()
        }


def _traces() -> bool:
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return not tf.executing_eagerly()


def merge(stacked: Sequence[Any], scopes: Sequence[LaneScope]) -> Sequence[Any]:
    """The values of all lanes with what was assigned in the scopes of some."""
    changes: dict[int, dict[int, Any]] = {}
    for scope in scopes:
        for index, value in scope.assigned().items():
            changes.setdefault(index, {})[scope.lane] = value
    if not changes:
        return stacked
    merged = list(stacked)
    for index, of_lanes in changes.items():
        values = np.array(ops.convert_to_numpy(merged[index]))
        for lane, value in of_lanes.items():
            values[lane] = ops.convert_to_numpy(value)
        merged[index] = ops.convert_to_tensor(values, dtype=values.dtype)
    return merged


_METHODS = (
    "fit",
    "evaluate",
    "predict",
    "train_on_batch",
    "test_on_batch",
    "predict_on_batch",
    "save",
    "save_weights",
    "load_weights",
    "export",
)


class OwnMethods(contextlib.AbstractContextManager[None]):
    """Lets the model in scope call some methods of the model that the lane was made of.

    Args:
        own: gives the model that the lane was made of, and its structure.
        state: the state of the lanes.
        scope: shows the lane, and keeps the values that are assigned.
    """

    def __init__(
        self,
        own: Callable[[], tuple[keras.Model, ModelStructure]],
        state: State,
        scope: LaneScope,
    ) -> None:
        self.own = own
        self.state = state
        self.scope = scope
        self._patch: contextlib.AbstractContextManager[None] = contextlib.nullcontext()

    def __enter__(self) -> None:
        calls = {name: functools.partial(self._call, name) for name in _METHODS}
        self._patch = patched(self.scope.model, **calls)
        self._patch.__enter__()

    def __exit__(self, *_: object) -> None:
        self._patch.__exit__(None, None, None)

    def _call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        variables, scope = self.scope.variables, self.scope
        with outside_stateless_scopes():
            model, structure = self.own()
            own = self.state.targets(model, structure)
        values = {index: scope.get_current_value(variables[index]) for index in own}
        # The own model may be the shared one, and some of these methods call others.
        self.__exit__()
        try:
            with outside_stateless_scopes():
                kept = _values(own)
                _assign(own, values)
                before = _values(own)
                try:
                    return getattr(model, name)(*args, **kwargs)
                finally:
                    after = _values(own)
                    _assign(own, kept)
                    for index, value in after.items():
                        if not np.array_equal(value, before[index]):
                            given = ops.convert_to_tensor(value, dtype=variables[index].dtype)
                            scope.add_update((variables[index], given))
        finally:
            self.__enter__()


def _values(variables: dict[int, keras.Variable]) -> dict[int, np.ndarray]:
    return {index: np.array(ops.convert_to_numpy(of)) for index, of in variables.items()}


def _assign(variables: dict[int, keras.Variable], values: dict[int, Any]) -> None:
    for index, variable in variables.items():
        variable.assign(values[index])
