"""Penalties in real models: where they act, when their strength moves, what they leave alone."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from keras.optimizers.schedules import (
    CosineDecay,
    LearningRateSchedule,
    PiecewiseConstantDecay,
    PolynomialDecay,
)

from kerasreg.regularizers import L1, L2, ElasticNet

# Differs at each step, with values that every mode of execution has exactly.
STAIRS = PiecewiseConstantDecay([0, 1, 2, 3], [0.5, 0.25, 1.0, 0.125, 2.0])
STEPS = [float(STAIRS(step)) for step in range(8)]


def x_and_y(samples=8, features=3):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(samples, features)).astype("float32")
    return x, rng.normal(size=(samples, 1)).astype("float32")


def dense_model(penalty=None, optimizer="sgd", loss="mse", **compile_options):
    model = keras.Sequential(
        [keras.Input((3,)), layers.Dense(4, kernel_regularizer=penalty), layers.Dense(1)]
    )
    model.compile(optimizer, loss, **compile_options)
    return model


class Record(keras.callbacks.Callback):
    """The strength that each training step used."""

    def __init__(self, penalty):
        super().__init__()
        self.penalty, self.strengths = penalty, []

    def on_train_batch_end(self, batch, logs=None):
        self.strengths.append(float(self.penalty.strength))


def fit(model, *callbacks, epochs=2, batch_size=4, **options):
    x, y = x_and_y()
    options = {"verbose": 0, "shuffle": False, **options}
    return model.fit(x, y, batch_size, epochs, callbacks=list(callbacks), **options)


# Where penalties act.

PLACES = {
    "Dense kernel": (
        (3,),
        lambda p: layers.Dense(2, kernel_regularizer=p),
        lambda layer: layer.kernel,
    ),
    "Dense bias": (
        (3,),
        lambda p: layers.Dense(2, bias_regularizer=p, bias_initializer="ones"),
        lambda layer: layer.bias,
    ),
    "Conv2D kernel": (
        (4, 4, 1),
        lambda p: layers.Conv2D(2, 3, kernel_regularizer=p),
        lambda layer: layer.kernel,
    ),
    "BatchNormalization gamma": (
        (3,),
        lambda p: layers.BatchNormalization(gamma_regularizer=p),
        lambda layer: layer.gamma,
    ),
    "Embedding": (
        (3,),
        lambda p: layers.Embedding(5, 2, embeddings_regularizer=p),
        lambda layer: layer.embeddings,
    ),
}


def loss_of_a_step(model, x, y):
    """Not the running mean over steps that older versions of Keras give."""
    model.reset_metrics()
    return model.train_on_batch(x, y)


@pytest.mark.parametrize(("shape", "make", "weight"), PLACES.values(), ids=PLACES.keys())
def test_a_penalty_adds_its_formula_to_the_loss_of_any_layer(shape, make, weight):
    layer = make(ElasticNet(0.5, alpha=0.25))
    model = keras.Sequential([keras.Input(shape), layer])
    model.compile(loss="mse", run_eagerly=True)
    x = np.ones((2, *shape), "float32")
    w = np.array(weight(layer))
    expected = 0.5 * (0.25 * w**2 + 0.75 * np.abs(w)).sum()
    assert expected > 0
    data_loss = np.mean((np.array(model(x)) - 1) ** 2)
    loss = model.evaluate(x, np.ones(model.compute_output_shape(x.shape)), verbose=0)
    assert loss == pytest.approx(data_loss + expected, rel=1e-5)


def test_an_activity_penalty_is_weighed_as_the_one_of_keras():
    # Divided by the batch, since Keras 3.11.
    x = x_and_y()[0]
    kernel = keras.initializers.GlorotNormal(seed=1)
    losses = []
    for penalty in (L2(0.5), keras.regularizers.L2(0.25)):
        layer = layers.Dense(2, kernel_initializer=kernel, activity_regularizer=penalty)
        y = layer(x)
        losses.append(float(sum(layer.losses)))
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    whole = 0.5 * 0.5 * (np.array(y) ** 2).sum()
    assert losses[0] == pytest.approx(whole / 8, rel=1e-6) or losses[0] == pytest.approx(whole)


def test_an_activity_penalty_follows_its_schedule():
    penalty = L2(STAIRS)
    model = keras.Sequential([keras.Input((3,)), layers.Dense(1, activity_regularizer=penalty)])
    model.compile("sgd", "mse", jit_compile=False)
    record = Record(penalty)
    fit(model, record, validation_data=x_and_y())
    assert record.strengths == STEPS[:4]


def test_l2_is_the_decay_rate_under_plain_sgd():
    # Inputs of zero leave the penalty alone to move the kernel.
    layer = layers.Dense(2, kernel_regularizer=L2(0.5))
    model = keras.Sequential([keras.Input((3,)), layer])
    model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=False)
    before = np.array(layer.kernel)
    model.fit(np.zeros((8, 3)), np.zeros((8, 2)), batch_size=4, epochs=3, verbose=0)
    np.testing.assert_allclose(layer.kernel, before * (1 - 0.1 * 0.5) ** 6, rtol=1e-5)


@pytest.mark.parametrize("make", [L1, L2, ElasticNet])
def test_strength_zero_trains_as_no_penalty_does(make):
    weights = []
    for penalty in (None, make(0.0)):
        keras.utils.set_random_seed(1)
        model = dense_model(penalty, jit_compile=False)
        fit(model)
        weights.append(model.get_weights())
    for without, zero in zip(*weights, strict=True):
        np.testing.assert_array_equal(without, zero)


# The strength moves.


class CountedLoss:
    """The mean squared error, counting how often Python runs it: once a trace."""

    def __init__(self):
        self.traces = 0

    def __call__(self, y_true, y_pred):
        self.traces += 1
        return keras.ops.mean(keras.ops.square(y_true - y_pred))


@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "XLA"])
def test_an_assigned_strength_acts_on_the_compiled_model_without_a_retrace(jit_compile):
    penalty, loss = L2(0.5), CountedLoss()
    model = dense_model(penalty, keras.optimizers.SGD(0.0), loss, jit_compile=jit_compile)
    x, y = x_and_y()
    data_loss = float(loss(y, model(x)))
    unit = 0.5 * (np.array(model.layers[0].kernel) ** 2).sum()
    assert loss_of_a_step(model, x, y) == pytest.approx(data_loss + 0.5 * unit, rel=1e-5)
    traces = loss.traces
    for strength in (2.0, 0.0, 7.0):
        penalty.strength.assign(strength)
        assert loss_of_a_step(model, x, y) == pytest.approx(data_loss + strength * unit, rel=1e-5)
    assert loss.traces == traces


@pytest.mark.parametrize("mode", ["eager", "graph", "XLA"])
def test_a_scheduled_strength_equals_the_schedule_at_each_training_step(mode):
    penalty = L2(STAIRS)
    # With no learning rate the weights stand still, so each loss shows its strength.
    model = dense_model(
        penalty,
        keras.optimizers.SGD(0.0),
        run_eagerly=mode == "eager",
        jit_compile=mode == "XLA",
    )
    x, y = x_and_y()
    data_loss = np.mean((np.array(model(x)) - y) ** 2)
    unit = 0.5 * (np.array(model.layers[0].kernel) ** 2).sum()
    for strength in STEPS[:6]:
        loss = loss_of_a_step(model, x, y)
        assert loss == pytest.approx(data_loss + strength * unit, rel=1e-5)
        assert float(penalty.strength) == strength


@pytest.mark.parametrize("schedule", [CosineDecay(0.3, 5), PolynomialDecay(0.0, 6, 0.1)])
def test_any_schedule_is_followed_over_epochs_and_evaluations(schedule):
    penalty = L1(schedule)
    model, record = dense_model(penalty, jit_compile=False), Record(penalty)
    fit(model, record, epochs=3, validation_data=x_and_y())
    expected = [float(schedule(step)) for step in range(6)]
    np.testing.assert_allclose(record.strengths, expected, rtol=1e-6)


@pytest.mark.parametrize("run_eagerly", [True, False])
def test_evaluation_and_prediction_use_the_last_strength_and_count_nothing(run_eagerly):
    penalty = L2(STAIRS)
    model = dense_model(penalty, keras.optimizers.SGD(0.0), run_eagerly=run_eagerly)
    x, y = x_and_y()
    unit = 0.5 * (np.array(model.layers[0].kernel) ** 2).sum()
    data_loss = np.mean((np.array(model(x)) - y) ** 2)

    def assert_evaluates_with(strength):
        for _ in range(2):
            loss = model.evaluate(x, y, verbose=0)
            assert loss == pytest.approx(data_loss + strength * unit, rel=1e-5)
            model.predict(x, verbose=0)
            model(x, training=False)

    assert_evaluates_with(STEPS[0])  # Before any step: the schedule's first value.
    for step in range(3):
        model.train_on_batch(x, y)
        assert_evaluates_with(STEPS[step])


def test_a_penalty_on_two_weights_counts_one_step_for_both():
    penalty = L2(STAIRS)
    model = keras.Sequential(
        [
            keras.Input((3,)),
            layers.Dense(3, kernel_regularizer=penalty, bias_regularizer=penalty),
            layers.Dense(1, kernel_regularizer=penalty),
        ]
    )
    model.compile(keras.optimizers.SGD(0.0), "mse", jit_compile=False)
    x, y = x_and_y()
    data_loss = np.mean((np.array(model(x)) - y) ** 2)
    unit = sum(0.5 * (np.array(layer.kernel) ** 2).sum() for layer in model.layers)
    for strength in STEPS[:4]:
        # Both see the same strength in the same step.
        assert loss_of_a_step(model, x, y) == pytest.approx(data_loss + strength * unit, rel=1e-5)
        assert float(penalty.strength) == strength


def test_several_steps_per_execution_are_several_steps():
    penalty = L2(STAIRS)
    model = dense_model(penalty, steps_per_execution=4, jit_compile=False)
    fit(model, epochs=1, batch_size=2)
    assert float(penalty.strength) == STEPS[3]


def test_each_micro_batch_of_gradient_accumulation_is_a_step():
    penalty = L2(STAIRS)
    optimizer = keras.optimizers.SGD(0.1, gradient_accumulation_steps=2)
    model, record = dense_model(penalty, optimizer, jit_compile=False), Record(penalty)
    fit(model, record, epochs=2)
    assert int(optimizer.iterations) == 2
    assert record.strengths == STEPS[:4]


def test_a_smaller_last_batch_is_a_step_like_any_other():
    penalty = L2(STAIRS)
    model, record = dense_model(penalty, jit_compile=False), Record(penalty)
    fit(model, record, batch_size=5)  # 5 samples and 3, twice: two traces take turns.
    assert record.strengths == STEPS[:4]


@pytest.mark.parametrize("compiled", [False, True])
def test_a_training_loop_of_ones_own_moves_the_strength(compiled):
    penalty = L2(STAIRS)
    model = keras.Sequential([keras.Input((3,)), layers.Dense(1, kernel_regularizer=penalty)])
    x, y = x_and_y()
    optimizer = keras.optimizers.SGD(0.0)
    optimizer.build(model.trainable_variables)

    def step():
        with tf.GradientTape() as tape:
            data_loss = tf.reduce_mean(tf.square(model(x, training=True) - y))
            penalties = tf.add_n(model.losses)
            loss = data_loss + penalties
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return penalties

    step = tf.function(step) if compiled else step
    unit = 0.5 * (np.array(model.layers[0].kernel) ** 2).sum()
    for strength in STEPS[:4]:
        assert float(step()) == pytest.approx(strength * unit, rel=1e-5)


def test_a_strength_that_a_schedule_moves_where_it_was_not_probed_stays_in_range():
    @keras.saving.register_keras_serializable("kerasreg_tests")
    class NegativeFromStep18(LearningRateSchedule):
        """Between the steps at which a schedule is probed, so that it is accepted."""

        def __call__(self, step):
            step = keras.ops.cast(step, "float32")
            return keras.ops.where((step >= 18) & (step < 20), -1.0, 1.0)

        def get_config(self):
            return {}

    penalty = L2(NegativeFromStep18())
    model, record = dense_model(penalty, jit_compile=False), Record(penalty)
    fit(model, record, epochs=11)
    assert record.strengths[:18] == [1.0] * 18
    assert record.strengths[18:] == [0.0, 0.0, 1.0, 1.0]


# What penalties leave alone, and what files hold.


def test_weights_and_their_count_are_those_of_the_model_without_penalties():
    plain, penalised = dense_model(), dense_model(ElasticNet(STAIRS))
    assert [w.shape for w in penalised.get_weights()] == [w.shape for w in plain.get_weights()]
    assert penalised.count_params() == plain.count_params()
    assert len(penalised.trainable_variables) == len(plain.trainable_variables)
    penalised.set_weights(plain.get_weights())
    for theirs, ours in zip(plain.get_weights(), penalised.get_weights(), strict=True):
        np.testing.assert_array_equal(theirs, ours)


def named_model(penalty):
    model = keras.Sequential(
        [
            keras.Input((3,)),
            layers.Dense(4, kernel_regularizer=penalty, name="hidden"),
            layers.Dense(1, name="output"),
        ]
    )
    model.compile("sgd", "mse", jit_compile=False)
    return model


def test_a_weights_file_of_a_model_without_penalties_loads_into_one_with(tmp_path):
    plain, penalised = named_model(None), named_model(L2(0.25))
    plain.save_weights(tmp_path / "plain.weights.h5")
    penalised.load_weights(tmp_path / "plain.weights.h5")
    for theirs, ours in zip(plain.get_weights(), penalised.get_weights(), strict=True):
        np.testing.assert_array_equal(theirs, ours)
    assert float(penalised.layers[0].kernel_regularizer.strength) == 0.25


def test_a_weights_file_of_a_model_with_penalties_loads_into_one_without(tmp_path):
    plain, penalised = named_model(None), named_model(L2(STAIRS))
    fit(penalised, epochs=1)
    penalised.save_weights(tmp_path / "penalised.weights.h5")
    plain.load_weights(tmp_path / "penalised.weights.h5")
    for ours, theirs in zip(penalised.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_weights_file_restores_an_assigned_strength_and_the_step_of_a_schedule(tmp_path):
    model = named_model(L2(STAIRS))
    fit(model, epochs=1)
    model.save_weights(tmp_path / "model.weights.h5")
    fresh = named_model(L2(STAIRS))
    fresh.load_weights(tmp_path / "model.weights.h5")
    penalty = fresh.layers[0].kernel_regularizer
    assert float(penalty.strength) == STEPS[1]
    record = Record(penalty)
    fit(fresh, record, epochs=1)
    assert record.strengths == STEPS[2:4]


def test_a_saved_model_with_one_penalty_on_two_layers_goes_on_where_it_stopped(tmp_path):
    def train(saved):
        keras.utils.set_random_seed(1)
        penalty = L2(STAIRS)
        model = keras.Sequential(
            [
                keras.Input((3,)),
                layers.Dense(3, kernel_regularizer=penalty),
                layers.Dense(1, kernel_regularizer=penalty),
            ]
        )
        model.compile("sgd", "mse", jit_compile=False)
        fit(model, epochs=1)
        if saved:
            model.save(tmp_path / "model.keras")
            model = keras.models.load_model(tmp_path / "model.keras")
        fit(model, epochs=1)
        return model

    expected, resumed = train(saved=False), train(saved=True)
    for layer in resumed.layers:
        assert float(layer.kernel_regularizer.strength) == STEPS[3]
    for theirs, ours in zip(expected.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_array_equal(theirs, ours)


def test_a_saved_model_with_one_penalty_on_two_layers_is_loaded_with_one(tmp_path):
    penalty = L2(0.5)
    model = keras.Sequential(
        [
            keras.Input((3,)),
            layers.Dense(3, kernel_regularizer=penalty, bias_regularizer=penalty),
            layers.Dense(1, kernel_regularizer=penalty),
        ]
    )
    model.save(tmp_path / "model.keras")
    first, second = keras.models.load_model(tmp_path / "model.keras").layers
    assert first.kernel_regularizer is first.bias_regularizer
    assert first.kernel_regularizer is second.kernel_regularizer


@pytest.mark.parametrize("strength", [0.5, STAIRS], ids=["number", "schedule"])
def test_two_penalties_that_look_alike_are_loaded_as_two(tmp_path, strength):
    # As when a model that was loaded, with a penalty named "l2", gets a new layer
    # whose penalty Keras names "l2" again.
    used, new = L2(strength, name="l2"), L2(strength, name="l2")
    old = keras.Sequential([keras.Input((3,)), layers.Dense(3, kernel_regularizer=used)])
    old.compile("sgd", "mse", jit_compile=False)
    x, y = x_and_y()
    for _ in range(2):
        old.train_on_batch(x, np.zeros((8, 3)))
    model = keras.Sequential([keras.Input((3,)), *old.layers])
    model.add(layers.Dense(1, kernel_regularizer=new))
    model.compile("sgd", "mse", jit_compile=False)
    model.train_on_batch(x, y)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    first, second = (layer.kernel_regularizer for layer in loaded.layers)
    assert first is not second
    for one in (model, loaded):
        one.train_on_batch(x, y)
    assert float(first.strength) == float(used.strength)
    assert float(second.strength) == float(new.strength)
    first.strength.assign(3.0)
    assert float(second.strength) == float(new.strength)


def test_a_cloned_model_has_a_strength_of_its_own():
    model = dense_model(L2(0.5))
    cloned = keras.models.clone_model(model)
    cloned.layers[0].kernel_regularizer.strength.assign(2.0)
    assert float(model.layers[0].kernel_regularizer.strength) == 0.5
