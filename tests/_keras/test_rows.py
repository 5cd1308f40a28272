"""Rows of data that are sparse, or in files."""

import itertools

import keras
import numpy as np
import scipy.sparse
import tensorflow as tf

from kerasreg._keras import rows
from kerasreg._keras.batches import has_no_end
from kerasreg._keras.streams import is_generator

X = np.arange(12.0).reshape(6, 2)


def in_file(folder, dtype="float64"):
    held = np.memmap(folder / "x", dtype, "w+", shape=X.shape)
    held[:] = X
    return held


def test_is_sparse_of_matrices_and_tensors_alone():
    assert rows.is_sparse(scipy.sparse.csr_matrix(X)) is True
    assert rows.is_sparse(tf.sparse.from_dense(X)) is True
    assert rows.is_sparse(X) is False
    assert rows.is_sparse(None) is False


def test_are_rows_in_any_structure():
    assert rows.are_rows({"a": X, "b": [scipy.sparse.csr_matrix(X), None]}) is True
    assert rows.are_rows([X, tf.data.Dataset.from_tensors(X)]) is False


def test_as_keras_rows_reads_when_it_is_asked(tmp_path):
    sparse = scipy.sparse.csr_matrix(X)
    found = rows.as_keras_rows([X, sparse, in_file(tmp_path)])
    assert isinstance(found[0], np.ndarray)
    for part in found[1:]:
        assert type(part) is rows.Rows
        assert (part.shape, part.ndim, len(part), part.dtype) == ((6, 2), 2, 6, "float32")
        np.testing.assert_array_equal(part[1:3], X[1:3])
    plain = in_file(tmp_path, "float32")
    assert rows.as_keras_rows(plain) is plain


def test_slice_of_a_part_is_of_its_kind(tmp_path):
    held = in_file(tmp_path)
    part = rows.slice_of(held, slice(2, 4))
    assert isinstance(part, np.memmap)
    np.testing.assert_array_equal(part, X[2:4])
    part = rows.slice_of(scipy.sparse.csr_matrix(X), slice(-2, None))
    np.testing.assert_array_equal(part.toarray(), X[-2:])
    part = rows.slice_of(tf.sparse.from_dense(X), slice(0, 2))
    np.testing.assert_array_equal(tf.sparse.to_dense(part), X[:2])


def test_has_no_end_of_what_is_known():
    class Endless(keras.utils.PyDataset):
        num_batches = None

        def __getitem__(self, index):
            return X

    data = tf.data.Dataset.from_tensors(X)
    assert [has_no_end(x) for x in (Endless(), itertools.repeat(X), data.repeat())] == [True] * 3
    assert [has_no_end(x) for x in (data, data.repeat(2), X)] == [False] * 3


def test_is_generator_of_what_begins_once():
    assert is_generator(one for one in [X]) is True
    assert [is_generator(x) for x in (X, [X], iter([X]))] == [False] * 3
