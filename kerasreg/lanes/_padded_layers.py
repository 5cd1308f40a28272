"""Layers that take means over units, for units with zeros beside them."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence
from typing import Any

import keras
from keras import ops

from kerasreg._keras.patching import patched

# Their sums would do with zeros, and their means not.
_HALF = ("float16", "bfloat16")


def is_padded(layer: Any) -> bool:
    """Whether a layer has a form for units with zeros beside them: normalizing the last axis.

    Args:
        layer: a layer, or any other operation.
    """
    if type(layer) is not keras.layers.LayerNormalization or getattr(layer, "rms_scaling", False):
        return False
    axis = layer.axis if isinstance(layer.axis, (list, tuple)) else [layer.axis]
    return len(axis) == 1 and axis[0] in (-1, len(layer.input.shape) - 1)


def layer_normalization(layer: Any, mask: Any, inputs: Any) -> Any:
    """`LayerNormalization` over the units of a mask.

    Args:
        layer: the layer, which normalizes the last axis.
        mask: 1 for each unit, and 0 beside them.
        inputs: what the layer is called with.
    """
    dtype = "float32" if layer.compute_dtype in _HALF else layer.compute_dtype
    x, mask = ops.cast(inputs, dtype), ops.cast(mask, dtype)
    count = ops.sum(mask)
    mean = ops.sum(x * mask, axis=-1, keepdims=True) / count
    centred = (x - mean) * mask
    variance = ops.sum(ops.square(centred), axis=-1, keepdims=True) / count
    found = centred * ops.rsqrt(variance + layer.epsilon)
    if layer.scale:
        found = found * ops.cast(layer.gamma, dtype)
    if layer.center:
        found = found + ops.cast(layer.beta, dtype)
    return ops.cast(found, layer.compute_dtype)


@contextlib.contextmanager
def padded_layers(layers: Sequence[tuple[Any, Any]]) -> Iterator[None]:
    """Lets layers take units with zeros beside them.

    Args:
        layers: the layers, each with its mask.
    """
    with contextlib.ExitStack() as stack:
        for layer, mask in layers:
            call = functools.partial(layer_normalization, layer, mask)
            stack.enter_context(patched(layer, call=call))
        yield
