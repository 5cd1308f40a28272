"""The weights that a regularizer may be on: where they are, and which attributes hold it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras

from kerasreg._keras.internals import (
    inner_layers,
    is_functional,
    is_made_of_inputs_and_outputs,
)
from kerasreg._keras.layers import places
from kerasreg._keras.patterns import check_matches, matches, names_within
from kerasreg._keras.weights import own_weights

_layers = keras.layers

# These make their dense layers anew from one argument, which so holds for all of them.
_ATTENTION = (_layers.MultiHeadAttention, _layers.GroupQueryAttention)
# The config of these has the layers in them.
_WRITE_WHAT_IS_INSIDE = (
    keras.Sequential,
    _layers.Bidirectional,
    _layers.RNN,
    _layers.StackedRNNCells,
    _layers.Wrapper,
)


class Weight(NamedTuple):
    """A weight, and the path of its layer."""

    layer: str
    variable: Any


class Site(NamedTuple):
    """Weights that have one regularizer, since one argument of a layer says which."""

    layer: str
    argument: str
    kind: str
    weights: list[Weight]
    holders: list[tuple[Any, str]]  # Layers, and their attributes that have it.
    names: frozenset[str]  # What a pattern may mean it by: paths and names,
    names_of_parts: list[frozenset[str]]  # also those of single weights.
    is_saved: bool  # With the config of the model.
    is_made_anew: bool  # When the model is loaded, with a regularizer of its own.

    @property
    def regularizer(self) -> Any:
        """The one that it has, or None."""
        return self.weights[0].variable.regularizer


def check_built(model: Any) -> None:
    """A `ValueError` if `model` is no model with weights."""
    if not isinstance(model, keras.Model) or not model.built or not model.weights:
        raise ValueError(
            "`model` must be a keras.Model that is built and has weights. "
            f"Received: model={model!r}"
        )


def sites(model: keras.Model) -> list[Site]:
    """All weights of a model for which a layer has an argument `..._regularizer`."""
    found: dict[tuple[int, str], Site] = {}
    attention: dict[int, tuple[Any, str]] = {}
    by_path: dict[str, Any] = {}
    names: dict[str, frozenset[str]] = {}
    done: set[int] = set()
    for place in places(model, None):
        layer, path = place.layer, place.path
        names[path] = names_within(path)
        if layer is not model:
            by_path[path] = layer
        if isinstance(layer, _ATTENTION):
            dense = (
                inner for inner in inner_layers(layer) if isinstance(inner, _layers.EinsumDense)
            )
            attention |= {id(inner): (layer, path) for inner in dense}
        for variable in own_weights(layer):
            argument, kind = argument_of(layer, variable)
            if argument is None or id(variable) in done:
                continue
            done.add(id(variable))
            owner, of = attention.get(id(layer), (layer, path))
            if (id(owner), argument) not in found:
                holders = [(layer, argument)]
                if owner is not layer:
                    holders.insert(0, (owner, _attribute(owner, argument)))
                chain = [model, *_above(of, by_path)]
                is_saved = all(_writes_what_is_inside(one) for one in chain)
                is_saved = is_saved and _has_in_config(owner, argument)
                is_made_anew = any(
                    isinstance(outer, _layers.Bidirectional) and inner is outer.forward_layer
                    for outer, inner in itertools.pairwise([*chain, owner])
                )
                found[id(owner), argument] = Site(
                    of, argument, kind, [], holders, names[of], [], is_saved, is_made_anew
                )
            site = found[id(owner), argument]
            site.weights.append(Weight(path, variable))
            site.names_of_parts.append(names[path])
            if (layer, argument) not in site.holders:
                site.holders.append((layer, argument))
    return list(found.values())


def chosen(all_sites: list[Site], layers: Sequence[str], weights: Sequence[str]) -> list[Site]:
    """The sites that the patterns mean; each pattern means at least one, or it is an error."""
    of_all: dict[str, frozenset[str]] = {}
    for site in all_sites:
        of_all[site.layer] = of_all.get(site.layer, frozenset()) | _names(site)
    for pattern in layers:
        check_matches("layers", pattern, of_all)
    for pattern in weights:
        check_matches("weights", pattern, {site.kind: frozenset({site.kind}) for site in all_sites})
    of_layers = [site for site in all_sites if any(matches(one, _names(site)) for one in layers)]
    found = [site for site in of_layers if any(matches(one, [site.kind]) for one in weights)]
    if not found:
        there = list(dict.fromkeys(site.kind for site in of_layers))
        raise ValueError(
            f"`weights` must be among those of the layers that `layers` matches: {there}. "
            f"Received: weights={list(weights)}, layers={list(layers)}"
        )
    for site in found:
        parts = [any(matches(one, names) for one in layers) for names in site.names_of_parts]
        if not all(parts):
            raise ValueError(
                f"`layers` must match all of {site.layer} or nothing in it: it has one "
                f"`{site.argument}` for {len(parts)} weights. Received: layers={list(layers)}, "
                f"which matches {sum(parts)} of them"
            )
    return found


def _names(site: Site) -> frozenset[str]:
    return site.names.union(*site.names_of_parts)


def argument_of(layer: Any, variable: Any, of: str = "regularizer") -> tuple[str | None, str]:
    """The argument of a layer about a weight, `..._regularizer`, and the kind that it says."""
    name = str(variable.name)
    stems = [name, name.removesuffix("_kernel"), name.removeprefix("reverse_")]
    if isinstance(layer, (_layers.DepthwiseConv1D, _layers.DepthwiseConv2D)) and name == "kernel":
        stems = ["depthwise"]  # Keras names the weight otherwise than its argument.
    for stem in stems:
        if hasattr(layer, f"{stem}_{of}"):
            is_kernel = name.endswith("kernel") and stem != "kernel"
            return f"{stem}_{of}", f"{stem}_kernel" if is_kernel else stem
    return None, name


def _attribute(owner: Any, argument: str) -> str:
    return argument if hasattr(owner, argument) else f"_{argument}"


def _above(path: str, by_path: dict[str, Any]) -> list[Any]:
    """The layers and models that the layer at a path is in, without the outermost."""
    parts = path.split("/")
    return [by_path[above] for n in range(1, len(parts)) if (above := "/".join(parts[:n]))]


def _writes_what_is_inside(layer: Any) -> bool:
    if is_functional(layer):
        return is_made_of_inputs_and_outputs(type(layer))
    return isinstance(layer, _WRITE_WHAT_IS_INSIDE)


def _has_in_config(layer: Any, argument: str) -> bool:
    try:
        return argument in layer.get_config()
    except NotImplementedError:
        return False  # A layer of the user's own with arguments that Keras cannot write.
