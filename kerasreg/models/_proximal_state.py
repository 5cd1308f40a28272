"""Checks that an optimizer which is built can apply a penalty which is new."""

from __future__ import annotations

import weakref
from typing import Any

import keras

from kerasreg._keras.internals import trainable_variables_of
from kerasreg.optimizers import Proximal
from kerasreg.regularizers import Penalty


def check_applies(model: keras.Model, penalty: Any, variable: Any) -> None:
    """A `ValueError` if a built `Proximal` of the model cannot apply a penalty to a weight.

    It looked at the penalties that there were when it was built, and made state for those.
    """
    proximal = _proximal_of(model)
    if proximal is None or not proximal.built or not isinstance(penalty, Penalty):
        return
    indices = [k for k, v in enumerate(trainable_variables_of(proximal)) if v is variable]
    if not indices:
        return  # Frozen when it was built, and so without any state there.
    proximal._check(penalty, variable)
    sums = proximal.inner_optimizer.summed_step_sizes
    if any(slot is not None for slot in sums) and sums[indices[0]] is None:
        raise ValueError(
            "`model` must be compiled anew before this: its `Proximal` was built when "
            f"{variable.path} had no penalty, and sums up no step sizes for it, which its "
            f"momentum needs. Received: model={model.name!r}"
        )


def note_applies(model: keras.Model, penalty: Any) -> None:
    """Tells a penalty that a built `Proximal` applies it, as it tells those at its building."""
    proximal = _proximal_of(model)
    if proximal is not None and proximal.built and isinstance(penalty, Penalty):
        penalty.applied_by = weakref.ref(proximal)


def _proximal_of(model: keras.Model) -> Proximal | None:
    optimizer = getattr(model, "optimizer", None)
    while optimizer is not None and not isinstance(optimizer, Proximal):
        optimizer = getattr(optimizer, "inner_optimizer", None)
    return optimizer
