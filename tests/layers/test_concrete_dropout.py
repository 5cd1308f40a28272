"""ConcreteDropout: a relaxed mask through which the rate is learned."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops
from scipy.integrate import quad
from scipy.special import expit

from kerasreg.layers import ConcreteDropout, concrete_dropout
from kerasreg.random import key, uniform

RATES = [0.001, 0.1, 0.5, 0.9]
ONES = np.ones((1024, 1024), "float32")


def logit(p):
    return math.log(p / (1 - p))


def passed_on(x, rate=0.1, **arguments):
    """What a wrapped layer is given in training: it hands on its inputs."""
    identity = layers.Dense(x.shape[-1], use_bias=False, kernel_initializer="identity")
    wrapper = ConcreteDropout(identity, initial_rate=rate, seed=1, **arguments)
    return np.array(wrapper(x, training=True))


# The mask.


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_the_formula_of_the_paper(rate, temperature):
    x = np.random.default_rng(0).normal(size=(64, 32)).astype("float32")
    u = np.array(uniform(x.shape, key(7)), "float64")
    dropped = expit((logit(rate) + np.log(u / (1 - u))) / temperature)
    y = concrete_dropout(x, logit(rate), key(7), temperature=temperature)
    np.testing.assert_allclose(y, x * (1 - dropped) / (1 - rate), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("rate", RATES)
def test_the_limit_of_low_temperatures_is_dropout(rate):
    y = np.array(concrete_dropout(ONES, logit(rate), key(7), temperature=1e-3), "float64") * (
        1 - rate
    )
    # All but some of the elements are 0 or 1.
    assert np.mean((y > 1e-3) & (y < 1 - 1e-3)) < 0.01
    kept = 1 - rate
    assert abs(np.mean(y > 0.5) - kept) < 4 * math.sqrt(rate * kept / y.size)
    assert y.mean() == pytest.approx(kept, abs=4 * math.sqrt(rate * kept / y.size) + 1e-5)


def expected_output(rate, temperature):
    """`E[(1 - d) / (1 - p)]` by quadrature."""
    end = expit(-logit(rate))  # Where d is a half: at low temperatures, a jump.
    integral, _ = quad(
        lambda u: expit(-(logit(rate) + math.log(u / (1 - u))) / temperature),
        0,
        1,
        points=[end],
        limit=200,
    )
    return integral / (1 - rate)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_mean_and_derivative_of_the_mean_are_those_of_the_formula(rate, temperature):
    x = tf.constant(ONES)
    at = tf.fill(ONES.shape, np.float32(logit(rate)))  # A logit for each: a gradient for each.
    with tf.GradientTape() as tape:
        tape.watch(at)
        y = concrete_dropout(x, at, key(7), temperature=temperature)
    gradient, y = np.array(tape.gradient(y, at), "float64"), np.array(y, "float64")
    # To the rate, not the logit: the pathwise estimate of d E[y] / dp.
    gradient /= rate * (1 - rate)
    step = 1e-4
    higher, lower = (expected_output(rate + sign * step, temperature) for sign in (1, -1))
    for sample, expected in (
        (y, expected_output(rate, temperature)),
        (gradient, (higher - lower) / (2 * step)),
    ):
        assert abs(sample.mean() - expected) < 4 * sample.std() / math.sqrt(sample.size) + 1e-5


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_the_gradients_are_those_of_finite_differences(rate):
    x = tf.constant(np.random.default_rng(0).normal(size=(64, 32)), "float32")
    at, temperature, step = tf.constant(logit(rate)), 0.5, 1e-2

    upstream = np.random.default_rng(1).normal(size=x.shape).astype("float32")

    def loss(x, at):
        return tf.reduce_sum(upstream * concrete_dropout(x, at, key(7), temperature=temperature))

    with tf.GradientTape() as tape:
        tape.watch([x, at])
        value = loss(x, at)
    to_x, to_logit = tape.gradient(value, [x, at])
    numeric = (loss(x, at + step) - loss(x, at - step)) / (2 * step)
    assert float(to_logit) == pytest.approx(float(numeric), rel=1e-2)
    multiplier = concrete_dropout(tf.ones_like(x), at, key(7), temperature=temperature)
    np.testing.assert_allclose(to_x, upstream * multiplier, rtol=1e-4, atol=1e-6)


def test_the_wrapper_gives_the_layer_the_relaxed_inputs_in_training_alone():
    x = np.random.default_rng(0).normal(size=(64, 32)).astype("float32")
    wrapper = ConcreteDropout(layers.Dense(3), initial_rate=0.3, seed=1)
    inference = wrapper(x, training=False)
    np.testing.assert_array_equal(inference, wrapper.layer(x))
    assert int(wrapper.step) == 0
    given = passed_on(x, 0.3)
    np.testing.assert_allclose(
        wrapper(x, training=True), wrapper.layer(given), rtol=1e-4, atol=1e-5
    )
    assert int(wrapper.step) == 1


def test_noise_shape_1_shares_the_mask_along_the_axis():
    x = np.ones((8, 3, 4, 16), "float32")
    y = passed_on(x, 0.5, noise_shape=(None, 1, 1, None))
    np.testing.assert_array_equal(y, np.broadcast_to(y[:, :1, :1], y.shape))
    assert np.any(y != y[:1])
    assert np.any(y != y[..., :1])


def test_a_scheduled_temperature_is_used_step_by_step():
    temperatures = keras.optimizers.schedules.PiecewiseConstantDecay([0], [100.0, 0.01])
    identity = layers.Dense(64, use_bias=False, kernel_initializer="identity")
    wrapper = ConcreteDropout(identity, initial_rate=0.5, temperature=temperatures, seed=1)
    x = np.ones((64, 64), "float32")
    hot, cold = (np.array(wrapper(x, training=True)) / 2 for _ in range(2))
    assert np.all(np.abs(hot - 0.5) < 0.05)
    assert np.mean(np.abs(cold - 0.5) > 0.49) > 0.9


# The term of the loss.


def term(p, kernels, features, weight_regularizer, dropout_regularizer):
    squares = sum(np.sum(np.square(np.array(kernel, "float64"))) for kernel in kernels)
    negative_entropy = p * math.log(p) + (1 - p) * math.log(1 - p)
    return (
        weight_regularizer * squares / (1 - p) + dropout_regularizer * features * negative_entropy
    )


FIRST = {"data_format": "channels_first"}


@pytest.mark.short(
    "Dense-0.001",
    "Dense-0.5",
    "Dense-0.999",
    "Dense of sequences-0.1",
    "Conv2D-0.001",
    "Conv2D-0.999",
    "Conv2D first-0.5",
    "SeparableConv2D-0.1",
    "SeparableConv2D-0.999",
    "LSTM-0.001",
    "LSTM-0.5",
)
@pytest.mark.parametrize("rate", [0.001, 0.1, 0.5, 0.999])
@pytest.mark.parametrize(
    ("make_layer", "shape", "features"),
    [
        (lambda: layers.Dense(5, bias_initializer="ones"), (None, 7), 7),
        (lambda: layers.Dense(5), (None, 3, 7), 7),
        (lambda: layers.Conv2D(5, 3), (None, 6, 8, 4), 4),
        (lambda: layers.Conv2D(5, 3, **FIRST), (None, 4, 6, 8), 4),
        (lambda: layers.SeparableConv2D(5, 3), (None, 6, 8, 4), 4),
        (lambda: layers.LSTM(5), (None, 6, 3), 3),
    ],
    ids=["Dense", "Dense of sequences", "Conv2D", "Conv2D first", "SeparableConv2D", "LSTM"],
)
def test_the_term_of_the_loss_is_the_formula(rate, make_layer, shape, features):
    wrapper = ConcreteDropout(
        make_layer(), 0.25, dropout_regularizer=0.125, initial_rate=rate, seed=1
    )
    wrapper.build(shape)
    kernels = [weight for weight in wrapper.layer.weights if weight.name.endswith("kernel")]
    (loss,) = wrapper.losses
    assert float(loss) == pytest.approx(term(rate, kernels, features, 0.25, 0.125), rel=1e-4)


def test_the_gradient_of_the_term_is_that_of_the_formula():
    wrapper = ConcreteDropout(
        layers.Dense(5), 0.25, dropout_regularizer=0.125, initial_rate=0.3, seed=1
    )
    wrapper.build((None, 7))
    with tf.GradientTape() as tape:
        (loss,) = wrapper.losses
    to_logit, to_kernel = tape.gradient(loss, [wrapper.logit.value, wrapper.layer.kernel.value])
    kernel = wrapper.layer.kernel
    higher, lower = (term(p, [kernel], 7, 0.25, 0.125) for p in (0.3 + 1e-6, 0.3 - 1e-6))
    expected = (higher - lower) / 2e-6 * 0.3 * 0.7  # The chain rule, from p to its logit.
    assert float(to_logit) == pytest.approx(expected, rel=1e-4)
    np.testing.assert_allclose(to_kernel, 2 * 0.25 * np.array(kernel) / 0.7, rtol=1e-4)


def test_scheduled_strengths_are_those_of_the_training_step():
    strengths = keras.optimizers.schedules.PiecewiseConstantDecay([0], [0.0, 1.0])
    dense = layers.Dense(1, kernel_initializer="zeros", trainable=False)
    wrapper = ConcreteDropout(dense, 0.0, dropout_regularizer=strengths, initial_rate=0.5, seed=1)
    model = keras.Sequential([keras.Input((4,)), wrapper])
    model.compile(keras.optimizers.SGD(0.0), "mse", jit_compile=False)
    x, y = np.ones((2, 4)), np.zeros((2, 1))
    losses = []
    for _ in range(3):
        model.reset_metrics()  # Older versions of Keras give the mean over steps.
        losses.append(model.train_on_batch(x, y))
    np.testing.assert_allclose(losses, [0, -4 * math.log(2), -4 * math.log(2)], rtol=1e-5)
    assert model.evaluate(x, y, verbose=0) == pytest.approx(-4 * math.log(2))


def test_the_term_is_counted_once_for_a_layer_that_is_used_twice():
    wrapper = ConcreteDropout(
        layers.Dense(4), 0.25, dropout_regularizer=0.125, initial_rate=0.3, seed=1
    )
    inputs = keras.Input((4,))
    model = keras.Model(inputs, wrapper(wrapper(inputs)))
    model(np.ones((2, 4), "float32"), training=True)
    (loss,) = model.losses
    assert float(loss) == pytest.approx(term(0.3, [wrapper.layer.kernel], 4, 0.25, 0.125), rel=1e-4)


# The rate is learned.


def learned_rate(x, y, length_scale=0.1, precision=25.0, steps=600):
    """The rate after a training with the regularizers of the documentation."""
    keras.utils.set_random_seed(0)
    scale = precision * len(x)
    wrapper = ConcreteDropout(
        layers.Dense(1),
        length_scale**2 / scale,
        dropout_regularizer=2 / scale,
        initial_rate=0.1,
        seed=1,
    )
    model = keras.Sequential([keras.Input(x.shape[1:]), wrapper])
    model.compile(keras.optimizers.Adam(0.02), "mse", jit_compile=False)
    data = tf.data.Dataset.from_tensors((x, y)).repeat(steps)
    model.fit(data, shuffle=False, verbose=0)
    return float(wrapper.rate)


def regression(examples, signal):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(examples, 4)).astype("float32")
    noise = rng.normal(size=(examples, 1)) * 0.2
    return x, (x @ np.full((4, 1), signal) + noise).astype("float32")


def test_features_that_say_nothing_are_dropped_more_and_more():
    # Nothing is lost by dropping them; the entropy is greatest at 1/2.
    assert learned_rate(*regression(64, signal=0.0), precision=1.0) > 0.3


def test_features_that_say_all_are_dropped_less_and_less():
    assert learned_rate(*regression(2048, signal=1.0)) < 0.03


@pytest.mark.long
def test_more_data_give_a_smaller_rate():
    few, many = (learned_rate(*regression(count, signal=0.3)) for count in (8, 1024))
    assert few > 1.5 * many


def test_a_saved_model_has_the_rate_that_was_learned(tmp_path):
    wrapper = ConcreteDropout(
        layers.Dense(2), 1e-3, dropout_regularizer=1e-1, temperature=0.5, seed=1
    )
    model = keras.Sequential([keras.Input((4,)), wrapper])
    model.compile(keras.optimizers.SGD(1.0), "mse", jit_compile=False)
    x = np.random.default_rng(0).normal(size=(8, 4))
    model.fit(x, x[:, :2], epochs=3, verbose=0)
    assert float(wrapper.rate) != pytest.approx(0.1, abs=1e-3)
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "model.weights.h5")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    fresh = keras.models.clone_model(model)
    fresh.load_weights(tmp_path / "model.weights.h5")
    for other in (loaded, fresh):
        assert float(other.layers[0].rate) == float(wrapper.rate)
        assert int(other.layers[0].step) == 3
    expected = model(x, training=True)
    for other in (loaded, fresh):
        np.testing.assert_array_equal(other(x, training=True), expected)


def test_a_rate_that_is_not_to_be_learned_stays():
    wrapper = ConcreteDropout(layers.Dense(1), 0.1, dropout_regularizer=0.1, seed=1)
    wrapper.build((None, 4))
    wrapper.logit.trainable = False
    model = keras.Sequential([keras.Input((4,)), wrapper])
    model.compile("sgd", "mse", jit_compile=False)
    model.fit(np.ones((8, 4)), np.ones((8, 1)), verbose=0)
    assert float(wrapper.rate) == pytest.approx(0.1, rel=1e-6)


def test_a_layer_without_a_kernel_is_refused():
    with pytest.raises(ValueError, match=r"`layer` must have .*'kernel'.*layer='bare'"):
        ConcreteDropout(layers.ReLU(name="bare"))(np.ones((2, 4), "float32"))


def test_an_integer_kernel_is_refused():
    dense = layers.Dense(3)
    dense.build((None, 4))
    dense.quantize("int8")
    with pytest.raises(ValueError, match=r"`layer` must have floating-point .*\(int8\)"):
        ConcreteDropout(dense)(ops.ones((2, 4)), training=True)
