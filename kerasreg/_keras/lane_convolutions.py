"""Convolutions and max-pooling in forms that are fast for many lanes.

TensorFlow's convolution takes one filter for a whole batch; with one for each
lane it runs lane by lane. As a matrix product of patches with filters it is one
batched product, 7 to 11 times as fast under XLA, and slower without it, where
lane by lane stays. XLA on a CPU scatters the gradient of max-pooling one by one;
as choices between the positions of the window it is 7 times as fast there, and 4
times as slow without. `benchmarks/lane_layers.py` measures both.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import keras
from keras import ops

from kerasreg._keras.patching import original, patched


@contextlib.contextmanager
def lane_convolutions() -> Iterator[list[int]]:
    """Gives `keras.ops.conv` and its relatives their forms for XLA while it is entered.

    For the trace of one lane, on the TensorFlow backend, and for the thread that traces.

    Yields:
        A list to which each convolution adds the elements of its patches, for
        one example.
    """
    from keras.src.backend import nn

    sizes: list[int] = []
    of_keras = {name: original(nn, name) for name in ("conv", "depthwise_conv", "max_pool")}

    def conv(
        inputs: Any,
        kernel: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Any = 1,
    ) -> Any:
        if not _has_patches(inputs, len(kernel.shape) - 2, data_format):
            return of_keras["conv"](inputs, kernel, strides, padding, data_format, dilation_rate)

        def product(x: Any) -> Any:
            patches = _patches(x, kernel.shape[:-2], strides, padding, dilation_rate)
            sizes.append(len(patches) * math.prod(patches[0].shape[1:]))
            return _product(patches, kernel)

        return _channels_last(product, inputs, data_format)

    def depthwise_conv(
        inputs: Any,
        kernel: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Any = 1,
    ) -> Any:
        if not _has_patches(inputs, len(kernel.shape) - 2, data_format):
            return of_keras["depthwise_conv"](
                inputs, kernel, strides, padding, data_format, dilation_rate
            )
        return _channels_last(
            lambda x: _depthwise(
                _patches(x, kernel.shape[:-2], strides, padding, dilation_rate), kernel
            ),
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

    def max_pool(
        inputs: Any,
        pool_size: Any,
        strides: Any = None,
        padding: str = "valid",
        data_format: str | None = None,
    ) -> Any:
        rank = len(inputs.shape) - 2
        # In three dimensions TensorFlow's gradient treats equal ones in another way.
        if rank > 2 or not _has_patches(inputs, rank, data_format):
            return of_keras["max_pool"](inputs, pool_size, strides, padding, data_format)
        window = _each(pool_size, rank)
        return _channels_last(
            lambda x: functools.reduce(
                # Of equal ones the first, as TensorFlow's gradient has it.
                lambda most, other: ops.where(other > most, other, most),
                _patches(x, window, window if strides is None else strides, padding, 1, -math.inf),
            ),
            inputs,
            data_format,
        )

    with patched(
        nn,
        conv=conv,
        depthwise_conv=depthwise_conv,
        separable_conv=separable_conv,
        max_pool=max_pool,
    ):
        yield sizes


def _has_patches(inputs: Any, rank: int, data_format: str | None) -> bool:
    """Whether the sizes are known that patches are cut by."""
    shape = list(inputs.shape)
    channels_last = (data_format or keras.config.image_data_format()) == "channels_last"
    inner = shape[1:] if channels_last else [*shape[2:], shape[1]]
    return len(shape) == rank + 2 and None not in inner


def _channels_last(function: Any, inputs: Any, data_format: str | None) -> Any:
    if (data_format or keras.config.image_data_format()) == "channels_last":
        return function(inputs)
    rank = len(inputs.shape)
    last = ops.transpose(inputs, (0, *range(2, rank), 1))
    return ops.transpose(function(last), (0, rank - 1, *range(1, rank - 1)))


def _patches(
    x: Any, window: Sequence[int], strides: Any, padding: str, dilation: Any, fill: float = 0.0
) -> list[Any]:
    """What each position of the window sees: a list of (batch, *out, channels)."""
    sizes = list(x.shape[1:-1])
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
        x = ops.pad(x, [(0, 0), *pads, (0, 0)], constant_values=fill)
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
