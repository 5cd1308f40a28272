"""Random real numbers from random bits."""

from __future__ import annotations

import math
from typing import Any

from keras import ops

from kerasreg._keras.fused import fused_draw
from kerasreg.random._bits import bits
from kerasreg.random._key import Key, fold_in, word

# What is folded into a key for a normal number's second draw: none that anyone
# would choose for a part of their own.
_ANGLE = 0x6E6F726D


def uniform(shape: Any, key: Key) -> Any:
    """Draws numbers from the open interval (0, 1): `(b + ½) / 2²³` with 23 random bits `b`.

    Neither 0 nor 1 is drawn, so that the logarithms of a number `u` and of `1 - u` are finite.

    Args:
        shape: shape of the result; entries may be scalar tensors.
        key: a key, from `kerasreg.random.key`.

    Returns:
        A float32 tensor.

    Example:

    >>> import kerasreg
    >>> bool(0 < kerasreg.random.uniform((), kerasreg.random.key(7)) < 1)
    True
    """
    return _uniform(key, shape=shape)


def normal(shape: Any, key: Key) -> Any:
    """Draws independent numbers from the normal distribution of mean 0 and variance 1.

    `√(-2 ln u) · cos(2πv)` (Box and Muller 1958), with `u` and `v` two draws of `uniform`. No
    number is beyond ±5.8.

    Args:
        shape: shape of the result; entries may be scalar tensors.
        key: a key, from `kerasreg.random.key`.

    Returns:
        A float32 tensor.

    Example:

    >>> import kerasreg
    >>> kerasreg.random.normal((2, 3), kerasreg.random.key(7)).shape
    TensorShape([2, 3])
    """
    return _normal(key, shape=shape)


@fused_draw
def _uniform(key: Key, shape: Any) -> Any:
    # With 24 bits the half would be rounded, and 1 drawn.
    whole = ops.cast(ops.right_shift(bits(shape, key), word(9)), "int32")
    return (ops.cast(whole, "float32") + 0.5) * 2.0**-23


@fused_draw
def _normal(key: Key, shape: Any) -> Any:
    # Not by erf⁻¹, of which XLA and TensorFlow have approximations that differ by
    # more than the rounding of a logarithm and a cosine.
    radius = ops.sqrt(-2.0 * ops.log(_uniform(key, shape=shape)))
    return radius * ops.cos(2.0 * math.pi * _uniform(fold_in(key, _ANGLE), shape=shape))
