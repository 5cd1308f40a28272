"""Numbers of a table: missing ones filled, all of one scale, outliers drawn in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

# Further from the median than this, a number is the limit already; half precision has its square.
_FAR = 600.0


def scale_of(numbers: np.ndarray) -> tuple[float, float]:
    """The median and the robust scale of the numbers that are there.

    The scale is that of RealMLP (arXiv 2407.04491): the interquartile range; where that is 0,
    half of the whole range; where that is 0 too, 1.
    """
    found = numbers[~np.isnan(numbers)]
    if not len(found):
        return 0.0, 1.0
    low, median, high = np.quantile(found, (0.25, 0.5, 0.75))
    spread = float(high - low) or float(found.max() - found.min()) / 2
    return float(median), spread or 1.0


def scaled(numbers: Any, center: Any, scale: Any, indicators: Sequence[int], xp: Any) -> Any:
    """What `RobustScaling` computes, in `numpy` or `keras.ops`."""
    missing = xp.isnan(numbers)
    x = (numbers - center) / scale
    x = xp.clip(xp.where(missing, xp.zeros_like(x), x), -_FAR, _FAR)
    x = x / xp.sqrt(1.0 + (x / 3.0) * (x / 3.0))
    if not len(indicators):
        return x
    flags = [xp.where(missing[:, k], xp.ones_like(x[:, k]), 0 * x[:, k]) for k in indicators]
    return xp.concatenate([x, xp.stack(flags, axis=-1)], axis=-1)


@keras.saving.register_keras_serializable(package="kerasreg")
class RobustScaling(keras.layers.Layer):
    """Numbers on one scale, with missing ones filled and outliers drawn in.

    `z = (x - center) / scale`, with `z = 0` where `x` is NaN; then the smooth clip
    `y = z / √(1 + (z/3)²)`, which is about `z` near 0 and never beyond ±3 (Holzmüller et al. 2024,
    arXiv 2407.04491). With the median as the center, a missing number is filled by the median.

    Args:
        center: a number for each feature, such as the median of the training data.
        scale: a number > 0 for each feature, such as the interquartile range.
        indicators: features, counted from 0, of which a further output is 1 where the number is
            missing, else 0.
        **kwargs: `name`, `dtype` of a Keras layer.

    Call arguments:
        inputs: a floating-point tensor of the shape (batch, features); NaN is missing.

    Returns:
        A tensor of the shape (batch, features + indicators).

    Raises:
        ValueError: if an argument is none of these.

    Example:

    >>> import keras, kerasreg
    >>> layer = kerasreg.tables.RobustScaling([10.0], [2.0], indicators=[0])
    >>> layer(keras.ops.array([[10.0], [float("nan")]])).numpy().tolist()
    [[0.0, 0.0], [0.0, 1.0]]
    """

    def __init__(
        self, center: Any, scale: Any, *, indicators: Sequence[int] = (), **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.center = _check_vector("center", center, positive=False)
        self.scale = _check_vector("scale", scale, positive=True)
        if len(self.scale) != len(self.center):
            raise ValueError(
                f"`scale` must be {len(self.center)} numbers, as many as `center`. Received: "
                f"scale={scale!r}"
            )
        whole = isinstance(indicators, (list, tuple)) and all(
            isinstance(k, (int, np.integer))
            and not isinstance(k, bool)
            and 0 <= k < len(self.scale)
            for k in indicators
        )
        if not whole:
            raise ValueError(
                f"`indicators` must be whole numbers from 0 to {len(self.scale) - 1}. Received: "
                f"indicators={indicators!r}"
            )
        self.indicators = [int(k) for k in indicators]
        self.built = True

    def call(self, inputs: Any) -> Any:
        """Scales, fills and draws in."""
        center = ops.convert_to_tensor(self.center, dtype=inputs.dtype)
        scale = ops.convert_to_tensor(self.scale, dtype=inputs.dtype)
        return scaled(inputs, center, scale, self.indicators, ops)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """(batch, features + indicators)."""
        return (*input_shape[:-1], len(self.center) + len(self.indicators))

    def get_config(self) -> dict[str, Any]:
        """The arguments."""
        return {
            **super().get_config(),
            "center": self.center.tolist(),
            "scale": self.scale.tolist(),
            "indicators": self.indicators,
        }


def _check_vector(argument: str, value: Any, positive: bool) -> np.ndarray:
    which = "numbers > 0" if positive else "finite numbers"
    try:
        given = np.asarray(value)
        found = given.astype("float64") if given.dtype.kind in "iuf" else np.zeros(0)
    except ValueError:  # Of lists of several lengths.
        found = np.zeros(0)
    good = found.ndim == 1 and len(found) > 0 and np.isfinite(found).all()
    if not good or isinstance(value, str) or (positive and (found <= 0).any()):
        raise ValueError(f"`{argument}` must be a list of {which}. Received: {argument}={value!r}")
    return found
