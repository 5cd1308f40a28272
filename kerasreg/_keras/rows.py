"""Rows of data that are too many to be held, or that are held sparsely, read when they are used."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from kerasreg._keras.internals import are_arrays, as_keras_arrays


def are_rows(data: Any) -> bool:
    """Does `model.fit` take data for arrays, of which some may be sparse matrices or tensors?

    A part may be None.
    """
    return all(is_sparse(part) or are_arrays(part) for part in keras.tree.flatten(data))


def is_sparse(part: Any) -> bool:
    """Is a part of data a sparse matrix of SciPy or a sparse tensor of TensorFlow?

    Read for Keras 3.10 to 3.15.
    """
    from keras.src.trainers.data_adapters import data_adapter_utils

    is_tensor = data_adapter_utils.is_tensorflow_sparse(part)
    return bool(is_tensor or data_adapter_utils.is_scipy_sparse(part))


def as_keras_rows(data: Any) -> Any:
    """What `as_keras_arrays` gives, but that files and sparse data become `Rows`.

    Raises:
        ValueError: as `as_keras_arrays` does.
    """

    def convert(part: Any) -> Any:
        if is_sparse(part) or _is_file_of_other_precision(part):
            return Rows(part)
        return part if isinstance(part, np.memmap) else as_keras_arrays(part)

    return keras.tree.map_structure(convert, data)


def slice_of(part: Any, rows: slice) -> Any:
    """Some rows of a part of data that is sparse or in a file, of the same kind; no row is read."""
    if isinstance(part, np.memmap):
        return part[rows]
    from keras.src.trainers.data_adapters import array_slicing

    sliceable = array_slicing.convert_to_sliceable(part)
    return sliceable[slice(*rows.indices(part.shape[0]))]


def _is_file_of_other_precision(part: Any) -> bool:
    # Keras would read all of it to convert it.
    is_float = isinstance(part, np.memmap) and np.issubdtype(part.dtype, np.floating)
    return bool(is_float and part.dtype.name != keras.config.floatx())


class Rows:
    """A part of data as an array whose rows are read, and made dense, when they are asked for.

    Args:
        part: an array in a file, or what `is_sparse`.

    Attributes:
        shape: the shape of the whole array.
        dtype: the type of the rows.
        nbytes: the bytes of the whole array, if it were dense.
    """

    def __init__(self, part: Any) -> None:
        from keras.src.trainers.data_adapters import array_slicing

        self.shape = tuple(int(length) for length in part.shape)
        if isinstance(part, np.memmap):
            self._rows: Any = part
            self.dtype = np.dtype(keras.config.floatx())
        else:
            self._rows = array_slicing.convert_to_sliceable(part, target_backend="numpy")
            self.dtype = self[:1].dtype

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape, dtype="int64")) * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        if isinstance(self._rows, np.memmap):
            return np.asarray(self._rows[rows], self.dtype)
        if isinstance(rows, slice):  # Some kinds of Keras' need its end.
            rows = slice(*rows.indices(len(self)))
        return np.asarray(self._rows.convert_to_numpy(self._rows[rows]))
