"""Regularizers of a model that exists: attached to its weights, replaced, removed."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import keras

from kerasreg._keras.internals import walk_layers
from kerasreg._keras.patterns import Patterns, check_patterns
from kerasreg._validation import check_choice
from kerasreg.models._attaching import edit
from kerasreg.models._edits import RegularizerEdits, named
from kerasreg.models._matching import Site, check_built, chosen, sites
from kerasreg.regularizers import Penalty


def attach_regularizer(
    model: keras.Model,
    penalty: Any,
    *,
    layers: Patterns = "*",
    weights: Patterns = "kernel",
    existing: str = "refuse",
    shared: bool = True,
) -> RegularizerEdits:
    """Gives weights of a built model a regularizer, in place, as if it had been made with it.

    Both `layers` and `weights` are patterns in which `*` stands for anything, `/`
    included, `?` for a character and `[ab]` for one of these. A pattern of `layers`
    is held against the path of a layer, such as `encoder/dense_1`, and against its own
    name, `dense_1`; what is inside a layer, as the cell of an LSTM or the dense layers
    of attention, is meant with it. A kind is what the argument of the layer is about:
    `kernel` for `kernel_regularizer`, and `bias`, `embeddings`, `gamma`, `beta`,
    `alpha`, `depthwise_kernel`, `pointwise_kernel`, `recurrent_kernel`.

    Weights, optimizer and its state stay as they are. What was traced is traced again
    in the next `fit` or `evaluate`, without a new `compile`; a compiled model that has
    this one inside must be compiled anew. A frozen weight has the regularizer, which is
    in no loss until the weight is trained.

    Args:
        model: a built model of any kind, also with nested ones.
        penalty: a penalty of `kerasreg.regularizers`, or a Keras regularizer or its
            name. Its strength is saved and restored with the model.
        layers: which layers, a pattern or several.
        weights: which of their weights, a pattern or several.
        existing: what happens where there is a regularizer: `"refuse"`, `"keep"` it,
            or `"add"` the penalty to it, which must be one of kerasreg too.
        shared: whether all weights share `penalty` itself, so that its strength is one
            knob for all; False makes a copy of it for each regularizer of a layer. With
            a schedule, the forward layer of a `Bidirectional` has copies in any case.

    Returns:
        A `RegularizerEdits`, a tuple of `(layer, weight, shape, size, before, after,
        note)` for each weight, which prints as a table. The note says where the weight
        is frozen, and where a saved model will not have the regularizer: inside a
        subclassed model or layer, whose config is only its own arguments.

    Raises:
        ValueError: if the model is not built; if a pattern matches nothing, or a part of
            the weights for which a layer has one regularizer (attention has one for
            its four kernels); if a weight has one already; if the penalty does not
            take a weight, of another rank for instance; if a `Proximal` that is built
            cannot apply it, having made no state for it. The model is then as it was.

    Example:

    >>> import keras, kerasreg
    >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4, name="a"),
    ...     keras.layers.Dense(2, name="b")])
    >>> penalty = kerasreg.regularizers.L1(0.01)
    >>> print(kerasreg.models.attach_regularizer(model, penalty))
    layer  weight  shape   size  before  after
    a      kernel  (8, 4)    32  -       L1(0.01)
    b      kernel  (4, 2)     8  -       L1(0.01)
    weights: 2, numbers in them: 40
    >>> zero = penalty.strength.assign(0.0)
    >>> [float(loss) for loss in model.losses]
    [0.0, 0.0]
    """
    check_choice("existing", existing, ("refuse", "keep", "add"))
    penalty = _check_penalty(penalty)
    found = _chosen(model, layers, weights)
    taken = [site for site in found if site.regularizer is not None]
    if taken and existing == "refuse":
        raise ValueError(
            "`layers` and `weights` must match weights that have no regularizer, or `existing` be "
            f"'keep' or 'add'; or use `replace_regularizer`. Received: {_listed(taken)}"
        )
    if existing == "keep":
        found = [site for site in found if site.regularizer is None]
        if not found:
            raise ValueError(
                "`layers` and `weights` must match a weight that has no regularizer. "
                f"Received: {_listed(taken)}"
            )
    for site in taken if existing == "add" else []:
        if not isinstance(site.regularizer, Penalty) or not isinstance(penalty, Penalty):
            raise ValueError(
                "`existing` can be 'add' where both regularizers are penalties of "
                f"`kerasreg.regularizers`. Received: penalty={named(penalty)}, {_listed([site])}"
            )
    new = _maker(penalty, shared)
    sums: dict[tuple[int, int], Any] = {}

    def after(site: Site) -> Any:
        given, old = new(site), site.regularizer
        if old is None:
            return given
        # Weights that shared a penalty share the sum.
        return sums.setdefault((id(old), id(given)), old + given)

    return edit(model, found, after)


def replace_regularizer(
    model: keras.Model,
    penalty: Any,
    *,
    layers: Patterns = "*",
    weights: Patterns = "*",
    shared: bool = True,
) -> RegularizerEdits:
    """Gives the weights that have a regularizer another one, in place.

    What `attach_regularizer` says of patterns, training and saving holds here; weights without a
    regularizer stay without one.

    Args:
        model: a built model of any kind.
        penalty: a penalty of `kerasreg.regularizers`, or a Keras regularizer or its
            name.
        layers: which layers, a pattern or several.
        weights: which of their weights, a pattern or several; all by default.
        shared: whether all weights share `penalty` itself, or have copies.

    Returns:
        A `RegularizerEdits`, which prints as a table.

    Raises:
        ValueError: as `attach_regularizer`, and if no weight that matches has a regularizer.

    Example:

    >>> import keras, kerasreg
    >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4, name="a"),
    ...     keras.layers.Dense(2, name="b", kernel_regularizer="l2")])
    >>> print(kerasreg.models.replace_regularizer(model, kerasreg.regularizers.L2(0.02)))
    layer  weight  shape   size  before  after
    b      kernel  (4, 2)     8  L2      L2(0.02)
    weights: 1, numbers in them: 8
    """
    new = _maker(_check_penalty(penalty), shared)
    return edit(model, _regularized(model, layers, weights), new)


def remove_regularizer(
    model: keras.Model, layers: Patterns = "*", *, weights: Patterns = "*"
) -> RegularizerEdits:
    """Takes the regularizers of weights away, in place.

    What `attach_regularizer` says of patterns, training and saving holds here. Those of
    activities, and what layers add with `add_loss`, stay.

    Args:
        model: a built model of any kind.
        layers: which layers, a pattern or several.
        weights: which of their weights, a pattern or several; all by default.

    Returns:
        A `RegularizerEdits`, which prints as a table.

    Raises:
        ValueError: if the model is not built, a pattern matches nothing, or no weight
            that matches has a regularizer.

    Example:

    >>> import keras, kerasreg
    >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4, name="a"),
    ...     keras.layers.Dense(2, name="b", kernel_regularizer="l2")])
    >>> print(kerasreg.models.remove_regularizer(model))
    layer  weight  shape   size  before  after
    b      kernel  (4, 2)     8  L2      -
    weights: 1, numbers in them: 8
    """
    return edit(model, _regularized(model, layers, weights), lambda site: None)


def _chosen(model: Any, layers: Patterns, weights: Patterns) -> list[Site]:
    check_built(model)
    patterns = check_patterns("layers", layers), check_patterns("weights", weights)
    there = sites(model)
    if not there:
        raise ValueError(
            "`model` must have a layer with a weight and an argument that regularises it, such "
            f"as `kernel_regularizer`. Received: model={model.name!r}"
        )
    return chosen(there, *patterns)


def _regularized(model: Any, layers: Patterns, weights: Patterns) -> list[Site]:
    found = [s for s in _chosen(model, layers, weights) if s.regularizer is not None]
    if not found:
        have = [site for site in sites(model) if site.regularizer is not None]
        raise ValueError(
            "`layers` and `weights` must match a weight that has a regularizer: "
            f"{_listed(have) if have else 'in this model none has'}. "
            f"Received: layers={layers!r}, weights={weights!r}"
        )
    return found


def _check_penalty(penalty: Any) -> Any:
    expected = "a penalty of `kerasreg.regularizers`, or a Keras regularizer or its name"
    try:
        found = keras.regularizers.get(penalty)
    except (ValueError, TypeError) as error:
        raise ValueError(f"`penalty` must be {expected}. Received: penalty={penalty!r}") from error
    # A class is callable too, and would be called with the weight.
    if found is None or isinstance(found, type):
        raise ValueError(f"`penalty` must be {expected}. Received: penalty={penalty!r}")
    return found


def _maker(penalty: Any, shared: bool) -> Callable[[Site], Any]:
    def new(site: Site) -> Any:
        # The forward layer of a `Bidirectional` has another penalty than the rest when the
        # model is loaded. Where a schedule counts steps, that one would begin anew.
        own = site.is_made_anew and _is_scheduled(penalty)
        return copy.deepcopy(penalty) if own or not shared else penalty

    return new


def _is_scheduled(penalty: Any) -> bool:
    inside = walk_layers(penalty) if isinstance(penalty, Penalty) else []
    return any(getattr(layer, "schedule", None) is not None for layer in inside)


def _listed(some: list[Site]) -> str:
    rows = [f"{site.layer} {site.kind} ({named(site.regularizer)})" for site in some]
    return ", ".join(rows[:10]) + (", ..." if len(rows) > 10 else "")
