"""Penalties on groups of weights, which become zero together."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kerasreg._keras.hyperparameter import Hyperparameter, NumberOrSchedule
from kerasreg._validation import check_number
from kerasreg.regularizers._functions import (
    Axis,
    absolute_sum,
    axes_within,
    check_axis,
    norm_sum,
    root_of_size,
)
from kerasreg.regularizers._penalty import Penalty
from kerasreg.regularizers._proximal_operators import (
    shrink_groups,
    shrink_scaled_groups,
    soft_threshold,
)


def shrink_norms(v: Any, t: Any, axis: Axis) -> Any:
    """The proximal operator of `norm_sum`, with a step size for all or for each weight."""
    axes = axes_within(axis, v.shape)
    if not axes:
        return soft_threshold(v, t)
    shrink = shrink_groups if len(t.shape) == 0 else shrink_scaled_groups
    return shrink(v, t * root_of_size(v, axes), axes)


@keras.saving.register_keras_serializable(package="kerasreg")
class GroupLasso(Penalty):
    """The group lasso `strength * √p * Σ_g ‖w_g‖`: whole groups become zero.

    Each index along `axis` is one group, which extends over all other axes; the axis is meant
    as in `keras.layers.BatchNormalization`. `p` is the number of weights of a group: the factor
    makes large and small groups alike.

    ========================================= =========================== ==========
    weights                                   group                       axis
    ========================================= =========================== ==========
    `Dense` kernel `(inputs, units)`          unit                        `-1`
    `Dense` kernel                            input                       `0`
    `Conv` kernel `(..., channels, filters)`  filter                      `-1`
    `Conv` kernel                             input channel               `-2`
    depthwise kernel `(..., channels, m)`     filter                      `(-2, -1)`
    `Embedding` `(words, width)`              word                        `0`
    attention query, key, value kernel        head                        `1`
    `(features, heads, width)`
    attention output kernel                   head                        `0`
    `(heads, width, features)`
    ========================================= =========================== ==========

    Args:
        strength: λ, a finite number >= 0 or a schedule of such numbers.
        axis: the axis, or a tuple of axes, whose indices are the groups.
        name: optional name of the penalty.

    Returns:
        Called with a tensor that has this axis: a scalar of its dtype; float32
        for half precision.

    Raises:
        ValueError: if the strength is negative, or a schedule that becomes negative;
            if `axis` is no integer or tuple of integers, or no axis of the tensor.

    skglm's `GroupLasso(alpha, weights)` has the factor `√p` only if the weights give it. With
    groups of one weight the penalty is `L1`. Yuan and Lin 2006; for neurons and filters Wen et
    al. 2016, Scardapane et al. 2017.

    Example:

    >>> import numpy as np, kerasreg
    >>> penalty = kerasreg.regularizers.GroupLasso(0.5)
    >>> float(penalty(np.array([[3.0, 0.0]] * 4)))
    6.0
    >>> penalty.prox(np.array([[3.0, 0.4]] * 4), t=1.0).numpy()[0].tolist()
    [2.5, 0.0]
    """

    prox_order = "after"

    def __init__(
        self, strength: NumberOrSchedule, axis: Axis = -1, *, name: str | None = None
    ) -> None:
        super().__init__(strength, name=name)
        self.axis = check_axis(axis)  # Static.

    def unit_penalty(self, w: Any) -> Any:
        return norm_sum(w, self.axis)

    def unit_prox(self, v: Any, t: Any) -> Any:
        return shrink_norms(v, t, self.axis)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "axis": self.axis}


@keras.saving.register_keras_serializable(package="kerasreg")
class SparseGroupLasso(Penalty):
    """`strength * (l1_ratio * Σ|w| + (1 - l1_ratio) * √p * Σ_g ‖w_g‖)`.

    Whole groups become zero, and so do single weights of the other groups.

    Args:
        strength: λ, a finite number >= 0 or a schedule of such numbers.
        l1_ratio: the share of the absolute sum, a number from 0 (`GroupLasso`)
            to 1 (`L1`).
        axis: the axis, or a tuple of axes, whose indices are the groups, as in
            `GroupLasso`.
        name: optional name of the penalty.

    Returns:
        Called with a tensor that has this axis: a scalar of its dtype; float32
        for half precision.

    Raises:
        ValueError: if the strength is negative, or a schedule that becomes negative;
            if `l1_ratio` is outside [0, 1]; if `axis` is no integer or tuple of integers, or
            no axis of the tensor.

    Simon et al. 2013, where `l1_ratio` is α.

    Example:

    >>> import numpy as np, kerasreg
    >>> penalty = kerasreg.regularizers.SparseGroupLasso(1.0, l1_ratio=0.5, axis=0)
    >>> float(penalty(np.array([[1.0, -1.0, 1.0, -1.0]])))
    4.0
    """

    prox_order = "after"

    def __init__(
        self,
        strength: NumberOrSchedule,
        l1_ratio: float = 0.5,
        *,
        axis: Axis = -1,
        name: str | None = None,
    ) -> None:
        super().__init__(strength, name=name)
        # In a variable too, so that it can be moved without retracing.
        self._l1_ratio = Hyperparameter(
            check_number("l1_ratio", l1_ratio, 0.0, 1.0), "l1_ratio", minimum=0.0, maximum=1.0
        )
        self.axis = check_axis(axis)  # Static.

    @property
    def l1_ratio(self) -> keras.Variable:
        """The share of the absolute sum: a scalar variable."""
        return self._l1_ratio.variable

    def unit_penalty(self, w: Any) -> Any:
        ratio = ops.cast(self.l1_ratio, w.dtype)
        return ratio * absolute_sum(w) + (1.0 - ratio) * norm_sum(w, self.axis)

    def unit_prox(self, v: Any, t: Any) -> Any:
        ratio = ops.cast(self.l1_ratio, v.dtype)
        # In this order the two operators make that of the sum.
        return shrink_norms(soft_threshold(v, ratio * t), (1.0 - ratio) * t, self.axis)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "l1_ratio": self._l1_ratio.serialized_value(),
            "axis": self.axis,
        }
