"""Batches without ragged ends: none is lost, none counts twice, scores are exact."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasreg.distribute import evaluation_batches, even_batch_size, training_batches

PROPERTY = settings(max_examples=100, deadline=None, derandomize=True)
FEWER = settings(max_examples=20, deadline=None, derandomize=True)

replicas_and_samples = st.integers(1, 8).flatmap(
    lambda replicas: st.tuples(st.just(replicas), st.integers(replicas, 60))
)


@PROPERTY
@given(counts=replicas_and_samples, batch_size=st.integers(1, 80))
def test_an_even_batch_size_is_the_largest_that_splits(counts, batch_size):
    replicas, samples = counts
    size = even_batch_size(samples, batch_size, replicas=replicas)
    assert size % replicas == 0
    assert replicas <= size <= samples
    if batch_size >= replicas:
        assert size <= batch_size
        # A replica more each would be too many.
        assert size + replicas > min(batch_size, samples)


@PROPERTY
@given(samples=st.integers(0, 10), replicas=st.integers(1, 12))
def test_fewer_samples_than_replicas_are_refused(samples, replicas):
    if samples >= replicas:
        assert even_batch_size(samples, 32, replicas=replicas) >= replicas
        return
    with pytest.raises(ValueError, match=rf"`samples`.*{replicas}.*samples={samples}"):
        even_batch_size(samples, 32, replicas=replicas)


@pytest.mark.parametrize("batch_size", [0, -2, 1.5, True])
def test_a_batch_size_that_is_no_count_is_refused(batch_size):
    with pytest.raises(ValueError, match="`batch_size`"):
        even_batch_size(10, batch_size, replicas=2)


@pytest.mark.parametrize("batches", [training_batches, evaluation_batches])
def test_datasets_refuse_fewer_samples_than_replicas(batches):
    with pytest.raises(ValueError, match="`samples`"):
        batches(np.zeros((1, 2)), np.zeros(1), 4, replicas=2)


# Training. Sample i is a row of i, and its target is 10·i.


def numbered(samples):
    return np.arange(samples)[:, None].repeat(2, axis=1), 10 * np.arange(samples)


def epochs_of(dataset, count):
    """Each epoch as a list of batches of sample numbers; checks that x and y stay paired."""
    epochs = []
    for _ in range(count):
        batches = []
        for x, y in dataset:
            assert (np.array(x) * 10 == np.array(y)[:, None]).all()
            batches.append(np.array(x)[:, 0].tolist())
        epochs.append(batches)
    return epochs


@FEWER
@given(counts=replicas_and_samples, batch_size=st.integers(1, 40), seed=st.integers(0, 100))
def test_training_batches_are_equal_and_take_no_sample_twice(counts, batch_size, seed):
    replicas, samples = counts
    size = even_batch_size(samples, batch_size, replicas=replicas)
    dataset = training_batches(*numbered(samples), batch_size, replicas=replicas, seed=seed)
    for batches in epochs_of(dataset, 2):
        assert [len(batch) for batch in batches] == [size] * (samples // size)
        seen = [sample for batch in batches for sample in batch]
        assert len(set(seen)) == len(seen)
        assert set(seen) <= set(range(samples))


def test_each_epoch_has_another_order_and_leaves_other_samples_out():
    dataset = training_batches(*numbered(33), 8, replicas=2, seed=1)
    epochs = [np.concatenate(batches).tolist() for batches in epochs_of(dataset, 6)]
    assert len({tuple(order) for order in epochs}) == 6
    left_out = [set(range(33)) - set(order) for order in epochs]
    assert all(len(one) == 1 for one in left_out)
    assert len(set.union(*left_out)) > 1


def test_the_order_is_shuffled_over_the_whole_data():
    # A shuffle buffer smaller than the data would keep late samples out of the front.
    dataset = training_batches(*numbered(1000), 100, replicas=2, seed=1)
    first = epochs_of(dataset, 1)[0][0]
    assert min(first) < 200
    assert max(first) > 800


def test_the_seed_decides_the_order():
    orders = [
        epochs_of(training_batches(*numbered(30), 10, replicas=2, seed=seed), 2)
        for seed in (4, 4, 5)
    ]
    assert orders[0] == orders[1]
    assert orders[0] != orders[2]


# Evaluation.


@FEWER
@given(counts=replicas_and_samples, batch_size=st.integers(1, 40))
def test_evaluation_batches_hold_every_sample_once_in_order_and_padding_of_no_weight(
    counts, batch_size
):
    replicas, samples = counts
    size = even_batch_size(samples, batch_size, replicas=replicas)
    batches = list(evaluation_batches(*numbered(samples), batch_size, replicas=replicas))
    assert all(len(x) == len(y) == len(weight) == size for x, y, weight in batches)
    x, y, weight = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    real = weight > 0
    assert x[real][:, 0].tolist() == list(range(samples))
    assert y[real].tolist() == [10 * i for i in range(samples)]
    assert len(x) - samples < size
    # All real samples count the same, and the mean weight of the batches is 1.
    assert np.ptp(weight[real]) == 0
    assert weight.mean() == pytest.approx(1.0)


class Square(keras.regularizers.Regularizer):
    def __call__(self, w):
        return 0.1 * keras.ops.sum(keras.ops.square(w))


@pytest.fixture(scope="module")
def regressor():
    inputs = keras.Input((2,))
    outputs = keras.layers.Dense(
        1, kernel_initializer=keras.initializers.RandomNormal(seed=2), kernel_regularizer=Square()
    )(inputs)
    model = keras.Model(inputs, outputs)
    rmse = keras.metrics.RootMeanSquaredError(name="rmse")
    model.compile("sgd", "mse", weighted_metrics=[rmse, "mae"])
    return model


@pytest.mark.parametrize("samples", [1, 3, 6, 7, 8, 13, 16, 29])
@pytest.mark.parametrize("replicas", [1, 3])
def test_a_padded_evaluation_gives_the_exact_loss_and_metrics(regressor, samples, replicas):
    if samples < replicas:
        samples = replicas
    random = np.random.default_rng(samples)
    x, y = random.normal(size=(samples, 2)), random.normal(size=samples)
    batches = evaluation_batches(x, y, 6, replicas=replicas)
    logs = regressor.evaluate(batches, return_dict=True, verbose=0)
    kernel, bias = regressor.get_weights()
    error = (x @ kernel + bias)[:, 0] - y
    penalty = 0.1 * np.square(kernel).sum()
    assert logs["loss"] == pytest.approx(np.mean(error**2) + penalty, rel=1e-5)
    assert logs["rmse"] == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-5)
    assert logs["mae"] == pytest.approx(np.mean(np.abs(error)), rel=1e-5)


def test_padding_keeps_the_types_and_shapes_of_the_data():
    x = np.zeros((5, 4, 3), "uint8")
    y = np.zeros((5, 2), "int64")
    ((one_x, one_y, _), *_) = evaluation_batches(x, y, 4, replicas=2)
    assert (one_x.shape, one_x.dtype.name) == ((4, 4, 3), "uint8")
    assert (one_y.shape, one_y.dtype.name) == ((4, 2), "int64")
