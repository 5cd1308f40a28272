"""What Keras does with data that come as batches, and with rows read when they are used."""

import itertools

import keras
import numpy as np
import pytest
import scipy.sparse
import tensorflow as tf

from kerasreg._keras import rows, streams

X = np.arange(40.0, dtype="float32").reshape(20, 2)


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 3

    def __getitem__(self, index):
        return X[index * 8 : index * 8 + 8], X[index * 8 : index * 8 + 8, 0]


def generator():
    for begin in (0, 8, 16):
        yield X[begin : begin + 8], X[begin : begin + 8, 0]


def dataset():
    return tf.data.Dataset.from_tensor_slices((X, X[:, 0])).batch(8)


@pytest.mark.parametrize("x", [dataset(), Batches(), generator()], ids=["dataset", "py", "gen"])
def test_is_stream_of_what_has_batches(x):
    assert streams.is_stream(x)
    assert streams.is_generator(x) == (type(x).__name__ == "generator")


@pytest.mark.parametrize("x", [X, [X], {"x": X}, None, tf.constant(X), iter([X]), "x"])
def test_is_stream_of_nothing_else(x):
    assert not streams.is_stream(x)


def test_batch_size_of_a_dataset():
    assert streams.batch_size_of(dataset()) is None  # The last batch is smaller.
    exact = dataset().unbatch().batch(5, drop_remainder=True)
    assert streams.batch_size_of(exact) == 5
    assert streams.batch_size_of(X) is streams.batch_size_of(Batches()) is None


def test_example_of_a_stream_takes_nothing_of_it():
    x, y, weights = streams.example_of(dataset())
    assert (x.shape, y.shape, weights) == ((None, 2), (None,), None)
    x, y, weights = streams.example_of(Batches())
    assert (x.shape, y.shape, weights) == ((8, 2), (8,), None)
    taken = generator()
    assert streams.example_of(taken) is None
    assert next(taken)[0][0, 0] == 0.0


@pytest.mark.parametrize("make", [dataset, Batches, generator])
def test_epochs_have_the_batches_as_arrays(make):
    epochs = streams.Epochs(make(), None)
    epochs.reset()
    batches = list(epochs)
    assert [len(x) for x, _, _ in batches] == [8, 8, 4]
    assert all(isinstance(part, np.ndarray) for x, y, _ in batches for part in (x, y))
    np.testing.assert_array_equal(np.concatenate([x for x, _, _ in batches]), X)
    assert epochs.steps == (3 if make is not generator else 4)  # Keras counts the missing one.


def test_epochs_of_some_steps_go_on_where_the_last_one_ended():
    passes = itertools.count()

    def iterate():
        number = next(passes)
        return ((X[:8] + number, None, None) for _ in range(3))

    epochs = streams.Epochs(iterate, 2, batches=3)
    epochs.reset()
    with pytest.warns(UserWarning, match="ran out of data"):
        found = [[x[0, 0] for x, _, _ in epochs] for _ in range(3)]
    assert found == [[0.0, 0.0], [0.0], [1.0, 1.0]]


def test_free_axes_of_a_dataset():
    ragged = tf.data.Dataset.from_tensors(tf.ragged.constant([[1.0], [1.0, 2.0]]))
    spec = tf.TensorSpec((None, None, 2)), tf.TensorSpec((None,))
    free = tf.data.Dataset.from_generator(generator, output_signature=spec)
    assert streams.Epochs(free, None).free == [(1,), ()]
    assert streams.Epochs(Batches(), None).free is None
    assert streams.Epochs(dataset(), None, class_weight={0: 2.0}).free == [(), (), ()]
    with pytest.raises(ValueError, match="not ragged"):
        streams.Epochs(ragged, None)


def test_contents_of_datasets_tell_equal_ones_from_others():
    def shuffled(x, seed):
        return tf.data.Dataset.from_tensor_slices(x).shuffle(5, seed=seed).batch(4)

    same = streams.contents_of(shuffled(X, 1))
    assert same == streams.contents_of(shuffled(X.copy(), 1))
    other = X.copy()
    other[7, 1] += 1e-3
    for different in (shuffled(X, 2), shuffled(X, None), shuffled(other, 1)):
        assert streams.contents_of(different) not in (None, same)
    tables = [keras.layers.StringLookup(vocabulary=words) for words in (["a", "b"], ["b", "a"])]
    first, second = (tf.data.Dataset.from_tensors(["a"]).map(table) for table in tables)
    assert streams.contents_of(first) != streams.contents_of(second)
    variable = tf.Variable(2.0)
    for unknown in (
        dataset().map(lambda x, y: x * variable),
        dataset().map(lambda x, y: tf.numpy_function(lambda z: z, [x], tf.float32)),
        dataset().map(lambda x, y: x + tf.random.uniform(())),
        dataset().cache(),
        Batches(),
    ):
        assert streams.contents_of(unknown) is None


SPARSE = np.where(X % 3 == 0, X, 0.0)


@pytest.mark.parametrize("make", [scipy.sparse.csr_array, scipy.sparse.coo_matrix,
                                  tf.sparse.from_dense])  # fmt: skip
def test_rows_of_what_is_sparse_are_dense(make):
    sparse = make(SPARSE)
    assert rows.is_sparse(sparse)
    assert rows.are_rows((X, {"x": sparse}, None))
    found = rows.as_keras_rows(sparse)
    assert (found.shape, found.ndim, len(found), found.dtype) == ((20, 2), 2, 20, "float32")
    assert found.nbytes == SPARSE.nbytes
    for chosen in (np.array([3, 1, 19]), slice(2, None), slice(None)):
        np.testing.assert_array_equal(found[chosen], SPARSE[chosen])
    part = rows.slice_of(sparse, slice(15, None))
    assert rows.is_sparse(part)
    np.testing.assert_array_equal(rows.as_keras_rows(part)[:], SPARSE[15:])


def test_rows_of_files_are_not_read_before_they_are_used(tmp_path):
    np.save(tmp_path / "x.npy", X.astype("float64"))
    np.save(tmp_path / "y.npy", X)
    x, y = (np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in "xy")
    converted, same, array = rows.as_keras_rows((x, y, X.astype("float64")))
    assert isinstance(converted, rows.Rows)
    assert same is y
    assert array.dtype == converted.dtype == "float32"
    found = converted[np.array([4, 2])]
    assert found.dtype == "float32"
    np.testing.assert_array_equal(found, X[[4, 2]])
    assert np.shares_memory(rows.slice_of(x, slice(3, 5)), x)
    with pytest.raises(ValueError, match="must be arrays"):
        rows.as_keras_rows("text")
