"""Sets the regularizers of weights that are chosen, all or none, on the layers and the weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from kerasreg._keras.internals import (
    forget_functions,
    note_new_layers,
    put_first,
    set_on_built_layer,
    untrack,
    walk_layers,
)
from kerasreg.models._edits import RegularizerEdit, RegularizerEdits, named
from kerasreg.models._matching import Site
from kerasreg.models._proximal_state import check_applies, note_applies
from kerasreg.models._returned_shape import returned_shape
from kerasreg.regularizers import Penalty


def edit(model: keras.Model, some: list[Site], after: Callable[[Site], Any]) -> RegularizerEdits:
    """Gives each of some sites the regularizer that `after(site)` is."""
    # Nothing is changed before everything is known to fit.
    planned = [(site, site.regularizer, after(site)) for site in some]
    for site, _, new in planned:
        if new is not None:
            _check_takes(site, new)
            for weight in site.weights:
                check_applies(model, new, weight.variable)
    for site, _, new in planned:
        for layer, attribute in site.holders:
            _set(layer, attribute, new)
        for weight in site.weights:
            weight.variable.regularizer = new
        note_applies(model, new)
    _trace_again(model)
    return RegularizerEdits(
        tuple(
            RegularizerEdit(
                weight.layer,
                site.kind,
                tuple(weight.variable.shape),
                int(keras.ops.size(weight.variable)),
                named(old),
                named(new),
                _note(site, weight.variable) if new is not None else "",
            )
            for site, old, new in planned
            for weight in site.weights
        )
    )


def _check_takes(site: Site, penalty: Any) -> None:
    """A `ValueError` where a penalty does not take a weight, or returns no scalar."""
    # A penalty with a schedule counts its calls: this one is none.
    of = (lambda w: penalty.penalty(w, 1.0)) if isinstance(penalty, Penalty) else penalty
    for layer, variable in site.weights:
        what = f"the {site.kind} of {layer} of shape {tuple(variable.shape)}"
        try:
            shape = returned_shape(of, variable)
        except Exception as cause:
            raise ValueError(
                f"`penalty` must take the weights that `layers` and `weights` match. "
                f"Received: penalty={named(penalty)}, which does not take {what}: {cause}"
            ) from cause
        if shape != ():
            raise ValueError(
                f"`penalty` must return a scalar. Received: penalty={named(penalty)}, which "
                f"returns shape {shape} for {what}"
            )


def _note(site: Site, variable: Any) -> str:
    notes = [] if variable.trainable else ["frozen"]
    return ", ".join(notes if site.is_saved else [*notes, "not saved"])


def _set(layer: Any, attribute: str, regularizer: Any) -> None:
    old = getattr(layer, attribute)
    # A built layer takes no new state, which the strength is.
    set_on_built_layer(layer, attribute, regularizer)
    held = [getattr(layer, name) for name in dir(layer) if name.endswith("_regularizer")]
    if isinstance(old, Penalty) and not any(one is old for one in held):
        untrack(layer, old)
    # In the order of a layer that was made with them, which sets its regularizers first:
    # its state is copied in that order.
    put_first(layer, [one for one in vars(layer).values() if isinstance(one, Penalty)])


def _trace_again(model: keras.Model) -> None:
    """Lets Keras trace its functions again: the traced ones have the old losses."""
    for layer in walk_layers(model):
        if isinstance(layer, keras.Model):
            forget_functions(layer, "train", "test")
            note_new_layers(layer)
