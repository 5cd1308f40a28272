"""Models of different widths in one program: narrow ones are padded with zeros.

A unit whose weights are all zero, and whose activation maps 0 to 0, gives 0. What follows gets
nothing from the unit, so that no gradient reaches the unit's weights: they stay zero, whatever
the optimizer, the decay and the penalties. So a narrow model is a wide one with such units.
Where an activation gives something else, as a sigmoid does, the weights behind are zero, and the
program makes their gradients zero.

Which units of the wide model are those of the narrow one is found along the graph, layer by
layer. Then both models are run, and all that a training moves is compared. What differs, such
as a model with a sigmoid behind units that are padded, is refused.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from kerasreg._keras.activations import set_activation
from kerasreg._keras.deferred_variables import initial_value
from kerasreg._keras.graph import given_to, has_graph, nodes
from kerasreg._keras.internals import functional_of, walk_layers
from kerasreg._keras.own_steps import own_steps
from kerasreg._keras.random_draws import replaced_draws
from kerasreg._keras.stateless_optimizer import optimizer_variables
from kerasreg.lanes._activations import ChosenActivation
from kerasreg.lanes._derived import OwnVariables
from kerasreg.lanes._padded_layers import is_padded
from kerasreg.lanes._scalars import Scalar, ScalarValues, stack_scalars
from kerasreg.lanes._step import Step
from kerasreg.lanes._structure import ModelStructure

# For each axis of a wide tensor the indices that a narrow one has there; None for all.
Axes = tuple[np.ndarray | None, ...]

# Two runs of the same sums, in another order.
_TOLERANCES = {"float16": 1e-2, "bfloat16": 5e-2}
_TOLERANCE = 1e-4
# Of an axis of the inputs that has any length.
_LENGTH = 32
_SAMPLES = 10
# Strengths, and other single numbers, are at least so large.
_LEAST = 0.1
_STEPS = 2
# Whose gates, or directions, lie one behind the other.
_RECURRENT = (keras.layers.RNN, keras.layers.Bidirectional)


class _Case(NamedTuple):
    """A way in which a model is padded: the sizes that differ, and how each axis was found."""

    differing: frozenset[int]
    choices: frozenset[Any]

    def has(self, other: _Case) -> bool:
        """Whether another model is padded so in some of these places, and in no other way."""
        return self.differing >= other.differing and self.choices >= other.choices


class _Result(NamedTuple):
    """What came of a comparison: why a model is not padded, or whether it needs masks."""

    reason: str | None
    masked: bool


# Of models whose runs were compared, the results that are kept.
_MOST = 32
_compared: collections.OrderedDict[Any, list[tuple[_Case, _Result]]] = collections.OrderedDict()
# The kinds of models whose optimizers leave zeros alone, which no activation changes.
_optimizers: collections.OrderedDict[Any, None] = collections.OrderedDict()


class NotPadded(ValueError):
    """A model cannot be padded to be as wide as another one; the message says why."""


class Padding(NamedTuple):
    """Where the values of a narrow model lie in those of a wide one.

    Attributes:
        axes: for each variable of the wide model that the narrow one has smaller, by its id, the
            indices on each axis.
        fills: by the id of a variable, what lies beside the values if that is not 0: what a slot
            of the optimizer begins with.
        chosen: by the id of a variable that only the wide model has, its value: the number of an
            activation.
        masked: whether the program is to make the gradients of what lies beside the values zero.
            Otherwise they are.
        normalized: the layers of the wide model that take means over units, each with the indices
            of those that the narrow model has.
    """

    axes: dict[int, Axes]
    fills: dict[int, float]
    chosen: dict[int, int]
    masked: bool = False
    normalized: tuple[tuple[Any, np.ndarray], ...] = ()

    def mask(self, variable: keras.Variable, axis: int) -> np.ndarray:
        """1 for each index of an axis that the narrow model has, and 0 beside it.

        Args:
            variable: the variable of the wide model.
            axis: the number of the axis.
        """
        axes = self.axes.get(id(variable))
        return _ones_at(None if axes is None else axes[axis], variable.shape[axis])

    def mask_of_units(self, layer: Any, count: int) -> np.ndarray:
        """1 for each unit of a layer in `normalized` that the narrow model has, and 0 beside it.

        Args:
            layer: the layer.
            count: the number of units in the wide model.
        """
        found = next((indices for own, indices in self.normalized if own is layer), None)
        return _ones_at(found, count)

    def embed(self, variable: keras.Variable, value: Any) -> np.ndarray:
        """A value of the narrow model as one of the wide model, with zeros beside it.

        Args:
            variable: the variable of the wide model.
            value: the value of the narrow model's.
        """
        array = np.asarray(value)
        axes = self.axes.get(id(variable))
        if axes is None:
            return array
        fill = self.fills.get(id(variable), 0.0)
        wide = np.full(tuple(variable.shape), fill, array.dtype)
        wide[_grid(axes, wide.shape)] = array
        return wide

    def extract(self, variable: keras.Variable, value: Any) -> Any:
        """The part of a value of the wide model that the narrow one has.

        Args:
            variable: the variable of the wide model.
            value: its value.
        """
        axes = self.axes.get(id(variable))
        if axes is None:
            return value
        array = np.asarray(ops.convert_to_numpy(value))
        return array[_grid(axes, array.shape)]


def _ones_at(indices: np.ndarray | None, count: int) -> np.ndarray:
    if indices is None:
        return np.ones(count)
    found = np.zeros(count)
    found[indices] = 1.0
    return found


def _grid(axes: Axes, shape: Sequence[int]) -> tuple[np.ndarray, ...]:
    every = (
        np.arange(length) if indices is None else indices
        for indices, length in zip(axes, shape, strict=True)
    )
    return np.ix_(*every)


def padding_between(
    narrow: keras.Model,
    wide: keras.Model,
    structures: tuple[ModelStructure, ModelStructure],
) -> Padding:
    """Finds how a model is padded to be as wide as another one.

    Args:
        narrow: the narrow model.
        wide: the wide model, whose optimizer is built.
        structures: the structures of both.

    Raises:
        NotPadded: if the model cannot be padded. Models that are padded in the same layers, and
            in the same way, are run once.
    """
    of_narrow, of_wide = structures
    if not of_wide.is_as_wide_as(of_narrow):
        raise NotPadded("they differ in more than in widths")
    if own_steps(narrow):
        raise NotPadded(f"it has a `{min(own_steps(narrow))}` of its own, which sees the zeros")
    generators = (*of_narrow.generators, *of_wide.generators)
    maps = _Maps(narrow, wide, set(map(id, generators)))
    slots = _slots(wide, maps.variables)
    padding = Padding(
        maps.variables | slots,
        _fills(wide, slots),
        _chosen(of_narrow, of_wide),
        normalized=tuple(maps.normalized.values()),
    )
    differing = frozenset(
        index
        for index, pair in enumerate(zip(of_narrow.tokens, of_wide.tokens, strict=True))
        # Which activation is taken, is a part of the key.
        if pair[0] != pair[1] and pair[0][0] != "activation"
    )
    activations = tuple(site.names for site in of_narrow.activations)
    known = _compared.setdefault((of_wide.unsized_tokens, activations), [])
    while len(_compared) > _MOST:
        _compared.popitem(last=False)
    case = _Case(differing, frozenset(maps.choices.items()))
    found = next((result for other, result in known if other == case), None)
    if found is None:
        # What is right for zeros in more places is right for zeros in some of them.
        right = [result for other, result in known if other.has(case) and result.reason is None]
        found = next(iter(right), None)
    if found is None:
        reason, masked = _difference(narrow, wide, structures, padding), False
        if reason is not None:
            with_masks = padding._replace(masked=True)
            masked = _difference(narrow, wide, structures, with_masks) is None
        found = _Result(None if masked else reason, masked)
        known.append((case, found))
    if found.reason is not None:
        raise NotPadded(found.reason)
    return padding._replace(masked=found.masked)


def why_not_padded(
    model: keras.Model,
    template: keras.Model,
    structures: tuple[ModelStructure, ModelStructure] | None = None,
) -> str | None:
    """Says why a model cannot be a lane of a wider model's program.

    Both models are run, with random numbers for weights and inputs, and what comes out is
    compared.

    Args:
        model: a built and compiled model.
        template: another one, which is wider.
        structures: the structures of both, if the caller has them.

    Returns:
        The reason in words; None if the model can be such a lane.

    Example:

    >>> import keras, kerasreg
    >>> def model(units, activation):
    ...     hidden = keras.layers.Dense(units, activation)
    ...     model = keras.Sequential([keras.Input((3,)), hidden, keras.layers.Dense(1)])
    ...     model.compile("sgd", "mse")
    ...     return model
    >>> kerasreg.lanes.why_not_padded(model(2, "relu"), model(4, "relu")) is None
    True
    >>> kerasreg.lanes.why_not_padded(model(2, "softmax"), model(4, "softmax"))
    'with zeros beside it, a narrow model has other loss than without'
    """
    if not template.optimizer.built:
        template.optimizer.build(template.trainable_variables)
    try:
        padding_between(
            model, template, structures or (ModelStructure(model), ModelStructure(template))
        )
    except NotPadded as error:
        return str(error)
    return None


def merge_activations(model: keras.Model, structures: Sequence[ModelStructure]) -> ModelStructure:
    """Lets a model stand for others that differ from it in activations.

    The model gets a `ChosenActivation` in each place where one of the others has another
    activation. Then it can be the `template` of their `kerasreg.lanes.Lanes`. As a model of its
    own it is of no use any more.

    Args:
        model: a built and compiled model.
        structures: the structures of the others, which may also be narrower.

    Returns:
        The structure of the model.

    Raises:
        ValueError: if the others differ in more than activations and widths.

    Example:

    >>> import keras, numpy as np, kerasreg
    >>> def model(activation):
    ...     hidden = keras.layers.Dense(4, activation)
    ...     model = keras.Sequential([keras.Input((3,)), hidden, keras.layers.Dense(1)])
    ...     model.compile("sgd", "mse")
    ...     return model
    >>> models, template = [model("relu"), model("tanh")], model("relu")
    >>> structures = [kerasreg.lanes.ModelStructure(one) for one in models]
    >>> structure = kerasreg.lanes.merge_activations(template, structures)
    >>> lanes = kerasreg.lanes.Lanes(models, template=template, template_structure=structure)
    >>> x, y = np.ones((8, 3)), np.ones((8, 1))
    >>> len(lanes.fit(x, y))
    2
    """
    own = ModelStructure(model)
    if any(of.unsized_tokens != own.unsized_tokens for of in structures):
        raise ValueError(
            "`structures` must be of models that differ in activations and widths only. Received: "
            f"{len(structures)} structures, of which some differ in more"
        )
    every = [own, *structures]
    for place, site in enumerate(own.activations):
        names = dict.fromkeys(name for of in every for name in of.activations[place].names)
        if len(names) > 1:
            activation = ChosenActivation(sorted(names))
            set_activation(site.layer, site.attribute, activation)
    return ModelStructure(model)


def chosen_of(structure: ModelStructure) -> list[keras.Variable]:
    """The variables of a wide model that choose activations."""
    return [
        site.activation.number
        for site in structure.activations
        if isinstance(site.activation, ChosenActivation)
    ]


def _slots(wide: keras.Model, of_weights: dict[int, Axes]) -> dict[int, Axes]:
    """The axes of the variables of an optimizer, each of which belongs to a weight."""
    weights = wide.trainable_variables
    lists: dict[tuple[int, str], dict[int, keras.Variable]] = {}
    every: dict[int, keras.Variable] = {}
    for (part, name, position), slot in optimizer_variables(wide.optimizer).items():
        lists.setdefault((part, name), {})[position] = slot
        every[id(slot)] = slot
    found: dict[int, Axes | None] = {}
    for slots in lists.values():
        if len(slots) == len(weights):  # One for each weight, as Keras' optimizers have them.
            for position, slot in slots.items():
                if slot.shape == weights[position].shape:
                    found[id(slot)] = of_weights.get(id(weights[position]))
    for key, slot in every.items():
        if key not in found and slot.shape != ():
            raise NotPadded(
                f"of `{slot.path}` of the optimizer is not known which units it belongs to"
            )
    return {key: axes for key, axes in found.items() if axes is not None}


def _fills(wide: keras.Model, slots: dict[int, Axes]) -> dict[int, float]:
    """What slots begin with, where all of a slot begin with one number that is not 0."""
    found: dict[int, float] = {}
    for slot in optimizer_variables(wide.optimizer).values():
        if id(slot) in slots:
            array = np.asarray(ops.convert_to_numpy(initial_value(slot)))
            # A copy of weights is as the weights are.
            if array.flat[0] != 0 and np.all(array == array.flat[0]):
                found[id(slot)] = float(array.flat[0])
    return found


def _chosen(narrow: ModelStructure, wide: ModelStructure) -> dict[int, int]:
    """The numbers of the activations of a narrow model among those of a wide one."""
    found: dict[int, int] = {}
    for mine, its in zip(narrow.activations, wide.activations, strict=True):
        if isinstance(its.activation, ChosenActivation):
            (name,) = mine.names
            found[id(its.activation.number)] = its.names.index(name)
    return found


class _Maps:
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

    def __init__(self, maps: _Maps, mine: Any, its: Any) -> None:
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
        return None, every[_grid(axes, shape)].ravel()

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


def _difference(
    narrow: keras.Model,
    wide: keras.Model,
    structures: tuple[ModelStructure, ModelStructure],
    padding: Padding,
) -> str | None:
    """Runs both models, and says what comes out differently; None for nothing."""
    try:
        return _Comparison(narrow, wide, structures, padding).difference()
    except NotPadded as error:
        return str(error)
    except Exception as error:  # What cannot be run here is not padded.
        return f"the models could not be compared: {error!r}"


class _Comparison:
    """A narrow model and a wide one, run with the same numbers.

    Args:
        narrow: the narrow model.
        wide: the wide model.
        structures: the structures of both.
        padding: where the values of the narrow model lie in the wide one.
    """

    def __init__(
        self,
        narrow: keras.Model,
        wide: keras.Model,
        structures: tuple[ModelStructure, ModelStructure],
        padding: Padding,
    ) -> None:
        if not narrow.optimizer.built:
            narrow.optimizer.build(narrow.trainable_variables)
        self._models, self._structures, self._padding = (narrow, wide), structures, padding
        self._random = np.random.default_rng(0)
        theirs = OwnVariables(wide, structures[1]).in_model(narrow, structures[0])
        self._pairs = [
            (theirs[id(variable)], variable)
            for variable in _variables_of(wide, structures[1])
            if id(variable) in theirs
        ]

    def difference(self) -> str | None:
        """Compares what comes out of both models, and what steps of the optimizer change."""
        weights = {id(variable) for variable in self._models[0].variables}
        begin = [self._value(mine, id(mine) in weights) for mine, _ in self._pairs]
        # Units that all have one sign, of which a maximum over them is not 0.
        alike = [
            _of_one_sign(value, self._random) if mine.trainable else value
            for value, (mine, _) in zip(begin, self._pairs, strict=True)
        ]
        x = [self._input(tensor) for tensor in self._models[0].inputs]
        layers = walk_layers(self._models[1])
        tolerance = max(_TOLERANCES.get(layer.compute_dtype, _TOLERANCE) for layer in layers)
        results = [
            {**self._run(which, begin, x), "outputs": self._infer(which, alike, x)}
            for which in (0, 1)
        ]
        for name, mine in results[0].items():
            for one, other in zip(mine, results[1][name], strict=True):
                if not _close(one, other, tolerance):
                    return f"with zeros beside it, a narrow model has other {name} than without"
        for name in ("gradients", "weights after steps of the optimizer"):
            if not all(map(self._is_zero_beside, self._trainable, results[1][name])):
                return f"the {name} of units that are zero are not zero"
        _optimizers[self._structures[1].unsized_tokens] = None
        while len(_optimizers) > _MOST:
            _optimizers.popitem(last=False)
        return None

    def _value(self, variable: keras.Variable, is_weight: bool) -> np.ndarray:
        """A value to begin with: of a weight one that hides nothing, as zeros would."""
        value = np.asarray(ops.convert_to_numpy(initial_value(variable)))
        if not np.issubdtype(value.dtype, np.floating):
            return value
        if value.ndim == 0:
            return np.asarray(_not_small(float(value)), value.dtype)
        if not is_weight:
            return value
        moved = np.abs(self._random.normal(size=value.shape)) * 0.1
        if variable.trainable:
            moved *= self._random.choice([-1.0, 1.0], size=value.shape)
        return (value + moved).astype(value.dtype)

    def _is_zero_beside(self, at: int, value: np.ndarray) -> bool:
        """Whether what belongs to padded units is zero, and not only small."""
        mine, its = self._pairs[at]
        beside = self._padding.embed(its, np.ones(mine.shape)) == 0
        return not np.any(value[beside])

    def _input(self, tensor: Any) -> Any:
        shape = [_SAMPLES, *(length or _LENGTH for length in tensor.shape[1:])]
        dtype = keras.backend.standardize_dtype(tensor.dtype)
        if dtype == "string":
            raise NotPadded("its inputs are texts")
        if "float" in dtype:
            return ops.convert_to_tensor(self._random.normal(size=shape), dtype=dtype)
        return ops.convert_to_tensor(self._random.integers(0, 2, size=shape), dtype=dtype)

    @functools.cached_property
    def _trainable(self) -> list[int]:
        """Which of the pairs are weights that are trained."""
        index = {id(wide): at for at, (_, wide) in enumerate(self._pairs)}
        return [index[id(variable)] for variable in self._models[1].trainable_variables]

    def _step(self, which: int, begin: list[np.ndarray]) -> tuple[Step, ScalarValues, list[Any]]:
        """What runs a model, its numbers, and the values of its variables."""
        # Seeds, and numbers that follow from widths, are those of the narrow model in both. The
        # strength of a penalty may be so small that nothing would be seen of it.
        pairs = [
            (mine._replace(value=_shown(mine)), (mine, its)[which])
            for mine, its in zip(*(of.scalars for of in self._structures), strict=True)
            if mine.name == "seed" or not mine.value == its.value == _shown(mine)
        ]
        # Behind the variables that both models have are those of the wide one.
        chosen = chosen_of(self._structures[1]) if which else []
        normalized = [
            (layer, keras.Variable(_ones_at(None, layer.input.shape[-1]), dtype="float32"))
            for layer, _ in (self._padding.normalized if which else ())
        ]
        variables = [pair[which] for pair in self._pairs]
        variables += [*chosen, *(mask for _, mask in normalized)]
        own = [scalar for _, scalar in pairs]
        step = Step(self._models[which], variables, own, normalized=normalized)
        step.draws = _constant_draws
        stacked = stack_scalars([[mine for mine, _ in pairs]])
        scalars = ScalarValues(*(ops.convert_to_tensor(of[0]) for of in stacked))
        values = [
            self._as(which, wide, value)
            for (_, wide), value in zip(self._pairs, begin, strict=True)
        ]
        values += [
            ops.convert_to_tensor(self._padding.chosen[id(of)], dtype=of.dtype) for of in chosen
        ]
        values += [
            ops.convert_to_tensor(
                self._padding.mask_of_units(layer, mask.shape[0]), dtype=mask.dtype
            )
            for layer, mask in normalized
        ]
        return step, scalars, values

    def _infer(self, which: int, begin: list[np.ndarray], x: list[Any]) -> list[Any]:
        """The outputs of a model that does not train."""
        step, scalars, values = self._step(which, begin)
        inputs = _packed(self._models[which], x)
        outputs = _at_once(lambda values: step.predict(values, scalars, inputs))(values)
        return keras.tree.flatten(outputs)

    def _run(self, which: int, begin: list[np.ndarray], x: list[Any]) -> dict[str, list[Any]]:
        """What a model that trains gives, and is afterwards."""
        model, trainable = self._models[which], self._trainable
        step, scalars, values = self._step(which, begin)
        random = np.random.default_rng(1)

        # The same for both: what is rounded differently may be divided by its own size.
        steps = [
            [
                self._as(which, wide, random.normal(size=mine.shape).astype(str(mine.dtype)))
                for mine, wide in (self._pairs[at] for at in trainable)
            ]
            for _ in range(_STEPS if self._structures[1].unsized_tokens not in _optimizers else 0)
        ]

        def loss(of: Sequence[Any], inside: list[Any]) -> tuple[Any, Any]:
            for at, value in zip(trainable, of, strict=True):
                inside[at] = value
            with step.lane(inside, scalars) as scope:
                outputs = keras.tree.flatten(step.forward(_packed(model, x), True))
                parts = [
                    ops.sum(ops.cast(out, "float32") * ops.cast(_weights(out.shape), "float32"))
                    for out in outputs
                ]
                found = sum(parts) + sum(ops.cast(of, "float32") for of in model.losses)
                return found, (found, [scope.get_current_value(of) for of in step.variables])

        def moves(values: list[Any]) -> Any:
            of_values = _differentiate()(lambda of: loss(of, list(values)))
            gradients, (total, after) = of_values([values[at] for at in trainable])
            moved = list(after)
            for gradients_of_step in steps:
                moved = step.update(moved, scalars, gradients_of_step)
            return [_dense(gradient) for gradient in gradients], total, after, moved

        gradients, total, after, moved = _at_once(moves)(values)
        if which and self._padding.masked:
            gradients = [
                self._masked(self._pairs[at][1], gradient)
                for at, gradient in zip(trainable, gradients, strict=True)
            ]
        weights = [moved[at] for at in trainable]
        return {
            "loss": [total],
            "gradients": [
                self._wide(which, at, gradient)
                for at, gradient in zip(trainable, gradients, strict=True)
            ],
            "variables": [
                self._narrow(which, at, value) for at, value in enumerate(after[: len(self._pairs)])
            ],
            "weights after steps of the optimizer": [
                self._wide(which, at, value) for at, value in zip(trainable, weights, strict=True)
            ],
        }

    def _masked(self, wide: keras.Variable, gradient: Any) -> Any:
        if id(wide) not in self._padding.axes:
            return gradient
        own = self._padding.extract(wide, gradient)
        return self._padding.embed(wide, own)

    def _as(self, which: int, wide: keras.Variable, value: np.ndarray) -> Any:
        given = self._padding.embed(wide, value) if which else value
        return ops.convert_to_tensor(given, dtype=wide.dtype)

    def _wide(self, which: int, at: int, value: Any) -> np.ndarray:
        """A value as the wide model has it: there are zeros beside, which both must have."""
        array = np.asarray(ops.convert_to_numpy(value))
        return array if which else self._padding.embed(self._pairs[at][1], array)

    def _narrow(self, which: int, at: int, value: Any) -> np.ndarray:
        found = self._padding.extract(self._pairs[at][1], value) if which else value
        return np.asarray(ops.convert_to_numpy(found))


def _shown(scalar: Scalar) -> float:
    """The value of a number with which its effect is seen."""
    is_strength = isinstance(scalar.owner, keras.regularizers.Regularizer)
    return _not_small(scalar.value) if is_strength else scalar.value


def _not_small(value: float) -> float:
    return value if abs(value) >= _LEAST else math.copysign(_LEAST, value)


def _of_one_sign(value: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Weights of units that are nearly alike, so that all of a sample have one sign."""
    if value.ndim < 2 or not np.issubdtype(value.dtype, np.floating):
        return value
    size = np.abs(value[..., :1]) + 0.1 * np.abs(value)
    return (size * random.choice([-1.0, 1.0], size=(*value.shape[:-1], 1))).astype(value.dtype)


def _variables_of(model: keras.Model, structure: ModelStructure) -> list[keras.Variable]:
    every = [
        *model.variables,
        *optimizer_variables(model.optimizer).values(),
        *structure.variables,
    ]
    return list({id(variable): variable for variable in every}.values())


def _packed(model: keras.Model, x: list[Any]) -> Any:
    return keras.tree.pack_sequence_as(functional_of(model).input, x)


def _weights(shape: Sequence[int]) -> np.ndarray:
    """Other weights for each number of an output, so that none goes unseen in a sum."""
    return np.cos(np.arange(math.prod(shape))).reshape(shape)


def _dense(gradient: Any) -> Any:
    # Of an embedding TensorFlow has slices.
    return gradient if gradient is None else ops.convert_to_tensor(gradient)


def _close(one: Any, other: Any, tolerance: float) -> bool:
    one, other = np.asarray(one, "float64"), np.asarray(other, "float64")
    scale = max(1.0, float(np.abs(one).max(initial=0.0)))
    return bool(np.allclose(one, other, rtol=tolerance, atol=tolerance * scale))


def _at_once(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """JAX compiles each operation, and so better all of them at once."""
    if keras.backend.backend() != "jax":
        return function
    import jax

    compiled: Callable[[Any], Any] = jax.jit(function)
    return compiled


def _differentiate() -> Callable[[Any], Callable[[Any], tuple[Any, Any]]]:
    if keras.backend.backend() == "jax":
        from kerasreg.lanes._jax import differentiate

        return differentiate
    from kerasreg.lanes._tensorflow import differentiate as of_tensorflow

    return of_tensorflow


def _constant_draws() -> contextlib.AbstractContextManager[None]:
    """Draws that are the same in both models, and no zeros for what is added to units."""
    return replaced_draws(
        uniform=_middle,
        normal=_one_deviation,
        truncated_normal=_one_deviation,
        randint=_least,
        dropout=_nothing_dropped,
    )


def _middle(
    shape: Any, minval: Any = 0.0, maxval: Any = 1.0, dtype: Any = None, seed: Any = None
) -> Any:
    return ops.ones(shape, dtype) * ops.cast((minval + maxval) / 2, dtype or keras.config.floatx())


def _one_deviation(
    shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = None, seed: Any = None
) -> Any:
    return ops.ones(shape, dtype) * ops.cast(mean + stddev, dtype or keras.config.floatx())


def _least(shape: Any, minval: Any, maxval: Any, dtype: Any = "int32", seed: Any = None) -> Any:
    return ops.ones(shape, dtype) * ops.cast(minval, dtype)


def _nothing_dropped(inputs: Any, rate: Any, noise_shape: Any = None, seed: Any = None) -> Any:
    return inputs
