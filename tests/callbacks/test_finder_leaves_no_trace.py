"""After a learning-rate test, all is as before: variables, generators, the order of the data."""

import functools
import random

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasreg.callbacks import LearningRateFinder, find_learning_rate
from kerasreg.layers import ScheduledDropout
from kerasreg.optimizers import Proximal
from kerasreg.regularizers import L1
from kerasreg.schedules import Linear

SIZE, BATCHES = 4, 6
RNG = np.random.default_rng(0)
X = RNG.normal(size=(SIZE * BATCHES, 3)).astype("float32")
Y = RNG.normal(size=(SIZE * BATCHES, 1)).astype("float32")
# Rates at which nothing explodes, over more than one epoch and no whole number of them.
CALM = {"low": 1e-5, "high": 1e-2, "steps": 15, "divergence": 100.0}


class Watched(keras.Sequential):
    """Keeps the inputs of each batch that it is trained with."""

    def train_step(self, data):
        if tf.executing_eagerly():
            self.seen.append(data[0].numpy())
        return super().train_step(data)


def make_model(built=True, **options):
    layers = [keras.layers.Dense(4), keras.layers.Dropout(0.5), keras.layers.Dense(1)]
    model = Watched([keras.Input((3,)), *layers] if built else layers)
    model.seen = []
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9), "mse", **options)
    return model


def state(model):
    """Every variable: weights, counts of steps, rates, seeds, the optimizer's."""
    return [np.array(variable) for variable in [*model.variables, *model.optimizer.variables]]


def assert_equal(mine, theirs):
    for one, other in zip(mine, theirs, strict=True):
        np.testing.assert_array_equal(one, other)


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return BATCHES

    def __getitem__(self, index):
        part = slice(index * SIZE, (index + 1) * SIZE)
        return X[part], Y[part]


def pipeline():
    return tf.data.Dataset.from_tensor_slices((X, Y))


def random_inputs():
    numbers = tf.data.Dataset.random(seed=4, rerandomize_each_iteration=True).take(len(X))
    inputs = numbers.map(lambda number: tf.fill([3], tf.cast(number % 1000, "float32") / 1000))
    return tf.data.Dataset.zip((inputs, tf.data.Dataset.from_tensor_slices(Y))).batch(SIZE)


# What `fit` is given, made anew each time, as all of them have a state.
DATA = {
    "arrays": lambda folder: {"x": X, "y": Y, "batch_size": SIZE},
    "shuffle": lambda folder: {"x": pipeline().shuffle(len(X)).batch(SIZE)},
    "shuffle(seed)": lambda folder: {"x": pipeline().shuffle(len(X), seed=3).batch(SIZE)},
    "repeat": lambda folder: {
        "x": pipeline().shuffle(len(X)).batch(SIZE).repeat(),
        "steps_per_epoch": BATCHES,
    },
    "cache": lambda folder: {"x": pipeline().shuffle(len(X)).batch(SIZE).cache()},
    "cache(file)": lambda folder: {"x": pipeline().batch(SIZE).cache(str(folder / "cache"))},
    "random": lambda folder: {"x": random_inputs()},
    # Of one epoch: from the second on, Keras' own order depends on its threads.
    "PyDataset": lambda folder: {"x": Batches(), "shuffle": True, "epochs": 1},
}


def train(model, data, **options):
    return model.fit(**{"epochs": 3, "verbose": 0, **data, **options})


class Fail(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if batch == 3:
            raise KeyboardInterrupt


def find(model, data, how="to its end"):
    data = {name: value for name, value in data.items() if name != "epochs"}
    if how == "until the loss explodes":
        options = {"low": 1e-3, "high": 1e9, "steps": 15, "divergence": 1e3}
        assert find_learning_rate(model, **data, **options).diverged
    elif how == "until an exception":
        with pytest.raises(KeyboardInterrupt):
            find_learning_rate(model, **data, **CALM, callbacks=[Fail()])
    else:
        assert not find_learning_rate(model, **data, **CALM).diverged


HOW = ["to its end", "until the loss explodes", "until an exception"]


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """The inputs in their order, and all variables, of a training without a test before it."""

    @functools.cache
    def seen_and_state(name):
        keras.utils.set_random_seed(7)
        model = make_model(run_eagerly=True)
        train(model, DATA[name](tmp_path_factory.mktemp("data")))
        return model.seen, state(model)

    return seen_and_state


# One of each way that data come; the other pipelines take as long again.
IN_SHORT = ["arrays", "shuffle", "repeat", "PyDataset"]


@pytest.mark.short(
    "arrays-to its end",
    "PyDataset-until the loss explodes",
    "cache-until an exception",
)
@pytest.mark.parametrize(
    ("name", "how"),
    [
        pytest.param(name, "to its end", marks=() if name in IN_SHORT else pytest.mark.long)
        for name in DATA
    ]
    + [(name, how) for name in ["arrays", "shuffle", "PyDataset"] for how in HOW[1:]]
    # In the middle of the pass that fills the cache.
    + [("cache", "until an exception"), ("cache(file)", "until an exception")],
)
def test_a_training_that_follows_is_the_one_without_a_test(name, how, expected, tmp_path):
    seen, variables = expected(name)
    keras.utils.set_random_seed(7)
    model, data = make_model(run_eagerly=True), DATA[name](tmp_path)
    find(model, data, how)
    model.seen = []
    train(model, data)
    assert_equal(model.seen, seen)
    assert_equal(state(model), variables)


def test_the_fit_after_the_one_that_was_the_test_begins_where_that_began(expected):
    seen, variables = expected("arrays")
    keras.utils.set_random_seed(7)
    model, data = make_model(run_eagerly=True), DATA["arrays"](None)
    train(model, data, callbacks=[LearningRateFinder(**CALM)])
    assert len(model.seen) == CALM["steps"]
    model.seen = []
    train(model, data)
    assert_equal(model.seen, seen)
    assert_equal(state(model), variables)


@pytest.mark.parametrize("endless", [False, True])
def test_the_order_of_a_seeded_pipeline_is_kept_without_a_global_seed(endless):
    def orders(find_first):
        tf.random.set_seed(None)
        dataset = pipeline().shuffle(len(X), seed=3).batch(SIZE)
        dataset = dataset.repeat() if endless else dataset
        if find_first:
            find(make_model(), {"x": dataset})
        return [x.numpy() for _ in range(2) for x, _ in dataset.take(BATCHES)]

    assert_equal(orders(True), orders(False))


OPTIMIZERS = {
    "Adam": lambda: keras.optimizers.Adam(0.05, use_ema=True, ema_overwrite_frequency=2),
    "LossScaleOptimizer": lambda: keras.optimizers.LossScaleOptimizer(
        keras.optimizers.SGD(0.05, momentum=0.9)
    ),
    "Proximal": lambda: Proximal(keras.optimizers.SGD(0.05)),
}


@pytest.mark.parametrize(
    ("optimizer", "options", "trained_before"),
    [
        pytest.param("Adam", {}, False, marks=pytest.mark.long),
        pytest.param(
            "LossScaleOptimizer",
            {"steps_per_execution": 4, "jit_compile": False},
            True,
            marks=pytest.mark.long,
        ),
        ("Proximal", {"jit_compile": True}, True),
    ],
)
def test_all_variables_are_as_before_and_go_on_alike(optimizer, options, trained_before):
    def make():
        keras.utils.set_random_seed(7)
        layers = [
            keras.layers.Dense(4, kernel_regularizer=L1(Linear(0.1, 0.01, 20))),
            ScheduledDropout(Linear(0.5, 0.1, 20)),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.3),
            keras.layers.Dense(1),
        ]
        model = keras.Sequential([keras.Input((3,)), *layers])
        model.compile(OPTIMIZERS[optimizer](), "mse", **options)
        model.optimizer.build(model.trainable_variables)
        if trained_before:
            train(model, data, epochs=1)
        return model

    data = DATA["arrays"](None)
    untouched, model = make(), make()
    before = state(model)
    find(model, data)
    assert_equal(state(model), before)
    for one in (untouched, model):
        keras.utils.set_random_seed(8)
        train(one, data, epochs=1)
    assert_equal(state(model), state(untouched))


@pytest.mark.long
def test_metrics_have_the_results_that_they_had():
    model = make_model(metrics=["mae"])
    model.train_on_batch(X, Y)
    before = {name: float(value) for name, value in model.get_metrics_result().items()}
    find(model, DATA["arrays"](None))
    assert {name: float(value) for name, value in model.get_metrics_result().items()} == before


@pytest.mark.parametrize(
    "name", ["arrays", *(pytest.param(n, marks=pytest.mark.long) for n in IN_SHORT[1:])]
)
def test_a_model_that_is_not_built_gets_the_weights_that_it_would_have(name):
    def trained(find_first):
        keras.utils.set_random_seed(7)
        model, data = make_model(built=False), DATA[name](None)
        if find_first:
            find(model, data)
        train(model, data, epochs=1)
        return state(model)

    assert_equal(trained(True), trained(False))


@pytest.mark.parametrize("how", HOW)
def test_the_next_random_numbers_are_those_that_they_would_have_been(how):
    def next_numbers(find_first):
        model = make_model()
        keras.utils.set_random_seed(7)
        if find_first:
            find(model, {"x": Batches(), "shuffle": True}, how)
        return {
            "Python": random.random(),
            "NumPy": np.random.random(),
            "TensorFlow": float(tf.random.uniform(())),
            "Keras": float(keras.random.uniform(())),
        }

    assert next_numbers(True) == next_numbers(False)


class TensorFlowNoise(keras.layers.Layer):
    def call(self, inputs):
        return inputs + tf.random.normal(tf.shape(inputs))


def test_a_layer_that_draws_with_tensorflow_draws_what_it_would_have_drawn():
    def trained(find_first):
        keras.utils.set_random_seed(7)
        model = keras.Sequential([keras.Input((3,)), TensorFlowNoise(), keras.layers.Dense(1)])
        model.compile("sgd", "mse", run_eagerly=True)
        if find_first:
            find(model, DATA["arrays"](None))
        train(model, DATA["arrays"](None), epochs=1)
        return state(model)

    assert_equal(trained(True), trained(False))
