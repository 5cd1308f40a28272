"""The base of kerasreg's penalties: a strength in a variable, times a function."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

# Private: what one save or load of a model has met so far; nothing outside of one.
from keras.src.backend.common import global_state
from keras.src.saving import serialization_lib

from kerasreg.schedules._hyperparameter import Hyperparameter, NumberOrSchedule, copy_state


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
        name: optional name of the penalty.

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
        config = {"strength": self._strength.get_value(), "name": self.name}
        # Only while a model is written: tells which layers share this penalty.
        if global_state.get_global_attribute("shared_objects/id_to_config_map") is not None:
            config["shared_id"] = id(self)
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Penalty:
        """Makes a penalty; while a model is loaded, one for each that was saved.

        Layers that share a penalty each have its config, and Keras writes the
        state of a shared object once, for the first of them.
        """
        arguments = {name: value for name, value in config.items() if name != "shared_id"}
        key = f"kerasreg/{config.get('shared_id')}"
        penalty = serialization_lib.get_shared_object(key) if "shared_id" in config else None
        if penalty is None:
            penalty = cls(**arguments)
            if "shared_id" in config:
                serialization_lib.record_object_after_deserialization(penalty, key)
        return penalty

    def __deepcopy__(self, memo: dict[int, Any]) -> Penalty:
        memo[id(self)] = copied = type(self).from_config(self.get_config())
        copy_state(self, copied)
        return copied
