"""Which samples make which batch, and the arrays that the samples are rows of."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from keras import ops, tree

from kerasreg._keras.class_weights import sample_weights_of_classes
from kerasreg._keras.internals import as_keras_arrays, rows_for_fit
from kerasreg._keras.rows import Rows, as_keras_rows, is_sparse, slice_of

# Above this many bytes, data is given to the program in parts.
RESIDENT_BYTES = 2**28


def batch_order(samples: int, epoch: int, *, seed: int) -> np.ndarray:
    """The order in which lanes see the samples in an epoch.

    Args:
        samples: the number of samples.
        epoch: the number of the epoch, from 0.
        seed: the seed of `Lanes.fit`.

    Returns:
        A permutation of `range(samples)`. Batch `i` of size `b` is its entries
        from `i * b` to `(i + 1) * b`.

    Example:

    >>> import kerasreg
    >>> sorted(kerasreg.lanes.batch_order(4, epoch=0, seed=7).tolist())
    [0, 1, 2, 3]
    """
    return np.random.default_rng([seed, epoch]).permutation(samples)


class Resident(list[Any]):
    """Arrays of a training that stay what they are: each device is given them once."""

    def __init__(self, arrays: Iterable[Any]) -> None:
        super().__init__(arrays)
        self._placed: dict[Any, list[Any]] = {}

    def on(self, device: Any, place: Callable[[Any], Any]) -> list[Any]:
        """The arrays as they are on a device; `place` puts one there, the first time."""
        if device not in self._placed:
            self._placed[device] = [place(part) for part in self]
        return self._placed[device]


def placed(arrays: Sequence[Any], device: Any, place: Callable[[Any], Any]) -> list[Any]:
    """Arrays of any block on a device, where `place` puts one."""
    if isinstance(arrays, Resident):
        return arrays.on(device, place)
    return [place(part) for part in arrays]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Block:
    """Batches of one size that follow each other, for one call of a program.

    Attributes:
        pack: makes `(x, y, sample_weight)` of a list of arrays.
        arrays: arrays whose rows are samples.
        order: the rows of each batch, shape (steps, batch) or (steps, lanes, batch).
        count: how many of the batches are to be used, the first ones.
        having: the lanes that have these batches, shape (lanes,), Boolean; None if all have.
        free: for each array the axes, but for the first, that other blocks have of other lengths.
        is_usual: whether most blocks of the data are of these shapes.
    """

    pack: Packing
    arrays: Sequence[Any]
    order: np.ndarray
    count: int
    having: np.ndarray | None = None
    free: Sequence[tuple[int, ...]] | None = None
    is_usual: bool = True

    def example(self) -> Any:
        """The first sample of each array, packed, as tensors."""
        # NumPy has no type of text that Keras knows.
        return self.pack([ops.convert_to_tensor(array[:1]) for array in self.arrays])


class Samples:
    """Arrays whose rows are samples, and how a batch of them is packed for Keras.

    The arrays are those that `model.fit` would make of what is given.

    Args:
        x: inputs: an array, also one in a file or a sparse one, a tensor, a table or a series of
            pandas, or a list, tuple or dictionary of such.
        y: targets: as `x`, or None.
        sample_weight: weights of samples, or None. One array is for all targets.
        class_weight: a dictionary of weights by class number, or None.

    Raises:
        ValueError: if there are no samples, arrays have different lengths, or Keras would refuse
            what is given.
    """

    def __init__(
        self, x: Any, y: Any = None, sample_weight: Any = None, class_weight: Any = None
    ) -> None:
        if class_weight is not None:
            if sample_weight is not None:
                raise ValueError("`class_weight` and `sample_weight` cannot be given together.")
            sample_weight = sample_weights_of_classes(as_keras_arrays(y), class_weight)
        x, y, sample_weight = as_keras_rows((x, y, sample_weight))
        if sample_weight is not None and tree.is_nested(y) and not tree.is_nested(sample_weight):
            of_all = sample_weight
            sample_weight = tree.map_structure(lambda _: of_all, y)
        parts = (x, y, sample_weight)
        self.arrays: list[Any] = [part for part in tree.flatten(parts) if part is not None]
        lengths = sorted({len(part) if part.ndim else 0 for part in self.arrays})
        if len(lengths) != 1 or lengths[0] == 0:
            raise ValueError(
                "`x`, `y` and `sample_weight` must be arrays of the same length, at least 1. "
                f"Received arrays of lengths {lengths}"
            )
        self.count = lengths[0]
        self.pack = Packing(parts)
        self._bytes = sum(array.nbytes for array in self.arrays)
        if self.is_resident:
            self.arrays = Resident(
                array[:] if isinstance(array, Rows) else array for array in self.arrays
            )

    @property
    def is_resident(self) -> bool:
        """Whether a program is given all samples at once, and not those of some batches."""
        return self._bytes <= RESIDENT_BYTES

    def blocks(
        self,
        order: np.ndarray | Sequence[np.ndarray],
        batch_size: int,
        steps: int | None = None,
    ) -> Generator[Block, None, None]:
        """The blocks of equal batches that make an epoch.

        Args:
            order: rows in the order of their use: one array for all lanes, or a
                list with an array for each lane.
            batch_size: the size of a batch; the last one may be smaller.
            steps: the largest number of batches in a block.
        """
        size = self._bytes
        for rows, having in _runs(order, batch_size):
            limit = len(rows) if steps is None else steps
            if size > RESIDENT_BYTES:
                of_batch = size * rows[0].size // self.count
                limit = min(limit, max(1, RESIDENT_BYTES // (2 * max(1, of_batch))))
            for begin in range(0, len(rows), limit):
                part, given = rows[begin : begin + limit], self.arrays
                if size > RESIDENT_BYTES:
                    # Only what these batches need goes to the program.
                    needed, where = np.unique(part, return_inverse=True)
                    part = where.reshape(part.shape)
                    given = [array[needed] for array in self.arrays]
                yield Block(
                    pack=self.pack,
                    arrays=given,
                    order=part.astype("int32"),
                    count=len(part),
                    having=having,
                )

    def slices(self, batch_size: int, count: int) -> Generator[Block, None, None]:
        """The first samples in their order, each batch a block of its own."""
        for begin in range(0, count, batch_size):
            part = [array[begin : min(count, begin + batch_size)] for array in self.arrays]
            order = np.arange(len(part[0]), dtype="int32")[None]
            yield Block(pack=self.pack, arrays=part, order=order, count=1)


def _runs(
    order: np.ndarray | Sequence[np.ndarray], batch_size: int
) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """The full batches, then the ragged one; lanes that have fewer sit out the rest."""
    if isinstance(order, np.ndarray):
        full = len(order) // batch_size * batch_size
        if full:
            yield order[:full].reshape(-1, batch_size), None
        if len(order) > full:
            yield order[None, full:], None
        return
    counts = np.array([len(rows) for rows in order])
    fulls = counts // batch_size
    cuts = [0, *sorted(set(fulls.tolist()))]
    # Which lanes, from where to where (or the last ones), and the size of a batch.
    parts: list[tuple[np.ndarray, int | None, int | None, int]] = [
        (fulls >= end, begin * batch_size, end * batch_size, batch_size)
        for begin, end in itertools.pairwise(cuts)
        if end > begin
    ]
    for tail in sorted(set((counts % batch_size).tolist()) - {0}):
        parts.append((counts % batch_size == tail, None, None, tail))
    for having, begin, end, each in parts:
        # A lane that sits out is given rows too, and what they do is not kept.
        length = each if begin is None or end is None else end - begin
        rows = [
            (mine[-each:] if end is None else mine[begin:end]) if has else np.zeros(length, "int64")
            for mine, has in zip(order, having, strict=True)
        ]
        stacked = np.stack(rows).reshape(len(rows), -1, each)
        yield np.moveaxis(stacked, 0, 1), None if having.all() else having


class Packing:
    """Makes `(x, y, sample_weight)` of a flat list of those arrays that there are."""

    def __init__(self, parts: Any) -> None:
        flat = tree.flatten(parts)
        present = iter(range(len(flat)))
        self._structure = tree.pack_sequence_as(
            parts, [-1 if part is None else next(present) for part in flat]
        )
        self._key = repr(self._structure)

    def __call__(self, arrays: Sequence[Any]) -> Any:
        return tree.map_structure(
            lambda index: None if index < 0 else arrays[index], self._structure
        )

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, Packing) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)


def split(arrays: Any, fraction: float) -> tuple[Any, Any]:
    """The first part of each array and, as Keras does it, the last `fraction`."""
    lengths = [len(part) for part in tree.flatten(as_keras_rows(arrays)) if part is not None]
    at = math.floor(lengths[0] * (1.0 - fraction))
    if not 0 < at < lengths[0]:
        raise ValueError(
            "`validation_split` must leave samples on both sides. "
            f"Received: validation_split={fraction} for {lengths[0]} samples"
        )

    def take(rows: slice) -> Any:
        return tree.map_structure(
            lambda part: (
                slice_of(part, rows)
                if is_sparse(part) or isinstance(part, np.memmap)
                else rows_for_fit(part, rows)
            ),
            arrays,
        )

    return take(slice(None, at)), take(slice(at, None))
