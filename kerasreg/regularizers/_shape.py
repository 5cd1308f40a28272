"""Penalties on how weights lie to each other: few among many, neighbours alike."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kerasreg._keras.hyperparameter import NumberOrSchedule
from kerasreg.regularizers._groups import axes_within
from kerasreg.regularizers._norms import absolute_sum
from kerasreg.regularizers._penalty import Penalty
from kerasreg.regularizers._total_variation import fuse


@keras.saving.register_keras_serializable(package="kerasreg")
class Hoyer(Penalty):
    """The Hoyer-square `strength * (Σ|w|)² / Σw²`: about how many weights are used.

    It is 1 where a single one is not zero, the number of weights where all are
    equally large, and does not change when all are multiplied by a number; 0 for
    zeros. There is no proximal operator.

    Args:
        strength: λ, a finite number >= 0 or a schedule of them.
        name: optional name of the penalty.

    Returns:
        Called with a tensor of any shape: a scalar of its dtype; float32 for
        half precision.

    Raises:
        ValueError: if the strength is, or a schedule of it becomes, negative.

    Yang, Wen and Li 2020, after the measure of Hoyer 2004.

    Example:

    >>> import numpy as np, kerasreg
    >>> penalty = kerasreg.regularizers.Hoyer(0.5)
    >>> float(penalty(np.array([5.0, 5.0, 0.0, 0.0])))
    1.0
    """

    def unit_penalty(self, w: Any) -> Any:
        squares = ops.sum(ops.square(w))
        positive = squares > 0.0
        ratio = ops.square(absolute_sum(w)) / ops.where(positive, squares, 1.0)
        return ops.where(positive, ratio, 0.0)


@keras.saving.register_keras_serializable(package="kerasreg")
class TotalVariation(Penalty):
    """`strength * Σ|w[i+1] - w[i]|` along an axis: neighbours become equal.

    For weights in an order, such as the taps of a filter of `Conv1D`, whose kernel
    is `(taps, channels, filters)`. With `L1` added it is the fused lasso.

    Args:
        strength: λ, a finite number >= 0 or a schedule of them.
        axis: the axis along which neighbours are compared, an integer.
        name: optional name of the penalty.

    Returns:
        Called with a tensor that has this axis: a scalar of its dtype; float32
        for half precision.

    Raises:
        ValueError: if the strength is, or a schedule of it becomes, negative;
            if `axis` is no integer, or not an axis of the tensor.

    Rudin, Osher and Fatemi 1992, Tibshirani et al. 2005; its proximal operator is
    the exact one of Johnson 2013.

    Example:

    >>> import numpy as np, kerasreg
    >>> penalty = kerasreg.regularizers.TotalVariation(0.5)
    >>> float(penalty(np.array([1.0, 3.0, 2.0])))
    1.5
    >>> penalty.prox(np.array([1.0, 3.0, 2.0]), t=1.0).numpy().tolist()
    [1.5, 2.25, 2.25]
    """

    takes_step_sizes = False

    def __init__(self, strength: NumberOrSchedule, axis: int = 0, name: str | None = None) -> None:
        super().__init__(strength, name=name)
        if type(axis) is not int:
            raise ValueError(f"`axis` must be an integer. Received: axis={axis!r}")
        self.axis = axis  # Static.

    def unit_penalty(self, w: Any) -> Any:
        axes_within(self.axis, w.shape)
        return absolute_sum(ops.diff(w, axis=self.axis))

    def unit_prox(self, v: Any, t: Any) -> Any:
        axes_within(self.axis, v.shape)
        return fuse(v, t, self.axis)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "axis": self.axis}
