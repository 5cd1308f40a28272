"""Weights of networks whose activation is a sine.

Sitzmann et al. 2020, "Implicit Neural Representations with Periodic Activation
Functions" (arXiv:2006.09661).
"""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from kerasreg._keras.fans import fan_in
from kerasreg._keras.seeds import check_seed
from kerasreg._validation import check_positive


@keras.saving.register_keras_serializable(package="kerasreg")
def sine(x: Any, frequency: float = 30.0) -> Any:
    """The activation `sin(frequency·x)` of a SIREN.

    Args:
        x: a floating-point tensor of any shape.
        frequency: ω, radians per unit of `x`.

    Returns:
        A tensor like `x`.

    `Dense(..., activation=kerasreg.initializers.sine)` has a frequency of 30 and
    is saved with the model. For another frequency register a function of your
    own that calls this one.

    Example:

    >>> import math, kerasreg
    >>> round(float(kerasreg.initializers.sine(math.pi / 60)), 6)
    1.0
    """
    return ops.sin(frequency * ops.convert_to_tensor(x))


@keras.saving.register_keras_serializable(package="kerasreg")
class Siren(keras.initializers.RandomUniform):
    """Uniform weights for the activation `sin(frequency·x)`.

    `U(±√(6/fan_in)/frequency)`, so that what the sine sees is `N(0, 1)` in every
    layer; `U(±1/fan_in)` in the first layer, for inputs from -1 to 1. The
    activation is `sine`, with the same frequency; the last, linear layer has the
    rule of the others.

    Args:
        first: whether these are the weights of the first layer.
        frequency: ω of the activation, a number > 0.
        seed: an integer or a `keras.random.SeedGenerator`, or None for another
            draw each time.

    Returns:
        Called with a shape and a dtype: a tensor. `fan_in` is Keras' (the product
        of all axes but the last), which is wrong for depthwise convolutions.

    Raises:
        ValueError: if `frequency` is no number > 0.

    Example:

    >>> import numpy as np, kerasreg
    >>> weights = np.array(kerasreg.initializers.Siren(first=True, seed=1)((4, 1000)))
    >>> bool(0.24 < abs(weights).max() <= 0.25)
    True
    """

    def __init__(self, first: bool = False, frequency: float = 30.0, *, seed: Any = None) -> None:
        super().__init__(-1.0, 1.0, seed=check_seed(seed))
        self.first = bool(first)
        self.frequency = check_positive("frequency", frequency)

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        """A tensor of the shape and dtype."""
        inputs = fan_in(shape)
        limit = 1 / inputs if self.first else math.sqrt(6 / inputs) / self.frequency
        return limit * super().__call__(shape, dtype=dtype)

    def get_config(self) -> dict[str, Any]:
        """The arguments."""
        return {
            "first": self.first,
            "frequency": self.frequency,
            "seed": super().get_config()["seed"],
        }
