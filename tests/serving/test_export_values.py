"""Models whose values are not ordinary numbers are compared as they are, and published."""

import keras
import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from kerasreg import serving
from kerasreg.serving._signatures import Served
from kerasreg.serving._verify import outputs_of_keras, random_features
from kerasreg.serving._verify_process import read_tensors, write_tensors

NAN, INF = float("nan"), float("inf")


@pytest.fixture(autouse=True, scope="module")
def optimized_graphs():
    """How often a graph in half precision rounds is up to TensorFlow's optimizer of graphs."""
    before = tf.config.optimizer.get_experimental_options()
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})
    yield
    off = before.get("disable_meta_optimizer", False)
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": off})


@pytest.mark.parametrize(
    ("found", "expected", "difference"),
    [
        ([NAN, 1.0], [NAN, 1.0], 0.0),
        ([INF, -INF, 2.0], [INF, -INF, 2.0], 0.0),
        # What is finite is measured by what is finite.
        ([NAN, INF, 2.5], [NAN, INF, 2.0], 0.25),
        ([INF, 2.0], [-INF, 2.0], INF),
        ([NAN, 2.0], [INF, 2.0], INF),
        ([1.0, 2.0], [NAN, 2.0], INF),
        ([INF, 2.0], [1.0, 2.0], INF),
        ([2**60 + 1], [2**60], 2.0**-60),
        ([True, False], [True, True], 1.0),
        ([1 + 1j, NAN + 0j], [1 + 1j, NAN + 0j], 0.0),
        ([1 + 2j], [1 + 4j], 0.5),
        ([b"a", "é".encode()], [b"a", "é"], 0.0),
        (["a"], ["b"], INF),
        ([b"a\x00"], [b"a"], INF),
        ([b"1"], [1], INF),
    ],
)
def test_equal_values_of_any_kind_are_no_difference(found, expected, difference):
    kind = object if isinstance(found[0], (bytes, str)) else None
    pair = np.array(found, kind), np.array(expected, object if kind and expected != [1] else None)
    assert serving.relative_difference(*pair) == pytest.approx(difference)


def test_half_precision_is_compared_in_a_wider_one():
    found, expected = (np.array([2.0, one], ml_dtypes.bfloat16) for one in (1.0, 1.5))
    assert serving.relative_difference(found, expected) == 0.25


def test_tensors_of_any_type_and_name_come_back(tmp_path):
    given = {
        "file": np.array(["zürich", "名"]),
        "a/b.npy": np.array([b"\xff\x00", b""], object),
        "": np.array([1.5, INF], ml_dtypes.bfloat16),
        "half": np.array([], "float16"),
        "complex": np.array([[1 + 2j]], "complex64"),
        "bool": np.array(True),
    }
    write_tensors(str(tmp_path / "x.npz"), given)
    found = read_tensors(str(tmp_path / "x.npz"))
    assert list(found) == list(given)
    assert found["file"].numpy().tolist() == ["zürich".encode(), "名".encode()]
    assert found["a/b.npy"].numpy().tolist() == [b"\xff\x00", b""]
    for name in list(given)[2:]:
        assert found[name].numpy().dtype == given[name].dtype
        np.testing.assert_array_equal(found[name].numpy(), given[name])


X = keras.Input((4,), name="x")
CITY = keras.Input((1,), dtype="string", name="city")
LETTERS = {"vocabulary": ["a", "b", "c"], "num_oov_indices": 0}


def letters(x):
    return layers.StringLookup(**LETTERS, invert=True)(ops.argmax(layers.Dense(3)(x), -1))


def cities(mode="multi_hot", **options):
    return layers.StringLookup(vocabulary=["bern", "zürich"], output_mode=mode, **options)(CITY)


def doubled(x):
    return tf.strings.join([x, x])


def rounded(x):
    # Of a sum with a bias a graph rounds once, where a call rounds twice.
    return layers.Dense(16, "relu", bias_initializer="normal", dtype="mixed_bfloat16")(x)


def masked():
    allowed = keras.Input((3,), name="allowed")
    return keras.Model([X, allowed], ops.where(allowed > 0, layers.Dense(3)(X), -np.inf))


# The model, samples or None, and the type of the outputs.
MODELS = {
    "-inf for what is not allowed": (masked, None, "float32"),
    "log of an input": (
        lambda: keras.Model(X, layers.Dense(3)(ops.log(X))),
        None,
        "float32",
    ),
    "a missing value": (
        lambda: keras.Model(X, layers.Dense(3)(X)),
        np.array([[1, 2, NAN, 4.0]]),
        "float32",
    ),
    "bfloat16": (lambda: keras.Model(X, rounded(rounded(X))), None, "bfloat16"),
    "strings out": (lambda: keras.Model(X, letters(X)), None, "string"),
    "an umlaut": (
        lambda: keras.Model(CITY, layers.Dense(2)(cities())),
        np.array([["zürich"], ["bern"]]),
        "float32",
    ),
}
MORE = {
    "NaN alone": (lambda: keras.Model(X, X * NAN), None, "float32"),
    "both infinities": (lambda: keras.Model(X, ops.stack([X * INF, -X * INF])), None, "float32"),
    "bfloat16 and a head of float32": (
        lambda: keras.Model(
            X, layers.Dense(2)(layers.Dense(32, "relu", dtype="mixed_bfloat16")(X))
        ),
        None,
        "float32",
    ),
    "float16": (lambda: keras.Model(X, layers.Dense(2, dtype="float16")(X)), None, "float16"),
    "float64": (lambda: keras.Model(X, layers.Dense(2, dtype="float64")(X)), None, "float64"),
    "whole numbers": (lambda: keras.Model(X, ops.argmax(X, -1)), None, "int32"),
    "booleans": (lambda: keras.Model(X, X > 0), None, "bool"),
    "complex numbers": (
        lambda: keras.Model(X, layers.Lambda(lambda x: tf.complex(x, 2 * x), output_shape=(4,))(X)),
        None,
        "complex64",
    ),
    "zeros left out": (
        lambda: keras.Model(CITY, cities(sparse=True)),
        np.array([["bern"], ["rom"]]),
        "int64",
    ),
    "strings through": (
        lambda: keras.Model(CITY, layers.Lambda(doubled, output_shape=(1,))(CITY)),
        np.array([["名"], [b"\xff\x00"], [""]], object),
        "string",
    ),
}


def exported(make, samples, tmp_path):
    model = make()
    path = serving.export(model, tmp_path, samples=samples)
    card = serving.read_card(path)
    (found,) = tf.saved_model.load(path).signatures["serve"].structured_outputs.values()
    return card["verification"], found.dtype.name


@pytest.mark.parametrize(("make", "samples", "kind"), MODELS.values(), ids=MODELS)
def test_values_that_are_right_are_published(make, samples, kind, tmp_path):
    verification, found = exported(make, samples, tmp_path)
    assert verification["samples"] == (7 if samples is None else len(samples))
    assert verification["relative_difference"] <= 1e-6
    assert found == kind


@pytest.mark.long
@pytest.mark.parametrize(("make", "samples", "kind"), MORE.values(), ids=MORE)
def test_other_values_that_are_right_are_published(make, samples, kind, tmp_path):
    test_values_that_are_right_are_published(make, samples, kind, tmp_path)


def test_rows_of_several_lengths_are_refused_with_what_to_do(tmp_path):
    text = layers.TextVectorization(vocabulary=["a", "b"], ragged=True)(CITY)
    with pytest.raises(ValueError, match=r"must have outputs of rows of one length, such as"):
        serving.export(keras.Model(CITY, text), tmp_path, samples=np.array([["a b"], ["a"]]))
    assert list(tmp_path.iterdir()) == []


def test_some_numbers_at_random_are_positive():
    served = Served(keras.Model(X, ops.log(X)))
    (values,) = outputs_of_keras(served, random_features(served)).values()
    finite = np.isfinite(values).all(axis=1)
    assert finite.sum() >= 3
    assert not finite.all()


class Positive(layers.Layer):
    def call(self, x):
        tf.debugging.assert_greater(x, 5.0)
        return x


def test_a_model_that_takes_no_numbers_at_random_is_not_compared_with_them(tmp_path):
    model = keras.Model(X, Positive()(X))
    path = serving.export(model, tmp_path)
    assert "verification" not in serving.read_card(path)
    # Samples of the user's are another matter.
    with pytest.raises(tf.errors.InvalidArgumentError):
        serving.export(model, tmp_path, samples=np.zeros((3, 4)))
    path = serving.export(model, tmp_path, samples=np.full((3, 4), 6.0))
    assert serving.read_card(path)["verification"]["relative_difference"] == 0.0


def test_what_is_not_finite_in_keras_alone_is_a_difference(tmp_path):
    class Different(layers.Layer):
        def call(self, x):
            return x * NAN if tf.executing_eagerly() else x

    with pytest.raises(RuntimeError, match="differs from Keras by inf"):
        serving.export(keras.Sequential([keras.Input((2,)), Different()]), tmp_path)
    assert list(tmp_path.iterdir()) == []
