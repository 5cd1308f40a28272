"""Wrappers do what TensorFlow Addons' optimizers did, step by step, from stored trajectories."""

import json
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasreg.optimizers import (
    DecoupledWeightDecay,
    LayerLearningRates,
    Lookahead,
    WeightAveraging,
)

STEPS = 50


@pytest.fixture(scope="module")
def addons():
    with np.load(pathlib.Path(__file__).parents[1] / "references/tensorflow_addons.npz") as stored:
        return dict(stored)


@pytest.fixture(autouse=True)
def float64():
    before = keras.config.floatx()
    keras.config.set_floatx("float64")
    yield
    keras.config.set_floatx(before)


def layers_of(prefix, addons):
    """Kernels and biases, in order."""
    if not prefix:
        return [("dense0/kernel", addons["kernel"]), ("dense0/bias", addons["bias"])]
    names = [f"dense{layer}/{kind}" for layer in range(2) for kind in ("kernel", "bias")]
    return [(name, addons[f"deep_{name.replace('/', '_')}"]) for name in names]


def trajectory(optimizer, addons, prefix="", dtype="float64"):
    """All weights after each step, shape (steps, weights), and the variables."""
    x, y = (tf.constant(addons[prefix + name], dtype) for name in "xy")
    variables = []
    for path, value in layers_of(prefix, addons):
        layer, name = path.split("/")
        with keras.name_scope(layer):
            variables.append(keras.Variable(value.astype(dtype), dtype=dtype, name=name))
    optimizer.build(variables)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            out = x
            for kernel, bias in zip(variables[::2], variables[1::2], strict=True):
                out = out @ kernel.value + bias.value
            loss = tf.reduce_mean(tf.square(out - y))
        gradients = tape.gradient(loss, [variable.value for variable in variables])
        optimizer.apply(gradients, variables)

    found = []
    for _ in range(STEPS):
        step()
        found.append(np.concatenate([np.array(variable).ravel() for variable in variables]))
    return np.array(found), variables


SGD, Adam = keras.optimizers.SGD, keras.optimizers.Adam


def test_lookahead_around_sgd(addons):
    optimizer = Lookahead(SGD(0.125, momentum=0.9), sync_period=5, slow_step_size=0.5)
    found, _ = trajectory(optimizer, addons)
    np.testing.assert_allclose(found, addons["lookahead_sgd"], rtol=1e-9)


def test_lookahead_around_adam(addons):
    optimizer = Lookahead(
        Adam(0.0625, beta_1=0.875, beta_2=0.984375), sync_period=6, slow_step_size=0.3
    )
    found, _ = trajectory(optimizer, addons)
    np.testing.assert_allclose(found, addons["lookahead_adam"], rtol=1e-6, atol=1e-7)


def test_averages_begin_one_step_after_the_step_that_addons_names(addons):
    # Its count of steps is the one before the step.
    optimizer = WeightAveraging(SGD(0.125), start_step=10 + 1, period=4)
    found, variables = trajectory(optimizer, addons, dtype="float32")
    np.testing.assert_allclose(found, addons["swa"], rtol=1e-5, atol=1e-6)
    optimizer.finalize_variable_values(variables)
    final = np.concatenate([np.array(variable).ravel() for variable in variables])
    np.testing.assert_allclose(final, addons["swa_final"], rtol=1e-5, atol=1e-6)
    # And it is the mean of the weights after those steps.
    np.testing.assert_allclose(final, found[10::4].mean(0), rtol=1e-5, atol=1e-6)


DECAYS = {
    "sgdw": (lambda: SGD(0.125, momentum=0.9), []),
    "sgdw_without_bias": (lambda: SGD(0.125, momentum=0.9), ["bias"]),
    "adamw": (lambda: Adam(0.0625, beta_1=0.875, beta_2=0.984375), []),
    "rmspropw": (lambda: keras.optimizers.RMSprop(0.0078125, rho=0.875, epsilon=1e-14), []),
}


@pytest.mark.parametrize("name", DECAYS)
def test_decay_that_does_not_follow_the_learning_rate(name, addons):
    make, exclude = DECAYS[name]
    optimizer = DecoupledWeightDecay(make(), 1e-2, exclude=exclude, scaled_by_learning_rate=False)
    found, _ = trajectory(optimizer, addons)
    # Later RMSprop swings about the minimum, and makes more of each rounding.
    steps = 30 if name == "rmspropw" else STEPS
    np.testing.assert_allclose(found[:steps], addons[name][:steps], rtol=1e-6, atol=2e-7)
    without, _ = trajectory(make(), addons)
    assert np.max(np.abs(found - without)) > 1e-2


def test_learning_rates_of_layers_are_those_of_several_optimizers(addons):
    optimizer = LayerLearningRates(SGD(0.0625), {"dense0": 0.125})
    found, _ = trajectory(optimizer, addons, prefix="deep_")
    np.testing.assert_allclose(found, addons["multi_sgd"], rtol=1e-7, atol=1e-9)


def test_the_references_say_what_made_them(addons):
    versions = json.loads(str(addons["arguments"]))["versions"]
    assert versions["tensorflow_addons"] == "0.23.0"
