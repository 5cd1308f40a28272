"""What a callback remembers: the attributes that its own code has set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

# Of every callback: Keras sets them when a training begins.
_OF_TRAINING = frozenset({"_model", "params", "validation_data"})


def memory_of(callback: keras.callbacks.Callback) -> dict[str, Any]:
    """The attributes of a callback, without those that belong to the training."""
    return {name: value for name, value in vars(callback).items() if name not in _OF_TRAINING}


def remember(callback: keras.callbacks.Callback, memory: Mapping[str, Any]) -> None:
    """Gives a callback attributes that another one of its class had."""
    for name, value in memory.items():
        setattr(callback, name, value)
