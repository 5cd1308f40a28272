"""Data in every form that Keras takes: lanes see the arrays that `model.fit` makes of it."""

import jax.numpy as jnp
import keras
import numpy as np
import pandas
import pytest
import scipy.sparse
import tensorflow as tf

from kerasreg import lanes
from kerasreg.lanes import _batches

pytestmark = pytest.mark.shares_programs

RANDOM = np.random.default_rng(0)
NUMBERS = RANDOM.normal(size=(20, 3))
TRUTHS = NUMBERS[:, 1] > 0
COUNTS = RANDOM.integers(0, 5, 20)
TARGETS = NUMBERS.sum(axis=1)
TABLE = pandas.DataFrame({"a": NUMBERS[:, 0], "n": COUNTS, "truth": TRUTHS})
SINGLES = NUMBERS.astype("float32")

DATA = {
    "columns of several types": (TABLE, TARGETS),
    "a table of whole numbers": (pandas.DataFrame({"n": COUNTS, "m": COUNTS[::-1]}), COUNTS),
    "a table of Booleans": (pandas.get_dummies(pandas.Series(COUNTS)), TRUTHS),
    "single precision and whole numbers": (TABLE[["a", "n"]].astype({"a": "float32"}), TARGETS),
    "a series of targets": (NUMBERS, pandas.Series(TARGETS)),
    "a series of Booleans": (NUMBERS, pandas.Series(TRUTHS)),
    "a series with an index of its own": (TABLE, pandas.Series(COUNTS, index=range(50, 70))),
    "series of inputs": (pandas.Series(COUNTS), pandas.Series(TARGETS)),
    "one target of a table": (NUMBERS, TABLE[["n"]]),
    "tensors": (tf.constant(NUMBERS), tf.constant(COUNTS)),
    "tensors in half precision": (tf.constant(SINGLES, "bfloat16"), tf.constant(SINGLES[:, :1])),
    "arrays of another backend": (jnp.asarray(SINGLES), jnp.asarray(COUNTS)),
    "single bytes": (NUMBERS.astype("int8"), TRUTHS),
}


def squared(y_true, y_pred):
    """Of the shapes that there are: a target of shape (samples,) makes a square of them."""
    return keras.ops.mean(keras.ops.square(keras.ops.cast(y_true, y_pred.dtype) - y_pred), -1)


def build_for(features):
    def build(number):
        model = keras.Sequential([keras.Input((features,)), keras.layers.Dense(1)])
        model.compile(keras.optimizers.SGD(0.01 / 2**number), "mse", metrics=[squared])
        return model

    return build


@pytest.mark.short(
    "columns of several types",
    "a table of Booleans",
    "a series with an index of its own",
    "series of inputs",
    "tensors in half precision",
    "arrays of another backend",
    "single bytes",
)
@pytest.mark.parametrize("kind", DATA)
def test_lanes_train_with_the_arrays_of_keras(kind, same_as_alone):
    x, y = DATA[kind]
    features = 1 if len(x.shape) == 1 else x.shape[1]
    same_as_alone(build_for(features), x, y, epochs=1)


@pytest.mark.parametrize("kind", ["columns of several types", "a series of targets"])
def test_a_part_of_a_table_validates(kind, same_as_alone):
    x, y = DATA[kind]
    same_as_alone(build_for(3), x, y, epochs=1, validation_split=0.25)
    validation = {"validation_data": (x[:7], y[:7])}
    weight = pandas.Series(np.linspace(0.0, 2.0, 20))
    same_as_alone(build_for(3), x, y, epochs=1, sample_weight=weight, **validation)


def test_classes_of_a_series_have_weights(same_as_alone):
    y = pandas.Series(TRUTHS)
    same_as_alone(build_for(3), TABLE, y, epochs=1, class_weight={0: 0.5, 1: 2.0})


def two_outputs(number):
    inputs = {"n": keras.Input((1,), name="n"), "rest": keras.Input((3,), name="rest")}
    joined = keras.layers.Concatenate()(list(inputs.values()))
    outputs = {name: keras.layers.Dense(1, name=name)(joined) for name in ("first", "second")}
    model = keras.Model(inputs, outputs)
    losses = {"first": "mse", "second": keras.losses.BinaryCrossentropy(from_logits=True)}
    model.compile(keras.optimizers.SGD(0.01 / 2**number), losses)
    return model


@pytest.mark.parametrize("weights", [None, np.linspace(0.0, 1.0, 20)])
def test_tables_by_the_names_of_inputs_and_outputs(weights, same_as_alone):
    x = {"n": pandas.Series(COUNTS), "rest": TABLE}
    y = {"first": pandas.Series(TARGETS), "second": TRUTHS}
    same_as_alone(two_outputs, x, y, epochs=1, sample_weight=weights)


def test_predictions_and_scores_of_tables(trials):
    together = lanes.Lanes(trials(build_for(3), 1))
    y = pandas.Series(COUNTS)
    scores, outputs = together.evaluate(TABLE, y)[0], together.predict(TABLE)[0]
    (alone,) = trials(build_for(3), 1)
    expected = alone.evaluate(TABLE, y, return_dict=True, verbose=0)
    assert scores == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(outputs, alone.predict(TABLE, verbose=0), rtol=1e-5, atol=1e-5)


# Sparse, and not in memory.

SPARSE = np.where(NUMBERS > 0.3, NUMBERS, 0.0)
KINDS_OF_SPARSE = {
    "rows": scipy.sparse.csr_matrix,
    "coordinates": scipy.sparse.coo_array,
    "a tensor": tf.sparse.from_dense,
}


@pytest.mark.short("rows-True", "coordinates-False", "a tensor-True")
@pytest.mark.parametrize("is_resident", [True, False])
@pytest.mark.parametrize("kind", KINDS_OF_SPARSE)
def test_sparse_inputs_train_as_alone(kind, is_resident, same_as_alone, monkeypatch):
    if not is_resident:
        monkeypatch.setattr(_batches, "RESIDENT_BYTES", 200)
    x = KINDS_OF_SPARSE[kind](SPARSE)
    same_as_alone(build_for(3), x, TARGETS, epochs=2, validation_split=0.25)


def test_sparse_batches_train_as_alone(same_as_alone):
    batches = tf.data.Dataset.from_tensor_slices((tf.sparse.from_dense(SPARSE), TARGETS)).batch(8)
    same_as_alone(build_for(3), batches, None, epochs=2)


@pytest.fixture
def in_file(tmp_path):
    def write(array):
        np.save(tmp_path / "array.npy", array)
        return np.load(tmp_path / "array.npy", mmap_mode="r")

    return write


@pytest.mark.parametrize("precision", ["float32", "float64", "int16"])
def test_an_array_in_a_file_is_read_in_parts(precision, in_file, trials, equal_logs, monkeypatch):
    x = in_file((10 * RANDOM.normal(size=(400, 3))).astype(precision))
    y = np.array(x).sum(axis=1)
    given = {"batch_size": 16, "epochs": 2, "validation_split": 0.25, "seed": 1}
    expected = lanes.Lanes(trials(build_for(3), 2)).fit(np.array(x), y, **given)
    monkeypatch.setattr(_batches, "RESIDENT_BYTES", 1000)
    # Neither to find its length, nor to convert it, is all of it read.
    monkeypatch.setattr(np.memmap, "astype", None)
    reads, read = [], np.memmap.__getitem__

    def watched(self, rows):
        found = read(self, rows)
        reads.append(0 if isinstance(rows, slice) else len(found))
        return found

    monkeypatch.setattr(np.memmap, "__getitem__", watched)
    found = lanes.Lanes(trials(build_for(3), 2)).fit(x, y, **given)
    assert 0 < max(reads) <= 400 // 4
    for one, other in zip(found, expected, strict=True):
        equal_logs(one.history, other.history)


REFUSED = {
    "a list of numbers": [1.0] * 20,
    "a ragged tensor": tf.ragged.constant([[1.0]] * 20),
    "a table of nullable types": TABLE.astype({"a": "Float64"}),
    "text that is no tensor": np.array(["a"] * 20),
    "a number": np.float32(1.0),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_lanes_do_not_take_is_a_value_error(kind):
    together = lanes.Lanes([build_for(3)(0)])
    with pytest.raises(ValueError, match=r"arrays|Invalid dtype"):
        together.fit(REFUSED[kind], TARGETS)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the program of TensorFlow")
def test_data_go_to_their_device_once_in_a_training_and_anew_in_the_next(monkeypatch):
    from kerasreg.lanes import _tensorflow

    given, place = [], _tensorflow._on
    monkeypatch.setattr(_tensorflow, "_on", lambda *of: (given.append(of), place(*of))[1])
    x, y = SINGLES.copy(), TARGETS.copy()
    model = build_for(3)(0)
    begun = model.get_weights()
    of_lanes = lanes.Lanes([model])
    of_lanes.fit(x, y, batch_size=8, epochs=3, validation_data=(x[:7], y[:7]), seed=1)
    # Four arrays: those of ragged last batches are the same.
    assert len(given) == 4
    x[:] = SINGLES[::-1]
    history = of_lanes.fit(x, y, batch_size=8, epochs=1, seed=1)[0].history
    assert len(given) == 6
    other = build_for(3)(0)
    other.set_weights(begun)
    again = lanes.Lanes([other])
    again.fit(SINGLES, TARGETS, batch_size=8, epochs=3, seed=1)
    expected = again.fit(SINGLES[::-1].copy(), TARGETS, batch_size=8, epochs=1, seed=1)[0].history
    assert history["loss"] == expected["loss"]
