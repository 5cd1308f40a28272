"""Random numbers of Keras' layers in lanes: of the distributions that Keras has."""

import keras
import numpy as np
import pytest
import scipy.stats

from kerasreg.lanes._draws import lane_draws

pytestmark = pytest.mark.shares_programs

COUNT = 20_000


def draw(name, *arguments, seed=3, of="vectorized", **options):
    generator = seed if isinstance(seed, keras.random.SeedGenerator) else _generator(seed)
    with lane_draws(of):
        found = getattr(keras.random, name)(*arguments, seed=generator, **options)
    return np.array(keras.ops.cast(found, "float32") if "float" in str(found.dtype) else found)


def _generator(seed):
    return keras.random.SeedGenerator(seed)


CONTINUOUS = {
    "uniform": ({"minval": -1.0, "maxval": 3.0}, scipy.stats.uniform(-1.0, 4.0)),
    "normal": ({"mean": 2.0, "stddev": 0.5}, scipy.stats.norm(2.0, 0.5)),
    "truncated_normal": (
        {"mean": 2.0, "stddev": 0.5},
        scipy.stats.truncnorm(-2.0, 2.0, 2.0, 0.5),
    ),
}


@pytest.mark.parametrize("name", CONTINUOUS)
def test_continuous_numbers(name):
    options, expected = CONTINUOUS[name]
    found = draw(name, (COUNT // 4, 4), **options)
    assert scipy.stats.kstest(found.ravel(), expected.cdf).pvalue > 1e-3
    assert abs(np.corrcoef(found.T)[0, 1]) < 0.06


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_no_uniform_number_is_rounded_to_the_end(dtype):
    found = draw("uniform", (200_000,), dtype=dtype)
    assert 0 <= found.min() < 0.01
    assert 0.99 < found.max() < 1


def test_whole_numbers():
    found = draw("randint", (COUNT,), -2, 5)
    counts = np.bincount(found + 2, minlength=7)
    assert counts.size == 7
    assert scipy.stats.chisquare(counts).pvalue > 1e-3


def test_classes():
    logits = np.log([[0.1, 0.2, 0.7], [0.6, 0.3, 0.1]]).astype("float32")
    found = draw("categorical", logits, COUNT)
    for row, of_row in zip(np.exp(logits.astype("float64")), found, strict=True):
        expected = COUNT * row / row.sum()
        assert scipy.stats.chisquare(np.bincount(of_row), expected).pvalue > 1e-3


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 1.0])
def test_dropout_has_the_share_and_the_scale(rate):
    found = draw("dropout", np.ones((COUNT // 4, 4), "float32"), rate)
    kept = np.count_nonzero(found)
    assert scipy.stats.binomtest(kept, COUNT, 1 - rate).pvalue > 1e-3
    assert kept == 0 or found.max() == pytest.approx(1 / (1 - rate), rel=1e-6)


def test_dropout_of_a_noise_shape_drops_what_belongs_together():
    found = draw("dropout", np.ones((50, 7, 3), "float32"), 0.5, noise_shape=(None, 1, 3))
    assert (found == found[:, :1]).all()
    assert 0 < np.count_nonzero(found) < found.size


@pytest.mark.long
def test_orders():
    found = np.stack([draw("shuffle", np.arange(4), seed=seed) for seed in range(400)])
    assert (np.sort(found, axis=1) == np.arange(4)).all()
    for column in found.T:
        assert scipy.stats.chisquare(np.bincount(column, minlength=4)).pvalue > 1e-3
    columns = draw("shuffle", np.arange(12).reshape(3, 4), axis=1)
    assert (columns - columns[:1] == [[0], [4], [8]]).all()


def test_each_draw_is_another_one_and_each_seed_has_its_own():
    one = _generator(5)
    first, second = (draw("uniform", (100,), seed=one) for _ in range(2))
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.4
    np.testing.assert_array_equal(first, draw("uniform", (100,), seed=5))
    assert abs(np.corrcoef(first, draw("uniform", (100,), seed=6))[0, 1]) < 0.4


def test_keras_draws_what_it_draws_alone():
    alone = np.array(keras.random.uniform((3,), seed=_generator(3)))
    np.testing.assert_array_equal(draw("uniform", (3,), of="keras"), alone)
    assert not np.allclose(draw("uniform", (3,)), alone)
    x = np.ones((50, 4), "float32")
    masked = np.array(keras.random.dropout(x, 0.3, seed=_generator(3)))
    np.testing.assert_array_equal(draw("dropout", x, 0.3, of="keras"), masked)
    rate = keras.ops.convert_to_tensor(0.3)
    np.testing.assert_allclose(draw("dropout", x, rate, of="keras"), masked, rtol=1e-6)
