"""Dropout for a model that has none yet, or one that is constant."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import keras

from kerasreg import layers as ours
from kerasreg._keras.graph import has_graph
from kerasreg._keras.internals import made_by, node_of
from kerasreg._keras.layers import places
from kerasreg._keras.patterns import (
    Patterns,
    check_matches,
    check_patterns,
    matches,
    names_of_layer,
)
from kerasreg._report import Report
from kerasreg._text_table import table
from kerasreg.models._rebuilding import check_has_graph, layers_of, rebuild

_layers = keras.layers
# By exact type: a subclass may do anything. With the arguments that are not those of all.
_COUNTERPARTS: dict[type, tuple[type, tuple[str, ...]]] = {
    _layers.Dropout: (ours.ScheduledDropout, ("noise_shape",)),
    _layers.SpatialDropout1D: (ours.ScheduledSpatialDropout1D, ()),
    _layers.SpatialDropout2D: (ours.ScheduledSpatialDropout2D, ("data_format",)),
    _layers.SpatialDropout3D: (ours.ScheduledSpatialDropout3D, ("data_format",)),
    _layers.GaussianDropout: (ours.ScheduledGaussianDropout, ()),
    _layers.AlphaDropout: (ours.ScheduledAlphaDropout, ("noise_shape",)),
}


class DropoutEdit(NamedTuple):
    """A layer, and the dropout there before and after.

    Attributes:
        layer: the path of the layer.
        before: the dropout before, as text; `"-"` for none.
        after: the dropout after, as text.
    """

    layer: str
    before: str
    after: str


@dataclasses.dataclass(frozen=True)
class DropoutInsertion(Report):
    """A model with dropout inserted or replaced, and where; `str` of it is a table.

    Attributes:
        rows: a `DropoutEdit` for each layer that is new.
        model: the new model.
        left_alone: a `DropoutEdit` for each dropout inside of a layer, which stays.
    """

    rows: tuple[DropoutEdit, ...]
    model: keras.Model
    left_alone: tuple[DropoutEdit, ...] = ()

    objects = ("model",)

    def __str__(self) -> str:
        return table(DropoutEdit._fields, (*self.rows, *self.left_alone))


def insert_dropout(
    model: keras.Model,
    rate: Any,
    *,
    after: Patterns,
    make: Callable[..., keras.layers.Layer] = ours.ScheduledDropout,
) -> DropoutInsertion:
    """Makes a new model that has dropout behind some of the layers of another.

    The new model has layers and weights of its own, with the same names and values: also
    the strengths, rates and seeds of kerasreg, and penalties that layers share are
    shared; what lookups and normalizations have learnt is kept. It is not compiled. A
    weight that belongs to two layers becomes two weights. A layer that is called several
    times has one dropout, with another mask for each call.

    Args:
        model: a built functional or Sequential model, also with nested ones. It stays
            as it is.
        rate: from 0 to 1, or a schedule of such numbers over training steps.
        after: which layers, a pattern or several, as for `attach_regularizer`: of the path or the
            own name of a layer. A nested model may be meant as a whole, or layers in
            it by `encoder/*`; not what is inside of other layers.
        make: what makes each layer of dropout: called with the rate, `name=` (that of
            the layer and `_dropout`) and `dtype=` (the policy of the layer). A class of
            `kerasreg.layers`, or a function.

    Returns:
        A `DropoutInsertion`: its `model`, and its `rows`; `str` of it is a table.

    Raises:
        ValueError: if the model is not built, or neither functional nor Sequential; if a
            pattern matches nothing, or a layer that makes an output of the model, or
            one whose output is no floating-point tensor; if the rate is none; if a
            layer cannot be made anew from its config.

    Example:

    >>> import keras, kerasreg
    >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4, name="a"),
    ...     keras.layers.Dense(2, name="b")])
    >>> new = kerasreg.models.insert_dropout(model, 0.5, after="a")
    >>> print(new)
    layer  before  after
    a      -       ScheduledDropout(0.5)
    >>> [layer.name for layer in new.model.layers]
    ['a', 'a_dropout', 'b']
    """
    check_has_graph(model)
    found = _chosen(model, "after", after)
    edits: dict[int, DropoutEdit] = {}
    made: list[Any] = []
    for path, layer in found.values():
        _check_output(path, layer)

    def behind(layer: Any) -> Any | None:
        if id(layer) not in found:
            return None
        new = make(rate, name=f"{layer.name}_dropout", dtype=layer.dtype_policy)
        if not isinstance(new, keras.layers.Layer):
            raise ValueError(f"`make` must return a Keras layer. Received: {new!r}")
        made.append(new)
        edits[id(layer)] = DropoutEdit(found[id(layer)][0], "-", _named(new))
        return new

    new = rebuild(model, lambda layer: None, behind)
    wrong = [end.name for end in _ends(new.outputs) if any(end is one for one in made)]
    if wrong:
        raise ValueError(
            "`after` must match no layer that makes an output of the model. "
            f"Received: after={after!r}, which makes {wrong[0]!r} an output"
        )
    return DropoutInsertion(tuple(edits[key] for key in found), new)


def replace_dropout(
    model: keras.Model, rate: Any = None, *, layers: Patterns = "*"
) -> DropoutInsertion:
    """Makes a new model with dropout of kerasreg in the place of Keras' own.

    `Dropout`, `SpatialDropout1D` to `3D`, `GaussianDropout` and `AlphaDropout` become
    `ScheduledDropout` and so on, with the same names and arguments. What
    `insert_dropout` says of the new model holds here. Masks are other ones, as the
    generator is another.

    Args:
        model: a built functional or Sequential model, also with nested ones. It stays
            as it is.
        rate: of the new layers, from 0 to 1 or a schedule of such numbers over training
            steps; by default that of the layer that is replaced.
        layers: which of these, a pattern or several, as for `attach_regularizer`.

    Returns:
        A `DropoutInsertion`: its `model`; its `rows`; and `left_alone`, the dropout that is
        inside of layers that are no models, such as attention.

    Raises:
        ValueError: if the model is not built, or neither functional nor Sequential; if
            there is no dropout of Keras in its graph that a pattern matches; if the rate
            is none; if a layer cannot be made anew from its config.

    Example:

    >>> import keras, kerasreg
    >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4),
    ...     keras.layers.Dropout(0.25, name="drop"), keras.layers.Dense(2)])
    >>> new = kerasreg.models.replace_dropout(model)
    >>> print(new)
    layer  before         after
    drop   Dropout(0.25)  ScheduledDropout(0.25)
    """
    check_has_graph(model)
    left = tuple(
        DropoutEdit(place.path, _named(place.layer), "left alone: it is inside of a layer")
        for place in places(model, None)
        if place.is_part and type(place.layer) in _COUNTERPARTS
    )
    there = [one for _, one in layers_of(model) if type(one) in _COUNTERPARTS]
    if not there:
        inside = f" but in other layers: {', '.join(row.layer for row in left)}" if left else ""
        raise ValueError(
            f"`model` must have a dropout layer of Keras. Received: model={model.name!r}, "
            f"with none{inside}"
        )
    found = _chosen(model, "layers", layers, only=tuple(_COUNTERPARTS))
    edits: dict[int, DropoutEdit] = {}

    def instead(layer: Any) -> Any | None:
        if id(layer) not in found:
            return None
        kind, arguments = _COUNTERPARTS[type(layer)]
        config = {name: getattr(layer, name) for name in ("seed", "name", *arguments)}
        new = kind(
            layer.rate if rate is None else rate,
            dtype=layer.dtype_policy,
            trainable=layer.trainable,
            **config,
        )
        edits[id(layer)] = DropoutEdit(found[id(layer)][0], _named(layer), _named(new))
        return new

    new = rebuild(model, instead)
    return DropoutInsertion(tuple(edits[key] for key in found), new, left)


def _chosen(
    model: Any, argument: str, patterns: Patterns, only: tuple[type, ...] | None = None
) -> dict[int, tuple[str, Any]]:
    """The layers that patterns mean, with their paths; each pattern means at least one."""
    there = [(p, one) for p, one in layers_of(model) if only is None or type(one) in only]
    found: set[int] = set()
    for pattern in check_patterns(argument, patterns):
        check_matches(argument, pattern, {path: names_of_layer(path) for path, _ in there})
        found |= {id(one) for path, one in there if matches(pattern, names_of_layer(path))}
    # The first path of a layer that has several.
    first: dict[int, tuple[str, Any]] = {}
    for path, one in there:
        if id(one) in found:
            first.setdefault(id(one), (path, one))
    return first


def _check_output(path: str, layer: Any) -> None:
    outputs = keras.tree.flatten(layer.output)
    if len(outputs) != 1 or not keras.backend.is_float_dtype(outputs[0].dtype):
        raise ValueError(
            "`after` must match layers whose output is one floating-point tensor. Received: "
            f"{path}, whose output is {layer.output}"
        )


def _ends(tensors: list[Any]) -> list[Any]:
    """The layers that make some tensors; of a nested model, those that make its own there."""
    ends: list[Any] = []
    for tensor in tensors:
        operation = made_by(tensor)
        ends.append(operation)
        if has_graph(operation):
            among = [one is tensor for one in node_of(tensor).outputs]
            ends += _ends([operation.outputs[among.index(True)]])
    return ends


def _named(layer: Any) -> str:
    """A layer of dropout in a word, with its rate where it has one."""
    name, rate = type(layer).__name__, getattr(layer, "rate", None)
    if getattr(layer, "schedule", None) is not None:
        return f"{name}({type(layer.schedule).__name__})"
    if rate is None:
        return name
    return f"{name}({float(keras.ops.convert_to_numpy(rate)):.3g})"
