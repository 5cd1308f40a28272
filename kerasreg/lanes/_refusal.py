"""Why a model cannot be a lane: what a program of many lanes would leave out."""

from __future__ import annotations

from typing import Any

import keras

_STEPS = ("train_step", "test_step", "make_train_function", "make_test_function")


def refusal(model: Any) -> str | None:
    """What keeps a model from being trained as a lane, in words, or None."""
    if not isinstance(model, keras.Model):
        return f"it must be a Keras model, and is a {type(model).__name__}"
    if not model.built:
        return "it is not built; call it on data, or give it an `Input`"
    if not getattr(model, "compiled", False):
        return "it is not compiled; call `model.compile(...)`"
    if model.optimizer is None:
        return "it is compiled without an optimizer"
    for name in _STEPS:
        if getattr(type(model), name) is not getattr(keras.Model, name):
            return f"its class defines its own `{name}`, of which the program would know nothing"
    if model.run_eagerly:
        return "it is compiled with `run_eagerly=True`"
    if not model.trainable_variables:
        return "it has no trainable weights"
    strategy = getattr(model, "distribute_strategy", None)
    if strategy is not None and strategy.num_replicas_in_sync > 1:
        return "it was built for several replicas"
    return None
