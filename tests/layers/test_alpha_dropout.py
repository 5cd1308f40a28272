"""ScheduledAlphaDropout: what goes in with mean 0 and variance 1 comes out so."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasreg.layers import ScheduledAlphaDropout, alpha_dropout
from kerasreg.random import key

# SELU's limit at minus infinity, from the definition of Keras' own activation.
SATURATED = float(keras.activations.selu(np.float32(-100.0)))
RATES = [1 / 256, 0.1, 0.5, 0.9]
SHAPE = (1024, 1024)


def affine(rate):
    """`a` and `b` of the paper's equation."""
    a = ((1 - rate) * (1 + rate * SATURATED**2)) ** -0.5
    return a, -a * SATURATED * rate


def mask_of(rate, shape, **arguments):
    """Which elements the layer with seed 1 keeps at its first step."""
    zeros, ones = (
        np.array(ScheduledAlphaDropout(rate, seed=1, **arguments)(x, training=True))
        for x in (np.zeros(shape, "float32"), np.ones(shape, "float32"))
    )
    return zeros != ones


@pytest.mark.parametrize("rate", RATES)
def test_the_formula_of_the_paper(rate):
    x = np.random.default_rng(0).normal(size=(64, 32)).astype("float32")
    mask = mask_of(rate, x.shape)
    a, b = affine(rate)
    y = ScheduledAlphaDropout(rate, seed=1)(x, training=True)
    np.testing.assert_allclose(y, a * np.where(mask, x, SATURATED) + b, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("rate", RATES)
def test_keras_computes_the_same_from_the_same_mask(rate, monkeypatch):
    x = np.random.default_rng(0).normal(size=(64, 32)).astype("float32")
    # Keras keeps where its uniform number is at least the rate.
    uniform = mask_of(rate, x.shape).astype("float32")
    monkeypatch.setattr("keras.src.backend.random.uniform", lambda *_, **__: uniform)
    theirs = keras.layers.AlphaDropout(rate)(x, training=True)
    ours = ScheduledAlphaDropout(rate, seed=1)(x, training=True)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("rate", "tolerance"), [*((r, 1e-5) for r in RATES), (0.999999, 1e-3)])
def test_mean_0_and_variance_1_are_kept_in_expectation(rate, tolerance):
    zeros, ones = np.zeros((4096, 1024), "float32"), np.ones((4096, 1024), "float32")
    at_0, at_1 = (
        np.array(ScheduledAlphaDropout(rate, seed=1)(x, training=True), "float64")
        for x in (zeros, ones)
    )
    mask = at_0 != at_1
    assert mask.any()
    # The three numbers that describe the layer, as it computed them.
    dropped, b, a = at_0[~mask][0], at_0[mask][0], (at_1 - at_0)[mask][0]
    keep = 1 - float(np.float32(rate))
    mean = keep * b + (1 - keep) * dropped
    square = keep * (a**2 + b**2) + (1 - keep) * dropped**2  # Of x ~ N(0, 1).
    assert mean == pytest.approx(0, abs=tolerance)
    assert square == pytest.approx(1, abs=tolerance)


@pytest.mark.parametrize("rate", RATES)
def test_normal_inputs_keep_mean_and_variance(rate):
    x = np.random.default_rng(0).normal(size=SHAPE).astype("float32")
    y = np.array(ScheduledAlphaDropout(rate, seed=1)(x, training=True), "float64")
    # Four standard errors, the variance's from the fourth moment of this sample.
    assert abs(y.mean()) < 4 / math.sqrt(y.size)
    assert abs((y**2).mean() - 1) < 4 * (y**2).std() / math.sqrt(y.size)
    dropped = 1 - mask_of(rate, SHAPE).mean()
    assert abs(dropped - rate) < 4 * math.sqrt(rate * (1 - rate) / y.size)


def test_a_deep_selu_network_stays_normalised_under_dropout():
    x = np.random.default_rng(0).normal(size=(512, 512)).astype("float32")
    for depth in range(8):
        dense = keras.layers.Dense(
            512, "selu", kernel_initializer=keras.initializers.LecunNormal(depth)
        )
        x = ScheduledAlphaDropout(0.1, seed=depth)(dense(x), training=True)
    assert np.mean(x) == pytest.approx(0, abs=0.1)
    assert np.var(x) == pytest.approx(1, abs=0.2)


def test_at_rate_0_the_layer_is_the_identity():
    x = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
    np.testing.assert_array_equal(ScheduledAlphaDropout(0.0, seed=1)(x, training=True), x)


def test_the_gradient_is_a_where_an_element_is_kept_and_0_elsewhere():
    x = tf.constant(np.random.default_rng(0).normal(size=(64, 32)).astype("float32"))
    layer = ScheduledAlphaDropout(0.3, seed=1)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=True)
    expected = affine(0.3)[0] * mask_of(0.3, (64, 32))
    np.testing.assert_allclose(tape.gradient(y, x), expected, rtol=1e-5)


def test_a_dropped_element_is_saturated_whatever_it_was():
    mask = mask_of(0.5, (64, 32))
    x = np.full((64, 32), np.nan, "float32")
    y = np.array(ScheduledAlphaDropout(0.5, seed=1)(x, training=True))
    assert np.all(np.isfinite(y[~mask]))
    assert np.all(np.isnan(y[mask]))


def test_noise_shape_1_shares_the_mask_along_the_axis():
    mask = mask_of(0.5, (8, 5, 16), noise_shape=(None, 1, None))
    assert np.all(mask == mask[:, :1])
    assert np.any(mask != mask[:1])
    assert np.any(mask != mask[:, :, :1])


def test_a_noise_shape_of_another_rank_is_refused_when_the_rank_is_known():
    with pytest.raises(ValueError, match=r"`noise_shape` must have 2 entries"):
        alpha_dropout(np.ones((2, 3), "float32"), 0.5, key(1), (None,))
