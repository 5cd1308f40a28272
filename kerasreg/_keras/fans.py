"""Fans: the number of inputs that a weight sums over, for every kind of kernel.

Keras' initializers see a shape only. Of a depthwise kernel, a transposed one, or
the three-axis kernels of `EinsumDense` (which attention is made of) they so take
the wrong fans; here the layer is asked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras

_DEPTHWISE = (keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D)
_TRANSPOSED = (
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
)


class Fans(NamedTuple):
    """The fans of a kernel, and the axes over which the layer sums."""

    fan_in: float
    fan_out: float
    summed: tuple[int, ...]


def fan_in(shape: Sequence[int]) -> int:
    """The inputs of a dense or convolution kernel: all axes but the last; at least 1."""
    return max(1, math.prod(shape[:-1] if len(shape) > 1 else shape))


def kernel_fans(layer: Any, name: str, shape: Sequence[int]) -> Fans:
    """The fans of a layer's kernel.

    Args:
        layer: the Keras layer that owns it.
        name: the name of the variable, such as `"depthwise_kernel"`.
        shape: its shape, of rank 2 or more.
    """
    rank, sizes = len(shape), list(shape)
    if isinstance(layer, keras.layers.EinsumDense):
        given, rest = layer.equation.replace("...", "").split(",")
        letters, result = rest.split("->")
        summed = tuple(axis for axis in range(rank) if letters[axis] not in result)
        out = [axis for axis in range(rank) if letters[axis] not in given]
        return Fans(_product(sizes, summed), _product(sizes, out), summed)
    window = tuple(range(rank - 2))
    if isinstance(layer, _DEPTHWISE) or name == "depthwise_kernel":
        places = _product(sizes, window)
        return Fans(places, places * sizes[-1], window)
    if isinstance(layer, _TRANSPOSED):
        # (*window, out, in). Each place of the output is reached by a part of the window.
        places = _product(sizes, window)
        reached = places / math.prod(layer.strides)
        return Fans(max(1.0, reached * sizes[-1]), places * sizes[-2], (*window, rank - 1))
    summed = tuple(range(rank - 1))
    out_of_one = _product(sizes, window) * sizes[-1] / getattr(layer, "groups", 1)
    return Fans(_product(sizes, summed), out_of_one, summed)


def _product(sizes: Sequence[int], axes: Sequence[int]) -> float:
    return float(math.prod(sizes[axis] for axis in axes))
