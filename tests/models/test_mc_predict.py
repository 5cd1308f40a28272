"""mc_predict: the moments of a network with dropout on, and nothing of it changed."""

import copy
import math
import warnings

import keras
import numpy as np
import pytest
from keras import layers
from scipy import stats

from kerasreg.layers import (
    ConcreteDropout,
    DropConnect,
    ScheduledDropBlock2D,
    ScheduledDropout,
    ScheduledGaussianDropout,
    ScheduledSpatialDropout2D,
    ScheduledStochasticDepth,
)
from kerasreg.models import mc_predict

SAMPLES = 4000
WEIGHTS = np.array([[1.0], [-2.0], [0.5], [3.0]], "float32")
X = np.random.default_rng(0).normal(size=(7, 4)).astype("float32")


def linear(dropout, weights=WEIGHTS):
    """`Σ w x m / (1 - p)`: a model whose moments have a closed form."""
    dense = layers.Dense(weights.shape[1], use_bias=False)
    model = keras.Sequential([keras.Input((len(weights),)), dropout, dense])
    dense.set_weights([weights])
    return model


def assert_moments(prediction, mean, variance, fourth):
    """Mean and variance within four standard errors; `fourth` is the fourth central moment."""
    error = 4 * np.sqrt(variance / SAMPLES)
    np.testing.assert_array_less(np.abs(prediction.mean - mean), error + 1e-6)
    error = 4 * np.sqrt(np.maximum(fourth - variance**2, 0) / SAMPLES)
    # It is around the mean over samples, which is off by up to four standard errors itself.
    error += 4**2 * variance / SAMPLES
    np.testing.assert_array_less(np.abs(prediction.variance - variance), error + 1e-6)


def closed_form(parts, factor, kurtosis):
    """Moments of a sum of independent `parts`, each times noise of variance `factor`."""
    variances = parts**2 * factor
    variance = variances.sum(axis=1)
    # The fourth cumulant of a sum is the sum of the fourth cumulants.
    fourth = 3 * variance**2 + ((kurtosis - 3) * variances**2).sum(axis=1)
    return parts.sum(axis=1)[:, None], variance[:, None], fourth[:, None]


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_mean_and_variance_of_a_linear_model_are_the_closed_form(rate):
    kurtosis = (1 - 3 * rate * (1 - rate)) / (rate * (1 - rate))  # Of a Bernoulli variable.
    expected = closed_form(X * WEIGHTS.T, rate / (1 - rate), kurtosis)
    prediction = mc_predict(linear(ScheduledDropout(rate, seed=1)), X, passes=SAMPLES)
    assert_moments(prediction, *expected)


def test_gaussian_noise_has_its_closed_form_too():
    model = linear(ScheduledGaussianDropout(0.5, seed=1))
    assert_moments(mc_predict(model, X, passes=SAMPLES), *closed_form(X * WEIGHTS.T, 1.0, 3.0))


def test_of_drop_connect_the_weights_vary():
    inputs = keras.Input((4,))
    wrapper = DropConnect(layers.Dense(1), 0.5, seed=1)
    model = keras.Model(inputs, wrapper(inputs))
    wrapper.layer.set_weights([WEIGHTS, np.array([5.0], "float32")])
    mean, variance, fourth = closed_form(X * WEIGHTS.T, 1.0, 1.0)
    assert_moments(mc_predict(model, X, passes=SAMPLES), mean + 5, variance, fourth)


def test_of_stochastic_depth_the_whole_branch_comes_and_goes():
    inputs = keras.Input((4,))
    branch = layers.Dense(4, use_bias=False)
    model = keras.Model(inputs, ScheduledStochasticDepth(0.5, seed=1)([inputs, branch(inputs)]))
    left_out = X @ np.array(branch.kernel)
    # One decision for all features: ±1 times the branch, so no kurtosis is left.
    prediction = mc_predict(model, X, passes=SAMPLES)
    assert_moments(prediction, X + left_out, left_out**2, left_out**4)


def test_of_concrete_dropout_the_rate_is_the_learned_one():
    wrapper = ConcreteDropout(layers.Dense(1), initial_rate=0.5, temperature=0.01, seed=1)
    model = keras.Sequential([keras.Input((4,)), wrapper])
    wrapper.layer.set_weights([WEIGHTS, np.zeros(1)])
    prediction = mc_predict(model, X, passes=SAMPLES)
    mean, variance, _ = closed_form(X * WEIGHTS.T, 1.0, 1.0)
    # Almost a Bernoulli mask: the temperature is the least.
    assert np.all(np.abs(prediction.mean - mean) < 4 * np.sqrt(variance / SAMPLES) + 0.05)
    np.testing.assert_allclose(prediction.variance, variance, rtol=0.15)


@pytest.mark.parametrize(
    "make",
    [
        lambda: ScheduledSpatialDropout2D(0.5, seed=1),
        lambda: ScheduledDropBlock2D(0.5, block_size=2, seed=1),
    ],
)
def test_of_a_convolutional_network(make):
    inputs = keras.Input((4, 4, 3))
    x = layers.Conv2D(4, 3, padding="same", use_bias=False)(inputs)
    x = layers.Flatten()(make()(x))
    model = keras.Model(inputs, layers.Dense(2, use_bias=False)(x))
    images = np.random.default_rng(0).normal(size=(5, 4, 4, 3)).astype("float32")
    prediction = mc_predict(model, images, passes=500, batch_size=2)
    # Linear behind the noise: the mean over masks is the prediction without noise.
    error = 4.5 * np.sqrt(prediction.variance / 500)
    assert np.all(error > 0)
    difference = np.abs(prediction.mean - model.predict(images, verbose=0))
    np.testing.assert_array_less(difference, error)


# Which masks.


def counter(features=16, rate=0.5):
    """Of ones: which elements were kept, as bits of one number (over 2 to the features)."""
    weights = 2.0 ** -np.arange(1, features + 1)[:, None]
    return linear(ScheduledDropout(rate, seed=1), weights.astype("float32"))


def test_one_sample_is_one_mask_and_has_no_variance():
    prediction = mc_predict(counter(), np.ones((50, 16)), passes=1)
    np.testing.assert_array_equal(prediction.variance, np.zeros((50, 1)))


def test_equal_seeds_give_equal_predictions_and_others_others():
    model = counter()
    first, again, other = (mc_predict(model, np.ones((5, 16)), passes=8, seed=s) for s in (0, 0, 1))
    np.testing.assert_array_equal(first.mean, again.mean)
    np.testing.assert_array_equal(first.variance, again.variance)
    assert np.all(first.mean != other.mean)


def test_samples_have_masks_of_their_own():
    # The variance of the mean over n samples that are one mask would not fall.
    prediction = mc_predict(counter(), np.ones((2000, 16)), passes=100)
    one = mc_predict(counter(), np.ones((2000, 16)), passes=1)
    assert prediction.mean.var() == pytest.approx(one.mean.var() / 100, rel=0.2)


def test_more_samples_begin_with_the_same_masks():
    two, three = (mc_predict(counter(), np.ones((5, 16)), passes=n).mean for n in (2, 3))
    third = 3 * three - 2 * two
    assert np.all((third > -1e-6) & (third < 2.0))  # What one mask can give.
    assert np.all(third != two)


@pytest.mark.parametrize("batch_size", [1, 3, 7, 100])
def test_the_size_of_a_batch_does_not_change_the_distribution(batch_size):
    model = linear(ScheduledDropout(0.5, seed=1))
    prediction = mc_predict(model, X, passes=SAMPLES, batch_size=batch_size)
    assert_moments(prediction, *closed_form(X * WEIGHTS.T, 1.0, 1.0))


@pytest.mark.parametrize("batch_size", [1, 5, 32, 64])
def test_neither_examples_of_a_batch_nor_batches_share_masks(batch_size):
    prediction = mc_predict(counter(), np.ones((64, 16)), passes=1, batch_size=batch_size)
    assert len(np.unique(prediction.mean)) > 60  # 16 bits collide seldom.


def test_a_layer_that_is_used_twice_draws_two_masks():
    layer = ScheduledDropout(0.5, seed=1)
    inputs = keras.Input((1,))
    model = keras.Model(inputs, layers.Subtract()([layer(inputs), layer(inputs)]))
    prediction = mc_predict(model, np.ones((1, 1)), passes=SAMPLES)
    # Of two independent masks: 0 half of the time, else ±2. Of one mask: always 0.
    assert prediction.variance[0, 0] == pytest.approx(2.0, abs=4 * math.sqrt(4 / SAMPLES))


def test_layers_with_equal_seeds_draw_equal_masks_and_with_others_others():
    def variance(*seeds):
        inputs = keras.Input((1,))
        outputs = [ScheduledDropout(0.5, seed=seed)(inputs) for seed in seeds]
        model = keras.Model(inputs, layers.Subtract()(outputs))
        return mc_predict(model, np.ones((1, 1)), passes=1000).variance[0, 0]

    assert variance(1, 1) == 0
    assert variance(1, 2) == pytest.approx(2.0, abs=4 * math.sqrt(4 / 1000))


# The model stays as it is.


def busy_model():
    inputs = keras.Input((4,))
    x = layers.BatchNormalization()(DropConnect(layers.Dense(8, "relu"), 0.3, seed=2)(inputs))
    ramp = keras.optimizers.schedules.PolynomialDecay(0.0, 20, 0.5)
    x = ConcreteDropout(layers.Dense(8), seed=4)(ScheduledDropout(ramp, seed=3)(x))
    model = keras.Model(inputs, layers.Dense(3)(x))
    model.compile("sgd", "mse", jit_compile=False)
    return model


def test_no_variable_changes_and_the_training_goes_on_as_it_would_have():
    y = np.ones((7, 3))
    model = busy_model()
    model.fit(X, y, 4, verbose=0)
    other = busy_model()
    keras.utils.set_random_seed(0)
    other.set_weights(model.get_weights())
    for theirs, mine in zip(other.variables, model.variables, strict=True):
        theirs.assign(mine)
    before = [np.array(variable) for variable in model.variables]
    mc_predict(model, X, passes=5)
    for value, variable in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(value, variable)
    for one in (model, other):
        one.optimizer.learning_rate = 0.1
        one.fit(X, y, 4, 2, shuffle=False, verbose=0)
    for mine, theirs in zip(model.variables, other.variables, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_in_the_middle_of_a_training_the_rate_is_that_of_the_last_step():
    layer = ScheduledDropout(
        keras.optimizers.schedules.PiecewiseConstantDecay([0], [0.0, 0.5]), seed=1
    )
    model = linear(layer)
    model(X, training=True)
    assert np.all(mc_predict(model, X, passes=100).variance == 0)
    model(X, training=True)
    assert np.all(mc_predict(model, X, passes=100).variance > 0)
    assert int(layer.step) == 2


def test_a_mask_of_training_is_not_one_of_the_samples():
    model = counter()
    trained = {float(model(np.ones((1, 16)), training=True)[0, 0]) for _ in range(8)}
    samples = {
        float(mc_predict(model, np.ones((1, 16)), passes=1, seed=s).mean[0, 0]) for s in range(8)
    }
    assert not trained & samples


def test_batch_normalization_is_in_inference_mode():
    normalise = layers.BatchNormalization()
    model = keras.Sequential([keras.Input((4,)), ScheduledDropout(0.0, seed=1), normalise])
    normalise.set_weights([np.ones(4), np.zeros(4), np.full(4, 3.0), np.full(4, 4.0)])
    prediction = mc_predict(model, X, passes=3)
    np.testing.assert_allclose(prediction.mean, (X - 3) / np.sqrt(4 + 1e-3), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(normalise.moving_mean, np.full(4, 3.0))


def test_a_model_predicts_as_before_afterwards():
    model = linear(ScheduledDropout(0.5, seed=1))
    before = model.predict(X, verbose=0)
    mc_predict(model, X, passes=3)
    np.testing.assert_array_equal(model.predict(X, verbose=0), before)
    np.testing.assert_array_equal(model(X), before)


def test_a_failed_prediction_leaves_no_noise_behind():
    class Fails(layers.Layer):
        def call(self, inputs):
            raise RuntimeError("on purpose")

        def compute_output_shape(self, input_shape):
            return input_shape

    dropout = ScheduledDropout(0.5, seed=1)
    model = keras.Sequential([keras.Input((4,)), dropout, Fails()])
    with pytest.raises(RuntimeError, match="on purpose"):
        mc_predict(model, X)
    np.testing.assert_array_equal(dropout(X), X)


# Entropy.


def classifier(units, activation, rate=0.3):
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((4,)),
            ScheduledDropout(rate, seed=1),
            layers.Dense(units, activation, kernel_initializer="he_normal"),
        ]
    )


def test_the_entropy_is_that_of_the_mean_distribution():
    prediction = mc_predict(classifier(5, "softmax"), X, passes=50)
    assert prediction.entropy.shape == (7,)
    np.testing.assert_allclose(
        prediction.entropy, stats.entropy(prediction.mean, axis=-1), rtol=1e-5
    )
    # The mean of distributions is less certain than they are (Jensen).
    certain = mc_predict(classifier(5, "softmax", rate=0.0), X, passes=1)
    assert prediction.entropy.mean() > certain.entropy.mean()


def test_the_entropy_of_one_probability_is_that_of_yes_and_no():
    prediction = mc_predict(classifier(1, "sigmoid"), X, passes=50)
    p = prediction.mean[:, 0]
    np.testing.assert_allclose(prediction.entropy, stats.entropy([p, 1 - p]), rtol=1e-6)


def test_the_entropy_of_segmentations_is_that_of_each_pixel():
    inputs = keras.Input((3, 3, 2))
    x = ScheduledDropout(0.5, seed=1)(inputs)
    model = keras.Model(inputs, layers.Conv2D(4, 1, activation="softmax")(x))
    prediction = mc_predict(model, np.ones((2, 3, 3, 2)), passes=10)
    assert prediction.entropy.shape == (2, 3, 3)
    np.testing.assert_allclose(
        prediction.entropy, stats.entropy(prediction.mean, axis=-1), rtol=1e-5
    )


def test_certainty_has_entropy_0():
    model = linear(ScheduledDropout(0.0, seed=1), np.eye(4, dtype="float32"))
    prediction = mc_predict(model, np.eye(4), passes=2)
    np.testing.assert_array_equal(prediction.entropy, np.zeros(4))


@pytest.mark.parametrize(("units", "activation"), [(3, "linear"), (3, "sigmoid"), (1, "linear")])
def test_outputs_that_are_no_probabilities_have_no_entropy(units, activation):
    assert mc_predict(classifier(units, activation), X, passes=3).entropy is None


def test_what_outputs_are_can_be_told():
    softmax, sigmoid = classifier(3, "softmax"), classifier(1, "sigmoid")
    assert mc_predict(softmax, X, passes=3, outputs="numbers").entropy is None
    assert mc_predict(sigmoid, X, passes=3, outputs="numbers").entropy is None
    told, found = (
        mc_predict(softmax, X, passes=3, outputs=kind) for kind in ("probabilities", "auto")
    )
    np.testing.assert_array_equal(told.entropy, found.entropy)


# Inputs and outputs.


def test_inputs_and_outputs_may_be_dictionaries():
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    x = ScheduledDropout(0.5, seed=1)(layers.Add()([a, b]))
    outputs = {"p": layers.Softmax()(x), "y": layers.Dense(1)(x)}
    model = keras.Model({"a": a, "b": b}, outputs)
    prediction = mc_predict(model, {"a": X, "b": 2 * X}, passes=5, batch_size=3)
    assert {name: part.shape for name, part in prediction.mean.items()} == {
        "p": (7, 4),
        "y": (7, 1),
    }
    assert set(prediction.variance) == {"p", "y"}
    assert prediction.entropy["p"].shape == (7,)
    assert prediction.entropy["y"] is None


def test_inputs_and_outputs_may_be_lists():
    a, b = keras.Input((4,)), keras.Input((2,))
    drop = ScheduledDropout(0.0, seed=1)
    model = keras.Model([a, b], [drop(a), drop(b)])
    prediction = mc_predict(model, [X, X[:, :2] * 2], passes=5)
    np.testing.assert_allclose(prediction.mean[0], X, rtol=1e-6)
    np.testing.assert_allclose(prediction.mean[1], X[:, :2] * 2, rtol=1e-6)


def test_a_subclassed_model_with_noise_inside_its_layers():
    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.block = keras.Sequential([layers.Dense(4), ScheduledDropout(0.5, seed=1)])

        def call(self, inputs):
            return self.block(inputs)

    model = Model()
    expected = model(X)
    prediction = mc_predict(model, X, passes=SAMPLES)
    error = 4.5 * np.sqrt(prediction.variance / SAMPLES)
    np.testing.assert_array_less(np.abs(prediction.mean - expected), error)


def test_results_are_float64_whatever_the_precision():
    keras.config.set_dtype_policy("mixed_float16")
    prediction = mc_predict(classifier(3, "softmax"), X, passes=3)
    for part in (prediction.mean, prediction.variance, prediction.entropy):
        assert part.dtype == "float64"


# What it refuses, and what it warns of.


def test_a_model_without_noise_of_kerasreg_is_refused():
    model = keras.Sequential([keras.Input((4,)), layers.Dropout(0.5), layers.Dense(1)])
    with pytest.raises(ValueError, match=r"`model` must hold a layer of dropout.*'Dense'"):
        mc_predict(model, X)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        *(("passes", value) for value in (0, -1, 1.5, "3", None, True)),
        *(("batch_size", value) for value in (0, -1, 1.5, "3", None, True)),
        *(("seed", value) for value in (-1, 1.5, "3", None, True)),
        *(("outputs", value) for value in ("entropy", None, 1)),
    ],
)
def test_bad_arguments_are_refused(argument, value):
    with pytest.raises(ValueError, match=rf"`{argument}` must be .*Received: {argument}="):
        mc_predict(linear(ScheduledDropout(0.5)), X, **{argument: value})


@pytest.mark.parametrize("x", [X[:0], [X, X[:3]]], ids=["none", "different numbers"])
def test_inputs_without_one_number_of_examples_are_refused(x):
    with pytest.raises(ValueError, match=r"`x` must be arrays with one number of samples"):
        mc_predict(linear(ScheduledDropout(0.5)), x)


def test_the_silent_dropout_of_keras_is_warned_of():
    model = keras.Sequential(
        [keras.Input((4,)), layers.Dropout(0.5, name="quiet"), ScheduledDropout(0.0, seed=1)]
    )
    with pytest.warns(UserWarning, match=r"Keras' own layers \['quiet'\] without noise"):
        prediction = mc_predict(model, X, passes=3)
    np.testing.assert_array_equal(prediction.variance, np.zeros_like(X))


def test_without_it_there_is_no_warning():
    model = linear(ScheduledDropout(0.5, seed=1))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        mc_predict(model, X, passes=2)


def test_a_copy_of_a_model_predicts_alike():
    model = linear(ScheduledDropout(0.5, seed=1))
    first, second = (mc_predict(one, X, passes=3) for one in (model, copy.deepcopy(model)))
    np.testing.assert_array_equal(first.mean, second.mean)
