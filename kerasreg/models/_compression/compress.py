"""A smaller model with the same outputs: what is exactly zero is cut out."""

from __future__ import annotations

import collections
from typing import Any

import keras
import numpy as np

from kerasreg._keras.graph import given_to, has_graph, nodes, other_arguments, unmasked
from kerasreg.models._compression.channels import Channels, Tensor
from kerasreg.models._compression.channelwise import Depthwise
from kerasreg.models._compression.dense import DenseOrConvRule
from kerasreg.models._compression.fitting import fit, without_initializers
from kerasreg.models._compression.registry import RULES
from kerasreg.models._compression.result import BlockedLayer, Compressed, LayerWidth, LeftOut
from kerasreg.models._compression.rule import LayerRule, Shape
from kerasreg.models._rebuilding import check_has_graph, from_config, rebuild


def compress(model: keras.Model) -> Compressed:
    """Cuts out the channels that do nothing, and returns a smaller model with the same outputs.

    A channel (a unit, a filter, a column of an embedding) goes if nothing behind it
    looks at it, all weights that it has there being exactly zero; or if it is a
    constant, all weights that it is made with being exactly zero: then what it gave is
    added to the biases behind it. That is followed through dense layers and
    convolutions, depthwise ones, embeddings, batch normalization, activations, pooling,
    padding, flattening, dropout, additions and other merges, concatenations, and nested
    models. Channels that are added to each other go together or stay.

    A convolution that pads with zeros cannot take a constant other than zero into its
    bias: near the edge it sees less of it. Penalise the bias of the layer before, or
    train it without one, so that its dead filters are zero. Other layers (recurrent
    ones, attention, those of the user's own, and layers that are used several times)
    keep all that they take and give; so do the model's inputs and outputs, and nested models
    that are used several times or called with `training=True`.

    The initializers of the layers are kept for who draws the weights anew, and so are
    regularizers and constraints. One that takes the old shape of a weight alone, as it holds
    an array of that shape, is left out and listed.

    Args:
        model: a built functional or Sequential model. It stays as it is.

    Returns:
        A `Compressed`: its `model` is a new one with weights of its own, of the same class
        and with the same names. It is not compiled. Outputs are equal but for the
        rounding of sums of another length and of constants.

    Raises:
        ValueError: if the model is not built, or is neither functional nor Sequential.

    Example:

    >>> import keras, numpy as np, kerasreg
    >>> hidden = keras.layers.Dense(8, "relu", name="hidden")
    >>> model = keras.Sequential([keras.Input((4,)), hidden, keras.layers.Dense(1)])
    >>> kernel = np.array(hidden.kernel)
    >>> kernel[:, :5] = 0.0
    >>> hidden.set_weights([kernel, np.zeros(8)])
    >>> print(kerasreg.models.compress(model))
    layer   before  after
    hidden       8      3
    <BLANKLINE>
    parameters: 49 before, 19 after
    """
    check_has_graph(model)
    graph = _Followers(model)
    stays = graph.channels.solve()
    made: list[tuple[LayerRule, Any]] = []

    def smaller(layer: Any) -> Any:
        if (follower := graph.followers.get(id(layer))) is None:
            return None
        changes = follower.config(stays)
        new = from_config(layer, lambda config: without_initializers({**config, **changes}))
        made.append((follower, new))
        return new

    new = rebuild(model, smaller, shapes=lambda nested: graph.shapes(nested, stays))
    left_out: list[LeftOut] = []
    for follower, layer in made:
        follower.copy(layer, stays)
        left_out += fit(graph.path(follower.layer), follower.layer, layer)
    parameters = model.count_params(), new.count_params()
    return Compressed(graph.widths(stays), graph.blocked(), parameters, new, tuple(left_out))


class _Followers:
    """The rules that follow the layers of a model, and the channels of each tensor."""

    def __init__(self, model: keras.Model) -> None:
        self.channels = Channels()
        self.layers: dict[int, Any] = {}
        self.followers: dict[int, LayerRule] = {}
        self._paths: dict[int, str] = {}
        self._given: list[tuple[str, Tensor, str]] = []
        self._given_to_nested: dict[int, list[Tensor]] = {}
        self._uses = _uses(model)
        for tensor in self._follow(model, [self._new(t) for t in model.inputs], ""):
            self.channels.keep(tensor.channels)

    def _new(self, tensor: Any) -> Tensor:
        """A tensor that stays as it is."""
        shape = tuple(tensor.shape[1:])
        channels = self.channels.new(int(shape[-1] or 0) if shape else 0)
        self.channels.keep(channels)
        return Tensor(channels, np.full(len(channels), np.nan), shape)

    def _follow(self, model: Any, given: list[Tensor], prefix: str) -> list[Tensor]:
        known = {id(tensor): of for tensor, of in zip(model.inputs, given, strict=True)}
        for node in nodes(model):
            path = prefix + node.operation.name
            inputs = [known[id(tensor)] for tensor in unmasked(node)]
            for tensor in node.input_tensors:
                if all(known[id(tensor)] is not one for one in inputs):
                    self.channels.keep(known[id(tensor)].channels)  # A mask.
            outputs = self._into(node, known, path) or self._through(node, inputs, path)
            known |= {id(tensor): of for tensor, of in zip(node.outputs, outputs, strict=True)}
        return [known[id(tensor)] for tensor in model.outputs]

    def _into(self, node: Any, known: dict[int, Tensor], path: str) -> list[Tensor] | None:
        """The outputs of a nested model, None of what is none, or is called in another way."""
        nested = node.operation
        if not has_graph(nested) or other_arguments(node):
            return None
        if (tensors := given_to(nested, node)) is None:
            return None
        inputs = [
            self._new(of) if tensor is None else known[id(tensor)]
            for tensor, of in zip(tensors, nested.inputs, strict=True)
        ]
        if self._uses[id(nested)] > 1:  # Its inputs have one width.
            for tensor in inputs:
                self.channels.keep(tensor.channels)
        self._given_to_nested[id(nested)] = inputs
        return self._follow(nested, inputs, f"{path}/")

    def _through(self, node: Any, inputs: list[Tensor], path: str) -> list[Tensor]:
        layer = node.operation
        self.layers[id(layer)] = layer
        self._paths[id(layer)] = path
        follower, reason = self._follower(node, inputs)
        if follower is None:
            for tensor in inputs:
                self.channels.keep(tensor.channels)
                self._given.append((path, tensor, reason))
            return [self._new(tensor) for tensor in node.outputs]
        follower.output = self.channels.note(follower.analyse(self.channels))
        self.followers[id(layer)] = follower
        if isinstance(follower, (DenseOrConvRule, Depthwise)) and follower.pads:
            # Zero may go; what is not zero may not.
            nonzero = np.where(inputs[0].constant == 0, np.nan, inputs[0].constant)
            tensor = inputs[0]._replace(constant=nonzero)
            self._given.append((path, tensor, "it pads with zeros beside a constant"))
        return [follower.output]

    def _follower(self, node: Any, inputs: list[Tensor]) -> tuple[LayerRule | None, str]:
        """The rule that follows a call, or why there is none."""
        layer = node.operation
        rule = RULES.get(type(layer))
        if rule is None:
            return None, "it is not followed"
        if self._uses[id(layer)] > 1 and (_has_weights(layer) or rule.has_width(layer)):
            return None, "it is used several times"
        shape = tuple(node.outputs[0].shape[1:])
        if other_arguments(node) or not rule.takes(inputs, shape):
            return None, "it is called in another way"
        if (reason := rule.unsupported_reason(layer)) is not None:
            return None, reason
        return rule(layer, inputs, shape), ""

    def path(self, layer: Any) -> str:
        """The path of a layer, the last one of several."""
        return self._paths[id(layer)]

    def shapes(self, nested: Any, stays: np.ndarray) -> list[Shape] | None:
        """The shapes of the inputs of a nested model, whose channels have become fewer."""
        given = self._given_to_nested.get(id(nested))
        if given is None:
            return None
        return [
            (*tensor.shape[:-1], int(stays[of.channels].sum()))
            if len(tensor.shape) > 1 and tensor.shape[-1] is not None
            else tensor.shape
            for tensor, of in zip(nested.inputs, given, strict=True)
        ]

    def widths(self, stays: np.ndarray) -> tuple[LayerWidth, ...]:
        """The layers that make channels, or have weights for them, of which some go."""
        return tuple(
            LayerWidth(self._paths[identity], len(kept), int(kept.sum()))
            for identity, follower in self.followers.items()
            if _has_weights(self.layers[identity])
            and not (kept := stays[follower.output.channels]).all()
        )

    def blocked(self) -> tuple[BlockedLayer, ...]:
        """The layers that constants do not get through."""
        counts: dict[tuple[str, str], int] = collections.Counter()
        for path, tensor, reason in self._given:
            counts[path, reason] += int(np.isfinite(tensor.constant).sum())
        return tuple(BlockedLayer(path, n, reason) for (path, reason), n in counts.items() if n)


def _uses(model: Any) -> collections.Counter[int]:
    """How often each layer is called, in nested models too."""
    found: collections.Counter[int] = collections.Counter()
    for node in nodes(model):
        found[id(node.operation)] += 1
        if has_graph(node.operation):
            found += _uses(node.operation)
    return found


def _has_weights(layer: Any) -> bool:
    return bool(getattr(layer, "weights", ()))
