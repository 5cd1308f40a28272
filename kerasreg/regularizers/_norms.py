"""Penalties made of sums of absolute values and of squares.

Hoerl and Kennard 1970 (ridge), Tibshirani 1996 (lasso), Zou and Hastie 2005 (elastic net),
Hoyer 2004.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kerasreg._keras.hyperparameter import Hyperparameter, NumberOrSchedule
from kerasreg._validation import check_number
from kerasreg.regularizers._functions import absolute_sum, half_square_sum
from kerasreg.regularizers._penalty import Penalty, Prox
from kerasreg.regularizers._proximal_operators import soft_threshold


@keras.saving.register_keras_serializable(package="kerasreg")
class L1(Penalty):
    """The lasso penalty `strength * Σ|w|`.

    Args:
        strength: λ, a finite number >= 0 or a schedule of such numbers.
        name: optional name of the penalty.

    Returns:
        Called with a tensor of any shape: a scalar of its dtype; float32 for
        half precision.

    Raises:
        ValueError: if the strength is negative, or a schedule that becomes negative.

    The formula is that of `keras.regularizers.L1(l1=strength)`. scikit-learn's
    `Lasso(alpha)` has the loss `1/(2n)·‖y-Xw‖²`: use `L1(alpha)` with a loss of *half* the mean
    squared error, or `L1(2 * alpha)` with `"mse"`.

    Example:

    >>> import numpy as np, kerasreg
    >>> float(kerasreg.regularizers.L1(0.5)(np.array([[1.0, -3.0]])))
    2.0
    """

    def unit_penalty(self, w: Any) -> Any:
        return absolute_sum(w)

    def unit_prox(self, v: Any, t: Any) -> Any:
        return soft_threshold(v, t)

    def prox_terms(self, strength: Any) -> tuple[Any, Any, Prox | None]:
        return strength, None, None


@keras.saving.register_keras_serializable(package="kerasreg")
class L2(Penalty):
    """The ridge penalty `½ * strength * Σw²`.

    The half makes the strength a decay rate: under plain SGD a weight is
    multiplied by `1 - learning_rate * strength` in each step. Keras' `L2(l)` is `l * Σw²`:
    write `L2(2 * l)` here. PyTorch's `weight_decay` in SGD is this strength.

    Args:
        strength: λ, a finite number >= 0 or a schedule of such numbers.
        name: optional name of the penalty.

    Returns:
        Called with a tensor of any shape: a scalar of its dtype; float32 for
        half precision.

    Raises:
        ValueError: if the strength is negative, or a schedule that becomes negative.

    scikit-learn's `Ridge(alpha)` has the loss `‖y-Xw‖²` and the penalty `alpha·‖w‖²`. Use
    `L2(2 * alpha / n)` with `"mse"` over the `n` samples, or `L2(alpha / n)` with half the mean
    squared error.

    Example:

    >>> import numpy as np, kerasreg
    >>> float(kerasreg.regularizers.L2(0.5)(np.array([[1.0, -3.0]])))
    2.5
    """

    def unit_penalty(self, w: Any) -> Any:
        return half_square_sum(w)

    def unit_prox(self, v: Any, t: Any) -> Any:
        return v / (1.0 + t)

    def prox_terms(self, strength: Any) -> tuple[Any, Any, Prox | None]:
        return None, strength, None


@keras.saving.register_keras_serializable(package="kerasreg")
class ElasticNet(Penalty):
    """The elastic net `strength * Σ(alpha * w² + (1 - alpha) * |w|)`.

    `alpha` weighs the *quadratic* part, and the square is not halved, in contrast to `L2`:
    `ElasticNet(s, 1.0)` is `L2(2 * s)` and `ElasticNet(s, 0.0)` is `L1(s)`. scikit-learn's
    `l1_ratio` weighs the other part and halves the square; `from_sklearn` converts. Keras'
    `L1L2(l1, l2)` is `ElasticNet(l1 + l2, l2 / (l1 + l2))`.

    Args:
        strength: λ, a finite number >= 0 or a schedule of such numbers.
        alpha: weight of the quadratic part, a number from 0 to 1.
        name: optional name of the penalty.

    Returns:
        Called with a tensor of any shape: a scalar of its dtype; float32 for
        half precision.

    Raises:
        ValueError: if the strength is negative, or a schedule that becomes negative;
            if `alpha` is outside [0, 1].

    Example:

    >>> import numpy as np, kerasreg
    >>> penalty = kerasreg.regularizers.ElasticNet(2.0, alpha=0.25)
    >>> float(penalty(np.array([[1.0, -3.0]])))
    11.0
    """

    def __init__(
        self, strength: NumberOrSchedule, alpha: float = 0.5, *, name: str | None = None
    ) -> None:
        super().__init__(strength, name=name)
        # In a variable too, so that it can be moved without retracing.
        self._alpha = Hyperparameter(
            check_number("alpha", alpha, 0.0, 1.0), "alpha", minimum=0.0, maximum=1.0
        )

    @property
    def alpha(self) -> keras.Variable:
        """The weight of the quadratic part: a scalar variable."""
        return self._alpha.variable

    def unit_penalty(self, w: Any) -> Any:
        alpha = ops.cast(self.alpha, w.dtype)
        return alpha * 2.0 * half_square_sum(w) + (1.0 - alpha) * absolute_sum(w)

    def unit_prox(self, v: Any, t: Any) -> Any:
        alpha = ops.cast(self.alpha, v.dtype)
        return soft_threshold(v, (1.0 - alpha) * t) / (1.0 + 2.0 * alpha * t)

    def prox_terms(self, strength: Any) -> tuple[Any, Any, Prox | None]:
        alpha = ops.cast(self.alpha, strength.dtype)
        return (1.0 - alpha) * strength, 2.0 * alpha * strength, None

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "alpha": self._alpha.serialized_value()}

    @classmethod
    def from_sklearn(
        cls, alpha: float, l1_ratio: float = 0.5, *, loss: str = "mse", name: str | None = None
    ) -> ElasticNet:
        """The penalty of `sklearn.linear_model.ElasticNet(alpha, l1_ratio)`.

        scikit-learn minimises `½·mean((y-Xw)²) + alpha·l1_ratio·Σ|w| +
        ½·alpha·(1-l1_ratio)·Σw²`.

        Args:
            alpha: scikit-learn's strength, a number >= 0.
            l1_ratio: scikit-learn's weight of the absolute part, from 0 to 1.
            loss: `"half_mse"` if the Keras loss is ½·mean: the objectives are then equal.
                `"mse"` if the loss is the mean, as in `model.compile(loss="mse")`: the objective
                is then twice that of scikit-learn, with the same minimum.
            name: optional name of the penalty.

        Returns:
            An `ElasticNet`. The docstrings of `L2` and `L1` map `Ridge` and `Lasso`.

        Raises:
            ValueError: if an argument is outside its range.

        Example:

        >>> import kerasreg
        >>> penalty = kerasreg.regularizers.ElasticNet.from_sklearn(1.0, 0.5, loss="half_mse")
        >>> float(penalty.strength), round(float(penalty.alpha), 6)
        (0.75, 0.333333)
        """
        alpha = check_number("alpha", alpha, 0.0, float("inf"))
        l1_ratio = check_number("l1_ratio", l1_ratio, 0.0, 1.0)
        if loss not in ("mse", "half_mse"):
            raise ValueError(f"`loss` must be 'mse' or 'half_mse'. Received: loss={loss!r}")
        scale = 2.0 if loss == "mse" else 1.0
        absolute = scale * alpha * l1_ratio
        quadratic = scale * alpha * (1.0 - l1_ratio) / 2.0
        total = absolute + quadratic
        return cls(total, quadratic / total if total > 0 else 0.5, name=name)


@keras.saving.register_keras_serializable(package="kerasreg")
class Hoyer(Penalty):
    """The Hoyer square `strength * (Σ|w|)² / Σw²`: about the number of weights in use.

    With one weight that is not zero the penalty is 1. With weights that are all equally large
    the penalty is their number. Multiplying all weights by a number does not change the
    penalty; for zeros the penalty is 0. There is no proximal operator.

    Args:
        strength: λ, a finite number >= 0 or a schedule of such numbers.
        name: optional name of the penalty.

    Returns:
        Called with a tensor of any shape: a scalar of its dtype; float32 for
        half precision.

    Raises:
        ValueError: if the strength is negative, or a schedule that becomes negative.

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
