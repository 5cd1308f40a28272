"""Data that come as batches, in the order, with the ends and with the warnings of `model.fit`."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from kerasreg._keras.tensorflow_internals import dataset_contents


def is_stream(x: Any) -> bool:
    """Is data a dataset, a loader or a generator, from which `model.fit` takes its batches?

    Read for Keras 3.10 to 3.15.
    """
    from keras.src.trainers import data_adapters

    if isinstance(x, keras.utils.PyDataset | types.GeneratorType):
        return True
    # Not those of `tf.distribute`, whose batches are parts for replicas.
    if data_adapters.is_tf_dataset(x):
        return hasattr(x, "element_spec") and "Distributed" not in type(x).__name__
    # The second is not known to all of these versions.
    names = "is_torch_dataloader", "is_grain_dataset"
    return any(getattr(data_adapters, name, _never)(x) for name in names)


def _never(x: Any) -> bool:
    return False


def is_generator(x: Any) -> bool:
    """Does data begin only once?"""
    return isinstance(x, types.GeneratorType)


def contents_of(x: Any) -> str | None:
    """Equal for streams of equal batches; None where only the object tells."""
    is_dataset = hasattr(x, "element_spec") and hasattr(x, "_variant_tensor")
    return dataset_contents(x) if is_dataset else None


def batch_size_of(x: Any) -> int | None:
    """The number of samples in a batch of a dataset, if the dataset says so."""
    spec = getattr(x, "element_spec", None)
    shapes = [] if spec is None else [getattr(part, "shape", None) for part in tree.flatten(spec)]
    known = [shape[0] for shape in shapes if shape is not None and shape.rank and shape[0]]
    return int(known[0]) if known else None


def example_of(x: Any) -> Any:
    """A batch for which Keras can build a model, taken without moving a stream; None if none can.

    Of a `tf.data.Dataset` the batch is one of symbols.
    """
    if isinstance(x, keras.utils.PyDataset):
        return tree.map_structure(_dense, keras.utils.unpack_x_y_sample_weight(x[0]))
    spec = getattr(x, "element_spec", None)
    if spec is None or any(getattr(of, "shape", None) is None for of in tree.flatten(spec)):
        return None
    symbols = tree.map_structure(lambda of: keras.KerasTensor(of.shape, of.dtype.name), spec)
    return keras.utils.unpack_x_y_sample_weight(symbols)


class Epochs:
    """The batches of each epoch of a stream, as `model.fit` takes them.

    Args:
        x: a stream, or a function that gives the batches of one pass over the data.
        steps: the number of batches in an epoch; None for all.
        batches: the number of batches of a pass where `x` is a function.
        shuffle: as for `model.fit`. Only a `PyDataset` follows it.
        class_weight: as for `model.fit`.

    Attributes:
        free: for each array of a batch, the axes that the data declare to be of any length, but
            for the first axis; None where data declare nothing.

    Raises:
        ValueError: if Keras refuses the data.
    """

    def __init__(
        self,
        x: Any,
        steps: int | None,
        *,
        batches: int | None = None,
        shuffle: bool = False,
        class_weight: Mapping[int, float] | None = None,
    ) -> None:
        if callable(x) and not is_stream(x):
            x = _passes(x, batches)
        # Keras warns of `shuffle`, its own default, for what cannot be shuffled.
        shuffle = shuffle and getattr(x, "num_batches", None) is not None
        self._keras = _iterator_class()(
            x, steps_per_epoch=steps, shuffle=shuffle, class_weight=class_weight
        )
        is_dataset = hasattr(x, "element_spec")
        # Keras has put weights of classes into it.
        self.free = _free_axes(self._keras.data_adapter.get_tf_dataset()) if is_dataset else None

    @property
    def steps(self) -> int | None:
        """The number of batches in an epoch; None where nobody knows."""
        count = self._keras.num_batches
        return None if count is None else int(count)

    def reset(self) -> None:
        """Does what Keras does before a training or an evaluation."""
        self._keras.reset()

    def __iter__(self) -> Iterator[tuple[Any, Any, Any]]:
        """The batches `(x, y, sample_weight)` of the next epoch, as NumPy arrays."""
        for *_, found in self._keras.enumerate_epoch():
            batch = keras.utils.unpack_x_y_sample_weight(found[0])
            yield tree.map_structure(_dense, batch)


def _free_axes(dataset: Any) -> list[tuple[int, ...]] | None:
    free = []
    for part in tree.flatten(keras.utils.unpack_x_y_sample_weight(dataset.element_spec)):
        if part is None:
            continue
        if "Ragged" in type(part).__name__:
            raise ValueError(f"`x` must have batches that are not ragged. Received: {part!r}")
        if part.shape.rank is None:
            return None
        axes = enumerate(part.shape.as_list())
        free.append(tuple(axis for axis, length in axes if axis > 0 and length is None))
    return free


def _dense(part: Any) -> np.ndarray | None:
    """A part of a batch as an array, as Keras' own adapters make it."""
    if part is None:
        return None
    if hasattr(part, "tocoo"):  # Of SciPy.
        part = part.toarray()
    elif type(part).__name__ == "RaggedTensor":
        raise ValueError(f"`x` must have batches that are not ragged. Received: {part!r}")
    elif ops.is_tensor(part):
        part = ops.convert_to_numpy(part)
    array = np.asarray(part)
    if array.ndim == 0:
        raise ValueError(
            "`x` must have batches of arrays with a first axis of samples. Received a batch with "
            f"{part!r}"
        )
    return array


@functools.cache
def _iterator_class() -> type:
    """The class of Keras' epochs, with iterators that are made when Keras' trainer makes them.

    Each iterator of a shuffled dataset has another order, also one of which nothing is taken.
    """
    from keras.src.trainers.data_adapters import TFDatasetAdapter
    from keras.src.trainers.epoch_iterator import EpochIterator

    class Iterator(EpochIterator):
        def _get_iterator(self) -> Any:
            adapter = self.data_adapter
            on_tensorflow = keras.backend.backend() == "tensorflow"
            if on_tensorflow and isinstance(adapter, TFDatasetAdapter):
                return iter(adapter.get_tf_dataset())
            return adapter.get_numpy_iterator()

    return Iterator


def _passes(iterate: Callable[[], Iterator[Any]], batches: int | None) -> Any:
    return _adapter_class()(iterate, batches)


@functools.cache
def _adapter_class() -> type:
    """The class of data adapters whose passes are a function of ours."""
    from keras.src.trainers.data_adapters.data_adapter import DataAdapter

    class Passes(DataAdapter):
        def __init__(self, iterate: Callable[[], Iterator[Any]], batches: int | None) -> None:
            self._iterate, self._batches = iterate, batches

        def get_numpy_iterator(self) -> Iterator[Any]:
            return self._iterate()

        @property
        def num_batches(self) -> int | None:
            return self._batches

    return Passes
