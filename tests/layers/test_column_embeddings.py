"""Embeddings of the columns of a table, against the formula, and as lanes."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasreg import lanes
from kerasreg.layers import (
    CategoryEmbedding,
    FeatureScale,
    PeriodicEmbedding,
    PiecewiseLinearEmbedding,
)

EDGES = np.array([[-2.0, -1.0, 0.5, 3.0], [0.0, 0.0, 1.0, 1.0]])


def encoded(x, edges):
    """The encoding of the paper, number by number."""
    rows = np.zeros((len(x), len(edges), edges.shape[1] - 1))
    for row, feature, t in np.ndindex(rows.shape):
        low, high = edges[feature, t : t + 2]
        if high > low:
            rows[row, feature, t] = min(max((x[row, feature] - low) / (high - low), 0), 1)
    return rows


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(*[st.floats(-5, 5, width=32)] * 2), min_size=1, max_size=5))
def test_piecewise_linear_embeddings_are_those_of_the_formula(rows):
    x = np.array(rows, "float32")
    layer = PiecewiseLinearEmbedding(EDGES, 3, seed=1)
    found = np.array(layer(x))
    expected = np.einsum("bfi,fiw->bfw", encoded(x, EDGES), layer.kernel.numpy())
    np.testing.assert_allclose(found, expected + layer.bias.numpy(), atol=1e-5)


def test_edges_of_the_training_data_are_not_rounded_to_half_precision():
    edges = [[1000.0, 1000.25, 1000.5]]
    layer = PiecewiseLinearEmbedding(edges, 2, dtype="mixed_float16", seed=1)
    found = layer(np.array([[1000.125]], "float32"))
    expected = 0.5 * layer.kernel.numpy()[0, 0] + layer.bias.numpy()[0]
    assert found.dtype == "float16"
    np.testing.assert_allclose(np.array(found)[0, 0], expected, atol=2e-3)


def test_periodic_embeddings_are_those_of_the_formula():
    layer = PeriodicEmbedding(4, 3, sigma=1.0, seed=1)
    x = np.random.default_rng(0).normal(size=(6, 2)).astype("float32")
    found = np.array(layer(x))
    angle = 2 * np.pi * layer.frequency.numpy() * x[..., None]
    waves = np.concatenate([np.sin(angle), np.cos(angle)], -1)
    expected = np.einsum("bfi,fiw->bfw", waves, layer.kernel.numpy()) + layer.bias.numpy()
    np.testing.assert_allclose(found, np.maximum(expected, 0), atol=1e-5)


def test_frequencies_begin_with_the_given_deviation():
    layer = PeriodicEmbedding(2000, 1, sigma=0.3, seed=1)
    layer(np.zeros((1, 2), "float32"))
    assert abs(layer.frequency.numpy().std() - 0.3) < 0.01


def test_few_categories_are_one_hot_and_many_have_vectors():
    layer = CategoryEmbedding([3, 6, 2], 4, one_hot=3, seed=1)
    found = np.array(layer(np.array([[2.0, 5.0, 0.0]], "float32")))[0]
    assert found[:5].tolist() == [0, 0, 1, 1, 0]
    np.testing.assert_array_equal(found[5:], layer.embeddings.numpy()[5])


def test_categories_without_training_rows_are_zeros():
    layer = CategoryEmbedding([3, 6], 4, one_hot=3, unused=[(0, 1), (1, 0)], seed=1)
    found = np.array(layer(np.array([[1, 0], [0, 1]])))
    assert not found[0].any()
    assert found[1, 0] == 1
    assert found[1, 3:].all()


def test_categories_beyond_the_last_are_the_last():
    layer = CategoryEmbedding([3], one_hot=3)
    assert np.array(layer(np.array([[7], [-2]]))).tolist() == [[0, 0, 1], [1, 0, 0]]


def test_many_categories_are_told_apart_in_half_precision():
    layer = CategoryEmbedding([5000], 3, dtype="mixed_float16", seed=1)
    found = np.array(layer(np.array([[4097.0], [4098.0]], "float32")))
    np.testing.assert_allclose(found, layer.embeddings.numpy()[[4097, 4098]], atol=1e-3)
    assert (found[0] != found[1]).any()


def test_the_scale_of_a_feature_is_learned():
    layer = FeatureScale()
    model = keras.Sequential([keras.Input((2,)), layer])
    model.compile(keras.optimizers.SGD(0.5), "mse")
    x = np.array([[1.0, 0.0], [-1.0, 0.0]], "float32")
    model.fit(x, 3 * x, epochs=60, verbose=0)
    np.testing.assert_allclose(layer.scale.numpy(), [3, 1], atol=1e-3)


@pytest.mark.parametrize("wrong", [1, 3])
def test_other_columns_than_those_of_the_arguments_are_refused(wrong):
    x = np.zeros((1, wrong), "float32")
    with pytest.raises(ValueError, match="`inputs` must have 2 features, one for each row of `edg"):
        PiecewiseLinearEmbedding(EDGES, 3)(x)
    with pytest.raises(ValueError, match="`inputs` must have 2 columns, as many as `sizes`"):
        CategoryEmbedding([2, 2])(x)


def network(number):
    keras.utils.set_random_seed(number)
    inputs = keras.Input((4,))
    numbers, categories = inputs[:, :2], inputs[:, 2:]
    # Bins of each lane's own, as of folds.
    parts = [
        FeatureScale()(numbers),
        keras.layers.Flatten()(
            PiecewiseLinearEmbedding(EDGES + 0.2 * number, 3, activation="relu")(numbers)
        ),
        keras.layers.Flatten()(PeriodicEmbedding(3, 2)(numbers)),
        CategoryEmbedding([3, 6], 2, one_hot=3, unused=[(1, 0)])(categories),
    ]
    outputs = keras.layers.Dense(1)(keras.layers.Concatenate()(parts))
    model = keras.Model(inputs, outputs)
    model.compile(keras.optimizers.Adam(0.01 * (number + 1)), "mse")
    return model


def test_lanes_train_as_alone():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(size=(48, 2)), rng.integers(0, [3, 6], (48, 2))], 1)
    x, y = x.astype("float32"), rng.normal(size=(48, 1)).astype("float32")
    together = lanes.Lanes([network(0), network(1)], random_numbers="keras", jit_compile=False)
    options = {"batch_size": 16, "epochs": 3, "shuffle": False}
    together.fit(x, y, **options)
    assert not together.loops
    for number in range(2):
        alone = network(number)
        alone.fit(x, y, verbose=0, **options)
        lane = together.unstack(number)
        for found, expected in zip(lane.weights, alone.weights, strict=True):
            np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=2e-5)
        np.testing.assert_allclose(
            lane.predict(x, verbose=0), alone.predict(x, verbose=0), 1e-3, 1e-4
        )


EMBEDDINGS = {
    "piecewise linear": lambda **given: PiecewiseLinearEmbedding(EDGES, 3, **given),
    "periodic": lambda **given: PeriodicEmbedding(4, 3, **given),
    "category": lambda **given: CategoryEmbedding([3, 6], 4, one_hot=0, **given),
}


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_initial_weights_have_a_scale_in_which_lanes_may_differ(name):
    def model(scale):
        layer = EMBEDDINGS[name](initial_scale=scale, seed=1)
        model = keras.Sequential([keras.Input((2,)), layer, keras.layers.Flatten()])
        model.compile("sgd", "mse")
        return model

    models = [model(scale) for scale in (1.0, 0.25, 3.0)]
    assert lanes.group_by_program(models) == [[0, 1, 2]]
    plain, small, large = ([np.array(of) for of in one.trainable_weights] for one in models)
    for mine, less, more in zip(plain, small, large, strict=True):
        if mine.shape == (2, 4) and name == "periodic":  # `sigma` is for the frequencies.
            np.testing.assert_array_equal(less, mine)
            continue
        np.testing.assert_allclose(less, 0.25 * mine, rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(more, 3 * mine, rtol=1e-5, atol=1e-7)
