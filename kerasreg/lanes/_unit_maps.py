"""Which units of a wide model are those of a narrow one, found along the graph of both."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

from kerasreg._keras.graph import given_to, has_graph, nodes
from kerasreg._keras.internals import functional_of, walk_layers
from kerasreg.lanes._padded_layers import is_padded
from kerasreg.lanes._padding import Axes, NotPadded, grid

# Whose gates, or directions, lie one behind the other.
_RECURRENT = (keras.layers.RNN, keras.layers.Bidirectional)


class UnitMaps:
    """Where the parts of a narrow model lie in a wide one, found along the graph of both.

    Args:
        narrow: the narrow model.
        wide: the wide model.
        left: the ids of variables that one of the models may lack.

    Attributes:
        variables: the axes of each variable of the wide model that the narrow one has smaller,
            by its id.
        normalized: as for `Padding`, by the id of the layer.
        choices: how the indices on each axis were found, by the place. Sizes that are equal by
            chance change it.
    """

    def __init__(self, narrow: keras.Model, wide: keras.Model, left: set[int]) -> None:
        self._left = left
        self.variables: dict[int, Axes] = {}
        self.normalized: dict[int, tuple[Any, np.ndarray]] = {}
        self.choices: dict[Any, Any] = {}
        self._calls = 0
        self._tensors: dict[int, Axes] = {}  # Of the wide model, by id.
        if not (has_graph(narrow) and has_graph(wide)):
            raise NotPadded("only models of Keras' functional and Sequential kind are padded")
        for mine, its in zip(narrow.inputs, wide.inputs, strict=True):
            if mine.shape != its.shape:
                raise NotPadded(f"the input {its.name!r} has another shape")
            self._tensors[id(its)] = (None,) * len(its.shape)
        self._walk(narrow, wide)
        for mine, its in zip(narrow.outputs, wide.outputs, strict=True):
            if mine.shape != its.shape or any(of is not None for of in self._tensors[id(its)]):
                raise NotPadded(f"the output of {its.name!r} has another shape")
        for mine, its in self.pairs_of_variables(narrow, wide):
            if mine.shape != its.shape and id(its) not in self.variables:
                raise NotPadded(f"`{its.path}` belongs to no layer of the graph")

    def _walk(self, narrow: Any, wide: Any) -> None:
        for mine, its in zip(nodes(functional_of(narrow)), nodes(functional_of(wide)), strict=True):
            if has_graph(its.operation):
                self._walk_nested(mine, its)
            else:
                _Call(self, mine, its).find()

    def _walk_nested(self, mine: Any, its: Any) -> None:
        given, narrow, wide = given_to(its.operation, its), mine.operation, its.operation
        if given is None or any(tensor is None for tensor in given):
            raise NotPadded(f"{wide.name!r} is called with other inputs than its own")
        for inner, outer in zip(wide.inputs, given, strict=True):
            self._tensors[id(inner)] = self._tensors[id(outer)]
        self._walk(narrow, wide)
        for inner, outer in zip(wide.outputs, its.outputs, strict=True):
            self._tensors[id(outer)] = self._tensors[id(inner)]

    def pairs_of_variables(self, narrow: Any, wide: Any) -> Iterator[tuple[Any, Any]]:
        """The variables that two operations have in common: those of layers, and of models."""
        lists = [
            [one for one in getattr(of, "variables", ()) if id(one) not in self._left]
            for of in (narrow, wide)
        ]
        return zip(*lists, strict=True)

    def count_call(self) -> int:
        """The number of a call, in the order of the graph."""
        self._calls += 1
        return self._calls

    def of_tensor(self, tensor: Any) -> Axes:
        """The axes of a tensor of the wide model."""
        return self._tensors[id(tensor)]

    def set_tensor(self, tensor: Any, axes: Axes) -> None:
        """Keeps the axes of a tensor of the wide model."""
        self._tensors[id(tensor)] = axes

    def set_variable(self, variable: keras.Variable, axes: Axes) -> None:
        """Keeps the axes of a variable of the wide model, which a layer may use several times."""
        if all(indices is None for indices in axes):
            return
        known = self.variables.setdefault(id(variable), axes)
        if not all(map(_same, known, axes)):
            raise NotPadded(f"`{variable.path}` is used for units of several kinds")

    def set_normalized(self, layer: Any, indices: np.ndarray) -> None:
        """Keeps a layer that takes means over units."""
        _, known = self.normalized.setdefault(id(layer), (layer, indices))
        if not _same(known, indices):
            raise NotPadded(f"{layer.name!r} is used for units of several kinds")


def _same(one: np.ndarray | None, other: np.ndarray | None) -> bool:
    return one is other or (one is not None and other is not None and np.array_equal(one, other))


class _Call:
    """One call of an operation, in the graphs of a narrow and of a wide model.

    A length that both models have is no matter. Another length is that of an axis of an input, or
    a whole number of the operation, such as `units`, or some times that number: then so many blocks
    lie one behind the other, as the gates of an LSTM. Where several could be, the last axis is the
    operation's own, and others are those of inputs. What was guessed wrong, the comparison finds.
    """

    def __init__(self, maps: UnitMaps, mine: Any, its: Any) -> None:
        self._maps = maps
        self._mine, self._its = mine, its
        self._call = maps.count_call()
        # The lengths of each axis of an input, which units it has, and where it is.
        self._inputs = [
            ((narrow.shape[axis], wide.shape[axis]), indices, (number, axis))
            for number, (narrow, wide) in enumerate(
                zip(mine.input_tensors, its.input_tensors, strict=True)
            )
            for axis, indices in enumerate(maps.of_tensor(wide))
            if indices is not None
        ]
        self._numbers = dict.fromkeys(_differing_numbers(mine.operation, its.operation))

    def find(self) -> None:
        """Finds the axes of the outputs and of the variables."""
        operation = self._its.operation
        if is_padded(operation):
            indices = self._maps.of_tensor(self._its.input_tensors[0])[-1]
            if indices is not None:
                self._maps.set_normalized(operation, indices)
        variables = self._maps.pairs_of_variables(self._mine.operation, operation)
        for number, (narrow, wide) in enumerate(variables):
            # What an RNN multiplies its own units with: both axes are its own.
            own = "recurrent" in wide.name
            axes = self._axes(narrow.shape, wide.shape, ("variable", number), own)
            self._maps.set_variable(wide, axes)
        outputs = zip(self._mine.outputs, self._its.outputs, strict=True)
        for number, (narrow, wide) in enumerate(outputs):
            if narrow.shape == wide.shape:
                axes = (None,) * len(wide.shape)
            elif isinstance(operation, keras.layers.Flatten):
                axes = self._flattened()
            elif isinstance(operation, keras.layers.Concatenate):
                axes = self._concatenated(wide)
            else:
                axes = self._axes(narrow.shape, wide.shape, ("output", number))
            self._maps.set_tensor(wide, axes)

    def _axes(
        self,
        narrow: Sequence[int | None],
        wide: Sequence[int | None],
        place: tuple[str, int],
        own: bool = False,
    ) -> Axes:
        if len(narrow) != len(wide):
            raise NotPadded(f"{self._its.operation.name!r} has another number of axes")
        last = len(wide) - 1
        return tuple(
            None if mine == its else self._indices(mine, its, own or axis == last, (*place, axis))
            for axis, (mine, its) in enumerate(zip(narrow, wide, strict=True))
        )

    def _indices(
        self, mine: int | None, its: int | None, own_first: bool, place: tuple[Any, ...]
    ) -> np.ndarray:
        like = [(indices, at) for pair, indices, at in self._inputs if pair == (mine, its)]
        of_inputs = [indices for indices, _ in like]
        own, blocks = list[np.ndarray](), list[np.ndarray]()
        if mine is not None and its is not None:
            own = [np.arange(mine)] if (mine, its) in self._numbers else []
            blocks = list(self._blocks(mine, its))
        kinds = [of_inputs, own, blocks]
        if own_first:
            recurs = isinstance(self._its.operation, _RECURRENT)
            kinds = [own, blocks, of_inputs] if recurs else [own, of_inputs, blocks]
        candidates = next((kind for kind in kinds if kind), [])
        found = tuple(at for _, at in like), len(own), len(blocks)
        self._maps.choices[self._call, place] = found
        if not candidates or not all(_same(candidates[0], other) for other in candidates[1:]):
            raise NotPadded(
                f"{self._its.operation.name!r} has {mine} in the place of {its}, and which of "
                f"these {mine} are is not known"
            )
        return candidates[0]

    def _blocks(self, mine: int, its: int) -> Iterator[np.ndarray]:
        for narrow, wide in self._numbers:
            blocks = mine // narrow
            if blocks > 1 and blocks * narrow == mine and blocks * wide == its:
                yield (np.arange(blocks)[:, None] * wide + np.arange(narrow)).ravel()

    def _flattened(self) -> Axes:
        (wide,) = self._its.input_tensors
        shape, axes = wide.shape[1:], self._maps.of_tensor(wide)[1:]
        if None in shape or self._its.operation.data_format == "channels_first":
            raise NotPadded(f"{self._its.operation.name!r} flattens axes of unknown lengths")
        every = np.arange(int(np.prod(shape))).reshape(shape)
        return None, every[grid(axes, shape)].ravel()

    def _concatenated(self, output: Any) -> Axes:
        axis = self._its.operation.axis % len(output.shape)
        parts, offset = [], 0
        axes = list(self._maps.of_tensor(self._its.input_tensors[0]))
        for tensor in self._its.input_tensors:
            indices = self._maps.of_tensor(tensor)
            if not all(
                _same(*pair)
                for at, pair in enumerate(zip(axes, indices, strict=True))
                if at != axis
            ):
                raise NotPadded(f"{self._its.operation.name!r} joins units of several kinds")
            length, own = tensor.shape[axis], indices[axis]
            parts.append(offset + (np.arange(length) if own is None else own))
            offset += length
        axes[axis] = np.concatenate(parts)
        return tuple(axes)


def _differing_numbers(mine: Any, its: Any) -> Iterator[tuple[int, int]]:
    """The whole numbers of an operation, and of the layers in it, that two models have differ."""
    pairs = [(mine, its)]
    if isinstance(its, keras.Layer):
        pairs = list(zip(walk_layers(mine), walk_layers(its), strict=True))
    for narrow, wide in pairs:
        theirs = vars(wide)
        for name, value in vars(narrow).items():
            other = theirs.get(name)
            if type(value) is int and type(other) is int and value != other:
                yield value, other
