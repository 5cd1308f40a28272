"""ScheduledGaussianDropout: multiplicative noise with the moments of inverted dropout."""

import math

import numpy as np
import pytest
import tensorflow as tf

from kerasreg.layers import ScheduledGaussianDropout, gaussian_dropout
from kerasreg.random import key

DRAWS = 2**20
ONES = np.ones((1024, 1024), "float32")


@pytest.mark.parametrize("rate", [1 / 256, 0.1, 0.5, 0.9, 0.999999])
def test_the_noise_is_normal_with_mean_and_variance_of_inverted_dropout(rate):
    noise = np.array(ScheduledGaussianDropout(rate, seed=1)(ONES, training=True), "float64")
    rate = float(np.float32(rate))  # What the variable holds.
    variance = rate / (1 - rate)
    # Four standard errors of each moment of a normal sample.
    assert abs(noise.mean() - 1) < 4 * math.sqrt(variance / DRAWS)
    centred = (noise - 1) / math.sqrt(variance)
    assert abs((centred**2).mean() - 1) < 4 * math.sqrt(2 / DRAWS)
    assert abs((centred**3).mean()) < 4 * math.sqrt(15 / DRAWS)
    assert abs((centred**4).mean() - 3) < 4 * math.sqrt(96 / DRAWS)


def test_the_noise_has_the_quantiles_of_a_normal_distribution():
    noise = np.array(ScheduledGaussianDropout(0.5, seed=1)(ONES, training=True), "float64")
    for deviations in (-3, -2, -1, 0, 1, 2, 3):
        below = 0.5 * math.erfc(-deviations / math.sqrt(2))
        error = 4 * math.sqrt(below * (1 - below) / DRAWS)
        assert abs(np.mean(noise - 1 < deviations) - below) < error


def test_elements_have_noise_of_their_own():
    noise = np.array(ScheduledGaussianDropout(0.5, seed=1)(ONES, training=True), "float64") - 1
    for other in (np.roll(noise, 1, axis=0), np.roll(noise, 1, axis=1), noise.T):
        assert abs(np.mean(noise * other)) < 4 * math.sqrt(2 / DRAWS)


def test_at_rate_0_nothing_is_noisy():
    x = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
    np.testing.assert_array_equal(ScheduledGaussianDropout(0.0, seed=1)(x, training=True), x)


def test_the_noise_multiplies_and_is_the_gradient():
    x = tf.constant(np.random.default_rng(0).uniform(1, 2, size=(64, 32)).astype("float32"))
    layer = ScheduledGaussianDropout(0.3, seed=1)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=True)
    noise = ScheduledGaussianDropout(0.3, seed=1)(tf.ones_like(x), training=True)
    np.testing.assert_allclose(y, x * noise, rtol=1e-6)
    np.testing.assert_allclose(tape.gradient(y, x), noise, rtol=1e-6)


def test_an_assigned_rate_acts():
    layer = ScheduledGaussianDropout(0.0, seed=1)
    layer.rate.assign(0.5)
    assert np.array(layer(ONES, training=True)).std() == pytest.approx(1.0, rel=0.01)


def test_the_function_is_the_layer_without_state():
    x = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
    first, again, other = (np.array(gaussian_dropout(x, 0.5, key(k))) for k in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.all(first != other)
