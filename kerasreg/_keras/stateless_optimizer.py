"""A Keras optimizer as a pure function, on the TensorFlow backend too.

There, Keras' optimizers update `tf.Variable` objects through the distribution
strategy, and refuse to be stateless. The update rules themselves are the same
on all backends: with the methods of the common base class in the place of those
of the TensorFlow one, they work on Keras variables, hence in a stateless scope.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import keras
from keras import ops

from kerasreg._keras.internals import (
    base_optimizer,
    index_of,
    outside_stateless_scopes,
    trainable_variables_of,
)
from kerasreg._keras.patching import original, patched


def inner_optimizers(optimizer: Any) -> list[Any]:
    """An optimizer and those within it (of a wrapper, or of one with several)."""
    found = [optimizer]
    for value in vars(optimizer).values():
        for part in value if isinstance(value, (list, tuple)) else [value]:
            if isinstance(part, base_optimizer()) and part is not optimizer:
                found += inner_optimizers(part)
    return found


def optimizer_variables(optimizer: Any) -> dict[tuple[int, str, int], keras.Variable]:
    """All variables of an optimizer, by where they are in it.

    Its own list of them may lack some: that of Nadam does. An optimizer that is
    not built has a part of what the built one has.
    """
    found = {}
    for number, part in enumerate(inner_optimizers(optimizer)):
        for name, value in vars(part).items():
            if name == "_trainable_variables":  # The model's.
                continue
            items = value if isinstance(value, (list, tuple)) else [value]
            for position, item in enumerate(items):
                if isinstance(item, keras.Variable):
                    found[number, name, position] = item
    return found


def decaying(optimizer: Any, variables: Sequence[keras.Variable]) -> list[bool] | None:
    """Which variables decay, by what `exclude_from_weight_decay` was told before.

    In a stateless scope Keras would not know the variables again, and would find texts in shorter
    names than in `fit`, where they are looked for in those of TensorFlow. Read for Keras 3.10 to
    3.15.

    Args:
        optimizer: an optimizer.
        variables: variables of a model.

    Returns:
        A boolean for each variable, or None where nothing was excluded.
    """
    excluded = vars(optimizer).get("_exclude_from_weight_decay")
    pattern = vars(optimizer).get("_exclude_from_weight_decay_pattern")
    if not excluded and pattern is None:
        return None
    tensorflow = keras.backend.backend() == "tensorflow"
    found = []
    with outside_stateless_scopes():
        for variable in variables:
            name = f"{variable.path}:0" if tensorflow else variable.name
            by_name = pattern is not None and pattern.search(name) is not None
            found.append(not by_name and not (excluded and _key(optimizer, variable) in excluded))
    return found


def _key(optimizer: Any, variable: keras.Variable) -> Any:
    """What an optimizer knows a variable by, also while `stateless` is entered."""
    if keras.backend.backend() != "tensorflow":
        return optimizer._var_key(variable)
    from keras.src.backend.tensorflow.optimizer import TFOptimizer

    return original(TFOptimizer, "_var_key")(optimizer, variable)


@contextlib.contextmanager
def stateless() -> Iterator[None]:
    """Lets `optimizer.apply` work in a `keras.StatelessScope` while it is entered.

    What an optimizer or a wrapper overrides itself stays its own. Only the thread that enters is
    concerned: others go on training.
    """
    if keras.backend.backend() != "tensorflow":
        yield
        return
    from keras.src.backend.tensorflow.optimizer import TFOptimizer

    # The class itself, not each optimizer's: some call their `super()`.
    of_base = {
        name: value
        for name, value in vars(base_optimizer()).items()
        if name in vars(TFOptimizer)
        and not name.startswith("__")
        # How slots are placed, and a clipping of slices.
        and name not in ("add_variable_from_reference", "_clip_by_norm")
    }
    with patched(TFOptimizer, **of_base, _backend_apply_gradients=_apply_gradients):
        yield


@contextlib.contextmanager
def keys_by_identity(optimizer: Any) -> Iterator[None]:
    """Lets the base class find an optimizer's slots; goes with `stateless`."""
    with contextlib.ExitStack() as stack:
        for part in inner_optimizers(optimizer):
            # One that is not built has none.
            variables = trainable_variables_of(part) if part.built else []
            indices = {part._var_key(variable): index for index, variable in enumerate(variables)}
            stack.enter_context(patched(part, _trainable_variables_indices=indices))
            # One with several optimizers knows by such keys which of them has a variable.
            with outside_stateless_scopes():
                new = {_key(part, variable): part._var_key(variable) for variable in variables}
            for name, held in list(vars(part).items()):
                is_by_variable = isinstance(held, dict) and held and held.keys() <= new.keys()
                if is_by_variable and name != "_trainable_variables_indices":
                    mine = {new[key]: value for key, value in held.items()}
                    stack.enter_context(patched(part, **{name: mine}))
            if (decay := decaying(part, variables)) is not None:
                of = dict(zip(map(id, variables), decay, strict=True))
                stack.enter_context(
                    patched(part, _use_weight_decay=lambda variable, of=of: of[id(variable)])
                )
        yield


def _apply_gradients(self: Any, grads: Any, trainable_variables: Any) -> None:
    """Keras' own rule, with a choice of values where it has a branch that assigns."""
    every = self.gradient_accumulation_steps
    if every:
        updates = ops.equal((self._iterations + 1) % every, 0)
        sums = [self._accumulated_gradients[index_of(self, v)] for v in trainable_variables]
        totals = [ops.add(g, s) for g, s in zip(grads, sums, strict=True)]
        moved = [*trainable_variables, *optimizer_variables(self).values()]
        before = [variable.value for variable in moved]
        grads = [total / every for total in totals]
    grads = self._clip_gradients(grads)
    self._apply_weight_decay(trainable_variables)
    self._backend_update_step(grads, trainable_variables, self.learning_rate)
    if every:
        for variable, value in zip(moved, before, strict=True):
            variable.assign(ops.where(updates, variable.value, value))
        for kept, total in zip(sums, totals, strict=True):
            kept.assign(ops.where(updates, ops.zeros_like(total), total))
    if self.use_ema:
        self._update_model_variables_moving_average(self._trainable_variables)
        if self.ema_overwrite_frequency:
            overwrites = ops.equal((self.iterations + 1) % self.ema_overwrite_frequency, 0)
            averages = self._model_variables_moving_average
            for variable, average in zip(self._trainable_variables, averages, strict=True):
                if average is not None:
                    variable.assign(ops.where(overwrites, average.value, variable.value))
