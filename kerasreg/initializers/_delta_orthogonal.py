"""Convolutions that begin as an orthogonal map of each place.

Xiao et al. 2018, "Dynamical Isometry and a Mean Field Theory of CNNs"
(arXiv:1806.05393), who train 10,000 layers with it.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kerasreg._keras.seeds import check_seed
from kerasreg._validation import check_positive


@keras.saving.register_keras_serializable(package="kerasreg")
class DeltaOrthogonal(keras.initializers.Orthogonal):
    """A kernel that is `gain` times an orthogonal matrix in its centre, and zero elsewhere.

    A convolution of stride 1 and `"same"` padding so multiplies the norm of every
    input by the gain. It is TensorFlow 1's `ConvolutionDeltaOrthogonal`; Keras has
    `Orthogonal` only, which is orthogonal in all of the kernel's entries together.

    Args:
        gain: what the norm is multiplied by, a number > 0.
        seed: an integer or a `keras.random.SeedGenerator`, or None for another
            draw each time.

    Returns:
        Called with a shape `(*window, channels_in, channels_out)` of rank 3 to 5
        and a dtype: a tensor.

    Raises:
        ValueError: if `gain` is no number > 0; when called with a shape of
            another rank, or with more channels in than out: no such map keeps
            norms.

    Example:

    >>> import numpy as np, kerasreg
    >>> kernel = np.array(kerasreg.initializers.DeltaOrthogonal(seed=1)((3, 3, 2, 4)))
    >>> bool(np.allclose(kernel[1, 1] @ kernel[1, 1].T, np.eye(2), atol=1e-6))
    True
    """

    def __init__(self, gain: float = 1.0, seed: Any = None) -> None:
        super().__init__(gain=check_positive("gain", gain), seed=check_seed(seed))

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        """A tensor of the shape and dtype."""
        shape = tuple(shape)
        if not 3 <= len(shape) <= 5 or shape[-2] > shape[-1]:
            raise ValueError(
                "`shape` must be (*window, channels_in, channels_out) of rank 3 to 5, with "
                f"channels_in <= channels_out. Received: shape={shape}"
            )
        *window, channels_in, channels_out = shape
        matrix = super().__call__((channels_in, channels_out), dtype=dtype)
        # Where "same" padding puts the window of an even size: one further to the right.
        padding = [((size - 1) // 2, size // 2) for size in window]
        matrix = ops.reshape(matrix, (*[1] * len(window), channels_in, channels_out))
        return ops.pad(matrix, [*padding, (0, 0), (0, 0)])
