"""ScheduledDropout: unbiased masks, a rate that moves, a stream that goes on."""

import copy
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.modes import in_mode
from keras.optimizers.schedules import PiecewiseConstantDecay, PolynomialDecay

from kerasreg.layers import ScheduledDropout, dropout
from kerasreg.random import key

RATES = [0.0, 1 / 256, 0.1, 0.5, 0.9, 1.0]
ONES = np.ones((64, 32), "float32")
# Differs at each step, with values that every mode of execution has exactly.
STAIRS = PiecewiseConstantDecay([0, 1, 2, 3], [0.5, 0.25, 0.75, 0.0, 0.125])
STEPS = [float(STAIRS(step)) for step in range(6)]


def kept(y):
    """The mask of a dropout that was given ones."""
    return np.array(y) != 0


# What is drawn.


@pytest.mark.parametrize("rate", RATES)
def test_the_output_of_ones_has_the_mean_and_the_variance_of_inverted_dropout(rate):
    draws = 2**20
    layer = ScheduledDropout(rate, seed=1)
    y = np.array(layer(np.ones((1024, 1024), "float32"), training=True), "float64")
    if rate in (0.0, 1.0):
        np.testing.assert_array_equal(y, 1.0 - rate)
        return
    # y is 1/(1-p) with probability 1-p, else 0. Four standard errors: one such
    # test in 16,000 would fail by chance, with other seeds.
    keep = 1 - rate
    variance = rate / keep
    fourth = keep * (1 / keep - 1) ** 4 + rate  # E[(y - 1)^4]
    assert abs(y.mean() - 1) < 4 * math.sqrt(variance / draws)
    error = 4 * math.sqrt(max(fourth - variance**2, 0) / draws)
    # The rate is resolved to 2^-24, and outputs are float32.
    assert abs(((y - 1) ** 2).mean() - variance) < error + 1e-6


@pytest.mark.parametrize("rate", RATES)
def test_kept_elements_are_divided_by_the_keep_probability(rate):
    x = np.random.default_rng(0).uniform(1, 2, size=(64, 32)).astype("float32")
    y = np.array(ScheduledDropout(rate, seed=1)(x, training=True))
    mask = y != 0
    np.testing.assert_allclose(y[mask], x[mask] / (1 - rate) if rate < 1 else [], rtol=1e-6)


@pytest.mark.parametrize("rate", RATES)
def test_the_gradient_is_the_mask_over_the_keep_probability(rate):
    x = tf.constant(np.random.default_rng(0).uniform(1, 2, size=(64, 32)).astype("float32"))
    layer = ScheduledDropout(rate, seed=1)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=True)
    expected = kept(y) / (1 - rate) if rate < 1 else np.zeros(x.shape)
    np.testing.assert_allclose(tape.gradient(y, x), expected, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_the_output_has_the_dtype_of_the_layer_and_the_mask_of_any_other(dtype):
    y = ScheduledDropout(0.5, seed=1, dtype=dtype)(ONES, training=True)
    assert keras.backend.standardize_dtype(y.dtype) == dtype
    reference = ScheduledDropout(0.5, seed=1)(ONES, training=True)
    np.testing.assert_array_equal(np.array(y, "float32"), reference)  # 0 and 2 are exact.


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("rate", [0.3, PolynomialDecay(0.3, 7, 0.1)], ids=["number", "schedule"])
def test_mixed_precision_rounds_neither_the_rate_nor_the_mask(policy, rate):
    x = np.ones((256, 256), "float32")
    full = ScheduledDropout(rate, seed=1)
    keras.config.set_dtype_policy(policy)
    mixed = ScheduledDropout(rate, seed=1)
    for _ in range(3):
        # A rate of 0.3 in bfloat16 is 0.3008, which would drop some 50 elements more.
        np.testing.assert_array_equal(kept(mixed(x, training=True)), kept(full(x, training=True)))
        assert float(mixed.rate) == float(full.rate)


@pytest.mark.parametrize("special", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("rate", [0.5, 1.0])
def test_a_dropped_element_is_zero_whatever_it_was(special, rate):
    x = tf.fill((64, 32), np.float32(special))
    layer = ScheduledDropout(rate, seed=1)
    mask = kept(ScheduledDropout(rate, seed=1)(ONES, training=True))
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=True)
    y, gradient = np.array(y), np.array(tape.gradient(y, x))
    assert np.all(y[~mask] == 0)
    assert not np.any(np.isfinite(y[mask]))
    assert np.all(gradient[~mask] == 0)


def test_equal_seeds_give_equal_masks_and_others_others():
    first, same, other = (ScheduledDropout(0.5, seed=seed) for seed in (1, 1, 2))
    expected = kept(first(ONES, training=True))
    np.testing.assert_array_equal(kept(same(ONES, training=True)), expected)
    agreement = np.mean(kept(other(ONES, training=True)) == expected)
    assert abs(agreement - 0.5) < 4 * 0.5 / math.sqrt(ONES.size)


def test_each_training_step_draws_another_mask():
    layer = ScheduledDropout(0.5, seed=1)
    masks = [kept(layer(ONES, training=True)) for _ in range(5)]
    for i, mask in enumerate(masks):
        for other in masks[:i]:
            assert abs(np.mean(mask == other) - 0.5) < 4 * 0.5 / math.sqrt(ONES.size)


def test_without_a_seed_layers_differ_but_a_program_repeats_itself():
    def two_masks():
        keras.utils.set_random_seed(3)
        layers = [ScheduledDropout(0.5), ScheduledDropout(0.5)]
        return [kept(layer(ONES, training=True)) for layer in layers]

    first, second = two_masks()
    assert np.mean(first == second) < 0.6
    np.testing.assert_array_equal(two_masks(), [first, second])


def test_a_drawn_seed_is_in_the_config():
    layer = ScheduledDropout(0.5)
    again = ScheduledDropout.from_config(layer.get_config())
    np.testing.assert_array_equal(again(ONES, training=True), layer(ONES, training=True))


@pytest.mark.parametrize("mode", ["graph", "XLA"])
def test_graphs_and_xla_draw_the_masks_of_eager_execution(mode):
    eager, compiled = (ScheduledDropout(0.3, seed=1) for _ in range(2))
    call = in_mode(lambda x: compiled(x, training=True), mode)
    for _ in range(3):
        np.testing.assert_allclose(call(ONES), eager(ONES, training=True), rtol=1e-6)


# Training or not.


@pytest.mark.parametrize("training", [False, None])
def test_inference_is_the_identity_and_counts_nothing(training):
    layer = ScheduledDropout(0.9, seed=1)
    x = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    np.testing.assert_array_equal(layer(x, training=training), x)
    np.testing.assert_array_equal(layer(x), x)
    assert int(layer.step) == 0


@pytest.mark.parametrize("training", [True, False, None])
def test_inside_a_model_the_layer_does_what_the_call_of_the_model_says(training):
    model = keras.Sequential([keras.Input((32,)), ScheduledDropout(0.5, seed=1)])
    y = np.array(model(ONES, training=training))
    assert set(np.unique(y)) == ({0.0, 2.0} if training else {1.0})


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("outer", [True, False])
def test_an_argument_given_to_the_layer_wins_over_the_surrounding_call(own, outer):
    class Parent(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.dropout = ScheduledDropout(0.5, seed=1)

        def call(self, inputs):
            return self.dropout(inputs, training=own)

    y = Parent()(ONES, training=outer)
    assert set(np.unique(y)) == ({0.0, 2.0} if own else {1.0})


def test_evaluation_and_prediction_do_not_disturb_the_stream():
    def masks(disturb):
        model = keras.Sequential([keras.Input((32,)), ScheduledDropout(0.5, seed=1)])
        model.compile(loss="mse", run_eagerly=True)
        seen = []
        for _ in range(3):
            seen.append(kept(model(ONES, training=True)))
            if disturb:
                np.testing.assert_array_equal(model.predict(ONES, verbose=0), ONES)
                assert model.evaluate(ONES, ONES, verbose=0) == 0.0
        return seen

    np.testing.assert_array_equal(masks(disturb=True), masks(disturb=False))


def test_a_layer_used_twice_in_a_pass_draws_two_masks_and_counts_one_step():
    layer = ScheduledDropout(0.5, seed=1)
    inputs = keras.Input((32,))
    model = keras.Model(inputs, [layer(inputs), layer(inputs)])
    for step in range(1, 4):
        first, second = (kept(y) for y in model(ONES, training=True))
        assert abs(np.mean(first == second) - 0.5) < 4 * 0.5 / math.sqrt(ONES.size)
        assert int(layer.step) == step


def test_a_layer_used_twice_in_a_pass_uses_one_rate():
    layer = ScheduledDropout(PiecewiseConstantDecay([0], [0.0, 1.0]), seed=1)
    inputs = keras.Input((32,))
    model = keras.Model(inputs, [layer(inputs), layer(inputs)])
    for expected in (1.0, 0.0):
        for y in model(ONES, training=True):
            np.testing.assert_array_equal(y, np.full(ONES.shape, expected))


# Shapes.


def test_noise_shape_1_shares_the_mask_along_the_axis():
    x = np.ones((8, 5, 16), "float32")
    y = kept(ScheduledDropout(0.5, noise_shape=(None, 1, None), seed=1)(x, training=True))
    assert np.all(y == y[:, :1, :])
    assert np.any(y != y[:1])
    assert np.any(y != y[:, :, :1])
    y = kept(ScheduledDropout(0.5, noise_shape=[1, 5, 1], seed=1)(x, training=True))
    assert np.all(y == y[:1, :, :1])


def test_noise_shape_of_nones_is_no_noise_shape():
    x = np.ones((8, 5), "float32")
    plain, given = (ScheduledDropout(0.5, shape, seed=1) for shape in (None, (None, None)))
    np.testing.assert_array_equal(plain(x, training=True), given(x, training=True))


@pytest.mark.parametrize("noise_shape", [(None,), (None, 1, 1), ()])
def test_a_noise_shape_of_another_rank_is_refused_when_the_rank_is_known(noise_shape):
    layer = ScheduledDropout(0.5, noise_shape, seed=1)
    with pytest.raises(ValueError, match=r"`noise_shape` must have 2 entries.*noise_shape=\("):
        layer(ONES, training=True)
    with pytest.raises(ValueError, match="`noise_shape` must have 2 entries"):
        dropout(ONES, 0.5, key(1), noise_shape)


@pytest.mark.parametrize("noise_shape", ["11", 1, (0, 1), (-1, 1), (1.0, None), ("1", None)])
def test_what_is_no_noise_shape_is_refused(noise_shape):
    with pytest.raises(ValueError, match=r"`noise_shape` must be .*Received: noise_shape="):
        ScheduledDropout(0.5, noise_shape)


@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "XLA"])
def test_the_batch_may_be_of_any_size(jit_compile):
    layer = ScheduledDropout(0.5, noise_shape=(None, 1), seed=1)
    signature = [tf.TensorSpec([None, 32])]
    call = tf.function(
        lambda x: layer(x, training=True), input_signature=signature, jit_compile=jit_compile
    )
    reference = ScheduledDropout(0.5, noise_shape=(None, 1), seed=1)
    for batch in (1, 7, 64):
        x = np.ones((batch, 32), "float32")
        np.testing.assert_array_equal(call(x), reference(x, training=True))


@pytest.mark.parametrize("shape", [(), (5,), (0, 4), (2, 3, 4, 5)])
def test_inputs_may_have_any_rank(shape):
    y = ScheduledDropout(0.5, seed=1)(np.ones(shape, "float32"), training=True)
    assert tuple(y.shape) == shape


def test_the_shape_of_the_output_is_the_shape_of_the_input():
    layer = ScheduledDropout(0.5, noise_shape=(None, 1, None))
    assert layer.compute_output_shape((None, 5, 3)) == (None, 5, 3)
    assert layer(keras.Input((5, 3))).shape == (None, 5, 3)


@pytest.mark.parametrize("training", [True, False])
def test_keras_masks_pass_through(training):
    inputs = keras.Input((3, 1))
    masked = keras.layers.Masking(mask_value=-1.0)(inputs)
    mean = keras.layers.GlobalAveragePooling1D()
    model = keras.Model(inputs, mean(ScheduledDropout(0.0, seed=1)(masked)))
    x = np.array([[[2.0], [4.0], [-1.0]]], "float32")
    # The mean of 2 and 4: the third time step is masked.
    assert float(model(x, training=training)[0, 0]) == 3.0


# The rate moves.


def test_an_assigned_rate_acts_without_a_retrace():
    layer, traces = ScheduledDropout(0.0, seed=1), []

    @tf.function
    def call():
        traces.append(1)
        return layer(ONES, training=True)

    for rate in (0.0, 1.0, 0.5, 0.0):
        layer.rate.assign(rate)
        assert np.mean(kept(call())) == pytest.approx(1 - rate, abs=4 * 0.5 / math.sqrt(ONES.size))
    assert len(traces) == 1


def test_an_assigned_rate_acts_on_a_compiled_model():
    layer = ScheduledDropout(0.0, seed=1)
    mean = keras.layers.Dense(
        1, use_bias=False, kernel_initializer=keras.initializers.Constant(1 / 32)
    )
    model = keras.Sequential([keras.Input((32,)), layer, mean])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    assert model.train_on_batch(ONES, np.ones(64)) == 0.0
    layer.rate.assign(1.0)
    model.reset_metrics()  # Older versions of Keras give the mean over steps.
    assert model.train_on_batch(ONES, np.ones(64)) == 1.0


def test_the_config_carries_the_rate_as_it_is_now():
    layer = ScheduledDropout(0.5, seed=1)
    layer.rate.assign(0.25)
    assert layer.get_config()["rate"] == 0.25
    assert float(copy.deepcopy(layer).rate) == 0.25


@pytest.mark.parametrize("mode", ["eager", "graph", "XLA"])
def test_a_scheduled_rate_equals_the_schedule_at_each_step(mode):
    layer = ScheduledDropout(STAIRS, seed=1)
    call = in_mode(lambda x: layer(x, training=True), mode)
    for step, rate in enumerate(STEPS):
        assert int(layer.step) == step
        y = np.array(call(ONES))
        assert float(layer.rate) == rate
        assert np.max(y) == np.float32(1 / (1 - rate))


def test_a_scheduled_rate_follows_its_schedule_in_fit():
    layer = ScheduledDropout(STAIRS, seed=1)
    model = keras.Sequential([keras.Input((32,)), layer, keras.layers.Dense(1)])
    model.compile("sgd", "mse", jit_compile=False)
    seen = []
    record = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(float(layer.rate))
    )
    y = np.ones((64, 1))
    model.fit(ONES, y, 32, 3, 0, [record], validation_data=(ONES, y))
    assert seen == STEPS[:6]
    assert int(layer.step) == 6


@pytest.mark.parametrize(
    "rate",
    [-0.1, 1.1, math.nan, math.inf, "0.5", True, None, PolynomialDecay(0.0, 10, 1.5)],
)
def test_what_is_no_rate_is_refused(rate):
    with pytest.raises(ValueError, match=r"`rate` must be .*from 0 to 1.*Received: rate="):
        ScheduledDropout(rate)


@pytest.mark.parametrize("seed", [-1, 0.5, "1", True])
def test_what_is_no_seed_is_refused(seed):
    with pytest.raises(ValueError, match=r"`seed` must be a whole number .*Received: seed="):
        ScheduledDropout(0.5, seed=seed)


# Stopped and continued.


@pytest.mark.parametrize("rate", [0.5, STAIRS], ids=["number", "schedule"])
def test_a_saved_model_goes_on_with_the_masks_it_would_have_drawn(tmp_path, rate):
    model = keras.Sequential([keras.Input((32,)), ScheduledDropout(rate, seed=1)])
    for _ in range(2):
        model(ONES, training=True)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert int(loaded.layers[0].step) == 2
    for _ in range(3):
        np.testing.assert_array_equal(loaded(ONES, training=True), model(ONES, training=True))


def test_weights_and_checkpoints_carry_the_stream_too(tmp_path):
    def make():
        return keras.Sequential([keras.Input((32,)), ScheduledDropout(STAIRS, seed=1)])

    model = make()
    for _ in range(2):
        model(ONES, training=True)
    model.save_weights(tmp_path / "model.weights.h5")
    checkpoint = tf.train.Checkpoint(model=model).save(str(tmp_path / "checkpoint"))
    expected = [np.array(model(ONES, training=True)) for _ in range(3)]

    loaded = make()
    loaded.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal([loaded(ONES, training=True) for _ in range(3)], expected)
    restored = make()
    tf.train.Checkpoint(model=restored).restore(checkpoint).assert_existing_objects_matched()
    np.testing.assert_array_equal([restored(ONES, training=True) for _ in range(3)], expected)


def test_a_copy_goes_its_own_way():
    layer = ScheduledDropout(0.5, seed=1)
    layer(ONES, training=True)
    copied = copy.deepcopy(layer)
    np.testing.assert_array_equal(copied(ONES, training=True), layer(ONES, training=True))
    copied.rate.assign(0.0)
    copied(ONES, training=True)
    assert float(layer.rate) == 0.5
    assert int(layer.step) == 2


# The function.


def test_the_function_is_the_layer_without_state():
    x = np.random.default_rng(0).uniform(1, 2, size=(64, 32)).astype("float32")
    first, again = (np.array(dropout(x, 0.25, key(7))) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    mask = first != 0
    np.testing.assert_allclose(first[mask], x[mask] / 0.75, rtol=1e-6)
    assert abs(np.mean(mask) - 0.75) < 4 * math.sqrt(0.25 * 0.75 / x.size)
