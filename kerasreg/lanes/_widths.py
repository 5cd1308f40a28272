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
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from kerasreg._keras.activations import set_activation
from kerasreg._keras.deferred_variables import initial_value
from kerasreg._keras.own_steps import own_steps
from kerasreg._keras.stateless_optimizer import optimizer_variables
from kerasreg.lanes._activations import ChosenActivation
from kerasreg.lanes._padding import Axes, NotPadded, Padding
from kerasreg.lanes._padding_comparison import Comparison
from kerasreg.lanes._structure import ModelStructure
from kerasreg.lanes._unit_maps import UnitMaps


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
    maps = UnitMaps(narrow, wide, set(map(id, generators)))
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
        found = _compare(narrow, wide, structures, padding)
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


def _compare(
    narrow: keras.Model,
    wide: keras.Model,
    structures: tuple[ModelStructure, ModelStructure],
    padding: Padding,
) -> _Result:
    """Runs both models, and says what comes out differently, with masks and without."""
    try:
        comparison = Comparison(narrow, wide, structures, padding)
        reason = comparison.difference(masked=False)
        masked = reason is not None and comparison.difference(masked=True) is None
    except NotPadded as error:
        reason, masked = str(error), False
    except Exception as error:  # What cannot be run here is not padded.
        reason, masked = f"the models could not be compared: {error!r}", False
    return _Result(None if masked else reason, masked)
