"""Seed generators that Keras' layers would have, were a number of theirs not zero.

`keras.layers.Dropout(0.0)` has none. As a lane beside others it has a state of random numbers like
all of them, which is of no consequence.
"""

from __future__ import annotations

import contextlib
import inspect
import weakref
from typing import Any

import keras

from kerasreg._keras.ignored_attributes import module_of
from kerasreg._keras.patching import patched

_NAME = "seed_generator"
# Where these are zero Keras draws nothing, which is what it would come to if it did.
RATES = frozenset(["rate", "dropout", "_dropout", "recurrent_dropout", "stddev"])
# The attributes in which Keras keeps a generator.
ATTRIBUTES = (_NAME, "_seed_generators")
_generators: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()


_draw: weakref.WeakKeyDictionary[type, bool] = weakref.WeakKeyDictionary()


def draws(kind: type) -> bool:
    """Does a layer of Keras', or one derived from it, draw random numbers by a seed?

    Such a layer compares its rate with zero, and with zero does what it does near zero. Read for
    Keras 3.10 to 3.15.

    Args:
        kind: the class of the layer.
    """
    if kind not in _draw:
        _draw[kind] = issubclass(kind, keras.Layer) and any(
            module_of(base) == "keras"
            and "__init__" in vars(base)
            and "seed" in inspect.signature(vars(base)["__init__"]).parameters
            for base in kind.__mro__
        )
    return _draw[kind]


def generator_of(layer: Any) -> Any:
    """Which generator has a layer that draws, or would have it? Always the same one.

    Args:
        layer: a layer, in eager execution if it was not asked for before.
    """
    own = vars(layer).get(_NAME)
    if own is not None:
        return own
    if layer not in _generators:
        _generators[layer] = keras.random.SeedGenerator(0, name=_NAME)
    return _generators[layer]


def with_generator(layer: Any) -> contextlib.AbstractContextManager[None]:
    """Within, a layer that draws has a generator.

    Args:
        layer: the layer, or what else has a number that may be zero.
    """
    if not isinstance(layer, keras.Layer) or vars(layer).get(_NAME) is not None:
        return contextlib.nullcontext()
    return patched(layer, **{_NAME: generator_of(layer)})
