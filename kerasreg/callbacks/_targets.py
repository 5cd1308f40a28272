"""Targets of callbacks, by name: numbers of the optimizer, rates of dropout, strengths."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import keras

from kerasreg._keras.hyperparameter import hyperparameters_of
from kerasreg._keras.internals import (
    calls_of,
    forget_functions,
    learning_rate_of,
    stateless_scope,
)
from kerasreg._keras.live_number import LiveNumber, live_number
from kerasreg._keras.patterns import matches
from kerasreg.optimizers import DecoupledWeightDecay

# Of a target: the argument of the components that have it, and the bounds of its values.
_COMPONENTS = {"dropout": "rate", "strength": "strength"}
_OF_OPTIMIZER = ("learning_rate", "momentum", "weight_decay")
_AT_MOST_ONE = ("momentum", "dropout")


class Place(NamedTuple):
    """One number that a target means: where it is, and what it may be."""

    name: str
    variable: keras.Variable
    minimum: float
    maximum: float

    def assign(self, value: float) -> None:
        """Sets it to a value, or to the nearest that it may have."""
        value = min(max(value, self.minimum), self.maximum)
        if keras.backend.backend() == "tensorflow" and stateless_scope() is None:
            # Before each batch: Keras' own takes twice as long, as it reads the value again.
            self.variable.value.assign(value, read_value=False)
        else:
            self.variable.assign(value)


class Target:
    """The numbers of a model that a name means.

    Args:
        name: `"learning_rate"`, `"momentum"` (`beta_1` of Adam and its kind) or
            `"weight_decay"` of the optimizer; `"dropout"`: the rates of all layers of
            `kerasreg.layers`; `"strength"`: those of all penalties of
            `kerasreg.regularizers`. These two with a pattern after a colon, as
            `"dropout:block1/*"`: only what has a name, or a path or the end of one, that
            matches, is within a layer that has, or, of penalties, is on a weight that has.

    Raises:
        ValueError: if it is none of these.
    """

    def __init__(self, name: Any) -> None:
        kind, _, pattern = name.partition(":") if isinstance(name, str) else ("", "", "")
        accepted = kind in _OF_OPTIMIZER and ":" not in name
        accepted = accepted or (kind in _COMPONENTS and (bool(pattern) or ":" not in name))
        if not accepted:
            raise ValueError(
                "`target` must be 'learning_rate', 'momentum', 'weight_decay', 'dropout' or "
                "'strength'; the last two may have a pattern of names, as 'dropout:block*'. "
                f"Received: target={name!r}"
            )
        self.name = name
        self.kind = kind
        self.pattern = pattern or "*"

    @property
    def minimum(self) -> float:
        """The smallest value."""
        return 0.0

    @property
    def maximum(self) -> float:
        """The largest value."""
        return 1.0 if self.kind in _AT_MOST_ONE else math.inf

    def prepare(self, model: keras.Model) -> None:
        """Puts a variable where the optimizer has a Python number: before a step is traced.

        Raises:
            ValueError: if the optimizer has no such number.
        """
        if self.kind not in ("momentum", "weight_decay"):
            return
        moved = [o for o in optimizers_of(model, self.name) if self._decay_of(o) is None]
        if moved and (keras.backend.backend() == "jax" or stateless_scope() is not None):
            raise ValueError(
                f"`target` must not be {self.kind!r} on the JAX backend and in lanes, where a "
                "step is given only the optimizer's own variables."
            )
        for optimizer in moved:
            inner = innermost(optimizer)
            attribute = _attribute(inner, self.kind)
            if not isinstance(getattr(inner, attribute), LiveNumber):
                with scope_of(model):
                    live_number(inner, attribute)
                # A step that was traced with the number must be traced again.
                forget_functions(model, "train")

    def places(self, model: keras.Model) -> list[Place]:
        """The numbers of a compiled and built model.

        Raises:
            ValueError: if there is none, or one is moved by a schedule of its own.
        """
        if self.kind in _OF_OPTIMIZER:
            self.prepare(model)
            return [self._of_optimizer(optimizer) for optimizer in optimizers_of(model, self.name)]
        found = [
            (names, hyperparameter)
            for names, hyperparameter in hyperparameters_of(model)
            if hyperparameter.argument == _COMPONENTS[self.kind]
        ]
        matching = [
            (names[-1], hyperparameter)
            for names, hyperparameter in found
            if matches(self.pattern, names)
        ]
        if not matching:
            there = ", ".join(dict.fromkeys(names[-1] for names, _ in found)) or "none"
            what = "layer with a dropout rate" if self.kind == "dropout" else "penalty"
            raise ValueError(
                f"`target` must match a {what} of kerasreg in the model, which has: {there}. "
                f"Received: target={self.name!r}"
            )
        for name, hyperparameter in matching:
            if hyperparameter.schedule is not None:
                raise ValueError(
                    f"`target` must be numbers that no schedule of their own moves: that of {name} "
                    f"has a {type(hyperparameter.schedule).__name__}. "
                    f"Received: target={self.name!r}"
                )
        return [Place(name, h.variable, h.minimum, h.maximum) for name, h in matching]

    def _of_optimizer(self, optimizer: keras.optimizers.Optimizer) -> Place:
        if (decoupled := self._decay_of(optimizer)) is not None:
            return Place(decoupled.name, decoupled.weight_decay, 0.0, math.inf)
        inner = innermost(optimizer)
        if self.kind == "learning_rate":
            check_learning_rate(inner, self.name)
            return Place(inner.name, learning_rate_of(inner), 0.0, math.inf)
        variable = live_number(inner, _attribute(inner, self.kind))
        return Place(inner.name, variable, 0.0, self.maximum)

    def _decay_of(self, optimizer: Any) -> DecoupledWeightDecay | None:
        """The wrapper that has the weight decay in a variable already, if there is one."""
        while self.kind == "weight_decay" and optimizer is not None:
            if isinstance(optimizer, DecoupledWeightDecay):
                if optimizer.schedule is not None:
                    raise ValueError(
                        "`target` must be numbers that no schedule of their own moves: that of "
                        f"{optimizer.name} has a {type(optimizer.schedule).__name__}. "
                        f"Received: target={self.name!r}"
                    )
                return optimizer
            optimizer = getattr(optimizer, "inner_optimizer", None)
        return None


def optimizers_of(model: keras.Model, target: str) -> list[keras.optimizers.Optimizer]:
    """The optimizers of a compiled model.

    Raises:
        ValueError: if the model is not compiled.
    """
    outer = getattr(model, "optimizer", None)
    if outer is None:
        raise ValueError(
            "`target` must be in a model that is compiled: call `model.compile(...)` first. "
            f"Received: target={target!r}"
        )
    # `MultiOptimizer` has no learning rate of its own.
    return list(getattr(outer, "optimizers", None) or [outer])


def innermost(optimizer: Any) -> keras.optimizers.Optimizer:
    """The optimizer that others, such as `LossScaleOptimizer`, are around."""
    while (inner := getattr(optimizer, "inner_optimizer", None)) is not None:
        optimizer = inner
    return optimizer


def steps_of(model: keras.Model, target: str) -> int:
    """The steps that the optimizer of a compiled model has made, or the foremost of several."""
    # Read before each batch: `ops.convert_to_numpy` takes half as long again. One of several
    # may have no variables, and so makes no steps.
    optimizers = map(innermost, optimizers_of(model, target))
    return max(int(optimizer.iterations.numpy()) for optimizer in optimizers)


def batches_since_compile(model: keras.Model) -> int:
    """The batches that the optimizer of a compiled model was given, also those of no step."""
    return int(calls_of(innermost(model.optimizer)).numpy())


def batches_of_a_step(model: keras.Model) -> int:
    """The batches of which the optimizer of a compiled model gathers gradients for a step."""
    parts = map(innermost, optimizers_of(model, "learning_rate"))
    return max(part.gradient_accumulation_steps or 1 for part in parts)


def check_learning_rate(optimizer: keras.optimizers.Optimizer, target: str) -> None:
    """A `ValueError` if the optimizer has a schedule, which Keras does not let change."""
    if not isinstance(learning_rate_of(optimizer), keras.Variable):
        raise ValueError(
            f"`target` {target!r} must be a number in {optimizer.name!r} for a callback to "
            f"move it. Received: a {type(learning_rate_of(optimizer)).__name__}; give the "
            "optimizer a number, or leave the callback out."
        )


def _attribute(optimizer: keras.optimizers.Optimizer, kind: str) -> str:
    """The attribute of an optimizer that is its momentum, or its weight decay."""
    names = ["weight_decay"] if kind == "weight_decay" else ["momentum", "beta_1"]
    for name in names:
        if getattr(optimizer, name, None):
            return name
    raise ValueError(
        f"`target` {kind!r} must be a number > 0 in the optimizer, so that it has what it needs "
        f"for it. Received: {type(optimizer).__name__} with {names[0]}="
        f"{getattr(optimizer, names[0], None)}"
    )


@contextlib.contextmanager
def scope_of(model: keras.Model) -> Iterator[None]:
    """The scope in which a strategy mirrors new variables, if the model has one."""
    strategy = getattr(model, "distribute_strategy", None)
    with strategy.scope() if strategy is not None else contextlib.nullcontext():
        yield
