"""A Keras model that shows one lane: what callbacks read, and what they assign.

A callback is written for a model: it reads weights, assigns the learning rate,
puts back the best weights, sets `stop_training`. Within a `LaneScope` the one
model that the lanes share is the model of a lane: its variables have the values
of the lane, and what is assigned goes to the lane alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from kerasreg._keras.scope import Scope


class LaneScope(Scope):
    """The variables of a model with the values of one lane.

    Args:
        variables: of the model.
        stacked: their values for all lanes, with the lanes as the first axis.
        lane: which lane.
    """

    def __init__(
        self, variables: Sequence[keras.Variable], stacked: Sequence[Any], lane: int
    ) -> None:
        super().__init__(initialize_variables=False)
        self.lane = lane
        self._index = {id(variable): index for index, variable in enumerate(variables)}
        self._stacked = stacked
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
            self.state_mapping[key] = self._stacked[self._index[key]][self.lane]
        return self.state_mapping.get(key)

    def add_update(self, update: tuple[keras.Variable, Any]) -> None:
        super().add_update(update)
        self._assigned.add(id(update[0]))

    def assigned(self) -> dict[int, Any]:
        """What was assigned: the index of the variable, and its value."""
        return {
            self._index[key]: self.state_mapping[key]
            for key in self._assigned
            if key in self._index
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
        values = np.array(keras.ops.convert_to_numpy(merged[index]))
        for lane, value in of_lanes.items():
            values[lane] = keras.ops.convert_to_numpy(value)
        merged[index] = keras.ops.convert_to_tensor(values, dtype=values.dtype)
    return merged
