"""The base of kerasreg's penalties: a strength in a variable, times a function."""

from __future__ import annotations

import json
from typing import Any

import keras
from keras import ops

# Private: what one load of a model has deserialised so far; nothing outside a load.
from keras.src.saving import serialization_lib

from kerasreg.schedules._hyperparameter import Hyperparameter, NumberOrSchedule


class Penalty(keras.layers.Layer, keras.regularizers.Regularizer):
    """Base class: `strength * unit_penalty(w)`, with the strength in a variable.

    A penalty is used like any Keras regularizer (`kernel_regularizer=...`). It
    is a Keras layer underneath, because Keras tracks the variables of a layer
    and not those of a regularizer: so the strength is saved, restored and
    mirrored with the model that uses it.

    Subclasses define `unit_penalty(w)`, the penalty at strength 1.

    Args:
        strength: a finite number >= 0, or a schedule of such numbers over
            training steps.

    Raises:
        ValueError: if the strength is negative, not finite, or a schedule that
            becomes negative.
    """

    def __init__(self, strength: NumberOrSchedule, name: str | None = None) -> None:
        super().__init__(name=name)
        self._strength = Hyperparameter(strength, "strength")
        self.built = True

    @property
    def strength(self) -> keras.Variable:
        """The strength now: a scalar variable, which may be assigned."""
        return self._strength.variable

    @property
    def schedule(self) -> Any:
        """The schedule of the strength, or None."""
        return self._strength.schedule

    def unit_penalty(self, w: Any) -> Any:
        """The penalty of `w` at strength 1, a scalar."""
        raise NotImplementedError

    # Not `call`: a regularizer takes any tensor, in any context, with no
    # building, autocasting or name scope around it.
    def __call__(self, w: Any) -> Any:
        """Returns the penalty of a tensor `w` of any shape.

        It is a scalar of the dtype of `w`, and float32 for the half-precision
        activities of a mixed policy, in which sums overflow.
        """
        w = ops.convert_to_tensor(w)
        dtype = keras.backend.standardize_dtype(w.dtype)
        if dtype not in ("float32", "float64"):
            w = ops.cast(w, "float32")
        strength, _ = self._strength.current()
        return ops.cast(strength, w.dtype) * self.unit_penalty(w)

    def get_config(self) -> dict[str, Any]:
        """The arguments; a number that was reassigned is given as it is now."""
        return {"strength": self._strength.get_value(), "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Penalty:
        """Makes a penalty; while a model is loaded, one for each that was saved.

        Layers that share a penalty each have its config. Keras writes the state
        of a shared object once, for the first of them, and loses in the configs
        that it is shared; here the name tells.
        """
        key = json.dumps([cls.__name__, _without_ids(config)], sort_keys=True)
        shared = serialization_lib.get_shared_object(key) if config.get("name") else None
        if shared is not None:
            return shared
        penalty = cls(**config)
        serialization_lib.record_object_after_deserialization(penalty, key)
        return penalty

    def __deepcopy__(self, memo: dict[int, Any]) -> Penalty:
        copied = type(self)(**self.get_config())
        for mine, theirs in zip(copied.variables, self.variables, strict=True):
            mine.assign(theirs)
        memo[id(self)] = copied
        return copied


def _without_ids(config: Any) -> Any:
    """A config without Keras' marks of shared objects, which are in some places only."""
    if not isinstance(config, dict):
        return config
    return {key: _without_ids(value) for key, value in config.items() if key != "shared_object_id"}
