"""ScheduledStochasticDepth: a branch is left out for whole examples."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasreg.layers import ScheduledStochasticDepth
from kerasreg.schedules import linear_depth

RATES = [0.0, 1 / 256, 0.1, 0.5, 0.9, 1.0]


def pair(shape=(64, 3, 2)):
    rng = np.random.default_rng(0)
    return [rng.uniform(1, 2, size=shape).astype("float32") for _ in range(2)]


@pytest.mark.parametrize("rate", RATES)
def test_the_fraction_of_examples_without_the_branch_is_the_rate(rate):
    y = np.array(ScheduledStochasticDepth(rate, seed=1)(np.ones((2**20, 1)), training=True))
    assert abs(np.mean(y == 0) - rate) <= 4 * math.sqrt(rate * (1 - rate) / len(y))
    np.testing.assert_allclose(y[y != 0], 1 / (1 - rate) if rate < 1 else [], rtol=1e-6)


@pytest.mark.parametrize("rate", RATES)
def test_an_example_has_the_shortcut_and_the_scaled_branch_or_the_shortcut_alone(rate):
    shortcut, branch = pair()
    y = np.array(ScheduledStochasticDepth(rate, seed=1)([shortcut, branch], training=True))
    alone = ScheduledStochasticDepth(rate, seed=1)(branch, training=True)
    taken = np.array([np.any(example != 0) for example in np.array(alone)])[:, None, None]
    scale = 1 / (1 - rate) if rate < 1 else 0.0
    np.testing.assert_allclose(alone, taken * branch * scale, rtol=1e-6)
    np.testing.assert_allclose(y, shortcut + taken * branch * scale, rtol=1e-6)
    if rate == 0.5:
        assert 0 < taken.mean() < 1


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("training", [False, None])
def test_inference_adds_the_branch_as_it_is(rate, training):
    shortcut, branch = pair()
    layer = ScheduledStochasticDepth(rate, seed=1)
    np.testing.assert_array_equal(layer([shortcut, branch], training=training), shortcut + branch)
    np.testing.assert_array_equal(layer(branch, training=training), branch)


def test_the_shortcut_has_gradient_1_and_the_branch_its_mask():
    shortcut, branch = (tf.constant(x) for x in pair())
    layer = ScheduledStochasticDepth(0.5, seed=1)
    with tf.GradientTape() as tape:
        tape.watch([shortcut, branch])
        y = layer([shortcut, branch], training=True)
    to_shortcut, to_branch = tape.gradient(y, [shortcut, branch])
    np.testing.assert_array_equal(to_shortcut, np.ones(shortcut.shape))
    np.testing.assert_allclose(to_branch, (y - shortcut) / branch, rtol=1e-5, atol=1e-6)


def test_a_tuple_is_a_pair_too():
    shortcut, branch = pair()
    first, second = (ScheduledStochasticDepth(0.5, seed=1) for _ in range(2))
    np.testing.assert_array_equal(
        first((shortcut, branch), training=True), second([shortcut, branch], training=True)
    )


@pytest.mark.parametrize("count", [1, 3])
def test_what_is_no_pair_is_refused(count):
    with pytest.raises(ValueError, match=rf"must be a tensor or a pair.*Received: {count} inputs"):
        ScheduledStochasticDepth(0.5)([np.ones((2, 3), "float32")] * count, training=True)


@pytest.mark.parametrize("training", [True, False])
def test_the_mask_of_a_pair_is_the_one_that_both_have(training):
    inputs = keras.Input((3, 2))
    masked = keras.layers.Masking(mask_value=-1.0)(inputs)
    residual = ScheduledStochasticDepth(0.0, seed=1)([masked, keras.layers.Dense(2)(masked)])
    model = keras.Model(inputs, keras.layers.LSTM(4, return_sequences=True)(residual))
    x = np.ones((2, 3, 2), "float32")
    x[:, 2] = -1.0
    y = np.array(model(x, training=training))
    np.testing.assert_array_equal(y[:, 2], y[:, 1])  # A masked step repeats the last output.
    assert np.all(y[:, 1] != y[:, 0])


def test_the_shape_is_that_of_the_branch():
    layer = ScheduledStochasticDepth(0.5)
    assert layer.compute_output_shape([(None, 4, 2), (None, 4, 2)]) == (None, 4, 2)
    assert layer.compute_output_shape((None, 4, 2)) == (None, 4, 2)
    x = keras.Input((4, 2))
    assert layer([x, keras.layers.Dense(2)(x)]).shape == (None, 4, 2)


def test_a_residual_network_trains_with_rates_that_grow_with_depth():
    x = inputs = keras.Input((4,))
    layers = [ScheduledStochasticDepth(rate, seed=1) for rate in linear_depth(0.5, 3)]
    for layer in layers:
        x = layer([x, keras.layers.Dense(4, "relu")(x)])
    model = keras.Model(inputs, x)
    model.compile("sgd", "mse", jit_compile=False)
    data = np.random.default_rng(0).normal(size=(70, 4))
    assert np.isfinite(model.fit(data, data, 32, verbose=0).history["loss"][0])
    assert [int(layer.step) for layer in layers] == [3, 3, 3]
