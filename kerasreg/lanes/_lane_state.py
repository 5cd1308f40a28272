"""What the training of a lane is at the end of an epoch, in plain values and arrays."""

from __future__ import annotations

import inspect
import math
import operator
import types
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from kerasreg._keras.callback_memory import memory_of, remember

_NUMBERS = (type(None), bool, int, float, complex, str, bytes, np.generic)
# What writes to a file or a run, which a process that begins has to open anew.
_WRITING = (
    keras.callbacks.BackupAndRestore,
    keras.callbacks.CSVLogger,
    keras.callbacks.RemoteMonitor,
    keras.callbacks.TensorBoard,
)
# Functions that a callback may choose when it knows what it monitors, as Keras' own do.
_CHOSEN = (keras.ops, np, operator, math)
_FUNCTIONS = "functions of the callback"
# The state of a callback: of the class of that name, the values by name.
CallbackState = tuple[str, dict[str, Any]]


class LaneState(NamedTuple):
    """The training of a lane at the end of an epoch, from which another process can go on.

    `kerasreg.lanes.Lanes.states` makes it, and `Lanes.fit(states=[...])` or a `Replacement` takes
    it. All that it holds are numbers, texts, arrays, and lists and dictionaries of these.

    Attributes:
        epoch: the number of the next epoch, from 0.
        stopped: whether the training was asked to stop.
        values: the values of the variables of the lane's model and of its optimizer, of their
            shapes.
        numbers: the numbers of the model that are in no variable, each with its name.
        epochs: the numbers of the epochs so far.
        history: the metrics of these epochs, by name.
        logs: the logs of the last epoch.
        callbacks: of each callback its class and what it remembers.

    Example:

    >>> import keras, numpy as np, kerasreg
    >>> def lanes():
    ...     model = keras.Sequential(
    ...         [keras.Input((3,)), keras.layers.Dense(1, kernel_initializer="zeros")])
    ...     model.compile(keras.optimizers.Adam(0.1), "mse")
    ...     return kerasreg.lanes.Lanes([model])
    >>> first, kept = lanes(), []
    >>> def keep(epochs, logs):
    ...     kept.append(first.states([0])[0])
    >>> data = {"x": np.ones((8, 3)), "y": np.ones((8, 1)), "seed": 1}
    >>> whole = first.fit(**data, epochs=4, on_epoch_end=keep)
    >>> rest = lanes().fit(**data, epochs=4, states=[kept[1]])
    >>> kept[1].epoch, rest[0].history["loss"] == whole[0].history["loss"]
    (2, True)
    """

    epoch: int
    stopped: bool
    values: list[np.ndarray]
    numbers: list[tuple[str, float]]
    epochs: list[int]
    history: dict[str, list[Any]]
    logs: dict[str, Any]
    callbacks: list[CallbackState]


def why_not_resumable(callback: keras.callbacks.Callback) -> str | None:
    """Says why the state of a callback cannot be kept, to go on with it in another process.

    Kept are attributes of numbers, texts and arrays, also in lists and dictionaries, and which
    functions it has chosen. A callback that has more has methods `state()`, which returns what it
    remembers as a dictionary of such values, and `restore(state)`, which is called after
    `on_train_begin` with the model of that time.

    Args:
        callback: a callback.

    Returns:
        The reason, or None if the state can be kept.

    Example:

    >>> import keras, kerasreg
    >>> kerasreg.lanes.why_not_resumable(keras.callbacks.EarlyStopping()) is None
    True
    >>> kerasreg.lanes.why_not_resumable(keras.callbacks.CSVLogger("log.csv"))
    'CSVLogger writes to a place that it opens anew'
    """
    name = type(callback).__name__
    if isinstance(callback, _WRITING):
        return f"{name} writes to a place that it opens anew"
    if _has_methods(callback):
        return None
    for attribute, value in memory_of(callback).items():
        if not (is_plain(value) or _is_function(value, callback)):
            return f"{name} has `{attribute}`, which is no number, text or array"
    return None


def state_of_callback(callback: keras.callbacks.Callback) -> CallbackState:
    """The class of a callback and what it remembers.

    Raises:
        ValueError: if it cannot be kept.
    """
    if (why := why_not_resumable(callback)) is not None:
        raise ValueError(f"The state of a callback cannot be kept: {why}.")
    of: Any = callback
    if _has_methods(callback):
        return type(callback).__name__, dict(of.state())
    own = memory_of(callback)
    kept = {name: value for name, value in own.items() if is_plain(value)}
    kept[_FUNCTIONS] = {name: _label(own[name]) for name in own.keys() - kept.keys()}
    return type(callback).__name__, kept


def restore_callback(callback: keras.callbacks.Callback, state: Mapping[str, Any]) -> None:
    """Lets a callback remember what one of its class did.

    Raises:
        ValueError: if it had chosen a function that this one does not have.
    """
    of: Any = callback
    if _has_methods(callback):
        of.restore(dict(state))
        return
    values = {name: value for name, value in state.items() if name != _FUNCTIONS}
    for name, label in state[_FUNCTIONS].items():
        found = [getattr(callback, name, None)]
        found += [getattr(package, label.rpartition(".")[2], None) for package in _CHOSEN]
        same = [one for one in found if one is not None and _label(one) == label]
        if not same:
            raise ValueError(f"{type(callback).__name__} had {label} as `{name}`, which is gone.")
        values[name] = same[0]
    remember(callback, values)


def _label(function: Any) -> str:
    """By what a function is known in another process."""
    function = getattr(function, "__func__", function)
    name = getattr(function, "__qualname__", None) or getattr(function, "__name__", "")
    return f"{getattr(function, '__module__', '')}.{name}"


def is_plain(value: Any) -> bool:
    """Whether a value is a number, a text, an array, or a list or a dictionary of such ones."""
    if isinstance(value, np.ndarray):
        return value.dtype != object
    if isinstance(value, _NUMBERS):
        return True
    if type(value) in (list, tuple):
        return all(map(is_plain, value))
    if type(value) is dict:
        return all(is_plain(key) and is_plain(item) for key, item in value.items())
    return False


def _has_methods(callback: Any) -> bool:
    return callable(getattr(callback, "state", None)) and callable(
        getattr(callback, "restore", None)
    )


def _is_function(value: Any, callback: Any) -> bool:
    """Whether a value is a function that remembers nothing."""
    if inspect.isclass(value) or isinstance(value, (types.BuiltinFunctionType, np.ufunc)):
        return True
    if isinstance(value, types.MethodType):
        return value.__self__ is callback or inspect.isclass(value.__self__)
    if not isinstance(value, types.FunctionType):
        return False
    return all(_is_fixed(cell.cell_contents, callback) for cell in value.__closure__ or ())


def _is_fixed(value: Any, callback: Any) -> bool:
    if value is callback or isinstance(value, _NUMBERS):
        return True
    if isinstance(value, tuple):
        return all(_is_fixed(item, callback) for item in value)
    return _is_function(value, callback)


def with_seeds(scalars: Sequence[Any], numbers: Sequence[tuple[str, float]]) -> list[Any]:
    """Scalars of a model that was built again, with the seeds that it had before.

    Seeds are drawn when a model is built, and all other numbers follow from its hyperparameters.
    """
    seeds = iter([value for name, value in numbers if name == "seed"])
    return [
        one._replace(value=next(seeds, one.value)) if one.name == "seed" else one for one in scalars
    ]
