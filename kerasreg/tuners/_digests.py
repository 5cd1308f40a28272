"""Hashes of the data of trainings: which trainings have the same."""

from __future__ import annotations

import contextlib
import hashlib
import weakref
from typing import Any

import keras
import numpy as np

from kerasreg._keras.internals import as_keras_arrays
from kerasreg._keras.rows import is_sparse
from kerasreg._keras.streams import contents_of, is_stream

# Of an array in a file with more bytes, the contents are not compared.
_MOST_READ = 2**28


class Digests:
    """Hashes of the contents of arrays, each array looked at once; and keys made of them.

    Streams, large arrays in files and sparse ones have the same contents if they are the same
    object, or datasets of which TensorFlow says so.
    """

    def __init__(self) -> None:
        self._streams: dict[int, tuple[Any, str]] = {}
        self._count = 0
        self._known: dict[int, tuple[Any, bytes, str]] = {}
        self._keys: dict[Any, Any] = {}

    def same(self, key: Any) -> Any:
        """One object for equal keys, which are long: to compare an object with itself is cheap."""
        return self._keys.setdefault(key, key)

    def of(self, data: Any) -> Any:
        """A hash of a structure of arrays."""
        return keras.tree.map_structure(self._of_part, data).__repr__()

    def _of_part(self, part: Any) -> str:
        if part is None:
            return "None"
        # Nor is a large file read, or what is sparse looked through.
        is_large = isinstance(part, np.memmap) and part.nbytes > _MOST_READ
        by_object = is_stream(part) or is_sparse(part) or is_large
        return self._of_object(part) if by_object else self._of_array(part)

    def _of_object(self, stream: Any) -> str:
        """A name of an object that no other has, also not when the object is gone."""
        key = id(stream)
        known = self._streams.get(key)
        if known is None or known[0]() is not stream:
            contents = contents_of(stream) if is_stream(stream) else None
            if contents is None:
                self._count += 1
                contents = str(self._count)
            gone = weakref.ref(stream, lambda _: self._streams.pop(key, None))
            known = self._streams[key] = gone, f"stream {contents}"
        return known[1]

    def _of_array(self, array: Any) -> str:
        # A table of several types would be one of objects.
        is_plain = isinstance(array, np.ndarray) or keras.ops.is_tensor(array)
        plain, key = np.asarray(array if is_plain else as_keras_arrays(array)), id(array)
        sample = _sample(plain)
        known = self._known.get(key)
        if known is not None and known[0]() is array and known[1] == sample:
            return known[2]
        content = hashlib.blake2b(_bytes(plain)).hexdigest()
        digest = f"{plain.dtype} {plain.shape} {content}"
        with contextlib.suppress(TypeError):  # Of what cannot be referred to weakly, no more.
            # The data of trials that have ended is not kept.
            self._known[key] = (
                weakref.ref(array, lambda _: self._known.pop(key, None)),
                sample,
                digest,
            )
        return digest


def _sample(array: np.ndarray) -> bytes:
    """Some of the elements of an array, which tell whether it was written to meanwhile."""
    flat = array.reshape(-1) if array.flags.c_contiguous else array.ravel()
    return bytes(_bytes(flat[:: max(1, flat.size // 4096)]))


def _bytes(array: np.ndarray) -> Any:
    """The contents of an array, of which no copy is made."""
    if array.dtype == object:  # Of objects, the bytes are where they are.
        return repr(array.tolist()).encode()
    return np.ascontiguousarray(array).reshape(-1).view("uint8").data
