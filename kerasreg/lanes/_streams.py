"""Data that come as batches, of which each is read once for all lanes."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Generator, Iterator, Mapping
from typing import Any, TypeVar

import numpy as np
from keras import tree

from kerasreg._keras.batches import has_no_end
from kerasreg._keras.streams import Epochs, is_stream
from kerasreg._validation import check_count
from kerasreg.lanes._batches import Block, Packing, Samples, batch_order

# The batches that are read before they are given to the program together: at most so many, and of
# at most so many bytes. As many are read meanwhile, and memory has room for some copies of them.
_MOST_STEPS = 64
_MOST_BYTES = 2**26

_Item = TypeVar("_Item")
_END: Any = object()


class DataError(ValueError):
    """Data that raised an error when a batch was read, or whose batches lanes cannot take.

    The `__cause__` is the error of the data, such as one of a generator.

    Example:

    >>> import keras, numpy as np, kerasreg
    >>> def batches():
    ...     yield np.ones((8, 3)), np.ones((8, 1))
    ...     raise KeyError("no such file")
    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> try:
    ...     kerasreg.lanes.Lanes.from_model(model, 2).fit(batches(), steps_per_epoch=2)
    ... except kerasreg.lanes.DataError as error:
    ...     print(repr(error.__cause__))
    KeyError('no such file')
    """


class Stream:
    """A dataset, a loader or a generator, whose batches are gathered into blocks.

    Args:
        x: what `kerasreg._keras.streams.is_stream`; or the samples whose batches are taken, where
            the number of steps is not the number of their batches.
        steps: the number of batches in an epoch; None for all.
        name: of the argument that gave the stream, for errors.
        steps_name: of the argument that gave the number of steps, for errors.
        batch_size: of samples; None for as many as make the samples `steps` batches.
        shuffle: as for `model.fit`. It holds for samples and for a `PyDataset`.
        seed: of the order of samples.
        class_weight: a dictionary of weights by class number, or None.
    """

    def __init__(
        self,
        x: Any,
        steps: int | None = None,
        *,
        name: str = "x",
        steps_name: str = "steps_per_epoch",
        batch_size: int | None = None,
        shuffle: bool = False,
        seed: int = 0,
        class_weight: Mapping[int, float] | None = None,
    ) -> None:
        if steps is None and has_no_end(x):
            raise ValueError(
                f"`{steps_name}` must be a whole number >= 1 for data without an end, such as a "
                f"repeated dataset. Received: {steps_name}=None, and {name}={x!r}"
            )
        self._x, self._name, self._given_steps = x, name, steps
        self._shuffle, self._seed, self._class_weight = shuffle, seed, class_weight
        self._batch_size = batch_size
        self._passes = 0
        self._epochs: Epochs | None = None
        # What is known since the first batches: how they are packed, the types of their arrays,
        # the shapes of these, and which of their axes may have any length.
        self._pack: Packing | None = None
        self._first: list[tuple[tuple[int, ...], np.dtype]] = []
        self._free: list[tuple[int, ...]] | None = None
        self._seen = 0

    def _opened(self) -> Epochs:
        # Not before it is used: of a generator, Keras takes batches then.
        if self._epochs is None:
            if isinstance(self._x, Samples):
                size = self._size_of_batch(self._x)
                self._epochs = Epochs(
                    self._pass, self._given_steps, batches=-(-self._x.count // size)
                )
            else:
                self._epochs = Epochs(
                    self._x,
                    self._given_steps,
                    shuffle=self._shuffle,
                    class_weight=self._class_weight,
                )
            self._free = self._epochs.free
        return self._epochs

    def _size_of_batch(self, samples: Samples) -> int:
        if self._batch_size is None:
            return -(-samples.count // (self._given_steps or samples.count))
        return self._batch_size

    def _pass(self) -> Iterator[Any]:
        """The batches of all samples, in another order each time."""
        samples: Samples = self._x
        size = self._size_of_batch(samples)
        order = np.arange(samples.count)
        if self._shuffle:
            order = batch_order(samples.count, self._passes, seed=self._seed)
        self._passes += 1
        for begin in range(0, samples.count, size):
            rows = order[begin : begin + size]
            yield samples.pack([array[rows] for array in samples.arrays])

    @property
    def steps(self) -> int | None:
        """The number of batches in an epoch; None where nobody knows, or not yet."""
        return self._given_steps if self._epochs is None else self._epochs.steps

    def begin(self) -> None:
        """Does what Keras does before a training or an evaluation."""
        try:
            self._opened().reset()
        except Exception as error:
            raise self._error(error) from error

    def blocks(self, limit: int | None = None) -> Generator[Block, None, None]:
        """The batches of the next epoch, those of equal shapes that follow each other together.

        A block is read, in a thread of its own, while the one before is used.

        Args:
            limit: the largest number of batches in a block. Those of one batch are as they were
                read.

        Raises:
            DataError: if the data raise, or a batch differs from others in more than its size.
        """
        return ahead(self._blocks(limit))

    def _blocks(self, limit: int | None) -> Iterator[Block]:
        try:
            gathered: _Gathered | None = None
            for batch in self._opened():
                arrays = self._checked(batch)
                if gathered is not None and not gathered.add(arrays):
                    yield self._block(gathered)
                    gathered = None
                if gathered is None:
                    most = self._most(arrays) if limit is None else limit
                    gathered = _Gathered(arrays, most)
            if gathered is not None:
                yield self._block(gathered)
        except DataError:
            raise
        except Exception as error:
            raise self._error(error) from error

    def _error(self, error: Exception) -> DataError:
        return DataError(f"`{self._name}` raised an error when batches were read: {error!r}")

    def _most(self, arrays: list[np.ndarray]) -> int:
        """How many of such batches are read into a block."""
        size = sum(array.nbytes for array in arrays)
        steps = self._opened().steps
        # All blocks of an epoch have this length, the last one too: one with half of the batches
        # would be another program where programs are of fixed shapes.
        return max(1, min(_MOST_STEPS, steps or _MOST_STEPS, _MOST_BYTES // max(1, size)))

    def _checked(self, batch: Any) -> list[np.ndarray]:
        """The arrays of a batch, if they are like those before."""
        arrays = [part for part in tree.flatten(batch) if part is not None]
        pack = Packing(batch)
        self._seen += 1
        if self._pack is None:
            self._pack, self._first = pack, [(of.shape, of.dtype) for of in arrays]
        if pack != self._pack:
            raise DataError(
                f"`{self._name}` must have batches of one structure. Batch {self._seen} has "
                f"another one than the first batch. Received: {_shapes(batch)}"
            )
        if self._free is None and self._seen == 2:
            # As Keras finds it out: what differs in the first two may differ in all.
            self._free = [
                tuple(
                    axis
                    for axis in range(1, min(len(shape), of.ndim))
                    if shape[axis] != of.shape[axis]
                )
                for (shape, _), of in zip(self._first, arrays, strict=True)
            ]
        found = []
        for place, (array, (shape, dtype)) in enumerate(zip(arrays, self._first, strict=True)):
            free = (0, *(self._free[place] if self._free else ()))
            same = array.ndim == len(shape) and all(
                axis in free or array.shape[axis] == shape[axis] for axis in range(array.ndim)
            )
            if not same:
                raise DataError(
                    f"`{self._name}` must have batches whose arrays differ in their first axis "
                    f"only, or in those in which the first two batches differ. Batch {self._seen} "
                    f"has an array of shape {array.shape}, and the first batch one of shape "
                    f"{shape}."
                )
            found.append(array.astype(dtype, copy=False))
        return found

    def _block(self, gathered: _Gathered) -> Block:
        sizes = [array.shape[1] for array in gathered.arrays]
        if len(set(sizes)) != 1:
            raise DataError(
                f"`{self._name}` must have batches whose arrays have the same length. Received: "
                f"arrays of lengths {sizes}"
            )
        assert self._pack is not None
        free = tuple(self._free or ((),) * len(sizes))
        # Of any length, each would be a program of its own for a compiler of fixed shapes.
        is_usual = sizes[0] == self._first[0][0][0] and not any(free)
        length = gathered.most if is_usual else gathered.count
        order = np.arange(length * sizes[0], dtype="int32").reshape(length, -1)
        return Block(
            pack=self._pack,
            arrays=[of[:length].reshape(-1, *of.shape[2:]) for of in gathered.arrays],
            order=order,
            count=gathered.count,
            free=free,
            is_usual=is_usual,
        )


class _Gathered:
    """Batches of equal shapes, copied: a generator may use its arrays again.

    Args:
        batch: the arrays of the first one.
        most: the largest number of batches.

    Attributes:
        arrays: for each array of a batch, an array with a first axis of `most` batches.
        count: how many of these there are. The others are zeros, or the first batch again.
    """

    def __init__(self, batch: list[np.ndarray], most: int) -> None:
        self.most, self.count = most, 0
        self.arrays = [np.zeros((most, *part.shape), part.dtype) for part in batch]
        for array, part in zip(self.arrays, batch, strict=True):
            if part.dtype == object:  # Of text, of which no zero is one.
                array[:] = part
        self.add(batch)

    def add(self, batch: list[np.ndarray]) -> bool:
        """Takes one more batch; False if it is one too many or has another shape."""
        pairs = list(zip(self.arrays, batch, strict=True))
        if self.count == self.most or any(a.shape[1:] != part.shape for a, part in pairs):
            return False
        for array, part in pairs:
            array[self.count] = part
        self.count += 1
        return True


def evaluation_blocks(
    given: tuple[Any, Any, Any], batch_size: int, steps: int | None, single: bool = False
) -> Generator[Block, None, None]:
    """The batches of an evaluation or of predictions.

    Args:
        given: `(x, y, sample_weight)`; `x` may be a stream.
        batch_size: the number of samples in a batch of arrays.
        steps: the number of batches; None for all.
        single: whether each block has one batch.

    Raises:
        ValueError: if a number is not at least 1, or the arrays cannot be samples.
    """
    check_count("batch_size", batch_size)
    if steps is not None:
        check_count("steps", steps)
    if is_stream(given[0]):
        check_nothing_beside("x", given)
        stream = Stream(given[0], steps, steps_name="steps")
        if not single:
            stream.begin()
        return stream.blocks(1 if single else None)
    samples = Samples(*given)
    count = samples.count if steps is None else min(samples.count, steps * batch_size)
    if single:
        return samples.slices(batch_size, count)
    return samples.blocks(np.arange(count), batch_size)


def check_nothing_beside(name: str, given: tuple[Any, Any, Any]) -> None:
    """Checks that a stream has targets and weights in its batches only.

    Args:
        name: of the argument that gave the stream.
        given: `(x, y, sample_weight)`, of which `x` is the stream.

    Raises:
        ValueError: if there are targets or weights besides.
    """
    if given[1] is not None or given[2] is not None:
        raise ValueError(
            f"`{name}` must have the targets and the weights of samples in its batches. "
            f"Received {type(given[0]).__name__}, and targets or weights beside it."
        )


def ahead(items: Iterator[_Item]) -> Generator[_Item, None, None]:
    """Gives items of which the next one is made, in a thread, while one is used."""
    with concurrent.futures.ThreadPoolExecutor(1, "kerasreg-read") as thread:
        coming = thread.submit(next, items, _END)
        while (item := coming.result()) is not _END:
            coming = thread.submit(next, items, _END)
            yield item


def _shapes(batch: Any) -> Any:
    return tree.map_structure(lambda part: None if part is None else part.shape, batch)
