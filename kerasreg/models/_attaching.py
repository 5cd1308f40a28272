"""Sets the regularizers of weights that are chosen, all or none, on the layers and the weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

# Private: the shape of a result, without computing it.
from keras.src.backend import compute_output_spec

from kerasreg.models._edits import RegularizerEdit, RegularizerEdits, named
from kerasreg.models._matching import Site
from kerasreg.models._proximal_state import check_applies, note_applies
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
        # Symbolically: a spectral norm of large matrices takes minutes.
        w = keras.KerasTensor(variable.shape, dtype=variable.dtype)
        what = f"the {site.kind} of {layer} of shape {tuple(variable.shape)}"
        try:
            shape = tuple(compute_output_spec(of, w).shape)
        except Exception as error:
            raise ValueError(
                f"`penalty` must take the weights that `layers` and `kinds` match. "
                f"Received: penalty={named(penalty)}, which does not take {what}: {error}"
            ) from error
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
    tracker, locked = layer._tracker, layer._tracker.locked
    tracker.unlock()
    try:
        setattr(layer, attribute, regularizer)
    finally:
        tracker.locked = locked
    held = [getattr(layer, name) for name in dir(layer) if name.endswith("_regularizer")]
    if isinstance(old, Penalty) and not any(one is old for one in held):
        tracker.untrack(old)
    # In the order of a layer that was made with them, which sets its regularizers first:
    # its state is copied in that order.
    first = {id(one): one for one in vars(layer).values() if isinstance(one, Penalty)}
    rest = [one for one in layer._layers if id(one) not in first]
    layer._layers[:] = [*first.values(), *rest]


def _trace_again(model: keras.Model) -> None:
    """Lets Keras trace its functions again: the traced ones have the old losses."""
    for layer in model._flatten_layers():
        if isinstance(layer, keras.Model):
            layer.train_function = layer.test_function = None
            # Keras compares the layers with those when it was compiled, and would warn of
            # a changed `trainable` for a penalty that is new.
            state = getattr(layer, "_compiled_trainable_state", None)
            if state is not None:
                for inner in layer._flatten_layers():
                    state.setdefault(inner, inner.trainable)
