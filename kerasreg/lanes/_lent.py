"""A model that lanes share, lent to the code that it belongs to.

The code that made the first model goes on when its lane has ended: it may compile the model
again, freeze layers, or train the model on. Other lanes still train with the Python objects of
the same model: their callbacks see them, and functions may be traced from them. So there are
two versions of what these objects hold, and each side finds its own.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator
from typing import Any

import keras

from kerasreg._keras.ignored_attributes import module_of

# What such objects hold: attributes by name, members of lists, ...
Contents = list[Any]

_CONTAINERS = (dict, list, set)


class LentModel:
    """The two versions of a model: that of the lanes, and that of the code that has it.

    Values of variables are in neither.

    Args:
        model: the model, as the lanes have it.
    """

    def __init__(self, model: keras.Model) -> None:
        self._containers: list[Any] = []
        self._variables: list[keras.Variable] = []
        self._met: set[int] = set()
        self._find(model)
        self._own: Contents | None = None

    @contextlib.contextmanager
    def own(self) -> Iterator[None]:
        """Puts the version of the code that has the model in place, which it may change."""
        of_lanes = self._contents()
        if self._own is not None:
            self._put(self._own)
        try:
            yield
        finally:
            self._own = self._contents()
            self._put(of_lanes)

    def give_back(self) -> None:
        """Puts the version of the code that has the model in place for good."""
        if self._own is not None:
            self._put(self._own)

    def _find(self, value: Any) -> None:
        """Finds what may be changed in an object of Keras' and in those that it holds."""
        pending = [value]
        while pending:
            value = pending.pop()
            if id(value) in self._met or isinstance(value, (str, bytes, int, float, type)):
                continue
            self._met.add(id(value))
            if isinstance(value, dict) and not issubclass(type(value), dict):
                value = inspect.unwrap(value)  # type: ignore[arg-type]  # Of TensorFlow's stand-in.
            if isinstance(value, keras.Variable):
                self._variables.append(value)
            elif isinstance(value, _CONTAINERS):
                self._containers.append(value)
                pending += value.values() if isinstance(value, dict) else value
            elif isinstance(value, tuple):
                pending += value
            elif _is_of_keras(value):
                # Before any of its attributes: these may be kept in containers.
                self._met.add(id(vars(value)))
                self._containers.append(vars(value))
                pending += vars(value).values()

    def _contents(self) -> Contents:
        found: Contents = [_kind_of(held)(held) for held in self._containers]
        found += [(one.trainable, one.regularizer, one.constraint) for one in self._variables]
        return found

    def _put(self, contents: Contents) -> None:
        for held, items in zip(self._containers, contents, strict=False):
            # Past what Keras' own containers do when they are changed.
            kind = _kind_of(held)
            if _same(held, items):
                continue
            if kind is list:
                list.__setitem__(held, slice(None), items)
            else:
                kind.update(held, items)
                for extra in [key for key in held if key not in items]:
                    kind.pop(held, extra) if kind is dict else kind.discard(held, extra)
        of_variables = contents[len(self._containers) :]
        for variable, (trainable, regularizer, constraint) in zip(
            self._variables, of_variables, strict=True
        ):
            variable.trainable = trainable
            variable.regularizer = regularizer
            variable.constraint = constraint


def _kind_of(held: Any) -> Any:
    # Keras' own ones are derived from them.
    return next(kind for kind in _CONTAINERS if isinstance(held, kind))


def _same(one: Any, other: Any) -> bool:
    """Whether two containers hold the same objects."""
    if len(one) != len(other):
        return False
    if isinstance(one, list):
        return all(mine is theirs for mine, theirs in zip(one, other, strict=True))
    if isinstance(one, set):
        return one == other
    return all(key in other and other[key] is value for key, value in one.items())


def _is_of_keras(value: Any) -> bool:
    """Whether an object is Keras', or ours, or of a class that is derived from one of Keras'."""
    if isinstance(value, (keras.callbacks.Callback, keras.KerasTensor)):
        return False
    known = any(module_of(kind) in ("keras", "kerasreg") for kind in type(value).__mro__)
    return known and hasattr(value, "__dict__")
