"""Initializers of depth, of sines and of convolutions, and biases of outputs."""

import math

import keras
import numpy as np
import pytest
from keras import ops
from scipy import special, stats

from kerasreg.initializers import (
    DeltaOrthogonal,
    DepthScaled,
    Fixup,
    Siren,
    class_counts,
    output_bias,
    sine,
)


def draw(initializer, shape):
    return np.array(initializer(shape, dtype="float32"), "float64")


# Depth.


def test_depth_scaled_is_gpt2s_rule():
    values = draw(DepthScaled(depth=12, branches=3, seed=1), (300, 300))
    # Of a normal: the error of a standard deviation is σ/√(2n).
    assert values.std() == pytest.approx(0.02 / 6, rel=4 / math.sqrt(2 * values.size))
    assert stats.kstest(values.ravel() / (0.02 / 6), "norm").pvalue > 1e-3


@pytest.mark.parametrize("base", ["he_uniform", keras.initializers.Orthogonal(2.0, seed=8)])
def test_depth_scaled_divides_any_initializer(base):
    plain = keras.initializers.get(base)
    plain = type(plain).from_config({**plain.get_config(), "seed": 4})
    scaled = draw(DepthScaled(8, 2, initializer=base, seed=4), (20, 20))
    np.testing.assert_allclose(scaled, draw(plain, (20, 20)) / 4, rtol=1e-6)


def test_depth_scaled_leaves_an_initializer_its_own_seed():
    base = keras.initializers.HeNormal(seed=8)
    np.testing.assert_allclose(
        draw(DepthScaled(2, 2, initializer=base), (9, 9)), draw(base, (9, 9)) / 2, rtol=1e-6
    )


def test_the_sum_of_all_branches_has_the_variance_of_one():
    x = np.random.default_rng(0).normal(size=(512, 256))
    total = np.zeros_like(x)
    for seed in range(24):
        total += x @ draw(DepthScaled(12, 2, initializer="lecun_normal", seed=seed), (256, 256))
    assert total.var() == pytest.approx(1, rel=0.05)


@pytest.mark.parametrize(("depth", "m", "factor"), [(16, 2, 1 / 4), (16, 3, 1 / 2), (1, 2, 1)])
def test_fixup_is_hes_rule_times_a_power_of_the_depth(depth, m, factor):
    he = draw(keras.initializers.HeNormal(seed=3), (30, 40))
    np.testing.assert_allclose(draw(Fixup(depth, m, seed=3), (30, 40)), factor * he, rtol=1e-5)


def test_the_last_layer_of_a_fixup_branch_is_zero():
    assert not draw(Fixup(16, last=True), (3, 4)).any()
    assert Fixup(16, 1, last=True)((3,), dtype="float16").dtype == "float16"


def test_a_fixup_branch_of_one_layer_has_its_last_only():
    with pytest.raises(ValueError, match="`layers_in_branch` must be a whole number >= 2"):
        Fixup(16, 1)


# Sines.


def test_siren_has_the_bounds_of_the_paper():
    first = draw(Siren(first=True, seed=1), (5, 4000))
    assert 0.199 < abs(first).max() <= 0.2
    other = draw(Siren(frequency=10.0, seed=1), (3, 3, 6, 400))
    assert 0.99 < abs(other).max() / (math.sqrt(6 / 54) / 10) <= 1
    assert stats.kstest(other.ravel() / (math.sqrt(6 / 54) / 10), "uniform", (-1, 2)).pvalue > 1e-3


def test_what_the_sine_sees_is_standard_normal_in_every_layer():
    x = np.random.default_rng(0).uniform(-1, 1, size=(512, 3)).astype("float32")
    weights = draw(Siren(first=True, seed=0), (3, 512))
    hidden = np.array(sine(x @ weights))
    for seed in range(1, 6):
        weights = draw(Siren(seed=seed), (512, 512))
        seen = 30 * (hidden @ weights)
        assert seen.std() == pytest.approx(1, rel=0.15)
        hidden = np.array(sine(hidden @ weights))


def test_the_sine_is_saved_with_a_model(tmp_path):
    model = keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(3, sine, kernel_initializer=Siren(True, seed=1))]
    )
    model.save(tmp_path / "model.keras")
    x = np.ones((1, 2), "float32")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    kernel = np.array(model.layers[0].kernel)
    np.testing.assert_allclose(loaded.predict(x, verbose=0), np.sin(30 * x @ kernel), atol=1e-5)


# Convolutions.


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_a_delta_orthogonal_convolution_multiplies_every_norm_by_the_gain(rank, size):
    convolution = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)[rank - 1]
    layer = convolution(
        7, size, padding="same", use_bias=False, kernel_initializer=DeltaOrthogonal(1.5, seed=1)
    )
    x = np.random.default_rng(0).normal(size=(4, *[6] * rank, 5)).astype("float32")
    y = np.array(layer(x))
    axes = tuple(range(1, rank + 2))
    ratio = np.sqrt((y**2).sum(axes) / (x**2).sum(axes))
    np.testing.assert_allclose(ratio, 1.5, rtol=1e-5)


def test_a_delta_orthogonal_kernel_is_zero_but_in_its_centre():
    kernel = draw(DeltaOrthogonal(seed=1), (3, 5, 2, 2))
    assert kernel[1, 2].all()
    kernel[1, 2] = 0
    assert not kernel.any()


@pytest.mark.parametrize("shape", [(3, 4), (3, 3, 3, 3, 2, 2), (3, 3, 5, 4), (4,)])
def test_shapes_that_cannot_keep_norms_are_refused(shape):
    with pytest.raises(ValueError, match=r"`shape` must be .*Received: shape="):
        DeltaOrthogonal()(shape)


# Seeds.


@pytest.mark.parametrize(
    "make",
    [
        lambda seed: DepthScaled(2, seed=seed),
        lambda seed: Fixup(2, seed=seed),
        lambda seed: Siren(seed=seed),
        lambda seed: DeltaOrthogonal(seed=seed),
    ],
)
def test_seeds_are_keras_own(make):
    shape = (1, 9, 9)
    one, same, other = (draw(make(seed), shape) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert np.any(one != other)
    assert np.any(draw(make(None), shape) != draw(make(None), shape))
    # A generator goes on.
    generator = make(keras.random.SeedGenerator(1))
    assert np.any(draw(generator, shape) != draw(generator, shape))
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(generator))
    assert isinstance(again, type(generator))


# Biases of outputs.


def test_an_untrained_softmax_returns_the_class_frequencies():
    counts = np.array([700, 250, 50])
    bias = output_bias(counts)
    assert bias.sum() == pytest.approx(0, abs=1e-12)
    np.testing.assert_allclose(special.softmax(bias), counts / 1000, rtol=1e-12)
    np.testing.assert_array_equal(output_bias(counts, None), bias)


@pytest.mark.parametrize("counts", [[30, 10], [[30, 10], [5, 35]]])
def test_an_untrained_sigmoid_returns_the_frequencies_of_the_positive(counts):
    bias = output_bias(counts, "sigmoid")
    positive = np.atleast_2d(counts)[:, 1] / 40
    np.testing.assert_allclose(special.expit(bias), positive, rtol=1e-12)


def test_a_model_with_the_bias_begins_at_the_frequencies():
    labels = np.random.default_rng(0).choice(3, size=500, p=[0.8, 0.15, 0.05])
    layer = keras.layers.Dense(
        3,
        "softmax",
        kernel_initializer="zeros",
        bias_initializer=lambda shape, dtype: ops.cast(output_bias(class_counts(labels)), dtype),
    )
    predicted = np.array(layer(np.ones((1, 4), "float32")))[0]
    np.testing.assert_allclose(predicted, np.bincount(labels) / 500, rtol=1e-5)


def test_smoothing_adds_examples_to_every_class():
    np.testing.assert_allclose(special.softmax(output_bias([3, 0], smoothing=1)), [0.8, 0.2])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"counts": [3, 0]}, "`counts` must be > 0 where smoothing=0"),
        ({"counts": [3, -1]}, "`counts` must be finite numbers >= 0"),
        ({"counts": [3, math.nan]}, "`counts` must be finite numbers >= 0"),
        ({"counts": [3]}, r"`counts` must have the shape \(classes,\).*shape \(1,\)"),
        ({"counts": [[3, 1]]}, "`counts` must have the shape"),
        ({"counts": "many"}, "`counts` must be an array of numbers"),
        ({"counts": [1, 2, 3], "activation": "sigmoid"}, r"the shape \(2,\) or \(labels, 2\)"),
        ({"counts": [1, 2], "activation": "relu"}, "`activation` must be one of 'softmax'"),
        ({"counts": [1, 2], "smoothing": -1}, "`smoothing` must be a finite number >= 0"),
    ],
)
def test_counts_that_have_no_bias_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        output_bias(**arguments)


def test_class_counts_counts():
    labels = np.array([[0, 2], [2, 2]], "uint8")
    np.testing.assert_array_equal(class_counts(labels, classes=5), [1, 0, 3, 0, 0])


@pytest.mark.parametrize(
    ("labels", "classes", "message"),
    [
        ([0.0, 1.0], None, "`labels` must be whole numbers"),
        ([], None, "`labels` must be whole numbers"),
        ([True], None, "`labels` must be whole numbers"),
        ([-1, 2], None, "`labels` must be from 0 to 2. Received: labels from -1 to 2"),
        ([0, 3], 3, "`labels` must be from 0 to 2. Received: labels from 0 to 3"),
        ([0], 0, "`classes` must be a whole number >= 1"),
    ],
)
def test_labels_that_are_no_classes_are_refused(labels, classes, message):
    with pytest.raises(ValueError, match=message):
        class_counts(labels, classes)
