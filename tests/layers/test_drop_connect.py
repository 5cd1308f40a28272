"""DropConnect: the layer with masked kernels, and nothing else about it changed."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops
from keras.optimizers.schedules import PiecewiseConstantDecay, PolynomialDecay

from kerasreg.layers import DropConnect, ScheduledDropout
from kerasreg.regularizers import L2

RATES = [0.0, 1 / 256, 0.1, 0.5, 0.9, 1.0]
# Each kind of layer that the documentation names, and the shape of an input.
WRAPPED = {
    "Dense": (lambda: layers.Dense(5), (3, 4)),
    "EinsumDense": (
        lambda: layers.EinsumDense("bsi,ijk->bsjk", (6, 2, 3), bias_axes="jk"),
        (3, 6, 4),
    ),
    "Conv1D": (lambda: layers.Conv1D(3, 2), (2, 6, 2)),
    "Conv2D": (lambda: layers.Conv2D(3, 2), (2, 5, 4, 2)),
    "Conv3D": (lambda: layers.Conv3D(2, 2), (2, 3, 3, 3, 2)),
    "DepthwiseConv2D": (lambda: layers.DepthwiseConv2D(2, depth_multiplier=2), (2, 4, 4, 3)),
    "SeparableConv2D": (lambda: layers.SeparableConv2D(4, 2), (2, 4, 4, 3)),
    "Conv2DTranspose": (lambda: layers.Conv2DTranspose(3, 2), (2, 3, 3, 2)),
    "LSTM": (lambda: layers.LSTM(4), (2, 5, 3)),
    "GRU": (lambda: layers.GRU(4, return_sequences=True), (2, 5, 3)),
}
every_wrapped = pytest.mark.parametrize("name", WRAPPED)


def is_kernel(weight):
    return weight.name.endswith("kernel")


def kernels_of(layer):
    return [weight for weight in layer.weights if is_kernel(weight)]


def make(name, rate, seed=1):
    """A wrapper whose layer has biases other than 0, and an input of it."""
    make_layer, shape = WRAPPED[name]
    x = np.random.default_rng(0).normal(size=shape).astype("float32")
    wrapper = DropConnect(make_layer(), rate, seed=seed)
    wrapper.build(shape)
    for weight in wrapper.layer.weights:
        if not is_kernel(weight):
            weight.assign(np.random.default_rng(1).normal(size=weight.shape))
    return wrapper, x


@pytest.mark.parametrize("rate", RATES)
def test_of_one_hot_inputs_the_outputs_are_the_masked_kernel(rate):
    wrapper = DropConnect(layers.Dense(512, bias_initializer="ones"), rate, seed=1)
    masked = np.array(wrapper(np.eye(512, dtype="float32"), training=True)) - 1
    kernel = np.array(wrapper.layer.kernel)
    mask = np.abs(masked) > 1e-6
    np.testing.assert_allclose(
        masked, kernel * mask / (1 - rate) if rate < 1 else 0 * kernel, atol=1e-6
    )
    error = 4 * math.sqrt(rate * (1 - rate) / mask.size)
    # Some 0.003 % of the kernel is too small to tell from a dropped entry.
    assert abs(mask.mean() - (1 - rate)) <= error + 1e-4


@every_wrapped
def test_the_output_and_the_gradients_are_those_of_the_layer_with_masked_kernels(name):
    wrapper, x = make(name, 0.3)
    weights = wrapper.layer.trainable_weights
    before = [np.array(weight) for weight in weights]
    with tf.GradientTape() as tape:
        y = wrapper(x, training=True)
        upstream = np.random.default_rng(2).normal(size=y.shape).astype("float32")
        loss = ops.sum(y * upstream)
    gradients = tape.gradient(loss, [weight.value for weight in weights])
    for weight, value in zip(weights, before, strict=True):
        np.testing.assert_array_equal(weight, value)  # The variables are as they were.

    # By hand: what has no gradient is dropped.
    masks = []
    for weight, gradient in zip(weights, gradients, strict=True):
        masks.append(
            (np.array(gradient) != 0) / 0.7 if is_kernel(weight) else np.ones_like(gradient)
        )
        assert 0 < np.mean(masks[-1] == 0) < 1 or not is_kernel(weight)
    plain = wrapper.layer
    for weight, value, mask in zip(weights, before, masks, strict=True):
        weight.assign(value * mask)
    with tf.GradientTape() as tape:
        expected = plain(x, training=True)
        loss = ops.sum(expected * upstream)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)
    unmasked = tape.gradient(loss, [weight.value for weight in weights])
    for gradient, whole, mask in zip(gradients, unmasked, masks, strict=True):
        np.testing.assert_allclose(gradient, whole * mask, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["LSTM", "SeparableConv2D"])
@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "XLA"])
def test_graphs_and_xla_draw_the_masks_of_eager_execution(name, jit_compile):
    wrapper, x = make(name, 0.5)
    reference, _ = make(name, 0.5)
    reference.set_weights(wrapper.get_weights())
    call = tf.function(lambda x: wrapper(x, training=True), jit_compile=jit_compile)
    for _ in range(2):
        np.testing.assert_allclose(call(x), reference(x, training=True), rtol=1e-4, atol=1e-6)


@every_wrapped
@pytest.mark.parametrize("training", [False, None])
def test_at_inference_it_is_the_layer_itself(name, training):
    wrapper, x = make(name, 0.9)
    np.testing.assert_array_equal(wrapper(x, training=training), wrapper.layer(x))
    assert int(wrapper.step) == 0


@every_wrapped
def test_at_rate_0_it_is_the_layer_in_training(name):
    wrapper, x = make(name, 0.0)
    np.testing.assert_array_equal(wrapper(x, training=True), wrapper.layer(x, training=True))


def test_at_rate_1_the_bias_is_left():
    wrapper, x = make("Dense", 1.0)
    bias = np.array(wrapper.layer.bias)
    np.testing.assert_array_equal(wrapper(x, training=True), np.tile(bias, (len(x), 1)))


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in WRAPPED if name not in ("LSTM", "GRU")])
def test_the_expectation_over_masks_of_a_linear_layer_is_its_output(name):
    wrapper, x = make(name, 0.5)
    samples = np.array([wrapper(x, training=True) for _ in range(200)])
    error = samples.std(axis=0) / math.sqrt(len(samples))
    expected = np.array(wrapper(x, training=False))
    np.testing.assert_array_less(np.abs(samples.mean(axis=0) - expected), 5 * error + 1e-6)


def test_one_mask_serves_the_batch_and_another_the_next_step():
    wrapper = DropConnect(layers.Dense(64), 0.5, seed=1)
    x = np.tile(np.random.default_rng(0).normal(size=(1, 64)), (3, 1)).astype("float32")
    first, second = (np.array(wrapper(x, training=True)) for _ in range(2))
    np.testing.assert_allclose(first, first[:1].repeat(3, axis=0), rtol=1e-6)
    assert np.all(first != second)


def test_the_kernels_of_a_layer_have_masks_of_their_own():
    wrapper = DropConnect(layers.LSTM(16, kernel_initializer="orthogonal"), 0.5, seed=1)
    x = np.random.default_rng(0).normal(size=(4, 3, 16)).astype("float32")
    wrapper.build(x.shape)
    with tf.GradientTape() as tape:
        loss = ops.sum(ops.square(wrapper(x, training=True)))
    kernels = [kernel.value for kernel in kernels_of(wrapper.layer)]
    first, second = (np.array(g) != 0 for g in tape.gradient(loss, kernels))
    assert first.shape == second.shape
    assert abs(np.mean(first == second) - 0.5) < 4 * 0.5 / math.sqrt(first.size)


# The rest of the layer works as without the wrapper.


@keras.saving.register_keras_serializable("kerasreg_tests")
class Normalised(layers.Layer):
    """A layer with state: moving statistics, a step, the state of a seed; and no shape rule."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = layers.Dense(3)
        self.normalise = layers.BatchNormalization(momentum=0.5)
        self.dropout = ScheduledDropout(0.0, seed=3)
        self.of_keras = layers.Dropout(0.5, seed=3)

    def build(self, input_shape):
        self.dense.build(input_shape)
        self.normalise.build((*input_shape[:-1], 3))

    def call(self, x, training=None):
        hidden = self.dropout(self.dense(x), training=training)
        self.of_keras(hidden, training=training)
        return self.normalise(hidden, training=training)


@pytest.mark.parametrize("mode", ["eager", "graph", "XLA"])
def test_the_state_of_the_layer_is_updated(mode):
    wrapper = DropConnect(Normalised(), 0.0, seed=1)
    x = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
    wrapper.build(x.shape)

    def call(x):
        return wrapper(x, training=True)

    call = call if mode == "eager" else tf.function(call, jit_compile=mode == "XLA")
    seeds = {tuple(np.array(wrapper.layer.of_keras.seed_generator.state))}
    mean, expected = np.array(wrapper.layer.dense(x)).mean(axis=0), np.zeros(3)
    for step in range(1, 4):
        call(x)
        expected = 0.5 * expected + 0.5 * mean
        seeds.add(tuple(np.array(wrapper.layer.of_keras.seed_generator.state)))
        np.testing.assert_allclose(wrapper.layer.normalise.moving_mean, expected, rtol=1e-5)
        assert int(wrapper.layer.dropout.step) == step
    assert len(seeds) == 4


def test_a_layer_without_a_rule_of_shapes_works_in_a_functional_model():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, DropConnect(Normalised(), 0.5, seed=1)(inputs))
    assert model.output_shape == (None, 3)
    model.compile("sgd", "mse", jit_compile=False)
    history = model.fit(np.ones((8, 4)), np.ones((8, 3)), verbose=0).history
    assert np.isfinite(history["loss"][0])


class AddsLoss(layers.Dense):
    def call(self, x):
        self.add_loss(2.0 * ops.sum(self.kernel))
        return super().call(x)


@pytest.mark.parametrize("training", [True, False])
def test_what_the_layer_adds_to_the_loss_is_kept(training):
    wrapper = DropConnect(AddsLoss(3), 0.5, seed=1)
    wrapper.build((None, 512))
    wrapper.layer.kernel.assign(np.ones((512, 3)))
    wrapper(np.ones((1, 512), "float32"), training=training)
    (loss,) = wrapper.losses
    # Of the masked kernel: in training a sum of 1536 entries that are 0 or 2.
    error = 4 * 2 * math.sqrt(512 * 3) if training else 0
    assert abs(float(loss) - 2 * 512 * 3) <= error
    assert (float(loss) == 2 * 512 * 3) == (not training)


@pytest.mark.parametrize("mode", ["run_eagerly", "graph", "jit_compile"])
def test_an_activity_regularizer_with_a_schedule_is_part_of_the_loss(mode):
    strengths = PiecewiseConstantDecay([0, 1], [2.0, 4.0, 0.0])
    strength = L2(strengths)
    dense = layers.Dense(3, activity_regularizer=strength, trainable=False)
    model = keras.Sequential([keras.Input((4,)), DropConnect(dense, 0.0, seed=1)])
    options = {} if mode == "graph" else {mode: True}
    model.compile("sgd", "mse", **{"jit_compile": False, **options})
    x = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
    y = model.predict(x, verbose=0)
    # By Keras itself, which divides by the size of the batch in its newer versions.
    theirs = layers.Dense(3, activity_regularizer=keras.regularizers.L2(0.5))
    theirs.build(x.shape)
    theirs.set_weights(dense.get_weights())
    theirs(x)
    activity = float(sum(theirs.losses))
    for value in (2.0, 4.0, 0.0):
        model.reset_metrics()  # Older versions of Keras give the mean over steps.
        assert model.train_on_batch(x, y) == pytest.approx(value * activity, rel=1e-5, abs=1e-6)
        assert float(strength.strength) == value


def test_a_penalty_in_the_layer_and_in_another_one_counts_one_step():
    strength = L2(PolynomialDecay(0.0, 10, 1.0))
    model = keras.Sequential(
        [
            keras.Input((4,)),
            DropConnect(layers.Dense(3, activity_regularizer=strength), 0.5, seed=1),
            layers.Dense(1, kernel_regularizer=strength),
        ]
    )
    model.compile("sgd", "mse", jit_compile=False)
    model.fit(np.ones((8, 4)), np.ones((8, 1)), 4, verbose=0)
    assert float(strength.strength) == pytest.approx(0.1)  # Of the second step.


def test_noise_in_a_layer_that_is_used_twice_counts_one_step():
    wrapper = DropConnect(Normalised(), 0.5, seed=1)
    inputs = keras.Input((4,))
    model = keras.Model(inputs, [wrapper(inputs), wrapper(inputs)])
    model(np.ones((2, 4), "float32"), training=True)
    assert int(wrapper.step) == 1
    assert int(wrapper.layer.dropout.step) == 1


def test_a_kernel_regularizer_sees_the_whole_kernel():
    dense = layers.Dense(3, kernel_regularizer=keras.regularizers.L2(1.0))
    wrapper = DropConnect(dense, 0.5, seed=1)
    wrapper(np.ones((1, 4), "float32"), training=True)
    (loss,) = wrapper.losses
    assert float(loss) == pytest.approx(np.sum(np.square(dense.kernel)), rel=1e-6)


@pytest.mark.parametrize("training", [True, False])
def test_arguments_of_the_call_reach_the_layer(training):
    state = [np.ones((2, 4), "float32"), np.ones((2, 4), "float32")]
    wrapper, x = make("LSTM", 0.0)
    np.testing.assert_array_equal(
        wrapper(x, initial_state=state, training=training), wrapper.layer(x, initial_state=state)
    )


def test_a_training_learns_through_the_masks():
    keras.utils.set_random_seed(0)
    wrapper = DropConnect(layers.Dense(1), 0.2, seed=1)
    model = keras.Sequential([keras.Input((4,)), wrapper])
    model.compile(keras.optimizers.Adam(0.05), "mse", jit_compile=False)
    x = np.random.default_rng(0).normal(size=(256, 4)).astype("float32")
    y = x @ np.array([[1.0], [-1.0], [0.5], [2.0]], "float32")
    before = model.evaluate(x, y, verbose=0)
    model.fit(x, y, 32, 20, verbose=0)
    assert model.evaluate(x, y, verbose=0) < 0.2 * before
    assert int(wrapper.step) == 20 * 8


def test_a_saved_model_goes_on_with_the_masks_it_would_have_drawn(tmp_path):
    model = keras.Sequential([keras.Input((4,)), DropConnect(layers.Dense(8), 0.5, seed=1)])
    x = np.ones((2, 4), "float32")
    model(x, training=True)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for _ in range(2):
        np.testing.assert_array_equal(loaded(x, training=True), model(x, training=True))


# What it refuses.


@pytest.mark.parametrize("layer", [layers.ReLU, layers.BatchNormalization])
def test_a_layer_without_a_kernel_is_refused(layer):
    wrapper = DropConnect(layer(name="bare"), 0.5)
    with pytest.raises(ValueError, match=r"`layer` must have .*'kernel'.*layer='bare'"):
        wrapper(np.ones((2, 4), "float32"))


def test_an_integer_kernel_is_refused():
    dense = layers.Dense(3)
    dense.build((None, 4))
    dense.quantize("int8")
    with pytest.raises(ValueError, match=r"`layer` must have floating-point .*\(int8\)"):
        DropConnect(dense, 0.5)(np.ones((2, 4), "float32"), training=True)
