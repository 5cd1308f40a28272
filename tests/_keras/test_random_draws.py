"""Where Keras' layers get random numbers, and its operations of numbers."""

import keras
import numpy as np
import pytest

from kerasreg._keras.random_draws import (
    draws_by_numpy,
    dropout_of_keras,
    replaced_draws,
    words_of_seed,
)
from kerasreg._keras.tensors_for_numbers import tensors_for_numbers


def test_replaced_draws_reach_layers_and_functions():
    seen = []

    def uniform(shape, minval=0.0, maxval=1.0, dtype=None, seed=None):
        seen.append(tuple(shape))
        return keras.ops.full(shape, minval)

    before = keras.random.uniform((2,), seed=1)
    with replaced_draws(uniform=uniform):
        assert np.array(keras.random.uniform((3,), 0.25)).tolist() == [0.25] * 3
        keras.layers.AlphaDropout(0.5)(np.ones((4, 2), "float32"), training=True)
        keras.layers.RandomBrightness(0.5)(np.ones((1, 2, 2, 3), "float32"), training=True)
    assert seen[0] == (3,)
    assert len(seen) == 3
    np.testing.assert_array_equal(keras.random.uniform((2,), seed=1), before)


def test_replaced_draws_of_what_keras_does_not_draw():
    with pytest.raises(AttributeError):
        replaced_draws(cauchy=lambda: None)


DRAWING = {
    "RandomUniform": {"minval": -0.3, "maxval": 0.1},
    "RandomNormal": {"mean": 0.5, "stddev": 0.2},
    "TruncatedNormal": {"mean": 0.5, "stddev": 0.2},
    "GlorotUniform": {},
    "GlorotNormal": {},
    "HeNormal": {},
    "LecunUniform": {},
    "VarianceScaling": {"distribution": "untruncated_normal"},
    "Orthogonal": {"gain": 2.0},
}


@pytest.mark.parametrize("name", DRAWING)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_draws_by_numpy_are_of_the_same_distributions(name, dtype):
    initializer = getattr(keras.initializers, name)(**DRAWING[name], seed=3)
    expected = np.array(initializer((200, 150), dtype=dtype))
    with draws_by_numpy():
        found = np.array(initializer((200, 150), dtype=dtype))
        again = np.array(initializer((200, 150), dtype=dtype))
    assert not np.array_equal(found, expected)
    np.testing.assert_array_equal(found, again)
    assert found.dtype == expected.dtype
    shares = [0.0, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0]
    bounded = "Uniform" in name or name in ("TruncatedNormal", "GlorotNormal", "HeNormal")
    for share in shares if bounded else shares[1:-1]:
        mine, other = np.quantile(found, share), np.quantile(expected, share)
        assert mine == pytest.approx(other, abs=0.1 * float(expected.std())), share
    if name == "Orthogonal":
        np.testing.assert_allclose(found.T @ found, 4 * np.eye(150), atol=1e-4)


def test_draws_by_numpy_are_keras_own_where_a_generator_or_another_type_asks():
    for dtype, seed in (("float32", keras.random.SeedGenerator(5)), ("bfloat16", 5)):
        with draws_by_numpy():
            found = keras.random.normal((4,), dtype=dtype, seed=seed)
        own = keras.random.SeedGenerator(5) if dtype == "float32" else seed
        np.testing.assert_array_equal(found, keras.random.normal((4,), dtype=dtype, seed=own))


def test_words_of_seed_move_a_generator_on():
    generator = keras.random.SeedGenerator(7)
    assert [tuple(map(int, words_of_seed(generator))) for _ in range(2)] == [(7, 0), (7, 1)]
    assert tuple(map(int, words_of_seed(5))) == (5, 0)
    assert tuple(map(int, words_of_seed(keras.ops.convert_to_tensor([3, 4])))) == (3, 4)
    first, second = words_of_seed(None), words_of_seed(None)
    assert int(first[0]) != int(second[0])


@pytest.mark.parametrize("noise_shape", [None, (None, 1)])
def test_dropout_of_keras_is_the_one_of_a_number(noise_shape):
    x = keras.ops.ones((20, 5))
    expected = keras.random.dropout(x, 0.3, noise_shape=noise_shape, seed=4)
    for rate in (0.3, keras.ops.convert_to_tensor(0.3)):
        found = dropout_of_keras(x, rate, noise_shape, 4)
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert dropout_of_keras(x, 0.0, None, 4) is x


class Number:
    """A number that becomes a tensor of the type of the one beside it."""

    def like(self, tensor):
        return keras.ops.convert_to_tensor(0.25, getattr(tensor, "dtype", "float32"))


def test_tensors_for_numbers_are_taken_by_each_operation():
    x = np.array([-2.0, 0.0, 3.0], "float32")
    slope = keras.ops.convert_to_tensor(0.25)
    with tensors_for_numbers(Number):
        wide = keras.ops.maximum(keras.ops.convert_to_tensor(x, "float64"), Number())
        assert keras.backend.standardize_dtype(wide.dtype) == "float64"
        assert np.array(wide).tolist() == [0.25, 0.25, 3.0]
        assert np.array(keras.ops.leaky_relu(x, slope)).tolist() == [-0.5, 0.0, 3.0]
        assert np.array(keras.ops.leaky_relu(x, 0.5)).tolist() == [-1.0, 0.0, 3.0]
    assert np.array(keras.ops.leaky_relu(x, 0.5)).tolist() == [-1.0, 0.0, 3.0]
