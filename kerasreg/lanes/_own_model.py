"""The methods of a Keras model that need variables of its own: `predict`, `save`, ...

In a scope that shows a lane, they would make new variables, which Keras forbids
there, or trace a function that keeps the values of the lane as constants. There
the lane's own model stands in for the one that all lanes share.
"""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops

from kerasreg._keras.scope import outside
from kerasreg.lanes._view import LaneScope

if TYPE_CHECKING:
    from kerasreg.lanes._models import StackedModels

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
    """Lets the shared model call these methods of the model of the lane in scope.

    Args:
        lanes: the lanes.
        scope: what shows the lane, and keeps what is assigned.
    """

    def __init__(self, lanes: StackedModels, scope: LaneScope) -> None:
        self.lanes = lanes
        self.scope = scope

    def __enter__(self) -> None:
        for name in _METHODS:
            # Past Keras' tracking of attributes.
            object.__setattr__(self.lanes.model, name, functools.partial(self._call, name))

    def __exit__(self, *_: object) -> None:
        for name in _METHODS:
            object.__delattr__(self.lanes.model, name)

    def _call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        lanes, scope = self.lanes, self.scope
        variables, model = lanes._state.variables, lanes.models[scope.lane]
        with outside():
            own = lanes._state.targets(model, lanes._structures[scope.lane])
        values = {index: scope.get_current_value(variables[index]) for index in own}
        # It may be the shared model itself, and some of these call others.
        self.__exit__()
        try:
            with outside():
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
                            given = ops.convert_to_tensor(value, dtype=variables[index]._dtype)
                            scope.add_update((variables[index], given))
        finally:
            self.__enter__()


def _values(variables: dict[int, keras.Variable]) -> dict[int, np.ndarray]:
    return {index: np.array(ops.convert_to_numpy(of)) for index, of in variables.items()}


def _assign(variables: dict[int, keras.Variable], values: dict[int, Any]) -> None:
    for index, variable in variables.items():
        variable.assign(values[index])
