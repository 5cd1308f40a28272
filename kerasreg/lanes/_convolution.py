"""Convolutions that `tf.vectorized_map` vectorises when each lane has its own filters.

TensorFlow's convolution takes one filter for a whole batch; with one for each
lane it runs lane by lane. As a matrix product of patches with filters it is one
batched product. Measured against that loop in `benchmarks/lane_convolutions.py`.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import keras
from keras import ops


@contextlib.contextmanager
def lane_convolutions() -> Iterator[None]:
    """Gives `keras.ops.conv` and its relatives their vectorised form while it is entered.

    For the trace of one lane, on the TensorFlow backend.
    """
    from keras.src.backend import nn

    kept = {name: getattr(nn, name) for name in ("conv", "depthwise_conv", "separable_conv")}

    def conv(
        inputs: Any,
        kernel: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Any = 1,
    ) -> Any:
        if not _has_patches(inputs, kernel, data_format):
            return kept["conv"](inputs, kernel, strides, padding, data_format, dilation_rate)
        return _channels_last(
            lambda x: _product(_patches(x, kernel, strides, padding, dilation_rate), kernel),
            inputs,
            data_format,
        )

    def depthwise_conv(
        inputs: Any,
        kernel: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Any = 1,
    ) -> Any:
        if not _has_patches(inputs, kernel, data_format):
            return kept["depthwise_conv"](
                inputs, kernel, strides, padding, data_format, dilation_rate
            )
        return _channels_last(
            lambda x: _depthwise(_patches(x, kernel, strides, padding, dilation_rate), kernel),
            inputs,
            data_format,
        )

    def separable_conv(
        inputs: Any,
        depthwise_kernel: Any,
        pointwise_kernel: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Any = 1,
    ) -> Any:
        between = depthwise_conv(
            inputs, depthwise_kernel, strides, padding, data_format, dilation_rate
        )
        return conv(between, pointwise_kernel, 1, "valid", data_format, 1)

    replacements = (conv, depthwise_conv, separable_conv)
    for name, replacement in zip(kept, replacements, strict=True):
        setattr(nn, name, replacement)
    try:
        yield
    finally:
        for name, original in kept.items():
            setattr(nn, name, original)


def _has_patches(inputs: Any, kernel: Any, data_format: str | None) -> bool:
    """Whether the sizes are known that patches are cut by."""
    shape = list(inputs.shape)
    channels_last = (data_format or keras.config.image_data_format()) == "channels_last"
    inner = shape[1:] if channels_last else [*shape[2:], shape[1]]
    return len(shape) == len(kernel.shape) and None not in inner


def _channels_last(function: Any, inputs: Any, data_format: str | None) -> Any:
    if (data_format or keras.config.image_data_format()) == "channels_last":
        return function(inputs)
    rank = len(inputs.shape)
    last = ops.transpose(inputs, (0, *range(2, rank), 1))
    return ops.transpose(function(last), (0, rank - 1, *range(1, rank - 1)))


def _patches(x: Any, kernel: Any, strides: Any, padding: str, dilation: Any) -> list[Any]:
    """What each position of the kernel sees: a list of (batch, *out, channels)."""
    sizes, window = list(x.shape[1:-1]), list(kernel.shape[:-2])
    strides, dilation = _each(strides, len(sizes)), _each(dilation, len(sizes))
    pads, outs = [], []
    for size, width, stride, step in zip(sizes, window, strides, dilation, strict=True):
        reach = (width - 1) * step + 1
        if padding.lower() == "same":
            out = -(-size // stride)
            # TensorFlow's rule: of an odd number, one more after than before.
            total = max((out - 1) * stride + reach - size, 0)
            pads.append((total // 2, total - total // 2))
        else:
            out = (size - reach) // stride + 1
            pads.append((0, 0))
        outs.append(out)
    if any(map(any, pads)):
        x = ops.pad(x, [(0, 0), *pads, (0, 0)])
    found = []
    for position in itertools.product(*(range(width) for width in window)):
        cut = [slice(None)]
        for at, out, stride, step in zip(position, outs, strides, dilation, strict=True):
            begin = at * step
            cut.append(slice(begin, begin + (out - 1) * stride + 1, stride))
        found.append(x[tuple(cut)])
    return found


def _product(patches: Sequence[Any], kernel: Any) -> Any:
    channels, filters = kernel.shape[-2:]
    out = list(patches[0].shape[1:-1])
    groups = patches[0].shape[-1] // channels
    if groups == 1:
        columns = ops.reshape(ops.concatenate(patches, axis=-1), (-1, len(patches) * channels))
        found = ops.matmul(columns, ops.reshape(kernel, (-1, filters)))
        return ops.reshape(found, (-1, *out, filters))
    # Each group of channels has its own part of the filters.
    each = filters // groups
    parts = [
        _product(
            [patch[..., group * channels : (group + 1) * channels] for patch in patches],
            kernel[..., group * each : (group + 1) * each],
        )
        for group in range(groups)
    ]
    return ops.concatenate(parts, axis=-1)


def _depthwise(patches: Sequence[Any], kernel: Any) -> Any:
    channels, multiplier = kernel.shape[-2:]
    out = list(patches[0].shape[1:-1])
    of_positions = ops.reshape(kernel, (len(patches), channels, multiplier))
    found = sum(patch[..., None] * of_positions[position] for position, patch in enumerate(patches))
    return ops.reshape(found, (-1, *out, channels * multiplier))


def _each(value: Any, rank: int) -> list[int]:
    return [int(value)] * rank if isinstance(value, int) else [int(part) for part in value]
