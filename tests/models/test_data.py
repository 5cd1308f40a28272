"""What functions of a model take: the data that `fit` takes, also without an end."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasreg._keras.batches import are_batches, batches, first_batch
from kerasreg.callbacks import LearningRateFinder, find_learning_rate
from kerasreg.layers import ScheduledDropout
from kerasreg.models import lsuv, mc_predict, signal_report, update_batch_normalization

SIZE, COUNT = 4, 3
RNG = np.random.default_rng(0)
X = RNG.normal(loc=2.0, size=(SIZE * COUNT, 3)).astype("float32")
Y = X[:, :1]
PARTS = [slice(k * SIZE, (k + 1) * SIZE) for k in range(COUNT)]


class Batches(keras.utils.PyDataset):
    def __init__(self, endless=False):
        super().__init__()
        self.endless = endless

    @property
    def num_batches(self):
        return None if self.endless else COUNT

    def __getitem__(self, index):
        return X[PARTS[index % COUNT]], Y[PARTS[index % COUNT]]


class Loader:
    """As a loader of another framework: neither a dataset nor a generator, with lists."""

    def __iter__(self):
        return ([X[part], Y[part]] for part in PARTS)


def dataset(with_targets=True):
    parts = (X, Y) if with_targets else X
    return tf.data.Dataset.from_tensor_slices(parts).batch(SIZE)


FINITE = {
    "arrays": lambda: X,
    "dataset": dataset,
    "dataset of inputs": lambda: dataset(with_targets=False),
    "PyDataset": Batches,
    "generator of arrays": lambda: (X[part] for part in PARTS),
    "generator of inputs": lambda: ((X[part],) for part in PARTS),
    "generator of pairs": lambda: ((X[part], Y[part]) for part in PARTS),
    "generator of triples": lambda: ((X[part], Y[part], np.ones(SIZE)) for part in PARTS),
    "iterator of a dataset": lambda: iter(dataset()),
    "map": lambda: map(lambda part: X[part], PARTS),
    "loader": Loader,
}
ENDLESS = {
    "repeated dataset": lambda: dataset().repeat(),
    "repeated and filtered": lambda: dataset().repeat().filter(lambda x, y: True),
    "PyDataset": lambda: Batches(endless=True),
    "cycle": lambda: itertools.cycle([X[part] for part in PARTS]),
}
GENERATORS = {
    "generator": lambda: (X[PARTS[k % COUNT]] for k in itertools.count()),
    "iterator of a repeated dataset": lambda: iter(dataset().repeat()),
}
finite = pytest.mark.parametrize("data", FINITE.values(), ids=list(FINITE))
endless = pytest.mark.parametrize("data", ENDLESS.values(), ids=list(ENDLESS))
without_end = pytest.mark.parametrize("data", (ENDLESS | GENERATORS).values())


def network():
    keras.utils.set_random_seed(0)
    layers = [keras.layers.BatchNormalization(), ScheduledDropout(0.5, seed=1)]
    return keras.Sequential([keras.Input((3,)), *layers, keras.layers.Dense(1)])


@pytest.fixture(scope="module")
def model():
    return network()


def moving_mean(model):
    return np.array(model.layers[0].moving_mean)


# Batch normalization.


@finite
def test_statistics_of_whatever_has_inputs(model, data):
    update_batch_normalization(model, data(), batch_size=SIZE)
    np.testing.assert_allclose(moving_mean(model), X.mean(0), rtol=1e-5)


@without_end
def test_statistics_of_some_steps_of_data_without_an_end(model, data):
    update_batch_normalization(model, data(), steps=2 * COUNT)
    np.testing.assert_allclose(moving_mean(model), X.mean(0), rtol=1e-5)
    update_batch_normalization(model, data(), steps=1)
    np.testing.assert_allclose(moving_mean(model), X[:SIZE].mean(0), rtol=1e-5)


@endless
def test_statistics_without_an_end_are_refused_and_nothing_changes(model, data):
    before = moving_mean(model)
    with pytest.raises(ValueError, match=r"`steps` must be .*Received: steps=None"):
        update_batch_normalization(model, data())
    np.testing.assert_array_equal(moving_mean(model), before)


def test_a_generator_is_drawn_from_as_often_as_there_are_steps(model):
    generator = (X[PARTS[k]] for k in range(COUNT))
    update_batch_normalization(model, generator, steps=2)
    np.testing.assert_array_equal(next(generator), X[PARTS[2]])


def test_steps_of_arrays(model):
    update_batch_normalization(model, X, batch_size=SIZE, steps=2)
    np.testing.assert_allclose(moving_mean(model), X[: 2 * SIZE].mean(0), rtol=1e-5)


@pytest.mark.parametrize("function", [update_batch_normalization, mc_predict])
@pytest.mark.parametrize("steps", [0, -1, 1.5, True])
def test_steps_that_are_no_count_are_refused(model, function, steps):
    with pytest.raises(ValueError, match="`steps` must be"):
        function(model, X, steps=steps)


@pytest.mark.parametrize("function", [update_batch_normalization, mc_predict])
@pytest.mark.parametrize("none", [lambda: iter(()), lambda: dataset().take(0)])
def test_no_batches_are_refused(model, function, none):
    with pytest.raises(ValueError, match="`x` must have at least one batch"):
        function(model, none())


# Prediction.


@pytest.fixture(scope="module")
def predicted(model):
    return mc_predict(model, X, passes=3, batch_size=SIZE)


@pytest.mark.short(
    "arrays",
    "dataset",
    "dataset of inputs",
    "PyDataset",
    "generator of pairs",
    "iterator of a dataset",
    "loader",
)
@finite
def test_predictions_for_whatever_has_inputs(model, predicted, data):
    found = mc_predict(model, data(), passes=3, batch_size=SIZE)
    expected = mc_predict(model, X, passes=3, batch_size=SIZE)
    assert found.mean.shape == predicted.mean.shape
    np.testing.assert_allclose(found.mean, expected.mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.variance, expected.variance, rtol=1e-4, atol=1e-6)


@without_end
def test_predictions_for_some_steps_of_data_without_an_end(model, data):
    found = mc_predict(model, data(), passes=3, steps=2)
    expected = mc_predict(model, X[: 2 * SIZE], passes=3, batch_size=SIZE)
    np.testing.assert_allclose(found.mean, expected.mean, rtol=1e-5, atol=1e-6)


@endless
def test_predictions_without_an_end_are_refused(model, data):
    with pytest.raises(ValueError, match=r"`steps` must be .*Received: steps=None"):
        mc_predict(model, data())


# Functions of one batch.


BATCHES = {**FINITE, **ENDLESS, **GENERATORS}
del BATCHES["arrays"]
of_batches = pytest.mark.parametrize("data", BATCHES.values(), ids=list(BATCHES))


@of_batches
def test_a_first_batch_scales_layers(data):
    found, expected = network(), network()
    lsuv(found, data(), seed=1)
    lsuv(expected, X[:SIZE], seed=1)
    np.testing.assert_allclose(found.layers[-1].kernel, expected.layers[-1].kernel, rtol=1e-5)


@of_batches
def test_a_first_batch_has_a_signal(data):
    found, expected = (signal_report(network(), x) for x in (data(), X[:SIZE]))
    assert [row.variance for row in found.rows] == pytest.approx(
        [row.variance for row in expected.rows], rel=1e-5
    )


def test_the_targets_of_a_first_batch_are_those_of_the_loss():
    compiled = network()
    compiled.compile("sgd", "mse")
    expected = signal_report(network(), X[:SIZE], Y[:SIZE], loss="mse")
    for model, options in ((network(), {"loss": "mse"}), (compiled, {})):
        found = signal_report(model, dataset().repeat(), **options)
        assert [row.gradient_norm for row in found.rows] == pytest.approx(
            [row.gradient_norm for row in expected.rows], rel=1e-4
        )
    with pytest.raises(ValueError, match="`y` must be None"):
        signal_report(network(), dataset(), Y, loss="mse")
    with pytest.raises(ValueError, match="`loss` must be None without targets"):
        signal_report(network(), dataset(with_targets=False), loss="mse")


# Finders.


OF_KERAS = ["repeated dataset", "repeated and filtered", "PyDataset"]


@pytest.mark.parametrize("data", [ENDLESS[name] for name in OF_KERAS], ids=OF_KERAS)
@pytest.mark.parametrize("used", ["function", "callback"])
def test_rates_are_found_with_data_without_an_end(data, used):
    model = network()
    model.compile("sgd", "mse", run_eagerly=True)
    options = {"low": 1e-6, "high": 1e-5, "steps": 7}
    if used == "function":
        result = find_learning_rate(model, data(), **options)
    else:
        finder = LearningRateFinder(**options)
        model.fit(data(), steps_per_epoch=COUNT, epochs=5, verbose=0, callbacks=[finder])
        result = finder.result
    np.testing.assert_allclose(result.rates, np.geomspace(1e-6, 1e-5, 7), rtol=1e-6)


@pytest.mark.parametrize("data", GENERATORS.values(), ids=list(GENERATORS))
def test_what_cannot_be_begun_anew_is_refused_by_the_finder(data):
    model = network()
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="no generator"):
        find_learning_rate(model, data())


# The batches themselves.


def test_what_is_of_batches():
    assert all(are_batches(make()) for make in BATCHES.values())
    for other in (X, [X, X], (X,), {"a": X}, None, tf.constant(X), keras.Variable(1.0)):
        assert not are_batches(other)


def test_arrays_of_a_structure_and_inputs_that_are_left_out():
    found = list(batches({"a": X, "b": None}, batch_size=5))
    assert [len(batch.x["a"]) for batch in found] == [5, 5, 2]
    assert [batch.x["b"] for batch in found] == [None] * 3


def test_a_first_batch_has_its_targets_and_weights():
    triples = ((X[part], Y[part], np.ones(SIZE)) for part in PARTS)
    batch = first_batch(triples)
    np.testing.assert_array_equal(batch.y, Y[:SIZE])
    assert batch.sample_weight.shape == (SIZE,)
    assert len(list(triples)) == COUNT - 1
