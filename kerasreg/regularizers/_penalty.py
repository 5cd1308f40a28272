"""The base of kerasreg's penalties, and sums of penalties.

A penalty is a strength in a variable, times a function of the weights.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any, Literal

import keras
from keras import ops

from kerasreg._descriptions import described_component
from kerasreg._keras.hyperparameter import Hyperparameter, NumberOrSchedule, copy_state
from kerasreg._keras.internals import (
    is_writing_model,
    note_shared_object,
    outermost_layer,
    shared_object,
)
from kerasreg._validation import check_number
from kerasreg.regularizers._proximal_operators import soft_threshold

# The proximal operator of a part of a penalty: `(v, t) -> w`.
Prox = Callable[[Any, Any], Any]


class Penalty(keras.layers.Layer, keras.regularizers.Regularizer):
    """Base class of penalties: `strength * unit_penalty(w)`, with the strength in a variable.

    A penalty is used like any Keras regularizer (`kernel_regularizer=...`). The class is a
    Keras layer too, because Keras tracks the variables of layers and not those of
    regularizers. So the strength is saved, restored and mirrored with the model.

    Args:
        strength: a finite number >= 0, or a schedule of such numbers over training steps.
        name: optional name of the penalty.

    Raises:
        ValueError: if the strength is negative, not finite, or a schedule that becomes
            negative.

    Example:

    >>> import keras, kerasreg
    >>> penalty = kerasreg.regularizers.L2(0.5)
    >>> isinstance(penalty, kerasreg.regularizers.Penalty)
    True
    >>> _ = penalty.strength.assign(0.25)
    >>> penalty
    L2(strength=0.25)

    To write a penalty of your own:

    A subclass must define one method, in operations of `keras.ops`:

    - `unit_penalty(w)` returns the penalty at strength 1: a scalar of the dtype of `w`. The
      tensor `w` has any shape and the dtype float32 or float64.

    A subclass may define the proximal operator, which `kerasreg.optimizers.Proximal` needs:

    - `unit_prox(v, t)` returns `argmin_w ½‖w-v‖² + t·unit_penalty(w)`, a tensor of the shape
      and dtype of `v`. The step size `t` is a scalar tensor or, if `takes_step_sizes` is
      True, a tensor of the shape of `v`.

    Where the strength is no factor, a subclass defines `penalty(w, strength)` in place of
    `unit_penalty`, and `proximal(v, t, strength)` in place of `unit_prox`. The strength is
    then a scalar tensor.

    Two more members tell `Sum` how the operator combines with others: `prox_order` with the
    absolute values of `L1`, and `prox_terms` if a part of the penalty is `L1` or `L2`.

    A subclass with arguments of its own returns them from `get_config`, beside those of
    `super().get_config()`. Registered with `keras.saving.register_keras_serializable`, it is
    loaded from files.

    >>> from keras import ops
    >>> @keras.saving.register_keras_serializable("my_package")
    ... class Negative(kerasreg.regularizers.Penalty):
    ...     "The sum of what is below zero: weights become zero or positive."
    ...
    ...     def unit_penalty(self, w):
    ...         return ops.sum(ops.maximum(-w, 0.0))
    ...
    ...     def unit_prox(self, v, t):
    ...         return ops.where(v < 0.0, ops.minimum(v + t, 0.0), v)
    >>> layer = keras.layers.Dense(3, kernel_regularizer=Negative(0.5))
    >>> penalty = Negative(0.5)
    >>> float(penalty(ops.array([2.0, -3.0])))
    1.5
    >>> penalty.prox(ops.array([2.0, -3.0, -0.5]), t=2.0).numpy().tolist()
    [2.0, -2.0, 0.0]
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

    # No property: Keras would write the strength into files under the name of the property.
    def hyperparameter(self) -> Hyperparameter:
        """The strength and its schedule, for those that move or report strengths."""
        return self._strength

    def unit_penalty(self, w: Any) -> Any:
        """The penalty at strength 1, for subclasses to define.

        Args:
            w: a tensor of any shape that the penalty takes, of dtype float32 or float64.

        Returns:
            A scalar of the dtype of `w`.
        """
        raise NotImplementedError

    def unit_prox(self, v: Any, t: Any) -> Any:
        """The proximal operator at strength 1, for subclasses to define where it is known.

        Args:
            v: a tensor of dtype float32 or float64.
            t: the step size times the strength, a tensor >= 0: a scalar, or of the shape of
                `v` where the penalty `takes_step_sizes`.

        Returns:
            `argmin_w ½‖w-v‖² + t·unit_penalty(w)`, a tensor of the shape and dtype of `v`.
        """
        raise NotImplementedError

    def penalty(self, w: Any, strength: Any) -> Any:
        """The penalty at a strength, for subclasses whose strength is no factor.

        Args:
            w: a tensor of dtype float32 or float64.
            strength: a scalar tensor >= 0 of the dtype of `w`.

        Returns:
            A scalar of the dtype of `w`; by default `strength * unit_penalty(w)`.
        """
        return strength * self.unit_penalty(w)

    def proximal(self, v: Any, t: Any, strength: Any) -> Any:
        """The proximal operator at a strength, for subclasses whose strength is no factor.

        Args:
            v: a tensor of dtype float32 or float64.
            t: the step size, a tensor >= 0: a scalar, or of the shape of `v` where the
                penalty `takes_step_sizes`.
            strength: a scalar tensor >= 0 of the dtype of `v`.

        Returns:
            `argmin_w ½‖w-v‖² + t·penalty(w, strength)`, a tensor of the shape and dtype of
            `v`; by default `unit_prox(v, t * strength)`.
        """
        return self.unit_prox(v, t * strength)

    @property
    def has_prox(self) -> bool:
        """Whether `prox` exists: some penalties have no proximal operator in closed form."""
        own, base = type(self), Penalty
        return own.unit_prox is not base.unit_prox or own.proximal is not base.proximal

    # Whether `prox` takes a step size for each weight; False for operators that do not act
    # element by element or group by group.
    takes_step_sizes = True

    # How a `Sum` with absolute values (`L1`) combines the operators. "before": this operator
    # first, and then the soft threshold; "after": the soft threshold first; None: neither
    # order gives the operator of the sum.
    prox_order: Literal["before", "after"] | None = None

    def prox_terms(self, strength: Any) -> tuple[Any, Any, Prox | None]:
        """Splits the penalty for the proximal operator of a `Sum`.

        The penalty is `absolute·Σ|w| + quadratic·½Σw² + rest(w)`. A subclass overrides this
        method if it has the first or the second term.

        Args:
            strength: the strength, a scalar tensor >= 0.

        Returns:
            `(absolute, quadratic, rest)`. The first two are scalar tensors, or None where the
            penalty has no such term. The third is the proximal operator of the rest, a
            function `(v, t) -> w`, or None where there is no rest. By default all of the
            penalty is the rest.
        """
        return None, None, lambda v, t: self.proximal(v, t, strength)

    @property
    def largest_step_size(self) -> float:
        """The step size from which on `prox` is not continuous; infinite for convex penalties."""
        return math.inf

    def prox(self, v: Any, t: Any) -> Any:
        """`argmin_w ½‖w-v‖² + t·penalty(w)`, at the strength as it is now.

        This method does not advance a schedule; in training the forward pass advances the
        schedule.

        Args:
            v: a tensor of any shape that the penalty takes.
            t: the step size, a number >= 0 or a scalar tensor. For a penalty that
                `takes_step_sizes` also a tensor of the shape of `v`, with a step size > 0
                for each weight: the minimum is then of `½·Σ(w-v)²/t + penalty(w)`.

        Returns:
            A tensor of the shape and dtype of `v`.

        Raises:
            ValueError: if this penalty has no proximal operator; if the number `t` is
                negative or not finite; if the shape of the tensor `t` is none of these.

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
        return Sum([self, other]) if isinstance(other, Penalty) else NotImplemented

    # Not `call`: a regularizer takes any tensor, in any context, with no
    # building, autocasting or name scope around it.
    def __call__(self, w: Any) -> Any:
        """The penalty of a tensor, which counts a training step of the schedule.

        Args:
            w: a tensor of any shape that the penalty takes.

        Returns:
            A scalar of the dtype of `w`; float32 for half precision, in which sums overflow.
        """
        value = self.counted(w)
        return ops.stop_gradient(value) if self._is_taken_over(w) else value

    def counted(self, w: Any) -> Any:
        """The penalty with its gradient, also where an optimizer applies the penalty itself.

        Args:
            w: a tensor of any shape that the penalty takes.

        Returns:
            A scalar, as when the penalty is called.
        """
        # Read: Keras takes TensorFlow's variables for tensors, custom gradients do not.
        w = ops.copy(w)
        dtype = keras.backend.standardize_dtype(w.dtype)
        if dtype not in ("float32", "float64"):
            w = ops.cast(w, "float32")
        strength, *_ = self._strength.current()
        return self.penalty(w, ops.cast(strength, w.dtype))

    def value(self, w: Any) -> Any:
        """The penalty at the strength as it is now, without advancing a schedule.

        Args:
            w: a tensor of dtype float32 or float64.

        Returns:
            A scalar of the dtype of `w`.
        """
        w = ops.copy(w)
        return self.penalty(w, ops.cast(ops.convert_to_tensor(self.strength), w.dtype))

    def _is_taken_over(self, w: Any) -> bool:
        """Whether an optimizer applies this penalty to `w` itself, without its gradient.

        The optimizer is that of the model whose pass runs, or ran last, over the owner.
        Without a model, as in a user's own loop, it is the last one built with this penalty.
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
        """The arguments; a number that was assigned is given as it is now."""
        config = {"strength": self._strength.serialized_value(), "name": self.name}
        # Only while a model is written: tells which layers share this penalty.
        if is_writing_model():
            config["shared_id"] = id(self)
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Penalty:
        """Makes a penalty; while a model is loaded, one for each that was saved.

        Layers that share a penalty each have its config, and Keras writes the state of a
        shared object once, for the first of these layers.
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

    def __repr__(self) -> str:
        return described_component(self)


def _nobody() -> None:
    return None


@keras.saving.register_keras_serializable(package="kerasreg")
class Sum(Penalty):
    """A sum of penalties on one weight: `strength * Σ penalties`. Written `a + b`.

    The parts keep their own strengths and schedules; `strength` multiplies the sum. A
    proximal operator exists for any number of `L1`, `L2` and `ElasticNet`. One of
    `GroupLasso`, `SparseGroupLasso` and `TotalVariation` may be added to these. With `L2`
    alone, any one penalty that has an operator may be added. `Penalty.prox_terms` and
    `Penalty.prox_order` say the same of a penalty of your own.

    Args:
        penalties: a penalty of `kerasreg.regularizers`, or a list of such penalties.
        strength: factor of the sum, a finite number >= 0 or a schedule of such numbers.
        name: optional name of the penalty.

    Returns:
        Called with a tensor that every part takes: a scalar of its dtype; float32 for half
        precision.

    Raises:
        ValueError: if `penalties` is empty or holds anything but penalties; if the strength
            is negative, or a schedule that becomes negative.

    The operators of the parts, one after the other, are the operator of the sum: Friedman et
    al. 2007 (fused lasso), Jenatton et al. 2011 (groups).

    Example:

    >>> import numpy as np
    >>> from kerasreg.regularizers import L1, GroupLasso
    >>> penalty = L1(1.0) + GroupLasso(2.0, axis=0)
    >>> float(penalty(np.array([[3.0, -4.0, 0.0, 0.0]])))
    27.0
    """

    def __init__(
        self,
        penalties: Sequence[Penalty],
        strength: NumberOrSchedule = 1.0,
        *,
        name: str | None = None,
    ) -> None:
        super().__init__(strength, name=name)
        parts: list[Any] = list(penalties) if isinstance(penalties, list | tuple) else [penalties]
        deserialize = keras.saving.deserialize_keras_object
        parts = [deserialize(part) if isinstance(part, dict) else part for part in parts]
        if not parts or not all(isinstance(part, Penalty) for part in parts):
            raise ValueError(
                "`penalties` must be one or more penalties of `kerasreg.regularizers`. "
                f"Received: penalties={penalties!r}"
            )
        self.penalties: list[Any] = parts
        # Static: which terms there are. By index, since Keras would track the parts twice.
        terms = [part.prox_terms(ops.ones((), keras.config.floatx())) for part in parts]
        self._has_absolute = any(absolute is not None for absolute, _, _ in terms)
        self._with_rest = [index for index, (_, _, rest) in enumerate(terms) if rest is not None]

    def unit_penalty(self, w: Any) -> Any:
        return sum(part.counted(w) for part in self.penalties)

    def value(self, w: Any) -> Any:
        """The sum at the strengths as they are now, without advancing a schedule.

        Args:
            w: a tensor of dtype float32 or float64.

        Returns:
            A scalar of the dtype of `w`.
        """
        total = sum(part.value(w) for part in self.penalties)
        return ops.cast(ops.convert_to_tensor(self.strength), total.dtype) * total

    def _terms(self, dtype: Any) -> list[tuple[Any, Any, Prox | None]]:
        """The terms of each part, at its strength as it is now."""
        return [part.prox_terms(ops.cast(part.strength, dtype)) for part in self.penalties]

    @property
    def prox_order(self) -> Literal["before", "after"] | None:  # type: ignore[override]
        """The order of the part that is neither absolute values nor squares."""
        return self.penalties[self._with_rest[0]].prox_order if self._with_rest else None

    @property
    def has_prox(self) -> bool:
        """Whether the operators of the parts make one of the sum."""
        if not self._with_rest:
            return True
        other = self.penalties[self._with_rest[0]]
        combines = other.prox_order is not None or not self._has_absolute
        return len(self._with_rest) == 1 and other.has_prox and combines

    @property
    def takes_step_sizes(self) -> bool:  # type: ignore[override]
        """Whether all parts take a step size for each weight."""
        return all(part.takes_step_sizes for part in self.penalties)

    @property
    def largest_step_size(self) -> float:
        """The smallest such step size of the parts, at the strength as it is now."""
        least = min(part.largest_step_size for part in self.penalties)
        strength = float(ops.convert_to_numpy(self.strength))
        return least / strength if strength > 0 else math.inf

    def prox_terms(self, strength: Any) -> tuple[Any, Any, Prox | None]:
        """The terms of the parts, added up and multiplied by the strength.

        Args:
            strength: the strength, a scalar tensor >= 0.

        Returns:
            `(absolute, quadratic, rest)`, as for any penalty; the rest is that of one part.
        """
        absolutes, quadratics, rests = zip(*self._terms(strength.dtype), strict=True)
        rest = next((rest for rest in rests if rest is not None), None)
        scaled = None if rest is None else lambda v, t: rest(v, t * strength)
        return _scaled_sum(absolutes, strength), _scaled_sum(quadratics, strength), scaled

    def proximal(self, v: Any, t: Any, strength: Any) -> Any:
        absolute, quadratic, rest = self.prox_terms(strength)
        order = self.prox_order
        if quadratic is not None:
            # The square joins that of the distance: another point, and shorter steps.
            scale = 1.0 + t * quadratic
            v, t = v / scale, t / scale
        if rest is not None and order == "before":
            v = rest(v, t)
        if absolute is not None:
            v = soft_threshold(v, t * absolute)
        return v if rest is None or order == "before" else rest(v, t)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        parts = [keras.saving.serialize_keras_object(part) for part in self.penalties]
        return {"penalties": parts, **config}


def _scaled_sum(terms: Sequence[Any], factor: Any) -> Any:
    """The sum of the terms that are there, times a factor; None if there are none."""
    present = [term for term in terms if term is not None]
    return factor * functools.reduce(operator.add, present) if present else None
