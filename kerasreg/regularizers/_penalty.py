"""The base of kerasreg's penalties: a strength in a variable, times a function."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from kerasreg._keras.hyperparameter import Hyperparameter, NumberOrSchedule, copy_state
from kerasreg._keras.internals import (
    is_writing_model,
    note_shared_object,
    outermost_layer,
    shared_object,
)
from kerasreg._validation import check_number


class Penalty(keras.layers.Layer, keras.regularizers.Regularizer):
    """Base class: `strength * unit_penalty(w)`, with the strength in a variable.

    A penalty is used like any Keras regularizer (`kernel_regularizer=...`). It
    is a Keras layer underneath, because Keras tracks the variables of a layer
    and not those of a regularizer: so the strength is saved, restored and
    mirrored with the model that uses it.

    Subclasses define `unit_penalty(w)`, the penalty at strength 1, and, where it
    is known, its proximal operator `unit_prox(v, t)`; or, where the strength is no
    factor, `penalty(w, strength)` and `proximal(v, t, strength)`.

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
        # The optimizer that was last built to apply it, not kept alive, or None.
        self.applied_by: Callable[[], Any] = _nobody
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

    def unit_prox(self, v: Any, t: Any) -> Any:
        """The proximal operator of `t` times the penalty at strength 1, like `v`."""
        raise NotImplementedError

    def penalty(self, w: Any, strength: Any) -> Any:
        """The penalty of `w` at a strength, a scalar."""
        return strength * self.unit_penalty(w)

    def proximal(self, v: Any, t: Any, strength: Any) -> Any:
        """The proximal operator of `t` times the penalty at a strength, like `v`."""
        return self.unit_prox(v, t * strength)

    # No property: Keras would write the strength into files under the name of the property.
    def hyperparameter(self) -> Hyperparameter:
        """The strength and its schedule, for those that move or report strengths."""
        return self._strength

    @property
    def has_prox(self) -> bool:
        """Whether `prox` is there: some penalties have no closed form of it."""
        own, base = type(self), Penalty
        return own.unit_prox is not base.unit_prox or own.proximal is not base.proximal

    # Whether `prox` takes a step size for each weight. Those that do not override it
    # with False.
    takes_step_sizes = True

    @property
    def largest_step_size(self) -> float:
        """The step size from which on `prox` is not continuous; infinite for convex ones."""
        return math.inf

    def prox(self, v: Any, t: Any) -> Any:
        """`argmin_w ½‖w-v‖² + t·penalty(w)`, at the strength as it is now.

        A schedule is not advanced: in training the forward pass does that.

        Args:
            v: a tensor of any shape that the penalty takes.
            t: the step size, a number >= 0 or a scalar tensor; or, for a penalty
                that `takes_step_sizes`, a tensor of the shape of `v`, with one > 0
                for each weight: then the minimum is of `½·Σ(w-v)²/t + penalty(w)`.

        Returns:
            A tensor of the shape and dtype of `v`.

        Raises:
            ValueError: if this penalty has no proximal operator; if `t` is a
                number and negative or not finite, or a tensor of another shape
                than this penalty takes.

        Example:

        >>> import numpy as np, kerasreg
        >>> penalty = kerasreg.regularizers.L1(0.5)
        >>> penalty.prox(np.array([3.0, -0.5]), t=2.0).numpy().tolist()
        [2.0, 0.0]
        """
        if not self.has_prox:
            raise ValueError(
                f"The penalty {type(self).__name__} has no proximal operator. For exact zeros, "
                "use one with `has_prox`, such as L1."
            )
        v = ops.convert_to_tensor(v)
        dtype = keras.backend.standardize_dtype(v.dtype)
        computed = v if dtype in ("float32", "float64") else ops.cast(v, "float32")
        if isinstance(t, int | float):
            # Not cast, which would take a float64 by way of float32.
            t = ops.convert_to_tensor(check_number("t", t, 0.0, math.inf), computed.dtype)
        t = ops.cast(t, computed.dtype)
        allowed = [(), tuple(v.shape)] if self.takes_step_sizes else [()]
        if tuple(t.shape) not in allowed:
            raise ValueError(
                f"`t` must be of shape {' or '.join(map(str, allowed))} for "
                f"{type(self).__name__}. Received: shape {tuple(t.shape)}"
            )
        strength = ops.cast(ops.convert_to_tensor(self.strength), computed.dtype)
        return ops.cast(self.proximal(computed, t, strength), dtype)

    def __add__(self, other: Any) -> Penalty:
        """The sum of two penalties, a `Sum`."""
        from kerasreg.regularizers._sum import Sum  # Which is made of penalties.

        return Sum([self, other]) if isinstance(other, Penalty) else NotImplemented

    # Not `call`: a regularizer takes any tensor, in any context, with no
    # building, autocasting or name scope around it.
    def __call__(self, w: Any) -> Any:
        """Returns the penalty of a tensor `w` of any shape.

        It is a scalar of the dtype of `w`, and float32 for the half-precision
        activities of a mixed policy, in which sums overflow.
        """
        value = self.counted(w)
        return ops.stop_gradient(value) if self._is_taken_over(w) else value

    def counted(self, w: Any) -> Any:
        """The penalty of `w` at the strength of this use, which a schedule counts."""
        # Read: Keras takes TensorFlow's variables for tensors, custom gradients do not.
        w = ops.copy(w)
        dtype = keras.backend.standardize_dtype(w.dtype)
        if dtype not in ("float32", "float64"):
            w = ops.cast(w, "float32")
        strength, _ = self._strength.current()
        return self.penalty(w, ops.cast(strength, w.dtype))

    def value(self, w: Any) -> Any:
        """The penalty of `w` at the strength as it is now: a schedule is not advanced."""
        w = ops.copy(w)
        return self.penalty(w, ops.cast(ops.convert_to_tensor(self.strength), w.dtype))

    def _is_taken_over(self, w: Any) -> bool:
        """Whether an optimizer says that it applies this penalty to `w`, so that no gradient must.

        That of the model whose pass runs, or ran last, over the owner; without one, as
        in a loop of the user's own, the last that was built with this penalty.
        """
        call = self._strength.last_call()
        model = None if call is None else outermost_layer(call)
        optimizer = getattr(model, "optimizer", None) or self.applied_by()
        while optimizer is not None:
            if hasattr(optimizer, "takes_over"):
                return bool(optimizer.takes_over(self, w))
            optimizer = getattr(optimizer, "inner_optimizer", None)
        return False

    def get_config(self) -> dict[str, Any]:
        """The arguments; a number that was reassigned is given as it is now."""
        config = {"strength": self._strength.get_value(), "name": self.name}
        # Only while a model is written: tells which layers share this penalty.
        if is_writing_model():
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
        penalty = shared_object(key) if "shared_id" in config else None
        if penalty is None:
            penalty = cls(**arguments)
            if "shared_id" in config:
                note_shared_object(key, penalty)
        return penalty

    def __deepcopy__(self, memo: dict[int, Any]) -> Penalty:
        memo[id(self)] = copied = type(self).from_config(self.get_config())
        copy_state(self, copied)
        return copied


def _nobody() -> None:
    return None
