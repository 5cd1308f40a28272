"""A model's own `train_step` and `test_step`, written for Keras' `fit`, as functions of values."""

from __future__ import annotations

import contextlib
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras

from kerasreg._keras.ignored_attributes import module_of
from kerasreg._keras.internals import symbolic_call
from kerasreg._keras.patching import original, patched

_STEPS = ("train_step", "test_step")


def own_steps(model: Any) -> dict[str, Any]:
    """Which steps does the class of a model define itself, and not Keras'? By their names.

    Read for Keras 3.10 to 3.15.

    Args:
        model: a model.
    """
    found = {}
    for name in _STEPS:
        owner = next(kind for kind in type(model).__mro__ if name in vars(kind))
        if module_of(owner) != "keras":
            found[name] = vars(owner)[name]
    return found


_refused: dict[types.CodeType, str] = {}


def refuse_steps(model: Any, why: str) -> None:
    """From now on, `why_no_step` says why the steps of a model are no functions of values."""
    for step in own_steps(model).values():
        _refused[step.__code__] = why


def forget_refused_steps() -> None:
    """Why steps were refused may have been the data, or may have been mended since."""
    _refused.clear()


def why_no_step(step: Any) -> str | None:
    """Why is a step that a class defines no function of values, as far as that is known?

    Args:
        step: what `own_steps` gives.
    """
    if not isinstance(step, types.FunctionType):
        return f"which is no plain function, but a {type(step).__name__}"
    return _refused.get(step.__code__)


def steps_are_enough(model: Any) -> bool:
    """Is a model that was never called ready to be trained, since its own step calls its layers?

    Read for Keras 3.10 to 3.15.

    Args:
        model: a model.
    """
    inner = [layer for layer in model._flatten_layers() if layer is not model]
    return "train_step" in own_steps(model) and bool(inner) and all(of.built for of in inner)


def packed(batch: tuple[Any, Any, Any]) -> Any:
    """What does Keras give to a step for `(x, y, sample_weight)`? Read for Keras 3.10 to 3.15."""
    return keras.utils.pack_x_y_sample_weight(*batch)


def specs_of_logs(step: Callable[[Any], Any], batch: Any) -> dict[str, Any]:
    """Which logs does a step give, as symbolic tensors? What is built meanwhile stays built.

    Read for Keras 3.10 to 3.15.

    Args:
        step: is called with a symbolic batch, in a stateless scope.
        batch: some of the data, packed for the step.

    Raises:
        ValueError: if they are no logs.
    """
    return dict(symbolic_call(lambda data: flat_logs(step(data)), batch))


def flat_logs(logs: Any) -> dict[str, Any]:
    """Which tensors does Keras take from the logs of a step? Those of dictionaries within too.

    Read for Keras 3.10 to 3.15.

    Raises:
        ValueError: if they are no logs.
    """
    if not isinstance(logs, dict):
        raise ValueError(f"it returns no dictionary of logs, but a {type(logs).__name__}")
    found: dict[str, Any] = {}
    for name, value in sorted(logs.items()):
        if isinstance(value, dict):
            found |= flat_logs(value)
        else:
            found[str(name)] = keras.ops.convert_to_tensor(value)
    return found


def total_gradient(parts: Sequence[Any]) -> Any:
    """What is the gradient of a variable on TensorFlow, from those of the values that it had?

    Args:
        parts: tensors or slices; None for values on which nothing depends.
    """
    import tensorflow as tf

    found = [part for part in parts if part is not None]
    if len(found) < 2:
        return found[0] if found else None
    return tf.add_n([tf.convert_to_tensor(part) for part in found])


@contextlib.contextmanager
def watching_tapes(scope: Any, variables: Sequence[keras.Variable]) -> Iterator[None]:
    """Within, a `tf.GradientTape` finds the values that variables have in a stateless scope.

    It watches those of trainable variables, as it does outside, and gives gradients with respect
    to variables: to all values that a variable had, and through none that it was assigned.

    Args:
        scope: the scope.
        variables: the variables that have values there.
    """
    import tensorflow as tf

    trained = [variable for variable in variables if variable.trainable]
    alive: list[Any] = []  # The id of what is gone could be given again.
    tapes: list[Any] = []  # Those that record.
    sources: dict[int, dict[int, Any]] = {}  # The values that each tape has watched.
    later: dict[tuple[int, int], list[Any]] = {}  # And those that were assigned meanwhile.

    def watched_by(tape: Any) -> dict[int, Any]:
        tapes.append(tape)
        alive.append(tape)
        return sources.setdefault(id(tape), {})

    def value_of(tape: Any, source: Any) -> Any:
        if not isinstance(source, keras.Variable):
            return source
        known = sources.get(id(tape), {}).get(id(source))
        value = scope.get_current_value(source) if known is None else known
        return source if value is None else value

    def enter(tape: Any) -> Any:
        entered = original(tf.GradientTape, "__enter__")(tape)
        if tape._watch_accessed_variables:
            current = {id(of): scope.get_current_value(of) for of in trained}
            values = {key: value for key, value in current.items() if value is not None}
            watched = watched_by(tape)
            watched.update({**values, **watched})
            for value in values.values():
                original(tf.GradientTape, "watch")(tape, value)
        return entered

    def watch(tape: Any, tensor: Any) -> None:
        for part in tf.nest.flatten(tensor):
            value = value_of(tape, part)
            if isinstance(part, keras.Variable):
                watched_by(tape)[id(part)] = value
            original(tf.GradientTape, "watch")(tape, value)

    def leave(tape: Any, *error: Any) -> Any:
        tapes[:] = [other for other in tapes if other is not tape]
        return original(tf.GradientTape, "__exit__")(tape, *error)

    def assigned(variable: keras.Variable, value: Any) -> Any:
        key = id(variable)
        watching = {id(tape): tape for tape in tapes if key in sources.get(id(tape), {})}
        if watching:
            value = tf.stop_gradient(value)
        for tape in watching.values():
            later.setdefault((id(tape), key), []).append(value)
            original(tf.GradientTape, "watch")(tape, value)
        return value

    def gradient(tape: Any, target: Any, sources: Any, *args: Any, **kwargs: Any) -> Any:
        flat = keras.tree.flatten(sources)
        values = [[value_of(tape, of), *later.get((id(tape), id(of)), ())] for of in flat]
        found = original(tf.GradientTape, "gradient")(tape, target, values, *args, **kwargs)
        return keras.tree.pack_sequence_as(sources, list(map(total_gradient, found)))

    def jacobian(tape: Any, target: Any, sources: Any, *args: Any, **kwargs: Any) -> Any:
        values = keras.tree.map_structure(lambda of: value_of(tape, of), sources)
        return original(tf.GradientTape, "jacobian")(tape, target, values, *args, **kwargs)

    ways = {"gradient": gradient, "jacobian": jacobian}
    of_tapes = patched(tf.GradientTape, __enter__=enter, __exit__=leave, watch=watch, **ways)
    with of_tapes, patched(scope, on_assign=assigned):
        yield


@contextlib.contextmanager
def scopes_within(scope: Any, known: Sequence[keras.Variable]) -> Iterator[None]:
    """Within, stateless scopes that a step enters know what an outer scope knows.

    Args:
        scope: the outer scope.
        known: the variables that the step has values of, and gives.
    """
    given = set(map(id, known))

    def get_current_value(self: Any, variable: keras.Variable) -> Any:
        value = original(keras.StatelessScope, "get_current_value")(self, variable)
        if value is None and self is not scope:
            value = scope.state_mapping.get(id(variable))
        return value

    def add_update(self: Any, update: Any) -> None:
        original(keras.StatelessScope, "add_update")(self, update)
        key = id(update[0])
        if self is not scope and key in scope.state_mapping and key not in given:
            scope.add_update(update)

    with patched(keras.StatelessScope, get_current_value=get_current_value, add_update=add_update):
        yield
