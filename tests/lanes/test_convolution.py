"""The forms for lanes of convolutions and max-pooling are Keras' own, gradients included."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from kerasreg._keras.lane_convolutions import lane_convolutions


def both(function, inputs, dtype):
    """Outputs and gradients by Keras and in the form for lanes."""
    found = []
    for lanes in (False, True):
        tensors = [tf.constant(value, dtype) for value in inputs]
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            if lanes:
                with lane_convolutions():
                    outputs = function(*tensors)
            else:
                outputs = function(*tensors)
            weights = np.random.default_rng(1).normal(size=outputs.shape)
            total = tf.reduce_sum(outputs * weights)
        found.append([outputs, *tape.gradient(total, tensors)])
    return found


def check(function, *inputs, dtype="float64"):
    tolerance = 1e-12 if dtype == "float64" else 1e-6
    for expected, own in zip(*both(function, inputs, dtype), strict=True):
        np.testing.assert_allclose(own, expected, rtol=tolerance, atol=tolerance)


def normal(*shape):
    return np.random.default_rng(0).normal(size=shape)


CONVOLUTIONS = [
    ((2, 9, 3), (3, 3, 4), {}),
    ((2, 9, 3), (2, 3, 4), {"strides": 2, "padding": "same"}),
    ((2, 9, 3), (3, 3, 4), {"dilation_rate": 2}),
    ((2, 7, 8, 3), (3, 2, 3, 4), {"padding": "same"}),
    ((2, 7, 8, 3), (3, 3, 3, 4), {"strides": (2, 3)}),
    ((2, 7, 8, 3), (3, 3, 3, 4), {"dilation_rate": 2, "padding": "same"}),
    ((2, 7, 8, 4), (3, 3, 2, 6), {"padding": "same"}),  # Two groups.
    ((1, 5, 4, 5, 2), (2, 2, 3, 2, 3), {"padding": "same"}),
]


@pytest.mark.parametrize(("inputs", "kernel", "arguments"), CONVOLUTIONS)
def test_convolutions(inputs, kernel, arguments):
    if kernel[-2] != inputs[-1]:
        # TensorFlow has no gradient of groups on a CPU without XLA: in parts by hand.
        x, w = tf.constant(normal(*inputs)), tf.constant(normal(*kernel))
        with lane_convolutions():
            found = ops.conv(x, w, **arguments)
        halves = [
            ops.conv(x[..., i * 2 : i * 2 + 2], w[..., i * 3 : i * 3 + 3], **arguments)
            for i in range(2)
        ]
        np.testing.assert_allclose(found, ops.concatenate(halves, axis=-1), atol=1e-12)
        return
    check(lambda x, w: ops.conv(x, w, **arguments), normal(*inputs), normal(*kernel))


@pytest.mark.parametrize("arguments", [{}, {"padding": "same"}, {"strides": 2}])
def test_depthwise_and_separable_convolutions(arguments):
    x, w, p = normal(2, 7, 8, 3), normal(3, 3, 3, 2), normal(1, 1, 6, 4)
    check(lambda x, w: ops.depthwise_conv(x, w, **arguments), x, w)
    check(lambda x, w, p: ops.separable_conv(x, w, p, **arguments), x, w, p)


POOLS = [
    ((2, 9, 3), 3, {}),
    ((2, 9, 3), 2, {"strides": 1, "padding": "same"}),
    ((2, 7, 8, 3), 2, {}),
    ((2, 7, 8, 3), (3, 2), {"strides": 2, "padding": "same"}),
    ((2, 7, 8, 3), 3, {"strides": 1}),
    ((1, 4, 5, 4, 2), 2, {"padding": "same"}),
]


@pytest.mark.parametrize(("shape", "size", "arguments"), POOLS)
@pytest.mark.parametrize("ties", [False, True])
def test_max_pooling(shape, size, arguments, ties):
    # With ties the gradient goes to the first of the largest.
    x = np.round(normal(*shape)) if ties else normal(*shape)
    check(
        lambda x: ops.max_pool(x, size, **arguments),
        x,
        dtype="float64" if len(shape) < 5 else "float32",
    )


def test_channels_first():
    keras.config.set_image_data_format("channels_first")
    try:
        with lane_convolutions():
            x = tf.constant(normal(2, 3, 7, 8))
            found = ops.conv(x, tf.constant(normal(3, 3, 3, 4)))
            pooled = ops.max_pool(x, 2)
    finally:
        keras.config.set_image_data_format("channels_last")
    last = tf.transpose(x, (0, 2, 3, 1))
    expected = ops.conv(last, tf.constant(normal(3, 3, 3, 4)), data_format="channels_last")
    np.testing.assert_allclose(tf.transpose(found, (0, 2, 3, 1)), expected, atol=1e-12)
    expected = ops.max_pool(last, 2, data_format="channels_last")
    np.testing.assert_allclose(tf.transpose(pooled, (0, 2, 3, 1)), expected)


def test_the_forms_are_put_back():
    from keras.src.backend import nn

    before = nn.conv, nn.max_pool
    with lane_convolutions():
        assert nn.conv is not before[0]
    assert (nn.conv, nn.max_pool) == before
    context = lane_convolutions()
    context.__enter__()
    assert not context.__exit__(RuntimeError, RuntimeError(), None)
    assert (nn.conv, nn.max_pool) == before
