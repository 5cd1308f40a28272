"""Every noisy layer does what users of Keras expect of a layer, wherever Keras can put one."""

import json
import math
import os
import pathlib
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.modes import MODES, in_mode
from keras import layers, ops
from keras.optimizers.schedules import PiecewiseConstantDecay, PolynomialDecay

from kerasreg.layers import (
    ConcreteDropout,
    DropConnect,
    ScheduledAlphaDropout,
    ScheduledDropBlock2D,
    ScheduledDropout,
    ScheduledGaussianDropout,
    ScheduledSpatialDropout1D,
    ScheduledSpatialDropout2D,
    ScheduledSpatialDropout3D,
    ScheduledStochasticDepth,
)
from kerasreg.models import mc_predict


def identity(units=8):
    return layers.Dense(units, kernel_initializer="identity")


# Each class, and the axes of its input between the examples and the channels.
LAYERS = {
    "ScheduledDropout": (lambda **k: ScheduledDropout(0.5, seed=1, **k), (6,)),
    "ScheduledGaussianDropout": (lambda **k: ScheduledGaussianDropout(0.5, seed=1, **k), (6,)),
    "ScheduledAlphaDropout": (lambda **k: ScheduledAlphaDropout(0.5, seed=1, **k), (6,)),
    "ScheduledStochasticDepth": (lambda **k: ScheduledStochasticDepth(0.5, seed=1, **k), (6,)),
    "ScheduledSpatialDropout1D": (lambda **k: ScheduledSpatialDropout1D(0.5, seed=1, **k), (6,)),
    "ScheduledSpatialDropout2D": (
        lambda **k: ScheduledSpatialDropout2D(0.5, seed=1, **k),
        (6, 4),
    ),
    "ScheduledSpatialDropout3D": (
        lambda **k: ScheduledSpatialDropout3D(0.5, seed=1, **k),
        (6, 2, 2),
    ),
    "ScheduledDropBlock2D": (
        lambda **k: ScheduledDropBlock2D(0.5, block_size=2, seed=1, **k),
        (6, 4),
    ),
    "DropConnect": (lambda **k: DropConnect(identity(), 0.5, seed=1, **k), (6,)),
    "ConcreteDropout": (
        lambda **k: ConcreteDropout(identity(), initial_rate=0.5, seed=1, **k),
        (6,),
    ),
}
SEQUENCES = [name for name, (_, axes) in LAYERS.items() if len(axes) == 1]
every_layer = pytest.mark.parametrize("name", LAYERS)
every_layer_of_sequences = pytest.mark.parametrize("name", SEQUENCES)
every_mode = pytest.mark.parametrize("mode", MODES)


def make(name, **arguments):
    return LAYERS[name][0](**arguments)


def example_input(name, examples=64):
    # Ones, with which a DropConnect of an identity shows its mask too.
    return np.ones((examples, *LAYERS[name][1], 8), "float32")


def assert_differ(one, other):
    """Two outputs of ones, drawn independently."""
    assert one.shape == other.shape
    assert not np.allclose(one, other)
    # Of few values, such as 0 and 2, some agree by chance.
    assert np.mean(np.isclose(one, other)) < 0.9


# Training or not.


@every_layer
@pytest.mark.parametrize("surrounding", [True, False, None])
@pytest.mark.parametrize("own", [True, False, None])
def test_noise_is_there_if_the_argument_or_else_the_surrounding_call_says_so(
    name, surrounding, own
):
    class Parent(layers.Layer):
        def __init__(self):
            super().__init__()
            self.inner = make(name)

        def call(self, inputs):
            return self.inner(inputs) if own is None else self.inner(inputs, training=own)

    x = example_input(name)
    parent = Parent()
    y = np.array(parent(x, training=surrounding))
    noisy = bool(surrounding if own is None else own)
    assert np.allclose(y, x) == (not noisy)
    assert int(parent.inner.step) == noisy


def built_as(kind, layer, shape):
    """A model of one layer, as users write models."""
    inputs = keras.Input(shape)
    if kind == "Sequential":
        return keras.Sequential([inputs, layer])
    if kind == "functional":
        return keras.Model(inputs, layer(inputs))
    if kind == "nested":
        inner = keras.Sequential([keras.Input(shape), layer])
        return keras.Model(inputs, keras.Sequential([inner])(inputs))

    class Subclassed(keras.Model):
        def __init__(self):
            super().__init__()
            self.inner = layer

        def call(self, inputs):
            return self.inner(inputs)

    return Subclassed()


@every_layer
def test_models_of_all_kinds_draw_the_noise_of_the_layer_alone(name):
    x = example_input(name)
    alone = make(name)
    expected = [np.array(alone(x, training=True)) for _ in range(2)]
    for kind in ("Sequential", "functional", "nested", "subclassed"):
        layer = make(name)
        model = built_as(kind, layer, x.shape[1:])
        for y in expected:
            np.testing.assert_array_equal(model(x, training=True), y, err_msg=kind)
        np.testing.assert_allclose(model(x), x, rtol=1e-6)
        assert int(layer.step) == 2


# Masks of Keras.


@every_layer_of_sequences
@pytest.mark.parametrize("training", [True, False])
def test_keras_masks_pass_through(name, training):
    inputs = keras.Input((None,), dtype="int32")
    x = make(name)(layers.Embedding(9, 8, mask_zero=True)(inputs))
    # With biases: inputs may be all zeros, where a branch is left out.
    lstm = layers.LSTM(4, bias_initializer="ones", return_sequences=True)
    model = keras.Model(inputs, lstm(x))
    y = np.array(model(np.array([[5, 3, 0, 0], [1, 2, 3, 0]]), training=training))
    # An LSTM repeats its output where the mask says so, and only there.
    repeats = np.all(y[:, 1:] == y[:, :-1], axis=-1)
    np.testing.assert_array_equal(repeats, [[False, True, True], [False, False, True]])


@pytest.mark.parametrize("wrap", [DropConnect, ConcreteDropout])
@pytest.mark.parametrize("training", [True, False])
def test_the_layer_in_a_wrapper_gets_the_mask(wrap, training):
    inputs = keras.Input((None,), dtype="int32")
    x = layers.Embedding(9, 8, mask_zero=True)(inputs)
    rate = {"rate": 0.5} if wrap is DropConnect else {}
    lstm = wrap(layers.LSTM(4, return_sequences=True), seed=1, **rate)
    y = np.array(keras.Model(inputs, lstm(x))(np.array([[5, 3, 0, 0]]), training=training))
    np.testing.assert_array_equal(y[0, 2:], y[0, [1, 1]])
    assert np.all(y[0, 1] != y[0, 0])


@pytest.mark.filterwarnings("ignore:.*does not support masking")
@pytest.mark.parametrize("wrap", [DropConnect, ConcreteDropout])
def test_a_mask_ends_at_a_layer_in_a_wrapper_as_it_ends_at_the_layer(wrap):
    inputs = keras.Input((4,), dtype="int32")
    x = layers.Embedding(9, 8, mask_zero=True)(inputs)
    convolution = layers.Conv1D(4, 1)
    assert not convolution.supports_masking
    rate = {"rate": 0.0} if wrap is DropConnect else {}
    with pytest.warns(UserWarning, match="does not support masking"):
        x = wrap(convolution, seed=1, **rate)(x)
    model = keras.Model(inputs, layers.LSTM(4, return_sequences=True)(x))
    y = np.array(model(np.array([[5, 3, 0, 0]])))
    assert np.all(y[:, 1:] != y[:, :-1])


@every_layer_of_sequences
def test_masked_inputs_cause_no_warning(name, recwarn):
    inputs = keras.Input((None,), dtype="int32")
    make(name)(layers.Embedding(9, 8, mask_zero=True)(inputs))
    assert not [str(w.message) for w in recwarn if "mask" in str(w.message)]


# Shapes.


@every_layer
@pytest.mark.parametrize("mode", ["graph", "XLA"])
def test_sizes_that_are_only_known_at_run_time_change_nothing(name, mode):
    axes = LAYERS[name][1]
    layer, reference = make(name), make(name)
    model = keras.Sequential([keras.Input((*(None,) * len(axes), 8)), layer])
    signature = [tf.TensorSpec((None, *(None,) * len(axes), 8))]
    call = in_mode(lambda x: model(x, training=True), mode, input_signature=signature)
    for examples, longer in ((4, 0), (3, 2)):
        x = np.ones((examples, *(length + longer for length in axes), 8), "float32")
        np.testing.assert_allclose(call(x), reference(x, training=True), rtol=1e-4, atol=1e-5)
    assert int(layer.step) == 2


# A model with every class in it, so that one training tests them all.


def everything():
    ramp = PolynomialDecay(0.0, 10, 0.5)
    noisy = [
        ScheduledSpatialDropout3D(ramp, seed=1),
        layers.Reshape((4, 4, 2)),
        ScheduledSpatialDropout2D(ramp, seed=2),
        ScheduledDropBlock2D(ramp, 2, seed=3),
        layers.Reshape((8, 4)),
        ScheduledSpatialDropout1D(ramp, seed=4),
        ScheduledStochasticDepth(ramp, seed=5),
        DropConnect(layers.Dense(4, "tanh"), ramp, seed=6),
        ScheduledGaussianDropout(ramp, seed=7),
        layers.Flatten(),
        ScheduledAlphaDropout(ramp, seed=8),
        ConcreteDropout(
            layers.Dense(8, "tanh"), 1e-3, dropout_regularizer=1e-2, temperature=0.5, seed=9
        ),
        ScheduledDropout(ramp, seed=10),
    ]
    model = keras.Sequential([keras.Input((2, 2, 4, 2)), *noisy, layers.Dense(1)])
    # Weights that are the same on every backend.
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if weight.name != "logit":
            weight.assign(rng.normal(size=weight.shape) / math.sqrt(weight.shape[0]))
    return model, [layer for layer in noisy if hasattr(layer, "step")]


def images(examples):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(examples, 2, 2, 4, 2)).astype("float32")
    return x, x.sum(axis=(1, 2, 3))[:, :1]


def weights_of(model):
    return np.concatenate([np.ravel(weight) for weight in model.get_weights()])


def test_the_model_with_everything_has_everything():
    assert {type(layer).__name__ for layer in everything()[1]} == set(LAYERS)


WAYS = {
    "eager": {"run_eagerly": True},
    "graph": {"jit_compile": False},
    "XLA": {"jit_compile": True},
    "four steps per execution": {"jit_compile": False, "steps_per_execution": 4},
}


@pytest.fixture(scope="module")
def trained_eagerly():
    return trained("eager")


def trained(way):
    """Weights and state after two epochs; the last batches of 70 examples have 6."""
    model, noisy = everything()
    model.compile(keras.optimizers.SGD(0.01), "mse", **WAYS[way])
    model.fit(*images(70), 32, 2, 0, shuffle=False)
    assert not np.any(np.isnan(weights_of(model)))
    return weights_of(model), [(int(layer.step), float(layer.rate)) for layer in noisy]


@pytest.mark.parametrize(
    "way",
    ["graph", pytest.param("XLA", marks=pytest.mark.long), "four steps per execution"],
)
def test_trainings_with_ragged_last_batches_agree_and_count_each_step_once(way, trained_eagerly):
    weights, state = trained(way)
    np.testing.assert_allclose(weights, trained_eagerly[0], rtol=1e-3, atol=1e-5)
    for (steps, rate), (_, expected) in zip(state, trained_eagerly[1], strict=True):
        assert steps == 6
        assert rate == pytest.approx(expected, rel=1e-5)


def test_with_gradient_accumulation_each_micro_batch_is_a_step_with_noise_of_its_own():
    model, noisy = everything()
    optimizer = keras.optimizers.SGD(0.01, gradient_accumulation_steps=2)
    model.compile(optimizer, "mse", jit_compile=False)
    model.fit(*images(64), 16, verbose=0)
    assert [int(layer.step) for layer in noisy] == [4] * len(noisy)


@pytest.mark.parametrize("mode", ["eager", "graph"])
def test_a_training_loop_of_ones_own_is_the_training_of_fit(mode, trained_eagerly):
    model, noisy = everything()
    optimizer = keras.optimizers.SGD(0.01)
    optimizer.build(model.trainable_variables)

    def train(x, y):
        with tf.GradientTape() as tape:
            prediction = model(x, training=True)
            loss = ops.mean(keras.losses.mean_squared_error(y, prediction)) + sum(model.losses)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)

    step = in_mode(train, mode)
    x, y = images(70)
    for _ in range(2):
        for start in (0, 32, 64):
            step(tf.constant(x[start : start + 32]), tf.constant(y[start : start + 32]))
    np.testing.assert_allclose(weights_of(model), trained_eagerly[0], rtol=1e-3, atol=1e-5)
    assert [int(layer.step) for layer in noisy] == [6] * len(noisy)


@every_layer
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_has_the_noise_of_full_precision_in_the_type_of_computation(name, policy):
    x = example_input(name)
    expected = make(name)(x, training=True)
    keras.config.set_dtype_policy(policy)
    y = make(name)(x, training=True)
    assert keras.backend.standardize_dtype(y.dtype) == policy.removeprefix("mixed_")
    np.testing.assert_allclose(ops.cast(y, "float32"), expected, rtol=0.03, atol=0.03)


# Gradient checkpointing.


class Block(layers.Layer):
    """Dense with noise in front and behind."""

    def __init__(self, noise, units=8):
        super().__init__()
        self.noise = noise
        self.dense = layers.Dense(units, "tanh")

    def build(self, input_shape):
        self.dense.build(input_shape)
        if not self.noise.built:
            self.noise.build(input_shape)

    def call(self, x, training=None):
        return self.noise(self.dense(x), training=training)


class Checkpointed(keras.Model):
    """Two blocks, whose activations may be computed anew in the backward pass."""

    def __init__(self, first, second, remat):
        super().__init__()
        keras.utils.set_random_seed(0)
        self.blocks = [Block(first), Block(second)]
        self.head = layers.Dense(1)
        self.remat = remat

    def build(self, input_shape):
        for part in (*self.blocks, self.head):
            part.build(input_shape)

    def call(self, x, training=None):
        def run(block):
            return lambda x: block(x, training=training)

        first, second = (run(block) for block in self.blocks)
        if self.remat == "each":
            x = keras.remat(second)(keras.remat(first)(x))
        elif self.remat == "nested":
            x = keras.remat(lambda x: keras.remat(second)(first(x)))(x)
        else:
            x = second(first(x))
        return self.head(x)


def steps_of(model, noisy, mode, shape):
    """Gradients of each of three steps, weights after them, and what the noise counted."""
    model.build((None, *shape))
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.build(model.trainable_variables)

    def gradients_of(x):
        with tf.GradientTape() as tape:
            loss = ops.mean(ops.square(model(x, training=True) - 1.0))
        return tape.gradient(loss, [v.value for v in model.trainable_variables])

    gradients_of = in_mode(gradients_of, mode)
    x = tf.constant(np.random.default_rng(0).normal(size=(16, *shape)), "float32")
    gradients = []
    for _ in range(3):
        gradients.append(gradients_of(x))
        # Not in the same graph: there `tf.recompute_grad` may read a weight, also of
        # Keras' own layers, when the optimizer has already moved it.
        optimizer.apply(gradients[-1], model.trainable_variables)
    return gradients, model.get_weights(), [int(layer.step) for layer in noisy]


def assert_same_training(one, other):
    for mine, theirs in zip(tf.nest.flatten(one), tf.nest.flatten(other), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.short(
    "two layers-each-graph",
    "two layers-nested-XLA",
    "one layer-each-eager",
    "one layer-nested-graph",
    "one layer-each-XLA",
)
@every_mode
@pytest.mark.parametrize("remat", ["each", "nested"])
@pytest.mark.parametrize("shared", [False, True], ids=["two layers", "one layer"])
def test_gradient_checkpointing_changes_no_training(mode, remat, shared):
    def run(remat, mode):
        rate = PiecewiseConstantDecay([0, 1], [0.25, 0.5, 0.75])
        first = ScheduledDropout(rate, seed=1)
        second = first if shared else ScheduledDropout(0.5, seed=2)
        noisy = [first] if shared else [first, second]
        return steps_of(Checkpointed(first, second, remat), noisy, mode, (8,))

    expected = run(None, "eager")
    assert expected[2] == ([3] if shared else [3, 3])
    assert_same_training(run(remat, mode), expected)


@every_layer_of_sequences
@pytest.mark.parametrize("mode", ["eager", pytest.param("graph", marks=pytest.mark.long)])
def test_every_layer_may_be_checkpointed(name, mode):
    def run(remat):
        noisy = [make(name), make(name)]
        return steps_of(Checkpointed(*noisy, remat), noisy, mode, (6, 8))

    assert_same_training(run("each"), run(None))


# Used in more than one place.


@every_layer
def test_a_layer_used_twice_in_a_step_draws_two_masks_and_counts_one(name):
    layer, x = make(name), example_input(name)
    inputs = keras.Input(x.shape[1:])
    model = keras.Model(inputs, [layer(inputs), layer(inputs)])
    for step in (1, 2):
        first, second = (np.array(y) for y in model(x, training=True))
        assert_differ(first, second)
        assert int(layer.step) == step


# A time step of a sequence has too few axes for one of them.
@pytest.mark.short(
    "eager-ScheduledDropout",
    "eager-ScheduledGaussianDropout",
    "eager-ScheduledAlphaDropout",
    "eager-ScheduledStochasticDepth",
    "eager-DropConnect",
    "eager-ConcreteDropout",
    "graph-ScheduledDropout",
    "graph-DropConnect",
    "XLA-ConcreteDropout",
)
@pytest.mark.parametrize("name", [n for n in SEQUENCES if n != "ScheduledSpatialDropout1D"])
@every_mode
def test_time_distributed_draws_for_each_time_and_counts_one_step(name, mode):
    layer = make(name)
    model = keras.Sequential([keras.Input((3, 8)), layers.TimeDistributed(layer)])
    call = in_mode(lambda x: model(x, training=True), mode)
    x = np.ones((64, 3, 8), "float32")
    for step in (1, 2):
        y = np.array(call(x))
        for time in (1, 2):
            assert_differ(y[:, 0], y[:, time])
        assert int(layer.step) == step


class NoisyCell(layers.Layer):
    """Sums its inputs over time, with noise: so the output shows the noise."""

    def __init__(self, units):
        super().__init__()
        self.state_size = self.output_size = units
        self.noise = ScheduledDropout(0.5, seed=1)

    def build(self, input_shape):
        self.built = True

    def call(self, inputs, states, training=None):
        noisy = self.noise(inputs, training=training)
        return noisy, [states[0] + noisy]


@every_mode
@pytest.mark.parametrize("unroll", [True, False])
def test_in_the_cell_of_a_recurrent_layer_a_pass_over_all_times_is_one_step(mode, unroll):
    cell = NoisyCell(8)
    model = keras.Sequential([keras.Input((3, 8)), layers.RNN(cell, True, unroll=unroll)])
    call = in_mode(lambda x: model(x, training=True), mode)
    x = np.ones((64, 3, 8), "float32")
    first, second = (np.array(call(x)) for _ in range(2))
    assert_differ(first, second)
    assert int(cell.noise.step) == 2
    assert np.all((first == 0) | (first == 2))
    if unroll or mode == "eager":
        for time in (1, 2):
            assert_differ(first[:, 0], first[:, time])
    else:
        # A loop in a graph is traced once: one mask for all times, as in Gal and
        # Ghahramani 2016, arXiv:1512.05287.
        np.testing.assert_array_equal(first, np.repeat(first[:, :1], 3, axis=1))


# Replicas, and another backend.


@pytest.fixture(scope="module")
def replicas(run_python, tmp_path_factory):
    """What `noise_of_two_replicas.py` found, in a process of its own."""
    script = pathlib.Path(__file__).with_name("noise_of_two_replicas.py")
    report = tmp_path_factory.mktemp("replicas") / "report.json"
    run_python(script, report)
    return json.loads(report.read_text())


@pytest.mark.long
@every_layer
def test_two_replicas_draw_noise_of_their_own(name, replicas):
    steps = [[np.array(y) for y in step] for step in replicas[name]["outputs"]]
    assert_differ(*steps[0])
    assert_differ(*steps[1])
    assert_differ(steps[0][0], steps[1][0])
    assert replicas[name]["step"] == 2
    # The first replica has the noise of a single device.
    alone = np.ravel(make(name)(example_input(name), training=True))
    np.testing.assert_allclose(steps[0][0], alone, rtol=1e-4, atol=1e-5)


JAX = """
import json, sys
import jax, keras, numpy as np
from keras import ops
import test_keras_expectations as expectations
from kerasreg.layers import DropConnect
from kerasreg.models import mc_predict
from kerasreg.regularizers import L2

model, noisy = expectations.everything()
x, y = expectations.images(64)
state = model.trainable_variables, model.non_trainable_variables
trainable, rest = ([ops.convert_to_tensor(v.value) for v in part] for part in state)

def loss_of(trainable, rest, x, y):
    prediction, rest, losses = model.stateless_call(
        trainable, rest, x, training=True, return_losses=True
    )
    return ops.mean(keras.losses.mean_squared_error(y, prediction)) + sum(losses), rest

@jax.jit
def train(trainable, rest, x, y):
    (loss, rest), gradients = jax.value_and_grad(loss_of, has_aux=True)(trainable, rest, x, y)
    return [v - 0.01 * g for v, g in zip(trainable, gradients)], rest

for _ in range(2):
    for start in (0, 32):
        trainable, rest = train(trainable, rest, x[start:start + 32], y[start:start + 32])
for variables, values in zip(state, (trainable, rest)):
    for variable, value in zip(variables, values):
        variable.assign(value)

# A loss that is added within a scope is counted once in the scope around it.
dense = keras.layers.Dense(3, kernel_initializer="ones", activity_regularizer=L2(2.0))
penalised = keras.Sequential([keras.Input((4,)), DropConnect(dense, 0.0, seed=1)])
values = [[v.value for v in part] for part in (
    penalised.trainable_variables, penalised.non_trainable_variables)]
_, _, losses = penalised.stateless_call(
    *values, np.ones((2, 4), "float32"), training=True, return_losses=True)
theirs = keras.regularizers.L2(1.0)
theirs = keras.layers.Dense(3, kernel_initializer="ones", activity_regularizer=theirs)
theirs(np.ones((2, 4), "float32"))

prediction = mc_predict(expectations.small(), expectations.SMALL, passes=3, batch_size=2)
json.dump({
    "backend": keras.backend.backend(),
    "weights": expectations.weights_of(model).tolist(),
    "steps": [int(layer.step) for layer in noisy],
    "losses": [float(loss) for loss in losses],
    "loss_of_keras": float(sum(theirs.losses)),
    "mean": prediction.mean.tolist(),
}, open(sys.argv[1], "w"))
"""


@pytest.fixture(scope="module")
def on_jax(run_python, tmp_path_factory):
    report = tmp_path_factory.mktemp("jax") / "report.json"
    here = str(pathlib.Path(__file__).parent)
    path = os.pathsep.join([here, *filter(None, sys.path)])
    run_python("-c", JAX, report, KERAS_BACKEND="jax", PYTHONPATH=path)
    return json.loads(report.read_text())


@pytest.fixture(scope="module")
def on_tensorflow():
    model, _ = everything()
    model.compile(keras.optimizers.SGD(0.01), "mse", run_eagerly=True)
    model.fit(*images(64), 32, 2, 0, shuffle=False)
    return model


@pytest.mark.long
@pytest.mark.long
def test_stateless_calls_on_jax_are_the_training_on_tensorflow(on_jax, on_tensorflow):
    assert on_jax["backend"] == "jax"
    np.testing.assert_allclose(on_jax["weights"], weights_of(on_tensorflow), rtol=1e-3, atol=1e-5)
    assert set(on_jax["steps"]) == {4}


def small():
    """What is predicted on both backends."""
    return keras.Sequential(
        [
            keras.Input((4,)),
            ScheduledDropout(0.5, seed=1),
            DropConnect(identity(4), 0.5, seed=2),
            ScheduledGaussianDropout(0.5, seed=3),
        ]
    )


SMALL = np.arange(20, dtype="float32").reshape(5, 4)


@pytest.mark.long
def test_on_jax_mc_predict_draws_the_masks_of_tensorflow(on_jax):
    prediction = mc_predict(small(), SMALL, passes=3, batch_size=2)
    np.testing.assert_allclose(on_jax["mean"], prediction.mean, rtol=1e-3, atol=1e-5)


@pytest.mark.long
def test_on_jax_a_loss_within_drop_connect_is_counted_once(on_jax):
    # By Keras' own layer and penalty: newer versions divide by the size of the batch.
    assert on_jax["losses"] == [pytest.approx(on_jax["loss_of_keras"])]


@pytest.mark.parametrize(
    "base", [ScheduledDropout, ScheduledSpatialDropout1D, ScheduledStochasticDepth]
)
def test_a_subclass_makes_variables_of_its_own_when_it_is_built(base, tmp_path):
    @keras.saving.register_keras_serializable("kerasreg_tests", f"Own{base.__name__}")
    class Own(base):
        def build(self, input_shape):
            self.gain = self.add_weight(shape=input_shape[-1:], initializer="ones", name="gain")

        def call(self, inputs, training=None):
            return super().call(inputs, training) * self.gain

    assert base(0.5).built
    assert not Own(0.5).built
    model = keras.Sequential([keras.Input((6, 8)), Own(0.5)])
    model.layers[0].gain.assign(np.arange(8.0))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(np.ones((2, 6, 8)))[0, 0], np.arange(8.0))
