"""Spatial dropout: whole feature maps are kept or dropped."""

import math

import numpy as np
import pytest
import tensorflow as tf

from kerasreg.layers import (
    ScheduledSpatialDropout1D,
    ScheduledSpatialDropout2D,
    ScheduledSpatialDropout3D,
)

LAYERS = {
    1: ScheduledSpatialDropout1D,
    2: ScheduledSpatialDropout2D,
    3: ScheduledSpatialDropout3D,
}
POSITIONS = (3, 4, 2)
every_layer = pytest.mark.parametrize("axes", LAYERS)


def ones(examples, axes, channels):
    return np.ones((examples, *POSITIONS[:axes], channels), "float32")


@every_layer
@pytest.mark.parametrize("rate", [0.0, 1 / 256, 0.1, 0.5, 0.9, 1.0])
def test_the_fraction_of_maps_that_is_dropped_is_the_rate(axes, rate):
    maps = 2**16
    y = np.array(LAYERS[axes](rate, seed=1)(ones(256, axes, 256), training=True), "float64")
    dropped = np.mean(y.reshape(256, -1, 256)[:, 0] == 0)
    assert abs(dropped - rate) <= 4 * math.sqrt(rate * (1 - rate) / maps)
    np.testing.assert_allclose(y[y != 0], 1 / (1 - rate) if rate < 1 else [], rtol=1e-6)


@every_layer
def test_a_map_is_kept_or_dropped_as_a_whole_and_by_itself(axes):
    y = np.array(LAYERS[axes](0.5, seed=1)(ones(64, axes, 64), training=True))
    maps = y.reshape(64, -1, 64)
    assert np.all(maps == maps[:, :1])
    mask = maps[:, 0] != 0
    # Neighbours among examples and among channels agree half of the time.
    for neighbour in (np.roll(mask, 1, axis=0), np.roll(mask, 1, axis=1), mask.T):
        assert abs(np.mean(mask == neighbour) - 0.5) < 4 * 0.5 / 64


@every_layer
def test_the_gradient_is_the_mask_over_the_keep_probability(axes):
    x = tf.constant(np.random.default_rng(0).uniform(1, 2, ones(4, axes, 8).shape), "float32")
    layer = LAYERS[axes](0.25, seed=1)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=True)
    gradient = tape.gradient(y, x)
    np.testing.assert_allclose(gradient, (np.array(y) != 0) / 0.75, rtol=1e-6)
    np.testing.assert_allclose(y, x * gradient, rtol=1e-6)


@pytest.mark.parametrize("axes", [2, 3])
def test_both_data_formats_drop_the_same_maps(axes):
    x = np.random.default_rng(0).uniform(1, 2, ones(8, axes, 16).shape).astype("float32")
    last = LAYERS[axes](0.5, data_format="channels_last", seed=1)(x, training=True)
    first = LAYERS[axes](0.5, data_format="channels_first", seed=1)
    np.testing.assert_array_equal(
        np.moveaxis(first(np.moveaxis(x, -1, 1), training=True), 1, -1), last
    )


@every_layer
@pytest.mark.parametrize("more", [-1, 1])
def test_inputs_of_another_rank_are_refused(axes, more):
    with pytest.raises(ValueError, match=f"expected ndim={axes + 2}"):
        LAYERS[axes](0.5)(np.ones((2,) * (axes + 2 + more), "float32"), training=True)
