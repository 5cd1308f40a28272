"""Penalties that select like the lasso but do not shrink large weights: MCP, SCAD."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kerasreg._keras.hyperparameter import Hyperparameter, NumberOrSchedule
from kerasreg._validation import check_above
from kerasreg.regularizers._penalty import Penalty
from kerasreg.regularizers._proximal_operators import firm_threshold, scad_threshold


class _Concave(Penalty):
    """A penalty whose slope falls from the strength to zero, which it reaches at `gamma`."""

    _LEAST_GAMMA: float

    def __init__(self, strength: NumberOrSchedule, gamma: float, name: str | None = None) -> None:
        super().__init__(strength, name=name)
        least = self._LEAST_GAMMA
        # In a variable too, so that it can be moved without retracing.
        self._gamma = Hyperparameter(check_above("gamma", gamma, least), "gamma", minimum=least)

    @property
    def gamma(self) -> keras.Variable:
        """The multiple of the strength from which on the penalty is flat: a scalar variable."""
        return self._gamma.variable

    @property
    def largest_step_size(self) -> float:
        """The step size below which `prox` is continuous, as the objective is convex."""
        return self._gamma.serialized_value() - self._LEAST_GAMMA

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "gamma": self._gamma.serialized_value()}


@keras.saving.register_keras_serializable(package="kerasreg")
class MCP(_Concave):
    """The minimax concave penalty: like `L1`, but large weights are not shrunk.

    The penalty of a weight is `λ·|w| - w²/(2·gamma)` up to `|w| = gamma·λ`, and `½·gamma·λ²`
    beyond. The strength λ is no factor.

    Args:
        strength: λ, the slope at zero, a finite number >= 0 or a schedule of such numbers.
        gamma: a number > 0; a large `gamma` makes the penalty like `L1`. The proximal operator
            is continuous for step sizes below `gamma`, and jumps for larger ones.
        name: optional name of the penalty.

    Returns:
        Called with a tensor of any shape: a scalar of its dtype; float32 for
        half precision.

    Raises:
        ValueError: if the strength is negative, or a schedule that becomes negative;
            if `gamma` is not above 0.

    skglm's `MCPenalty(alpha, gamma)` is `MCP(alpha, gamma)`. Zhang 2010.

    Example:

    >>> import numpy as np, kerasreg
    >>> penalty = kerasreg.regularizers.MCP(1.0, gamma=2.0)
    >>> float(penalty(np.array([1.0, 100.0])))
    1.75
    >>> penalty.prox(np.array([0.9, 1.5, 100.0]), t=1.0).numpy().tolist()
    [0.0, 1.0, 100.0]
    """

    _LEAST_GAMMA = 0.0

    def __init__(
        self, strength: NumberOrSchedule, gamma: float = 3.0, *, name: str | None = None
    ) -> None:
        super().__init__(strength, gamma, name)

    def penalty(self, w: Any, strength: Any) -> Any:
        gamma = ops.cast(self.gamma, w.dtype)
        # Flat from `gamma·λ` on: so the formula there, for what is larger.
        size = ops.minimum(ops.abs(w), gamma * strength)
        return ops.sum(strength * size - ops.square(size) / (2.0 * gamma))

    def proximal(self, v: Any, t: Any, strength: Any) -> Any:
        return firm_threshold(v, t, strength, ops.cast(self.gamma, v.dtype))


@keras.saving.register_keras_serializable(package="kerasreg")
class SCAD(_Concave):
    """The smoothly clipped absolute deviation: like `L1`, but large weights are not shrunk.

    The penalty of a weight is `λ·|w|` up to `|w| = λ`, then
    `(2·gamma·λ·|w| - w² - λ²) / (2·(gamma - 1))` up to `gamma·λ`, and `½·λ²·(gamma + 1)` beyond.
    The strength λ is no factor.

    Args:
        strength: λ, the slope at zero, a finite number >= 0 or a schedule of such numbers.
        gamma: a number > 1, the paper's `a`; a large `gamma` makes the penalty like `L1`. The
            proximal operator is continuous for step sizes below `gamma - 1`, and jumps for
            larger ones.
        name: optional name of the penalty.

    Returns:
        Called with a tensor of any shape: a scalar of its dtype; float32 for
        half precision.

    Raises:
        ValueError: if the strength is negative, or a schedule that becomes negative;
            if `gamma` is not above 1.

    skglm's `SCAD(alpha, gamma)` is `SCAD(alpha, gamma)`. Fan and Li 2001.

    Example:

    >>> import numpy as np, kerasreg
    >>> penalty = kerasreg.regularizers.SCAD(1.0, gamma=3.0)
    >>> float(penalty(np.array([1.0, 2.0, 100.0])))
    4.75
    """

    _LEAST_GAMMA = 1.0

    def __init__(
        self, strength: NumberOrSchedule, gamma: float = 3.7, *, name: str | None = None
    ) -> None:
        super().__init__(strength, gamma, name)

    def penalty(self, w: Any, strength: Any) -> Any:
        gamma = ops.cast(self.gamma, w.dtype)
        size = ops.abs(w)
        # The same in one piece: what exceeds λ, up to where the slope is zero.
        excess = ops.clip(size - strength, 0.0, (gamma - 1.0) * strength)
        bent = strength * excess - ops.square(excess) / (2.0 * (gamma - 1.0))
        return ops.sum(strength * ops.minimum(size, strength) + bent)

    def proximal(self, v: Any, t: Any, strength: Any) -> Any:
        return scad_threshold(v, t, strength, ops.cast(self.gamma, v.dtype))
