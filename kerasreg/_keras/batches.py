"""Batches of what Keras takes for data: arrays, datasets and generators, also endless ones."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops, tree

from kerasreg._keras.tensorflow_internals import is_endless


class Batch(NamedTuple):
    """One batch: inputs, and targets and weights of the samples or None."""

    x: Any
    y: Any
    sample_weight: Any


def are_batches(x: Any) -> bool:
    """Whether data comes in batches of its own: a dataset, a loader or a generator."""
    if x is None or isinstance(x, (list, tuple, dict, str, bytes)) or ops.is_tensor(x):
        return False
    return isinstance(x, keras.utils.PyDataset) or (
        hasattr(x, "__iter__") and not hasattr(x, "__array__")
    )


def batches(x: Any, *, batch_size: int, steps: int | None = None) -> Iterator[Batch]:
    """The batches of inputs, in their order.

    Args:
        x: arrays, whose batches are made here; or a `tf.data.Dataset`, a `PyDataset`, a generator
            or another iterable of batches, which are inputs or tuples as for `fit`.
        batch_size: of arrays.
        steps: the batches to take, or all. Of a generator no more are drawn.

    Raises:
        ValueError: if `x` is endless and there are no `steps`.
    """
    if steps is None and has_no_end(x):
        raise ValueError(
            "`steps` must be a whole number >= 1 for data without an end, such as a repeated "
            f"dataset. Received: steps=None, and x={x!r}"
        )
    return itertools.islice(_all(x, batch_size), steps)


def first_batch(x: Any) -> Batch:
    """The first batch of data for which `are_batches`; a generator has then one less.

    Raises:
        ValueError: if there is none.
    """
    for batch in batches(x, batch_size=1, steps=1):
        return batch
    raise ValueError(f"`x` must have at least one batch of inputs. Received: x={x!r}")


def _all(x: Any, batch_size: int) -> Iterator[Batch]:
    if isinstance(x, keras.utils.PyDataset):
        count = x.num_batches
        for index in itertools.count() if count is None else range(count):
            yield _unpacked(x[index])
    elif are_batches(x):
        yield from map(_unpacked, x)
    else:
        # An input that may be left out may be None.
        x = tree.map_structure(lambda part: None if part is None else _sliceable(part), x)
        length = len(next(part for part in tree.flatten(x) if part is not None))
        for start in range(0, length, batch_size):
            rows = slice(start, start + batch_size)
            part = tree.map_structure(
                lambda array, rows=rows: None if array is None else array[rows], x
            )
            yield Batch(part, None, None)


def _unpacked(batch: Any) -> Batch:
    batch = Batch(*keras.utils.unpack_x_y_sample_weight(batch))
    return Batch(*(tree.map_structure(_tensor, part) for part in batch))


def _sliceable(part: Any) -> Any:
    return part if ops.is_tensor(part) else np.asarray(part)


def _tensor(part: Any) -> Any:
    if part is None or ops.is_tensor(part) or not hasattr(part, "__array__"):
        return part
    # Of another framework, such as a loader of PyTorch, or a table of pandas.
    return np.asarray(part.detach().cpu() if hasattr(part, "detach") else part)


def has_no_end(x: Any) -> bool:
    """Whether data are known to go on for ever."""
    if isinstance(x, keras.utils.PyDataset):
        return x.num_batches is None
    if isinstance(x, itertools.repeat | itertools.cycle | itertools.count):
        return True
    return hasattr(x, "element_spec") and hasattr(x, "cardinality") and is_endless(x)
