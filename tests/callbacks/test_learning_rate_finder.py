"""LearningRateFinder and find_learning_rate: which rates, which losses, when they end."""

import copy

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasreg.callbacks import LearningRateFinder, find_learning_rate

SIZE, BATCHES = 4, 6
RNG = np.random.default_rng(0)
X = RNG.normal(size=(SIZE * BATCHES, 3)).astype("float32")
Y = RNG.normal(size=(SIZE * BATCHES, 1)).astype("float32")
# Rates at which nothing explodes, over more than one epoch and no whole number of them.
CALM = {"low": 1e-5, "high": 1e-2, "steps": 15, "divergence": 100.0}


def make_model(built=True, optimizer="sgd", **options):
    model = keras.Sequential([keras.Input((3,))] if built else [])
    model.add(keras.layers.Dense(1))
    model.compile(optimizer, "mse", **options)
    return model


def find(model, y=Y, size=SIZE, **options):
    return find_learning_rate(model, X, y, batch_size=size, **options)


def fit(model, *callbacks, size=SIZE, **options):
    return model.fit(X, Y, size, verbose=0, callbacks=list(callbacks), **options)


class Record(keras.callbacks.Callback):
    """The learning rate and the loss of each batch."""

    def __init__(self):
        super().__init__()
        self.rates, self.losses = [], []

    def on_train_batch_end(self, batch, logs=None):
        self.rates.append(float(self.model.optimizer.learning_rate))
        self.losses.append(logs["loss"])


def smoothed(losses, smoothing):
    averages, average = [], 0.0
    for number, loss in enumerate(losses, 1):
        average = smoothing * average + (1 - smoothing) * loss
        averages.append(average / (1 - smoothing**number))
    return averages


@pytest.mark.parametrize("smoothing", [0.0, 0.5, 0.98])
def test_the_rates_are_geometric_and_the_losses_smoothed_by_the_formula(smoothing):
    record = Record()
    found = find(make_model(), smoothing=smoothing, callbacks=[record], **CALM)
    assert not found.diverged
    np.testing.assert_allclose(found.rates, np.geomspace(1e-5, 1e-2, 15), rtol=1e-9)
    np.testing.assert_allclose(record.rates, found.rates, rtol=1e-6)
    assert found.losses.tolist() == record.losses
    np.testing.assert_allclose(found.smoothed, smoothed(record.losses, smoothing), rtol=1e-9)


def test_the_loss_of_a_batch_is_its_own_and_no_mean_of_the_epoch():
    model = make_model()
    model.set_weights([np.zeros((3, 1)), np.zeros(1)])
    targets = np.arange(1.0, BATCHES + 1).repeat(SIZE)
    options = {**CALM, "low": 1e-9, "high": 1e-8, "steps": BATCHES}
    found = find(model, targets, shuffle=False, **options)
    np.testing.assert_allclose(found.losses, np.arange(1.0, BATCHES + 1) ** 2, rtol=1e-4)


@pytest.mark.parametrize(("every", "group"), [(2, 1), (3, 2), (4, 1), (2, 6)])
def test_with_gradient_accumulation_a_step_is_of_all_its_batches(every, group):
    optimizer = keras.optimizers.SGD(gradient_accumulation_steps=every)
    model = make_model(optimizer=optimizer, steps_per_execution=group, jit_compile=False)
    model.set_weights([np.zeros((3, 1)), np.zeros(1)])
    targets = np.arange(1.0, BATCHES + 1).repeat(SIZE)
    record = Record()
    options = {**CALM, "low": 1e-9, "high": 1e-8, "steps": 7, "callbacks": [record]}
    found = find(model, targets, shuffle=False, **options)
    np.testing.assert_allclose(found.rates, np.geomspace(1e-9, 1e-8, 7), rtol=1e-9)
    calls = -(-every // group)  # What callbacks see of a step.
    np.testing.assert_allclose(record.rates, found.rates.repeat(calls), rtol=1e-6)
    squares = np.tile(np.arange(1.0, BATCHES + 1) ** 2, 7 * every)[: 7 * calls * group]
    np.testing.assert_allclose(found.losses, squares.reshape(7, -1).mean(1), rtol=1e-4)


def test_a_short_training_with_gradient_accumulation_goes_through_all_rates():
    model = make_model(optimizer=keras.optimizers.SGD(gradient_accumulation_steps=2))
    finder = LearningRateFinder(1e-5, 1e-2, steps=100)
    fit(model, finder, epochs=2)
    np.testing.assert_allclose(finder.result.rates, np.geomspace(1e-5, 1e-2, 6), rtol=1e-9)


def test_with_several_steps_per_execution_a_loss_is_of_the_group():
    model = make_model(steps_per_execution=2, jit_compile=False)
    model.set_weights([np.zeros((3, 1)), np.zeros(1)])
    targets = np.tile([1.0, 3.0], BATCHES // 2).repeat(SIZE)
    found = find(model, targets, shuffle=False, **{**CALM, "low": 1e-9, "high": 1e-8})
    np.testing.assert_allclose(found.losses, np.full(15, 5.0), rtol=1e-4)


@pytest.mark.parametrize(("smoothing", "divergence"), [(0.0, 4.0), (0.9, 1.5)])
def test_it_ends_when_the_smoothed_loss_is_too_many_times_its_least(smoothing, divergence):
    record = Record()
    options = {"smoothing": smoothing, "divergence": divergence, "callbacks": [record]}
    found = find(make_model(), size=len(X), low=1e-2, high=1e5, steps=30, **options)
    averages = np.array(smoothed(record.losses, smoothing))
    exploded = averages > divergence * np.minimum.accumulate(averages)
    assert found.diverged
    assert exploded.tolist() == [False] * len(found.rates) + [True]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_it_ends_at_a_loss_that_is_not_finite(bad):
    targets = Y.copy()
    targets[5 * SIZE] = bad
    found = find(make_model(), targets, shuffle=False, **CALM)
    assert found.diverged
    assert len(found.rates) == len(found.losses) == 5
    assert np.all(np.isfinite(found.smoothed))


@pytest.mark.parametrize(
    ("compiled", "options", "count"),
    [
        ({}, {"epochs": 2}, 2 * BATCHES),
        ({"steps_per_execution": 2, "jit_compile": False}, {"epochs": 2}, BATCHES),
        ({}, {"epochs": 2, "initial_epoch": 1}, BATCHES),
    ],
    ids=["two epochs", "steps_per_execution", "initial_epoch"],
)
def test_a_training_of_fewer_batches_goes_through_all_rates(compiled, options, count):
    finder = LearningRateFinder(**{**CALM, "steps": 100})
    fit(make_model(**compiled), finder, **options)
    np.testing.assert_allclose(finder.result.rates, np.geomspace(1e-5, 1e-2, count), rtol=1e-9)


def test_it_stops_the_fit_that_it_is_given_to():
    finder = LearningRateFinder(**{**CALM, "steps": 8})
    history = fit(make_model(), finder, epochs=9)
    assert history.epoch == [0, 1]
    assert len(finder.result.rates) == 8


def test_a_copy_of_one_that_was_used_leaves_the_first_model_and_its_result_alone():
    first, second = make_model(), make_model()
    finder = LearningRateFinder(**CALM)
    fit(first, finder, epochs=3)
    weights, rates = first.get_weights(), finder.result.rates.copy()
    copied = copy.deepcopy(finder)
    copied.low = 1e-4
    fit(second, copied, epochs=3)
    for now, before in zip(first.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(now, before)
    np.testing.assert_array_equal(finder.result.rates, rates)
    assert copied.result.rates[0] == pytest.approx(1e-4)


def test_one_that_is_used_again_begins_anew():
    finder = LearningRateFinder(**CALM)
    for _ in range(2):
        fit(make_model(), finder, epochs=3)
        np.testing.assert_allclose(finder.result.rates, np.geomspace(1e-5, 1e-2, 15), rtol=1e-9)


WITHOUT_A_SEED = """
import keras, numpy as np
from kerasreg.callbacks import find_learning_rate
model = keras.Sequential([keras.layers.Dense(1)])
model.compile("sgd", "mse")
print(len(find_learning_rate(model, np.ones((8, 2)), np.ones((8, 1)), steps=5).rates))
"""


@pytest.mark.long
def test_no_seed_need_ever_have_been_set(run_python):
    assert run_python("-c", WITHOUT_A_SEED).split() == ["5"]


@pytest.mark.long
def test_a_model_of_a_strategy_need_not_be_built():
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        models = [make_model(built=False), make_model(built=False)]
    fit(models[0])  # This is how it is without a test.
    find(models[1], **CALM)


# Against theory.


def regression():
    """A problem, and the rate from which on full gradient descent diverges."""
    x = np.random.default_rng(1).normal(size=(64, 4)) * [2.0, 1.0, 0.7, 0.5]
    noise = np.random.default_rng(2).normal(size=(64, 1))
    largest_curvature = np.linalg.eigvalsh(2.0 * x.T @ x / len(x))[-1]
    return x, x @ [[1.0], [-1.0], [2.0], [0.5]] + 0.3 * noise, 2.0 / largest_curvature


def find_in(x, y, **options):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, use_bias=False)])
    model.compile(keras.optimizers.SGD(), "mse")
    model.set_weights([np.zeros((4, 1))])
    return find_learning_rate(model, tf.data.Dataset.from_tensors((x, y)).repeat(300), **options)


@pytest.mark.parametrize("smoothing", [0.5, 0.98])
def test_full_gradient_descent_explodes_near_the_rate_of_theory(smoothing):
    x, y, bound = regression()
    found = find_in(x, y, low=1e-2, high=3.0, steps=300, smoothing=smoothing)
    assert found.diverged
    assert bound / 3 < found.rates[-1] < 3 * bound
    for rate in (found.steepest, found.valley, found.minimum):
        assert rate < bound


def test_the_steepest_rate_of_a_test_with_default_arguments_trains():
    x, y, _ = regression()
    rate, w, losses = find_in(x, y).steepest, np.zeros((4, 1)), []
    for _ in range(50):
        losses.append(np.mean((x @ w - y) ** 2))
        w = w - rate * 2.0 / len(x) * x.T @ (x @ w - y)
    assert np.all(np.diff(losses) <= 1e-9)
    assert losses[-1] < 0.5 * losses[0]


# Refusals.


def test_what_cannot_be_tested_is_refused():
    with pytest.raises(ValueError, match="`x` must be arrays, a tf"):
        find_learning_rate(make_model(), ((X, Y) for _ in range(9)))
    for model in (keras.Sequential([keras.layers.Dense(1)]), None):
        with pytest.raises(ValueError, match="`model` must be a compiled"):
            find_learning_rate(model, X, Y)
    with pytest.raises(ValueError, match="`low` must be a rate with which the loss does not expl"):
        find(make_model(), low=1e12, high=1e15)
    with pytest.raises(ValueError, match=r"at least 5 batches\. Received: .* 2 losses"):
        fit(make_model(), LearningRateFinder(divergence=100.0), size=12)


def test_a_schedule_in_the_optimizer_is_refused_and_the_model_as_before():
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 9)
    model = make_model(optimizer=keras.optimizers.SGD(schedule))
    before = model.get_weights()
    with pytest.raises(ValueError, match="Received: a CosineDecay"):
        find(model)
    for now, then in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_as_a_callback_it_refuses_a_model_that_is_not_built():
    with pytest.raises(ValueError, match="`model` must be built"):
        fit(make_model(built=False), LearningRateFinder())
